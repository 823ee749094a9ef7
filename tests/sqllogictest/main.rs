//! Runs the SQL scripts of this folder over real connections.
//!
//! Every script runs on a server of its own, once per number of shards and batch size: the results
//! written in the scripts hold for all of them. `cargo test --test sqllogictest -- joins` runs the
//! scripts of one folder.
//!
//! # Beyond SQL
//! Columns are checked: `I` integers, `R` floats, `N` numeric, `T` text, `B` boolean, `P`
//! timestamp, `Z` timestamp with time zone, `D` date, `V` interval, `?` any type. An error reads
//! `SQLSTATE: message (detail: ..) (hint: ..) (position: ..)`. A COPY .. FROM STDIN takes the
//! lines below it as data. Some statements are for this program and not for the server; see
//! `session.rs`.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

mod session;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::Runner;

use session::{ColumnType, Session};
use support::server::{Options, Server};

/// So many rows of a stream that they never go to a file.
const MANY: usize = 1 << 20;

/// Every script runs under each of these.
const CONFIGURATIONS: [Options; 4] = [
    Options { shards: 1, batch_rows: 1, history_rows: 2 },
    Options { shards: 1, batch_rows: 1024, history_rows: MANY },
    Options { shards: 4, batch_rows: 1, history_rows: MANY },
    Options { shards: 4, batch_rows: 1024, history_rows: 2 },
];

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sqllogictest");
    let mut scripts = Vec::new();
    find_scripts(&root, &mut scripts);
    scripts.sort();
    assert!(!scripts.is_empty(), "there are scripts below {}", root.display());
    let mut trials = Vec::new();
    for script in scripts {
        for options in CONFIGURATIONS {
            let name = script.strip_prefix(&root).expect("it was found there").display();
            let name = format!("{name}::shards_{}::batch_{}", options.shards, options.batch_rows);
            let script = script.clone();
            trials.push(Trial::test(name, move || run(&script, options)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn find_scripts(folder: &Path, scripts: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries too").path();
        if path.is_dir() {
            find_scripts(&path, scripts);
        } else if path.extension().is_some_and(|e| e == "slt") {
            scripts.push(path);
        }
    }
}

/// Runs one script on a fresh server.
fn run(script: &Path, options: Options) -> Result<(), Failed> {
    let server = Arc::new(Server::with(options));
    let connections = Arc::clone(&server);
    let mut runner = Runner::new(move || {
        let session = Session::new(&connections);
        async move { Ok(session) }
    });
    runner.with_column_validator(|actual: &Vec<ColumnType>, expected: &Vec<ColumnType>| {
        let any = ColumnType('?');
        let fits = |(a, e): (&ColumnType, &ColumnType)| a == e || *a == any || *e == any;
        // What READ returns has no columns when it has no rows.
        actual.is_empty() || actual.len() == expected.len() && actual.iter().zip(expected).all(fits)
    });
    runner.set_var("SCRATCH".to_owned(), server.scratch().display().to_string());
    runner.run_file(script).map_err(|e| Failed::from(format!("{e}\n{}", server.stderr())))
}
