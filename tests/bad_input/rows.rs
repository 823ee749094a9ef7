//! Rows that are refused: late, without a time, from the far future, or not rows at all.

use std::fmt::Write as _;
use std::path::Path;

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::subscription::{Line, Subscription};

fn counts(client: &mut Client, stream: &str) -> String {
    let sql =
        format!("SELECT rows, late, null_time, ahead FROM hw.streams WHERE name = '{stream}'");
    client.run(&sql).lines().join("\n")
}

#[test]
fn a_row_without_a_time_is_kept_aside() {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE STREAM s (ts TIMESTAMP, k TEXT, WATERMARK FOR ts AS ts, LATE INTO refused)");
    client.run(
        "INSERT INTO s VALUES ('2024-05-01 10:00:00', 'a'), (NULL, 'b'), ('2024-05-01 10:01:00', 'c')",
    );
    assert_eq!(client.run("SELECT k FROM s ORDER BY k").lines(), ["a", "c"]);
    assert_eq!(counts(&mut client, "s"), "2|0|1|0");
    let refused = "SELECT ts, k, late_watermark, late_by, reason FROM refused";
    let expected = "NULL|b|2024-05-01 10:00:00|NULL|null event time";
    assert_eq!(client.run(refused).lines(), [expected]);
    let kept = "SELECT stream, reason, event_time IS NULL FROM hw.late_rows";
    assert_eq!(client.run(kept).lines(), ["s|null event time|t"]);
}

#[test]
fn a_row_of_the_far_future_does_not_move_the_watermark() {
    let server = Server::start();
    let mut client = server.connect();
    client.run(
        "CREATE STREAM s (ts TIMESTAMP, k TEXT, \
         WATERMARK FOR ts AS ts MAX AHEAD INTERVAL '1 hour', LATE INTO refused)",
    );
    client.run("INSERT INTO s VALUES ('2024-05-01 10:00:00', 'a'), ('2999-01-01 00:00:00', 'b')");
    client.run("INSERT INTO s VALUES ('2024-05-01 10:00:00', 'c')");
    assert_eq!(client.run("SELECT k FROM s ORDER BY k").lines(), ["a", "c"]);
    assert_eq!(counts(&mut client, "s"), "2|0|0|1");
    assert_eq!(client.run("SELECT k, reason FROM refused").lines(), ["b|too far ahead"]);
}

#[test]
fn the_times_at_both_ends_of_the_calendar_do_no_harm() {
    let server = Server::start();
    let mut client = server.connect();
    client
        .run("CREATE STREAM s (ts TIMESTAMP, k TEXT, WATERMARK FOR ts AS ts - INTERVAL '1 hour')");
    client.run("CREATE VIEW w AS SELECT k FROM s [RANGE 1 HOUR]");
    client.run(
        "CREATE VIEW h AS SELECT window_end, count(*) FROM \
                HOP(s, ts, INTERVAL '1 hour', INTERVAL '1 day') GROUP BY window_end",
    );
    for time in ["0001-01-01 00:00:00", "294246-12-31 23:59:59", "1677-09-21 00:12:43"] {
        // Taken or refused: what matters is that the server goes on.
        let _ = client.query(&format!("INSERT INTO s VALUES ('{time}', 'x')"));
    }
    client.run("CREATE TABLE t (id BIGINT)");
    client.run("INSERT INTO t VALUES (1)");
    assert_eq!(client.run("SELECT count(*) FROM t").value().as_deref(), Some("1"));
    client.run("SELECT * FROM w");
    client.run("SELECT count(*) FROM h");
}

#[test]
fn a_late_row_is_an_error_where_the_stream_says_so() {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE STREAM s (ts TIMESTAMP, k TEXT, WATERMARK FOR ts AS ts, LATE ERROR)");
    client.run("INSERT INTO s VALUES ('2024-05-01 10:00:00', 'a')");
    let said = client
        .fail("INSERT INTO s VALUES ('2024-05-01 10:05:00', 'b'), ('2024-05-01 09:59:00', 'c')");
    assert_eq!(said.code, "23514", "{said}");
    // The INSERT failed as a whole.
    assert_eq!(client.run("SELECT k FROM s").lines(), ["a"]);
    assert_eq!(client.fail("INSERT INTO s VALUES (NULL, 'd')").code, "23514");
}

