//! One case: random objects, a random query, random input, and the comparison after each commit.

use std::collections::BTreeMap;
use std::time::Duration;

use super::change::{Change, OBJECTS, change};
use super::feed::Feed;
use super::generate::Generator;
use super::oracle::{Moment, View, evaluate, last_closed};
use super::query::{Query, Source, Times};
use super::source::Objects;
use super::sql::sql;
use super::value::{Bag, Type, Value, bag, typed};
use super::world::{Stream, Versions, World};
use super::write::{lines, statement};
use crate::support::client::{Answer, Client};
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::subscription::Subscription;

/// Far beyond all times of a case, in units.
const END: i64 = 400;

/// How long changes are waited for that are known to have happened.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many instants of a stream that is made are looked at.
const INSTANTS: usize = 20;

/// A case under way.
pub struct Case<'a> {
    server: &'a Server,
    client: Client,
    schema: String,
    /// Every statement that was run, for the report of a failure.
    pub script: Vec<String>,
    times: Times,
    random: Random,
    world: World,
    views: Vec<View>,
    /// What the view is after each commit, with its last closed instant if it is in event time.
    expected: Vec<(Option<i64>, Bag)>,
}

impl<'a> Case<'a> {
    /// Makes the objects of the case of a seed.
    pub fn new(server: &'a Server, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let times = *random.pick(&[Times::Ticks, Times::Seconds]);
        let client = server.connect();
        let schema = format!("case_{seed:016x}");
        let world = World { unit: times.unit(), ..World::default() };
        let (script, views, expected) = (Vec::new(), Vec::new(), Vec::new());
        Self { server, client, schema, script, times, random, world, views, expected }
    }

    /// Runs it; panics where server and definition differ.
    pub fn run(&mut self) {
        self.create();
        let mut now = 5 * self.times.unit();
        if self.random.chance(35) {
            let all = self.world.objects();
            (0..2).for_each(|_| self.change(&mut now, &all));
        }
        if self.random.chance(40) {
            let view = self.generator().view();
            self.create_view("v0", view);
        }
        let query = self.generator().query();
        let objects = Objects::of(&query, &self.views);
        self.create_view("v", query);
        let feed = self.subscribe();
        let changes = self.random.between(3, 7);
        let once = self.random.between(1, changes);
        for i in 1..=changes {
            self.change(&mut now, &objects);
            if i == once {
                self.compare();
                self.compare_once();
            }
        }
        for input in objects.inputs() {
            self.apply(&Change::Heartbeat(input, END * self.times.unit()));
        }
        self.compare();
        self.follow(feed);
        if self.random.chance(25) {
            self.compare_refused();
        }
        self.execute(&format!("DROP SCHEMA {} CASCADE", self.schema));
    }

