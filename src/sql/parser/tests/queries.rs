//! Queries: EMIT, relation-to-stream operators, types.

use super::*;
use crate::sql::statement::Emit;
use crate::sql::{parse_expression, parse_query_text};

#[test]
fn emit_at_the_end_is_taken_off() {
    for (clause, emit) in [
        ("EMIT CHANGES", Emit::Changes),
        ("EMIT STREAM", Emit::Changes),
        ("EMIT STREAM CHANGES", Emit::Changes),
        ("EMIT ON WINDOW CLOSE", Emit::OnWindowClose),
        ("emit final", Emit::OnWindowClose),
        ("EMIT STREAM AFTER WATERMARK", Emit::OnWindowClose),
        ("EMIT AFTER DELAY INTERVAL '6 minutes'", Emit::AfterDelay(360_000_000)),
        ("EMIT EVERY 10 SECONDS", Emit::Every(10_000_000)),
    ] {
        for body in ["SELECT * FROM s", "SELECT a FROM s GROUP BY a", "SELECT 1 FROM s ORDER BY 1"]
        {
            let query = query(&format!("{body} {clause}"));
            assert_eq!(query.emit, Some(emit), "{body} {clause}");
            assert_eq!(query.ast.to_string(), body);
        }
    }
    assert_eq!(query("SELECT * FROM s [NOW] EMIT CHANGES").emit, Some(Emit::Changes));
    assert_eq!(query("(SELECT * FROM s EMIT CHANGES)").emit, Some(Emit::Changes));
}

#[test]
fn emit_is_a_name_elsewhere() {
    for sql in [
        "SELECT emit FROM s",
        "SELECT emit, a FROM s AS emit",
        "SELECT * FROM a emit JOIN b ON emit.x = b.x",
        "SELECT * FROM b JOIN a emit ON emit.x = b.x",
        "SELECT emit.a FROM s emit WHERE emit.a > 1",
        "SELECT emit changes FROM s",
    ] {
        assert_eq!(query(sql).emit, None, "{sql}");
    }
}

#[test]
fn emit_stands_at_the_end_of_the_outermost_query() {
    check_unsupported("SELECT * FROM (SELECT * FROM s EMIT CHANGES) x", "EMIT inside a subquery");
    check_unsupported(
        "WITH c AS (SELECT * FROM s EMIT FINAL) SELECT * FROM c",
        "EMIT inside a subquery",
    );
    let state = SqlState::SYNTAX_ERROR;
    check_error("SELECT * FROM s EMIT CHANGES LIMIT 5", state, "near \"LIMIT\"", (1, 30));
    check_error("SELECT * FROM s EMIT AFTER LUNCH", state, "near \"AFTER\"", (1, 22));
    check_error("SELECT * FROM s EMIT EVERY", state, "at end of input", (1, 27));
    check_unsupported(
        "INSERT INTO t SELECT * FROM s EMIT CHANGES",
        "EMIT in a statement that changes a relation",
    );
}

