//! ASOF joins: each left row with the one right row of its key that is nearest in time.
//!
//! # Semantics
//! Of the right rows with equal keys and `right <= left` the one with the greatest time is picked
//! (or `<`; or `>=` and `>`, and the least). Among equal times the greatest row wins, by its
//! columns from first to last. A NULL in key or time picks nothing and is picked by nothing.
//! Without a pick an inner join drops the left row and an outer one pads it with NULLs.
//!
//! Over the versions of a table (FOR SYSTEM_TIME AS OF) the version that came last wins among equal
//! times, and a version that says "deleted" is no pick.
//!
//! ```text
//!   right    a@1          b@4       c@6
//!   left         x@2  y@4    z@5         picks  x-a  y-b  z-b
//! ```
//!
//! # State
//! The rows of both sides by key and time, and what each left row has picked. A change of the
//! right side looks again at the left rows from its time to that of the next right row. When the
//! watermark has passed a left row's time, its pick is final and the row is freed; a right row is
//! freed when a later one is as old as that. So one right row per key stays.
//!
//! Where both sides append and carry their times as event time, a pick is final at once: then left
//! rows are not stored, and many instants are taken together.
//!
//! # Cost
//! A search in the key's rows per left row; per right row one, and the left rows it concerns.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, cast, take};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

use super::finality::Frees;
use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::storage::{Deltas, NONE, RowCodec, RowSet, Visit};
use crate::time::{Timestamp, Watermark};
use side::Side;

mod picks;
mod side;
#[cfg(test)]
mod tests;

/// Which right row is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// Whether right times come after the left one; else before it.
    pub after: bool,
    /// Whether equal times do not match.
    pub strict: bool,
}

/// One input of an ASOF join.
#[derive(Clone, Debug)]
pub struct AsOfSide {
    /// Its row type.
    pub schema: SchemaRef,
    /// What must equal the keys of the other side, one by one.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// The time to compare.
    pub time: Arc<dyn PhysicalExpr>,
    /// When its rows are final, if a watermark tells.
    pub frees: Option<Frees>,
}

/// What an [`AsOf`] join is to compute.
#[derive(Clone, Debug)]
pub struct AsOfOptions {
    /// The input of port 0.
    pub left: AsOfSide,
    /// The input of port 1.
    pub right: AsOfSide,
    /// Which right row is picked.
    pub nearest: Nearest,
    /// Whether left rows without a pick are kept.
    pub outer: bool,
    /// Whether right rows are versions: the last column says that there is no row from then on.
    pub versions: bool,
    /// Whether no later change touches a pick: both sides append, and their times are their event
    /// times.
    pub settled: bool,
    /// Left columns, then right ones without the last of versions.
    pub output: SchemaRef,
}

/// An ASOF join.
pub struct AsOf {
    strict: bool,
    outer: bool,
    versions: bool,
    settled: bool,
    output: SchemaRef,
    /// Keys of both sides.
    keys: RowSet,
    key_types: Vec<DataType>,
    /// Encodes times so that the nearest of those that match is the greatest not above.
    time: RowCodec,
    time_type: DataType,
    /// Bytes of an encoded time.
    width: usize,
    left: Side,
    right: Side,
    /// By left slot: the weight that was shown, and the right slot with it.
    shown: Vec<(i64, u32)>,
    /// Left rows to look at once the instant is complete.
    dirty: Vec<(u32, u32)>,
    /// By left slot: whether it is among `dirty`.
    marks: Vec<bool>,
    /// Right rows that the instant has changed.
    changed: Vec<(u32, u32)>,
    /// Left rows of a settled join that wait for the right rows of their round.
    waiting: Vec<Delta>,
    /// Output of this round.
    joined: Vec<Delta>,
}

/// Rows that have a key and a time.
struct Keyed {
    delta: Delta,
    keys: Vec<ArrayRef>,
    times: ArrayRef,
    /// Rows that have none.
    alone: Option<Delta>,
}

impl AsOf {
    /// A join of two empty relations.
    pub fn new(options: AsOfOptions) -> Result<Self> {
        let AsOfOptions { left, right, nearest, outer, versions, settled, output } = options;
        let types = left.keys.iter().map(|key| key.data_type(&left.schema));
        let key_types = types.collect::<std::result::Result<Vec<_>, _>>()?;
        let time_type = left.time.data_type(&left.schema)?;
        let order = SortOptions { descending: nearest.after, nulls_first: true };
        let time = RowCodec::sorted(vec![(time_type.clone(), order)])?;
        let sample = arrow::array::new_null_array(&time_type, 1);
        let width = time.encode(&[sample], 1)?.get(0).len();
        Ok(Self {
            strict: nearest.strict,
            outer,
            versions,
            settled,
            output,
            keys: RowSet::new(key_types.clone())?,
            key_types,
            time,
            time_type,
            width,
            left: Side::new(left, width, false)?,
            right: Side::new(right, width, versions)?,
            shown: Vec::new(),
            dirty: Vec::new(),
            marks: Vec::new(),
            changed: Vec::new(),
            waiting: Vec::new(),
            joined: Vec::new(),
        })
    }

