//! Where errors are, and what they say.

use super::*;

#[test]
fn syntax_error_names_its_token_as_written() {
    let state = SqlState::SYNTAX_ERROR;
    check_error("SELEC 1", state, "syntax error at or near \"SELEC\"", (1, 1));
    check_error("SELECT 1 FROM", state, "syntax error at end of input", (1, 14));
    check_error("SELECT * FROM t WHERE a = = 1", state, "near \"=\"", (1, 27));
    check_error("SELECT 'a' 'b'", state, "near \"'b'\"", (1, 12));
    check_error("SELECT 1 \"Foo bar\" x", state, "near \"x\"", (1, 20));
    check_error("CREATE STREAM s (ts TIMESTAMP,)", state, "near \")\"", (1, 31));
    check_error("CREATE STREAM s (ts TIMESTAMP", state, "at end of input", (1, 30));
    check_error("COPY (SELECT 1 +) TO STDOUT", state, "near \")\"", (1, 17));
    check_error("COMMIT now", state, "near \"now\"", (1, 8));
    check_error("DROP TABLE", state, "at end of input", (1, 11));
    check_error("CREATE", state, "at end of input", (1, 7));
    check_error("EXPLAIN", state, "at end of input", (1, 8));
}

#[test]
fn location_is_within_the_whole_string() {
    let state = SqlState::SYNTAX_ERROR;
    check_error("SELECT 1;\n  SELECT 2 FRM t x;", state, "near \"t\"", (2, 16));
    check_error("SELECT 1;;\nSELECT * FROM s [ROWS x]", state, "near \"x\"", (2, 23));
    check_error("SELECT 1 FROM; SELECT 2", state, "near \";\"", (1, 14));
    check_error("EXPLAIN SELECT\n\n1 1", state, "near \"1\"", (3, 3));
}

#[test]
fn location_counts_characters() {
    check_error("SELECT 'äöü€😀' +", SqlState::SYNTAX_ERROR, "at end of input", (1, 17));
    check_error("SELECT 'ä\nö', ü ü ü", SqlState::SYNTAX_ERROR, "near \"ü\"", (2, 9));
}

#[test]
fn detail_says_what_was_expected() {
    assert_eq!(error("DROP TABLE").detail().as_deref(), Some("Expected a name."));
    let detail = error("SELECT * FROM t JOIN u x y").detail().unwrap();
    assert!(detail.starts_with("Expected ") && detail.ends_with('.'), "{detail}");
}

#[test]
fn text_without_its_end_is_no_token() {
    let state = SqlState::SYNTAX_ERROR;
    check_error("SELECT 'abc", state, "unterminated quoted string at or near \"'abc\"", (1, 8));
    check_error("SELECT \"abc", state, "unterminated quoted identifier", (1, 8));
    let lexical = |sql| error(sql).to_string();
    assert_eq!(lexical("SELECT $$abc"), "unterminated dollar-quoted string");
    assert_eq!(lexical("SELECT /* abc"), "unterminated /* comment");
}

#[test]
fn statements_of_others_are_named() {
    for (sql, feature) in [
        ("GRANT SELECT ON t TO u", "GRANT"),
        ("ALTER TABLE t ALTER a TYPE int", "this change of a table"),
        ("ALTER TABLE t ADD CHECK (a > 0)", "CHECK"),
        ("ALTER TABLE t ADD a int PRIMARY KEY", "ADD COLUMN with a PRIMARY KEY or UNIQUE"),
        ("ALTER VIEW v OWNER TO w", "ALTER VIEW other than RENAME TO, SUSPEND and RESUME"),
        ("ALTER STREAM s RENAME TO t", "ALTER STREAM other than HEARTBEAT"),
        ("CREATE FUNCTION f() RETURNS int AS 'x' LANGUAGE c", "LANGUAGE c"),
        ("CREATE FUNCTION f() RETURNS SETOF int AS 'x'", "a function that gives rows"),
        ("CREATE FUNCTION f(x int DEFAULT 1) RETURNS int RETURN x", "a default of a parameter"),
        ("CREATE FUNCTION f(OUT x int) RETURNS int RETURN 1", "a parameter that is not IN"),
        ("CREATE UNIQUE INDEX i ON t (a + b)", "an expression in a UNIQUE INDEX"),
        ("CREATE INDEX i ON t (a)", "CREATE INDEX"),
        ("CREATE TYPE t AS ENUM ('a')", "CREATE TYPE"),
        ("CREATE ROLE r", "CREATE ROLE"),
        ("CREATE SOURCE s", "CREATE SOURCE"),
        ("GRANT SELECT ON t TO u", "GRANT"),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "MERGE"),
        ("CALL p()", "CALL"),
    ] {
        check_unsupported(sql, feature);
    }
}

#[test]
fn statements_of_nobody_are_syntax_errors() {
    for sql in ["MAKE ME A SANDWICH", "CREATE FOO x", "DROP FOO x", ")", "1", "CREATE OR REPLACE"] {
        assert_eq!(error(sql).sqlstate(), SqlState::SYNTAX_ERROR, "{sql}");
    }
}
