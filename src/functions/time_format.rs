//! Times as text by a picture: `to_char(time, picture)`.
//!
//! # Semantics
//! Postgres's pictures, with English names. `FM` before a field leaves out its padding, `TH` or
//! `th` behind it makes an ordinal; `"text"` stands for itself. Reading is lenient as there: blanks
//! are skipped, any separator stands for any other, names have no case.

use arrow::datatypes::DataType;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike, Weekday};
use datafusion::common::{Result, ScalarValue};

use super::number_format::ordinal_end;
use super::zone;
use crate::sql::datetime::{JULIAN, MONTHS};
use crate::sql::output::style::{abbreviation, offset_text};

/// How a name is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Case {
    Upper,
    Title,
    Lower,
}

/// A field of a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field {
    Hour12,
    Hour24,
    Minute,
    Second,
    /// Digits of the fraction of a second.
    Fraction(usize),
    SecondOfDay,
    /// `AM`, with points or without.
    HalfDay(bool, Case),
    /// The last digits of the year.
    Year(usize),
    YearWithComma,
    IsoYear(usize),
    Era(bool, Case),
    /// In full, or three letters.
    MonthName(bool, Case),
    Month,
    RomanMonth(Case),
    DayName(bool, Case),
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    Week,
    IsoWeek,
    Century,
    JulianDay,
    Quarter,
    Zone(Case),
    ZoneHour,
    ZoneMinute,
    ZoneOffset,
}

/// A part of a picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Field { field: Field, fill: bool, ordinal: Option<bool> },
    Text(char),
}

/// Fields whose case does not matter, longer ones before their beginnings.
const PLAIN: [(&str, Field); 39] = [
    ("SSSSS", Field::SecondOfDay),
    ("Y,YYY", Field::YearWithComma),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("IDDD", Field::IsoDayOfYear),
    ("IYYY", Field::IsoYear(4)),
    ("SSSS", Field::SecondOfDay),
    ("YYYY", Field::Year(4)),
    ("DDD", Field::DayOfYear),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("IYY", Field::IsoYear(3)),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("YYY", Field::Year(3)),
    ("CC", Field::Century),
    ("DD", Field::Day),
    ("HH", Field::Hour12),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IY", Field::IsoYear(2)),
    ("MI", Field::Minute),
    ("MM", Field::Month),
    ("MS", Field::Fraction(3)),
    ("OF", Field::ZoneOffset),
    ("SS", Field::Second),
    ("US", Field::Fraction(6)),
    ("WW", Field::Week),
    ("YY", Field::Year(2)),
    ("D", Field::DayOfWeek),
    ("I", Field::IsoYear(1)),
    ("J", Field::JulianDay),
    ("Q", Field::Quarter),
    ("W", Field::WeekOfMonth),
    ("Y", Field::Year(1)),
];

/// Fields that are words.
fn word(text: &str) -> Option<(usize, Field)> {
    type OfCase = fn(Case) -> Field;
    let words: [(&str, OfCase); 14] = [
        ("month", |case| Field::MonthName(true, case)),
        ("mon", |case| Field::MonthName(false, case)),
        ("day", |case| Field::DayName(true, case)),
        ("dy", |case| Field::DayName(false, case)),
        ("a.m.", |case| Field::HalfDay(true, case)),
        ("p.m.", |case| Field::HalfDay(true, case)),
        ("am", |case| Field::HalfDay(false, case)),
        ("pm", |case| Field::HalfDay(false, case)),
        ("b.c.", |case| Field::Era(true, case)),
        ("a.d.", |case| Field::Era(true, case)),
        ("bc", |case| Field::Era(false, case)),
        ("ad", |case| Field::Era(false, case)),
        ("rm", Field::RomanMonth),
        ("tz", Field::Zone),
    ];
    let (name, field) = words.into_iter().find(|(name, _)| {
        text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    })?;
    let mut letters = text.chars().filter(|c| c.is_alphabetic());
    let upper = |c: Option<char>| c.is_some_and(char::is_uppercase);
    let case = match (upper(letters.next()), upper(letters.next())) {
        (true, true) => Case::Upper,
        (true, false) => Case::Title,
        (false, _) => Case::Lower,
    };
    Some((name.len(), field(case)))
}

