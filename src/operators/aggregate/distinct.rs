//! DISTINCT inside an aggregate call: lets each argument row of a group through once.
//!
//! # Semantics
//! Keeps the multiset of argument rows per group and passes on +1 when a row's weight becomes
//! positive and -1 when it no longer is. Rows with a NULL do not count.
//!
//! # State
//! Each distinct argument row of each group, until its weight is 0 or the group goes.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::fold::{Arguments, Changes, Failure, Fold, Rows};
use crate::operators::Result;
use crate::storage::{GroupedRows, Visit};

/// Distinct argument rows, folded by another call.
pub(super) struct Distinct {
    rows: GroupedRows,
    inner: Box<dyn Fold>,
}

impl Distinct {
    pub(super) fn new(types: Vec<DataType>, inner: Box<dyn Fold>) -> Result<Self> {
        Ok(Self { rows: GroupedRows::new(types)?, inner })
    }
}

impl Fold for Distinct {
    fn grow(&mut self, bound: usize) {
        self.inner.grow(bound);
    }

    fn prepare(&self, values: Vec<ArrayRef>) -> Result<Arguments> {
        let len = values.first().map_or(0, |value| value.len());
        let encoded = Some(self.rows.codec().encode(&values, len)?);
        Ok(Arguments { values: self.inner.prepare(values)?.values, encoded })
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let (encoded, distinct) = (changes.encoded(), &mut self.rows);
        let mut turns: Vec<(u32, i64)> = Vec::new();
        changes.each(rows, |group, row, weight| {
            let group = u32::try_from(group).expect("groups are u32");
            let change = distinct.add(group, encoded.get(row), weight);
            if change.after == 0 {
                distinct.remove(change.slot);
            }
            if (change.before > 0) != (change.after > 0) {
                let row = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
                turns.push((row, if change.after > 0 { 1 } else { -1 }));
            }
        });
        self.inner.apply(changes, &Rows::Listed(&turns))
    }

    fn record(&mut self, groups: &[u32], failed: &mut [Option<Failure>]) -> Result<()> {
        self.inner.record(groups, failed)
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        self.inner.recorded()
    }

    fn clear(&mut self, group: u32) {
        self.rows.clear(group);
        self.inner.clear(group);
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        self.inner.stores(visit);
    }
}
