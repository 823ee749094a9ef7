//! A session's transactions: blocks, savepoints, and the statements of one message.
//!
//! # Semantics
//! Outside a block a statement commits by itself; several statements that come in one message are a
//! transaction of their own, up to the message's end or a COMMIT among them. In a transaction
//! writes (INSERT, UPDATE, DELETE, COPY, HEARTBEAT) are gathered and committed together, at one log
//! position. Its own reads see what it did to tables, not what it sent to streams. Definitions take
//! effect at once; what a transaction made is dropped if it rolls back, what it dropped or altered
//! is not undone. A READ ONLY one refuses both.

use std::collections::BTreeMap;

use super::locks::TableLock;
use super::session::Session;
use super::{Error, Result, TransactionStatus};
use crate::delta::Delta;
use crate::error::SqlState;
use crate::fault;
use crate::runtime::hub::Write;
use crate::sql::catalog::Oid;
use crate::sql::names::fold;
use crate::sql::statement::StatementKind;
use crate::sql::transaction::Savepoint;
use crate::sql::variables::Mark;

/// An open transaction.
#[derive(Default)]
pub(super) struct Block {
    /// Writes to commit at its end.
    writes: Vec<Write>,
    /// Whether a statement of it failed.
    failed: bool,
    /// Whether nobody said BEGIN: it ends with the message.
    implicit: bool,
    /// Tables that it has written to, until it ends.
    pub(super) locks: BTreeMap<Oid, TableLock>,
    /// Savepoints, oldest first.
    savepoints: Vec<Point>,
    /// What it made, oldest first.
    pub(super) made: Vec<Oid>,
}

/// A savepoint.
struct Point {
    name: String,
    /// How many writes came before it.
    writes: usize,
    /// How many things had been made before it.
    made: usize,
    /// What was set at it.
    settings: Mark,
}

impl Session {
    /// The transaction block's state, for ReadyForQuery. `execute` keeps it.
    pub fn transaction(&self) -> TransactionStatus {
        match &self.block {
            None => TransactionStatus::Idle,
            Some(block) if block.failed => TransactionStatus::Failed,
            Some(block) if block.implicit => TransactionStatus::Idle,
            Some(_) => TransactionStatus::Block,
        }
    }

    /// Makes the statements from here to [`Session::end_message`] one transaction, as far as they
    /// stand outside a block.
    pub fn begin_message(&mut self) {
        self.together = true;
    }

    /// Commits what the statements of a message did outside a block.
    pub async fn end_message(&mut self) -> Result<()> {
        self.together = false;
        if self.block.as_ref().is_some_and(|block| block.implicit) {
            self.end_block(true).await?;
        }
        Ok(())
    }

    /// Tells the session that a statement, or something it handed out, ended in an error: fails the
    /// block, or undoes what the message did outside one.
    pub fn fail(&mut self) {
        self.together = false;
        match &mut self.block {
            Some(block) if block.implicit => {
                self.undone.append(&mut block.made);
                self.block = None;
                self.leave(false);
            }
            Some(block) => {
                block.failed = true;
                // Nothing can be saved of it: others need not wait for its end.
                if block.savepoints.is_empty() {
                    block.writes.clear();
                    block.locks.clear();
                }
            }
            None => {}
        }
    }

