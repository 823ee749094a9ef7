//! DataFusion's logical plan to our streaming plan.
//!
//! # Semantics
//! Every operator acts pointwise on the instants of its block's clock (LANGUAGE 1.3), so the
//! rewrites that
//! DataFusion proves for bags hold here too; `rules` lists those we use. What has no incremental
//! form here
//! is refused with 0A000 by name, never approximated.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{self as logical, Expr, LogicalPlan};
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::asof::asof_node;
use super::decorrelate::Decorrelate;
use super::derive;
use super::error::{Error, Result};
use super::lookup::{looks_up, lookup_node};
use super::never::Never;
use super::null_safe::{join_keys, join_pairs};
use super::ordered::Ordered;
use super::panes::Panes;
use super::past::past_node;
use super::plan::{
    Aggregate, Assign, Call, Clock, Kind, Node, Op, Plan, Scan, Session, Shows, Window,
};
use super::relation::{RelationSource, system_time_type};
use super::temporal::{self, temporal_node};
use super::to_stream::{self, to_stream_node};
use super::window::{WindowKind, WindowNode};
use super::{clock, distribute, empty_subquery, late, on_close, pace};
use crate::sql::statement::Emit;

/// DataFusion's rewrites that hold for changing bags, in order.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    use datafusion::optimizer::{
        common_subexpr_eliminate::CommonSubexprEliminate,
        decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        eliminate_outer_join::EliminateOuterJoin, optimize_projections::OptimizeProjections,
        push_down_filter::PushDownFilter, replace_distinct_aggregate::ReplaceDistinctWithAggregate,
        simplify_expressions::SimplifyExpressions,
    };
    vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(Never),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(join_keys()),
        Arc::new(join_pairs()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(Panes),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// What a continuous query is to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Changes of a relation, or a stream if the query closes windows.
    #[default]
    Changes,
    /// A stream; ISTREAM is added to a query that is monotonic.
    Stream,
    /// A stream whose elements come in the order of their times, when their instants have closed.
    InOrder,
    /// A stream with the times of its elements in a column: one more, if none of the query's is.
    Stamped,
}

/// How a query is to run continuously.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// What it is to give.
    pub wanted: Wanted,
    /// `EMIT ON WINDOW CLOSE`.
    pub on_close: bool,
    /// `EMIT EVERY` or `EMIT AFTER DELAY`.
    pub shows: Option<Shows>,
    /// `WITH (clock = ..)`.
    pub clock: Option<Clock>,
}

impl Request {
    /// What an EMIT clause asks for.
    pub fn emitting(emit: Option<Emit>) -> Self {
        let request = Self::default();
        match emit {
            None | Some(Emit::Changes) => request,
            Some(Emit::OnWindowClose) => Self { on_close: true, ..request },
            Some(Emit::AfterDelay(delay)) => Self { shows: Some(Shows::After(delay)), ..request },
            Some(Emit::Every(period)) => Self { shows: Some(Shows::Every(period)), ..request },
        }
    }
}

/// The column that [`Wanted::Stamped`] adds.
pub const TIME_COLUMN: &str = "event_time";