/// Reads a picture.
pub(super) fn parse(picture: &str) -> Vec<Part> {
    let (mut parts, mut rest) = (Vec::new(), picture);
    while let Some(next) = rest.chars().next() {
        let mut ahead = rest;
        let mut fill = false;
        while let Some(prefix) = ahead.get(..2).filter(|prefix| {
            ["FM", "TM", "FX"].iter().any(|known| known.eq_ignore_ascii_case(prefix))
        }) {
            fill |= prefix.eq_ignore_ascii_case("FM");
            ahead = &ahead[2..];
        }
        if ahead.len() < rest.len() && ahead.is_empty() {
            break;
        }
        let plain = || {
            let start =
                |name: &str| ahead.get(..name.len()).is_some_and(|s| s.eq_ignore_ascii_case(name));
            PLAIN.iter().find(|(name, _)| start(name)).map(|(name, field)| (name.len(), *field))
        };
        // `TZH` begins as `TZ`, `Day` as `D`.
        let zone = ahead
            .get(..3)
            .is_some_and(|s| s.eq_ignore_ascii_case("TZH") || s.eq_ignore_ascii_case("TZM"));
        let found = if zone { plain() } else { word(ahead).or_else(plain) };
        if let Some((length, field)) = found {
            rest = &ahead[length..];
            let end = rest.get(..2).filter(|end| end.eq_ignore_ascii_case("TH"));
            let ordinal = end.map(|end| end.starts_with('T'));
            rest = if ordinal.is_some() { &rest[2..] } else { rest };
            parts.push(Part::Field { field, fill, ordinal });
        } else if next == '"' {
            let mut chars = rest[1..].char_indices();
            let mut end = rest.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        end = at + 2;
                        break;
                    }
                    '\\' => parts.extend(chars.next().map(|(_, c)| Part::Text(c))),
                    c => parts.push(Part::Text(c)),
                }
            }
            rest = &rest[end..];
        } else if next == '\\' && rest.len() > 1 {
            let escaped = rest[1..].chars().next().unwrap_or('\\');
            parts.push(Part::Text(escaped));
            rest = &rest[1 + escaped.len_utf8()..];
        } else {
            parts.push(Part::Text(next));
            rest = &rest[next.len_utf8()..];
        }
    }
    parts
}

/// A time, or an interval as if it were one.
struct Shown {
    /// The date; none of an interval.
    date: Option<NaiveDate>,
    years: i32,
    months: i32,
    days: i32,
    hours: i64,
    /// Within the hour.
    micros: i64,
    /// The abbreviation of the zone, and seconds east of Greenwich.
    zone: Option<(String, i32)>,
}

impl Shown {
    fn of(value: &ScalarValue, zone: &str) -> Result<Option<Self>> {
        let micros = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
        if let ScalarValue::IntervalMonthDayNano(Some(span)) = value {
            let micros = span.nanoseconds / 1_000;
            return Ok(Some(Self {
                date: None,
                years: span.months / 12,
                months: span.months % 12,
                days: span.days,
                hours: micros / HOUR,
                micros: micros % HOUR,
                zone: None,
            }));
        }
        let zoned = matches!(value.data_type(), DataType::Timestamp(_, Some(_)));
        let ScalarValue::TimestampMicrosecond(Some(at), _) = value.cast_to(&micros)? else {
            return Ok(None);
        };
        // Infinity has no fields.
        let Some(time) = DateTime::from_timestamp_micros(at).filter(|_| at != i64::MIN) else {
            return Ok(None);
        };
        let mut time = time.naive_utc();
        let zone = match zone {
            _ if !zoned => None,
            "" => Some(("UTC".to_owned(), 0)),
            name => {
                let (zone, at_utc) = (zone::zone(name)?, time);
                let offset = zone::offset_at(zone, at)?;
                time += TimeDelta::seconds(offset.into());
                Some((abbreviation(zone, at_utc), offset))
            }
        };
        let of_hour = i64::from(time.minute() * 60 + time.second()) * 1_000_000;
        Ok(Some(Self {
            date: Some(time.date()),
            years: time.year(),
            months: time.month().cast_signed(),
            days: time.day().cast_signed(),
            hours: time.hour().into(),
            micros: of_hour + i64::from(time.nanosecond() / 1_000),
            zone,
        }))
    }

