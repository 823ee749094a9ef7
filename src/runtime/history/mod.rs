//! Rows a stream retains, in arrival order: the newest in memory, the others in files.
//!
//! # Semantics
//! New rows gather in runs in memory. When there are enough of them they are sealed as a [`Part`],
//! which a [`keeper`](keeper::Keeper) takes to a file; nothing waits for that, and what is read is
//! the same before and after. An image of the hub names the files, and copies what is in none.
//!
//! # Cost
//! In memory are the rows of about one part. Rows go with the whole run or part they are in.

mod file;
pub mod keeper;
pub mod part;
mod retained;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::runs::{Run, Runs};
use super::{Error, Result};
use crate::sql::catalog::Oid;
use crate::storage::{StateReader, StateWriter};
use crate::time::Timestamp;
use keeper::Keeper;
use part::{Saved, Sealed};

pub use part::Part;
pub use retained::Retained;

/// Which rows a stream retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// None.
    Nothing,
    /// The newest, at least so many.
    Rows(usize),
    /// Those whose time is at most so many microseconds before the latest one, and some older ones
    /// that came with them.
    Time(i64),
    /// All.
    Forever,
}

impl Default for Retention {
    /// Ten million rows: days of what is usual, in some hundred megabytes of files.
    fn default() -> Self {
        Retention::Rows(10_000_000)
    }
}

/// How much a history is, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub rows: usize,
    /// Those of them that are in files.
    pub rows_in_files: usize,
    /// About how many bytes the others take in memory.
    pub memory_bytes: usize,
    /// Bytes of the files.
    pub file_bytes: u64,
}

/// Rows a stream retains.
pub struct History {
    schema: SchemaRef,
    retention: Retention,
    /// Parts that are complete, oldest first.
    sealed: VecDeque<Arc<Sealed>>,
    sealed_rows: usize,
    /// The rows behind them.
    newest: Runs<Retained>,
    /// About how many bytes came since something was sealed.
    newest_bytes: usize,
    /// The latest time that a row had.
    latest: Timestamp,
    /// The latest time of a row that was let go.
    forgotten: Timestamp,
    /// What takes parts to files, and as whose; without it all stays in memory.
    keeper: Option<(Arc<Keeper>, Oid)>,
}

impl History {
    /// Nothing yet, of rows with these columns.
    pub fn new(schema: SchemaRef, retention: Retention) -> Self {
        Self {
            schema,
            retention,
            sealed: VecDeque::new(),
            sealed_rows: 0,
            newest: Runs::default(),
            newest_bytes: 0,
            latest: Timestamp::MIN,
            forgotten: Timestamp::MIN,
            keeper: None,
        }
    }

    /// Lets the rows of a stream go to files.
    pub fn keep_in_files(&mut self, keeper: &Arc<Keeper>, owner: Oid) {
        self.keeper = Some((Arc::clone(keeper), owner));
    }

    /// Writes the rows, or in which files they are.
    pub fn save(&self, to: &mut StateWriter) -> Result<()> {
        to.put_value(&(self.sealed.len(), self.newest.iter().count()))?;
        for part in &self.sealed {
            let (saved, runs) = part.saved();
            to.put_value(&saved)?;
            to.files.extend(part.file());
            runs.iter().try_for_each(|run| run.save(to))?;
        }
        self.newest.iter().try_for_each(|run| run.save(to))
    }

    /// Takes what [`History::save`] wrote.
    pub fn load(&mut self, from: &mut StateReader) -> Result<()> {
        let (sealed, newest) = from.take_value::<(usize, usize)>()?;
        for _ in 0..sealed {
            let part = match from.take_value()? {
                Saved::File(description, extent) => {
                    let gone = || Error::Record("there is no directory of files".into());
                    let (keeper, _) = self.keeper.as_ref().ok_or_else(gone)?;
                    let stored = keeper.archive().adopt(description)?;
                    Arc::new(Sealed::in_file(Arc::clone(&self.schema), extent, stored))
                }
                Saved::Runs(count) => {
                    let runs = (0..count).map(|_| Retained::load(from)).collect::<Result<_>>()?;
                    self.seal(runs)?
                }
            };
            self.latest = part.latest().max(self.latest);
            self.sealed_rows += part.rows();
            self.sealed.push_back(part);
        }
        for _ in 0..newest {
            let run = Retained::load(from)?;
            self.latest = run.delta.latest().max(self.latest);
            self.newest_bytes += run.bytes();
            self.newest.keep(run);
        }
        Ok(())
    }

