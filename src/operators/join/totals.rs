//! Total weight of each key on both sides of an outer join, and the keys an instant has touched.

use crate::storage::Visit;

/// Totals by key, now and before the instant.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// By key: the total weight of its rows on each side. Rows that a watermark freed stay counted,
    /// so that their partners do not lose them.
    now: Vec<[i64; 2]>,
    /// By key: the same before the instant, for touched keys.
    before: Vec<[i64; 2]>,
    marks: Vec<bool>,
    touched: Vec<u32>,
}

impl Totals {
    /// Shows what it keeps.
    pub(super) fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.now);
        visit(&mut self.before);
        visit(&mut self.marks);
        visit(&mut self.touched);
    }

    /// Records keys as they are before their first change in the instant.
    pub(super) fn touch(&mut self, keys: &[u32]) {
        for key in keys {
            let index = *key as usize;
            if self.marks.len() <= index {
                self.now.resize(index + 1, [0; 2]);
                self.before.resize(index + 1, [0; 2]);
                self.marks.resize(index + 1, false);
            }
            if !self.marks[index] {
                self.marks[index] = true;
                self.before[index] = self.now[index];
                self.touched.push(*key);
            }
        }
    }

    /// Adds to the total of a touched key.
    pub(super) fn add(&mut self, key: u32, side: usize, weight: i64) {
        self.now[key as usize][side] += weight;
    }

    /// The total of a key.
    pub(super) fn now(&self, key: u32, side: usize) -> i64 {
        self.now.get(key as usize).map_or(0, |totals| totals[side])
    }

    /// The total that a touched key had before the instant.
    pub(super) fn before(&self, key: u32, side: usize) -> i64 {
        self.before[key as usize][side]
    }

    /// Touched keys for which a side now has rows and had none, or the reverse, with whether it
    /// had.
    pub(super) fn flipped(&self, side: usize) -> impl Iterator<Item = (u32, bool)> + '_ {
        let states = self.touched.iter().map(move |key| {
            (*key, self.before[*key as usize][side] > 0, self.now[*key as usize][side] > 0)
        });
        states.filter(|(_, before, now)| before != now).map(|(key, before, _)| (key, before))
    }

    /// Returns the touched keys, and forgets them.
    pub(super) fn take_touched(&mut self) -> Vec<u32> {
        let touched = std::mem::take(&mut self.touched);
        touched.iter().for_each(|key| self.marks[*key as usize] = false);
        touched
    }

    /// Forgets a key that was freed.
    pub(super) fn clear(&mut self, key: u32) {
        if let Some(totals) = self.now.get_mut(key as usize) {
            *totals = [0; 2];
        }
    }
}
