//! Values in text, as Postgres's input functions read them.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use chrono::Utc;
use datafusion::common::ScalarValue;

use super::unsupported;
use crate::error::SqlState;
use crate::sql::array::elements;
use crate::sql::interval::Interval;
use crate::wire::error::{Error, Result};
use crate::wire::pg_type::{element_field, natural};

/// Reads `text` as a value of `target`; times without an offset are in `zone`.
pub(super) fn parse(text: &str, target: &DataType, zone: Option<Tz>) -> Result<ScalarValue> {
    let malformed = |code| {
        let message = format!("invalid input syntax for type {}: \"{text}\"", natural(target));
        Error::new(code, message)
    };
    let invalid = || malformed(SqlState::INVALID_TEXT_REPRESENTATION);
    let trimmed = text.trim();
    let value = match target {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            ScalarValue::Utf8(Some(text.to_owned()))
        }
        DataType::Boolean => ScalarValue::Boolean(Some(boolean(trimmed).ok_or_else(invalid)?)),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            ScalarValue::Binary(Some(bytea(text).ok_or_else(invalid)?))
        }
        DataType::Date32 if infinite(trimmed).is_some() => ScalarValue::Date32(
            infinite(trimmed).map(|at| if at < 0 { i32::MIN } else { i32::MAX }),
        ),
        DataType::Timestamp(unit, tz) => {
            let malformed = || malformed(SqlState::INVALID_DATETIME_FORMAT);
            let micros = match infinite(trimmed) {
                Some(infinite) => infinite,
                None => instant(trimmed, tz.is_some().then_some(zone).flatten())
                    .ok_or_else(malformed)?,
            };
            if *unit == arrow::datatypes::TimeUnit::Microsecond {
                return Ok(ScalarValue::TimestampMicrosecond(Some(micros), tz.clone()));
            }
            ScalarValue::TimestampMicrosecond(Some(micros), tz.clone())
        }
        list if element_field(list).is_some() => return array(text, list, zone),
        DataType::Interval(_) => {
            let malformed = || malformed(SqlState::INVALID_DATETIME_FORMAT);
            let interval = Interval::parse(trimmed).map_err(|_| malformed())?;
            let nanos = interval.micros.checked_mul(1_000).ok_or_else(malformed)?;
            let interval = IntervalMonthDayNano::new(interval.months, interval.days, nanos);
            ScalarValue::IntervalMonthDayNano(Some(interval))
        }
        _ => ScalarValue::Utf8(Some(trimmed.to_owned())),
    };
    let dated = matches!(target, DataType::Date32 | DataType::Time64(_));
    value
        .cast_to(target)
        .map_err(|_| if dated { malformed(SqlState::INVALID_DATETIME_FORMAT) } else { invalid() })
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Reads `\x6869` or text with `\ooo` escapes.
fn bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        });
        return pairs.collect();
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                rest = tail;
            }
            (b'\\', [a, b, c, tail @ ..]) => {
                let digits = std::str::from_utf8(&[*a, *b, *c]).ok()?.to_owned();
                bytes.push(u8::from_str_radix(&digits, 8).ok()?);
                rest = tail;
            }
            (b'\\', _) => return None,
            (byte, _) => bytes.push(*byte),
        }
    }
    Some(bytes)
}

fn infinite(text: &str) -> Option<i64> {
    match text.to_ascii_lowercase().as_str() {
        "infinity" | "+infinity" => Some(i64::MAX),
        "-infinity" => Some(i64::MIN),
        _ => None,
    }
}

fn instant(text: &str, zone: Option<Tz>) -> Option<i64> {
    let micros = match zone {
        Some(zone) => string_to_datetime(&zone, text).ok()?.timestamp_micros(),
        None => string_to_datetime(&Utc, text).ok()?.timestamp_micros(),
    };
    Some(micros)
}

/// Reads `{a,"b c",NULL}`.
fn array(text: &str, list: &DataType, zone: Option<Tz>) -> Result<ScalarValue> {
    let invalid = || {
        let message = format!("malformed array literal: \"{text}\"");
        Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    };
    let element = element_field(list).map(|field| field.data_type()).ok_or_else(invalid)?;
    if element_field(element).is_some() {
        return Err(unsupported("array of several dimensions"));
    }
    let items = elements(text).ok_or_else(invalid)?;
    let items = items.into_iter().map(|item| match item {
        Some(item) => parse(&item, element, zone),
        None => ScalarValue::try_from(element).map_err(|error| unsupported(&error.to_string())),
    });
    let items = items.collect::<Result<Vec<_>>>()?;
    let value = ScalarValue::List(ScalarValue::new_list_nullable(&items, element));
    value.cast_to(list).map_err(|_| invalid())
}
