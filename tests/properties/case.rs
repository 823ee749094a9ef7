//! One case: random objects, a random query, random input, and the comparison after each commit.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, OBJECTS, change};
use super::generate::Generator;
use super::oracle::{Stream, View, World, evaluate, last_closed};
use super::query::{Expr, Query, Source, Times};
use super::sql::sql;
use super::value::{Bag, Row, Type, Value, bag, instant, read};
use crate::support::client::Client;
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::subscription::{Line, Subscription};

/// Far beyond all times of a case, in units.
const END: i64 = 1_000;

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
}

impl<'a> Case<'a> {
    /// Makes the objects of the case of a seed.
    pub fn new(server: &'a Server, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let times = *random.pick(&[Times::Ticks, Times::Seconds]);
        let client = server.connect();
        let schema = format!("case_{seed:016x}");
        let world = World { unit: times.unit(), ..World::default() };
        let (script, views) = (Vec::new(), Vec::new());
        Self { server, client, schema, script, times, random, world, views }
    }

    /// Runs it; panics where server and definition differ.
    pub fn run(&mut self) {
        self.create();
        let mut now = 5 * self.times.unit();
        if self.random.chance(35) {
            for _ in 0..2 {
                self.change(&mut now);
            }
        }
        if self.random.chance(40) {
            let view = Generator::new(&mut self.random, self.times, &self.views).view();
            self.create_view("v0", view);
        }
        let query = Generator::new(&mut self.random, self.times, &self.views).query();
        let text = sql(&query, self.times);
        // A query that runs once is refused where its lists are in different orders, and where one
        // stands beside DISTINCT.
        let lists = text.matches("string_agg(").chain(text.matches("array_agg(")).count();
        let listed = lists == 0 || (lists == 1 && !text.contains("(DISTINCT "));
        let once = listed && !matches!(query, Query::OnClose(..) | Query::ToStream(..));
        let stream = matches!(query, Query::ToStream(..));
        self.create_view("v", query);
        let follow = format!("SUBSCRIBE {}.v WITH (SNAPSHOT = true, PROGRESS = true)", self.schema);
        self.script.push(follow.clone());
        let mut reader = self.server.connect();
        reader.run(&format!("SET search_path = {}", self.schema));
        let feed = Subscription::start(reader, &follow).unwrap_or_else(|e| panic!("{e}"));
        let mut feed = Feed::new(feed, stream);
        for i in 0..self.random.between(3, 7) {
            self.change(&mut now);
            self.compare(i == 2 && once, &text);
        }
        for i in 0..OBJECTS {
            self.apply(&Change::Heartbeat(i, END * self.times.unit()));
        }
        let content = self.compare(once, &text);
        self.follow(&mut feed, &content);
        self.compare_counts();
    }

    fn create(&mut self) {
        self.execute(&format!("CREATE SCHEMA {}", self.schema));
        self.execute(&format!("SET search_path = {}", self.schema));
        for i in 0..OBJECTS {
            let units = self.random.between(0, 4);
            let (of_time, delay) = match self.times {
                Times::Ticks => ("BIGINT", units.to_string()),
                Times::Seconds => ("TIMESTAMP", format!("INTERVAL '{units} seconds'")),
            };
            self.execute(&format!(
                "CREATE STREAM s{i} (ts {of_time}, k TEXT, v BIGINT, w BIGINT, \
                 WATERMARK FOR ts AS ts - {delay})"
            ));
            self.execute(&format!("CREATE TABLE t{i} (id BIGINT PRIMARY KEY, k TEXT, v BIGINT)"));
            self.world.streams.push(Stream::new(units * self.times.unit()));
            self.world.tables.push(BTreeMap::new());
        }
        for i in 0..OBJECTS {
            self.apply(&Change::Heartbeat(i, 0));
        }
    }

    fn create_view(&mut self, name: &str, query: Query) {
        self.execute(&format!("CREATE VIEW {name} AS {}", sql(&query, self.times)));
        self.views.push(View::new(query, &self.world, &self.views));
    }

