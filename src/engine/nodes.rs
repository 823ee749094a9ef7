//! Our nodes of a plan that runs once, replaced by their rows; the rest is DataFusion's.
//!
//! # Semantics
//! Scans and windows in brackets hold their rows by then. Of two nodes the inner one goes first:
//! its inputs are run by DataFusion, and the node itself is computed from its definition, or by its
//! operator, which then gets all rows as one instant.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::ExecutionProps;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Sort};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};

use super::assigned::assigned;
use super::budget::Held;
use super::{Error, Result, asof};
use crate::delta::batch;
use crate::error::SqlState;
use crate::planner::asof::asof_node;
use crate::planner::lower::window_node;
use crate::planner::ordered;
use crate::planner::window::{WindowKind, WindowNode};
use crate::runtime::once;
use crate::runtime::operator::assigner;
use crate::windows::snapshot::{self, SessionsOf};

/// How many scans of given rows there have been.
static SCANS: AtomicU64 = AtomicU64::new(0);

/// Replaces our nodes, innermost first, by their rows; returns what these hold of what queries may.
pub(super) async fn our_nodes(
    mut plan: LogicalPlan,
    state: &SessionState,
) -> Result<(LogicalPlan, Vec<MemoryReservation>)> {
    let mut shares = Vec::new();
    while let Some(node) = innermost(&plan)? {
        if !node.all_out_ref_exprs().is_empty() {
            return Err(Error::hinted(
                SqlState::FEATURE_NOT_SUPPORTED,
                "OVER, DISTINCT ON or a window in a correlated subquery is not supported yet",
                "Write it as a join.",
            ));
        }
        let mut table = Some(match window_node(&node).map(|window| (window, window.kind)) {
            Some((window, WindowKind::Assign(how))) => {
                assigned(window, assigner(how), state).await?
            }
            _ => {
                let held = computed(&node, state).await?;
                let table = table_of(&held.rows)?;
                shares.push(held.into_share());
                table
            }
        });
        plan = plan
            .transform_down_with_subqueries(|other| match table.take_if(|_| other == node) {
                None => Ok(Transformed::no(other)),
                Some(table) => {
                    let rows = scan_as(&other, table)?;
                    Ok(Transformed::new(rows, true, TreeNodeRecursion::Jump))
                }
            })?
            .data;
    }
    Ok((plan, shares))
}

/// The rows of one of our nodes. They are computed where it may take long: a statement that is
/// canceled does not wait for them.
async fn computed(node: &LogicalPlan, state: &SessionState) -> Result<Held> {
    let (mut inputs, mut shares) = (Vec::new(), Vec::new());
    for input in node.inputs() {
        let held = Held::gather(state, execute_plain(state, input).await?).await?;
        inputs.push(held.rows.clone());
        shares.push(held.into_share());
    }
    let node = simplified(node, state)?;
    let rows = tokio::task::spawn_blocking(move || rows_of(&node, inputs)).await;
    let rows = rows.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    Ok(Held::made(state, rows?)?)
}

/// Runs a plan without nodes of ours.
pub(super) async fn execute_plain(
    state: &SessionState,
    plan: &LogicalPlan,
) -> Result<SendableRecordBatchStream> {
    let physical = state.create_physical_plan(plan).await?;
    Ok(execute_stream(physical, state.task_ctx())?)
}

