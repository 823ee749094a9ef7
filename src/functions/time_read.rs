//! Times out of text by a picture: `to_timestamp(text, picture)` and `to_date`.
//!
//! # Semantics
//! Postgres's, which is lenient: blanks are skipped, any separator stands for any other, names have
//! no case. What the picture does not name is the beginning of what it does.

use chrono::{NaiveDate, NaiveDateTime, TimeDelta, Weekday};
use datafusion::common::Result;

use super::error::failure;
use super::time_format::{DAYS, Field, Part, parse};
use crate::error::SqlState;
use crate::sql::datetime::{JULIAN, MONTHS};

/// What was read of a time.
#[derive(Default)]
struct Read {
    year: Option<i32>,
    before_christ: bool,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    julian: Option<i64>,
    iso: (Option<i32>, Option<u32>, Option<u32>),
    hour: i64,
    twelve: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    second_of_day: Option<i64>,
}

/// `to_timestamp` and `to_date`: the time that a text says by a picture.
pub(super) fn read(text: &str, picture: &str) -> Result<NaiveDateTime> {
    let parts = parse(picture);
    let (mut read, mut rest) = (Read::default(), text);
    for (i, part) in parts.iter().enumerate() {
        rest = rest.trim_start();
        match part {
            Part::Text(c) if c.is_whitespace() => {}
            Part::Text(c) => {
                // A separator stands for any other; other text is skipped as it is.
                let next = rest.chars().next();
                let separator = |c: &char| !c.is_alphanumeric() && *c != '+' && *c != '-';
                let skipped = match c.is_alphanumeric() {
                    true => next,
                    false => next.filter(|n| separator(n) || *n == '-'),
                };
                rest = skipped.map_or(rest, |skipped| &rest[skipped.len_utf8()..]);
            }
            Part::Field { field, ordinal, .. } => {
                // Before another number only so many digits belong to this one.
                let adjacent = matches!(parts.get(i + 1), Some(Part::Field { .. }));
                let skipped = rest.trim_start_matches(['/', '-', '.', ',', ':', ';', ' ']);
                rest = if skipped.starts_with(char::is_alphanumeric) { skipped } else { rest };
                rest = read.field(*field, adjacent, rest)?;
                if ordinal.is_some() {
                    rest = rest.get(2..).unwrap_or("");
                }
            }
        }
    }
    let out_of_range = || {
        let what = format!("date/time field value out of range: \"{text}\"");
        failure(SqlState::DATETIME_FIELD_OVERFLOW, what)
    };
    read.time(out_of_range)
}

