//! A running query: its tasks, its entries and its result. The unit of failure.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arrow::array::Int64Array;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use super::Result;
use super::errors::ErrorLog;
use super::exchange::Split;
use super::history::{Part, Retained};
use super::hub::Keeps;
use super::memory::Account;
use super::packet::{Commit, Packet};
use super::past::Past;
use super::publication::{Inheritance, Publication, State};
use super::task::{Supervisor, Task};
use crate::delta::{Delta, append_column, partition};
use crate::error::SqlState;
use crate::operators::{RowError, Waiting};
use crate::planner::plan::ScanKind;
use crate::planner::relation::SEQ;
use crate::sql::catalog::Oid;
use crate::storage::{Lost, StateReader, StateWriter};
use crate::time::{Position, Timestamp, Watermark};

/// Why a query stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its code.
    pub sqlstate: SqlState,
    /// One line.
    pub message: String,
}

impl Fault {
    /// The fault of what should not have failed.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        Self { sqlstate: SqlState::INTERNAL_ERROR, message: error.to_string() }
    }

    /// The fault of a panic.
    pub fn panic(panic: &(dyn Any + Send)) -> Self {
        if let Some(Lost(error)) = panic.downcast_ref() {
            let message = format!("the scratch file cannot be read: {error}");
            return Self { sqlstate: SqlState::IO_ERROR, message };
        }
        let text = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "unknown panic".to_owned());
        Self { sqlstate: SqlState::INTERNAL_ERROR, message: format!("internal error: {text}") }
    }
}

/// Identity of a running query; grows with creation.
pub type JobId = u64;

/// The object that stands for "every commit": entries of constant relations.
pub const TICK: Oid = 0;

/// What a query reads of an object.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Stream, table or view; [`TICK`] for constants.
    pub object: Oid,
    /// Its kind.
    pub kind: ScanKind,
    /// Whether its rows only ever come, in an order that may count.
    pub append_only: bool,
    /// Whether rows get a column with the order of their arrival.
    pub seq: bool,
    /// The column of the event time, where late rows of a stream are read too.
    pub late: Option<usize>,
}

/// Where an object's changes enter a query.
pub struct Entry {
    /// What is read.
    pub reading: Reading,
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
    fail_on_error: bool,
    publication: Arc<Publication>,
    errors: Arc<ErrorLog>,
}

impl Watch {
    /// For the query of that name.
    pub fn new(
        name: &str,
        fail_on_error: bool,
        publication: Arc<Publication>,
        errors: Arc<ErrorLog>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            stopped: AtomicBool::new(false),
            fail_on_error,
            publication,
            errors,
        })
    }
}

impl Supervisor for Watch {
    fn rows_failed(&self, errors: Vec<RowError>) {
        let fault = errors.first().filter(|_| self.fail_on_error).map(|error| Fault {
            sqlstate: error.sqlstate,
            message: format!("{} (row {})", error.message, error.row),
        });
        self.errors.rows_failed(&self.name, errors);
        if let Some(fault) = fault {
            self.suspend(fault);
        }
    }

    fn suspend(&self, fault: Fault) {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            let (query, message, sqlstate) = (&self.name, &fault.message, &fault.sqlstate);
            if *sqlstate != SqlState::ADMIN_SHUTDOWN {
                tracing::error!(%query, %sqlstate, "query suspended: {message}");
            }
            self.publication.fail(&fault);
        }
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn account(&self) -> &Arc<Account> {
        self.publication.account()
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
    tasks: Vec<Arc<Task>>,
    watch: Arc<Watch>,
    batch_rows: usize,
}

impl Job {
    /// A query made of entries and a result; `timed` tasks let commit time pass.
    pub fn new(
        id: JobId,
        oid: Option<Oid>,
        (entries, tasks): (Vec<Entry>, Vec<Arc<Task>>),
        watch: Arc<Watch>,
        batch_rows: usize,
    ) -> Arc<Self> {
        let mut inputs: Vec<Oid> =
            entries.iter().map(|e| e.reading.object).filter(|o| *o != TICK).collect();
        inputs.sort_unstable();
        inputs.dedup();
        let publication = Arc::clone(&watch.publication);
        let name = watch.name.clone();
        Arc::new(Self { id, oid, name, inputs, publication, entries, tasks, watch, batch_rows })
    }

    /// Whether the query may change by itself by a commit at `next`: as far as is known while it
    /// works on commits.
    pub fn is_due(&self, next: Timestamp) -> bool {
        self.publication.in_flight() > 0 || self.tasks.iter().any(|task| task.due() <= next)
    }

