//! Our own objects as `pg_class`, `pg_attribute` and the relations around them show them.
//!
//! Streams and tables are ordinary tables (`r`): that is what every tool lists. System relations
//! are in `pg_class` and `pg_attribute` too, with Postgres's own oids, so that
//! `'pg_class'::regclass` means what it should.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use datafusion::common::Result;

use super::keys::keys;
use super::pg_type::ColumnType;
use super::relation::{RELATIONS, Row, row};
use super::view::CatalogView;
use crate::sql::catalog::{Catalog, FIRST_OID, Object, ObjectKind, Oid};

/// Oid of the schema `pg_catalog`, to which the dump refers.
pub(super) const PG_CATALOG: Oid = 11;

/// Oid of the schema `information_schema`, to which the dump refers.
pub(super) const INFORMATION_SCHEMA: Oid = 13_283;

/// Oid of the schema `hw`; the oids of its relations follow. Below those of users' objects.
pub(super) const SYSTEM: Oid = 16_000;

/// Oid of the one role that owns everything.
pub(super) const OWNER: Oid = 10;

/// Oid of the access method `heap`.
const HEAP: Oid = 2;

/// Oid of the access method `btree`.
const BTREE: Oid = 403;

/// Where oids of column defaults begin: above those of objects, keys and constraints.
const DEFAULTS: Oid = 0x6000_0000;

/// Oid of the catalog that comments on relations and columns name as theirs.
const CLASS_RELATION: Oid = 1259;

/// A column, whatever relation it belongs to.
pub(super) struct ShownColumn {
    pub(super) name: String,
    pub(super) column_type: ColumnType,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    pub(super) comment: Option<String>,
}

/// A relation as clients see it.
pub(super) struct Shown {
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) schema_oid: Oid,
    pub(super) name: String,
    /// `relkind`: `r`, `v` or `m`.
    pub(super) kind: &'static str,
    pub(super) columns: Vec<ShownColumn>,
    /// The object of ours that it is, if it is one.
    pub(super) object: Option<Arc<Object>>,
}

/// Returns schemas with their oids; `hw` is among them if it has relations.
pub(super) fn schemas(view: &dyn CatalogView) -> Vec<(Oid, String)> {
    let fixed = [(PG_CATALOG, "pg_catalog"), (INFORMATION_SCHEMA, "information_schema")];
    let fixed = fixed.map(|(oid, name)| (oid, name.to_owned()));
    let system = (!view.system_relations().is_empty()).then(|| (SYSTEM, "hw".to_owned()));
    let catalog = view.catalog();
    let users = catalog.schemas().map(|(name, oid)| (oid, name.to_owned()));
    fixed.into_iter().chain(system).chain(users).collect()
}

/// Returns the oid of a schema.
pub(super) fn schema_oid(catalog: &Catalog, name: &str) -> Option<Oid> {
    match name {
        "pg_catalog" => Some(PG_CATALOG),
        "information_schema" => Some(INFORMATION_SCHEMA),
        "hw" => Some(SYSTEM),
        _ => catalog.schemas().find(|(known, _)| *known == name).map(|(_, oid)| oid),
    }
}

/// Returns users' relations and those of `hw`.
pub(super) fn relations(view: &dyn CatalogView) -> Vec<Shown> {
    let catalog = view.catalog();
    let relations = catalog.objects().filter(|o| !matches!(o.kind, ObjectKind::Sink(_)));
    let mut shown: Vec<Shown> = relations.map(|object| Shown::of(object, &catalog)).collect();
    for (relation, oid) in view.system_relations().into_iter().zip(SYSTEM + 1..) {
        let columns = relation.schema.fields().iter().map(|field| {
            let declared = field.metadata().get("pg_type").cloned();
            let declared = declared.unwrap_or_else(|| natural(field.data_type()));
            ShownColumn {
                name: field.name().clone(),
                column_type: ColumnType::parse(&declared),
                not_null: false,
                default: None,
                comment: None,
            }
        });
        shown.push(Shown {
            oid,
            schema: "hw".to_owned(),
            schema_oid: SYSTEM,
            name: relation.name,
            kind: "v",
            columns: columns.collect(),
            object: None,
        });
    }
    shown
}

