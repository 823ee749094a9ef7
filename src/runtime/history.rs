//! Rows a stream retains, in memory, in arrival order.

use arrow::error::ArrowError;

use super::runs::Runs;
use crate::delta::Delta;

/// Which rows a stream retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// None.
    Nothing,
    /// The newest, at least so many.
    Rows(usize),
    /// All.
    Forever,
}

impl Default for Retention {
    /// A million rows: enough to look at, and bounded while history lives in memory.
    fn default() -> Self {
        Retention::Rows(1_000_000)
    }
}

/// Rows a stream retains.
pub struct History {
    retention: Retention,
    deltas: Runs<Delta>,
}

impl History {
    /// Nothing yet.
    pub fn new(retention: Retention) -> Self {
        Self { retention, deltas: Runs::default() }
    }

    /// Adds rows; lets the oldest go.
    pub fn push(&mut self, delta: &Delta) -> Result<(), ArrowError> {
        if delta.is_empty() || self.retention == Retention::Nothing {
            return Ok(());
        }
        self.deltas.push(delta.clone())?;
        if let Retention::Rows(keep) = self.retention {
            self.deltas.keep_newest(keep);
        }
        Ok(())
    }

    /// The rows with their times, in arrival order.
    pub fn deltas(&self) -> Vec<Delta> {
        self.deltas.iter().cloned().collect()
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.deltas.row_count()
    }
}
