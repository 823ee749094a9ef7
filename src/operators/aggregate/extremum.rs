//! `min` and `max` of values that may be retracted.
//!
//! # Semantics
//! NULLs do not count; of nothing but NULLs the extremum is NULL. Floats are in total order, NaN
//! greatest, as in Postgres.
//!
//! # State
//! All values of each group in order, so that the runner-up returns when the best one goes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, UInt32Type};

use super::fold::{Changes, Fold};
use super::saved;
use crate::operators::{Result, StateReader, StateWriter};
use crate::storage::{NONE, OrderedRows, RowCodec};

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
}

impl Extremum {
    pub(super) fn new(output: DataType, end: End) -> Result<Self> {
        let codec = RowCodec::new([output.clone()])?;
        Ok(Self { end, output, codec, values: OrderedRows::default() })
    }
}

impl Fold for Extremum {
    fn grow(&mut self, _: usize) {}

    fn fold(&mut self, changes: &Changes<'_>) -> Result<()> {
        let column = &changes.values[0];
        let encoded = self.codec.encode(&changes.values[..1], column.len())?;
        let values = &mut self.values;
        changes.each(column.logical_nulls().as_ref(), |group, row, weight| {
            let group = u32::try_from(group).expect("groups are u32");
            let (slot, sum) = values.add(group, encoded.get(row), weight);
            if sum == 0 {
                values.remove(group, slot);
            }
        });
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32], _: &mut [bool]) -> Result<ArrayRef> {
        let values = &self.values;
        let there = |slot: &u32| values.weight(*slot) > 0;
        let best = |group: &u32| match self.end {
            End::Least => values.of(*group).find(there),
            End::Greatest => values.reversed(*group).find(there),
        };
        let slots: Vec<u32> = groups.iter().map(|group| best(group).unwrap_or(NONE)).collect();
        decode(&self.codec, &slots, &self.output, |slot| values.get(slot))
    }

    fn clear(&mut self, group: u32) {
        self.values.clear(group);
    }

    fn save(&self, groups: &[u32], name: &str, to: &mut StateWriter) -> Result<()> {
        let numbered = groups.iter().zip(0u32..);
        let rows = numbered.flat_map(|(g, number)| self.values.of(*g).map(move |s| (number, s)));
        let (owners, slots): (Vec<u32>, Vec<u32>) = rows.unzip();
        let weights = slots.iter().map(|slot| self.values.weight(*slot));
        let weights: ArrayRef = Arc::new(Int64Array::from_iter_values(weights));
        let owners: ArrayRef = Arc::new(UInt32Array::from(owners));
        let values = self.codec.decode(slots.iter().map(|slot| self.values.get(*slot)))?.remove(0);
        saved::put(to, name, vec![("group", owners), ("weight", weights), ("value", values)])
    }

    fn load(&mut self, name: &str, from: &mut StateReader) -> Result<()> {
        let columns = saved::take(from, name, 3)?;
        let owners = columns[0].as_primitive_opt::<UInt32Type>();
        let owners = owners.ok_or_else(|| saved::misfit("a group is not a number".to_owned()))?;
        let weights = Some(&saved::read(&columns[1])?.values()[..]);
        self.fold(&Changes { groups: owners.values(), weights, values: &columns[2..] })
    }
}

/// Decodes the values of some slots, NULL for `NONE`.
pub(super) fn decode<'a>(
    codec: &'a RowCodec,
    slots: &[u32],
    output: &DataType,
    get: impl Fn(u32) -> &'a [u8],
) -> Result<ArrayRef> {
    let found = slots.iter().filter(|slot| **slot != NONE);
    let mut column = codec.decode(found.map(|slot| get(*slot)))?.remove(0);
    if column.len() == slots.len() {
        return Ok(column);
    }
    let (null, mut next) = (new_null_array(output, 1), 0);
    let places = slots.iter().map(|slot| {
        if *slot == NONE {
            return (0, 0);
        }
        next += 1;
        (1, next - 1)
    });
    let places: Vec<(usize, usize)> = places.collect();
    column = interleave(&[&null, &column], &places)?;
    Ok(column)
}
