//! Kills at random moments, between and within statements.
//!
//! Everything goes through the server meanwhile: clients, a file that is followed, made-up rows,
//! views, sinks inside and outside, subscriptions.
//!
//! `HIGHWATER_KILLS` is how often it is killed (40), `HIGHWATER_SEED` the seed (1). After every
//! `LIFE_KILLS` kills there is a new directory, and the next seed: a failure says which one to take.

mod follower;
mod model;
mod outside;

use std::collections::BTreeSet;
use std::time::Duration;

use self::follower::Follower;
use self::model::{Model, Step};
use self::outside::Source;
use crate::support::client::{Client, Event};
use crate::support::postgres::Postgres;
use crate::support::random::Random;
use crate::support::server::{Options, Server};

/// How many times the process is killed.
const KILLS: u64 = 40;

/// Kills on one data directory.
const LIFE_KILLS: u64 = 40;

/// Kills after which what stands outside, and what subscribers have seen, is compared.
const CHECK_KILLS: u64 = 4;

const OBJECTS: [&str; 11] = [
    "CREATE STREAM events (id BIGINT, k BIGINT, at TIMESTAMP, \
     WATERMARK FOR at AS at - INTERVAL '5 minutes', LATE INTO events_late)",
    "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT)",
    "CREATE MATERIALIZED VIEW per_key WITH (retain = '1 day') AS \
     SELECT k, count(*) AS c, sum(id) AS s FROM events GROUP BY k",
    "CREATE VIEW per_hour AS SELECT window_start, count(*) AS c \
     FROM TUMBLE(events, at, INTERVAL '1 hour') GROUP BY window_start",
    "CREATE MATERIALIZED VIEW rich WITH (retain = '1 day') AS \
     SELECT id, balance FROM accounts WHERE balance > 1",
    "CREATE VIEW joined AS SELECT e.id, a.balance FROM events e JOIN accounts a ON a.id = e.k",
    "CREATE TABLE copied (k BIGINT PRIMARY KEY, c BIGINT)",
    "CREATE SINK copying INTO copied AS SELECT k, count(*) AS c FROM events GROUP BY k",
    "CREATE STREAM late_again (id BIGINT)",
    "CREATE SINK again INTO late_again AS SELECT id FROM events_late",
    "CREATE STREAM generated (id BIGINT) WITH (connector = 'datagen', rate = '500')",
];

/// What is read of everything that clients' rows lead to; `content` knows what it is.
const CONTENTS: [(&str, &str); 8] = [
    ("events", "SELECT id, k FROM events"),
    ("per_key", "SELECT * FROM per_key"),
    ("per_hour", "SELECT * FROM per_hour"),
    ("accounts", "SELECT * FROM accounts"),
    ("rich", "SELECT * FROM rich"),
    ("joined", "SELECT * FROM joined"),
    ("copied", "SELECT * FROM copied"),
    ("late_again", "SELECT * FROM late_again"),
];

#[test]
fn nothing_is_lost_or_doubled_by_kills() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (kills, seed): (u64, u64) =
        (number("HIGHWATER_KILLS").unwrap_or(KILLS), number("HIGHWATER_SEED").unwrap_or(1));
    let postgres = Postgres::start();
    for (life, first) in (0..kills).step_by(LIFE_KILLS as usize).enumerate() {
        let seed = seed + life as u64;
        let mut life = Life::begin(seed, postgres.as_ref());
        (first..kills.min(first + LIFE_KILLS)).for_each(|_| life.round());
        life.end();
    }
}

/// A server on one data directory, over its kills.
struct Life<'a> {
    /// For messages: the seed, and the number of the kill.
    what: (u64, u64),
    random: Random,
    server: Option<Server>,
    postgres: Option<&'a Postgres>,
    model: Model,
    /// The last id that was given.
    next: u64,
    source: Source,
    followers: [Follower; 3],
}

impl<'a> Life<'a> {
    #[expect(clippy::print_stderr, reason = "a failing test shows its seed")]
    fn begin(seed: u64, postgres: Option<&'a Postgres>) -> Self {
        eprintln!("HIGHWATER_SEED={seed}");
        let server = Server::with(Options { shards: 2, history_rows: 50, ..Options::default() });
        let mut client = server.connect();
        OBJECTS.iter().for_each(|sql| {
            client.run(sql);
        });
        let source = Source::create(&mut client, &server.scratch());
        outside::create(&mut client, &server.scratch(), postgres);
        let mut followers = [
            Follower::new("per_key", true),
            Follower::new("rich", false),
            Follower::new("(SELECT id, k FROM events)", true).since("TIMESTAMPTZ '2000-01-01'"),
        ];
        followers.iter_mut().for_each(|follower| follower.resume(&server));
        let (what, random) = ((seed, 0), Random::new(seed));
        let (server, model) = (Some(server), Model::default());
        Self { what, random, server, postgres, model, next: 0, source, followers }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("a server runs between rounds")
    }

