//! Relations as of a time, in queries that run once: their rows in the place of their scans.
//!
//! # Semantics
//! A time closer to a relation counts: that of a view's own AS OF before one of the view.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::Result;
use super::ddl::{no_timestamp, timestamp_value};
use super::nodes::values_of;
use super::query::{Once, scanned};
use crate::functions::error::failure;
use crate::planner;
use crate::planner::bind::constant_value;
use crate::planner::past::past_node;
use crate::planner::relation::RelationSource;
use crate::runtime::changes::AsOf;
use crate::runtime::read::Read;
use crate::time::Timestamp;

/// Reads what a plan names as of a time, and puts it into the plan.
pub(super) async fn read(
    once: &Once,
    plan: LogicalPlan,
    state: &SessionState,
) -> Result<LogicalPlan> {
    let mut reads = BTreeMap::new();
    gather(&plan, None, state, &mut reads)?;
    if reads.is_empty() {
        return Ok(plan);
    }
    for (as_of, read) in &mut reads {
        *read = Some(once.engine.hub().read_as_of(*as_of).await?);
    }
    let read = plan.transform_up_with_subqueries(|node| match past_node(&node) {
        None => Ok(Transformed::no(node)),
        Some(past) => {
            let at = time(&past.at, state)?;
            Ok(Transformed::yes(replaced(past.input.clone(), at, &reads)?))
        }
    });
    Ok(read?.data)
}

/// Notes which relations a plan reads as of which time; `at` is that of a node above.
fn gather(
    plan: &LogicalPlan,
    at: Option<Timestamp>,
    state: &SessionState,
    found: &mut BTreeMap<AsOf, Option<Read>>,
) -> Result<(), DataFusionError> {
    plan.apply_with_subqueries(|node| {
        if let Some(past) = past_node(node) {
            gather(&past.input, Some(time(&past.at, state)?), state, found)?;
            return Ok(TreeNodeRecursion::Jump);
        }
        let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
        let Some(at) = at else { return Ok(TreeNodeRecursion::Continue) };
        let source = scanned(node).filter(|source| !source.is_stream());
        let source = source.ok_or_else(|| no_past(scan.table_name.table()))?;
        found.insert(as_of(source, at), None);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn no_past(name: &str) -> DataFusionError {
    let what = format!("\"{name}\" AS OF a time is not supported");
    let hint = "Tables and views are read as of a time; of a stream choose rows by a time of \
                theirs in WHERE.";
    planner::Error::Unsupported { what, hint: hint.into() }.into()
}

fn as_of(source: &RelationSource, at: Timestamp) -> AsOf {
    let time = source.properties.as_ref().and_then(|properties| properties.time_type.as_ref());
    AsOf { object: source.object.oid, at, numbers: time == Some(&DataType::Int64) }
}

/// Puts what was read in the place of scans.
fn replaced(
    plan: LogicalPlan,
    at: Timestamp,
    reads: &BTreeMap<AsOf, Option<Read>>,
) -> Result<LogicalPlan, DataFusionError> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        let Some(source) = scanned(&node) else { return Ok(Transformed::no(node)) };
        let rows = match reads.get(&as_of(source, at)).and_then(Option::as_ref) {
            Some(Read::Table(snapshot) | Read::View(snapshot)) => {
                snapshot.all_rows()?.with_schema(source.row_type().clone())?
            }
            _ => unreachable!("all relations below the node have been read"),
        };
        let LogicalPlan::TableScan(scan) = &node else { unreachable!("scanned") };
        let rows = match &scan.projection {
            None => rows,
            Some(columns) => rows.project(columns)?,
        };
        Ok(Transformed::yes(values_of(&node, rows)?))
    });
    Ok(replaced?.data)
}

/// Computes the time as of which a relation is read.
fn time(at: &Expr, state: &SessionState) -> Result<Timestamp, DataFusionError> {
    let value = constant_value(at.clone(), state)?;
    timestamp_value(&value).ok_or_else(|| {
        let (sqlstate, message) = no_timestamp("AS OF", &value);
        failure(sqlstate, message)
    })
}
