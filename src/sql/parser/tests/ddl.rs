//! CREATE, DROP, ALTER, COMMENT.

use super::*;
use crate::sql::names::{fold, fold_parts};
use crate::sql::statement::*;

#[track_caller]
fn stream(sql: &str) -> CreateStream {
    match kind(sql) {
        StatementKind::CreateStream(stream) => stream,
        other => panic!("{sql}: {other:?}"),
    }
}

#[track_caller]
fn table(sql: &str) -> CreateTable {
    match kind(sql) {
        StatementKind::CreateTable(table) => table,
        other => panic!("{sql}: {other:?}"),
    }
}

#[track_caller]
fn view(sql: &str) -> CreateView {
    match kind(sql) {
        StatementKind::CreateView(view) => view,
        other => panic!("{sql}: {other:?}"),
    }
}

fn names(idents: &[sqlparser::ast::Ident]) -> Vec<String> {
    idents.iter().map(fold).collect()
}

#[test]
fn stream_with_all_its_options() {
    let stream = stream(
        "CREATE STREAM IF NOT EXISTS lab.Pos (
            ts timestamptz NOT NULL,
            car int DEFAULT 1 + 1,
            \"Late\" text, late boolean, clock int,
            WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
                IDLE TIMEOUT INTERVAL '1 minute'
                ON IDLE ADVANCE TO now() - INTERVAL '10 s'
                MAX AHEAD INTERVAL '1 day',
            LATE INTO lab.pos_late,
            CLOCK EVENT,
            PARTITION KEY (car, \"Late\")
        ) FROM kafka 'x' (topic = 'pos', \"Brokers\" = 'a:1')
          WITH (retention = INTERVAL '1 day', n = -5)",
    );
    assert!(stream.if_not_exists);
    assert_eq!(fold_parts(&stream.name), ["lab", "pos"]);
    let columns: Vec<String> = stream.columns.iter().map(|column| fold(&column.name)).collect();
    assert_eq!(columns, ["ts", "car", "Late", "late", "clock"]);
    let watermark = stream.watermark.unwrap();
    assert_eq!(watermark.column.value, "ts");
    assert_eq!(watermark.expr.to_string(), "ts - INTERVAL '0 months 0 days 5.000000 seconds'");
    assert_eq!(watermark.idle_timeout, Some(60_000_000));
    assert_eq!(watermark.on_idle_advance_to.unwrap().to_string(), "now() - INTERVAL '10 s'");
    assert_eq!(watermark.max_ahead, Some(86_400_000_000));
    assert!(
        matches!(&stream.late, LatePolicy::Into(name) if fold_parts(name) == ["lab", "pos_late"])
    );
    assert_eq!(stream.clock, Some(StreamClock::Event));
    assert_eq!(names(&stream.partition_key), ["car", "Late"]);
    let options: Vec<(&str, &str)> =
        stream.options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        options,
        [
            ("brokers", "a:1"),
            ("connector", "kafka"),
            ("n", "-5"),
            ("path", "x"),
            ("retention", "1 day"),
            ("topic", "pos")
        ]
    );
}

#[test]
fn stream_options_come_in_any_order() {
    let stream = stream(
        "CREATE STREAM s (LATE ERROR, MAX AHEAD 5 SECONDS, ts timestamp, PARTITION KEY (ts),
            WATERMARK FOR ts AS ts ON IDLE ADVANCE TO now() IDLE TIMEOUT 3, a int)",
    );
    assert_eq!(stream.late, LatePolicy::Error);
    let watermark = stream.watermark.unwrap();
    assert_eq!((watermark.max_ahead, watermark.idle_timeout), (Some(5_000_000), Some(3_000_000)));
    assert_eq!(stream.columns.len(), 2);
}

#[test]
fn plain_stream_has_defaults() {
    let stream = stream("CREATE STREAM s (a int, b text)");
    assert!(stream.watermark.is_none() && stream.clock.is_none() && stream.options.is_empty());
    assert_eq!(stream.late, LatePolicy::Drop);
    assert_eq!(stream_clock("CLOCK SYSTEM"), Some(StreamClock::System));
}

