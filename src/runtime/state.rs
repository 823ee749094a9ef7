//! What the hub's lock protects: base objects, running queries, and how a commit gets into them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::history::Retained;
use super::hub::{Receipt, Write};
use super::ingest::{Admission, Ingest};
use super::intake::Intake;
use super::job::{Fault, Job, JobId, TICK};
use super::journal::{Definition, Moment};
use super::packet::{Commit, Packet};
use super::sink::SinkProgress;
use super::stream::Stream;
use super::table::Table;
use super::{Error, Result};
use crate::delta::{Delta, Instants, Weights};
use crate::planner::plan::{Clock, Kind, Plan};
use crate::sql::catalog::Oid;
use crate::time::{Position, Timestamp, Watermark};

#[derive(Default)]
pub(super) struct State {
    pub(super) position: Position,
    pub(super) time: Option<Timestamp>,
    pub(super) streams: BTreeMap<Oid, Stream>,
    pub(super) tables: BTreeMap<Oid, Table>,
    pub(super) jobs: BTreeMap<JobId, Arc<Job>>,
    pub(super) views: BTreeMap<Oid, JobId>,
    /// Queries by the objects that they read.
    pub(super) reads: BTreeMap<Oid, BTreeSet<JobId>>,
    /// When an object last may have changed: a stream or table, or a view by another query.
    pub(super) changed: BTreeMap<Oid, Timestamp>,
    pub(super) sinks: BTreeMap<Oid, Arc<SinkProgress>>,
    pub(super) intakes: BTreeMap<Oid, Intake>,
    /// The definition that is running, until it is recorded.
    pub(super) definition: Option<Definition>,
    /// Whether inputs are told again.
    pub(super) recovering: bool,
    /// Whether definitions make objects that are told nothing.
    pub(super) restoring: bool,
    /// Whether only sinks may write.
    pub(super) gated: bool,
    /// How many wait for all sinks to have written everything.
    pub(super) hurried: isize,
    /// All definitions so far.
    pub(super) definitions: Vec<(Moment, Definition)>,
    pub(super) next_job: JobId,
    pub(super) closed: bool,
}

/// What a commit did to one object.
pub(super) struct Changed {
    pub(super) deltas: Vec<Delta>,
    /// What a stream retains of it.
    pub(super) arrived: Vec<Retained>,
    pub(super) watermark: Watermark,
}

/// What the passing of system time concerns.
pub(super) struct Passed {
    /// Streams that moved, or whose arrivals a query follows.
    pub(super) changes: BTreeMap<Oid, Changed>,
    /// Derived streams that are as far as the clock is.
    pub(super) views: BTreeSet<Oid>,
    /// Queries of which a subscriber waited for this time.
    pub(super) due: Vec<Arc<Job>>,
}

impl State {
    /// Where it stands.
    pub(super) fn moment(&self, now: Timestamp) -> Moment {
        Moment { position: self.position, time: self.time, now }
    }

