//! One-shot queries: DataFusion over what the objects hold at one log position.
//!
//! # Semantics
//! A query means the same here as in a view (LANGUAGE 1.3: operators act pointwise on instants). On
//! the
//! ARRIVAL clock streams are what they retain and views what they hold. If the query has a bracket
//! window, its
//! instant is the last closed one of its inputs, `W - 1`: windows are computed there from their
//! definition, and
//! streams without a window are their rows up to it.
//!
//! # Why
//! A job of our operators would do too, but evaluating the definition shares no code with them, so
//! each query
//! run both ways checks the other, and all of DataFusion's SQL is there for one-shot queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::MemTable;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::{LogicalPlan, TableScan, TableScanBuilder};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;

use super::assigned::assigns;
use super::budget::{Held, holding};
use super::history::{HistoryTable, deltas_of, in_order};
use super::nodes::{break_ties, execute_plain, our_nodes, values_of, window_expr};
use super::outcome::{RowStream, Rows};
use super::{Engine, Error, Result, ahead, asof, constants, keys, past};
use crate::delta::{Delta, batch};
use crate::error::SqlState;
use crate::planner::arithmetic::checked_sums;
use crate::planner::bind::{settled, visible_names};
use crate::planner::in_order::sorting_calls;
use crate::planner::limits;
use crate::planner::lookup::{self, lookup_node};
use crate::planner::lower::{self, Request, Wanted, window_node};
use crate::planner::plan::{Clock, ScanKind, Ticks};
use crate::planner::relation::RelationSource;
use crate::planner::temporal;
use crate::planner::to_stream::{ToStreamNode, monotonic, scanned_stream, to_stream_node};
use crate::planner::window::{WindowKind, WindowNode};
use crate::runtime::history::Part;
use crate::runtime::read::Read;
use crate::sql::catalog::Oid;
use crate::sql::derived::ToStream;
use crate::time::{Timestamp, Watermark};
use crate::windows::snapshot::{self, Spec};

/// What a query runs against.
pub struct Once {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The functions of the language, in the session's time zone.
    pub functions: Arc<SessionState>,
    /// Changes of tables that its transaction has made and not committed.
    pub pending: Vec<(Oid, Delta)>,
}

/// Returns the stream, table or maintained view that a node scans, if it scans one.
pub(super) fn scanned(plan: &LogicalPlan) -> Option<&RelationSource> {
    match plan {
        LogicalPlan::TableScan(scan) => scan.source.downcast_ref(),
        _ => None,
    }
}

