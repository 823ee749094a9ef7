//! Dates and times as text, in the forms that Postgres reads.
//!
//! # Semantics
//! A text is a list of fields in almost any order: dates (`2024-01-31`, `1/31/2024`, `31-Jan-99`,
//! `January 31, 2024`, `20240131`, `2024-031`, `J2451187`), times (`10:00`, `10:00:01.5 PM`,
//! `100001` behind a date), zones (`+02`, `Z`, `CET`, `Europe/Vienna`), `BC`, names of weekdays,
//! which say nothing, and `epoch`, `infinity`, `allballs`. Of numbers whose place is open the month
//! comes first, as `DateStyle` MDY says, unless the order of the caller is another.

use chrono::NaiveDate;

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
const JULIAN: i64 = 1_721_425;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const FULL_MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

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

/// A field of the text.
enum Field<'t> {
    /// Digits, perhaps with a fraction.
    Number(&'t str),
    /// Numbers and names of months with `-`, `/` or `.` between them.
    Date(Vec<&'t str>),
    /// Numbers with `:` between them.
    Time(&'t str),
    /// Letters.
    Word(&'t str),
    /// A sign and digits.
    Offset(&'t str),
}

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

/// Splits a text into fields.
fn fields(text: &str) -> Result<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let bytes = rest.as_bytes();
        let run = |from: usize, is: fn(&u8) -> bool| {
            from + bytes[from..].iter().take_while(|byte| is(byte)).count()
        };
        let next = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
        let end = if first.is_ascii_digit() {
            let digits = run(0, u8::is_ascii_digit);
            match next(digits) {
                b':' => {
                    let end = run(digits, |b| b.is_ascii_digit() || matches!(b, b':' | b'.'));
                    fields.push(Field::Time(&rest[..end]));
                    end
                }
                b'.' if !dotted_date(bytes, digits) => {
                    let end = run(digits + 1, u8::is_ascii_digit);
                    fields.push(Field::Number(&rest[..end]));
                    end
                }
                delimiter @ (b'-' | b'/' | b'.') if next(digits + 1).is_ascii_alphanumeric() => {
                    date(rest, delimiter, &mut fields)
                }
                _ => {
                    fields.push(Field::Number(&rest[..digits]));
                    digits
                }
            }
        } else if first.is_ascii_alphabetic() {
            let letters = run(0, u8::is_ascii_alphabetic);
            let month = month(&rest[..letters]).is_some();
            match next(letters) {
                delimiter @ (b'-' | b'/' | b'.') if month && next(letters + 1) != b' ' => {
                    date(rest, delimiter, &mut fields)
                }
                // A zone such as `America/New_York`, `Etc/GMT+5` or `PST8PDT`.
                b'/' | b'_' | b'0'..=b'9' if !is_single(&rest[..letters]) => {
                    let end = run(letters, |b| !b.is_ascii_whitespace());
                    fields.push(Field::Word(&rest[..end]));
                    end
                }
                _ => {
                    fields.push(Field::Word(&rest[..letters]));
                    letters
                }
            }
        } else if matches!(first, '+' | '-') {
            let end = run(1, |b| b.is_ascii_digit() || *b == b':');
            if end == 1 {
                return Err(Malformed::Syntax);
            }
            fields.push(Field::Offset(&rest[..end]));
            end
        } else if first.is_whitespace() || matches!(first, ',' | ';' | '.') {
            first.len_utf8()
        } else {
            return Err(Malformed::Syntax);
        };
        rest = &rest[end..];
    }
    Ok(fields)
}

/// Whether these letters stand before digits without being part of a name: `T0405`, `J2451187`.
fn is_single(letters: &str) -> bool {
    ["t", "j", "z"].iter().any(|known| known.eq_ignore_ascii_case(letters))
        || month(letters).is_some()
}

/// Whether digits and a point begin a date such as `31.1.2024`.
fn dotted_date(bytes: &[u8], digits: usize) -> bool {
    let behind = bytes[digits + 1..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    bytes.get(digits + 1 + behind) == Some(&b'.')
        || bytes.get(digits + 1).is_some_and(u8::is_ascii_alphabetic)
}

/// Takes the parts of a date; returns where it ends.
fn date<'t>(text: &'t str, delimiter: u8, fields: &mut Vec<Field<'t>>) -> usize {
    let bytes = text.as_bytes();
    let (mut parts, mut start) = (Vec::new(), 0);
    loop {
        let digits = bytes.get(start).is_some_and(u8::is_ascii_digit);
        let is = if digits { u8::is_ascii_digit } else { u8::is_ascii_alphabetic };
        let length = bytes[start..].iter().take_while(|byte| is(byte)).count();
        parts.push(&text[start..start + length]);
        start += length;
        let more = bytes.get(start) == Some(&delimiter)
            && bytes.get(start + 1).is_some_and(u8::is_ascii_alphanumeric);
        if length == 0 || !more || parts.len() == 3 {
            break;
        }
        start += 1;
    }
    fields.push(Field::Date(parts));
    start
}

/// The number of a month by its name.
fn month(name: &str) -> Option<u32> {
    let name = name.to_ascii_lowercase();
    let found = MONTHS.iter().zip(FULL_MONTHS).position(|(short, full)| {
        name == *short || name == full || (name == "sept" && *short == "sep")
    });
    u32::try_from(found? + 1).ok()
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
mod tests {
    use super::*;

    #[track_caller]
    fn day(text: &str, expected: &str) {
        day_in(text, DateOrder::MonthDayYear, expected);
    }

    #[track_caller]
    fn day_in(text: &str, order: DateOrder, expected: &str) {
        let read = match parse(text, order) {
            Ok(DateTime::Parts(parts)) => parts.date.map_or("none".into(), |d| d.to_string()),
            other => format!("{other:?}"),
        };
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn dates_have_many_forms() {
        for text in [
            "1999-01-08",
            "January 8, 1999",
            "1/8/1999",
            "1999-Jan-08",
            "Jan-08-1999",
            "08-Jan-1999",
            "19990108",
            "990108",
            "1999-008",
            "J2451187",
            "Fri 8 Jan 1999",
        ] {
            day(text, "1999-01-08");
        }
        day_in("8/1/1999", DateOrder::DayMonthYear, "1999-01-08");
        day_in("99/1/8", DateOrder::YearMonthDay, "1999-01-08");
        day("January 8, 99 BC", "-0098-01-08");
    }

    #[test]
    fn what_is_no_day_is_out_of_range() {
        day("18/1/1999", "Err(OutOfRange)");
        day("1999-02-30", "Err(OutOfRange)");
        day("1999-13-01", "Err(OutOfRange)");
        day("yesterday's", "Err(Syntax)");
        day("1999-01", "Err(Syntax)");
        day("", "Err(Syntax)");
    }

    #[test]
    fn times_may_have_zones() {
        let read = |text: &str| match parse(text, DateOrder::MonthDayYear) {
            Ok(DateTime::Parts(Parts { time: Some(time), zone, .. })) => Some((time, zone)),
            _ => None,
        };
        const HOUR: i64 = 3_600 * SECOND;
        assert_eq!(read("04:05"), Some((4 * HOUR + 5 * 60 * SECOND, None)));
        assert_eq!(read("04:00 PM"), Some((16 * HOUR, None)));
        assert_eq!(read("12:00 am"), Some((0, None)));
        assert_eq!(read("2024-01-01 04:00:00.5"), Some((4 * HOUR + SECOND / 2, None)));
        assert_eq!(read("20240101T040000"), Some((4 * HOUR, None)));
        assert_eq!(read("2024-01-01T04:00:00Z"), Some((4 * HOUR, Some(Zone::Offset(0)))));
        assert_eq!(read("2024-01-01 04:00-08"), Some((4 * HOUR, Some(Zone::Offset(-28_800)))));
        assert_eq!(read("2024-01-01 04:00+0530"), Some((4 * HOUR, Some(Zone::Offset(19_800)))));
        let vienna = Some(Zone::Named("Europe/Vienna".into()));
        assert_eq!(read("2024-01-01 04:00 Europe/Vienna"), Some((4 * HOUR, vienna)));
        assert_eq!(read("Mon Jan 01 04:00:00 2024 PST").unwrap().1, Some(Zone::Offset(-28_800)));
        assert_eq!(read("25:00"), None);
    }
}