    /// Readies the transaction in which a statement runs; refuses it in a block that failed.
    pub(super) fn open_transaction(&mut self, statement: &StatementKind) -> Result<()> {
        let ends_block = match statement {
            StatementKind::Commit { .. } | StatementKind::Rollback { .. } => true,
            StatementKind::Savepoint(savepoint) => matches!(savepoint, Savepoint::RollbackTo(_)),
            _ => false,
        };
        match &self.block {
            Some(block) if block.failed && !ends_block => Err(Error::refused(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            None if self.together => {
                self.block = Some(Block { implicit: true, ..Block::default() });
                self.variables.begin();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Refuses a statement that changes something in a transaction that may only read.
    pub(super) fn check_read_only(&self, statement: &StatementKind) -> Result<()> {
        match statement.changes() {
            Some(command) if self.variables.read_only() => Err(Error::refused(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                format!("cannot execute {command} in a read-only transaction"),
            )),
            _ => Ok(()),
        }
    }

    /// BEGIN, COMMIT, ROLLBACK and savepoints; returns the command tag.
    pub(super) async fn transact(&mut self, kind: &StatementKind) -> Result<String> {
        match kind {
            StatementKind::Begin(modes) => {
                match &mut self.block {
                    Some(block) if block.implicit => block.implicit = false,
                    Some(_) => {
                        let code = SqlState::ACTIVE_SQL_TRANSACTION;
                        self.warning(code, "there is already a transaction in progress", None);
                    }
                    None => {
                        self.block = Some(Block::default());
                        self.variables.begin();
                    }
                }
                self.variables.set_modes(*modes, false);
                Ok("BEGIN".into())
            }
            StatementKind::Commit { chain } | StatementKind::Rollback { chain } => {
                let commit = matches!(kind, StatementKind::Commit { .. });
                if self.block.as_ref().is_none_or(|block| block.implicit) {
                    let code = SqlState::NO_ACTIVE_SQL_TRANSACTION;
                    if *chain {
                        let command = if commit { "COMMIT" } else { "ROLLBACK" };
                        let text =
                            format!("{command} AND CHAIN can only be used in transaction blocks");
                        return Err(Error::refused(code, text));
                    }
                    self.warning(code, "there is no transaction in progress", None);
                }
                let modes = self.variables.modes();
                let committed = self.end_block(commit).await?;
                if *chain {
                    self.block = Some(Block::default());
                    self.variables.begin();
                    self.variables.set_modes(modes, false);
                }
                Ok(if committed { "COMMIT" } else { "ROLLBACK" }.into())
            }
            StatementKind::Savepoint(savepoint) => {
                let tag = self.savepoint(savepoint)?;
                self.undo_definitions().await?;
                Ok(tag.to_owned())
            }
            _ => Err(Error::Internal("not transaction control".into())),
        }
    }

    fn savepoint(&mut self, savepoint: &Savepoint) -> Result<&'static str> {
        let (tag, name) = match savepoint {
            Savepoint::Define(name) => ("SAVEPOINT", fold(name)),
            Savepoint::Release(name) => ("RELEASE", fold(name)),
            Savepoint::RollbackTo(name) => ("ROLLBACK", fold(name)),
        };
        let Some(block) = self.block.as_mut().filter(|block| !block.implicit) else {
            let statement = match savepoint {
                Savepoint::Define(_) => "SAVEPOINT",
                Savepoint::Release(_) => "RELEASE SAVEPOINT",
                Savepoint::RollbackTo(_) => "ROLLBACK TO SAVEPOINT",
            };
            return Err(Error::refused(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                format!("{statement} can only be used in transaction blocks"),
            ));
        };
        if matches!(savepoint, Savepoint::Define(_)) {
            let (writes, made) = (block.writes.len(), block.made.len());
            let settings = self.variables.mark();
            block.savepoints.push(Point { name, writes, made, settings });
            return Ok(tag);
        }
        let Some(index) = block.savepoints.iter().rposition(|point| point.name == name) else {
            return Err(Error::refused(
                SqlState("3B001"),
                format!("savepoint \"{name}\" does not exist"),
            ));
        };
        if matches!(savepoint, Savepoint::Release(_)) {
            self.variables.release(&block.savepoints[index].settings);
            block.savepoints.truncate(index);
        } else {
            self.undone.extend(block.made.drain(block.savepoints[index].made..));
            block.writes.truncate(block.savepoints[index].writes);
            block.savepoints.truncate(index + 1);
            block.failed = false;
            self.variables.go_back(&block.savepoints[index].settings);
        }
        Ok(tag)
    }

    /// Ends the transaction; returns whether it did as it was told, to commit or not. Without one
    /// there is nothing to do.
    async fn end_block(&mut self, commit: bool) -> Result<bool> {
        let Some(Block { mut writes, failed, locks, made, .. }) = self.block.take() else {
            return Ok(commit);
        };
        let commit = commit && !failed;
        self.leave(commit);
        if !commit {
            self.undone.extend(made);
            self.undo_definitions().await?;
        }
        // What was written to an object that is gone by now went with it.
        writes.retain(|write| self.engine.hub().schema(write.object()).is_some());
        if commit && !writes.is_empty() {
            self.commit(writes).await?;
        }
        drop(locks);
        self.after_transaction(commit).await?;
        Ok(commit)
    }

    /// Ends what lives as long as a transaction: local settings and cursors.
    fn leave(&mut self, committed: bool) {
        match committed {
            true => self.variables.commit(),
            false => self.variables.rollback(),
        }
        self.cursors.retain(|_, cursor| cursor.hold && (committed || !cursor.fresh));
        self.cursors.values_mut().for_each(|cursor| cursor.fresh = false);
    }

    /// What the transaction wrote to tables so far; its own reads see it.
    pub(super) fn pending(&self) -> Vec<(Oid, Delta)> {
        let writes = self.block.iter().flat_map(|block| &block.writes);
        let tables = writes.filter_map(|write| match write {
            Write::Table(oid, delta) => Some((*oid, delta.clone())),
            Write::Rows(..)
            | Write::Upsert(..)
            | Write::Heartbeat(..)
            | Write::Intake(..)
            | Write::Delivered(..) => None,
        });
        tables.collect()
    }

    /// Commits a write, or keeps it for the end of the transaction.
    pub(super) async fn write(&mut self, write: Write) -> Result<()> {
        match &mut self.block {
            Some(block) => {
                block.writes.push(write);
                Ok(())
            }
            None => self.commit(vec![write]).await,
        }
    }

    /// Commits writes at once, and waits for the disk if `synchronous_commit` says so.
    pub(super) async fn commit(&self, writes: Vec<Write>) -> Result<()> {
        let objects: Vec<Oid> = writes.iter().map(Write::object).collect();
        self.engine.hub().room(&objects).await;
        if self.variables.synchronous_commit() {
            self.engine.hub().commit(writes)?;
            self.engine.hub().durable().await;
            fault::point("session.commit.durable");
        } else {
            self.engine.hub().commit_lazily(writes)?;
        }
        Ok(())
    }
}
