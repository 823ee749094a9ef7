//! Changes that take effect later, in the order of their instants.
//!
//! # State
//! Deltas sorted by instant, in runs. A new delta is merged with the last runs while these are not
//! much larger, so that single rows do not cost a batch each; runs of 8192 rows stay as they are.
//! Runs can be spilled, the last to be due first.
//!
//! # Cost
//! Each row is copied at most log2(8192) times, and not at all when it comes in large batches.
//! Asking for due changes looks at the head of every run.

use std::cmp::Reverse;
use std::io;
use std::sync::Arc;

use crate::delta::Delta;
use crate::operators::Result;
use crate::storage::{Kept, Misfit, Scratch, StateReader, StateWriter, Store};
use crate::time::{Timestamp, Watermark};

/// Rows from which a run is not merged with later ones.
const RUN_ROWS: usize = 8192;

/// Rows below which a run is not worth a place in a file.
const SPILLED_ROWS_MIN: usize = 1024;

/// Changes that take effect later.
#[derive(Clone, Debug, Default)]
pub(super) struct Future {
    /// Each sorted by instant, none empty; what was due is sliced off.
    runs: Vec<Kept>,
}

impl Future {
    /// Adds changes.
    pub(super) fn add(&mut self, delta: Delta) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        let mut delta = delta.by_instant()?;
        while let Some(last) = self.runs.pop_if(|last| {
            last.rows() < RUN_ROWS && delta.len() < RUN_ROWS && last.rows() <= delta.len() * 2
        }) {
            let last = last.get()?.into_owned();
            delta = Delta::concat(&last.schema(), &[last, delta])?.by_instant()?;
        }
        self.runs.push(Kept::new(delta));
        Ok(())
    }

    /// Takes the changes of instants that the watermark closes, sorted by instant.
    pub(super) fn take_due(&mut self, watermark: Watermark) -> Result<Option<Delta>> {
        let mut due = Vec::new();
        for run in &mut self.runs {
            let count = due_rows(run, watermark);
            if count > 0 {
                let changes = run.get()?.into_owned();
                due.push(changes.slice(0, count));
                *run = Kept::new(changes.slice(count, run.rows() - count));
            }
        }
        self.runs.retain(|run| run.rows() > 0);
        let Some(first) = due.first() else { return Ok(None) };
        Ok(Some(Delta::concat(&first.schema(), &due)?.by_instant()?))
    }

    /// The instant of the first change.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.runs.iter().map(|run| run.ts_at(0)).min()
    }

    /// Number of changes.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(Kept::rows).sum()
    }
}

impl Store for Future {
    fn memory(&self) -> usize {
        self.runs.iter().map(Store::memory).sum()
    }

    fn spilled(&self) -> usize {
        self.runs.iter().map(Store::spilled).sum()
    }

    fn spill(&mut self, scratch: &Arc<Scratch>, bytes: usize) -> io::Result<usize> {
        let mut runs: Vec<&mut Kept> = self.runs.iter_mut().collect();
        runs.sort_by_key(|run| Reverse(run.ts_at(0)));
        let mut done = 0;
        for run in runs.into_iter().filter(|run| run.rows() >= SPILLED_ROWS_MIN) {
            if done >= bytes {
                break;
            }
            done += run.spill(scratch, bytes - done)?;
        }
        Ok(done)
    }

    fn rows(&self) -> usize {
        self.len()
    }

    fn save(&self, to: &mut StateWriter) -> Result<(), Misfit> {
        to.put_value(&self.runs.len())?;
        self.runs.iter().try_for_each(|run| run.save(to))
    }

    fn load(&mut self, from: &mut StateReader) -> Result<(), Misfit> {
        let count = from.take_value::<usize>()?;
        let runs = (0..count).map(|_| Ok(Kept::new(from.take_delta()?)));
        self.runs = runs.collect::<Result<_, Misfit>>()?;
        Ok(())
    }
}

/// Returns how many rows of a sorted run are due.
fn due_rows(run: &Kept, watermark: Watermark) -> usize {
    let (mut from, mut to) = (0, run.rows());
    while from < to {
        let middle = from.midpoint(to);
        if watermark.closes(run.ts_at(middle)) { from = middle + 1 } else { to = middle }
    }
    from
}
