//! The passing of time, which is a commit where it has an effect.
//!
//! # Semantics
//! After `ALTER SYSTEM HEARTBEAT` the time of commits is ahead of the clock until that comes there,
//! and moves with commits alone. A commit is followed by [`SETTLING_TICKS`] more, which close its
//! instant, and then by none that nothing waits for.

use super::hub::Hub;
use super::journal::Input;
use super::state::Passed;
use super::{Error, Result};
use crate::fault;
use crate::time::Timestamp;

/// Ticks behind a commit by which all that it leads to has happened: one brings watermarks to its
/// time, and one beyond it.
const SETTLING_TICKS: u32 = 2;

impl Hub {
    /// Lets time pass: idle partitions, streams on the system clock that a window watches, and
    /// queries that compare with the time of commits.
    pub fn on_clock(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed || state.gated {
            return;
        }
        // Time stands still where it cannot be recorded: a start would judge rows by another one.
        if self.journal.get().is_some_and(|journal| journal.has_little_room().is_err()) {
            return;
        }
        let now = self.clock().now();
        let (moment, next) = (state.moment(now), state.next_time(now));
        let stands = state.time.is_some_and(|last| now <= last) && !state.recovering;
        if stands && state.ticks >= SETTLING_TICKS && !state.is_awaited(next) {
            return;
        }
        let Passed { changes, views, due } = state.on_clock(state.time(now), next);
        let waited = !due.is_empty() || state.is_due(next);
        if !changes.is_empty() || !views.is_empty() || waited {
            let input = self.prepare(|| Input::Tick);
            let recorded = input.and_then(|input| self.record(&moment, input.as_deref(), false));
            if let Err(error) = recorded {
                tracing::warn!("the passing of time is not recorded: {error}");
            }
            fault::point("hub.tick.recorded");
            let ticks = state.ticks + 1;
            let commit = state.next_commit(now);
            state.ticks = ticks;
            state.dispatch(commit, &changes, &views, due);
        }
    }

    /// Promises that whatever is committed from now on has a commit time after `at`, and lets time
    /// pass until then.
    pub fn heartbeat(&self, at: Timestamp) -> Result<()> {
        {
            let mut state = self.lock();
            if state.closed {
                return Err(Error::ShuttingDown);
            }
            let moment = state.moment(self.clock().now());
            self.record(&moment, self.prepare(|| Input::Heartbeat(at))?.as_deref(), false)?;
            fault::point("hub.heartbeat.recorded");
            let before = at.plus(-1);
            state.time = Some(state.time.map_or(before, |last| last.max(before)));
            state.ticks = 0;
        }
        self.on_clock();
        Ok(())
    }
}
