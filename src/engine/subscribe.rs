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
use crate::delta::Delta;
use crate::error::SqlState;
use crate::planner::bind::{bind_query, visible_names};
use crate::planner::lower::{self, Request, Wanted};
use crate::planner::plan::{Clock, Kind, Node, Op, Plan};
use crate::planner::relation::Names;
use crate::runtime::hub::JobSpec;
use crate::runtime::job::{Job, JobId};
use crate::runtime::publication;
use crate::runtime::read::Read;
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
        let functions = &*relations.functions;
        let names = Names::new(&relations, functions, Arc::clone(&query.windows));
        let bound = query::with_params(bind_query(query, &names)?, params)?;
        let columns = visible_names(&bound);
        let wanted = if query.to_stream { Wanted::InOrder } else { Wanted::Changes };
        let request = Request { wanted, on_close: on_close(query.emit)?, clock: None };
        let plan = lower::continuous(bound, request, functions)?;
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
        let bytes_max = usize::try_from(self.variables.subscribe_buffer_bytes());
        let feed = Arc::new(Feed::new(bytes_max.unwrap_or(usize::MAX), true));
        let (shape, first, job) = match self.followed(&plan) {
            Some((oid, job)) => {
                let time = self.engine.properties_of(oid).and_then(|p| p.time_type);
                let shape = Shape::new(
                    job.publication.shape(),
                    time.unwrap_or_else(crate::planner::relation::system_time_type),
                    &plan.root.schema,
                    &columns,
                    options.progress,
                );
                let answer = self.engine.hub().follow(oid, Arc::clone(&feed))?;
                let read = answer
                    .await
                    .map_err(|_| Error::Runtime(crate::runtime::Error::ShuttingDown))??;
                (shape, Some(read), None)
            }
            None => {
                let job = self.engine.hub().start_job(JobSpec {
                    plan: &plan,
                    name: "subscription",
                    oid: None,
                    keep: None,
                    snapshot: options.snapshot,
                    feed: Some(Arc::clone(&feed)),
                    fail_on_error: false,
                })?;
                let shape = Shape::of_plan(&plan, &columns, options.progress);
                (shape, None, Some(job.id))
            }
        };
        let guard = Guard { engine: Arc::clone(&self.engine), job, feed };
        Ok(rows(guard, shape, first, options))
    }

    /// The maintained view or derived stream that a plan reads as it is, if that is all it does.
    /// Elements that come as they arrive are read like those of any other stream.
    fn followed(&self, plan: &Plan) -> Option<(Oid, Arc<Job>)> {
        let oid = identity(&plan.root)?;
        let job = self.engine.hub().view(oid)?;
        let found = match job.publication.shape().kind {
            Kind::Relation => !plan.is_stream(),
            Kind::Stream { closed } => closed,
        };
        found.then_some((oid, job))
    }

    /// Describes a subscription.
    pub(super) fn describe_subscribe(
        &self,
        query: &Query,
        progress: bool,
        declared: &[Option<DataType>],
    ) -> Result<Description> {
        let relations = self.relations();
        let names = Names::new(&relations, &relations.functions, Arc::clone(&query.windows));
        let bound = bind_query(query, &names)?;
        let parameters = parameter_types(&bound, declared)?;
        if !parameters.is_empty() {
            let columns = visible_names(&bound);
            let schema = query::named_schema(&bound, &columns);
            let result =
                publication::Shape { kind: Kind::Relation, clock: Clock::Arrival, ordered: true };
            let time = crate::planner::relation::system_time_type();
            let shape = Shape::new(result, time, &schema, &columns, progress);
            return Ok(Description { parameters, columns: Some(shape.schema) });
        }
        let (plan, columns) = self.continuous(query, &[])?;
        let shape = match self.followed(&plan) {
            None => Shape::of_plan(&plan, &columns, progress),
            Some((oid, job)) => {
                let time = self.engine.properties_of(oid).and_then(|p| p.time_type);
                let time = time.unwrap_or_else(crate::planner::relation::system_time_type);
                let result = job.publication.shape();
                Shape::new(result, time, &plan.root.schema, &columns, progress)
            }
        };
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

/// The object that a plan reads as it is, if it does nothing else.
fn identity(node: &Node) -> Option<Oid> {
    match &node.op {
        Op::Scan(scan) => {
            let identity = scan.projection.iter().enumerate().all(|(i, c)| i == *c);
            identity.then_some(scan.object)
        }
        Op::Project(exprs) => {
            let identity = exprs.len() == node.inputs[0].schema.fields().len()
                && exprs
                    .iter()
                    .enumerate()
                    .all(|(i, e)| e.downcast_ref::<Column>().is_some_and(|c| c.index() == i));
            identity.then(|| self::identity(&node.inputs[0])).flatten()
        }
        // A stream that comes in order anyway.
        Op::Arrange => identity(&node.inputs[0]),
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
    result: publication::Shape,
    time: DataType,
    schema: SchemaRef,
    progress: bool,
}

impl Shape {
    fn of_plan(plan: &Plan, names: &[String], progress: bool) -> Self {
        let ordered = plan.root.properties.ordered;
        let result = publication::Shape { kind: plan.kind, clock: plan.result_clock, ordered };
        Self::new(result, plan.time_type.clone(), &plan.root.schema, names, progress)
    }

    fn new(
        result: publication::Shape,
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
        Self { result, time, schema: Arc::new(Schema::new(fields)), progress }
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

    /// What a view or derived stream holds as its first change.
    fn first(&self, read: Read) -> Result<(Delta, Timestamp)> {
        match read {
            Read::Stream(retained, watermark) => {
                let deltas: Vec<Delta> = retained.into_iter().map(|r| r.delta).collect();
                let schema = match deltas.first() {
                    None => Arc::new(Schema::new(self.schema.fields()[self.leading()..].to_vec())),
                    Some(delta) => delta.schema(),
                };
                Ok((Delta::concat(&schema, &deltas)?, watermark.0))
            }
            Read::Table(snapshot) | Read::View(snapshot) => {
                let (at, progress) = match self.result.clock {
                    Clock::Event => (snapshot.watermark.last_closed(), snapshot.watermark.0),
                    Clock::Arrival => (snapshot.commit.time, snapshot.commit.time.plus(1)),
                };
                Ok((snapshot.delta(at), progress))
            }
        }
    }

    /// Number of columns before the query's own.
    fn leading(&self) -> usize {
        if self.progress { 3 } else { 2 }
    }

    /// The first commit of a query of its own: what it finds, at the last closed instant. Elements
    /// keep their own times.
    fn collapsed(&self, delta: Delta, progress: Timestamp) -> Result<Delta> {
        if (self.result.kind, self.result.clock) != (Kind::Relation, Clock::Event) {
            return Ok(delta);
        }
        Ok(delta.at(progress.plus(-1)).consolidate()?)
    }
}

/// What the stream of rows goes through.
struct Reader {
    guard: Guard,
    shape: Shape,
    options: Options,
    first: Option<Read>,
    started: bool,
    /// The time of the last progress line; the first says that the content at the start is whole.
    last_progress: Option<Timestamp>,
    pending: Vec<RecordBatch>,
}

fn rows(guard: Guard, shape: Shape, first: Option<Read>, options: Options) -> Rows {
    let schema = Arc::clone(&shape.schema);
    let last_progress = None;
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
            let (delta, progress) = if let Some(read) = self.first.take() {
                self.shape.first(read)?
            } else {
                match self.guard.feed.next().await {
                    None => return Ok(None),
                    Some(Err(fault)) => return Err(ended(fault)),
                    Some(Ok(Change { delta, progress, .. })) => (delta, progress),
                }
            };
            self.take(delta, progress)?;
        }
    }

    /// Turns a change into batches, the last one to be sent first in the list.
    fn take(&mut self, delta: Delta, progress: Timestamp) -> Result<()> {
        let first = !std::mem::replace(&mut self.started, true);
        let delta = if first { self.shape.collapsed(delta, progress)? } else { delta };
        if self.options.progress && self.last_progress < Some(progress) {
            self.last_progress = Some(progress);
            self.pending.push(self.shape.progressed(progress)?);
        }
        if !delta.is_empty() && (!first || self.options.snapshot) {
            self.pending.push(self.shape.changes(&delta)?);
        }
        Ok(())
    }
}

/// What a reader sees when its query has ended.
fn ended(fault: crate::runtime::job::Fault) -> Error {
    let hint = (fault.sqlstate == SqlState::PROGRAM_LIMIT_EXCEEDED)
        .then(|| "Read faster, or SET subscribe_buffer to more, e.g. '256MB'.".to_owned());
    Error::Refused { message: fault.message, sqlstate: fault.sqlstate, detail: None, hint }
}
