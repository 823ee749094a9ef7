//! Lengths of time: `10 SECONDS`, `5`, `INTERVAL '1 hour 30 minutes'`.
//!
//! # Semantics
//! A length is fixed: a day has 24 hours and a week 7 days. Months and years are refused, since
//! nothing could be said of their length. A number without unit counts seconds.

use sqlparser::tokenizer::{Token, Word};

use super::reader::Reader;
use crate::sql::interval::{self, Interval, Unit};
use crate::sql::{Error, Result};

/// Why a text is no length of time.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It contains months or years.
    Calendar,
    /// It does not fit into 64 bits of microseconds, or is no interval.
    Interval(interval::Malformed),
}

impl From<interval::Malformed> for Malformed {
    fn from(malformed: interval::Malformed) -> Self {
        Malformed::Interval(malformed)
    }
}

/// Reads `n [unit] | INTERVAL 'text' [unit] | INTERVAL n unit`, in microseconds.
pub fn span(reader: &mut Reader<'_>) -> Result<i64> {
    let start = *reader;
    let interval = reader.eat(&["INTERVAL"]);
    let outcome = match reader.peek(0) {
        Token::Placeholder(_) => {
            return Err(reader.not_yet("a parameter as a length of time", "Write the length out."));
        }
        Token::Minus => Err(interval::Malformed::Syntax.into()),
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

impl Malformed {
    fn at(self, start: &Reader<'_>) -> Error {
        match self {
            Malformed::Calendar => start.unsupported(
                "a length of months or years",
                "Months differ in length: write it in days, e.g. 30 DAYS.",
            ),
            Malformed::Interval(interval::Malformed::Overflow) => Error::Window {
                message: "length of time is out of range".to_owned(),
                hint: Some("The longest one is about 292000 years.".to_owned()),
                location: Some(start.location()),
            },
            Malformed::Interval(interval::Malformed::Syntax) => Error::Window {
                message: "malformed length of time".to_owned(),
                hint: Some("Write e.g. 10 SECONDS or INTERVAL '1 hour 30 minutes'.".to_owned()),
                location: Some(start.location()),
            },
        }
    }
}

fn eat_unit(reader: &mut Reader<'_>) -> Option<Unit> {
    let Token::Word(Word { value, quote_style: None, .. }) = reader.peek(0) else { return None };
    let unit = Unit::named(value)?;
    reader.skip(1);
    Some(unit)
}

/// A number of units, or of seconds.
fn amount(number: &str, unit: Option<Unit>) -> std::result::Result<i64, Malformed> {
    let mut interval = Interval::default();
    interval.add(number, unit.unwrap_or(Unit::Micros(1_000_000)))?;
    fixed(interval, unit)
}

/// Parses the text of an interval, in microseconds.
pub fn parse_interval(text: &str) -> std::result::Result<i64, Malformed> {
    fixed(Interval::parse(text)?, None)
}

fn fixed(interval: Interval, unit: Option<Unit>) -> std::result::Result<i64, Malformed> {
    match interval.fixed_micros() {
        Some(micros) if !matches!(unit, Some(Unit::Months(_))) => Ok(micros?),
        _ => Err(Malformed::Calendar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> std::result::Result<i64, Malformed> {
        parse_interval(text)
    }

    #[test]
    fn a_day_has_24_hours() {
        assert_eq!(parsed("1 day 02:30"), Ok(95_400_000_000));
    }

    #[test]
    fn what_has_no_fixed_length_is_told_apart_from_nonsense() {
        let malformed = |malformed| Err(Malformed::Interval(malformed));
        assert_eq!(parsed("1 month"), Err(Malformed::Calendar));
        assert_eq!(parsed("300000 years"), Err(Malformed::Calendar));
        assert_eq!(parsed("99999999999999999999 s"), malformed(interval::Malformed::Overflow));
        assert_eq!(parsed("1 fortnight"), malformed(interval::Malformed::Syntax));
    }
}
