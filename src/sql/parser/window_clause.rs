//! The content of a window bracket.
//!
//! # Semantics
//! ```text
//! window := NOW
//!         | [RANGE] UNBOUNDED
//!         | RANGE span [INCLUSIVE] [SLIDE span [OFFSET span]]
//!         | ROWS n [SLIDE n]
//!         | PARTITION BY expr {, expr} ROWS n [RANGE span]
//!         | CURRENT span
//! ```

use sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::span::{positive_span, span};
use crate::sql::statement::{Length, WindowSpec};
use crate::sql::{Error, Result};

const FORMS: &str = "A window is [NOW], [UNBOUNDED], [RANGE 10 SECONDS], [ROWS 5], \
                     [PARTITION BY k ROWS 5] or [CURRENT 1 DAY].";

/// Reads what stands between the brackets.
pub fn window_spec(mut reader: Reader<'_>) -> Result<WindowSpec> {
    let spec = if reader.eat(&["NOW"]) {
        WindowSpec::Now
    } else if reader.eat(&["UNBOUNDED"]) || reader.eat(&["RANGE", "UNBOUNDED"]) {
        WindowSpec::Unbounded
    } else if reader.eat(&["RANGE"]) {
        range(&mut reader)?
    } else if reader.eat(&["ROWS"]) {
        let count = row_count(&mut reader)?;
        let slide = reader.eat(&["SLIDE"]).then(|| row_count(&mut reader)).transpose()?;
        WindowSpec::Rows { count, slide }
    } else if reader.eat(&["PARTITION", "BY"]) {
        partitioned(&mut reader)?
    } else if reader.eat(&["CURRENT"]) {
        WindowSpec::Current { size: positive(&mut reader, "the period of a window")? }
    } else {
        return Err(reader.unexpected_hint(FORMS));
    };
    if reader.at_end() { Ok(spec) } else { Err(reader.unexpected_hint(FORMS)) }
}

fn range(reader: &mut Reader<'_>) -> Result<WindowSpec> {
    let start = *reader;
    let size = length(reader)?;
    let inclusive = reader.eat(&["INCLUSIVE"]);
    // RANGE 0 INCLUSIVE is the current instant; RANGE 0 would be nothing at all.
    if matches!(size, Length::Micros(size) if size < i64::from(!inclusive)) {
        return Err(Error::Window {
            message: "the length of a window must be longer than 0".to_owned(),
            hint: Some("The current instant is [NOW].".to_owned()),
            location: Some(start.location()),
        });
    }
    if !reader.eat(&["SLIDE"]) {
        return Ok(WindowSpec::Range { size, inclusive, slide: None });
    }
    let slide = positive(reader, "the slide of a window")?;
    let offset = if reader.eat(&["OFFSET"]) { length(reader)? } else { Length::Micros(0) };
    Ok(WindowSpec::Range { size, inclusive, slide: Some((slide, offset)) })
}

/// Reads a span or a parameter that gives one.
fn length(reader: &mut Reader<'_>) -> Result<Length> {
    match parameter(reader) {
        Some(parameter) => Ok(parameter),
        None => span(reader).map(Length::Micros),
    }
}

/// Reads a length that must be more than nothing; of a parameter that is seen when it has a value.
fn positive(reader: &mut Reader<'_>, what: &str) -> Result<Length> {
    match parameter(reader) {
        Some(parameter) => Ok(parameter),
        None => positive_span(reader, what).map(Length::Micros),
    }
}

fn parameter(reader: &mut Reader<'_>) -> Option<Length> {
    let Token::Placeholder(name) = reader.peek(0) else { return None };
    let name = name.clone();
    reader.skip(1);
    Some(Length::Parameter(name))
}

fn partitioned(reader: &mut Reader<'_>) -> Result<WindowSpec> {
    let mut keys = vec![reader.expr()?];
    while reader.eat_token(&Token::Comma) {
        keys.push(reader.expr()?);
    }
    reader.expect(&["ROWS"])?;
    let count = row_count(reader)?;
    let range =
        reader.eat(&["RANGE"]).then(|| positive(reader, "the length of a window")).transpose()?;
    Ok(WindowSpec::Partitioned { keys, count, range })
}

fn row_count(reader: &mut Reader<'_>) -> Result<u64> {
    let start = *reader;
    let invalid = |message: &str| Error::Window {
        message: message.to_owned(),
        hint: None,
        location: Some(start.location()),
    };
    match reader.peek(0) {
        Token::Number(number, _) => {
            reader.skip(1);
            let digits = number.replace('_', "");
            match digits.parse::<u64>() {
                Ok(0) => Err(invalid("a window must have at least 1 row")),
                // Row numbers are kept in signed 64 bits.
                Ok(count) if i64::try_from(count).is_ok() => Ok(count),
                _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Err(invalid("the number of rows of a window is out of range"))
                }
                _ => Err(invalid("the number of rows of a window must be a whole number")),
            }
        }
        Token::Minus => Err(invalid("a window must have at least 1 row")),
        Token::Placeholder(_) => {
            Err(reader.not_yet("a parameter as a number of rows", "Write the number out."))
        }
        _ => Err(reader.expected("a number of rows")),
    }
}
