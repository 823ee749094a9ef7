//! Keys of tables as indexes and constraints, and views as rules that depend on what they read.

use super::objects::{relations, schema_oid};
use super::relation::{Row, row};
use super::view::CatalogView;
use crate::sql::catalog::{Catalog, Object, ObjectKind, Oid};
use crate::sql::names::quote;

/// Added to a key's oid, gives the oid of its index; a primary key has that of its table.
pub(super) const INDEX: Oid = 0x4000_0000;

/// Added to a key's oid, gives the oid of its constraint.
pub(super) const CONSTRAINT: Oid = 0x5000_0000;

/// Added to a view's oid, gives the oid of its rule.
pub(super) const RULE: Oid = 0x2000_0000;

/// Oids of the catalogs that `pg_depend` names.
const CLASS_RELATION: Oid = 1259;
const REWRITE_RELATION: Oid = 2618;

/// A key of a table: its primary key, or a UNIQUE one.
pub(super) struct Key {
    /// What its index and its constraint are numbered after.
    oid: Oid,
    pub(super) name: String,
    /// Its columns, by their place.
    pub(super) columns: Vec<usize>,
    pub(super) primary: bool,
}

impl Key {
    /// The oid of its index.
    pub(super) fn index(&self) -> Oid {
        self.oid | INDEX
    }

    /// The columns by number, from 1.
    fn numbers(&self) -> Vec<i64> {
        self.columns.iter().filter_map(|index| i64::try_from(index + 1).ok()).collect()
    }

    /// The names of the columns, quoted where needed.
    fn names(&self, object: &Object) -> String {
        let columns = self.columns.iter().filter_map(|index| object.columns.get(*index));
        columns.map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ")
    }

    /// Prints its constraint as in CREATE TABLE.
    pub(super) fn constraint_definition(&self, object: &Object) -> String {
        format!("{} ({})", self.constraint_type(), self.names(object))
    }

    /// `PRIMARY KEY` or `UNIQUE`.
    pub(super) fn constraint_type(&self) -> &'static str {
        if self.primary { "PRIMARY KEY" } else { "UNIQUE" }
    }

    /// Prints its index as a CREATE statement.
    pub(super) fn index_definition(&self, object: &Object) -> String {
        format!(
            "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({})",
            quote(&self.name),
            quote(&object.schema),
            quote(&object.name),
            self.names(object)
        )
    }
}

/// Returns the keys of an object, its primary key first.
pub(super) fn keys(object: &Object) -> Vec<Key> {
    let ObjectKind::Table(table) = &object.kind else { return Vec::new() };
    let primary = (!table.primary_key.is_empty()).then(|| Key {
        oid: object.oid,
        name: format!("{}_pkey", object.name),
        columns: table.primary_key.clone(),
        primary: true,
    });
    let unique = table.unique.iter().map(|key| Key {
        oid: key.oid,
        name: key.name.clone(),
        columns: key.columns.clone(),
        primary: false,
    });
    primary.into_iter().chain(unique).collect()
}

/// Finds the key that has this oid as an index or constraint, and its table.
pub(super) fn key_of(catalog: &Catalog, oid: Oid) -> Option<(&Object, Key)> {
    let wanted = oid & !(INDEX | CONSTRAINT);
    let mut all = catalog
        .objects()
        .flat_map(|object| keys(object).into_iter().map(move |key| (object.as_ref(), key)));
    all.find(|(_, key)| key.oid == wanted)
}

/// Returns the query of a view, ended by a semicolon.
pub(super) fn view_definition(object: &Object) -> Option<String> {
    match &object.kind {
        ObjectKind::View(view) => Some(format!(" {};", view.query.trim().trim_end_matches(';'))),
        ObjectKind::Stream(_) | ObjectKind::Table(_) | ObjectKind::Sink(_) => None,
    }
}

/// Calls `row` for each key.
fn keyed(view: &dyn CatalogView, row: impl Fn(&Object, &Key) -> Row) -> Vec<Row> {
    let catalog = view.catalog();
    let mut rows = Vec::new();
    for object in catalog.objects() {
        rows.extend(keys(object).iter().map(|key| row(object, key)));
    }
    rows
}

/// Rows of `pg_index`.
pub(super) fn pg_index(view: &dyn CatalogView) -> Vec<Row> {
    keyed(view, |object, key| {
        let count = key.columns.len();
        row! {
            indexrelid: key.index(),
            indrelid: object.oid,
            indnatts: count,
            indnkeyatts: count,
            indisunique: true,
            indisprimary: key.primary,
            indimmediate: true,
            indisvalid: true,
            indisready: true,
            indislive: true,
            indkey: key.numbers(),
            indcollation: vec![0_i64; count],
            indclass: vec![0_i64; count],
            indoption: vec![0_i64; count],
        }
    })
}

/// Rows of `pg_indexes`.
pub(super) fn pg_indexes(view: &dyn CatalogView) -> Vec<Row> {
    keyed(view, |object, key| {
        row! {
            schemaname: object.schema.clone(),
            tablename: object.name.clone(),
            indexname: key.name.clone(),
            indexdef: key.index_definition(object),
        }
    })
}

/// Rows of `pg_constraint`.
pub(super) fn pg_constraint(view: &dyn CatalogView) -> Vec<Row> {
    let catalog = view.catalog();
    keyed(view, |object, key| {
        row! {
            oid: key.oid | CONSTRAINT,
            conname: key.name.clone(),
            connamespace: schema_oid(&catalog, &object.schema).unwrap_or_default(),
            contype: if key.primary { "p" } else { "u" },
            convalidated: true,
            conrelid: object.oid,
            conindid: key.index(),
            confupdtype: " ",
            confdeltype: " ",
            confmatchtype: " ",
            conislocal: true,
            connoinherit: true,
            conkey: key.numbers(),
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
            hasindexes: !keys(object).is_empty(),
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
