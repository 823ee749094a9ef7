//! JSON: one object per line.
//!
//! # Semantics
//! Members are matched to columns by name; a missing member and `null` are NULL; other members are
//! skipped. A number for a text column is its text, and a string for a number is parsed. A
//! timestamp with an offset is converted to UTC; a number for a timestamp, with or without quotes,
//! counts the `time_unit` of the source since the epoch, and is an error without one. A json or
//! jsonb column takes any value, as its text. Blank lines are skipped. A number that is too
//! large for a floating-point column, like one out of an integer's range, makes its record bad.
//!
//! # Cost
//! A block of good lines is decoded column by column. A block with a bad line is halved until the
//! bad line stands alone: `k` bad lines among `n` cost `O(k log n)` decodings.

mod rewrite;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder as ArrowDecoder;

use super::datetime::Digits;
use super::limit::TextLimit;
use super::rows::{Column, all_nullable, element, unreadable};
use super::value::Rules;
use super::{
    Block, Decoded, Decoder, Mark, RECORDS_MAX, bad_record, byte_order_mark, count, declared,
};
use crate::connectors::{BadRecord, Error, Flaw, Result};
use crate::error::SqlState;
use rewrite::quote_json_members;

/// Decodes JSON objects, one per line.
#[derive(Debug)]
pub struct JsonDecoder {
    schema: SchemaRef,
    rules: Rules,
    /// The schema that arrow decodes to: columns with rules of their own arrive as text.
    raw: SchemaRef,
    /// Names of the columns that take any JSON value as text.
    json_columns: Vec<String>,
    /// Decodes blocks; renewed after an error, which leaves it half-way through a record.
    arrow: ArrowDecoder,
}

/// A line of the block, without its line end.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    bytes: &'a [u8],
    /// Where the next line starts.
    end: Mark,
}

impl JsonDecoder {
    /// Makes a decoder of the declared columns.
    pub fn new(schema: SchemaRef, digits: Digits) -> Result<Self> {
        let rules = Rules::File(digits);
        let mut fields = Vec::new();
        for field in all_nullable(&schema).fields() {
            if Column::new(field, rules).is_none() {
                return Err(unreadable(field));
            }
            fields.push(Field::new(field.name(), raw_type(field.data_type()), true));
        }
        let is_json = |field: &Field| {
            field.metadata().get("pg_type").is_some_and(|name| name == "json" || name == "jsonb")
        };
        let json_columns =
            schema.fields().iter().filter(|f| is_json(f)).map(|f| f.name().clone()).collect();
        let raw = Arc::new(Schema::new(fields));
        let arrow = arrow_decoder(&raw)?;
        Ok(Self { schema, rules, raw, json_columns, arrow })
    }

