//! Dates, timestamps and intervals in the styles of `DateStyle` and `IntervalStyle`.
//!
//! # Semantics
//! Postgres's. A zone is named by its abbreviation (`PST`), in ISO by its offset (`-08`).

use std::fmt::Write;

use arrow::array::timezone::Tz;
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::OffsetName;

use super::datetime;
use crate::sql::datetime::DateOrder;

/// How dates and intervals are printed, and in which order dates are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Style {
    /// How dates and timestamps are printed.
    pub dates: Dates,
    /// In which order day, month and year come where it is open.
    pub order: DateOrder,
    /// How intervals are printed.
    pub intervals: Intervals,
}

/// Styles of dates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dates {
    /// `2024-01-31`.
    #[default]
    Iso,
    /// `01/31/2024`.
    Sql,
    /// `01-31-2024`, `Wed Jan 31 10:00:00 2024`.
    Postgres,
    /// `31.01.2024`.
    German,
}

/// Styles of intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intervals {
    /// `1 day 02:00:00`.
    #[default]
    Postgres,
    /// `@ 1 day 2 hours`.
    PostgresVerbose,
    /// `1 2:00:00`.
    SqlStandard,
    /// `P1DT2H`.
    Iso8601,
}

impl Style {
    /// Reads the values of `DateStyle` and `IntervalStyle` as their checks leave them.
    pub fn of(date_style: &str, interval_style: &str) -> Style {
        let (dates, order) = date_style.split_once(", ").unwrap_or((date_style, "MDY"));
        Style {
            dates: match dates {
                "SQL" => Dates::Sql,
                "Postgres" => Dates::Postgres,
                "German" => Dates::German,
                _ => Dates::Iso,
            },
            order: match order {
                "DMY" => DateOrder::DayMonthYear,
                "YMD" => DateOrder::YearMonthDay,
                _ => DateOrder::MonthDayYear,
            },
            intervals: match interval_style {
                "postgres_verbose" => Intervals::PostgresVerbose,
                "sql_standard" => Intervals::SqlStandard,
                "iso_8601" => Intervals::Iso8601,
                _ => Intervals::Postgres,
            },
        }
    }
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Writes a date given in days since 1970-01-01.
pub fn write_date(days: i32, style: Style, out: &mut BytesMut) {
    match NaiveDate::from_epoch_days(days) {
        Some(date) if style.dates != Dates::Iso => {
            write_calendar_date(date, style, out);
            write_era(date, out);
        }
        _ => datetime::write_date(days, out),
    }
}

/// Writes a timestamp without time zone.
pub fn write_timestamp(micros: i64, style: Style, out: &mut BytesMut) {
    match local(micros) {
        Some(time) if style.dates != Dates::Iso => write_time(time, None, style, out),
        _ => datetime::write_timestamp(micros, out),
    }
}

/// Writes a timestamp with time zone, as seen in `zone` (UTC if none).
pub fn write_timestamptz(micros: i64, zone: Option<Tz>, style: Style, out: &mut BytesMut) {
    let Some(at) = local(micros).filter(|_| style.dates != Dates::Iso) else {
        return datetime::write_timestamptz(micros, zone, out);
    };
    let offset = zone.map_or(0, |zone| zone.offset_from_utc_datetime(&at).fix().local_minus_utc());
    let Some(time) = local(micros.saturating_add(i64::from(offset) * SECOND)) else {
        return datetime::write_timestamptz(micros, zone, out);
    };
    let name = zone.map_or_else(|| "UTC".to_owned(), |zone| abbreviation(zone, at));
    write_time(time, Some(&name), style, out);
}

/// What a zone is called at an instant: `PST`, or its offset where it has no name.
pub fn abbreviation(zone: Tz, at: NaiveDateTime) -> String {
    let named: Option<chrono_tz::Tz> = zone.to_string().parse().ok();
    let found = named.and_then(|zone| {
        let offset = zone.offset_from_utc_datetime(&at);
        offset.abbreviation().map(str::to_owned)
    });
    found.filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())).unwrap_or_else(|| {
        let offset = zone.offset_from_utc_datetime(&at).fix().local_minus_utc();
        offset_text(offset)
    })
}

/// `+05:30` of seconds east of Greenwich.
pub fn offset_text(offset: i32) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
    match minutes {
        0 => format!("{sign}{hours:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}"),
    }
}

fn local(micros: i64) -> Option<NaiveDateTime> {
    let finite = micros != i64::MIN && micros != i64::MAX;
    Some(DateTime::from_timestamp_micros(micros).filter(|_| finite)?.naive_utc())
}

