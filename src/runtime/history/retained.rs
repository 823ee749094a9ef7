//! Rows of consecutive commits, with their times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;

use crate::delta::{Delta, Instants, append_column, batch};
use crate::planner::relation::LATE;
use crate::runtime::Result;
use crate::runtime::runs::Run;
use crate::storage::{StateReader, StateWriter};
use crate::time::Timestamp;

/// Rows of consecutive commits.
#[derive(Clone, Debug)]
pub struct Retained {
    /// The rows with their times, in arrival order.
    pub delta: Delta,
    /// How many of them each commit brought, and when.
    pub(super) arrivals: Vec<(usize, Timestamp)>,
    /// Late rows for windows that are open, which have one column more: the watermark they met.
    pub(super) late: Option<Arc<Retained>>,
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
        let times = self.arrival_times();
        let column: ArrayRef = Arc::new(times.clone().with_timezone("UTC"));
        let field = Field::new("arrival", column.data_type().clone(), false);
        let rows = self.delta.rows();
        let fields = rows.schema_ref().fields().iter().cloned().chain([Arc::new(field)]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = rows.columns().iter().cloned().chain([column]).collect();
        let rows = batch(schema, columns, self.delta.len())?;
        Ok(Delta::new(rows, Instants::Each(times), self.delta.weights().clone()))
    }

    /// When each row arrived.
    pub(super) fn arrival_times(&self) -> TimestampMicrosecondArray {
        let times = self.arrivals.iter().flat_map(|(rows, at)| std::iter::repeat_n(at.0, *rows));
        TimestampMicrosecondArray::from_iter_values(times)
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        self.delta.bytes() + self.late.as_ref().map_or(0, |late| late.bytes())
    }

    /// The least and the greatest time of a row, late ones too; none of no rows.
    pub(super) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let late = self.late.as_ref().and_then(|late| late.span());
        self.delta.span().into_iter().chain(late).reduce(wider)
    }

    /// Writes the rows.
    pub(super) fn save(&self, to: &mut StateWriter) -> Result<()> {
        to.put_delta(&self.delta)?;
        let late = self.late.as_deref();
        to.put_value(&(&self.arrivals, late.map(|late| &late.arrivals)))?;
        if let Some(late) = late {
            to.put_delta(&late.delta)?;
        }
        Ok(())
    }

    /// Takes what [`Retained::save`] wrote.
    pub(super) fn load(from: &mut StateReader) -> Result<Self> {
        let rows = from.take_delta()?;
        let (arrivals, late) = from.take_value()?;
        let late = match late {
            None => None,
            Some(arrivals) => {
                let delta = from.take_delta()?;
                Some(Arc::new(Retained { delta, arrivals, late: None }))
            }
        };
        Ok(Retained { delta: rows, arrivals, late })
    }
}

/// The span that has both.
pub(super) fn wider(
    a: (Timestamp, Timestamp),
    b: (Timestamp, Timestamp),
) -> (Timestamp, Timestamp) {
    (a.0.min(b.0), a.1.max(b.1))
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
