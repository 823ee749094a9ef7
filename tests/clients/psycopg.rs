//! psycopg 3; its checks are in `psycopg.py`.

use std::process::Command;

use crate::outside::{printed, with_command};
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
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/psycopg.py");
        for check in CHECKS {
            let output = Command::new(&python)
                .args([script, &server.postgres().port().to_string(), check])
                .output()
                .expect("python runs");
            assert_eq!(printed(&output).trim(), format!("{check}: ok"));
        }
    });
}