    /// Lets rows of a stream into the query, at every place where it is read: by its own times, or
    /// by those of arrival. Of arrivals a commit is the last until the next one.
    pub fn enter_stream(
        &self,
        object: Oid,
        commit: Commit,
        watermark: Watermark,
        rows: &[Retained],
    ) {
        for entry in self.entries_of(object) {
            let watermark = entry.reading.watermark(commit, watermark);
            match rows.iter().map(|retained| entry.reading.rows_of(retained)).collect() {
                Ok(deltas) => self.enter_at(&[entry], &Packet { commit, watermark, deltas }),
                Err(error) => return self.suspend(Fault::internal(&error)),
            }
        }
    }

    /// Lets what a stream retains into the query, at its first commit: its tasks read it when they
    /// come to it.
    pub fn enter_past(&self, object: Oid, commit: Commit, watermark: Watermark, parts: &[Part]) {
        for entry in self.entries_of(object) {
            assert!(entry.reading.append_only, "a stream only grows");
            let watermark = entry.reading.watermark(commit, watermark);
            let sizes = (entry.targets.len(), SLICE_ROWS_MIN, self.batch_rows);
            let slices = Past::split(parts, entry.reading, sizes, end_seq(commit.position));
            for (target, past) in entry.targets.iter().zip(slices) {
                target.deliver_past(entry.channel, past);
                target.deliver(entry.channel, Packet::empty(commit, watermark));
            }
        }
    }

    fn entries_of(&self, object: Oid) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.reading.object == object)
    }

    /// Lets a commit's changes of a table, view or constant into the query, at every place where
    /// it is read.
    pub fn enter(&self, object: Oid, packet: &Packet) {
        self.enter_at(&self.entries_of(object).collect::<Vec<_>>(), packet);
    }

    /// Whether it follows arrivals, whose time moves by itself.
    pub fn follows_arrivals(&self, object: Oid) -> bool {
        self.entries_of(object).any(|entry| entry.reading.kind == ScanKind::Arrivals)
    }

    fn enter_at(&self, entries: &[&Entry], packet: &Packet) {
        for entry in entries {
            let mut parts = match entry.split(packet) {
                Ok(parts) => parts,
                Err(error) => return self.suspend(Fault::internal(&error)),
            };
            for (target, deltas) in entry.targets.iter().zip(parts.drain(..)) {
                let deltas = pieces(deltas, self.batch_rows);
                target.deliver(entry.channel, Packet { deltas, ..packet.clone() });
            }
        }
    }

    /// What its operators hold until the watermark moves on.
    pub fn waiting(&self) -> Waiting {
        self.tasks.iter().map(|task| task.waiting()).fold(Waiting::default(), Waiting::and)
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

    /// Gives the readers to the query that takes this one's place, once this one has brought all
    /// that it was told of. Readers that are not kept get an error, unless they are replaced too.
    pub fn bequeath(
        self: &Arc<Self>,
        heir: Arc<Job>,
        first: Commit,
        keeps: Keeps,
        replaced: BTreeSet<Oid>,
    ) {
        let old = Arc::clone(self);
        self.publication.when_current(Box::new(move |state| {
            old.watch.stopped.store(true, Ordering::Release);
            let inheritance = state.ok().map(State::hand_over).transpose();
            let mut inheritance = match inheritance {
                Ok(inheritance) => inheritance.unwrap_or_default(),
                Err(error) => return heir.suspend(Fault::internal(&error)),
            };
            let is_replaced = |job: &Weak<Job>| {
                job.upgrade().and_then(|job| job.oid).is_some_and(|oid| replaced.contains(&oid))
            };
            inheritance.downstream.retain(|(job, _)| !is_replaced(job));
            let mut left = Inheritance::default();
            if keeps != Keeps::Readers {
                left.downstream = std::mem::take(&mut inheritance.downstream);
            }
            if keeps == Keeps::Nothing {
                left.feeds = std::mem::take(&mut inheritance.feeds);
                inheritance.content = None;
            }
            left.fail(&Fault {
                sqlstate: SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                message: format!("view \"{}\" was replaced by one of another kind", old.name),
            });
            heir.publication.take_over(first, inheritance);
        }));
    }

    /// Ends the query without fault: it was dropped.
    pub fn stop(&self) {
        self.watch.stopped.store(true, Ordering::Release);
        self.publication.fail(&Fault {
            sqlstate: SqlState::UNDEFINED_TABLE,
            message: format!("\"{}\" was dropped", self.name),
        });
    }

    /// What it holds.
    pub fn account(&self) -> &Account {
        self.publication.account()
    }

    /// Spills so many bytes, if there are so many, and returns how many were; nothing if a part of
    /// it is busy.
    pub(super) fn spill(&self, bytes: usize) -> Option<usize> {
        let mut done = self.publication.spill(bytes);
        for task in &self.tasks {
            let wanted = bytes.saturating_sub(done.unwrap_or(0));
            let of_task = if wanted == 0 { Some(0) } else { task.spill(wanted) };
            done = done.zip(of_task).map(|(so_far, more)| so_far + more);
        }
        done
    }

    /// Lets go of the state of its operators: it has been suspended.
    pub(super) fn empty(&self) {
        self.tasks.iter().for_each(|task| task.empty());
    }

    /// Writes the state of its operators and its result. It has done all it was told of.
    pub(super) fn save(&self, to: &mut StateWriter) -> Result<()> {
        self.publication.save(to)?;
        self.tasks.iter().try_for_each(|task| task.save(to))
    }

    /// Takes what [`Job::save`] wrote, into a query that has been told of nothing yet.
    pub(super) fn load(&self, from: &mut StateReader) -> Result<()> {
        let fault = self.publication.load(from)?;
        if let Some(fault) = fault {
            self.suspend(fault);
            return Ok(());
        }
        self.tasks.iter().try_for_each(|task| task.load(from))
    }

    /// A handle that does not keep the query running.
    pub fn downgrade(self: &Arc<Self>) -> Weak<Self> {
        Arc::downgrade(self)
    }
}

