//! Runs the language's vectors through SQL over the wire.
//!
//! `cql_vectors.json` holds small inputs with outputs that were derived by hand from the
//! definitions of the language; `plan.rs` says how each of them is checked. Every check runs with
//! 1, 2 and 8 shards, under several batchings, and, where time is event time, in several orders
//! of arrival.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

mod drive;
mod notation;
mod plan;
mod steps;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};

use notation::Vector;
use plan::{Check, How};
use support::server::{Options, Server};
use world::TimeType;

/// Each of these runs every check; instants are written both ways.
const CONFIGURATIONS: [(Options, TimeType); 3] = [
    (Options { shards: 1, batch_rows: 1, history_rows: 100 }, TimeType::BigInt),
    (Options { shards: 2, batch_rows: 3, history_rows: 2 }, TimeType::Timestamp),
    (Options { shards: 8, batch_rows: 1024, history_rows: 3 }, TimeType::BigInt),
];

/// One server per configuration, started when it is needed.
type Servers = Arc<[OnceLock<Server>; CONFIGURATIONS.len()]>;

fn main() {
    let arguments = Arguments::from_args();
    let vectors = vectors();
    let servers = Servers::default();
    let mut trials = vec![Trial::test("every_output_is_planned", {
        let vectors = vectors.clone();
        move || quietly(|| every_output_is_planned(&vectors))
    })];
    for check in plan::checks() {
        let name = format!("{}::{}", check.id, check.output);
        if let How::Not(reason) = check.how {
            let trial = Trial::test(format!("{name} ({reason})"), || Ok(()));
            trials.push(trial.with_ignored_flag(true));
            continue;
        }
        let vector = vectors.iter().find(|v| v.id == check.id).expect("it is planned").clone();
        for (i, (options, _)) in CONFIGURATIONS.iter().enumerate() {
            let (servers, vector) = (Arc::clone(&servers), vector.clone());
            let name = format!("{name}::shards_{}", options.shards);
            trials.push(Trial::test(name, move || run(&servers, i, &vector, &check)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Exiting runs no destructors, and the servers would stay.
    drop(Arc::into_inner(servers));
    conclusion.exit();
}

/// Reads the file; "as C3" stands for the inputs of C3.
fn vectors() -> Vec<Vector> {
    let mut vectors = notation::vectors(include_str!("cql_vectors.json"));
    let all = vectors.clone();
    for vector in &mut vectors {
        if let Some(other) = vector.inputs.strip_prefix("as ") {
            let other = all.iter().find(|v| v.id == other).expect("it names a vector");
            vector.inputs.clone_from(&other.inputs);
        }
    }
    vectors
}

/// Nothing is left out silently: the plan names every output of the file, once, and no other.
fn every_output_is_planned(vectors: &[Vector]) {
    let outputs = vectors.iter().flat_map(|v| v.expect.keys().map(|o| (v.id.clone(), o.clone())));
    let outputs: BTreeSet<(String, String)> = outputs.collect();
    let checks = plan::checks();
    let planned: BTreeSet<(String, String)> =
        checks.iter().map(|c| (c.id.to_owned(), c.output.to_owned())).collect();
    assert_eq!(planned, outputs);
    assert_eq!(planned.len(), checks.len(), "an output is planned once");
}

fn run(servers: &Servers, i: usize, vector: &Vector, check: &Check) -> Result<(), Failed> {
    let (options, time) = CONFIGURATIONS[i];
    let server = servers[i].get_or_init(|| Server::with(options));
    quietly(|| drive::run(server, time, vector, check)).map_err(|e| {
        format!("{}\nin: {}\n{}", e.message().unwrap_or("?"), check.sql, server.stderr()).into()
    })
}

/// Turns a panic into a failure, so that the message stays with its test.
fn quietly(test: impl FnOnce()) -> Result<(), Failed> {
    catch_unwind(AssertUnwindSafe(test)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
        Failed::from(text.unwrap_or_else(|| "a panic without a message".to_owned()))
    })
}
