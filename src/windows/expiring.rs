//! Time windows: rows come and go with event time.
//!
//! # Semantics
//! The stream is turned into the relation that [`TimeWindow::validity`] defines: `+row` at the
//! start of its lifetime, `-row` at the end.
//!
//! ```text
//!   S [RANGE 3]        ts   1   2   3   4   5   6   7   8   9
//!                      a    [-----------)                        1+a  4-a
//!                      b        [-----------)                    2+b  5-b
//!                      c                        [-----------)    6+c  9-c
//! ```
//!
//! A row that comes late has the lifetime that it would have had in time; what of that has passed
//! is emitted at once, and who reads it corrects what it can.
//!
//! # State
//! One row per lifetime that has not ended, shared with the batch it came in. It is freed with its
//! retraction.
//!
//! # Watermarks
//! What starts at its own instant is emitted at once; starts and ends that lie later are emitted
//! when the watermark has passed them, sorted by instant.
//!
//! # Invariants
//! 1. Every `+row` that ends is followed by exactly one `-row`: the relation is empty after the end
//!    of the stream, unless the window is unbounded.
//! 2. A retraction is emitted only when the watermark has passed it, so no earlier row can come.
//!
//! # Why
//! Both changes could be emitted at once, the retraction stamped in the future, and this operator
//! would need no state. Then every stateful operator downstream would have to hold future rows.

use arrow::array::BooleanArray;

use super::future::Future;
use super::temporal::moved;
use super::validity::{TimeWindow, Validity};
use crate::delta::{Delta, Instants};
use crate::operators::{Instantwise, Operator, Output, Port, Result};
use crate::storage::{Value, Visit};
use crate::time::{Timestamp, Watermark};

/// A time window over a stream.
pub struct Expiring {
    window: TimeWindow,
    future: Future,
    watermark: Watermark,
}

impl Expiring {
    /// Every row stands for itself.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// A window without rows.
    pub fn new(window: TimeWindow) -> Self {
        Self { window, future: Future::default(), watermark: Watermark::MIN }
    }

    /// Emits what the watermark has passed.
    fn emit_due(&mut self, out: &mut Output) -> Result<()> {
        if let Some(due) = self.future.take_due(self.watermark)? {
            out.push(due);
        }
        Ok(())
    }

    /// Number of changes to come.
    pub fn state_rows(&self) -> usize {
        self.future.len()
    }
}

