//! `min` and `max` of values that may be retracted.
//!
//! # Semantics
//! NULLs do not count; of nothing but NULLs the extremum is NULL. Floats are in total order, NaN
//! greatest, as in Postgres.
//!
//! # State
//! All values of each group in order, so that the runner-up returns when the best one goes.

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;

use super::fold::{Arguments, Changes, Failure, Fold, Rows};
use crate::operators::Result;
use crate::storage::{OrderedRows, RowCodec, Visit};

/// Which end of the order is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Greatest,
}

/// The extremum of values that may be retracted.
pub(super) struct Extremum {
    end: End,
    output: DataType,
    codec: RowCodec,
    values: OrderedRows,
    recorded: Recorded,
}

/// Encoded values, packed; some are NULL.
#[derive(Default)]
pub(super) struct Recorded {
    bytes: Vec<u8>,
    /// Where each value lies; none for NULL.
    places: Vec<Option<(usize, usize)>>,
}

impl Extremum {
    pub(super) fn new(output: DataType, end: End) -> Result<Self> {
        let codec = RowCodec::new([output.clone()])?;
        let (values, recorded) = (OrderedRows::default(), Recorded::default());
        Ok(Self { end, output, codec, values, recorded })
    }

    fn value(&self, group: u32) -> Option<&[u8]> {
        let there = |slot: &u32| self.values.weight(*slot) > 0;
        let slot = match self.end {
            End::Least => self.values.of(group).find(there),
            End::Greatest => self.values.reversed(group).find(there),
        };
        slot.map(|slot| self.values.get(slot))
    }
}

impl Fold for Extremum {
    fn grow(&mut self, _: usize) {}

    fn prepare(&self, values: Vec<ArrayRef>) -> Result<Arguments> {
        let encoded = Some(self.codec.encode(&values[..1], values[0].len())?);
        Ok(Arguments { values, encoded })
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let (encoded, values) = (changes.encoded(), &mut self.values);
        changes.each(rows, |group, row, weight| {
            let group = u32::try_from(group).expect("groups are u32");
            let (slot, sum) = values.add(group, encoded.get(row), weight);
            if sum == 0 {
                values.remove(group, slot);
            }
        });
        Ok(())
    }

    fn record(&mut self, groups: &[u32], _: &mut [Option<Failure>]) -> Result<()> {
        let mut recorded = std::mem::take(&mut self.recorded);
        groups.iter().for_each(|group| recorded.push(self.value(*group)));
        self.recorded = recorded;
        Ok(())
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        std::mem::take(&mut self.recorded).decode(&self.codec, &self.output)
    }

    fn clear(&mut self, group: u32) {
        self.values.clear(group);
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.values);
    }
}

impl Recorded {
    /// Appends a value.
    pub(super) fn push(&mut self, value: Option<&[u8]>) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or(&[]));
        self.places.push(value.map(|_| (from, self.bytes.len())));
    }

    /// Decodes all values.
    pub(super) fn decode(&self, codec: &RowCodec, output: &DataType) -> Result<ArrayRef> {
        let values = self.places.iter().flatten().map(|(from, to)| &self.bytes[*from..*to]);
        let column = codec.decode(values)?.remove(0);
        if column.len() == self.places.len() {
            return Ok(column);
        }
        let (null, mut next) = (new_null_array(output, 1), 0);
        let places = self.places.iter().map(|place| match place {
            None => (0, 0),
            Some(_) => {
                next += 1;
                (1, next - 1)
            }
        });
        let places: Vec<(usize, usize)> = places.collect();
        Ok(interleave(&[&null, &column], &places)?)
    }
}
