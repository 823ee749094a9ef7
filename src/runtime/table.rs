//! The content of a base table, with its primary key.
//!
//! # Invariants
//! 1. With a primary key no two rows agree on it: [`Table::check`] says so before a change is
//!    taken.
//! 2. Weights are never negative: UPDATE and DELETE retract rows that they found, under the table's
//!    lock.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::ingest::micros;
use super::{Error, Result};
use crate::delta::Delta;
use crate::operators::evaluate::row_text;
use crate::planner::asof::DELETED;
use crate::sql::catalog::Oid;
use crate::storage::{Bag, NONE, RowSet};
use crate::time::Watermark;

/// The content of a base table.
pub struct Table {
    name: String,
    bag: Bag,
    primary_key: Vec<usize>,
    keys: Option<RowSet>,
    /// The stream of its versions, and the column that says from when on one is valid.
    versions: Option<(Oid, usize)>,
    snapshot: Option<(RecordBatch, Int64Array)>,
}

impl Table {
    /// An empty table.
    pub fn new(name: &str, schema: SchemaRef, primary_key: Vec<usize>) -> Result<Self> {
        let keys = (!primary_key.is_empty())
            .then(|| RowSet::new(primary_key.iter().map(|i| schema.field(*i).data_type().clone())))
            .transpose()?;
        let bag = Bag::new(schema)?;
        let (name, versions) = (name.to_owned(), None);
        Ok(Self { name, bag, primary_key, keys, versions, snapshot: None })
    }

    /// Lets every change go to a stream of versions as well.
    pub fn keep_versions(&mut self, stream: Oid, time: usize) {
        self.versions = Some((stream, time));
    }

    /// The stream of its versions.
    pub fn versions(&self) -> Option<Oid> {
        self.versions.map(|(stream, _)| stream)
    }

    /// Returns the versions that a change makes: the rows added, each valid from its own time on,
    /// and the rows of keys that are gone, deleted from the watermark on or from their own time if
    /// that is later.
    pub fn versions_of(&self, delta: &Delta, watermark: Watermark) -> Result<RecordBatch> {
        let delta = delta.consolidate()?;
        let of = |sign: i64| -> BooleanArray {
            (0..delta.len()).map(|i| Some(delta.weight(i).signum() == sign)).collect()
        };
        let (added, gone) = (delta.filter(&of(1))?, delta.filter(&of(-1))?);
        let columns = self.key_columns(added.rows());
        let mut keys = RowSet::new(columns.iter().map(|c| c.data_type().clone()))?;
        keys.intern(&columns, added.len())?;
        let replaced = keys.find(&self.key_columns(gone.rows()), gone.len())?;
        let gone = gone.filter(&replaced.iter().map(|slot| Some(*slot == NONE)).collect())?;
        let mut last = gone.rows().columns().to_vec();
        if let Some((_, time)) = self.versions {
            let times = micros(&last[time])?;
            let later = times.iter().map(|t| t.map(|t| t.max(watermark.0.0)));
            last[time] = cast(&later.collect::<Int64Array>(), last[time].data_type())?;
        }
        let deleted = |rows: usize, deleted: bool| -> ArrayRef {
            Arc::new(BooleanArray::from(vec![deleted; rows]))
        };
        let mut versions = Vec::with_capacity(last.len() + 1);
        for (new, old) in added.rows().columns().iter().zip(&last) {
            versions.push(concat(&[new.as_ref(), old.as_ref()])?);
        }
        let flags = [deleted(added.len(), false), deleted(gone.len(), true)];
        versions.push(concat(&[flags[0].as_ref(), flags[1].as_ref()])?);
        let flag = Field::new(DELETED, DataType::Boolean, true);
        let schema = delta.schema();
        let fields = schema.fields().iter().map(|field| field.as_ref().clone()).chain([flag]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(RecordBatch::try_new(schema, versions)?)
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
