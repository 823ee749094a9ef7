//! What a maintained view holds: rows appended, rows with weights, or nothing.

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::runs::Runs;
use crate::delta::{Delta, Weights};
use crate::storage::Bag;

/// What a maintained view holds.
pub enum Content {
    /// Nothing: the query only feeds a subscription.
    None(SchemaRef),
    /// The rows of a query that never retracts, as they came.
    Log {
        /// Row type.
        schema: SchemaRef,
        /// The rows.
        rows: Runs<RecordBatch>,
    },
    /// Distinct rows with weights, and the last snapshot of them.
    Bag(Box<Bag>, Option<(RecordBatch, Int64Array)>),
}

impl Content {
    /// The empty content of a query.
    pub fn new(schema: SchemaRef, append_only: bool) -> Result<Self, ArrowError> {
        Ok(if append_only {
            Content::Log { schema, rows: Runs::default() }
        } else {
            Content::Bag(Box::new(Bag::new(schema)?), None)
        })
    }

    /// Adds a change.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), ArrowError> {
        if delta.is_empty() {
            return Ok(());
        }
        match self {
            Content::None(_) => Ok(()),
            Content::Log { rows, .. } => rows.push(match delta.weights() {
                Weights::Ones => delta.rows().clone(),
                Weights::Each(weights) => repeated(delta.rows(), weights)?,
            }),
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
            Content::Log { schema, rows } => {
                let all = concat_batches(schema, rows.iter())?;
                rows.replace(all.clone());
                let ones = Int64Array::from_value(1, all.num_rows());
                Ok((all, ones))
            }
            Content::Bag(bag, snapshot) => match snapshot {
                Some(snapshot) => Ok(snapshot.clone()),
                None => Ok(snapshot.insert(bag.snapshot()?).clone()),
            },
        }
    }

    /// Number of rows held.
    pub fn row_count(&self) -> usize {
        match self {
            Content::None(_) => 0,
            Content::Log { rows, .. } => rows.row_count(),
            Content::Bag(bag, _) => bag.len(),
        }
    }
}

/// Returns every row as often as its weight says; rows of negative weight are left out.
pub fn repeated(rows: &RecordBatch, weights: &Int64Array) -> Result<RecordBatch, ArrowError> {
    if weights.values().iter().all(|w| *w == 1) {
        return Ok(rows.clone());
    }
    let mut indices = Vec::new();
    for (i, weight) in (0u32..).zip(weights.values()) {
        indices.extend((0..*weight).map(|_| i));
    }
    arrow::compute::take_record_batch(rows, &UInt32Array::from(indices))
}
