//! Outer, semi, anti and mark joins: rows that are shown by themselves.
//!
//! A delta is stored first and joined then, so that what is counted as a row's partners is
//! complete. What changes by itself, padded or unpaired rows, is found out once the instant is
//! complete.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, RecordBatch};

use super::pairs::{Pairing, Pairs, pad};
use super::presence::Changed;
use super::{Join, JoinKind};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::operators::{Output, Result};
use crate::time::Timestamp;

impl Join {
    /// Stores a delta of another kind of join, and joins it.
    pub(super) fn outer(
        &mut self,
        port: usize,
        owners: &[u32],
        delta: &Delta,
        out: &mut Output,
    ) -> Result<()> {
        self.totals.touch(owners);
        let (slots, fresh) = self.store(port, owners, delta)?;
        let Some(residual) = &self.residual else {
            return if self.kind.pairs() { self.pair(port, owners, delta, out) } else { Ok(()) };
        };
        let how = Pairing { schema: &self.pair_schema, residual: Some(residual), right: port == 1 };
        let other = &self.sides[1 - port];
        let (kind, joined, presence) = (self.kind, &mut self.joined, &mut self.presence);
        // A semi, anti or mark join knows the partners of left rows it has seen before.
        let probes = |row: usize| kind.pairs() || port == 1 || fresh[row];
        Pairs::each(owners, other, probes, |mut pairs| {
            let rows = pairs.join(delta, other, &how, out)?;
            for (row, partner) in pairs.probe.iter().zip(&pairs.slots) {
                let (row, weight) = (*row as usize, other.rows.weight(*partner));
                if let Some(own) = presence[port].as_mut().filter(|_| fresh[row]) {
                    own.partners[slots[row] as usize] += weight;
                }
                if let Some(theirs) = &mut presence[1 - port] {
                    theirs.touch_counted(*partner, weight);
                    theirs.partners[*partner as usize] += delta.weight(row);
                }
            }
            if kind.pairs() {
                joined.push(rows);
            }
            Ok(())
        })
    }

    /// Stores the rows of an outer join's delta. Returns their slots, and for which of them
    /// partners must be counted.
    fn store(
        &mut self,
        port: usize,
        owners: &[u32],
        delta: &Delta,
    ) -> Result<(Vec<u32>, Vec<bool>)> {
        let side = &mut self.sides[port];
        let encoded = side.rows.codec().encode(delta.rows().columns(), delta.len())?;
        let (mut slots, mut fresh) = (Vec::new(), Vec::new());
        for (i, owner) in owners.iter().enumerate() {
            let change = side.rows.add(*owner, encoded.get(i), delta.weight(i));
            slots.push(change.slot);
            if change.after == 0 {
                self.zeros[port].push(change.slot);
            }
            let mut uncounted = false;
            if let Some(presence) = &mut self.presence[port] {
                presence.grow(side);
                if self.residual.is_some() {
                    uncounted = presence.count_anew(change);
                    presence.touch_counted(change.slot, change.before);
                } else {
                    let partnered = self.totals.before(*owner, 1 - port) > 0;
                    let (slot, weight) = (change.slot, change.before);
                    presence.touch(Changed { slot, weight, partnered });
                }
            }
            fresh.push(uncounted);
            self.totals.add(*owner, port, delta.weight(i));
        }
        if let Some(presence) = &mut self.presence[port] {
            presence.counted();
        }
        side.watch(&slots, delta.rows())?;
        Ok((slots, fresh))
    }

    /// Returns the net change of the rows of a preserved side that are shown by themselves.
    pub(super) fn singles(&mut self, side: usize, at: Timestamp) -> Result<Option<Delta>> {
        let Some(presence) = &mut self.presence[side] else { return Ok(None) };
        let rows = &self.sides[side].rows;
        if self.residual.is_none() {
            for (key, partnered) in self.totals.flipped(1 - side) {
                for slot in rows.of(key) {
                    presence.touch(Changed { slot, weight: rows.weight(slot), partnered });
                }
            }
        }
        let (mut slots, mut weights, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for before in presence.take_changed() {
            let partners = match self.residual {
                Some(_) => presence.partners[before.slot as usize],
                None => self.totals.now(rows.owner(before.slot), 1 - side),
            };
            let partnered = partners > 0;
            let was = if self.kind.shows(before.partnered) { before.weight } else { 0 };
            let is = if self.kind.shows(partnered) { rows.weight(before.slot) } else { 0 };
            let marked_anew = self.kind == JoinKind::LeftMark && before.partnered != partnered;
            let changes = match marked_anew {
                true => [(-was, before.partnered), (is, partnered)],
                false => [(is - was, partnered), (0, partnered)],
            };
            for (weight, mark) in changes.into_iter().filter(|(weight, _)| *weight != 0) {
                slots.push(before.slot);
                weights.push(weight);
                marks.push(mark);
            }
        }
        if slots.is_empty() {
            return Ok(None);
        }
        let rows = self.sides[side].batch(&slots)?;
        let rows = self.single_rows(&rows, side, BooleanArray::from(marks))?;
        Ok(Some(Delta::new(rows, Instants::All(at), Weights::Each(Int64Array::from(weights)))))
    }

    /// Gives rows of a preserved side the row type of the output. `marks` says which have a
    /// partner.
    pub(super) fn single_rows(
        &self,
        rows: &RecordBatch,
        side: usize,
        marks: BooleanArray,
    ) -> Result<RecordBatch> {
        if self.kind.pairs() {
            return pad(rows, &self.output, side == 1);
        }
        let mut columns = rows.columns().to_vec();
        if self.kind == JoinKind::LeftMark {
            columns.push(Arc::new(marks));
        }
        Ok(batch(self.output.clone(), columns, rows.num_rows())?)
    }
}
