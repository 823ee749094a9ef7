//! Hypothetical-set aggregates: where a row would stand among those of a group.
//!
//! # Semantics
//! `f(a, ..) WITHIN GROUP (ORDER BY x, ..)`, of rows that stand before the values `a` in the order,
//! or beside them:
//!
//! | call           | stands for                                                          |
//! |----------------|---------------------------------------------------------------------|
//! | `rank`         | `1 + count(before)`                                                 |
//! | `dense_rank`   | `1 + count(DISTINCT x before)`, and one for NULL if that is before  |
//! | `percent_rank` | `count(before) / count(*)`, 0 of no rows                            |
//! | `cume_dist`    | `(1 + count(before or beside)) / (1 + count(*))`                    |
//!
//! `dense_rank` takes one key. A FILTER of the call holds for all. The values are of the group, not
//! of its rows ([`OF_GROUP`]).

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, OrderByExpr, VisitMut, VisitorMut,
};

use super::calls::call;
use super::grouping::OF_GROUP;
use super::rows::plain_name;
use crate::sql;

/// Replaces a call by what it stands for.
pub(super) fn spell_out(expr: &mut Expr) {
    let Expr::Function(call) = expr else { return };
    if call.within_group.is_empty() || call.over.is_some() {
        return;
    }
    let (Some(name), Some(args)) = (plain_name(&call.name), arguments(&call.args)) else { return };
    let keys = &call.within_group;
    if args.len() != keys.len() || (name == "dense_rank" && keys.len() != 1) {
        return;
    }
    let text = match name.as_str() {
        "rank" => "(1 + count(*) FILTER (WHERE before AND kept))",
        "dense_rank" => {
            "(1 + count(DISTINCT x) FILTER (WHERE before AND kept) \
             + CASE WHEN count(*) FILTER (WHERE before AND kept AND x IS NULL) > 0 \
               THEN 1 ELSE 0 END)"
        }
        "percent_rank" => {
            "CASE WHEN count(*) FILTER (WHERE kept) = 0 THEN 0::float8 \
             ELSE count(*) FILTER (WHERE before AND kept)::float8 \
               / count(*) FILTER (WHERE kept)::float8 END"
        }
        "cume_dist" => {
            "((1 + count(*) FILTER (WHERE (before OR beside) AND kept))::float8 \
             / (1 + count(*) FILTER (WHERE kept))::float8)"
        }
        _ => return,
    };
    let pairs: Vec<(&OrderByExpr, &Expr)> = keys.iter().zip(args).collect();
    let kept = call.filter.as_deref().cloned();
    let parts = [
        ("x", Some(keys[0].expr.clone())),
        ("before", before(&pairs)),
        ("beside", beside(&pairs)),
        ("kept", kept.or_else(|| filled("true", &[]))),
    ];
    if let Some(spelled) = filled(text, &parts) {
        *expr = spelled;
    }
}

fn arguments(args: &FunctionArguments) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = args else { return None };
    let argument = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().map(argument).collect()
}

/// The condition that a row stands before the values.
fn before(pairs: &[(&OrderByExpr, &Expr)]) -> Option<Expr> {
    let Some(((key, value), rest)) = pairs.split_first() else { return filled("false", &[]) };
    let descends = key.options.asc == Some(false);
    let text = match (descends, key.options.nulls_first.unwrap_or(descends)) {
        (false, false) => "x < a OR (x IS NOT NULL AND a IS NULL) OR (beside AND later)",
        (false, true) => "x < a OR (x IS NULL AND a IS NOT NULL) OR (beside AND later)",
        (true, false) => "x > a OR (x IS NOT NULL AND a IS NULL) OR (beside AND later)",
        (true, true) => "x > a OR (x IS NULL AND a IS NOT NULL) OR (beside AND later)",
    };
    let parts = [
        ("x", Some(key.expr.clone())),
        ("a", Some(of_group(value))),
        ("beside", beside(&pairs[..1])),
        ("later", before(rest)),
    ];
    filled(text, &parts)
}

/// A value that is one of the group; constants are so by themselves.
fn of_group(value: &Expr) -> Expr {
    match value {
        Expr::Value(_) => value.clone(),
        _ => {
            let value = FunctionArg::Unnamed(FunctionArgExpr::Expr(value.clone()));
            call(OF_GROUP, vec![value])
        }
    }
}

/// The condition that it stands beside them.
fn beside(pairs: &[(&OrderByExpr, &Expr)]) -> Option<Expr> {
    let Some(((key, value), rest)) = pairs.split_first() else { return filled("true", &[]) };
    let parts =
        [("x", Some(key.expr.clone())), ("a", Some(of_group(value))), ("rest", beside(rest))];
    filled("x IS NOT DISTINCT FROM a AND rest", &parts)
}

/// The expression of a text, with parts in the place of names.
fn filled(text: &str, parts: &[(&str, Option<Expr>)]) -> Option<Expr> {
    struct Fill<'a>(&'a [(&'a str, Option<Expr>)]);
    impl VisitorMut for Fill<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let Expr::Identifier(name) = &*expr else { return ControlFlow::Continue(()) };
            match self.0.iter().find(|(part, _)| *part == name.value) {
                Some((_, Some(part))) => *expr = Expr::Nested(Box::new(part.clone())),
                Some((_, None)) => return ControlFlow::Break(()),
                None => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut expr = sql::parse_expression(text).ok()?;
    let whole = VisitMut::visit(&mut expr, &mut Fill(parts)).is_continue();
    whole.then(|| Expr::Nested(Box::new(expr)))
}
