//! What the watermark frees, and what goes with the last row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::cast;

use super::call::Reaches;
use super::{Over, Shown};
use crate::operators::Result;
use crate::storage::RowCodec;
use crate::time::Watermark;

impl Over {
    /// Whether a partition without rows must be remembered, because rows of it were freed that
    /// count.
    fn lasting(&self) -> bool {
        let counts = self.reaches.positions || self.calls.iter().any(|call| call.total);
        !self.trims.is_empty() && counts
    }

    pub(super) fn free_if_empty(&mut self, partition: u32) {
        let empty = self.sequence.entries.first(partition).is_none();
        if empty && !self.lasting() && self.partitions.contains(partition) {
            self.free(partition);
        }
    }

    pub(super) fn free(&mut self, partition: u32) {
        while let Some(slot) = self.sequence.entries.first(partition) {
            self.forget(partition, slot);
        }
        for call in self.calls.iter_mut().filter(|call| call.total) {
            call.fold.iter_mut().for_each(|fold| fold.clear(partition));
        }
        self.partitions.remove(partition);
        self.closes.iter_mut().chain(&mut self.trims).for_each(|f| f.forget(partition));
    }

    /// Frees an entry, of which the values stay as they are.
    fn forget(&mut self, partition: u32, slot: u32) {
        if let Shown::Values(output) = std::mem::take(&mut self.shown[slot as usize]) {
            self.outputs.remove(output);
        }
        self.sequence.entries.remove(partition, slot);
    }

    /// Frees the rows of a partition that no frame of a row to come, or of one that is not final,
    /// looks at.
    pub(super) fn trim(&mut self, partition: u32, watermark: Watermark) -> Result<()> {
        let Some(trims) = self.options.trims else { return Ok(()) };
        let (key, order) = &self.options.keys[0];
        let key = key.data_type(&self.options.input)?;
        let next = watermark.0.plus(trims.after.saturating_neg()).plus(1);
        let next: ArrayRef = Arc::new(Int64Array::from(vec![next.0]));
        let codec = RowCodec::sorted(vec![(key.clone(), *order)])?;
        let next = codec.encode(&[cast(&next, &key)?], 1)?;
        let (sequence, Reaches { affects, needs, .. }) = (&self.sequence, &self.reaches);
        let entries = &sequence.entries;
        let mut at = (next.get(0), next.get(0));
        for reaches in [&affects.back, &needs.back] {
            let first = sequence.first_of(partition, at, reaches)?;
            if let Some(first) = first.filter(|first| entries.get(*first) < at.0) {
                at = sequence.place(first);
            }
        }
        if self.reaches.positions || self.reaches.predecessor {
            let before = entries.of_before(partition, at.0).next();
            at = before.map_or(at, |before| sequence.place(before));
        }
        let keep = self.reaches.anchors[0];
        let gone = entries.of(partition).skip(keep).take_while(|slot| entries.get(*slot) < at.0);
        let gone: Vec<u32> = gone.collect();
        gone.into_iter().for_each(|slot| self.forget(partition, slot));
        Ok(())
    }

    /// Looks at a partition again when its last row is final, or out of sight.
    pub(super) fn watch_last(&mut self, partition: u32) -> Result<()> {
        let Some(last) = self.sequence.entries.last(partition) else { return Ok(()) };
        let keys = self.sequence.keys.decode(std::iter::once(self.sequence.key(last)))?;
        for trims in &mut self.trims {
            if trims.open(&keys)?.is_none() {
                trims.watch(&[partition], &keys)?;
            }
        }
        Ok(())
    }
}