/// Writes a time as clocks show it, with the name of their zone.
fn write_time(time: NaiveDateTime, zone: Option<&str>, style: Style, out: &mut BytesMut) {
    let micros = time.and_utc().timestamp_micros().rem_euclid(DAY);
    let date = time.date();
    if style.dates == Dates::Postgres {
        // Writing to a buffer in memory cannot fail.
        let _ = match style.order {
            DateOrder::DayMonthYear => write!(out, "{} ", date.format("%a %d %b")),
            _ => write!(out, "{} ", date.format("%a %b %d")),
        };
        datetime::write_time(micros, out);
        let _ = write!(out, " {:04}", year(date));
    } else {
        write_calendar_date(date, style, out);
        out.put_u8(b' ');
        datetime::write_time(micros, out);
    }
    if let Some(zone) = zone {
        let _ = write!(out, " {zone}");
    }
    write_era(date, out);
}

/// The year as it is shown: the year 0 is 1 BC.
fn year(date: NaiveDate) -> i32 {
    let year = date.year();
    if year <= 0 { 1 - year } else { year }
}

fn write_era(date: NaiveDate, out: &mut BytesMut) {
    if date.year() <= 0 {
        out.put_slice(b" BC");
    }
}

fn write_calendar_date(date: NaiveDate, style: Style, out: &mut BytesMut) {
    let (day, month, year) = (date.day(), date.month(), year(date));
    let day_first = style.order == DateOrder::DayMonthYear;
    let _ = match style.dates {
        Dates::German => write!(out, "{day:02}.{month:02}.{year:04}"),
        Dates::Sql if day_first => write!(out, "{day:02}/{month:02}/{year:04}"),
        Dates::Sql => write!(out, "{month:02}/{day:02}/{year:04}"),
        _ if day_first => write!(out, "{day:02}-{month:02}-{year:04}"),
        _ => write!(out, "{month:02}-{day:02}-{year:04}"),
    };
}

/// Writes an interval.
pub fn write_interval(months: i32, days: i32, micros: i64, style: Style, out: &mut BytesMut) {
    let span = Span::new(months, days, micros);
    match style.intervals {
        Intervals::Postgres => datetime::write_interval(months, days, micros, out),
        Intervals::PostgresVerbose => span.write_verbose(out),
        Intervals::SqlStandard => span.write_sql(out),
        Intervals::Iso8601 => span.write_iso(out),
    }
}

/// The parts of an interval, in units as they are shown.
struct Span {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    micros: i64,
}

impl Span {
    fn new(months: i32, days: i32, micros: i64) -> Span {
        let seconds = micros / SECOND;
        Span {
            years: i64::from(months / 12),
            months: i64::from(months % 12),
            days: days.into(),
            hours: seconds / 3600,
            minutes: seconds / 60 % 60,
            seconds: seconds % 60,
            micros: micros % SECOND,
        }
    }

    /// All parts in one number each; seconds in microseconds.
    fn parts(&self) -> [i64; 6] {
        let seconds = self.seconds * SECOND + self.micros;
        [self.years, self.months, self.days, self.hours, self.minutes, seconds]
    }

    fn write_verbose(&self, out: &mut BytesMut) {
        out.put_u8(b'@');
        let parts = self.parts();
        let ago = parts.iter().find(|part| **part != 0).is_some_and(|first| *first < 0);
        let sign = if ago { -1 } else { 1 };
        let units = ["year", "mon", "day", "hour", "min"];
        for (value, unit) in parts.into_iter().zip(units).filter(|(value, _)| *value != 0) {
            let value = value * sign;
            let _ = write!(out, " {value} {unit}{}", if value == 1 { "" } else { "s" });
        }
        let micros = parts[5] * sign;
        if micros != 0 {
            out.put_u8(b' ');
            write_seconds(micros, 1, out);
            out.put_slice(if micros.abs() == SECOND { b" sec" } else { b" secs" });
        }
        if parts.iter().all(|part| *part == 0) {
            out.put_slice(b" 0");
        }
        if ago {
            out.put_slice(b" ago");
        }
    }

