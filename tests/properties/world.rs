//! What the server holds, as a few lists.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::scalar::number;
use super::source::Objects;
use super::value::{Row, Value};

/// A stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Admitted rows in order of arrival, each with its time.
    pub rows: Vec<(i64, Row)>,
    /// No later row is on time before this.
    pub watermark: i64,
    /// How far behind the latest row the watermark is.
    pub delay: i64,
    /// How late a row may be.
    pub lateness: i64,
    /// How many rows came late and were taken.
    pub late_taken: i64,
    /// Rows that came too late, or without a time, each with the watermark by then.
    pub refused: Vec<(i64, Row)>,
}

impl Stream {
    /// A stream without rows.
    pub fn new(delay: i64, lateness: i64) -> Self {
        let (rows, watermark, late_taken, refused) = (Vec::new(), i64::MIN, 0, Vec::new());
        Self { rows, watermark, delay, lateness, late_taken, refused }
    }

    /// Takes a row, or refuses it.
    fn insert(&mut self, row: Row) {
        match row[0] {
            Value::Int(time) if time >= self.watermark.saturating_sub(self.lateness) => {
                self.late_taken += i64::from(time < self.watermark);
                self.watermark = self.watermark.max(time - self.delay);
                self.rows.push((time, row));
            }
            _ => self.refused.push((self.watermark, row)),
        }
    }

    /// Lets its watermark reach a time.
    fn promise(&mut self, at: i64) {
        self.watermark = self.watermark.max(at);
    }

    /// Times of its rows.
    fn times(&self) -> impl Iterator<Item = i64> {
        self.rows.iter().map(|(time, _)| *time)
    }

    /// The rows up to an instant, in order of time, then of arrival.
    pub fn until(&self, instant: i64) -> Vec<&(i64, Row)> {
        let mut rows: Vec<_> = self.rows.iter().filter(|(time, _)| *time <= instant).collect();
        rows.sort_by_key(|(time, _)| *time);
        rows
    }
}

/// A table that keeps versions: each row is valid from its own time on, until the next of its key.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// What the table is now: rows by primary key.
    pub now: BTreeMap<i64, Row>,
    /// In order of arrival: from when on, of which key, and the row; none if it is gone.
    log: Vec<(i64, i64, Option<Row>)>,
    /// No version before this comes.
    pub watermark: i64,
    /// How far behind the latest version the watermark is.
    delay: i64,
}

impl Versions {
    /// A table without rows.
    pub fn new(delay: i64) -> Self {
        Self { delay, ..Self::default() }
    }

    fn write(&mut self, row: &Row) {
        let (id, since) = (number(&row[0]), number(&row[3]));
        self.log.push((since, id, Some(row.clone())));
        self.watermark = self.watermark.max(since - self.delay);
        self.now.insert(id, row.clone());
    }

    /// A row is gone from the watermark on, or from its own time if that is later.
    fn delete(&mut self, goes: impl Fn(i64) -> bool) {
        for (id, row) in self.now.extract_if(.., |id, _| goes(*id)) {
            self.log.push((number(&row[3]).max(self.watermark), id, None));
        }
    }

    /// The row of a key that is valid at an instant: of equal times the last version counts.
    pub fn of(&self, key: i64, at: i64) -> Option<&Row> {
        let known = self.log.iter().filter(|(since, id, _)| *id == key && *since <= at);
        known.max_by_key(|(since, ..)| *since)?.2.as_ref()
    }

    /// All rows that are valid at an instant.
    pub fn at(&self, at: i64) -> Vec<Row> {
        let keys: BTreeSet<i64> = self.log.iter().map(|(_, id, _)| *id).collect();
        keys.into_iter().filter_map(|key| self.of(key, at)).cloned().collect()
    }
}

/// What has a watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// A stream.
    Stream(usize),
    /// The table that keeps versions.
    Versions,
}

/// What the server holds.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Streams.
    pub streams: Vec<Stream>,
    /// Tables: rows by primary key.
    pub tables: Vec<BTreeMap<i64, Row>>,
    /// The table that keeps versions, if there is one.
    pub versions: Option<Versions>,
    /// One unit of time.
    pub unit: i64,
}

impl World {
    /// Lets a change happen.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Rows(i, rows) => {
                rows.iter().for_each(|row| self.streams[*i].insert(row.clone()));
            }
            Change::Heartbeat(Input::Stream(i), at) => self.streams[*i].promise(*at),
            Change::Heartbeat(Input::Versions, at) => {
                let versions = self.versions_mut();
                versions.watermark = versions.watermark.max(*at);
            }
            Change::Version(row) => self.versions_mut().write(row),
            Change::DeleteVersions(rest) => self.versions_mut().delete(|id| id % 3 == *rest),
            Change::Upsert(i, rows) => {
                self.tables[*i].extend(rows.iter().map(|row| (number(&row[0]), row.clone())));
            }
            Change::Raise(i, by, key) => {
                for row in self.tables[*i].values_mut() {
                    if let (Value::Text(k), Value::Int(v)) = (&row[1], &row[2])
                        && k == key
                    {
                        row[2] = Value::Int(v + by);
                    }
                }
            }
            Change::Delete(i, rest) => self.tables[*i].retain(|id, _| id % 3 != *rest),
        }
    }

    /// The watermark of an input.
    pub fn watermark(&self, input: Input) -> i64 {
        match input {
            Input::Stream(i) => self.streams[i].watermark,
            Input::Versions => self.versions().watermark,
        }
    }

    /// The last time of all that came.
    pub fn last_time(&self) -> i64 {
        let versions = self.versions.iter().flat_map(|v| v.log.iter().map(|(since, ..)| *since));
        self.streams.iter().flat_map(Stream::times).chain(versions).max().unwrap_or(0)
    }

    /// All that may be read.
    pub fn objects(&self) -> Objects {
        Objects {
            streams: (0..self.streams.len()).collect(),
            tables: (0..self.tables.len()).collect(),
            versions: self.versions.is_some(),
        }
    }

    /// The table that keeps versions.
    pub fn versions(&self) -> &Versions {
        self.versions.as_ref().expect("it is read only where it is")
    }

    fn versions_mut(&mut self) -> &mut Versions {
        self.versions.as_mut().expect("it is changed only where it is")
    }
}
