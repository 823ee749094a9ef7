//! The result of a query: gathers its shards per commit, keeps the content, feeds readers.
//!
//! # Semantics
//! The elements of a stream stand in an order that does not depend on shards: that of arrival, or
//! that of their times and values. A commit becomes visible when all shards have brought it. Then,
//! in this order: requests that
//! wait for an
//! earlier commit have been answered, the content changes, subscriptions and downstream queries get
//! the
//! change, and requests for this commit are answered. So a reader sees exactly one log position.
//!
//! A query that replaces another one publishes nothing until it has its predecessor's readers and
//! last content. Its first commit then is the difference of the two contents, at one time, and
//! from there on its own changes follow.
//!
//! # Invariants
//! 1. Commits become visible in order.
//! 2. `expected` is raised under the hub's lock, in the order of commits; a request that is made
//!    under that lock
//!    is answered at exactly that position.
//! 3. The hub's lock is never taken from here.

mod past;
mod saved;
mod succession;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arrow::datatypes::SchemaRef;
use tokio::sync::Notify;

use super::changes::Changes;
use super::content::Content;
use super::history::{Retained, Size};
use super::job::{Fault, Job};
use super::memory::{Account, Holding, ROW_BYTES};
use super::packet::{Commit, Packet};
use super::read::Read;
use super::snapshot::Snapshot;
use super::subscription::Feed;
use crate::delta::Delta;
use crate::operators::Result;
use crate::planner::plan::{Clock, Kind, Plan};
use crate::sql::catalog::Oid;
use crate::time::{Position, Timestamp, Watermark};

pub use succession::Inheritance;

type Request = Box<dyn FnOnce(std::result::Result<&mut State, &Fault>) + Send>;

/// What a publication holds.
pub struct State {
    /// Commits that not all shards have brought.
    pending: VecDeque<Partial>,
    /// Last commit handed to the query.
    expected: Commit,
    /// Last commit visible.
    commit: Commit,
    watermark: Watermark,
    content: Content,
    /// Its changes of late, if they are kept.
    changes: Option<Changes>,
    /// Elements that came, of a stream.
    elements: u64,
    /// Whether the first commit is left out of the result.
    skip_first: bool,
    shape: Shape,
    feeds: Vec<Arc<Feed>>,
    downstream: Vec<(Weak<Job>, Oid)>,
    requests: VecDeque<(Position, Request)>,
    inherited: Option<Snapshot>,
    /// Event time that a predecessor had reached, and changes that wait until it is passed: readers
    /// know that nothing from below follows, and get an instant whole.
    floor: Option<(Watermark, Vec<Delta>)>,
    fault: Option<Fault>,
    holding: Holding,
    /// Bytes, more or less, of rows that have come since it was looked at what is held.
    news: usize,
}

struct Partial {
    commit: Commit,
    missing: usize,
    watermark: Watermark,
    shards: Vec<Vec<Delta>>,
}

/// What a result is, and how its changes are brought.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What it is.
    pub kind: Kind,
    /// Clock of the times of its changes.
    pub clock: Clock,
    /// Whether elements of one instant already stand in an order that the shards cannot change.
    pub ordered: bool,
    /// For how long after an instant of event time has closed the last one may be corrected.
    pub late: i64,
}

impl Shape {
    /// That of a plan's result.
    pub fn of(plan: &Plan) -> Self {
        let (properties, in_time) = (&plan.root.properties, plan.result_clock == Clock::Event);
        let corrected = in_time && plan.kind == Kind::Relation;
        Self {
            kind: plan.kind,
            clock: plan.result_clock,
            ordered: properties.ordered,
            late: if corrected { properties.late } else { 0 },
        }
    }
}

/// How far a result is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Event time reached.
    pub watermark: Watermark,
    /// Rows held.
    pub rows: usize,
    /// Elements that came, of a stream.
    pub elements: u64,
    /// Those that are retained.
    pub retained: Size,
}

/// The result of a query.
pub struct Publication {
    schema: SchemaRef,
    shape: Shape,
    shards: usize,
    account: Arc<Account>,
    state: Mutex<State>,
    in_flight: AtomicU64,
    room: Arc<Notify>,
}

impl Publication {
    /// The empty result of a query that runs on so many shards. `room` is told whenever a commit is
    /// through.
    pub fn new(
        shape: Shape,
        shards: usize,
        content: Content,
        room: Arc<Notify>,
        account: Arc<Account>,
    ) -> Arc<Self> {
        let schema = Arc::clone(content.schema());
        let none = Commit { position: Position(0), time: Timestamp::MIN };
        let state = State {
            pending: VecDeque::new(),
            expected: none,
            commit: none,
            watermark: Watermark::MIN,
            content,
            changes: None,
            elements: 0,
            skip_first: false,
            shape,
            feeds: Vec::new(),
            downstream: Vec::new(),
            requests: VecDeque::new(),
            inherited: None,
            floor: None,
            fault: None,
            holding: Holding::new(&account),
            news: 0,
        };
        let in_flight = AtomicU64::new(0);
        Arc::new(Self { schema, shape, shards, account, state: Mutex::new(state), in_flight, room })
    }

