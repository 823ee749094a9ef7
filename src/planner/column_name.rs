//! The names Postgres gives to result columns without an alias.
//!
//! # Semantics
//! A column keeps its name, a function gives its own, a cast the name of what it casts or else the
//! type's;
//! anything else is `?column?`. Postgres allows equal names in one list and DataFusion does not, so
//! a
//! duplicate gets a mark that [`super::bind::visible_names`] removes.

use std::collections::BTreeMap;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SelectItem, SetExpr,
};

use super::bind::DUPLICATE_MARK;

/// Names the unnamed columns of the SELECTs of a query's body.
pub(super) fn name_columns(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => name_items(&mut select.projection),
        SetExpr::SetOperation { left, right, .. } => {
            name_columns(left);
            name_columns(right);
        }
        _ => {}
    }
}

fn name_items(items: &mut [SelectItem]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        let (expr, name, plain) = match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => {
                (Expr::Identifier(ident.clone()), folded(ident), true)
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(_))
            | SelectItem::QualifiedWildcard(..)
            | SelectItem::Wildcard(_)
            | SelectItem::ExprWithAliases { .. } => continue,
            SelectItem::UnnamedExpr(expr) => (expr.clone(), column_name(expr), false),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), folded(alias), true),
        };
        let count = seen.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 && plain {
            continue;
        }
        let unique = match *count {
            1 => name,
            n => format!("{name}{DUPLICATE_MARK}{n}"),
        };
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', unique) };
    }
}

fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// Returns Postgres's name for a column that is this expression.
pub(super) fn column_name(expr: &Expr) -> String {
    named(expr).unwrap_or_else(|| "?column?".to_owned())
}

fn named(expr: &Expr) -> Option<String> {
    let fixed = |name: &str| Some(name.to_owned());
    match expr {
        Expr::Identifier(ident) => Some(folded(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        Expr::Function(function) => {
            let name = function.name.0.last()?.as_ident().map(folded)?;
            match (name.starts_with('$'), &function.args) {
                // It stands between a value and its type.
                (true, FunctionArguments::List(list)) => match list.args.first()? {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => named(value),
                    _ => None,
                },
                _ => Some(name),
            }
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => named(inner),
        Expr::Cast { expr, data_type, .. } => named(expr).or_else(|| Some(type_name(data_type))),
        Expr::TypedString(typed) => Some(type_name(&typed.data_type)),
        Expr::Case { else_result, .. } => {
            let default = else_result.as_deref().and_then(|e| match e {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => named(e),
                _ => None,
            });
            default.or_else(|| fixed("case"))
        }
        Expr::Extract { .. } => fixed("extract"),
        Expr::Substring { .. } => fixed("substring"),
        Expr::Trim { .. } => fixed("btrim"),
        Expr::Position { .. } => fixed("position"),
        Expr::Overlay { .. } => fixed("overlay"),
        Expr::Ceil { .. } => fixed("ceil"),
        Expr::Floor { .. } => fixed("floor"),
        Expr::Interval(_) => fixed("interval"),
        Expr::AtTimeZone { .. } => fixed("timezone"),
        Expr::Exists { .. } => fixed("exists"),
        Expr::Array(_) => fixed("array"),
        Expr::Tuple(_) => fixed("row"),
        Expr::CompoundFieldAccess { root, .. } => named(root),
        Expr::Value(value) => match value.value {
            sqlparser::ast::Value::Boolean(_) => fixed("bool"),
            _ => None,
        },
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => named(expr),
                SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn type_name(data_type: &sqlparser::ast::DataType) -> String {
    use sqlparser::ast::DataType as T;
    let name = match data_type {
        T::Int(_) | T::Integer(_) | T::Int4(_) => "int4",
        T::BigInt(_) | T::Int8(_) => "int8",
        T::SmallInt(_) | T::Int2(_) => "int2",
        T::Boolean | T::Bool => "bool",
        T::Real | T::Float4 => "float4",
        T::Double(_) | T::DoublePrecision | T::Float8 | T::Float(_) => "float8",
        T::Varchar(_) | T::CharacterVarying(_) => "varchar",
        T::Char(_) | T::Character(_) => "bpchar",
        T::Numeric(_) | T::Decimal(_) => "numeric",
        T::Timestamp(
            _,
            sqlparser::ast::TimezoneInfo::WithTimeZone | sqlparser::ast::TimezoneInfo::Tz,
        ) => "timestamptz",
        T::Timestamp(..) => "timestamp",
        other => return other.to_string().to_lowercase(),
    };
    name.to_owned()
}
