//! What relations were: read as of a time, and followed from it on, over restarts.

use crate::support::client::Client;
use crate::support::server::{Options, Server};

/// Minutes at which something changes.
const MINUTES: std::ops::Range<u32> = 1..9;

fn at(minute: u32) -> String {
    format!("TIMESTAMP '2030-01-01 10:{minute:02}:00'")
}

fn change(client: &mut Client, minute: u32) {
    client.run(&format!("ALTER SYSTEM HEARTBEAT '2030-01-01 10:{minute:02}:00'"));
    client.run(&format!(
        "INSERT INTO t VALUES ({}, {minute}) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
        minute % 3
    ));
    client.run(&format!("INSERT INTO s VALUES ({minute}, {})", minute * 10));
}

/// Everything that can be asked of the past, up to a minute.
fn past(client: &mut Client, end: u32) -> Vec<String> {
    let mut lines = Vec::new();
    for minute in MINUTES.start..end {
        for relation in ["t", "sums"] {
            let sql = format!("SELECT * FROM {relation} AS OF {}", at(minute));
            let mut rows = client.run(&sql).lines();
            rows.sort();
            lines.push(format!("{relation} {minute}: {rows:?}"));
        }
        let rows = client.run(&format!("SELECT * FROM recent AS OF {}", minute * 10 - 5)).lines();
        lines.push(format!("recent {minute}: {rows:?}"));
    }
    lines
}

/// The changes of a view between two minutes, as a subscriber sees them that goes on there.
fn changes(client: &mut Client, from: u32, to: u32) -> Vec<String> {
    let span = format!("AS OF {} UP TO {}", at(from), at(to));
    client.run(&format!("SUBSCRIBE sums WITH (SNAPSHOT = false) {span}")).lines()
}

fn filled() -> Server {
    let server = Server::with(Options { history_rows: 3, ..Options::default() });
    let mut client = server.connect();
    client.run("CREATE TABLE t (k INT PRIMARY KEY, v INT) WITH (retain = INTERVAL '1 hour')");
    client.run("CREATE STREAM s (v INT, ts BIGINT, WATERMARK FOR ts AS ts)");
    client.run("ALTER SYSTEM HEARTBEAT '2030-01-01 10:00:00'");
    client.run("INSERT INTO t VALUES (9, 9)");
    client.run(
        "CREATE MATERIALIZED VIEW sums WITH (retain = '1 hour') AS \
         SELECT count(*) AS c, sum(v) AS total FROM t",
    );
    client.run(
        "CREATE VIEW recent WITH (retain = '1000') AS SELECT count(*), sum(v) FROM s [RANGE 15 MICROSECONDS]",
    );
    MINUTES.for_each(|minute| change(&mut client, minute));
    server
}

#[test]
fn the_past_is_the_same_after_kills_with_an_image_and_without() {
    let mut server = filled();
    let mut client = server.connect();
    let end = MINUTES.end;
    let before = past(&mut client, end);
    // One that was cut off at any time goes on without a gap and without a line twice.
    client.run(&format!("ALTER SYSTEM HEARTBEAT '2030-01-01 10:{end:02}:00'"));
    let whole = changes(&mut client, 1, end);
    assert_eq!(whole.len(), 14, "{whole:?}");
    for round in 0..4 {
        for cut in MINUTES.start + 1..end {
            let (first, rest) = (changes(&mut client, 1, cut + 1), changes(&mut client, cut, end));
            let mut both = first;
            // UP TO the minute behind has the lines of the minute of the cut too.
            both.retain(|line| !rest.contains(line));
            assert_eq!([both, rest].concat(), whole, "round {round}, cut at {cut}");
        }
        server = server.crash();
        client = server.connect();
        assert_eq!(past(&mut client, end), before, "round {round}, after a kill");
        client.run("CHECKPOINT");
        server = server.crash();
        client = server.connect();
        assert_eq!(past(&mut client, end), before, "round {round}, after a checkpoint and a kill");
        server = server.restart();
        client = server.connect();
        assert_eq!(past(&mut client, end), before, "round {round}, after a clean end");
    }
}
