//! When groups are final: by the watermark and a time among their columns.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use super::Frees;
use crate::operators::Result;
use crate::storage::Timers;
use crate::time::{Timestamp, Watermark};

/// No time: the group is never final.
const NEVER: i64 = i64::MAX;

/// When groups are final.
pub(super) struct Finality {
    frees: Frees,
    /// The last watermark.
    watermark: Watermark,
    /// By slot: the watermark that makes the group final.
    times: Vec<i64>,
    timers: Timers,
}

impl Finality {
    pub(super) fn new(frees: Frees) -> Self {
        Self { frees, watermark: Watermark::MIN, times: Vec::new(), timers: Timers::default() }
    }

    /// The last watermark.
    pub(super) fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// Restores the last watermark.
    pub(super) fn restore(&mut self, watermark: Watermark) {
        self.watermark = watermark;
    }

    /// Returns which rows belong to groups that are not final yet, or nothing if all do.
    pub(super) fn open(&self, columns: &[ArrayRef]) -> Result<Option<BooleanArray>> {
        if self.watermark == Watermark::MIN {
            return Ok(None);
        }
        let times = self.times_of(columns)?;
        let open = |i| times.is_null(i) || !self.passed(self.final_at(times.value(i)));
        let open: Vec<bool> = (0..times.len()).map(open).collect();
        Ok((!open.iter().all(|open| *open)).then(|| BooleanArray::from(open)))
    }

    /// Sets timers for groups that are new.
    pub(super) fn watch(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let times = self.times_of(columns)?;
        for (i, group) in groups.iter().enumerate() {
            let known = *group as usize;
            if self.times.len() <= known {
                self.times.resize(known + 1, NEVER);
            }
            if self.times[known] == NEVER && times.is_valid(i) {
                let at = self.final_at(times.value(i));
                self.times[known] = at;
                if at != NEVER {
                    self.timers.add(at, *group);
                }
            }
        }
        Ok(())
    }

    /// Forgets a group that was freed.
    pub(super) fn forget(&mut self, group: u32) {
        if let Some(time) = self.times.get_mut(group as usize) {
            *time = NEVER;
        }
    }

    /// Moves the watermark and returns the groups that are final now.
    pub(super) fn close(&mut self, watermark: Watermark) -> Vec<u32> {
        self.watermark = watermark;
        let mut closed = Vec::new();
        while let Some((time, group)) = self.timers.take_due(|time| watermark.0 >= Timestamp(time))
        {
            // A group that was freed, or a timer of the slot's former group, is ignored.
            if self.times[group as usize] == time {
                self.times[group as usize] = NEVER;
                closed.push(group);
            }
        }
        closed
    }

    fn final_at(&self, time: i64) -> i64 {
        Timestamp(time).plus(self.frees.after).0
    }

    fn passed(&self, time: i64) -> bool {
        time != NEVER && self.watermark.0 >= Timestamp(time)
    }

    fn times_of(&self, columns: &[ArrayRef]) -> Result<Int64Array> {
        let times = cast(&columns[self.frees.column], &DataType::Int64)?;
        Ok(times.as_primitive::<Int64Type>().clone())
    }
}