#[test]
fn lines_that_are_no_rows_are_counted_and_kept() {
    let server = Server::start();
    let mut client = server.connect();
    let file = server.scratch().join("rows.ndjson");
    let lines = [
        r#"{"ts": "2024-05-01T10:00:00", "k": "a", "v": 1}"#,
        r#"{"ts": "2024-05-01T10:00:01", "k": "b", "v":"#,
        "not json at all",
        r#"{"ts": "2024-05-01T10:00:02", "k": "c", "v": "three"}"#,
        "",
        r#"{"ts": "2024-05-01T10:00:03", "k": "d", "v": 4, "unknown": true}"#,
        r#"{"ts": "2024-05-01T10:00:04", "k": "e"}"#,
    ];
    std::fs::write(&file, lines.join("\n") + "\n").expect("the file can be written");
    create_from(&mut client, &file);
    follow(&server, 3);
    assert_eq!(client.run("SELECT k, v FROM s ORDER BY k").lines(), ["a|1", "d|4", "e|NULL"]);
    let errors = "SELECT place, row FROM hw.errors WHERE object = 's' ORDER BY place";
    let errors = client.run(errors).rows;
    assert_eq!(errors.len(), 3, "{errors:?}");
    for (error, line) in errors.iter().zip([2, 3, 4]) {
        let place = error[0].as_deref().unwrap_or_default();
        assert!(place.contains("rows.ndjson") && place.contains(&line.to_string()), "{place}");
        assert_eq!(error[1].as_deref(), Some(lines[line - 1]));
    }
}

#[test]
fn many_bad_lines_do_not_fill_the_memory() {
    let server = Server::start();
    let mut client = server.connect();
    let file = server.scratch().join("rows.ndjson");
    let mut text = String::new();
    for i in 0..200_000 {
        let _ = writeln!(text, "broken line number {i} with some text to make it longer");
    }
    text.push_str("{\"ts\": \"2024-05-01T10:00:00\", \"k\": \"a\", \"v\": 1}\n");
    std::fs::write(&file, text).expect("the file can be written");
    create_from(&mut client, &file);
    follow(&server, 1);
    let kept = client.run("SELECT count(*) FROM hw.errors WHERE object = 's'").value();
    let kept: u64 = kept.expect("a count").parse().expect("a number");
    assert!((1..200_000).contains(&kept), "the newest errors are kept, not all: {kept}");
}

#[test]
fn a_file_that_does_not_exist_is_an_error_at_create() {
    let server = Server::start();
    let mut client = server.connect();
    for (options, code) in [
        ("connector = 'file', path = '/nowhere/x.ndjson', format = 'json'", "58P01"),
        ("connector = 'file', path = '/nowhere/*.ndjson'", "58P01"),
        ("connector = 'carrier pigeon'", "22023"),
        ("connector = 'file', path = '/nowhere/x', format = 'smoke signals'", "22023"),
        ("connector = 'file', format = 'json'", "22023"),
        ("conector = 'file'", "22023"),
    ] {
        let said = client.fail(&format!("CREATE STREAM s (ts TIMESTAMP, k TEXT) WITH ({options})"));
        assert_eq!(said.code, code, "{said}\nin: {options}");
    }
}

#[test]
fn a_row_whose_expression_fails_is_left_out_and_told() {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, d BIGINT)");
    client.run("CREATE STREAM s (ts TIMESTAMP, d BIGINT, WATERMARK FOR ts AS ts)");
    client.run("CREATE MATERIALIZED VIEW v AS SELECT d, 12 / d AS q FROM s");
    client.run(
        "INSERT INTO s VALUES ('2024-05-01 10:00:00', 3), ('2024-05-01 10:00:00', 0), \
                ('2024-05-01 10:00:00', 4)",
    );
    assert_eq!(client.run("SELECT q FROM v ORDER BY q").lines(), ["3", "4"]);
    let errors = client.run("SELECT object, sqlstate, message FROM hw.errors");
    assert_eq!(errors.lines(), ["v|22012|division by zero"]);
}

fn create_from(client: &mut Client, file: &Path) {
    client.run(&format!(
        "CREATE STREAM s (ts TIMESTAMP, k TEXT, v BIGINT, WATERMARK FOR ts AS ts) \
         WITH (connector = 'file', path = '{}', format = 'json')",
        file.display()
    ));
}

/// Waits until so many rows have come from the file.
fn follow(server: &Server, rows: usize) {
    let feed = Subscription::start(server.connect(), "SUBSCRIBE s WITH (SNAPSHOT = true)");
    let mut feed = feed.unwrap_or_else(|e| panic!("{e}"));
    for _ in 0..rows {
        let line = feed.next().unwrap_or_else(|e| panic!("{e}"));
        assert!(matches!(line, Line::Change { diff: 1, .. }), "{line:?}");
    }
}
