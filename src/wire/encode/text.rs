//! Values in text, as Postgres's output functions write them.

use std::fmt::Write;

use arrow::array::timezone::Tz;
use arrow::array::{ArrowPrimitiveType, PrimitiveArray};
use bytes::{BufMut, BytesMut};

use super::cells::{Cells, Column};
use crate::sql::output::{datetime, number, style};
use crate::wire::pg_type::is_oid;

/// The session's settings that show in text output.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::wire) struct Style {
    /// The `TimeZone` in which timestamps with time zone are shown; `None` is UTC.
    pub(in crate::wire) zone: Option<Tz>,
    /// `DateStyle` and `IntervalStyle`.
    pub(in crate::wire) times: style::Style,
}

/// Characters besides white space that make an array element quoted.
const ARRAY_SPECIAL: [char; 5] = ['"', '\\', '{', '}', ','];

/// Characters besides white space that make a record's field quoted.
const RECORD_SPECIAL: [char; 5] = ['"', '\\', '(', ')', ','];

impl Column {
    /// Writes the value of `row`, which is not NULL.
    pub(super) fn write_text(&self, row: usize, style: Style, out: &mut BytesMut) {
        match &self.cells {
            Cells::Null => {}
            Cells::Bool(values) => out.put_u8(if values.value(row) { b't' } else { b'f' }),
            Cells::Int16(values) => self.write_integer(values, row, out),
            Cells::Int32(values) => self.write_integer(values, row, out),
            Cells::Int64(values) => self.write_integer(values, row, out),
            Cells::Float4(values) => number::write_float4(values.value(row), out),
            Cells::Float8(values) => number::write_float8(values.value(row), out),
            Cells::Decimal(values) => out.put_slice(values.value_as_string(row).as_bytes()),
            Cells::LongDecimal(values) => out.put_slice(values.value_as_string(row).as_bytes()),
            Cells::Text(values) => out.put_slice(values.value(row).as_bytes()),
            Cells::Bytes(values) => write_hex(values.value(row), out),
            Cells::Date(values) => style::write_date(values.value(row), style.times, out),
            Cells::Time(values) => datetime::write_time(values.value(row), out),
            Cells::Timestamp(values) => style::write_timestamp(values.value(row), style.times, out),
            Cells::Timestamptz(values) => {
                style::write_timestamptz(values.value(row), style.zone, style.times, out);
            }
            Cells::Interval(values) => {
                let value = values.value(row);
                let micros = value.nanoseconds / 1_000;
                style::write_interval(value.months, value.days, micros, style.times, out);
            }
            Cells::List(offsets, items) => {
                let range = offsets[row].cast_unsigned()..offsets[row + 1].cast_unsigned();
                write_array(items, range, style, out);
            }
            Cells::Record(fields) => write_record(fields, row, style, out),
        }
    }

    fn write_integer<T>(&self, values: &PrimitiveArray<T>, row: usize, out: &mut BytesMut)
    where
        T: ArrowPrimitiveType<Native: Into<i64>>,
    {
        let value: i64 = values.value(row).into();
        // Object ids are unsigned; columns of them may be kept in signed integers of the same size.
        let value = if is_oid(&self.pg_type) { value & i64::from(u32::MAX) } else { value };
        // Writing to a buffer in memory cannot fail.
        let _ = write!(out, "{value}");
    }
}

fn write_hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.put_slice(b"\\x");
    for byte in bytes {
        out.put_u8(DIGITS[usize::from(byte >> 4)]);
        out.put_u8(DIGITS[usize::from(byte & 15)]);
    }
}

fn write_array(items: &Column, range: std::ops::Range<u32>, style: Style, out: &mut BytesMut) {
    let nested = matches!(items.cells, Cells::List(..));
    out.put_u8(b'{');
    for (i, item) in range.enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        let row = item as usize;
        if items.is_null(row) {
            out.put_slice(b"NULL");
            continue;
        }
        let mut text = BytesMut::new();
        items.write_text(row, style, &mut text);
        if !nested && (text.eq_ignore_ascii_case(b"null") || needs_quotes(&text, ARRAY_SPECIAL)) {
            write_quoted(&text, Escape::Backslash, out);
        } else {
            out.put_slice(&text);
        }
    }
    out.put_u8(b'}');
}

fn write_record(fields: &[Column], row: usize, style: Style, out: &mut BytesMut) {
    out.put_u8(b'(');
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        if field.is_null(row) {
            continue;
        }
        let mut text = BytesMut::new();
        field.write_text(row, style, &mut text);
        if needs_quotes(&text, RECORD_SPECIAL) {
            write_quoted(&text, Escape::Doubled, out);
        } else {
            out.put_slice(&text);
        }
    }
    out.put_u8(b')');
}

fn needs_quotes(text: &[u8], special: [char; 5]) -> bool {
    // All special characters are ASCII, which never occurs inside another UTF-8 character.
    text.is_empty()
        || text.iter().any(|byte| byte.is_ascii_whitespace() || special.contains(&(*byte as char)))
}

/// How a quote within quotes is written.
#[derive(Clone, Copy)]
enum Escape {
    Backslash,
    Doubled,
}

fn write_quoted(text: &[u8], escape: Escape, out: &mut BytesMut) {
    out.put_u8(b'"');
    for byte in text {
        match (byte, escape) {
            (b'"', Escape::Backslash) | (b'\\', _) => out.put_slice(&[b'\\', *byte]),
            (b'"', Escape::Doubled) => out.put_slice(b"\"\""),
            _ => out.put_u8(*byte),
        }
    }
    out.put_u8(b'"');
}
