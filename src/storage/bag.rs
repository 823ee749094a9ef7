//! A multiset of rows: the content of a relation.
//!
//! # Semantics
//! A Z-set: every row with a weight that is not 0. Applying a delta adds weights; instants are
//! ignored. Negative weights are kept, so that the order of deltas does not matter.
//!
//! # State
//! Each distinct row once; a row whose weight becomes 0 is removed.

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use std::io;
use std::sync::Arc;

use super::rows::RowSet;
use super::scratch::Scratch;
use super::state::{Misfit, StateReader, StateWriter};
use super::store::{Store, ensure};
use crate::delta::{Delta, batch};

/// A multiset of rows: the content of a relation.
#[derive(Debug)]
pub struct Bag {
    schema: SchemaRef,
    rows: RowSet,
    /// Weight of each slot's row; 0 for free slots.
    weights: Vec<i64>,
}

impl Bag {
    /// The empty bag of rows of this type.
    pub fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        let rows = RowSet::new(schema.fields().iter().map(|f| f.data_type().clone()))?;
        Ok(Self { schema, rows, weights: Vec::new() })
    }

    /// The row type.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds the weights of a delta.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), ArrowError> {
        let slots = self.rows.intern(delta.rows().columns(), delta.len())?;
        self.weights.resize(self.rows.bound(), 0);
        for (i, slot) in slots.iter().enumerate() {
            self.weights[*slot as usize] += delta.weight(i);
        }
        for slot in slots {
            if self.weights[slot as usize] == 0 && self.rows.contains(slot) {
                self.rows.remove(slot);
            }
        }
        Ok(())
    }

    /// Returns each row once with its weight, ordered by slot.
    pub fn snapshot(&self) -> Result<(RecordBatch, Int64Array), ArrowError> {
        let slots: Vec<u32> = self.rows.slots().collect();
        let weights: Int64Array = slots.iter().map(|s| Some(self.weights[*s as usize])).collect();
        Ok((batch(self.schema.clone(), self.rows.decode(&slots)?, slots.len())?, weights))
    }

    /// Returns the slot of each row, `NONE` for one that is not there.
    pub fn find(&self, rows: &RecordBatch) -> Result<Vec<u32>, ArrowError> {
        self.rows.find(rows.columns(), rows.num_rows())
    }

    /// Returns how often the row of a slot is there.
    pub fn weight(&self, slot: u32) -> i64 {
        self.weights[slot as usize]
    }

    /// Returns the rows of live slots.
    pub fn rows(&self, slots: &[u32]) -> Result<RecordBatch, ArrowError> {
        batch(self.schema.clone(), self.rows.decode(slots)?, slots.len())
    }

    /// Number of distinct rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Store for Bag {
    fn memory(&self) -> usize {
        self.rows.memory() + self.weights.memory()
    }

    fn spilled(&self) -> usize {
        self.rows.spilled()
    }

    fn spill(&mut self, scratch: &Arc<Scratch>, bytes: usize) -> io::Result<usize> {
        self.rows.spill(scratch, bytes)
    }

    fn rows(&self) -> usize {
        self.len()
    }

    fn save(&self, to: &mut StateWriter) -> Result<(), Misfit> {
        self.rows.save(to)?;
        self.weights.save(to)
    }

    fn load(&mut self, from: &mut StateReader) -> Result<(), Misfit> {
        self.rows.load(from)?;
        self.weights.load(from)?;
        ensure(self.weights.len() == self.rows.bound(), "a row has no weight")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::pretty::{parse, print_rows};

    #[test]
    fn weights_add_up_and_zero_leaves_nothing() {
        let delta = parse(
            " w | ts | k:text | v:int8
             +1 | 1  | a      | 1
             +2 | 1  | b      | NULL
             -1 | 2  | a      | 1
             -5 | 2  | c      | 3",
        );
        let mut bag = Bag::new(delta.schema()).unwrap();
        bag.apply(&delta).unwrap();
        expect_test::expect![[r#"
             w | k | v
            +2 | b | NULL
            -5 | c | 3
        "#]]
        .assert_eq(&print_rows(&bag.snapshot().unwrap()));
        bag.apply(&delta.negate()).unwrap();
        assert!(bag.is_empty());
    }

    #[test]
    fn loading_restores_what_was_saved() {
        let delta = parse(
            " w | ts | k:text
             +3 | 1  | a
             +1 | 1  | NULL",
        );
        let mut bag = Bag::new(delta.schema()).unwrap();
        bag.apply(&delta).unwrap();
        let mut restored = Bag::new(delta.schema()).unwrap();
        let mut saved = StateWriter::default();
        bag.save(&mut saved).unwrap();
        restored.load(&mut StateReader::of(saved)).unwrap();
        assert_eq!(restored.snapshot().unwrap(), bag.snapshot().unwrap());
    }
}
