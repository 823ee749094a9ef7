//! Rows of owners: for each owner a multiset of rows in the order of their first arrival.
//!
//! # Semantics
//! An owner is a dense number of the caller's, such as the slot of a key. Rows of different owners
//! are different. [`GroupedRows::add`] sums the weights of equal rows at once;
//! [`GroupedRows::push`] only appends, and [`GroupedRows::settle`] sums later, or never where rows
//! are known not to be retracted.
//!
//! # State
//! Per row its bytes and 24 bytes more: time, owner, hash and the links of its owner's list; a
//! weight only once one is not 1, so that rows which are only appended have none. Per owner the
//! ends of the list. A row leaves when the caller removes it.
//!
//! # Cost
//! One hash per `add` or settled row, none per `push`. Reading an owner's rows follows links.

use std::io;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use bumpalo::Bump;
use hashbrown::HashTable;

use super::codec::RowCodec;
use super::rows::{short_hash, spread};
use super::scratch::Scratch;
use super::slab::{NONE, Slab};
use super::state::{Plain, Result as Saved, StateReader, StateWriter};
use super::store::{Store, ensure};

/// For each owner a multiset of rows in the order of their first arrival.
#[derive(Debug)]
pub struct GroupedRows {
    codec: RowCodec,
    slab: Slab,
    /// By slot.
    nodes: Vec<Node>,
    /// By slot, as far as a weight was not 1.
    weights: Vec<i64>,
    /// By owner: the first and the last slot of its list.
    ends: Vec<(u32, u32)>,
    /// Slots of the rows that were added or settled.
    index: HashTable<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The instant of the change that brought the row, in microseconds.
    ts: i64,
    /// 0 for a row that is not in the index.
    hash: u32,
    owner: u32,
    next: u32,
    previous: u32,
}

/// How the weight of a row changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row's slot.
    pub slot: u32,
    /// Whether the row was not there, not even with weight 0.
    pub new: bool,
    /// Its weight before; 0 if it is new.
    pub before: i64,
    /// Its weight now; a row of weight 0 stays until it is removed.
    pub after: i64,
}

