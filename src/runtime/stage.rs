//! One operator within a task: watermarks, instants and rows held back, once for all operators.
//!
//! # Semantics
//! A stage of a query on the EVENT clock that keeps state is *ordered*: its operator sees instants
//! of event
//! time complete and in order. Rows whose instant the watermark of all ports has not passed are
//! held back.
//! Changes of timeless ports (tables, ARRIVAL views) take effect at the first instant released
//! after them:
//! the table as of the log position that releases the instant (LANGUAGE 4.5).
//! All other stages see a commit as one instant.
//!
//! A change of an instant that the watermark has passed corrects the last one that it has passed
//! ([`Late`]): what instants before that have been stands, and so do tables as of that instant.
//!
//! # Invariants
//! 1. Among equal instants rows keep the order in which they arrived (seq), by stable sorting.
//! 2. After a call with watermark W nothing older than W is held.
//! 3. Instants do not fall: that which is corrected is the last one.

use arrow::array::{BooleanArray, UInt32Array};
use arrow::datatypes::SchemaRef;

use super::packet::Commit;
use crate::delta::{Delta, Instants};
use crate::operators::{Instantwise, Operator, Output, Port, Result, Waiting};
use crate::storage::{Deltas, Value, Visit};
use crate::time::{Timestamp, Watermark, WatermarkMeet};

/// Where a port's rows come from.
#[derive(Clone, Debug)]
pub enum Feed {
    /// The task's channels of these numbers.
    Channels(std::ops::Range<usize>),
    /// The output of an earlier stage of the task.
    Stage(usize),
}

/// A port of a stage.
pub struct PortState {
    /// Where its rows come from.
    pub feed: Feed,
    /// Whether its changes carry no event time.
    pub timeless: bool,
    /// Row type.
    pub schema: SchemaRef,
    held: Vec<Delta>,
}

impl PortState {
    /// A port.
    pub fn new(feed: Feed, timeless: bool, schema: SchemaRef) -> Self {
        Self { feed, timeless, schema, held: Vec::new() }
    }
}

/// What becomes of changes of instants that have closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// There are none.
    Never,
    /// They keep their times: windows know what is left of a row's life.
    OwnTime,
    /// They correct the last closed instant.
    LastClosed,
    /// They come with the first open instant: what a stream has said is final.
    FirstOpen,
}

/// How a stage sees time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Instants of event time, complete and in order.
    Instants(Instantwise, Late),
    /// A commit is one instant.
    Commits,
    /// Changes pass as they come, with their times: the operator keeps no state.
    Passing,
}

/// One operator within a task.
pub struct Stage {
    /// The operator.
    pub operator: Box<dyn Operator>,
    /// Its inputs.
    pub ports: Vec<PortState>,
    order: Order,
    meet: WatermarkMeet,
    started: bool,
}

/// What came in on one port in a commit.
pub struct Arrived {
    /// Changes.
    pub deltas: Vec<Delta>,
    /// Progress of event time.
    pub watermark: Watermark,
}

impl Late {
    /// Changes at the instants at which they take effect where `watermark` is known.
    fn placed(self, delta: Delta, watermark: Watermark) -> Delta {
        match self {
            Late::Never | Late::OwnTime => delta,
            Late::LastClosed => delta.not_before(watermark.last_closed()),
            Late::FirstOpen => delta.not_before(watermark.0),
        }
    }

    /// Whether some of these changes are of instants that have closed.
    fn corrects(self, delta: &Delta, watermark: Watermark) -> bool {
        let closed = |row: usize| watermark.closes(delta.ts_at(row));
        self != Late::Never && (0..delta.len()).any(closed)
    }
}

impl Stage {
    /// A stage that has seen nothing yet.
    pub fn new(operator: Box<dyn Operator>, ports: Vec<PortState>, order: Order) -> Self {
        let meet = WatermarkMeet::new(ports.len());
        Self { operator, ports, order, meet, started: false }
    }

    /// Folds one commit; returns the watermark after it.
    pub fn run(
        &mut self,
        commit: Commit,
        arrived: Vec<Arrived>,
        out: &mut Output,
    ) -> Result<Watermark> {
        let before = self.meet.get();
        let mut moved = None;
        let mut deltas = Vec::with_capacity(arrived.len());
        for (port, arrived) in arrived.into_iter().enumerate() {
            // A table, or a view on another clock, never holds an instant back (LANGUAGE 4.1).
            let timeless = self.ports[port].timeless && matches!(self.order, Order::Instants(..));
            let watermark = if timeless { Watermark::MAX } else { arrived.watermark };
            moved = self.meet.advance(port, watermark).or(moved);
            deltas.push(arrived.deltas);
        }
        match self.order {
            Order::Passing => self.pass(deltas, out)?,
            Order::Commits => self.commit(commit.time, deltas, out)?,
            Order::Instants(how, late) => {
                let mut corrects = false;
                for (port, deltas) in self.ports.iter_mut().zip(deltas) {
                    for delta in deltas {
                        let delta = if port.timeless { delta } else { late.placed(delta, before) };
                        corrects |= !port.timeless && late.corrects(&delta, before);
                        port.held.push(delta);
                    }
                }
                if corrects || moved.is_some() {
                    self.instants(how, (before, self.meet.get()), out)?;
                }
            }
        }
        if let Some(watermark) = moved {
            self.operator.on_watermark(watermark, out)?;
        }
        self.started = true;
        Ok(self.meet.get())
    }

