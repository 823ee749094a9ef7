//! Values in binary, as Postgres's send functions write them.

use bytes::{BufMut, BytesMut};
use pgwire::api::Type;

use super::cells::{Cells, Column};
use super::write_sized;
use crate::sql::output::{datetime, number};
use crate::wire::pg_type::is_oid;

/// Version byte before the text of a `jsonb`.
const JSONB_VERSION: u8 = 1;

impl Column {
    /// Writes the value of `row`, which is not NULL.
    pub(super) fn write_binary(&self, row: usize, out: &mut BytesMut) {
        match &self.cells {
            Cells::Null => {}
            Cells::Bool(values) => out.put_u8(u8::from(values.value(row))),
            Cells::Int16(values) => self.write_int(values.value(row).into(), out),
            Cells::Int32(values) => self.write_int(values.value(row).into(), out),
            Cells::Int64(values) => self.write_int(values.value(row), out),
            Cells::Float4(values) => self.write_float(values.value(row).into(), out),
            Cells::Float8(values) => self.write_float(values.value(row), out),
            Cells::Decimal(values) => number::write_numeric(&values.value_as_string(row), out),
            Cells::LongDecimal(values) => number::write_numeric(&values.value_as_string(row), out),
            Cells::Text(values) => self.write_string(values.value(row), out),
            Cells::Bytes(values) => out.put_slice(values.value(row)),
            Cells::Date(values) => out.put_i32(match values.value(row) {
                infinite @ (i32::MIN | i32::MAX) => infinite,
                days => days.saturating_sub(datetime::EPOCH_DAYS),
            }),
            Cells::Time(values) => out.put_i64(values.value(row)),
            Cells::Timestamp(values) | Cells::Timestamptz(values) => {
                out.put_i64(match values.value(row) {
                    infinite @ (i64::MIN | i64::MAX) => infinite,
                    micros => micros.saturating_sub(datetime::EPOCH_MICROS),
                });
            }
            Cells::Interval(values) => {
                let value = values.value(row);
                out.put_i64(value.nanoseconds / 1_000);
                out.put_i32(value.days);
                out.put_i32(value.months);
            }
            Cells::List(..) => self.write_array(row, out),
            Cells::Record(fields) => {
                out.put_i32(length(fields.len()));
                for field in fields {
                    out.put_u32(field.pg_type.oid());
                    field.write_sized_binary(row, out);
                }
            }
        }
    }

    /// Writes a value's length and the value; NULL has length -1.
    pub(super) fn write_sized_binary(&self, row: usize, out: &mut BytesMut) {
        if self.is_null(row) {
            out.put_i32(-1);
        } else {
            write_sized(out, |out| self.write_binary(row, out));
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the declared type bounds the value")]
    fn write_int(&self, value: i64, out: &mut BytesMut) {
        match self.pg_type {
            Type::INT2 => out.put_i16(value as i16),
            Type::INT4 => out.put_i32(value as i32),
            ref other if is_oid(other) => out.put_i32(value as i32),
            _ => out.put_i64(value),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "float4 is what the client was promised")]
    fn write_float(&self, value: f64, out: &mut BytesMut) {
        match self.pg_type {
            Type::FLOAT4 => out.put_f32(value as f32),
            _ => out.put_f64(value),
        }
    }

    fn write_string(&self, value: &str, out: &mut BytesMut) {
        match self.pg_type {
            Type::JSONB => {
                out.put_u8(JSONB_VERSION);
                out.put_slice(value.as_bytes());
            }
            Type::UUID => out.put_u128(parse_uuid(value).unwrap_or_default()),
            Type::CHAR => out.put_u8(value.bytes().next().unwrap_or_default()),
            _ => out.put_slice(value.as_bytes()),
        }
    }

    /// Writes an array: its dimensions, then all elements row by row.
    fn write_array(&self, row: usize, out: &mut BytesMut) {
        let mut sizes = Vec::new();
        let mut column = self;
        let mut rows = vec![row];
        while let Cells::List(offsets, items) = &column.cells {
            let inner = rows.iter().flat_map(|row| {
                offsets[*row].cast_unsigned() as usize..offsets[row + 1].cast_unsigned() as usize
            });
            let inner: Vec<usize> = inner.collect();
            sizes.push(inner.len().checked_div(rows.len()).unwrap_or(0));
            rows = inner;
            column = items;
        }
        let empty = rows.is_empty();
        let has_null = rows.iter().any(|row| column.is_null(*row));
        out.put_i32(if empty { 0 } else { length(sizes.len()) });
        out.put_i32(i32::from(has_null));
        out.put_u32(column.pg_type.oid());
        if empty {
            return;
        }
        for size in sizes {
            out.put_i32(length(size));
            // Arrays begin at 1.
            out.put_i32(1);
        }
        for row in rows {
            column.write_sized_binary(row, out);
        }
    }
}

fn length(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Reads a UUID in any of the spellings Postgres takes.
fn parse_uuid(text: &str) -> Option<u128> {
    let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten()
}
