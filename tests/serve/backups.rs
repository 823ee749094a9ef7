//! Backup, restore and check, as one runs them.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::highwater;
use crate::support::client::Client;
use crate::support::files::lines_below;
use crate::support::server::{Options, Server};

const QUERIES: [&str; 3] =
    ["SELECT * FROM t ORDER BY a", "SELECT * FROM sums", "SELECT name, rows, late FROM hw.streams"];

fn filled() -> Server {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)");
    client.run("INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 1000) AS g(i)");
    client.run("CREATE STREAM s (v BIGINT, at TIMESTAMP, WATERMARK FOR at AS at)");
    client.run("CREATE VIEW sums AS SELECT count(*) AS c, sum(v) AS s FROM s");
    client.run("INSERT INTO s VALUES (1, '2026-01-01 10:00:00'), (2, '2026-01-01 09:00:00')");
    server
}

fn answers(client: &mut Client) -> Vec<Vec<String>> {
    QUERIES.iter().map(|sql| client.run(sql).lines()).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output, part: &str) {
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(part), "{said}");
}

fn check(path: &Path) -> Output {
    highwater(&["check", "--data-dir", &text(path)])
}

/// All files of a directory with their bytes.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory can be read") {
        let path = entry.expect("an entry can be read").path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((text(&path), fs::read(&path).expect("a file can be read"))),
        }
    }
    found.sort();
    found
}

#[test]
fn a_backup_of_a_running_server_is_restored() {
    let server = filled();
    let mut client = server.connect();
    let before = answers(&mut client);
    let (backup, listen) = (server.scratch().join("it's a backup"), server.postgres().to_string());
    succeeded(&highwater(&["backup", &text(&backup), "--listen", &listen]));
    // What comes later is not in it.
    client.run("INSERT INTO t VALUES (2000, 'later')");
    let said = succeeded(&check(&backup));
    assert!(said.contains("is sound") && said.contains("3 objects"), "{said}");
    let untouched = contents(&backup);

    let restored = Server::empty();
    let data = text(&restored.data());
    succeeded(&highwater(&["restore", &text(&backup), "--data-dir", &data]));
    assert_eq!(contents(&backup), untouched);
    refused(&highwater(&["restore", &text(&backup), "--data-dir", &data]), "is not empty");
    let restored = restored.again(None);
    assert_eq!(answers(&mut restored.connect()), before);
    restored.connect().run("INSERT INTO t VALUES (3000, 'on')");
    let restored = restored.crash();
    assert_eq!(restored.connect().run("SELECT count(*) FROM t").lines(), ["1001"]);
}

/// A backup is of one commit, whatever is written meanwhile.
#[test]
fn a_backup_has_all_of_a_transaction_or_nothing() {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE a (i BIGINT)");
    client.run("CREATE TABLE b (i BIGINT)");
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _done = Done(&done);
        scope.spawn(|| {
            let mut writer = server.connect();
            while !done.load(Ordering::Acquire) {
                let i = acknowledged.load(Ordering::Acquire);
                let both = format!("INSERT INTO a VALUES ({i}); INSERT INTO b VALUES ({i})");
                writer.simple(&both).expect("the rows are taken");
                acknowledged.store(i + 1, Ordering::Release);
            }
        });
        for name in ["first", "second"] {
            let backup = server.scratch().join(name);
            let before = acknowledged.load(Ordering::Acquire);
            client.run(&format!("BACKUP TO '{}'", backup.display()));
            let after = acknowledged.load(Ordering::Acquire) + 1;
            let restored = Server::empty();
            let data = text(&restored.data());
            succeeded(&highwater(&["restore", &text(&backup), "--data-dir", &data]));
            let restored = restored.again(None);
            let counts = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), \
                          (SELECT count(DISTINCT i) FROM a)";
            let counts = restored.connect().run(counts).lines();
            let [a, b, i] = counts[0].split('|').collect::<Vec<_>>()[..] else { panic!() };
            assert!(a == b && a == i, "{counts:?}");
            let count: u64 = a.parse().expect("a number");
            assert!((before..=after).contains(&count), "{before} <= {count} <= {after}");
        }
    });
}

