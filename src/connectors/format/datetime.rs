//! Dates, times, timestamps and intervals from text.
//!
//! # Semantics
//! ISO 8601 as Postgres takes it: `2013-01-01T05:15:00`, a space instead of the `T`, seconds and
//! fraction optional, `20130101`; then `Z`, an offset (`+02`, `+0200`, `+02:00`) or the name of a
//! zone. Fractions are rounded to microseconds. Timestamps and dates may be `infinity`, `-infinity`
//! and `epoch`. A timestamp with time zone and without an offset is UTC. Not supported: month
//! names,
//! `DMY`/`MDY` orders, years before 1, AM and PM.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::{
    IntervalParseConfig, IntervalUnit, parse_interval_month_day_nano_config,
};
use arrow::datatypes::{IntervalMonthDayNano, TimeUnit};
use chrono::{Days, NaiveDate, TimeZone};

use super::value::{Problem, ValueError, scaled};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

type Result<T> = std::result::Result<T, ValueError>;

/// What a number means where a timestamp is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// Eight digits are a date (`20130101`); other numbers are errors.
    Date,
    /// An error: nothing says what it counts.
    Unknown,
    /// So many units since the epoch.
    Count(TimeUnit),
}

impl Digits {
    /// Returns the microseconds since the epoch that a text stands for if it is a number.
    pub fn timestamp(self, text: &str, type_name: &str) -> Option<Result<i64>> {
        let number = text.trim();
        // Digits are rounded half away from zero, as those of a fraction of a second are.
        let scale = match self {
            Digits::Date | Digits::Unknown | Digits::Count(TimeUnit::Microsecond) => 0,
            Digits::Count(TimeUnit::Second) => 6,
            Digits::Count(TimeUnit::Millisecond) => 3,
            Digits::Count(TimeUnit::Nanosecond) => -3,
        };
        let (value, _) = scaled(number, scale)?;
        match self {
            Digits::Date if number.len() == 8 && number.bytes().all(|b| b.is_ascii_digit()) => None,
            Digits::Date | Digits::Unknown => {
                let message = format!(
                    "invalid input syntax for type {type_name}: \"{number}\" is a number; say \
                     what it counts with time_unit = 's', 'ms', 'us' or 'ns'"
                );
                Some(Err(ValueError { problem: Problem::Datetime, message }))
            }
            Digits::Count(_) => Some(i64::try_from(value).map_err(|_| {
                let message = format!("timestamp out of range: \"{number}\"");
                ValueError { problem: Problem::DatetimeOverflow, message }
            })),
        }
    }
}

/// Returns the microseconds since the epoch; with `shift`, an offset is applied, else ignored.
pub fn parse_timestamp(text: &str, shift: bool, type_name: &str) -> Result<i64> {
    let trimmed = text.trim();
    match trimmed {
        "infinity" | "Infinity" | "+infinity" => return Ok(i64::MAX),
        "-infinity" | "-Infinity" => return Ok(i64::MIN),
        "epoch" => return Ok(0),
        _ => {}
    }
    let fail = |fault| fault_error(fault, type_name, text);
    let (date, rest) = take_date(trimmed).map_err(fail)?;
    let clock = rest.strip_prefix(['T', 't', ' ']).map(str::trim_start);
    let (time, zone) = match clock {
        Some(clock) if clock.starts_with(|c: char| c.is_ascii_digit()) => {
            take_time(clock).map_err(fail)?
        }
        Some(zone) if rest.starts_with(' ') => (0, zone),
        Some(_) => return Err(fail(Fault::Syntax)),
        None => (0, rest),
    };
    let local = days(date) * MICROS_PER_DAY + time;
    let offset = zone_offset(zone.trim(), local).map_err(fail)?;
    Ok(if shift { local - offset } else { local })
}

/// Returns the days since the epoch; a time of day is ignored.
pub fn parse_date(text: &str) -> Result<i32> {
    let micros = parse_timestamp(text, false, "date")?;
    if micros == i64::MAX || micros == i64::MIN {
        return Err(fault_error(Fault::Range, "date", text));
    }
    i32::try_from(micros.div_euclid(MICROS_PER_DAY))
        .map_err(|_| fault_error(Fault::Range, "date", text))
}

/// Returns the microseconds since midnight; an offset is checked and ignored.
pub fn parse_time(text: &str) -> Result<i64> {
    let fail = |fault| fault_error(fault, "time", text);
    let (time, zone) = take_time(text.trim()).map_err(fail)?;
    zone_offset(zone.trim(), 0).map_err(fail)?;
    Ok(time)
}