    fn change(&mut self, now: &mut i64) {
        let change = change(&mut self.random, now, self.times.unit());
        self.apply(&change);
    }

    /// Lets a change happen, here and there.
    fn apply(&mut self, change: &Change) {
        let statement = statement(change, self.times);
        self.execute(&statement);
        self.world.apply(change);
        for i in 0..self.views.len() {
            let (before, view) = self.views.split_at_mut(i);
            view[0].commit(&self.world, before);
        }
    }

    /// The view's content is that of the definition, and so is the query's own answer.
    fn compare(&mut self, query_too: bool, text: &str) -> Bag {
        let (others, view) = self.views.split_at(self.views.len() - 1);
        let expected = view[0].content(&self.world, others);
        let types = view[0].query.types().to_vec();
        let alone = query_too.then(|| {
            let query = &view[0].query;
            let clock = query.event_clock().then(|| last_closed(query, &self.world, others));
            evaluate(query, &self.world, others, clock)
        });
        let seen = self.select("SELECT * FROM v", &types);
        assert_eq!(seen, expected, "the view (left) and its definition (right)");
        if let Some(alone) = alone {
            let seen = self.select(text, &types);
            assert_eq!(seen, alone, "the query alone (left) and its definition (right)");
        }
        expected
    }

    /// The changes add up to the content, and on the EVENT clock to that of every instant.
    fn follow(&self, feed: &mut Feed, content: &Bag) {
        let (others, view) = self.views.split_at(self.views.len() - 1);
        let query = &view[0].query;
        let types = query.types();
        if !query.event_clock() {
            feed.read(types, |feed, _| feed.content == *content);
            return;
        }
        let end = END * self.times.unit();
        let mut instants = Vec::new();
        feed.read(types, |feed, progress| {
            if let Some(at) = feed.at {
                instants.push((at, feed.content.clone()));
            }
            progress.is_some_and(|p| p >= end)
        });
        assert_eq!(feed.content, *content, "the sum of the changes (left) and the view (right)");
        let mut reads_relations = false;
        let mut reads_streams = matches!(query, Query::ToStream(..));
        query.sources(&mut |s| reads_streams |= matches!(s, Source::Elements(..)));
        query.sources(&mut |s| reads_relations |= matches!(s, Source::Table(_) | Source::View(_)));
        if reads_relations {
            return;
        }
        // The last content of an instant is that of the instant.
        let instants: BTreeMap<i64, Bag> = instants.into_iter().collect();
        let first = feed.first.unwrap_or(i64::MIN);
        // Streams are made again for every instant: a few will do.
        let step = if reads_streams { 1 + instants.len() / INSTANTS } else { 1 };
        for (at, seen) in instants.iter().filter(|(at, _)| **at > first).step_by(step) {
            let expected = evaluate(query, &self.world, others, Some(*at));
            assert_eq!(*seen, expected, "the changes up to {at} (left) and R({at}) (right)");
        }
    }

    /// The server counts refused rows as the definition does.
    fn compare_counts(&mut self) {
        let sql = format!(
            "SELECT name, rows, late, null_time FROM hw.streams WHERE schema_name = '{}' \
             ORDER BY name",
            self.schema
        );
        let counts =
            |(i, s): (usize, &Stream)| format!("s{i}|{}|{}|{}", s.rows.len(), s.late, s.null_time);
        let expected: Vec<String> = self.world.streams.iter().enumerate().map(counts).collect();
        assert_eq!(self.execute(&sql).lines(), expected);
    }

    fn select(&mut self, sql: &str, types: &[Type]) -> Bag {
        let rows = self.execute(sql).rows;
        bag(rows.iter().map(|row| typed(row, types)))
    }

