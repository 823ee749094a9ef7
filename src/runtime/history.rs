//! Rows a stream retains, in memory, in arrival order.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

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

/// Rows beyond which a batch is not merged with later ones.
const MERGED_ROWS_MAX: usize = 8_192;

/// Rows a stream retains.
pub struct History {
    schema: SchemaRef,
    retention: Retention,
    deltas: VecDeque<Delta>,
    rows: usize,
}

impl History {
    /// Nothing yet.
    pub fn new(schema: SchemaRef, retention: Retention) -> Self {
        Self { schema, retention, deltas: VecDeque::new(), rows: 0 }
    }

    /// Adds rows; lets the oldest go.
    pub fn push(&mut self, delta: &Delta) -> Result<(), ArrowError> {
        if delta.is_empty() || self.retention == Retention::Nothing {
            return Ok(());
        }
        self.rows += delta.len();
        self.deltas.push_back(delta.clone());
        self.merge_last()?;
        if let Retention::Rows(keep) = self.retention {
            while self.deltas.front().is_some_and(|d| self.rows - d.len() >= keep) {
                self.rows -= self.deltas.pop_front().map_or(0, |d| d.len());
            }
        }
        Ok(())
    }

    /// Merges the last batches while they are small and alike, so that each row is copied few
    /// times.
    fn merge_last(&mut self) -> Result<(), ArrowError> {
        while self.deltas.len() >= 2 {
            let (a, b) = (&self.deltas[self.deltas.len() - 2], &self.deltas[self.deltas.len() - 1]);
            if a.len() > 2 * b.len() || a.len() + b.len() > MERGED_ROWS_MAX {
                break;
            }
            let merged = Delta::concat(&self.schema, &[a.clone(), b.clone()])?;
            self.deltas.truncate(self.deltas.len() - 2);
            self.deltas.push_back(merged);
        }
        Ok(())
    }

    /// The rows with their times, in arrival order.
    pub fn deltas(&self) -> Vec<Delta> {
        self.deltas.iter().cloned().collect()
    }

    /// The rows as one delta, in arrival order, which is kept so.
    pub fn whole(&mut self) -> Result<Delta, ArrowError> {
        let all = Delta::concat(&self.schema, self.deltas.make_contiguous())?;
        self.deltas = if all.is_empty() { VecDeque::new() } else { VecDeque::from([all.clone()]) };
        Ok(all)
    }

    /// The rows, in arrival order.
    pub fn batches(&self) -> Vec<RecordBatch> {
        self.deltas.iter().map(|d| d.rows().clone()).collect()
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.rows
    }
}
