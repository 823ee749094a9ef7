//! The rows of all partitions in their order, one entry per copy of a row.
//!
//! # State
//! ```text
//!   entry    key .. | tie .. | row .. | copy
//!            ORDER BY  what breaks ties  columns of the input   from 0
//! ```
//! all in Arrow's row encoding, so that entries of a partition stand in the order of their bytes
//! and peers have a common prefix.
//!
//! # Cost
//! A binary search per step that goes by key or by row, otherwise the rows that are passed.

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;

use super::call::Reach;
use crate::operators::Result;
use crate::storage::{OrderedRows, RowCodec, Visit};

/// Bytes of the number of a copy.
const COPY: usize = 4;

/// Above every byte that may follow a key: what breaks ties and rows begin with lower ones.
const ABOVE: u8 = 0xFF;

/// The rows of all partitions in their order.
pub(super) struct Sequence {
    pub(super) entries: OrderedRows,
    pub(super) keys: RowCodec,
    pub(super) ties: RowCodec,
    pub(super) rows: RowCodec,
    /// By slot: where the key ends, and where the row begins.
    parts: Vec<(u32, u32)>,
}

/// Entries that an instant has changed, packed.
#[derive(Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Packed {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().scan(0, |from, to| {
            let entry = &self.bytes[*from..*to];
            *from = *to;
            Some(entry)
        })
    }
}

/// A row about to be added or removed: the lengths of its parts, and their bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) partition: u32,
    /// Without the number of the copy.
    pub(super) bytes: Vec<u8>,
    parts: (u32, u32),
}

impl Sequence {
    pub(super) fn new(
        keys: Vec<(DataType, SortOptions)>,
        ties: Vec<DataType>,
        rows: Vec<DataType>,
    ) -> Result<Self> {
        Ok(Self {
            entries: OrderedRows::default(),
            keys: RowCodec::sorted(keys)?,
            ties: RowCodec::new(ties)?,
            rows: RowCodec::new(rows)?,
            parts: Vec::new(),
        })
    }

