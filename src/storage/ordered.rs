//! Rows of owners in the order of their bytes: an ordered multiset per owner.
//!
//! # Semantics
//! Every (owner, bytes) has a weight. Owners stand one after the other in a single sequence, so
//! that an owner of one row costs no more than a row.
//!
//! # State
//! ```text
//!   firsts   (1,a..)      (1,q..)      (4,c..)        first key of each run
//!   runs    [(1,a..)..]  [(1,q..)..]  [(4,c..)..]     sorted keys, at most 256 in a run
//! ```
//! A key is the owner, the first 12 bytes and the slot: 20 bytes. Most comparisons are decided by
//! it; the others look at the row in the slab.
//!
//! # Cost
//! A binary search over the runs, one within a run, and a move of half a run on average: 2.5 KiB.
//! No allocation per row. [`OrderedRows::nth`] steps over whole runs.
//!
//! # Why
//! A `BTreeMap` needs the bytes in its keys, which is an allocation per row, or a comparison that
//! misses the cache at every step.

use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

use super::scratch::Scratch;
use super::slab::Slab;
use super::state::{Plain, Result, StateReader, StateWriter};
use super::store::{Store, ensure};

/// Keys in a run before it is split: 5 KiB, a few cache lines to search and little to move.
const RUN_KEYS: usize = 256;

/// An ordered multiset of rows per owner.
#[derive(Debug, Default)]
pub struct OrderedRows {
    slab: Slab,
    /// Weight of each slot's row.
    weights: Vec<i64>,
    /// Sorted runs of sorted keys, none empty.
    runs: Vec<Vec<Key>>,
    /// The first key of each run.
    firsts: Vec<Key>,
    /// The sum of the weights in each run.
    sums: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    owner: u32,
    /// The first bytes of the row, filled up with zeros.
    head: [u8; 12],
    slot: u32,
}

/// A place in the sequence.
#[derive(Clone, Copy, Debug)]
struct Place {
    run: usize,
    key: usize,
}

impl OrderedRows {
    /// Adds to the weight of an owner's row and returns its slot and its new weight. A row of
    /// weight 0 stays until it is removed.
    pub fn add(&mut self, owner: u32, bytes: &[u8], weight: i64) -> (u32, i64) {
        match self.locate(owner, bytes) {
            (place, true) => {
                let slot = self.runs[place.run][place.key].slot;
                self.sums[place.run] += weight;
                let sum = &mut self.weights[slot as usize];
                *sum += weight;
                (slot, *sum)
            }
            (place, false) => {
                let slot = self.slab.insert(bytes);
                if slot as usize == self.weights.len() {
                    self.weights.push(weight);
                } else {
                    self.weights[slot as usize] = weight;
                }
                self.insert(place, Key { owner, head: head(bytes), slot });
                (slot, weight)
            }
        }
    }

    /// Removes an owner's row.
    pub fn remove(&mut self, owner: u32, slot: u32) {
        let (place, found) = self.locate(owner, self.slab.get(slot));
        assert!(found, "a row that is removed is there");
        let run = &mut self.runs[place.run];
        run.remove(place.key);
        self.sums[place.run] -= self.weights[slot as usize];
        match run.first() {
            None => {
                self.runs.remove(place.run);
                self.firsts.remove(place.run);
                self.sums.remove(place.run);
            }
            Some(first) if place.key == 0 => self.firsts[place.run] = *first,
            Some(_) => {}
        }
        self.slab.remove(slot);
    }

    /// Removes all rows of an owner.
    pub fn clear(&mut self, owner: u32) {
        while let Some(slot) = self.first(owner) {
            self.remove(owner, slot);
        }
    }

    /// The slot of an owner's least row.
    pub fn first(&self, owner: u32) -> Option<u32> {
        self.of(owner).next()
    }

    /// The slot of an owner's greatest row.
    pub fn last(&self, owner: u32) -> Option<u32> {
        self.reversed(owner).next()
    }

