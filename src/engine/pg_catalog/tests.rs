//! Recorded client statements, and what psql's `\d` shows of our objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use regex::Regex;

use super::*;
use crate::sql::catalog::{Catalog, Column, Object, ObjectKind, TableDef, ViewDef};
use crate::sql::types::SqlType;

#[derive(Debug)]
struct View(Arc<Catalog>);

impl CatalogView for View {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.0)
    }

    fn identity(&self) -> Identity {
        Identity {
            database: "d1".to_owned(),
            user: "postgres".to_owned(),
            pid: 7,
            search_path: vec!["public".to_owned()],
        }
    }

    fn system_relations(&self) -> Vec<SystemRelation> {
        let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
        vec![SystemRelation { name: "streams".to_owned(), schema }]
    }

    fn settings(&self) -> Vec<Setting> {
        let settings =
            [("server_version_num", "150014"), ("search_path", "public"), ("max_index_keys", "32")];
        let setting = |(name, value): (&str, &str)| Setting {
            name: name.to_owned(),
            value: value.to_owned(),
            default: value.to_owned(),
            description: String::new(),
        };
        settings.map(setting).into()
    }
}

fn column(name: &str, pg_type: &str, data_type: DataType) -> Column {
    Column {
        name: name.to_owned(),
        sql_type: SqlType { name: pg_type.to_owned() },
        data_type,
        not_null: false,
        default: None,
        comment: None,
    }
}

fn object(catalog: &mut Catalog, name: &str, columns: Vec<Column>, kind: ObjectKind) -> Object {
    Object {
        oid: catalog.fresh_oid(),
        schema: "public".to_owned(),
        name: name.to_owned(),
        columns,
        kind,
        sql: "".into(),
        depends_on: [].into(),
        comment: None,
    }
}

/// The objects that the statements were recorded with.
fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let mut columns = vec![
        column("id", "bigint", DataType::Int64),
        column("sym", "text", DataType::Utf8),
        column("px", "double precision", DataType::Float64),
        column("qty", "integer", DataType::Int32),
        column("ts", "timestamp with time zone", instant),
        column("note", "character varying(20)", DataType::Utf8),
        column("amt", "numeric(12,2)", DataType::Decimal128(12, 2)),
        column("flag", "boolean", DataType::Boolean),
        column("tags", "text[]", DataType::new_list(DataType::Utf8, true)),
        column("j", "jsonb", DataType::Utf8),
    ];
    columns[1].not_null = true;
    columns[3].default = Some("1".to_owned());
    columns[1].comment = Some("the symbol".to_owned());
    let key =
        TableDef { primary_key: vec![0], unique: vec![], options: BTreeMap::new(), versions: None };
    let mut trades = object(&mut catalog, "trades", columns, ObjectKind::Table(Arc::new(key)));
    trades.comment = Some("trades".to_owned());
    let trades = catalog.insert(trades).oid;
    for (name, materialized) in [("v1", false), ("mv1", true)] {
        let query = "SELECT sym, sum(px * qty) AS notional FROM trades GROUP BY sym".into();
        let (maintained, search_path) = (materialized, vec![]);
        let (time_zone, options) = ("UTC".to_owned(), BTreeMap::new());
        let view = ViewDef { materialized, maintained, query, search_path, time_zone, options };
        let columns = vec![
            column("sym", "text", DataType::Utf8),
            column("notional", "double precision", DataType::Float64),
        ];
        let mut view = object(&mut catalog, name, columns, ObjectKind::View(Arc::new(view)));
        view.depends_on.insert(trades);
        catalog.insert(view);
    }
    catalog
}

fn context() -> (SessionContext, u32) {
    let config = SessionConfig::new().with_default_catalog_and_schema("d1", "public");
    let ctx = SessionContext::new_with_config(config);
    crate::functions::register(&mut ctx.state_ref().write()).unwrap();
    let catalog = catalog();
    for object in catalog.objects() {
        let schema = object.arrow_schema();
        let table = MemTable::try_new(schema, vec![vec![]]).unwrap();
        ctx.register_table(object.name.as_str(), Arc::new(table)).unwrap();
    }
    let oid = catalog.find("public", "trades").unwrap().oid;
    install(&ctx, Arc::new(View(Arc::new(catalog)))).unwrap();
    (ctx, oid)
}

async fn answer(ctx: &SessionContext, sql: &str) -> datafusion::common::Result<String> {
    let plan = plan(ctx, sql).await?;
    let batches = ctx.execute_logical_plan(plan).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}

/// Statements that are not queries.
const SKIPPED: &str = r"(?ix)^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|DECLARE|FETCH|CLOSE|COPY
    |CREATE|INSERT|COMMENT|LISTEN|NOTIFY|SET|SELECT\ pg_sleep|SHOW|\\|DEALLOCATE|UNLISTEN
    |select\ nextval)";

