//! Time zones: what their clocks show, and calendar spans in them.

use arrow::array::timezone::Tz;
use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Months, NaiveDateTime, Offset, TimeDelta, TimeZone};
use datafusion::common::{Result, exec_datafusion_err};

use super::error::failure;
use crate::error::SqlState;

const SECOND: i64 = 1_000_000;

/// A time on the clocks of no zone.
pub fn naive(micros: i64) -> Result<NaiveDateTime> {
    let time = DateTime::from_timestamp_micros(micros);
    Ok(time.ok_or_else(|| exec_datafusion_err!("timestamp out of range"))?.naive_utc())
}

/// Finds a zone by its name or offset, which may be the text of an interval: `-03:00:00`.
pub fn zone(name: &str) -> Result<Tz> {
    let hours = name.strip_suffix(":00").filter(|rest| rest.matches(':').count() == 1);
    let offset = hours.map(|hours| match hours.starts_with(['+', '-']) {
        true => hours.to_owned(),
        false => format!("+{hours}"),
    });
    let name = offset.as_deref().unwrap_or(name);
    // Names in Postgres have no case.
    let known = name.parse().or_else(|_| name.to_uppercase().parse());
    known.map_err(|_| {
        let what = format!("time zone \"{name}\" not recognized");
        failure(SqlState::INVALID_PARAMETER_VALUE, what)
    })
}

/// Seconds east of Greenwich that a zone is at an instant.
pub fn offset_at(zone: Tz, micros: i64) -> Result<i32> {
    Ok(zone.offset_from_utc_datetime(&naive(micros)?).fix().local_minus_utc())
}

/// What the clocks of a zone show at an instant.
pub fn clock_time(zone: Tz, micros: i64) -> Result<i64> {
    Ok(micros + i64::from(offset_at(zone, micros)?) * SECOND)
}

/// The instant at which the clocks of a zone show a time, or would if it were not skipped; the
/// later one where they show it twice.
pub fn instant_of(zone: Tz, micros: i64) -> Result<i64> {
    let local = naive(micros)?;
    let offset = match zone.offset_from_local_datetime(&local).latest() {
        Some(offset) => offset,
        // Postgres goes on with the offset that was in force before.
        None => zone.offset_from_utc_datetime(&(local - TimeDelta::days(1))),
    };
    Ok(micros - i64::from(offset.fix().local_minus_utc()) * SECOND)
}

/// The time that is a span behind another: months and days by the clocks of the zone, if there is
/// one, then the rest. Nothing if there is no such time.
pub fn after(time: i64, span: IntervalMonthDayNano, zone: Option<Tz>) -> Option<i64> {
    let local = match zone {
        Some(zone) => clock_time(zone, time).ok()?,
        None => time,
    };
    let start = naive(local).ok()?;
    let months = Months::new(span.months.unsigned_abs());
    let moved = match span.months < 0 {
        true => start.checked_sub_months(months)?,
        false => start.checked_add_months(months)?,
    };
    let moved = moved.checked_add_signed(TimeDelta::days(span.days.into()))?;
    let local = moved.and_utc().timestamp_micros();
    let instant = match zone {
        Some(zone) => instant_of(zone, local).ok()?,
        None => local,
    };
    instant.checked_add(span.nanoseconds / 1_000)
}
