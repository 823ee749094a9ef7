//! Functions of times: made of numbers, printed, read, and intervals that are evened out.
//!
//! # Semantics
//! Postgres's, in UTC. A day of `justify_hours` has 24 hours and a month of `justify_days` 30 days.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ScalarUDF;

use super::error::failure;
use super::scalar::{Given, Kind, Returns, Row, Scalar, boolean, int4, text};
use super::{number_format, time_format, time_read};
use crate::error::SqlState;

const MONTH_DAYS: i64 = 30;
const DAY_NANOS: i64 = 86_400_000_000_000;
const SECOND_MICROS: f64 = 1e6;

/// Days from the first one of the common era to that of Unix.
const UNIX_DAY: i32 = 719_163;

/// What the zone's rule and plans call the function.
pub const CALENDAR_PART: &str = "calendar_part";

/// Julian days before the first one of the common era.
const JULIAN_DAY: i32 = 1_721_425;

/// Microseconds from 1970 to 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The functions.
pub(super) fn functions() -> Vec<Scalar> {
    use Kind::{Float, Int, Interval, Printable, Text, Time};
    const PARTS: &[Kind] = &[Int, Int, Int, Int, Int, Float];
    const SPANS: &[Kind] = &[Int, Int, Int, Int, Int, Int, Float];
    let optional = |required, scalar: Scalar| Scalar { required, ..scalar };
    vec![
        optional(2, Scalar::strict("to_char", &[Printable, Text, Text], text, to_char)),
        Scalar::strict("to_timestamp", &[Float], instant, |row| {
            let micros = whole(row.float(0) * SECOND_MICROS, "timestamp")?;
            Ok(ScalarValue::TimestampMicrosecond(Some(micros), utc()))
        }),
        Scalar::strict("to_date", &[Text, Text], date, |row| {
            let time = time_read::read(row.text(0), row.text(1))?;
            Ok(ScalarValue::Date32(Some(time.num_days_from_ce() - UNIX_DAY)))
        }),
        Scalar::strict("make_timestamp", PARTS, timestamp, |row| {
            Ok(ScalarValue::TimestampMicrosecond(Some(made(row)?), None))
        }),
        optional(0, Scalar::strict("make_interval", SPANS, interval, make_interval)),
        Scalar::strict("justify_hours", &[Interval], interval, |row| spanned(row, even_hours)),
        Scalar::strict("justify_days", &[Interval], interval, |row| spanned(row, even_days)),
        Scalar::strict("justify_interval", &[Interval], interval, |row| {
            spanned(row, |span| even(even_days(even_hours(span)?)?))
        }),
        Scalar::strict("$read_time", &[Text, Text], timestamp, |row| {
            let time = time_read::read(row.text(0), row.text(1))?.and_utc();
            Ok(ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), None))
        }),
        Scalar::strict("$rounded_time", &[Time, Int], same, rounded),
        Scalar::strict("isfinite", &[Time], boolean, |row| {
            let infinite = match row.values[0] {
                ScalarValue::TimestampMicrosecond(Some(micros), _) => {
                    micros == i64::MIN || micros == i64::MAX
                }
                _ => false,
            };
            Ok(ScalarValue::Boolean(Some(!infinite)))
        }),
    ]
}

fn same(given: &Given<'_>) -> Returns {
    (given.fields[0].data_type().clone(), None)
}

/// A time with so many digits of seconds.
fn rounded(row: &Row<'_>) -> Result<ScalarValue> {
    let ScalarValue::TimestampMicrosecond(Some(micros), zone) = &row.values[0] else {
        return Ok(row.values[0].clone());
    };
    let digits = u32::try_from(row.int(1)).unwrap_or(6).min(6);
    let unit = 10_i64.pow(6 - digits);
    let finite = *micros != i64::MIN && *micros != i64::MAX;
    // Postgres counts from 2000 and rounds away from there; all units divide the difference.
    let since = micros.checked_sub(EPOCH_MICROS).filter(|_| finite && unit > 1);
    let rounded = since.map(|since| {
        let half = if since < 0 { -unit / 2 } else { unit / 2 };
        (since + half) / unit * unit + EPOCH_MICROS
    });
    Ok(ScalarValue::TimestampMicrosecond(Some(rounded.unwrap_or(*micros)), zone.clone()))
}

