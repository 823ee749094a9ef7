//! Changes that take effect later, in the order of their instants.
//!
//! # State
//! Deltas sorted by instant, in runs. A new delta is merged with the last runs while these are not
//! much larger, so that single rows do not cost a batch each; runs of 8192 rows stay as they are.
//!
//! # Cost
//! Each row is copied at most log2(8192) times, and not at all when it comes in large batches.
//! Asking for due changes looks at the head of every run.

use crate::delta::{Delta, codec};
use crate::operators::{Result, StateReader, StateWriter};
use crate::time::{Timestamp, Watermark};

/// Rows from which a run is not merged with later ones.
const RUN_ROWS: usize = 8192;

/// Changes that take effect later.
#[derive(Debug, Default)]
pub(super) struct Future {
    /// Each sorted by instant, none empty; what was due is sliced off.
    runs: Vec<Delta>,
}

impl Future {
    /// Adds changes.
    pub(super) fn add(&mut self, delta: Delta) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        let mut delta = delta.by_instant()?;
        while let Some(last) = self.runs.pop_if(|last| {
            last.len() < RUN_ROWS && delta.len() < RUN_ROWS && last.len() <= delta.len() * 2
        }) {
            delta = Delta::concat(&last.schema(), &[last, delta])?.by_instant()?;
        }
        self.runs.push(delta);
        Ok(())
    }

    /// Takes the changes of instants that the watermark closes, sorted by instant.
    pub(super) fn take_due(&mut self, watermark: Watermark) -> Result<Option<Delta>> {
        let mut due = Vec::new();
        for run in &mut self.runs {
            let count = due_rows(run, watermark);
            if count > 0 {
                due.push(run.slice(0, count));
                *run = run.slice(count, run.len() - count);
            }
        }
        self.runs.retain(|run| !run.is_empty());
        let Some(first) = due.first() else { return Ok(None) };
        Ok(Some(Delta::concat(&first.schema(), &due)?.by_instant()?))
    }

    /// The instant of the first change.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.runs.iter().map(|run| run.ts_at(0)).min()
    }

    /// Number of changes.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(Delta::len).sum()
    }

    /// Writes all changes.
    pub(super) fn save(&self, to: &mut StateWriter) -> Result<()> {
        for run in &self.runs {
            to.put("future", codec::encode(run)?);
        }
        Ok(())
    }

    /// Reads what was written.
    pub(super) fn load(&mut self, from: &mut StateReader) -> Result<()> {
        while let Some(run) = from.take("future") {
            self.add(codec::decode(&run)?)?;
        }
        Ok(())
    }
}

/// Returns how many rows of a sorted run are due.
fn due_rows(run: &Delta, watermark: Watermark) -> usize {
    let (mut from, mut to) = (0, run.len());
    while from < to {
        let middle = from.midpoint(to);
        if watermark.closes(run.ts_at(middle)) { from = middle + 1 } else { to = middle }
    }
    from
}
