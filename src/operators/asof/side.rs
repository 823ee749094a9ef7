//! The rows of one input of an ASOF join, by key and time.

use arrow::array::ArrayRef;

use super::AsOfSide;
use crate::operators::Result;
use crate::operators::evaluate::Expressions;
use crate::operators::finality::Finality;
use crate::storage::{OrderedRows, RowCodec, Visit};

/// The rows of one input.
///
/// ```text
///   time | deleted (versions only) | row
/// ```
pub(super) struct Side {
    /// Keys, and last the time.
    pub(super) expressions: Expressions,
    /// Of the rows; without the last column of versions.
    pub(super) codec: RowCodec,
    pub(super) rows: OrderedRows,
    /// By slot: the slot of its key.
    pub(super) owners: Vec<u32>,
    pub(super) finality: Option<Finality>,
    /// Bytes before the row.
    prefix: usize,
}

impl Side {
    /// `width` is the number of bytes of a time.
    pub(super) fn new(options: AsOfSide, width: usize, versions: bool) -> Result<Self> {
        let fields = options.schema.fields();
        let types = fields.iter().take(fields.len() - usize::from(versions));
        Ok(Self {
            expressions: Expressions::new(options.keys.into_iter().chain([options.time])),
            codec: RowCodec::new(types.map(|field| field.data_type().clone()))?,
            rows: OrderedRows::default(),
            owners: Vec::new(),
            finality: options.frees.map(Finality::new),
            prefix: width + usize::from(versions),
        })
    }

    /// Shows what it keeps.
    pub(super) fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        visit(&mut self.owners);
        self.finality.iter_mut().for_each(|finality| finality.stores(visit));
    }

    /// Adds to the weight of a row; returns its slot.
    pub(super) fn add(&mut self, owner: u32, bytes: &[u8], weight: i64) -> u32 {
        let (slot, _) = self.rows.add(owner, bytes, weight);
        let index = slot as usize;
        if self.owners.len() <= index {
            self.owners.resize(index + 1, owner);
        }
        self.owners[index] = owner;
        slot
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, slot: u32) {
        self.rows.remove(self.owners[slot as usize], slot);
        if let Some(finality) = &mut self.finality {
            finality.forget(slot);
        }
    }

    /// Sets timers for rows that were stored under `slots`.
    pub(super) fn watch(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        match &mut self.finality {
            Some(finality) => finality.watch(slots, columns),
            None => Ok(()),
        }
    }

    /// Returns rows as columns.
    pub(super) fn decode(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(self.codec.decode(slots.iter().map(|slot| &self.rows.get(*slot)[self.prefix..]))?)
    }
}
