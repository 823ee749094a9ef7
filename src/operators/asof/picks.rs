//! What left rows pick, and which picks a change concerns.

use super::{AsOf, Keyed, truth};
use crate::operators::Result;
use crate::storage::NONE;
use crate::time::Watermark;

/// Greater than the first byte of any row or of its "deleted".
const ABOVE: u8 = 0xFF;

impl AsOf {
    /// Returns the right row that a left row of that time picks.
    pub(super) fn pick(&self, owner: u32, time: &[u8], bound: &mut Vec<u8>) -> u32 {
        bound.clear();
        bound.extend(time);
        bound.extend((!self.strict).then_some(ABOVE));
        let rows = &self.right.rows;
        let live = rows.of_before(owner, bound).find(|slot| rows.weight(*slot) > 0);
        live.filter(|slot| !self.deleted(*slot)).unwrap_or(NONE)
    }

    /// Whether a version says that there is no row from its time on.
    fn deleted(&self, slot: u32) -> bool {
        self.versions && self.right.rows.get(slot)[self.width] == 1
    }

    pub(super) fn store_left(&mut self, keyed: &Keyed) -> Result<()> {
        let Keyed { delta, keys, times, .. } = keyed;
        let owners = self.keys.intern(keys, delta.len())?;
        let times = self.time.encode(std::slice::from_ref(times), delta.len())?;
        let encoded = self.left.codec.encode(delta.rows().columns(), delta.len())?;
        let (mut bytes, mut slots) = (Vec::new(), Vec::with_capacity(delta.len()));
        for (row, owner) in owners.into_iter().enumerate() {
            bytes.clear();
            bytes.extend(times.get(row));
            bytes.extend(encoded.get(row));
            let slot = self.left.add(owner, &bytes, delta.weight(row));
            self.touch(owner, slot);
            slots.push(slot);
        }
        self.left.watch(&slots, delta.rows().columns())
    }

    pub(super) fn store_right(&mut self, keyed: &Keyed) -> Result<()> {
        let Keyed { delta, keys, times, .. } = keyed;
        let owners = self.keys.intern(keys, delta.len())?;
        let times = self.time.encode(std::slice::from_ref(times), delta.len())?;
        let columns = delta.rows().columns();
        let own = &columns[..columns.len() - usize::from(self.versions)];
        let encoded = self.right.codec.encode(own, delta.len())?;
        let (mut bytes, mut slots) = (Vec::new(), Vec::with_capacity(delta.len()));
        for (row, owner) in owners.into_iter().enumerate() {
            bytes.clear();
            bytes.extend(times.get(row));
            if self.versions {
                self.replace(owner, times.get(row));
                bytes.push(u8::from(truth(&columns[own.len()], row)));
            }
            bytes.extend(encoded.get(row));
            let slot = self.right.add(owner, &bytes, delta.weight(row));
            self.changed.push((owner, slot));
            slots.push(slot);
        }
        self.right.watch(&slots, columns)
    }

    /// Takes back the version of a time for which another one comes.
    fn replace(&mut self, owner: u32, time: &[u8]) {
        let rows = &self.right.rows;
        let same = rows.of_from(owner, time).take_while(|slot| rows.get(*slot).starts_with(time));
        let live: Vec<u32> = same.filter(|slot| rows.weight(*slot) > 0).collect();
        for slot in live {
            let bytes = self.right.rows.get(slot).to_vec();
            let weight = self.right.rows.weight(slot);
            self.right.add(owner, &bytes, -weight);
            self.changed.push((owner, slot));
        }
    }

    pub(super) fn touch(&mut self, owner: u32, slot: u32) {
        let index = slot as usize;
        if self.marks.len() <= index {
            self.marks.resize(index + 1, false);
            self.shown.resize(index + 1, (0, NONE));
        }
        if !std::mem::replace(&mut self.marks[index], true) {
            self.dirty.push((owner, slot));
        }
    }

