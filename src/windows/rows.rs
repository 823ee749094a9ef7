//! Row windows: the last rows of a stream.
//!
//! # Semantics
//! `ROWS n` at instant τ holds the last n rows in (ts, seq) order, whatever their age. Only the net
//! effect of an instant is visible: a row that comes and goes within one is never seen. `ROWS n
//! SLIDE m` counts only whole batches of m rows.
//!
//! ```text
//!   ROWS 2          1:a  2:b  4:c            1+a   2+b   4-a +c
//!   ROWS 3 SLIDE 2  1:a  2:b  3:c  4:d       2+a +b      4-a +c +d
//! ```
//!
//! Row number q, from 0, comes when there are `V` rows, the first multiple of m above q, and goes
//! when there are `L`, the first multiple of m that is at least q + n + 1. The input is a stream: a
//! row of weight w counts w times, and retractions are ignored.
//!
//! # State
//! The last n rows (and up to m), in the batches in which they came; small ones are merged, and
//! what is mostly gone is copied, so that a few rows do not hold back a large batch.
//!
//! # Invariants
//! Rows come in the order of their numbers, and go in the same order. So both are ranges, and
//! nothing is searched.
//!
//! # Cost
//! Slices per batch and instant: work is proportional to the rows that come and go.

use std::ops::Range;

use arrow::array::{BooleanArray, TimestampMicrosecondArray, UInt32Array};

use super::late::late;
use super::queue::Queue;
use crate::delta::{Delta, Instants, Weights};
use crate::operators::{Instantwise, Operator, Output, Port, Result};
use crate::storage::{Deltas, Value, Visit};
use crate::time::{Timestamp, Watermark};

/// The last rows of a stream.
pub struct Rows {
    count: u64,
    every: u64,
    /// Rows that may still come or go.
    queue: Queue,
    /// Rows of this round.
    pending: Vec<Delta>,
    watermark: Watermark,
}

impl Rows {
    /// Every row goes at the instant of another one, so instants may come together.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// `ROWS count SLIDE every`; without SLIDE, `every` is 1.
    pub fn new(count: u64, every: u64) -> Self {
        assert!(every > 0, "a batch has rows");
        let (queue, pending, watermark) = (Queue::default(), Vec::new(), Watermark::MIN);
        Self { count, every, queue, pending, watermark }
    }

    /// Returns the number of rows that have come when there are `total` rows.
    fn come(&self, total: u64) -> u64 {
        total - total % self.every
    }

    /// Returns the number of rows that have gone when there are `total` rows.
    fn gone(&self, total: u64) -> u64 {
        self.come(total).saturating_sub(self.count)
    }

    /// Returns how many rows there must be for row `number` to come, and to go.
    fn turns(&self, number: u64) -> (u64, u64) {
        let multiple = |at_least: u64| at_least.div_ceil(self.every).saturating_mul(self.every);
        (multiple(number + 1), multiple((number + 1).saturating_add(self.count)))
    }

    /// Returns the rows of a range, each at the instant of the row that makes it come, or go.
    fn turned(&self, numbers: Range<u64>, seen: u64, goes: bool) -> Result<Option<Delta>> {
        let Some(rows) = self.queue.range(numbers.clone())? else { return Ok(None) };
        let (mut shown, mut instants) = (Vec::new(), Vec::new());
        for number in numbers {
            let (come, go) = self.turns(number);
            // A row that comes and goes within an instant is never seen.
            let at_once = come > seen
                && go <= self.queue.end()
                && self.queue.ts(come - 1) == self.queue.ts(go - 1);
            shown.push(!at_once);
            instants.push(self.queue.ts(if goes { go - 1 } else { come - 1 }));
        }
        let instants = Instants::Each(TimestampMicrosecondArray::from(instants));
        let rows = Delta::new(rows.rows().clone(), instants, Weights::Ones);
        Ok(Some(rows.filter(&BooleanArray::from(shown))?))
    }

    /// Puts late rows in their places among the last ones; what is no longer one of these goes.
    fn insert(&mut self, late: &Delta, out: &mut Output) -> Result<()> {
        assert!(self.every == 1, "the planner refuses batches of rows that come late");
        let kept = self.queue.range(self.gone(self.queue.end())..self.queue.end())?;
        let kept = kept.unwrap_or_else(|| Delta::empty(late.schema()));
        let all = Delta::concat(&late.schema(), &[kept.clone(), late.clone()])?;
        let mut order: Vec<u32> = (0..).take(all.len()).collect();
        // Stable: of equal times, what came before stays before.
        order.sort_by_key(|row| all.ts_at(*row as usize));
        let over = all.len().saturating_sub(usize::try_from(self.count).unwrap_or(usize::MAX));
        let (gone, last) = order.split_at(over);
        let is_late = |row: &&u32| **row as usize >= kept.len();
        let goes = UInt32Array::from_iter_values(gone.iter().filter(|row| !is_late(row)).copied());
        let comes = UInt32Array::from_iter_values(last.iter().filter(is_late).copied());
        let at = self.watermark.last_closed();
        out.push(all.take(&goes)?.at(at).negate());
        out.push(all.take(&comes)?.at(at));
        let end = self.queue.end() + u64::try_from(late.len()).expect("a length is a u64");
        self.queue.reset(all.take(&UInt32Array::from(last.to_vec()))?, end);
        Ok(())
    }
}

impl Operator for Rows {
    fn on_delta(&mut self, _: Port, delta: Delta, _: &mut Output) -> Result<()> {
        self.pending.push(copies(delta)?);
        Ok(())
    }

