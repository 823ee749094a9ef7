//! The one place that orders everything: commits, objects, running queries.
//!
//! # Semantics
//! A commit takes the next log position and a commit time, judges what comes in, changes the base
//! objects and
//! lets the changes into every query that reads them, all under one lock. So every reader and query
//! sees the
//! same order. The work of queries is done by workers, outside of the lock.
//!
//! # Invariants
//! 1. A commit is taken whole or not at all: what can fail is checked before anything changes.
//! 2. Commit times are strictly increasing.
//! 3. A query is told of a commit if it reads, directly or through views, an object that the commit
//!    changed, or if it compares with the time of commits.
//! 4. Lock order: hub, publication, task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use tokio::sync::Notify;

use super::build;
use super::changes::Changes;
use super::content::Content;
use super::errors::ErrorLog;
use super::history::Retention;
use super::history::keeper::Keeper;
use super::intake::Step;
use super::job::{Fault, Job, JobId};
use super::journal::{Input, Journal};
use super::memory::{Account, Memory};
use super::packet::Commit;
use super::pool::Pool;
use super::publication::{Publication, Shape};
use super::state::State;
use super::stream::Stream;
use super::table::Table;
use super::{Error, Result};
use crate::clock::Clock;
use crate::delta::Delta;
use crate::fault;
use crate::planner::plan::Plan;
use crate::sql::catalog::Oid;
use crate::time::{Position, Timestamp};

pub use super::spec::{JobSpec, Keeps, Replacement};

/// Commits on their way through one query before the writers that feed it have to wait.
const IN_FLIGHT_MAX: u64 = 16;

/// A change that a client or connector asks for.
#[derive(Clone, Debug)]
pub enum Write {
    /// Rows for a stream.
    Rows(Oid, RecordBatch),
    /// Changes of a table: retractions of rows it has, insertions.
    Table(Oid, Delta),
    /// For each key of a table with an insertion the row it is to have, for others none.
    Upsert(Oid, Delta),
    /// A promise about a stream.
    Heartbeat(Oid, Timestamp),
    /// How far the connector of a stream or table is.
    Intake(Oid, Step),
    /// How far a sink has written what its query gave.
    Delivered(Oid, Position),
}

impl Write {
    /// The object that it changes.
    pub fn object(&self) -> Oid {
        match self {
            Write::Rows(oid, _)
            | Write::Table(oid, _)
            | Write::Upsert(oid, _)
            | Write::Heartbeat(oid, _)
            | Write::Intake(oid, _)
            | Write::Delivered(oid, _) => *oid,
        }
    }
}

/// What a commit came to.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Place and time.
    pub commit: Commit,
    /// Rows of streams taken.
    pub admitted: usize,
    /// Rows of streams refused.
    pub refused: usize,
}

/// How many more rows writes leave in tables than there were, if they do. Those of a sink follow
/// from rows that have been taken, and checkpoints wait for them.
fn rows_more(writes: &[Write]) -> Option<usize> {
    let more = |write: &Write| match write {
        Write::Table(_, delta) => (0..delta.len()).map(|i| delta.weight(i)).sum(),
        _ => 0,
    };
    let of_sink = writes.iter().any(|write| matches!(write, Write::Delivered(..)));
    let sum = writes.iter().map(more).sum::<i64>();
    usize::try_from(sum).ok().filter(|more| *more > 0 && !of_sink)
}

/// On how much queries run.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Shards.
    pub shards: usize,
    /// Threads.
    pub threads: usize,
    /// Most rows of a delta.
    pub batch_rows: usize,
}

/// The one place that orders everything.
pub struct Hub {
    state: Mutex<State>,
    pool: Pool,
    clock: Arc<dyn Clock>,
    errors: Arc<ErrorLog>,
    pub(super) journal: OnceLock<Arc<Journal>>,
    keeper: Arc<Keeper>,
    room: Arc<Notify>,
    pub(super) memory: Arc<Memory>,
    shards: usize,
    batch_rows: usize,
}

