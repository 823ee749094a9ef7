//! Reading: objects at one log position, and views followed from one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use tokio::sync::oneshot;

use super::changes::AsOf;
use super::history::Part;
use super::hub::Hub;
use super::job::{Fault, Job};
use super::packet::{Commit, Packet};
use super::publication::State;
use super::snapshot::Snapshot;
use super::subscription::Feed;
use super::{Error, Result};
use crate::delta::Delta;
use crate::planner::plan::{Clock, Kind, Plan};
use crate::sql::catalog::Oid;
use crate::time::{Position, Timestamp, Watermark};

impl Hub {
    /// Reads objects at one log position: streams as retained, tables and views as they are. Of a
    /// table with an entry in `keys` only the rows with these primary keys are read. What
    /// time alone has changed by then is a commit before.
    pub fn read(&self, oids: &[Oid], keys: &BTreeMap<Oid, Keys>) -> Result<Reads> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let now = self.clock().now();
        if state.is_due(state.time(now)) {
            let commit = state.next_commit(now);
            state.dispatch(commit, &BTreeMap::new(), &BTreeSet::new(), vec![]);
        }
        let time = state.time.unwrap_or(now);
        let commit = Commit { position: state.position, time };
        let mut reads = Reads { commit, ready: BTreeMap::new(), waiting: BTreeMap::new() };
        for oid in oids {
            if let Some(stream) = state.streams.get(oid) {
                reads.ready.insert(*oid, Read::Stream(stream.retained(), stream.watermark()));
            } else if let Some(table) = state.tables.get_mut(oid) {
                let (rows, weights) = match keys.get(oid) {
                    None => table.snapshot()?,
                    Some(keys) => {
                        let rows = table.lookup(keys.key, &keys.columns, keys.len)?;
                        let ones = Int64Array::from_value(1, rows.num_rows());
                        (rows, ones)
                    }
                };
                let watermark = Watermark::MAX;
                let snapshot = Snapshot { rows, weights, watermark, commit };
                reads.ready.insert(*oid, Read::Table(snapshot));
            } else if let Some(job) = state.views.get(oid).and_then(|id| state.jobs.get(id)) {
                let (sender, receiver) = oneshot::channel();
                job.publication.when_current(Box::new(move |state| {
                    // The reader may have gone; then nobody wants the answer.
                    let _ = sender.send(read(state));
                }));
                reads.waiting.insert(*oid, receiver);
            } else {
                return Err(Error::Gone(format!("with oid {oid}")));
            }
        }
        Ok(reads)
    }

    /// Reads a table or view as of a time that has passed, or a stream then: whatever comes, it
    /// stays what it was, and what has arrived by then.
    pub async fn read_as_of(&self, as_of: AsOf) -> Result<Read> {
        let receiver = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let now = self.clock().now();
            let commit = Commit { position: state.position, time: state.time(now) };
            let AsOf { object, at, .. } = as_of;
            let on_event = state.views.get(&object).and_then(|id| state.jobs.get(id));
            let on_event = on_event
                .map(|job| job.publication.shape())
                .is_some_and(|shape| shape.kind == Kind::Relation && shape.clock == Clock::Event);
            if !on_event {
                if at >= state.next_time(now) {
                    let name = state.name(object)?;
                    return Err(Error::NotYet { name, at: as_of.show(at) });
                }
                // No later commit has this time.
                state.time = Some(state.time.map_or(at, |last| last.max(at)));
            }
            if let Some(stream) = state.streams.get(&object) {
                return Ok(Read::Stream(stream.retained(), stream.watermark()));
            }
            if let Some(table) = state.tables.get_mut(&object) {
                let content = table.as_of(as_of)?;
                let (rows, weights) = (content.rows().clone(), content.weight_array());
                let watermark = Watermark::MAX;
                return Ok(Read::Table(Snapshot { rows, weights, watermark, commit }));
            }
            let job = state.views.get(&object).and_then(|id| state.jobs.get(id)).cloned();
            let job = job.ok_or_else(|| Error::Gone(format!("with oid {object}")))?;
            let (sender, receiver) = oneshot::channel();
            let name = job.name.clone();
            job.publication.when_current(Box::new(move |state| {
                let read = match state {
                    Ok(state) => state.as_of(&name, as_of),
                    Err(fault) => Err(Error::from(fault.clone())),
                };
                // The reader may have gone; then nobody wants the answer.
                let _ = sender.send(read);
            }));
            receiver
        };
        receiver.await.map_err(|_| Error::ShuttingDown)?
    }

    /// Waits until a view has done what it has been told of so far, if it runs.
    pub async fn settled(&self, oid: Oid) {
        let (sender, receiver) = oneshot::channel::<()>();
        {
            let state = self.lock();
            let job = state.views.get(&oid).and_then(|id| state.jobs.get(id));
            let Some(job) = job else { return };
            job.publication.when_current(Box::new(move |_| drop(sender)));
        }
        // It answers by going away.
        let _ = receiver.await;
    }

    /// Runs a query over what was read, to its end; returns what it gives.
    pub async fn evaluate(&self, plan: &Plan, reads: &BTreeMap<Oid, Read>) -> Result<Read> {
        let job = self.detached_job(plan)?;
        let time = self.last_commit().time;
        let commit = Commit { position: Position(1), time };
        job.publication.expect(commit);
        let (sender, receiver) = oneshot::channel();
        job.publication.when_current(Box::new(move |state| {
            let _ = sender.send(read(state));
        }));
        for oid in &job.inputs {
            let input = reads.get(oid).ok_or_else(|| Error::Gone(format!("with oid {oid}")))?;
            input.enter(&job, *oid, commit);
        }
        job.tick(&Packet::empty(commit, Watermark::MAX));
        receiver.await.map_err(|_| Error::ShuttingDown)?
    }

    /// Follows a running view or derived stream from now on; the answer is its content at that
    /// position, and, if that is known, what it was at `since` with the changes from there on.
    pub fn follow(
        &self,
        oid: Oid,
        feed: Arc<Feed>,
        since: Option<Timestamp>,
    ) -> Result<oneshot::Receiver<Result<Followed>>> {
        let state = self.lock();
        let job = state.views.get(&oid).and_then(|id| state.jobs.get(id));
        let job = job.ok_or_else(|| Error::Gone(format!("with oid {oid}")))?;
        let (sender, receiver) = oneshot::channel();
        job.publication.when_current(Box::new(move |state| {
            let answer = match state {
                Ok(state) => {
                    state.subscribe(feed);
                    let changes = since.map(|since| state.since(since)).transpose();
                    changes.and_then(|changes| {
                        let (read, oldest) = (state.read()?, state.oldest());
                        Ok(Followed { read, changes: changes.flatten(), oldest })
                    })
                }
                Err(fault) => Err(Error::from(fault.clone())),
            };
            let _ = sender.send(answer);
        }));
        Ok(receiver)
    }
}

