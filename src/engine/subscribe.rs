//! SUBSCRIBE: a query's changes as rows `hw_time, hw_diff, [hw_progressed,] columns`.
//!
//! # Semantics
//! LANGUAGE 7.3, rule 3: times do not decrease, per time and row there is at most one line, all
//! lines of one
//! time come together, and a progress line `t` says that nothing before `t` follows. A maintained
//! view is
//! followed itself, on its own clock; any other query gets a job of its own, which ends with the
//! subscription.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::expressions::Column;
use futures::{StreamExt, stream};

use super::outcome::{Description, Rows};
use super::parameters::parameter_types;
use super::session::Session;
use super::{Engine, Error, Result, query};
use crate::delta::{Delta, Weights};
use crate::error::SqlState;
use crate::planner::bind::{bind_query, visible_names};
use crate::planner::lower;
use crate::planner::plan::{Clock, Node, Op, Plan, ScanKind};
use crate::planner::relation::Names;
use crate::runtime::hub::JobSpec;
use crate::runtime::job::JobId;
use crate::runtime::publication::Snapshot;
use crate::runtime::subscription::{Change, Feed};
use crate::sql::catalog::Oid;
use crate::sql::statement::{Emit, Query};
use crate::time::Timestamp;

/// What a subscription shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// The content at its start.
    pub snapshot: bool,
    /// Progress lines.
    pub progress: bool,
}

impl Session {
    /// Plans a query as a continuous one.
    pub(super) fn continuous(
        &self,
        query: &Query,
        params: &[ScalarValue],
    ) -> Result<(Plan, Vec<String>)> {
        let relations = self.relations();
        let functions = self.engine.functions();
        let names = Names::new(&relations, functions, Arc::clone(&query.windows));
        let bound = query::with_params(bind_query(query, &names)?, params)?;
        let columns = visible_names(&bound);
        let plan = lower::continuous(bound, on_close(query.emit)?, functions)?;
        Ok((plan, columns))
    }

    /// Starts a subscription.
    pub(super) async fn subscribe(
        &mut self,
        query: &Query,
        options: Options,
        params: &[ScalarValue],
    ) -> Result<Rows> {
        let (plan, columns) = self.continuous(query, params)?;
        let rows_max = usize::try_from(self.variables.subscribe_buffer_rows());
        let feed = Arc::new(Feed::new(rows_max.unwrap_or(usize::MAX), true));
        let followed =
            followed(&plan.root).and_then(|oid| self.engine.hub().view(oid).map(|job| (oid, job)));
        let (shape, first, job) = match followed {
            Some((oid, job)) => {
                let properties = self.engine.properties_of(oid);
                let time = properties.and_then(|p| p.time_type);
                let shape = Shape::new(
                    job.publication.clock(),
                    time.unwrap_or_else(crate::planner::relation::system_time_type),
                    &plan.root.schema,
                    &columns,
                    options.progress,
                );
                let answer = self.engine.hub().follow(oid, Arc::clone(&feed))?;
                let snapshot = answer
                    .await
                    .map_err(|_| Error::Runtime(crate::runtime::Error::ShuttingDown))??;
                (shape, Some(snapshot), None)
            }
            None => {
                let job = self.engine.hub().start_job(JobSpec {
                    plan: &plan,
                    name: "subscription",
                    oid: None,
                    keep: false,
                    snapshot: options.snapshot,
                    feed: Some(Arc::clone(&feed)),
                    fail_on_error: false,
                })?;
                let time = plan.time_type.clone();
                let schema = &plan.root.schema;
                let shape = Shape::new(plan.clock, time, schema, &columns, options.progress);
                (shape, None, Some(job.id))
            }
        };
        let guard = Guard { engine: Arc::clone(&self.engine), job, feed };
        Ok(rows(guard, shape, first, options))
    }

