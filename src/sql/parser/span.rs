//! Lengths of time: `10 SECONDS`, `5`, `INTERVAL '1 hour 30 minutes'`.
//!
//! # Semantics
//! A length is fixed: a day has 24 hours and a week 7 days. Months and years are refused, since
//! nothing could be said of their length. A number without unit counts seconds.

use sqlparser::tokenizer::{Token, Word};

use super::reader::Reader;
use crate::sql::{Error, Result};

const MICROS: i64 = 1;
const MILLIS: i64 = 1_000 * MICROS;
const SECOND: i64 = 1_000 * MILLIS;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// What a word means as a unit of time.
enum Unit {
    /// So many microseconds.
    Fixed(i64),
    /// Months, years and the like.
    Calendar,
}

/// Why a text is no length of time.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It contains months or years.
    Calendar,
    /// It does not fit into 64 bits of microseconds.
    Overflow,
    /// It is none.
    Syntax,
}

/// Reads `n [unit] | INTERVAL 'text' [unit] | INTERVAL n unit`, in microseconds.
pub fn span(reader: &mut Reader<'_>) -> Result<i64> {
    let start = *reader;
    let interval = reader.eat(&["INTERVAL"]);
    let outcome = match reader.peek(0) {
        Token::Placeholder(_) => {
            return Err(reader.not_yet("a parameter as a length of time", "Write the length out."));
        }
        Token::Minus => Err(Malformed::Syntax),
        Token::Number(number, _) => {
            reader.skip(1);
            amount(number, eat_unit(reader))
        }
        Token::SingleQuotedString(text) if interval => {
            reader.skip(1);
            match eat_unit(reader) {
                None => parse_interval(text),
                unit => amount(text.trim(), unit),
            }
        }
        _ => return Err(reader.expected("a length of time, e.g. 10 SECONDS or INTERVAL '1 hour'")),
    };
    outcome.map_err(|malformed| malformed.at(&start))
}

/// Reads a span that must be longer than nothing.
pub fn positive_span(reader: &mut Reader<'_>, what: &str) -> Result<i64> {
    let start = *reader;
    let size = span(reader)?;
    if size > 0 {
        return Ok(size);
    }
    Err(Error::Window {
        message: format!("{what} must be longer than 0"),
        hint: None,
        location: Some(start.location()),
    })
}

/// Parses the text of an interval: `1 day 02:30:00`, `500ms`, `90`.
pub fn parse_interval(text: &str) -> std::result::Result<i64, Malformed> {
    let mut total = 0_i64;
    let mut words = text.split_whitespace().peekable();
    if words.peek().is_none() {
        return Err(Malformed::Syntax);
    }
    while let Some(word) = words.next() {
        let part = if word.contains(':') {
            clock_time(word)?
        } else {
            let unit_at = word.find(|c: char| c.is_alphabetic()).unwrap_or(word.len());
            let (number, joined) = word.split_at(unit_at);
            let name = if joined.is_empty() {
                words.next_if(|next| next.starts_with(char::is_alphabetic))
            } else {
                Some(joined)
            };
            let unit = name.map(|name| unit(name).ok_or(Malformed::Syntax)).transpose()?;
            amount(number, unit)?
        };
        total = total.checked_add(part).ok_or(Malformed::Overflow)?;
    }
    Ok(total)
}

impl Malformed {
    fn at(self, start: &Reader<'_>) -> Error {
        match self {
            Malformed::Calendar => start.unsupported(
                "a length of months or years",
                "Months differ in length: write it in days, e.g. 30 DAYS.",
            ),
            Malformed::Overflow => Error::Window {
                message: "length of time is out of range".to_owned(),
                hint: Some("The longest one is about 292000 years.".to_owned()),
                location: Some(start.location()),
            },
            Malformed::Syntax => Error::Window {
                message: "malformed length of time".to_owned(),
                hint: Some("Write e.g. 10 SECONDS or INTERVAL '1 hour 30 minutes'.".to_owned()),
                location: Some(start.location()),
            },
        }
    }
}

fn eat_unit(reader: &mut Reader<'_>) -> Option<Unit> {
    let Token::Word(Word { value, quote_style: None, .. }) = reader.peek(0) else { return None };
    let unit = unit(value)?;
    reader.skip(1);
    Some(unit)
}