impl Shown {
    fn of(object: &Arc<Object>, catalog: &Catalog) -> Shown {
        let key: Vec<usize> = match &object.kind {
            ObjectKind::Table(table) => table.primary_key.clone(),
            ObjectKind::Stream(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => Vec::new(),
        };
        let columns = object.columns.iter().enumerate().map(|(index, column)| ShownColumn {
            name: column.name.clone(),
            column_type: ColumnType::parse(&column.sql_type.name),
            not_null: column.not_null || key.contains(&index),
            default: column.default.clone(),
            comment: column.comment.clone(),
        });
        Shown {
            oid: object.oid,
            schema: object.schema.clone(),
            schema_oid: schema_oid(catalog, &object.schema).unwrap_or_default(),
            name: object.name.clone(),
            kind: match &object.kind {
                ObjectKind::Stream(_) | ObjectKind::Table(_) => "r",
                ObjectKind::View(view) if view.materialized => "m",
                ObjectKind::View(_) | ObjectKind::Sink(_) => "v",
            },
            columns: columns.collect(),
            object: Some(Arc::clone(object)),
        }
    }

    /// Returns the columns' numbers, from 1, with the columns.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (usize, &ShownColumn)> {
        (1..).zip(&self.columns)
    }
}

/// Returns the name of the type that columns without a declared type have.
fn natural(data_type: &arrow::datatypes::DataType) -> String {
    use arrow::datatypes::DataType::{
        Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Interval, List,
        Timestamp, UInt8, UInt16, UInt32, UInt64,
    };
    match data_type {
        Boolean => "boolean",
        Int8 | Int16 | UInt8 => "smallint",
        Int32 | UInt16 => "integer",
        Int64 | UInt32 => "bigint",
        UInt64 | Decimal128(..) => "numeric",
        Float32 => "real",
        Float64 => "double precision",
        Date32 => "date",
        Timestamp(_, None) => "timestamp without time zone",
        Timestamp(..) => "timestamp with time zone",
        Interval(_) => "interval",
        List(element) => return format!("{}[]", natural(element.data_type())),
        _ => "text",
    }
    .to_owned()
}

/// Rows of `pg_class`: relations and the indexes of keys.
pub(super) fn pg_class(view: &dyn CatalogView) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in relations(view) {
        let keys = relation.object.as_ref().map_or_else(Vec::new, |object| keys(object));
        rows.push(class_row(&relation, !keys.is_empty()));
        for key in keys {
            rows.push(row! {
                oid: key.index(),
                relname: key.name,
                relnamespace: relation.schema_oid,
                relowner: OWNER,
                relam: BTREE,
                relpersistence: "p",
                relkind: "i",
                relnatts: key.columns.len(),
                relreplident: "n",
                relispopulated: true,
            });
        }
    }
    rows
}

fn class_row(relation: &Shown, has_key: bool) -> Row {
    let stored = relation.kind != "v";
    row! {
        oid: relation.oid,
        relname: relation.name.clone(),
        relnamespace: relation.schema_oid,
        relowner: OWNER,
        relam: if stored { HEAP } else { 0 },
        reltuples: -1,
        relhasindex: has_key,
        relpersistence: "p",
        relkind: relation.kind,
        relnatts: relation.columns.len(),
        relhasrules: relation.kind != "r",
        relispopulated: true,
        relreplident: if stored && relation.oid >= FIRST_OID { "d" } else { "n" },
    }
}

/// Rows of `pg_attribute`.
pub(super) fn pg_attribute(view: &dyn CatalogView) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in relations(view) {
        for (number, column) in relation.numbered() {
            let has_default = column.default.is_some();
            rows.push(attribute_row(relation.oid, number, column, has_default));
        }
        let Some(object) = &relation.object else { continue };
        for key in keys(object) {
            for (number, index) in (1..).zip(&key.columns) {
                if let Some(column) = relation.columns.get(*index) {
                    rows.push(attribute_row(key.index(), number, column, false));
                }
            }
        }
    }
    rows
}

