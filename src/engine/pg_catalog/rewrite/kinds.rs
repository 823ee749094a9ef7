//! What is asked of composite types and domains: no value here has such a type.
//!
//! A subquery behind `CASE WHEN t.typtype = 'c'` is NULL: a bigint, or an array of texts where it
//! gathers. (As it stands, DataFusion does not plan it: it names columns of the query around it.)

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, VisitorMut};

use super::{expression, literal};

/// The rule.
pub(super) struct Kinds;

impl VisitorMut for Kinds {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Case { operand: None, conditions, .. } = expr else {
            return ControlFlow::Continue(());
        };
        let [only] = conditions.as_slice() else { return ControlFlow::Continue(()) };
        if let Expr::Subquery(query) = &only.result
            && asks_for_kind(&only.condition)
        {
            let gathers = query.to_string().to_ascii_lowercase().contains("array_agg(");
            let absent = if gathers { "CAST(NULL AS TEXT[])" } else { "CAST(NULL AS BIGINT)" };
            *expr = expression(absent);
        }
        ControlFlow::Continue(())
    }
}

/// Whether a condition is that a type is composite or a domain.
fn asks_for_kind(condition: &Expr) -> bool {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return false };
    let column = match left.as_ref() {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    column.is_some_and(|name| name.value.eq_ignore_ascii_case("typtype"))
        && matches!(literal(right), Some("c" | "d"))
}