    /// Describes a subscription.
    pub(super) fn describe_subscribe(
        &self,
        query: &Query,
        progress: bool,
        declared: &[Option<DataType>],
    ) -> Result<Description> {
        let relations = self.relations();
        let names = Names::new(&relations, self.engine.functions(), Arc::clone(&query.windows));
        let bound = bind_query(query, &names)?;
        let parameters = parameter_types(&bound, declared)?;
        if !parameters.is_empty() {
            let columns = visible_names(&bound);
            let schema = query::named_schema(&bound, &columns);
            let time = crate::planner::relation::system_time_type();
            let shape = Shape::new(Clock::Arrival, time, &schema, &columns, progress);
            return Ok(Description { parameters, columns: Some(shape.schema) });
        }
        let (plan, columns) = self.continuous(query, &[])?;
        let followed = followed(&plan.root).and_then(|oid| self.engine.properties_of(oid));
        let time = followed.map_or(Some(plan.time_type.clone()), |p| p.time_type);
        let time = time.unwrap_or_else(crate::planner::relation::system_time_type);
        let shape = Shape::new(plan.clock, time, &plan.root.schema, &columns, progress);
        Ok(Description { parameters, columns: Some(shape.schema) })
    }
}

/// Returns whether an EMIT clause asks for final results only.
pub(super) fn on_close(emit: Option<Emit>) -> Result<bool> {
    match emit {
        None | Some(Emit::Changes) => Ok(false),
        Some(Emit::OnWindowClose) => Ok(true),
        Some(Emit::AfterDelay(_)) => Err(Error::unsupported(
            "EMIT AFTER DELAY is not supported yet",
            "Use EMIT CHANGES or EMIT ON WINDOW CLOSE.",
        )),
        Some(Emit::Every(_)) => Err(Error::unsupported(
            "EMIT EVERY is not supported yet",
            "Use EMIT CHANGES or EMIT ON WINDOW CLOSE.",
        )),
    }
}

/// The maintained view that a plan reads as it is, if it does nothing else.
fn followed(node: &Node) -> Option<Oid> {
    match &node.op {
        Op::Scan(scan) if scan.kind == ScanKind::View => {
            let identity = scan.projection.iter().enumerate().all(|(i, c)| i == *c);
            identity.then_some(scan.object)
        }
        Op::Project(exprs) => {
            let identity = exprs.len() == node.inputs[0].schema.fields().len()
                && exprs
                    .iter()
                    .enumerate()
                    .all(|(i, e)| e.downcast_ref::<Column>().is_some_and(|c| c.index() == i));
            identity.then(|| followed(&node.inputs[0])).flatten()
        }
        _ => None,
    }
}

/// Ends the job and the queue when the reader is gone.
struct Guard {
    engine: Arc<Engine>,
    job: Option<JobId>,
    feed: Arc<Feed>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.feed.close(None);
        if let Some(job) = self.job {
            self.engine.hub().end_job(job);
        }
    }
}

/// How changes become rows.
struct Shape {
    clock: Clock,
    time: DataType,
    schema: SchemaRef,
    progress: bool,
}

impl Shape {
    fn new(
        clock: Clock,
        time: DataType,
        columns: &Schema,
        names: &[String],
        progress: bool,
    ) -> Self {
        let mut fields = vec![
            Field::new("hw_time", time.clone(), true),
            Field::new("hw_diff", DataType::Int64, true),
        ];
        if progress {
            fields.push(Field::new("hw_progressed", DataType::Boolean, false));
        }
        fields.extend(columns.fields().iter().zip(names).map(|(field, name)| {
            Field::new(name, field.data_type().clone(), true)
                .with_metadata(field.metadata().clone())
        }));
        Self { clock, time, schema: Arc::new(Schema::new(fields)), progress }
    }

    fn times(&self, ts: TimestampMicrosecondArray) -> Result<ArrayRef> {
        Ok(match &self.time {
            DataType::Int64 => {
                Arc::new(ts.reinterpret_cast::<arrow::datatypes::Int64Type>()) as ArrayRef
            }
            DataType::Timestamp(_, Some(zone)) => Arc::new(ts.with_timezone(Arc::clone(zone))),
            _ => Arc::new(ts),
        })
    }