    /// What a field shows: digits and their width, or a text and its width.
    fn field(&self, field: Field) -> Option<(String, usize)> {
        // The year before 1 is 1 BC.
        let positive = |year: i32| if year > 0 || self.date.is_none() { year } else { 1 - year };
        let number = |value: i64, width: usize| {
            let signed = width + usize::from(value < 0 && width > 0);
            Some((format!("{value:0signed$}"), width))
        };
        let last = |year: i32, digits: usize| {
            let value = i64::from(positive(year));
            let digits_of = 10_i64.pow(u32::try_from(digits).unwrap_or(4));
            number(if digits < 4 { value % digits_of } else { value }, digits)
        };
        let text = |text: String, width: usize| Some((format!("{text:<width$}"), 0));
        let date = self.date;
        match field {
            Field::Hour24 => number(self.hours, 2),
            Field::Hour12 => number(if self.hours % 12 == 0 { 12 } else { self.hours % 12 }, 2),
            Field::Minute => number(self.micros / MINUTE, 2),
            Field::Second => number(self.micros % MINUTE / SECOND, 2),
            Field::Fraction(digits) => {
                let digits_cut = 10_i64.pow(u32::try_from(6 - digits).unwrap_or(0));
                number(self.micros % SECOND / digits_cut, digits)
            }
            Field::SecondOfDay => number(self.hours * 3600 + self.micros / SECOND, 0),
            Field::HalfDay(points, case) => {
                let half = if self.hours % 24 >= 12 { "pm" } else { "am" };
                text(cased(&pointed(half, points), case), 0)
            }
            Field::Year(digits) => last(self.years, digits),
            Field::YearWithComma => {
                let year = positive(self.years);
                Some((format!("{},{:03}", year / 1000, year % 1000), 0))
            }
            Field::IsoYear(digits) => last(date?.iso_week().year(), digits),
            Field::Era(points, case) => {
                let era = if self.years > 0 { "ad" } else { "bc" };
                text(cased(&pointed(era, points), case), 0)
            }
            Field::MonthName(full, case) => {
                let month = usize::try_from(self.months).ok()?.checked_sub(1)?;
                name(MONTHS[month], full, case)
            }
            Field::Month => number(self.months.into(), 2),
            Field::RomanMonth(case) => {
                let month = usize::try_from(self.months).ok()?.checked_sub(1)?;
                let roman = ROMAN_MONTHS[month];
                text(cased(roman, if case == Case::Lower { case } else { Case::Upper }), 4)
            }
            Field::DayName(full, case) => {
                let day = date?.weekday().num_days_from_monday();
                name(DAYS[usize::try_from(day).ok()?], full, case)
            }
            Field::DayOfYear => number(date?.ordinal().into(), 3),
            Field::IsoDayOfYear => {
                let week = date?.iso_week();
                let first = NaiveDate::from_isoywd_opt(week.year(), 1, Weekday::Mon)?;
                number((date? - first).num_days() + 1, 3)
            }
            Field::Day => number(self.days.into(), 2),
            Field::DayOfWeek => number(i64::from(date?.weekday().num_days_from_sunday()) + 1, 0),
            Field::IsoDayOfWeek => number(date?.weekday().number_from_monday().into(), 0),
            Field::WeekOfMonth => number(i64::from(date?.day0()) / 7 + 1, 0),
            Field::Week => number(i64::from(date?.ordinal0()) / 7 + 1, 2),
            Field::IsoWeek => number(date?.iso_week().week().into(), 2),
            Field::Century => number(i64::from(positive(self.years) - 1) / 100 + 1, 2),
            Field::JulianDay => number(i64::from(date?.num_days_from_ce()) + JULIAN, 0),
            Field::Quarter => number(i64::from(self.months - 1) / 3 + 1, 0),
            Field::Zone(_) | Field::ZoneOffset | Field::ZoneHour | Field::ZoneMinute => {
                text(self.zone_field(field), 0)
            }
        }
    }