/// Returns the interval, in Postgres's verbose form (`1 day 02:03:04`); a bare number is seconds.
pub fn parse_interval(text: &str) -> Result<IntervalMonthDayNano> {
    let error = || ValueError {
        problem: Problem::Datetime,
        message: format!("invalid input syntax for type interval: \"{text}\""),
    };
    let trimmed = text.trim();
    let (words, ago) = match trimmed.strip_suffix("ago") {
        Some(words) => (words.trim_end(), true),
        None => (trimmed, false),
    };
    let words = words.strip_prefix('@').unwrap_or(words).trim();
    let value = interval_words(words).ok_or_else(error)?;
    if !ago {
        return Ok(value);
    }
    let negated = || {
        let months = value.months.checked_neg()?;
        let days = value.days.checked_neg()?;
        Some(IntervalMonthDayNano::new(months, days, value.nanoseconds.checked_neg()?))
    };
    negated().ok_or_else(error)
}

/// Returns the microseconds of a span of time without months, such as `500 ms` or `1 day`.
pub fn parse_span(text: &str) -> Option<i64> {
    let value = parse_interval(text).ok()?;
    let days = i64::from(value.days).checked_mul(MICROS_PER_DAY)?;
    (value.months == 0).then(|| days.checked_add(value.nanoseconds / 1000))?
}

/// Returns the interval of amounts with units, in which a clock time (`-02:03:04.5`) may stand.
fn interval_words(text: &str) -> Option<IntervalMonthDayNano> {
    let (clocks, amounts): (Vec<&str>, Vec<&str>) =
        text.split_ascii_whitespace().partition(|word| word.contains(':'));
    let mut value = match (clocks.len(), amounts.is_empty()) {
        (0, true) => return None,
        (_, true) => IntervalMonthDayNano::new(0, 0, 0),
        (_, false) => {
            let config = IntervalParseConfig::new(IntervalUnit::Second);
            parse_interval_month_day_nano_config(&amounts.join(" "), config).ok()?
        }
    };
    for clock in clocks {
        let (sign, digits) = match clock.as_bytes()[0] {
            b'-' => (-1, &clock[1..]),
            b'+' => (1, &clock[1..]),
            _ => (1, clock),
        };
        let (hours, rest) = digits.split_once(':')?;
        let hours: i64 = hours.parse::<u32>().ok()?.into();
        let minutes = format!("0:{rest}");
        let (micros, _) = take_time(&minutes).ok().filter(|(_, rest)| rest.is_empty())?;
        let nanos = hours.checked_mul(3600 * 1_000_000_000)?.checked_add(micros * 1000)?;
        value.nanoseconds = value.nanoseconds.checked_add(sign * nanos)?;
    }
    Some(value)
}

#[derive(Clone, Copy)]
enum Fault {
    Syntax,
    Range,
    Zone,
}

fn fault_error(fault: Fault, type_name: &str, text: &str) -> ValueError {
    let (problem, message) = match fault {
        Fault::Syntax => {
            (Problem::Datetime, format!("invalid input syntax for type {type_name}: \"{text}\""))
        }
        Fault::Range => {
            (Problem::DatetimeOverflow, format!("date/time field value out of range: \"{text}\""))
        }
        Fault::Zone => (Problem::Datetime, format!("time zone not recognized in \"{text}\"")),
    };
    ValueError { problem, message }
}

fn days(date: NaiveDate) -> i64 {
    let epoch = NaiveDate::default();
    date.signed_duration_since(epoch).num_days()
}

/// Takes `yyyy-mm-dd`, `yyyy/mm/dd` or `yyyymmdd` off the front.
fn take_date(text: &str) -> std::result::Result<(NaiveDate, &str), Fault> {
    let (year, rest) = take_digits(text, 8).ok_or(Fault::Syntax)?;
    let width = text.len() - rest.len();
    if width == 8 {
        let date = ymd(year / 10_000, year / 100 % 100, year % 100)?;
        return Ok((date, rest));
    }
    let separator = rest.chars().next().filter(|c| matches!(c, '-' | '/')).ok_or(Fault::Syntax)?;
    if width < 4 {
        return Err(Fault::Syntax);
    }
    let (month, rest) = take_digits(&rest[1..], 2).ok_or(Fault::Syntax)?;
    let rest = rest.strip_prefix(separator).ok_or(Fault::Syntax)?;
    let (day, rest) = take_digits(rest, 2).ok_or(Fault::Syntax)?;
    Ok((ymd(year, month, day)?, rest))
}

