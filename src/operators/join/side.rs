//! The rows of one input of a join, by key.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};

use super::JoinSide;
use crate::delta::{Delta, batch};
use crate::operators::evaluate::Expressions;
use crate::operators::finality::Finality;
use crate::operators::{Output, Result};
use crate::storage::{GroupedRows, Visit};

/// The rows of one input.
pub(super) struct Side {
    pub(super) schema: SchemaRef,
    keys: Expressions,
    key_types: Vec<DataType>,
    /// Rows by the slot of their key.
    pub(super) rows: GroupedRows,
    /// Whether no row is ever retracted, so that equal rows need not be found.
    pub(super) append_only: bool,
    /// Rows of this round that have not been merged with equal ones.
    pub(super) unsettled: Vec<u32>,
    pub(super) finality: Option<Finality>,
}

/// A delta with its keys.
pub(super) struct Keyed {
    /// Rows that have a key.
    pub(super) delta: Delta,
    pub(super) keys: Vec<ArrayRef>,
    /// Rows of which the key is NULL, which match nothing.
    pub(super) keyless: Option<Delta>,
}

impl Side {
    pub(super) fn new(options: JoinSide, key_types: Vec<DataType>) -> Result<Self> {
        let types = options.schema.fields().iter().map(|field| field.data_type().clone());
        Ok(Self {
            rows: GroupedRows::new(types)?,
            schema: options.schema,
            keys: Expressions::new(options.keys),
            key_types,
            append_only: options.append_only,
            unsettled: Vec::new(),
            finality: options.frees.map(Finality::new),
        })
    }

    /// Shows what it keeps.
    pub(super) fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        visit(&mut self.unsettled);
        self.finality.iter_mut().for_each(|finality| finality.stores(visit));
    }

    /// Computes the keys of a delta.
    pub(super) fn key(&self, delta: Delta, nulls_match: bool, out: &mut Output) -> Result<Keyed> {
        let (delta, keys) = self.keys.evaluate(delta, out)?;
        let typed = keys.iter().zip(&self.key_types).map(|(key, to)| {
            if key.data_type() == to { Ok(ArrayRef::clone(key)) } else { cast(key, to) }
        });
        let keys = typed.collect::<std::result::Result<Vec<_>, _>>()?;
        let nulls = keys.iter().map(|key| key.logical_nulls());
        let nulls = nulls.fold(None, |all, one| NullBuffer::union(all.as_ref(), one.as_ref()));
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0 && !nulls_match) else {
            return Ok(Keyed { delta, keys, keyless: None });
        };
        let valid = BooleanArray::new(nulls.inner().clone(), None);
        let keys = keys.iter().map(|key| arrow::compute::filter(key, &valid));
        Ok(Keyed {
            keys: keys.collect::<std::result::Result<_, _>>()?,
            keyless: Some(delta.filter(&arrow::compute::not(&valid)?)?),
            delta: delta.filter(&valid)?,
        })
    }

    /// Returns rows as a batch.
    pub(super) fn batch(&self, slots: &[u32]) -> Result<RecordBatch> {
        Ok(batch(self.schema.clone(), self.rows.decode(slots)?, slots.len())?)
    }

    /// Sets timers for the rows that were stored under `slots`.
    pub(super) fn watch(&mut self, slots: &[u32], rows: &RecordBatch) -> Result<()> {
        match &mut self.finality {
            Some(finality) => finality.watch(slots, rows.columns()),
            None => Ok(()),
        }
    }

    /// Merges the rows of this round into equal ones.
    pub(super) fn settle(&mut self) {
        let freed = self.rows.settle(std::mem::take(&mut self.unsettled));
        if let Some(finality) = &mut self.finality {
            freed.into_iter().for_each(|slot| finality.forget(slot));
        }
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, slot: u32) {
        self.rows.remove(slot);
        if let Some(finality) = &mut self.finality {
            finality.forget(slot);
        }
    }
}
