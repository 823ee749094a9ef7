//! The SQL standard's own catalog.

use super::keys::{Key, keys, view_definition};
use super::objects::{Shown, relations, schemas};
use super::relation::{Row, row};
use super::server::OWNER_NAME;
use super::view::CatalogView;
use crate::sql::catalog::Object;

/// Rows of `schemata`.
pub(super) fn schemata(view: &dyn CatalogView) -> Vec<Row> {
    let database = view.identity().database;
    let schema = |(_, name): (u32, String)| {
        row! { catalog_name: database.clone(), schema_name: name, schema_owner: OWNER_NAME }
    };
    schemas(view).into_iter().map(schema).collect()
}

/// Rows of `tables`. Materialized views are no tables to the standard, and Postgres leaves them
/// out.
pub(super) fn tables(view: &dyn CatalogView) -> Vec<Row> {
    let database = view.identity().database;
    let relations = relations(view).into_iter().filter(|relation| relation.kind != "m");
    let table = |relation: Shown| {
        let is_view = relation.kind == "v";
        row! {
            table_catalog: database.clone(),
            table_schema: relation.schema,
            table_name: relation.name,
            table_type: if is_view { "VIEW" } else { "BASE TABLE" },
            is_insertable_into: yes_or_no(!is_view),
            is_typed: "NO",
        }
    };
    relations.map(table).collect()
}

/// Rows of `views`.
pub(super) fn views(view: &dyn CatalogView) -> Vec<Row> {
    let database = view.identity().database;
    let relations = relations(view).into_iter().filter(|relation| relation.kind == "v");
    let listed = |relation: Shown| {
        row! {
            table_catalog: database.clone(),
            table_schema: relation.schema,
            table_name: relation.name,
            view_definition: relation.object.and_then(|object| view_definition(&object)),
            check_option: "NONE",
            is_updatable: "NO",
            is_insertable_into: "NO",
            is_trigger_updatable: "NO",
            is_trigger_deletable: "NO",
            is_trigger_insertable_into: "NO",
        }
    };
    relations.map(listed).collect()
}

/// Rows of `columns`.
pub(super) fn columns(view: &dyn CatalogView) -> Vec<Row> {
    let database = view.identity().database;
    let mut rows = Vec::new();
    for relation in relations(view).iter().filter(|relation| relation.kind != "m") {
        for (number, column) in relation.numbered() {
            let column_type = &column.column_type;
            let numeric = column_type.numeric();
            rows.push(row! {
                table_catalog: database.clone(),
                table_schema: relation.schema.clone(),
                table_name: relation.name.clone(),
                column_name: column.name.clone(),
                ordinal_position: number,
                column_default: column.default.clone(),
                is_nullable: yes_or_no(!column.not_null),
                data_type: column_type.sql,
                character_maximum_length: column_type.characters(),
                numeric_precision: numeric.and_then(|(precision, ..)| precision),
                numeric_precision_radix: numeric.map(|(_, radix, _)| radix),
                numeric_scale: numeric.and_then(|(.., scale)| scale),
                datetime_precision: column_type.second_digits(),
                udt_catalog: database.clone(),
                udt_schema: "pg_catalog",
                udt_name: column_type.internal.clone(),
                dtd_identifier: number.to_string(),
                is_self_referencing: "NO",
                is_identity: "NO",
                identity_cycle: "NO",
                is_generated: "NEVER",
                is_updatable: yes_or_no(relation.kind == "r"),
            });
        }
    }
    rows
}

/// Rows of `table_constraints`.
pub(super) fn table_constraints(view: &dyn CatalogView) -> Vec<Row> {
    let database = view.identity().database;
    let catalog = view.catalog();
    let constraint = |object: &Object, key: &Key| {
        row! {
            constraint_catalog: database.clone(),
            constraint_schema: object.schema.clone(),
            constraint_name: key.name.clone(),
            table_catalog: database.clone(),
            table_schema: object.schema.clone(),
            table_name: object.name.clone(),
            constraint_type: key.constraint_type(),
            is_deferrable: "NO",
            initially_deferred: "NO",
            enforced: "YES",
        }
    };
    let mut rows = Vec::new();
    for object in catalog.objects() {
        rows.extend(keys(object).iter().map(|key| constraint(object, key)));
    }
    rows
}

/// Rows of `key_column_usage`; those of `constraint_column_usage` are the same for keys.
pub(super) fn key_column_usage(view: &dyn CatalogView) -> Vec<Row> {
    let database = view.identity().database;
    let catalog = view.catalog();
    let mut rows = Vec::new();
    for object in catalog.objects() {
        let all = keys(object);
        let columns = all.iter().flat_map(|key| {
            (1_i64..).zip(&key.columns).map(move |(number, index)| (key, number, index))
        });
        for (key, number, index) in columns {
            rows.push(row! {
                constraint_catalog: database.clone(),
                constraint_schema: object.schema.clone(),
                constraint_name: key.name.clone(),
                table_catalog: database.clone(),
                table_schema: object.schema.clone(),
                table_name: object.name.clone(),
                column_name: object.columns.get(*index).map(|column| column.name.clone()),
                ordinal_position: number,
            });
        }
    }
    rows
}

/// Rows of `information_schema_catalog_name`.
pub(super) fn catalog_name(view: &dyn CatalogView) -> Vec<Row> {
    vec![row! { catalog_name: view.identity().database }]
}

fn yes_or_no(answer: bool) -> &'static str {
    if answer { "YES" } else { "NO" }
}
