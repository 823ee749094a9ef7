//! What a checkpoint writes, and what a start reads of it.

use std::fs;
use std::path::PathBuf;

use crate::support::client::Client;
use crate::support::server::Server;

/// Half a million bytes of rows, in a table, groups, both sides of a join, and extremes.
const SCRIPT: [&str; 6] = [
    "CREATE STREAM s (id BIGINT, k BIGINT, at TIMESTAMP, note TEXT, WATERMARK FOR at AS at)",
    "CREATE TABLE t (k BIGINT PRIMARY KEY, note TEXT)",
    "CREATE VIEW groups AS SELECT k, count(*) AS c, sum(id) AS total, max(note) AS last, \
     string_agg(DISTINCT note, ',' ORDER BY note) AS notes FROM s GROUP BY k",
    "CREATE VIEW joined AS SELECT s.id, s.note, t.note AS other FROM s LEFT JOIN t USING (k)",
    "INSERT INTO t SELECT n, repeat('table ' || n, 20) FROM generate_series(1, 2000) AS n",
    "INSERT INTO s SELECT n, n % 1500, TIMESTAMP '2026-01-01' + n * INTERVAL '1 second', \
     repeat('stream ' || n, 10) FROM generate_series(1, 4000) AS n",
];

const QUERIES: [&str; 4] = [
    "SELECT * FROM groups ORDER BY k",
    "SELECT * FROM joined ORDER BY id",
    "SELECT * FROM t ORDER BY k",
    "SELECT count(*), sum(length(note)) FROM s",
];

fn answers(client: &mut Client) -> Vec<Vec<String>> {
    QUERIES.iter().map(|sql| client.run(sql).lines()).collect()
}

/// The files that have pages of images, and their bytes.
fn files(server: &Server) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(server.data().join("history")).expect("it is there");
    let files = entries.map(|entry| entry.expect("it can be read"));
    let pages = files.filter(|file| file.path().extension().is_some_and(|end| end == "pages"));
    pages.map(|file| (file.path(), file.metadata().expect("it is there").len())).collect()
}

#[test]
fn a_checkpoint_writes_what_has_changed() {
    let server = Server::start();
    let mut client = server.connect();
    SCRIPT.iter().for_each(|sql| drop(client.run(sql)));
    client.run("CHECKPOINT");
    let first = files(&server);
    let bytes = |files: &[(PathBuf, u64)]| files.iter().map(|(_, bytes)| bytes).sum::<u64>();
    assert!(bytes(&first) > 2_000_000, "{first:?}");
    // Nothing has changed; then little.
    client.run("CHECKPOINT");
    assert_eq!(files(&server), first);
    client.run("INSERT INTO t VALUES (5000, 'new')");
    client.run("UPDATE t SET note = 'changed' WHERE k = 7");
    client.run("INSERT INTO s VALUES (5000, 5000, '2026-01-02', 'late')");
    client.run("CHECKPOINT");
    let second = files(&server);
    assert!(first.iter().all(|file| second.contains(file)), "{second:?}");
    let written = bytes(&second) - bytes(&first);
    assert!((1..bytes(&first) / 2).contains(&written), "{written} of {}", bytes(&first));
    // What is read is what was written, and what comes is added to it.
    let (mut server, mut expected) = (server, answers(&mut client));
    for round in 0..3 {
        server = server.crash();
        let mut client = server.connect();
        assert_eq!(answers(&mut client), expected, "round {round}");
        client.run("DELETE FROM t WHERE k BETWEEN 10 AND 900");
        client
            .run("INSERT INTO s SELECT n, n, '2026-01-03', 'x' FROM generate_series(1, 900) AS n");
        client.run("CHECKPOINT");
        expected = answers(&mut client);
    }
    let (damaged, _) = files(&server).remove(0);
    let text = server.crash_with(|| {
        let mut bytes = fs::read(&damaged).expect("it is there");
        // Some of its pages may be those of earlier images.
        bytes.iter_mut().step_by(4096).for_each(|byte| *byte ^= 0x10);
        fs::write(&damaged, bytes).expect("it can be written");
    });
    let name = damaged.file_name().and_then(|name| name.to_str()).expect("it has a name");
    assert!(text.contains(name) && text.contains("is damaged"), "{text}");
}