impl GroupedRows {
    /// No rows, of these column types.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        Ok(Self {
            codec: RowCodec::new(types)?,
            slab: Slab::default(),
            nodes: Vec::new(),
            weights: Vec::new(),
            ends: Vec::new(),
            index: HashTable::new(),
        })
    }

    /// The encoding of the rows.
    pub fn codec(&self) -> &RowCodec {
        &self.codec
    }

    /// Adds to the weight of an owner's row, which may become 0.
    pub fn add(&mut self, owner: u32, bytes: &[u8], weight: i64) -> Change {
        let hash = owned_hash(owner, bytes);
        if let Some(slot) = self.find(owner, hash, bytes) {
            let before = self.weight(slot);
            let after = before + weight;
            self.set_weight(slot, after);
            return Change { slot, new: false, before, after };
        }
        let slot = self.append(bytes, Node::new(owner, hash), weight);
        self.index_slot(slot);
        Change { slot, new: true, before: 0, after: weight }
    }

    /// Appends a row to its owner's list without looking for an equal one.
    pub fn push(&mut self, owner: u32, bytes: &[u8], weight: i64, ts: i64) -> u32 {
        self.append(bytes, Node { ts, ..Node::new(owner, 0) }, weight)
    }

    /// Merges pushed rows into equal ones, removes what cancels, and returns the slots that are
    /// free now.
    pub fn settle(&mut self, pushed: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut freed = Vec::new();
        for slot in pushed {
            let (owner, weight) = (self.owner(slot), self.weight(slot));
            let hash = owned_hash(owner, self.slab.get(slot));
            self.nodes[slot as usize].hash = hash;
            match self.find(owner, hash, self.slab.get(slot)) {
                Some(equal) => {
                    let sum = self.weight(equal) + weight;
                    self.set_weight(equal, sum);
                    let cancelled = sum == 0;
                    self.remove(slot);
                    freed.push(slot);
                    if cancelled {
                        self.remove(equal);
                        freed.push(equal);
                    }
                }
                None => self.index_slot(slot),
            }
        }
        freed
    }

    /// Removes the row of a live slot.
    pub fn remove(&mut self, slot: u32) {
        let node = self.nodes[slot as usize];
        if let Ok(found) = self.index.find_entry(spread(node.hash), |&other| other == slot) {
            found.remove();
        }
        let ends = &mut self.ends[node.owner as usize];
        match node.previous {
            NONE => ends.0 = node.next,
            previous => self.nodes[previous as usize].next = node.next,
        }
        match node.next {
            NONE => ends.1 = node.previous,
            next => self.nodes[next as usize].previous = node.previous,
        }
        self.slab.remove(slot);
    }

    /// Removes all rows of an owner.
    pub fn clear(&mut self, owner: u32) {
        while let Some(slot) = self.first(owner) {
            self.remove(slot);
        }
    }

    /// The slots of an owner's rows, in arrival order.
    #[inline]
    pub fn of(&self, owner: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.first(owner), |slot| {
            let next = self.nodes[*slot as usize].next;
            (next != NONE).then_some(next)
        })
    }

    /// The slot of an owner's oldest row.
    #[inline]
    pub fn first(&self, owner: u32) -> Option<u32> {
        self.ends.get(owner as usize).map(|ends| ends.0).filter(|slot| *slot != NONE)
    }

    /// The owner of a live slot's row.
    pub fn owner(&self, slot: u32) -> u32 {
        self.nodes[slot as usize].owner
    }

    /// The weight of a live slot's row.
    #[inline]
    pub fn weight(&self, slot: u32) -> i64 {
        self.weights.get(slot as usize).copied().unwrap_or(1)
    }

    fn set_weight(&mut self, slot: u32, weight: i64) {
        let index = slot as usize;
        if self.weights.len() <= index && weight != 1 {
            self.weights.resize(index + 1, 1);
        }
        if let Some(known) = self.weights.get_mut(index) {
            *known = weight;
        }
    }

    /// The instant with which a live slot's row was pushed; the least one for an added row.
    #[inline]
    pub fn ts(&self, slot: u32) -> i64 {
        self.nodes[slot as usize].ts
    }

    /// The encoded row of a live slot.
    pub fn get(&self, slot: u32) -> &[u8] {
        self.slab.get(slot)
    }

    /// Whether the slot holds a row.
    pub fn contains(&self, slot: u32) -> bool {
        self.slab.contains(slot)
    }

    /// Returns the rows of live slots as columns.
    pub fn decode(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.codec.decode(self.slab.all(slots, &Bump::new()))
    }

    /// Slots of all rows, owner by owner, each in arrival order.
    pub fn slots(&self) -> Vec<u32> {
        let owners = 0..u32::try_from(self.ends.len()).expect("owners are u32");
        owners.flat_map(|owner| self.of(owner)).collect()
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

    fn find(&self, owner: u32, hash: u32, bytes: &[u8]) -> Option<u32> {
        let is = |&slot: &u32| {
            let node = &self.nodes[slot as usize];
            node.hash == hash && node.owner == owner && self.slab.get(slot) == bytes
        };
        self.index.find(spread(hash), is).copied()
    }

    fn index_slot(&mut self, slot: u32) {
        let nodes = &self.nodes;
        let hash = |slot: &u32| spread(nodes[*slot as usize].hash);
        self.index.insert_unique(hash(&slot), slot, hash);
    }

    /// Appends a row to its owner's list.
    fn append(&mut self, bytes: &[u8], node: Node, weight: i64) -> u32 {
        let owner = node.owner as usize;
        if self.ends.len() <= owner {
            self.ends.resize(owner + 1, (NONE, NONE));
        }
        let slot = self.slab.insert(bytes);
        let ends = &mut self.ends[owner];
        let node = Node { previous: ends.1, ..node };
        match ends.1 {
            NONE => ends.0 = slot,
            last => self.nodes[last as usize].next = slot,
        }
        ends.1 = slot;
        if slot as usize == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[slot as usize] = node;
        }
        self.set_weight(slot, weight);
        slot
    }
}