    /// Touches the left rows that changes of right rows concern: those from the time of the change
    /// to that of the next right row.
    pub(super) fn look_again(&mut self) {
        let mut concerned = Vec::new();
        let mut bound = Vec::new();
        for (owner, slot) in &self.changed {
            let (left, right) = (&self.left.rows, &self.right.rows);
            let time = &right.get(*slot)[..self.width];
            bound.clear();
            bound.extend(time);
            bound.push(ABOVE);
            let next = right.of_from(*owner, &bound).find(|slot| right.weight(*slot) > 0);
            let next = next.map(|slot| &right.get(slot)[..self.width]);
            let from = if self.strict { bound.as_slice() } else { time };
            let rows = left.of_from(*owner, from);
            let before =
                |slot: &u32| next.is_none_or(|next| &left.get(*slot)[..self.width] <= next);
            concerned.extend(rows.take_while(before).map(|slot| (*owner, slot)));
        }
        concerned.into_iter().for_each(|(owner, slot)| self.touch(owner, slot));
    }

    /// Returns left slots, picks and weights of what the instant has changed.
    pub(super) fn differences(&mut self) -> (Vec<u32>, Vec<u32>, Vec<i64>) {
        let (mut slots, mut picks, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut bound = Vec::new();
        for (owner, slot) in &self.dirty {
            let weight = self.left.rows.weight(*slot);
            let time = &self.left.rows.get(*slot)[..self.width];
            let is = match weight {
                0 => (0, NONE),
                _ => (weight, self.pick(*owner, time, &mut bound)),
            };
            let was = std::mem::replace(&mut self.shown[*slot as usize], is);
            let changes = if was.1 == is.1 {
                [(is.0 - was.0, is.1), (0, NONE)]
            } else {
                [(-was.0, was.1), is]
            };
            let shown = |pick: u32| self.outer || pick != NONE;
            for (weight, pick) in changes.into_iter().filter(|(w, pick)| *w != 0 && shown(*pick)) {
                slots.push(*slot);
                picks.push(pick);
                weights.push(weight);
            }
        }
        (slots, picks, weights)
    }

    /// Ends an instant: removes rows of weight 0, and keys without rows.
    pub(super) fn sweep(&mut self) {
        let mut owners = Vec::new();
        for (owner, slot) in std::mem::take(&mut self.dirty) {
            self.marks[slot as usize] = false;
            if self.left.rows.weight(slot) == 0 {
                self.left.remove(slot);
                owners.push(owner);
            }
        }
        for (owner, slot) in std::mem::take(&mut self.changed) {
            if self.right.rows.contains(slot) && self.right.rows.weight(slot) == 0 {
                self.right.remove(slot);
                owners.push(owner);
            }
        }
        owners.into_iter().for_each(|owner| self.free_key(owner));
    }

    fn free_key(&mut self, owner: u32) {
        let used = self.left.rows.first(owner).or_else(|| self.right.rows.first(owner));
        if used.is_none() && self.keys.contains(owner) {
            self.keys.remove(owner);
        }
    }

    /// Frees left rows of which the pick is final, and right rows that nothing picks any more.
    pub(super) fn free(&mut self, watermark: Watermark) {
        let close = |side: &mut super::Side| match &mut side.finality {
            Some(finality) => finality.close(watermark),
            None => Vec::new(),
        };
        for (_, slot) in close(&mut self.left) {
            let owner = self.left.owners[slot as usize];
            self.left.remove(slot);
            self.shown[slot as usize] = (0, NONE);
            self.free_key(owner);
        }
        for (_, slot) in close(&mut self.right) {
            let owner = self.right.owners[slot as usize];
            let rows = &self.right.rows;
            let time = &rows.get(slot)[..self.width];
            let older: Vec<u32> = rows.of_before(owner, time).collect();
            older.into_iter().for_each(|slot| self.right.remove(slot));
            if self.deleted(slot) {
                self.right.remove(slot);
            }
            self.free_key(owner);
        }
    }
}