/// Ends the writer, also if the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_backup_goes_into_an_empty_directory() {
    let server = filled();
    let (scratch, listen) = (server.scratch(), server.postgres().to_string());
    fs::write(scratch.join("file"), "something").expect("a file can be written");
    refused(&highwater(&["backup", &text(&scratch), "--listen", &listen]), "is not empty");
    let said = server.connect().fail("BACKUP TO 'somewhere'");
    assert_eq!(
        (said.code.as_str(), said.message.as_str()),
        ("22023", "\"somewhere\" is not an absolute path")
    );
    for below in ["", "/backup", "/log/../new/backup"] {
        let path = format!("{}{below}", text(&server.data()));
        let said = server.connect().fail(&format!("BACKUP TO '{path}'"));
        assert_eq!(said.code, "22023", "{said}");
        assert!(said.message.ends_with("is in the server's own data directory"), "{said}");
    }
    let said = server.connect().fail("BACKUP TO '/proc/no/such/place'");
    assert_eq!(said.code, "58030", "{said}");
    // The server goes on.
    server.connect().run("INSERT INTO t VALUES (2000, 'on')");
}

#[test]
fn a_check_says_what_is_wrong_and_changes_nothing() {
    let mut server = filled();
    let data = server.data();
    refused(&check(&data), "is in use by another highwater server");
    server.connect().run("CHECKPOINT");
    server.connect().run("INSERT INTO t VALUES (2000, 'more')");
    server.kill();
    let before = contents(&data);
    succeeded(&check(&data));
    assert_eq!(contents(&data), before);
    for (path, bytes) in &before {
        let counts =
            path.ends_with(".log") || path.ends_with("current") || path.ends_with("format");
        if !counts {
            continue;
        }
        let mut changed = bytes.clone();
        changed[0] ^= 16;
        fs::write(path, &changed).expect("a file can be written");
        refused(&check(&data), if path.ends_with("format") { "has format" } else { path });
        fs::remove_file(path).expect("a file can be removed");
        refused(&check(&data), if path.ends_with(".log") { "log/2" } else { path });
        fs::write(path, bytes).expect("a file can be written");
    }
    succeeded(&check(&data));
    refused(&check(&data.join("nothing")), "highwater.format");
}

/// A backup that was not finished is none.
#[test]
fn half_a_backup_is_refused() {
    let server = filled();
    let backup = server.scratch().join("half");
    server.connect().run(&format!("BACKUP TO '{}'", backup.display()));
    fs::remove_file(backup.join("highwater.format")).expect("a file can be removed");
    refused(&check(&backup), "is not whole");
    let elsewhere = server.scratch().join("elsewhere");
    refused(
        &highwater(&["restore", &text(&backup), "--data-dir", &text(&elsewhere)]),
        "is not whole",
    );
    assert!(!elsewhere.exists());
}

#[test]
fn what_is_before_the_damage_is_salvaged() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE t (a BIGINT)");
    (0..20).for_each(|i| {
        client.run(&format!("INSERT INTO t VALUES ({i})"));
    });
    server.kill();
    let data = server.data();
    let salvage = || highwater(&["salvage", "--data-dir", &text(&data)]);
    let said = succeeded(&salvage());
    assert!(said.contains("nothing was changed"), "{said}");
    succeeded(&check(&data));
    let files = contents(&data);
    let (path, bytes) = files.iter().find(|(path, _)| path.ends_with(".log")).expect("a segment");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty");
    let mut changed = bytes.clone();
    changed[used / 2] ^= 16;
    fs::write(path, changed).expect("a file can be written");
    refused(&check(&data), path);
    let said = succeeded(&salvage());
    assert!(said.contains(path) && said.contains("kept: "), "{said}");
    succeeded(&check(&data));
    assert!(data.join("log/1.damaged").exists());
    let server = server.again(None);
    let kept = server.connect().run("SELECT count(*), max(a) + 1 FROM t").lines();
    let [count, next] = kept[0].split('|').collect::<Vec<_>>()[..] else { panic!("{kept:?}") };
    assert!(
        count == next && (1..19).contains(&count.parse::<u64>().expect("a number")),
        "{kept:?}"
    );
    server.connect().run("INSERT INTO t VALUES (100)");
}