fn attribute_row(relation: Oid, number: usize, column: &ShownColumn, has_default: bool) -> Row {
    let column_type = &column.column_type;
    let by_value = matches!(column_type.length, 1 | 2 | 4 | 8);
    row! {
        attrelid: relation,
        attname: column.name.clone(),
        atttypid: column_type.oid,
        attstattarget: -1,
        attlen: column_type.length,
        attnum: number,
        attndims: column_type.dimensions,
        attcacheoff: -1,
        atttypmod: column_type.modifier,
        attbyval: by_value,
        attalign: column_type.alignment(),
        attstorage: storage(column_type),
        attcompression: "",
        attnotnull: column.not_null,
        atthasdef: has_default,
        attidentity: "",
        attgenerated: "",
        attislocal: true,
        attcollation: if matches!(column_type.oid, 25 | 1042 | 1043) { 100 } else { 0 },
    }
}

fn storage(column_type: &ColumnType) -> &'static str {
    match (column_type.oid, column_type.length) {
        (1700, _) => "m",
        (_, -1) => "x",
        _ => "p",
    }
}

/// Rows of `pg_attrdef`.
pub(super) fn pg_attrdef(view: &dyn CatalogView) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in relations(view) {
        for (number, column) in relation.numbered() {
            if let Some(default) = &column.default {
                // Eleven bits hold every column number (Postgres allows 1600), eighteen the object.
                let number_bits = u32::try_from(number).unwrap_or_default() & 0x7ff;
                rows.push(row! {
                    oid: DEFAULTS | (relation.oid & 0x3_ffff) << 11 | number_bits,
                    adrelid: relation.oid,
                    adnum: number,
                    adbin: default.clone(),
                });
            }
        }
    }
    rows
}

/// Rows of `pg_description`: comments on relations (number 0) and their columns.
pub(super) fn pg_description(view: &dyn CatalogView) -> Vec<Row> {
    let describe = |oid: Oid, number: usize, comment: &String| {
        row! {
            objoid: oid,
            classoid: CLASS_RELATION,
            objsubid: number,
            description: comment.clone(),
        }
    };
    let mut rows = Vec::new();
    for relation in relations(view) {
        let object = relation.object.as_ref().and_then(|object| object.comment.as_ref());
        rows.extend(object.map(|comment| describe(relation.oid, 0, comment)));
        for (number, column) in relation.numbered() {
            rows.extend(column.comment.iter().map(|text| describe(relation.oid, number, text)));
        }
    }
    rows
}

/// Rows of `pg_namespace`.
pub(super) fn pg_namespace(view: &dyn CatalogView) -> Vec<Row> {
    let schema = |(oid, name): (Oid, String)| row! { oid: oid, nspname: name, nspowner: OWNER };
    schemas(view).into_iter().map(schema).collect()
}

/// The system relations' own rows of `pg_class` or `pg_attribute`, which never change.
pub(super) fn system_rows(name: &str) -> Option<&'static RecordBatch> {
    static CLASS: LazyLock<Option<RecordBatch>> = LazyLock::new(|| system_class().ok());
    static ATTRIBUTE: LazyLock<Option<RecordBatch>> = LazyLock::new(|| system_attribute().ok());
    match name {
        "pg_class" => CLASS.as_ref(),
        "pg_attribute" => ATTRIBUTE.as_ref(),
        _ => None,
    }
}

fn system_relations() -> impl Iterator<Item = Shown> {
    RELATIONS.values().map(|relation| Shown {
        oid: relation.oid,
        schema: relation.schema.to_owned(),
        schema_oid: if relation.schema == "pg_catalog" { PG_CATALOG } else { INFORMATION_SCHEMA },
        name: relation.name.to_owned(),
        kind: relation.kind,
        columns: relation
            .columns
            .iter()
            .map(|(name, pg_type, not_null)| ShownColumn {
                name: (*name).to_owned(),
                column_type: ColumnType::parse(pg_type),
                not_null: *not_null,
                default: None,
                comment: None,
            })
            .collect(),
        object: None,
    })
}

fn system_class() -> Result<RecordBatch> {
    let rows = system_relations().map(|relation| class_row(&relation, false));
    RELATIONS[&("pg_catalog", "pg_class")].batch(rows.collect())
}

fn system_attribute() -> Result<RecordBatch> {
    let rows = system_relations().flat_map(|relation| {
        let rows =
            relation.numbered().map(|(n, column)| attribute_row(relation.oid, n, column, false));
        rows.collect::<Vec<_>>()
    });
    RELATIONS[&("pg_catalog", "pg_attribute")].batch(rows.collect())
}
