//! Compares random queries over random streams with an evaluator of the language's definitions.
//!
//! Each case makes its own streams and tables, a random view, and lets rows, heartbeats and updates come
//! in. After every commit the view must hold what the definition says; the query run on its own must say
//! the same; and the changes that SUBSCRIBE told must add up to it, at every instant.
//!
//! # Running
//! `HIGHWATER_CASES` is the number of cases (300), `HIGHWATER_SEED` the seed of the first. A failure prints
//! the seed and the statements of its case.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

mod case;
mod generate;
mod oracle;
mod query;
mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use case::Case;
use support::random::Random;
use support::server::{Options, Server};

/// Servers that take turns; results do not depend on any of this.
const CONFIGURATIONS: [Options; 4] = [
    Options { shards: 1, batch_rows: 1024 },
    Options { shards: 2, batch_rows: 1 },
    Options { shards: 8, batch_rows: 1024 },
    Options { shards: 4, batch_rows: 3 },
];

/// How many failures are told at most.
const FAILURES_TOLD: usize = 3;

#[test]
fn queries_hold_what_their_definition_says() {
    let cases = number("HIGHWATER_CASES").unwrap_or(300);
    let first = number("HIGHWATER_SEED").unwrap_or(1);
    let next = &AtomicU64::new(0);
    let failures: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = CONFIGURATIONS
            .map(|options| scope.spawn(move || work(options, first, cases, next)))
            .into_iter()
            .collect();
        workers.into_iter().flat_map(|w| w.join().expect("failures are values")).collect()
    });
    let told: Vec<&str> = failures.iter().take(FAILURES_TOLD).map(String::as_str).collect();
    assert!(
        failures.is_empty(),
        "{} of {cases} cases failed:\n\n{}",
        failures.len(),
        told.join("\n\n")
    );
}

/// Runs cases on one server until there are none left.
fn work(options: Options, first: u64, cases: u64, next: &AtomicU64) -> Vec<String> {
    let server = Server::with(options);
    let mut failures = Vec::new();
    loop {
        let i = next.fetch_add(1, Ordering::Relaxed);
        if i >= cases || failures.len() >= FAILURES_TOLD {
            return failures;
        }
        let seed = first + i;
        let mut case = Case::new(&server, Random::new(seed).bits());
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case.run())) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            failures.push(format!(
                "HIGHWATER_SEED={seed} HIGHWATER_CASES=1 ({options:?}): {text}\n{};\n{}",
                case.script.join(";\n"),
                server.stderr()
            ));
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
