//! Functions of users as `pg_proc` shows them.

use super::objects::{OWNER, schema_oid};
use super::pg_type::oid_of;
use super::relation::{Row, row};
use super::view::CatalogView;
use crate::sql::catalog::{FunctionDef, FunctionParameter};
use crate::sql::names::quote;

/// Oid of the language `sql`.
const SQL: u32 = 14;

/// Rows of `pg_proc`, besides those of the language.
pub(super) fn pg_proc(view: &dyn CatalogView) -> Vec<Row> {
    let catalog = view.catalog();
    let functions = catalog.functions().map(|function| {
        let types = function.parameters.iter().map(|p| oid_of(&p.sql_type.name).unwrap_or(0));
        let names = function.parameters.iter().map(|p| p.name.clone().unwrap_or_default());
        row! {
            oid: function.oid,
            proname: function.name.clone(),
            pronamespace: schema_oid(&catalog, &function.schema).unwrap_or_default(),
            proowner: OWNER,
            prolang: SQL,
            prokind: "f",
            proisstrict: function.strict,
            provolatile: function.volatility.to_string(),
            proparallel: "u",
            pronargs: function.parameters.len(),
            prorettype: oid_of(&function.returns.name).unwrap_or(0),
            proargtypes: types.map(i64::from).collect::<Vec<_>>(),
            proargnames: names.collect::<Vec<_>>(),
            prosrc: function.body.to_string(),
        }
    });
    functions.collect()
}

/// The parameters of a function, as `\df` shows them.
pub(super) fn arguments(function: &FunctionDef) -> String {
    let parameter = |p: &FunctionParameter| match &p.name {
        Some(name) => format!("{} {}", quote(name), p.sql_type.name),
        None => p.sql_type.name.clone(),
    };
    function.parameters.iter().map(parameter).collect::<Vec<_>>().join(", ")
}
