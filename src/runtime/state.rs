//! What the hub's lock protects: base objects, running queries, and how a commit gets into them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::hub::{Receipt, Write};
use super::ingest::Admission;
use super::job::{Fault, Job, JobId};
use super::packet::{Commit, Packet};
use super::stream::Stream;
use super::table::Table;
use super::{Error, Result};
use crate::delta::{Delta, Instants, Weights};
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
    pub(super) next_job: JobId,
    pub(super) closed: bool,
}

/// What a commit did to one object.
pub(super) struct Changed {
    pub(super) deltas: Vec<Delta>,
    pub(super) watermark: Watermark,
}

impl State {
    /// Refuses what cannot be committed, before anything changes.
    pub(super) fn check(&self, writes: &[Write], now: Timestamp) -> Result<()> {
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
    pub(super) fn write(
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

    /// Queries that a commit concerns: those that read one of these objects, directly or through
    /// views, and those that compare with the time of commits; older ones first.
    pub(super) fn readers(&self, mut changed: BTreeSet<Oid>) -> Vec<Arc<Job>> {
        let mut readers = Vec::new();
        for job in self.jobs.values() {
            if job.is_timed() || job.inputs.iter().any(|oid| changed.contains(oid)) {
                changed.extend(job.oid);
                readers.push(Arc::clone(job));
            }
        }
        readers
    }

    /// Whether a query changes at that time though nothing comes in.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.jobs.values().any(|job| job.is_due(now))
    }

    /// Lets a commit into the queries that it concerns.
    pub(super) fn dispatch(&self, commit: Commit, changes: &BTreeMap<Oid, Changed>) {
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

    /// Tells a query of a commit that does not concern a view it reads: through the view's result,
    /// so that it
    /// comes after everything the view still works on.
    pub(super) fn pass_by(&self, view: Oid, job: &Arc<Job>, commit: Commit) {
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
    pub(super) fn first_packets(
        &mut self,
        job: &Arc<Job>,
        commit: Commit,
        snapshot: bool,
    ) -> Result<()> {
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
