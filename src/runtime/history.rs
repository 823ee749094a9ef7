//! Rows a stream retains, in memory, in arrival order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;

use super::runs::{Run, Runs};
use super::{Result, image};
use crate::delta::{Delta, Instants, batch, codec};
use crate::operators::{StateReader, StateWriter};
use crate::time::Timestamp;

/// Which rows a stream retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// None.
    Nothing,
    /// The newest, at least so many.
    Rows(usize),
    /// Those whose time is at most so many microseconds before the latest one, and some older ones
    /// that came with them.
    Time(i64),
    /// All.
    Forever,
}

impl Default for Retention {
    /// A million rows: enough to look at, and bounded while history lives in memory.
    fn default() -> Self {
        Retention::Rows(1_000_000)
    }
}

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

impl Run for Retained {
    fn rows(&self) -> usize {
        self.delta.len()
    }

    fn followed_by(&self, other: &Self) -> Result<Self, ArrowError> {
        let delta = self.delta.followed_by(&other.delta)?;
        let arrivals = [self.arrivals.as_slice(), other.arrivals.as_slice()].concat();
        Ok(Self { delta, arrivals })
    }
}

/// Rows a stream retains.
pub struct History {
    retention: Retention,
    retained: Runs<Retained>,
    /// The latest time that a row had.
    latest: Timestamp,
}

impl History {
    /// Nothing yet.
    pub fn new(retention: Retention) -> Self {
        Self { retention, retained: Runs::default(), latest: Timestamp::MIN }
    }

    /// Writes the rows.
    pub fn save(&self, to: &mut StateWriter) -> Result<()> {
        for retained in self.retained.iter() {
            to.put("retained", codec::encode(&retained.delta)?);
            image::put_json(to, "arrivals", &retained.arrivals)?;
        }
        Ok(())
    }

    /// Takes what [`History::save`] wrote.
    pub fn load(&mut self, from: &mut StateReader) -> Result<()> {
        while let Some(rows) = from.take("retained") {
            let arrivals = image::take_json(from, "arrivals")?;
            let delta = codec::decode(&rows)?;
            self.latest = delta.latest().max(self.latest);
            self.retained.keep(Retained { delta, arrivals });
        }
        Ok(())
    }

    /// Adds rows that arrived at a time; lets the oldest go.
    pub fn push(&mut self, delta: &Delta, arrived: Timestamp) -> Result<(), ArrowError> {
        if delta.is_empty() || self.retention == Retention::Nothing {
            return Ok(());
        }
        self.latest = delta.latest().max(self.latest);
        if let Retention::Time(keep) = self.retention {
            // Before new rows are merged with what is to go.
            let oldest = self.latest.plus(-keep);
            self.retained.keep_from(|run| run.delta.latest() >= oldest);
        }
        self.retained.push(Retained::new(delta.clone(), arrived))?;
        if let Retention::Rows(keep) = self.retention {
            self.retained.keep_newest(keep);
        }
        Ok(())
    }

    /// The rows, in arrival order.
    pub fn retained(&self) -> Vec<Retained> {
        self.retained.iter().cloned().collect()
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.retained.row_count()
    }
}
