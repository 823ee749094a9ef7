//! A result as of a time that has passed.

use arrow::error::ArrowError;

use super::State;
use crate::delta::Delta;
use crate::planner::plan::{Clock, Kind};
use crate::runtime::changes::{AsOf, Changes};
use crate::runtime::packet::Commit;
use crate::runtime::read::Read;
use crate::runtime::{Error, Result};
use crate::time::{Timestamp, Watermark};

impl State {
    /// Keeps a change, if the past is kept.
    pub(super) fn remember(
        &mut self,
        delta: &Delta,
        commit: Commit,
        watermark: Watermark,
    ) -> Result<(), ArrowError> {
        let Some(changes) = &mut self.changes else { return Ok(()) };
        let now = match self.shape.clock {
            Clock::Arrival => commit.time,
            Clock::Event => watermark.last_closed(),
        };
        changes.push(delta, now, commit.time)
    }

    /// Returns the content as of a time that has passed, of the query of this name; of a stream all
    /// that is retained.
    pub fn as_of(&mut self, name: &str, as_of: AsOf) -> Result<Read> {
        if let Kind::Stream { .. } = self.shape.kind {
            return self.read();
        }
        if self.shape.clock == Clock::Event && !self.watermark.closes(as_of.at) {
            return Err(Error::NotYet { name: name.to_owned(), at: as_of.show(as_of.at) });
        }
        let changes = self.changes.as_ref().ok_or_else(|| Error::NoPast(name.to_owned()))?;
        changes.check(name, as_of)?;
        let later = changes.after(as_of.at)?;
        let mut snapshot = self.snapshot()?;
        later.into_iter().try_for_each(|delta| snapshot.add(&delta.negate()))?;
        Ok(Read::View(snapshot))
    }

    /// Returns the content as of a time, and the changes since, if that is known: each at its time.
    pub fn since(&mut self, at: Timestamp) -> Result<Option<Delta>> {
        let Some(changes) = &self.changes else { return Ok(None) };
        let now = match self.shape.clock {
            Clock::Arrival => self.commit.time,
            Clock::Event => self.watermark.last_closed(),
        };
        if at > now || changes.oldest().is_none_or(|oldest| at < oldest) {
            return Ok(None);
        }
        let mut all = changes.after(at)?;
        let mut snapshot = self.snapshot()?;
        all.iter().try_for_each(|delta| snapshot.add(&delta.clone().negate()))?;
        all.push(snapshot.delta(at));
        Ok(Some(Delta::concat(&snapshot.rows.schema(), &all)?))
    }

    /// The first time of which the content is known, if its past is kept.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.changes.as_ref().and_then(Changes::oldest)
    }
}
