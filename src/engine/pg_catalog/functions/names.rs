//! From names to object ids and back, and which names are seen without their schema.

use std::sync::Arc;

use datafusion::common::ScalarValue;

use super::{Function, int_arg, oid_arg, text_arg};
use crate::engine::pg_catalog::keys::{CONSTRAINT, INDEX, key_of};
use crate::engine::pg_catalog::objects::{SYSTEM, schema_oid, schemas};
use crate::engine::pg_catalog::pg_type::{format_type, oid_of};
use crate::engine::pg_catalog::relation::RELATIONS;
use crate::engine::pg_catalog::server::roles;
use crate::engine::pg_catalog::view::CatalogView;
use crate::sql::catalog::Oid;
use crate::sql::names::quote;

/// Functions that tell whether an object other than a relation is seen: all are Postgres's own.
const VISIBLE: [&str; 9] = [
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_function_is_visible",
    "pg_opclass_is_visible",
    "pg_operator_is_visible",
    "pg_opfamily_is_visible",
    "pg_statistics_obj_is_visible",
    "pg_ts_config_is_visible",
    "pg_type_is_visible",
];

pub(super) fn functions(view: &Arc<dyn CatalogView>) -> Vec<Function> {
    let shared = || Arc::clone(view);
    let (visible, class, class_name) = (shared(), shared(), shared());
    let (namespace, namespace_name, by_id, role) = (shared(), shared(), shared(), shared());
    let mut functions = vec![
        Function::boolean("pg_table_is_visible", move |args| {
            let (schema, _) = relation_name(visible.as_ref(), oid_arg(args, 0)?)?;
            let path = visible.identity().search_path;
            Some(schema == "pg_catalog" || path.contains(&schema))
        }),
        Function::int4("to_regclass", move |args| {
            relation_oid(class.as_ref(), &text_arg(args, 0)?)
        }),
        Function::int4("to_regtype", |args| oid_of(&text_arg(args, 0)?)),
        Function::int4("to_regnamespace", move |args| {
            schema_oid(&namespace.catalog(), &folded(&text_arg(args, 0)?))
        }),
        Function::int4("to_regrole", move |args| {
            let name = folded(&text_arg(args, 0)?);
            roles(role.as_ref()).into_iter().find(|(_, known)| *known == name).map(|(oid, _)| oid)
        }),
        Function::text("format_type", |args| {
            let modifier = int_arg(args, 1).and_then(|modifier| i32::try_from(modifier).ok());
            Some(format_type(oid_arg(args, 0)?, modifier.unwrap_or(-1)))
        })
        .called_on_null(),
        Function::text("pg_get_userbyid", move |args| {
            let oid = oid_arg(args, 0)?;
            let role = roles(by_id.as_ref()).into_iter().find(|(known, _)| *known == oid);
            Some(role.map_or_else(|| format!("unknown (OID={oid})"), |(_, name)| name))
        }),
        Function::text(REGCLASS_OUT, move |args| {
            Some(shown_name(class_name.as_ref(), oid_arg(args, 0)?))
        }),
        Function::text(REGNAMESPACE_OUT, move |args| {
            let oid = oid_arg(args, 0)?;
            let all = schemas(namespace_name.as_ref());
            let name = all.into_iter().find(|(known, _)| *known == oid).map(|(_, name)| name);
            Some(name.unwrap_or_else(|| oid.to_string()))
        }),
        Function::text(REGTYPE_OUT, |args| match args.first() {
            Some(ScalarValue::Utf8(Some(name))) => Some(format_type(oid_of(name)?, -1)),
            _ => Some(format_type(oid_arg(args, 0)?, -1)),
        }),
    ];
    functions.extend(VISIBLE.map(|name| Function::boolean(name, |_| Some(true))));
    functions
}

/// Functions of ours, which print what `oid::regclass` and its like stand for.
pub(in crate::engine::pg_catalog) const REGCLASS_OUT: &str = "hw_regclass_out";
pub(in crate::engine::pg_catalog) const REGNAMESPACE_OUT: &str = "hw_regnamespace_out";
pub(in crate::engine::pg_catalog) const REGTYPE_OUT: &str = "hw_regtype_out";

/// Returns schema and name of a relation, an index, or a system relation.
fn relation_name(view: &dyn CatalogView, oid: Oid) -> Option<(String, String)> {
    let catalog = view.catalog();
    if let Some(object) = catalog.get(oid) {
        return Some((object.schema.clone(), object.name.clone()));
    }
    if oid & (INDEX | CONSTRAINT) != 0 {
        let (object, key) = key_of(&catalog, oid)?;
        return Some((object.schema.clone(), key.name));
    }
    if let Some(relation) = RELATIONS.values().find(|relation| relation.oid == oid) {
        return Some((relation.schema.to_owned(), relation.name.to_owned()));
    }
    let position = usize::try_from(oid.checked_sub(SYSTEM + 1)?).ok()?;
    let relation = view.system_relations().into_iter().nth(position)?;
    Some(("hw".to_owned(), relation.name))
}

/// Prints a relation as `regclass` does: with its schema only if that is needed.
fn shown_name(view: &dyn CatalogView, oid: Oid) -> String {
    match relation_name(view, oid) {
        None if oid == 0 => "-".to_owned(),
        None => oid.to_string(),
        Some((schema, name)) => {
            let seen = schema == "pg_catalog" || view.identity().search_path.contains(&schema);
            let schema = if seen { String::new() } else { format!("{}.", quote(&schema)) };
            format!("{schema}{}", quote(&name))
        }
    }
}

/// Finds a relation by its name, with or without a schema.
pub(super) fn relation_oid(view: &dyn CatalogView, name: &str) -> Option<Oid> {
    let parts = split_name(name);
    let (schemas, name) = match parts.as_slice() {
        [name] => {
            let path = view.identity().search_path;
            (std::iter::once("pg_catalog".to_owned()).chain(path).collect(), name)
        }
        [.., schema, name] => (vec![schema.clone()], name),
        [] => return None,
    };
    let catalog = view.catalog();
    schemas.iter().find_map(|schema| {
        if let Some(object) = catalog.find(schema, name) {
            return Some(object.oid);
        }
        if let Some(relation) = RELATIONS.get(&(schema.as_str(), name.as_str())) {
            return Some(relation.oid);
        }
        let system = view.system_relations().into_iter().zip(SYSTEM + 1..);
        let mut system = system.filter(|(relation, _)| schema == "hw" && relation.name == *name);
        system.next().map(|(_, oid)| oid)
    })
}

/// Splits `a."B c"` into its folded parts.
fn split_name(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in name.trim().chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => {
                let c = if quoted { c } else { c.to_ascii_lowercase() };
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts
}

fn folded(name: &str) -> String {
    split_name(name).pop().unwrap_or_default()
}
