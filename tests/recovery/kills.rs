//! Kills at random moments, between and within statements.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::client::{Client, Event};
use crate::support::random::Random;
use crate::support::server::{Options, Server};

/// How many times the process is killed.
const KILLS: usize = 40;

/// What is known to be in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    /// Ids in the stream that are acknowledged.
    events: BTreeSet<u64>,
    /// The table by key.
    accounts: BTreeMap<u64, i64>,
}

/// A statement and what it makes of the model.
struct Step {
    sql: String,
    after: Model,
}

fn step(random: &mut Random, model: &Model, next: &mut u64) -> Step {
    let mut after = model.clone();
    let mut fresh = |after: &mut Model| {
        *next += 1;
        after.events.insert(*next);
        // Every tenth second; some of them an hour late.
        let at = (*next * 10) as i64 - if *next % 7 == 3 { 3_600 } else { 0 };
        format!(
            "({next}, {}, TIMESTAMP '2026-01-01 12:00:00' + INTERVAL '{at} seconds')",
            *next % 5
        )
    };
    let sql = match random.below(6) {
        0 | 1 => format!("INSERT INTO events VALUES {}", fresh(&mut after)),
        2 => {
            let rows: Vec<String> = (0..50).map(|_| fresh(&mut after)).collect();
            format!("INSERT INTO events VALUES {}", rows.join(", "))
        }
        3 => {
            let key = random.below(20) as u64;
            *after.accounts.entry(key).or_default() += 1;
            format!(
                "INSERT INTO accounts VALUES ({key}, 1) \
                 ON CONFLICT (id) DO UPDATE SET balance = accounts.balance + 1"
            )
        }
        4 => {
            let key = random.below(20) as u64;
            after.accounts.remove(&key);
            format!("DELETE FROM accounts WHERE id = {key}")
        }
        _ => {
            let key = random.below(20) as u64;
            let row = fresh(&mut after);
            after.accounts.insert(key, 100);
            format!(
                "BEGIN; INSERT INTO events VALUES {row}; DELETE FROM accounts WHERE id = {key}; \
                 INSERT INTO accounts VALUES ({key}, 100); COMMIT"
            )
        }
    };
    Step { sql, after }
}

/// What the server has.
fn found(client: &mut Client) -> Model {
    let number = |value: &Option<String>| value.as_ref().expect("not null").parse::<i64>();
    let events = client.run("SELECT id FROM events UNION ALL SELECT id FROM events_late");
    let ids: Vec<i64> = events.rows.iter().map(|row| number(&row[0]).expect("an id")).collect();
    let events: BTreeSet<u64> = ids.iter().map(|id| *id as u64).collect();
    assert_eq!(events.len(), ids.len(), "no row is there twice");
    let accounts = client.run("SELECT id, balance FROM accounts");
    let account = |row: &Vec<Option<String>>| {
        let (id, balance) = (number(&row[0]).expect("an id"), number(&row[1]).expect("a balance"));
        (id as u64, balance)
    };
    Model { events, accounts: accounts.rows.iter().map(account).collect() }
}

/// Views, sinks and their definitions agree.
fn check(client: &mut Client) {
    for (name, query) in [
        ("per_key", "SELECT k, count(*), sum(id) FROM events GROUP BY k"),
        (
            "per_hour",
            "SELECT window_start, count(*) FROM TUMBLE(events, at, INTERVAL '1 hour') \
             GROUP BY window_start",
        ),
        ("rich", "SELECT id, balance FROM accounts WHERE balance > 1"),
        ("joined", "SELECT e.id, a.balance FROM events e JOIN accounts a ON a.id = e.k"),
        ("copied", "SELECT k, count(*) FROM events GROUP BY k"),
        ("late_again", "SELECT id FROM events_late"),
    ] {
        let mut rows = |sql: &str| {
            let mut lines = client.run(sql).lines();
            lines.sort();
            lines
        };
        assert_eq!(rows(&format!("SELECT * FROM {name}")), rows(query), "{name}");
    }
    let ticks = client.run("SELECT count(*), count(DISTINCT id) FROM generated").lines();
    let [all, distinct] = ticks[0].split('|').collect::<Vec<_>>()[..] else { panic!("{ticks:?}") };
    assert_eq!(all, distinct, "no generated row is there twice");
}

const OBJECTS: [&str; 10] = [
    "CREATE STREAM events (id BIGINT, k BIGINT, at TIMESTAMP, \
     WATERMARK FOR at AS at - INTERVAL '5 minutes', LATE INTO events_late)",
    "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT)",
    "CREATE VIEW per_key AS SELECT k, count(*) AS c, sum(id) AS s FROM events GROUP BY k",
    "CREATE VIEW per_hour AS SELECT window_start, count(*) AS c \
     FROM TUMBLE(events, at, INTERVAL '1 hour') GROUP BY window_start",
    "CREATE MATERIALIZED VIEW rich AS SELECT id, balance FROM accounts WHERE balance > 1",
    "CREATE VIEW joined AS SELECT e.id, a.balance FROM events e JOIN accounts a ON a.id = e.k",
    "CREATE TABLE copied (k BIGINT PRIMARY KEY, c BIGINT)",
    "CREATE SINK copying INTO copied AS SELECT k, count(*) AS c FROM events GROUP BY k",
    "CREATE STREAM late_again (id BIGINT)",
    "CREATE SINK again INTO late_again AS SELECT id FROM events_late",
];

#[test]
fn nothing_is_lost_or_doubled_by_kills() {
    let seed = std::env::var("HIGHWATER_SEED").ok().and_then(|seed| seed.parse().ok());
    let kills = std::env::var("HIGHWATER_KILLS").ok().and_then(|kills| kills.parse().ok());
    let mut random = Random::new(seed.unwrap_or(1));
    let mut server = Server::with(Options { shards: 2, history_rows: 50, ..Options::default() });
    let mut client = server.connect();
    OBJECTS.iter().for_each(|sql| {
        client.run(sql);
    });
    client.run(
        "CREATE STREAM generated (id BIGINT) \
         WITH (connector = 'datagen', rate = '2000')",
    );
    let (mut model, mut next) = (Model::default(), 0);
    for kill in 0..kills.unwrap_or(KILLS) {
        for _ in 0..random.below(12) {
            let Step { sql, after } = step(&mut random, &model, &mut next);
            client.run(&sql);
            model = after;
        }
        let mut other = server.connect();
        match random.below(4) {
            0 => {
                other.run("CHECKPOINT");
            }
            1 | 2 => other.send("CHECKPOINT").expect("the statement is sent"),
            _ => {}
        }
        // The last statement is on its way when the process is killed; sometimes it has been
        // answered.
        let Step { sql, after } = step(&mut random, &model, &mut next);
        client.send(&sql).expect("the statement is sent");
        let mut acknowledged = false;
        if random.below(2) == 0 {
            acknowledged = loop {
                match client.next().expect("the server answers") {
                    Event::Ready(_) => break true,
                    Event::Failed(said) => panic!("{sql}: {said}"),
                    _ => {}
                }
            };
        }
        server = server.crash();
        client = server.connect();
        let there = found(&mut client);
        if acknowledged {
            assert_eq!(there, after, "kill {kill}, after {sql}");
        } else {
            assert!(there == model || there == after, "kill {kill}, in {sql}: {there:?}");
        }
        model = there;
        check(&mut client);
    }
}
