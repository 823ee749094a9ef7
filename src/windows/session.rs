//! SESSION: rows of a key that follow each other closely share a window.
//!
//! # Semantics
//! A session is a maximal run of rows of a key in which neighbours are less than `gap` apart. Its
//! window is `[window_start, window_end)`, from its first time to its last one plus `gap`, and
//! `window_time = window_end - 1`. Each row is emitted with the window of its session. A row that
//! comes or goes, early or late, may merge, prolong, shorten or split sessions; then all their rows
//! are retracted and come again with the new window. A row without time, or so late that its
//! window would not fit into time, is in no session.
//!
//! Of streams that are LATE TO OPEN WINDOWS, rows bring the watermark that they `met` if they came
//! late. They are in no session if one of them alone had been final by then, and leave sessions as
//! they are that were, even if these are near enough.
//!
//! ```text
//!   gap 5     1:a         4:b                       12:c                      8:d
//!   out       +(a,[1,6))  -(a,[1,6))                +(c,[12,17))  -(a,[1,9)) -(b,[1,9)) -(c,..)
//!                         +(a,[1,9)) +(b,[1,9))                   +a +b +c +d, all [1,17)
//! ```
//! Where only final sessions are wanted (`held`), nothing is emitted before the watermark closes a
//! session, and then each of its rows once.
//!
//! # State
//! The rows of each session, ordered by time, and its bounds. With a watermark that makes sessions
//! final (`closes`), a session is freed when it is.
//!
//! # Watermarks
//! A session is final once the watermark has reached its end plus `closes`: no row that could still
//! come is near enough. Held rows are emitted one tick before that time.
//!
//! # Cost
//! Per row a hash of the key and a search by time. A session whose bounds change is emitted whole,
//! once per instant, as its rows carry them; held ones are emitted once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::assign::{of_type, ticks};
use super::intervals::{Bounds, Intervals, around};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::operators::evaluate::Expressions;
use crate::operators::{Instantwise, Operator, Output, Port, Result, Waiting};
use crate::storage::{Deltas, OrderedRows, RowCodec, RowSet, Timers, Visit};
use crate::time::{Timestamp, Watermark};

/// What [`Sessions`] are to be found.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The row type of the input.
    pub input: SchemaRef,
    /// The time of a row: a timestamp or a BIGINT.
    pub time: Arc<dyn PhysicalExpr>,
    /// Rows that differ in these are in different sessions.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Distance from which a row starts a new session; positive.
    pub gap: i64,
    /// The watermark that a row met if it came late, of the time's type; NULL for others.
    pub met: Option<Arc<dyn PhysicalExpr>>,
    /// A session is final once the watermark has reached its end plus this; without it, never.
    pub closes: Option<i64>,
    /// Whether only final sessions are emitted.
    pub held: bool,
    /// The row type of the output: the input's and the three window columns.
    pub output: SchemaRef,
}

/// Rows with the windows of their sessions.
pub struct Sessions {
    options: SessionOptions,
    /// The time, then the keys, then the watermark that was met.
    expressions: Expressions,
    keys: RowSet,
    codec: RowCodec,
    /// By key: its rows by time; the bytes are the time, then the row.
    rows: OrderedRows,
    intervals: Intervals,
    /// Keys by the time at which one of their sessions may be final.
    timers: Timers,
    /// Rows of this round.
    pending: Vec<Delta>,
}

/// By key, time and slot of a row: the change of its weight at this instant.
type Changed = BTreeMap<(u32, i64, u32), i64>;

/// Times of keys that changed, first those that are not late, then by the watermark they met.
type Met = BTreeSet<(i64, u32, i64)>;

/// Rows to be emitted.
#[derive(Default)]
struct Lines {
    slots: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    weights: Vec<i64>,
    instants: Vec<i64>,
}

impl Sessions {
    /// What a session is at an instant depends on all its rows.
    pub const INSTANTS: Instantwise = Instantwise::One;

    /// No rows.
    pub fn new(options: SessionOptions) -> Result<Self> {
        let types = options.keys.iter().map(|key| key.data_type(&options.input));
        let keys = RowSet::new(types.collect::<std::result::Result<Vec<_>, _>>()?)?;
        let columns = options.input.fields().iter().map(|field| field.data_type().clone());
        let time = std::iter::once(Arc::clone(&options.time));
        Ok(Self {
            expressions: Expressions::new(
                time.chain(options.keys.iter().cloned()).chain(options.met.clone()),
            ),
            keys,
            codec: RowCodec::new(columns)?,
            rows: OrderedRows::default(),
            intervals: Intervals::new(options.gap),
            timers: Timers::default(),
            pending: Vec::new(),
            options,
        })
    }

