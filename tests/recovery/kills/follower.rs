//! A subscriber that is cut off, and goes on where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::client::{Failure, Row};
use crate::support::server::Server;
use crate::support::subscription::{Line, Subscription};

/// A line of a subscription: time, weight and row.
type Change = (String, i64, Row);

/// Follows an object over the lives of a server.
pub struct Follower {
    object: &'static str,
    /// Whether it asks for progress, and goes on where that was; or else behind the last time of
    /// which it knows that it has all lines, because another one came.
    progress: bool,
    running: Option<Subscription>,
    /// The content as of when it goes on, in SQL.
    known: Option<String>,
    /// Lines that it has seen for good.
    whole: Vec<Change>,
    /// Lines of times of which others may come.
    open: Vec<Change>,
}

impl Follower {
    /// Follows nothing yet.
    pub fn new(object: &'static str, progress: bool) -> Self {
        let (whole, open) = (Vec::new(), Vec::new());
        Self { object, progress, running: None, known: None, whole, open }
    }

    /// Begins with what has come since a time.
    pub fn since(self, time: &str) -> Self {
        Self { known: Some(time.to_owned()), ..self }
    }

    /// Goes on where it was cut off.
    pub fn resume(&mut self, server: &Server) {
        let since = self.known.as_ref().map_or(String::new(), |known| format!("AS OF {known}"));
        let (object, progress) = (self.object, self.progress);
        // What is there at the start has been seen.
        let options = format!("SNAPSHOT = {}, PROGRESS = {progress}", self.known.is_none());
        let sql = format!("SUBSCRIBE {object} WITH ({options}) {since}");
        let mut client = server.connect();
        client.set_patience(Duration::from_secs(60)).expect("a socket takes a limit");
        let started = Subscription::start(client, &sql);
        self.running = Some(started.unwrap_or_else(|error| panic!("{error}\nin: {sql}")));
    }

    /// Reads what the server had sent when it was killed.
    pub fn cut(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        loop {
            match running.next() {
                Ok(line) => self.take(line),
                Err(Failure::Broken(_)) => break,
                Err(failure) => panic!("{}: {failure}", self.object),
            }
        }
        self.open.clear();
    }

    /// Reads until everything that it has seen comes to `rows`.
    pub fn reach(&mut self, rows: &[String], what: &str) {
        while self.content() != rows {
            let running = self.running.as_mut().expect("it has been resumed");
            let line = running.next().unwrap_or_else(|failure| {
                panic!("{what}: {}: {failure}\n{:?}\n{rows:?}", self.object, self.content())
            });
            self.take(line);
        }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Progress(at) => {
                // All lines of before it are there.
                self.known = Some(format!("TIMESTAMPTZ '{at}' - INTERVAL '1 microsecond'"));
                self.whole.append(&mut self.open);
            }
            Line::Change { time, diff, row } => {
                let last = self.open.last().map(|(last, ..)| last.clone());
                if let Some(last) = last.filter(|last| !self.progress && *last != time) {
                    self.known = Some(format!("TIMESTAMPTZ '{last}'"));
                    self.whole.append(&mut self.open);
                }
                self.open.push((time, diff, row));
            }
        }
    }

    /// What all lines come to: each row once, in text.
    fn content(&self) -> Vec<String> {
        let mut weights: BTreeMap<&Row, i64> = BTreeMap::new();
        let mut lines: BTreeMap<(&str, &Row), i64> = BTreeMap::new();
        for (time, diff, row) in self.whole.iter().chain(&self.open) {
            *weights.entry(row).or_default() += diff;
            let twice = lines.insert((time, row), *diff);
            assert!(twice.is_none(), "{}: {row:?} at {time} came twice", self.object);
        }
        weights.retain(|_, weight| *weight != 0);
        assert!(weights.values().all(|weight| *weight == 1), "{}: {weights:?}", self.object);
        let text = |row: &&Row| {
            let values = row.iter().map(|value| value.as_deref().unwrap_or("NULL"));
            values.collect::<Vec<_>>().join("|")
        };
        let mut rows: Vec<String> = weights.keys().map(text).collect();
        rows.sort();
        rows
    }
}