    fn execute(&mut self, sql: &str) -> crate::support::client::Answer {
        self.script.push(sql.to_owned());
        self.client.query(sql).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// The changes of a view, as they come.
struct Feed {
    subscription: Subscription,
    content: Bag,
    /// Time of the last change that was read.
    at: Option<i64>,
    /// Time of the first.
    first: Option<i64>,
    last_time: String,
    seen: BTreeSet<Row>,
    /// Whether these are the elements of a stream: equal ones have lines of their own.
    stream: bool,
}

impl Feed {
    fn new(subscription: Subscription, stream: bool) -> Self {
        let (content, seen) = (Bag::new(), BTreeSet::new());
        Self {
            subscription,
            content,
            at: None,
            first: None,
            last_time: String::new(),
            seen,
            stream,
        }
    }

    /// Reads lines until `done`, which sees the last progress.
    fn read(&mut self, types: &[Type], mut done: impl FnMut(&Self, Option<i64>) -> bool) {
        let mut progress = None;
        while !done(self, progress) {
            match self.subscription.next() {
                Ok(Line::Progress(time)) => progress = instant(&time),
                Ok(Line::Change { time, diff, row }) => self.take(&time, diff, typed(&row, types)),
                Err(e) => panic!("{e}\nwhile the changes add up to {:?}", self.content),
            }
        }
    }

    fn take(&mut self, time: &str, diff: i64, row: Row) {
        let (now, before) = (instant(time), instant(&self.last_time));
        match (now, before) {
            (Some(now), Some(before)) => assert!(before <= now, "hw_time goes back to {time}"),
            _ => assert!(*self.last_time <= *time, "hw_time goes back to {time}"),
        }
        if self.last_time != time {
            time.clone_into(&mut self.last_time);
            self.seen.clear();
        }
        self.at = now;
        self.first = self.first.or(now);
        assert_ne!(diff, 0, "hw_diff of {row:?} at {time}");
        assert!(!self.stream || diff == 1, "hw_diff {diff} of an element");
        let first = self.seen.insert(row.clone());
        assert!(first || self.stream, "two changes of {row:?} at {time}");
        let count = self.content.entry(row).or_default();
        *count += diff;
        assert!(*count >= 0 || diff < 0, "counts go below zero at {time}");
        self.content.retain(|_, count| *count != 0);
    }
}

fn typed(row: &[Option<String>], types: &[Type]) -> Row {
    assert_eq!(row.len(), types.len(), "columns of {row:?}");
    row.iter().zip(types).map(|(value, of)| read(value.as_deref(), *of)).collect()
}

/// A change as SQL.
fn statement(change: &Change, times: Times) -> String {
    let values = |rows: &[Row], times: Option<Times>| -> String {
        let rows = rows.iter().map(|row| format!("({})", literals(row, times)));
        rows.collect::<Vec<_>>().join(", ")
    };
    match change {
        Change::Rows(i, rows) => format!("INSERT INTO s{i} VALUES {}", values(rows, Some(times))),
        Change::Heartbeat(i, at) => format!("ALTER STREAM s{i} HEARTBEAT {}", times.instant(*at)),
        Change::Upsert(i, rows) => format!(
            "INSERT INTO t{i} VALUES {} \
             ON CONFLICT (id) DO UPDATE SET k = EXCLUDED.k, v = EXCLUDED.v",
            values(rows, None)
        ),
        Change::Raise(i, by, key) => format!("UPDATE t{i} SET v = v + ({by}) WHERE k = '{key}'"),
        Change::Delete(i, rest) => format!("DELETE FROM t{i} WHERE id % 3 = {rest}"),
    }
}

/// A row as SQL; the first value is a time if `times` says how times are written.
fn literals(row: &Row, times: Option<Times>) -> String {
    let literal = |(i, value): (usize, &Value)| match (i, value, times) {
        (0, Value::Int(at), Some(times)) => times.instant(*at),
        (_, value, _) => Expr::Literal(value.clone()).sql(),
    };
    row.iter().enumerate().map(literal).collect::<Vec<_>>().join(", ")
}
