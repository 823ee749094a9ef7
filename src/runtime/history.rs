//! Rows a stream retains, in memory, in arrival order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;

use super::runs::{Run, Runs};
use super::{Result, image};
use crate::delta::{Delta, Instants, append_column, batch, codec};
use crate::operators::{StateReader, StateWriter};
use crate::planner::relation::LATE;
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
    /// Late rows for windows that are open, which have one column more: the watermark they met.
    late: Option<Arc<Retained>>,
}

impl Retained {
    /// Rows of one commit.
    pub fn new(delta: Delta, arrived: Timestamp) -> Self {
        let arrivals = vec![(delta.len(), arrived)];
        Self { delta, arrivals, late: None }
    }

    /// The same with late rows of that commit.
    #[must_use]
    pub fn with_late(self, late: Option<Delta>, arrived: Timestamp) -> Self {
        Self { late: late.map(|late| Arc::new(Self::new(late, arrived))), ..self }
    }

    /// The rows and the late ones, with the watermark that a late row met as a last column. `time`
    /// is the column of the event time.
    pub fn and_late(&self, time: usize) -> Result<Self, ArrowError> {
        let rows = self.delta.rows();
        let none = new_null_array(rows.column(time).data_type(), rows.num_rows());
        let delta = self.delta.clone().with_rows(append_column(rows, LATE, none)?);
        let all = Self { delta, arrivals: self.arrivals.clone(), late: None };
        self.late.as_ref().map_or(Ok(all.clone()), |late| all.followed_by(late))
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
        self.delta.len() + self.late.as_ref().map_or(0, |late| late.rows())
    }

    fn followed_by(&self, other: &Self) -> Result<Self, ArrowError> {
        let delta = self.delta.followed_by(&other.delta)?;
        let arrivals = [self.arrivals.as_slice(), other.arrivals.as_slice()].concat();
        let late = match (&self.late, &other.late) {
            (Some(first), Some(second)) => Some(Arc::new(first.followed_by(second)?)),
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        Ok(Self { delta, arrivals, late })
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
            let late = retained.late.as_deref();
            image::put_json(to, "arrivals", &(&retained.arrivals, late.map(|l| &l.arrivals)))?;
            if let Some(late) = late {
                to.put("late", codec::encode(&late.delta)?);
            }
        }
        Ok(())
    }

    /// Takes what [`History::save`] wrote.
    pub fn load(&mut self, from: &mut StateReader) -> Result<()> {
        while let Some(rows) = from.take("retained") {
            let (arrivals, late) = image::take_json(from, "arrivals")?;
            let late = match late {
                None => None,
                Some(arrivals) => {
                    let delta = codec::decode(&image::take(from, "late")?)?;
                    Some(Arc::new(Retained { delta, arrivals, late: None }))
                }
            };
            let delta = codec::decode(&rows)?;
            self.latest = delta.latest().max(self.latest);
            self.retained.keep(Retained { delta, arrivals, late });
        }
        Ok(())
    }

    /// Adds rows; lets the oldest go.
    pub fn push(&mut self, arrived: Retained) -> Result<(), ArrowError> {
        if arrived.rows() == 0 || self.retention == Retention::Nothing {
            return Ok(());
        }
        self.latest = arrived.delta.latest().max(self.latest);
        if let Retention::Time(keep) = self.retention {
            // Before new rows are merged with what is to go.
            let oldest = self.latest.plus(-keep);
            self.retained.keep_from(|run| run.delta.latest() >= oldest);
        }
        self.retained.push(arrived)?;
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
