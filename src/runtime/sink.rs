//! Queries whose changes are written into streams and tables, and waiting for them.
//!
//! # Semantics
//! What a commit changes in a sink's query is one commit of its own, after it. A reader that begins
//! when a commit is through sees what sinks make of it as well: it waits until those that lead,
//! directly or through views and other sinks, to what it reads have written everything up to there.
//!
//! # Invariants
//! Sinks lead to no object that they read, so this waiting ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::hub::Hub;
use super::job::Job;
use super::state::State;
use crate::sql::catalog::Oid;
use crate::time::Position;

/// How far a sink is.
pub struct SinkProgress {
    job: Arc<Job>,
    into: Oid,
    /// Whether it writes outside of the server, where nobody knows how long that takes.
    outside: bool,
    written: AtomicU64,
    /// The last commit of which what it changed is recorded as written.
    delivered: AtomicU64,
    stopped: AtomicBool,
}

impl SinkProgress {
    /// Whether what a commit changed has been written before.
    pub fn has_delivered(&self, position: Position) -> bool {
        self.delivered.load(Ordering::Acquire) >= position.0
    }

    /// The last commit of which what it changed is recorded as written.
    pub fn delivered_until(&self) -> Position {
        Position(self.delivered.load(Ordering::Acquire))
    }

    /// Takes note that what a commit changed is recorded as written.
    pub(super) fn delivered(&self, position: Position) {
        self.delivered.store(position.0, Ordering::Release);
    }

    /// Whether an image has all that it needs: what the query gave has been written, or the image
    /// has what is to be written outside.
    pub(super) fn is_level(&self) -> bool {
        self.outside || self.reached(self.job.publication.expected())
    }

    /// How far it has written, and how far that is recorded.
    pub(super) fn levels(&self) -> (u64, u64) {
        (self.written.load(Ordering::Acquire), self.delivered.load(Ordering::Acquire))
    }

    /// Takes what [`SinkProgress::levels`] returned.
    pub(super) fn resume(&self, written: u64, delivered: u64) {
        self.written.store(written, Ordering::Release);
        self.delivered.store(delivered, Ordering::Release);
    }

    fn reached(&self, position: Position) -> bool {
        self.stopped.load(Ordering::Acquire)
            || self.written.load(Ordering::Acquire) >= position.0
            || self.job.publication.fault().is_some()
    }
}

impl Hub {
    /// Makes known that a query's changes are written into an object; into the sink itself, if that
    /// is outside.
    pub fn add_sink(&self, oid: Oid, job: Arc<Job>, into: Oid) -> Arc<SinkProgress> {
        let (written, delivered) = (AtomicU64::new(0), AtomicU64::new(0));
        let stopped = AtomicBool::new(false);
        let outside = into == oid;
        let sink = Arc::new(SinkProgress { job, into, outside, written, delivered, stopped });
        self.lock().sinks.insert(oid, Arc::clone(&sink));
        sink
    }

    /// While inputs are told again: waits until what a commit changed is known to have been
    /// written, or all has been told.
    pub async fn sink_turn(&self, sink: &SinkProgress, position: Position) {
        self.told_until(|| sink.has_delivered(position) || !self.is_recovering()).await;
    }

    /// Tells that a sink has written what commits up to there changed.
    pub fn sink_wrote(&self, sink: &SinkProgress, until: Position) {
        sink.written.store(until.0, Ordering::Release);
        self.tell();
    }

    /// Tells that a sink writes no more.
    pub fn sink_stopped(&self, sink: &SinkProgress) {
        sink.stopped.store(true, Ordering::Release);
        self.tell();
    }

    /// Waits until sinks have written into these objects what commits up to now make them write.
    pub async fn settle(&self, objects: &[Oid]) {
        let rounds = self.lock().sinks_into(objects).len();
        // What one sink writes, the next one reads: a chain is as long as there are sinks.
        for _ in 0..rounds {
            let sinks = self.lock().sinks_into(objects);
            let waits = sinks.into_iter().map(|sink| {
                let told = sink.job.publication.expected();
                (sink, told)
            });
            let waits: Vec<_> = waits.collect();
            self.told_until(|| waits.iter().all(|(sink, told)| sink.reached(*told))).await;
        }
    }
}

impl Hub {
    /// Waits until somebody waits for all sinks to have written everything.
    pub async fn hurried(&self) {
        self.told_until(|| self.lock().hurried > 0).await;
    }

    /// Waits until sinks have written into these objects what commits up to now make them write,
    /// without a pause that lets more rows come together.
    pub async fn settle_now(&self, objects: &[Oid]) {
        let _hurry = Hurry::begin(self);
        self.settle(objects).await;
    }

    /// Waits until what has been committed so far can be seen in every view, and in what sinks
    /// write.
    pub async fn flush(&self) {
        let (views, written): (Vec<Oid>, Vec<Oid>) = {
            let state = self.lock();
            let written = state.sinks.values().map(|sink| sink.into);
            (state.views.keys().copied().collect(), written.collect())
        };
        self.settle_now(&written).await;
        for view in views {
            self.settled(view).await;
        }
    }
}

/// Somebody waits for all sinks to have written everything.
struct Hurry<'a>(&'a Hub);

impl<'a> Hurry<'a> {
    fn begin(hub: &'a Hub) -> Self {
        hub.lock().hurried += 1;
        hub.tell();
        Self(hub)
    }
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.lock().hurried -= 1;
    }
}

impl State {
    /// Sinks that write into these objects, or into what is read to make them.
    fn sinks_into(&self, objects: &[Oid]) -> Vec<Arc<SinkProgress>> {
        let mut found: Vec<Arc<SinkProgress>> = Vec::new();
        let mut seen: BTreeSet<Oid> = BTreeSet::new();
        let mut next: Vec<Oid> = objects.to_vec();
        while let Some(oid) = next.pop() {
            if !seen.insert(oid) {
                continue;
            }
            if let Some(job) = self.views.get(&oid).and_then(|id| self.jobs.get(id)) {
                next.extend(&job.inputs);
            }
            for sink in self.sinks.values().filter(|sink| sink.into == oid) {
                next.extend(&sink.job.inputs);
                found.push(Arc::clone(sink));
            }
        }
        found
    }
}
