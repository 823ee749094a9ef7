//! What goes into files is there once, whenever the server is killed.

use std::fs;
use std::path::Path;
use std::thread;

use crate::support::client::Client;
use crate::support::files::lines_below;
use crate::support::random::Random;
use crate::support::server::Server;

/// Rounds, each of which ends with a killed server.
const ROUNDS: u64 = 8;

/// What is to stand in the files, by what the stream retains.
fn expected(client: &mut Client) -> Vec<String> {
    let rows = client.run("SELECT id, k FROM s WHERE id % 3 > 0");
    let line = |row: &Vec<Option<String>>| {
        let id = row[0].clone().expect("an id is not NULL");
        let k = row[1].as_ref().map_or("null".to_owned(), |k| format!("\"{k}\""));
        format!("{{\"id\":{id},\"k\":{k}}}")
    };
    let mut lines: Vec<String> = rows.rows.iter().map(line).collect();
    lines.sort();
    lines
}

fn create(client: &mut Client, dir: &Path, options: &str) {
    client.run("CREATE STREAM s (id BIGINT, k TEXT)");
    let dir = dir.display();
    client.run(&format!(
        "CREATE SINK out TO FILE '{dir}' {options} AS SELECT id, k FROM s WHERE id % 3 > 0"
    ));
}

#[test]
fn rows_of_a_sink_stand_in_files_once() {
    for (seed, options) in [
        (1, "WITH (interval = '5 ms')"),
        (2, "PARTITION BY (k) FORMAT JSON WITH (interval = '30 ms')"),
    ] {
        let mut random = Random::new(seed);
        let mut server = Server::start();
        let dir = server.scratch().join("out");
        create(&mut server.connect(), &dir, options);
        let mut id = 0;
        for round in 0..ROUNDS {
            let mut client = server.connect();
            for _ in 0..random.between(1, 12) {
                let count = random.between(1, 30);
                let rows = (id..id + count).map(|id| match id % 4 {
                    0 => format!("({id}, NULL)"),
                    k => format!("({id}, 'k/{k}')"),
                });
                let rows: Vec<String> = rows.collect();
                client.run(&format!("INSERT INTO s VALUES {}", rows.join(", ")));
                id += count;
                if random.chance(20) {
                    client.run("CHECKPOINT");
                }
                if random.chance(20) {
                    client.run("FLUSH");
                    assert_eq!(
                        lines_below(&dir),
                        expected(&mut client),
                        "seed {seed}, round {round}"
                    );
                }
            }
            server = server.crash();
        }
        let mut client = server.connect();
        client.run("FLUSH");
        assert_eq!(lines_below(&dir), expected(&mut client), "seed {seed}");
        assert_eq!(client.run("SELECT state FROM hw.sinks").value().as_deref(), Some("running"));
    }
}

/// Files below a directory that are no rows: lists and drafts.
fn kept(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir.join(".highwater")) else { return 0 };
    let of_sink = |entry: fs::DirEntry| fs::read_dir(entry.path()).map_or(0, Iterator::count);
    entries.map(|entry| 1 + of_sink(entry.expect("it can be read"))).sum()
}

#[test]
fn a_sink_that_is_dropped_has_written_what_came_and_leaves_nothing_else() {
    let mut server = Server::start();
    let mut client = server.connect();
    let dir = server.scratch().join("out");
    create(&mut client, &dir, "WITH (interval = '60 min')");
    client.run("INSERT INTO s VALUES (1, 'a'), (2, 'b')");
    client.run("DROP SINK out");
    let expected = expected(&mut client);
    assert_eq!(lines_below(&dir), expected);
    // Told again, it writes nothing more.
    for _ in 0..2 {
        client.run("INSERT INTO s VALUES (4, 'd')");
        client.run("FLUSH");
        assert_eq!(lines_below(&dir), expected);
        server = server.crash();
        client = server.connect();
    }
    let mut checked = server.connect();
    while kept(&dir) > 0 {
        checked.run("FLUSH");
    }
    // One that cannot write is dropped as well.
    let (dir, elsewhere) = (server.scratch().join("other"), server.scratch().join("elsewhere"));
    let into = format!("CREATE SINK out TO FILE '{}' WITH (interval = '1 ms')", dir.display());
    client.run(&format!("{into} AS SELECT id FROM s"));
    client.run("FLUSH");
    fs::rename(&dir, &elsewhere).expect("the directory can be moved");
    client.run("INSERT INTO s VALUES (5, 'e')");
    client.run("DROP SINK out");
    client.run("CHECKPOINT");
    client.run("FLUSH");
    assert!(!lines_below(&elsewhere).contains(&"{\"id\":5}".to_owned()));
}

#[test]
fn a_directory_that_is_gone_is_waited_for() {
    let server = Server::start();
    let mut client = server.connect();
    let (dir, elsewhere) = (server.scratch().join("out"), server.scratch().join("elsewhere"));
    create(&mut client, &dir, "WITH (interval = '1 ms')");
    client.run("INSERT INTO s VALUES (1, 'a')");
    client.run("FLUSH");
    fs::rename(&dir, &elsewhere).expect("the directory can be moved");
    client.run("INSERT INTO s VALUES (2, 'b')");
    // No checkpoint waits for that; the next server has what is to be written.
    client.run("CHECKPOINT");
    client.run("INSERT INTO s VALUES (4, 'd')");
    let server = server.crash();
    let mut client = server.connect();
    client.run("INSERT INTO s VALUES (5, 'e')");
    client.run("CHECKPOINT");
    let server = server.crash();
    let mut client = server.connect();
    let mut other = server.connect();
    let flush = thread::spawn(move || other.run("FLUSH"));
    // Others are served meanwhile.
    assert_eq!(client.run("SELECT count(*) FROM s").value().as_deref(), Some("4"));
    fs::rename(&elsewhere, &dir).expect("the directory can be moved back");
    flush.join().expect("FLUSH ends");
    assert_eq!(lines_below(&dir), expected(&mut client));
}
