//! The content of a base table, with its primary key.
//!
//! # Invariants
//! 1. With a primary key no two rows agree on it: [`Table::check`] says so before a change is
//!    taken.
//! 2. Weights are never negative: UPDATE and DELETE retract rows that they found, under the table's
//!    lock.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::{Error, Result};
use crate::delta::Delta;
use crate::operators::evaluate::row_text;
use crate::storage::{Bag, NONE, RowSet};
use crate::time::Timestamp;

/// The content of a base table.
pub struct Table {
    name: String,
    bag: Bag,
    primary_key: Vec<usize>,
    keys: Option<RowSet>,
    snapshot: Option<(RecordBatch, Int64Array)>,
}

impl Table {
    /// An empty table.
    pub fn new(name: &str, schema: SchemaRef, primary_key: Vec<usize>) -> Result<Self> {
        let keys = (!primary_key.is_empty())
            .then(|| RowSet::new(primary_key.iter().map(|i| schema.field(*i).data_type().clone())))
            .transpose()?;
        let bag = Bag::new(schema)?;
        Ok(Self { name: name.to_owned(), bag, primary_key, keys, snapshot: None })
    }

    fn key_columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.primary_key.iter().map(|i| Arc::clone(rows.column(*i))).collect()
    }

    /// Returns an error if the change would leave two rows of one key.
    pub fn check(&self, delta: &Delta) -> Result<()> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let columns = self.key_columns(delta.rows());
        let present = keys.find(&columns, delta.len())?;
        let mut seen = RowSet::new(columns.iter().map(|c| c.data_type().clone()))?;
        let slots = seen.intern(&columns, delta.len())?;
        // Rows of each key after the change: those present, less those retracted, and those added.
        let mut copies = vec![0_i64; seen.bound()];
        for (slot, present) in slots.iter().zip(&present) {
            copies[*slot as usize] = i64::from(*present != NONE);
        }
        let retracted = slots.iter().enumerate().filter(|(i, _)| delta.weight(*i) < 0);
        for (i, slot) in retracted {
            copies[*slot as usize] += delta.weight(i);
        }
        let added = slots.iter().enumerate().filter(|(i, _)| delta.weight(*i) > 0);
        for (i, slot) in added {
            let copies = &mut copies[*slot as usize];
            *copies += delta.weight(i);
            if *copies > 1 {
                return Err(self.duplicate(delta.rows(), &columns, i));
            }
        }
        Ok(())
    }

    fn duplicate(&self, rows: &RecordBatch, columns: &[ArrayRef], row: usize) -> Error {
        let schema = rows.schema();
        let names = self.primary_key.iter().map(|i| schema.field(*i).name().as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let detail = format!("Key ({names})={} already exists.", row_text(columns, row));
        Error::DuplicateKey { table: self.name.clone(), detail }
    }

    /// Returns the change that gives each key of `wanted` the row that is inserted there, or none:
    /// whatever row of that key the table has goes. Needs a primary key, and at most one insertion
    /// per key.
    pub fn replacing(&mut self, wanted: &Delta) -> Result<Delta> {
        let columns = self.key_columns(wanted.rows());
        let inserted: BooleanArray =
            (0..wanted.len()).map(|i| Some(wanted.weight(i) > 0)).collect();
        let mut changes = vec![wanted.filter(&inserted)?];
        let keys = self.keys.as_ref().expect("a table that is written by key has one");
        let present = keys.find(&columns, wanted.len())?;
        // What goes is mostly what was wanted before.
        let weights = self.bag.weights_of(wanted.rows().columns(), wanted.len())?;
        let goes = |i: usize| wanted.weight(i) < 0 && weights[i] > 0;
        let going: BooleanArray = (0..wanted.len()).map(|i| Some(goes(i))).collect();
        changes.push(wanted.filter(&going)?);
        let mut replaced: BTreeSet<u32> = BTreeSet::new();
        replaced.extend((0..wanted.len()).filter(|i| goes(*i)).map(|i| present[i]));
        let other = |slot: &u32| *slot != NONE && !replaced.contains(slot);
        let others: BTreeSet<u32> = present.iter().copied().filter(other).collect();
        if !others.is_empty() {
            changes.push(self.rows_of(&others)?.negate());
        }
        Ok(Delta::concat(self.bag.schema(), &changes)?.consolidate()?)
    }

    /// Finds the rows of keys among all rows.
    fn rows_of(&mut self, slots: &BTreeSet<u32>) -> Result<Delta> {
        let (rows, _) = self.snapshot()?;
        let keys = self.keys.as_ref().expect("slots are those of keys");
        let found = keys.find(&self.key_columns(&rows), rows.num_rows())?;
        let wanted: BooleanArray = found.iter().map(|slot| Some(slots.contains(slot))).collect();
        Ok(Delta::inserts(rows, Timestamp::MIN).filter(&wanted)?)
    }

    /// Takes a change that [`Table::check`] has passed.
    pub fn apply(&mut self, delta: &Delta) -> Result<()> {
        self.snapshot = None;
        self.bag.apply(delta)?;
        let columns = self.key_columns(delta.rows());
        let Some(keys) = &mut self.keys else { return Ok(()) };
        let slots = keys.find(&columns, delta.len())?;
        for (i, slot) in slots.iter().enumerate() {
            if delta.weight(i) < 0 && *slot != NONE && keys.contains(*slot) {
                keys.remove(*slot);
            }
        }
        let added: BooleanArray = (0..delta.len()).map(|i| Some(delta.weight(i) > 0)).collect();
        let added = delta.filter(&added)?;
        let columns: Vec<ArrayRef> =
            self.primary_key.iter().map(|i| Arc::clone(added.rows().column(*i))).collect();
        keys.intern(&columns, added.len())?;
        Ok(())
    }

    /// Returns each distinct row with its weight.
    pub fn snapshot(&mut self) -> Result<(RecordBatch, Int64Array), ArrowError> {
        match &self.snapshot {
            Some(snapshot) => Ok(snapshot.clone()),
            None => Ok(self.snapshot.insert(self.bag.snapshot()?).clone()),
        }
    }

    /// Number of distinct rows.
    pub fn row_count(&self) -> usize {
        self.bag.len()
    }
}