    fn changes(&self, delta: &Delta) -> Result<RecordBatch> {
        let mut columns =
            vec![self.times(delta.ts_array())?, Arc::new(delta.weight_array()) as ArrayRef];
        if self.progress {
            columns.push(Arc::new(BooleanArray::from(vec![false; delta.len()])));
        }
        columns.extend(delta.rows().columns().iter().cloned());
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn progressed(&self, at: Timestamp) -> Result<RecordBatch> {
        let mut columns = vec![
            self.times(TimestampMicrosecondArray::from_value(at.0, 1))?,
            Arc::new(Int64Array::new_null(1)) as ArrayRef,
            Arc::new(BooleanArray::from(vec![true])),
        ];
        let rest = &self.schema.fields()[columns.len()..];
        columns.extend(rest.iter().map(|f| new_null_array(f.data_type(), 1)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// The content of a view as its first change.
    fn snapshot(&self, snapshot: &Snapshot) -> Change {
        let (at, progress) = match self.clock {
            Clock::Event => (snapshot.watermark.0.plus(-1), snapshot.watermark.0),
            Clock::Arrival => (snapshot.commit.time, snapshot.commit.time.plus(1)),
        };
        let weights = Weights::Each(snapshot.weights.clone());
        let instants = crate::delta::Instants::All(at);
        Change { delta: Delta::new(snapshot.rows.clone(), instants, weights), progress }
    }

    /// The first commit of a query of its own: what it finds, at the last closed instant.
    fn collapsed(&self, change: Change) -> Result<Change> {
        let at = match self.clock {
            Clock::Event => change.progress.plus(-1),
            Clock::Arrival => return Ok(change),
        };
        Ok(Change { delta: change.delta.at(at).consolidate()?, ..change })
    }
}

/// What the stream of rows goes through.
struct Reader {
    guard: Guard,
    shape: Shape,
    options: Options,
    first: Option<Snapshot>,
    started: bool,
    last_progress: Timestamp,
    pending: Vec<RecordBatch>,
}

fn rows(guard: Guard, shape: Shape, first: Option<Snapshot>, options: Options) -> Rows {
    let schema = Arc::clone(&shape.schema);
    let last_progress = Timestamp::MIN;
    let pending = Vec::new();
    let reader = Reader { guard, shape, options, first, started: false, last_progress, pending };
    let stream = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(batch)) => Some((Ok(batch), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Rows { schema, stream: stream.boxed(), tag: "SUBSCRIBE" }
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.pending.pop() {
                return Ok(Some(batch));
            }
            let change = if let Some(snapshot) = self.first.take() {
                self.shape.snapshot(&snapshot)
            } else {
                match self.guard.feed.next().await {
                    None => return Ok(None),
                    Some(Err(fault)) => return Err(ended(fault)),
                    Some(Ok(change)) => change,
                }
            };
            self.take(change)?;
        }
    }

    /// Turns a change into batches, the last one to be sent first in the list.
    fn take(&mut self, change: Change) -> Result<()> {
        let first = !std::mem::replace(&mut self.started, true);
        let change = if first { self.shape.collapsed(change)? } else { change };
        if self.options.progress && change.progress > self.last_progress {
            self.last_progress = change.progress;
            self.pending.push(self.shape.progressed(change.progress)?);
        }
        if !change.delta.is_empty() && (!first || self.options.snapshot) {
            self.pending.push(self.shape.changes(&change.delta)?);
        }
        Ok(())
    }
}

/// What a reader sees when its query has ended.
fn ended(fault: crate::runtime::job::Fault) -> Error {
    let hint = (fault.sqlstate == SqlState::PROGRAM_LIMIT_EXCEEDED)
        .then(|| "Read faster, or SET subscribe_buffer to more rows.".to_owned());
    Error::Refused { message: fault.message, sqlstate: fault.sqlstate, detail: None, hint }
}