    /// The slots of an owner's rows, least first.
    pub fn of(&self, owner: u32) -> impl Iterator<Item = u32> + '_ {
        self.of_from(owner, &[])
    }

    /// The slots of an owner's rows that are not less than `bytes`, least first.
    pub fn of_from<'a>(&'a self, owner: u32, bytes: &[u8]) -> impl Iterator<Item = u32> + use<'a> {
        let (from, _) = self.locate(owner, bytes);
        let here = self.runs.get(from.run).map_or(&[][..], |run| &run[from.key..]);
        let rest = self.runs.iter().skip(from.run + 1).flatten();
        here.iter().chain(rest).take_while(move |key| key.owner == owner).map(|key| key.slot)
    }

    /// The slots of an owner's rows, greatest first.
    pub fn reversed(&self, owner: u32) -> impl Iterator<Item = u32> + '_ {
        let to = match owner.checked_add(1) {
            Some(next) => self.locate(next, &[]).0,
            None => Place { run: self.runs.len(), key: 0 },
        };
        self.backwards(owner, to)
    }

    /// The slots of an owner's rows that are less than `bytes`, greatest first.
    pub fn of_before<'a>(
        &'a self,
        owner: u32,
        bytes: &[u8],
    ) -> impl Iterator<Item = u32> + use<'a> {
        self.backwards(owner, self.locate(owner, bytes).0)
    }

    fn backwards(&self, owner: u32, to: Place) -> impl Iterator<Item = u32> + use<'_> {
        let here = self.runs.get(to.run).map_or(&[][..], |run| &run[..to.key]);
        let rest = self.runs[..to.run].iter().rev().flat_map(|run| run.iter().rev());
        let keys = here.iter().rev().chain(rest);
        keys.take_while(move |key| key.owner == owner).map(|key| key.slot)
    }

    /// The slot of the row at position `n`, from 0, of an owner whose weights are not negative: a
    /// row of weight w takes w positions.
    pub fn nth(&self, owner: u32, n: i64) -> Option<u32> {
        let (Place { mut run, mut key }, _) = self.locate(owner, &[]);
        let mut before = 0;
        while let Some(keys) = self.runs.get(run) {
            let whole = key == 0 && keys.last().is_some_and(|last| last.owner == owner);
            if whole && before + self.sums[run] <= n {
                before += self.sums[run];
            } else {
                for at in &keys[key..] {
                    if at.owner != owner {
                        return None;
                    }
                    before += self.weight(at.slot);
                    if before > n {
                        return Some(at.slot);
                    }
                }
            }
            (run, key) = (run + 1, 0);
        }
        None
    }

    /// The weight of a live slot's row.
    pub fn weight(&self, slot: u32) -> i64 {
        self.weights[slot as usize]
    }

    /// The bytes of a live slot's row.
    pub fn get(&self, slot: u32) -> &[u8] {
        self.slab.get(slot)
    }

    /// Whether the slot holds a row.
    pub fn contains(&self, slot: u32) -> bool {
        self.slab.contains(slot)
    }

    /// Owner and slot of all rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.runs.iter().flatten().map(|key| (key.owner, key.slot))
    }

    /// One more than the greatest slot ever used.
    pub fn bound(&self) -> usize {
        self.slab.bound()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Returns the place of the first key that is not less, and whether it is equal.
    fn locate(&self, owner: u32, bytes: &[u8]) -> (Place, bool) {
        let head = head(bytes);
        let order = |key: &Key| {
            let by_head = (key.owner, &key.head).cmp(&(owner, &head));
            by_head.then_with(|| self.slab.get(key.slot).cmp(bytes))
        };
        // The run before the first one that starts beyond the row is the one to hold it.
        let beyond = self.firsts.partition_point(|key| order(key) != Ordering::Greater);
        let Some(run) = beyond.checked_sub(1) else {
            return (Place { run: 0, key: 0 }, false);
        };
        let keys = &self.runs[run];
        let key = keys.partition_point(|key| order(key) == Ordering::Less);
        match keys.get(key) {
            Some(found) => (Place { run, key }, order(found) == Ordering::Equal),
            None => (Place { run, key }, false),
        }
    }

    fn insert(&mut self, place: Place, key: Key) {
        let weight = self.weights[key.slot as usize];
        let Some(run) = self.runs.get_mut(place.run) else {
            self.runs.push(vec![key]);
            self.firsts.push(key);
            self.sums.push(weight);
            return;
        };
        run.insert(place.key, key);
        self.sums[place.run] += weight;
        if place.key == 0 {
            self.firsts[place.run] = key;
        }
        if run.len() > RUN_KEYS {
            // Ascending input leaves full runs behind.
            let at = if place.key == RUN_KEYS { RUN_KEYS } else { RUN_KEYS / 2 };
            let upper = run.split_off(at);
            let moved = upper.iter().map(|key| self.weights[key.slot as usize]).sum::<i64>();
            self.sums[place.run] -= moved;
            self.sums.insert(place.run + 1, moved);
            self.firsts.insert(place.run + 1, upper[0]);
            self.runs.insert(place.run + 1, upper);
        }
    }
}

