//! A fragment of a query on one shard: a chain of operators that runs when a commit is complete.
//!
//! # Invariants
//! 1. A task handles one commit at a time, to completion, when every channel has brought its
//!    packet.
//! 2. Nothing depends on the order in which packets of different channels arrive: channels are read
//!    in
//!    order of their number.
//! 3. A task that panics or fails suspends its job and no other.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::exchange::Sender;
use super::job::Fault;
use super::memory::{Account, Holding, ROW_BYTES};
use super::packet::Packet;
use super::past::Past;
use super::pool::Ready;
use super::stage::{Arrived, Feed, Stage};
use crate::delta::Delta;
use crate::error::Classify;
use crate::operators::{Output, Result, RowError, Waiting};
use crate::storage::{StateReader, StateWriter, Visit, load_all, save_all};
use crate::time::{Timestamp, Watermark};

/// A task has nothing to do.
const IDLE: u8 = 0;
/// It waits for a worker.
const QUEUED: u8 = 1;
/// A worker runs it.
const RUNNING: u8 = 2;
/// A worker runs it, and something arrived meanwhile.
const DIRTY: u8 = 3;

/// What a task tells its job.
pub trait Supervisor: Send + Sync {
    /// Rows could not be computed.
    fn rows_failed(&self, errors: Vec<RowError>);
    /// The job cannot go on.
    fn suspend(&self, fault: Fault);
    /// Whether the job has been suspended or dropped.
    fn stopped(&self) -> bool;
    /// What the job holds.
    fn account(&self) -> &Arc<Account>;
}

/// Operators and where their output goes.
struct Body {
    stages: Vec<Stage>,
    sender: Sender,
    holding: Holding,
    /// Bytes, more or less, of rows that have come since it was looked at what is held.
    news: usize,
}

/// A fragment of a query on one shard.
pub struct Task {
    channels: Mutex<Vec<VecDeque<Packet>>>,
    /// What it is to read before its first commit, by channel.
    past: Mutex<Vec<(usize, Past)>>,
    body: Mutex<Body>,
    state: AtomicU8,
    /// When the task wants a commit though nothing comes in, in microseconds.
    due: AtomicI64,
    ready: Arc<Ready>,
    supervisor: Arc<dyn Supervisor>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Task {
    /// A task with so many input channels.
    pub fn new(
        channels: usize,
        stages: Vec<Stage>,
        sender: Sender,
        ready: Arc<Ready>,
        supervisor: Arc<dyn Supervisor>,
    ) -> Arc<Self> {
        let holding = Holding::new(supervisor.account());
        Arc::new(Self {
            channels: Mutex::new(vec![VecDeque::new(); channels]),
            past: Mutex::default(),
            body: Mutex::new(Body { stages, sender, holding, news: 0 }),
            state: AtomicU8::new(IDLE),
            due: AtomicI64::new(i64::MAX),
            ready,
            supervisor,
        })
    }

    /// Takes a packet; lets the task run once the commit is complete.
    pub fn deliver(self: &Arc<Self>, channel: usize, packet: Packet) {
        let complete = {
            let mut channels = lock(&self.channels);
            channels[channel].push_back(packet);
            channels.iter().all(|c| !c.is_empty())
        };
        if complete {
            self.wake();
        }
    }

    /// Says what belongs to the first commit of a channel beside its packet, which comes after.
    pub fn deliver_past(&self, channel: usize, past: Vec<Past>) {
        lock(&self.past).extend(past.into_iter().map(|past| (channel, past)));
    }

    /// When the task wants a commit though nothing comes in; the end of time if never.
    pub fn due(&self) -> Timestamp {
        Timestamp(self.due.load(Ordering::Acquire))
    }

    fn wake(self: &Arc<Self>) {
        let update = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |s| match s {
            IDLE => Some(QUEUED),
            RUNNING => Some(DIRTY),
            _ => None,
        });
        if update == Ok(IDLE) {
            self.ready.push(Arc::clone(self));
        }
    }

    /// Handles every complete commit there is. Called by workers.
    pub fn run(self: &Arc<Self>) {
        self.state.store(RUNNING, Ordering::Release);
        while let Some(packets) = self.next_commit() {
            if self.supervisor.stopped() {
                continue;
            }
            let supervisor = self.supervisor.as_ref();
            let past = std::mem::take(&mut *lock(&self.past));
            let step = || lock(&self.body).step(past, packets, &self.due, supervisor);
            match catch_unwind(AssertUnwindSafe(step)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self
                    .supervisor
                    .suspend(Fault { sqlstate: error.sqlstate(), message: error.to_string() }),
                Err(panic) => self.supervisor.suspend(Fault::panic(panic.as_ref())),
            }
        }
        let idle = self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if idle.is_err() {
            self.state.store(QUEUED, Ordering::Release);
            self.ready.push(Arc::clone(self));
        }
    }

