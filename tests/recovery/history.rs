//! What streams retain in files: named by an image or not, damaged, missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::support::client::Client;
use crate::support::server::{Options, Server};

const QUERIES: [&str; 6] = [
    "SELECT v, at FROM s",
    "SELECT count(*), sum(v) FROM s WHERE at >= TIMESTAMP '2026-01-01 12:05:00'",
    "SELECT v FROM s LIMIT 7",
    "SELECT * FROM derived",
    "SELECT count(*), sum(v) FROM s [RANGE 3 MINUTES]",
    "SELECT * FROM per_minute",
];

/// A server whose streams keep ten rows in memory.
fn server() -> Server {
    let server = Server::with(Options { history_rows: 10, ..Options::default() });
    let mut client = server.connect();
    client.run(
        "CREATE STREAM s (v BIGINT, at TIMESTAMP, span INTERVAL, \
         WATERMARK FOR at AS at - INTERVAL '1 minute', LATE TO OPEN WINDOWS) \
         WITH (retention = 'forever')",
    );
    client.run("CREATE STREAM derived AS SELECT ISTREAM v * 2 AS twice FROM s [NOW]");
    client.run(
        "CREATE VIEW per_minute AS SELECT window_start, count(*) AS c, sum(v) AS total \
         FROM TUMBLE(s, at, INTERVAL '1 minute') GROUP BY window_start",
    );
    server
}

/// A row every ten seconds; every ninth comes two minutes late.
fn fill(client: &mut Client, values: std::ops::Range<i64>) {
    for v in values {
        let at = v * 10 - if v % 9 == 8 { 120 } else { 0 };
        client.run(&format!(
            "INSERT INTO s VALUES ({v}, TIMESTAMP '2026-01-01 12:00:00' + INTERVAL '{at} seconds', \
             INTERVAL '{v} days')"
        ));
    }
}

fn answers(client: &mut Client) -> Vec<Vec<String>> {
    QUERIES.iter().map(|sql| client.run(sql).lines()).collect()
}

fn files(server: &Server) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(server.data().join("history")).expect("it is there");
    entries.map(|entry| entry.expect("it can be read").path()).collect()
}

fn in_files(client: &mut Client) -> String {
    client.run("SELECT retained_in_files FROM hw.streams WHERE name = 's'").lines().remove(0)
}

#[test]
fn rows_are_the_same_after_kills_whether_an_image_names_their_files_or_not() {
    let mut server = server();
    let mut client = server.connect();
    fill(&mut client, 0..45);
    let mut before = answers(&mut client);
    for round in 0..3 {
        // Files that no image names yet are made again.
        server = server.crash();
        let mut client = server.connect();
        assert_eq!(answers(&mut client), before, "round {round}, without an image");
        client.run("CHECKPOINT");
        assert_ne!(in_files(&mut client), "0");
        let named = files(&server);
        server = server.crash();
        let mut client = server.connect();
        assert_eq!(answers(&mut client), before, "round {round}, with an image");
        assert_eq!(files(&server), named);
        // A query that starts now finds what those that were there found.
        client.run(
            "CREATE VIEW again AS SELECT window_start, count(*) AS c, sum(v) AS total \
             FROM TUMBLE(s, at, INTERVAL '1 minute') GROUP BY window_start",
        );
        let (again, first) = ("SELECT * FROM again", "SELECT * FROM per_minute");
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        assert_eq!(sorted(client.run(again).lines()), sorted(client.run(first).lines()));
        client.run("DROP VIEW again");
        fill(&mut client, 45 + 15 * round..60 + 15 * round);
        before = answers(&mut client);
    }
}

#[test]
fn files_that_nothing_names_are_removed() {
    let server = server();
    let mut client = server.connect();
    fill(&mut client, 0..30);
    // What was on its way to a file at the first one is named by the second.
    client.run("CHECKPOINT");
    client.run("CHECKPOINT");
    let named = files(&server);
    assert!(named.len() >= 3, "{named:?}");
    let orphan = server.data().join("history").join("1-999.parquet");
    fs::write(&orphan, "half a file").expect("it can be written");
    let server = server.crash();
    assert_eq!(files(&server), named);
    let mut client = server.connect();
    client.run("DROP STREAM s CASCADE");
    // The image names them still.
    assert_eq!(files(&server), named);
    client.run("CHECKPOINT");
    assert!(files(&server).is_empty(), "{:?}", files(&server));
    let server = server.crash();
    assert!(files(&server).is_empty(), "{:?}", files(&server));
}

#[test]
fn retention_lets_files_go() {
    let server = Server::with(Options { history_rows: 10, ..Options::default() });
    let mut client = server.connect();
    client.run("CREATE STREAM s (v BIGINT) WITH (retention = '25 rows')");
    for v in 0..100 {
        client.run(&format!("INSERT INTO s VALUES ({v})"));
    }
    client.run("CHECKPOINT");
    let there = client.run("SELECT min(v) > 60 AND max(v) = 99 AND count(*) >= 25 FROM s").lines();
    assert_eq!(there, ["t"]);
    assert!((2..4).contains(&files(&server).len()), "{:?}", files(&server));
    let before = client.run("SELECT v FROM s").lines();
    let server = server.crash();
    assert_eq!(server.connect().run("SELECT v FROM s").lines(), before);
}

#[test]
fn a_damaged_file_is_not_served() {
    let server = server();
    let mut client = server.connect();
    fill(&mut client, 0..50);
    client.run("CHECKPOINT");
    // The one with the oldest rows.
    let of_s = client.run("SELECT 's'::regclass::oid").lines().remove(0);
    let number = |path: &PathBuf| {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name of ours");
        let (oid, number) = name.split_once('-').expect("a name of ours");
        (oid == of_s).then(|| number.parse::<u64>().expect("a number"))
    };
    let oldest = files(&server).into_iter().filter(|path| number(path).is_some());
    let oldest = oldest.min_by_key(number).expect("there is one");
    let name = oldest.file_name().expect("a name of ours").to_string_lossy().into_owned();
    let server = server.crash_and(|| {
        let mut bytes = fs::read(&oldest).expect("it can be read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&oldest, bytes).expect("it can be written");
    });
    let mut client = server.connect();
    for sql in ["SELECT sum(v) FROM s", "SELECT * FROM s [ROWS 1000]"] {
        let said = client.fail(sql);
        assert_eq!(said.code, "XX001", "{said}");
        assert!(said.message.contains(&name) && said.message.contains("is damaged"), "{said}");
    }
    client.run("CREATE VIEW all_rows AS SELECT count(*) FROM s");
    let said = client.fail("SELECT * FROM all_rows");
    assert!(said.message.contains(&name), "{said}");
    // What does not need it can be read.
    let newer = "SELECT count(*) > 0 FROM s WHERE at > TIMESTAMP '2026-01-01 12:06:00'";
    assert_eq!(client.run(newer).lines(), ["t"]);
    let text = server.crash_with(|| fs::remove_file(&oldest).expect("it can be removed"));
    assert!(text.contains(&name), "{text}");
}
