//! Answers to queries on relations that are always empty here.
//!
//! Some queries on triggers, policies or publications are beyond what DataFusion plans. Their answer is
//! known: a join with an empty relation has no rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, JoinOperator, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, VisitMut, VisitorMut,
};

use super::{column, expression};
use crate::engine::pg_catalog::schema::always_empty;

/// Returns the statement with every part that cannot have rows reduced to its columns; `None` if there is
/// no such part. Columns of those parts become text.
pub(in crate::engine::pg_catalog) fn without_rows(statement: &Statement) -> Option<Statement> {
    let mut reduced = statement.clone();
    let mut rule = Reduce { any: false };
    let _ = reduced.visit(&mut rule);
    rule.any.then_some(reduced)
}

struct Reduce {
    any: bool,
}

impl VisitorMut for Reduce {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.any |= reduce_body(query.body.as_mut());
        ControlFlow::Continue(())
    }
}

fn reduce_body(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => reduce(select),
        SetExpr::SetOperation { left, right, .. } => {
            let left = reduce_body(left);
            reduce_body(right) || left
        }
        _ => false,
    }
}

fn reduce(select: &mut Select) -> bool {
    let wildcard = |item: &SelectItem| {
        !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
    };
    if !has_no_rows(select) || select.projection.iter().any(wildcard) {
        return false;
    }
    for (number, item) in select.projection.iter_mut().enumerate() {
        let alias = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            SelectItem::UnnamedExpr(expr) => {
                column(expr).cloned().unwrap_or_else(|| Ident::new(format!("column{}", number + 1)))
            }
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias { expr: expression("CAST(NULL AS TEXT)"), alias };
    }
    select.from = Vec::new();
    select.selection = Some(expression("false"));
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
    select.distinct = None;
    true
}

/// Returns whether an inner part of FROM is empty, or only foreign keys are asked for.
pub(super) fn has_no_rows(select: &Select) -> bool {
    let empty = select.from.iter().any(|from| {
        let inner = from.joins.iter().filter(|join| {
            matches!(
                join.join_operator,
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
            )
        });
        let outer = from.joins.iter().any(|join| {
            matches!(
                join.join_operator,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
            )
        });
        let mut factors = std::iter::once(&from.relation).chain(inner.map(|join| &join.relation));
        !outer && factors.any(is_empty)
    });
    let foreign = select.selection.as_ref().is_some_and(|selection| {
        let text = selection.to_string();
        text.contains("contype = 'f'") && !text.contains(" OR ")
    });
    (empty || foreign) && !aggregates(select)
}

/// Returns whether the select has a row even if nothing is selected.
fn aggregates(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(by, _) => !by.is_empty(),
        GroupByExpr::All(_) => true,
    };
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Function(function))
        | SelectItem::ExprWithAlias { expr: Expr::Function(function), .. } => {
            let name = function.name.to_string().to_lowercase();
            matches!(name.as_str(), "count" | "sum" | "min" | "max" | "array_agg" | "string_agg")
        }
        _ => false,
    };
    !grouped && select.projection.iter().any(item)
}

fn is_empty(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, .. } => {
            let name = name.0.last().and_then(|part| part.as_ident());
            name.is_some_and(|name| always_empty(&name.value))
        }
        _ => false,
    }
}
