//! SQL values to JSON text.
//!
//! # Semantics
//! As Postgres's `to_json`: numbers and truth values are themselves, JSON stays JSON, arrays are
//! arrays and rows are objects; times are ISO 8601; everything else is its text as a string.

use std::fmt::Write as _;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use bytes::BytesMut;
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::common::{Result, ScalarValue};

use super::value::{Json, quote};
use crate::sql::output::style::{Style, write_interval};

/// Days from the first year to 1970.
const EPOCH_FROM_CE: i32 = 719_163;

/// Whether a column is declared as json or jsonb.
pub fn is_json(field: &Field) -> bool {
    matches!(field.metadata().get("pg_type").map(String::as_str), Some("json" | "jsonb"))
}

/// Appends a value as JSON.
pub(super) fn write(value: &ScalarValue, field: &Field, out: &mut String) -> Result<()> {
    if value.is_null() {
        out.push_str("null");
        return Ok(());
    }
    match value {
        ScalarValue::Boolean(Some(value)) => push(out, value),
        ScalarValue::Float32(Some(value)) => float(f64::from(*value), &value.to_string(), out),
        ScalarValue::Float64(Some(value)) => float(*value, &value.to_string(), out),
        ScalarValue::Int8(_)
        | ScalarValue::Int16(_)
        | ScalarValue::Int32(_)
        | ScalarValue::Int64(_)
        | ScalarValue::UInt8(_)
        | ScalarValue::UInt16(_)
        | ScalarValue::UInt32(_)
        | ScalarValue::UInt64(_)
        | ScalarValue::Decimal32(..)
        | ScalarValue::Decimal64(..)
        | ScalarValue::Decimal128(..)
        | ScalarValue::Decimal256(..) => out.push_str(&plain_text(value)?),
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => {
            timestamp(*micros, zone.is_some(), out);
        }
        ScalarValue::Date32(Some(days)) => {
            let date = NaiveDate::from_num_days_from_ce_opt(days.saturating_add(EPOCH_FROM_CE));
            quote(&date.map(|d| d.format("%Y-%m-%d").to_string()).unwrap_or_default(), out);
        }
        ScalarValue::List(list) => {
            let values = list.value(0);
            let DataType::List(item) = list.data_type() else { return Ok(()) };
            out.push('[');
            for i in 0..values.len() {
                out.push_str(if i == 0 { "" } else { "," });
                write(&ScalarValue::try_from_array(&values, i)?, item, out)?;
            }
            out.push(']');
        }
        ScalarValue::Struct(row) => {
            out.push('{');
            // A row without names has those of Postgres.
            let unnamed =
                row.fields().iter().enumerate().all(|(i, f)| *f.name() == format!("c{i}"));
            for (i, (field, column)) in row.fields().iter().zip(row.columns()).enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                match unnamed {
                    true => push(out, format_args!("\"f{}\"", i + 1)),
                    false => quote(field.name(), out),
                }
                out.push(':');
                write(&ScalarValue::try_from_array(column, 0)?, field, out)?;
            }
            out.push('}');
        }
        ScalarValue::IntervalMonthDayNano(Some(span)) => {
            let (mut text, micros) = (BytesMut::new(), span.nanoseconds / 1_000);
            write_interval(span.months, span.days, micros, Style::default(), &mut text);
            quote(&String::from_utf8_lossy(&text), out);
        }
        ScalarValue::Binary(Some(bytes)) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            quote(&format!("\\x{digits}"), out);
        }
        text if is_json(field) => out.push_str(text.try_as_str().flatten().unwrap_or("null")),
        other => quote(&plain_text(other)?, out),
    }
    Ok(())
}

/// A value as a tree, for `jsonb`.
pub(super) fn tree(value: &ScalarValue, field: &Field) -> Result<Json> {
    let mut text = String::new();
    write(value, field, &mut text)?;
    Ok(Json::parse(&text).unwrap_or(Json::Null))
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}

/// JSON has no NaN and no infinities, so these are strings.
fn float(value: f64, text: &str, out: &mut String) {
    match value {
        v if v.is_nan() => out.push_str("\"NaN\""),
        v if v.is_infinite() => {
            out.push_str(if v > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" })
        }
        _ => out.push_str(text),
    }
}

fn timestamp(micros: i64, zoned: bool, out: &mut String) {
    if micros == i64::MIN || micros == i64::MAX {
        out.push_str(if micros > 0 { "\"infinity\"" } else { "\"-infinity\"" });
        return;
    }
    let at = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
    push(out, format_args!("\"{}", at.format("%Y-%m-%dT%H:%M:%S")));
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        out.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    out.push_str(if zoned { "+00:00\"" } else { "\"" });
}

/// The text of any other value.
pub(super) fn plain_text(value: &ScalarValue) -> Result<String> {
    let text = cast(&value.to_array()?, &DataType::Utf8)?;
    Ok(text.as_string::<i32>().value(0).to_owned())
}
