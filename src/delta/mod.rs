//! The data model: a delta is a bag of timed, signed rows.
//!
//! # Semantics
//! A [`Delta`] is a bag of `(row, ts, weight)` triples over Arrow columns: "at instant `ts` the
//! row's multiplicity changes by `weight`". It is STREAM's +/- elements, DBSP's Z-set and
//! differential dataflow's collection trace in one. There is no update: a change of a row is a
//! retraction of the old one and an insertion of the new one.
//!
//! # Invariants
//! 1. `rows`, `ts` and `weights` have equal length, and `ts` and `weights` hold no NULL.
//! 2. No weight is 0.
//! 3. Rows of equal `ts` stand in seq order (durable arrival order), which only order-sensitive
//!    windows look at.
//!
//! Two deltas with equal consolidated forms are equal in meaning.
//!
//! # Cost
//! Append-only changes carry no weight column ([`Weights::Ones`]) and changes of one instant no
//! time column ([`Instants::All`]).
//!
//! # References
//! Budiu et al., DBSP (VLDB 2023); McSherry et al., Differential dataflow (CIDR 2013).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use crate::time::Timestamp;

pub mod codec;
mod consolidate;
pub mod partition;
pub mod pretty;
pub mod span;

pub use consolidate::{consolidate, consolidate_batch};

/// When the rows of a delta take effect.
#[derive(Clone, Debug)]
pub enum Instants {
    /// All at one instant.
    All(Timestamp),
    /// Each at its own, in microseconds since the Unix epoch.
    Each(TimestampMicrosecondArray),
}

impl Instants {
    /// Returns the instant of row `i`.
    pub fn at(&self, i: usize) -> Timestamp {
        match self {
            Instants::All(at) => *at,
            Instants::Each(ts) => Timestamp(ts.value(i)),
        }
    }
}

/// About how many bytes rows take, of those that others share with them only their part.
pub fn rows_bytes(rows: &RecordBatch) -> usize {
    let size = |column: &ArrayRef| {
        let shared = column.get_array_memory_size();
        column.to_data().get_slice_memory_size().unwrap_or(shared)
    };
    rows.columns().iter().map(size).sum()
}

/// Signed multiplicities of the rows of a delta.
#[derive(Clone, Debug)]
pub enum Weights {
    /// Every row once: nothing is retracted.
    Ones,
    /// One weight per row, none 0.
    Each(Int64Array),
}

/// A bag of changes: columnar `(row, ts, weight)` triples.
#[derive(Clone, Debug)]
pub struct Delta {
    rows: RecordBatch,
    ts: Instants,
    weights: Weights,
}

impl Delta {
    /// A delta of the given parts. Lengths must agree.
    pub fn new(rows: RecordBatch, ts: Instants, weights: Weights) -> Self {
        if let Instants::Each(ts) = &ts {
            assert_eq!(ts.len(), rows.num_rows(), "one timestamp per row");
        }
        if let Weights::Each(weights) = &weights {
            assert_eq!(weights.len(), rows.num_rows(), "one weight per row");
        }
        Self { rows, ts, weights }
    }

    /// Every row once, all at one instant.
    pub fn inserts(rows: RecordBatch, at: Timestamp) -> Self {
        Self { rows, ts: Instants::All(at), weights: Weights::Ones }
    }

    /// No change, of the given row type.
    pub fn empty(schema: SchemaRef) -> Self {
        Self::inserts(RecordBatch::new_empty(schema), Timestamp::MIN)
    }

    /// Number of triples.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// About how many bytes it takes, of those that others share with it only its part.
    pub fn bytes(&self) -> usize {
        // Its time and weight are beside each row.
        rows_bytes(&self.rows) + self.len() * 16
    }

    /// Whether there is no triple.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The row type.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// When the rows take effect.
    pub fn ts(&self) -> &Instants {
        &self.ts
    }

    /// How often.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Returns the instant of row `i`.
    pub fn ts_at(&self, i: usize) -> Timestamp {
        self.ts.at(i)
    }

