//! Dates and times as text, in the forms that Postgres reads.
//!
//! # Semantics
//! A text is a list of fields in almost any order: dates (`2024-01-31`, `1/31/2024`, `31-Jan-99`,
//! `January 31, 2024`, `20240131`, `2024-031`, `J2451187`), times (`10:00`, `10:00:01.5 PM`,
//! `100001` behind a date), zones (`+02`, `Z`, `CET`, `Europe/Vienna`), `BC`, names of weekdays,
//! which say nothing, and `epoch`, `infinity`, `allballs`. Of numbers whose place is open the month
//! comes first, as `DateStyle` MDY says, unless the order of the caller is another.

use chrono::NaiveDate;

pub use fields::MONTHS;
use fields::{Field, fields, month};
pub use part::Part;

mod fields;
mod part;

/// In which order day, month and year come where a text does not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DateOrder {
    /// `1/31/99`.
    #[default]
    MonthDayYear,
    /// `31/1/99`.
    DayMonthYear,
    /// `99/1/31`.
    YearMonthDay,
}

/// What a text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DateTime {
    /// The first instant of Unix.
    Epoch,
    /// After all times.
    Infinity,
    /// Before all times.
    MinusInfinity,
    /// Parts of a time.
    Parts(Parts),
}

/// Parts of a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The day.
    pub date: Option<NaiveDate>,
    /// Microseconds since midnight; 24:00 is the end of the day.
    pub time: Option<i64>,
    /// The zone.
    pub zone: Option<Zone>,
}

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Seconds east of Greenwich.
    Offset(i32),
    /// A name, which need not exist.
    Named(String),
}

/// Why a text says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is no date or time.
    Syntax,
    /// A day, month or hour that there is not.
    OutOfRange,
}

type Result<T> = std::result::Result<T, Malformed>;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Days from the day before the common era to that of Julian day 0.
pub const JULIAN: i64 = 1_721_425;

/// Words that say nothing: weekdays, and what stands between fields.
const FILLERS: [&str; 22] = [
    "sun",
    "sunday",
    "mon",
    "monday",
    "tue",
    "tues",
    "tuesday",
    "wed",
    "weds",
    "wednesday",
    "thu",
    "thur",
    "thurs",
    "thursday",
    "fri",
    "friday",
    "sat",
    "saturday",
    "at",
    "on",
    "t",
    "the",
];

/// Abbreviations of zones, in minutes east of Greenwich.
const ZONES: [(&str, i32); 42] = [
    ("z", 0),
    ("utc", 0),
    ("ut", 0),
    ("gmt", 0),
    ("zulu", 0),
    ("wet", 0),
    ("west", 60),
    ("bst", 60),
    ("cet", 60),
    ("met", 60),
    ("cest", 120),
    ("mest", 120),
    ("eet", 120),
    ("ist", 120),
    ("sast", 120),
    ("eest", 180),
    ("msk", 180),
    ("msd", 240),
    ("gst", 240),
    ("pkt", 300),
    ("ict", 420),
    ("hkt", 480),
    ("awst", 480),
    ("sgt", 480),
    ("jst", 540),
    ("kst", 540),
    ("acst", 570),
    ("aest", 600),
    ("aedt", 660),
    ("nzst", 720),
    ("nzdt", 780),
    ("ast", -240),
    ("adt", -180),
    ("edt", -240),
    ("est", -300),
    ("cdt", -300),
    ("cst", -360),
    ("mdt", -360),
    ("mst", -420),
    ("pdt", -420),
    ("pst", -480),
    ("hst", -600),
];

/// Reads a text.
pub fn parse(text: &str, order: DateOrder) -> Result<DateTime> {
    let text = text.trim();
    match text.to_ascii_lowercase().as_str() {
        "epoch" => return Ok(DateTime::Epoch),
        "infinity" | "+infinity" | "inf" => return Ok(DateTime::Infinity),
        "-infinity" | "-inf" => return Ok(DateTime::MinusInfinity),
        _ => {}
    }
    let mut read = Read { order, ..Read::default() };
    for field in fields(text)? {
        read.field(field)?;
    }
    read.finish().map(DateTime::Parts)
}

/// What was read so far.
#[derive(Default)]
struct Read {
    order: DateOrder,
    year: Option<i32>,
    /// Whether the year has two digits at most.
    short_year: bool,
    month: Option<u32>,
    named_month: bool,
    day: Option<u32>,
    day_of_year: Option<u32>,
    julian: Option<i64>,
    julian_next: bool,
    time: Option<i64>,
    afternoon: Option<bool>,
    before_christ: bool,
    zone: Option<Zone>,
}