    /// How the join wants the instants of a commit.
    pub fn instants(&self) -> Instantwise {
        if self.settled { Instantwise::Any } else { Instantwise::One }
    }

    fn key(&self, port: usize, delta: Delta, out: &mut Output) -> Result<Keyed> {
        let side = if port == 0 { &self.left } else { &self.right };
        let (delta, mut columns) = side.expressions.evaluate(delta, out)?;
        let typed = columns.iter_mut().zip(self.key_types.iter().chain([&self.time_type]));
        for (column, to) in typed {
            if column.data_type() != to {
                *column = cast(column, to)?;
            }
        }
        let valid = |row: usize| columns.iter().all(|column| !column.is_null(row));
        let valid: BooleanArray = (0..delta.len()).map(|row| Some(valid(row))).collect();
        let alone = if valid.true_count() < delta.len() {
            for column in &mut columns {
                *column = arrow::compute::filter(column, &valid)?;
            }
            Some(delta.filter(&arrow::compute::not(&valid)?)?)
        } else {
            None
        };
        let delta = if alone.is_some() { delta.filter(&valid)? } else { delta };
        let times = columns.pop().expect("the time comes after the keys");
        Ok(Keyed { delta, keys: columns, times, alone })
    }

    /// Joins the waiting left rows of a settled join.
    fn settle(&mut self, out: &mut Output) -> Result<()> {
        for delta in std::mem::take(&mut self.waiting) {
            let Keyed { delta, keys, times, .. } = self.key(0, delta, out)?;
            let owners = self.keys.find(&keys, delta.len())?;
            let times = self.time.encode(&[times], delta.len())?;
            let mut bound = Vec::new();
            let picks = owners.iter().enumerate().map(|(row, owner)| match *owner {
                NONE => NONE,
                owner => self.pick(owner, times.get(row), &mut bound),
            });
            let mut picks: Vec<u32> = picks.collect();
            let delta = if self.outer {
                delta
            } else {
                let keep: BooleanArray = picks.iter().map(|pick| Some(*pick != NONE)).collect();
                picks.retain(|pick| *pick != NONE);
                delta.filter(&keep)?
            };
            let rows = self.rows(delta.rows().columns().to_vec(), &picks)?;
            self.joined.push(delta.with_rows(rows));
        }
        Ok(())
    }

    /// Builds output rows of left columns and what they have picked.
    fn rows(&self, mut columns: Vec<ArrayRef>, picks: &[u32]) -> Result<RecordBatch> {
        let found: Vec<u32> = picks.iter().copied().filter(|pick| *pick != NONE).collect();
        let right = self.right.decode(&found)?;
        let mut next = 0_u32..;
        let places = picks.iter().map(|pick| if *pick == NONE { None } else { next.next() });
        let places: UInt32Array = places.collect();
        for column in right {
            let all = found.len() == picks.len();
            columns.push(if all { column } else { take(&column, &places, None)? });
        }
        Ok(batch(self.output.clone(), columns, picks.len())?)
    }

    /// Left rows that can pick nothing.
    fn unpicked(&self, delta: Delta) -> Result<Delta> {
        let picks = vec![NONE; delta.len()];
        let rows = self.rows(delta.rows().columns().to_vec(), &picks)?;
        Ok(delta.with_rows(rows))
    }
}

impl Operator for AsOf {
    fn on_delta(&mut self, port: Port, delta: Delta, out: &mut Output) -> Result<()> {
        if port.0 == 0 && self.settled {
            let Keyed { delta, alone, .. } = self.key(0, delta, &mut Output::default())?;
            if let Some(alone) = alone.filter(|_| self.outer) {
                self.joined.push(self.unpicked(alone)?);
            }
            self.waiting.push(delta);
            return Ok(());
        }
        let keyed = self.key(port.0, delta, out)?;
        if port.0 == 1 {
            return self.store_right(&keyed);
        }
        self.store_left(&keyed)?;
        if let Some(alone) = keyed.alone.filter(|_| self.outer) {
            self.joined.push(self.unpicked(alone)?);
        }
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        if self.settled {
            self.settle(out)?;
            self.sweep();
        } else {
            self.look_again();
            let (slots, picks, weights) = self.differences();
            let rows = self.rows(self.left.decode(&slots)?, &picks)?;
            let weights = Weights::Each(Int64Array::from(weights));
            self.joined.push(Delta::new(rows, Instants::All(at), weights));
            self.sweep();
        }
        out.push_net(&self.output, std::mem::take(&mut self.joined))
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Output) -> Result<()> {
        self.free(watermark);
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        self.left.stores(visit);
        self.right.stores(visit);
        visit(&mut self.shown);
        visit(&mut self.marks);
        visit(&mut self.dirty);
        visit(&mut self.changed);
        visit(&mut Deltas(&mut self.waiting));
        visit(&mut Deltas(&mut self.joined));
        visit(&mut self.keys);
    }
}

/// The columns of a batch that say which rows are true.
fn truth(column: &ArrayRef, row: usize) -> bool {
    let column = column.as_boolean();
    column.is_valid(row) && column.value(row)
}
