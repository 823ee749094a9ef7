//! Sources go on where they were, whatever they had brought when the process was killed.

use std::fmt::Write as _;

use crate::support::server::Server;

/// Lines of a file, some of them no rows.
fn lines(from: usize, to: usize) -> String {
    let mut text = String::new();
    for id in from..to {
        let _ = match id % 100 {
            7 => writeln!(text, "{{broken {id}"),
            _ => writeln!(text, "{{\"id\": {id}}}"),
        };
    }
    text
}

#[test]
fn a_followed_file_is_read_once() {
    let mut server = Server::start();
    let path = server.scratch().join("rows.ndjson");
    std::fs::write(&path, lines(0, 20_000)).expect("a file can be written");
    server.connect().run(&format!(
        "CREATE STREAM s (id BIGINT) WITH (connector = 'file', format = 'ndjson', follow = true, \
         rate = '20000', path = '{}')",
        path.display()
    ));
    for _ in 0..5 {
        let mut client = server.connect();
        let before = client.run("SELECT count(*) FROM s").value();
        client.send("CHECKPOINT").expect("the statement is sent");
        server = server.crash();
        let mut client = server.connect();
        let after = client.run("SELECT count(*) FROM s").value();
        let number = |value: Option<String>| value.expect("a number").parse::<u64>().expect("one");
        assert!(number(after) >= number(before), "what was seen is there");
    }
    let mut client = server.connect();
    let mut feed = server.connect();
    feed.send("SUBSCRIBE s WITH (snapshot = false)").expect("a subscription starts");
    let done = "SELECT rows + bad_rows FROM hw.sources";
    while client.run(done).value().as_deref() != Some("20000") {
        feed.next().expect("rows come");
    }
    let counts = client.run("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM s");
    assert_eq!(counts.lines(), ["19800|19800|0|19999"]);
    assert_eq!(client.run("SELECT count(*) FROM hw.errors").value().as_deref(), Some("200"));
}

#[test]
fn a_file_that_was_read_is_not_read_again() {
    let server = Server::start();
    let path = server.scratch().join("rows.ndjson");
    std::fs::write(&path, lines(0, 1_000)).expect("a file can be written");
    let options = format!("connector = 'file', format = 'ndjson', path = '{}'", path.display());
    let mut client = server.connect();
    client.run(&format!("CREATE TABLE t (id BIGINT PRIMARY KEY) WITH ({options})"));
    client.run("DELETE FROM t WHERE id < 500");
    let query = "SELECT count(*), min(id) FROM t";
    let before = client.run(query).lines();
    std::fs::remove_file(&path).expect("the file can be removed");
    let server = server.crash();
    let mut client = server.connect();
    assert_eq!(client.run(query).lines(), before);
    let progress = client.run("SELECT name, state, rows, bad_rows FROM hw.sources").lines();
    assert_eq!(progress, ["t|finished|990|10"]);
}