/// Returns the objects a plan reads, with whether their event time counts, and whether the query
/// has windows, or streams made of relations. A view on the ARRIVAL clock is a table to others.
fn inputs(plan: &LogicalPlan) -> Result<(BTreeMap<Oid, bool>, bool)> {
    let (mut oids, mut instants) = (BTreeMap::<Oid, bool>::new(), false);
    plan.apply_with_subqueries(|node| {
        if let Some(source) = scanned(node) {
            let timeless = source.kind() == ScanKind::Table
                || source.properties.as_ref().is_some_and(|p| p.timeless);
            let counts = !timeless && source.kind() != ScanKind::Arrivals;
            *oids.entry(source.object.oid).or_insert(false) |= counts;
            let versions = source.versions().map(|versions| versions.object.oid);
            oids.extend(versions.map(|oid| (oid, true)));
        }
        instants |= window_node(node).is_some_and(|window| window.kind.is_bracket());
        instants |= to_stream_node(node).is_some_and(|n| !passes(n));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok((oids, instants))
}

/// Whether a stream is made of what is one already.
pub(super) fn passes(node: &ToStreamNode) -> bool {
    let elements = (node.operator, &node.ticks) == (ToStream::Istream, &Ticks::Instants);
    elements && monotonic(&node.input)
}

/// Runs a bound query; its rows come as they are computed.
pub async fn run(once: &Once, plan: LogicalPlan, params: &[ScalarValue]) -> Result<Rows> {
    let names = visible_names(&plan);
    let plan = settled(with_params(plan, params)?, &once.functions)?;
    let schema = named_schema(&plan, &names);
    let stream = execute(once, plan).await?;
    let out = Arc::clone(&schema);
    let stream: RowStream = stream
        .map(move |batch| {
            let batch = batch?;
            let options =
                arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(
                Arc::clone(&out),
                batch.columns().to_vec(),
                &options,
            )?)
        })
        .boxed();
    Ok(Rows { schema, stream, tag: "SELECT" })
}

/// Replaces `$n` by values.
pub fn with_params(plan: LogicalPlan, params: &[ScalarValue]) -> Result<LogicalPlan> {
    if params.is_empty() {
        return match plan.get_parameter_names()?.into_iter().min() {
            None => Ok(plan),
            Some(name) => Err(Error::refused(
                SqlState::UNDEFINED_PARAMETER,
                format!("there is no parameter {name}"),
            )),
        };
    }
    Ok(plan.with_param_values(ParamValues::from(params.to_vec()))?)
}

/// The result's columns under the names that clients see.
pub fn named_schema(plan: &LogicalPlan, names: &[String]) -> SchemaRef {
    let fields = plan.schema().fields().iter().zip(names).map(|(field, name)| {
        Field::new(name, field.data_type().clone(), true).with_metadata(field.metadata().clone())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Runs a bound query and collects its rows.
pub async fn collect(
    once: &Once,
    plan: LogicalPlan,
    params: &[ScalarValue],
) -> Result<RecordBatch> {
    let plan = with_params(plan, params)?;
    let now = || once.engine.at_present(&once.functions);
    if let Some(rows) = constants::rows(&plan, &once.functions, now)? {
        return Ok(rows);
    }
    let stream = execute(once, plan).await?;
    Ok(Held::gather(&once.functions, stream).await?.rows)
}

async fn execute(once: &Once, plan: LogicalPlan) -> Result<SendableRecordBatchStream> {
    let state = once.engine.at_present(&once.functions);
    // Keys and times of windows are computed on the way, so types are settled first.
    let mut plan = past::read(once, settled_once(plan, &state)?, &state).await?;
    let (reads, instant) = loop {
        let (reads, instant) = read(once, &plan, &state).await?;
        let defined = instant.map(|instant| ahead::defined(once, &plan, &reads, instant));
        match defined.transpose()?.flatten() {
            Some(defined) => plan = defined,
            None => break (reads, instant),
        }
    };
    let plan = limits::computed(break_ties(plan)?, &state)?;
    let assigns = plan.exists(|node| Ok(window_node(node).is_some_and(assigns)))?;
    let streams = made_streams(once, &plan, &reads).await?;
    let held = At { instant, reads, streams };
    let (plan, shares) = held.replace(plan, &state).await?;
    let mut state = state;
    // Rows that are read a part at a time stay in the order of their arrival.
    let in_files = held.reads.values().any(Read::is_in_files);
    let parts = in_files || assigns;
    state.config_mut().options_mut().optimizer.enable_round_robin_repartition &= !parts;
    Ok(holding(execute_plain(&state, &plan).await?, shares))
}

/// Settles the types of a plan that runs once, and what its aggregates do.
pub(super) fn settled_once(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    Ok(sorting_calls(lookup::unmark(checked_sums(settled(plan, state)?)?)?)?)
}

/// Reads what a plan names, and tells the instant of event time that it is at, if it is at one.
async fn read(
    once: &Once,
    plan: &LogicalPlan,
    state: &SessionState,
) -> Result<(BTreeMap<Oid, Read>, Option<Timestamp>)> {
    let (oids, instants) = inputs(plan)?;
    let timed = oids.values().any(|timed| *timed);
    let event = instants || (timed && lower::clock(plan, state)? == Clock::Event);
    let named: Vec<Oid> = oids.keys().copied().collect();
    let hub = once.engine.hub();
    hub.settle(&named).await;
    let mut reads = hub.read(&named, &keys::fixed(plan)?)?.finish().await?;
    hub.durable().await;
    for (oid, delta) in &once.pending {
        if let Some(Read::Table(snapshot)) = reads.get_mut(oid) {
            snapshot.add(delta)?;
        }
    }
    let instant = event.then(|| last_closed(&reads, &oids));
    Ok((reads, instant))
}

/// The last instant that the watermarks of all inputs have passed.
fn last_closed(reads: &BTreeMap<Oid, Read>, timed: &BTreeMap<Oid, bool>) -> Timestamp {
    let counts = |oid: &Oid| timed.get(oid).copied().unwrap_or(true);
    let timed = reads.iter().filter(|(oid, _)| counts(oid));
    let watermarks = timed.map(|(_, read)| read.watermark());
    watermarks.min().unwrap_or(Watermark::MAX).last_closed()
}

/// The streams that a query makes of relations, or puts windows on, with their elements: what a
/// continuous query over the same rows gives. One within another is part of that query.
async fn made_streams(
    once: &Once,
    plan: &LogicalPlan,
    reads: &BTreeMap<Oid, Read>,
) -> Result<Vec<(LogicalPlan, Vec<Part>)>> {
    let mut wanted: Vec<LogicalPlan> = Vec::new();
    plan.apply_with_subqueries(|node| {
        let found = match (window_node(node), to_stream_node(node)) {
            (Some(window), _) if window.kind.is_bracket() => {
                (scanned_stream(&window.input).is_none()).then_some(&window.input)
            }
            (_, Some(to_stream)) if !passes(to_stream) => Some(node),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        wanted.extend(found.cloned());
        Ok(TreeNodeRecursion::Jump)
    })?;
    let mut made = Vec::new();
    for plan in wanted {
        let request = Request { wanted: Wanted::Stream, ..Request::default() };
        let continuous = lower::continuous(plan.clone(), request, &once.functions)?;
        let Read::Stream(elements, _) = once.engine.hub().evaluate(&continuous, reads).await?
        else {
            return Err(Error::Internal("a stream was made as something else".into()));
        };
        made.push((plan, elements));
    }
    Ok(made)
}

/// What the objects hold, at an instant of event time if the query has a bracket window.
struct At {
    reads: BTreeMap<Oid, Read>,
    /// Streams that the query itself makes.
    streams: Vec<(LogicalPlan, Vec<Part>)>,
    instant: Option<Timestamp>,
}

impl At {
    /// Replaces scans and windows by what they hold.
    async fn replace(
        &self,
        plan: LogicalPlan,
        state: &SessionState,
    ) -> Result<(LogicalPlan, Vec<MemoryReservation>)> {
        let recursive = plan.exists(|n| Ok(matches!(n, LogicalPlan::RecursiveQuery(_))))?;
        let mut plan = self.replace_scans(plan, recursive)?;
        if recursive {
            plan = plan.transform_up(|node| node.recompute_schema().map(Transformed::yes))?.data;
        }
        if let Some(instant) = self.instant {
            plan = temporal::fix(plan, instant.0)?;
        }
        our_nodes(plan, state).await
    }

    fn replace_scans(
        &self,
        plan: LogicalPlan,
        recursive: bool,
    ) -> Result<LogicalPlan, DataFusionError> {
        let plan = plan.transform_down_with_subqueries(|node| {
            if let Some(window) = window_node(&node)
                && window.kind.is_bracket()
            {
                let rows = self.window(window)?;
                return Ok(Transformed::new(
                    values_of(&node, rows)?,
                    true,
                    TreeNodeRecursion::Jump,
                ));
            }
            if let Some(to_stream) = to_stream_node(&node) {
                if passes(to_stream) {
                    // The input is looked at in place of the node.
                    let plan = self.replace_scans(to_stream.input.clone(), recursive)?;
                    return Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump));
                }
                let rows = self.elements(&node, node.schema().as_arrow())?;
                let rows = values_of(&node, rows)?;
                return Ok(Transformed::new(rows, true, TreeNodeRecursion::Jump));
            }
            match scanned(&node) {
                None => Ok(Transformed::no(node)),
                Some(source) => {
                    let history = self.in_files(source).filter(|_| !recursive);
                    let rows = history.is_none().then(|| self.content(source)).transpose()?;
                    let LogicalPlan::TableScan(mut scan) = node else { unreachable!("scanned") };
                    if let Some(rows) = rows {
                        return Ok(Transformed::yes(scan_of(scan, rows, recursive)?));
                    }
                    scan.source = provider_as_source(history.expect("it is in files, or was read"));
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
            }
        })?;
        Ok(plan.data)
    }

    /// The rows of a stream that the query itself makes, as of the query's instant.
    fn elements(
        &self,
        plan: &LogicalPlan,
        schema: &Schema,
    ) -> Result<RecordBatch, DataFusionError> {
        let made = self.streams.iter().find(|(made, _)| made == plan);
        let (_, elements) = made.expect("every stream is made before");
        let elements = deltas_of(elements)?;
        let rows = elements.iter().map(|delta| self.until_instant(delta));
        let rows = rows.collect::<Result<Vec<_>, DataFusionError>>()?;
        let schema = rows.first().map_or_else(|| Arc::new(schema.clone()), RecordBatch::schema);
        Ok(concat_batches(&schema, &rows)?)
    }

    /// A stream that is partly in files, and whose own columns are read: its rows need not be in
    /// memory at once.
    fn in_files(&self, source: &RelationSource) -> Option<Arc<HistoryTable>> {
        match self.reads.get(&source.object.oid) {
            Some(Read::Stream(parts, _)) => HistoryTable::new(source, parts, self.instant),
            _ => None,
        }
    }

    /// All rows of an object, as of the query's instant.
    fn content(&self, source: &RelationSource) -> Result<RecordBatch, DataFusionError> {
        let schema = Arc::clone(source.row_type());
        if let (Some(versions), Some(instant)) = (source.versions(), self.instant)
            && let Some(Read::Stream(retained, _)) = self.reads.get(&versions.object.oid)
        {
            return asof::current(source, &deltas_of(retained)?, instant);
        }
        match self.reads.get(&source.object.oid) {
            None => Ok(RecordBatch::new_empty(schema)),
            Some(Read::Table(snapshot) | Read::View(snapshot)) => {
                Ok(snapshot.all_rows()?.with_schema(schema)?)
            }
            Some(Read::Stream(retained, _)) => {
                let deltas = in_order(source, retained, |_| true)?;
                let rows = deltas.iter().map(|delta| match source.kind() {
                    ScanKind::Arrivals => Ok(delta.rows().clone()),
                    _ => self.until_instant(delta),
                });
                let rows = rows.collect::<Result<Vec<_>, DataFusionError>>()?;
                Ok(concat_batches(&schema, &rows)?)
            }
        }
    }

    fn until_instant(&self, delta: &Delta) -> Result<RecordBatch, DataFusionError> {
        let Some(instant) = self.instant else { return Ok(delta.rows().clone()) };
        let ts = delta.ts_array();
        let keep: BooleanArray = ts.values().iter().map(|t| Some(*t <= instant.0)).collect();
        Ok(filter_record_batch(delta.rows(), &keep)?)
    }

    /// The elements that a bracket window stands on, with their times; of those in files only what
    /// may be in the window.
    fn windowed(&self, window: &WindowNode) -> Result<Delta, DataFusionError> {
        let input = &window.input;
        let oldest = self.instant.zip(window.kind.reach()).map(|(now, reach)| now.plus(-reach));
        let in_reach = |part: &Part| {
            let last = part.span_in_file().map(|(_, latest)| latest);
            last.zip(oldest).is_none_or(|(last, oldest)| last >= oldest)
        };
        let elements = match scanned_stream(input) {
            Some(source) => match self.reads.get(&source.object.oid) {
                Some(Read::Stream(retained, _)) => in_order(source, retained, in_reach)?,
                _ => Vec::new(),
            },
            None => {
                let made = self.streams.iter().find(|(made, _)| made == input);
                let elements = &made.expect("every stream is made before").1;
                deltas_of(elements)?
            }
        };
        let schema: SchemaRef = Arc::new(input.schema().as_arrow().clone());
        let named = |delta: Delta| {
            let columns = delta.rows().columns().to_vec();
            let rows = batch(Arc::clone(&schema), columns, delta.len())?;
            Ok(delta.with_rows(rows))
        };
        let deltas = elements.into_iter().map(named);
        let deltas = deltas.collect::<Result<Vec<_>, arrow::error::ArrowError>>()?;
        Ok(Delta::concat(&schema, &deltas)?)
    }

    /// The relation that a bracket window is at the query's instant.
    fn window(&self, window: &WindowNode) -> Result<RecordBatch, DataFusionError> {
        let instant = self.instant.expect("a query with a window has an instant");
        let all = self.windowed(window)?;
        let keys = window.exprs.iter().map(|key| {
            let key = window_expr(key, window.input.schema())?;
            key.evaluate(all.rows())?.into_array(all.len())
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let spec = match window.kind {
            WindowKind::Range { size, inclusive, slide } => {
                Spec::Range { size: size.saturating_add(i64::from(inclusive)), slide }
            }
            WindowKind::Current(period) => Spec::Current { period, offset: 0 },
            WindowKind::Rows { count, slide: 1 } => Spec::Rows { count, keys },
            WindowKind::Rows { count, slide } => Spec::Batches { count, every: slide },
            WindowKind::Partitioned { count, range: None } => Spec::Rows { count, keys },
            WindowKind::Partitioned { count, range: Some(size) } => {
                Spec::RecentRows { count, keys, size }
            }
            WindowKind::Assign(_) | WindowKind::Session { .. } => {
                unreachable!("window functions are not brackets")
            }
        };
        Ok(snapshot::relation_at(&spec, &all, instant)?)
    }
}

/// A scan of given rows instead of an object. The terms of WITH RECURSIVE must agree in the types
/// of their columns and in nothing else, so there columns forget what they are declared as.
fn scan_of(
    mut scan: TableScan,
    rows: RecordBatch,
    recursive: bool,
) -> Result<LogicalPlan, DataFusionError> {
    let plain = |field: &FieldRef| field.as_ref().clone().with_metadata(Default::default());
    let schema = match recursive {
        true => Arc::new(Schema::new(rows.schema().fields().iter().map(plain).collect::<Vec<_>>())),
        false => rows.schema(),
    };
    let rows = batch(Arc::clone(&schema), rows.columns().to_vec(), rows.num_rows())?;
    let source = provider_as_source(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?));
    if !recursive {
        scan.source = source;
        return Ok(LogicalPlan::TableScan(scan));
    }
    let builder = TableScanBuilder::new(scan.table_name, source);
    let builder = builder.with_projection(scan.projection).with_filters(scan.filters);
    Ok(LogicalPlan::TableScan(builder.build()?))
}

/// Returns whether a plan reads a stream, directly or through a maintained view, has a window, or
/// looks up what is there when a row comes.
pub fn reads_stream(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= scanned(node).is_some_and(|source| source.kind() != ScanKind::Table);
        found |= window_node(node).is_some() || to_stream_node(node).is_some();
        found |= lookup_node(node).is_some();
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
