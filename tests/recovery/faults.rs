//! Every named place at which the process may die: it does, and nothing acknowledged is lost.
//!
//! A script of statements runs on a server in which one place is armed, up to where that ends. What
//! the next server has is what there was after the last statement that was answered, or the one
//! that was on its way.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use regex::Regex;

use crate::support::client::Client;
use crate::support::files::lines_below;
use crate::support::server::{Options, Server};

/// Statements, in the order in which they run.
const SCRIPT: [&str; 25] = [
    "CREATE STREAM events (id BIGINT, k BIGINT, at TIMESTAMP, \
     WATERMARK FOR at AS at - INTERVAL '5 minutes', LATE INTO events_late)",
    "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT, note TEXT)",
    "CREATE VIEW per_key AS SELECT k, count(*) AS c, sum(id) AS s FROM events GROUP BY k",
    "INSERT INTO events VALUES (1, 1, '2026-01-01 12:00:00'), (2, 2, '2026-01-01 12:10:00')",
    "CREATE TABLE copied (k BIGINT PRIMARY KEY, c BIGINT)",
    "CREATE SINK copying INTO copied AS SELECT k, count(*) AS c FROM events GROUP BY k",
    "BEGIN; INSERT INTO accounts VALUES (1, 100), (2, 200); \
     INSERT INTO events VALUES (3, 1, '2026-01-01 13:00:00'); COMMIT",
    "INSERT INTO events VALUES (4, 2, '2026-01-01 11:00:00'), (5, 2, '2026-01-01 13:30:00')",
    "CREATE VIEW per_hour AS SELECT window_start, count(*) AS c \
     FROM TUMBLE(events, at, INTERVAL '1 hour') GROUP BY window_start EMIT ON WINDOW CLOSE",
    "CHECKPOINT",
    "UPDATE accounts SET balance = balance + 1 WHERE id = 1",
    "ALTER STREAM events HEARTBEAT '2026-01-01 14:00:00'",
    // More than the rest of a segment.
    "INSERT INTO accounts SELECT 10, 0, repeat('x', 17000000)",
    "DELETE FROM accounts WHERE id = 10",
    "CREATE OR REPLACE VIEW per_key AS SELECT k, count(*) AS c, max(id) AS s FROM events GROUP BY k",
    "CREATE STREAM clicks (id BIGINT)",
    "CREATE VIEW lately AS SELECT count(*) AS c FROM clicks [RANGE INTERVAL '1 hour']",
    "CREATE STREAM made (id BIGINT) WITH (connector = 'datagen', rows = 3000, wait = true)",
    "CREATE SINK outside TO FILE 'DIRECTORY' PARTITION BY (k) WITH (interval = '2 ms') \
     AS SELECT id, k FROM events",
    "FLUSH",
    "CHECKPOINT",
    "INSERT INTO clicks SELECT * FROM generate_series(1, 2500)",
    "ALTER SYSTEM HEARTBEAT '2036-01-01 00:00:00'",
    "INSERT INTO events VALUES (6, 3, '2026-01-01 15:30:00')",
    "FLUSH",
];

/// What is compared.
const QUERIES: [&str; 9] = [
    "SELECT id, k, at FROM events ORDER BY id",
    "SELECT id, late_by FROM events_late ORDER BY id",
    "SELECT id, balance, length(note) FROM accounts ORDER BY id",
    "SELECT * FROM per_key ORDER BY k",
    "SELECT * FROM per_hour ORDER BY 1",
    "SELECT * FROM copied ORDER BY k",
    "SELECT * FROM lately",
    "SELECT count(*), count(DISTINCT id) FROM made",
    "SELECT name, rows, late, watermark FROM hw.streams WHERE name = 'events'",
];

/// Places of which another time than the first is meant.
const TIMES: [(&str, &str); 14] = [
    ("disk.sync", "disk.sync@4"),
    ("disk.write", "disk.write@9"),
    ("disk.rename", "disk.rename@5"),
    ("disk.sync_dir", "disk.sync_dir@15"),
    ("disk.read", "disk.read@2"),
    ("journal.append", "journal.append@7"),
    ("journal.appended", "journal.appended@7"),
    ("journal.next.image", "journal.next.image@20"),
    ("log.block.write", "log.block.write@8"),
    ("log.block.written", "log.block.written@9"),
    ("log.block.synced", "log.block.synced@10"),
    ("hub.commit.recorded", "hub.commit.recorded@3"),
    ("content.apply", "content.apply@6"),
    ("recovery.record", "recovery.record@9"),
];

