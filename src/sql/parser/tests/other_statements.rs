//! SUBSCRIBE, COPY, EXPLAIN, cursors, prepared statements, sessions, and strings of statements.

use super::*;
use crate::sql::statement::*;
use crate::sql::subscribe::Subscribe;
use crate::sql::transaction::Savepoint;

#[track_caller]
fn subscribe(sql: &str) -> Subscribe {
    match kind(sql) {
        StatementKind::Subscribe(subscribe) => subscribe,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn strings_are_split_at_semicolons() {
    let sql = " SELECT 'ü;' ;; -- c;\n SELECT $$;$$ /* ; */; (SELECT 1) ;";
    let statements = parse(sql).unwrap();
    let parts: Vec<(usize, &str)> = statements.iter().map(|s| (s.offset, &*s.text)).collect();
    assert_eq!(parts, [(1, "SELECT 'ü;'"), (23, "SELECT $$;$$"), (45, "(SELECT 1)")]);
    for statement in &statements {
        let text: String = sql.chars().skip(statement.offset).collect();
        assert!(text.starts_with(&*statement.text));
    }
}

#[test]
fn nothing_is_one_empty_statement() {
    for sql in ["", " \n", ";", " ; ;", "-- x", "/* x */ ;"] {
        assert!(matches!(statement(sql).kind, StatementKind::Empty), "{sql:?}");
    }
}

#[test]
fn subscribe_takes_a_name_or_a_query() {
    for (sql, expected) in [
        ("SUBSCRIBE v", "SELECT * FROM v"),
        ("SUBSCRIBE TO a.\"V\"", "SELECT * FROM a.\"V\""),
        ("SUBSCRIBE s [ROWS 5]", "SELECT * FROM cql_window(s, 'w0') AS s"),
        ("SUBSCRIBE TO (SELECT 1)", "SELECT 1"),
        ("SUBSCRIBE SELECT a FROM s WHERE b", "SELECT a FROM s WHERE b"),
        (
            "SUBSCRIBE TO WITH c AS (SELECT 1) SELECT * FROM c",
            "WITH c AS (SELECT 1) SELECT * FROM c",
        ),
        ("SUBSCRIBE (SELECT 1) UNION ALL (SELECT 2)", "(SELECT 1) UNION ALL (SELECT 2)"),
    ] {
        let subscribe = subscribe(sql);
        assert_eq!(subscribe.query.ast.to_string(), expected);
        assert!(subscribe.snapshot && !subscribe.progress);
    }
    assert_eq!(subscribe("SUBSCRIBE v EMIT ON WINDOW CLOSE").query.emit, Some(Emit::OnWindowClose));
    assert_eq!(subscribe("SUBSCRIBE (SELECT 1 EMIT CHANGES)").query.emit, Some(Emit::Changes));
}

#[test]
fn subscribe_has_options() {
    for (sql, expected) in [
        ("SUBSCRIBE v WITH (SNAPSHOT = false, PROGRESS = true)", (false, true)),
        ("SUBSCRIBE v WITH (PROGRESS)", (true, true)),
        ("SUBSCRIBE (SELECT 1) WITH (SNAPSHOT false)", (false, false)),
        ("SUBSCRIBE SELECT * FROM s EMIT CHANGES WITH (PROGRESS = on) ENVELOPE DIFF", (true, true)),
    ] {
        let subscribe = subscribe(sql);
        assert_eq!((subscribe.snapshot, subscribe.progress), expected, "{sql}");
    }
    let all = subscribe(
        "SUBSCRIBE TO v UP TO now() + INTERVAL '1 hour' WITH (PROGRESS) ENVELOPE UPSERT \
         KEY (a, b) AS OF now()",
    );
    assert_eq!(all.as_of.map(|at| at.to_string()), Some("now()".to_owned()));
    assert_eq!(all.up_to.map(|at| at.to_string()), Some("now() + INTERVAL '1 hour'".to_owned()));
    assert_eq!(all.upsert_key.map(|key| key.len()), Some(2));
    assert!(all.progress);
    let state = SqlState::INVALID_PARAMETER_VALUE;
    check_error("SUBSCRIBE v WITH (foo = 1)", state, "SUBSCRIBE has no option \"foo\"", (1, 19));
    check_error("SUBSCRIBE v WITH (PROGRESS = 5)", state, "requires a boolean", (1, 19));
    check_error("SUBSCRIBE", SqlState::SYNTAX_ERROR, "at end of input", (1, 10));
}

fn copy_options(sql: &str) -> CopyOptions {
    match kind(sql) {
        StatementKind::CopyFrom(copy) => copy.options,
        StatementKind::CopyTo(copy) => copy.options,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn copy_takes_rows_in() {
    let StatementKind::CopyFrom(copy) = kind("COPY a.t (x, \"Y\") FROM STDIN") else {
        panic!("no copy");
    };
    assert_eq!(copy.columns.len(), 2);
    let text = CopyOptions {
        format: CopyFormat::Text,
        delimiter: '\t',
        null: "\\N".to_owned(),
        header: false,
        quote: '"',
        escape: '"',
    };
    assert_eq!(copy.options, text);
    let csv = CopyOptions {
        format: CopyFormat::Csv,
        delimiter: ';',
        null: "NA".to_owned(),
        header: true,
        quote: '\'',
        escape: '\\',
    };
    for sql in [
        "COPY t FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'NA', \
             QUOTE '''', ESCAPE '\\')",
        "COPY t FROM STDIN (FORMAT 'csv', HEADER true, DELIMITER E';', NULL 'NA', \
             QUOTE '''', ESCAPE '\\')",
        "COPY t FROM STDIN CSV HEADER DELIMITER ';' NULL AS 'NA' QUOTE '''' ESCAPE AS '\\'",
        "COPY t FROM STDIN WITH DELIMITER AS ';' CSV HEADER NULL 'NA' QUOTE '''' ESCAPE '\\'",
    ] {
        assert_eq!(copy_options(sql), csv, "{sql}");
    }
    assert_eq!(copy_options("COPY t FROM STDIN WITH (FORMAT csv, QUOTE '|')").escape, '|');
    assert_eq!(copy_options("COPY t FROM STDIN WITH DELIMITER E'\\t'").delimiter, '\t');
    check_unsupported("COPY t FROM '/etc/passwd'", "COPY with a file on the server");
    check_unsupported("COPY t FROM PROGRAM 'ls'", "COPY with a file on the server");
    check_unsupported("COPY t FROM STDIN (FORMAT binary)", "COPY FROM in binary format");
    check_unsupported("COPY t FROM STDIN WHERE a > 1", "COPY .. WHERE");
}

#[test]
fn copy_sends_rows_out() {
    for (sql, expected) in [
        ("COPY t TO STDOUT", "SELECT * FROM t"),
        ("COPY a.t (x, \"Y\") TO STDOUT CSV", "SELECT x, \"Y\" FROM a.t"),
        ("COPY (SELECT 1) TO STDOUT WITH (FORMAT binary)", "SELECT 1"),
        ("COPY (SUBSCRIBE TO v WITH (PROGRESS)) TO STDOUT", "SELECT * FROM v"),
    ] {
        let StatementKind::CopyTo(copy) = kind(sql) else { panic!("{sql}") };
        let query = match copy.source.kind {
            StatementKind::Query(query) => query,
            StatementKind::Subscribe(subscribe) => subscribe.query,
            other => panic!("{other:?}"),
        };
        assert_eq!(query.ast.to_string(), expected);
        let text: String = sql.chars().skip(copy.source.offset).collect();
        assert!(text.starts_with(&*copy.source.text));
    }
    assert_eq!(copy_options("COPY BINARY t TO STDOUT").format, CopyFormat::Binary);
    check_unsupported(
        "COPY (DELETE FROM t RETURNING *) TO STDOUT",
        "COPY of a statement that changes data",
    );
}

#[test]
fn copy_options_must_make_sense() {
    let state = SqlState::INVALID_PARAMETER_VALUE;
    for (options, message) in [
        ("(FORMAT xml)", "COPY format \"xml\" not recognized"),
        ("(DELIMITER 'ab')", "single one-byte character"),
        ("(DELIMITER 'a')", "cannot be a letter"),
        ("(FORMAT csv, DELIMITER '\"')", "must be different"),
        ("(QUOTE '|')", "only in CSV mode"),
        ("(FORMAT binary, HEADER)", "not available in binary mode"),
        ("(HEADER, HEADER)", "given twice"),
        ("(FOO 1)", "COPY has no option \"foo\""),
        ("(NULL E'\\t')", "must not appear in the NULL"),
        ("(ENCODING 'latin1')", "cannot convert"),
    ] {
        let error = error(&format!("COPY t TO STDOUT WITH {options}"));
        assert_eq!(error.sqlstate(), state, "{options}: {error:?}");
        assert!(error.to_string().contains(message), "{options}: {error}");
    }
}

#[test]
fn explain_takes_both_spellings() {
    for (sql, expected) in [
        ("EXPLAIN SELECT 1", (false, false, false)),
        ("EXPLAIN ANALYZE VERBOSE SELECT 1", (true, true, false)),
        ("EXPLAIN VERBOSE CREATE MATERIALIZED VIEW v AS SELECT 1", (false, true, false)),
        ("EXPLAIN (ANALYZE, VERBOSE off, FORMAT JSON) SELECT 1", (true, false, true)),
        ("EXPLAIN (FORMAT TEXT, COSTS OFF) SUBSCRIBE v", (false, false, false)),
        ("EXPLAIN (SELECT 1)", (false, false, false)),
        ("EXPLAIN ((SELECT 1) UNION (SELECT 2))", (false, false, false)),
        ("EXPLAIN INSERT INTO t VALUES (1)", (false, false, false)),
    ] {
        let StatementKind::Explain(explain) = kind(sql) else { panic!("{sql}") };
        assert_eq!((explain.analyze, explain.verbose, explain.json), expected, "{sql}");
        assert!(sql.ends_with(&*explain.statement.text), "{sql}");
    }
    let state = SqlState::INVALID_PARAMETER_VALUE;
    check_error("EXPLAIN (FORMAT xml) SELECT 1", state, "\"format\"", (1, 10));
    check_error("EXPLAIN DROP TABLE t", SqlState::SYNTAX_ERROR, "near \"DROP\"", (1, 9));
}

#[test]
fn cursors() {
    for (sql, holds) in [
        ("DECLARE c CURSOR FOR SELECT 1", false),
        ("DECLARE \"C\" INSENSITIVE NO SCROLL CURSOR WITH HOLD FOR SUBSCRIBE v", true),
        ("DECLARE c CURSOR WITHOUT HOLD FOR SUBSCRIBE (SELECT 1) WITH (PROGRESS)", false),
    ] {
        let StatementKind::Declare { hold, .. } = kind(sql) else { panic!("{sql}") };
        assert_eq!(hold, holds, "{sql}");
    }
    check_unsupported("DECLARE c BINARY CURSOR FOR SELECT 1", "DECLARE BINARY CURSOR");
    use Motion::{Absolute, Backward, Forward, Relative};
    for (sql, expected) in [
        ("FETCH c", (Forward(Some(1)), None)),
        ("FETCH NEXT FROM c", (Forward(Some(1)), None)),
        ("FETCH NEXT c", (Forward(Some(1)), None)),
        ("FETCH 5 FROM c", (Forward(Some(5)), None)),
        ("FETCH 5 IN c", (Forward(Some(5)), None)),
        ("FETCH FORWARD c", (Forward(Some(1)), None)),
        ("FETCH FORWARD 100 FROM \"c\"", (Forward(Some(100)), None)),
        ("FETCH FORWARD 0 FROM c", (Forward(Some(0)), None)),
        ("FETCH ALL c", (Forward(None), None)),
        ("FETCH FORWARD ALL FROM c", (Forward(None), None)),
        ("FETCH ALL FROM c WITH (timeout = '1s')", (Forward(None), Some(1000))),
        ("FETCH 10 c WITH (TIMEOUT '1.5 s')", (Forward(Some(10)), Some(1500))),
        ("FETCH next", (Forward(Some(1)), None)),
        ("FETCH BACKWARD 1 FROM c", (Backward(Some(1)), None)),
        ("FETCH BACKWARD ALL c", (Backward(None), None)),
        ("FETCH PRIOR FROM c", (Backward(Some(1)), None)),
        ("FETCH -2 FROM c", (Backward(Some(2)), None)),
        ("FETCH BACKWARD -2 FROM c", (Forward(Some(2)), None)),
        ("FETCH FIRST c", (Absolute(1), None)),
        ("FETCH LAST c", (Absolute(-1), None)),
        ("FETCH ABSOLUTE -3 FROM c", (Absolute(-3), None)),
        ("FETCH RELATIVE 3 FROM c", (Relative(3), None)),
        ("MOVE 3 c", (Forward(Some(3)), None)),
    ] {
        let StatementKind::Fetch { motion, timeout_ms, silent, .. } = kind(sql) else {
            panic!("{sql}")
        };
        assert_eq!((motion, timeout_ms), expected, "{sql}");
        assert_eq!(silent, sql.starts_with("MOVE"), "{sql}");
    }
    let state = SqlState::INVALID_PARAMETER_VALUE;
    check_error("FETCH c WITH (timeout = 'x')", state, "length of time", (1, 15));
    assert!(matches!(kind("CLOSE c"), StatementKind::Close(Some(_))));
    assert!(matches!(kind("CLOSE ALL"), StatementKind::Close(None)));
}

#[test]
fn prepared_statements() {
    let StatementKind::Prepare { types, statement, .. } =
        kind("PREPARE p (int, numeric(5, 2)) AS INSERT INTO t VALUES ($1, $2)")
    else {
        panic!("not prepared");
    };
    assert_eq!(types.len(), 2);
    assert_eq!(&*statement.text, "INSERT INTO t VALUES ($1, $2)");
    let StatementKind::Execute { args, .. } = kind("EXECUTE p (1 + 1, 'x'::timestamp)") else {
        panic!("not executed");
    };
    assert_eq!(args[1].to_string(), "'x'::TIMESTAMP(6)");
    assert!(matches!(kind("EXECUTE p"), StatementKind::Execute { args, .. } if args.is_empty()));
    assert!(matches!(kind("DEALLOCATE PREPARE p"), StatementKind::Deallocate(Some(_))));
    assert!(matches!(kind("DEALLOCATE ALL"), StatementKind::Deallocate(None)));
    check_unsupported("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION");
}

#[test]
fn set_in_all_spellings() {
    for (sql, name, value) in [
        ("SET a = b", "a", Some("b")),
        ("SET a TO 'B'", "a", Some("B")),
        ("SET SESSION a TO 1", "a", Some("1")),
        ("SET a = -1.5", "a", Some("-1.5")),
        ("SET a = on", "a", Some("on")),
        ("SET a TO DEFAULT", "a", None),
        ("SET DateStyle = ISO, MDY", "datestyle", Some("iso, mdy")),
        ("SET my.Var = 'x'", "my.var", Some("x")),
        ("SET search_path TO \"$user\", public", "search_path", Some("\"$user\", public")),
        ("SET search_path = 'Lab'", "search_path", Some("\"Lab\"")),
        ("SET search_path = ''", "search_path", Some("\"\"")),
        ("SET TIME ZONE 'Europe/Berlin'", "timezone", Some("Europe/Berlin")),
        ("SET TIME ZONE LOCAL", "timezone", None),
        ("SET TIME ZONE -8", "timezone", Some("-8")),
        ("SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "timezone", Some("-08:00")),
        ("SET SESSION TIME ZONE DEFAULT", "timezone", None),
        ("SET NAMES 'utf8'", "client_encoding", Some("utf8")),
        ("SET statement_timeout = '5s'", "statement_timeout", Some("5s")),
    ] {
        let StatementKind::Set { local, name: found, value: set } = kind(sql) else {
            panic!("{sql}")
        };
        assert_eq!((local, found.as_str(), set.as_deref()), (false, name, value), "{sql}");
    }
    assert!(matches!(kind("SET LOCAL a = 1"), StatementKind::Set { local: true, .. }));
    for (sql, session, read_only, not_now) in [
        ("SET TRANSACTION READ ONLY, ISOLATION LEVEL READ COMMITTED", false, Some(true), None),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", true, Some(false), None),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE DEFERRABLE", false, None, Some(true)),
        ("SET TRANSACTION NOT DEFERRABLE READ ONLY", false, Some(true), Some(false)),
    ] {
        let StatementKind::SetTransaction { every, modes } = kind(sql) else { panic!("{sql}") };
        let said = (every, modes.read_only, modes.deferrable);
        assert_eq!(said, (session, read_only, not_now), "{sql}");
    }
    for sql in ["SET SESSION AUTHORIZATION DEFAULT", "SET ROLE NONE"] {
        assert!(matches!(kind(sql), StatementKind::NoOp("SET")), "{sql}");
    }
    check_unsupported("SET ROLE admin", "SET ROLE");
    check_error("SET a", SqlState::SYNTAX_ERROR, "at end of input", (1, 6));
    check_error("SET a = 1 2", SqlState::SYNTAX_ERROR, "near \"2\"", (1, 11));
}

#[test]
fn show_and_reset() {
    for (sql, name) in [
        ("SHOW ALL", "all"),
        ("SHOW Search_Path", "search_path"),
        ("SHOW TRANSACTION ISOLATION LEVEL", "transaction_isolation"),
        ("SHOW TIME ZONE", "timezone"),
        ("SHOW a.b", "a.b"),
    ] {
        assert!(matches!(kind(sql), StatementKind::Show(found) if found == name), "{sql}");
    }
    assert!(matches!(kind("SHOW WATERMARKS"), StatementKind::ShowWatermarks));
    assert!(matches!(kind("RESET ALL"), StatementKind::Reset(None)));
    assert!(matches!(kind("RESET TIME ZONE"), StatementKind::Reset(Some(n)) if n == "timezone"));
    assert!(matches!(kind("RESET ROLE"), StatementKind::NoOp("RESET")));
}

#[test]
fn transactions() {
    for sql in [
        "BEGIN",
        "BEGIN WORK",
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "START TRANSACTION READ WRITE",
    ] {
        assert!(matches!(kind(sql), StatementKind::Begin { .. }), "{sql}");
    }
    for sql in ["COMMIT", "END", "COMMIT WORK", "END TRANSACTION", "COMMIT AND NO CHAIN"] {
        assert!(matches!(kind(sql), StatementKind::Commit { chain: false }), "{sql}");
    }
    for sql in ["ROLLBACK", "ABORT", "ROLLBACK TRANSACTION"] {
        assert!(matches!(kind(sql), StatementKind::Rollback { chain: false }), "{sql}");
    }
    let savepoint = |sql| match kind(sql) {
        StatementKind::Savepoint(savepoint) => savepoint,
        other => panic!("{sql}: {other:?}"),
    };
    assert!(matches!(savepoint("SAVEPOINT a"), Savepoint::Define(name) if name.value == "a"));
    for sql in ["RELEASE a", "RELEASE SAVEPOINT a"] {
        assert!(matches!(savepoint(sql), Savepoint::Release(name) if name.value == "a"), "{sql}");
    }
    for sql in ["ROLLBACK TO a", "ROLLBACK WORK TO SAVEPOINT a"] {
        let found = savepoint(sql);
        assert!(matches!(found, Savepoint::RollbackTo(name) if name.value == "a"), "{sql}");
    }
    assert!(matches!(kind("COMMIT AND CHAIN"), StatementKind::Commit { chain: true }));
    check_unsupported("ROLLBACK PREPARED 'x'", "ROLLBACK PREPARED");
}

#[test]
fn statements_without_effect() {
    for (sql, tag) in [
        ("DISCARD ALL", "DISCARD ALL"),
        ("DISCARD TEMPORARY", "DISCARD TEMP"),
        ("LISTEN c", "LISTEN"),
        ("UNLISTEN *", "UNLISTEN"),
        ("NOTIFY c, 'x'", "NOTIFY"),
        ("LOCK TABLE a, b IN ACCESS SHARE MODE NOWAIT", "LOCK TABLE"),
        ("SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS"),
    ] {
        assert!(matches!(kind(sql), StatementKind::NoOp(found) if found == tag), "{sql}");
    }
}

#[test]
fn statements_that_change_data() {
    for sql in [
        "INSERT INTO t VALUES (1, DEFAULT), ($1, 'x')",
        "INSERT INTO t (a) SELECT 1 ON CONFLICT (a) DO UPDATE SET a = excluded.a RETURNING *",
        "INSERT INTO t DEFAULT VALUES",
        "UPDATE t SET a = a + 1, b = DEFAULT WHERE c",
        "DELETE FROM t WHERE a = 1",
        "DELETE FROM t",
    ] {
        assert!(matches!(kind(sql), StatementKind::Dml { .. }), "{sql}");
    }
    let StatementKind::Dml { statement, .. } = kind("INSERT INTO t VALUES ('x'::timestamp)") else {
        panic!("no insert");
    };
    assert!(statement.to_string().contains("TIMESTAMP(6)"));
}
