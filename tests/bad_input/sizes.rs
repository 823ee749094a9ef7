//! Large things: values, rows, statements; and unusual names.

use std::fmt::Write as _;

use crate::support::server::Server;
use crate::support::subscription::{Line, Subscription};

#[test]
fn a_text_of_a_megabyte_comes_back() {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE STREAM s (ts TIMESTAMP, body TEXT, WATERMARK FOR ts AS ts)");
    client.run("CREATE VIEW v AS SELECT body FROM s [ROWS 1]");
    let body = "h\u{e9}llo w\u{f6}rld ".repeat(80_000);
    assert!(body.len() > 1 << 20);
    client.run(&format!("INSERT INTO s VALUES ('2024-05-01 10:00:00', '{body}')"));
    client.run("ALTER STREAM s HEARTBEAT TIMESTAMP '2024-05-01 11:00:00'");
    assert_eq!(client.run("SELECT body FROM s").value().as_deref(), Some(body.as_str()));
    assert_eq!(client.run("SELECT body FROM v").value().as_deref(), Some(body.as_str()));
    let insert = "INSERT INTO s VALUES ('2024-05-01 12:00:00', $1)";
    client.extended(insert, &[Some(&body)]).unwrap_or_else(|e| panic!("{e}"));
    let count = body.chars().count().to_string();
    let lengths = client.run("SELECT length(body) FROM s").lines();
    assert_eq!(lengths, [count.clone(), count]);
}

#[test]
fn a_table_of_a_thousand_columns_works() {
    let server = Server::start();
    let mut client = server.connect();
    let columns: Vec<String> = (0..1_000).map(|i| format!("c{i} BIGINT")).collect();
    let times = "ts TIMESTAMP, WATERMARK FOR ts AS ts";
    client.run(&format!("CREATE STREAM wide ({}, {times})", columns.join(", ")));
    client.run("CREATE VIEW last AS SELECT * FROM wide [ROWS 1]");
    let values: Vec<String> = (0..1_000).map(|i| i.to_string()).collect();
    client.run(&format!("INSERT INTO wide VALUES ({}, '2024-05-01 10:00:00')", values.join(", ")));
    client.run("ALTER STREAM wide HEARTBEAT TIMESTAMP '2024-05-01 11:00:00'");
    for from in ["wide", "last"] {
        let answer = client.run(&format!("SELECT * FROM {from}"));
        assert_eq!(answer.columns.len(), 1_001);
        assert_eq!(answer.rows[0][999].as_deref(), Some("999"));
    }
    let sums: Vec<String> = (0..1_000).map(|i| format!("sum(c{i})")).collect();
    let answer = client.run(&format!("SELECT {} FROM wide", sums.join(", ")));
    assert_eq!(answer.rows[0][500].as_deref(), Some("500"));
}

#[test]
fn more_columns_than_postgres_allows_are_refused() {
    let server = Server::start();
    let mut client = server.connect();
    let columns: Vec<String> = (0..1_601).map(|i| format!("c{i} BIGINT")).collect();
    let said = client.fail(&format!("CREATE TABLE wide ({})", columns.join(", ")));
    assert!(said.code.starts_with("54"), "{said}");
}

#[test]
fn ten_thousand_rows_in_one_insert_are_one_commit() {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE STREAM s (ts TIMESTAMP, v BIGINT, WATERMARK FOR ts AS ts)");
    client.run("CREATE VIEW v AS SELECT count(*) AS n, sum(v) AS total FROM s");
    let feed = Subscription::start(server.connect(), "SUBSCRIBE v WITH (SNAPSHOT = true)");
    let mut feed = feed.unwrap_or_else(|e| panic!("{e}"));
    let mut changes = |count: usize| -> Vec<String> {
        let change = |line| match line {
            Line::Change { diff, row, .. } => {
                format!("{diff} {}", row[0].clone().unwrap_or_default())
            }
            Line::Progress(_) => panic!("no progress was asked for"),
        };
        (0..count).map(|_| change(feed.next().unwrap_or_else(|e| panic!("{e}")))).collect()
    };
    assert_eq!(changes(1), ["1 0"]);
    let mut sql = "INSERT INTO s VALUES ".to_owned();
    for i in 0..10_000 {
        let comma = if i == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}('2024-05-01 10:00:00', {i})");
    }
    let answer = client.run(&sql);
    assert_eq!(answer.tag, "INSERT 0 10000");
    assert_eq!(client.run("SELECT * FROM v").lines(), ["10000|49995000"]);
    let mut seen = changes(2);
    seen.sort();
    assert_eq!(seen, ["-1 0", "1 10000"], "nothing in between is ever visible");
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let server = Server::start();
    let mut client = server.connect();
    for depth in [100, 10_000, 200_000] {
        let sql = format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
        // However deep it may go, the server survives it.
        let _ = client.query(&sql);
        let sql = format!("SELECT {} 1", "NOT ".repeat(depth));
        let _ = client.query(&sql);
        client.run("SELECT 1");
    }
}