    fn on_instant(&mut self, _: Timestamp, out: &mut Output) -> Result<()> {
        let Some(first) = self.pending.first() else { return Ok(()) };
        let mut new = Delta::concat(&first.schema(), &self.pending)?.by_instant()?;
        self.pending.clear();
        if let Some((late, in_time)) = late(&new, self.watermark)? {
            self.insert(&late, out)?;
            new = in_time;
        }
        let seen = self.queue.end();
        self.queue.push(new)?;
        let total = self.queue.end();
        let coming = self.turned(self.come(seen)..self.come(total), seen, false)?;
        let going = self.turned(self.gone(seen)..self.gone(total), seen, true)?;
        coming.into_iter().for_each(|delta| out.push(delta));
        going.into_iter().for_each(|delta| out.push(delta.negate()));
        self.queue.drop_before(self.gone(total))
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Output) -> Result<()> {
        self.watermark = watermark;
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut Value(&mut self.watermark));
        visit(&mut Deltas(&mut self.pending));
        visit(&mut self.queue);
    }
}

/// Returns every row as often as its weight says, at least no times.
pub(super) fn copies(delta: Delta) -> Result<Delta> {
    let Weights::Each(weights) = delta.weights() else { return Ok(delta) };
    let rows =
        weights.values().iter().zip(0u32..).flat_map(|(weight, row)| {
            std::iter::repeat_n(row, usize::try_from(*weight).unwrap_or(0))
        });
    let taken = delta.take(&UInt32Array::from_iter_values(rows))?;
    Ok(Delta::new(taken.rows().clone(), taken.ts().clone(), Weights::Ones))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::delta::pretty;
    use crate::operators::testing::{Emitted, hand_over, run, run_whole};

    fn check(count: u64, every: u64, stream: &str, expected: Expect) {
        let rows = stream.split(' ').map(|row| row.split_once(':').unwrap());
        let rows: String = rows.map(|(ts, row)| format!("+1 | {ts} | {row}\n")).collect();
        let table = format!(" w | ts | s:text\n{rows}");
        let by_instant = run(&mut Rows::new(count, every), &[&table], None).text();
        expected.assert_eq(&by_instant);
        assert_eq!(run_whole(&mut Rows::new(count, every), &[&table], None).text(), by_instant);
    }

    #[test]
    fn a5_rows() {
        let expected = expect![[r#"
             w | ts | s
            +1 | 1  | a
            +1 | 2  | b
            -1 | 4  | a
            +1 | 4  | c
        "#]];
        check(2, 1, "1:a 2:b 4:c", expected);
    }

    #[test]
    fn a6_only_the_net_effect_of_an_instant_is_visible() {
        let expected = expect![[r#"
             w | ts | s
            +1 | 1  | a
            -1 | 2  | a
            +1 | 2  | c
            +1 | 2  | d
            -1 | 5  | c
            +1 | 5  | e
        "#]];
        check(2, 1, "1:a 2:b 2:c 2:d 5:e", expected);
    }

    #[test]
    fn a11_whole_batches() {
        let expected = expect![[r#"
             w | ts | s
            +1 | 2  | a
            +1 | 2  | b
            -1 | 4  | a
            +1 | 4  | c
            +1 | 4  | d
        "#]];
        check(3, 2, "1:a 2:b 3:c 4:d 5:e", expected);
    }

    #[test]
    fn batch_longer_than_the_window_shows_its_last_rows() {
        let expected = expect![[r#"
             w | ts | s
            +1 | 2  | b
            -1 | 4  | b
            +1 | 4  | d
        "#]];
        check(1, 2, "1:a 2:b 3:c 4:d 5:e", expected);
    }

    #[test]
    fn window_of_no_rows_shows_none() {
        check(0, 1, "1:a 2:b", expect![""]);
    }

    #[test]
    fn late_row_takes_its_place_among_the_last() {
        let mut op = Rows::new(3, 1);
        let mut step = |rows: &str, watermark| {
            let mut out = Output::default();
            let rows = pretty::parse(&format!(" w | ts | s:text\n{rows}"));
            op.on_delta(Port(0), rows.clone(), &mut out).unwrap();
            op.on_instant(Timestamp(100), &mut out).unwrap();
            op.on_watermark(Watermark(Timestamp(watermark)), &mut out).unwrap();
            pretty::print(&Delta::concat(&rows.schema(), &out.deltas).unwrap())
        };
        step("+1 | 2 | b\n+1 | 4 | d", 10);
        assert_eq!(step("+1 | 3 | c", 11), " w | ts | s\n+1 | 9  | c\n");
        assert_eq!(step("+1 | 1 | a", 12), "w | ts | s\n");
        let both = step("+1 | 4 | e\n+1 | 12 | f", 13);
        assert_eq!(both, " w | ts | s\n-1 | 11 | b\n+1 | 11 | e\n+1 | 12 | f\n-1 | 12 | c\n");
    }

    #[test]
    fn saved_rows_still_go() {
        let (mut first, mut second) = (Rows::new(2, 1), Rows::new(2, 1));
        let mut emitted = Emitted::default();
        emitted.delta(&mut first, 0, " w | ts | s:text\n+3 | 1 | a\n+1 | 2 | b");
        emitted.instant(&mut first, 2);
        emitted.delta(&mut first, 0, " w | ts | s:text\n+1 | 3 | c");
        hand_over(&mut first, &mut second);
        let mut emitted = Emitted::default();
        emitted.instant(&mut second, 3);
        assert_eq!(emitted.text(), " w | ts | s\n-1 | 3  | a\n+1 | 3  | c\n");
    }
}