    fn write_sql(&self, out: &mut BytesMut) {
        let parts = self.parts();
        let negative = parts.iter().any(|part| *part < 0);
        let positive = parts.iter().any(|part| *part > 0);
        let of_months = self.years != 0 || self.months != 0;
        let of_time = parts[3..].iter().any(|part| *part != 0);
        let of_days = self.days != 0;
        if !negative && !positive {
            return out.put_u8(b'0');
        }
        let [years, months, days, hours, minutes, micros] = parts.map(i64::abs);
        let sign = |negative: bool| if negative { '-' } else { '+' };
        let time = |out: &mut BytesMut| {
            let _ = write!(out, "{hours}:{minutes:02}:");
            write_seconds(micros, 2, out);
        };
        if (negative && positive) || (of_months && (of_days || of_time)) {
            let _ = write!(out, "{}{years}-{months} ", sign(self.years < 0 || self.months < 0));
            let _ = write!(out, "{}{days} ", sign(self.days < 0));
            let _ = write!(out, "{}", sign(parts[3..].iter().any(|part| *part < 0)));
            return time(out);
        }
        if negative {
            out.put_u8(b'-');
        }
        if of_months {
            let _ = write!(out, "{years}-{months}");
            return;
        }
        if of_days {
            let _ = write!(out, "{days} ");
        }
        time(out);
    }

    fn write_iso(&self, out: &mut BytesMut) {
        let parts = self.parts();
        if parts.iter().all(|part| *part == 0) {
            return out.put_slice(b"PT0S");
        }
        out.put_u8(b'P');
        for (value, unit) in parts[..3].iter().zip(["Y", "M", "D"]).filter(|(v, _)| **v != 0) {
            let _ = write!(out, "{value}{unit}");
        }
        if parts[3..].iter().any(|part| *part != 0) {
            out.put_u8(b'T');
        }
        for (value, unit) in parts[3..5].iter().zip(["H", "M"]).filter(|(v, _)| **v != 0) {
            let _ = write!(out, "{value}{unit}");
        }
        if parts[5] != 0 {
            write_seconds(parts[5], 1, out);
            out.put_u8(b'S');
        }
    }
}

/// Writes seconds with their fraction, of microseconds.
fn write_seconds(micros: i64, width: usize, out: &mut BytesMut) {
    if micros < 0 {
        out.put_u8(b'-');
    }
    let (seconds, micros) = (micros.abs() / SECOND, micros.abs() % SECOND);
    let _ = write!(out, "{seconds:0width$}");
    if micros != 0 {
        let fraction = format!("{micros:06}");
        let _ = write!(out, ".{}", fraction.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::text;
    use super::*;

    #[test]
    fn timestamps_read_as_in_postgres() {
        let zone: Option<Tz> = "America/Los_Angeles".parse().ok();
        let at = |style| text(|out| write_timestamptz(882_373_036_000_000, zone, style, out));
        assert_eq!(at(Style::of("Postgres, MDY", "")), "Wed Dec 17 07:37:16 1997 PST");
        assert_eq!(at(Style::of("Postgres, DMY", "")), "Wed 17 Dec 07:37:16 1997 PST");
        assert_eq!(at(Style::of("SQL, MDY", "")), "12/17/1997 07:37:16 PST");
        assert_eq!(at(Style::of("German, DMY", "")), "17.12.1997 07:37:16 PST");
        assert_eq!(at(Style::default()), "1997-12-17 07:37:16-08");
        let day = |style| text(|out| write_date(0, style, out));
        assert_eq!(day(Style::of("Postgres, MDY", "")), "01-01-1970");
        let long_ago = text(|out| write_date(-800_000, Style::of("SQL, DMY", ""), out));
        assert_eq!(long_ago, "04/09/0222 BC");
    }

    #[test]
    fn intervals_read_as_in_postgres() {
        let of = |style, months, days, micros| {
            let style = Style::of("ISO, MDY", style);
            text(|out| write_interval(months, days, micros, style, out))
        };
        let micros = 14_706_700_000;
        assert_eq!(
            of("postgres_verbose", 14, 3, micros),
            "@ 1 year 2 mons 3 days 4 hours 5 mins 6.7 secs"
        );
        assert_eq!(of("postgres_verbose", 0, -1, 0), "@ 1 day ago");
        assert_eq!(of("postgres_verbose", 0, 0, 0), "@ 0");
        assert_eq!(of("sql_standard", 14, 3, micros), "+1-2 +3 +4:05:06.7");
        assert_eq!(of("sql_standard", -14, 0, 0), "-1-2");
        assert_eq!(of("sql_standard", 0, 3, micros), "3 4:05:06.7");
        assert_eq!(of("iso_8601", 14, 3, micros), "P1Y2M3DT4H5M6.7S");
        assert_eq!(of("iso_8601", 0, 0, 0), "PT0S");
    }
}
