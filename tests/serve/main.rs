//! The program itself: how it starts, what it says, how it ends.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

mod backups;
mod sources;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};

use support::server::Server;

fn highwater(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_highwater")).args(args).output().expect("the binary runs")
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the port is open");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request can be sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the answer is text");
    text
}

#[test]
fn version_is_told() {
    let output = highwater(&["--version"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.trim(), format!("highwater {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_explains_every_option() {
    let output = highwater(&["serve", "--help"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for option in ["--data-dir", "--listen", "--http", "--shards", "--config", "HIGHWATER_"] {
        assert!(text.contains(option), "{option} is not in:\n{text}");
    }
    assert!(text.contains("127.0.0.1:4566"), "the default is told:\n{text}");
}

#[test]
fn a_wrong_option_ends_with_a_message() {
    for args in [
        &["serve", "--shards", "many"][..],
        &["serve", "--listen", "nowhere"],
        &["serve", "--no-such-option"],
        &["surve"],
    ] {
        let output = highwater(args);
        assert!(!output.status.success(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_port_in_use_ends_with_a_message() {
    let server = Server::start();
    let directory = server.scratch();
    let listen = server.postgres().to_string();
    let data = directory.to_string_lossy().into_owned();
    let output =
        highwater(&["serve", "--listen", &listen, "--http", "127.0.0.1:0", "--data-dir", &data]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&listen), "the address is told:\n{text}");
}

#[test]
fn health_and_metrics_are_served() {
    let server = Server::start();
    assert!(get(server.http(), "/livez").starts_with("HTTP/1.1 200"));
    assert!(get(server.http(), "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(server.http(), "/nothing").starts_with("HTTP/1.1 404"));
    let mut client = server.connect();
    client.run("CREATE STREAM s (ts TIMESTAMP, v BIGINT, WATERMARK FOR ts AS ts)");
    client.run("INSERT INTO s VALUES ('2024-05-01 10:00:00', 1), ('2024-05-01 09:00:00', 2)");
    let metrics = get(server.http(), "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("# TYPE highwater_"), "{metrics}");
}

#[test]
fn a_signal_ends_the_server_cleanly() {
    for signal in ["TERM", "INT"] {
        let server = Server::start();
        let mut client = server.connect();
        client.run("CREATE TABLE t (a BIGINT)");
        let mut feed = server.connect();
        feed.send("SUBSCRIBE t").unwrap_or_else(|e| panic!("{e}"));
        let status = server.end_by(signal);
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        match client.query("SELECT 1") {
            Ok(_) => panic!("the server is gone"),
            Err(failure) => assert!(["57P01", ""].contains(&failure.code()), "{failure}"),
        }
    }
}

#[test]
fn the_environment_sets_what_flags_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .arg("serve")
        .env("HIGHWATER_SHARDS", "many")
        .output()
        .expect("the binary runs");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("many"), "the wrong value is told:\n{text}");
}