    /// Shows what it keeps.
    pub(super) fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.entries);
        visit(&mut self.parts);
    }

    /// Encodes rows: the columns of their key, of what breaks ties, and their own.
    pub(super) fn encode(
        &self,
        partitions: &[u32],
        [keys, ties, rows]: [&[ArrayRef]; 3],
    ) -> Result<Vec<Entry>> {
        let len = partitions.len();
        let (keys, ties) = (self.keys.encode(keys, len)?, self.ties.encode(ties, len)?);
        let rows = self.rows.encode(rows, len)?;
        let length = |length: usize| u32::try_from(length).expect("a row is smaller than 4 GiB");
        let entry = |(i, partition): (usize, &u32)| {
            let (key, tie, row) = (keys.get(i), ties.get(i), rows.get(i));
            let parts = (length(key.len()), length(key.len() + tie.len()));
            Entry { partition: *partition, bytes: [key, tie, row].concat(), parts }
        };
        Ok(partitions.iter().enumerate().map(entry).collect())
    }

    /// Adds a copy of a row and returns its slot.
    pub(super) fn add(&mut self, entry: &Entry) -> u32 {
        let copy = self.last_copy(entry).map_or(0, |slot| self.copy(slot) + 1);
        let bytes = [&entry.bytes[..], &copy.to_be_bytes()].concat();
        let (slot, _) = self.entries.add(entry.partition, &bytes, 1);
        if self.parts.len() <= slot as usize {
            self.parts.resize(slot as usize + 1, (0, 0));
        }
        self.parts[slot as usize] = entry.parts;
        slot
    }

    /// The slot of the last copy of a row.
    pub(super) fn last_copy(&self, entry: &Entry) -> Option<u32> {
        let above = [&entry.bytes[..], &[ABOVE; COPY + 1]].concat();
        let slot = self.entries.of_before(entry.partition, &above).next()?;
        let bytes = self.entries.get(slot);
        (bytes[..bytes.len() - COPY] == entry.bytes).then_some(slot)
    }

    fn copy(&self, slot: u32) -> u32 {
        let bytes = self.entries.get(slot);
        let copy = bytes[bytes.len() - COPY..].try_into().expect("an entry ends with its copy");
        u32::from_be_bytes(copy)
    }

    /// The encoded key of an entry.
    pub(super) fn key(&self, slot: u32) -> &[u8] {
        &self.entries.get(slot)[..self.parts[slot as usize].0 as usize]
    }

    /// The encoded row of an entry.
    pub(super) fn row(&self, slot: u32) -> &[u8] {
        let bytes = self.entries.get(slot);
        &bytes[self.parts[slot as usize].1 as usize..bytes.len() - COPY]
    }

    /// The first row to which `reach` leads back from the place of `bytes`, which begin with `key`.
    pub(super) fn back(
        &self,
        partition: u32,
        (bytes, key): (&[u8], &[u8]),
        reach: &Reach,
    ) -> Result<Option<u32>> {
        let from = |bytes: &[u8]| self.entries.of_from(partition, bytes).next();
        Ok(match reach {
            Reach::All => self.entries.first(partition),
            Reach::Rows(n) => {
                let before = self.entries.of_before(partition, bytes).take(*n).last();
                before.or_else(|| from(bytes))
            }
            Reach::Groups(n) => {
                let mut key = key;
                for _ in 0..*n {
                    match self.entries.of_before(partition, key).next() {
                        Some(before) => key = self.key(before),
                        None => break,
                    }
                }
                from(key)
            }
            Reach::Range(shift) => {
                let keys = self.keys.decode(std::iter::once(key))?;
                let shifted = self.keys.encode(&[shift.apply(&keys[0])?], 1)?;
                from(shifted.get(0))
            }
        })
    }

    /// The last row to which `reach` leads forward from the place of `bytes`.
    pub(super) fn forward(
        &self,
        partition: u32,
        (bytes, key): (&[u8], &[u8]),
        reach: &Reach,
    ) -> Result<Option<u32>> {
        let last = |key: &[u8]| {
            let above = [key, &[ABOVE]].concat();
            self.entries.of_before(partition, &above).next()
        };
        Ok(match reach {
            Reach::All => self.entries.last(partition),
            Reach::Rows(n) => {
                let mut after = self.entries.of_from(partition, bytes).peekable();
                let there = after.peek().is_some_and(|slot| self.entries.get(*slot) == bytes);
                let after = after.take(n.saturating_add(usize::from(there))).last();
                after.or_else(|| self.entries.of_before(partition, bytes).next())
            }
            Reach::Groups(n) => {
                let mut key = key;
                for _ in 0..*n {
                    let above = [key, &[ABOVE]].concat();
                    match self.entries.of_from(partition, &above).next() {
                        Some(next) => key = self.key(next),
                        None => break,
                    }
                }
                last(key)
            }
            Reach::Range(shift) => {
                let keys = self.keys.decode(std::iter::once(key))?;
                let shifted = self.keys.encode(&[shift.apply(&keys[0])?], 1)?;
                last(shifted.get(0))
            }
        })
    }

    /// The first of the rows to which the reaches lead back, or the row at the place itself.
    pub(super) fn first_of(
        &self,
        partition: u32,
        at: (&[u8], &[u8]),
        reaches: &[Reach],
    ) -> Result<Option<u32>> {
        let mut first: Option<u32> = None;
        for reach in reaches {
            if let Some(slot) = self.back(partition, at, reach)?
                && first.is_none_or(|first| self.entries.get(slot) < self.entries.get(first))
            {
                first = Some(slot);
            }
        }
        Ok(first)
    }

    /// The last of the rows to which the reaches lead forward.
    pub(super) fn last_of(
        &self,
        partition: u32,
        at: (&[u8], &[u8]),
        reaches: &[Reach],
    ) -> Result<Option<u32>> {
        let mut last: Option<u32> = None;
        for reach in reaches {
            if let Some(slot) = self.forward(partition, at, reach)?
                && last.is_none_or(|last| self.entries.get(slot) > self.entries.get(last))
            {
                last = Some(slot);
            }
        }
        Ok(last)
    }

    /// The bytes of an entry, and the key that they begin with.
    pub(super) fn place(&self, slot: u32) -> (&[u8], &[u8]) {
        (self.entries.get(slot), self.key(slot))
    }
}