#[test]
fn reserved_words_need_quotes_and_our_own_words_do_not() {
    let server = Server::start();
    let mut client = server.connect();
    for word in ["select", "table", "from", "where", "user", "order"] {
        let said = client.fail(&format!("CREATE TABLE {word} (a BIGINT)"));
        assert_eq!(said.code, "42601", "{word}: {said}");
        client.run(&format!("CREATE TABLE \"{word}\" (\"{word}\" BIGINT)"));
        client.run(&format!("INSERT INTO \"{word}\" VALUES (1)"));
        let answer = client.run(&format!("SELECT \"{word}\" FROM \"{word}\""));
        assert_eq!(answer.columns[0].name, word);
    }
    for word in [
        "stream",
        "emit",
        "watermark",
        "late",
        "range",
        "rows",
        "now",
        "slide",
        "changes",
        "istream",
        "rstream",
        "dstream",
        "subscribe",
        "heartbeat",
        "tumble",
        "hop",
        "clock",
        "window_start",
        "name",
        "value",
        "sink",
        "idle",
    ] {
        client.run(&format!("CREATE TABLE {word}_ ({word} BIGINT, other BIGINT)"));
        client.run(&format!("INSERT INTO {word}_ ({word}, other) VALUES (1, 2)"));
        for sql in [
            format!("SELECT {word} FROM {word}_"),
            format!("SELECT {word}_.{word} FROM {word}_ WHERE {word} = 1"),
            format!("SELECT a.{word} AS {word} FROM {word}_ a ORDER BY {word}"),
            format!("SELECT {word}, other FROM {word}_"),
        ] {
            let answer = client.run(&sql);
            assert_eq!(answer.columns[0].name, word, "in: {sql}");
            assert_eq!(answer.rows[0][0].as_deref(), Some("1"), "in: {sql}");
        }
        client.run(&format!("DROP TABLE {word}_"));
    }
}

#[test]
fn unicode_lives_in_names_and_values() {
    let server = Server::start();
    let mut client = server.connect();
    client.run(
        "CREATE STREAM \"\u{6e29}\u{5ea6}\" (ts TIMESTAMP, \"m\u{e9}trica\" TEXT, \
         WATERMARK FOR ts AS ts)",
    );
    client.run(
        "CREATE VIEW \u{fc}bersicht AS SELECT \"m\u{e9}trica\", count(*) AS \u{3c0} \
         FROM \"\u{6e29}\u{5ea6}\" GROUP BY 1",
    );
    for text in [
        "\u{1f600}\u{1f468}\u{200d}\u{1f469}",
        "e\u{301}",
        "\u{5d0}\u{5d1}\u{200f}",
        "\u{feff}x",
        "it''s",
    ] {
        client.run(&format!(
            "INSERT INTO \"\u{6e29}\u{5ea6}\" VALUES ('2024-05-01 10:00:00', '{text}')"
        ));
        let text = text.replace("''", "'");
        let quoted = text.replace('\'', "''");
        let sql = format!(
            "SELECT \"m\u{e9}trica\", \u{3c0} FROM \u{fc}bersicht \
             WHERE \"m\u{e9}trica\" = '{quoted}'"
        );
        assert_eq!(client.run(&sql).lines(), [format!("{text}|1")]);
    }
    let names = "SELECT relname FROM pg_class WHERE relname = '\u{6e29}\u{5ea6}'";
    assert_eq!(client.run(names).lines(), ["\u{6e29}\u{5ea6}"]);
    assert_eq!(client.run("SELECT upper('stra\u{df}e \u{e9}')").lines(), ["STRASSE \u{c9}"]);
    // No two names are one because they look alike.
    client.run("CREATE TABLE \"e\u{301}\" (a BIGINT)");
    assert_eq!(client.fail("SELECT * FROM \"\u{e9}\"").code, "42P01");
}
