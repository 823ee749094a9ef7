//! Definitions of objects as SQL, comments on them, and their sizes.

use std::sync::Arc;

use datafusion::common::ScalarValue;

use super::names::relation_oid;
use super::{Function, int_arg, oid_arg, text_arg};
use crate::engine::pg_catalog::keys::{RULE, key_of, view_definition};
use crate::engine::pg_catalog::procedures::arguments;
use crate::engine::pg_catalog::view::CatalogView;
use crate::sql::catalog::FunctionDef;
use crate::sql::names::quote;

/// Functions that give nothing, because there is nothing of that kind.
const NOTHING: [&str; 8] = [
    "pg_get_function_sqlbody",
    "pg_get_partition_constraintdef",
    "pg_get_partkeydef",
    "pg_get_serial_sequence",
    "pg_get_statisticsobjdef_columns",
    "pg_get_triggerdef",
    "pg_tablespace_location",
    "shobj_description",
];

/// Functions that measure files, of which no object has any of its own.
const SIZES: [&str; 6] = [
    "pg_database_size",
    "pg_indexes_size",
    "pg_relation_size",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
];

pub(super) fn functions(view: &Arc<dyn CatalogView>) -> Vec<Function> {
    let shared = || Arc::clone(view);
    let (views, indexes, constraints, rules) = (shared(), shared(), shared(), shared());
    let (objects, columns) = (shared(), shared());
    let mut functions = vec![
        Function::text("pg_get_viewdef", move |args| {
            let oid = match args.first()? {
                ScalarValue::Utf8(Some(name)) => relation_oid(views.as_ref(), name)?,
                _ => oid_arg(args, 0)?,
            };
            view_definition(views.catalog().get(oid)?)
        }),
        Function::text("pg_get_ruledef", move |args| {
            view_definition(rules.catalog().get(oid_arg(args, 0)? & !RULE)?)
        }),
        Function::text("pg_get_indexdef", move |args| {
            let catalog = indexes.catalog();
            let (object, key) = key_of(&catalog, oid_arg(args, 0)?)?;
            match int_arg(args, 1).unwrap_or(0) {
                0 => Some(key.index_definition(object)),
                number => {
                    let index = key.columns.get(usize::try_from(number - 1).ok()?)?;
                    Some(quote(&object.columns.get(*index)?.name))
                }
            }
        }),
        Function::text("pg_get_constraintdef", move |args| {
            let catalog = constraints.catalog();
            let (object, key) = key_of(&catalog, oid_arg(args, 0)?)?;
            Some(key.constraint_definition(object))
        }),
        // Expressions are stored as their text.
        Function::text("pg_get_expr", |args| text_arg(args, 0)),
        Function::text("obj_description", move |args| {
            objects.catalog().get(oid_arg(args, 0)?)?.comment.clone()
        }),
        Function::text("col_description", move |args| {
            let catalog = columns.catalog();
            let number = usize::try_from(int_arg(args, 1)?).ok()?.checked_sub(1)?;
            catalog.get(oid_arg(args, 0)?)?.columns.get(number)?.comment.clone()
        }),
    ];
    let of_function = |name: &'static str, show: fn(&FunctionDef) -> String| {
        let view = shared();
        Function::text(name, move |args| {
            let (catalog, oid) = (view.catalog(), oid_arg(args, 0)?);
            catalog.functions().find(|function| function.oid == oid).map(|f| show(f))
        })
    };
    functions.push(of_function("pg_get_function_arguments", arguments));
    functions.push(of_function("pg_get_function_identity_arguments", arguments));
    functions.push(of_function("pg_get_function_result", |f| f.returns.name.clone()));
    functions.push(of_function("pg_get_functiondef", |f| f.sql.to_string()));
    functions.extend(NOTHING.map(|name| Function::text(name, |_| None)));
    functions.extend(SIZES.map(|name| Function::int8(name, |_| Some(0))));
    functions
}
