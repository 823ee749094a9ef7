//! Subqueries as values: `ARRAY(..)`, scalar ones, and EXISTS in a select list.
//!
//! DataFusion decorrelates a scalar subquery if it aggregates and if what it takes from outside stands in
//! equations. So scalar subqueries get an aggregate, and those that take something else are NULL: with our
//! objects they all are (collations that differ from their type's, privileges, options).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArguments, GroupByExpr, Query, Select, SelectItem, SetExpr,
    TableFactor, TableWithJoins, Visit, VisitMut, Visitor, VisitorMut,
};

use super::{call, expression, null};

/// Functions that make a query one of a single row.
const AGGREGATES: [&str; 10] = [
    "array_agg(",
    "avg(",
    "bool_and(",
    "bool_or(",
    "count(",
    "first_value(",
    "max(",
    "min(",
    "string_agg(",
    "sum(",
];

/// The rule.
pub(super) struct Subqueries;

impl VisitorMut for Subqueries {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut() {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                {
                    let _ = expr.visit(&mut Existence);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("array") => {
                if let FunctionArguments::Subquery(query) = &mut function.args {
                    *expr = scalar(query, "array_agg");
                }
            }
            Expr::Subquery(query) => *expr = scalar(query, "first_value"),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Turns EXISTS into a count.
struct Existence;

impl VisitorMut for Existence {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Exists { subquery, negated } = expr
            && let SetExpr::Select(select) = subquery.body.as_mut()
        {
            select.projection = vec![SelectItem::UnnamedExpr(expression("count(*)"))];
            let compared = if *negated { "=" } else { ">" };
            *expr = expression(&format!("(({subquery}) {compared} 0)"));
        }
        ControlFlow::Continue(())
    }
}

/// Makes a subquery one that gives a single value.
fn scalar(query: &mut Query, aggregate: &str) -> Expr {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Expr::Nested(Box::new(Expr::Subquery(Box::new(query.clone()))));
    };
    if !decorrelates(select) {
        return null();
    }
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(by, _) => !by.is_empty(),
        GroupByExpr::All(_) => true,
    };
    let single = query.limit_clause.is_some() || grouped;
    if let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        select.projection.as_mut_slice()
    {
        let text = item.to_string().to_lowercase();
        let aggregated = AGGREGATES.iter().any(|function| text.contains(function));
        if aggregate == "array_agg" || !(single || aggregated) {
            *item = call(aggregate, &[item]);
            query.order_by = None;
        }
    }
    // In parentheses, so that later rules take it as it is.
    Expr::Nested(Box::new(Expr::Subquery(Box::new(query.clone()))))
}

/// Returns whether what the subquery takes from outside stands in equations alone.
fn decorrelates(select: &Select) -> bool {
    let mut own = BTreeSet::new();
    for from in &select.from {
        collect(from, &mut own);
    }
    let unnests = select.from.iter().any(|from| {
        let text = from.to_string().to_lowercase();
        text.contains("unnest(") || text.contains("generate_series(")
    });
    if unnests {
        return false;
    }
    let mut predicates = Vec::new();
    if let Some(selection) = &select.selection {
        conjuncts(selection, &mut predicates);
    }
    let items = select.projection.iter().all(|item| !takes_from_outside(item, &own));
    items
        && predicates.into_iter().all(|predicate| match predicate {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                !(takes_from_outside(left.as_ref(), &own)
                    && takes_from_outside(right.as_ref(), &own))
            }
            other => !takes_from_outside(other, &own),
        })
}

fn conjuncts<'a>(expr: &'a Expr, out: &mut Vec<&'a Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, out);
            conjuncts(right, out);
        }
        Expr::Nested(inner) => conjuncts(inner, out),
        other => out.push(other),
    }
}

/// Collects the names by which a FROM item's columns can be qualified.
fn collect(from: &TableWithJoins, names: &mut BTreeSet<String>) {
    let joined = from.joins.iter().map(|join| &join.relation);
    for factor in std::iter::once(&from.relation).chain(joined) {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. } => {
                names.insert(alias.name.value.clone());
            }
            TableFactor::Table { name, .. } => {
                names.extend(
                    name.0.last().and_then(|part| part.as_ident()).map(|i| i.value.clone()),
                );
            }
            TableFactor::NestedJoin { table_with_joins, .. } => collect(table_with_joins, names),
            _ => {}
        }
    }
}

/// Returns whether a qualified column in `part` belongs to none of the relations `own`.
fn takes_from_outside(part: &impl Visit, own: &BTreeSet<String>) -> bool {
    struct Outside<'a>(&'a BTreeSet<String>);
    impl Visitor for Outside<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::CompoundIdentifier(parts)
                    if parts.iter().rev().nth(1).is_some_and(|q| !self.0.contains(&q.value)) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    part.visit(&mut Outside(own)).is_break()
}