    fn generator(&mut self) -> Generator<'_> {
        Generator::new(&mut self.random, self.times, &self.world, &self.views)
    }

    fn create(&mut self) {
        let mut statements = vec![
            format!("CREATE SCHEMA {}", self.schema),
            format!("SET search_path = {}", self.schema),
        ];
        let corrected = self.random.chance(15);
        for i in 0..OBJECTS {
            let lateness = if corrected { self.random.between(0, 3) } else { 0 };
            let [delay, lateness] =
                [self.random.between(0, 4), lateness].map(|n| n * self.times.unit());
            let stream = Stream::new(delay, lateness);
            statements.push(self.stream(i, &stream));
            statements.push(format!("CREATE TABLE t{i} (id BIGINT PRIMARY KEY, k TEXT, v BIGINT)"));
            self.world.streams.push(stream);
            self.world.tables.push(BTreeMap::new());
        }
        if self.random.chance(35) {
            let delay = self.random.between(0, 2) * self.times.unit();
            statements.push(format!(
                "CREATE TABLE p0 (id BIGINT PRIMARY KEY, k TEXT, v BIGINT, since {}, \
                 VERSIONED BY since WATERMARK AS {})",
                self.times.type_name(),
                self.times.after("since", -delay)
            ));
            self.world.versions = Some(Versions::new(delay));
        }
        for input in self.world.objects().inputs() {
            let heartbeat = Change::Heartbeat(input, 0);
            statements.push(statement(&heartbeat, self.times));
            self.world.apply(&heartbeat);
        }
        self.execute(&statements.join(";\n"));
    }

    /// The statement that creates a stream.
    fn stream(&mut self, i: usize, stream: &Stream) -> String {
        let mut options = format!("WATERMARK FOR ts AS {}", self.times.after("ts", -stream.delay));
        if stream.lateness > 0 {
            let update = if self.random.chance(50) { ", LATE UPDATE" } else { "" };
            let lateness = self.times.distance(stream.lateness);
            options.push_str(&format!(", ALLOWED LATENESS {lateness}{update}"));
        }
        let time = self.times.type_name();
        format!(
            "CREATE STREAM s{i} (ts {time}, k TEXT, v BIGINT, w BIGINT, {options}, LATE INTO l{i})"
        )
    }

    fn create_view(&mut self, name: &str, query: Query) {
        self.execute(&format!("CREATE VIEW {name} AS {}", sql(&query, self.times)));
        self.views.push(View::new(query, &self.world, &self.views));
    }

    fn subscribe(&mut self) -> Feed {
        let follow = format!("SUBSCRIBE {}.v WITH (SNAPSHOT = true, PROGRESS = true)", self.schema);
        self.script.push(follow.clone());
        let mut reader = self.server.connect();
        let feed =
            reader.set_patience(PATIENCE).and_then(|()| Subscription::start(reader, &follow));
        let feed = feed.unwrap_or_else(|e| panic!("{e}"));
        self.expect();
        let query = &self.view().0.query;
        Feed::new(feed, query.types(), matches!(query, Query::ToStream(..)))
    }

    fn change(&mut self, now: &mut i64, objects: &Objects) {
        let change = change(&mut self.random, now, &self.world, objects);
        self.apply(&change);
    }

    /// Lets a change happen, here and there.
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Rows(i, rows) if self.random.chance(80) => {
                let (copy, data) = (format!("COPY s{i} FROM STDIN"), lines(rows, self.times));
                self.script.push(format!("{copy};\n{data}\\."));
                self.client.copy_in(&copy, data.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
            }
            _ => {
                let statement = statement(change, self.times);
                self.execute(&statement);
            }
        }
        self.world.apply(change);
        for i in 0..self.views.len() {
            let (before, view) = self.views.split_at_mut(i);
            view[0].commit(&self.world, before);
        }
        if !self.expected.is_empty() {
            self.expect();
        }
    }

    /// The view that is looked at, and those before it.
    fn view(&self) -> (&View, &[View]) {
        let (view, others) = self.views.split_last().expect("it is created first");
        (view, others)
    }

    /// Whether rows come late to what the view reads.
    fn corrected(&self) -> bool {
        let (view, others) = self.view();
        let streams = Objects::of(&view.query, others).streams;
        streams.iter().any(|i| self.world.streams[*i].lateness > 0)
    }

    /// Takes note of what the view is now.
    fn expect(&mut self) {
        let (view, others) = self.view();
        let content = view.content(&self.world, others);
        // What late rows correct is told by commits.
        let closes = matches!(view.query, Query::OnClose(..)) && !self.corrected();
        let in_time = view.query.event_clock() || closes;
        let instant = in_time.then(|| last_closed(&view.query, &self.world, others));
        self.expected.push((instant, content));
    }

    /// The view's content is that of the definition.
    fn compare(&mut self) {
        let types = self.view().0.query.types().to_vec();
        let seen = self.select("SELECT * FROM v", &types);
        let expected = &self.expected.last().expect("it is followed").1;
        assert_eq!(seen, *expected, "the view (left) and its definition (right)");
    }

    /// The query's own answer is that of the definition, if it has one.
    fn compare_once(&mut self) {
        let (view, views) = self.view();
        let (query, world) = (&view.query, &self.world);
        if query.emits() {
            return;
        }
        let instant = query.event_clock().then(|| last_closed(query, world, views));
        let expected = evaluate(query, Moment { world, views, instant });
        let (text, types) = (sql(query, self.times), query.types().to_vec());
        let seen = self.select(&text, &types);
        assert_eq!(seen, expected, "the query alone (left) and its definition (right)");
    }

    /// The changes add up to the content after each commit, and in event time to that of every
    /// instant.
    fn follow(&self, feed: Feed) {
        let (view, views) = self.view();
        let query = &view.query;
        if query.event_clock() && self.corrected() {
            // An instant is told more than once.
            return;
        }
        if self.expected[0].0.is_none() {
            let mut expected = vec![Bag::new()];
            expected.extend(self.expected.iter().map(|(_, content)| content.clone()));
            expected.dedup();
            return feed.commits(&expected[1..]);
        }
        let instants = feed.instants(END * self.times.unit());
        for (at, expected) in &self.expected {
            let at = at.expect("it is in event time");
            let seen = instants.iter().rev().find(|(instant, _)| *instant <= at);
            let seen = seen.map(|(_, content)| content.clone()).unwrap_or_default();
            assert_eq!(seen, *expected, "the changes up to {at} (left) and the view (right)");
        }
        let (mut relations, mut made) = (false, matches!(query, Query::ToStream(..)));
        query.sources(&mut |s| made |= matches!(s, Source::Elements(..)));
        query.sources(&mut |s| relations |= matches!(s, Source::Table(_) | Source::View(_)));
        if relations || !query.event_clock() {
            return;
        }
        // Streams are made again for every instant: a few will do.
        let step = if made { 1 + instants.len() / INSTANTS } else { 1 };
        for (at, seen) in instants.iter().skip(1).step_by(step) {
            let expected =
                evaluate(query, Moment { world: &self.world, views, instant: Some(*at) });
            assert_eq!(*seen, expected, "the changes up to {at} (left) and R({at}) (right)");
        }
    }

    /// The server counts late rows as the definition does, and keeps what it refused.
    fn compare_refused(&mut self) {
        let sql = format!(
            "SELECT name, rows, late_taken, late, null_time FROM hw.streams \
             WHERE schema_name = '{}' AND name LIKE 's%' ORDER BY name",
            self.schema
        );
        let counts = |(i, s): (usize, &Stream)| {
            let timeless = s.refused.iter().filter(|(_, row)| row[0] == Value::Null).count();
            let late = s.refused.len() - timeless;
            format!("s{i}|{}|{}|{late}|{timeless}", s.rows.len(), s.late_taken)
        };
        let expected: Vec<String> = self.world.streams.iter().enumerate().map(counts).collect();
        assert_eq!(self.execute(&sql).lines(), expected);
        let types = [Type::Time, Type::Text, Type::Int, Type::Int, Type::Time, Type::Text];
        for i in 0..OBJECTS {
            let sql = format!("SELECT ts, k, v, w, late_watermark, reason FROM l{i}");
            let seen = self.select(&sql, &types);
            let expected = self.world.streams[i].refused.iter().map(|(watermark, row)| {
                let reason = if row[0] == Value::Null { "null event time" } else { "late" };
                let why = vec![Value::Int(*watermark), Value::Text(reason.to_owned())];
                [row.clone(), why].concat()
            });
            assert_eq!(seen, bag(expected), "what s{i} refused (left) and should have (right)");
        }
    }

    fn select(&mut self, sql: &str, types: &[Type]) -> Bag {
        let rows = self.execute(sql).rows;
        bag(rows.iter().map(|row| typed(row, types)))
    }

    fn execute(&mut self, sql: &str) -> Answer {
        self.script.push(sql.to_owned());
        self.client.query(sql).unwrap_or_else(|e| panic!("{e}"))
    }
}
