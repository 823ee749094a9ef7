//! Batches in order of arrival, merged so that there are few.
//!
//! # Cost
//! As in an LSM tree, the last runs are merged while they are small and of similar size: each row
//! is copied a logarithmic number of times, and runs beyond [`MERGED_ROWS_MAX`] rows are left
//! alone.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;

use crate::delta::Delta;

/// Rows beyond which a run is not merged any more.
const MERGED_ROWS_MAX: usize = 8_192;

/// Rows that can be put behind others.
pub trait Run: Sized {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// These rows and then the others.
    fn followed_by(&self, other: &Self) -> Result<Self, ArrowError>;
}

impl Run for RecordBatch {
    fn rows(&self) -> usize {
        self.num_rows()
    }

    fn followed_by(&self, other: &Self) -> Result<Self, ArrowError> {
        concat_batches(self.schema_ref(), [self, other])
    }
}

impl Run for Delta {
    fn rows(&self) -> usize {
        self.len()
    }

    fn followed_by(&self, other: &Self) -> Result<Self, ArrowError> {
        Delta::concat(&self.schema(), &[self.clone(), other.clone()])
    }
}

/// Batches in order of arrival, merged so that there are few.
#[derive(Debug)]
pub struct Runs<T> {
    runs: VecDeque<T>,
    rows: usize,
}

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self { runs: VecDeque::new(), rows: 0 }
    }
}

impl<T: Run> Runs<T> {
    /// Appends rows.
    pub fn push(&mut self, run: T) -> Result<(), ArrowError> {
        self.rows += run.rows();
        self.runs.push_back(run);
        while let Some([a, b]) = self.runs.make_contiguous().last_chunk() {
            if a.rows() > 2 * b.rows() || a.rows() + b.rows() > MERGED_ROWS_MAX {
                break;
            }
            let merged = a.followed_by(b)?;
            self.runs.truncate(self.runs.len() - 2);
            self.runs.push_back(merged);
        }
        Ok(())
    }

    /// Appends a run as it is.
    pub fn keep(&mut self, run: T) {
        self.rows += run.rows();
        self.runs.push_back(run);
    }

    /// Lets the oldest runs go while at least so many rows remain.
    pub fn keep_newest(&mut self, rows: usize) {
        while self.runs.front().is_some_and(|run| self.rows - run.rows() >= rows) {
            self.rows -= self.runs.pop_front().map_or(0, |run| run.rows());
        }
    }

    /// Lets the oldest runs go, up to the first one that is to stay.
    pub fn keep_from(&mut self, mut stays: impl FnMut(&T) -> bool) {
        while self.runs.front().is_some_and(|run| !stays(run)) {
            self.rows -= self.runs.pop_front().map_or(0, |run| run.rows());
        }
    }

    /// Puts one run with the same rows in place of all.
    pub fn replace(&mut self, run: T) {
        self.rows = run.rows();
        self.runs = VecDeque::from([run]);
    }

    /// Takes all runs out, oldest first.
    pub fn take(&mut self) -> Vec<T> {
        self.rows = 0;
        std::mem::take(&mut self.runs).into()
    }

    /// The runs, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.runs.iter()
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch(values: std::ops::Range<i64>) -> RecordBatch {
        let values = Arc::new(Int64Array::from_iter_values(values));
        RecordBatch::try_from_iter([("a", values as _)]).unwrap()
    }

    fn values(runs: &Runs<RecordBatch>) -> Vec<i64> {
        let values =
            |run: &RecordBatch| run.column(0).as_primitive::<Int64Type>().values().to_vec();
        runs.iter().flat_map(values).collect()
    }

    #[test]
    fn rows_stay_in_order_in_few_runs() {
        let mut runs = Runs::default();
        for i in 0..20_000 {
            runs.push(batch(i..i + 1)).unwrap();
        }
        assert_eq!(values(&runs), (0..20_000).collect::<Vec<_>>());
        assert_eq!(runs.row_count(), 20_000);
        assert!(runs.iter().count() < 20, "{}", runs.iter().count());
        runs.keep_newest(9_000);
        assert!((9_000..9_000 + MERGED_ROWS_MAX).contains(&runs.row_count()));
        assert_eq!(values(&runs).last(), Some(&19_999));
        runs.replace(batch(0..3));
        assert_eq!((runs.row_count(), runs.iter().count()), (3, 1));
    }
}
