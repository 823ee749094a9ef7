//! Maintained views that are ahead of a query's instant.
//!
//! # Semantics
//! A query that runs once is at one instant: the last that the watermarks of all its inputs have
//! passed. A view holds what it is at its own last closed instant, and that may be a later one,
//! when another input of the query lags behind. Then the view stands in the query by its
//! definition, over what its own inputs retain.
//!
//! Not so a view that shows its changes at other times than they happen (EMIT): it is read as it
//! is.

use std::collections::BTreeMap;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScan};

use super::Result;
use super::query::{Once, scanned, settled_once};
use super::relations::StatementRelations;
use crate::planner::bind::{bind_query, rename};
use crate::planner::relation::{Names, RelationSource};
use crate::runtime::read::Read;
use crate::sql;
use crate::sql::catalog::{ObjectKind, Oid};
use crate::sql::output::style::Style;
use crate::time::Timestamp;

/// Returns the plan with the views among `reads` that are ahead of an instant defined in it;
/// nothing if there are none.
pub(super) fn defined(
    once: &Once,
    plan: &LogicalPlan,
    reads: &BTreeMap<Oid, Read>,
    instant: Timestamp,
) -> Result<Option<LogicalPlan>> {
    let ahead = |oid: &Oid| match reads.get(oid) {
        Some(Read::View(view)) => view.watermark.last_closed() > instant,
        _ => false,
    };
    let mut sources: BTreeMap<Oid, RelationSource> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        let source = scanned(node).filter(|source| ahead(&source.object.oid));
        sources.extend(source.map(|source| (source.object.oid, source.clone())));
        Ok(TreeNodeRecursion::Continue)
    })?;
    let state = once.engine.at_present(&once.functions);
    let mut definitions = BTreeMap::new();
    for (oid, source) in sources {
        definitions.extend(definition(once, &source, &state)?.map(|plan| (oid, plan)));
    }
    if definitions.is_empty() {
        return Ok(None);
    }
    let defined = plan.clone().transform_down_with_subqueries(|node| {
        let found = scanned(&node).and_then(|source| definitions.get(&source.object.oid));
        match (found.cloned(), node) {
            (Some(definition), LogicalPlan::TableScan(scan)) => {
                let definition = standing_for(&scan, definition)?;
                Ok(Transformed::new(definition, true, TreeNodeRecursion::Jump))
            }
            (_, node) => Ok(Transformed::no(node)),
        }
    })?;
    let plan = defined.data.transform_up(|node| node.recompute_schema().map(Transformed::yes))?;
    Ok(Some(plan.data))
}

/// The query of a view, under its names; nothing if the view is not what its query is.
fn definition(
    once: &Once,
    source: &RelationSource,
    state: &SessionState,
) -> Result<Option<LogicalPlan>> {
    let object = &source.object;
    let in_event_time = source.properties.as_ref().is_some_and(|p| !p.timeless);
    let ObjectKind::View(view) = &object.kind else { return Ok(None) };
    let query = sql::parse_query_text(&view.query)?;
    if !in_event_time || query.emit.is_some() {
        return Ok(None);
    }
    let style = Style::default();
    let relations =
        StatementRelations::new(&once.engine, view.search_path.clone(), &view.time_zone, style);
    let names = Names::new(&relations, &relations.functions, query.windows.clone()).of_view();
    let plan = rename(bind_query(&query, &names)?, object)?;
    settled_once(plan, state).map(Some)
}

/// A plan with the columns of a scan.
fn standing_for(scan: &TableScan, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let plan = LogicalPlanBuilder::from(plan).alias(scan.table_name.clone())?;
    let columns = scan
        .projected_schema
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())));
    let plan = scan.filters.iter().cloned().try_fold(plan, LogicalPlanBuilder::filter)?;
    plan.project(columns.collect::<Vec<_>>())?.build()
}
