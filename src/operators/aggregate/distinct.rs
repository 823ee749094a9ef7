//! DISTINCT inside an aggregate call: lets each argument row of a group through once.
//!
//! # Semantics
//! Keeps the multiset of argument rows per group and passes on +1 when a row's weight becomes
//! positive and -1 when it no longer is. Rows with a NULL do not count.
//!
//! # State
//! Each distinct argument row of each group, until its weight is 0 or the group goes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::{DataType, UInt32Type};

use super::fold::{Arguments, Changes, Failure, Fold, Rows};
use super::saved;
use crate::operators::{Result, StateReader, StateWriter};
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

    fn save(&self, groups: &[u32], name: &str, to: &mut StateWriter) -> Result<()> {
        save_rows(&self.rows, groups, &format!("{name} rows"), to)?;
        self.inner.save(groups, name, to)
    }

    fn load(&mut self, name: &str, from: &mut StateReader) -> Result<()> {
        load_rows(&mut self.rows, &format!("{name} rows"), from)?;
        self.inner.load(name, from)
    }
}

/// Writes the rows of `groups`, numbered from 0.
pub(super) fn save_rows(
    rows: &GroupedRows,
    groups: &[u32],
    name: &str,
    to: &mut StateWriter,
) -> Result<()> {
    let numbered = groups.iter().zip(0u32..);
    let slots = numbered.flat_map(|(group, number)| rows.of(*group).map(move |s| (number, s)));
    let (owners, slots): (Vec<u32>, Vec<u32>) = slots.unzip();
    let weights = saved::numbers(
        &slots,
        &(0..rows.bound())
            .map(|s| {
                let slot = u32::try_from(s).expect("slots are u32");
                if rows.contains(slot) { rows.weight(slot) } else { 0 }
            })
            .collect::<Vec<_>>(),
    );
    let owners: ArrayRef = Arc::new(UInt32Array::from(owners));
    let mut columns = vec![("group", owners), ("weight", weights)];
    columns.extend(rows.decode(&slots)?.into_iter().map(|column| ("value", column)));
    saved::put(to, name, columns)
}

/// Adds the rows that `save_rows` wrote.
pub(super) fn load_rows(rows: &mut GroupedRows, name: &str, from: &mut StateReader) -> Result<()> {
    let columns = saved::take(from, name, 2)?;
    let owners = columns[0].as_primitive_opt::<UInt32Type>();
    let owners = owners.ok_or_else(|| saved::misfit("a group is not a number".to_owned()))?;
    let weights = saved::read(&columns[1])?;
    let encoded = rows.codec().encode(&columns[2..], owners.len())?;
    for (i, owner) in owners.values().iter().enumerate() {
        rows.add(*owner, encoded.get(i), weights.value(i));
    }
    Ok(())
}