    fn zone_field(&self, field: Field) -> String {
        let (name, offset) = self.zone.as_ref().map_or(("", 0), |(name, offset)| (name, *offset));
        match field {
            Field::Zone(Case::Lower) => name.to_lowercase(),
            Field::Zone(_) => name.to_uppercase(),
            Field::ZoneHour => {
                format!("{}{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600)
            }
            Field::ZoneMinute => format!("{:02}", offset.abs() / 60 % 60),
            _ => offset_text(offset),
        }
    }
}

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

const ROMAN_MONTHS: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

pub(super) const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

fn pointed(text: &str, points: bool) -> String {
    text.chars().flat_map(|c| [Some(c), points.then_some('.')]).flatten().collect()
}

fn cased(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Lower => text.to_lowercase(),
        Case::Title => {
            let mut chars = text.chars();
            let first = chars.next().map(|c| c.to_uppercase().collect::<String>());
            first.unwrap_or_default() + chars.as_str()
        }
    }
}

/// A name in full, as wide as the longest one, or its first three letters.
fn name(name: &str, full: bool, case: Case) -> Option<(String, usize)> {
    let text = cased(if full { name } else { &name[..3] }, case);
    Some((if full { format!("{text:<9}") } else { text }, 0))
}

/// `to_char` of a time, instants as the clocks of a zone show them, UTC if it has no name; `None`
/// of one without fields.
pub(super) fn to_char(value: &ScalarValue, picture: &str, zone: &str) -> Result<Option<String>> {
    let Some(shown) = Shown::of(value, zone)? else { return Ok(None) };
    let mut out = String::new();
    for part in parse(picture) {
        let (field, fill, ordinal) = match part {
            Part::Text(text) => {
                out.push(text);
                continue;
            }
            Part::Field { field, fill, ordinal } => (field, fill, ordinal),
        };
        // What an interval has not is left out.
        let Some((text, width)) = shown.field(field) else { continue };
        let fraction = matches!(field, Field::Fraction(_));
        let text = match fill && !fraction {
            true if width > 0 => {
                let bare = text.trim_start_matches('0');
                if bare.is_empty() { "0".to_owned() } else { bare.to_owned() }
            }
            true => text.trim_end().to_owned(),
            false => text,
        };
        out.push_str(&text);
        if let Some(capitals) = ordinal {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            let last_two = digits[digits.len().saturating_sub(2)..].parse();
            if let Ok(last_two) = last_two {
                let end = ordinal_end(last_two);
                out.push_str(&if capitals { end.to_uppercase() } else { end.to_owned() });
            }
        }
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::IntervalMonthDayNano;
    use chrono::NaiveDateTime;

    use super::*;

    fn at(text: &str) -> ScalarValue {
        let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").expect("a time");
        ScalarValue::TimestampMicrosecond(Some(time.and_utc().timestamp_micros()), None)
    }

    #[test]
    fn times_are_printed_as_in_postgres() {
        let time = at("2002-04-20 17:31:12.66");
        let examples = [
            ("HH12:MI:SS", "05:31:12"),
            ("YYYY-MM-DD HH24:MI:SS.US", "2002-04-20 17:31:12.660000"),
            ("Day, DD  HH12:MI:SS", "Saturday , 20  05:31:12"),
            ("FMDay, FMDD  HH12:MI:SS", "Saturday, 20  05:31:12"),
            ("DAY Dy dy", "SATURDAY  Sat sat"),
            ("FMMonth MON mon", "April APR apr"),
            ("Month|", "April    |"),
            ("DDth Month", "20th April    "),
            ("FMMM", "4"),
            ("Q WW IW W D ID DDD J", "2 16 16 3 7 6 110 2452385"),
            ("IYYY-IW-ID IDDD", "2002-16-6 111"),
            ("CC YY Y,YYY", "21 02 2,002"),
            ("HH12 AM p.m. BC", "05 PM p.m. AD"),
            ("SSSS MS FF2", "63072 660 66"),
            ("\"today is\" DD", "today is 20"),
            ("RM", "IV  "),
            ("TZ OF", " +00"),
        ];
        for (picture, expected) in examples {
            let printed = to_char(&time, picture, "").expect("it can be printed");
            assert_eq!(printed.as_deref(), Some(expected), "{picture}");
        }
        let span = IntervalMonthDayNano::new(14, 3, 15 * HOUR * 1_000 + 2 * MINUTE * 1_000);
        let span = ScalarValue::IntervalMonthDayNano(Some(span));
        let printed = to_char(&span, "YYYY MM DD HH24:MI:SS", "").expect("it can be printed");
        assert_eq!(printed.as_deref(), Some("0001 02 03 15:02:00"));
    }
}