fn unit(name: &str) -> Option<Unit> {
    let micros = match name.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" => MICROS,
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => MILLIS,
        "second" | "seconds" | "s" | "sec" | "secs" => SECOND,
        "minute" | "minutes" | "m" | "min" | "mins" => MINUTE,
        "hour" | "hours" | "h" | "hr" | "hrs" => HOUR,
        "day" | "days" | "d" => DAY,
        "week" | "weeks" | "w" => WEEK,
        "month" | "months" | "mon" | "mons" | "year" | "years" | "y" | "yr" | "yrs" | "decade"
        | "decades" | "century" | "centuries" | "millennium" | "millennia" | "quarter"
        | "quarters" => return Some(Unit::Calendar),
        _ => return None,
    };
    Some(Unit::Fixed(micros))
}

/// Multiplies a decimal number with a unit, exactly; what is less than a microsecond is cut off.
fn amount(number: &str, unit: Option<Unit>) -> std::result::Result<i64, Malformed> {
    let unit = match unit {
        None => SECOND,
        Some(Unit::Fixed(micros)) => micros,
        Some(Unit::Calendar) => return Err(Malformed::Calendar),
    };
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let digits = digits.replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(Malformed::Syntax);
    }
    let mut micros = 0_i128;
    for digit in whole.bytes() {
        micros = micros * 10 + i128::from(digit - b'0');
        if micros > i128::from(i64::MAX) {
            return Err(Malformed::Overflow);
        }
    }
    micros *= i128::from(unit);
    // Nothing behind the twelfth place reaches a microsecond of a week.
    let mut place = i128::from(unit) * 1_000_000_000_000;
    for digit in fraction.bytes().take(12) {
        place /= 10;
        micros += i128::from(digit - b'0') * place / 1_000_000_000_000;
    }
    let micros = i64::try_from(micros).map_err(|_| Malformed::Overflow)?;
    Ok(if negative { -micros } else { micros })
}

/// Parses `hh:mm[:ss[.ffffff]]`.
fn clock_time(word: &str) -> std::result::Result<i64, Malformed> {
    let (negative, word) = match word.strip_prefix('-') {
        Some(word) => (true, word),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let parts: Vec<&str> = word.split(':').collect();
    if !(2..=3).contains(&parts.len()) || parts.iter().any(|part| part.starts_with(['+', '-'])) {
        return Err(Malformed::Syntax);
    }
    let mut total = 0_i64;
    for (part, unit) in parts.into_iter().zip([HOUR, MINUTE, SECOND]) {
        let part = amount(part, Some(Unit::Fixed(unit)))?;
        total = total.checked_add(part).ok_or(Malformed::Overflow)?;
    }
    Ok(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> std::result::Result<i64, Malformed> {
        parse_interval(text)
    }

    #[test]
    fn interval_texts_add_up() {
        assert_eq!(parsed("5"), Ok(5 * SECOND));
        assert_eq!(parsed("1.5 s"), Ok(1_500 * MILLIS));
        assert_eq!(parsed("500ms"), Ok(500 * MILLIS));
        assert_eq!(parsed("1 day 02:30"), Ok(DAY + 2 * HOUR + 30 * MINUTE));
        assert_eq!(parsed("00:00:01.000001"), Ok(SECOND + 1));
        assert_eq!(parsed("2 weeks -1 day"), Ok(13 * DAY));
        assert_eq!(parsed("1 hour 30 minutes"), Ok(90 * MINUTE));
        assert_eq!(parsed(".5 day"), Ok(12 * HOUR));
    }

    #[test]
    fn a_thousandth_of_a_microsecond_is_nothing() {
        assert_eq!(parsed("0.0000001"), Ok(0));
    }

    #[test]
    fn what_has_no_fixed_length_is_told_apart_from_nonsense() {
        assert_eq!(parsed("1 month"), Err(Malformed::Calendar));
        assert_eq!(parsed("99999999999999999999 s"), Err(Malformed::Overflow));
        assert_eq!(parsed("300000 years"), Err(Malformed::Calendar));
        for text in ["", "x", "1 fortnight", "1:2:3:4", "1.2.3", "--1"] {
            assert_eq!(parsed(text), Err(Malformed::Syntax), "{text}");
        }
    }
}
