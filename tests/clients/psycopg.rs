//! psycopg 3; its checks are in `psycopg_checks.py`.

use std::fmt::Write as _;
use std::process::Command;

use crate::outside::with_command;
use crate::support::server::Server;

/// The checks of the script; it runs one at a time.
const CHECKS: [&str; 14] = [
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

#[test]
fn psycopg_works() {
    let python = std::env::var("HIGHWATER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut probe = Command::new(&python);
    with_command(probe.args(["-c", "import psycopg"]), "psycopg 3", || {
        let server = Server::start();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/psycopg_checks.py");
        let mut failures = String::new();
        for check in CHECKS {
            // No check takes a minute, unless the server keeps silent.
            let output = Command::new("timeout")
                .args(["60", &python, script, &server.postgres().port().to_string(), check])
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