    /// Whether every query that goes on has done what it has been told of.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs
            .values()
            .all(|job| job.publication.in_flight() == 0 || job.publication.fault().is_some())
    }

    /// The time of what happens now.
    pub(super) fn time(&self, now: Timestamp) -> Timestamp {
        self.time.map_or(now, |last| last.max(now))
    }

    /// The time that a commit has now.
    pub(super) fn next_time(&self, now: Timestamp) -> Timestamp {
        self.time.map_or(now, |last| now.max(last.plus(1)))
    }

    /// The name of a table or running query.
    pub(super) fn name(&self, oid: Oid) -> Result<String> {
        let table = self.tables.get(&oid).map(|table| table.name().to_owned());
        let view = || Some(self.jobs.get(self.views.get(&oid)?)?.name.clone());
        table.or_else(view).ok_or_else(|| Error::Gone(format!("with oid {oid}")))
    }

    /// Takes the next position and time.
    pub(super) fn next_commit(&mut self, now: Timestamp) -> Commit {
        let time = self.next_time(now);
        self.time = Some(time);
        self.position = Position(self.position.0 + 1);
        Commit { position: self.position, time }
    }

    /// Adds a running query.
    pub(super) fn add_job(&mut self, job: &Arc<Job>, plan: &Plan) {
        self.jobs.insert(job.id, Arc::clone(job));
        let time = plan.timed().then_some(&TICK);
        for oid in job.inputs.iter().chain(time) {
            self.reads.entry(*oid).or_default().insert(job.id);
        }
        if let Some(oid) = job.oid {
            self.views.insert(oid, job.id);
        }
    }

    /// Removes a running query.
    pub(super) fn remove_job(&mut self, id: JobId) -> Option<Arc<Job>> {
        let job = self.jobs.remove(&id)?;
        for oid in job.inputs.iter().chain([&TICK]) {
            if let Some(readers) = self.reads.get_mut(oid) {
                readers.remove(&id);
                if readers.is_empty() {
                    self.reads.remove(oid);
                }
            }
        }
        Some(job)
    }

    /// Removes the query of a view.
    pub(super) fn remove_view(&mut self, oid: Oid) -> Option<Arc<Job>> {
        let id = self.views.remove(&oid)?;
        self.remove_job(id)
    }

    /// Refuses what cannot be committed, before anything changes.
    pub(super) fn check(&self, writes: &[Write], now: Timestamp) -> Result<()> {
        let gone = |oid: &Oid| Error::Gone(format!("with oid {oid}"));
        let mut tables: BTreeMap<Oid, Vec<Delta>> = BTreeMap::new();
        let mut doors: BTreeMap<Oid, Option<Ingest>> = BTreeMap::new();
        for write in writes {
            match write {
                Write::Rows(oid, rows) => {
                    let stream = self.streams.get(oid).ok_or_else(|| gone(oid))?;
                    if let Some(door) = doors.entry(*oid).or_insert_with(|| stream.door()) {
                        stream.check(rows, now, door)?;
                    }
                }
                Write::Heartbeat(oid, at) => {
                    let stream = self.streams.get(oid).ok_or_else(|| gone(oid))?;
                    if let Some(door) = doors.entry(*oid).or_insert_with(|| stream.door()) {
                        door.heartbeat(*at);
                    }
                }
                Write::Upsert(oid, _) => {
                    self.tables.get(oid).ok_or_else(|| gone(oid))?;
                }
                Write::Intake(..) | Write::Delivered(..) => {}
                Write::Table(oid, delta) => {
                    tables.entry(*oid).or_default().push(delta.clone());
                    let table = self.tables.get(oid).ok_or_else(|| gone(oid))?;
                    let Some(versions) = table.versions() else { continue };
                    let stream = self.streams.get(&versions).ok_or_else(|| gone(&versions))?;
                    if let Some(door) = doors.entry(versions).or_insert_with(|| stream.door()) {
                        let rows = table.versions_of(delta, door.watermark())?;
                        stream.check(&rows, now, door).map_err(Error::of_table)?;
                    }
                }
            }
        }
        for (oid, deltas) in &tables {
            let table = self.tables.get(oid).ok_or_else(|| gone(oid))?;
            table.check(&Delta::concat(&deltas[0].schema(), deltas)?)?;
        }
        Ok(())
    }

    /// Applies a write; what it changed goes to `changes`.
    pub(super) fn write(
        &mut self,
        write: Write,
        changes: &mut BTreeMap<Oid, Changed>,
        receipt: &mut Receipt,
    ) -> Result<()> {
        let time = receipt.commit.time;
        let mut arrived = None;
        let (oid, delta, watermark) = match write {
            Write::Rows(oid, rows) => {
                let stream = self.streams.get_mut(&oid).expect("checked before");
                let (Admission { admitted, refused, .. }, retained) = stream.admit(&rows, time)?;
                arrived = Some(retained);
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
                let table = self.tables.get_mut(&oid).expect("checked before");
                table.apply(&delta)?;
                if let Some(stream) = table.versions() {
                    let watermark = self.streams.get(&stream).map(Stream::watermark);
                    let rows = table.versions_of(&delta, watermark.unwrap_or(Watermark::MIN))?;
                    self.write(Write::Rows(stream, rows), changes, &mut receipt.clone())?;
                }
                (oid, delta, Watermark::MAX)
            }
            Write::Upsert(oid, wanted) => {
                let table = self.tables.get_mut(&oid).expect("checked before");
                let delta = table.replacing(&wanted)?.at(time);
                table.apply(&delta)?;
                (oid, delta, Watermark::MAX)
            }
            Write::Heartbeat(oid, at) => {
                let stream = self.streams.get_mut(&oid).expect("checked before");
                stream.heartbeat(at, time);
                (oid, stream.empty_delta(), stream.watermark())
            }
            Write::Intake(oid, step) => {
                self.intakes.entry(oid).or_default().advance(&step);
                return Ok(());
            }
            Write::Delivered(oid, until) => {
                if let Some(sink) = self.sinks.get(&oid) {
                    sink.delivered(until);
                }
                return Ok(());
            }
        };
        let none = Changed { deltas: vec![], arrived: vec![], watermark };
        let change = changes.entry(oid).or_insert(none);
        change.watermark = watermark;
        change.arrived.extend(arrived);
        if !delta.is_empty() {
            change.deltas.push(delta);
        }
        Ok(())
    }

    /// Lets system time pass: marks partitions idle, moves streams on the system clock that a
    /// window watches. A commit would be at `next`.
    pub(super) fn on_clock(&mut self, now: Timestamp, next: Timestamp) -> Passed {
        let inputs = |job: &Arc<Job>| job.inputs.clone();
        let event = |job: &&Arc<Job>| job.publication.shape().clock == Clock::Event;
        let watched: BTreeSet<Oid> = self.jobs.values().filter(event).flat_map(inputs).collect();
        let follows = |oid: &Oid| self.jobs.values().any(|job| job.follows_arrivals(*oid));
        let followed: BTreeSet<Oid> = self.streams.keys().copied().filter(follows).collect();
        let on_arrival = |oid: &Oid| {
            let job = self.views.get(oid).and_then(|id| self.jobs.get(id));
            job.map(|job| job.publication.shape()).is_some_and(|shape| {
                shape.kind != Kind::Relation
                    && (follows(oid) || (watched.contains(oid) && shape.clock == Clock::Arrival))
            })
        };
        let views: BTreeSet<Oid> = self.views.keys().copied().filter(on_arrival).collect();
        let mut changes = BTreeMap::new();
        for (oid, stream) in &mut self.streams {
            let moved = (stream.has_event_time() || watched.contains(oid)) && stream.on_clock(now);
            if moved || followed.contains(oid) {
                let watermark = stream.watermark();
                let (deltas, arrived) = (vec![], vec![]);
                changes.insert(*oid, Changed { deltas, arrived, watermark });
            }
        }
        let due = self.jobs.values().filter(|job| job.publication.due(next)).cloned().collect();
        Passed { changes, views, due }
    }

    /// Queries that a commit concerns: those that read one of these objects and those that compare
    /// with the time of commits, directly or through views.
    pub(super) fn readers(&self, changed: &BTreeSet<Oid>) -> BTreeMap<JobId, Arc<Job>> {
        self.concerned(changed, vec![])
    }

    /// These queries, and those that read them or one of these objects, directly or through views.
    fn concerned(&self, changed: &BTreeSet<Oid>, due: Vec<Arc<Job>>) -> BTreeMap<JobId, Arc<Job>> {
        let results = due.iter().filter_map(|job| job.oid);
        let mut open: Vec<Oid> = changed.iter().copied().chain(results).chain([TICK]).collect();
        let mut readers: BTreeMap<JobId, Arc<Job>> =
            due.into_iter().map(|job| (job.id, job)).collect();
        while let Some(oid) = open.pop() {
            for id in self.reads.get(&oid).into_iter().flatten() {
                let job = &self.jobs[id];
                if readers.insert(*id, Arc::clone(job)).is_none() {
                    open.extend(job.oid);
                }
            }
        }
        readers
    }

    /// The time since which these objects, and what they are made of, have been as they are.
    pub(super) fn unchanged_since(&self, objects: &[Oid]) -> Timestamp {
        let since = |oid: &Oid| {
            let own = self.changed.get(oid).copied().unwrap_or(Timestamp::MIN);
            let job = self.views.get(oid).and_then(|id| self.jobs.get(id));
            own.max(job.map_or(Timestamp::MIN, |job| self.unchanged_since(&job.inputs)))
        };
        objects.iter().map(since).max().unwrap_or(Timestamp::MIN)
    }

    /// Whether a query may change by a commit at `next` though nothing comes in.
    pub(super) fn is_due(&self, next: Timestamp) -> bool {
        let mut timed = self.reads.get(&TICK).into_iter().flatten();
        timed.any(|id| self.jobs[id].is_due(next))
    }

    /// Lets a commit into the queries that it concerns. It concerns those in `due` and readers of
    /// the views in `passed` as well, although those views themselves do not hear of it.
    pub(super) fn dispatch(
        &mut self,
        commit: Commit,
        changes: &BTreeMap<Oid, Changed>,
        passed: &BTreeSet<Oid>,
        due: Vec<Arc<Job>>,
    ) {
        self.changed.extend(changes.keys().map(|oid| (*oid, commit.time)));
        let readers = self.concerned(&changes.keys().chain(passed).copied().collect(), due);
        self.tell(commit, changes, &readers, BTreeSet::new());
    }

    /// Lets the commit at which views are replaced into the queries that go on reading them; the
    /// replacements themselves have been told.
    pub(super) fn pass_on(&mut self, commit: Commit, replaced: &BTreeSet<Oid>, told: &[Arc<Job>]) {
        self.changed.extend(told.iter().filter_map(|job| Some((job.oid?, commit.time))));
        let mut readers = self.readers(replaced);
        readers.retain(|id, _| told.iter().all(|job| job.id != *id));
        self.tell(commit, &BTreeMap::new(), &readers, replaced.clone());
    }

    /// Tells queries of a commit. The views in `told` bring their part of it by themselves.
    fn tell(
        &self,
        commit: Commit,
        changes: &BTreeMap<Oid, Changed>,
        readers: &BTreeMap<JobId, Arc<Job>>,
        mut told: BTreeSet<Oid>,
    ) {
        // First everybody expects the commit: a result may arrive at a later query while an earlier
        // one is still being told.
        for job in readers.values() {
            job.publication.expect(commit);
        }
        told.extend(readers.values().filter_map(|job| job.oid));
        for job in readers.values() {
            for oid in &job.inputs {
                let changed = changes.get(oid);
                if let Some(stream) = self.streams.get(oid) {
                    let arrived = changed.map_or(&[][..], |changed| &changed.arrived);
                    job.enter_stream(*oid, commit, stream.watermark(), arrived);
                } else if let Some(changed) = changed {
                    let Changed { deltas, watermark, .. } = changed;
                    let packet = Packet { commit, watermark: *watermark, deltas: deltas.clone() };
                    job.enter(*oid, &packet);
                } else if self.tables.contains_key(oid) {
                    job.enter(*oid, &Packet::empty(commit, Watermark::MAX));
                } else if !told.contains(oid) {
                    self.pass_by(*oid, job, commit);
                }
            }
            job.tick(&Packet::empty(commit, Watermark::MAX));
        }
    }

    /// Tells a query of a commit that does not concern a view it reads: through the view's result,
    /// so that it
    /// comes after everything the view still works on.
    pub(super) fn pass_by(&self, view: Oid, job: &Arc<Job>, commit: Commit) {
        let Some(upstream) = self.views.get(&view).and_then(|id| self.jobs.get(id)) else {
            return;
        };
        let job = Arc::clone(job);
        upstream.publication.when_current(Box::new(move |state| match state {
            Ok(state) => state.pass_by(view, &job, commit),
            Err(fault) => job.suspend(fault.clone()),
        }));
    }

    /// Lets what the inputs of a new query hold into it; of streams nothing, if they count from now
    /// on.
    pub(super) fn first_packets(
        &mut self,
        job: &Arc<Job>,
        commit: Commit,
        from_now: bool,
    ) -> Result<()> {
        for oid in &job.inputs {
            let oid = *oid;
            if let Some(stream) = self.streams.get_mut(&oid) {
                // Nobody may have looked at the clock for this stream so far.
                let by_clock = !stream.has_event_time() && job.oid.is_some();
                if by_clock && job.publication.shape().clock == Clock::Event {
                    stream.on_clock(commit.time);
                }
                let parts = if from_now { Vec::new() } else { stream.retained() };
                job.enter_past(oid, commit, stream.watermark(), &parts);
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
                        match state.read() {
                            Ok(read) if from_now => read.without_past().enter(&job, oid, commit),
                            Ok(read) => read.enter(&job, oid, commit),
                            Err(error) => job.suspend(Fault::internal(&error)),
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