impl Read {
    /// Reads a field from the beginning of a text; returns the rest.
    fn field<'t>(&mut self, field: Field, adjacent: bool, text: &'t str) -> Result<&'t str> {
        let width = match field {
            Field::Year(digits) | Field::IsoYear(digits) | Field::Fraction(digits) => digits,
            Field::DayOfYear => 3,
            Field::SecondOfDay => 5,
            Field::DayOfWeek | Field::IsoDayOfWeek | Field::Quarter => 1,
            Field::JulianDay => 7,
            _ => 2,
        };
        let digits = || {
            let count = text.bytes().take_while(u8::is_ascii_digit).count();
            let limit = if adjacent || width < 3 { width } else { usize::MAX };
            let (digits, rest) = text.split_at(count.min(limit));
            match digits.parse::<i64>() {
                Ok(number) => Ok((number, digits.len(), rest)),
                Err(_) => Err(invalid(text, field)),
            }
        };
        let small = |number: i64| u32::try_from(number).map_err(|_| invalid(text, field));
        let year = |number: i64| i32::try_from(number).map_err(|_| invalid(text, field));
        match field {
            Field::MonthName(..) => {
                let (month, rest) = named(text, &MONTHS).ok_or_else(|| invalid(text, field))?;
                self.month = Some(small(month + 1)?);
                return Ok(rest);
            }
            Field::DayName(..) => {
                return Ok(named(text, &DAYS).ok_or_else(|| invalid(text, field))?.1);
            }
            Field::HalfDay(..) | Field::Era(..) => {
                let known = ["am", "pm", "ad", "bc"];
                let plain: String = text.chars().filter(|c| *c != '.').take(2).collect();
                let found = known.iter().position(|k| k.eq_ignore_ascii_case(&plain));
                match found.ok_or_else(|| invalid(text, field))? {
                    half @ (0 | 1) => self.afternoon = Some(half == 1),
                    era => self.before_christ = era == 3,
                }
                let points = text.get(1..2) == Some(".");
                return Ok(text.get(if points { 4 } else { 2 }..).unwrap_or(""));
            }
            Field::Quarter => return Ok(digits()?.2),
            _ => {}
        }
        let (number, length, rest) = digits()?;
        match field {
            Field::Hour24 => self.hour = number,
            Field::Hour12 => (self.hour, self.twelve) = (number, true),
            Field::Minute => self.minute = number,
            Field::Second => self.second = number,
            Field::Fraction(_) => {
                let missing = u32::try_from(6_usize.saturating_sub(length)).unwrap_or(0);
                self.micros = number * 10_i64.pow(missing);
            }
            Field::SecondOfDay => self.second_of_day = Some(number),
            Field::Year(4) => self.year = Some(year(number)?),
            Field::Year(_) if length < 4 => self.year = Some(year(nearest(number))?),
            Field::Year(_) => self.year = Some(year(number)?),
            Field::IsoYear(_) => self.iso.0 = Some(year(number)?),
            Field::IsoWeek => self.iso.1 = Some(small(number)?),
            Field::IsoDayOfWeek => self.iso.2 = Some(small(number)?),
            Field::Month => self.month = Some(small(number)?),
            Field::Day => self.day = Some(small(number)?),
            Field::DayOfYear => self.day_of_year = Some(small(number)?),
            Field::JulianDay => self.julian = Some(number),
            _ => {
                let what = format!("formatting field {field:?} is only supported in to_char");
                return Err(failure(SqlState::FEATURE_NOT_SUPPORTED, what));
            }
        }
        Ok(rest)
    }

    fn time(
        self,
        out_of_range: impl Fn() -> datafusion::error::DataFusionError,
    ) -> Result<NaiveDateTime> {
        let year = self.year.map_or(0, |year| if self.before_christ { 1 - year } else { year });
        let date = match (self.julian, self.iso, self.day_of_year) {
            (Some(day), _, _) => {
                i32::try_from(day - JULIAN).ok().and_then(NaiveDate::from_num_days_from_ce_opt)
            }
            (_, (Some(year), week, day), _) => {
                let day = Weekday::try_from(u8::try_from(day.unwrap_or(1) - 1).unwrap_or(7));
                let day = day.map_err(|_| out_of_range())?;
                NaiveDate::from_isoywd_opt(year, week.unwrap_or(1), day)
            }
            (_, _, Some(day)) => NaiveDate::from_yo_opt(year, day),
            _ => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        let mut hour = self.hour;
        if self.twelve {
            if !(1..=12).contains(&hour) {
                let what = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(failure(SqlState::INVALID_DATETIME_FORMAT, what));
            }
            hour = match self.afternoon {
                Some(afternoon) => hour % 12 + if afternoon { 12 } else { 0 },
                None => hour,
            };
        }
        let fits = hour < 24 && self.minute < 60 && self.second < 60;
        let seconds = self.second_of_day.unwrap_or(hour * 3600 + self.minute * 60 + self.second);
        let time = date.filter(|_| fits && seconds < 86_400).and_then(|date| {
            let span = TimeDelta::seconds(seconds) + TimeDelta::microseconds(self.micros);
            date.and_hms_opt(0, 0, 0)?.checked_add_signed(span)
        });
        time.ok_or_else(out_of_range)
    }
}

/// The year nearest to 2020 that ends so.
fn nearest(year: i64) -> i64 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        _ => year + 1000,
    }
}

fn invalid(text: &str, field: Field) -> datafusion::error::DataFusionError {
    let found: String = text.chars().take(8).collect();
    let what = format!("invalid value \"{found}\" for {field:?}");
    failure(SqlState::INVALID_DATETIME_FORMAT, what)
}

/// Finds a name, in full or its first three letters, at the beginning of a text.
fn named<'t>(text: &'t str, names: &[&str]) -> Option<(i64, &'t str)> {
    let starts =
        |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let full = names.iter().position(|name| starts(name)).map(|i| (i, names[i].len()));
    let found = full.or_else(|| Some((names.iter().position(|name| starts(&name[..3]))?, 3)));
    let (index, length) = found?;
    Some((i64::try_from(index).ok()?, &text[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_in_postgres() {
        let examples = [
            ("05 Dec 2000", "DD Mon YYYY", "2000-12-05 00:00:00"),
            ("2000    JUN", "YYYY MON", "2000-06-01 00:00:00"),
            ("97/2/16 8:14:30", "FMYY/FMMM/FMDD FMHH:FMMI:FMSS", "1997-02-16 08:14:30"),
            ("20000-1131", "YYYY-MMDD", "out of range"),
            ("20011122", "YYYYMMDD", "2001-11-22 00:00:00"),
            ("2011-12-18 11:38 PM", "YYYY-MM-DD HH12:MI PM", "2011-12-18 23:38:00"),
            ("12:3", "SS:MS", "0000-01-01 00:00:12.300"),
            ("2005 100", "YYYY DDD", "2005-04-10 00:00:00"),
            ("2006-42-4", "IYYY-IW-ID", "2006-10-19 00:00:00"),
            ("2455000", "J", "2009-06-17 00:00:00"),
            ("15 text 2012", "DD \"text\" YYYY", "2012-01-15 00:00:00"),
            ("99", "DD", "out of range"),
            ("x", "DD", "invalid value"),
            ("13 PM", "HH12 PM", "12-hour clock"),
        ];
        for (text, picture, expected) in examples {
            match read(text, picture) {
                Ok(time) => assert_eq!(time.to_string(), expected, "{text} as {picture}"),
                Err(error) => assert!(error.to_string().contains(expected), "{text}: {error}"),
            }
        }
    }
}
