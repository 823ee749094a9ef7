//! `count`: how many argument rows have no NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::fold::{Changes, Fold};
use super::saved;
use crate::operators::{Result, StateReader, StateWriter};

/// Counts rows without NULL; `count(*)` counts a constant.
#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Fold for Count {
    fn grow(&mut self, bound: usize) {
        self.counts.resize(bound, 0);
    }

    fn fold(&mut self, changes: &Changes<'_>) -> Result<()> {
        let counts = &mut self.counts;
        changes.each(changes.nulls().as_ref(), |group, _, weight| counts[group] += weight);
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32], _: &mut [bool]) -> Result<ArrayRef> {
        let counts = groups.iter().map(|group| self.counts[*group as usize]);
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn clear(&mut self, group: u32) {
        self.counts[group as usize] = 0;
    }

    fn save(&self, groups: &[u32], name: &str, to: &mut StateWriter) -> Result<()> {
        saved::put(to, name, vec![("count", saved::numbers(groups, &self.counts))])
    }

    fn load(&mut self, name: &str, from: &mut StateReader) -> Result<()> {
        let columns = saved::take(from, name, 1)?;
        saved::fill(&columns[0], &mut self.counts)
    }
}
