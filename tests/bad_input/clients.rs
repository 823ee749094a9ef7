//! Clients that vanish, do not read, or do not speak the protocol.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::support::client::{Client, Event};
use crate::support::server::{Options, Server};
use crate::support::subscription::{Line, Subscription};

/// How often a test looks for an event that has no message of its own. Every look is a round trip.
const LOOKS: usize = 20_000;

/// More than the server needs for a million retained rows, and far less than for a million of them
/// queued for a reader once more, as text.
const MEMORY_MIB: u64 = 1_200;

fn server() -> (Server, Client) {
    let server = Server::with(Options { batch_rows: 8192, ..Options::default() });
    let mut client = server.connect();
    client.run("CREATE STREAM s (ts TIMESTAMP, k BIGINT, v BIGINT, WATERMARK FOR ts AS ts)");
    client.run("CREATE VIEW sums AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k");
    (server, client)
}

/// Starts a SUBSCRIBE and waits until it runs.
fn subscribe(server: &Server, sql: &str) -> Client {
    let mut reader = server.connect();
    reader.send(sql).unwrap_or_else(|e| panic!("{e}"));
    match reader.next().unwrap_or_else(|e| panic!("{e}")) {
        Event::Columns(_) => reader,
        other => panic!("{other:?} instead of a result"),
    }
}

/// Waits until the server has noticed that a client is gone.
fn wait_until_gone(client: &mut Client, pid: i32) {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    for _ in 0..LOOKS {
        if client.run(&sql).value().as_deref() == Some("0") {
            return;
        }
    }
    panic!("client {pid} is gone and still has a session");
}

#[test]
fn a_subscriber_that_vanishes_leaves_nothing_behind() {
    let (server, mut client) = server();
    let reader = subscribe(&server, "SUBSCRIBE sums");
    let pid = reader.pid();
    assert_ne!(pid, 0, "a connection has a process id");
    drop(reader);
    client.run("INSERT INTO s VALUES ('2024-05-01 10:00:00', 1, 2)");
    wait_until_gone(&mut client, pid);
    client.run("INSERT INTO s VALUES ('2024-05-01 10:00:00', 1, 3)");
    assert_eq!(client.run("SELECT * FROM sums").lines(), ["1|2|5"]);
    // Nothing depends on the view any more.
    client.run("DROP VIEW sums");
}

#[test]
fn many_subscribers_come_and_go() {
    let (server, mut client) = server();
    for i in 0..50 {
        let reader = subscribe(&server, "SUBSCRIBE sums WITH (PROGRESS = true)");
        client.run(&format!("INSERT INTO s VALUES ('2024-05-01 10:00:00', {i}, 1)"));
        drop(reader);
    }
    assert_eq!(client.run("SELECT count(*) FROM sums").value().as_deref(), Some("50"));
}

#[test]
fn a_reader_that_does_not_read_harms_nobody() {
    let (server, mut client) = server();
    let _silent = subscribe(&server, "SUBSCRIBE s");
    let silent_view = subscribe(&server, "SUBSCRIBE sums");
    let mut reader =
        Subscription::start(server.connect(), "SUBSCRIBE sums WITH (SNAPSHOT = false)")
            .unwrap_or_else(|e| panic!("{e}"));
    let mut other = server.connect();
    for i in 0..20 {
        let inserted = client.run(
            "INSERT INTO s SELECT TIMESTAMP '2024-05-01 10:00:00', g % 1000, g \
             FROM generate_series(1, 50000) AS t(g)",
        );
        assert_eq!(inserted.tag, "INSERT 0 50000");
        let count = other.run("SELECT sum(n) FROM sums").value().expect("a sum");
        assert_eq!(count, ((i + 1) * 50_000).to_string());
        // The other reader gets every change meanwhile.
        for _ in 0..if i == 0 { 1_000 } else { 2_000 } {
            let line = reader.next().unwrap_or_else(|e| panic!("{e}"));
            assert!(matches!(line, Line::Change { .. }), "{line:?}");
        }
    }
    let peak = server.memory_peak_mib();
    assert!(peak < MEMORY_MIB, "{peak} MiB");
    drop(silent_view);
    assert_eq!(other.run("SELECT count(*) FROM s").value().as_deref(), Some("1000000"));
}

#[test]
fn a_canceled_subscription_leaves_a_usable_connection() {
    let (server, mut client) = server();
    let feed = Subscription::start(server.connect(), "SUBSCRIBE sums");
    let (lines, mut reader) = feed.unwrap_or_else(|e| panic!("{e}")).cancel();
    assert!(lines.is_empty(), "{lines:?}");
    client.run("INSERT INTO s VALUES ('2024-05-01 10:00:00', 1, 2)");
    assert_eq!(reader.run("SELECT * FROM sums").lines(), ["1|1|2"]);
}

#[test]
fn a_view_is_not_dropped_under_its_subscriber_without_a_word() {
    let (server, mut client) = server();
    let mut feed =
        Subscription::start(server.connect(), "SUBSCRIBE sums").unwrap_or_else(|e| panic!("{e}"));
    match client.query("DROP VIEW sums") {
        // Either the drop waits for nobody and the subscriber is told ..
        Ok(_) => {
            let failure = feed.next().expect_err("the view is gone");
            assert_eq!(failure.code().len(), 5, "{failure}");
        }
        // .. or it is refused.
        Err(failure) => assert_eq!(failure.code(), "55006", "{failure}"),
    }
}

#[test]
fn noise_on_the_port_is_turned_away() {
    let (server, mut client) = server();
    for noise in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0xff; 64],
        &[0, 0, 0, 4],
        &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
        &[],
    ] {
        let mut stream = TcpStream::connect(server.postgres()).expect("the port is open");
        stream.write_all(noise).expect("noise can be sent");
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        client.run("SELECT 1");
    }
}

#[test]
fn a_message_larger_than_any_statement_is_refused() {
    let (server, mut client) = server();
    let mut rude = server.connect();
    rude.write(&[b'Q', 0x7f, 0xff, 0xff, 0xff]).expect("bytes can be sent");
    rude.write(&[b'x'; 1 << 16]).expect("bytes can be sent");
    drop(rude);
    client.run("SELECT 1");
    assert!(server.memory_peak_mib() < MEMORY_MIB, "nothing is allocated on a client's word");
}

#[test]
fn copy_that_breaks_off_leaves_no_rows() {
    let (server, mut client) = server();
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)");
    let bad = client.copy_in("COPY t FROM STDIN WITH (FORMAT csv)", b"1,a\n2,b\nthree,c\n");
    let said = bad.expect_err("three is no number").said().clone();
    assert_eq!(said.code, "22P02", "{said}");
    let context = said.context.clone().unwrap_or_default();
    assert!(context.contains("line 3"), "the line is told: {said}");
    let short = client.copy_in("COPY t FROM STDIN WITH (FORMAT csv)", b"1\n");
    assert_eq!(short.expect_err("a column is missing").code(), "22P04");
    let mut half = server.connect();
    half.send("COPY t FROM STDIN").unwrap_or_else(|e| panic!("{e}"));
    half.write(b"d\0\0\0\x081\ta\n").expect("bytes can be sent");
    let pid = half.pid();
    drop(half);
    wait_until_gone(&mut client, pid);
    assert_eq!(client.run("SELECT count(*) FROM t").value().as_deref(), Some("0"));
}
