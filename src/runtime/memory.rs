//! How much memory queries and tables hold, and what happens when it is too much.
//!
//! # Semantics
//! Each query has an [`Account`] of what its operators and its result hold, in parts: a
//! [`Holding`] for each of its tasks and one for the result; each table has one as well. While all
//! accounts together exceed the limit, whoever has just worked moves rows of its own to the scratch
//! file, and so does, now and then, whoever holds most. What is spilled is read where it is needed;
//! results are the same.
//!
//! What points to rows stays in memory. When nothing more can be moved, the query that holds most
//! is suspended; if a table holds more than any query, tables take no more rows.
//!
//! # Cost
//! Looking at all stores of a task costs what their number is, and for some what the number of
//! groups is. It is done when rows have come that are a share of what is held.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::hub::Hub;
use super::job::{Fault, Job};
use super::{Error, Result};
use crate::error::SqlState;
use crate::sql::catalog::Oid;
use crate::storage::{Scratch, Visit};

/// Bytes that a row is taken for where it must be told quickly how much has come.
pub const ROW_BYTES: usize = 64;

/// What part of the limit is freed beyond what must be, so that it is not reached again at once.
const SLACK: usize = 16;

/// What may be held, and what is.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    scratch: Option<Arc<Scratch>>,
    held: AtomicUsize,
    /// Whether a query was suspended of which not everything has been let go.
    suspended: AtomicBool,
    /// How many rows all tables had when they held too much, or no limit. With fewer there is room
    /// in what they hold.
    rows_max: AtomicUsize,
}

/// What a query or table holds.
#[derive(Debug)]
pub struct Account {
    memory: Arc<Memory>,
    held: AtomicUsize,
    spilled: AtomicUsize,
}

/// What a part of a query, or a table, holds, as it was when it was last looked at.
#[derive(Debug)]
pub struct Holding {
    account: Arc<Account>,
    held: usize,
    spilled: usize,
}

impl Memory {
    /// A limit in bytes; nothing is spilled without a scratch file.
    pub fn new(limit: usize, scratch: Option<Arc<Scratch>>) -> Arc<Self> {
        let (held, rows_max) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        Arc::new(Self { limit, scratch, held, suspended: AtomicBool::new(false), rows_max })
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Fails if tables may not have so many rows together.
    pub(super) fn has_room(&self, rows: usize) -> Result<()> {
        if rows <= self.rows_max.load(Ordering::Acquire) {
            return Ok(());
        }
        let (held, limit) = (self.held.load(Ordering::Relaxed) >> 20, self.limit >> 20);
        Err(Error::OutOfMemory { held, limit })
    }

    /// Bytes held beyond the limit.
    pub fn excess(&self) -> usize {
        self.held.load(Ordering::Relaxed).saturating_sub(self.limit)
    }
}

impl Account {
    /// The account of a query that holds nothing.
    pub fn new(memory: &Arc<Memory>) -> Arc<Self> {
        let memory = Arc::clone(memory);
        Arc::new(Self { memory, held: AtomicUsize::new(0), spilled: AtomicUsize::new(0) })
    }

    /// An account without limit.
    #[cfg(test)]
    pub fn unlimited() -> Arc<Self> {
        Self::new(&Memory::new(usize::MAX, None))
    }

    /// Bytes held in memory.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Says that the query is suspended, and needs nothing any more.
    pub fn suspended(&self) {
        self.memory.suspended.store(true, Ordering::Release);
    }

    /// Bytes in the scratch file.
    pub fn spilled(&self) -> usize {
        self.spilled.load(Ordering::Relaxed)
    }
}

impl Holding {
    /// A part of a query that holds nothing.
    pub fn new(account: &Arc<Account>) -> Self {
        Self { account: Arc::clone(account), held: 0, spilled: 0 }
    }

    /// Whose part it is.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// How many bytes of new rows make it worth looking at what is held.
    pub fn is_stale(&self, bytes: usize) -> bool {
        bytes > (self.held / 64).max(64 * 1024)
    }

