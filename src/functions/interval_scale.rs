//! An interval times a number.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::{Result as DfResult, exec_datafusion_err};

/// Multiplies an interval: fractions of months become days of which a month has 30, fractions of
/// days time, in whole microseconds.
pub fn scale(interval: IntervalMonthDayNano, by: f64) -> DfResult<IntervalMonthDayNano> {
    const DAY_MICROS: f64 = 86_400e6;
    // Postgres rounds so too, lest 0.1 of ten months lose a day.
    let tidy = |value: f64| (value * 1e6).round() / 1e6;
    let months = tidy(f64::from(interval.months) * by);
    let days = tidy(f64::from(interval.days) * by) + tidy(months.fract() * 30.0);
    let micros = interval.nanoseconds as f64 / 1e3 * by + (days.fract() * DAY_MICROS).round();
    let fits = |value: f64, most: f64| value.is_finite() && value.abs() < most;
    let limit = f64::from(i32::MAX);
    if !fits(months, limit) || !fits(days, limit) || !fits(micros, i64::MAX as f64 / 1e3) {
        return Err(exec_datafusion_err!("interval out of range"));
    }
    let nanos = micros.round() as i64 * 1_000;
    Ok(IntervalMonthDayNano::new(months.trunc() as i32, days.trunc() as i32, nanos))
}