impl Store for GroupedRows {
    fn memory(&self) -> usize {
        let nodes = self.nodes.memory() + self.weights.memory() + self.ends.memory();
        self.slab.memory() + nodes + self.index.allocation_size()
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
        self.nodes.save(to)?;
        self.weights.save(to)?;
        self.ends.save(to)
    }

    fn load(&mut self, from: &mut StateReader) -> Saved<()> {
        self.slab.load(from)?;
        self.nodes.load(from)?;
        self.weights.load(from)?;
        self.ends.load(from)?;
        ensure(self.nodes.len() == self.slab.bound(), "a row has no owner")?;
        let Self { slab, nodes, index, .. } = self;
        *index = HashTable::new();
        let hash = |slot: &u32| spread(nodes[*slot as usize].hash);
        let indexed = slab.slots().filter(|slot| nodes[*slot as usize].hash != 0);
        for slot in indexed {
            index.insert_unique(hash(&slot), slot, hash);
        }
        Ok(())
    }
}

impl Plain for Node {
    const WIDTH: usize = <(i64, [u32; 4])>::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        (self.ts, [self.hash, self.owner, self.next, self.previous]).put(to);
    }

    fn get(from: &[u8]) -> Self {
        let (ts, [hash, owner, next, previous]) = Plain::get(from);
        Self { ts, hash, owner, next, previous }
    }
}

impl Node {
    fn new(owner: u32, hash: u32) -> Self {
        Self { ts: i64::MIN, hash, owner, next: NONE, previous: NONE }
    }
}

/// The hash of an owner's row, never 0.
fn owned_hash(owner: u32, bytes: &[u8]) -> u32 {
    (short_hash(bytes) ^ owner.wrapping_mul(0x9E37_79B9)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> GroupedRows {
        GroupedRows::new([DataType::Int64]).unwrap()
    }

    fn of(rows: &GroupedRows, owner: u32) -> Vec<(Vec<u8>, i64)> {
        rows.of(owner).map(|s| (rows.get(s).to_vec(), rows.weight(s))).collect()
    }

    #[test]
    fn equal_rows_of_different_owners_are_different() {
        let mut rows = rows();
        assert_eq!(rows.add(0, b"x", 1), Change { slot: 0, new: true, before: 0, after: 1 });
        assert_eq!(rows.add(1, b"x", 1), Change { slot: 1, new: true, before: 0, after: 1 });
        assert_eq!(rows.add(0, b"x", -1), Change { slot: 0, new: false, before: 1, after: 0 });
    }

    #[test]
    fn rows_of_an_owner_stay_in_order_of_first_arrival() {
        let mut rows = rows();
        for row in [b"a", b"b", b"c", b"a"] {
            rows.add(3, row, 1);
        }
        rows.remove(1);
        rows.add(3, b"d", 1);
        assert_eq!(of(&rows, 3), [(b"a".to_vec(), 2), (b"c".to_vec(), 1), (b"d".to_vec(), 1)]);
        rows.clear(3);
        assert!(rows.is_empty() && rows.first(3).is_none());
    }

    #[test]
    fn settling_merges_pushed_rows_and_removes_what_cancels() {
        let mut rows = rows();
        rows.add(0, b"a", 2);
        let pushed: Vec<u32> =
            [(b"a", -2), (b"b", 1), (b"b", 2)].map(|(row, w)| rows.push(0, row, w, 7)).to_vec();
        assert_eq!(of(&rows, 0).len(), 4);
        rows.settle(pushed);
        assert_eq!(of(&rows, 0), [(b"b".to_vec(), 3)]);
    }
}