    /// What its stages hold until the watermark moves on.
    pub fn waiting(&self) -> Waiting {
        lock(&self.body).stages.iter().map(Stage::waiting).fold(Waiting::default(), Waiting::and)
    }

    /// Spills so many bytes, if there are so many, and returns how many were; nothing if the task
    /// runs.
    pub(super) fn spill(&self, bytes: usize) -> Option<usize> {
        let mut body = self.body.try_lock().ok()?;
        let Body { stages, holding, .. } = &mut *body;
        Some(holding.spill(bytes, stores(stages)))
    }

    /// Lets go of all state: the task will not run again. Tells whether it could, which is not so
    /// while it runs.
    pub(super) fn empty(&self) -> bool {
        let Ok(mut body) = self.body.try_lock() else { return false };
        body.stages.clear();
        body.holding.settle(|_| {});
        true
    }

    /// Writes the state of its stages.
    pub(super) fn save(&self, to: &mut StateWriter) -> super::Result<()> {
        Ok(save_all(stores(&mut lock(&self.body).stages), to)?)
    }

    /// Takes what [`Task::save`] wrote.
    pub(super) fn load(&self, from: &mut StateReader) -> super::Result<()> {
        let mut body = lock(&self.body);
        load_all(stores(&mut body.stages), from)?;
        body.stages.iter_mut().for_each(|stage| stage.operator.loaded());
        self.due.store(body.due().0, Ordering::Release);
        body.settle();
        Ok(())
    }

    /// Takes the packets of the next commit, if all are there.
    fn next_commit(&self) -> Option<Vec<Packet>> {
        let mut channels = lock(&self.channels);
        if channels.iter().any(VecDeque::is_empty) {
            return None;
        }
        Some(channels.iter_mut().filter_map(VecDeque::pop_front).collect())
    }
}

/// Shows what stages keep.
fn stores(stages: &mut [Stage]) -> impl FnMut(&mut Visit<'_>) {
    |visit| stages.iter_mut().for_each(|stage| stage.stores(visit))
}

impl Body {
    /// Looks at what is held, and spills what is too much.
    fn settle(&mut self) {
        self.news = 0;
        self.holding.settle(stores(&mut self.stages));
    }

    /// The earliest commit time for which an operator waits.
    fn due(&self) -> Timestamp {
        let all = self.stages.iter().filter_map(|stage| stage.operator.due());
        all.min().unwrap_or(Timestamp::MAX)
    }

    /// Folds one commit through all stages and sends on what comes out.
    fn step(
        &mut self,
        past: Vec<(usize, Past)>,
        packets: Vec<Packet>,
        due: &AtomicI64,
        supervisor: &dyn Supervisor,
    ) -> super::Result<()> {
        let commit = packets[0].commit;
        assert!(packets.iter().all(|p| p.commit == commit), "channels carry the same commits");
        let mut errors = Vec::new();
        let mut made = self.read_past(past, commit.time, supervisor, &mut errors)?;
        let came = packets.iter().flat_map(|packet| &packet.deltas).map(Delta::len);
        self.news += came.sum::<usize>() * ROW_BYTES;
        let mut packets: Vec<Option<Packet>> = packets.into_iter().map(Some).collect();
        let mut results: Vec<Option<Arrived>> = Vec::with_capacity(self.stages.len());
        for stage in &mut self.stages {
            let arrived = stage
                .ports
                .iter()
                .map(|port| match &port.feed {
                    Feed::Channels(range) => gather(&mut packets[range.clone()]),
                    Feed::Stage(i) => results[*i].take().expect("a stage feeds one port"),
                })
                .collect();
            let mut out = Output::default();
            let watermark = stage.run(commit, arrived, &mut out)?;
            errors.append(&mut out.errors);
            self.news += out.deltas.iter().map(Delta::len).sum::<usize>() * ROW_BYTES;
            results.push(Some(Arrived { deltas: out.deltas, watermark }));
        }
        let last = results.pop().flatten().expect("a task has a stage");
        if self.holding.is_stale(self.news) {
            self.settle();
        }
        // Whoever sees the result sees what it waits for, and what is missing in it.
        due.store(self.due().0, Ordering::Release);
        if !errors.is_empty() {
            supervisor.rows_failed(errors);
            if supervisor.stopped() {
                return Ok(());
            }
        }
        made.extend(last.deltas);
        Ok(self.sender.send(commit, made, last.watermark)?)
    }

    /// Folds what the first commit finds, a part at a time; returns what comes out before the
    /// commit is complete.
    fn read_past(
        &mut self,
        past: Vec<(usize, Past)>,
        at: Timestamp,
        supervisor: &dyn Supervisor,
        errors: &mut Vec<RowError>,
    ) -> super::Result<Vec<Delta>> {
        let mut made = Vec::new();
        for (channel, past) in past {
            if supervisor.stopped() {
                break;
            }
            let deltas = past.read()?;
            self.news += deltas.iter().map(Delta::len).sum::<usize>() * ROW_BYTES;
            made.extend(self.fold(channel, deltas, at, errors)?);
            if self.holding.is_stale(self.news) {
                self.settle();
            }
        }
        Ok(made)
    }