type Answers = Vec<Result<Vec<String>, String>>;

/// What the queries give, and what is outside.
fn answers(server: &Server) -> Answers {
    let mut client = server.connect();
    client.run("FLUSH");
    let answer = |sql: &&str| match client.query(sql) {
        Ok(answer) => Ok(answer.lines()),
        Err(failure) => Err(failure.said().code.clone()),
    };
    let outside = Ok(lines_below(&server.scratch().join("outside")));
    QUERIES.iter().map(answer).chain([outside]).collect()
}

/// A statement for a server.
fn statement(server: &Server, sql: &str) -> String {
    sql.replace("DIRECTORY", &server.scratch().join("outside").to_string_lossy())
}

/// Few rows are in memory.
fn options() -> Options {
    Options { history_rows: 1_000, ..Options::default() }
}

/// The names of all places, as the code has them.
fn places() -> BTreeSet<String> {
    let call = Regex::new(r#"fault::(?:point|failing)\("([\w.]+)"\)"#).expect("it is a pattern");
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("files are UTF-8");
            for name in call.captures_iter(&text).map(|found| found[1].to_owned()) {
                assert!(found.insert(name.clone()), "{name} is the name of two places");
            }
        }
    }
    found
}

/// What there is after each statement: of none, of the first one, ..
fn expected() -> Vec<Answers> {
    let server = Server::with(options());
    let mut client = server.connect();
    let mut after = vec![answers(&server)];
    for sql in SCRIPT {
        client.run(&statement(&server, sql));
        after.push(answers(&server));
    }
    after
}

/// Runs the script on a server with a place armed; returns how many statements were answered.
fn run(server: &Server) -> usize {
    let Ok(mut client) = Client::connect(server.postgres()) else { return 0 };
    let mut answered = |sql: &&str| match client.simple(&statement(server, sql)) {
        Ok(_) => true,
        Err(failure) if failure.code().is_empty() => false,
        Err(failure) => panic!("{failure}\nin: {sql}"),
    };
    SCRIPT.iter().take_while(|sql| answered(sql)).count()
}

/// Whether a server came to the place that was armed.
fn died(server: &Server) -> bool {
    server.stderr().contains("ended by a fault")
}

/// Lets a server die at a place, in its life or in the start that follows.
fn dies_at(place: &str, expected: &[Answers]) {
    let time = TIMES.iter().find(|(name, _)| *name == place).map_or(place, |(_, time)| time);
    let (mut server, mut last) = (Server::armed_with(time, options()), 0);
    if server.is_ready() {
        last = run(&server);
        server.end();
    }
    if !died(&server) {
        assert_eq!(last, SCRIPT.len(), "{place}: {}", server.stderr());
        server = server.again(Some(time));
        assert!(!server.is_ready() && died(&server), "{place} is never reached");
    }
    let server = server.again(None);
    assert!(server.is_ready(), "{place}: {}", server.stderr());
    let mut client = server.connect();
    while !client.run("SELECT name FROM hw.sources WHERE state <> 'finished'").rows.is_empty() {}
    let found = answers(&server);
    let next = &expected[(last + 1).min(SCRIPT.len())];
    assert!(
        found == expected[last] || found == *next,
        "{place}, after {last} statements: {found:#?}\nis neither {:#?}\nnor {next:#?}",
        expected[last]
    );
    // It goes on.
    client.run("CREATE TABLE more (a BIGINT)");
    client.run("INSERT INTO more VALUES (1)");
    client.run("CHECKPOINT");
    let server = server.crash();
    assert_eq!(answers(&server), found, "{place}, the second time");
    assert_eq!(server.connect().run("SELECT * FROM more").lines(), ["1"]);
}

#[test]
fn nothing_is_lost_wherever_the_process_dies() {
    let places: Vec<String> = places().into_iter().collect();
    assert!(places.len() >= 40, "{places:?}");
    for (name, _) in TIMES {
        assert!(places.iter().any(|place| place == name), "there is no {name}");
    }
    let (expected, next) = (expected(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    dies_at(place, &expected);
                }
            });
        }
    });
}
