//! Which rows of a preserved side have a partner, and what an instant changes about that.
//!
//! # Semantics
//! A row of the preserved side of an outer join stands padded with NULLs exactly while it has no
//! partner; a row of a semi join is there exactly while it has one; of an anti join, while it has
//! none. Here such a row is called *single* output: its own weight, if it is shown.
//!
//! # State
//! Without a residual all rows of a key have a partner or none has: one total per key and side.
//! With a residual each row has its own sum of the weights of its partners.
//!
//! # Invariants
//! A row's weight and partners before the instant are recorded before the first change of the
//! instant. So only the net change is emitted, however often it changed within the instant.

use super::side::Side;
use crate::storage::{Change, Plain, Visit};

/// Rows of one preserved side.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// By slot of the row: the weights of its partners; only with a residual.
    pub(super) partners: Vec<i64>,
    /// Rows that have changed in this instant, in order.
    pub(super) changed: Vec<Changed>,
    /// By slot of the row: whether it is among `changed`.
    marks: Vec<bool>,
    /// Rows whose partners are being counted by this call.
    counting: Vec<u32>,
}

/// A row as it was before the instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changed {
    pub(super) slot: u32,
    pub(super) weight: i64,
    pub(super) partnered: bool,
}

impl Plain for Changed {
    const WIDTH: usize = <((u32, bool), i64)>::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        ((self.slot, self.partnered), self.weight).put(to);
    }

    fn get(from: &[u8]) -> Self {
        let ((slot, partnered), weight) = Plain::get(from);
        Self { slot, weight, partnered }
    }
}

impl Presence {
    /// Shows what it keeps.
    pub(super) fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.partners);
        visit(&mut self.marks);
        visit(&mut self.changed);
    }

    /// Makes room for the rows of a side.
    pub(super) fn grow(&mut self, side: &Side) {
        self.partners.resize(side.rows.bound(), 0);
        self.marks.resize(side.rows.bound(), false);
    }

    /// Records a row as it is before its first change in the instant.
    pub(super) fn touch(&mut self, before: Changed) {
        let mark = &mut self.marks[before.slot as usize];
        if !*mark {
            *mark = true;
            self.changed.push(before);
        }
    }

    /// Records a row, its partners counted for itself, before its first change in the instant.
    pub(super) fn touch_counted(&mut self, slot: u32, weight: i64) {
        let partnered = self.partners[slot as usize] > 0;
        self.touch(Changed { slot, weight, partnered });
    }

    /// Returns whether the partners of an added row must be counted: it is new, or it had gone
    /// within the instant and changes of the other side have passed it by.
    pub(super) fn count_anew(&mut self, change: Change) -> bool {
        if !change.new {
            if change.before != 0 || self.counting.contains(&change.slot) {
                return false;
            }
            self.touch_counted(change.slot, 0);
        }
        self.partners[change.slot as usize] = 0;
        self.counting.push(change.slot);
        true
    }

    /// Ends the counting of a call.
    pub(super) fn counted(&mut self) {
        self.counting.clear();
    }

    /// Returns the changed rows, and forgets them.
    pub(super) fn take_changed(&mut self) -> Vec<Changed> {
        let changed = std::mem::take(&mut self.changed);
        changed.iter().for_each(|row| self.marks[row.slot as usize] = false);
        changed
    }
}