fn number<T: std::str::FromStr>(digits: &str) -> Result<T> {
    digits.parse().map_err(|_| Malformed::OutOfRange)
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::Syntax),
    }
}

impl Read {
    fn has_date(&self) -> bool {
        (self.year.is_some() && self.day.is_some() && self.month.is_some())
            || self.day_of_year.is_some()
            || self.julian.is_some()
    }

    fn field(&mut self, field: Field<'_>) -> Result<()> {
        match field {
            Field::Number(digits) => self.number(digits),
            Field::Date(parts) => parts.into_iter().try_for_each(|part| {
                match part.starts_with(|c: char| c.is_ascii_digit()) {
                    true => self.part_of_date(part),
                    false => self.named_month(part),
                }
            }),
            Field::Time(text) => once(&mut self.time, clock(text)?),
            Field::Word(word) => self.word(word),
            Field::Offset(text) => once(&mut self.zone, Zone::Offset(offset(text)?)),
        }
    }

    fn named_month(&mut self, name: &str) -> Result<()> {
        let month = month(name).ok_or(Malformed::Syntax)?;
        // The number before it was the day then.
        if let (Some(other), false, None) = (self.month, self.named_month, self.day) {
            self.day = Some(other);
            self.month = None;
        }
        self.named_month = true;
        once(&mut self.month, month)
    }

    /// A number that stands alone.
    fn number(&mut self, digits: &str) -> Result<()> {
        if std::mem::take(&mut self.julian_next) {
            let whole = digits.split('.').next().unwrap_or(digits);
            return once(&mut self.julian, number(whole)?);
        }
        let whole = digits.split('.').next().unwrap_or(digits);
        match (whole.len(), self.has_date()) {
            (4 | 6, true) if self.time.is_none() => {
                let seconds = whole.get(4..).unwrap_or("00");
                let fraction = &digits[whole.len()..];
                let text = format!("{}:{}:{seconds}{fraction}", &whole[..2], &whole[2..4]);
                once(&mut self.time, clock(&text)?)
            }
            (_, true) => Err(Malformed::Syntax),
            (8.., false) if self.year.is_none() && self.day.is_none() => {
                let (year, rest) = whole.split_at(whole.len() - 4);
                self.year = Some(number(year)?);
                self.month = Some(number(&rest[..2])?);
                self.day = Some(number(&rest[2..])?);
                Ok(())
            }
            (6, false) if self.year.is_none() && self.day.is_none() => {
                (self.year, self.short_year) = (Some(number(&whole[..2])?), true);
                self.month = Some(number(&whole[2..4])?);
                self.day = Some(number(&whole[4..])?);
                Ok(())
            }
            _ => self.part_of_date(whole),
        }
    }

    /// A number of day, month or year, by what is known already.
    fn part_of_date(&mut self, digits: &str) -> Result<()> {
        let long = digits.len() >= 3;
        let first = self.year.is_none() && self.month.is_none() && self.day.is_none();
        if digits.len() == 3 && self.year.is_some() && self.month.is_none() && self.day.is_none() {
            return once(&mut self.day_of_year, number(digits)?);
        }
        let (year, month, day) = (self.year.is_some(), self.month.is_some(), self.day.is_some());
        let by_year = self.order == DateOrder::YearMonthDay;
        match (year, month, day) {
            _ if first && (long || by_year) => self.set_year(digits),
            _ if first && self.order == DateOrder::DayMonthYear => {
                once(&mut self.day, number(digits)?)
            }
            (false, false, _) | (true, false, false) => once(&mut self.month, number(digits)?),
            (false, true, false) if self.named_month && (long || by_year) => self.set_year(digits),
            (true, true, false) if self.named_month && long && self.short_year => {
                // What was taken for the year was the day.
                let day = self.year.take().and_then(|year| u32::try_from(year).ok());
                self.day = day;
                self.short_year = false;
                self.set_year(digits)
            }
            (_, true, false) => once(&mut self.day, number(digits)?),
            (false, true, true) => self.set_year(digits),
            _ => Err(Malformed::Syntax),
        }
    }

    fn set_year(&mut self, digits: &str) -> Result<()> {
        self.short_year = digits.len() <= 2;
        once(&mut self.year, number(digits)?)
    }