/// Plans a bound query as a continuous one.
pub fn continuous(plan: LogicalPlan, request: Request, state: &SessionState) -> Result<Plan> {
    refuse_clock_functions(&plan)?;
    let options = state.config_options();
    let analyzed = state.analyzer().execute_and_check(plan, options, |_, _| {})?;
    let (mut root, clock) = lowered(analyzed, request, state)?;
    if request.on_close {
        root = on_close::place(root)?;
    }
    root = pace::place(root, clock, request)?;
    let late = late::refuse(&root, clock, request)?;
    if late && clock == Clock::Event {
        root = late::windowed(root);
    }
    let stream = request.wanted != Wanted::Changes || (request.on_close && !late);
    if stream && !root.properties.append_only {
        return Err(to_stream::not_monotonic());
    }
    let on_arrival = root.properties.timeless || (clock == Clock::Arrival && !request.on_close);
    let result_clock = match stream {
        true if on_arrival => Clock::Arrival,
        true => Clock::Event,
        false => clock,
    };
    let time_type = match result_clock {
        Clock::Event => root.properties.time_type.clone(),
        Clock::Arrival => None,
    };
    let time_type = time_type.unwrap_or_else(system_time_type);
    // Commits are in order of themselves.
    let in_order = |root: &Node| result_clock == Clock::Arrival || clock::in_order(root);
    match request.wanted {
        Wanted::InOrder if !in_order(&root) => {
            let schema = Arc::clone(&root.schema);
            root = derive::node(Op::Arrange, vec![root], schema);
        }
        Wanted::Stamped if root.properties.time_column.is_none() => {
            let time = Field::new(TIME_COLUMN, time_type.clone(), true);
            let fields = root.schema.fields().iter().cloned().chain([Arc::new(time)]);
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            root = derive::node(Op::Stamp, vec![root], schema);
        }
        _ => {}
    }
    let root = distribute::distribute(root);
    let kind = match stream {
        true => Kind::Stream { closed: in_order(&root) },
        false => Kind::Relation,
    };
    let mut inputs = Vec::new();
    root.visit(&mut |node| {
        if let Op::Scan(scan) = &node.op {
            inputs.push(scan.object);
        }
    });
    inputs.sort_unstable();
    inputs.dedup();
    let on_close = request.on_close;
    Ok(Plan { root, clock, on_close, kind, result_clock, inputs, time_type })
}

/// Rewrites and lowers an analyzed query, and finds its clock.
fn lowered(analyzed: LogicalPlan, request: Request, state: &SessionState) -> Result<(Node, Clock)> {
    let options = state.config_options();
    let analyzed = Decorrelate { uncorrelated: true }.rewrite(analyzed)?;
    let analyzed = temporal::extract(analyzed)?;
    let config = OptimizerContext::new_with_config_options(Arc::clone(options))
        .without_query_execution_start_time()
        .with_max_passes(3);
    let optimized = Optimizer::with_rules(rules()).optimize(analyzed, &config, |_, _| {})?;
    let lower = |clock| Lowering::new(clock).node(&optimized);
    let root = lower(Clock::Arrival)?;
    match clock::of_block(&root, request)? {
        Clock::Arrival => Ok((root, Clock::Arrival)),
        // Tables that keep versions are read in another way on the EVENT clock.
        Clock::Event => Ok((lower(Clock::Event)?, Clock::Event)),
    }
}

