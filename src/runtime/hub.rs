//! The one place that orders everything: commits, objects, running queries.
//!
//! # Semantics
//! A commit takes the next log position and a commit time, judges what comes in, changes the base objects and
//! lets the changes into every query that reads them, all under one lock. So every reader and query sees the
//! same order. The work of queries is done by workers, outside of the lock.
//!
//! # Invariants
//! 1. A commit is taken whole or not at all: what can fail is checked before anything changes.
//! 2. Commit times are strictly increasing.
//! 3. A query is told of a commit if it reads, directly or through views, an object that the commit changed.
//! 4. Lock order: hub, publication, task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use tokio::sync::{Notify, oneshot};

use super::build;
use super::content::Content;
use super::errors::ErrorLog;
use super::ingest::{Admission, Reason};
use super::job::{Fault, Job, JobId};
use super::packet::{Commit, Packet};
use super::pool::Pool;
use super::publication::{Publication, Snapshot};
use super::stream::{LateRow, Stream};
use super::subscription::Feed;
use super::table::Table;
use super::{Error, Result};
use crate::clock::Clock;
use crate::delta::{Delta, Instants, Weights};
use crate::planner::plan::{self, Plan};
use crate::sql::catalog::Oid;
use crate::time::{Position, Timestamp, Watermark};

/// Commits on their way through one query before the writers that feed it have to wait.
const IN_FLIGHT_MAX: u64 = 32;

/// A change that a client or connector asks for.
#[derive(Clone, Debug)]
pub enum Write {
    /// Rows for a stream.
    Rows(Oid, RecordBatch),
    /// Changes of a table: retractions of rows it has, insertions.
    Table(Oid, Delta),
    /// A promise about a stream.
    Heartbeat(Oid, Timestamp),
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

/// How a query is to run.
pub struct JobSpec<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Name for messages.
    pub name: &'a str,
    /// The view's oid.
    pub oid: Option<Oid>,
    /// Whether its content is kept for readers.
    pub keep: bool,
    /// Whether it starts from what its inputs hold now.
    pub snapshot: bool,
    /// A subscription from the first commit on.
    pub feed: Option<Arc<Feed>>,
}

/// What a stream or table looks like to the system relations.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Which stream.
    pub oid: Oid,
    /// Rows taken since the server started.
    pub admitted: u64,
    /// Rows retained.
    pub retained: usize,
    /// Event time reached.
    pub watermark: Watermark,
    /// When the watermark last moved.
    pub moved_at: Timestamp,
    /// Refused rows by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Partitions, and those of them that are idle.
    pub partitions: (usize, usize),
}

/// What of a running query the system relations show.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// The view.
    pub oid: Option<Oid>,
    /// Name.
    pub name: String,
    /// Event time reached.
    pub watermark: Watermark,
    /// Distinct rows held.
    pub rows: usize,
    /// Commits on their way.
    pub in_flight: u64,
    /// Why it stopped.
    pub fault: Option<Fault>,
}

#[derive(Default)]
struct State {
    position: Position,
    time: Option<Timestamp>,
    streams: BTreeMap<Oid, Stream>,
    tables: BTreeMap<Oid, Table>,
    jobs: BTreeMap<JobId, Arc<Job>>,
    views: BTreeMap<Oid, JobId>,
    next_job: JobId,
    closed: bool,
}

/// What a commit did to one object.
struct Changed {
    deltas: Vec<Delta>,
    watermark: Watermark,
}

/// The one place that orders everything.
pub struct Hub {
    state: Mutex<State>,
    pool: Pool,
    clock: Arc<dyn Clock>,
    errors: Arc<ErrorLog>,
    room: Arc<Notify>,
    shards: usize,
    batch_rows: usize,
}