    /// The row type.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the query holds.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// What the result is, and how its changes are brought.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Keeps the changes, for readers of the past.
    pub fn keep_changes(&self, changes: Changes) {
        self.lock().changes = Some(changes);
    }

    /// Leaves what the query finds at its start out of its result.
    pub fn skip_first(&self) {
        self.lock().skip_first = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a commit is on its way. Called under the hub's lock.
    pub fn expect(&self, commit: Commit) {
        let mut state = self.lock();
        state.expected = commit;
        if state.fault.is_none() {
            self.in_flight.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The last commit that the query was told of.
    pub fn expected(&self) -> Position {
        self.lock().expected.position
    }

    /// Whether a subscription waits for a commit at `next`.
    pub fn due(&self, next: Timestamp) -> bool {
        if self.shape.clock == Clock::Event {
            return false;
        }
        let state = self.lock();
        let (known, next) = (state.expected.time.plus(1), next.plus(1));
        state.feeds.iter().any(|feed| feed.waits_within(known, next))
    }

    /// Number of commits on their way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Takes a shard's part of a commit.
    pub fn deliver(&self, shard: usize, packet: Packet) -> Result<()> {
        let mut state = self.lock();
        if state.fault.is_some() {
            return Ok(());
        }
        let partial = self.partial(&mut state, packet.commit);
        partial.missing -= 1;
        partial.watermark = partial.watermark.min(packet.watermark);
        partial.shards[shard] = packet.deltas;
        self.publish_complete(&mut state)
    }

    /// The gathered parts of a commit.
    fn partial<'a>(&self, state: &'a mut State, commit: Commit) -> &'a mut Partial {
        let found = state.pending.iter().position(|p| p.commit == commit);
        let index = found.unwrap_or_else(|| {
            state.pending.push_back(Partial {
                commit,
                missing: self.shards,
                watermark: Watermark::MAX,
                shards: vec![Vec::new(); self.shards],
            });
            state.pending.len() - 1
        });
        &mut state.pending[index]
    }

    /// Makes the commits visible that all shards have brought.
    fn publish_complete(&self, state: &mut State) -> Result<()> {
        while state.pending.front().is_some_and(|p| p.missing == 0) {
            let partial = state.pending.pop_front().expect("there is a front");
            self.publish(state, partial)?;
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            self.room.notify_waiters();
        }
        Ok(())
    }

    /// Makes a commit visible.
    fn publish(&self, state: &mut State, partial: Partial) -> Result<()> {
        let deltas: Vec<Delta> = partial.shards.into_iter().flatten().collect();
        let mut delta = Delta::concat(&self.schema, &deltas)?;
        if self.shape.clock == Clock::Arrival {
            delta = delta.at(partial.commit.time);
        }
        if self.shape.late > 0 {
            delta = delta.not_before(state.watermark.last_closed());
        }
        if std::mem::take(&mut state.skip_first) {
            delta = Delta::empty(Arc::clone(&self.schema));
        }
        if let Kind::Stream { closed } = self.shape.kind {
            delta = delta.repeated()?;
            if closed || !self.shape.ordered {
                delta = delta.by_instant_and_row()?;
            }
            state.elements += delta.len() as u64;
        }
        let watched = !state.feeds.is_empty() || !state.downstream.is_empty();
        state.content.apply(&delta, partial.commit.time)?;
        state.remember(&delta, partial.commit, partial.watermark)?;
        state.news += delta.len() * ROW_BYTES;
        if state.holding.is_stale(state.news) {
            state.settle();
        }
        state.commit = partial.commit;
        state.watermark = match self.shape {
            // No later commit has an earlier time.
            Shape { kind: Kind::Stream { .. }, clock: Clock::Arrival, .. } => {
                Watermark(partial.commit.time.plus(1))
            }
            _ => partial.watermark,
        };
        if let Some(inherited) = state.inherited.take() {
            delta = self.succeed(state, &inherited, delta)?;
        }
        delta = self.above_floor(state, delta)?;
        if self.shape.kind == Kind::Relation && watched && !delta.is_empty() {
            delta = delta.by_instant()?.consolidate()?;
        }
        let progress = self.progress(state);
        state.feeds.retain(|feed| feed.push(&delta, progress, partial.commit));
        state.downstream.retain(|(job, oid)| match job.upgrade() {
            None => false,
            Some(job) => {
                let deltas = if delta.is_empty() { vec![] } else { vec![delta.clone()] };
                let (commit, watermark) = (partial.commit, state.watermark);
                match self.shape.kind {
                    Kind::Relation => job.enter(*oid, &Packet { commit, watermark, deltas }),
                    Kind::Stream { .. } => {
                        let arrived = deltas.into_iter().map(|d| Retained::new(d, commit.time));
                        let arrived: Vec<Retained> = arrived.collect();
                        job.enter_stream(*oid, commit, watermark, &arrived);
                    }
                }
                true
            }
        });
        self.answer(state);
        Ok(())
    }

    /// Nothing before this time follows.
    fn progress(&self, state: &State) -> Timestamp {
        match self.shape.clock {
            Clock::Event => state.watermark.0,
            Clock::Arrival => state.commit.time.plus(1),
        }
    }

    fn answer(&self, state: &mut State) {
        while state.requests.front().is_some_and(|(at, _)| *at <= state.commit.position) {
            let (_, request) = state.requests.pop_front().expect("there is a front");
            request(Ok(state));
        }
    }

    /// Calls `request` at the last commit that was announced. Called under the hub's lock.
    pub fn when_current(&self, request: Request) {
        let mut state = self.lock();
        if let Some(fault) = state.fault.clone() {
            request(Err(&fault));
        } else if state.commit.position >= state.expected.position {
            request(Ok(&mut state));
        } else {
            let at = state.expected.position;
            state.requests.push_back((at, request));
        }
    }

    /// Calls `request` at once, whatever is on its way: for what is to see every commit to come.
    pub fn with_state(&self, request: impl FnOnce(&mut State)) {
        request(&mut self.lock());
    }

    /// Ends the query: readers get the fault, and queries that read it are suspended too.
    pub fn fail(&self, fault: &Fault) {
        let mut state = self.lock();
        if state.fault.is_some() {
            return;
        }
        state.fault = Some(fault.clone());
        state.pending.clear();
        self.in_flight.store(0, Ordering::Release);
        for (_, request) in std::mem::take(&mut state.requests) {
            request(Err(fault));
        }
        let feeds = std::mem::take(&mut state.feeds);
        let downstream = std::mem::take(&mut state.downstream);
        drop(state);
        self.room.notify_waiters();
        Inheritance { content: None, feeds, downstream }.fail(fault);
    }

    /// Spills so many bytes of the content, if it has them; says how many, nothing if it is busy.
    pub(in crate::runtime) fn spill(&self, bytes: usize) -> Option<usize> {
        let mut state = self.state.try_lock().ok()?;
        let State { content, holding, .. } = &mut *state;
        Some(holding.spill(bytes, |visit| content.stores(visit)))
    }

    /// Returns what ended the query, if something did.
    pub fn fault(&self) -> Option<Fault> {
        self.lock().fault.clone()
    }

    /// What the system relations show of it.
    pub fn status(&self) -> Progress {
        let state = self.lock();
        let (rows, retained) = (state.content.row_count(), state.content.size());
        Progress { watermark: state.watermark, rows, elements: state.elements, retained }
    }
}

impl State {
    /// Looks at what the content holds, and spills what is too much.
    fn settle(&mut self) {
        self.news = 0;
        self.holding.settle(|visit| self.content.stores(visit));
    }