#[test]
fn relation_to_stream_operators_become_calls() {
    const CALL: &str = "SELECT * FROM cql_stream";
    for (sql, expected) in [
        ("ISTREAM (SELECT * FROM s)", "({CALL}((SELECT * FROM s), 'ISTREAM'))"),
        (
            "RSTREAM(SELECT * FROM s) EVERY 5 SECONDS",
            "({CALL}((SELECT * FROM s), 'RSTREAM', 5000000))",
        ),
        ("SELECT ISTREAM a, b FROM s", "{CALL}((SELECT a, b FROM s), 'ISTREAM')"),
        ("SELECT ISTREAM s.a FROM s", "{CALL}((SELECT s.a FROM s), 'ISTREAM')"),
        ("SELECT ISTREAM \"A\" FROM s", "{CALL}((SELECT \"A\" FROM s), 'ISTREAM')"),
        ("SELECT RSTREAM * FROM s", "{CALL}((SELECT * FROM s), 'RSTREAM')"),
        ("SELECT DSTREAM *, a FROM s", "{CALL}((SELECT *, a FROM s), 'DSTREAM')"),
        ("SELECT ISTREAM(a, b) FROM s", "{CALL}((SELECT a, b FROM s), 'ISTREAM')"),
        ("SELECT ISTREAM (*) FROM s", "{CALL}((SELECT * FROM s), 'ISTREAM')"),
        (
            "SELECT ISTREAM (a, avg(x) AS y) FROM s GROUP BY a",
            "{CALL}((SELECT a, avg(x) AS y FROM s GROUP BY a), 'ISTREAM')",
        ),
        ("SELECT ISTREAM (a + 1) * 2 FROM s", "{CALL}((SELECT (a + 1) * 2 FROM s), 'ISTREAM')"),
        (
            "SELECT ISTREAM (SELECT max(b) FROM t) FROM s",
            "{CALL}((SELECT (SELECT max(b) FROM t) FROM s), 'ISTREAM')",
        ),
        ("SELECT ISTREAM DISTINCT a FROM s", "{CALL}((SELECT DISTINCT a FROM s), 'ISTREAM')"),
        ("SELECT DISTINCT ISTREAM a FROM s", "{CALL}((SELECT DISTINCT a FROM s), 'ISTREAM')"),
        ("SELECT ISTREAM $1 FROM s", "{CALL}((SELECT $1 FROM s), 'ISTREAM')"),
        ("SELECT ISTREAM NOT a FROM s", "{CALL}((SELECT NOT a FROM s), 'ISTREAM')"),
        (
            "SELECT ISTREAM a FROM s ORDER BY a LIMIT 3 EVERY INTERVAL '1 minute'",
            "{CALL}((SELECT a FROM s ORDER BY a LIMIT 3), 'ISTREAM', 60000000)",
        ),
        (
            "SELECT RSTREAM a FROM s [NOW] EVERY 2 SECONDS",
            "{CALL}((SELECT a FROM cql_window(s, 'w0') AS s), 'RSTREAM', 2000000)",
        ),
        (
            "WITH c AS (SELECT 1) SELECT ISTREAM * FROM c",
            "WITH c AS (SELECT 1) {CALL}((SELECT * FROM c), 'ISTREAM')",
        ),
        (
            "SELECT ISTREAM a FROM s UNION ALL SELECT DSTREAM b FROM s",
            "({CALL}((SELECT a FROM s), 'ISTREAM')) UNION ALL \
             ({CALL}((SELECT b FROM s), 'DSTREAM'))",
        ),
        (
            "SELECT 1 UNION ALL ISTREAM (SELECT a FROM s)",
            "SELECT 1 UNION ALL ({CALL}((SELECT a FROM s), 'ISTREAM'))",
        ),
    ] {
        assert_eq!(rewritten(sql), expected.replace("{CALL}", CALL), "{sql}");
        assert!(query(sql).to_stream, "{sql}");
    }
}

#[test]
fn relation_to_stream_operators_stand_in_subqueries() {
    for (sql, expected) in [
        (
            "SELECT * FROM (SELECT ISTREAM a FROM s) [NOW] x",
            "SELECT * FROM cql_window((SELECT * FROM cql_stream((SELECT a FROM s), 'ISTREAM')), \
             'w0') x",
        ),
        (
            "SELECT * FROM ISTREAM (SELECT a FROM s) x",
            "SELECT * FROM cql_stream((SELECT a FROM s), 'ISTREAM') x",
        ),
        (
            "SELECT * FROM (RSTREAM (SELECT a FROM s) EVERY 1 SECOND) x",
            "SELECT * FROM ((SELECT * FROM cql_stream((SELECT a FROM s), 'RSTREAM', 1000000))) x",
        ),
        (
            "SELECT * FROM ISTREAM (SELECT a FROM s) x JOIN t ON x.a = t.a",
            "SELECT * FROM cql_stream((SELECT a FROM s), 'ISTREAM') x JOIN t ON x.a = t.a",
        ),
        (
            "SELECT * FROM ISTREAM (SELECT a FROM s) [ROWS 1] AS x",
            "SELECT * FROM cql_window((SELECT * FROM cql_stream((SELECT a FROM s), 'ISTREAM')), \
             'w0') AS x",
        ),
        (
            "WITH c AS (ISTREAM (SELECT a FROM s)) SELECT * FROM c",
            "WITH c AS ((SELECT * FROM cql_stream((SELECT a FROM s), 'ISTREAM'))) SELECT * FROM c",
        ),
        (
            "SELECT * FROM TUMBLE(ISTREAM (SELECT ts FROM s), ts, 5) w",
            "SELECT * FROM TUMBLE((SELECT * FROM cql_stream((SELECT ts FROM s), 'ISTREAM')), ts, \
             5) w",
        ),
    ] {
        let found = rewritten(sql).replace(" AS x", " x");
        assert_eq!(found, expected.replace(" AS x", " x"), "{sql}");
        assert!(!query(sql).to_stream, "{sql}");
    }
}