    /// Folds some rows of a commit, of one channel, through all stages; returns what comes out
    /// before the commit is complete.
    fn fold(
        &mut self,
        channel: usize,
        deltas: Vec<Delta>,
        at: Timestamp,
        errors: &mut Vec<RowError>,
    ) -> Result<Vec<Delta>> {
        let mut deltas = Some(deltas);
        let mut results: Vec<Option<Vec<Delta>>> = Vec::with_capacity(self.stages.len());
        for stage in &mut self.stages {
            let mut out = Output::default();
            for port in 0..stage.ports.len() {
                let arrived = match &stage.ports[port].feed {
                    Feed::Channels(range) => deltas.take_if(|_| range.contains(&channel)),
                    Feed::Stage(i) => results[*i].take(),
                };
                stage.fold(port, arrived.unwrap_or_default(), at, &mut out)?;
            }
            errors.append(&mut out.errors);
            results.push(Some(out.deltas));
        }
        Ok(results.pop().flatten().expect("a task has a stage"))
    }
}

/// Joins the packets of a port's channels, in order of the channels.
fn gather(packets: &mut [Option<Packet>]) -> Arrived {
    let mut deltas: Vec<Delta> = Vec::new();
    let mut watermark = Watermark::MAX;
    for packet in packets.iter_mut().filter_map(Option::take) {
        watermark = watermark.min(packet.watermark);
        deltas.extend(packet.deltas);
    }
    Arrived { deltas, watermark }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::packet::Commit;
    use super::super::pool::Pool;
    use super::super::publication::{Publication, Shape};
    use super::super::stage::{Order, PortState};
    use super::*;
    use crate::delta::pretty::{parse, schema};
    use crate::operators::{Operator, Port};
    use crate::planner::plan::{Clock, Kind};
    use crate::runtime::content::Content;
    use crate::time::Position;

    /// An operator that panics at its second commit.
    struct Breaks(u32);

    impl Operator for Breaks {
        fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
            assert!(self.0 == 0, "it breaks");
            self.0 += 1;
            out.push(delta);
            Ok(())
        }
    }

    /// Suspends by ending the result.
    struct Owner(Arc<Publication>, AtomicBool);

    impl Supervisor for Owner {
        fn rows_failed(&self, _: Vec<RowError>) {}

        fn suspend(&self, fault: Fault) {
            self.1.store(true, Ordering::Release);
            self.0.fail(&fault);
        }

        fn stopped(&self) -> bool {
            self.1.load(Ordering::Acquire)
        }

        fn account(&self) -> &Arc<Account> {
            self.0.account()
        }
    }

    fn task(pool: &Pool) -> (Arc<Task>, Arc<Publication>) {
        let schema = schema("v:int8");
        let content = Content::relation(Arc::clone(&schema), false).unwrap();
        let room = Arc::default();
        let (kind, clock) = (Kind::Relation, Clock::Arrival);
        let shape = Shape { kind, clock, ordered: false, late: 0 };
        let account = Account::unlimited();
        let publication = Publication::new(shape, 1, content, room, account);
        let port = PortState::new(Feed::Channels(0..1), true, schema);
        let stages = vec![Stage::new(Box::new(Breaks(0)), vec![port], Order::Commits)];
        let sender = Sender::Result { publication: Arc::clone(&publication), shard: 0 };
        let owner = Arc::new(Owner(Arc::clone(&publication), AtomicBool::new(false)));
        (Task::new(1, stages, sender, pool.ready(), owner), publication)
    }

    #[test]
    fn a_panic_ends_its_query_and_the_worker_goes_on() {
        let pool = Pool::start(1).unwrap();
        let (first, broken) = task(&pool);
        let (second, sound) = task(&pool);
        let commit = |n| {
            let commit = Commit { position: Position(n), time: Timestamp(1) };
            let deltas = vec![parse("w | ts | v:int8\n+1 | 1 | 7")];
            Packet { commit, watermark: Watermark::MIN, deltas }
        };
        let (sender, answers) = std::sync::mpsc::channel();
        for (task, publication, commits) in [(&first, &broken, 2), (&second, &sound, 1)] {
            let last = Commit { position: Position(commits), time: Timestamp(1) };
            publication.expect(last);
            let sender = sender.clone();
            publication.when_current(Box::new(move |state| {
                sender.send(state.map(|_| ()).map_err(Clone::clone)).unwrap();
            }));
            (1..=commits).for_each(|n| task.deliver(0, commit(n)));
            let answer = answers.recv().unwrap();
            let fault = Fault {
                sqlstate: crate::error::SqlState::INTERNAL_ERROR,
                message: "internal error: it breaks".to_owned(),
            };
            assert_eq!(answer, if commits == 2 { Err(fault) } else { Ok(()) });
        }
        pool.stop();
    }
}