impl Store for OrderedRows {
    fn memory(&self) -> usize {
        let keys = self.runs.len() * (RUN_KEYS + 2) * size_of::<Key>();
        self.slab.memory() + self.weights.memory() + keys
    }

    fn spilled(&self) -> usize {
        self.slab.spilled()
    }

    fn spill(&mut self, scratch: &Arc<Scratch>, bytes: usize) -> io::Result<usize> {
        self.slab.spill(scratch, bytes)
    }

    fn rows(&self) -> usize {
        self.len()
    }

    fn save(&self, to: &mut StateWriter) -> Result<()> {
        self.slab.save(to)?;
        self.weights.save(to)?;
        // A run changes as a whole, and others only with it.
        to.put_value(&self.runs.len())?;
        self.runs.iter().try_for_each(|run| run.save(to))
    }

    fn load(&mut self, from: &mut StateReader) -> Result<()> {
        self.slab.load(from)?;
        self.weights.load(from)?;
        let Self { slab, weights, runs, firsts, sums } = self;
        ensure(weights.len() == slab.bound(), "a row has no weight")?;
        let count = from.take_value::<usize>()?;
        *runs = (0..count).map(|_| from.take_numbers()).collect::<Result<_>>()?;
        let keys = || runs.iter().flatten();
        let there = keys().all(|key: &Key| slab.contains(key.slot));
        let whole = runs.iter().all(|run| !run.is_empty()) && keys().count() == slab.len();
        ensure(there && whole, "rows are not those in order")?;
        *firsts = runs.iter().map(|run| run[0]).collect();
        let sum = |run: &Vec<Key>| run.iter().map(|key| weights[key.slot as usize]).sum();
        *sums = runs.iter().map(sum).collect();
        Ok(())
    }
}

impl Plain for Key {
    const WIDTH: usize = <(u32, ([u8; 12], u32))>::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        (self.owner, (self.head, self.slot)).put(to);
    }

    fn get(from: &[u8]) -> Self {
        let (owner, (head, slot)) = Plain::get(from);
        Self { owner, head, slot }
    }
}