impl Hub {
    /// Starts a hub whose queries run on `shards` shards and `threads` threads, in deltas of at most
    /// `batch_rows` rows.
    pub fn start(
        clock: Arc<dyn Clock>,
        shards: usize,
        threads: usize,
        batch_rows: usize,
    ) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            state: Mutex::default(),
            pool: Pool::start(threads)?,
            errors: ErrorLog::new(Arc::clone(&clock)),
            clock,
            room: Arc::new(Notify::new()),
            shards,
            batch_rows,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
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

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Adds a stream.
    pub fn create_stream(&self, oid: Oid, stream: Stream) {
        self.lock().streams.insert(oid, stream);
    }

    /// Adds a table.
    pub fn create_table(&self, oid: Oid, table: Table) {
        self.lock().tables.insert(oid, table);
    }

    /// Removes a stream, table or maintained view.
    pub fn drop_object(&self, oid: Oid) {
        let mut state = self.lock();
        state.streams.remove(&oid);
        state.tables.remove(&oid);
        let job = state.views.remove(&oid).and_then(|id| state.jobs.remove(&id));
        drop(state);
        if let Some(job) = job {
            job.stop();
        }
    }

    /// Ends a query that is no view.
    pub fn end_job(&self, id: JobId) {
        let job = self.lock().jobs.remove(&id);
        if let Some(job) = job {
            job.stop();
        }
    }

    /// Takes the next position and time.
    fn next_commit(&self, state: &mut State) -> Commit {
        let now = self.clock.now();
        let time = state.time.map_or(now, |last| now.max(last.plus(1)));
        state.time = Some(time);
        state.position = Position(state.position.0 + 1);
        Commit { position: state.position, time }
    }

