//! Python's drivers; their checks are in `psycopg_checks.py` and `asyncpg_checks.py`.

use std::fmt::Write as _;
use std::process::Command;

use crate::outside::with_command;
use crate::support::server::Server;

/// The checks of psycopg 3; they run one at a time.
const PSYCOPG: [&str; 14] = [
    "connect",
    "parameters",
    "types",
    "binary",
    "prepared",
    "server_cursor",
    "subscribe_cursor",
    "subscribe_stream",
    "copy_out",
    "copy_in",
    "transaction",
    "pipeline",
    "cancel",
    "errors",
];

/// The checks of asyncpg.
const ASYNCPG: [&str; 5] = ["types", "uuids", "arrays", "transactions", "cursors"];

/// Runs the checks of a driver, if Python has it.
fn works(driver: &str, checks: &[&str]) {
    let python = std::env::var("HIGHWATER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut probe = Command::new(&python);
    with_command(probe.args(["-c", &format!("import {driver}")]), driver, || {
        let server = Server::start();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
        let script = format!("{folder}/{driver}_checks.py");
        let mut failures = String::new();
        for check in checks {
            // No check takes a minute, unless the server keeps silent.
            let output = Command::new("timeout")
                .args(["60", &python, &script, &server.postgres().port().to_string(), check])
                .output()
                .expect("python runs");
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let _ = writeln!(failures, "{check}: {said}\n");
            }
        }
        assert!(failures.is_empty(), "{failures}");
    });
}

#[test]
fn psycopg_works() {
    works("psycopg", &PSYCOPG);
}

#[test]
fn asyncpg_works() {
    works("asyncpg", &ASYNCPG);
}
