//! What comes from outside and goes there.
//!
//! That is a file that is followed, files of sinks, and tables of PostgreSQL.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::model::{Model, key};
use crate::support::client::Client;
use crate::support::files::lines_below;
use crate::support::postgres::Postgres;

/// A file of rows that grows, and the stream `lines` that it fills.
pub struct Source {
    path: PathBuf,
    /// How many rows are in the file.
    written: u64,
    /// How many have been seen in the stream.
    seen: u64,
}

impl Source {
    /// Makes the file and the stream.
    pub fn create(client: &mut Client, dir: &Path) -> Self {
        let path = dir.join("lines.ndjson");
        File::create(&path).expect("a file can be made");
        client.run(&format!(
            "CREATE STREAM lines (id BIGINT) \
             WITH (connector = 'file', format = 'ndjson', follow = true, path = '{}')",
            path.display()
        ));
        Self { path, written: 0, seen: 0 }
    }

    /// Adds rows to the file.
    pub fn grow(&mut self, rows: u64) {
        let ids = self.written + 1..=self.written + rows;
        let text: String = ids.map(|id| format!("{{\"id\": {id}}}\n")).collect();
        let file = File::options().append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the file can grow");
        self.written += rows;
    }

    /// The stream has the first rows of the file, each once, and those that it had before.
    pub fn check(&mut self, client: &mut Client, what: &str) {
        let sql = "SELECT count(*), count(DISTINCT id), coalesce(max(id), 0) FROM lines";
        let found = client.run(sql).lines().remove(0);
        let count: u64 = found.split('|').next().and_then(|n| n.parse().ok()).expect("a number");
        assert_eq!(found, format!("{count}|{count}|{count}"), "{what}: rows of the file");
        assert!((self.seen..=self.written).contains(&count), "{what}: {count} rows of the file");
        self.seen = count;
    }

    /// Waits until the stream has all of the file.
    pub fn reach(&mut self, client: &mut Client, what: &str) {
        while self.seen < self.written {
            self.check(client, what);
        }
    }
}

/// Makes the sinks.
pub fn create(client: &mut Client, dir: &Path, postgres: Option<&Postgres>) {
    client.run(&format!(
        "CREATE SINK to_files TO FILE '{}' PARTITION BY (k) FORMAT JSON \
         WITH (interval = '3 ms') AS SELECT id, k FROM events",
        dir.join("files").display()
    ));
    client.run(&format!(
        "CREATE SINK to_changes TO FILE '{}' WITH (interval = '1 ms') AS \
         WITH l AS CHANGELOG FROM per_key SELECT k, c, s, hw_diff FROM l",
        dir.join("changes").display()
    ));
    let Some(postgres) = postgres else { return };
    let mut theirs = postgres.connect();
    theirs.run("DROP TABLE IF EXISTS totals, ids");
    theirs.run("CREATE TABLE totals (k BIGINT PRIMARY KEY, c BIGINT)");
    theirs.run("CREATE TABLE ids (id BIGINT, k BIGINT)");
    let to = format!("TO POSTGRES '{}'", postgres.address());
    client.run(&format!(
        "CREATE SINK to_totals {to} (table = 'totals') KEY (k) WITH (interval = '2 ms') \
         AS SELECT k, count(*) AS c FROM events GROUP BY k"
    ));
    client.run(&format!(
        "CREATE SINK to_ids {to} (table = 'ids') WITH (interval = '5 ms') \
         AS SELECT id, k FROM events"
    ));
}

/// Compares what stands outside with what is to stand there. Sinks have written all they have to.
pub fn check(model: &Model, dir: &Path, postgres: Option<&Postgres>, what: &str) {
    let expected = model.in_time();
    let line = |id: &u64| format!("{{\"id\":{id},\"k\":{}}}", key(*id));
    let mut rows: Vec<String> = expected.iter().map(line).collect();
    rows.sort();
    assert_eq!(lines_below(&dir.join("files")), rows, "{what}: to_files");
    check_changes(model, &dir.join("changes"), what);
    let Some(postgres) = postgres else { return };
    let mut theirs = postgres.connect();
    for (sql, name) in [("SELECT * FROM totals", "copied"), ("SELECT * FROM ids", "events")] {
        let mut rows = theirs.run(sql).lines();
        rows.sort();
        assert_eq!(rows, model.content(name), "{what}: {sql}");
    }
}

/// The changes of a view come to its content, and there are as many as there were: of every row
/// that came, and is not there any more, one that it went.
fn check_changes(model: &Model, dir: &Path, what: &str) {
    let mut rows: Vec<String> = Vec::new();
    let mut gone: Vec<String> = Vec::new();
    for line in lines_below(dir) {
        let change: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        let row = format!("{}|{}|{}", change["k"], change["c"], change["s"]);
        if change["hw_diff"] == 1 { rows.push(row) } else { gone.push(row) }
    }
    for row in gone {
        let place = rows.iter().position(|other| *other == row);
        rows.remove(place.unwrap_or_else(|| panic!("{what}: to_changes: {row} went twice")));
    }
    rows.sort();
    assert_eq!(rows, model.content("per_key"), "{what}: to_changes");
}
