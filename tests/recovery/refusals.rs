//! What is on the disk is what was written, or the server says so.

use std::fs;
use std::path::PathBuf;

use crate::support::server::Server;

/// The log's only segment.
fn segment(server: &Server) -> PathBuf {
    let log = server.data().join("log").join("1");
    let mut files: Vec<PathBuf> = fs::read_dir(&log)
        .expect("the log is a directory")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn filled() -> Server {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE t (a BIGINT)");
    (0..10).for_each(|i| {
        client.run(&format!("INSERT INTO t VALUES ({i})"));
    });
    server
}

#[test]
fn a_damaged_log_is_refused() {
    let server = filled();
    let path = segment(&server);
    let text = server.crash_with(|| {
        let mut bytes = fs::read(&path).expect("the log can be read");
        let middle = bytes.iter().position(|byte| *byte != 0).expect("it is not empty") + 600;
        bytes[middle] ^= 4;
        fs::write(&path, bytes).expect("the log can be written");
    });
    assert!(text.contains("the log is damaged"), "{text}");
    assert!(text.contains(&*path.to_string_lossy()), "{text}");
}

#[test]
fn a_log_that_was_cut_is_refused() {
    for length in [0, 1, 1_000, 1 << 20] {
        let server = filled();
        let path = segment(&server);
        let text = server.crash_with(|| {
            let file = fs::File::options().write(true).open(&path).expect("the log can be opened");
            file.set_len(length).expect("it can be cut");
        });
        assert!(text.contains("the log is damaged"), "{length}: {text}");
    }
}

#[test]
fn a_log_that_is_missing_is_refused() {
    let server = filled();
    let path = segment(&server);
    let text = server.crash_with(|| fs::remove_file(&path).expect("the log can be removed"));
    assert!(text.contains("the log is damaged"), "{text}");
    assert!(text.contains("has no files"), "{text}");
}

#[test]
fn a_pipe_is_no_source() {
    let server = Server::start();
    let path = server.scratch().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    let said = server.connect().fail(&format!(
        "CREATE STREAM s (a INT) WITH (connector = 'file', format = 'ndjson', path = '{}')",
        path.display()
    ));
    assert_eq!(said.code, "22023", "{said}");
    assert!(said.message.contains("is a pipe or a device"), "{said}");
}

/// A start on the data directory of a server that was killed, with a file removed or changed.
#[test]
fn a_directory_that_is_not_whole_is_refused() {
    for (file, bytes, said) in [
        ("log/current", None, "is not whole"),
        ("log", None, "is not whole"),
        ("highwater.format", Some("3\n"), "has format \"3\", and this version reads format \"2\""),
        ("highwater.format", Some("1\n"), "has format \"1\""),
        ("highwater.format", Some(""), "has format \"\""),
        ("log/current", Some("9 00000000\n"), "it does not name a log"),
        ("log/current", Some(""), "it does not name a log"),
    ] {
        let server = filled();
        let path = server.data().join(file);
        let text = server.crash_with(|| match bytes {
            Some(bytes) => fs::write(&path, bytes).expect("a file can be written"),
            None if path.is_dir() => fs::remove_dir_all(&path).expect("it can be removed"),
            None => fs::remove_file(&path).expect("a file can be removed"),
        });
        assert!(text.contains(said), "{file} {bytes:?}: {text}");
    }
}

/// The log says all that the other files do.
#[test]
fn files_without_which_a_server_starts() {
    let server = filled();
    let data = server.data();
    for file in ["highwater.format", "highwater.lock"] {
        fs::remove_file(data.join(file)).expect("a file can be removed");
    }
    let server = server.crash();
    assert_eq!(server.connect().run("SELECT count(*) FROM t").lines(), ["10"]);
    assert!(data.join("highwater.format").exists());
}

#[test]
fn a_directory_in_use_or_without_leave_is_refused() {
    let server = filled();
    let data = server.data();
    let start = |data: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", data])
            .output()
            .expect("the binary runs");
        assert!(!output.status.success(), "the server started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = start(&data.to_string_lossy());
    assert!(said.contains("is in use by another highwater server"), "{said}");
    // Nobody may write there.
    let said = start("/proc");
    assert!(said.contains("could not write to data directory \"/proc\""), "{said}");
    assert_eq!(server.connect().run("SELECT count(*) FROM t").lines(), ["10"]);
}
