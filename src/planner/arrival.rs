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
use datafusion::logical_expr::{self as logical, Expr, Extension, LogicalPlan, TableScanBuilder};

use super::lower::window_node;
use super::over::OverNode;
use super::relation::RelationSource;
use super::window::WindowNode;

/// The hidden column of the event time.
const TIME: &str = "$time";

/// The hidden column of the order of arrival.
pub const ARRIVAL: &str = "$arrival";

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
            let exprs = projection.expr.iter().chain(&order).cloned().collect();
            let projection = logical::Projection::try_new(exprs, Arc::new(input))?;
            Ok(Some((LogicalPlan::Projection(projection), order)))
        }
        LogicalPlan::Extension(extension) => {
            if let Some(over) = extension.node.as_any().downcast_ref::<OverNode>() {
                let known = (!over.ties.is_empty()).then(|| (plan.clone(), over.ties.clone()));
                return Ok(known);
            }
            let Some(window) = window_node(plan) else { return Ok(None) };
            let Some((input, order)) = with_arrival(&window.input)? else { return Ok(None) };
            let window = WindowNode::new(window.kind, window.exprs.clone(), input)?;
            let node = Extension { node: Arc::new(window) };
            Ok(Some((LogicalPlan::Extension(node), order)))
        }
        _ => Ok(None),
    }
}

/// A stream with its event time and its order of arrival.
fn scanned(scan: &logical::TableScan) -> DfResult<Option<(LogicalPlan, Vec<Expr>)>> {
    let source = scan.source.downcast_ref::<RelationSource>();
    let Some(source) = source.and_then(RelationSource::with_arrival) else { return Ok(None) };
    let time = source.event_time().map(|i| source.object.columns[i].name.clone());
    let mut exprs: Vec<Expr> =
        scan.projected_schema.columns().into_iter().map(Expr::Column).collect();
    let name = scan.table_name.clone();
    let column = |column: &str| Expr::Column(Column::new(Some(name.clone()), column));
    let hidden = |expr: Expr, as_name: &str| expr.alias_qualified(Some(name.clone()), as_name);
    exprs.extend(time.iter().map(|time| hidden(column(time), TIME)));
    exprs.push(column(ARRIVAL));
    let mut order: Vec<Expr> = time.iter().map(|_| column(TIME)).collect();
    order.push(column(ARRIVAL));
    let source = Arc::new(source);
    let scan = TableScanBuilder::new(name, source).with_filters(scan.filters.clone()).build()?;
    let scan = Arc::new(LogicalPlan::TableScan(scan));
    let projection = logical::Projection::try_new(exprs, scan)?;
    Ok(Some((LogicalPlan::Projection(projection), order)))
}

fn requalified(expr: Expr, alias: &TableReference) -> Expr {
    match expr {
        Expr::Column(column) => Expr::Column(Column::new(Some(alias.clone()), column.name)),
        other => other,
    }
}
