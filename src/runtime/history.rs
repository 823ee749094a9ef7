//! Rows a stream retains, in memory, in arrival order.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::delta::{Delta, Instants, batch};
use crate::time::Timestamp;

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

/// Rows of consecutive commits.
#[derive(Clone, Debug)]
pub struct Retained {
    /// The rows with their times, in arrival order.
    pub delta: Delta,
    /// How many of them each commit brought, and when.
    arrivals: Vec<(usize, Timestamp)>,
}

impl Retained {
    /// Rows of one commit.
    pub fn new(delta: Delta, arrived: Timestamp) -> Self {
        let arrivals = vec![(delta.len(), arrived)];
        Self { delta, arrivals }
    }

    /// The rows with the times at which they arrived, also as a last column.
    pub fn by_arrival(&self) -> Result<Delta, ArrowError> {
        let times = self.arrivals.iter().flat_map(|(rows, at)| std::iter::repeat_n(at.0, *rows));
        let times = TimestampMicrosecondArray::from_iter_values(times);
        let column: ArrayRef = Arc::new(times.clone().with_timezone("UTC"));
        let field = Field::new("arrival", column.data_type().clone(), false);
        let rows = self.delta.rows();
        let fields = rows.schema_ref().fields().iter().cloned().chain([Arc::new(field)]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = rows.columns().iter().cloned().chain([column]).collect();
        let rows = batch(schema, columns, self.delta.len())?;
        Ok(Delta::new(rows, Instants::Each(times), self.delta.weights().clone()))
    }
}

/// Rows a stream retains.
pub struct History {
    schema: SchemaRef,
    retention: Retention,
    retained: VecDeque<Retained>,
    rows: usize,
}

impl History {
    /// Nothing yet.
    pub fn new(schema: SchemaRef, retention: Retention) -> Self {
        Self { schema, retention, retained: VecDeque::new(), rows: 0 }
    }

    /// Adds rows that arrived at a time; lets the oldest go.
    pub fn push(&mut self, delta: &Delta, arrived: Timestamp) -> Result<(), ArrowError> {
        if delta.is_empty() || self.retention == Retention::Nothing {
            return Ok(());
        }
        self.rows += delta.len();
        self.retained.push_back(Retained::new(delta.clone(), arrived));
        self.merge_last()?;
        if let Retention::Rows(keep) = self.retention {
            let length = |retained: &Retained| retained.delta.len();
            while self.retained.front().is_some_and(|first| self.rows - length(first) >= keep) {
                self.rows -= self.retained.pop_front().map_or(0, |first| length(&first));
            }
        }
        Ok(())
    }

    /// Merges the last batches while they are small and alike, so that each row is copied few
    /// times.
    fn merge_last(&mut self) -> Result<(), ArrowError> {
        while let Some(b) = self.retained.pop_back() {
            let small = |a: &mut Retained| {
                let (a, b) = (a.delta.len(), b.delta.len());
                a <= 2 * b && a + b <= MERGED_ROWS_MAX
            };
            let Some(mut a) = self.retained.pop_back_if(small) else {
                self.retained.push_back(b);
                break;
            };
            a.delta = Delta::concat(&self.schema, &[a.delta, b.delta])?;
            a.arrivals.extend(b.arrivals);
            self.retained.push_back(a);
        }
        Ok(())
    }

    /// The rows, in arrival order.
    pub fn retained(&self) -> Vec<Retained> {
        self.retained.iter().cloned().collect()
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.rows
    }
}
