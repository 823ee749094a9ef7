//! Reading: objects at one log position, and views followed from one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use tokio::sync::oneshot;

use super::history::Retained;
use super::hub::Hub;
use super::packet::Commit;
use super::publication::Snapshot;
use super::subscription::Feed;
use super::{Error, Result};
use crate::sql::catalog::Oid;
use crate::time::Watermark;

impl Hub {
    /// Reads objects at one log position: streams as retained, tables and views as they are. Of a
    /// table with an entry in `keys` only the rows with these primary keys are read. What
    /// time alone has changed by then is a commit before.
    pub fn read(&self, oids: &[Oid], keys: &BTreeMap<Oid, Keys>) -> Result<Reads> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.is_due(self.time(state)) {
            let commit = self.next_commit(state);
            state.dispatch(commit, &BTreeMap::new());
        }
        let time = state.time.unwrap_or_else(|| self.clock().now());
        let commit = Commit { position: state.position, time };
        let mut reads = Reads { commit, ready: BTreeMap::new(), waiting: BTreeMap::new() };
        for oid in oids {
            if let Some(stream) = state.streams.get(oid) {
                reads.ready.insert(*oid, Read::Stream(stream.retained(), stream.watermark()));
            } else if let Some(table) = state.tables.get_mut(oid) {
                let (rows, weights) = match keys.get(oid) {
                    None => table.snapshot()?,
                    Some(keys) => {
                        let rows = table.lookup(&keys.columns, keys.len)?;
                        let ones = Int64Array::from_value(1, rows.num_rows());
                        (rows, ones)
                    }
                };
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
}

/// Primary keys of a table.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The columns of the key, in its order and in their types.
    pub columns: Vec<ArrayRef>,
    /// Number of keys.
    pub len: usize,
}

/// What reading an object gives.
pub enum Read {
    /// A stream's retained rows with their times, and its watermark.
    Stream(Vec<Retained>, Watermark),
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