impl Hub {
    /// Starts a hub; `keeper` takes what streams retain to files.
    pub fn start(
        clock: Arc<dyn Clock>,
        sizes: Sizes,
        keeper: Arc<Keeper>,
        memory: Arc<Memory>,
    ) -> std::io::Result<Arc<Self>> {
        let Sizes { shards, threads, batch_rows } = sizes;
        Ok(Arc::new(Self {
            state: Mutex::default(),
            pool: Pool::start(threads)?,
            errors: ErrorLog::new(Arc::clone(&clock)),
            clock,
            journal: OnceLock::new(),
            keeper,
            room: Arc::new(Notify::new()),
            memory,
            shards,
            batch_rows,
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Failures of rows and records.
    pub fn errors(&self) -> &Arc<ErrorLog> {
        &self.errors
    }

    /// The server's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What takes history to files.
    pub fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Adds a stream.
    pub fn create_stream(&self, oid: Oid, mut stream: Stream) -> Result<()> {
        stream.keep_in_files(&self.keeper, oid);
        let mut state = self.lock();
        self.record_definition(&mut state, self.clock.now())?;
        state.streams.insert(oid, stream);
        Ok(())
    }

    /// Adds a table.
    pub fn create_table(&self, oid: Oid, mut table: Table) -> Result<()> {
        let mut state = self.lock();
        let now = self.clock.now();
        self.record_definition(&mut state, now)?;
        table.begin(state.time(now), (&self.keeper, oid), &self.memory);
        state.tables.insert(oid, table);
        Ok(())
    }

    /// Puts a table in the place of one, of which `change` makes it; no query may read that.
    pub fn alter_table(
        &self,
        oid: Oid,
        change: impl FnOnce(&mut Table) -> Result<Table>,
    ) -> Result<()> {
        let mut state = self.lock();
        let gone = || Error::Gone(format!("with oid {oid}"));
        let table = change(state.tables.get_mut(&oid).ok_or_else(gone)?)?;
        let now = self.clock.now();
        self.record_definition(&mut state, now)?;
        state.tables.insert(oid, table);
        Ok(())
    }

    /// Removes a stream, table or maintained view.
    pub fn drop_object(&self, oid: Oid) {
        let mut state = self.lock();
        state.streams.remove(&oid);
        state.changed.remove(&oid);
        if let Some(versions) = state.tables.remove(&oid).and_then(|table| table.versions()) {
            state.streams.remove(&versions);
        }
        state.sinks.remove(&oid);
        state.intakes.remove(&oid);
        let job = state.remove_view(oid);
        drop(state);
        if let Some(job) = job {
            job.stop();
        }
    }

    /// Ends a query that is no view.
    pub fn end_job(&self, id: JobId) {
        let job = self.lock().remove_job(id);
        if let Some(job) = job {
            job.stop();
        }
    }

    /// The time of what happens now: the clock's, and not before the last commit.
    pub fn now(&self) -> Timestamp {
        self.lock().time(self.clock.now())
    }

    /// Commits writes, all or none.
    pub fn commit(&self, writes: Vec<Write>) -> Result<Receipt> {
        self.take(writes, false)
    }

    /// Commits writes, all or none, for whose way to the disk nobody waits.
    pub fn commit_lazily(&self, writes: Vec<Write>) -> Result<Receipt> {
        self.take(writes, true)
    }

    fn take(&self, writes: Vec<Write>, lazy: bool) -> Result<Receipt> {
        let input = self.prepare(|| Input::Writes(writes.clone()))?;
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(Error::ShuttingDown);
        }
        let now = self.clock.now();
        state.check(&writes, now)?;
        if let Some(more) = rows_more(&writes).filter(|_| !state.recovering) {
            self.memory.has_room(state.table_rows() + more)?;
        }
        let moment = state.moment(now);
        fault::point("hub.commit");
        self.record(&moment, input.as_deref(), lazy)?;
        fault::point("hub.commit.recorded");
        let commit = state.next_commit(now);
        let mut changes = BTreeMap::new();
        let mut receipt = Receipt { commit, admitted: 0, refused: 0 };
        for write in writes {
            if let Write::Intake(_, step) = &write {
                step.bad.iter().for_each(|failure| self.errors.add(failure.clone()));
            }
            state.write(write, &mut changes, &mut receipt)?;
        }
        fault::point("hub.commit.applied");
        state.dispatch(commit, &changes, &BTreeSet::new(), vec![]);
        if state.recovering {
            self.tell();
        }
        Ok(receipt)
    }

    /// Refuses what cannot be committed.
    pub fn check(&self, writes: &[Write]) -> Result<()> {
        self.lock().check(writes, self.clock.now())
    }

    /// Waits until the queries that read these objects have room for another commit.
    pub async fn room(&self, objects: &[Oid]) {
        self.told_until(|| !self.lock().gated).await;
        self.sink_room(objects).await;
    }

    /// Waits for room as a sink does: what it writes belongs to a commit before.
    pub async fn sink_room(&self, objects: &[Oid]) {
        let crowded = || {
            let state = self.lock();
            let tables = objects.iter().filter_map(|oid| state.tables.get(oid));
            let versions = tables.filter_map(Table::versions);
            let changed = objects.iter().copied().chain(versions).collect();
            let readers = state.readers(&changed);
            readers.values().any(|job| job.publication.in_flight() >= IN_FLIGHT_MAX)
        };
        self.told_until(|| !crowded()).await;
    }

    /// Tells those who wait that something has moved.
    pub(super) fn tell(&self) {
        self.room.notify_waiters();
    }

    /// Waits until something is so; it is looked at whenever something has moved.
    pub(super) async fn told_until(&self, so: impl Fn() -> bool) {
        loop {
            let moved = self.room.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if so() {
                return;
            }
            moved.await;
        }
    }

    /// Starts a query.
    pub fn start_job(&self, spec: JobSpec<'_>) -> Result<Arc<Job>> {
        Ok(self.start_job_since(spec)?.0)
    }

    /// Starts a query; returns the time as well since which what it finds has been so.
    pub fn start_job_since(&self, spec: JobSpec<'_>) -> Result<(Arc<Job>, Timestamp)> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(Error::ShuttingDown);
        }
        let since = state.unchanged_since(&spec.plan.inputs);
        let job = self.build(state, &spec)?;
        let now = self.clock.now();
        if spec.oid.is_some() {
            self.record_definition(state, now)?;
        }
        if let Some(feed) = spec.feed {
            job.publication.with_state(|state| state.subscribe(feed));
        }
        if state.restoring {
            state.add_job(&job, spec.plan);
            return Ok((job, since));
        }
        let commit = state.next_commit(now);
        job.publication.expect(commit);
        state.first_packets(&job, commit, spec.from_now)?;
        state.add_job(&job, spec.plan);
        Ok((job, since))
    }

    /// Makes the tasks of a query.
    fn build(&self, state: &mut State, spec: &JobSpec<'_>) -> Result<Arc<Job>> {
        state.next_job += 1;
        self.job(state.next_job, spec)
    }

    /// Makes the tasks of a query that no commit reaches, for what was read before.
    pub(super) fn detached_job(&self, plan: &Plan) -> Result<Arc<Job>> {
        let (keep, snapshot) = (Some(Retention::Forever), true);
        let (name, oid, retain, feed) = ("query", None, None, None);
        let (from_now, fail_on_error) = (false, false);
        let spec =
            JobSpec { plan, name, oid, keep, snapshot, from_now, retain, feed, fail_on_error };
        self.job(0, &spec)
    }

    fn job(&self, id: JobId, spec: &JobSpec<'_>) -> Result<Arc<Job>> {
        let plan = spec.plan;
        let schema = Arc::clone(&plan.root.schema);
        let properties = &plan.root.properties;
        let mut content = match spec.keep {
            None => Content::None(Arc::clone(&schema)),
            Some(retention) if plan.is_stream() => Content::stream(Arc::clone(&schema), retention),
            Some(_) => Content::relation(Arc::clone(&schema), properties.append_only)?,
        };
        if let Some(oid) = spec.oid {
            content.keep_in_files(&self.keeper, oid);
        }
        let parts = build::result_shards(plan, self.shards);
        let shape = Shape::of(plan);
        let room = Arc::clone(&self.room);
        let account = Account::new(&self.memory);
        let publication = Publication::new(shape, parts, content, room, account);
        if !spec.snapshot {
            publication.skip_first();
        }
        if let Some((span, oid)) = spec.retain.zip(spec.oid) {
            let mut changes = Changes::new(Arc::clone(&plan.root.schema), span);
            changes.keep_in_files(&self.keeper, oid);
            publication.keep_changes(changes);
        }
        let builder = build::Builder {
            shards: self.shards,
            batch_rows: self.batch_rows,
            ready: self.pool.ready(),
            errors: Arc::clone(&self.errors),
        };
        builder.job(id, spec, publication)
    }

    /// Puts new queries behind views, all at one commit; a view that reads another one comes after
    /// it. The old queries go on until then, and their readers see the difference.
    pub fn replace(&self, replacements: Vec<Replacement<'_>>) -> Result<()> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(Error::ShuttingDown);
        }
        // Everything that can fail comes before anything changes.
        let jobs = replacements.iter().map(|r| self.build(state, &r.spec));
        let jobs = jobs.collect::<Result<Vec<_>>>()?;
        let now = self.clock.now();
        self.record_definition(state, now)?;
        if state.restoring {
            for (job, replacement) in jobs.iter().zip(&replacements) {
                job.oid.and_then(|oid| state.remove_view(oid));
                state.add_job(job, replacement.spec.plan);
            }
            return Ok(());
        }
        let commit = state.next_commit(now);
        let oids: BTreeSet<Oid> = replacements.iter().filter_map(|r| r.spec.oid).collect();
        let old: Vec<_> = oids.iter().filter_map(|oid| state.remove_view(*oid)).collect();
        let heirs = replacements.iter().filter(|r| r.keeps != Keeps::Nothing);
        let told = heirs.filter_map(|r| r.spec.oid).collect();
        for (job, replacement) in jobs.iter().zip(&replacements) {
            job.publication.expect(commit);
            let predecessor = old.iter().find(|old| old.oid == job.oid);
            if let Some(predecessor) = predecessor {
                job.publication.await_predecessor(commit);
                let heir = Arc::clone(job);
                predecessor.bequeath(heir, commit, replacement.keeps, oids.clone());
            }
            state.first_packets(job, commit, replacement.spec.from_now)?;
            state.add_job(job, replacement.spec.plan);
        }
        state.pass_on(commit, &told, &jobs);
        Ok(())
    }

    /// Stops a view until it is replaced; its readers get the fault.
    pub fn suspend(&self, oid: Oid, fault: Fault) {
        if let Some(job) = self.view(oid) {
            job.suspend(fault);
        }
    }

    /// The job that maintains a view or derived stream.
    pub fn view(&self, oid: Oid) -> Option<Arc<Job>> {
        let state = self.lock();
        state.views.get(&oid).and_then(|id| state.jobs.get(id)).cloned()
    }

    /// All running queries.
    pub(super) fn jobs(&self) -> Vec<Arc<Job>> {
        self.lock().jobs.values().cloned().collect()
    }

    /// The last commit.
    pub fn last_commit(&self) -> Commit {
        let state = self.lock();
        let time = state.time.unwrap_or_else(|| self.clock.now());
        Commit { position: state.position, time }
    }

    /// Takes no more commits and ends the workers.
    pub fn stop(&self) {
        let jobs = {
            let mut state = self.lock();
            state.closed = true;
            state.reads.clear();
            std::mem::take(&mut state.jobs)
        };
        let fault = Fault {
            sqlstate: crate::error::SqlState::ADMIN_SHUTDOWN,
            message: "the server is shutting down".into(),
        };
        for job in jobs.into_values() {
            job.publication.fail(&fault);
        }
        self.pool.stop();
        self.keeper.stop();
    }
}
