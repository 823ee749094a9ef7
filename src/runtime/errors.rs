//! Rows that could not be computed or decoded: the newest are kept, all are counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::Result;
use crate::clock::Clock;
use crate::error::SqlState;
use crate::operators::RowError;
use crate::storage::{StateReader, StateWriter};
use crate::time::Timestamp;

/// How many failures are kept for `hw.errors`.
const KEPT_MAX: usize = 10_000;

/// A failure as `hw.errors` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// When it was noticed.
    pub at: Timestamp,
    /// View or stream.
    pub object: String,
    /// Code.
    pub sqlstate: SqlState,
    /// What failed.
    pub message: String,
    /// The row, or the raw record.
    pub row: String,
    /// Its weight.
    pub weight: i64,
    /// File and line, for records of a connector.
    pub place: Option<String>,
}

#[derive(Default)]
struct Kept {
    newest: VecDeque<Failure>,
    counts: BTreeMap<String, u64>,
}

/// The newest failures, and their number per object.
pub struct ErrorLog {
    kept: Mutex<Kept>,
    clock: Arc<dyn Clock>,
}

impl ErrorLog {
    /// An empty log.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), clock })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a failure.
    pub fn add(&self, failure: Failure) {
        let mut kept = self.lock();
        *kept.counts.entry(failure.object.clone()).or_default() += 1;
        kept.newest.push_back(failure);
        if kept.newest.len() > KEPT_MAX {
            kept.newest.pop_front();
        }
    }

    /// Adds rows that a query could not compute.
    pub fn rows_failed(&self, object: &str, errors: Vec<RowError>) {
        let at = self.clock.now();
        for error in errors {
            self.add(Failure {
                at,
                object: object.to_owned(),
                sqlstate: error.sqlstate,
                message: error.message,
                row: error.row,
                weight: error.weight,
                place: None,
            });
        }
    }

    /// Writes them all.
    pub(super) fn save(&self, to: &mut StateWriter) -> Result<()> {
        let kept = self.lock();
        Ok(to.put_value(&(&kept.newest, &kept.counts))?)
    }

    /// Takes what [`ErrorLog::save`] wrote.
    pub(super) fn load(&self, from: &mut StateReader) -> Result<()> {
        let (newest, counts) = from.take_value()?;
        *self.lock() = Kept { newest, counts };
        Ok(())
    }

    /// Returns the failures kept, oldest first.
    pub fn newest(&self) -> Vec<Failure> {
        self.lock().newest.iter().cloned().collect()
    }

    /// Returns how many failures an object had.
    pub fn count(&self, object: &str) -> u64 {
        self.lock().counts.get(object).copied().unwrap_or(0)
    }
}
