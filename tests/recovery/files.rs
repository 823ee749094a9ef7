//! What goes into files is there once, whenever the server is killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use crate::support::client::Client;
use crate::support::random::Random;
use crate::support::server::Server;

/// Rounds, each of which ends with a killed server.
const ROUNDS: u64 = 8;

/// How often each line stands in the files of a directory that do not begin with a point.
fn lines(dir: &Path) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("the directory can be read") {
            let path = entry.expect("it can be read").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("the file can be read");
            for line in text.lines() {
                *all.entry(line.to_owned()).or_default() += 1;
            }
        }
    }
    all
}

/// What is to stand in the files, by what the stream retains.
fn expected(client: &mut Client) -> BTreeMap<String, usize> {
    let rows = client.run("SELECT id, k FROM s WHERE id % 3 > 0 ORDER BY id");
    let line = |row: &Vec<Option<String>>| {
        let id = row[0].clone().expect("an id is not NULL");
        let k = row[1].as_ref().map_or("null".to_owned(), |k| format!("\"{k}\""));
        (format!("{{\"id\":{id},\"k\":{k}}}"), 1)
    };
    rows.rows.iter().map(line).collect()
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
                    assert_eq!(lines(&dir), expected(&mut client), "seed {seed}, round {round}");
                }
            }
            server = server.crash();
        }
        let mut client = server.connect();
        client.run("FLUSH");
        assert_eq!(lines(&dir), expected(&mut client), "seed {seed}");
        assert_eq!(client.run("SELECT state FROM hw.sinks").value().as_deref(), Some("running"));
    }
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
    let mut other = server.connect();
    let flush = thread::spawn(move || other.run("FLUSH"));
    // Others are served meanwhile.
    assert_eq!(client.run("SELECT count(*) FROM s").value().as_deref(), Some("2"));
    fs::rename(&elsewhere, &dir).expect("the directory can be moved back");
    flush.join().expect("FLUSH ends");
    assert_eq!(lines(&dir), expected(&mut client));
}