fn ymd(year: u32, month: u32, day: u32) -> std::result::Result<NaiveDate, Fault> {
    // chrono ends at year 262142; year 0 does not exist in Postgres.
    let year = i32::try_from(year).ok().filter(|year| *year > 0).ok_or(Fault::Range)?;
    NaiveDate::from_ymd_opt(year, month, day).ok_or(Fault::Range)
}

/// Takes `hh:mm[:ss[.fraction]]` or `hhmm[ss]` off the front; returns the microseconds.
fn take_time(text: &str) -> std::result::Result<(i64, &str), Fault> {
    let (hour, rest) = take_digits(text, 6).ok_or(Fault::Syntax)?;
    let width = text.len() - rest.len();
    let (hour, minute, second, rest) = match (width, rest.strip_prefix(':')) {
        (6, None) => (hour / 10_000, hour / 100 % 100, hour % 100, rest),
        (4, None) => (hour / 100, hour % 100, 0, rest),
        (1 | 2, Some(rest)) => {
            let (minute, rest) = take_digits(rest, 2).ok_or(Fault::Syntax)?;
            match rest.strip_prefix(':') {
                Some(rest) => {
                    let (second, rest) = take_digits(rest, 2).ok_or(Fault::Syntax)?;
                    (hour, minute, second, rest)
                }
                None => (hour, minute, 0, rest),
            }
        }
        _ => return Err(Fault::Syntax),
    };
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => take_fraction(rest),
        None => (0, rest),
    };
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let micros = seconds * MICROS_PER_SECOND + fraction;
    // Postgres takes 24:00:00 and a leap second, both of which carry over.
    if minute > 59 || second > 60 || micros > MICROS_PER_DAY {
        return Err(Fault::Range);
    }
    Ok((micros, rest))
}

/// Takes the digits after the point; returns microseconds, rounded.
fn take_fraction(text: &str) -> (i64, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let digits = text.as_bytes()[..end].iter().map(|b| i64::from(b - b'0'));
    let (micros, _) =
        digits.take(7).fold((0, MICROS_PER_SECOND), |(sum, unit), digit| match unit / 10 {
            0 => (sum + i64::from(digit >= 5), 0),
            unit => (sum + digit * unit, unit),
        });
    (micros, &text[end..])
}

/// Takes one to `max` digits off the front.
fn take_digits(text: &str, max: usize) -> Option<(u32, &str)> {
    let end = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
    let value = text[..end].parse().ok()?;
    Some((value, &text[end..]))
}