/// The clock of an analyzed query that is to run once. What has no continuous form is on the
/// ARRIVAL clock, and so is what does not join.
pub fn clock(analyzed: &LogicalPlan, state: &SessionState) -> Result<Clock> {
    if temporal::on_event_time(analyzed)? {
        return Ok(Clock::Event);
    }
    let mut joins = false;
    analyzed.apply_with_subqueries(|node| {
        joins |= matches!(node, LogicalPlan::Join(_) | LogicalPlan::Subquery(_));
        joins |= asof_node(node).is_some();
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !joins {
        return Ok(Clock::Arrival);
    }
    let lowered = lowered(analyzed.clone(), Request::default(), state);
    Ok(lowered.map_or(Clock::Arrival, |(_, clock)| clock))
}

/// Returns the window that a logical node is, if it is one.
pub fn window_node(plan: &LogicalPlan) -> Option<&WindowNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// A maintained query has no clock but `now()`, and that in temporal filters only.
fn refuse_clock_functions(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::ScalarFunction(f) = e
                    && f.func.signature().volatility != logical::Volatility::Immutable
                    && !matches!(f.func.name(), "now" | "version" | empty_subquery::VALUE)
                {
                    found = Some(f.func.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match found {
        None => Ok(()),
        Some(name) => Err(Error::Unsupported {
            what: format!("{name}() in a continuous query is not supported yet"),
            hint: "Its value would change by itself. Compare a column with now(), or use a window \
                   such as [RANGE 1 HOUR]."
                .into(),
        }),
    }
}

pub(super) fn later(what: impl Into<String>, hint: &str) -> Error {
    Error::Unsupported {
        what: format!("{} in a continuous query is not supported yet", what.into()),
        hint: hint.into(),
    }
}

/// Logical nodes to ours, innermost first.
pub(super) struct Lowering {
    props: ExecutionProps,
    /// The clock of the block.
    pub(super) clock: Clock,
}

impl Lowering {
    pub(super) fn new(clock: Clock) -> Self {
        Self { props: ExecutionProps::new(), clock }
    }

    pub(super) fn node(&self, plan: &LogicalPlan) -> Result<Node> {
        if let Some(ordered) = Ordered::of(plan) {
            let inputs = plan.inputs().into_iter().map(|input| self.node(input));
            return self.ordered(&ordered, inputs.collect::<Result<_>>()?);
        }
        match plan {
            LogicalPlan::SubqueryAlias(alias) => {
                let mut node = self.node(&alias.input)?;
                node.schema = relaxed(&alias.schema);
                Ok(node)
            }
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Filter(filter) => {
                if let Some(top) = self.top_of_over(&filter.predicate, &filter.input)? {
                    return Ok(top);
                }
                let input = self.node(&filter.input)?;
                let predicate = self.expr(&filter.predicate, filter.input.schema())?;
                let schema = Arc::clone(&input.schema);
                Ok(derive::node(Op::Filter(predicate), vec![input], schema))
            }
            LogicalPlan::Projection(projection) => {
                let input = self.node(&projection.input)?;
                let exprs = self.exprs(&projection.expr, projection.input.schema())?;
                Ok(derive::node(Op::Project(exprs), vec![input], relaxed(&projection.schema)))
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) if looks_up(join) => self.lookup(join),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|i| self.node(i)).collect::<Result<_>>()?;
                Ok(derive::node(Op::Union, inputs, relaxed(&union.schema)))
            }
            LogicalPlan::Sort(sort) => self.sort(sort, 0, sort.fetch),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) => {
                let rows = usize::from(empty.produce_one_row);
                Ok(constant(relaxed(&empty.schema), rows))
            }
            LogicalPlan::Extension(_) => self.own(plan),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::RecursiveQuery(_) => {
                Err(later("WITH RECURSIVE", "Run it as a one-shot query."))
            }
            LogicalPlan::Subquery(_) => Err(later("this subquery", "Write it as a join.")),
            LogicalPlan::Window(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(later("this statement", "Use a query.")),
        }
    }

    pub(super) fn expr(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        if matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)) {
            return Err(later("this subquery", "Write it as a join."));
        }
        let context = PhysicalPlanningContext::default();
        Ok(create_physical_expr(expr, schema, &self.props, &context)?)
    }

    pub(super) fn exprs(
        &self,
        exprs: &[Expr],
        schema: &DFSchema,
    ) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        exprs.iter().map(|e| self.expr(e, schema)).collect()
    }

    fn scan(&self, scan: &logical::TableScan) -> Result<Node> {
        let Some(source) = scan.source.downcast_ref::<RelationSource>() else {
            return Err(later(
                format!("system relation \"{}\"", scan.table_name.table()),
                "Query it with SELECT.",
            ));
        };
        let width = source.row_type().fields().len();
        let projection = scan.projection.clone().unwrap_or_else(|| (0..width).collect());
        let place = |column: &usize| projection.iter().position(|read| read == column);
        let key: Option<Vec<usize>> = source.primary_key().iter().map(place).collect();
        let op = Op::Scan(Scan {
            object: source.object.oid,
            name: source.object.name.clone(),
            kind: source.kind(),
            key: key.filter(|key| !key.is_empty()),
            projection,
            untimed: source
                .stream_def()
                .is_some_and(|def| def.event_time.is_none() && !def.by_rows),
            partitioned: source.stream_def().is_some_and(|def| def.partitioned || def.by_rows),
            lateness: source.lateness(),
            late: source.has_late(),
            seq: source.has_seq(),
            progress: source.progress(),
        });
        let node = match source.versions() {
            Some(versions) if self.clock == Clock::Event => {
                super::versions::current(&versions, scan)
            }
            _ => derive::scan(op, source, relaxed(&scan.projected_schema)),
        };
        let schema = DFSchema::try_from(Arc::clone(&node.schema))?;
        match scan.filters.iter().cloned().reduce(Expr::and) {
            None => Ok(node),
            Some(filter) => {
                let predicate = self.expr(&filter, &schema)?;
                let schema = Arc::clone(&node.schema);
                Ok(derive::node(Op::Filter(predicate), vec![node], schema))
            }
        }
    }

    /// A node of ours.
    fn own(&self, plan: &LogicalPlan) -> Result<Node> {
        if let Some(window) = window_node(plan) {
            return self.window(window);
        }
        if let Some(node) = to_stream_node(plan) {
            return self.to_stream(node);
        }
        if let Some(filter) = temporal_node(plan) {
            return self.temporal(filter);
        }
        if let Some(lookup) = lookup_node(plan) {
            return self.node(&lookup.input);
        }
        if past_node(plan).is_some() {
            return Err(later("AS OF a time", "Ask for it with SELECT."));
        }
        match asof_node(plan) {
            Some(join) => self.asof(join),
            None => Err(later("this construct", "Leave it out.")),
        }
    }

    fn window(&self, window: &WindowNode) -> Result<Node> {
        let input = self.node(&window.input)?;
        let mut exprs = self.exprs(&window.exprs, window.input.schema())?;
        let op = match window.kind {
            WindowKind::Range { size, inclusive, slide } => {
                Op::Window(Window::Range { size, inclusive, slide })
            }
            WindowKind::Current(period) => Op::Window(Window::Current { period }),
            WindowKind::Rows { count, slide } => Op::Window(Window::Rows { count, slide }),
            WindowKind::Partitioned { count, range } => {
                Op::Window(Window::Partitioned { keys: exprs, count, range })
            }
            WindowKind::Assign(assigner) => {
                let time = exprs.swap_remove(0);
                Op::Assign(Assign { time, assigner })
            }
            WindowKind::Session { gap, late } => {
                let met = if late { exprs.pop() } else { None };
                let time = exprs.remove(0);
                let closes = derive::session_closes(time.as_ref(), &input);
                Op::Session(Session { time, keys: exprs, gap, met, closes, held: false })
            }
        };
        use datafusion::logical_expr::UserDefinedLogicalNodeCore;
        Ok(derive::node(op, vec![input], relaxed(window.schema())))
    }

    fn aggregate(&self, aggregate: &logical::Aggregate) -> Result<Node> {
        let (input, group) = self.grouped(self.node(&aggregate.input)?, aggregate)?;
        let logical_schema = aggregate.input.schema();
        let calls =
            aggregate.aggr_expr.iter().map(|expr| self.aggregate_call(expr, logical_schema));
        let calls = calls.collect::<Result<Vec<_>>>()?;
        let op = Op::Aggregate(Aggregate {
            append_only: input.properties.append_only,
            frees: derive::frees(&group, &input),
            group,
            calls,
        });
        Ok(derive::node(op, vec![input], relaxed(&aggregate.schema)))
    }

    /// Lowers a call of an aggregate function and its filter.
    pub(super) fn aggregate_call(&self, expr: &Expr, schema: &DFSchema) -> Result<Call> {
        let context = PhysicalPlanningContext::default();
        let physical = schema.as_arrow();
        let lowered = LoweredAggregateBuilder::new(expr, schema, physical, &self.props, &context);
        let lowered = lowered.build()?;
        Ok(Call { function: lowered.aggregate, filter: lowered.filter })
    }

    fn values(&self, values: &logical::Values) -> Result<Node> {
        let schema = relaxed(&values.schema);
        let one = one_row()?;
        let empty = DFSchema::empty();
        let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); schema.fields().len()];
        for row in &values.values {
            for (column, expr) in columns.iter_mut().zip(row) {
                let value = self.expr(expr, &empty)?.evaluate(&one)?.into_array(1)?;
                column.push(value);
            }
        }
        let columns = columns.iter().map(|parts| {
            let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
            Ok(arrow::compute::concat(&parts)?)
        });
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_>>()?)?;
        Ok(derive::node(Op::Values(rows), vec![], schema))
    }
}

/// One row without columns, over which constants are computed.
pub(super) fn one_row() -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?)
}

pub(super) fn constant(schema: SchemaRef, rows: usize) -> Node {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = schema.fields().iter().map(|f| arrow::array::new_null_array(f.data_type(), rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns.collect(), &options);
    let batch = batch.expect("columns are made for the schema");
    derive::node(Op::Values(batch), vec![], schema)
}

/// The schema with every column nullable: deltas carry data that no constraint was checked on.
pub(super) fn relaxed(schema: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| {
        Field::new(f.name(), f.data_type().clone(), true).with_metadata(f.metadata().clone())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
