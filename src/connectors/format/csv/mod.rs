//! CSV files: RFC 4180 with Postgres's rule for NULL.
//!
//! # Semantics
//! With a header, columns are matched by name (exactly, else whatever the case), and other columns
//! are skipped; a declared column that the header lacks is an error. Without one, fields are the
//! declared columns in order. A field without quotes that equals the null string (default: empty)
//! is NULL. A number for a timestamp counts the `time_unit` of the source since the epoch. Blank
//! lines are skipped. A record with the wrong number of fields, or with a field that is not a value
//! of its column, is bad. A quote that is not closed within `max_line` is taken for a stray one:
//! its line is bad, and reading goes on behind it.

#[cfg(test)]
mod tests;

use arrow::datatypes::SchemaRef;

use super::datetime::Digits;
use super::fields::{Dialect, Fields, Scan};
use super::rows::RowsBuilder;
use super::value::Rules;
use super::{
    Block, Decoded, Decoder, Mark, RECORDS_MAX, bad_record, byte_order_mark, count, declared,
};
use crate::connectors::{Error, Flaw, Result};

/// Most characters that an error shows of a header.
const NAMES_CHARS: usize = 1000;

/// How the file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// Whether the first record names the columns.
    pub header: bool,
    /// Separates fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// What a number means for a timestamp.
    pub digits: Digits,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { header: true, delimiter: b',', null: String::new(), digits: Digits::Date }
    }
}

/// Decodes comma-separated values.
#[derive(Debug)]
pub struct CsvDecoder {
    schema: SchemaRef,
    options: CsvOptions,
    dialect: Dialect,
    /// For each declared column, the field that holds it.
    places: Vec<usize>,
    /// How many fields a record has.
    width: usize,
    rows: RowsBuilder,
    fields: Fields,
}

impl CsvDecoder {
    /// Makes a decoder of the declared columns.
    pub fn new(schema: SchemaRef, options: CsvOptions) -> Result<Self> {
        let rows = RowsBuilder::new(schema.clone(), Rules::File(options.digits))?;
        let dialect = Dialect { delimiter: options.delimiter, quote: b'"', escape: b'"' };
        let width = schema.fields().len();
        let places = (0..width).collect();
        Ok(Self { schema, options, dialect, places, width, rows, fields: Fields::default() })
    }

    /// Learns the places of the columns from the names in the header.
    fn learn(&mut self, file: &str) -> Result<()> {
        let error = |reason: String| Error::Format { what: file.to_owned(), reason };
        let texts = self.fields.texts().map_err(|e| error(e.to_string()))?;
        let names: Vec<&str> = texts.all().into_iter().map(str::trim).collect();
        let place = |column: &str| {
            let exact = names.iter().position(|name| *name == column);
            exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(column)))
        };
        self.places.clear();
        for field in self.schema.fields() {
            let found = place(field.name()).ok_or_else(|| {
                let names: String = names.join(", ").chars().take(NAMES_CHARS).collect();
                error(format!("the header has no column \"{}\"; it has {names}", field.name()))
            })?;
            self.places.push(found);
        }
        self.width = names.len();
        Ok(())
    }

    /// Appends the scanned record; returns why it is bad.
    fn append(&mut self) -> std::result::Result<(), Flaw> {
        let texts = self.fields.texts().map_err(|e| Flaw::malformed(e.to_string()))?;
        if self.fields.len() != self.width {
            let (found, width) = (self.fields.len(), self.width);
            return Err(Flaw::malformed(format!("the record has {found} fields, not {width}")));
        }
        let value = |column: usize| texts.value(self.places[column], &self.options.null);
        check_nulls(&self.schema, value)?;
        self.rows
            .append(value)
            .map_err(|bad| Flaw::from(bad.error).of_column(self.schema.field(bad.column).name()))
    }
}

impl Decoder for CsvDecoder {
    fn header(&mut self, block: Block<'_>) -> Result<Option<Mark>> {
        if block.bytes.len() < 3 && !block.last {
            return Ok(None);
        }
        let bom = byte_order_mark(block.bytes);
        let mut mark = Mark { offset: count(bom), line: 0 };
        if self.options.header && bom < block.bytes.len() {
            match self.fields.scan(&block.bytes[bom..], self.dialect, block.last) {
                Scan::Partial => return Ok(None),
                Scan::Unterminated => {
                    let reason = "the header has a quote that is not closed".to_owned();
                    return Err(Error::Format { what: block.file.to_owned(), reason });
                }
                Scan::Whole { len, lines } => {
                    mark = Mark { offset: count(bom + len), line: lines };
                    self.learn(block.file)?;
                }
            }
        }
        Ok(Some(mark))
    }

    fn decode(&mut self, block: Block<'_>) -> Result<Decoded> {
        let (mut ends, mut bad) = (Vec::new(), Vec::new());
        let (mut end, mut at) = (block.from, 0);
        while at < block.bytes.len() && ends.len() + bad.len() < RECORDS_MAX {
            let rest = &block.bytes[at..];
            let line_end = || rest.iter().position(|b| *b == b'\n').map(|end| end + 1);
            let stray = || Err(Flaw::malformed("a quote is not closed"));
            let (len, lines, outcome) = match self.fields.scan(rest, self.dialect, block.last) {
                Scan::Partial if rest.len() > block.max_line => match line_end() {
                    Some(end) => (end, 1, stray()),
                    None => break,
                },
                Scan::Partial => break,
                Scan::Unterminated => (line_end().unwrap_or(rest.len()), 1, stray()),
                Scan::Whole { len, lines } if self.fields.is_blank() => (len, lines, Ok(false)),
                Scan::Whole { len, lines } if len > block.max_line => {
                    (len, lines, Err(Flaw::too_long(count(len), block.max_line)))
                }
                Scan::Whole { len, lines } => (len, lines, self.append().map(|()| true)),
            };
            let line = end.line + 1;
            at += len;
            end = Mark { offset: end.offset + count(len), line: end.line + lines };
            match outcome {
                Ok(true) => ends.push(end),
                Ok(false) => {}
                Err(flaw) => {
                    let raw = rest[..len].trim_ascii_end();
                    bad.push((ends.len(), bad_record(block.file, line, flaw, raw)));
                }
            }
        }
        let rows = declared(&self.schema, &self.rows.finish())
            .map_err(|flaw| Error::Format { what: block.file.to_owned(), reason: flaw.message })?;
        Ok(Decoded { rows, ends, bad, end })
    }
}

fn check_nulls<'a>(
    schema: &SchemaRef,
    value: impl Fn(usize) -> Option<&'a str>,
) -> std::result::Result<(), Flaw> {
    for (column, field) in schema.fields().iter().enumerate() {
        if !field.is_nullable() && value(column).is_none() {
            return Err(Flaw::null(field.name()));
        }
    }
    Ok(())
}