    /// Returns the content.
    pub fn snapshot(&mut self) -> super::Result<Snapshot> {
        let (rows, weights) = self.content.snapshot()?;
        Ok(Snapshot { rows, weights, watermark: self.watermark, commit: self.commit })
    }

    /// Returns what a reader gets: the elements of a stream, or the content of a relation.
    pub fn read(&mut self) -> super::Result<Read> {
        match self.shape.kind {
            Kind::Relation => Ok(Read::View(self.snapshot()?)),
            Kind::Stream { .. } => Ok(Read::Stream(self.content.retained(), self.watermark)),
        }
    }

    /// Tells a query of a commit that does not concern this one.
    pub fn pass_by(&self, view: Oid, job: &Job, commit: Commit) {
        let watermark = match self.shape.clock {
            Clock::Arrival => Watermark(commit.time.plus(1)),
            Clock::Event => self.watermark,
        };
        match self.shape.kind {
            Kind::Stream { .. } => job.enter_stream(view, commit, watermark, &[]),
            Kind::Relation => job.enter(view, &Packet::empty(commit, self.watermark)),
        }
    }

    /// Feeds a subscription from the next commit on.
    pub fn subscribe(&mut self, feed: Arc<Feed>) {
        self.feeds.push(feed);
    }

    /// Feeds a query from the next commit on.
    pub fn attach(&mut self, job: Weak<Job>, oid: Oid) {
        self.downstream.push((job, oid));
    }
}
