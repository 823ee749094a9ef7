//! A set of distinct rows, each under a dense slot number.
//!
//! # Semantics
//! Rows are equal as in DISTINCT: NULL equals NULL. A row keeps its slot until it is removed.
//!
//! # State
//! The rows' bytes in a [`Slab`], 4 bytes of hash per slot, and a hash table of slots. Growing the
//! table needs no byte of the rows.
//!
//! # Cost
//! One hash and one comparison per row looked up.

use std::io;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use bumpalo::Bump;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::codec::{Encoded, RowCodec};
use super::scratch::Scratch;
use super::slab::{NONE, Slab};
use super::state::{Result as Saved, StateReader, StateWriter};
use super::store::{Store, ensure};
use crate::delta::partition::hash_bytes;

/// A set of distinct rows, each under a dense slot number.
#[derive(Debug)]
pub struct RowSet {
    codec: RowCodec,
    slab: Slab,
    /// Hash of each slot's row.
    hashes: Vec<u32>,
    index: HashTable<u32>,
}

impl RowSet {
    /// The empty set of rows of these column types.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        let codec = RowCodec::new(types)?;
        let (slab, hashes, index) = (Slab::default(), Vec::new(), HashTable::new());
        Ok(Self { codec, slab, hashes, index })
    }

    /// The encoding of this set's rows.
    pub fn codec(&self) -> &RowCodec {
        &self.codec
    }

    /// Returns the slot of each of `len` rows, adding those that are new.
    pub fn intern(&mut self, columns: &[ArrayRef], len: usize) -> Result<Vec<u32>, ArrowError> {
        let rows = self.codec.encode(columns, len)?;
        Ok((0..len).map(|i| self.intern_row(rows.get(i))).collect())
    }

    /// Returns the slot of each of `len` rows, `NONE` for one that is not in the set.
    pub fn find(&self, columns: &[ArrayRef], len: usize) -> Result<Vec<u32>, ArrowError> {
        let rows = self.codec.encode(columns, len)?;
        Ok(self.find_rows(&rows))
    }

    /// As [`RowSet::find`], for encoded rows.
    pub fn find_rows(&self, rows: &Encoded) -> Vec<u32> {
        let find = |i| {
            let (bytes, hash) = (rows.get(i), short_hash(rows.get(i)));
            self.index.find(spread(hash), |&slot| self.is(slot, hash, bytes)).copied()
        };
        (0..rows.len()).map(|i| find(i).unwrap_or(NONE)).collect()
    }

    /// Returns the slot of an encoded row, adding it if it is new.
    pub fn intern_row(&mut self, bytes: &[u8]) -> u32 {
        let Self { slab, hashes, index, .. } = self;
        let hash = short_hash(bytes);
        let is = |&slot: &u32| hashes[slot as usize] == hash && slab.get(slot) == bytes;
        match index.entry(spread(hash), is, |&slot| spread(hashes[slot as usize])) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let slot = slab.insert(bytes);
                vacant.insert(slot);
                if slot as usize == hashes.len() {
                    hashes.push(hash);
                } else {
                    hashes[slot as usize] = hash;
                }
                slot
            }
        }
    }

    /// Removes the row of a live slot; the slot will be given to another row.
    pub fn remove(&mut self, slot: u32) {
        let hash = spread(self.hashes[slot as usize]);
        let found = self.index.find_entry(hash, |&other| other == slot);
        found.expect("a live slot is in the index").remove();
        self.slab.remove(slot);
    }

    /// Whether the slot holds a row.
    pub fn contains(&self, slot: u32) -> bool {
        self.slab.contains(slot)
    }

    /// The encoded row of a live slot.
    pub fn get(&self, slot: u32) -> &[u8] {
        self.slab.get(slot)
    }

    /// Returns the rows of live slots as columns.
    pub fn decode(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.codec.decode(self.slab.all(slots, &Bump::new()))
    }

    /// Live slots, ascending.
    pub fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.slab.slots()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// One more than the greatest slot ever used.
    pub fn bound(&self) -> usize {
        self.slab.bound()
    }

    fn is(&self, slot: u32, hash: u32, bytes: &[u8]) -> bool {
        self.hashes[slot as usize] == hash && self.slab.get(slot) == bytes
    }
}

impl Store for RowSet {
    fn memory(&self) -> usize {
        self.slab.memory() + self.hashes.memory() + self.index.allocation_size()
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

    fn save(&self, to: &mut StateWriter) -> Saved<()> {
        self.slab.save(to)?;
        self.hashes.save(to)
    }

    fn load(&mut self, from: &mut StateReader) -> Saved<()> {
        self.slab.load(from)?;
        self.hashes.load(from)?;
        let Self { slab, hashes, index, .. } = self;
        ensure(hashes.len() == slab.bound(), "a row has no hash")?;
        let hash = |slot: &u32| spread(hashes[*slot as usize]);
        *index = HashTable::with_capacity(slab.len());
        for slot in slab.slots() {
            index.insert_unique(hash(&slot), slot, hash);
        }
        Ok(())
    }
}

/// The upper half of a row's hash; kept per slot, it makes most comparisons of bytes needless.
pub(super) fn short_hash(bytes: &[u8]) -> u32 {
    u32::try_from(hash_bytes(bytes) >> 32).expect("32 bits are left")
}

/// Makes a hash for the table, which looks at the lowest bits and at the top 7, out of a short one.
pub(super) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn columns(rows: &[(Option<&str>, i64)]) -> Vec<ArrayRef> {
        let texts: StringArray = rows.iter().map(|r| r.0).collect();
        let numbers: Int64Array = rows.iter().map(|r| Some(r.1)).collect();
        vec![Arc::new(texts), Arc::new(numbers)]
    }

    fn set() -> RowSet {
        RowSet::new([DataType::Utf8, DataType::Int64]).unwrap()
    }

    #[test]
    fn equal_rows_share_a_slot_and_null_equals_null() {
        let mut set = set();
        let rows = columns(&[(Some("a"), 1), (None, 1), (Some("a"), 1), (None, 1), (None, 2)]);
        assert_eq!(set.intern(&rows, 5).unwrap(), [0, 1, 0, 1, 2]);
        assert_eq!(set.find(&columns(&[(None, 2), (Some("b"), 1)]), 2).unwrap(), [2, NONE]);
    }

    #[test]
    fn removed_row_is_not_found_and_its_slot_is_reused() {
        let mut set = set();
        set.intern(&columns(&[(Some("a"), 1), (Some("b"), 2)]), 2).unwrap();
        set.remove(0);
        assert_eq!(set.find(&columns(&[(Some("a"), 1)]), 1).unwrap(), [NONE]);
        assert_eq!(set.intern(&columns(&[(Some("c"), 3)]), 1).unwrap(), [0]);
        assert_eq!(set.slots().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn decoding_returns_what_was_interned() {
        let mut set = set();
        let rows = columns(&[(Some("a"), 1), (None, -2)]);
        let slots = set.intern(&rows, 2).unwrap();
        assert_eq!(set.decode(&slots).unwrap(), rows);
    }

    #[test]
    fn rows_without_columns_are_all_equal() {
        let mut set = RowSet::new([]).unwrap();
        assert_eq!(set.intern(&[], 3).unwrap(), [0, 0, 0]);
        assert!(set.decode(&[0]).unwrap().is_empty());
    }
}