fn stream_clock(option: &str) -> Option<StreamClock> {
    stream(&format!("CREATE STREAM s (a int, {option})")).clock
}

#[test]
fn lateness_is_a_length_or_a_number() {
    let lateness = |option: &str| {
        let watermark = "WATERMARK FOR a AS a";
        stream(&format!("CREATE STREAM s (a int, {watermark}, {option})")).lateness
    };
    for (option, expected) in [
        ("ALLOWED LATENESS INTERVAL '1 s'", Some(Lateness::Span(1_000_000))),
        ("ALLOWED LATENESS 2 SECONDS, LATE UPDATE, LATE ERROR", Some(Lateness::Span(2_000_000))),
        ("ALLOWED LATENESS 3", Some(Lateness::Units(3))),
        ("LATE DROP", None),
    ] {
        assert_eq!(lateness(option), expected, "{option}");
    }
}

#[test]
fn what_streams_do_not_have_yet_is_named() {
    let with = |option: &str| format!("CREATE STREAM s (ts timestamp, {option})");
    check_unsupported(&with("PRIMARY KEY (ts)"), "PRIMARY KEY or UNIQUE of a stream");
    check_unsupported(&with("k int PRIMARY KEY"), "PRIMARY KEY or UNIQUE of a stream");
    check_unsupported(&with("k int UNIQUE"), "PRIMARY KEY or UNIQUE of a stream");
    check_unsupported(
        "CREATE STREAM s (LATE DROP) AS SELECT * FROM t",
        "an option of CREATE STREAM AS in parentheses",
    );
    check_unsupported("CREATE OR REPLACE STREAM s (a int)", "CREATE OR REPLACE STREAM");
}

#[test]
fn streams_that_contradict_themselves_are_refused() {
    let check = |items: &str, state: SqlState, message: &str| {
        let sql = format!("CREATE STREAM s ({items})");
        let error = error(&sql);
        assert_eq!(error.sqlstate(), state, "{sql}: {error:?}");
        assert!(error.to_string().contains(message), "{sql}: {error}");
    };
    check("a int, A text", SqlState::DUPLICATE_COLUMN, "\"a\" specified more than once");
    check("a int, PARTITION KEY (b)", SqlState::UNDEFINED_COLUMN, "\"b\" named in PARTITION KEY");
    check("a int, WATERMARK FOR b AS b", SqlState::UNDEFINED_COLUMN, "\"b\" named in WATERMARK");
    check("a int, IDLE TIMEOUT 5", SqlState::INVALID_OBJECT_DEFINITION, "require WATERMARK FOR");
    check("a int, CLOCK EVENT", SqlState::INVALID_OBJECT_DEFINITION, "CLOCK EVENT requires");
    check("a int, LATE DROP, LATE ERROR", SqlState::INVALID_PARAMETER_VALUE, "given twice");
    check("a int, MAX AHEAD 0", SqlState::INVALID_PARAMETER_VALUE, "longer than 0");
    check("", SqlState::SYNTAX_ERROR, "syntax error");
    check_error(
        "CREATE STREAM s (a int, b foo)",
        SqlState::UNDEFINED_OBJECT,
        "type \"foo\"",
        (1, 27),
    );
}

#[test]
fn table_with_its_key() {
    let created = table(
        "CREATE TABLE IF NOT EXISTS t (
            a int PRIMARY KEY, b varchar(20) NOT NULL DEFAULT 'x', c numeric(10, 2), d timestamptz[]
        ) WITH (connector = 'file', path = '/x', header = true)",
    );
    assert!(created.if_not_exists);
    assert_eq!(names(&created.primary_key), ["a"]);
    assert_eq!(created.columns.len(), 4);
    assert_eq!(created.options["header"], "true");
    let created = table("CREATE TABLE t (a int, \"B\" int, CONSTRAINT k PRIMARY KEY (\"B\", a))");
    assert_eq!(names(&created.primary_key), ["B", "a"]);
    let created = table("CREATE TABLE sch.t (a int)");
    assert!(created.primary_key.is_empty() && created.query.is_none());
}

