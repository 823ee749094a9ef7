//! `count`: how many argument rows have no NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::fold::{Changes, Failure, Fold, Rows};
use crate::operators::Result;
use crate::storage::Visit;

/// Counts rows without NULL; `count(*)` counts a constant.
#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
    recorded: Vec<i64>,
}

impl Fold for Count {
    fn grow(&mut self, bound: usize) {
        self.counts.resize(bound, 0);
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let counts = &mut self.counts;
        changes.each(rows, |group, _, weight| counts[group] += weight);
        Ok(())
    }

    fn record(&mut self, groups: &[u32], _: &mut [Option<Failure>]) -> Result<()> {
        self.recorded.extend(groups.iter().map(|group| self.counts[*group as usize]));
        Ok(())
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(std::mem::take(&mut self.recorded))))
    }

    fn clear(&mut self, group: u32) {
        self.counts[group as usize] = 0;
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.counts);
    }
}
