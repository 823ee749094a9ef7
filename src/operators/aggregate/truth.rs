//! `bool_and` and `bool_or`, from the numbers of true and false arguments.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};

use super::fold::{Changes, Failure, Fold, Rows};
use crate::operators::Result;
use crate::storage::Visit;

/// Whether all, or any, of the arguments are true; NULLs do not count, and NULL if there is no
/// other.
pub(super) struct Truth {
    /// Whether all must be true, and not just one.
    all: bool,
    trues: Vec<i64>,
    falses: Vec<i64>,
    recorded: Vec<Option<bool>>,
}

impl Truth {
    pub(super) fn new(all: bool) -> Self {
        Self { all, trues: Vec::new(), falses: Vec::new(), recorded: Vec::new() }
    }
}

impl Fold for Truth {
    fn grow(&mut self, bound: usize) {
        self.trues.resize(bound, 0);
        self.falses.resize(bound, 0);
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let values = changes.values()[0].as_boolean();
        let (trues, falses) = (&mut self.trues, &mut self.falses);
        changes.each(rows, |group, row, weight| {
            let counts = if values.value(row) { &mut *trues } else { &mut *falses };
            counts[group] += weight;
        });
        Ok(())
    }

    fn record(&mut self, groups: &[u32], _: &mut [Option<Failure>]) -> Result<()> {
        let value = |group: &u32| match (self.trues[*group as usize], self.falses[*group as usize])
        {
            (0, 0) => None,
            (_, falses) if self.all => Some(falses == 0),
            (trues, _) => Some(trues > 0),
        };
        self.recorded.extend(groups.iter().map(value));
        Ok(())
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::from(std::mem::take(&mut self.recorded))))
    }

    fn clear(&mut self, group: u32) {
        self.trues[group as usize] = 0;
        self.falses[group as usize] = 0;
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.trues);
        visit(&mut self.falses);
    }
}
