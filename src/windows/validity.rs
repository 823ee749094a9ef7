//! Time windows as lifetimes: when a row of a stream is in the window.
//!
//! # Semantics
//! A row with timestamp `ts` is in the window during `[start, end)`. The relation at instant τ
//! holds the rows of which the lifetime contains τ.
//!
//! | window                | start                    | end                                      |
//! |-----------------------|--------------------------|------------------------------------------|
//! | `NOW`                 | ts                       | ts + 1                                   |
//! | `RANGE T`             | ts                       | ts + T                                   |
//! | `RANGE T INCLUSIVE`   | ts                       | ts + T + 1                               |
//! | `RANGE T SLIDE L`     | first multiple >= ts     | first multiple >= ts + T                 |
//! | `CURRENT P`           | ts                       | first multiple > ts                      |
//! | `RANGE UNBOUNDED`     | ts                       | never                                    |
//!
//! Multiples are of `L` or `P`, shifted by the offset. A row with `start = end` is never in the
//! window.

/// A window over event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeWindow {
    /// `NOW`: the rows of the instant.
    Now,
    /// `RANGE length`: the rows of the last `length` microseconds.
    Range {
        /// Microseconds, positive.
        length: i64,
        /// Whether a row that is exactly `length` old is still in it.
        inclusive: bool,
    },
    /// `RANGE length SLIDE slide OFFSET offset`: moves only at multiples of `slide`.
    Slide {
        /// Microseconds, positive.
        length: i64,
        /// Whether a row that is exactly `length` old is still in it.
        inclusive: bool,
        /// Microseconds, positive.
        slide: i64,
        /// By how much the multiples are shifted.
        offset: i64,
    },
    /// `CURRENT period`: the rows since the last multiple of `period`.
    Current {
        /// Microseconds, positive.
        period: i64,
        /// By how much the multiples are shifted.
        offset: i64,
    },
    /// `RANGE UNBOUNDED`: all rows so far.
    Unbounded,
}

/// The instants from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first instant.
    pub start: i64,
    /// The first instant after it; none means for ever.
    pub end: Option<i64>,
}

impl TimeWindow {
    /// Returns when a row of instant `ts` is in the window, if ever. Later rows start and end no
    /// earlier.
    pub fn validity(self, ts: i64) -> Option<Validity> {
        let (start, end) = match self {
            TimeWindow::Now => (ts, ts.checked_add(1)),
            TimeWindow::Range { length, inclusive } => (ts, after(ts, length, inclusive)),
            TimeWindow::Slide { length, inclusive, slide, offset } => {
                let end = after(ts, length, inclusive);
                (at_or_after(ts, slide, offset)?, end.and_then(|e| at_or_after(e, slide, offset)))
            }
            TimeWindow::Current { period, offset } => {
                (ts, ts.checked_add(1).and_then(|next| at_or_after(next, period, offset)))
            }
            TimeWindow::Unbounded => (ts, None),
        };
        (end != Some(start)).then_some(Validity { start, end })
    }
}

/// Returns the instant at which a row of `ts` is too old.
fn after(ts: i64, length: i64, inclusive: bool) -> Option<i64> {
    ts.checked_add(length)?.checked_add(i64::from(inclusive))
}

/// Returns the first multiple of `step`, shifted by `offset`, that is not before `ts`.
fn at_or_after(ts: i64, step: i64, offset: i64) -> Option<i64> {
    let behind = ts.checked_sub(offset)?.rem_euclid(step);
    if behind == 0 { Some(ts) } else { ts.checked_add(step - behind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetimes(window: TimeWindow, ts: impl IntoIterator<Item = i64>) -> Vec<(i64, i64)> {
        let lifetime = |v: Validity| (v.start, v.end.unwrap_or(i64::MAX));
        ts.into_iter().filter_map(|ts| window.validity(ts)).map(lifetime).collect()
    }

    #[test]
    fn range_is_half_open_and_inclusive_is_one_tick_longer() {
        let range = |inclusive| TimeWindow::Range { length: 3, inclusive };
        assert_eq!(lifetimes(range(false), [1]), [(1, 4)]);
        assert_eq!(lifetimes(range(true), [1]), [(1, 5)]);
        assert_eq!(lifetimes(TimeWindow::Now, [1]), [(1, 2)]);
        assert_eq!(lifetimes(TimeWindow::Unbounded, [1]), [(1, i64::MAX)]);
    }

    #[test]
    fn slide_starts_and_ends_at_multiples() {
        let slide =
            |length, slide, offset| TimeWindow::Slide { length, inclusive: false, slide, offset };
        assert_eq!(lifetimes(slide(4, 2, 0), [1, 2, 3, 6]), [(2, 6), (2, 6), (4, 8), (6, 10)]);
        assert_eq!(lifetimes(slide(2, 5, 0), [1, 3, 4, 5, 8]), [(5, 10), (5, 10)]);
        assert_eq!(lifetimes(slide(4, 4, 1), [-3, -2, 1, 2]), [(-3, 1), (1, 5), (1, 5), (5, 9)]);
    }

    #[test]
    fn current_ends_with_its_period() {
        let window = TimeWindow::Current { period: 5, offset: 0 };
        assert_eq!(lifetimes(window, [-1, 0, 4, 5]), [(-1, 0), (0, 5), (4, 5), (5, 10)]);
    }

    #[test]
    fn lifetimes_beyond_the_end_of_time_do_not_end() {
        let range = TimeWindow::Range { length: 10, inclusive: false };
        assert_eq!(range.validity(i64::MAX - 5), Some(Validity { start: i64::MAX - 5, end: None }));
    }
}
