//! Rows in the order of their numbers, of which the first ones are dropped.
//!
//! # State
//! Batches in order. A new batch is merged with the last ones while these are not much larger, so
//! that single rows do not cost a batch each. A batch of which less than half is left is copied, so
//! that a few rows do not hold back the memory of many.
//!
//! # Cost
//! Each row is copied at most a few times when it comes in small batches, and once more before it
//! goes.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::UInt32Array;

use crate::delta::Delta;
use crate::operators::Result;
use crate::storage::{Kept, Misfit, Scratch, StateReader, StateWriter, Store};

/// Rows from which a batch is not merged with later ones.
const BATCH_ROWS: usize = 8192;

/// Rows in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    batches: VecDeque<Numbered>,
    /// The number that the next row gets.
    end: u64,
}

/// Rows with consecutive numbers.
#[derive(Clone, Debug)]
struct Numbered {
    first: u64,
    rows: Kept,
    /// Rows of which the memory is held.
    held: usize,
}

impl Numbered {
    fn new(first: u64, rows: Delta) -> Self {
        Self { first, held: rows.len(), rows: Kept::new(rows) }
    }

    fn end(&self) -> u64 {
        self.first + length(self.rows.rows())
    }
}

impl Queue {
    /// The number that the next row gets.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Appends rows.
    pub(super) fn push(&mut self, mut rows: Delta) -> Result<()> {
        let mut first = self.end;
        self.end += length(rows.len());
        let mut merged: Vec<Numbered> = Vec::new();
        let mut total = rows.len();
        while let Some(last) = self.batches.pop_back_if(|last| {
            last.rows.rows() < BATCH_ROWS && total < BATCH_ROWS && last.rows.rows() <= total * 2
        }) {
            first = last.first;
            total += last.rows.rows();
            merged.push(last);
        }
        if !merged.is_empty() {
            let schema = rows.schema();
            let merged = merged.iter().rev().map(|part| Ok(part.rows.get()?.into_owned()));
            let mut parts = merged.collect::<Result<Vec<Delta>>>()?;
            parts.push(rows);
            rows = Delta::concat(&schema, &parts)?;
        }
        if !rows.is_empty() {
            self.batches.push_back(Numbered::new(first, rows));
        }
        Ok(())
    }

    /// Replaces all rows; `end` is the number that the next row gets.
    pub(super) fn reset(&mut self, rows: Delta, end: u64) {
        self.batches.clear();
        self.end = end;
        if !rows.is_empty() {
            self.batches.push_back(Numbered::new(end - length(rows.len()), rows));
        }
    }

    /// Returns the rows of a range of numbers, which must be there, or nothing if it is empty.
    pub(super) fn range(&self, numbers: Range<u64>) -> Result<Option<Delta>> {
        let parts = self.batches.iter().filter_map(|batch| {
            let from = numbers.start.max(batch.first);
            let to = numbers.end.min(batch.end());
            (from < to)
                .then(|| Ok(batch.rows.get()?.slice(index(from - batch.first), index(to - from))))
        });
        let parts = parts.collect::<Result<Vec<Delta>>>()?;
        let Some(first) = parts.first() else { return Ok(None) };
        Ok(Some(Delta::concat(&first.schema(), &parts)?))
    }

    /// Returns the instant of a row.
    pub(super) fn ts(&self, number: u64) -> i64 {
        let beyond = self.batches.partition_point(|batch| batch.first <= number);
        let batch = &self.batches[beyond - 1];
        batch.rows.ts_at(index(number - batch.first)).0
    }

    /// Forgets the rows before a number.
    pub(super) fn drop_before(&mut self, number: u64) -> Result<()> {
        while self.batches.front().is_some_and(|batch| batch.end() <= number) {
            self.batches.pop_front();
        }
        let Some(batch) = self.batches.front_mut().filter(|batch| batch.first < number) else {
            return Ok(());
        };
        let gone = index(number - batch.first);
        let mut rows = batch.rows.get()?.slice(gone, batch.rows.rows() - gone);
        if rows.len() * 2 < batch.held {
            let all = UInt32Array::from_iter_values((0..).take(rows.len()));
            rows = rows.take(&all)?;
            batch.held = rows.len();
        }
        (batch.first, batch.rows) = (number, Kept::new(rows));
        Ok(())
    }
}

impl Store for Queue {
    fn memory(&self) -> usize {
        self.batches.iter().map(|batch| batch.rows.memory()).sum()
    }

    fn spilled(&self) -> usize {
        self.batches.iter().map(|batch| batch.rows.spilled()).sum()
    }

    /// The first and the last batch are looked at all the time.
    fn spill(&mut self, scratch: &Arc<Scratch>, bytes: usize) -> io::Result<usize> {
        let mut done = 0;
        let inner = 1..self.batches.len().saturating_sub(1).max(1);
        for batch in self.batches.range_mut(inner).rev() {
            if done >= bytes {
                break;
            }
            done += batch.rows.spill(scratch, bytes - done)?;
        }
        Ok(done)
    }

    fn rows(&self) -> usize {
        self.batches.iter().map(|batch| batch.rows.rows()).sum()
    }

    fn save(&self, to: &mut StateWriter) -> Result<(), Misfit> {
        to.put_value(&(self.end, self.batches.len()))?;
        self.batches.iter().try_for_each(|batch| batch.rows.save(to))
    }

    fn load(&mut self, from: &mut StateReader) -> Result<(), Misfit> {
        let count;
        (self.end, count) = from.take_value::<(u64, usize)>()?;
        let batches = (0..count).map(|_| from.take_delta()).collect::<Result<Vec<_>, _>>()?;
        let rows: u64 = batches.iter().map(|rows| length(rows.len())).sum();
        let mut first = self.end.checked_sub(rows);
        self.batches.clear();
        for rows in batches {
            let at = first.ok_or_else(|| Misfit("rows have no number".to_owned()))?;
            first = Some(at + length(rows.len()));
            self.batches.push_back(Numbered::new(at, rows));
        }
        Ok(())
    }
}

fn length(rows: usize) -> u64 {
    u64::try_from(rows).expect("a length is a u64")
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("rows in memory are numbered by usize")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::pretty::{parse, print};

    #[test]
    fn rows_are_found_by_number_after_merging_and_dropping() {
        let mut queue = Queue::default();
        for i in 0..100 {
            queue.push(parse(&format!(" w | ts | v:int8\n+1 | {i} | {i}"))).unwrap();
        }
        assert!(queue.batches.len() < 10, "{}", queue.batches.len());
        queue.drop_before(97).unwrap();
        assert_eq!((queue.end(), queue.ts(98)), (100, 98));
        let rows = queue.range(98..100).unwrap().unwrap();
        assert_eq!(print(&rows), " w | ts | v\n+1 | 98 | 98\n+1 | 99 | 99\n");
        assert!(queue.range(100..100).unwrap().is_none());
        assert!(queue.batches.iter().all(|batch| batch.held < 10));
    }
}
