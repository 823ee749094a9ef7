//! The content of a base table, with its primary key.
//!
//! # Invariants
//! 1. With a primary key no two rows agree on it: [`Table::check`] says so before a change is
//!    taken.
//! 2. Weights are never negative: UPDATE and DELETE retract rows that they found, under the table's
//!    lock.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::{Error, Result};
use crate::delta::Delta;
use crate::operators::evaluate::row_text;
use crate::storage::{Bag, NONE, RowSet};

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
        let added: arrow::array::BooleanArray =
            (0..delta.len()).map(|i| Some(delta.weight(i) > 0)).collect();
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