    /// Commits writes, all or none.
    pub fn commit(&self, writes: Vec<Write>) -> Result<Receipt> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(Error::ShuttingDown);
        }
        state.check(&writes, self.clock.now())?;
        let commit = self.next_commit(state);
        let mut changes = BTreeMap::new();
        let mut receipt = Receipt { commit, admitted: 0, refused: 0 };
        for write in writes {
            state.write(write, &mut changes, &mut receipt)?;
        }
        state.dispatch(commit, &changes);
        Ok(receipt)
    }

    /// Waits until the queries that read these objects have room for another commit.
    pub async fn room(&self, objects: &[Oid]) {
        loop {
            let freed = self.room.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let crowded = {
                let state = self.lock();
                let changed = objects.iter().copied().collect();
                let readers = state.readers(changed);
                readers.iter().any(|job| job.publication.in_flight() >= IN_FLIGHT_MAX)
            };
            if !crowded {
                return;
            }
            freed.await;
        }
    }

    /// Lets time pass: idle partitions, and streams on the system clock that a window watches.
    pub fn on_clock(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return;
        }
        let now = self.clock.now();
        let watched: BTreeSet<Oid> = state
            .jobs
            .values()
            .filter(|job| job.publication.clock() == plan::Clock::Event)
            .flat_map(|job| job.inputs.iter().copied())
            .collect();
        let mut changes = BTreeMap::new();
        for (oid, stream) in &mut state.streams {
            if (stream.has_event_time() || watched.contains(oid)) && stream.on_clock(now) {
                let watermark = stream.watermark();
                changes.insert(*oid, Changed { deltas: vec![], watermark });
            }
        }
        if !changes.is_empty() {
            let commit = self.next_commit(state);
            state.dispatch(commit, &changes);
        }
    }

    /// Starts a query.
    pub fn start_job(&self, spec: JobSpec<'_>) -> Result<Arc<Job>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(Error::ShuttingDown);
        }
        let commit = self.next_commit(state);
        state.next_job += 1;
        let id = state.next_job;
        let schema = Arc::clone(&spec.plan.root.schema);
        let content = if spec.keep {
            Content::new(Arc::clone(&schema), spec.plan.root.properties.append_only)?
        } else {
            Content::None(Arc::clone(&schema))
        };
        let parts = build::result_shards(spec.plan, self.shards);
        let room = Arc::clone(&self.room);
        let publication = Publication::new(schema, spec.plan.clock, parts, content, room);
        let builder = build::Builder {
            shards: self.shards,
            batch_rows: self.batch_rows,
            ready: self.pool.ready(),
            errors: Arc::clone(&self.errors),
        };
        let job = builder.job(id, &spec, Arc::clone(&publication))?;
        publication.expect(commit.position);
        if let Some(feed) = spec.feed {
            publication.with_state(|state| state.subscribe(feed));
        }
        state.first_packets(&job, commit, spec.snapshot)?;
        state.jobs.insert(id, Arc::clone(&job));
        if let Some(oid) = spec.oid {
            state.views.insert(oid, id);
        }
        Ok(job)
    }

    /// Reads objects at one log position: streams as retained, tables and views as they are.
    pub fn read(&self, oids: &[Oid]) -> Result<Reads> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let time = state.time.unwrap_or_else(|| self.clock.now());
        let commit = Commit { position: state.position, time };
        let mut reads = Reads { commit, ready: BTreeMap::new(), waiting: BTreeMap::new() };
        for oid in oids {
            if let Some(stream) = state.streams.get(oid) {
                reads.ready.insert(*oid, Read::Stream(stream.deltas(), stream.watermark()));
            } else if let Some(table) = state.tables.get_mut(oid) {
                let (rows, weights) = table.snapshot()?;
                let watermark = Watermark::MAX;
                let snapshot = Snapshot { rows, weights, watermark, commit };
                reads.ready.insert(*oid, Read::Relation(snapshot));
            } else if let Some(job) = state.views.get(oid).and_then(|id| state.jobs.get(id)) {
                let (sender, receiver) = oneshot::channel();
                job.publication.when_current(Box::new(move |state| {
                    let snapshot = match state {
                        Ok(state) => state.snapshot().map_err(Error::from),
                        Err(fault) => Err(Error::from(fault.clone())),
                    };
                    // The reader may have gone; then nobody wants the answer.
                    let _ = sender.send(snapshot);
                }));
                reads.waiting.insert(*oid, receiver);
            } else {
                return Err(Error::Gone(format!("with oid {oid}")));
            }
        }
        Ok(reads)
    }

    /// Follows a running view from now on; the answer is its content at that position.
    pub fn follow(&self, oid: Oid, feed: Arc<Feed>) -> Result<oneshot::Receiver<Result<Snapshot>>> {
        let state = self.lock();
        let job = state.views.get(&oid).and_then(|id| state.jobs.get(id));
        let job = job.ok_or_else(|| Error::Gone(format!("with oid {oid}")))?;
        let (sender, receiver) = oneshot::channel();
        job.publication.when_current(Box::new(move |state| {
            let snapshot = match state {
                Ok(state) => {
                    state.subscribe(feed);
                    state.snapshot().map_err(Error::from)
                }
                Err(fault) => Err(Error::from(fault.clone())),
            };
            let _ = sender.send(snapshot);
        }));
        Ok(receiver)
    }

    /// The job that maintains a view.
    pub fn view(&self, oid: Oid) -> Option<Arc<Job>> {
        let state = self.lock();
        state.views.get(&oid).and_then(|id| state.jobs.get(id)).cloned()
    }

    /// Streams, for the system relations.
    pub fn stream_status(&self) -> Vec<StreamStatus> {
        self.lock().streams.iter().map(|(oid, stream)| stream.status(*oid)).collect()
    }

    /// The newest refused rows, by stream.
    pub fn late_rows(&self) -> Vec<(Oid, LateRow)> {
        let state = self.lock();
        let rows = state.streams.iter();
        rows.flat_map(|(oid, s)| s.late_rows().map(|row| (*oid, row.clone()))).collect()
    }

    /// Running queries, for the system relations.
    pub fn job_status(&self) -> Vec<JobStatus> {
        let jobs: Vec<_> = self.lock().jobs.values().cloned().collect();
        let status = |job: Arc<Job>| {
            let (watermark, rows) = job.publication.status();
            JobStatus {
                oid: job.oid,
                name: job.name.clone(),
                watermark,
                rows,
                in_flight: job.publication.in_flight(),
                fault: job.publication.fault(),
            }
        };
        jobs.into_iter().map(status).collect()
    }

    /// Number of rows of a table.
    pub fn table_rows(&self, oid: Oid) -> Option<usize> {
        self.lock().tables.get(&oid).map(Table::len)
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
    }
}