    fn word(&mut self, word: &str) -> Result<()> {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "am" | "pm" => return once(&mut self.afternoon, lower == "pm"),
            "ad" => return Ok(()),
            "bc" => {
                self.before_christ = true;
                return Ok(());
            }
            "j" | "jd" | "julian" => {
                self.julian_next = true;
                return Ok(());
            }
            "allballs" => {
                once(&mut self.time, 0)?;
                return once(&mut self.zone, Zone::Offset(0));
            }
            word if FILLERS.contains(&word) => return Ok(()),
            _ if month(word).is_some() => return self.named_month(word),
            _ => {}
        }
        // A name may be followed by an offset: `UTC+3`.
        let known = ZONES.iter().find(|(name, _)| *name == lower);
        once(
            &mut self.zone,
            match known {
                Some((_, minutes)) => Zone::Offset(minutes * 60),
                None => Zone::Named(word.to_owned()),
            },
        )
    }

    fn finish(self) -> Result<Parts> {
        if self.julian_next {
            return Err(Malformed::Syntax);
        }
        let mut time = self.time;
        if let Some(afternoon) = self.afternoon {
            const HOURS: i64 = 12 * 3600 * SECOND;
            let of = time.ok_or(Malformed::Syntax)?;
            if of >= HOURS + 3600 * SECOND {
                return Err(Malformed::OutOfRange);
            }
            time = Some(of % HOURS + if afternoon { HOURS } else { 0 });
        }
        let year = self.year.map(|year| match year {
            0..70 if self.short_year && !self.before_christ => year + 2000,
            70..100 if self.short_year && !self.before_christ => year + 1900,
            year if self.before_christ => 1 - year,
            year => year,
        });
        if self.year == Some(0) && !self.short_year {
            return Err(Malformed::OutOfRange);
        }
        let date = match (self.julian, year, self.day_of_year, self.month, self.day) {
            (Some(day), ..) => i32::try_from(day - JULIAN)
                .ok()
                .and_then(NaiveDate::from_num_days_from_ce_opt)
                .map(Some),
            (_, Some(year), Some(day), _, _) => NaiveDate::from_yo_opt(year, day).map(Some),
            (_, Some(year), _, Some(month), Some(day)) => {
                NaiveDate::from_ymd_opt(year, month, day).map(Some)
            }
            (_, None, _, None, None) => Some(None),
            _ => return Err(Malformed::Syntax),
        };
        let date = date.ok_or(Malformed::OutOfRange)?;
        if date.is_none() && time.is_none() {
            return Err(Malformed::Syntax);
        }
        Ok(Parts { date, time, zone: self.zone })
    }
}

/// Reads `10:00:01.5`.
fn clock(text: &str) -> Result<i64> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes] => (*hours, *minutes, "0"),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return Err(Malformed::Syntax),
    };
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let small = |digits: &str, most: i64| match digits.parse::<i64>() {
        Ok(value) if value <= most => Ok(value),
        Ok(_) => Err(Malformed::OutOfRange),
        Err(_) => Err(Malformed::Syntax),
    };
    let micros = match fraction {
        "" => 0,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            // Rounded to microseconds.
            let padded = format!("{digits:0<7}");
            let seven: i64 = padded[..7].parse().map_err(|_| Malformed::Syntax)?;
            (seven + 5) / 10
        }
        _ => return Err(Malformed::Syntax),
    };
    let seconds = small(hours, 24)? * 3600 + small(minutes, 59)? * 60 + small(whole, 60)?;
    let time = seconds * SECOND + micros;
    if time > DAY { Err(Malformed::OutOfRange) } else { Ok(time) }
}

/// Reads `+02`, `-0530` or `+05:30:10`, in seconds.
fn offset(text: &str) -> Result<i32> {
    let (sign, digits) = text.split_at(1);
    let parts: Vec<&str> = match digits.split(':').collect::<Vec<_>>() {
        parts if parts.len() > 1 || digits.len() <= 2 => parts,
        _ if digits.len() <= 4 => {
            let (hours, minutes) = digits.split_at(digits.len() - 2);
            vec![hours, minutes]
        }
        _ => return Err(Malformed::Syntax),
    };
    let mut seconds = 0;
    for (i, unit) in [3600, 60, 1].into_iter().enumerate() {
        let part = parts.get(i).map_or(Ok(0), |part| part.parse::<i32>());
        let part = part.map_err(|_| Malformed::Syntax)?;
        if part > if i == 0 { 15 } else { 59 } {
            return Err(Malformed::OutOfRange);
        }
        seconds += part * unit;
    }
    if parts.len() > 3 {
        return Err(Malformed::Syntax);
    }
    Ok(if sign == "-" { -seconds } else { seconds })
}

#[cfg(test)]
mod tests;