    /// Decodes lines into `out`, halving them around bad ones.
    fn decode_lines(
        &mut self,
        lines: &[Line<'_>],
        block: Block<'_>,
        out: &mut Pieces,
    ) -> Result<()> {
        match self.decode_all(lines, block.max_line) {
            Ok(rows) => {
                out.rows += rows.num_rows();
                out.ends.extend(lines.iter().map(|line| line.end));
                out.batches.push(rows);
            }
            Err(flaw) => {
                self.arrow = arrow_decoder(&self.raw)?;
                match lines {
                    [line] => {
                        let record = bad_record(block.file, line.end.line, flaw, line.bytes);
                        out.bad.push((out.rows, record));
                    }
                    lines => {
                        let (first, second) = lines.split_at(lines.len() / 2);
                        self.decode_lines(first, block, out)?;
                        self.decode_lines(second, block, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Decodes lines that must hold one record each.
    fn decode_all(
        &mut self,
        lines: &[Line<'_>],
        max_line: usize,
    ) -> std::result::Result<RecordBatch, Flaw> {
        let mut rewritten = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            if line.bytes.len() > max_line {
                return Err(Flaw::too_long(count(line.bytes.len()), max_line));
            }
            let bytes = if self.json_columns.is_empty() {
                line.bytes
            } else {
                rewritten.clear();
                quote_json_members(line.bytes, &self.json_columns, &mut rewritten)
                    .map_err(Flaw::malformed)?;
                &rewritten
            };
            // The line end is fed on its own: it ends a number, and separates records.
            for part in [bytes, b"\n"] {
                let read = self.arrow.decode(part).map_err(|e| malformed(&e))?;
                if read != part.len() {
                    return Err(Flaw::malformed("more than one value on a line"));
                }
            }
            if self.arrow.has_partial_record() {
                return Err(Flaw::malformed("the record ends too early"));
            }
            if self.arrow.len() != index + 1 {
                return Err(Flaw::malformed("a line is not one JSON object"));
            }
        }
        let raw = self.arrow.flush().map_err(|e| malformed(&e))?;
        let raw = raw.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.raw)));
        self.convert(&raw)
    }

    /// Turns text columns into their types and checks what arrow does not.
    fn convert(&self, raw: &RecordBatch) -> std::result::Result<RecordBatch, Flaw> {
        let mut columns = Vec::with_capacity(raw.num_columns());
        for (field, column) in self.schema.fields().iter().zip(raw.columns()) {
            let converted = convert_column(field, column, self.rules);
            columns.push(converted.map_err(|flaw| flaw.of_column(field.name()))?);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(raw.num_rows()));
        let nullable = Arc::new(all_nullable(&self.schema));
        let rows = RecordBatch::try_new_with_options(nullable, columns, &options)
            .map_err(|e| malformed(&e))?;
        declared(&self.schema, &rows)
    }
}

impl Decoder for JsonDecoder {
    fn header(&mut self, block: Block<'_>) -> Result<Option<Mark>> {
        if block.bytes.len() < 3 && !block.last {
            return Ok(None);
        }
        let offset = byte_order_mark(block.bytes);
        Ok(Some(Mark { offset: count(offset), line: 0 }))
    }

    fn decode(&mut self, block: Block<'_>) -> Result<Decoded> {
        let (lines, end) = split_lines(block);
        let mut out = Pieces::default();
        if !lines.is_empty() {
            self.decode_lines(&lines, block, &mut out)?;
        }
        let rows = match &out.batches[..] {
            [one] => one.clone(),
            batches => concat_batches(&self.schema, batches).map_err(|e| Error::Format {
                what: block.file.to_owned(),
                reason: e.to_string(),
            })?,
        };
        Ok(Decoded { rows, ends: out.ends, bad: out.bad, end })
    }
}

/// What was decoded so far of a block.
#[derive(Debug, Default)]
struct Pieces {
    batches: Vec<RecordBatch>,
    rows: usize,
    ends: Vec<Mark>,
    bad: Vec<(usize, BadRecord)>,
}

/// Returns the whole lines of a block that are not blank, and where they end.
fn split_lines(block: Block<'_>) -> (Vec<Line<'_>>, Mark) {
    let mut lines = Vec::new();
    let mut end = block.from;
    for bytes in block.bytes.split_inclusive(|b| *b == b'\n') {
        let whole = bytes.ends_with(b"\n");
        if lines.len() == RECORDS_MAX || !(whole || block.last) {
            break;
        }
        end.offset += count(bytes.len());
        end.line += 1;
        let text = bytes.trim_ascii_end();
        if !text.trim_ascii_start().is_empty() {
            lines.push(Line { bytes: text, end });
        }
    }
    (lines, end)
}

/// Returns whether arrow's own rules for a type are ours.
fn is_native(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Boolean | DataType::Utf8 | DataType::Float32 | DataType::Float64)
}

/// Returns the type that arrow decodes a column to.
fn raw_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(item) => {
            DataType::List(Arc::new(Field::new(item.name(), raw_type(item.data_type()), true)))
        }
        native if is_native(native) => native.clone(),
        _ => DataType::Utf8,
    }
}

fn arrow_decoder(raw: &SchemaRef) -> Result<ArrowDecoder> {
    ReaderBuilder::new(Arc::clone(raw))
        // One more than is fed, so that a second record on the last line is seen.
        .with_batch_size(RECORDS_MAX + 1)
        .with_coerce_primitive(true)
        .build_decoder()
        .map_err(|e| Error::Format { what: "json".to_owned(), reason: e.to_string() })
}

fn convert_column(
    field: &Field,
    raw: &ArrayRef,
    rules: Rules,
) -> std::result::Result<ArrayRef, Flaw> {
    if let (DataType::List(item), Some(lists)) = (field.data_type(), raw.as_list_opt::<i32>()) {
        let values = convert_column(&element(field, item), lists.values(), rules)?;
        let (offsets, nulls) = (lists.offsets().clone(), lists.logical_nulls());
        let lists = ListArray::try_new(Arc::clone(item), offsets, values, nulls);
        return Ok(Arc::new(lists.map_err(|e| malformed(&e))?));
    }
    let out_of_range = |type_name: &str| Flaw {
        sqlstate: SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        message: format!("a number is out of range for type {type_name}"),
    };
    if let Some(values) = raw.as_primitive_opt::<Float64Type>()
        && values.iter().flatten().any(f64::is_infinite)
    {
        return Err(out_of_range("double precision"));
    }
    if let Some(values) = raw.as_primitive_opt::<Float32Type>()
        && values.iter().flatten().any(f32::is_infinite)
    {
        return Err(out_of_range("real"));
    }
    if is_native(field.data_type()) {
        let Some(limit) = TextLimit::of(field) else { return Ok(Arc::clone(raw)) };
        let cut = limit.cut_all(raw);
        return limit.first(&cut).map_or(Ok(cut), |error| Err(error.into()));
    }
    let mut column = Column::new(field, rules).expect("checked when the decoder was made");
    for text in raw.as_string::<i32>() {
        match text {
            Some(text) => column.append(text)?,
            None => column.append_null(),
        }
    }
    Ok(column.finish())
}

/// Says what is wrong in arrow's words, without the name of its error kind.
fn malformed(error: &ArrowError) -> Flaw {
    Flaw::malformed(match error {
        ArrowError::JsonError(reason) | ArrowError::ParseError(reason) => reason.clone(),
        other => other.to_string(),
    })
}