#[test]
fn table_as_query() {
    let created = table("CREATE TABLE t WITH (a = 'b') AS SELECT * FROM s [NOW] WITH DATA");
    assert_eq!(created.query.unwrap().windows.len(), 1);
    assert!(created.with_data && created.temporary.is_none());
    assert!(!table("CREATE TABLE t AS SELECT 1 WITH NO DATA").with_data);
    let created = table("CREATE TEMP TABLE t (a, b) ON COMMIT DROP AS SELECT 1, 2");
    assert_eq!(created.temporary, Some(OnCommit::Drop));
    assert_eq!(created.columns.len(), 2);
    let state = SqlState::SYNTAX_ERROR;
    check_error("CREATE TABLE t (a, b int)", state, "at end of input", (1, 26));
}

#[test]
fn what_tables_do_not_have_is_named() {
    for (items, feature) in [
        ("a int, UNIQUE NULLS NOT DISTINCT (a)", "NULLS NOT DISTINCT"),
        ("a int CHECK (a > 0)", "CHECK"),
        ("a int, CHECK (a > 0)", "CHECK"),
        ("a int REFERENCES u", "FOREIGN KEY"),
        ("a int, FOREIGN KEY (a) REFERENCES u (b)", "FOREIGN KEY"),
        ("a int GENERATED ALWAYS AS IDENTITY", "a generated column"),
        ("a serial", "type serial"),
        ("a int, WATERMARK FOR ts AS ts", "WATERMARK of a table"),
        ("LIKE u", "LIKE in CREATE TABLE"),
        ("a text COLLATE \"C\"", "COLLATE of a column"),
    ] {
        check_unsupported(&format!("CREATE TABLE t ({items})"), feature);
    }
    check_unsupported("CREATE TEMP SEQUENCE s", "a temporary sequence");
    check_unsupported(
        "CREATE TABLE t (a int) PARTITION BY RANGE (a)",
        "PARTITION BY in CREATE TABLE",
    );
    let state = SqlState::INVALID_OBJECT_DEFINITION;
    check_error("CREATE TABLE t (a int PRIMARY KEY, PRIMARY KEY (a))", state, "multiple", (1, 36));
    let state = SqlState::UNDEFINED_COLUMN;
    check_error("CREATE TABLE t (a int, PRIMARY KEY (b))", state, "PRIMARY KEY", (1, 37));
    check_error("CREATE TABLE t", SqlState::SYNTAX_ERROR, "at end of input", (1, 15));
}

#[test]
fn views_of_both_kinds() {
    let created = view("CREATE OR REPLACE VIEW a.v (x, \"Y\") WITH (k = 1) AS SELECT 1, 2");
    assert!(created.or_replace && !created.materialized && !created.if_not_exists);
    assert_eq!(names(&created.columns), ["x", "Y"]);
    assert_eq!(created.options["k"], "1");
    let created = view(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS v AS
         WITH c AS (SELECT 1) SELECT * FROM c EMIT CHANGES WITH DATA",
    );
    assert!(created.materialized && created.if_not_exists);
    assert_eq!(created.query.emit, Some(Emit::Changes));
    assert_eq!(&*created.query_text, "WITH c AS (SELECT 1) SELECT * FROM c EMIT CHANGES");
    let created = view("CREATE VIEW v AS (SELECT 1)");
    assert_eq!(&*created.query_text, "(SELECT 1)");
    check_unsupported("CREATE VIEW v AS SELECT 1 WITH CHECK OPTION", "WITH CHECK OPTION");
    check_unsupported("CREATE RECURSIVE VIEW v (a) AS SELECT 1", "CREATE RECURSIVE VIEW");
    assert!(view("CREATE TEMPORARY VIEW v AS SELECT 1").temporary);
    check_unsupported("CREATE VIEW v AS SELECT 1 WITH NO DATA", "WITH NO DATA of a view");
}

