//! Pace: how fast a source delivers rows.
//!
//! # Semantics
//! `rate = '5000/s'` (or `5000`): row `n` is due `n / 5000` seconds after the first. `rate =
//! '3600x'`:
//! the first row is due at once, and a row whose time lies an hour after it one second later; time
//! that goes backwards, or NULL, does not wait. The pace starts anew when reading resumes. A reader
//! that is late gets what is due at once.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use crate::clock::Clock;
use crate::time::Timestamp;

/// Shortest sleep: with a fast rate, rows are delivered in bunches of this many microseconds.
const SLEEP_MIN: i64 = 2_000;
/// Longest sleep: the clock is read again after it, so that a clock that jumps is noticed.
const SLEEP_MAX: i64 = 100_000;

/// How fast rows are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as they can be read.
    Unlimited,
    /// So many rows per second.
    PerSecond(f64),
    /// So many times as fast as the time column passes.
    Speedup(f64),
}

impl Rate {
    /// Returns the rate: `5000`, `5000/s`, `3600x`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, rate): (_, fn(f64) -> Rate) =
            match (text.strip_suffix("/s"), text.strip_suffix(['x', 'X'])) {
                (Some(number), _) => (number, Rate::PerSecond),
                (_, Some(number)) => (number, Rate::Speedup),
                (None, None) => (text, Rate::PerSecond),
            };
        let number: f64 = number.trim().replace('_', "").parse().ok()?;
        (number.is_finite() && number > 0.0).then(|| rate(number))
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// So many rows, at least one.
    Rows(usize),
    /// Nothing for so many microseconds.
    Wait(i64),
}

/// Says which rows are due.
#[derive(Debug)]
pub struct Pacer {
    rate: Rate,
    clock: Arc<dyn Clock>,
    /// When the first row was delivered.
    start: Option<Timestamp>,
    /// Rows delivered since then.
    delivered: u64,
    /// Time of the first row with a time, and the greatest since.
    times: Option<(i64, i64)>,
}

impl Pacer {
    /// Starts at the first question.
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self { rate, clock, start: None, delivered: 0, times: None }
    }

    /// Returns how many of at most `max` rows are due, and counts them as delivered. `rows` are the
    /// next rows and the place of their time column, for a speed-up.
    pub fn due(&mut self, rows: Option<(&RecordBatch, usize)>, max: usize) -> Due {
        if self.rate == Rate::Unlimited {
            return Due::Rows(max);
        }
        let now = self.clock.now();
        let start = *self.start.get_or_insert(now);
        let elapsed = now.0.saturating_sub(start.0).max(0);
        match (self.rate, rows) {
            (Rate::PerSecond(rate), _) => self.due_by_count(rate, elapsed, max),
            (Rate::Speedup(speed), Some((rows, column))) => {
                self.due_by_time(speed, elapsed, (rows, column), max)
            }
            (Rate::Unlimited | Rate::Speedup(_), _) => Due::Rows(max),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "counts of rows and microseconds are far below 2^53, and conversion saturates"
    )]
    fn due_by_count(&mut self, rate: f64, elapsed: i64, max: usize) -> Due {
        let due = (elapsed as f64 * rate / 1e6) as u64 + 1;
        let rows = usize::try_from(due.saturating_sub(self.delivered)).unwrap_or(max).min(max);
        if rows > 0 {
            self.delivered += rows as u64;
            return Due::Rows(rows);
        }
        let next = (self.delivered as f64 * 1e6 / rate).ceil() as i64;
        Due::Wait((next - elapsed).clamp(SLEEP_MIN, SLEEP_MAX))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "spans of microseconds that matter are far below 2^53, and conversion saturates"
    )]
    fn due_by_time(
        &mut self,
        speed: f64,
        elapsed: i64,
        (rows, column): (&RecordBatch, usize),
        max: usize,
    ) -> Due {
        let times = rows.column(column).as_primitive::<TimestampMicrosecondType>();
        for index in 0..rows.num_rows().min(max) {
            if times.is_null(index) {
                continue;
            }
            let time = times.value(index);
            let (first, greatest) = *self.times.get_or_insert((time, time));
            let greatest = greatest.max(time);
            let due = (greatest.saturating_sub(first) as f64 / speed) as i64;
            if due > elapsed && index > 0 {
                return Due::Rows(index);
            }
            if due > elapsed {
                return Due::Wait(due.saturating_sub(elapsed).clamp(SLEEP_MIN, SLEEP_MAX));
            }
            self.times = Some((first, greatest));
        }
        Due::Rows(max)
    }
}

/// Sleeps. Connectors wait for time here and nowhere else: for a row to be due, and for a file to
/// grow, which no operating system tells in a way that works on every file system.
pub async fn pause(micros: i64) {
    tokio::time::sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0))).await;
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMicrosecondArray;

    use super::*;
    use crate::clock::ManualClock;

    fn pacer(rate: &str) -> (Pacer, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        (Pacer::new(Rate::parse(rate).unwrap(), shared), clock)
    }

    #[test]
    fn rates_are_parsed() {
        assert_eq!(Rate::parse("5000/s"), Some(Rate::PerSecond(5000.0)));
        assert_eq!(Rate::parse(" 0.5 "), Some(Rate::PerSecond(0.5)));
        assert_eq!(Rate::parse("3600x"), Some(Rate::Speedup(3600.0)));
        for bad in ["", "x", "0", "-1/s", "fast", "nan", "5/m"] {
            assert_eq!(Rate::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn rows_per_second() {
        let (mut pacer, clock) = pacer("1000/s");
        assert_eq!(pacer.due(None, 100), Due::Rows(1));
        assert_eq!(pacer.due(None, 100), Due::Wait(SLEEP_MIN));
        clock.set(Timestamp(50_000));
        assert_eq!(pacer.due(None, 100), Due::Rows(50));
        clock.set(Timestamp(1_000_000));
        assert_eq!(pacer.due(None, 100), Due::Rows(100));
    }

    #[test]
    fn speed_up_by_the_time_column() {
        let (mut pacer, clock) = pacer("10x");
        let times = [Some(0), Some(1_000_000), Some(500_000), None, Some(3_000_000)];
        let times = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        let rows = RecordBatch::try_from_iter([("ts", times as _)]).unwrap();
        assert_eq!(pacer.due(Some((&rows, 0)), 5), Due::Rows(1));
        let rest = rows.slice(1, 4);
        assert_eq!(pacer.due(Some((&rest, 0)), 4), Due::Wait(100_000));
        clock.set(Timestamp(100_000));
        assert_eq!(pacer.due(Some((&rest, 0)), 4), Due::Rows(3));
        clock.set(Timestamp(299_999));
        assert_eq!(pacer.due(Some((&rows.slice(4, 1), 0)), 4), Due::Wait(SLEEP_MIN));
    }
}
