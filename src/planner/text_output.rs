//! Values cast to text, as Postgres's output functions print them.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int64Type, IntervalMonthDayNanoType,
    IntervalUnit, TimeUnit,
};
use arrow::error::ArrowError;
use bytes::BytesMut;
use datafusion::error::Result as DfResult;

use crate::functions::zone;
use crate::sql::output::style::Style;
use crate::sql::output::{datetime, number, style};

/// Returns the texts of a column, as Postgres prints them in the zone UTC.
pub fn column_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if let Some(bytes) = column.as_binary_opt::<i32>() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let texts = bytes.iter().map(|bytes| bytes.map(|bytes| format!("\\x{}", hex(bytes))));
        return Ok(Arc::new(texts.collect::<StringArray>()));
    }
    match differs(column.data_type()) {
        true => {
            let texts = texts(column, Some("UTC"), Style::default());
            Ok(Arc::new(texts.map_err(|error| ArrowError::ExternalError(error.into()))?))
        }
        false => cast(column, &DataType::Utf8),
    }
}

/// Whether Arrow's text of such a value is another.
pub(super) fn differs(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Float32
            | DataType::Float64
            | DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Interval(IntervalUnit::MonthDayNano)
            | DataType::List(_)
    )
}

/// Returns the texts of values; instants as the clocks of `zone` show them.
pub(super) fn texts(values: &ArrayRef, zone: Option<&str>, style: Style) -> DfResult<StringArray> {
    let zone = zone.map(zone::zone).transpose()?;
    let text = |i: usize| values.is_valid(i).then(|| text(values, i, zone, style)).transpose();
    (0..values.len()).map(text).collect()
}

/// Returns the text of a value that is not NULL.
fn text(values: &ArrayRef, i: usize, zone: Option<Tz>, style: Style) -> DfResult<String> {
    let mut out = BytesMut::new();
    match values.data_type() {
        DataType::Float32 => {
            number::write_float4(values.as_primitive::<Float32Type>().value(i), &mut out)
        }
        DataType::Float64 => {
            number::write_float8(values.as_primitive::<Float64Type>().value(i), &mut out)
        }
        DataType::Date32 => {
            style::write_date(values.as_primitive::<Date32Type>().value(i), style, &mut out)
        }
        DataType::Time64(_) => datetime::write_time(micros(values, i)?, &mut out),
        DataType::Timestamp(_, None) => {
            style::write_timestamp(micros(values, i)?, style, &mut out);
        }
        DataType::Timestamp(_, Some(_)) => {
            style::write_timestamptz(micros(values, i)?, zone, style, &mut out)
        }
        DataType::Interval(_) => {
            let span = values.as_primitive::<IntervalMonthDayNanoType>().value(i);
            let micros = span.nanoseconds / 1_000;
            style::write_interval(span.months, span.days, micros, style, &mut out);
        }
        DataType::List(_) => return array(&values.as_list::<i32>().value(i), zone, style),
        _ => {
            let text = cast(&values.slice(i, 1), &DataType::Utf8)?;
            return Ok(text.as_string::<i32>().value(0).to_owned());
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn micros(values: &ArrayRef, i: usize) -> DfResult<i64> {
    Ok(cast(&values.slice(i, 1), &DataType::Int64)?.as_primitive::<Int64Type>().value(0))
}

/// Returns the text of an array: `{1,2,NULL}`.
fn array(items: &ArrayRef, zone: Option<Tz>, style: Style) -> DfResult<String> {
    let items = (0..items.len()).map(|i| match items.data_type() {
        _ if items.is_null(i) => Ok("NULL".to_owned()),
        DataType::List(_) => text(items, i, zone, style),
        DataType::Boolean => Ok(if items.as_boolean().value(i) { "t" } else { "f" }.to_owned()),
        _ => Ok(quoted(text(items, i, zone, style)?)),
    });
    Ok(format!("{{{}}}", items.collect::<DfResult<Vec<_>>>()?.join(",")))
}

/// Puts an element in quotes if it needs them.
fn quoted(text: String) -> String {
    let special = |c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\\' | '{' | '}' | ',');
    if !text.is_empty() && !text.contains(special) && !text.eq_ignore_ascii_case("null") {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
