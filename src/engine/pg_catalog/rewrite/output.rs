//! Object ids in the outermost select list, shown as the names that they stand for.

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SelectItem, SetExpr, Statement};

use super::names::{shown, type_name};

/// Shows `oid::regclass` and its like as names, where nothing but the client sees them.
pub(super) fn show_object_ids(statement: &mut Statement) {
    let Statement::Query(query) = statement else { return };
    let Some(select) = outermost(query) else { return };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && let Expr::Cast { expr: inner, data_type, .. } = expr
            && let Some(shown) = shown(inner, &type_name(data_type))
        {
            *expr = shown;
        }
    }
}

fn outermost(query: &mut Query) -> Option<&mut Select> {
    let mut body = query.body.as_mut();
    loop {
        match body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::SetOperation { left, .. } => body = left.as_mut(),
            _ => return None,
        }
    }
}
