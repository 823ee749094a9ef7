//! A running query: its tasks, its entries and its result. The unit of failure.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::errors::ErrorLog;
use super::exchange::Split;
use super::packet::Packet;
use super::publication::Publication;
use super::task::{Supervisor, Task};
use crate::delta::{Delta, partition};
use crate::error::SqlState;
use crate::operators::RowError;
use crate::planner::plan::ScanKind;
use crate::sql::catalog::Oid;
use crate::time::{Timestamp, Watermark};

/// Why a query stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its code.
    pub sqlstate: SqlState,
    /// One line.
    pub message: String,
}

impl Fault {
    /// The fault of a panic.
    pub fn panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "unknown panic".to_owned());
        Self { sqlstate: SqlState::INTERNAL_ERROR, message: format!("internal error: {text}") }
    }
}

/// Identity of a running query; grows with creation, so a query's inputs are older.
pub type JobId = u64;

/// The object that stands for "every commit": entries of constant relations.
pub const TICK: Oid = 0;

/// Where an object's changes enter a query.
pub struct Entry {
    /// Stream, table or view; [`TICK`] for constants.
    pub object: Oid,
    /// Its kind.
    pub kind: ScanKind,
    /// The tasks that read it, one per shard.
    pub targets: Vec<Arc<Task>>,
    /// The channel of those tasks.
    pub channel: usize,
}

/// Rows below which a shard's share of a commit is not worth a slice of its own.
const SLICE_ROWS_MIN: usize = 1_024;

/// Failure handling, shared by the tasks of a query.
pub struct Watch {
    name: String,
    stopped: AtomicBool,
    publication: Arc<Publication>,
    errors: Arc<ErrorLog>,
}

impl Watch {
    /// For the query of that name.
    pub fn new(name: &str, publication: Arc<Publication>, errors: Arc<ErrorLog>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            stopped: AtomicBool::new(false),
            publication,
            errors,
        })
    }
}

impl Supervisor for Watch {
    fn rows_failed(&self, errors: Vec<RowError>) {
        self.errors.rows_failed(&self.name, errors);
    }

    fn suspend(&self, fault: Fault) {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            let (query, message) = (&self.name, &fault.message);
            tracing::error!(%query, sqlstate = %fault.sqlstate, "query suspended: {message}");
            self.publication.fail(&fault);
        }
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// A running query.
pub struct Job {
    /// Identity.
    pub id: JobId,
    /// The view's oid, if it is one.
    pub oid: Option<Oid>,
    /// Name for messages.
    pub name: String,
    /// Objects it reads, without [`TICK`].
    pub inputs: Vec<Oid>,
    /// Its result.
    pub publication: Arc<Publication>,
    entries: Vec<Entry>,
    /// Tasks that let commit time pass; none if the query has no temporal filter on that clock.
    timed: Vec<Arc<Task>>,
    watch: Arc<Watch>,
    batch_rows: usize,
}

impl Job {
    /// A query made of entries and a result; `timed` tasks let commit time pass.
    pub fn new(
        id: JobId,
        oid: Option<Oid>,
        (entries, timed): (Vec<Entry>, Vec<Arc<Task>>),
        watch: Arc<Watch>,
        batch_rows: usize,
    ) -> Arc<Self> {
        let mut inputs: Vec<Oid> =
            entries.iter().map(|e| e.object).filter(|o| *o != TICK).collect();
        inputs.sort_unstable();
        inputs.dedup();
        let publication = Arc::clone(&watch.publication);
        let name = watch.name.clone();
        Arc::new(Self { id, oid, name, inputs, publication, entries, timed, watch, batch_rows })
    }

    /// Whether every commit concerns the query, for its time.
    pub fn is_timed(&self) -> bool {
        !self.timed.is_empty()
    }

    /// Whether the time has come at which the query changes by itself.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.timed.iter().any(|task| task.due() <= now)
    }

    /// Lets a commit's changes of an object into the query, at every place where it is read.
    pub fn enter(&self, object: Oid, packet: &Packet) {
        for entry in self.entries.iter().filter(|e| e.object == object) {
            let mut parts = match entry.split(&packet.deltas) {
                Ok(parts) => parts,
                Err(error) => {
                    self.suspend(Fault {
                        sqlstate: SqlState::INTERNAL_ERROR,
                        message: error.to_string(),
                    });
                    return;
                }
            };
            for (target, deltas) in entry.targets.iter().zip(parts.drain(..)) {
                let deltas = pieces(deltas, self.batch_rows);
                target.deliver(entry.channel, Packet { deltas, ..packet.clone() });
            }
        }
    }

    /// Lets the constants of the query know of a commit.
    pub fn tick(&self, packet: &Packet) {
        let packet = Packet { watermark: Watermark::MAX, deltas: vec![], ..packet.clone() };
        self.enter(TICK, &packet);
    }

    /// Stops the query; readers get the fault.
    pub fn suspend(&self, fault: Fault) {
        self.watch.suspend(fault);
    }

    /// Ends the query without fault: it was dropped.
    pub fn stop(&self) {
        self.watch.stopped.store(true, Ordering::Release);
        self.publication.fail(&Fault {
            sqlstate: SqlState::UNDEFINED_TABLE,
            message: format!("\"{}\" was dropped", self.name),
        });
    }

    /// A handle that does not keep the query running.
    pub fn downgrade(self: &Arc<Self>) -> Weak<Self> {
        Arc::downgrade(self)
    }
}

impl Entry {
    /// Streams only append, so any split will do and contiguous slices keep their order. A row of a
    /// table or
    /// view may be retracted later, and both must go to the same shard.
    fn split(&self, deltas: &[Delta]) -> Result<Vec<Vec<Delta>>, arrow::error::ArrowError> {
        let shards = self.targets.len();
        let mut parts = vec![Vec::new(); shards];
        for delta in deltas {
            let pieces = match self.kind {
                ScanKind::Stream => partition::by_slice(delta, shards, SLICE_ROWS_MIN),
                ScanKind::Table | ScanKind::View => {
                    partition::by_hash(delta, delta.rows().columns(), shards)?
                }
            };
            for (part, piece) in parts.iter_mut().zip(pieces) {
                if !piece.is_empty() {
                    part.push(piece);
                }
            }
        }
        Ok(parts)
    }
}

/// Cuts deltas into pieces of at most `rows_max` rows.
fn pieces(deltas: Vec<Delta>, rows_max: usize) -> Vec<Delta> {
    if deltas.iter().all(|d| d.len() <= rows_max) {
        return deltas;
    }
    let cut = |delta: Delta| {
        (0..delta.len())
            .step_by(rows_max)
            .map(|from| delta.slice(from, rows_max.min(delta.len() - from)))
            .collect::<Vec<_>>()
    };
    deltas.into_iter().flat_map(cut).collect()
}

/// How an exchange of the plan splits rows.
pub fn split_of(distribution: &crate::planner::plan::Distribution) -> Split {
    match distribution {
        crate::planner::plan::Distribution::Single => Split::Single,
        crate::planner::plan::Distribution::Hash(keys) => Split::Hash(keys.clone()),
    }
}
