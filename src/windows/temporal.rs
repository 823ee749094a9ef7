//! Temporal filters: rows that come and go by times of their own.
//!
//! # Semantics
//! A row is there at instant τ if it is in the input and `from <= τ < until`, bounds that are
//! functions of the row ([`Bound`]). Linear: an insertion at `ts` is `+row` at `max(ts, from)` and
//! `-row` at `until`; a retraction is the same with the signs exchanged, so it cancels what is
//! still to come. A row with a NULL bound is never there.
//!
//! ```text
//!   WHERE now() < ts + 3      ts   1   2   3   4   5   6
//!                             a    [-----------)              1+a  4-a
//!                             b    retracted at 2: 2-b, and 4+b cancels 4-b
//! ```
//!
//! # Clocks
//! On the EVENT clock τ is event time: a change is emitted when the watermark has passed it. On the
//! ARRIVAL clock τ is the time of the commit at hand, and [`Operator::due`] says when the next one
//! is needed if none comes by itself.
//!
//! # State
//! The changes that are to come, shared with the batches they came in. Freed when they are due.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::physical_expr::PhysicalExpr;

use super::future::Future;
use crate::delta::{Delta, Instants};
use crate::operators::evaluate::Expressions;
use crate::operators::{Instantwise, Operator, Output, Port, Result};
use crate::storage::Visit;
use crate::time::{Timestamp, Watermark};

/// What an instant e says of a row's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It begins at e.
    From,
    /// It begins after e.
    After,
    /// It ends before e.
    Until,
    /// It ends with e.
    Through,
}

/// Whose time a temporal filter compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Event time, as the watermark tells.
    Event,
    /// The time of commits.
    Commits,
}

/// Keeps rows while time is within their lifetime.
pub struct TemporalFilter {
    bounds: Expressions,
    kinds: Vec<Bound>,
    time: Time,
    future: Future,
}

impl TemporalFilter {
    /// Every row stands for itself.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// A filter without rows. Bounds are timestamps in microseconds.
    pub fn new(bounds: Vec<(Arc<dyn PhysicalExpr>, Bound)>, time: Time) -> Self {
        let (exprs, kinds): (Vec<_>, Vec<_>) = bounds.into_iter().unzip();
        Self { bounds: Expressions::new(exprs), kinds, time, future: Future::default() }
    }

    /// Begin and end of a row's lifetime; `None` if it has none.
    fn lifetime(&self, columns: &[ArrayRef], row: usize) -> Option<(i64, i64)> {
        let (mut from, mut until) = (i64::MIN, i64::MAX);
        for (column, kind) in columns.iter().zip(&self.kinds) {
            if column.is_null(row) {
                return None;
            }
            let at = column.as_primitive::<TimestampMicrosecondType>().value(row);
            match kind {
                Bound::From => from = from.max(at),
                Bound::After => from = from.max(at.saturating_add(1)),
                Bound::Until => until = until.min(at),
                Bound::Through => until = until.min(at.saturating_add(1)),
            }
        }
        Some((from, until))
    }
}

impl Operator for TemporalFilter {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let (delta, columns) = self.bounds.evaluate(delta, out)?;
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for row in 0..delta.len() {
            let ts = delta.ts_at(row).0;
            let lifetime = self.lifetime(&columns, row);
            let there = lifetime.map(|(from, until)| (from.max(ts), until));
            let there = there.filter(|(from, until)| from < until);
            starts.push(there.map(|(from, _)| from));
            ends.push(there.map(|(_, until)| until).filter(|until| *until < i64::MAX));
        }
        let at_once = |row: usize| starts[row] == Some(delta.ts_at(row).0);
        let at_once: BooleanArray = (0..delta.len()).map(|row| Some(at_once(row))).collect();
        let later = starts.iter().zip(at_once.values()).map(|(at, now)| at.filter(|_| !now));
        self.future.add(moved(&delta, later.collect())?)?;
        self.future.add(moved(&delta, ends)?.negate())?;
        out.push(delta.filter(&at_once)?);
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        if let Some(due) = self.future.take_due(Watermark(at.plus(1)))? {
            out.push(if self.time == Time::Commits { due.at(at) } else { due });
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        if self.time == Time::Event
            && let Some(due) = self.future.take_due(watermark)?
        {
            out.push(due);
        }
        Ok(())
    }