    /// Returns the earliest and the latest instant of the rows, if there are any.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        match &self.ts {
            _ if self.is_empty() => None,
            Instants::All(at) => Some((*at, *at)),
            Instants::Each(ts) => {
                let (first, last) = (ts.values().iter().min()?, ts.values().iter().max()?);
                Some((Timestamp(*first), Timestamp(*last)))
            }
        }
    }

    /// Returns the latest instant of the rows, the least one of none.
    pub fn latest(&self) -> Timestamp {
        self.span().map_or(Timestamp::MIN, |(_, latest)| latest)
    }

    /// Returns the weight of row `i`.
    pub fn weight(&self, i: usize) -> i64 {
        match &self.weights {
            Weights::Ones => 1,
            Weights::Each(weights) => weights.value(i),
        }
    }

    /// Returns the instants as an array.
    pub fn ts_array(&self) -> TimestampMicrosecondArray {
        match &self.ts {
            Instants::All(at) => TimestampMicrosecondArray::from_value(at.0, self.len()),
            Instants::Each(ts) => ts.clone(),
        }
    }

    /// Returns the weights as an array.
    pub fn weight_array(&self) -> Int64Array {
        match &self.weights {
            Weights::Ones => Int64Array::from_value(1, self.len()),
            Weights::Each(weights) => weights.clone(),
        }
    }

    /// Replaces the rows, one for one; `rows` may have another schema.
    #[must_use]
    pub fn with_rows(self, rows: RecordBatch) -> Self {
        Self::new(rows, self.ts, self.weights)
    }

    /// Lets every change take effect at `at` instead.
    #[must_use]
    pub fn at(self, at: Timestamp) -> Self {
        Self { ts: Instants::All(at), ..self }
    }

    /// The same changes, those of before `floor` at `floor`.
    #[must_use]
    pub fn not_before(self, floor: Timestamp) -> Self {
        let ts = match &self.ts {
            Instants::All(at) => Instants::All((*at).max(floor)),
            Instants::Each(ts) if ts.values().iter().all(|t| *t >= floor.0) => return self,
            Instants::Each(ts) => Instants::Each(ts.unary(|t: i64| t.max(floor.0))),
        };
        Self { ts, ..self }
    }

    /// The same changes with opposite signs.
    #[must_use]
    pub fn negate(self) -> Self {
        let weights = match &self.weights {
            Weights::Ones => Int64Array::from_value(-1, self.rows.num_rows()),
            Weights::Each(weights) => weights.unary(|w: i64| -w),
        };
        Self { weights: Weights::Each(weights), ..self }
    }

    /// Keeps the rows for which `keep` is true; NULL counts as not true.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self, ArrowError> {
        if keep.true_count() == self.len() {
            return Ok(self.clone());
        }
        let rows = compute::filter_record_batch(&self.rows, keep)?;
        let ts = match &self.ts {
            Instants::All(at) => Instants::All(*at),
            Instants::Each(ts) => Instants::Each(downcast_ts(&compute::filter(ts, keep)?)),
        };
        let weights = match &self.weights {
            Weights::Ones => Weights::Ones,
            Weights::Each(w) => Weights::Each(downcast_weights(&compute::filter(w, keep)?)),
        };
        Ok(Self { rows, ts, weights })
    }

    /// Takes rows by index, in the given order; an index may repeat.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, ArrowError> {
        let rows = take_rows(&self.rows, indices)?;
        let ts = match &self.ts {
            Instants::All(at) => Instants::All(*at),
            Instants::Each(ts) => Instants::Each(downcast_ts(&compute::take(ts, indices, None)?)),
        };
        let weights = match &self.weights {
            Weights::Ones => Weights::Ones,
            Weights::Each(w) => Weights::Each(downcast_weights(&compute::take(w, indices, None)?)),
        };
        Ok(Self { rows, ts, weights })
    }

    /// A zero-copy part of the delta.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        let ts = match &self.ts {
            Instants::All(at) => Instants::All(*at),
            Instants::Each(ts) => Instants::Each(ts.slice(offset, length)),
        };
        let weights = match &self.weights {
            Weights::Ones => Weights::Ones,
            Weights::Each(weights) => Weights::Each(weights.slice(offset, length)),
        };
        Self { rows: self.rows.slice(offset, length), ts, weights }
    }

    /// Concatenates deltas of one schema, in order.
    pub fn concat(schema: &SchemaRef, deltas: &[Delta]) -> Result<Self, ArrowError> {
        match deltas {
            [] => return Ok(Self::empty(schema.clone())),
            [one] => return Ok(one.clone()),
            _ => {}
        }
        let rows = compute::concat_batches(schema, deltas.iter().map(|d| &d.rows))?;
        let ts = match Self::common_instant(deltas) {
            Some(at) => Instants::All(at),
            None => {
                let parts: Vec<_> = deltas.iter().map(Delta::ts_array).collect();
                let parts: Vec<&dyn Array> = parts.iter().map(|p| p as &dyn Array).collect();
                Instants::Each(downcast_ts(&compute::concat(&parts)?))
            }
        };
        let weights = if deltas.iter().all(|d| matches!(d.weights, Weights::Ones)) {
            Weights::Ones
        } else {
            let parts: Vec<_> = deltas.iter().map(Delta::weight_array).collect();
            let parts: Vec<&dyn Array> = parts.iter().map(|p| p as &dyn Array).collect();
            Weights::Each(downcast_weights(&compute::concat(&parts)?))
        };
        Ok(Self { rows, ts, weights })
    }

    fn common_instant(deltas: &[Delta]) -> Option<Timestamp> {
        let mut common = None;
        for delta in deltas.iter().filter(|d| !d.is_empty()) {
            match (&delta.ts, common) {
                (Instants::All(at), None) => common = Some(*at),
                (Instants::All(at), Some(seen)) if *at == seen => {}
                _ => return None,
            }
        }
        Some(common.unwrap_or(Timestamp::MIN))
    }

    /// Sorts by instant; rows of one instant stay in order.
    pub fn by_instant(self) -> Result<Self, ArrowError> {
        let Instants::Each(ts) = &self.ts else { return Ok(self) };
        let ts = ts.values();
        if ts.is_sorted() {
            return Ok(self);
        }
        let mut order: Vec<u32> = (0..).take(ts.len()).collect();
        order.sort_by_key(|row| ts[*row as usize]);
        self.take(&UInt32Array::from(order))
    }

    /// Returns the end of the run of rows that begins with row `from` and has its instant.
    pub fn end_of_instant(&self, from: usize) -> usize {
        match &self.ts {
            Instants::All(_) => self.len(),
            Instants::Each(ts) => {
                let ts = &ts.values()[from..];
                from + ts.iter().position(|other| *other != ts[0]).unwrap_or(ts.len())
            }
        }
    }

    /// Sorts by instant, and rows of one instant by their values.
    pub fn by_instant_and_row(self) -> Result<Self, ArrowError> {
        let columns = self.rows.columns();
        if self.len() <= 1 || columns.is_empty() {
            return self.by_instant();
        }
        let fields = columns.iter().map(|c| SortField::new(c.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?.convert_columns(columns)?;
        let key = |i: u32| (self.ts_at(i as usize), rows.row(i as usize));
        let mut order: Vec<u32> = (0..).take(self.len()).collect();
        order.sort_by(|a, b| key(*a).cmp(&key(*b)));
        self.take(&UInt32Array::from(order))
    }

    /// Every row as often as its weight says, each time once; rows of negative weight are left out.
    pub fn repeated(&self) -> Result<Self, ArrowError> {
        let Weights::Each(weights) = &self.weights else { return Ok(self.clone()) };
        let ones = Self { weights: Weights::Ones, ..self.clone() };
        if weights.values().iter().all(|weight| *weight == 1) {
            return Ok(ones);
        }
        let copies = |(i, weight): (u32, &i64)| (0..*weight).map(move |_| i);
        let indices = (0u32..).zip(weights.values()).flat_map(copies);
        ones.take(&UInt32Array::from_iter_values(indices))
    }

    /// Sums the weights of equal `(row, ts)` and drops zeros.
    pub fn consolidate(&self) -> Result<Self, ArrowError> {
        consolidate(self)
    }
}

/// Builds a batch of `len` rows, also when there is no column.
pub fn batch(
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
    len: usize,
) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(len));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

/// Adds a last column.
pub fn append_column(
    rows: &RecordBatch,
    name: &str,
    column: ArrayRef,
) -> Result<RecordBatch, ArrowError> {
    let field = Arc::new(Field::new(name, column.data_type().clone(), true));
    let fields = rows.schema_ref().fields().iter().cloned().chain([field]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = rows.columns().iter().cloned().chain([column]).collect();
    batch(schema, columns, rows.num_rows())
}

/// Takes rows by index, also when there is no column.
pub fn take_rows(rows: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch, ArrowError> {
    let columns = rows.columns().iter().map(|column| compute::take(column, indices, None));
    batch(rows.schema(), columns.collect::<Result<_, _>>()?, indices.len())
}

fn downcast_ts(array: &ArrayRef) -> TimestampMicrosecondArray {
    array.as_any().downcast_ref().cloned().expect("kernels keep the type of timestamps")
}

fn downcast_weights(array: &ArrayRef) -> Int64Array {
    array.as_any().downcast_ref().cloned().expect("kernels keep the type of weights")
}