impl Reading {
    /// How far the stream is, as it is read.
    fn watermark(&self, commit: Commit, watermark: Watermark) -> Watermark {
        match self.kind {
            ScanKind::Arrivals => Watermark(commit.time.plus(1)),
            _ => watermark,
        }
    }

    /// What it reads of rows that a stream retains.
    pub(super) fn rows_of(&self, retained: &Retained) -> Result<Delta, ArrowError> {
        let late = self.late.map(|time| retained.and_late(time)).transpose()?;
        let read = late.as_ref().unwrap_or(retained);
        match self.kind {
            ScanKind::Arrivals => read.by_arrival(),
            _ => Ok(read.delta.clone()),
        }
    }
}

impl Entry {
    /// Where rows only come, any split will do, and contiguous slices keep their order. A row that
    /// may be retracted later must go to the same shard both times.
    fn split(&self, packet: &Packet) -> Result<Vec<Vec<Delta>>, ArrowError> {
        let shards = self.targets.len();
        let mut parts = vec![Vec::new(); shards];
        let Some(first) = packet.deltas.first() else { return Ok(parts) };
        let mut whole = Delta::concat(&first.schema(), &packet.deltas)?;
        if self.reading.seq {
            let rows = i64::try_from(whole.len()).expect("a commit has fewer than 2^63 rows");
            whole = with_seq(whole, end_seq(packet.commit.position) - rows)?;
        }
        let pieces = match self.reading.append_only {
            true => partition::by_slice(&whole, shards, SLICE_ROWS_MIN),
            false => partition::by_hash(&whole, whole.rows().columns(), shards)?,
        };
        for (part, piece) in parts.iter_mut().zip(pieces) {
            if !piece.is_empty() {
                part.push(piece);
            }
        }
        Ok(parts)
    }
}

/// The number behind those of the rows of a commit, and below those of the next one.
fn end_seq(commit: Position) -> i64 {
    /// Rows of a commit that have numbers of their own, 2^24; more reach into those of the commits
    /// before, which matters to rows of equal event time alone.
    const PLACE_BITS: u32 = 24;
    i64::try_from(commit.0 << PLACE_BITS).expect("fewer than 2^39 commits")
}

/// Appends a column with numbers from `first` on, which orders the rows of commits.
pub(super) fn with_seq(delta: Delta, first: i64) -> Result<Delta, ArrowError> {
    let rows = i64::try_from(delta.len()).expect("a commit has fewer than 2^63 rows");
    let seq = Int64Array::from_iter_values(first..first + rows);
    let numbered = append_column(delta.rows(), SEQ, Arc::new(seq))?;
    Ok(delta.with_rows(numbered))
}

/// Cuts deltas into pieces of at most `rows_max` rows.
pub(super) fn pieces(deltas: Vec<Delta>, rows_max: usize) -> Vec<Delta> {
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
        crate::planner::plan::Distribution::Broadcast => Split::Broadcast,
    }
}
