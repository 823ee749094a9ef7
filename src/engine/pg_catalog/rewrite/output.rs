//! Names of result columns, as Postgres gives them.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement,
};

use super::column;
use super::names::{shown, type_name};

/// Names the columns of the outermost select list, and shows object ids there as what they stand for.
pub(super) fn name_columns(statement: &mut Statement) {
    if let Statement::Query(query) = statement
        && let Some(select) = outermost(query)
    {
        name_items(select);
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

fn name_items(select: &mut Select) {
    let mut taken = BTreeSet::new();
    for item in &select.projection {
        if let SelectItem::ExprWithAlias { alias, .. } = item {
            taken.insert(alias.value.clone());
        }
    }
    for item in &mut select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
            _ => continue,
        };
        let named = column(expr).is_some();
        let name = alias.is_none().then(|| column_name(expr));
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && let Some(shown) = shown(inner, &type_name(data_type))
        {
            *expr = shown;
        }
        let Some(name) = name else { continue };
        if named && taken.insert(name.clone()) {
            continue;
        }
        // Names are unique to DataFusion; Postgres would repeat them.
        let mut unique = name.clone();
        let mut number = 2;
        while !named && !taken.insert(unique.clone()) || named && !taken.insert(unique.clone()) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        *item =
            SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', unique) };
    }
}

/// Returns the name that Postgres gives to a column that is given none.
fn column_name(expr: &Expr) -> String {
    let unnamed = || "?column?".to_owned();
    match expr {
        Expr::Function(function) => {
            let last = function.name.0.last().and_then(|part| part.as_ident());
            last.map_or_else(unnamed, |name| name.value.to_lowercase())
        }
        Expr::Cast { expr, data_type, .. } => match column_name(expr) {
            name if name == "?column?" => match data_type {
                DataType::Int(_) | DataType::Integer(_) => "int4".to_owned(),
                other => type_name(other),
            },
            name => name,
        },
        Expr::Nested(inner) => column_name(inner),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::ExprWithAlias { alias, .. }) => alias.value.clone(),
                Some(SelectItem::UnnamedExpr(expr)) => column_name(expr),
                _ => unnamed(),
            },
            _ => unnamed(),
        },
        other => column(other).map_or_else(unnamed, |name| name.value.clone()),
    }
}
