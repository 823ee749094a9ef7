//! One writer of a table at a time: locks that a transaction keeps until it ends.
//!
//! # Semantics
//! A statement that writes to a table waits for the transaction that has written to it, and then
//! reads what that one left: Postgres's READ COMMITTED, with the table in place of the row. Who
//! would wait for itself, through others, gets 40P01 instead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;

use super::session::Session;
use super::{Error, Result, lock};
use crate::error::SqlState;
use crate::sql::catalog::Oid;

/// A session, by the number that clients know it by.
type Pid = i32;

/// The locks of all tables.
#[derive(Default)]
pub(super) struct TableLocks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tables: BTreeMap<Oid, Table>,
    /// Which table a session waits for.
    waiting: BTreeMap<Pid, Oid>,
}

#[derive(Default)]
struct Table {
    lock: Arc<tokio::sync::Mutex<()>>,
    owner: Option<Pid>,
}

/// The right to write to a table, until it is dropped.
pub(super) struct TableLock {
    locks: Arc<TableLocks>,
    table: Oid,
    _held: OwnedMutexGuard<()>,
}

impl Drop for TableLock {
    fn drop(&mut self) {
        if let Some(table) = lock(&self.locks.state).tables.get_mut(&self.table) {
            table.owner = None;
        }
    }
}

/// A session that waits, until it is dropped.
struct Waiting<'a> {
    locks: &'a TableLocks,
    session: Pid,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.locks.state).waiting.remove(&self.session);
    }
}

impl State {
    /// Returns whether a session that waits for a table waits for itself.
    fn is_circle(&self, session: Pid, mut table: Oid) -> bool {
        loop {
            let Some(owner) = self.tables.get(&table).and_then(|table| table.owner) else {
                return false;
            };
            if owner == session {
                return true;
            }
            let Some(next) = self.waiting.get(&owner) else { return false };
            table = *next;
        }
    }
}

impl TableLocks {
    async fn acquire(self: &Arc<Self>, table: Oid, session: Pid) -> Result<TableLock> {
        let (mutex, waiting) = {
            let mut state = lock(&self.state);
            if state.is_circle(session, table) {
                return Err(Error::hinted(
                    SqlState::DEADLOCK_DETECTED,
                    "deadlock detected",
                    "Write to tables in the same order in every transaction, and try again.",
                ));
            }
            state.waiting.insert(session, table);
            let mutex = Arc::clone(&state.tables.entry(table).or_default().lock);
            (mutex, Waiting { locks: self, session })
        };
        let held = mutex.lock_owned().await;
        drop(waiting);
        lock(&self.state).tables.entry(table).or_default().owner = Some(session);
        Ok(TableLock { locks: Arc::clone(self), table, _held: held })
    }

    /// Forgets a table that was dropped.
    pub(super) fn forget(&self, table: Oid) {
        lock(&self.state).tables.remove(&table);
    }
}

impl Session {
    /// Makes this session the only one that writes to a table: until its transaction ends, or until
    /// what is returned is dropped.
    pub(super) async fn lock_table(&mut self, table: Oid) -> Result<Option<TableLock>> {
        if self.block.as_ref().is_some_and(|block| block.locks.contains_key(&table)) {
            return Ok(None);
        }
        let lock = self.engine.locks.acquire(table, self.client.pid).await?;
        let Some(block) = &mut self.block else { return Ok(Some(lock)) };
        block.locks.insert(table, lock);
        Ok(None)
    }
}
