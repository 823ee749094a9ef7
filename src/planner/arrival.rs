//! The order of a stream's rows, as columns: what breaks ties that ORDER BY leaves.
//!
//! # Semantics
//! Rows of a stream are ordered by event time, then by arrival (LANGUAGE 1.2). Where an expression
//! of OVER depends on the order of peers, two hidden columns are carried from the scan of the
//! stream to where they are needed, through whatever treats each row alone: filters, projections,
//! windows, other OVERs. Other relations have no order of arrival; their ties are broken by the
//! whole row.
//!
//! # Why
//! The order in which rows reach an operator depends on shards once they were exchanged, and
//! retractions come in no order at all. A column goes with its row.

use std::sync::Arc;

use datafusion::common::{Column, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    self as logical, Expr, Extension, LogicalPlan, TableScanBuilder, UserDefinedLogicalNodeCore,
};

use super::lower::window_node;
use super::over::OverNode;
use super::relation::{RelationSource, SEQ};

/// The hidden column of the event time.
const TIME: &str = "$time";

/// Returns the plan with hidden columns for the order of its rows, and these, if its rows are those
/// of a stream.
pub(super) fn with_arrival(plan: &LogicalPlan) -> DfResult<Option<(LogicalPlan, Vec<Expr>)>> {
    match plan {
        LogicalPlan::TableScan(scan) => scanned(scan),
        LogicalPlan::SubqueryAlias(alias) => {
            let Some((input, order)) = with_arrival(&alias.input)? else { return Ok(None) };
            let alias = logical::SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
            let qualified = |expr: Expr| requalified(expr, &alias.alias);
            let order = order.into_iter().map(qualified).collect();
            Ok(Some((LogicalPlan::SubqueryAlias(alias), order)))
        }
        LogicalPlan::Filter(filter) => {
            let Some((input, order)) = with_arrival(&filter.input)? else { return Ok(None) };
            let filter = logical::Filter::try_new(filter.predicate.clone(), Arc::new(input))?;
            Ok(Some((LogicalPlan::Filter(filter), order)))
        }
        LogicalPlan::Projection(projection) => {
            let Some((input, order)) = with_arrival(&projection.input)? else { return Ok(None) };
            let (kept, order): (Vec<Expr>, Vec<Expr>) = order.into_iter().map(hidden).unzip();
            let exprs = projection.expr.iter().cloned().chain(kept).collect();
            let projection = logical::Projection::try_new(exprs, Arc::new(input))?;
            Ok(Some((LogicalPlan::Projection(projection), order)))
        }
        LogicalPlan::Extension(extension) => {
            if let Some(over) = extension.node.as_any().downcast_ref::<OverNode>() {
                if !over.ties.is_empty() {
                    return Ok(Some((plan.clone(), over.ties.clone())));
                }
                let Some((input, order)) = with_arrival(&over.input)? else { return Ok(None) };
                let calls = (over.calls.clone(), over.excludes.clone());
                let node = Arc::new(OverNode::new(calls, vec![], input)?);
                return Ok(Some((LogicalPlan::Extension(Extension { node }), order)));
            }
            let Some(window) = window_node(plan) else { return Ok(None) };
            let Some((input, order)) = with_arrival(&window.input)? else { return Ok(None) };
            let window = window.with_exprs_and_inputs(window.expressions(), vec![input])?;
            let node = Extension { node: Arc::new(window) };
            Ok(Some((LogicalPlan::Extension(node), order)))
        }
        _ => Ok(None),
    }
}

/// A stream with its order of arrival.
fn scanned(scan: &logical::TableScan) -> DfResult<Option<(LogicalPlan, Vec<Expr>)>> {
    let source = scan.source.downcast_ref::<RelationSource>();
    let Some(source) = source.and_then(RelationSource::with_seq) else { return Ok(None) };
    let column = |name: &str| Expr::Column(Column::new(Some(scan.table_name.clone()), name));
    let time = source.event_time().map(|i| column(source.row_type().field(i).name()));
    let order = time.into_iter().chain([column(SEQ)]).collect();
    let builder = TableScanBuilder::new(scan.table_name.clone(), Arc::new(source));
    let scan = builder.with_filters(scan.filters.clone()).build()?;
    Ok(Some((LogicalPlan::TableScan(scan), order)))
}

/// A column of the order as an expression of a projection, and as a column of its result: the event
/// time under a name of its own, for that of the column may be another's there.
fn hidden(order: Expr) -> (Expr, Expr) {
    match &order {
        Expr::Column(column) if column.name == SEQ || column.name == TIME => (order.clone(), order),
        _ => (order.alias(TIME), Expr::Column(Column::from_name(TIME))),
    }
}

fn requalified(expr: Expr, alias: &TableReference) -> Expr {
    match expr {
        Expr::Column(column) => Expr::Column(Column::new(Some(alias.clone()), column.name)),
        other => other,
    }
}
