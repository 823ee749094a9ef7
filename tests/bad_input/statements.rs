//! Statements that cannot be understood.

use crate::support::client::{Client, Said};
use crate::support::server::Server;

/// A server with a table, a stream and a view.
fn server() -> (Server, Client) {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, at TIMESTAMP)");
    client.run("CREATE STREAM s (ts TIMESTAMP, k TEXT, v BIGINT, WATERMARK FOR ts AS ts)");
    client.run("CREATE VIEW v AS SELECT k, count(*) AS n FROM s GROUP BY k");
    (server, client)
}

/// Where `part` begins in `sql`, as an error position.
fn place(sql: &str, part: &str) -> Option<usize> {
    let bytes = sql.rfind(part).expect("the part is in the statement");
    Some(sql[..bytes].chars().count() + 1)
}

fn check(said: &Said, code: &str, sql: &str, part: &str) {
    assert_eq!(said.code, code, "{said}\nin: {sql}");
    assert_eq!(said.position, place(sql, part), "{said}\nin: {sql}");
    assert!(!said.message.ends_with('.'), "a message is no sentence: {said}");
}

#[test]
fn broken_sql_is_a_syntax_error_with_its_place() {
    let (_server, mut client) = server();
    for (sql, part) in [
        ("SELECT *\n  FROM t\n WHERE id = = 1", "= 1"),
        ("SELECT 'h\u{e9}\u{1f600}' AS x FROM t WHERE ) = 1", ")"),
        ("INSERT INTO t VALUES (1,, 2)", ", 2"),
        ("CREATE TABLE (a BIGINT)", "("),
        ("SELECT k FROM s [RANGE FOREVER]", "FOREVER"),
        ("SELECT k FROM s [ROWS]", "]"),
        ("GIBBERISH", "GIBBERISH"),
    ] {
        check(&client.fail(sql), "42601", sql, part);
    }
    client.run("SELECT 1");
}

#[test]
fn a_statement_that_ends_too_early_is_a_syntax_error() {
    let (_server, mut client) = server();
    for sql in
        ["SELECT 1 +", "SELECT * FROM", "CREATE STREAM", "SELECT (1", "SUBSCRIBE", "SELECT 'a"]
    {
        let said = client.fail(sql);
        assert_eq!(said.code, "42601", "{said}\nin: {sql}");
        assert!(said.position.is_some(), "{said}\nin: {sql}");
    }
}

#[test]
fn a_position_counts_over_the_statements_before() {
    let (_server, mut client) = server();
    let sql = "SELECT 1; SELECT nothing FROM t";
    check(&client.fail(sql), "42703", sql, "nothing");
}

#[test]
fn unknown_names_are_told_with_their_place() {
    let (_server, mut client) = server();
    for (sql, code, part) in [
        ("SELECT * FROM nowhere", "42P01", "nowhere"),
        ("SELECT * FROM t JOIN nowhere ON true", "42P01", "nowhere"),
        ("SELECT nothing FROM t", "42703", "nothing"),
        ("SELECT t.nothing FROM t", "42703", "t.nothing"),
        ("SELECT unheard_of(id) FROM t", "42883", "unheard_of"),
        ("CREATE VIEW w AS SELECT * FROM nowhere", "42P01", "nowhere"),
        ("SUBSCRIBE nowhere", "42P01", "nowhere"),
    ] {
        check(&client.fail(sql), code, sql, part);
    }
}

#[test]
fn messages_are_those_of_postgres() {
    let (_server, mut client) = server();
    for (sql, message) in [
        ("SELECT * FROM nowhere", "relation \"nowhere\" does not exist"),
        ("SELECT * FROM nowhere.t", "relation \"nowhere.t\" does not exist"),
        ("SELECT nothing FROM t", "column \"nothing\" does not exist"),
        ("SELECT t.nothing FROM t", "column t.nothing does not exist"),
        ("SELECT id FROM t a JOIN t b ON a.id = b.id", "column reference \"id\" is ambiguous"),
        ("CREATE TABLE t (a BIGINT)", "relation \"t\" already exists"),
        ("CREATE STREAM t (a BIGINT)", "relation \"t\" already exists"),
        ("CREATE SCHEMA public", "schema \"public\" already exists"),
        ("CREATE TABLE d (a BIGINT, a TEXT)", "column \"a\" specified more than once"),
        ("DROP TABLE nowhere", "table \"nowhere\" does not exist"),
        ("DROP VIEW nowhere", "view \"nowhere\" does not exist"),
        ("DROP VIEW t", "\"t\" is not a view"),
        ("DROP TABLE v", "\"v\" is not a table"),
        ("INSERT INTO t VALUES ('x')", "invalid input syntax for type bigint: \"x\""),
        ("SELECT 'x'::bigint", "invalid input syntax for type bigint: \"x\""),
        ("SELECT 1 / 0", "division by zero"),
        ("EXECUTE nothing", "prepared statement \"nothing\" does not exist"),
        ("FETCH 1 FROM nothing", "cursor \"nothing\" does not exist"),
        ("SHOW nothing", "unrecognized configuration parameter \"nothing\""),
        (
            "SELECT id, count(*) FROM t",
            "column \"t.id\" must appear in the GROUP BY clause or be \
          used in an aggregate function",
        ),
    ] {
        assert_eq!(client.fail(sql).message, message, "in: {sql}");
    }
}