    /// Adds the weights of rows; returns how those changed, and what they met.
    fn fold(&mut self, delta: Delta, out: &mut Output) -> Result<(Changed, Met)> {
        let (mut delta, mut columns) = self.expressions.evaluate(delta, out)?;
        let mut times = self.times(&columns)?;
        let taken: BooleanArray = times.iter().map(|times| Some(times.is_some())).collect();
        if taken.has_false() {
            delta = delta.filter(&taken)?;
            let kept = columns.iter().map(|column| arrow::compute::filter(column, &taken));
            columns = kept.collect::<std::result::Result<_, _>>()?;
            times.retain(Option::is_some);
        }
        let keys = self.keys.intern(&columns[1..=self.options.keys.len()], delta.len())?;
        let encoded = self.codec.encode(delta.rows().columns(), delta.len())?;
        let (mut changed, mut times_met, mut bytes) = (Changed::new(), Met::new(), Vec::new());
        for (row, (key, (time, met))) in keys.iter().zip(times.iter().flatten()).enumerate() {
            bytes.clear();
            bytes.extend_from_slice(&prefix(*time));
            bytes.extend_from_slice(encoded.get(row));
            let weight = delta.weight(row);
            let (slot, _) = self.rows.add(*key, &bytes, weight);
            *changed.entry((*key, *time, slot)).or_default() += weight;
            times_met.insert((*met, *key, *time));
        }
        Ok((changed, times_met))
    }

    /// The times of rows, with the watermarks that they met; nothing of a row that is in no
    /// session.
    fn times(&self, columns: &[ArrayRef]) -> Result<Vec<Option<(i64, i64)>>> {
        let (times, gap) = (ticks(&columns[0])?, self.options.gap);
        let met = columns.get(1 + self.options.keys.len()).map(ticks).transpose()?;
        let met =
            |row: usize| met.as_ref().filter(|met| met.is_valid(row)).map(|met| met.value(row));
        let of = |(row, time): (usize, Option<i64>)| {
            let (time, met) = (time?, met(row).unwrap_or(i64::MIN));
            time.checked_add(gap).is_some_and(|end| end > met).then_some((time, met))
        };
        Ok(times.iter().enumerate().map(of).collect())
    }

    /// Lets sessions follow the rows that came and went.
    fn settle(&mut self, changed: &Changed, met: &Met) {
        for &(met, key, time) in met {
            let before = |slot: u32| {
                let change = changed.get(&(key, time, slot)).copied().unwrap_or(0);
                self.rows.weight(slot) - change != 0
            };
            let was = self.between(key, time, time).any(before);
            let is = self.between(key, time, time).any(|slot| self.rows.weight(slot) != 0);
            if is && !was {
                self.intervals.come(key, time, met);
            } else if was && !is {
                let lives = |slot: &u32| self.rows.weight(*slot) != 0;
                let earlier = self.rows.of_before(key, &prefix(time)).find(lives);
                let later = self.between(key, time, i64::MAX).find(lives);
                let time_of = |slot: u32| time_of(self.rows.get(slot));
                let (earlier, later) = (earlier.map(time_of), later.map(time_of));
                self.intervals.go(key, time, earlier, later);
            }
        }
    }

