//! A schema of its own on a running server, with a vector's streams and tables in it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::notation::{Bag, Changes, Input, Update};
use crate::support::client::{Client, Row};
use crate::support::server::Server;
use crate::support::subscription::{Line, Subscription};

/// How instants are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeType {
    /// As numbers.
    BigInt,
    /// As microseconds after 1970.
    Timestamp,
}

impl TimeType {
    /// Writes `{n}` as a distance of n instants.
    pub fn distances(self, sql: &str) -> String {
        let (open, close) = match self {
            TimeType::BigInt => ("", ""),
            TimeType::Timestamp => ("INTERVAL '", " microseconds'"),
        };
        sql.replace('{', open).replace('}', close)
    }
}

/// A schema with a vector's streams and tables.
pub struct World<'a> {
    server: &'a Server,
    schema: String,
    /// The connection everything is done on.
    pub client: Client,
    time: TimeType,
    /// Identity of the next table row; two equal rows of a table are two.
    next_id: i64,
    followed: Option<Followed>,
}

/// The SUBSCRIBE of the view, and what its changes add up to.
struct Followed {
    feed: Subscription,
    content: Bag,
}

impl<'a> World<'a> {
    /// Makes a schema.
    pub fn new(server: &'a Server, time: TimeType) -> Self {
        static SCHEMAS: AtomicUsize = AtomicUsize::new(0);
        let schema = format!("w{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
        let mut client = server.connect();
        client.run(&format!("CREATE SCHEMA {schema}"));
        client.run(&format!("SET search_path = {schema}"));
        Self { server, schema, client, time, next_id: 0, followed: None }
    }

    /// Creates a stream whose rows may come `delay` late, and starts its watermark at 0.
    pub fn create_stream(&mut self, input: &Input, time: &str, delay: i64, options: &str) {
        let of_time = match self.time {
            TimeType::BigInt => "BIGINT",
            TimeType::Timestamp => "TIMESTAMP",
        };
        let delay = self.span(delay);
        let Input { name, .. } = input;
        let columns = columns(input);
        self.client.run(&format!(
            "CREATE STREAM {name} ({time} {of_time}, {columns}, \
             WATERMARK FOR {time} AS {time} - {delay}{options})"
        ));
        self.heartbeat(name, 0);
    }

    /// Creates a stream on CLOCK ROW.
    pub fn create_row_stream(&mut self, input: &Input) {
        let (name, columns) = (&input.name, columns(input));
        self.client.run(&format!("CREATE STREAM {name} ({columns}, CLOCK ROW)"));
    }

    /// Inserts rows without times with one statement.
    pub fn insert_untimed(&mut self, stream: &Input, rows: &[Update]) {
        let values: Vec<String> =
            rows.iter().map(|update| format!("({})", literals(stream, update))).collect();
        self.client.run(&format!("INSERT INTO {} VALUES {}", stream.name, values.join(", ")));
    }

    /// Creates a table.
    pub fn create_table(&mut self, input: &Input) {
        let (name, columns) = (&input.name, columns(input));
        self.client.run(&format!("CREATE TABLE {name} (id_ BIGINT PRIMARY KEY, {columns})"));
    }

    /// Promises that nothing before `at` comes.
    pub fn heartbeat(&mut self, stream: &str, at: i64) {
        let at = self.instant(at);
        self.client.run(&format!("ALTER STREAM {stream} HEARTBEAT {at}"));
    }

    /// Moves system time to so many seconds before a time of day, written as hmm.
    pub fn system_time(&mut self, hmm: i64, seconds_before: i64) {
        let time = (hmm / 100 * 60 + hmm % 100) * 60 - seconds_before;
        let (h, m, s) = (time / 3600, time / 60 % 60, time % 60);
        self.client.run(&format!("ALTER SYSTEM HEARTBEAT '2100-01-01 {h:02}:{m:02}:{s:02}'"));
    }

    /// Inserts rows into a stream with one statement.
    pub fn insert(&mut self, stream: &Input, rows: &[Update]) {
        let values = |u: &Update| format!("({}, {})", self.instant(u.time), literals(stream, u));
        let values: Vec<String> = rows.iter().map(values).collect();
        self.client.run(&format!("INSERT INTO {} VALUES {}", stream.name, values.join(", ")));
    }

    /// Applies an update to a table.
    pub fn update(&mut self, table: &Input, update: &Update) {
        let name = &table.name;
        if !update.delete {
            let (id, values) = (self.next_id, literals(table, update));
            self.next_id += 1;
            self.client.run(&format!("INSERT INTO {name} VALUES ({id}, {values})"));
            return;
        }
        let literals = literals(table, update);
        let equal = table.columns.iter().zip(literals.split(", "));
        let equal: Vec<String> = equal.map(|(c, v)| format!("{c} = {v}")).collect();
        let which = format!("SELECT MIN(id_) FROM {name} WHERE {}", equal.join(" AND "));
        let id = self.client.run(&which).value().expect("a row to delete");
        self.client.run(&format!("DELETE FROM {name} WHERE id_ = {id}"));
    }

    /// Creates the view `v` and follows its changes.
    pub fn create_view(&mut self, sql: &str) {
        self.client.run(&format!("CREATE VIEW v AS {sql}"));
        self.follow(&format!("{}.v", self.schema));
    }

    /// Creates the view `v`, which is a stream, after what stands before its query, and follows its
    /// elements in the order of their times.
    pub fn create_stream_view(&mut self, sql: &str) {
        let mut statements: Vec<&str> = sql.split("; ").collect();
        let query = statements.pop().expect("a query");
        statements.into_iter().for_each(|statement| {
            self.client.run(statement);
        });
        self.client.run(&format!("CREATE VIEW v AS {query}"));
        self.follow("ISTREAM (SELECT * FROM v)");
    }

    fn follow(&mut self, what: &str) {
        let follow = format!("SUBSCRIBE {what} WITH (SNAPSHOT = true, PROGRESS = true)");
        let mut client = self.server.connect();
        client.run(&format!("SET search_path = {}", self.schema));
        let feed =
            Subscription::start(client, &follow).unwrap_or_else(|e| panic!("{e}\nin: {follow}"));
        self.followed = Some(Followed { feed, content: Bag::new() });
    }

    /// The rows of a query, in the notation of the vectors.
    pub fn select(&mut self, sql: &str) -> Bag {
        let mut bag = Bag::new();
        for row in self.client.run(sql).rows {
            *bag.entry(notation(&row)).or_default() += 1;
        }
        bag
    }

    /// Reads the view's changes until nothing before `until` can follow, by instant.
    pub fn changes_until(&mut self, until: i64) -> Changes {
        let followed = self.followed.as_mut().expect("the view is followed");
        let mut changes = Changes::new();
        loop {
            match followed.feed.next().unwrap_or_else(|e| panic!("while following: {e}")) {
                Line::Progress(time) if tick(&time).is_some_and(|t| t >= until) => break,
                Line::Progress(_) => {}
                Line::Change { time, diff, row } => {
                    let at = tick(&time).unwrap_or_else(|| panic!("hw_time {time} of an instant"));
                    assert!(at < until, "a change at {at} before the progress to {until}");
                    followed.add(&row, diff);
                    add(&mut changes, (at, notation(&row)), diff);
                }
            }
        }
        changes
    }

    /// Reads the view's changes until they add up to `content`; returns their sum.
    pub fn changes_to(&mut self, content: &Bag) -> Bag {
        let followed = self.followed.as_mut().expect("the view is followed");
        let mut changes = Bag::new();
        while followed.content != *content {
            match followed.feed.next() {
                Ok(Line::Progress(_)) => {}
                Ok(Line::Change { diff, row, .. }) => {
                    followed.add(&row, diff);
                    add(&mut changes, notation(&row), diff);
                }
                Err(e) => panic!(
                    "the changes add up to {:?} and never to {content:?}: {e}",
                    followed.content
                ),
            }
        }
        changes
    }

    /// A length of time.
    pub fn span(&self, ticks: i64) -> String {
        match self.time {
            TimeType::BigInt => ticks.to_string(),
            TimeType::Timestamp => format!("INTERVAL '{ticks} microseconds'"),
        }
    }

    fn instant(&self, at: i64) -> String {
        match self.time {
            TimeType::BigInt => at.to_string(),
            TimeType::Timestamp => {
                let at = chrono::DateTime::from_timestamp_micros(at).expect("a small number");
                format!("TIMESTAMP '{}'", at.format("%Y-%m-%d %H:%M:%S%.6f"))
            }
        }
    }
}

impl Followed {
    fn add(&mut self, row: &Row, diff: i64) {
        assert_ne!(diff, 0, "a change of {row:?} that changes nothing");
        add(&mut self.content, notation(row), diff);
    }
}

/// Adds to a map of multiplicities, which holds no zeros.
pub fn add<K: Ord>(counts: &mut BTreeMap<K, i64>, key: K, diff: i64) {
    let count = counts.entry(key).or_default();
    *count += diff;
    if *count == 0 {
        counts.retain(|_, count| *count != 0);
    }
}

/// What leads from one content to the next.
pub fn difference(from: &Bag, to: &Bag) -> Bag {
    let mut difference = to.clone();
    for (row, count) in from {
        add(&mut difference, row.clone(), -count);
    }
    difference
}

/// Reads an instant: a number or a timestamp.
pub fn tick(text: &str) -> Option<i64> {
    let timestamp = || {
        let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
        Some(time.and_utc().timestamp_micros())
    };
    text.parse().ok().or_else(timestamp)
}

/// Writes a row as the vectors do.
pub fn notation(row: &Row) -> String {
    let value = |v: &Option<String>| match v {
        None => "NULL".to_owned(),
        Some(text) => match tick(text) {
            Some(tick) => tick.to_string(),
            None => match text.parse::<f64>() {
                Ok(number) => {
                    format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').into()
                }
                Err(_) => text.clone(),
            },
        },
    };
    let values: Vec<String> = row.iter().map(value).collect();
    if values.len() == 1 { values[0].clone() } else { format!("({})", values.join(",")) }
}

/// Columns with their types: numbers if all values are.
fn columns(input: &Input) -> String {
    let column = |i: usize| if numeric(input, i) { "BIGINT" } else { "TEXT" };
    let columns = input.columns.iter().enumerate().map(|(i, c)| format!("{c} {}", column(i)));
    columns.collect::<Vec<_>>().join(", ")
}

fn numeric(input: &Input, column: usize) -> bool {
    let mut values = input.updates.iter().map(|u| u.row[column].parse::<i64>());
    !input.updates.is_empty() && values.all(|v| v.is_ok())
}

fn literals(input: &Input, update: &Update) -> String {
    let values = update.row.iter().enumerate().map(|(i, v)| match numeric(input, i) {
        true => v.clone(),
        false => format!("'{v}'"),
    });
    values.collect::<Vec<_>>().join(", ")
}