#[test]
fn operator_and_emit_exclude_each_other() {
    let state = SqlState::SYNTAX_ERROR;
    let sql = "SELECT ISTREAM a FROM s EMIT ON WINDOW CLOSE";
    assert_eq!(error(sql).sqlstate(), state);
    assert!(error(sql).hint().is_some_and(|hint| hint.contains("either")));
    assert!(query("SELECT ISTREAM a FROM s EMIT CHANGES").to_stream);
    let negative = "SELECT ISTREAM a FROM s EVERY -1 SECONDS";
    check_error(negative, SqlState("22023"), "malformed length of time", (1, 31));
    assert!(parse("SELECT a FROM cql_stream((SELECT 1), 'ISTREAM')").is_err());
}

#[test]
fn column_called_istream_still_works() {
    for sql in [
        "SELECT istream, a FROM s",
        "SELECT istream FROM s",
        "SELECT istream AS x FROM s",
        "SELECT s.istream FROM s",
        "SELECT istream.a FROM istream",
        "SELECT istream::text FROM s",
        "SELECT istream + 1 FROM s",
        "SELECT istream * 2 FROM s",
        "SELECT istream * b FROM s",
        "SELECT istream IS NULL, rstream FROM s",
        "SELECT istream NOT IN (1) FROM s",
        "SELECT istream[1] FROM s",
        "SELECT a FROM s WHERE istream",
        "SELECT a FROM s ORDER BY istream, dstream",
        "SELECT \"istream\" a FROM s",
        "SELECT istream",
        "SELECT a FROM istream",
        "SELECT a FROM s istream",
    ] {
        query(sql);
    }
}

#[test]
fn joins_that_pick_carry_a_mark_in_their_condition() {
    for (sql, expected) in [
        (
            "SELECT * FROM o ASOF JOIN b ON o.k = b.k AND o.t >= b.t WHERE x",
            "SELECT * FROM o JOIN b ON \"$asof\"((o.k = b.k AND o.t >= b.t)) WHERE x",
        ),
        (
            "SELECT * FROM (SELECT 1 FROM o ASOF LEFT JOIN b AS c MATCH_CONDITION (o.t > c.t) \
             ON left(o.k, 1) = c.k) q, r",
            "SELECT * FROM (SELECT 1 FROM o LEFT JOIN b AS c ON \"$asof\"((o.t > c.t), \
             (left(o.k, 1) = c.k))) q, r",
        ),
        (
            "SELECT * FROM o LEFT ASOF JOIN b MATCH_CONDITION (o.t > b.t) LEFT JOIN c ON true",
            "SELECT * FROM o LEFT JOIN b ON \"$asof\"((o.t > b.t), (true)) LEFT JOIN c ON true",
        ),
        (
            "SELECT * FROM o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON r.k = o.k JOIN z ON a",
            "SELECT * FROM o JOIN cql_versions(rates) AS r ON \"$as_of\"((o.ts), (r.k = o.k)) \
             JOIN z ON a",
        ),
        (
            "SELECT * FROM o LEFT JOIN s.rates FOR SYSTEM_TIME AS OF o.ts ON rates.k = o.k",
            "SELECT * FROM o LEFT JOIN cql_versions(s.rates) AS rates \
             ON \"$as_of\"((o.ts), (rates.k = o.k))",
        ),
        ("SELECT asof FROM asof, o AS asof", "SELECT asof FROM asof, o AS asof"),
        ("SELECT * FROM v AS OF now() WHERE x", "SELECT * FROM cql_past(v, (now())) AS v WHERE x"),
        (
            "SELECT * FROM a JOIN s.v AS OF '2030-01-01' w ON true",
            "SELECT * FROM a JOIN cql_past(s.v, ('2030-01-01')) w ON true",
        ),
        (
            "SELECT * FROM v FOR SYSTEM_TIME AS OF 3, w AS of",
            "SELECT * FROM cql_past(v, (3)) AS v, w AS of",
        ),
    ] {
        let shown = |text: String| text.replace("AS q", "q").to_lowercase();
        assert_eq!(shown(query(sql).ast.to_string()), shown(expected.to_owned()), "{sql}");
    }
    let nameless = "FOR SYSTEM_TIME AS OF of what has no name";
    check_unsupported("SELECT * FROM (SELECT 1) FOR SYSTEM_TIME AS OF 3", nameless);
    query("SELECT * FROM o FOR UPDATE");
}