/// The function `calendar_part(part, time)`, for [`CALENDAR_PARTS`].
pub fn calendar_part() -> Arc<ScalarUDF> {
    let kinds: &[Kind] = &[Kind::Text, Kind::Any];
    Arc::new(Scalar::strict(CALENDAR_PART, kinds, int4, calendar).udf())
}

/// Parts of a date, timestamp or interval that DataFusion's `date_part` has not.
pub const CALENDAR_PARTS: [&str; 10] = [
    "decade",
    "decades",
    "century",
    "centuries",
    "millennium",
    "millennia",
    "julian",
    "cent",
    "dec",
    "mil",
];

/// The decade, century, millennium or Julian day.
fn calendar(row: &Row<'_>) -> Result<ScalarValue> {
    let part = row.text(0).to_ascii_lowercase();
    let value = &row.values[1];
    if let ScalarValue::IntervalMonthDayNano(Some(span)) = value {
        let years = match part.as_str() {
            "decade" | "decades" | "dec" => 10,
            "century" | "centuries" | "cent" => 100,
            "millennium" | "millennia" | "mil" => 1000,
            _ => return Err(unit(&part)),
        };
        return Ok(ScalarValue::Int32(Some(span.months / 12 / years)));
    }
    let date = match value.cast_to(&DataType::Date32) {
        Ok(ScalarValue::Date32(Some(days))) => NaiveDate::from_epoch_days(days),
        _ => None,
    };
    let date = date.ok_or_else(|| unit(&part))?;
    // Years before the first one count down from -1, and there is no century or millennium 0.
    let year = if date.year() > 0 { date.year() } else { date.year() - 1 };
    let counted = |years: i32| match year > 0 {
        true => (year + years - 1) / years,
        false => -((years - 1 - year) / years),
    };
    Ok(ScalarValue::Int32(Some(match part.as_str() {
        "decade" | "decades" | "dec" => date.year().div_euclid(10),
        "century" | "centuries" | "cent" => counted(100),
        "millennium" | "millennia" | "mil" => counted(1000),
        _ => date.num_days_from_ce() + JULIAN_DAY,
    })))
}

fn unit(part: &str) -> datafusion::error::DataFusionError {
    failure(SqlState::FEATURE_NOT_SUPPORTED, format!("unit \"{part}\" not supported"))
}

fn utc() -> Option<Arc<str>> {
    Some(Arc::from("UTC"))
}

fn timestamp(_: &Given<'_>) -> Returns {
    (DataType::Timestamp(TimeUnit::Microsecond, None), None)
}

fn instant(_: &Given<'_>) -> Returns {
    (DataType::Timestamp(TimeUnit::Microsecond, utc()), None)
}

fn date(_: &Given<'_>) -> Returns {
    (DataType::Date32, None)
}

fn interval(_: &Given<'_>) -> Returns {
    (DataType::Interval(IntervalUnit::MonthDayNano), None)
}

fn out_of_range(what: &str) -> datafusion::error::DataFusionError {
    failure(SqlState::DATETIME_FIELD_OVERFLOW, format!("{what} out of range"))
}

fn to_char(row: &Row<'_>) -> Result<ScalarValue> {
    let value = &row.values[0];
    Ok(ScalarValue::Utf8(match value.data_type().is_numeric() {
        true => Some(number_format::to_char(value, row.text(1))?),
        false => time_format::to_char(value, row.text(1), row.text(2))?,
    }))
}

/// A double as the integer next to it.
fn whole(value: f64, what: &str) -> Result<i64> {
    let rounded = value.round_ties_even();
    // 2^63 is the first that is too large.
    match rounded.is_finite() && rounded.abs() < 9.223_372_036_854_775e18 {
        true => Ok(rounded as i64),
        false => Err(out_of_range(what)),
    }
}