/// What reading an object gives.
pub enum Read {
    /// A stream's retained rows with their times, and its watermark.
    Stream(Vec<Delta>, Watermark),
    /// A relation.
    Relation(Snapshot),
}

/// Objects read at one log position.
pub struct Reads {
    /// The position.
    pub commit: Commit,
    ready: BTreeMap<Oid, Read>,
    waiting: BTreeMap<Oid, oneshot::Receiver<Result<Snapshot>>>,
}

impl Reads {
    /// Waits for the views that are still working on earlier commits.
    pub async fn finish(mut self) -> Result<BTreeMap<Oid, Read>> {
        for (oid, receiver) in std::mem::take(&mut self.waiting) {
            let snapshot = receiver.await.map_err(|_| Error::ShuttingDown)??;
            self.ready.insert(oid, Read::Relation(snapshot));
        }
        Ok(self.ready)
    }
}

impl State {
    /// Refuses what cannot be committed, before anything changes.
    fn check(&self, writes: &[Write], now: Timestamp) -> Result<()> {
        let gone = |oid: &Oid| Error::Gone(format!("with oid {oid}"));
        let mut tables: BTreeMap<Oid, Vec<Delta>> = BTreeMap::new();
        for write in writes {
            match write {
                Write::Rows(oid, rows) => {
                    self.streams.get(oid).ok_or_else(|| gone(oid))?.check(rows, now)?;
                }
                Write::Heartbeat(oid, _) => {
                    self.streams.get(oid).ok_or_else(|| gone(oid))?;
                }
                Write::Table(oid, delta) => tables.entry(*oid).or_default().push(delta.clone()),
            }
        }
        for (oid, deltas) in &tables {
            let table = self.tables.get(oid).ok_or_else(|| gone(oid))?;
            table.check(&Delta::concat(&deltas[0].schema(), deltas)?)?;
        }
        Ok(())
    }

    /// Applies a write; what it changed goes to `changes`.
    fn write(
        &mut self,
        write: Write,
        changes: &mut BTreeMap<Oid, Changed>,
        receipt: &mut Receipt,
    ) -> Result<()> {
        let time = receipt.commit.time;
        let (oid, delta, watermark) = match write {
            Write::Rows(oid, rows) => {
                let stream = self.streams.get_mut(&oid).expect("checked before");
                let Admission { admitted, refused } = stream.admit(&rows, time)?;
                receipt.admitted += admitted.len();
                receipt.refused += refused.len();
                let watermark = stream.watermark();
                let side = stream.side_rows(&rows, &refused, time)?;
                if let Some((side, rows)) = side.filter(|(side, _)| self.streams.contains_key(side))
                {
                    self.write(Write::Rows(side, rows), changes, &mut receipt.clone())?;
                }
                (oid, admitted, watermark)
            }
            Write::Table(oid, delta) => {
                let delta = delta.at(time);
                self.tables.get_mut(&oid).expect("checked before").apply(&delta)?;
                (oid, delta, Watermark::MAX)
            }
            Write::Heartbeat(oid, at) => {
                let stream = self.streams.get_mut(&oid).expect("checked before");
                stream.heartbeat(at, time);
                (oid, stream.empty_delta(), stream.watermark())
            }
        };
        let change = changes.entry(oid).or_insert(Changed { deltas: vec![], watermark });
        change.watermark = watermark;
        if !delta.is_empty() {
            change.deltas.push(delta);
        }
        Ok(())
    }