/// Keys of a table.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Of which of its keys: the primary key is the first, if there is one.
    pub key: usize,
    /// The columns of the key, in its order and in their types.
    pub columns: Vec<ArrayRef>,
    /// Number of keys.
    pub len: usize,
}

fn read(state: std::result::Result<&mut State, &Fault>) -> Result<Read> {
    match state {
        Ok(state) => state.read(),
        Err(fault) => Err(Error::from(fault.clone())),
    }
}

/// What a follower begins with.
pub struct Followed {
    /// The content now.
    pub read: Read,
    /// The content as of a time, and the changes from there to now.
    pub changes: Option<Delta>,
    /// The first time of which that is known, if the past is kept.
    pub oldest: Option<Timestamp>,
}

/// What reading an object gives.
pub enum Read {
    /// A stream's retained rows with their times, and its watermark.
    Stream(Vec<Part>, Watermark),
    /// A table.
    Table(Snapshot),
    /// A maintained view that is a relation.
    View(Snapshot),
}

impl Read {
    /// The watermark: that of a table never holds anything back.
    pub fn watermark(&self) -> Watermark {
        match self {
            Read::Stream(_, watermark) => *watermark,
            Read::Table(_) => Watermark::MAX,
            Read::View(snapshot) => snapshot.watermark,
        }
    }

    /// Whether it is a stream that is partly in files.
    pub fn is_in_files(&self) -> bool {
        match self {
            Read::Stream(parts, _) => parts.iter().any(|part| part.span_in_file().is_some()),
            Read::Table(_) | Read::View(_) => false,
        }
    }

    /// The same, but of a stream nothing that it retains.
    #[must_use]
    pub fn without_past(self) -> Self {
        match self {
            Read::Stream(_, watermark) => Read::Stream(Vec::new(), watermark),
            Read::Table(_) | Read::View(_) => self,
        }
    }

    /// Lets what was read into a query, at its first commit.
    pub fn enter(&self, job: &Job, object: Oid, commit: Commit) {
        let delta = match self {
            Read::Stream(retained, watermark) => {
                return job.enter_past(object, commit, *watermark, retained);
            }
            Read::Table(snapshot) => snapshot.delta(commit.time),
            // The content is that of the last closed instant.
            Read::View(snapshot) => snapshot.delta(snapshot.watermark.last_closed()),
        };
        let deltas = if delta.is_empty() { vec![] } else { vec![delta] };
        job.enter(object, &Packet { commit, watermark: self.watermark(), deltas });
    }
}

/// Objects read at one log position.
pub struct Reads {
    /// The position.
    pub commit: Commit,
    ready: BTreeMap<Oid, Read>,
    waiting: BTreeMap<Oid, oneshot::Receiver<Result<Read>>>,
}

impl Reads {
    /// Waits for the views that are still working on earlier commits.
    pub async fn finish(mut self) -> Result<BTreeMap<Oid, Read>> {
        for (oid, receiver) in std::mem::take(&mut self.waiting) {
            self.ready.insert(oid, receiver.await.map_err(|_| Error::ShuttingDown)??);
        }
        Ok(self.ready)
    }
}
