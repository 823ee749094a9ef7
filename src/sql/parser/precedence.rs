//! IS [NOT] DISTINCT FROM binds as tightly as Postgres's IS, and a sign more tightly than `^`.
//!
//! sqlparser reads everything behind it as its right side, so that `a IS DISTINCT FROM b OR c` says
//! `a IS DISTINCT FROM (b OR c)`. What the user put in parentheses is a node of its own in the
//! tree,
//! so the loose operators found bare on a right side are known to be misplaced, and are moved up.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

/// Moves AND and OR that stand bare below an operator that binds more tightly above it. Called for
/// every expression, inner ones first.
pub fn regroup(expr: &mut Expr) {
    negate_first(expr);
    let bound = match expr {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => {
            leftmost(right, &[BinaryOperator::And, BinaryOperator::Or])
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
            leftmost(expr, &[BinaryOperator::And, BinaryOperator::Or])
        }
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } => {
            leftmost(right, &[BinaryOperator::Or])
        }
        _ => None,
    };
    // The tight operator takes the first operand; what it took too much of takes its place.
    let Some(operand) = bound else { return };
    let operand = take(operand);
    let loose = match expr {
        Expr::IsDistinctFrom(_, inner)
        | Expr::IsNotDistinctFrom(_, inner)
        | Expr::UnaryOp { expr: inner, .. }
        | Expr::BinaryOp { right: inner, .. } => inner,
        _ => unreachable!("matched above"),
    };
    let mut loose = std::mem::replace(loose.as_mut(), operand);
    let tight = take(expr);
    if let Some(place) = leftmost(&mut loose, &[BinaryOperator::And, BinaryOperator::Or]) {
        *place = tight;
    }
    *expr = loose;
}

/// Lets a sign belong to the first operand of a power: `-2 ^ 2` is 4.
fn negate_first(expr: &mut Expr) {
    let Expr::UnaryOp { op, expr: inner } = expr else { return };
    let sign = *op;
    if !matches!(sign, UnaryOperator::Minus | UnaryOperator::Plus) {
        return;
    }
    let Some(place) = leftmost(inner, &[BinaryOperator::PGExp]) else { return };
    let operand = Box::new(take(place));
    *place = Expr::UnaryOp { op: sign, expr: operand };
    *expr = take(inner);
}

/// The first operand of a chain of these operators, if there is a chain.
fn leftmost<'e>(expr: &'e mut Expr, operators: &[BinaryOperator]) -> Option<&'e mut Expr> {
    let is_chain =
        |expr: &Expr| matches!(expr, Expr::BinaryOp { op, .. } if operators.contains(op));
    if !is_chain(expr) {
        return None;
    }
    let mut place = expr;
    while is_chain(place) {
        let Expr::BinaryOp { left, .. } = place else { unreachable!("a chain") };
        place = left;
    }
    Some(place)
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Wildcard(AttachedToken::empty()))
}