/// The time that year, month, day, hour, minute and second say, in microseconds.
fn made(row: &Row<'_>) -> Result<i64> {
    let small = |argument: usize| u32::try_from(row.int(argument)).ok();
    let time = || -> Option<NaiveDateTime> {
        let year = i32::try_from(row.int(0)).ok().filter(|year| *year != 0)?;
        // The year before 1 is -1, as 1 BC.
        let date = NaiveDate::from_ymd_opt(year + i32::from(year < 0), small(1)?, small(2)?)?;
        let seconds = row.float(5);
        let micros = whole(seconds * SECOND_MICROS, "timestamp").ok()?;
        // 24:00:00 and second 60 are the beginning of what follows.
        if !(0..=60_000_000).contains(&micros) || small(3)? > 24 || small(4)? > 59 {
            return None;
        }
        let span = TimeDelta::hours(row.int(3)) + TimeDelta::minutes(row.int(4));
        let span = span + TimeDelta::microseconds(micros);
        let day = date.and_hms_opt(0, 0, 0).filter(|_| span <= TimeDelta::days(1))?;
        day.checked_add_signed(span)
    };
    let time = time().ok_or_else(|| out_of_range("date/time field value"))?;
    Ok(time.and_utc().timestamp_micros())
}

/// Of years, months, weeks, days, hours, minutes and seconds; missing ones are 0.
fn make_interval(row: &Row<'_>) -> Result<ScalarValue> {
    let nanos = whole(row.float(6) * SECOND_MICROS, "interval")?.checked_mul(1_000);
    let spans = || {
        let months = row.int(0).checked_mul(12)?.checked_add(row.int(1))?;
        let days = row.int(2).checked_mul(7)?.checked_add(row.int(3))?;
        let minutes = row.int(4).checked_mul(60)?.checked_add(row.int(5))?;
        let nanos = minutes.checked_mul(60_000_000_000)?.checked_add(nanos?)?;
        Some(IntervalMonthDayNano::new(months.try_into().ok()?, days.try_into().ok()?, nanos))
    };
    let span = spans().ok_or_else(|| out_of_range("interval"))?;
    Ok(ScalarValue::IntervalMonthDayNano(Some(span)))
}

fn spanned(
    row: &Row<'_>,
    f: impl Fn(IntervalMonthDayNano) -> Option<IntervalMonthDayNano>,
) -> Result<ScalarValue> {
    let ScalarValue::IntervalMonthDayNano(Some(span)) = row.values[0] else {
        return Ok(ScalarValue::IntervalMonthDayNano(None));
    };
    let span = f(span).ok_or_else(|| out_of_range("interval"))?;
    Ok(ScalarValue::IntervalMonthDayNano(Some(span)))
}

/// Moves whole units of the smaller part into the larger one, and gives both one sign.
fn carried(large: i64, small: i64, unit: i64) -> (i64, i64) {
    let (mut large, mut small) = (large + small / unit, small % unit);
    if large > 0 && small < 0 {
        (large, small) = (large - 1, small + unit);
    } else if large < 0 && small > 0 {
        (large, small) = (large + 1, small - unit);
    }
    (large, small)
}

fn even_hours(span: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let (days, nanos) = carried(span.days.into(), span.nanoseconds, DAY_NANOS);
    Some(IntervalMonthDayNano::new(span.months, days.try_into().ok()?, nanos))
}

fn even_days(span: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let (months, days) = carried(span.months.into(), span.days.into(), MONTH_DAYS);
    let (months, days) = (months.try_into().ok()?, days.try_into().ok()?);
    Some(IntervalMonthDayNano::new(months, days, span.nanoseconds))
}

/// Gives hours the sign of the months and days above them.
fn even(span: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let above = i64::from(span.months) * MONTH_DAYS + i64::from(span.days);
    let (above, nanos) = carried(above, span.nanoseconds, DAY_NANOS);
    let (months, days) = (above / MONTH_DAYS, above % MONTH_DAYS);
    Some(IntervalMonthDayNano::new(months.try_into().ok()?, days.try_into().ok()?, nanos))
}
