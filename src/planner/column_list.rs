//! Relations that are given names for some of their columns: `FROM t AS x (a, b)`.
//!
//! # Semantics
//! The names are those of the first columns; the others keep theirs. DataFusion wants one for each.

use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use sqlparser::ast::TableFactor;

use super::error::Error;
use crate::error::SqlState;
use crate::sql::names::fold;

/// Plans tables and subqueries with fewer names than columns.
#[derive(Debug)]
pub(super) struct ColumnLists;

impl RelationPlanner for ColumnLists {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let mut plain = relation;
        let (TableFactor::Table { alias, args: None, .. }
        | TableFactor::Derived { alias, lateral: false, .. }) = &mut plain
        else {
            return Ok(RelationPlanning::Original(Box::new(plain)));
        };
        let Some(mut alias) = alias.take_if(|alias| !alias.columns.is_empty()) else {
            return Ok(RelationPlanning::Original(Box::new(plain)));
        };
        let names = std::mem::take(&mut alias.columns);
        let plan = context.plan(plain)?;
        let columns = plan.schema().columns();
        if names.len() > columns.len() {
            return Err(Error::Invalid {
                what: format!(
                    "table \"{}\" has {} columns available but {} columns specified",
                    alias.name.value,
                    columns.len(),
                    names.len()
                ),
                sqlstate: SqlState("42P10"),
                hint: None,
            }
            .into());
        }
        let mut names = names.into_iter();
        let exprs = columns.into_iter().map(|column| match names.next() {
            Some(name) => Expr::Column(column).alias(fold(&name.name)),
            None => Expr::Column(column),
        });
        let plan = LogicalPlanBuilder::from(plan).project(exprs.collect::<Vec<_>>())?.build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(alias)))))
    }
}