#[test]
fn wrong_types_are_refused() {
    let (_server, mut client) = server();
    for (sql, code) in [
        ("INSERT INTO t VALUES ('x', 'a', NULL)", "22P02"),
        ("INSERT INTO t VALUES (1, 'a', 'yesterday-ish')", "22007"),
        ("INSERT INTO t VALUES (9223372036854775808, 'a', NULL)", "22003"),
        ("INSERT INTO t VALUES (1, 'a', NULL, 4)", "42601"),
        ("INSERT INTO t VALUES (NULL, 'a', NULL)", "23502"),
        ("SELECT id + at FROM t", "42883"),
        ("SELECT name + 1 FROM t", "42883"),
        ("SELECT 1 WHERE 'x' = 1", "22P02"),
        ("SELECT * FROM t WHERE id", "42804"),
        ("SELECT sum(name) FROM t", "42883"),
        ("CREATE STREAM x (a TEXT, WATERMARK FOR a AS a)", "42804"),
        ("CREATE STREAM x (a TIMESTAMP, WATERMARK FOR b AS b)", "42703"),
        ("SELECT * FROM TUMBLE(s, k, INTERVAL '1 minute')", "42804"),
    ] {
        let said = client.fail(sql);
        assert_eq!(said.code, code, "{said}\nin: {sql}");
    }
    assert_eq!(client.run("SELECT count(*) FROM t").value().as_deref(), Some("0"));
}

#[test]
fn a_view_keeps_its_stream() {
    let (_server, mut client) = server();
    let said = client.fail("DROP STREAM s");
    assert_eq!(said.code, "2BP01", "{said}");
    assert_eq!(said.message, "cannot drop stream s because other objects depend on it");
    assert_eq!(said.detail.as_deref(), Some("view v depends on stream s"));
    assert_eq!(
        said.hint.as_deref(),
        Some("Use DROP ... CASCADE to drop the dependent objects too.")
    );
    client.run("DROP STREAM s CASCADE");
    assert_eq!(client.fail("SELECT * FROM v").code, "42P01");
}

#[test]
fn an_error_in_a_block_ends_the_block() {
    let (_server, mut client) = server();
    client.run("BEGIN");
    client.run("INSERT INTO t VALUES (1, 'a', NULL)");
    client.fail("SELECT nothing");
    assert_eq!(client.status, 'E');
    let said = client.fail("SELECT 1");
    assert_eq!(said.code, "25P02");
    assert_eq!(
        said.message,
        "current transaction is aborted, commands ignored until end of transaction block"
    );
    assert_eq!(client.run("COMMIT").tag, "ROLLBACK");
    assert_eq!(client.status, 'I');
    assert_eq!(client.run("SELECT count(*) FROM t").value().as_deref(), Some("0"));
}

#[test]
fn a_statement_of_several_stops_at_its_first_error() {
    let (_server, mut client) = server();
    let sql =
        "INSERT INTO t VALUES (1, 'a', NULL); SELECT nothing; INSERT INTO t VALUES (2, 'b', NULL)";
    assert_eq!(client.fail(sql).code, "42703");
    // They are one transaction: nothing of it has happened.
    assert_eq!(client.run("SELECT count(*) FROM t").value().as_deref(), Some("0"));
}

#[test]
fn what_comes_later_says_so() {
    let (_server, mut client) = server();
    for sql in [
        "CREATE SINK x TO KAFKA 'topic' AS SELECT k FROM s",
        "SUBSCRIBE (WITH RECURSIVE r AS (SELECT k FROM s UNION SELECT k FROM r) SELECT k FROM r)",
    ] {
        let said = client.fail(sql);
        assert_eq!(said.code, "0A000", "{said}\nin: {sql}");
        let hint = said.hint.as_deref().unwrap_or_default();
        assert!(hint.ends_with('.'), "a hint is a sentence: {said}\nin: {sql}");
    }
}
