//! SQL made of values: `format`, `quote_ident`, `quote_literal`, `quote_nullable`.
//!
//! # Semantics
//! Postgres's. A name is quoted if it has anything but small letters, digits and underscores, or is
//! a reserved word.

use datafusion::common::{Result, ScalarValue};

use super::error::failure;
use super::scalar::{Kind, Row, Scalar, text};
use crate::error::SqlState;
use crate::sql::names::quote;

/// The functions.
pub(super) fn functions() -> Vec<Scalar> {
    use Kind::{AsText, Text};
    vec![
        Scalar::strict("quote_ident", &[Text], text, |row| {
            Ok(ScalarValue::from(quote(row.text(0))))
        }),
        Scalar::strict("quote_literal", &[AsText], text, |row| {
            Ok(ScalarValue::from(quote_literal(row.text(0))))
        }),
        Scalar {
            strict: false,
            ..Scalar::strict("quote_nullable", &[AsText], text, |row| {
                Ok(ScalarValue::from(literal_or_null(value(row, 0))))
            })
        },
        Scalar {
            strict: false,
            variadic: true,
            required: 1,
            ..Scalar::strict("format", &[Text, AsText], text, format)
        },
    ]
}

fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

fn literal_or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), quote_literal)
}

fn value<'a>(row: &'a Row<'_>, argument: usize) -> Option<&'a str> {
    row.values.get(argument).and_then(|value| value.try_as_str().flatten())
}

/// Fills in `%[position$][-][width]type`, where the type is `s`, `I` or `L`.
fn format(row: &Row<'_>) -> Result<ScalarValue> {
    let wrong = |what: String| failure(SqlState::INVALID_PARAMETER_VALUE, what);
    let Some(template) = value(row, 0) else { return Ok(ScalarValue::Utf8(None)) };
    let (mut out, mut rest, mut last) = (String::new(), template, 0);
    while let Some((before, behind)) = rest.split_once('%') {
        out.push_str(before);
        rest = behind;
        if let Some(behind) = rest.strip_prefix('%') {
            out.push('%');
            rest = behind;
            continue;
        }
        let argument = |position: usize| match row.values.get(position).filter(|_| position > 0) {
            Some(_) => Ok(position),
            None if position == 0 => {
                Err(wrong("format specifies argument 0, but arguments are numbered from 1".into()))
            }
            None => Err(wrong("too few arguments for format()".into())),
        };
        let position = numbered(&mut rest);
        let left = rest.starts_with('-');
        rest = rest.trim_start_matches('-');
        let mut width = number(&mut rest).unwrap_or(0).cast_signed();
        if let Some(behind) = rest.strip_prefix('*') {
            rest = behind;
            let position = numbered(&mut rest).unwrap_or(last + 1);
            last = argument(position)?;
            let text = value(row, last).unwrap_or("0");
            let of_text = |_| wrong(format!("invalid input syntax for type integer: \"{text}\""));
            width = text.parse().map_err(of_text)?;
        }
        last = argument(position.unwrap_or(last + 1))?;
        let found = value(row, last);
        let mut chars = rest.chars();
        let filled = match chars.next() {
            Some('s') => found.unwrap_or_default().to_owned(),
            Some('I') => match found {
                Some(name) => quote(name),
                None => {
                    let what = "null values cannot be formatted as an SQL identifier";
                    return Err(failure(SqlState("22004"), what));
                }
            },
            Some('L') => literal_or_null(found),
            Some(other) => {
                return Err(wrong(format!("unrecognized format() type specifier \"{other}\"")));
            }
            None => return Err(wrong("unterminated format() type specifier".into())),
        };
        rest = chars.as_str();
        // A negative width is one to the left.
        let (left, width) = (left || width < 0, width.unsigned_abs());
        match left {
            true => out.push_str(&format!("{filled:<width$}")),
            false => out.push_str(&format!("{filled:>width$}")),
        }
    }
    out.push_str(rest);
    Ok(ScalarValue::from(out))
}

/// Reads digits at the beginning of a text.
fn number(text: &mut &str) -> Option<usize> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(count.min(6));
    let number = digits.parse().ok()?;
    *text = rest;
    Some(number)
}

/// Reads `n$` at the beginning of a text.
fn numbered(text: &mut &str) -> Option<usize> {
    let mut ahead = *text;
    let number = number(&mut ahead)?;
    *text = ahead.strip_prefix('$')?;
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_quoted() {
        assert_eq!(quote_literal("O'Reilly"), "'O''Reilly'");
        assert_eq!(quote_literal("a\\b"), "E'a\\\\b'");
    }
}