    /// Takes some rows of a commit that is not complete yet.
    pub fn fold(
        &mut self,
        port: usize,
        deltas: Vec<Delta>,
        at: Timestamp,
        out: &mut Output,
    ) -> Result<()> {
        if let Order::Instants(..) = self.order {
            self.ports[port].held.extend(deltas);
            return Ok(());
        }
        for delta in deltas {
            let delta = if self.order == Order::Commits { delta.at(at) } else { delta };
            self.operator.on_delta(Port(port), delta, out)?;
        }
        Ok(())
    }

    /// What is held until the watermark moves on.
    pub fn waiting(&self) -> Waiting {
        let held = self.ports.iter().flat_map(|port| &port.held).map(|delta| Waiting {
            rows: delta.len(),
            until: (0..delta.len()).map(|i| delta.ts_at(i).plus(1)).min(),
        });
        held.fold(self.operator.waiting(), Waiting::and)
    }

    /// Shows what it keeps from commit to commit.
    pub(super) fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut Value(&mut self.meet));
        visit(&mut Value(&mut self.started));
        self.ports.iter_mut().for_each(|port| visit(&mut Deltas(&mut port.held)));
        self.operator.stores(visit);
    }

    fn pass(&mut self, deltas: Vec<Vec<Delta>>, out: &mut Output) -> Result<()> {
        for (port, deltas) in deltas.into_iter().enumerate() {
            for delta in deltas {
                self.operator.on_delta(Port(port), delta, out)?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, at: Timestamp, deltas: Vec<Vec<Delta>>, out: &mut Output) -> Result<()> {
        let changed = deltas.iter().any(|port| !port.is_empty());
        for (port, deltas) in deltas.into_iter().enumerate() {
            for delta in deltas {
                self.operator.on_delta(Port(port), delta.at(at), out)?;
            }
        }
        let due = self.operator.due().is_some_and(|due| due <= at);
        if changed || due || !self.started {
            self.operator.on_instant(at, out)?;
        }
        Ok(())
    }

    /// Releases what the watermark has passed on its way, in order of instants.
    fn instants(
        &mut self,
        how: Instantwise,
        (before, watermark): (Watermark, Watermark),
        out: &mut Output,
    ) -> Result<()> {
        let mut released = Vec::with_capacity(self.ports.len());
        for port in &mut self.ports {
            released.push(port.release(before, watermark)?);
        }
        let last = released.iter().filter_map(last_instant).max();
        match (how, last) {
            (_, None) => Ok(()),
            (Instantwise::Any, Some(last)) => {
                for (port, delta) in released.into_iter().enumerate() {
                    if !delta.is_empty() {
                        self.operator.on_delta(Port(port), delta, out)?;
                    }
                }
                self.operator.on_instant(last, out)
            }
            (Instantwise::One, Some(_)) => self.one_by_one(&released, out),
        }
    }

    fn one_by_one(&mut self, released: &[Delta], out: &mut Output) -> Result<()> {
        let mut next = vec![0; released.len()];
        loop {
            let head = |(port, delta): (usize, &Delta)| {
                (next[port] < delta.len()).then(|| delta.ts_at(next[port]))
            };
            let Some(at) = released.iter().enumerate().filter_map(head).min() else {
                return Ok(());
            };
            for (port, delta) in released.iter().enumerate() {
                let from = next[port];
                let end = end_of_instant(delta, from, at);
                if end > from {
                    let slice = delta.slice(from, end - from).at(at);
                    self.operator.on_delta(Port(port), slice, out)?;
                    next[port] = end;
                }
            }
            self.operator.on_instant(at, out)?;
        }
    }
}

/// Returns the end of the run of rows at instant `at` that starts at `from`.
fn end_of_instant(delta: &Delta, from: usize, at: Timestamp) -> usize {
    match delta.ts() {
        Instants::All(all) if *all == at && from < delta.len() => delta.len(),
        Instants::All(_) => from,
        Instants::Each(ts) => from + ts.values()[from..].partition_point(|t| *t <= at.0),
    }
}

fn last_instant(delta: &Delta) -> Option<Timestamp> {
    (!delta.is_empty()).then(|| delta.ts_at(delta.len() - 1))
}

impl PortState {
    /// Takes the held rows that `watermark` has passed, sorted by instant; those without time if
    /// it has moved.
    fn release(&mut self, before: Watermark, watermark: Watermark) -> Result<Delta> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(Delta::empty(SchemaRef::clone(&self.schema)));
        }
        let all = Delta::concat(&self.schema, &held)?;
        if self.timeless && before < watermark {
            return Ok(all.at(before.0));
        }
        if self.timeless {
            self.held.push(all);
            return Ok(Delta::empty(SchemaRef::clone(&self.schema)));
        }
        let ts = match all.ts() {
            Instants::All(at) if watermark.closes(*at) => return Ok(all),
            Instants::All(_) => {
                self.held.push(all);
                return Ok(Delta::empty(SchemaRef::clone(&self.schema)));
            }
            Instants::Each(ts) => ts.clone(),
        };
        let closed = |t: i64| watermark.closes(Timestamp(t));
        let mut order: Vec<u32> = Vec::with_capacity(ts.len());
        for (i, t) in (0u32..).zip(ts.values()) {
            if closed(*t) {
                order.push(i);
            }
        }
        if order.len() < ts.len() {
            let open: BooleanArray = ts.values().iter().map(|t| Some(!closed(*t))).collect();
            self.held.push(all.filter(&open)?);
        }
        let sorted = order.windows(2).all(|w| ts.value(w[0] as usize) <= ts.value(w[1] as usize));
        if sorted && order.len() == ts.len() {
            return Ok(all);
        }
        order.sort_by_key(|i| ts.value(*i as usize));
        Ok(all.take(&UInt32Array::from(order))?)
    }
}