    /// Adds rows; lets the oldest go.
    pub fn push(&mut self, arrived: Retained) -> Result<(), ArrowError> {
        if arrived.rows() == 0 || self.retention == Retention::Nothing {
            return Ok(());
        }
        self.latest = arrived.delta.latest().max(self.latest);
        if let Retention::Time(keep) = self.retention {
            // Before new rows are merged with what is to go.
            self.let_go_before(self.latest.plus(-keep));
        }
        self.newest_bytes += arrived.bytes();
        self.newest.push(arrived)?;
        if let Retention::Rows(keep) = self.retention {
            self.keep_newest(keep);
        }
        self.seal_newest()
    }

    /// Lets the oldest go, up to the first that has a row of this time or a later one.
    fn let_go_before(&mut self, oldest: Timestamp) {
        while self.sealed.front().is_some_and(|part| part.latest() < oldest) {
            self.pop();
        }
        if self.sealed.is_empty() {
            self.newest.keep_from(|run| {
                let latest = run.delta.latest();
                if latest < oldest {
                    self.forgotten = latest.max(self.forgotten);
                }
                latest >= oldest
            });
        }
    }

    /// Lets the oldest go while at least so many rows remain.
    fn keep_newest(&mut self, rows: usize) {
        while self.sealed.front().is_some_and(|part| self.row_count() - part.rows() >= rows) {
            self.pop();
        }
        if self.sealed.is_empty() {
            self.newest.keep_newest(rows);
        }
    }

    fn pop(&mut self) {
        if let Some(part) = self.sealed.pop_front() {
            self.sealed_rows -= part.rows();
            self.forgotten = part.latest().max(self.forgotten);
        }
    }

    /// The latest time of a row that was let go by its time.
    pub fn forgotten(&self) -> Timestamp {
        self.forgotten
    }

    /// Seals what is in memory, if that is enough.
    fn seal_newest(&mut self) -> Result<(), ArrowError> {
        let Some((keeper, _)) = &self.keeper else { return Ok(()) };
        if Keeper::is_large(self.newest_bytes) {
            // Some of what came may have gone.
            self.newest_bytes = self.newest.iter().map(Retained::bytes).sum();
        }
        if !keeper.is_part(self.newest.row_count(), self.newest_bytes) {
            return Ok(());
        }
        self.newest_bytes = 0;
        let runs = self.newest.take();
        let part = self.seal(runs)?;
        self.sealed_rows += part.rows();
        self.sealed.push_back(part);
        Ok(())
    }

    fn seal(&self, runs: Vec<Retained>) -> Result<Arc<Sealed>, ArrowError> {
        let part = Arc::new(Sealed::new(Arc::clone(&self.schema), runs)?);
        if let Some((keeper, owner)) = &self.keeper {
            keeper.write(*owner, &part);
        }
        Ok(part)
    }

    /// The rows, in arrival order.
    pub fn parts(&self) -> Vec<Part> {
        let sealed = self.sealed.iter().cloned().map(Part::Sealed);
        sealed.chain(self.newest.iter().cloned().map(Arc::new).map(Part::Run)).collect()
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.sealed_rows + self.newest.row_count()
    }

    /// How much it is, and where.
    pub fn size(&self) -> Size {
        let newest = self.newest.iter().map(Retained::bytes).sum();
        let mut size = Size { rows: self.row_count(), memory_bytes: newest, ..Size::default() };
        for part in &self.sealed {
            match part.file() {
                None => size.memory_bytes += part.memory(),
                Some(stored) => {
                    size.rows_in_files += part.rows();
                    size.file_bytes += stored.description().bytes;
                }
            }
        }
        size
    }
}