/// One of our nodes whose inputs have no other.
fn innermost(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        if window_node(node).is_some() || asof_node(node).is_some() || ordered::is_ours(node) {
            found = Some(node.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The same node, with functions that are computed only as what they are simplified to: COALESCE.
fn simplified(node: &LogicalPlan, state: &SessionState) -> Result<LogicalPlan, DataFusionError> {
    Ok(SimplifyExpressions::new().rewrite(node.clone(), state)?.data)
}

/// The rows of one of our nodes over those of its inputs.
fn rows_of(node: &LogicalPlan, inputs: Vec<RecordBatch>) -> Result<RecordBatch> {
    if let Some(window) = window_node(node) {
        return windowed(window, &inputs[0]);
    }
    if let Some(join) = asof_node(node) {
        return Ok(asof::joined(join, [&inputs[0], &inputs[1]])?);
    }
    let node = ordered::alone(node).expect("only our nodes are searched for")?;
    let rows = once::run(&node, inputs)?;
    rows.map_err(|error| Error::refused(error.sqlstate, error.message))
}

/// The rows of a window function over these rows.
fn windowed(window: &WindowNode, rows: &RecordBatch) -> Result<RecordBatch> {
    let computed = window.exprs.iter().map(|expr| {
        let expr = window_expr(expr, window.input.schema())?;
        expr.evaluate(rows)?.into_array(rows.num_rows())
    });
    let computed = computed.collect::<Result<Vec<_>, DataFusionError>>()?;
    let times = &computed[0];
    Ok(match window.kind {
        WindowKind::Session { gap, .. } => {
            let (keys, met) = computed[1..].split_at(window.session_keys().len());
            snapshot::sessions(rows, SessionsOf { times, keys, met: met.first(), gap })?
        }
        _ => unreachable!("brackets are replaced before, and what only assigns windows is a table"),
    })
}

/// A key or time of a window, ready to be computed over its input.
pub(super) fn window_expr(
    expr: &Expr,
    input: &DFSchema,
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    create_physical_expr(expr, input, &props, &context)
}

/// A scan of given rows with the columns of the node it stands for. No other scan has its name, or
/// DataFusion would take both for the same.
pub(super) fn values_of(
    node: &LogicalPlan,
    rows: RecordBatch,
) -> Result<LogicalPlan, DataFusionError> {
    scan_as(node, table_of(&rows)?)
}

/// The columns under numbers as their names: names come from the node that the rows stand for,
/// where relations tell equal ones apart.
pub(super) fn numbered(schema: &Schema) -> SchemaRef {
    let named = |(i, field): (usize, &FieldRef)| field.as_ref().clone().with_name(i.to_string());
    let fields: Vec<Field> = schema.fields().iter().enumerate().map(named).collect();
    Arc::new(Schema::new(fields))
}

fn table_of(rows: &RecordBatch) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let schema = numbered(&rows.schema());
    let rows = batch(Arc::clone(&schema), rows.columns().to_vec(), rows.num_rows())?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
}

fn scan_as(
    node: &LogicalPlan,
    table: Arc<dyn TableProvider>,
) -> Result<LogicalPlan, DataFusionError> {
    let name = format!("$rows {}", SCANS.fetch_add(1, Ordering::Relaxed));
    let scan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?.build()?;
    let columns = scan.schema().iter().zip(node.schema().iter()).map(|(new, (qualifier, old))| {
        Expr::from(new).alias_qualified(qualifier.cloned(), old.name())
    });
    let columns = columns.collect::<Vec<_>>();
    LogicalPlanBuilder::from(scan).project(columns)?.build()
}

/// Lets ORDER BY .. LIMIT choose among equal rows as a view does: by the whole row.
pub(super) fn break_ties(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::Limit(mut limit) = node else { return Ok(Transformed::no(node)) };
        let sorted = match Arc::unwrap_or_clone(limit.input) {
            LogicalPlan::Sort(sort) => LogicalPlan::Sort(by_whole_row(sort)),
            LogicalPlan::Projection(mut projection) => {
                if let LogicalPlan::Sort(sort) = projection.input.as_ref() {
                    projection.input = Arc::new(LogicalPlan::Sort(by_whole_row(sort.clone())));
                }
                LogicalPlan::Projection(projection)
            }
            other => other,
        };
        limit.input = Arc::new(sorted);
        Ok(Transformed::yes(LogicalPlan::Limit(limit)))
    })?;
    Ok(plan.data)
}

/// Adds all columns to a sort's keys.
fn by_whole_row(mut sort: Sort) -> Sort {
    let sortable = |field: &Field| !field.data_type().is_nested();
    let columns = sort.input.schema().iter().filter(|(_, field)| sortable(field));
    let columns: Vec<Expr> = columns.map(Expr::from).collect();
    for column in columns {
        if !sort.expr.iter().any(|key| key.expr == column) {
            sort.expr.push(column.sort(true, true));
        }
    }
    sort
}