    /// Looks at what is held, and spills what is too much.
    pub fn settle(&mut self, stores: impl FnMut(&mut Visit<'_>)) {
        let mut stores = stores;
        self.note(&mut stores);
        let excess = self.account.memory.excess();
        if excess > 0 {
            self.spill(excess + self.account.memory.limit / SLACK, stores);
        }
    }

    /// Spills so many bytes, if there are so many; returns how many were.
    pub fn spill(&mut self, bytes: usize, stores: impl FnMut(&mut Visit<'_>)) -> usize {
        let mut stores = stores;
        let Some(scratch) = self.account.memory.scratch.clone() else { return 0 };
        let mut done: io::Result<usize> = Ok(0);
        stores(&mut |store| {
            if let Ok(so_far) = done
                && so_far < bytes
            {
                done = store.spill(&scratch, bytes - so_far).map(|more| so_far + more);
            }
        });
        self.note(&mut stores);
        done.unwrap_or_else(|error| {
            tracing::error!("rows stay in memory: the scratch file cannot be written: {error}");
            0
        })
    }

    /// Takes note of what is held.
    fn note(&mut self, stores: &mut impl FnMut(&mut Visit<'_>)) {
        let (mut held, mut spilled) = (0, 0);
        stores(&mut |store| {
            held += store.memory();
            spilled += store.spilled();
        });
        let Account { memory, held: of_query, spilled: spilled_of_query } = self.account.as_ref();
        // Sums wrap around, and so come out right.
        let more = held.wrapping_sub(self.held);
        memory.held.fetch_add(more, Ordering::Relaxed);
        of_query.fetch_add(more, Ordering::Relaxed);
        spilled_of_query.fetch_add(spilled.wrapping_sub(self.spilled), Ordering::Relaxed);
        (self.held, self.spilled) = (held, spilled);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.note(&mut |_: &mut Visit<'_>| {});
    }
}

impl Hub {
    /// The memory limit, and what is held.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Lets go of what suspended queries hold; while too much is held, lets those that hold most
    /// spill; if that does not help, suspends the query that holds most, or lets tables take no
    /// more rows. Blocks.
    pub fn relieve(&self) {
        let mut excess = self.memory.excess();
        if excess == 0 {
            self.memory.rows_max.store(usize::MAX, Ordering::Release);
        }
        let suspended = self.memory.suspended.swap(false, Ordering::AcqRel);
        if excess == 0 && !suspended {
            return;
        }
        let jobs = self.jobs();
        let suspended = jobs.iter().filter(|job| job.publication.fault().is_some());
        if suspended.filter(|job| !job.empty()).count() > 0 {
            self.memory.suspended.store(true, Ordering::Release);
        }
        excess = excess.min(self.memory.excess());
        let tables = self.tables_held().into_iter();
        let mut holders: Vec<(usize, Holder)> =
            tables.map(|(oid, held, _)| (held, Holder::Table(oid))).collect();
        holders.extend(jobs.into_iter().map(|job| (job.account().held(), Holder::Query(job))));
        holders.sort_by_key(|(held, _)| std::cmp::Reverse(*held));
        let mut stuck = true;
        for (_, holder) in &holders {
            if excess == 0 {
                return;
            }
            let spilled = match holder {
                Holder::Query(job) => job.spill(excess),
                Holder::Table(oid) => self.spill_table(*oid, excess),
            };
            stuck &= spilled == Some(0);
            excess = self.memory.excess();
        }
        match holders.first().filter(|_| stuck && excess > 0) {
            Some((_, Holder::Query(largest))) => {
                largest.suspend(too_much(largest, self.memory.limit));
            }
            Some((_, Holder::Table(_))) => {
                self.memory.rows_max.fetch_min(self.lock().table_rows(), Ordering::AcqRel);
            }
            None => {}
        }
    }

    fn spill_table(&self, oid: Oid, bytes: usize) -> Option<usize> {
        Some(self.lock().tables.get_mut(&oid)?.spill(bytes))
    }
}

/// Who holds something.
enum Holder {
    Query(Arc<Job>),
    Table(Oid),
}

fn too_much(job: &Job, limit: usize) -> Fault {
    let (held, limit) = (job.account().held() >> 20, limit >> 20);
    let message = format!(
        "out of memory: it holds {held} MB that cannot be spilled, and memory_limit is {limit} MB"
    );
    Fault { sqlstate: SqlState::OUT_OF_MEMORY, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Slab, Store};

    fn filled(bytes: usize) -> Slab {
        let mut slab = Slab::default();
        (0..bytes / 1_000).for_each(|_| {
            slab.insert(&[1; 1_000]);
        });
        slab
    }

    #[test]
    fn whoever_works_while_too_much_is_held_spills() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path()).unwrap();
        let memory = Memory::new(8_000_000, Some(Arc::clone(&scratch)));
        let accounts = [Account::new(&memory), Account::new(&memory)];
        let mut slabs = [filled(6_000_000), filled(6_000_000)];
        let mut holdings = accounts.each_ref().map(Holding::new);
        for ((holding, slab), account) in holdings.iter_mut().zip(&mut slabs).zip(&accounts) {
            holding.settle(|visit| visit(slab));
            assert_eq!((account.held(), account.spilled()), (slab.memory(), slab.spilled()));
        }
        assert_eq!(memory.excess(), 0);
        assert!(slabs[0].spilled() == 0 && slabs[1].spilled() > 4_000_000);
        assert!(scratch.used() > 4_000_000);
        drop((holdings, slabs));
        assert_eq!((accounts[0].held(), memory.held.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(scratch.used(), 0);
    }
}