    fn what(&self) -> String {
        format!("HIGHWATER_SEED={} HIGHWATER_KILLS={}", self.what.0, self.what.1)
    }

    fn step(&mut self) -> Step {
        Step::draw(&mut self.random, &self.model, &mut self.next)
    }

    /// Statements, a kill, and a look at everything.
    fn round(&mut self) {
        self.what.1 += 1;
        let mut client = self.server().connect();
        for _ in 0..self.random.below(12) {
            let Step { sql, after } = self.step();
            client.run(&sql);
            self.model = after;
        }
        self.source.grow(self.random.below(300) as u64);
        self.source.check(&mut client, &self.what());
        self.disturb();
        let (killed, after) = self.kill(client);
        let mut client = self.server().connect();
        let there = found(&mut client);
        let before = &self.model;
        assert!(
            there == after || (!killed.acknowledged && there == *before),
            "{}, {killed:?}: {there:?}\nwas {before:?}",
            self.what()
        );
        self.model = there;
        self.check(&mut client);
    }

    /// A checkpoint, on its way or done, now and then.
    fn disturb(&mut self) {
        let mut other = self.server().connect();
        match self.random.below(4) {
            0 => {
                other.run("CHECKPOINT");
            }
            1 | 2 => other.send("CHECKPOINT").expect("the statement is sent"),
            _ => {}
        }
    }

    /// Kills the server while a statement is on its way, or when that has been answered; returns
    /// the model with it.
    fn kill(&mut self, mut client: Client) -> (Killed, Model) {
        let Step { sql, after } = self.step();
        client.send(&sql).expect("the statement is sent");
        let mut acknowledged = false;
        if self.random.chance(50) {
            acknowledged = loop {
                match client.next().expect("the server answers") {
                    Event::Ready(_) => break true,
                    Event::Failed(said) => panic!("{}, {sql}: {said}", self.what()),
                    _ => {}
                }
            };
        }
        pause(&mut self.random);
        let server = self.server.take().expect("a server runs between rounds");
        let followers = &mut self.followers;
        let server = server.crash_and(|| followers.iter_mut().for_each(Follower::cut));
        followers.iter_mut().for_each(|follower| follower.resume(&server));
        self.server = Some(server);
        (Killed { sql, acknowledged }, after)
    }

    /// Compares everything with what is to be there.
    fn check(&mut self, client: &mut Client) {
        let what = self.what();
        for (name, sql) in CONTENTS {
            let mut rows = client.run(sql).lines();
            rows.sort();
            assert_eq!(rows, self.model.content(name), "{what}: {name}");
        }
        let sql =
            "SELECT count(*) - count(DISTINCT id), count(*) - max(id) + min(id) FROM generated";
        let made = client.run(sql).lines();
        assert!(made == ["0|1"] || made == ["0|NULL"], "{what}: generated rows: {made:?}");
        self.source.check(client, &what);
        if self.what.1.is_multiple_of(CHECK_KILLS) {
            self.check_outside(client);
        }
    }

    fn check_outside(&mut self, client: &mut Client) {
        let what = self.what();
        client.run("FLUSH");
        outside::check(&self.model, &self.server().scratch(), self.postgres, &what);
        let [per_key, rich, events] = &mut self.followers;
        per_key.reach(&self.model.content("per_key"), &what);
        rich.reach(&self.model.content("rich"), &what);
        events.reach(&self.model.content("events"), &what);
    }

    fn end(&mut self) {
        let (mut client, what) = (self.server().connect(), self.what());
        self.source.reach(&mut client, &what);
        self.check(&mut client);
        self.check_outside(&mut client);
        let stopped = client.run("SELECT name FROM hw.sinks WHERE state <> 'running'");
        assert!(stopped.rows.is_empty(), "{what}: {:?}", stopped.lines());
    }
}

/// The statement in which the server was killed.
#[derive(Debug)]
struct Killed {
    #[expect(dead_code, reason = "it is shown")]
    sql: String,
    acknowledged: bool,
}

/// Lets the server come to some other place, such as a sink that writes what it has been told.
#[expect(clippy::disallowed_methods, reason = "a kill at a moment that nothing else decides")]
fn pause(random: &mut Random) {
    let micros = random.below(3) * random.below(10_000);
    std::thread::sleep(Duration::from_micros(micros as u64));
}

/// What the server has of clients' rows.
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
