//! VALUES: one type for each column, and rows that are more than constants.
//!
//! # Semantics
//! Texts in quotes and NULLs have the type that another row says in their column. Rows that name
//! columns or have subqueries are SELECTs put together by UNION ALL.

use std::ops::ControlFlow;

use sqlparser::ast::{self, Expr, Ident, SelectItem, SetExpr};

use super::calls::cast_to;

/// VALUES that name columns or have subqueries, as SELECTs; nothing for others, and none that say
/// DEFAULT.
pub(super) fn as_selects(values: &ast::Values) -> Option<SetExpr> {
    struct Looks {
        beyond: bool,
        default: bool,
    }
    impl ast::Visitor for Looks {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(name) if name.value.eq_ignore_ascii_case("default") => {
                    self.default = true;
                }
                Expr::Identifier(_)
                | Expr::CompoundIdentifier(_)
                | Expr::Subquery(_)
                | Expr::InSubquery { .. }
                | Expr::Exists { .. } => self.beyond = true,
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut looks = Looks { beyond: false, default: false };
    let _ = ast::Visit::visit(values, &mut looks);
    if !looks.beyond || looks.default {
        return None;
    }
    let select = |row: &Vec<Expr>| {
        let mut select = *crate::sql::parse_query_text("SELECT 1").ok()?.ast;
        let SetExpr::Select(body) = select.body.as_mut() else { return None };
        let items = row.iter().enumerate().map(|(i, expr)| SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: Ident::with_quote('"', format!("column{}", i + 1)),
        });
        body.projection = items.collect();
        Some(*select.body)
    };
    let mut selects = values.rows.iter().map(|row| select(row));
    let first = selects.next()??;
    selects.try_fold(first, |left, right| {
        Some(SetExpr::SetOperation {
            op: ast::SetOperator::Union,
            set_quantifier: ast::SetQuantifier::All,
            left: Box::new(left),
            right: Box::new(right?),
        })
    })
}

/// Gives texts in quotes, and NULLs, the type that another row of VALUES says in their column.
pub(super) fn type_values(values: &mut ast::Values) {
    let width = values.rows.first().map_or(0, |row| row.len());
    for column in 0..width {
        let cells = || values.rows.iter().filter_map(|row| row.get(column));
        let text = |cell: &Expr| {
            matches!(cell, Expr::Value(value)
            if matches!(value.value, ast::Value::SingleQuotedString(_)))
        };
        let null = |cell: &Expr| {
            matches!(cell, Expr::Value(value)
            if matches!(value.value, ast::Value::Null))
        };
        let Some(wanted) = cells().find_map(said_type) else { continue };
        if !cells().any(text) {
            continue;
        }
        let cells = values.rows.iter_mut().filter_map(|row| row.get_mut(column));
        for cell in cells.filter(|cell| text(cell) || null(cell)) {
            *cell = cast_to(cell.clone(), wanted.clone());
        }
    }
}

/// The type that an expression says by its form.
fn said_type(expr: &Expr) -> Option<ast::DataType> {
    match expr {
        Expr::Cast { data_type, .. } => Some(data_type.clone()),
        Expr::TypedString(literal) => Some(literal.data_type.clone()),
        Expr::Interval(_) => Some(ast::DataType::Interval { fields: None, precision: None }),
        Expr::Value(value) => match &value.value {
            ast::Value::Boolean(_) => Some(ast::DataType::Boolean),
            ast::Value::Number(digits, _) => Some(match digits.parse::<i64>() {
                Ok(_) => ast::DataType::BigInt(None),
                Err(_) => ast::DataType::Numeric(ast::ExactNumberInfo::None),
            }),
            _ => None,
        },
        _ => None,
    }
}