/// Two servers that both began with a backup's commits would write other rows under their numbers.
#[test]
fn sinks_to_the_outside_stand_still_on_a_restored_server() {
    let server = Server::start();
    let mut client = server.connect();
    let out = server.scratch().join("out");
    client.run("CREATE STREAM s (id BIGINT)");
    client.run("CREATE STREAM inner_copy (id BIGINT)");
    client.run("CREATE SINK inside INTO inner_copy AS SELECT id FROM s");
    client.run(&format!("CREATE SINK outside TO FILE '{}' AS SELECT id FROM s", text(&out)));
    client.run("INSERT INTO s VALUES (1)");
    let backup = server.scratch().join("backup");
    client.run(&format!("BACKUP TO '{}'", text(&backup)));
    client.run("INSERT INTO s VALUES (2)");
    client.run("FLUSH");
    let restored = Server::empty();
    succeeded(&highwater(&["restore", &text(&backup), "--data-dir", &text(&restored.data())]));
    let mut restored = restored.again(None);
    for _ in 0..2 {
        let mut other = restored.connect();
        other.run("INSERT INTO s VALUES (3)");
        other.run("FLUSH");
        other.run("CHECKPOINT");
        let states = other.run("SELECT name, state, error FROM hw.sinks ORDER BY name").lines();
        assert_eq!(states[0], "inside|running|NULL");
        assert!(states[1].starts_with("outside|suspended|55000: the server was restored"));
        restored = restored.restart();
    }
    let mut other = restored.connect();
    assert_eq!(other.run("SELECT id FROM inner_copy ORDER BY id").lines(), ["1", "3", "3"]);
    // The first one goes on.
    client.run("INSERT INTO s VALUES (4)");
    client.run("FLUSH");
    let rows = |ids: &[i64]| ids.iter().map(|id| format!("{{\"id\":{id}}}")).collect::<Vec<_>>();
    assert_eq!(lines_below(&out), rows(&[1, 2, 4]));
    other.run("DROP SINK outside");
    let anew = server.scratch().join("anew");
    other.run(&format!("CREATE SINK outside TO FILE '{}' AS SELECT id FROM s", text(&anew)));
    other.run("FLUSH");
    assert_eq!(lines_below(&anew), rows(&[1, 3, 3]));
}

#[test]
fn a_backup_has_what_streams_retain_in_files() {
    let server = Server::with(Options { history_rows: 10, ..Options::default() });
    let mut client = server.connect();
    client.run("CREATE STREAM s (v BIGINT)");
    for i in 0..9 {
        client.run(&format!("INSERT INTO s SELECT i + {i} FROM generate_series(1, 5) AS g(i)"));
    }
    client.run("CHECKPOINT");
    let backup = server.scratch().join("backup");
    client.run(&format!("BACKUP TO '{}'", text(&backup)));
    let files = fs::read_dir(backup.join("history")).expect("it is there");
    let files: Vec<_> = files.map(|file| file.expect("it can be read").path()).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    succeeded(&check(&backup));
    let whole = fs::read(&files[0]).expect("it can be read");
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 1;
    fs::write(&files[0], bytes).expect("it can be written");
    refused(&check(&backup), "is damaged");
    fs::remove_file(&files[0]).expect("it can be removed");
    refused(&check(&backup), &text(&files[0]));
}
