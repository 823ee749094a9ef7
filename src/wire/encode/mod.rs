//! Arrow batches to rows on the wire.
//!
//! A [`Layout`] is what a client was told of a result: names, types and formats of its columns. A
//! [`Batch`] is a record batch brought into that layout, from which rows are written straight into
//! the socket's buffer.
//!
//! # Why
//! arrow-pg encodes through a trait object per value, refuses wide decimals and knows neither
//! declared types nor infinite timestamps. Here a column's type is decided once per batch, and text
//! output serves rows, COPY and the elements of arrays alike.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use bytes::{BufMut, BytesMut};
use pgwire::api::Type;
use pgwire::messages::data::{FieldDescription, RowDescription};

mod binary;
mod cells;
mod text;

pub(super) use crate::sql::output::datetime::{EPOCH_DAYS, EPOCH_MICROS};
pub(super) use text::Style;

use super::pg_type::ColumnType;
use cells::Column;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// As the type's output function prints it.
    Text,
    /// As the type's send function writes it.
    Binary,
}

impl From<i16> for Format {
    fn from(code: i16) -> Self {
        if code == 1 { Format::Binary } else { Format::Text }
    }
}

impl Format {
    /// Returns the format of item `index`: no codes mean text, one code is for all (Bind message).
    pub(super) fn of(codes: &[i16], index: usize) -> Format {
        match codes {
            [] => Format::Text,
            [all] => Format::from(*all),
            each => each.get(index).copied().map_or(Format::Text, Format::from),
        }
    }
}

/// Names, types and formats of a result's columns.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    columns: Vec<(String, ColumnType, Format)>,
}

impl Layout {
    /// Lays out a result; `codes` are the formats the client asked for.
    pub(super) fn new(schema: &Schema, codes: &[i16]) -> Layout {
        let columns = schema.fields().iter().enumerate().map(|(index, field)| {
            (field.name().clone(), ColumnType::of(field), Format::of(codes, index))
        });
        Layout { columns: columns.collect() }
    }

    /// Returns the message that tells the client.
    pub(super) fn description(&self) -> RowDescription {
        let fields = self.columns.iter().map(|(name, column, format)| {
            let (oid, code) = (column.pg_type.oid(), *format as i16);
            FieldDescription::new(name.clone(), 0, 0, oid, column.size(), column.modifier, code)
        });
        RowDescription::new(fields.collect())
    }

    /// Returns the columns' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, ..)| name.as_str())
    }

    /// Returns the columns' types.
    pub(super) fn types(&self) -> impl Iterator<Item = &Type> {
        self.columns.iter().map(|(_, column, _)| &column.pg_type)
    }

    /// Returns the number of columns.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// Brings a batch into this layout.
    pub(super) fn batch(&self, rows: &RecordBatch, style: Style) -> Result<Batch, ArrowError> {
        if rows.num_columns() != self.columns.len() {
            let (got, promised) = (rows.num_columns(), self.columns.len());
            return Err(ArrowError::SchemaError(format!("{got} columns, described as {promised}")));
        }
        let pairs = rows.columns().iter().zip(&self.columns);
        let columns = pairs.map(|(array, (_, column, format))| {
            Ok((Column::new(array, &column.pg_type)?, *format))
        });
        let columns = columns.collect::<Result<_, ArrowError>>()?;
        Ok(Batch { columns, style, rows: rows.num_rows() })
    }
}

/// A record batch in a layout.
pub(super) struct Batch {
    columns: Vec<(Column, Format)>,
    style: Style,
    rows: usize,
}

impl Batch {
    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Writes a DataRow message.
    pub(super) fn write_row(&self, row: usize, out: &mut BytesMut) {
        out.put_u8(b'D');
        write_message(out, |out| self.write_fields(row, out));
    }

    /// Writes the number of fields and each field with its length.
    pub(super) fn write_fields(&self, row: usize, out: &mut BytesMut) {
        out.put_i16(i16::try_from(self.columns.len()).unwrap_or(i16::MAX));
        for (column, format) in &self.columns {
            match format {
                Format::Binary => column.write_sized_binary(row, out),
                Format::Text if column.is_null(row) => out.put_i32(-1),
                Format::Text => write_sized(out, |out| column.write_text(row, self.style, out)),
            }
        }
    }

    /// Returns the text of each field of a row, `None` for NULL.
    pub(super) fn texts(&self, row: usize) -> impl Iterator<Item = Option<BytesMut>> {
        self.columns.iter().map(move |(column, _)| {
            (!column.is_null(row)).then(|| {
                let mut text = BytesMut::new();
                column.write_text(row, self.style, &mut text);
                text
            })
        })
    }
}

/// Writes a length that counts itself, then what `write` writes: a message behind its type byte.
pub(super) fn write_message(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    const SIZE: usize = 4;
    write_behind_length(out, SIZE, write);
}

/// Writes a length that does not count itself, then what `write` writes: a value.
fn write_sized(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    write_behind_length(out, 0, write);
}

fn write_behind_length(out: &mut BytesMut, own: usize, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    let body = out.len();
    write(out);
    let length = i32::try_from(out.len() - body + own).unwrap_or(i32::MAX);
    out[start..body].copy_from_slice(&length.to_be_bytes());
}
