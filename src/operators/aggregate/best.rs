//! `min` and `max` of values that are never retracted.
//!
//! # State
//! The best value of each group: a number in the order of the values, where the type has one
//! ([`BestNumber`]), else its encoded bytes ([`BestBytes`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::extremum::{End, Recorded};
use super::fold::{Arguments, Changes, Failure, Fold, Rows};
use crate::operators::Result;
use crate::storage::{NONE, RowCodec, Slab, Visit};

/// Chooses the state for values of a type.
pub(super) fn best(output: DataType, end: End) -> Result<Box<dyn Fold>> {
    use DataType::{Date32, Float32, Float64, Int8, Int16, Int32, Int64, Timestamp};
    let floats = match output {
        Int8 | Int16 | Int32 | Int64 | Date32 | Timestamp(..) => false,
        Float32 | Float64 => true,
        _ => return Ok(Box::new(BestBytes::new(output, end)?)),
    };
    Ok(Box::new(BestNumber { end, output, floats, best: Vec::new(), recorded: Vec::new() }))
}

/// The best value of each group, as a number in the order of the values.
struct BestNumber {
    end: End,
    output: DataType,
    /// Whether the values are floats, the bits of which are put in order, or cast to numbers.
    floats: bool,
    /// By group.
    best: Vec<Option<i64>>,
    recorded: Vec<Option<i64>>,
}

impl Fold for BestNumber {
    fn grow(&mut self, bound: usize) {
        self.best.resize(bound, None);
    }

    fn prepare(&self, mut values: Vec<ArrayRef>) -> Result<Arguments> {
        values[0] = Arc::new(self.encode(&values[0])?);
        Ok(Arguments { values, encoded: None })
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let values = changes.values()[0].as_primitive::<Int64Type>().values();
        let best = &mut self.best;
        match self.end {
            End::Least => changes.each(rows, |group, row, _| {
                let best = &mut best[group];
                *best = Some(best.map_or(values[row], |best| best.min(values[row])));
            }),
            End::Greatest => changes.each(rows, |group, row, _| {
                let best = &mut best[group];
                *best = Some(best.map_or(values[row], |best| best.max(values[row])));
            }),
        }
        Ok(())
    }

    fn record(&mut self, groups: &[u32], _: &mut [Option<Failure>]) -> Result<()> {
        self.recorded.extend(groups.iter().map(|group| self.best[*group as usize]));
        Ok(())
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        let recorded = std::mem::take(&mut self.recorded);
        self.decode(Int64Array::from(recorded))
    }

    fn clear(&mut self, group: u32) {
        self.best[group as usize] = None;
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.best);
    }
}

impl BestNumber {
    fn encode(&self, column: &ArrayRef) -> Result<Int64Array> {
        if !self.floats {
            return Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone());
        }
        let floats = cast(column, &DataType::Float64)?;
        Ok(floats.as_primitive::<Float64Type>().unary(|value| flip(value.to_bits().cast_signed())))
    }

    fn decode(&self, numbers: Int64Array) -> Result<ArrayRef> {
        let column: ArrayRef = if self.floats {
            let float = |number| f64::from_bits(flip(number).cast_unsigned());
            Arc::new(numbers.unary::<_, Float64Type>(float))
        } else {
            Arc::new(numbers)
        };
        Ok(cast(&column, &self.output)?)
    }
}

/// Puts the bits of floats in the order of numbers; its own inverse.
fn flip(bits: i64) -> i64 {
    bits ^ ((bits >> 63) & i64::MAX)
}

/// The best value of each group, encoded.
struct BestBytes {
    end: End,
    output: DataType,
    codec: RowCodec,
    slab: Slab,
    /// By group: the slot of its value, or `NONE`.
    best: Vec<u32>,
    recorded: Recorded,
}

impl BestBytes {
    fn new(output: DataType, end: End) -> Result<Self> {
        let codec = RowCodec::new([output.clone()])?;
        let (slab, best, recorded) = (Slab::default(), Vec::new(), Recorded::default());
        Ok(Self { end, output, codec, slab, best, recorded })
    }

    fn value(&self, group: u32) -> Option<&[u8]> {
        let slot = self.best[group as usize];
        (slot != NONE).then(|| self.slab.get(slot))
    }
}

impl Fold for BestBytes {
    fn grow(&mut self, bound: usize) {
        self.best.resize(bound, NONE);
    }

    fn prepare(&self, values: Vec<ArrayRef>) -> Result<Arguments> {
        let encoded = Some(self.codec.encode(&values[..1], values[0].len())?);
        Ok(Arguments { values, encoded })
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let encoded = changes.encoded();
        let (end, slab, best) = (self.end, &mut self.slab, &mut self.best);
        changes.each(rows, |group, row, _| {
            let (best, value) = (&mut best[group], encoded.get(row));
            if *best != NONE {
                let held = slab.get(*best);
                if (end == End::Least && value >= held) || (end == End::Greatest && value <= held) {
                    return;
                }
                slab.remove(*best);
            }
            *best = slab.insert(value);
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
        let slot = std::mem::replace(&mut self.best[group as usize], NONE);
        if slot != NONE {
            self.slab.remove(slot);
        }
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.slab);
        visit(&mut self.best);
    }
}
