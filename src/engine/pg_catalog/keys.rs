//! Primary keys as indexes and constraints, and views as rules that depend on what they read.

use super::objects::{relations, schema_oid};
use super::relation::{Row, row};
use super::view::CatalogView;
use crate::sql::catalog::{Object, ObjectKind, Oid};
use crate::sql::names::quote;

/// Added to a table's oid, gives the oid of its key's index.
pub(super) const INDEX: Oid = 0x4000_0000;

/// Added to a table's oid, gives the oid of its key's constraint.
pub(super) const CONSTRAINT: Oid = 0x5000_0000;

/// Added to a view's oid, gives the oid of its rule.
pub(super) const RULE: Oid = 0x2000_0000;

/// Oids of the catalogs that `pg_depend` names.
const CLASS_RELATION: Oid = 1259;
const REWRITE_RELATION: Oid = 2618;

/// Returns the columns of an object's primary key, none if it has none.
pub(super) fn primary_key(object: &Object) -> &[usize] {
    match &object.kind {
        ObjectKind::Table(table) => &table.primary_key,
        ObjectKind::Stream(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => &[],
    }
}

/// Returns the names of its key's columns, quoted where needed.
fn key_columns(object: &Object) -> String {
    let columns = primary_key(object).iter().filter_map(|index| object.columns.get(*index));
    columns.map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ")
}

/// Returns the query of a view, ended by a semicolon.
pub(super) fn view_definition(object: &Object) -> Option<String> {
    match &object.kind {
        ObjectKind::View(view) => Some(format!(" {};", view.query.trim().trim_end_matches(';'))),
        ObjectKind::Stream(_) | ObjectKind::Table(_) | ObjectKind::Sink(_) => None,
    }
}

/// Returns the name of a table's primary key.
pub(super) fn key_name(object: &Object) -> String {
    format!("{}_pkey", object.name)
}

/// Prints a key's constraint as in CREATE TABLE.
pub(super) fn constraint_definition(object: &Object) -> String {
    format!("PRIMARY KEY ({})", key_columns(object))
}

/// Prints a key's index as a CREATE statement.
pub(super) fn index_definition(object: &Object) -> String {
    format!(
        "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({})",
        quote(&key_name(object)),
        quote(&object.schema),
        quote(&object.name),
        key_columns(object)
    )
}

/// Returns the key's columns by number, from 1.
fn numbers(object: &Object) -> Vec<i64> {
    primary_key(object).iter().filter_map(|index| i64::try_from(index + 1).ok()).collect()
}

/// Calls `row` for each object with a primary key.
fn keyed(view: &dyn CatalogView, row: impl Fn(&Object) -> Row) -> Vec<Row> {
    let catalog = view.catalog();
    let keyed = catalog.objects().filter(|object| !primary_key(object).is_empty());
    keyed.map(|object| row(object)).collect()
}

/// Rows of `pg_index`.
pub(super) fn pg_index(view: &dyn CatalogView) -> Vec<Row> {
    keyed(view, |object| {
        let count = primary_key(object).len();
        row! {
            indexrelid: object.oid | INDEX,
            indrelid: object.oid,
            indnatts: count,
            indnkeyatts: count,
            indisunique: true,
            indisprimary: true,
            indimmediate: true,
            indisvalid: true,
            indisready: true,
            indislive: true,
            indkey: numbers(object),
            indcollation: vec![0_i64; count],
            indclass: vec![0_i64; count],
            indoption: vec![0_i64; count],
        }
    })
}

/// Rows of `pg_indexes`.
pub(super) fn pg_indexes(view: &dyn CatalogView) -> Vec<Row> {
    keyed(view, |object| {
        row! {
            schemaname: object.schema.clone(),
            tablename: object.name.clone(),
            indexname: key_name(object),
            indexdef: index_definition(object),
        }
    })
}

/// Rows of `pg_constraint`.
pub(super) fn pg_constraint(view: &dyn CatalogView) -> Vec<Row> {
    let catalog = view.catalog();
    keyed(view, |object| {
        row! {
            oid: object.oid | CONSTRAINT,
            conname: key_name(object),
            connamespace: schema_oid(&catalog, &object.schema).unwrap_or_default(),
            contype: "p",
            convalidated: true,
            conrelid: object.oid,
            conindid: object.oid | INDEX,
            confupdtype: " ",
            confdeltype: " ",
            confmatchtype: " ",
            conislocal: true,
            connoinherit: true,
            conkey: numbers(object),
        }
    })
}

/// Rows of `pg_rewrite`: a view is a table with a rule.
pub(super) fn pg_rewrite(view: &dyn CatalogView) -> Vec<Row> {
    let relations = relations(view).into_iter().filter(|relation| relation.kind != "r");
    let rule = |oid: Oid| {
        row! {
            oid: oid | RULE,
            rulename: "_RETURN",
            ev_class: oid,
            ev_type: "1",
            ev_enabled: "O",
            is_instead: true,
        }
    };
    relations.map(|relation| rule(relation.oid)).collect()
}

/// Rows of `pg_depend`: a view's rule depends on what the view reads.
pub(super) fn pg_depend(view: &dyn CatalogView) -> Vec<Row> {
    let catalog = view.catalog();
    let views = catalog.objects().filter(|object| matches!(object.kind, ObjectKind::View(_)));
    let reads = views.flat_map(|object| {
        object.depends_on.iter().map(|read| {
            row! {
                classid: REWRITE_RELATION,
                objid: object.oid | RULE,
                refclassid: CLASS_RELATION,
                refobjid: *read,
                deptype: "n",
            }
        })
    });
    reads.collect()
}

/// Rows of `pg_tables`.
pub(super) fn pg_tables(view: &dyn CatalogView) -> Vec<Row> {
    listed(view, "r", |object| {
        row! {
            schemaname: object.schema.clone(),
            tablename: object.name.clone(),
            tableowner: super::server::OWNER_NAME,
            hasindexes: !primary_key(object).is_empty(),
            hasrules: false,
            hastriggers: false,
            rowsecurity: false,
        }
    })
}

/// Rows of `pg_views`.
pub(super) fn pg_views(view: &dyn CatalogView) -> Vec<Row> {
    listed(view, "v", |object| {
        row! {
            schemaname: object.schema.clone(),
            viewname: object.name.clone(),
            viewowner: super::server::OWNER_NAME,
            definition: view_definition(object),
        }
    })
}

/// Rows of `pg_matviews`.
pub(super) fn pg_matviews(view: &dyn CatalogView) -> Vec<Row> {
    listed(view, "m", |object| {
        row! {
            schemaname: object.schema.clone(),
            matviewname: object.name.clone(),
            matviewowner: super::server::OWNER_NAME,
            hasindexes: false,
            ispopulated: true,
            definition: view_definition(object),
        }
    })
}

fn listed(view: &dyn CatalogView, kind: &str, row: impl Fn(&Object) -> Row) -> Vec<Row> {
    let relations = relations(view).into_iter().filter(|relation| relation.kind == kind);
    relations.filter_map(|relation| relation.object).map(|object| row(&object)).collect()
}

/// Rows of `pg_stat_user_tables`, from which tools take tables and row counts.
pub(super) fn pg_stat_user_tables(view: &dyn CatalogView) -> Vec<Row> {
    let relations = relations(view).into_iter().filter(|relation| relation.kind != "v");
    let rows = relations.map(|relation| {
        row! { relid: relation.oid, schemaname: relation.schema, relname: relation.name }
    });
    rows.collect()
}
