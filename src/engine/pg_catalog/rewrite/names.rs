//! `'x'::regclass` and its like, functions compared by name, and `tableoid`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Query, SelectItem, SetExpr, TableFactor, Value, VisitMut,
    VisitorMut,
};

use super::{call, column, expression, literal, text};
use crate::engine::pg_catalog::functions::{REGCLASS_OUT, REGNAMESPACE_OUT, REGTYPE_OUT};
use crate::engine::pg_catalog::relation::RELATIONS;

/// Columns that hold functions; here they hold the functions' names.
static FUNCTION_COLUMNS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let columns = RELATIONS.values().flat_map(|relation| &relation.columns);
    columns.filter(|(_, pg_type, _)| pg_type == "regproc").map(|(name, ..)| *name).collect()
});

/// The rule.
pub(super) struct Names;

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        resolve_table_oids(query.body.as_mut());
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } = expr
        {
            compare_by_name(left, right);
            compare_by_name(right, left);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && let Some(resolved) = resolve(inner, data_type)
        {
            *expr = resolved;
        }
        ControlFlow::Continue(())
    }
}

/// Returns the bare name of a type, without its schema.
pub(super) fn type_name(data_type: &DataType) -> String {
    let name = data_type.to_string().to_lowercase();
    name.strip_prefix("pg_catalog.").unwrap_or(&name).to_owned()
}

/// Turns a name that is cast to an object id into a look-up, and an object id that is cast to be shown
/// into its name.
fn resolve(operand: &Expr, data_type: &DataType) -> Option<Expr> {
    let target = type_name(data_type);
    if let Expr::Cast { expr: inner, data_type: through, .. } = operand
        && matches!(target.as_str(), "text" | "varchar" | "character varying")
    {
        return shown(inner, &type_name(through));
    }
    let placeholder = matches!(operand, Expr::Value(v) if matches!(v.value, Value::Placeholder(_)));
    let function = match target.as_str() {
        "regclass" => "to_regclass",
        "regtype" => "to_regtype",
        "regnamespace" => "to_regnamespace",
        "regrole" => "to_regrole",
        _ => return None,
    };
    match literal(operand) {
        Some(number) if number.parse::<u32>().is_ok() => Some(expression(number)),
        Some(_) => Some(call(function, &[operand])),
        None if placeholder => Some(expression(&format!("{function}(CAST({operand} AS TEXT))"))),
        None => None,
    }
}

/// Returns the name behind `expr::regclass` and its like.
pub(super) fn shown(expr: &Expr, alias: &str) -> Option<Expr> {
    let function = match alias {
        "regclass" => REGCLASS_OUT,
        "regtype" => REGTYPE_OUT,
        "regnamespace" => REGNAMESPACE_OUT,
        "regrole" => "pg_get_userbyid",
        _ => return None,
    };
    Some(call(function, &[expr]))
}

/// Makes `other`, to which a column of functions is compared, a function's name.
fn compare_by_name(functions: &Expr, other: &mut Expr) {
    if !column(functions).is_some_and(|name| FUNCTION_COLUMNS.contains(name.value.as_str())) {
        return;
    }
    let name = match other {
        Expr::Cast { expr, data_type, .. } if type_name(data_type).starts_with("regproc") => {
            literal(expr).map(|name| name.rsplit('.').next().unwrap_or(name).to_owned())
        }
        Expr::Value(value) => match &value.value {
            Value::Number(zero, _) if zero == "0" => Some("-".to_owned()),
            _ => None,
        },
        _ => None,
    };
    if let Some(name) = name {
        *other = text(&name);
    }
}

/// Replaces `alias.tableoid` by the oid of the system relation behind `alias`.
fn resolve_table_oids(body: &mut SetExpr) {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { left, right, .. } => {
            resolve_table_oids(left);
            return resolve_table_oids(right);
        }
        _ => return,
    };
    let factors = select.from.iter().flat_map(|from| {
        std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
    });
    let relations = factors.filter_map(|factor| match factor {
        TableFactor::Table { name, alias, .. } => {
            let name = name.0.last()?.as_ident()?.value.as_str();
            let relation = RELATIONS.get(&("pg_catalog", name))?;
            let alias = alias.as_ref().map_or(relation.name, |alias| alias.name.value.as_str());
            Some((alias.to_owned(), relation.oid))
        }
        _ => None,
    });
    let mut rule = TableOids(relations.collect());
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && column(expr).is_some_and(|name| name.value == "tableoid")
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: "tableoid".into() };
        }
    }
    let _ = select.visit(&mut rule);
}

/// Aliases of system relations with their oids.
struct TableOids(Vec<(String, u32)>);

impl VisitorMut for TableOids {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [.., alias, last] = parts.as_slice()
            && last.value == "tableoid"
            && let Some((_, oid)) = self.0.iter().find(|(known, _)| *known == alias.value)
        {
            *expr = expression(&oid.to_string());
        }
        ControlFlow::Continue(())
    }
}
