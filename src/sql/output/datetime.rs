//! Dates, times and intervals as Postgres prints them, and Postgres's epoch.
//!
//! In memory `i64::MIN` and `i64::MAX` are the infinite timestamps, `i32::MIN` and `i32::MAX` the
//! infinite dates; Postgres uses the same numbers, counted from 2000-01-01.

use std::fmt::Write;

use arrow::array::timezone::Tz;
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Offset, TimeZone};

/// Days from 1970-01-01 to 2000-01-01, where Postgres counts from.
pub const EPOCH_DAYS: i32 = 10_957;

/// Microseconds from 1970-01-01 to 2000-01-01.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY;

/// Microseconds of a day.
const DAY: i64 = 86_400 * SECOND;

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;

/// Writes a timestamp without time zone.
pub fn write_timestamp(micros: i64, out: &mut BytesMut) {
    if write_infinite(micros, out) {
        return;
    }
    let before_christ = write_date_and_time(micros, out);
    if before_christ {
        out.put_slice(b" BC");
    }
}

/// Writes a timestamp with time zone, as seen in `zone` (UTC if none), with its offset there.
pub fn write_timestamptz(micros: i64, zone: Option<Tz>, out: &mut BytesMut) {
    if write_infinite(micros, out) {
        return;
    }
    let instant = DateTime::from_timestamp_micros(micros);
    let offset = match (zone, instant) {
        (Some(zone), Some(at)) => {
            zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()
        }
        _ => 0,
    };
    let local = micros.saturating_add(i64::from(offset) * SECOND);
    let before_christ = write_date_and_time(local, out);
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, rest) = (offset.abs() / 3600, offset.abs() % 3600);
    // Writing to a buffer in memory cannot fail.
    let _ = write!(out, "{sign}{hours:02}");
    if rest != 0 {
        let _ = write!(out, ":{:02}", rest / 60);
    }
    if rest % 60 != 0 {
        let _ = write!(out, ":{:02}", rest % 60);
    }
    if before_christ {
        out.put_slice(b" BC");
    }
}

fn write_infinite(micros: i64, out: &mut BytesMut) -> bool {
    match micros {
        i64::MIN => out.put_slice(b"-infinity"),
        i64::MAX => out.put_slice(b"infinity"),
        _ => return false,
    }
    true
}

/// Returns whether the year is before Christ, which Postgres says at the very end.
fn write_date_and_time(micros: i64, out: &mut BytesMut) -> bool {
    let before_christ = write_calendar_date(micros.div_euclid(DAY), out);
    out.put_u8(b' ');
    write_time(micros.rem_euclid(DAY), out);
    before_christ
}

/// Writes a date given in days since 1970-01-01.
pub fn write_date(days: i32, out: &mut BytesMut) {
    match days {
        i32::MIN => out.put_slice(b"-infinity"),
        i32::MAX => out.put_slice(b"infinity"),
        _ => {
            if write_calendar_date(i64::from(days), out) {
                out.put_slice(b" BC");
            }
        }
    }
}

fn write_calendar_date(days: i64, out: &mut BytesMut) -> bool {
    let (year, month, day) = civil(days);
    let before_christ = year <= 0;
    let year = if before_christ { 1 - year } else { year };
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    before_christ
}

/// Returns year, month and day of a day since 1970-01-01 in the proleptic Gregorian calendar.
///
/// Works on eras of 400 years and years that begin in March, so that leap days come last
/// (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Writes a time of day in microseconds.
pub fn write_time(micros: i64, out: &mut BytesMut) {
    let seconds = micros / SECOND;
    let _ = write!(out, "{:02}:{:02}:", seconds / 3600, seconds / 60 % 60);
    write_seconds(seconds % 60, micros % SECOND, out);
}

fn write_seconds(seconds: i64, micros: i64, out: &mut BytesMut) {
    let _ = write!(out, "{seconds:02}");
    if micros != 0 {
        let fraction = format!("{micros:06}");
        let _ = write!(out, ".{}", fraction.trim_end_matches('0'));
    }
}

/// Writes an interval in Postgres's own style: `1 year 2 mons -3 days +04:05:06.5`.
pub fn write_interval(months: i32, days: i32, micros: i64, out: &mut BytesMut) {
    let mut empty = true;
    let mut negative = false;
    let parts = [(months / 12, "year"), (months % 12, "mon"), (days, "day")];
    for (value, unit) in parts.into_iter().filter(|(value, _)| *value != 0) {
        let space = if empty { "" } else { " " };
        // A sign is shown wherever it differs from the part before.
        let plus = if negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(out, "{space}{plus}{value} {unit}{plural}");
        negative = value < 0;
        empty = false;
    }
    if !empty && micros == 0 {
        return;
    }
    if !empty {
        out.put_u8(b' ');
    }
    if micros < 0 {
        out.put_u8(b'-');
    } else if negative {
        out.put_u8(b'+');
    }
    let micros = micros.unsigned_abs().cast_signed();
    let seconds = micros / SECOND;
    let _ = write!(out, "{:02}:{:02}:", seconds / 3600, seconds / 60 % 60);
    write_seconds(seconds % 60, micros % SECOND, out);
}

#[cfg(test)]
mod tests {
    use super::super::testing::text;
    use super::*;

    #[test]
    fn timestamps_read_as_in_postgres() {
        let at = |micros| text(|out| write_timestamp(micros, out));
        assert_eq!(at(0), "1970-01-01 00:00:00");
        assert_eq!(at(-1), "1969-12-31 23:59:59.999999");
        assert_eq!(at(EPOCH_MICROS + 500_000), "2000-01-01 00:00:00.5");
        assert_eq!(at(i64::MIN), "-infinity");
        assert_eq!(at(i64::MAX), "infinity");
        assert_eq!(at(-62_135_596_800 * SECOND - 1), "0001-12-31 23:59:59.999999 BC");
    }

    #[test]
    fn timestamptz_is_printed_in_the_zone_with_its_offset() {
        let at = |zone: &str| text(|out| write_timestamptz(0, zone.parse().ok(), out));
        assert_eq!(at("UTC"), "1970-01-01 00:00:00+00");
        assert_eq!(at("Asia/Kolkata"), "1970-01-01 05:30:00+05:30");
        assert_eq!(at("America/New_York"), "1969-12-31 19:00:00-05");
    }

    #[test]
    fn intervals_read_as_in_postgres() {
        let of = |months, days, micros| text(|out| write_interval(months, days, micros, out));
        assert_eq!(of(0, 0, 0), "00:00:00");
        assert_eq!(of(14, 3, 4 * 3600 * SECOND), "1 year 2 mons 3 days 04:00:00");
        assert_eq!(of(-1, 3, 1), "-1 mons +3 days 00:00:00.000001");
        assert_eq!(of(0, -1, SECOND), "-1 days +00:00:01");
        assert_eq!(of(0, 0, -90 * SECOND), "-00:01:30");
        assert_eq!(of(24, 0, 0), "2 years");
    }
}
