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
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType, NullEquality, NullHandling};
use datafusion::execution::SessionState;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{self as logical, Expr, FetchType, LogicalPlan, SkipType};
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::decorrelate::Decorrelate;
use super::derive;
use super::error::{Error, Result};
use super::grouping::{Sets, null, sets_of};
use super::panes::Panes;
use super::plan::{
    Aggregate, Assign, Call, Clock, Join, Node, Op, Plan, Scan, Session, Temporal, TopN, Unnest,
    Window,
};
use super::relation::{RelationSource, system_time_type};
use super::temporal::{self, TemporalNode, temporal_node};
use super::window::{WindowKind, WindowNode};
use super::{distribute, on_close};

/// DataFusion's rewrites that hold for changing bags, in order.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    use datafusion::optimizer::{
        common_subexpr_eliminate::CommonSubexprEliminate,
        decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        eliminate_cross_join::EliminateCrossJoin, eliminate_outer_join::EliminateOuterJoin,
        extract_equijoin_predicate::ExtractEquijoinPredicate,
        optimize_projections::OptimizeProjections, push_down_filter::PushDownFilter,
        replace_distinct_aggregate::ReplaceDistinctWithAggregate,
        simplify_expressions::SimplifyExpressions,
    };
    vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(Panes),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// Plans a bound query as a continuous one.
pub fn continuous(plan: LogicalPlan, on_close_wanted: bool, state: &SessionState) -> Result<Plan> {
    refuse_clock_functions(&plan)?;
    let options = state.config_options();
    let analyzed = state.analyzer().execute_and_check(plan, options, |_, _| {})?;
    let analyzed = Decorrelate { uncorrelated: true }.rewrite(analyzed)?;
    let analyzed = temporal::extract(analyzed)?;
    let config = OptimizerContext::new_with_config_options(Arc::clone(options))
        .without_query_execution_start_time()
        .with_max_passes(3);
    let optimized = Optimizer::with_rules(rules()).optimize(analyzed, &config, |_, _| {})?;
    let clock = clock_of(&optimized)?;
    let mut root = Lowering { props: ExecutionProps::new(), clock }.node(&optimized)?;
    if on_close_wanted {
        root = on_close::place(root)?;
    }
    let root = distribute::distribute(root);
    let mut inputs = Vec::new();
    root.visit(&mut |node| {
        if let Op::Scan(scan) = &node.op {
            inputs.push(scan.object);
        }
    });
    inputs.sort_unstable();
    inputs.dedup();
    let time_type = match clock {
        Clock::Event => root.properties.time_type.clone(),
        Clock::Arrival => None,
    };
    let time_type = time_type.unwrap_or_else(system_time_type);
    Ok(Plan { root, clock, on_close: on_close_wanted, inputs, time_type })
}

/// The block is on the EVENT clock if it has a bracket window, or a temporal filter over what has
/// event time (LANGUAGE 7.3, rule 1).
fn clock_of(plan: &LogicalPlan) -> Result<Clock> {
    let mut clock = if temporal::on_event_time(plan)? { Clock::Event } else { Clock::Arrival };
    plan.apply_with_subqueries(|node| {
        if let Some(window) = window_node(node)
            && window.kind.is_bracket()
        {
            clock = Clock::Event;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(clock)
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
                    && !matches!(
                        f.func.name(),
                        "now" | "to_timestamp" | "to_char" | "to_date" | "version"
                    )
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
            hint:
                "Its value would change by itself. Compare with a column, or use a window such as \
                   [RANGE 1 HOUR]."
                    .into(),
        }),
    }
}

fn later(what: impl Into<String>, hint: &str) -> Error {
    Error::Unsupported {
        what: format!("{} in a continuous query is not supported yet", what.into()),
        hint: hint.into(),
    }
}

struct Lowering {
    props: ExecutionProps,
    clock: Clock,
}

impl Lowering {
    fn node(&self, plan: &LogicalPlan) -> Result<Node> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => {
                let mut node = self.node(&alias.input)?;
                node.schema = relaxed(&alias.schema);
                Ok(node)
            }
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Filter(filter) => {
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
            LogicalPlan::Extension(_) => match (window_node(plan), temporal_node(plan)) {
                (Some(window), _) => self.window(window),
                (None, Some(filter)) => self.temporal(filter),
                (None, None) => Err(later("this construct", "Leave it out.")),
            },
            LogicalPlan::Window(_) => {
                Err(later("OVER (..)", "Use GROUP BY, or ORDER BY .. LIMIT for the top rows."))
            }
            LogicalPlan::Distinct(_) => Err(later("DISTINCT ON", "Use [PARTITION BY .. ROWS 1].")),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::RecursiveQuery(_) => {
                Err(later("WITH RECURSIVE", "Run it as a one-shot query."))
            }
            LogicalPlan::Subquery(_) => Err(later("this subquery", "Write it as a join.")),
            LogicalPlan::Repartition(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(later("this statement", "Use a query.")),
        }
    }