#[test]
fn timestamps_are_planned_in_microseconds() {
    for (sql, expected) in [
        ("SELECT a::timestamp", "SELECT a::TIMESTAMP(6)"),
        ("SELECT CAST(a AS timestamptz)", "SELECT CAST(a AS TIMESTAMPTZ(6))"),
        (
            "SELECT TIMESTAMP '2026-01-01', TIMESTAMP WITH TIME ZONE '2026-01-01'",
            "SELECT TIMESTAMP(6) '2026-01-01', TIMESTAMP(6) WITH TIME ZONE '2026-01-01'",
        ),
        ("SELECT a::timestamp(0)", "SELECT $rounded_time(a::TIMESTAMP(6), 0)"),
        ("SELECT a::timestamp(9)", "SELECT a::TIMESTAMP(6)"),
        ("SELECT 1 WHERE a > (b::timestamp)", "SELECT 1 WHERE a > (b::TIMESTAMP(6))"),
        ("SELECT * FROM (SELECT a::timestamp) x", "SELECT * FROM (SELECT a::TIMESTAMP(6)) x"),
        (
            "SELECT a::float, a::uuid, a::dec(5)",
            "SELECT a::DOUBLE PRECISION, a::TEXT, a::DECIMAL(5)",
        ),
        ("SELECT a::character varying(3)[]", "SELECT a::VARCHAR[]"),
        ("SELECT a::timestamp[]", "SELECT a::TIMESTAMP(6)[]"),
    ] {
        assert_eq!(rewritten(sql), expected);
    }
}

#[test]
fn query_text_parses_to_the_same_query() {
    let text = "SELECT k, count(*) FROM s [RANGE 5 MINUTES] x -- why\n GROUP BY k EMIT CHANGES";
    let StatementKind::CreateView(view) = kind(&format!("CREATE VIEW v AS {text} ;")) else {
        panic!("no view");
    };
    assert_eq!(&*view.query_text, text);
    let again = parse_query_text(&view.query_text).unwrap();
    assert_eq!(again.ast.to_string(), view.query.ast.to_string());
    assert_eq!(again.windows, view.query.windows);
    assert_eq!(again.emit, Some(Emit::Changes));
}

#[test]
fn expression_text_parses_to_an_expression() {
    let expr = parse_expression("ts - INTERVAL '5' SECOND").unwrap();
    assert_eq!(expr.to_string(), "ts - INTERVAL '0 months 0 days 5.000000 seconds'");
    assert!(parse_expression("ts ts").is_err());
}

#[test]
fn queries_come_in_all_forms() {
    for sql in [
        "VALUES (1), (2)",
        "TABLE bid",
        "(SELECT 1)",
        "((SELECT 1))",
        "(SELECT 1) UNION (SELECT 2)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "SELECT 'it''s', E'a\\nb', $$x$$, $t$y$t$, U&'\\0041'",
        "SELECT 'a'\n 'b'",
        "SELECT $1, $2::int",
        "SELECT ünï.\"Spalte\" FROM ünï",
    ] {
        query(sql);
    }
    assert_eq!(rewritten("SELECT 'a' -- c\n 'b'"), "SELECT 'ab'");
    let StatementKind::CreateTable(table) = kind("SELECT 1 AS a INTO TEMP t") else {
        panic!("no table");
    };
    assert!(table.temporary.is_some() && table.query.is_some());
    check_unsupported("CREATE VIEW v AS SELECT 1 INTO t", "SELECT INTO");
    check_unsupported("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "WITH before INSERT");
}