#[test]
fn streams_and_sinks_of_queries() {
    let StatementKind::CreateStreamAs(stream) =
        kind("CREATE STREAM IF NOT EXISTS a.d WITH (snapshot = false) AS SELECT ISTREAM x FROM s")
    else {
        panic!("no stream")
    };
    assert!(stream.if_not_exists && stream.query.to_stream);
    assert_eq!(stream.name.to_string(), "a.d");
    assert_eq!(&*stream.query_text, "SELECT ISTREAM x FROM s");
    assert_eq!(stream.options["snapshot"], "false");
    let StatementKind::CreateSink(sink) =
        kind("CREATE SINK k INTO lab.t KEY (a, b) AS SELECT a, b FROM s")
    else {
        panic!("no sink")
    };
    let into = sink.into.map(|name| name.to_string());
    assert_eq!((sink.name.to_string(), into.as_deref()), ("k".into(), Some("lab.t")));
    assert_eq!(sink.key.len(), 2);
    assert_eq!(&*sink.query_text, "SELECT a, b FROM s");
    let text = "CREATE SINK k TO FILE 'out' PARTITION BY (a) FORMAT CSV WITH (clock = event) \
                AS SELECT a FROM s";
    let StatementKind::CreateSink(sink) = kind(text) else { panic!("no sink") };
    let options: Vec<_> = sink.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(options, ["clock=event", "connector=file", "format=csv", "path=out"]);
    assert!(sink.into.is_none() && sink.partition.len() == 1);
}

#[test]
fn drop_of_every_kind() {
    for (words, kind_) in [
        ("STREAM", DropKind::Stream),
        ("TABLE", DropKind::Table),
        ("VIEW", DropKind::View),
        ("MATERIALIZED VIEW", DropKind::MaterializedView),
        ("SINK", DropKind::Sink),
        ("SCHEMA", DropKind::Schema),
    ] {
        let StatementKind::Drop(drop) = kind(&format!("DROP {words} IF EXISTS a, b.c CASCADE"))
        else {
            panic!("{words}");
        };
        assert_eq!((drop.kind, drop.if_exists, drop.cascade), (kind_, true, true));
        assert_eq!(drop.names.len(), 2);
    }
    let StatementKind::Drop(drop) = kind("DROP TABLE t RESTRICT") else { panic!("no drop") };
    assert!(!drop.if_exists && !drop.cascade);
}

#[test]
fn schemas_heartbeats_and_comments() {
    let StatementKind::CreateSchema { name, if_not_exists } =
        kind("CREATE SCHEMA IF NOT EXISTS lab AUTHORIZATION me")
    else {
        panic!("no schema");
    };
    assert!(if_not_exists && name.value == "lab");
    let StatementKind::Heartbeat { stream: Some(stream), at, table: false } =
        kind("ALTER STREAM a.s HEARTBEAT TIMESTAMP '2026-01-01 00:00:00'")
    else {
        panic!("no heartbeat");
    };
    assert_eq!(fold_parts(&stream), ["a", "s"]);
    assert_eq!(at.to_string(), "TIMESTAMP(6) '2026-01-01 00:00:00'");
    let StatementKind::Heartbeat { stream: None, .. } = kind("ALTER SYSTEM HEARTBEAT now()") else {
        panic!("no heartbeat of the system");
    };
    check_unsupported("ALTER SYSTEM SET work_mem = 1", "ALTER SYSTEM");
    for (sql, expected) in [
        ("COMMENT ON COLUMN t.a IS 'x''y'", ("COLUMN", Some("x'y"))),
        ("COMMENT ON MATERIALIZED VIEW v IS NULL", ("MATERIALIZED VIEW", None)),
        ("COMMENT ON STREAM s IS E'\\n'", ("STREAM", Some("\n"))),
    ] {
        let StatementKind::Comment { kind, text, .. } = kind(sql) else { panic!("{sql}") };
        assert_eq!((kind.as_str(), text.as_deref()), expected);
    }
    check_unsupported("COMMENT ON FUNCTION f IS 'x'", "COMMENT ON FUNCTION");
}