    fn due(&self) -> Option<Timestamp> {
        match self.time {
            Time::Event => None,
            Time::Commits => self.future.next(),
        }
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.future);
    }
}

/// Lets changes take effect at other times; those without one are left out.
pub(super) fn moved(delta: &Delta, times: Vec<Option<i64>>) -> Result<Delta> {
    let keep: BooleanArray = times.iter().map(|time| Some(time.is_some())).collect();
    let times = TimestampMicrosecondArray::from_iter_values(times.into_iter().flatten());
    let kept = delta.filter(&keep)?;
    Ok(Delta::new(kept.rows().clone(), Instants::Each(times), kept.weights().clone()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::operators::testing::{Emitted, expr, hand_over, run, schema};

    fn filter(bounds: &[(&str, Bound)], time: Time) -> TemporalFilter {
        let schema = schema("s:text | b:timestamp | e:timestamp");
        let bounds = bounds.iter().map(|(sql, kind)| (expr(&schema, sql), *kind));
        TemporalFilter::new(bounds.collect(), time)
    }

    const ROWS: &str = " w | ts | s:text | b:timestamp | e:timestamp
        +1 | 1  | a      | 0    | 4
        +1 | 1  | b      | 3    | 9
        +1 | 2  | c      | 5    | 5
        +1 | 2  | d      | NULL | 9
        -1 | 3  | a      | 0    | 4
        +1 | 7  | e      | 0    | 6";

    #[test]
    fn rows_live_from_one_bound_until_the_other() {
        let bounds = [("b", Bound::From), ("e", Bound::Until)];
        let emitted = run(&mut filter(&bounds, Time::Event), &[ROWS], Some(20)).text();
        expect![[r#"
             w | ts | s | b | e
            +1 | 1  | a | 0 | 4
            -1 | 3  | a | 0 | 4
            +1 | 3  | b | 3 | 9
            -1 | 9  | b | 3 | 9
        "#]]
        .assert_eq(&emitted);
    }

    #[test]
    fn bounds_may_belong_to_the_lifetime() {
        let bounds = [("b", Bound::After), ("e", Bound::Through)];
        let emitted = run(&mut filter(&bounds, Time::Event), &[ROWS], Some(20)).text();
        expect![[r#"
             w | ts | s | b | e
            +1 | 1  | a | 0 | 4
            -1 | 3  | a | 0 | 4
            +1 | 4  | b | 3 | 9
            -1 | 10 | b | 3 | 9
        "#]]
        .assert_eq(&emitted);
    }

    #[test]
    fn commits_bring_what_is_due_and_the_next_one_is_announced() {
        let mut op = filter(&[("b", Bound::From), ("e", Bound::Until)], Time::Commits);
        let mut emitted = Emitted::default();
        let row = " w | ts | s:text | b:timestamp | e:timestamp\n+1 | 1 | b | 3 | 9";
        emitted.delta(&mut op, 0, row).instant(&mut op, 1);
        assert_eq!(op.due(), Some(Timestamp(3)));
        emitted.instant(&mut op, 5);
        assert_eq!(op.due(), Some(Timestamp(9)));
        let mut next = filter(&[("b", Bound::From), ("e", Bound::Until)], Time::Commits);
        hand_over(&mut op, &mut next);
        emitted.instant(&mut next, 9);
        assert_eq!(next.due(), None);
        let expected = " w | ts | s | b | e\n+1 | 5  | b | 3 | 9\n-1 | 9  | b | 3 | 9\n";
        assert_eq!(emitted.text(), expected);
    }
}