fn head(bytes: &[u8]) -> [u8; 12] {
    let mut head = [0; 12];
    let length = bytes.len().min(12);
    head[..length].copy_from_slice(&bytes[..length]);
    head
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn rows_of(rows: &OrderedRows, owner: u32) -> Vec<(Vec<u8>, i64)> {
        rows.of(owner).map(|s| (rows.get(s).to_vec(), rows.weight(s))).collect()
    }

    #[test]
    fn rows_of_an_owner_come_in_order_both_ways() {
        let mut rows = OrderedRows::default();
        for (owner, row) in [(2, "m"), (1, "z"), (2, "a"), (2, "m"), (3, "b")] {
            rows.add(owner, row.as_bytes(), 1);
        }
        assert_eq!(rows_of(&rows, 2), [(b"a".to_vec(), 1), (b"m".to_vec(), 2)]);
        let last = rows.reversed(2).next().map(|s| rows.get(s).to_vec());
        assert_eq!(last, Some(b"m".to_vec()));
        assert_eq!(rows.of(7).count() + rows.reversed(0).count(), 0);
        assert_eq!(rows.reversed(u32::MAX).count(), 0);
    }

    proptest! {
        #[test]
        fn equals_a_sorted_map(
            changes in proptest::collection::vec((0u32..3, 0u16..700, -1i64..3), 0..3000),
        ) {
            let mut rows = OrderedRows::default();
            let mut model: BTreeMap<(u32, Vec<u8>), i64> = BTreeMap::new();
            for (owner, value, weight) in changes {
                // A long common prefix, so that the head does not decide.
                let bytes = [&[9; 11][..], &value.to_be_bytes()].concat();
                let (slot, sum) = rows.add(owner, &bytes, weight);
                *model.entry((owner, bytes.clone())).or_default() += weight;
                prop_assert_eq!(sum, model[&(owner, bytes.clone())]);
                if sum == 0 {
                    rows.remove(owner, slot);
                    model.remove(&(owner, bytes));
                }
            }
            for owner in 0..3 {
                let expected: Vec<_> = model.iter().filter(|((o, _), _)| *o == owner)
                    .map(|((_, bytes), weight)| (bytes.clone(), *weight)).collect();
                prop_assert_eq!(&rows_of(&rows, owner), &expected);
                let reversed: Vec<_> = rows.reversed(owner)
                    .map(|s| (rows.get(s).to_vec(), rows.weight(s))).collect();
                prop_assert!(reversed.iter().eq(expected.iter().rev()));
                if expected.iter().all(|(_, weight)| *weight >= 0) {
                    let rows_at = expected.iter().flat_map(|(bytes, weight)| {
                        std::iter::repeat_n(bytes, usize::try_from(*weight).unwrap())
                    });
                    let rows_at: Vec<_> = rows_at.collect();
                    let at = |n: usize| rows.nth(owner, i64::try_from(n).unwrap());
                    for (n, bytes) in rows_at.iter().enumerate() {
                        prop_assert_eq!(at(n).map(|s| rows.get(s)), Some(&bytes[..]));
                    }
                    prop_assert_eq!(at(rows_at.len()), None);
                }
                let middle = [&[9; 11][..], &350u16.to_be_bytes()].concat();
                let from = expected.partition_point(|(bytes, _)| *bytes < middle);
                let slots = rows.of_from(owner, &middle).chain(rows.of_before(owner, &middle));
                let around: Vec<_> = slots.map(|s| rows.get(s).to_vec()).collect();
                let expected = expected[from..].iter().chain(expected[..from].iter().rev());
                prop_assert!(around.iter().eq(expected.map(|(bytes, _)| bytes)));
            }
            prop_assert_eq!(rows.len(), model.len());
            model.keys().map(|(owner, _)| *owner).for_each(|owner| rows.clear(owner));
            prop_assert!(rows.is_empty() && rows.runs.is_empty());
        }
    }

    #[test]
    fn rows_around_a_prefix_are_found_in_both_directions() {
        let mut rows = OrderedRows::default();
        for (owner, bytes) in
            [(1, b"ax"), (2, b"ax"), (2, b"bx"), (2, b"by"), (2, b"cx"), (3, b"ax")]
        {
            rows.add(owner, bytes, 1);
        }
        let get = |slot: u32| String::from_utf8(rows.get(slot).to_vec()).unwrap();
        let from: Vec<_> = rows.of_from(2, b"b").map(get).collect();
        let before: Vec<_> = rows.of_before(2, b"by").map(get).collect();
        assert_eq!(from, ["bx", "by", "cx"]);
        assert_eq!(before, ["bx", "ax"]);
        assert_eq!(rows.of_from(2, b"d").count() + rows.of_before(2, b"a").count(), 0);
    }
}
