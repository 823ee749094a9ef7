//! `(a, b) IN (SELECT x, y ..)`: rows looked for among those of a subquery.
//!
//! # Semantics
//! True if a row of the subquery equals in all columns, unknown if one could, were its NULLs known,
//! and else false. NOT IN is its negation.
//!
//! ```text
//!   (a, b) IN (Q)    in WHERE    EXISTS (SELECT 1 FROM (Q) $in($0, $1) WHERE $0 = a AND $1 = b)
//!                    elsewhere   CASE WHEN that THEN true
//!                                     WHEN EXISTS (.. WHERE ($0 = a) IS NOT FALSE AND ..)
//!                                     THEN NULL ELSE false END
//! ```

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    self, BinaryOperator, CaseWhen, Expr, Ident, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Value,
};

/// Replaces the form in a condition of which only truth counts.
pub(super) fn in_condition(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            in_condition(left);
            in_condition(right);
        }
        Expr::Nested(inner) => in_condition(inner),
        _ => {
            if let Some((items, query, negated)) = form(expr)
                && let Some(exists) = exists(items, query, negated)
            {
                *expr = Expr::Exists { subquery: Box::new(exists), negated };
            }
        }
    }
}

/// Replaces the form where its value counts.
pub(super) fn as_value(expr: &mut Expr) {
    let Some((items, query, negated)) = form(expr) else { return };
    let (Some(equal), Some(perhaps)) = (exists(items, query, false), exists(items, query, true))
    else {
        return;
    };
    let when = |query, result| CaseWhen {
        condition: Expr::Exists { subquery: Box::new(query), negated: false },
        result: value(result),
    };
    *expr = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![when(equal, Value::Boolean(!negated)), when(perhaps, Value::Null)],
        else_result: Some(Box::new(value(Value::Boolean(negated)))),
    };
}

fn value(value: Value) -> Expr {
    Expr::Value(value.into())
}

/// The columns, the subquery, and whether it is negated.
fn form(expr: &Expr) -> Option<(&[Expr], &ast::Query, bool)> {
    let Expr::InSubquery { expr, subquery, negated } = expr else { return None };
    match expr.as_ref() {
        Expr::Tuple(items) if items.len() > 1 => Some((items, subquery, *negated)),
        _ => None,
    }
}

/// The rows of a subquery that equal, or, if `perhaps`, that do not differ for certain.
fn exists(items: &[Expr], query: &ast::Query, perhaps: bool) -> Option<ast::Query> {
    let name = |text: String| Ident::with_quote('"', text);
    let relation = || name("$in".to_owned());
    let column = |i: usize| name(format!("${i}"));
    let condition = items.iter().enumerate().map(|(i, item)| {
        let equal = Expr::BinaryOp {
            left: Box::new(Expr::CompoundIdentifier(vec![relation(), column(i)])),
            op: BinaryOperator::Eq,
            right: Box::new(item.clone()),
        };
        match perhaps {
            true => Expr::IsNotFalse(Box::new(Expr::Nested(Box::new(equal)))),
            false => equal,
        }
    });
    let all = condition.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    });
    let columns =
        (0..items.len()).map(|i| TableAliasColumnDef { name: column(i), data_type: None });
    let derived = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: Some(TableAlias {
            explicit: true,
            name: relation(),
            columns: columns.collect(),
            at: None,
        }),
        sample: None,
    };
    let mut outer = *crate::sql::parse_query_text("SELECT 1").ok()?.ast;
    let SetExpr::Select(select) = outer.body.as_mut() else { return None };
    select.projection = vec![SelectItem::UnnamedExpr(value(Value::Number("1".into(), false)))];
    select.from = vec![TableWithJoins { relation: derived, joins: vec![] }];
    select.selection = all;
    Some(outer)
}