#[tokio::test]
async fn recorded_client_statements_are_answered() {
    let corpus =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/catalog_corpus.json"));
    let corpus: Vec<serde_json::Value> = serde_json::from_str(corpus).unwrap();
    let (skipped, parameter) = (Regex::new(SKIPPED).unwrap(), Regex::new(r"\$\d+").unwrap());
    let (ctx, oid) = context();
    let (mut answered, mut failed) = (0, Vec::new());
    for entry in &corpus {
        let sql = entry["q"].as_str().unwrap().replace("$OID", &oid.to_string());
        // The last one is recorded for its error.
        if skipped.is_match(&sql) || sql.trim().is_empty() || sql.contains("FROM nope") {
            continue;
        }
        let sql = parameter.replace_all(&sql, "'25'");
        match answer(&ctx, &sql).await {
            Ok(_) => answered += 1,
            Err(error) => failed.push(format!("{}: {error}\n    {sql}", entry["k"])),
        }
    }
    let report = failed.join("\n");
    assert!(failed.is_empty(), "{report}");
    assert_eq!(answered, 116, "the corpus has changed");
}

/// psql's query for the columns of `\\d+ name`.
const COLUMNS: &str = "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
     (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d \
      WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, \
     (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t \
      WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) \
      AS attcollation, a.attidentity, a.attgenerated, a.attstorage, \
     pg_catalog.col_description(a.attrelid, a.attnum) \
     FROM pg_catalog.pg_attribute a \
     WHERE a.attrelid = '$OID' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// psql's query for the indexes of `\\d name`.
const INDEXES: &str = "SELECT c2.relname, i.indisprimary, i.indisunique, i.indisclustered, \
     i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true) AS definition, \
     pg_catalog.pg_get_constraintdef(con.oid, true) AS constraint, contype, condeferrable \
     FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i \
     LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid \
      AND contype IN ('p','u','x')) \
     WHERE c.oid = '$OID' AND c.oid = i.indrelid AND i.indexrelid = c2.oid \
     ORDER BY i.indisprimary DESC, c2.relname";

#[tokio::test]
async fn psql_describes_columns_as_they_were_declared() {
    let (ctx, oid) = context();
    let columns = answer(&ctx, &COLUMNS.replace("$OID", &oid.to_string())).await.unwrap();
    let shown = columns.lines().skip(3).filter(|line| line.starts_with("| "));
    let cells = |line: &str| line.split('|').map(|c| c.trim().to_owned()).collect::<Vec<_>>();
    let shown: Vec<String> = shown
        .map(cells)
        .map(|c| format!("{} {} {} {} {}", c[1], c[2], c[4], c[3], c[9]).trim().to_owned())
        .collect();
    let expected = [
        "id bigint true",
        "sym text true  the symbol",
        "px double precision false",
        "qty integer false 1",
        "ts timestamp with time zone false",
        "note character varying(20) false",
        "amt numeric(12,2) false",
        "flag boolean false",
        "tags text[] false",
        "j jsonb false",
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn psql_describes_the_primary_key() {
    let (ctx, oid) = context();
    let indexes = answer(&ctx, &INDEXES.replace("$OID", &oid.to_string())).await.unwrap();
    let definition = "CREATE UNIQUE INDEX trades_pkey ON public.trades USING btree (id)";
    assert!(indexes.contains(definition), "{indexes}");
    assert!(indexes.contains("PRIMARY KEY (id)"), "{indexes}");
}

#[tokio::test]
async fn names_stand_for_object_ids_both_ways() {
    let (ctx, oid) = context();
    let one = async |sql: &str| {
        let shown = answer(&ctx, sql).await.unwrap();
        shown.lines().nth(3).unwrap_or_default().trim_matches(['|', ' ']).to_owned()
    };
    let oid = oid.to_string();
    assert_eq!(one("SELECT oid FROM pg_class WHERE oid = 'trades'::regclass").await, oid);
    assert_eq!(one("SELECT 'trades'::regclass::oid").await, oid);
    assert_eq!(one(&format!("SELECT {oid}::regclass")).await, "trades");
    assert_eq!(one("SELECT 'int4'::regtype").await, "integer");
    assert_eq!(one("SELECT typname FROM pg_type WHERE typinput = 'int4in'::regproc").await, "int4");
    assert_eq!(one("SELECT relname FROM pg_class WHERE oid = 1259").await, "pg_class");
}

#[test]
fn a_statement_is_about_the_server_by_its_names() {
    assert!(is_catalog_statement("select * from PG_CLASS"));
    assert!(is_catalog_statement("SELECT current_schema()"));
    assert!(!is_catalog_statement("SELECT spg_x FROM trades"));
    assert!(!is_catalog_statement("SELECT conversion(x) FROM trades"));
}
