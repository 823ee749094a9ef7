//! The first rows of a partition, and how two such lists differ.

use std::ops::Range;

use crate::storage::OrderedRows;

/// The first rows of a partition, as of the last instant.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Slots in order, with how many copies stand among the first.
    pub(super) rows: Vec<(u32, usize)>,
    /// Sum of the copies.
    pub(super) count: usize,
    /// Whether the partition must be looked at again.
    pub(super) dirty: bool,
}

/// A change of what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) slot: u32,
    pub(super) weight: i64,
    /// The row's place, from 0; only of numbered rows.
    pub(super) place: usize,
}

impl Shown {
    /// Returns the first `limit` rows of a partition.
    pub(super) fn first(rows: &OrderedRows, partition: u32, limit: usize) -> Self {
        let mut shown = Shown::default();
        for slot in rows.of(partition) {
            if shown.count >= limit {
                break;
            }
            let copies = usize::try_from(rows.weight(slot)).unwrap_or(0);
            let copies = copies.min(limit - shown.count);
            if copies > 0 {
                shown.rows.push((slot, copies));
                shown.count += copies;
            }
        }
        shown
    }

    /// Adds the net changes of the copies at the `visible` places. `net` is zero for all slots, and
    /// is left so.
    pub(super) fn changes(
        &self,
        new: &Shown,
        visible: Range<usize>,
        net: &mut [i64],
        changes: &mut Vec<Change>,
    ) {
        self.each_visible(&visible, |slot, copies| net[slot as usize] -= copies);
        new.each_visible(&visible, |slot, copies| net[slot as usize] += copies);
        for (slot, _) in self.rows.iter().chain(&new.rows) {
            let weight = std::mem::take(&mut net[*slot as usize]);
            if weight != 0 {
                changes.push(Change { slot: *slot, weight, place: 0 });
            }
        }
    }

    /// Adds the changes of each of the `visible` places.
    pub(super) fn numbered_changes(
        &self,
        new: &Shown,
        visible: Range<usize>,
        changes: &mut Vec<Change>,
    ) {
        let places = visible.start..visible.end.min(self.count.max(new.count));
        let mut old_rows = self.copies().skip(places.start);
        let mut new_rows = new.copies().skip(places.start);
        for place in places {
            let (was, is) = (old_rows.next(), new_rows.next());
            if was != is {
                changes.extend(was.map(|slot| Change { slot, weight: -1, place }));
                changes.extend(is.map(|slot| Change { slot, weight: 1, place }));
            }
        }
    }

    /// Each copy's slot.
    fn copies(&self) -> impl Iterator<Item = u32> + '_ {
        self.rows.iter().flat_map(|(slot, copies)| std::iter::repeat_n(*slot, *copies))
    }

    fn each_visible(&self, visible: &Range<usize>, mut f: impl FnMut(u32, i64)) {
        let mut from = 0;
        for (slot, copies) in &self.rows {
            let to = from + copies;
            let shown = to.min(visible.end).saturating_sub(from.max(visible.start));
            if shown > 0 {
                f(*slot, i64::try_from(shown).expect("weights are i64"));
            }
            from = to;
        }
    }
}
