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

use super::empty::has_no_rows;
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

/// The aggregate that `ARRAY(..)` stands for.
const ARRAY: &str = "array_agg";

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
                    *expr = scalar(query, ARRAY);
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
        return parenthesized(query);
    };
    let conditions = lift_conditions(select);
    if has_no_rows(select) || !decorrelates(select) {
        return if aggregate == ARRAY { expression("CAST(NULL AS TEXT[])") } else { null() };
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
        if aggregate == ARRAY || !(single || aggregated) {
            *item = call(aggregate, &[item]);
            query.order_by = None;
        }
    }
    let value = parenthesized(query);
    if conditions.is_empty() {
        return value;
    }
    let conditions: Vec<String> = conditions.iter().map(|c| format!("({c})")).collect();
    expression(&format!("CASE WHEN {} THEN {value} END", conditions.join(" AND ")))
}

/// Puts a subquery in parentheses, so that later rules take it as it is.
fn parenthesized(query: &Query) -> Expr {
    Expr::Nested(Box::new(Expr::Subquery(Box::new(query.clone()))))
}

/// Takes out the conditions that only look outside.
fn lift_conditions(select: &mut Select) -> Vec<Expr> {
    let own = names(select);
    let mut predicates = Vec::new();
    if let Some(selection) = &select.selection {
        conjuncts(selection, &mut predicates);
    }
    let outer = |predicate: &&Expr| !looks_inside(*predicate, &own);
    let (lifted, kept): (Vec<&Expr>, Vec<&Expr>) = predicates.into_iter().partition(outer);
    if lifted.is_empty() {
        return Vec::new();
    }
    let lifted = lifted.into_iter().cloned().collect();
    let kept: Vec<String> = kept.into_iter().map(|predicate| format!("({predicate})")).collect();
    select.selection = (!kept.is_empty()).then(|| expression(&kept.join(" AND ")));
    lifted
}

/// Returns whether what the subquery takes from outside stands in equations alone.
fn decorrelates(select: &Select) -> bool {
    let own = names(select);
    let unnests = select.from.iter().any(|from| {
        let text = from.to_string().to_lowercase();
        text.contains("unnest(") || text.contains("generate_series(")
    });
    let mut predicates = Vec::new();
    if let Some(selection) = &select.selection {
        conjuncts(selection, &mut predicates);
    }
    !unnests
        && select.projection.iter().all(|item| !looks_outside(item, &own))
        && predicates.into_iter().all(|predicate| match predicate {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                !(looks_outside(left.as_ref(), &own) && looks_outside(right.as_ref(), &own))
            }
            other => !looks_outside(other, &own),
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

/// Returns the names by which the columns of a select's relations can be qualified.
fn names(select: &Select) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for from in &select.from {
        collect(from, &mut names);
    }
    names
}

fn collect(from: &TableWithJoins, names: &mut BTreeSet<String>) {
    let joined = from.joins.iter().map(|join| &join.relation);
    for factor in std::iter::once(&from.relation).chain(joined) {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. } => {
                names.insert(alias.name.value.clone());
            }
            TableFactor::Table { name, .. } => {
                let name = name.0.last().and_then(|part| part.as_ident());
                names.extend(name.map(|name| name.value.clone()));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => collect(table_with_joins, names),
            _ => {}
        }
    }
}

/// Returns whether a column in `part` is qualified by none of the names `own`.
fn looks_outside(part: &impl Visit, own: &BTreeSet<String>) -> bool {
    any_column(part, &|qualifier| qualifier.is_some_and(|name| !own.contains(name)))
}

/// Returns whether `part` may need the relations `own`: it has no column, or one of theirs.
fn looks_inside(part: &impl Visit, own: &BTreeSet<String>) -> bool {
    !any_column(part, &|_| true)
        || any_column(part, &|qualifier| qualifier.is_none_or(|name| own.contains(name)))
}

/// Returns whether a column's qualifier, if it has one, satisfies `test`.
fn any_column(part: &impl Visit, test: &dyn Fn(Option<&str>) -> bool) -> bool {
    struct Columns<'a>(&'a dyn Fn(Option<&str>) -> bool);
    impl Visitor for Columns<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let found = match expr {
                Expr::Identifier(_) => (self.0)(None),
                Expr::CompoundIdentifier(parts) => {
                    (self.0)(parts.iter().rev().nth(1).map(|part| part.value.as_str()))
                }
                _ => false,
            };
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    part.visit(&mut Columns(test)).is_break()
}