/// Returns how many microseconds the zone is ahead of UTC at a local time.
fn zone_offset(zone: &str, local: i64) -> std::result::Result<i64, Fault> {
    let sign = match zone.as_bytes().first() {
        None => return Ok(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return named_offset(zone, local),
    };
    let digits = &zone[1..];
    let (hour, rest) = take_digits(digits, 4).ok_or(Fault::Syntax)?;
    let (hour, minute, rest) = match (digits.len() - rest.len(), rest.strip_prefix(':')) {
        (1 | 2, Some(rest)) => {
            let (minute, rest) = take_digits(rest, 2).ok_or(Fault::Syntax)?;
            (hour, minute, rest)
        }
        (1 | 2, None) => (hour, 0, rest),
        (_, _) => (hour / 100, hour % 100, rest),
    };
    match rest {
        "" if hour <= 15 && minute <= 59 => {
            Ok(sign * (i64::from(hour) * 3600 + i64::from(minute) * 60) * MICROS_PER_SECOND)
        }
        "" => Err(Fault::Zone),
        _ => Err(Fault::Syntax),
    }
}

fn named_offset(zone: &str, local: i64) -> std::result::Result<i64, Fault> {
    if ["z", "utc", "gmt", "zulu"].iter().any(|name| zone.eq_ignore_ascii_case(name)) {
        return Ok(0);
    }
    if !zone.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(Fault::Syntax);
    }
    let tz: Tz = zone.parse().map_err(|_| Fault::Zone)?;
    let naive = |micros| chrono::DateTime::from_timestamp_micros(micros).map(|t| t.naive_utc());
    let wall = naive(local).ok_or(Fault::Range)?;
    // In a gap of the zone's clock the offset of the day before holds, as in Postgres.
    let instant = tz.from_local_datetime(&wall).latest().or_else(|| {
        tz.from_local_datetime(&wall.checked_sub_days(Days::new(1))?)
            .latest()?
            .checked_add_days(Days::new(1))
    });
    let instant = instant.ok_or(Fault::Range)?;
    let shifted = instant.naive_local().and_utc().timestamp_micros();
    Ok(shifted - instant.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_357_017_300_000_000; // 2013-01-01 05:15:00 UTC

    fn ts(text: &str) -> Result<i64> {
        parse_timestamp(text, true, "timestamp")
    }

    #[test]
    fn timestamps_in_every_iso_form() {
        for text in [
            "2013-01-01T05:15:00",
            "2013-01-01 05:15",
            " 2013-01-01 05:15:00.000 ",
            "2013-01-01T05:15:00Z",
            "2013-01-01 07:15:00+02",
            "2013-01-01T00:15:00-05:00",
            "2013-01-01 00:15:00 America/New_York",
            "20130101T051500",
            "2013-1-1 5:15",
        ] {
            assert_eq!(ts(text), Ok(AT), "{text}");
        }
        assert_eq!(ts("2013-01-01"), Ok(AT - 18_900 * MICROS_PER_SECOND));
        assert_eq!(ts("1970-01-01 00:00:00.1234567"), Ok(123_457));
        assert_eq!(ts("1969-12-31 24:00:00"), Ok(0));
        assert_eq!(ts("infinity"), Ok(i64::MAX));
        assert_eq!(parse_timestamp("2013-01-01 05:15:00+02", false, "timestamp"), Ok(AT));
    }

    #[test]
    fn bad_timestamps_say_which_way_they_are_bad() {
        for text in ["", "abc", "2013", "13-01-01", "2013-01-01X", "2013-01-01T", "2013-01-01 5é"]
        {
            assert_eq!(ts(text).map_err(|e| e.problem), Err(Problem::Datetime), "{text}");
        }
        for text in ["2013-13-01", "2013-02-29", "2013-01-01 25:00", "2013-01-01 05:61"] {
            assert_eq!(ts(text).map_err(|e| e.problem), Err(Problem::DatetimeOverflow), "{text}");
        }
        assert_eq!(ts("2013-01-01 Mars/Base").map_err(|e| e.problem), Err(Problem::Datetime));
    }

    #[test]
    fn numbers_count_what_is_said() {
        let at = |unit, text| Digits::Count(unit).timestamp(text, "timestamp").unwrap().unwrap();
        assert_eq!(at(TimeUnit::Second, "1357017300"), AT);
        assert_eq!(at(TimeUnit::Second, "1357017300.0000005"), AT + 1);
        assert_eq!(at(TimeUnit::Second, "1.3570173e9"), AT);
        assert_eq!(at(TimeUnit::Millisecond, " 1357017300000 "), AT);
        assert_eq!(at(TimeUnit::Microsecond, "-1"), -1);
        assert_eq!(at(TimeUnit::Nanosecond, "1357017300000000499"), AT);
        assert_eq!(at(TimeUnit::Nanosecond, "-1"), 0);
        assert_eq!(Digits::Unknown.timestamp("2013-01-01", "timestamp"), None);
        assert_eq!(Digits::Date.timestamp("20130101", "timestamp"), None);
        let problem = |digits: Digits, text| {
            digits.timestamp(text, "timestamp").unwrap().unwrap_err().problem
        };
        assert_eq!(problem(Digits::Unknown, "20130101"), Problem::Datetime);
        assert_eq!(problem(Digits::Date, "1357017300"), Problem::Datetime);
        let second = Digits::Count(TimeUnit::Second);
        assert_eq!(problem(second, "99999999999999"), Problem::DatetimeOverflow);
    }

    #[test]
    fn dates_times_and_intervals() {
        assert_eq!(parse_date("1970-01-11"), Ok(10));
        assert_eq!(parse_date("1969-12-31 23:00"), Ok(-1));
        assert_eq!(parse_date("infinity").unwrap_err().problem, Problem::DatetimeOverflow);
        assert_eq!(parse_time("05:15:00.5"), Ok(18_900_500_000));
        assert_eq!(parse_time("25:00").unwrap_err().problem, Problem::DatetimeOverflow);
        let interval = parse_interval("1 mon 2 days 01:00:00").unwrap();
        assert_eq!(interval, IntervalMonthDayNano::new(1, 2, 3_600_000_000_000));
        let ago = parse_interval("@ 2 days ago").unwrap();
        assert_eq!(ago, IntervalMonthDayNano::new(0, -2, 0));
        assert_eq!(parse_interval("x").unwrap_err().problem, Problem::Datetime);
        assert_eq!(parse_span("500 ms"), Some(500_000));
        assert_eq!(parse_span("1 day"), Some(MICROS_PER_DAY));
        assert_eq!(parse_span("1 month"), None);
    }
}