impl Operator for Expiring {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let validity = |ts: i64| self.window.validity(ts);
        let lifetimes: Vec<Option<Validity>> = match delta.ts() {
            Instants::All(at) => vec![validity(at.0); delta.len()],
            Instants::Each(ts) => ts.values().iter().map(|ts| validity(*ts)).collect(),
        };
        let at_once = |i: usize| lifetimes[i].is_some_and(|v| v.start == delta.ts_at(i).0);
        let at_once: BooleanArray = (0..delta.len()).map(|i| Some(at_once(i))).collect();
        let starts = |v: Option<Validity>| v.map(|v| v.start);
        let ends = |v: Option<Validity>| v.and_then(|v| v.end);
        if at_once.has_false() {
            let later = arrow::compute::not(&at_once)?;
            let later_starts = lifetimes.iter().zip(later.values()).filter(|(_, later)| *later);
            let later_starts = later_starts.map(|(v, _)| starts(*v));
            self.future.add(moved(&delta.filter(&later)?, later_starts.collect())?)?;
        }
        let ended = lifetimes.iter().map(|v| ends(*v)).collect();
        self.future.add(moved(&delta, ended)?.negate())?;
        out.push(delta.filter(&at_once)?);
        Ok(())
    }

    fn on_instant(&mut self, _: Timestamp, out: &mut Output) -> Result<()> {
        self.emit_due(out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        self.watermark = watermark;
        self.emit_due(out)
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut Value(&mut self.watermark));
        visit(&mut self.future);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::delta::pretty;
    use crate::operators::testing::{Emitted, hand_over, run, run_whole};

    fn check(window: TimeWindow, stream: &str, heartbeat: i64, expected: Expect) {
        let rows = stream.split(' ').map(|row| row.split_once(':').unwrap());
        let rows: String = rows.map(|(ts, row)| format!("+1 | {ts} | {row}\n")).collect();
        let table = format!(" w | ts | s:text\n{rows}");
        let by_instant = run(&mut Expiring::new(window), &[&table], Some(heartbeat)).text();
        expected.assert_eq(&by_instant);
        let whole = run_whole(&mut Expiring::new(window), &[&table], Some(heartbeat));
        assert_eq!(whole.text(), by_instant);
    }

    #[test]
    fn a1_now() {
        let expected = expect![[r#"
             w | ts | s
            +1 | 1  | a
            -1 | 2  | a
            +1 | 3  | b
            +1 | 3  | c
            -1 | 4  | b
            -1 | 4  | c
        "#]];
        check(TimeWindow::Now, "1:a 3:b 3:c", 5, expected);
    }

    #[test]
    fn a2_range() {
        let window = TimeWindow::Range { length: 3, inclusive: false };
        let expected = expect![[r#"
             w | ts | s
            +1 | 1  | a
            +1 | 2  | b
            -1 | 4  | a
            -1 | 5  | b
            +1 | 6  | c
            -1 | 9  | c
        "#]];
        check(window, "1:a 2:b 6:c", 10, expected);
    }

    #[test]
    fn a3_range_inclusive() {
        let window = TimeWindow::Range { length: 3, inclusive: true };
        let expected = expect![[r#"
             w | ts | s
            +1 | 1  | a
            +1 | 2  | b
            -1 | 5  | a
            -1 | 6  | b
            +1 | 6  | c
            -1 | 10 | c
        "#]];
        check(window, "1:a 2:b 6:c", 11, expected);
    }

    #[test]
    fn a4_unbounded_holds_no_state() {
        let mut op = Expiring::new(TimeWindow::Unbounded);
        let emitted = run(&mut op, &[" w | ts | s:text\n+1 | 1 | a"], Some(i64::MAX));
        assert_eq!(emitted.text(), " w | ts | s\n+1 | 1  | a\n");
        assert_eq!(op.state_rows(), 0);
    }

    #[test]
    fn a9_slide_shorter_than_range() {
        let window = TimeWindow::Slide { length: 4, inclusive: false, slide: 2, offset: 0 };
        let expected = expect![[r#"
             w | ts | s
            +1 | 2  | a
            +1 | 2  | b
            +1 | 4  | c
            -1 | 6  | a
            -1 | 6  | b
            +1 | 6  | d
            -1 | 8  | c
            -1 | 10 | d
        "#]];
        check(window, "1:a 2:b 3:c 6:d", 11, expected);
    }

    #[test]
    fn a10_slide_longer_than_range() {
        let window = TimeWindow::Slide { length: 2, inclusive: false, slide: 5, offset: 0 };
        let expected = expect![[r#"
             w | ts | s
            +1 | 5  | c
            +1 | 5  | d
            -1 | 10 | c
            -1 | 10 | d
            +1 | 10 | f
            -1 | 15 | f
        "#]];
        check(window, "1:a 3:b 4:c 5:d 8:e 9:f", 16, expected);
    }

    #[test]
    fn a12_current() {
        let window = TimeWindow::Current { period: 5, offset: 0 };
        let expected = expect![[r#"
             w | ts | s
            +1 | 1  | a
            +1 | 4  | b
            -1 | 5  | a
            -1 | 5  | b
            +1 | 5  | c
            +1 | 6  | d
            -1 | 10 | c
            -1 | 10 | d
        "#]];
        check(window, "1:a 4:b 5:c 6:d", 11, expected);
    }

    #[test]
    fn end_is_emitted_only_when_the_watermark_has_passed_it() {
        let mut op = Expiring::new(TimeWindow::Range { length: 3, inclusive: false });
        let mut emitted = Emitted::default();
        emitted.delta(&mut op, 0, " w | ts | s:text\n+1 | 1 | a").watermark(&mut op, 4);
        assert_eq!(emitted.0.deltas.len(), 1);
        emitted.watermark(&mut op, 5);
        assert_eq!(emitted.0.deltas.len(), 2);
        assert_eq!(op.state_rows(), 0);
    }

    #[test]
    fn late_row_has_the_lifetime_that_it_would_have_had() {
        let mut op = Expiring::new(TimeWindow::Range { length: 3, inclusive: false });
        let mut out = Output::default();
        op.on_watermark(Watermark(Timestamp(6)), &mut out).unwrap();
        let late =
            pretty::parse(" w | ts | s:text\n+1 | 2 | gone\n+1 | 4 | late\n+1 | 6 | in time");
        let mut saved = Expiring::new(TimeWindow::Range { length: 3, inclusive: false });
        hand_over(&mut op, &mut saved);
        for op in [&mut op, &mut saved] {
            let mut out = Output::default();
            op.on_delta(Port(0), late.clone(), &mut out).unwrap();
            op.on_instant(Timestamp(6), &mut out).unwrap();
            op.on_watermark(Watermark(Timestamp(20)), &mut out).unwrap();
            let changes = Delta::concat(&late.schema(), &out.deltas).unwrap();
            expect![[r#"
                 w | ts | s
                +1 | 2  | gone
                +1 | 4  | late
                -1 | 5  | gone
                +1 | 6  | in time
                -1 | 7  | late
                -1 | 9  | in time
            "#]]
            .assert_eq(&pretty::print(&changes.by_instant().unwrap()));
        }
    }

    #[test]
    fn saved_rows_still_end() {
        let mut op = Expiring::new(TimeWindow::Range { length: 3, inclusive: false });
        let mut emitted = Emitted::default();
        emitted.delta(&mut op, 0, " w | ts | s:text\n+1 | 1 | a\n+1 | 2 | b").watermark(&mut op, 5);
        let mut next = Expiring::new(TimeWindow::Range { length: 3, inclusive: false });
        hand_over(&mut op, &mut next);
        let mut rest = Emitted::default();
        rest.watermark(&mut next, i64::MAX);
        assert_eq!(rest.text(), " w | ts | s\n-1 | 5  | b\n");
    }
}
