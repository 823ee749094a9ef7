//! Compares random queries over random streams with an evaluator of the language's definitions.
//!
//! Each case makes its own streams and tables, a random view, and lets rows, heartbeats and
//! updates come in. After every commit the view must hold what the definition says; the query run
//! on its own must say the same; and the changes that SUBSCRIBE told must add up to it, at every
//! instant.
//!
//! # Running
//! `HIGHWATER_CASES` is the number of cases (2,000), `HIGHWATER_SEED` the seed of the first: 20,000
//! cases from a seed of their own are a long run. A failure prints the seed and the statements of
//! its case.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

mod aggregate;
mod assigned;
mod case;
mod change;
mod draw;
mod elements;
mod feed;
mod generate;
mod group;
mod meet;
mod oracle;
mod over;
mod pair;
mod query;
mod scalar;
mod source;
mod sql;
mod value;
mod world;
mod write;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use case::Case;
use change::{OBJECTS, change};
use generate::Generator;
use oracle::View;
use query::Times;
use sql::sql;
use support::random::Random;
use support::server::{Options, Server};
use world::{Stream, Versions, World};

/// Servers that take turns; results do not depend on any of this.
const CONFIGURATIONS: [Options; 4] = [
    Options { shards: 1, batch_rows: 1024, history_rows: 1 << 20 },
    Options { shards: 2, batch_rows: 1, history_rows: 2 },
    Options { shards: 8, batch_rows: 1024, history_rows: 1 << 20 },
    Options { shards: 4, batch_rows: 3, history_rows: 3 },
];

/// How many failures are told at most.
const FAILURES_TOLD: usize = 3;

/// After so many failures a server is given up.
const FAILURES_MAX: usize = 20;

#[test]
fn queries_hold_what_their_definition_says() {
    let cases = number("HIGHWATER_CASES").unwrap_or(2_000);
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
    let first = |failure: &String| failure.lines().next().unwrap_or_default().to_owned();
    let all: Vec<String> = failures.iter().map(first).collect();
    assert!(
        failures.is_empty(),
        "{} of {cases} cases failed:\n{}\n\n{}",
        failures.len(),
        all.join("\n"),
        told.join("\n\n")
    );
}

/// What queries are drawn of.
const WORDS: [&str; 83] = [
    " [NOW]",
    " [RANGE ",
    " SLIDE ",
    " INCLUSIVE]",
    " [ROWS ",
    " [PARTITION BY ",
    "TUMBLE(",
    "HOP(",
    "CUMULATE(",
    "SESSION(",
    " OFFSET ",
    " [CURRENT ",
    " JOIN ",
    " LEFT JOIN ",
    " RIGHT JOIN ",
    " FULL JOIN ",
    " NOT EXISTS (",
    " NOT IN (SELECT ",
    " UNION ",
    " UNION ALL ",
    " INTERSECT ",
    " INTERSECT ALL ",
    " EXCEPT ",
    " EXCEPT ALL ",
    "SELECT DISTINCT ON (",
    " ROLLUP (",
    " CUBE (",
    " GROUPING SETS (",
    "string_agg(",
    "array_agg(",
    "percentile_disc(",
    "bool_and(",
    "bool_or(",
    "var_samp(",
    "stddev_pop(",
    "grouping(",
    " ASOF JOIN ",
    " ASOF LEFT JOIN ",
    " FOR SYSTEM_TIME AS OF ",
    " AND b.ts BETWEEN a.ts",
    "unnest(ARRAY[",
    " WITH ORDINALITY",
    "generate_series(",
    " CROSS JOIN LATERAL (SELECT ",
    " LEFT JOIN LATERAL (SELECT ",
    " FROM RSTREAM (",
    " EMIT EVERY ",
    " p0 AS ",
    "row_number() OVER (",
    "rank() OVER (",
    "dense_rank() OVER (",
    "lag(",
    "lead(",
    "first_value(",
    " ROWS BETWEEN ",
    " RANGE BETWEEN ",
    "(PARTITION BY ",
    " AS c WHERE ",
    " now() - ",
    "ISTREAM (",
    "DSTREAM (",
    "RSTREAM (",
    ") EVERY ",
    " FROM ISTREAM (",
    " FROM DSTREAM (",
    " AS c)",
    "SELECT DISTINCT ",
    "(DISTINCT ",
    " FILTER (",
    " HAVING ",
    " GROUP BY ",
    " ORDER BY ",
    "WITH c AS",
    " EMIT ON WINDOW CLOSE",
    " EMIT FINAL",
    " EMIT AFTER WATERMARK",
    " EMIT CHANGES",
    " v0 ",
    " t0 ",
    "RANGE UNBOUNDED",
    " CASE ",
    " IN (",
    " FROM (SELECT",
];

/// The other test is worth what is drawn: every construct is, and so are results with rows in them.
#[test]
fn every_construct_is_drawn() {
    let mut missing: Vec<&str> = WORDS.to_vec();
    let mut with_rows = 0;
    for seed in 0..500 {
        let (text, rows) = draw(seed);
        missing.retain(|word| !text.contains(word));
        with_rows += usize::from(rows > 0);
    }
    assert!(missing.is_empty(), "never drawn: {missing:?}");
    assert!(with_rows > 240, "{with_rows} of 500 results have rows");
}

/// Draws a query and evaluates it over random input; returns its SQL and its number of rows.
fn draw(seed: u64) -> (String, usize) {
    let mut random = Random::new(seed);
    let times = *random.pick(&[Times::Ticks, Times::Seconds]);
    let mut world = World { unit: times.unit(), ..World::default() };
    if random.chance(35) {
        world.versions = Some(Versions::default());
    }
    for _ in 0..OBJECTS {
        world.streams.push(Stream { watermark: 0, ..Stream::new(2 * times.unit(), 0) });
        world.tables.push(BTreeMap::new());
    }
    let mut now = 5 * times.unit();
    let mut views = Vec::new();
    for _ in 0..2 {
        let mut generator = Generator::new(&mut random, times, &world, &views);
        let query = if views.is_empty() { generator.view() } else { generator.query() };
        views.push(View::new(query, &world, &views));
        for _ in 0..5 {
            let change = change(&mut random, &mut now, &world, &world.objects());
            world.apply(&change);
            for i in 0..views.len() {
                let (before, view) = views.split_at_mut(i);
                view[0].commit(&world, before);
            }
        }
    }
    let rows = views[1].content(&world, &views[..1]).len();
    (sql(&views[1].query, times), rows)
}

/// Runs cases on one server until there are none left.
fn work(options: Options, first: u64, cases: u64, next: &AtomicU64) -> Vec<String> {
    let server = Server::with(options);
    let mut failures = Vec::new();
    loop {
        let i = next.fetch_add(1, Ordering::Relaxed);
        if i >= cases || failures.len() >= FAILURES_MAX {
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