    fn expr(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        if matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)) {
            return Err(later("this subquery", "Write it as a join."));
        }
        let context = PhysicalPlanningContext::default();
        Ok(create_physical_expr(expr, schema, &self.props, &context)?)
    }

    fn exprs(&self, exprs: &[Expr], schema: &DFSchema) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        exprs.iter().map(|e| self.expr(e, schema)).collect()
    }

    fn scan(&self, scan: &logical::TableScan) -> Result<Node> {
        let Some(source) = scan.source.downcast_ref::<RelationSource>() else {
            return Err(later(
                format!("system relation \"{}\"", scan.table_name.table()),
                "Query it with SELECT.",
            ));
        };
        let width = source.object.columns.len();
        let op = Op::Scan(Scan {
            object: source.object.oid,
            name: source.object.name.clone(),
            kind: source.kind(),
            projection: scan.projection.clone().unwrap_or_else(|| (0..width).collect()),
            progress: source.progress(),
        });
        let node = derive::scan(op, source, relaxed(&scan.projected_schema));
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
            WindowKind::Session(gap) => {
                let time = exprs.remove(0);
                let closes = derive::session_closes(time.as_ref(), &input);
                Op::Session(Session { time, keys: exprs, gap, closes, held: false })
            }
        };
        use datafusion::logical_expr::UserDefinedLogicalNodeCore;
        Ok(derive::node(op, vec![input], relaxed(window.schema())))
    }

    fn temporal(&self, filter: &TemporalNode) -> Result<Node> {
        let input = self.node(&filter.input)?;
        if self.clock == Clock::Event && input.properties.timeless {
            return Err(later(
                "now() compared with a table beside a stream's event time",
                "Filter the table in a view of its own.",
            ));
        }
        let bounds = self.exprs(&filter.bounds, filter.input.schema())?;
        let bounds = bounds.into_iter().zip(filter.kinds.iter().copied()).collect();
        let schema = Arc::clone(&input.schema);
        let op = Op::Temporal(Temporal { bounds, clock: self.clock });
        Ok(derive::node(op, vec![input], schema))
    }

    fn aggregate(&self, aggregate: &logical::Aggregate) -> Result<Node> {
        let mut input = self.node(&aggregate.input)?;
        let logical_schema = aggregate.input.schema();
        let group = match sets_of(aggregate)? {
            Some(sets) => {
                input = self.expand(input, &sets, aggregate)?;
                let columns = input.schema.fields().iter().enumerate();
                let keys = columns.skip(logical_schema.fields().len());
                keys.map(|(i, f)| Arc::new(Column::new(f.name(), i)) as Arc<dyn PhysicalExpr>)
                    .collect()
            }
            None => {
                // A key that is grouped by twice is one column of the result.
                let mut keys: Vec<Expr> = Vec::new();
                for key in &aggregate.group_expr {
                    if !keys.contains(key) {
                        keys.push(key.clone());
                    }
                }
                self.exprs(&keys, logical_schema)?
            }
        };
        let physical_schema = logical_schema.as_arrow().clone();
        let calls = aggregate.aggr_expr.iter().map(|expr| {
            let context = PhysicalPlanningContext::default();
            let lowered = LoweredAggregateBuilder::new(
                expr,
                logical_schema,
                &physical_schema,
                &self.props,
                &context,
            )
            .build()?;
            Ok(Call { function: lowered.aggregate, filter: lowered.filter })
        });
        let calls = calls.collect::<Result<Vec<_>>>()?;
        let op = Op::Aggregate(Aggregate {
            append_only: input.properties.append_only,
            frees: derive::frees(&group, &input),
            group,
            calls,
        });
        Ok(derive::node(op, vec![input], relaxed(&aggregate.schema)))
    }

    /// Repeats each row for every grouping set: the columns of the input, then the keys and the
    /// number of the set.
    fn expand(&self, input: Node, sets: &Sets, aggregate: &logical::Aggregate) -> Result<Node> {
        let input_schema = aggregate.input.schema();
        let added = &aggregate.schema.fields()[..=sets.keys.len()];
        let columns: Vec<Expr> = input_schema.columns().into_iter().map(Expr::Column).collect();
        let mut lists = Vec::new();
        for (set, number) in &sets.sets {
            let mut list = columns.clone();
            for (key, field) in sets.keys.iter().zip(added.iter()) {
                let there = set.contains(key);
                list.push(if there { key.clone() } else { null(field.data_type())? });
            }
            let number = logical::lit(*number);
            list.push(logical::cast(number, added[sets.keys.len()].data_type().clone()));
            lists.push(self.exprs(&list, input_schema)?);
        }
        let fields = input
            .schema
            .fields()
            .iter()
            .chain(added.iter())
            .map(|field| Field::new(field.name(), field.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(derive::node(Op::Expand(lists), vec![input], schema))
    }

    fn unnest(&self, unnest: &logical::Unnest) -> Result<Node> {
        let input = self.node(&unnest.input)?;
        let deep = unnest.list_type_columns.iter().any(|(_, list)| list.depth > 1);
        if deep || !unnest.struct_type_columns.is_empty() {
            return Err(later("unnest of nested arrays", "Unnest one dimension."));
        }
        let is_list = |column: usize| unnest.list_type_columns.iter().any(|(c, _)| *c == column);
        let columns = unnest.dependency_indices.iter().map(|c| (*c, is_list(*c))).collect();
        let keep_empty = unnest.options.null_handling != NullHandling::Drop;
        let op = Op::Unnest(Unnest { columns, keep_empty });
        Ok(derive::node(op, vec![input], relaxed(&unnest.schema)))
    }

    fn join(&self, join: &logical::Join) -> Result<Node> {
        match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {}
            JoinType::LeftSemi | JoinType::LeftAnti if !join.null_aware => {}
            other => return Err(later(format!("{other} join"), "Write it as a LEFT JOIN.")),
        }
        let (left, right) = (self.node(&join.left)?, self.node(&join.right)?);
        let (mut left_keys, mut right_keys) = (Vec::new(), Vec::new());
        for (l, r) in &join.on {
            left_keys.push(self.expr(l, join.left.schema())?);
            right_keys.push(self.expr(r, join.right.schema())?);
        }
        let both = join.left.schema().join(join.right.schema())?;
        let residual = join.filter.as_ref().map(|f| self.expr(f, &both)).transpose()?;
        let frees = derive::join_frees([&left, &right], [&left_keys, &right_keys]);
        let op = Op::Join(Join {
            kind: join.join_type,
            left_keys,
            right_keys,
            residual,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            frees,
        });
        Ok(derive::node(op, vec![left, right], relaxed(&join.schema)))
    }

    fn sort(&self, sort: &logical::Sort, skip: usize, fetch: Option<usize>) -> Result<Node> {
        let input = self.node(&sort.input)?;
        if skip == 0 && fetch.is_none() {
            return Ok(input);
        }
        let keys = sort.expr.iter().map(|key| {
            let options =
                arrow::compute::SortOptions { descending: !key.asc, nulls_first: key.nulls_first };
            Ok((self.expr(&key.expr, sort.input.schema())?, options))
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let schema = Arc::clone(&input.schema);
        Ok(derive::node(Op::TopN(TopN { keys, skip, fetch }), vec![input], schema))
    }

    fn limit(&self, limit: &logical::Limit) -> Result<Node> {
        let not_constant = || later("a LIMIT that is not a constant", "Write the number.");
        let SkipType::Literal(skip) = limit.get_skip_type()? else { return Err(not_constant()) };
        let FetchType::Literal(fetch) = limit.get_fetch_type()? else { return Err(not_constant()) };
        match limit.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.sort(sort, skip, fetch),
            // ORDER BY a column that is not selected: the projection stands above the sort.
            LogicalPlan::Projection(projection) if sorts(&projection.input) => {
                let LogicalPlan::Sort(sort) = projection.input.as_ref() else {
                    unreachable!("matched above")
                };
                let input = self.sort(sort, skip, fetch)?;
                let exprs = self.exprs(&projection.expr, projection.input.schema())?;
                Ok(derive::node(Op::Project(exprs), vec![input], relaxed(&projection.schema)))
            }
            _ => {
                let input = self.node(&limit.input)?;
                let schema = Arc::clone(&input.schema);
                let top = TopN { keys: vec![], skip, fetch };
                Ok(derive::node(Op::TopN(top), vec![input], schema))
            }
        }
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

fn sorts(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Sort(sort) if sort.fetch.is_none())
}

/// One row without columns, over which constants are computed.
pub(super) fn one_row() -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?)
}

fn constant(schema: SchemaRef, rows: usize) -> Node {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = schema.fields().iter().map(|f| arrow::array::new_null_array(f.data_type(), rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns.collect(), &options);
    let batch = batch.expect("columns are made for the schema");
    derive::node(Op::Values(batch), vec![], schema)
}

/// The schema with every column nullable: deltas carry data that no constraint was checked on.
fn relaxed(schema: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| {
        Field::new(f.name(), f.data_type().clone(), true).with_metadata(f.metadata().clone())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
