//! The first rows of a partition, and how two such lists differ.

use std::ops::Range;

use super::Counting;
use crate::storage::{Misfit, OrderedRows, StateReader, StateWriter, Store};

/// The first rows of a partition, as of the last instant.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Slots in order, with how many copies stand among the first.
    pub(super) rows: Vec<(u32, usize)>,
    /// Sum of the copies.
    pub(super) count: usize,
    /// Number of groups of peers, unless rows are counted.
    pub(super) groups: usize,
    /// Whether the partition must be looked at again.
    pub(super) dirty: bool,
}

impl Store for Vec<Shown> {
    fn memory(&self) -> usize {
        self.iter().map(|shown| size_of::<Shown>() + shown.rows.memory()).sum()
    }

    fn save(&self, to: &mut StateWriter) -> Result<(), Misfit> {
        let count = |shown: &Shown| [shown.rows.len(), shown.count, shown.groups];
        to.put_numbers(&self.iter().map(count).collect::<Vec<_>>())?;
        to.put_numbers(
            &self.iter().flat_map(|shown| shown.rows.iter().copied()).collect::<Vec<_>>(),
        )
    }

    fn load(&mut self, from: &mut StateReader) -> Result<(), Misfit> {
        let counts = from.take_numbers::<[usize; 3]>()?;
        let mut rows = from.take_numbers::<(u32, usize)>()?.into_iter();
        let shown = counts.into_iter().map(|[len, count, groups]| {
            let rows = rows.by_ref().take(len).collect();
            Shown { rows, count, groups, dirty: false }
        });
        *self = shown.collect();
        Ok(())
    }
}

/// What tells whether rows are peers.
#[derive(Clone, Copy)]
pub(super) struct Peers<'a> {
    pub(super) rows: &'a OrderedRows,
    /// By slot; empty if rows are counted.
    pub(super) key_lengths: &'a [usize],
    pub(super) counting: Counting,
}

impl Peers<'_> {
    /// The encoded key of a row, unless rows are counted.
    fn key(&self, slot: u32) -> Option<&[u8]> {
        self.key_lengths.get(slot as usize).map(|length| &self.rows.get(slot)[..*length])
    }
}

/// Changes of what is shown, with their rows.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Encoded rows, packed: their slots may be given to other rows within a round.
    bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    ends: Vec<usize>,
    pub(super) weights: Vec<i64>,
    pub(super) instants: Vec<i64>,
    /// The row's place, from 1; only of numbered rows.
    pub(super) places: Vec<i64>,
    /// The instant of the changes that are being added.
    pub(super) at: i64,
}

impl Changes {
    fn add(&mut self, rows: &OrderedRows, slot: u32, weight: i64, place: usize) {
        self.bytes.extend_from_slice(rows.get(slot));
        self.ends.push(self.bytes.len());
        self.weights.push(weight);
        self.instants.push(self.at);
        self.places.push(i64::try_from(place + 1).expect("places are counted by i64"));
    }

    /// The encoded rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().scan(0, |from, to| {
            let row = &self.bytes[*from..*to];
            *from = *to;
            Some(row)
        })
    }
}

impl Shown {
    /// Returns the rows of a partition of which the number is at most `limit`.
    pub(super) fn first(peers: Peers<'_>, partition: u32, limit: usize) -> Self {
        let mut shown = Shown::default();
        for slot in peers.rows.of(partition) {
            let copies = usize::try_from(peers.rows.weight(slot)).unwrap_or(0);
            if copies > 0 {
                if shown.full(limit, peers.counting) && !shown.ends_with_peer(peers, slot) {
                    break;
                }
                let copies = match peers.counting {
                    Counting::Rows => copies.min(limit - shown.count),
                    Counting::Ranks | Counting::Groups => copies,
                };
                shown.push(peers, slot, copies);
            }
        }
        shown
    }

    /// Adds copies of the next row.
    pub(super) fn push(&mut self, peers: Peers<'_>, slot: u32, copies: usize) {
        self.groups += usize::from(!self.ends_with_peer(peers, slot));
        self.rows.push((slot, copies));
        self.count += copies;
    }

    fn full(&self, limit: usize, counting: Counting) -> bool {
        let counted = if counting == Counting::Groups { self.groups } else { self.count };
        counted >= limit
    }

    fn ends_with_peer(&self, peers: Peers<'_>, slot: u32) -> bool {
        let last = self.rows.last();
        last.is_some_and(|(last, _)| peers.key(*last).is_some_and(|k| Some(k) == peers.key(slot)))
    }

    /// Whether an encoded row, which begins with a key of that length, stands behind these.
    pub(super) fn behind(&self, limit: usize, peers: Peers<'_>, row: &[u8], key: usize) -> bool {
        let beyond = |(last, _): &(u32, usize)| match peers.key(*last) {
            None => row > peers.rows.get(*last),
            Some(last) => &row[..key] > last,
        };
        self.full(limit, peers.counting) && self.rows.last().is_none_or(beyond)
    }

    /// Adds the net changes of the copies at the `visible` places. `net` is zero for all slots, and
    /// is left so.
    pub(super) fn changes(
        &self,
        new: &Shown,
        visible: &Range<usize>,
        (rows, net): (&OrderedRows, &mut [i64]),
        changes: &mut Changes,
    ) {
        self.each_visible(visible, |slot, copies| net[slot as usize] -= copies);
        new.each_visible(visible, |slot, copies| net[slot as usize] += copies);
        for (slot, _) in self.rows.iter().chain(&new.rows) {
            let weight = std::mem::take(&mut net[*slot as usize]);
            if weight != 0 {
                changes.add(rows, *slot, weight, 0);
            }
        }
    }

    /// Adds the changes of each of the `visible` places.
    pub(super) fn numbered_changes(
        &self,
        new: &Shown,
        visible: &Range<usize>,
        peers: Peers<'_>,
        changes: &mut Changes,
    ) {
        let places = visible.start..visible.end.min(self.count.max(new.count));
        let mut old_rows = self.numbered(peers).skip(places.start);
        let mut new_rows = new.numbered(peers).skip(places.start);
        for _ in places {
            let (was, is) = (old_rows.next(), new_rows.next());
            if was != is {
                let rows = peers.rows;
                was.into_iter().for_each(|(slot, number)| changes.add(rows, slot, -1, number));
                is.into_iter().for_each(|(slot, number)| changes.add(rows, slot, 1, number));
            }
        }
    }

    /// Each copy's slot and number, from 0.
    fn numbered<'a>(&'a self, peers: Peers<'a>) -> impl Iterator<Item = (u32, usize)> + 'a {
        let (mut place, mut rank, mut group) = (0, 0, 0);
        let mut last = None;
        let copies =
            self.rows.iter().flat_map(|(slot, copies)| std::iter::repeat_n(*slot, *copies));
        copies.map(move |slot| {
            if let Some(last) = last.replace(slot)
                && (peers.key(last).is_none() || peers.key(last) != peers.key(slot))
            {
                (rank, group) = (place, group + 1);
            }
            place += 1;
            match peers.counting {
                Counting::Rows => (slot, place - 1),
                Counting::Ranks => (slot, rank),
                Counting::Groups => (slot, group),
            }
        })
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
