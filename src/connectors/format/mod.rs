//! Formats: bytes to rows of the declared schema, with the bad records kept apart.
//!
//! A [`Decoder`] sees a block of bytes that starts at a record, decodes the whole records in it and
//! says where each row ended, so that a reader can deliver any number of them and name the place
//! where reading goes on.

pub mod copy;
mod csv;
mod datetime;
mod fields;
mod json;
mod limit;
mod parquet;
mod rows;
mod value;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{BadRecord, Flaw, Result};

pub use csv::{CsvDecoder, CsvOptions};
pub use datetime::{Digits, parse_span, parse_timestamp};
pub use json::JsonDecoder;
pub use limit::TextLimit;
pub use parquet::ParquetReader;
pub use rows::{Column, unreadable};
pub use value::{Rules, ValueError, parse_decimal};

/// Most records decoded at a time: enough to make per-batch costs vanish, small enough for caches.
pub const RECORDS_MAX: usize = 8192;

/// Most characters shown of a bad record.
const RAW_CHARS: usize = 300;

/// A place in a file. For a binary file, both numbers are the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Bytes before this place.
    pub offset: u64,
    /// Lines before this place.
    pub line: u64,
}

/// Rows out of a block of bytes.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The good rows, in order.
    pub rows: RecordBatch,
    /// Where each row ends.
    pub ends: Vec<Mark>,
    /// Bad records, each with the number of good rows before it.
    pub bad: Vec<(usize, BadRecord)>,
    /// Where decoding goes on.
    pub end: Mark,
}

impl Decoded {
    /// No rows; decoding goes on at `end`.
    pub fn empty(schema: &SchemaRef, end: Mark) -> Self {
        let rows = RecordBatch::new_empty(Arc::clone(schema));
        Self { rows, ends: Vec::new(), bad: Vec::new(), end }
    }

    /// Returns whether there is neither a row nor a bad record.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.bad.is_empty()
    }

    /// Takes the first `rows` rows off, with the bad records before them. With all rows, takes all.
    pub fn take(&mut self, rows: usize) -> Decoded {
        let total = self.ends.len();
        if rows >= total {
            let rest = Decoded::empty(&self.rows.schema(), self.end);
            return std::mem::replace(self, rest);
        }
        // Invariant: a bad record with `rows` good rows before it lies behind the place where the
        // last of them ended, so it stays.
        let (before, mut after): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.bad).into_iter().partition(|(place, _)| *place < rows);
        for (place, _) in &mut after {
            *place -= rows;
        }
        self.bad = after;
        let rest = self.ends.split_off(rows);
        let ends = std::mem::replace(&mut self.ends, rest);
        // A take of no rows ends where it began, which only the caller knows; it never happens.
        assert!(rows > 0, "at least one row is taken");
        let end = ends[rows - 1];
        let head = self.rows.slice(0, rows);
        self.rows = self.rows.slice(rows, total - rows);
        Decoded { rows: head, ends, bad: before, end }
    }
}

/// A block of bytes that starts at a record.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Where they stand in the file.
    pub from: Mark,
    /// Whether the file ends with them: then the last record needs no line end.
    pub last: bool,
    /// Most bytes of a record; a longer one is bad.
    pub max_line: usize,
    /// Name of the file, for the places of bad records.
    pub file: &'a str,
}

/// Decodes a text format.
pub trait Decoder: Send {
    /// Learns from the header; returns its length and lines, or `None` if more bytes are needed.
    fn header(&mut self, block: Block<'_>) -> Result<Option<Mark>>;

    /// Decodes up to [`RECORDS_MAX`] whole records; none if the block holds no whole record.
    fn decode(&mut self, block: Block<'_>) -> Result<Decoded>;
}

/// Returns the length of a UTF-8 byte order mark at the start of a file.
pub fn byte_order_mark(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 }
}

/// Makes a bad record; its raw text is cut to `RAW_CHARS`.
pub fn bad_record(file: &str, line: u64, flaw: Flaw, raw: &[u8]) -> BadRecord {
    let raw = String::from_utf8_lossy(beginning(raw)).chars().take(RAW_CHARS).collect();
    BadRecord { place: format!("{file}:{line}"), flaw, raw }
}

/// Returns as much of a record as a bad one needs to show: a character has at most 4 bytes.
pub fn beginning(raw: &[u8]) -> &[u8] {
    &raw[..raw.len().min(4 * RAW_CHARS)]
}

/// Makes a batch of the declared schema; the error names a NOT NULL column that holds NULL.
pub fn declared(schema: &SchemaRef, rows: &RecordBatch) -> std::result::Result<RecordBatch, Flaw> {
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(Flaw::null(field.name()));
        }
    }
    rows.clone().with_schema(Arc::clone(schema)).or_else(|_| {
        // Only the nullability of fields differs, which `with_schema` refuses to narrow.
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(schema), rows.columns().to_vec(), &options)
            .map_err(|error| Flaw::malformed(error.to_string()))
    })
}

/// Returns a length as a file offset.
pub fn count(len: usize) -> u64 {
    u64::try_from(len).expect("a length fits 64 bits")
}
