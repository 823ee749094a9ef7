//! What a query's result holds: rows with weights, elements with their times, or nothing.

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::history::{History, Retention};
use crate::delta::{Delta, Instants, Weights};
use crate::storage::Bag;
use crate::time::Timestamp;

/// What a query's result holds.
pub enum Content {
    /// Nothing: the query only feeds a subscription.
    None(SchemaRef),
    /// The elements of a stream, or the rows of a relation that only grows, as they came.
    History(History),
    /// Distinct rows with weights, and the last snapshot of them.
    Bag(Box<Bag>, Option<(RecordBatch, Int64Array)>),
}

impl Content {
    /// The empty content of a relation.
    pub fn relation(schema: SchemaRef, append_only: bool) -> Result<Self, ArrowError> {
        Ok(match append_only {
            true => Self::stream(schema, Retention::Forever),
            false => Content::Bag(Box::new(Bag::new(schema)?), None),
        })
    }

    /// The empty content of a stream.
    pub fn stream(schema: SchemaRef, retention: Retention) -> Self {
        Content::History(History::new(schema, retention))
    }

    /// Adds a change.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), ArrowError> {
        if delta.is_empty() {
            return Ok(());
        }
        match self {
            Content::None(_) => Ok(()),
            Content::History(history) => history.push(&delta.repeated()?),
            Content::Bag(bag, snapshot) => {
                *snapshot = None;
                bag.apply(delta)
            }
        }
    }

    /// Returns the rows with their weights.
    pub fn snapshot(&mut self) -> Result<(RecordBatch, Int64Array), ArrowError> {
        match self {
            Content::None(schema) => {
                Ok((RecordBatch::new_empty(schema.clone()), Int64Array::from(Vec::<i64>::new())))
            }
            Content::History(history) => {
                let all = history.whole()?.rows().clone();
                let ones = Int64Array::from_value(1, all.num_rows());
                Ok((all, ones))
            }
            Content::Bag(bag, snapshot) => match snapshot {
                Some(snapshot) => Ok(snapshot.clone()),
                None => Ok(snapshot.insert(bag.snapshot()?).clone()),
            },
        }
    }

    /// Returns the rows with their weights and times, where these are kept; elsewhere at `at`.
    pub fn deltas(&mut self, at: Timestamp) -> Result<Vec<Delta>, ArrowError> {
        if let Content::History(history) = self {
            return Ok(history.deltas());
        }
        let (rows, weights) = self.snapshot()?;
        let delta = Delta::new(rows, Instants::All(at), Weights::Each(weights));
        Ok(if delta.is_empty() { vec![] } else { vec![delta] })
    }

    /// Number of rows held.
    pub fn row_count(&self) -> usize {
        match self {
            Content::None(_) => 0,
            Content::History(history) => history.row_count(),
            Content::Bag(bag, _) => bag.len(),
        }
    }
}