    /// Queries that read one of these objects, directly or through views; older ones first.
    fn readers(&self, mut changed: BTreeSet<Oid>) -> Vec<Arc<Job>> {
        let mut readers = Vec::new();
        for job in self.jobs.values() {
            if job.inputs.iter().any(|oid| changed.contains(oid)) {
                changed.extend(job.oid);
                readers.push(Arc::clone(job));
            }
        }
        readers
    }

    /// Lets a commit into the queries that it concerns.
    fn dispatch(&self, commit: Commit, changes: &BTreeMap<Oid, Changed>) {
        let readers = self.readers(changes.keys().copied().collect());
        // First everybody expects the commit: a result may arrive at a later query while an earlier
        // one is still being told.
        for job in &readers {
            job.publication.expect(commit.position);
        }
        let told: BTreeSet<Oid> = readers.iter().filter_map(|job| job.oid).collect();
        for job in &readers {
            for oid in &job.inputs {
                if let Some(changed) = changes.get(oid) {
                    let Changed { deltas, watermark } = changed;
                    let packet = Packet { commit, watermark: *watermark, deltas: deltas.clone() };
                    job.enter(*oid, &packet);
                } else if let Some(stream) = self.streams.get(oid) {
                    job.enter(*oid, &Packet::empty(commit, stream.watermark()));
                } else if self.tables.contains_key(oid) {
                    job.enter(*oid, &Packet::empty(commit, Watermark::MAX));
                } else if !told.contains(oid) {
                    self.pass_by(*oid, job, commit);
                }
            }
            job.tick(&Packet::empty(commit, Watermark::MAX));
        }
    }

    /// Tells a query of a commit that does not concern a view it reads: through the view's result, so that it
    /// comes after everything the view still works on.
    fn pass_by(&self, view: Oid, job: &Arc<Job>, commit: Commit) {
        let Some(upstream) = self.views.get(&view).and_then(|id| self.jobs.get(id)) else {
            return;
        };
        let job = Arc::clone(job);
        upstream.publication.when_current(Box::new(move |state| match state {
            Ok(state) => job.enter(view, &Packet::empty(commit, state.watermark())),
            Err(fault) => job.suspend(fault.clone()),
        }));
    }

    /// Lets what the inputs of a new query hold into it.
    fn first_packets(&mut self, job: &Arc<Job>, commit: Commit, snapshot: bool) -> Result<()> {
        for oid in &job.inputs {
            let oid = *oid;
            if let Some(stream) = self.streams.get(&oid) {
                let deltas = if snapshot { stream.deltas() } else { vec![] };
                job.enter(oid, &Packet { commit, watermark: stream.watermark(), deltas });
            } else if let Some(table) = self.tables.get_mut(&oid) {
                let (rows, weights) = table.snapshot()?;
                let delta = Delta::new(rows, Instants::All(commit.time), Weights::Each(weights));
                let deltas = if delta.is_empty() { vec![] } else { vec![delta] };
                job.enter(oid, &Packet { commit, watermark: Watermark::MAX, deltas });
            } else {
                let upstream = self.views.get(&oid).and_then(|id| self.jobs.get(id));
                let upstream = upstream.ok_or_else(|| Error::Gone(format!("with oid {oid}")))?;
                let job = Arc::clone(job);
                upstream.publication.when_current(Box::new(move |state| match state {
                    Ok(state) => {
                        state.attach(job.downgrade(), oid);
                        match state.first_packet(commit) {
                            Ok(packet) => job.enter(oid, &packet),
                            Err(error) => job.suspend(Fault {
                                sqlstate: crate::error::SqlState::INTERNAL_ERROR,
                                message: error.to_string(),
                            }),
                        }
                    }
                    Err(fault) => job.suspend(fault.clone()),
                }));
            }
        }
        job.tick(&Packet::empty(commit, Watermark::MAX));
        Ok(())
    }
}
