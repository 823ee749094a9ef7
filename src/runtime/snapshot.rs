//! The content of a relation at one log position.

use arrow::array::{Int64Array, RecordBatch};
use arrow::error::ArrowError;

use super::packet::Commit;
use crate::delta::{Delta, Instants, Weights};
use crate::time::{Timestamp, Watermark};

/// The content of a relation at one log position.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Distinct rows.
    pub rows: RecordBatch,
    /// How often each.
    pub weights: Int64Array,
    /// Event time reached.
    pub watermark: Watermark,
    /// The last commit.
    pub commit: Commit,
}

impl Snapshot {
    /// Every row as often as it is there.
    pub fn all_rows(&self) -> Result<RecordBatch, ArrowError> {
        Ok(self.delta(Timestamp::MIN).repeated()?.rows().clone())
    }

    /// The content as insertions at an instant.
    pub fn delta(&self, at: Timestamp) -> Delta {
        let weights = Weights::Each(self.weights.clone());
        Delta::new(self.rows.clone(), Instants::All(at), weights)
    }

    /// Applies a change.
    pub fn add(&mut self, delta: &Delta) -> Result<(), ArrowError> {
        let schema = self.rows.schema();
        let content = self.delta(Timestamp::MIN);
        let sum = Delta::concat(&schema, &[content, delta.clone().at(Timestamp::MIN)])?;
        let sum = sum.consolidate()?;
        self.rows = sum.rows().clone();
        self.weights = sum.weight_array();
        Ok(())
    }
}
