//! What a relation was of late: its changes, by which its content as of a time is told.
//!
//! # Semantics
//! The content as of t is the present one without the changes behind t. Times are those of the
//! relation's changes: of commits on the ARRIVAL clock, of events on the EVENT clock. Known are all
//! from [`Changes::oldest`] on.
//!
//! # State
//! The changes of the span that `WITH (retain = ..)` names before the latest one, and some older
//! ones; in memory and in files, like what streams retain.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::history::keeper::Keeper;
use super::history::{History, Retained, Retention};
use super::{Error, Result};
use crate::delta::Delta;
use crate::sql::catalog::Oid;
use crate::storage::{StateReader, StateWriter};
use crate::time::Timestamp;

/// The changes of a relation of late.
pub struct Changes {
    history: History,
    /// When the content was first known; what it came to by then is no change.
    since: Option<Timestamp>,
}

impl Changes {
    /// No changes yet, of a relation with these columns; those of a span, in microseconds, stay.
    pub fn new(schema: SchemaRef, span: i64) -> Self {
        Self { history: History::new(schema, Retention::Time(span)), since: None }
    }

    /// Lets the changes go to files.
    pub fn keep_in_files(&mut self, keeper: &Arc<Keeper>, owner: Oid) {
        self.history.keep_in_files(keeper, owner);
    }

    /// Says that the content is known from a time on.
    pub fn begin(&mut self, at: Timestamp) {
        self.since = Some(at);
    }

    /// Adds what a commit changes. After it the content as of `now` is known; by the first one it
    /// becomes known.
    pub fn push(
        &mut self,
        delta: &Delta,
        now: Timestamp,
        commit: Timestamp,
    ) -> Result<(), ArrowError> {
        match self.since {
            None => self.begin(now),
            Some(_) => self.history.push(Retained::new(delta.clone(), commit))?,
        }
        Ok(())
    }

    /// The first time at which the content is known, if there is one.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.since.map(|since| since.max(self.history.forgotten()))
    }

    /// Fails if the content of a relation of this name as of a time is not known any more.
    pub fn check(&self, name: &str, as_of: AsOf) -> Result<()> {
        match self.oldest() {
            Some(oldest) if oldest <= as_of.at => Ok(()),
            Some(oldest) => Err(Error::Forgotten {
                name: name.to_owned(),
                at: as_of.show(as_of.at),
                oldest: as_of.show(oldest),
            }),
            None => Err(Error::NotYet { name: name.to_owned(), at: as_of.show(as_of.at) }),
        }
    }

    /// The changes behind a time, in the order in which they came.
    pub fn after(&self, at: Timestamp) -> Result<Vec<Delta>> {
        let mut later = Vec::new();
        for part in self.history.parts() {
            if part.span_in_file().is_some_and(|(_, latest)| latest <= at) {
                continue;
            }
            for run in part.read()?.iter() {
                let keep = (0..run.delta.len()).map(|i| Some(run.delta.ts_at(i) > at));
                later.push(run.delta.filter(&keep.collect::<BooleanArray>())?);
            }
        }
        Ok(later)
    }

    /// Writes the changes.
    pub fn save(&self, to: &mut StateWriter) -> Result<()> {
        to.put_value(&(self.since, self.history.forgotten()))?;
        self.history.save(to)
    }

    /// Takes what [`Changes::save`] wrote.
    pub fn load(&mut self, from: &mut StateReader) -> Result<()> {
        let (since, forgotten): (Option<Timestamp>, Timestamp) = from.take_value()?;
        self.since = since.map(|since| since.max(forgotten));
        self.history.load(from)
    }
}

/// A relation as of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AsOf {
    /// Table or view.
    pub object: Oid,
    /// The time.
    pub at: Timestamp,
    /// Whether its times are numbers.
    pub numbers: bool,
}

impl AsOf {
    /// A time as users write it.
    pub fn show(&self, at: Timestamp) -> String {
        shown_time(at, self.numbers)
    }
}

/// A time as users write it.
pub fn shown_time(at: Timestamp, numbers: bool) -> String {
    if numbers { at.0.to_string() } else { at.to_string() }
}
