//! An interval times, or divided by, a number.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::{Result as DfResult, exec_datafusion_err};

/// Changes the size of an interval: `by` is applied to its parts. As in Postgres, fractions of
/// months become days, of which a month has 30, and fractions of days time, in whole microseconds.
pub fn scale(
    interval: IntervalMonthDayNano,
    by: impl Fn(f64) -> f64,
) -> DfResult<IntervalMonthDayNano> {
    const DAY_SECONDS: f64 = 86_400.0;
    // Postgres rounds so too, lest 0.1 of ten months lose a day.
    let tidy = |value: f64| (value * 1e6).round() / 1e6;
    let months = by(f64::from(interval.months));
    let days = by(f64::from(interval.days));
    let of_months = tidy(months.fract() * 30.0);
    let seconds = tidy((days.fract() + of_months.fract()) * DAY_SECONDS);
    let days = days.trunc() + of_months.trunc() + (seconds / DAY_SECONDS).trunc();
    let micros = by(interval.nanoseconds as f64 / 1e3) + seconds % DAY_SECONDS * 1e6;
    let fits = |value: f64, most: f64| value.is_finite() && value.abs() < most;
    let limit = f64::from(i32::MAX);
    if !fits(months, limit) || !fits(days, limit) || !fits(micros, i64::MAX as f64 / 1e3) {
        return Err(exec_datafusion_err!("interval out of range"));
    }
    let nanos = micros.round_ties_even() as i64 * 1_000;
    Ok(IntervalMonthDayNano::new(months.trunc() as i32, days as i32, nanos))
}
