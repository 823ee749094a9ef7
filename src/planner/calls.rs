//! Calls in a query's text that stand for something else.
//!
//! | written                         | stands for                                      |
//! |---------------------------------|-------------------------------------------------|
//! | `FROM f(..)`, f giving rows     | the lateral function ([`super::rows`])          |
//! | `SELECT f(..)`, f giving rows   | `unnest($f(..))`                                |
//! | `GROUP BY ()`                   | grouping sets ([`super::group_by`])             |
//! | `rank(a) WITHIN GROUP (..)`     | counts of rows ([`super::hypothetical`])         |
//! | `make_interval(days => 1)`      | the same with all arguments, in their places    |
//! | `ARRAY(SELECT x .. ORDER BY y)` | `(SELECT coalesce(array_agg(x ORDER BY y), {})` |
//! | `ARRAY[x, y]`                   | `make_array(x, y)`: DataFusion's has no outer columns |

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, SelectItem, SetExpr, TableFactor, VisitMut, VisitorMut,
};

use super::rows::{gives_rows, plain_name};
use super::{group_by, hypothetical};

/// Rewrites the calls of a tree.
pub(super) fn rewrite(tree: &mut impl VisitMut) {
    let _ = VisitMut::visit(tree, &mut Calls);
}

struct Calls;

impl VisitorMut for Calls {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        group_by::spell_out(&mut select.group_by);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                let _ = VisitMut::visit(expr, &mut InSelectList { depth: 0 });
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let gives = |name: &ObjectName| plain_name(name).is_some_and(|n| gives_rows(&n).is_some());
        let call = match factor {
            TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. }
                if gives(name) =>
            {
                (name.clone(), args.args.clone(), *with_ordinality, alias.clone())
            }
            TableFactor::UNNEST {
                alias, array_exprs, with_offset: false, with_ordinality, ..
            } => {
                let args = array_exprs.iter().cloned().map(argument).collect();
                let name = ObjectName::from(vec![Ident::new("unnest")]);
                (name, args, *with_ordinality, alias.clone())
            }
            TableFactor::Function { lateral, name, .. } if gives(name) => {
                *lateral = true;
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        let (name, args, with_ordinality, alias) = call;
        *factor = TableFactor::Function { lateral: true, name, args, with_ordinality, alias };
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        hypothetical::spell_out(expr);
        if let Expr::Array(array) = expr {
            let elements = std::mem::take(&mut array.elem).into_iter().map(argument).collect();
            *expr = call("make_array", elements);
        }
        if let Expr::Function(function) = expr
            && plain_name(&function.name).as_deref() == Some("array")
            && let FunctionArguments::Subquery(query) = &mut function.args
            && let Some(value) = array_of(query)
        {
            *expr = value;
        }
        if let Expr::Function(function) = expr
            && plain_name(&function.name).as_deref() == Some("make_interval")
            && let FunctionArguments::List(list) = &mut function.args
        {
            in_places(&mut list.args);
        }
        ControlFlow::Continue(())
    }
}

/// The parameters of `make_interval`.
const SPANS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// Puts named arguments of `make_interval` in their places, and 0 where there is none; leaves names
/// that it has not.
fn in_places(args: &mut Vec<FunctionArg>) {
    let place = |arg: &FunctionArg| match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
            let place = SPANS.iter().position(|span| name.value.eq_ignore_ascii_case(span))?;
            Some((place, expr.clone()))
        }
        _ => None,
    };
    let unnamed = args.iter().take_while(|arg| matches!(arg, FunctionArg::Unnamed(_))).count();
    let named: Option<Vec<_>> = args[unnamed..].iter().map(place).collect();
    let Some(named) = named.filter(|named| named.iter().all(|(place, _)| *place >= unnamed)) else {
        return;
    };
    let zero = || Expr::Value(ast::Value::Number("0".into(), false).into());
    let last = named.iter().map(|(place, _)| place + 1).max().unwrap_or(unnamed);
    args.truncate(unnamed);
    args.extend((unnamed..last).map(|_| argument(zero())));
    for (place, expr) in named {
        args[place] = argument(expr);
    }
}

/// Wraps functions that give rows, not those of subqueries.
struct InSelectList {
    depth: usize,
}

impl VisitorMut for InSelectList {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = plain_name(&function.name).filter(|name| name != "unnest");
        if let Some(name) = name.filter(|name| gives_rows(name) == Some(true)) {
            let span = function.name.0[0].as_ident().map(|ident| ident.span);
            let mut internal = Ident::with_quote('"', format!("${name}"));
            internal.span = span.unwrap_or(internal.span);
            function.name = ObjectName::from(vec![internal]);
            *expr = call("unnest", vec![argument(expr.clone())]);
        }
        ControlFlow::Continue(())
    }
}

fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

fn list(args: Vec<FunctionArg>, clauses: Vec<ast::FunctionArgumentClause>) -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses })
}

fn call(name: &str, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(function(name, list(args, vec![])))
}

fn function(name: &str, args: FunctionArguments) -> Function {
    Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args,
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    }
}

/// The array of a subquery's rows, in their order; `None` if it is no SELECT of one expression.
fn array_of(query: &mut ast::Query) -> Option<Expr> {
    let order = match query.order_by.as_ref().map(|by| &by.kind) {
        None => vec![],
        Some(ast::OrderByKind::Expressions(by)) => by.clone(),
        Some(ast::OrderByKind::All(_)) => return None,
    };
    // The subquery gives the element and what it is ordered by; the array is made around it.
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let [SelectItem::UnnamedExpr(element) | SelectItem::ExprWithAlias { expr: element, .. }] =
        select.projection.as_mut_slice()
    else {
        return None;
    };
    let element = element.clone();
    let name = |i: usize| Ident::with_quote('"', format!("$item{i}"));
    let mut items = vec![SelectItem::ExprWithAlias { expr: element.clone(), alias: name(0) }];
    let distinct = select.distinct.is_some();
    let mut ordered = Vec::new();
    for (i, by) in order.into_iter().enumerate() {
        let first = matches!(&by.expr, Expr::Value(v)
            if matches!(&v.value, ast::Value::Number(n, _) if n == "1"));
        let place = if first || by.expr == element { 0 } else { i + 1 };
        if place > 0 {
            if distinct {
                return None;
            }
            items.push(SelectItem::ExprWithAlias { expr: by.expr.clone(), alias: name(place) });
        }
        ordered.push(ast::OrderByExpr { expr: Expr::Identifier(name(place)), ..by });
    }
    select.projection = items;
    let clauses = match ordered.is_empty() {
        true => vec![],
        false => vec![ast::FunctionArgumentClause::OrderBy(ordered)],
    };
    let all = function("array_agg", list(vec![argument(Expr::Identifier(name(0)))], clauses));
    let empty = call("make_array", vec![]);
    let value = call("coalesce", vec![argument(Expr::Function(all)), argument(empty)]);
    let derived = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: Some(ast::TableAlias {
            explicit: true,
            name: Ident::with_quote('"', "$array"),
            columns: vec![],
            at: None,
        }),
        sample: None,
    };
    let parsed = crate::sql::parse_query_text("SELECT 1").ok()?;
    let mut outer = *parsed.ast;
    let SetExpr::Select(select) = outer.body.as_mut() else { return None };
    select.projection =
        vec![SelectItem::ExprWithAlias { expr: value, alias: Ident::with_quote('"', "array") }];
    select.from = vec![ast::TableWithJoins { relation: derived, joins: vec![] }];
    Some(Expr::Subquery(Box::new(outer)))
}
