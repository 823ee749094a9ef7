//! A result that takes the place of another one, with its readers.

use std::sync::{Arc, Weak};

use super::{Publication, State};
use crate::delta::Delta;
use crate::operators::Result;
use crate::planner::plan::Clock;
use crate::runtime::job::{Fault, Job};
use crate::runtime::packet::Commit;
use crate::runtime::snapshot::Snapshot;
use crate::runtime::subscription::Feed;
use crate::sql::catalog::Oid;

/// What a query takes over from the one that it replaces.
#[derive(Default)]
pub struct Inheritance {
    /// The last content that the readers were shown; `None` if there are no readers.
    pub content: Option<Snapshot>,
    /// Subscriptions.
    pub feeds: Vec<Arc<Feed>>,
    /// Queries that read the result, and as which object.
    pub downstream: Vec<(Weak<Job>, Oid)>,
}

impl Inheritance {
    /// Tells the readers that there is nothing to be read any more.
    pub fn fail(self, fault: &Fault) {
        for feed in self.feeds {
            feed.close(Some(fault.clone()));
        }
        for job in self.downstream.iter().filter_map(|(job, _)| job.upgrade()) {
            job.suspend(fault.clone());
        }
    }
}

impl Publication {
    /// Holds the first commit back until [`Self::take_over`].
    pub fn await_predecessor(&self, first: Commit) {
        let mut state = self.lock();
        self.partial(&mut state, first).missing += 1;
    }

    /// Takes the readers of the query that this one replaces; its first commit may now be seen.
    pub fn take_over(&self, first: Commit, inheritance: Inheritance) {
        let mut state = self.lock();
        if let Some(fault) = state.fault.clone() {
            drop(state);
            inheritance.fail(&fault);
            return;
        }
        state.feeds.extend(inheritance.feeds);
        state.downstream.extend(inheritance.downstream);
        state.inherited = inheritance.content;
        self.partial(&mut state, first).missing -= 1;
        let done = self.publish_complete(&mut state);
        drop(state);
        if let Err(error) = done {
            self.fail(&Fault::internal(&error));
        }
    }

    /// Returns what the first content changes for readers of the predecessor, at the first time
    /// that is still open to them.
    pub(super) fn succeed(&self, state: &mut State, old: &Snapshot, new: Delta) -> Result<Delta> {
        let at = match self.shape.clock {
            Clock::Arrival => state.commit.time,
            Clock::Event => {
                state.floor = Some((old.watermark, Vec::new()));
                state.watermark.last_closed().max(old.watermark.0)
            }
        };
        let gone = old.delta(at).negate();
        Ok(Delta::concat(&self.schema, &[new.at(at), gone])?.consolidate()?)
    }

    /// Moves changes up to the event time that a predecessor had reached, and lets them go once
    /// that is passed.
    pub(super) fn above_floor(&self, state: &mut State, delta: Delta) -> Result<Delta> {
        let Some((floor, mut waiting)) = state.floor.take() else { return Ok(delta) };
        waiting.push(delta.not_before(floor.0));
        if state.watermark > floor {
            return Ok(Delta::concat(&self.schema, &waiting)?);
        }
        state.watermark = floor;
        state.floor = Some((floor, waiting));
        Ok(Delta::empty(Arc::clone(&self.schema)))
    }
}

impl State {
    /// Gives the readers away, with the content that they have seen.
    pub fn hand_over(&mut self) -> crate::runtime::Result<Inheritance> {
        let (feeds, downstream) =
            (std::mem::take(&mut self.feeds), std::mem::take(&mut self.downstream));
        let watched = !feeds.is_empty() || !downstream.is_empty();
        let content = if watched { Some(self.snapshot()?) } else { None };
        Ok(Inheritance { content, feeds, downstream })
    }
}
