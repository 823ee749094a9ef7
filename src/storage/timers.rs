//! Slots in the order of the time at which something is due for them.
//!
//! # Semantics
//! A timer is never cancelled: who reuses or frees a slot compares the time that comes back with
//! the one it knows, and ignores the rest.
//!
//! # Cost
//! A binary heap of pairs: 16 bytes a timer, no allocation for each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::state::{Result, StateReader, StateWriter};
use super::store::Store;

/// Slots in the order of the time at which something is due for them.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(i64, u32)>>,
}

impl Timers {
    /// Adds a timer.
    pub fn add(&mut self, time: i64, slot: u32) {
        self.heap.push(Reverse((time, slot)));
    }

    /// Takes the earliest timer if it is due; equal times come by ascending slot.
    pub fn take_due(&mut self, due: impl Fn(i64) -> bool) -> Option<(i64, u32)> {
        let Reverse((time, _)) = *self.heap.peek()?;
        if !due(time) {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer)
    }

    /// The time of the earliest timer.
    pub fn earliest(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((time, _))| *time)
    }

    /// Number of timers.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is no timer.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl Store for Timers {
    fn memory(&self) -> usize {
        self.heap.capacity() * size_of::<(i64, u32)>()
    }

    fn save(&self, to: &mut StateWriter) -> Result<()> {
        to.put_numbers(&self.heap.iter().map(|Reverse(timer)| *timer).collect::<Vec<_>>())
    }

    fn load(&mut self, from: &mut StateReader) -> Result<()> {
        self.heap = from.take_numbers()?.into_iter().map(Reverse).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_back_by_time_and_slot_when_due() {
        let mut timers = Timers::default();
        [(5, 1), (3, 9), (5, 0)].into_iter().for_each(|(time, slot)| timers.add(time, slot));
        let mut due = Vec::new();
        while let Some(timer) = timers.take_due(|time| time <= 5) {
            due.push(timer);
        }
        assert_eq!(due, [(3, 9), (5, 0), (5, 1)]);
        assert!(timers.is_empty());
    }
}
