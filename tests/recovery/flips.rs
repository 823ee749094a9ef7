//! Bits that flip on the disk: what was acknowledged is there, or somebody says what is wrong.
//!
//! `HIGHWATER_FLIPS` is how many directories are damaged (24), `HIGHWATER_SEED` the seed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::client::Client;
use crate::support::files::lines_below;
use crate::support::random::Random;
use crate::support::server::{Options, Server};

/// How many directories are damaged.
const FLIPS: u64 = 24;

/// Everything that is asked of a server.
const QUERIES: [&str; 6] = [
    "SELECT id, k FROM s",
    "SELECT count(*), sum(id) FROM s",
    "SELECT * FROM t ORDER BY id",
    "SELECT * FROM per_key ORDER BY k",
    "SELECT t.id, c FROM t JOIN per_key ON per_key.k = t.id ORDER BY 1",
    "SELECT name, rows FROM hw.streams ORDER BY name",
];

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What a query gave, or its code and what was said.
type Answer = Result<Vec<String>, (String, String)>;

/// A server that dies with files of every kind on the disk: segments behind an image, history, and
/// the list of a range that a sink has begun to write.
fn filled() -> (Server, Vec<Answer>) {
    let options = Options { history_rows: 40, ..Options::default() };
    let server = Server::armed_with("sink.listed@2", options);
    let mut client = server.connect();
    client.run("CREATE STREAM s (id BIGINT, k BIGINT)");
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, note TEXT)");
    client.run("CREATE MATERIALIZED VIEW per_key AS SELECT k, count(*) AS c FROM s GROUP BY k");
    let rows = |client: &mut Client, from: u32| {
        for i in from..from + 10 {
            client.run(&format!("INSERT INTO t VALUES ({i}, repeat('note {i} ', 100))"));
            let rows = format!("SELECT {i} * 20 + g, g % 7 FROM generate_series(0, 19) AS x(g)");
            client.run(&format!("INSERT INTO s {rows}"));
        }
    };
    rows(&mut client, 0);
    let out = server.scratch().join("out");
    client.run(&format!(
        "CREATE SINK out TO FILE '{}' WITH (interval = '60 min') AS SELECT id FROM s",
        out.display()
    ));
    client.run("FLUSH");
    client.run("CHECKPOINT");
    rows(&mut client, 10);
    let before = answers(&mut client);
    client.query("FLUSH").expect_err("the server dies while a sink writes");
    (server, before)
}

fn answers(client: &mut Client) -> Vec<Answer> {
    let answer = |sql: &&str| match client.query(sql) {
        Ok(answer) => Ok(answer.lines()),
        Err(failure) => Err((failure.said().code.clone(), failure.said().message.clone())),
    };
    QUERIES.iter().map(answer).collect()
}

fn read_below(dir: &Path) -> Files {
    let (mut files, mut open) = (Files::new(), vec![dir.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a directory can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(&path).expect("a file can be read");
                files.insert(path, bytes);
            }
        }
    }
    files
}

/// Lets directories have these files.
fn write_below(dirs: &[PathBuf], files: &Files) {
    dirs.iter().for_each(|dir| fs::remove_dir_all(dir).expect("it can be removed"));
    for (path, bytes) in files {
        fs::create_dir_all(path.parent().expect("it is below another")).expect("it can be made");
        fs::write(path, bytes).expect("a file can be written");
    }
}

/// Flips a bit of one of the files; returns which.
fn flip(random: &mut Random, files: &mut Files) -> PathBuf {
    // Files of rows are others' business once they are written, and drafts of them are such files.
    let ours = |path: &&PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        !name.is_some_and(|name| name.starts_with("part-") || name.starts_with("draft-"))
    };
    let paths: Vec<PathBuf> = files.keys().filter(ours).cloned().collect();
    let mut kinds: BTreeMap<&str, Vec<&PathBuf>> = BTreeMap::new();
    for path in &paths {
        let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or("other");
        kinds.entry(kind).or_default().push(path);
    }
    assert!(kinds["log"].len() == 1 && kinds["parquet"].len() > 4, "{kinds:?}");
    assert!(kinds["other"].iter().any(|path| path.to_string_lossy().contains(".highwater")));
    let kinds: Vec<&Vec<&PathBuf>> = kinds.values().collect();
    let kind = random.pick(&kinds);
    let path = random.pick(kind).to_path_buf();
    let bytes = files.get_mut(&path).expect("it is there");
    // Of a segment, most is room for what is to come.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if used > 0 {
        bytes[random.below(used)] ^= 1 << random.below(8);
    }
    path
}

#[test]
fn what_was_acknowledged_is_there_or_somebody_says_what_is_wrong() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("HIGHWATER_SEED").unwrap_or(1);
    let (mut server, before) = filled();
    let dirs = [server.data(), server.scratch().join("out")];
    let whole: Files = dirs.iter().flat_map(|dir| read_below(dir)).collect();
    for seed in seed..seed + number("HIGHWATER_FLIPS").unwrap_or(FLIPS) {
        let (mut random, mut files) = (Random::new(seed), whole.clone());
        let path = flip(&mut random, &mut files);
        let what = format!("HIGHWATER_SEED={seed}: {}", path.display());
        write_below(&dirs, &files);
        server = server.again(None);
        if server.is_ready() {
            check(&server, &before, (&path, &what));
            server.kill();
        } else {
            let said = server.stderr();
            let is_named = said.contains(&*path.to_string_lossy());
            assert!(is_named || said.contains("has format"), "{what}: {said}");
        }
    }
}

/// Everything is as it was, but for what says that it cannot be read.
fn check(server: &Server, before: &[Answer], (path, what): (&Path, &str)) {
    let mut client = server.connect();
    let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
    for (answer, before) in answers(&mut client).iter().zip(before) {
        match answer {
            Err((code, message)) => {
                assert!(code == "XX001" && message.contains(&name), "{what}: {code}: {message}");
                assert!(name.ends_with(".parquet"), "{what}: {message}");
            }
            Ok(_) => assert_eq!(answer, before, "{what}"),
        }
    }
    if path.components().any(|part| part.as_os_str() == ".highwater") {
        let mut error = None;
        while error.is_none() {
            error = client.run("SELECT error FROM hw.sinks").value();
        }
        assert!(error.is_some_and(|error| error.contains(&name)), "{what}");
        return;
    }
    client.run("FLUSH");
    let mut ids: Vec<String> = (0..400).map(|id| format!("{{\"id\":{id}}}")).collect();
    ids.sort();
    assert_eq!(lines_below(&server.scratch().join("out")), ids, "{what}");
}