    /// The slots of a key's rows in a span of time, both ends included.
    fn between(&self, key: u32, first: i64, last: i64) -> impl Iterator<Item = u32> + '_ {
        let inside = move |slot: &u32| time_of(self.rows.get(*slot)) <= last;
        self.rows.of_from(key, &prefix(first)).take_while(inside)
    }

    /// Lists what the instant at hand changes.
    fn lines(&self, changed: &Changed, (gone, born): (&Bounds, &Bounds)) -> Lines {
        let mut lines = Lines::default();
        let change = |key: u32, slot: u32| {
            let time = time_of(self.rows.get(slot));
            changed.get(&(key, time, slot)).copied().unwrap_or(0)
        };
        for (&(key, first), &last) in gone {
            for slot in self.between(key, first, last) {
                let before = self.rows.weight(slot) - change(key, slot);
                lines.add(slot, (first, last + self.options.gap), -before);
            }
        }
        for (&(key, first), &last) in born {
            for slot in self.between(key, first, last) {
                lines.add(slot, (first, last + self.options.gap), self.rows.weight(slot));
            }
        }
        for (&(key, time, slot), &change) in changed {
            let listed = around(gone, key, time).or_else(|| around(born, key, time)).is_some();
            if let Some((first, last)) = self.intervals.around(key, time).filter(|_| !listed) {
                lines.add(slot, (first, last + self.options.gap), change);
            }
        }
        lines
    }

    /// Builds the rows to be emitted.
    fn delta(&self, lines: Lines, at: Option<Timestamp>) -> Result<Delta> {
        let len = lines.slots.len();
        let rows = lines.slots.iter().map(|slot| &self.rows.get(*slot)[PREFIX..]);
        let mut columns = self.codec.decode(rows)?;
        let last = lines.ends.iter().map(|end| end - 1).collect();
        for values in [lines.starts, lines.ends, last] {
            let field = self.options.output.field(columns.len());
            columns.push(of_type(values, field.data_type())?);
        }
        let rows = batch(Arc::clone(&self.options.output), columns, len)?;
        let instants = match at {
            Some(at) => Instants::All(at),
            None => Instants::Each(TimestampMicrosecondArray::from(lines.instants)),
        };
        let weights = match lines.weights.iter().all(|weight| *weight == 1) {
            true => Weights::Ones,
            false => Weights::Each(Int64Array::from(lines.weights)),
        };
        Ok(Delta::new(rows, instants, weights))
    }

    /// Frees the rows and keys that are no more.
    fn clean(&mut self, changed: &Changed) {
        for (key, _, slot) in changed.keys() {
            if self.rows.weight(*slot) == 0 {
                self.rows.remove(*key, *slot);
            }
        }
        for (key, ..) in changed.keys() {
            self.forget_empty(*key);
        }
    }

    fn forget_empty(&mut self, key: u32) {
        if self.keys.contains(key) && self.rows.first(key).is_none() {
            self.keys.remove(key);
        }
    }

    /// Sets timers for new sessions.
    fn watch(&mut self, born: &Bounds) {
        for (&(key, _), &last) in born {
            if let Some(time) = self.final_at(last) {
                self.timers.add(time, key);
            }
        }
    }

    /// The watermark that makes a session final, if one does.
    fn final_at(&self, last: i64) -> Option<i64> {
        let at = Timestamp(last + self.options.gap).plus(self.options.closes?);
        (at != Timestamp::MAX).then_some(at.0)
    }

    /// Frees the sessions of a key that are final at a time; returns their rows if they are held.
    fn close(&mut self, key: u32, time: i64) -> Result<Option<Delta>> {
        let (mut lines, mut closed) = (Lines::default(), Vec::new());
        while let Some((first, last)) = self.intervals.first(key)
            && let Some(at) = self.final_at(last).filter(|at| *at <= time)
        {
            for slot in self.between(key, first, last) {
                lines.add(slot, (first, last + self.options.gap), self.rows.weight(slot));
                lines.instants.resize(lines.slots.len(), at - 1);
                closed.push(slot);
            }
            self.intervals.close(key, first);
        }
        let delta = self.options.held.then(|| self.delta(lines, None)).transpose()?;
        closed.into_iter().for_each(|slot| self.rows.remove(key, slot));
        self.forget_empty(key);
        Ok(delta)
    }
}

impl Lines {
    fn add(&mut self, slot: u32, (start, end): (i64, i64), weight: i64) {
        if weight != 0 {
            self.slots.push(slot);
            self.starts.push(start);
            self.ends.push(end);
            self.weights.push(weight);
        }
    }
}

impl Operator for Sessions {
    fn on_delta(&mut self, _: Port, delta: Delta, _: &mut Output) -> Result<()> {
        self.pending.push(delta);
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let delta = Delta::concat(&self.options.input, &self.pending)?;
        self.pending.clear();
        let (changed, met) = self.fold(delta, out)?;
        self.settle(&changed, &met);
        let (gone, born) = self.intervals.changes();
        if !self.options.held {
            out.push(self.delta(self.lines(&changed, (&gone, &born)), Some(at))?);
        }
        self.watch(&born);
        self.clean(&changed);
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        while let Some((time, key)) = self.timers.take_due(|t| watermark.0 >= Timestamp(t)) {
            if let Some(rows) = self.close(key, time)? {
                out.push(rows);
            }
        }
        Ok(())
    }

    fn waiting(&self) -> Waiting {
        if !self.options.held {
            return Waiting::default();
        }
        let until = self.intervals.lasts().filter_map(|last| self.final_at(last)).min();
        Waiting { rows: self.rows.len(), until: until.map(Timestamp) }
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        visit(&mut self.intervals);
        visit(&mut Deltas(&mut self.pending));
        visit(&mut self.timers);
        visit(&mut self.keys);
    }
}

/// Length of the time before a row.
const PREFIX: usize = 8;

/// A time as bytes in the order of times.
fn prefix(time: i64) -> [u8; PREFIX] {
    (time.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The time before a row.
fn time_of(bytes: &[u8]) -> i64 {
    let time = bytes.first_chunk::<PREFIX>().expect("every row begins with its time");
    (u64::from_be_bytes(*time) ^ (1 << 63)).cast_signed()
}
