//! When keyed state is final: by the watermark and a time among its columns.
//!
//! # Semantics
//! What stands under a slot is final once the watermark has reached its time plus a constant; then
//! it is freed, and rows that come for it later are ignored. NULL is never reached.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use super::Result;
use crate::storage::{Timers, Value, Visit};
use crate::time::{Timestamp, Watermark};

/// No time: never final.
const NEVER: i64 = i64::MAX;

/// Which state a watermark makes final.
#[derive(Clone, Copy, Debug)]
pub struct Frees {
    /// The column that holds a time: of the groups of an aggregate, of the rows of a join's side.
    pub column: usize,
    /// Final once the watermark is at least that time plus this many microseconds.
    pub after: i64,
}

/// When slots are final.
pub(super) struct Finality {
    frees: Frees,
    /// The last watermark.
    watermark: Watermark,
    /// By slot: the watermark that makes it final.
    times: Vec<i64>,
    timers: Timers,
}

impl Finality {
    pub(super) fn new(frees: Frees) -> Self {
        Self { frees, watermark: Watermark::MIN, times: Vec::new(), timers: Timers::default() }
    }

    /// Shows what it keeps.
    pub(super) fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut Value(&mut self.watermark));
        visit(&mut self.times);
        visit(&mut self.timers);
    }

    /// The least watermark that makes something final.
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        self.times.iter().copied().filter(|time| *time != NEVER).min().map(Timestamp)
    }

    /// Returns which rows are not final yet, or nothing if all are not.
    pub(super) fn open(&self, columns: &[ArrayRef]) -> Result<Option<BooleanArray>> {
        if self.watermark == Watermark::MIN {
            return Ok(None);
        }
        let times = self.times_of(columns)?;
        Ok(some_false(times.iter().map(|time| time.is_none_or(|time| !self.passed(time)))))
    }

    /// Returns which rows are not final yet but will be, or nothing if all will.
    pub(super) fn closing(&self, columns: &[ArrayRef]) -> Result<Option<BooleanArray>> {
        let times = self.times_of(columns)?;
        Ok(some_false(times.iter().map(|time| time.is_some_and(|time| !self.passed(time)))))
    }

    /// Returns which rows have been final for less than `span`, or nothing if none have.
    pub(super) fn passed_within(
        &self,
        columns: &[ArrayRef],
        span: i64,
    ) -> Result<Option<BooleanArray>> {
        let within = |time: i64| self.passed(time) && !self.passed(Timestamp(time).plus(span).0);
        let times = self.times_of(columns)?;
        let mask: Vec<bool> = times.iter().map(|time| time.is_some_and(within)).collect();
        Ok(mask.contains(&true).then(|| BooleanArray::from(mask)))
    }

    /// Sets timers for slots that are new.
    pub(super) fn watch(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let times = self.times_of(columns)?;
        for (i, slot) in slots.iter().enumerate() {
            let known = *slot as usize;
            if self.times.len() <= known {
                self.times.resize(known + 1, NEVER);
            }
            if self.times[known] == NEVER && times.is_valid(i) {
                let at = self.final_at(times.value(i));
                self.times[known] = at;
                if at != NEVER {
                    self.timers.add(at, *slot);
                }
            }
        }
        Ok(())
    }

    /// Forgets a slot that was freed.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(time) = self.times.get_mut(slot as usize) {
            *time = NEVER;
        }
    }

    /// Moves the watermark and returns the slots that are final now, by the time that they are.
    pub(super) fn close(&mut self, watermark: Watermark) -> Vec<(i64, u32)> {
        self.watermark = watermark;
        let mut closed = Vec::new();
        while let Some((time, slot)) = self.timers.take_due(|time| watermark.0 >= Timestamp(time)) {
            // The timer of a slot that was freed meanwhile, and perhaps given out again, is
            // ignored.
            if self.times[slot as usize] == time {
                self.times[slot as usize] = NEVER;
                closed.push((time, slot));
            }
        }
        closed
    }

    fn final_at(&self, time: i64) -> i64 {
        Timestamp(time).plus(self.frees.after).0
    }

    fn passed(&self, time: i64) -> bool {
        let time = self.final_at(time);
        time != NEVER && self.watermark.0 >= Timestamp(time)
    }

    fn times_of(&self, columns: &[ArrayRef]) -> Result<Int64Array> {
        let times = cast(&columns[self.frees.column], &DataType::Int64)?;
        Ok(times.as_primitive::<Int64Type>().clone())
    }
}

/// Returns the mask unless it is true everywhere.
fn some_false(mask: impl Iterator<Item = bool>) -> Option<BooleanArray> {
    let mask: Vec<bool> = mask.collect();
    (!mask.iter().all(|open| *open)).then(|| BooleanArray::from(mask))
}
