//! `COPY ... FROM STDIN`: Postgres's text and CSV formats, decoded as the bytes arrive.
//!
//! # Semantics
//! Text: fields between delimiters (tab), one row per line; a field equal to the null string (`\N`)
//! is NULL; `\b \f \n \r \t \v`, `\ooo`, `\xhh` and a backslash before any other character are
//! escapes; a backslash before a line end makes it data. CSV: quotes, and NULL is the null string
//! (empty) without quotes. In both, a line `\.` ends the data and what follows is ignored. The
//! first
//! error ends the decoding: COPY inserts all rows or none.
//!
//! # Cost
//! Rows are parsed once. A record that spans pushes is scanned again when a line has ended and its
//! bytes have doubled. So time is linear in the length of the data, however they are cut.
//!
//! # References
//! Postgres: "COPY", section "File Formats".

#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::declared;
use super::fields::{Dialect, Fields, Scan, Texts};
use super::rows::RowsBuilder;
use super::value::Rules;
use crate::connectors::{Error, Result};
use crate::error::SqlState;

/// Most characters of a line or value that an error shows, as in Postgres.
const SHOWN_CHARS: usize = 100;

/// The options of COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFormat {
    /// CSV rather than text.
    pub csv: bool,
    /// Separates fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// Whether the first line names the columns; it is skipped.
    pub header: bool,
    /// Opens and closes quoted text (CSV).
    pub quote: u8,
    /// Escapes a quote inside quotes (CSV).
    pub escape: u8,
}

impl CopyFormat {
    /// Returns the text format with its defaults.
    pub fn text() -> Self {
        let null = "\\N".to_owned();
        Self { csv: false, delimiter: b'\t', null, header: false, quote: b'"', escape: b'"' }
    }

    /// Returns the CSV format with its defaults.
    pub fn csv() -> Self {
        Self { csv: true, delimiter: b',', null: String::new(), ..Self::text() }
    }
}

/// Decodes the data of a COPY.
#[derive(Debug)]
pub struct CopyDecoder {
    schema: SchemaRef,
    relation: String,
    format: CopyFormat,
    rows: RowsBuilder,
    fields: Fields,
    /// Bytes of a record that is not whole yet.
    tail: Vec<u8>,
    /// How many of these bytes were scanned in vain.
    scanned: usize,
    /// Lines before `tail`.
    line: u64,
    /// Whether the header is still to come.
    header: bool,
    /// Whether the end marker was seen.
    ended: bool,
}

impl CopyDecoder {
    /// Makes a decoder of the listed columns of a relation.
    pub fn new(schema: SchemaRef, relation: String, format: CopyFormat) -> Result<Self> {
        Ok(Self {
            rows: RowsBuilder::new(schema.clone(), Rules::Postgres)?,
            schema,
            relation,
            header: format.header,
            format,
            fields: Fields::default(),
            tail: Vec::new(),
            scanned: 0,
            line: 0,
            ended: false,
        })
    }

    /// Decodes the next bytes, which may end anywhere.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        if self.tail.is_empty() {
            let used = self.decode(bytes, false)?;
            self.tail.extend_from_slice(&bytes[used..]);
        } else {
            self.tail.extend_from_slice(bytes);
            if !bytes.contains(&b'\n') || self.tail.len() < 2 * self.scanned {
                return Ok(());
            }
            let tail = std::mem::take(&mut self.tail);
            let used = self.decode(&tail, false)?;
            self.tail = tail;
            self.tail.drain(..used);
        }
        self.scanned = self.tail.len();
        Ok(())
    }

    /// Decodes a last line without line end and returns all rows.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let tail = std::mem::take(&mut self.tail);
        if !self.ended {
            self.decode(&tail, true)?;
        }
        declared(&self.schema, &self.rows.finish()).map_err(|flaw| Error::Format {
            what: format!("COPY {}", self.relation),
            reason: flaw.message,
        })
    }

    /// Returns how many rows were decoded.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Decodes the whole records in `bytes`; returns how many bytes they have.
    fn decode(&mut self, bytes: &[u8], last: bool) -> Result<usize> {
        let mut at = 0;
        while at < bytes.len() && !self.ended {
            let rest = &bytes[at..];
            let Some((len, lines)) = self.scan(rest, last)? else { break };
            let line = trim_line_end(&rest[..len]);
            self.line += lines;
            at += len;
            if std::mem::take(&mut self.header) {
                continue;
            }
            if line == b"\\." {
                self.ended = true;
            } else {
                self.append(line)?;
            }
        }
        Ok(at)
    }

    /// Takes the fields of the record at the start of `bytes`; returns its length and lines.
    fn scan(&mut self, bytes: &[u8], last: bool) -> Result<Option<(usize, u64)>> {
        if !self.format.csv {
            return match scan_text(&mut self.fields, bytes, &self.format, last) {
                TextScan::Whole { len, lines } => Ok(Some((len, lines))),
                TextScan::Partial => Ok(None),
            };
        }
        let CopyFormat { delimiter, quote, escape, .. } = self.format;
        match self.fields.scan(bytes, Dialect { delimiter, quote, escape }, last) {
            Scan::Whole { len, lines } => Ok(Some((len, lines))),
            Scan::Partial => Ok(None),
            Scan::Unterminated => {
                self.line += 1;
                Err(self.format_error("unterminated CSV quoted field".to_owned(), bytes))
            }
        }
    }

    fn append(&mut self, line: &[u8]) -> Result<()> {
        let Ok(texts) = self.fields.texts() else {
            let message = "invalid byte sequence for encoding \"UTF8\"".to_owned();
            return Err(self.format_error(message, line));
        };
        let columns = self.schema.fields();
        if let Some(missing) = columns.get(self.fields.len()) {
            let message = format!("missing data for column \"{}\"", missing.name());
            return Err(self.format_error(message, line));
        }
        if self.fields.len() > columns.len() {
            let message = "extra data after last expected column".to_owned();
            return Err(self.format_error(message, line));
        }
        let null = &self.format.null;
        let csv = self.format.csv;
        let value = |column: usize| field_value(&texts, column, (csv, null));
        for (column, field) in columns.iter().enumerate() {
            if !field.is_nullable() && value(column).is_none() {
                return Err(Error::Copy {
                    sqlstate: SqlState::NOT_NULL_VIOLATION,
                    message: format!(
                        "null value in column \"{}\" of relation \"{}\" violates not-null \
                         constraint",
                        field.name(),
                        self.relation
                    ),
                    context: self.context(line),
                });
            }
        }
        self.rows.append(value).map_err(|bad| Error::Copy {
            sqlstate: bad.error.sqlstate(),
            message: bad.error.message,
            context: format!(
                "COPY {}, line {}, column {}: \"{}\"",
                self.relation,
                self.line,
                columns[bad.column].name(),
                shown(value(bad.column).unwrap_or_default())
            ),
        })
    }

    fn format_error(&self, message: String, line: &[u8]) -> Error {
        let sqlstate = SqlState::BAD_COPY_FILE_FORMAT;
        Error::Copy { sqlstate, message, context: self.context(line) }
    }

    fn context(&self, line: &[u8]) -> String {
        let line = String::from_utf8_lossy(&line[..line.len().min(4 * SHOWN_CHARS)]);
        format!("COPY {}, line {}: \"{}\"", self.relation, self.line, shown(line.trim_end()))
    }
}

/// Returns a field's text; in the text format the scan has marked NULLs as quoted.
fn field_value<'a>(texts: &Texts<'a>, column: usize, format: (bool, &str)) -> Option<&'a str> {
    match format {
        (true, null) => texts.value(column, null),
        (false, _) => {
            let (text, is_null) = texts.get(column);
            (!is_null).then_some(text)
        }
    }
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

enum TextScan {
    Whole { len: usize, lines: u64 },
    Partial,
}

/// Takes the fields of a line in text format. The mark of a field says that it is NULL.
fn scan_text(fields: &mut Fields, bytes: &[u8], format: &CopyFormat, last: bool) -> TextScan {
    fields.clear();
    let (mut at, mut start, mut lines) = (0, 0, 0);
    let is_null = |raw: &[u8]| raw == format.null.as_bytes();
    loop {
        let special = |b: &u8| *b == format.delimiter || *b == b'\\' || *b == b'\n';
        let run = bytes[at..].iter().position(special).unwrap_or(bytes.len() - at);
        let (text, next) = (&bytes[at..at + run], bytes.get(at + run));
        at += run;
        match next {
            Some(b'\\') => {
                fields.extend(text);
                match unescape(&bytes[at + 1..]) {
                    Some((byte, len)) => {
                        lines += u64::from(bytes[at + 1] == b'\n');
                        fields.extend(&[byte]);
                        at += 1 + len;
                    }
                    None if last => {
                        fields.extend(b"\\");
                        at += 1;
                    }
                    None => return TextScan::Partial,
                }
            }
            Some(b'\n') | None => {
                if next.is_none() && !last {
                    return TextScan::Partial;
                }
                // An escaped carriage return is data; only a bare one belongs to the line end.
                fields.extend(text.strip_suffix(b"\r").unwrap_or(text));
                let raw = &bytes[start..at];
                fields.end_field(is_null(raw.strip_suffix(b"\r").unwrap_or(raw)));
                return TextScan::Whole { len: at + usize::from(next.is_some()), lines: lines + 1 };
            }
            Some(_) => {
                fields.extend(text);
                fields.end_field(is_null(&bytes[start..at]));
                at += 1;
                start = at;
            }
        }
    }
}

/// Returns the byte that the characters behind a backslash stand for, and their number.
fn unescape(bytes: &[u8]) -> Option<(u8, usize)> {
    let octal = |b: &u8| (b'0'..=b'7').contains(b);
    let value = |digits: &[u8], radix: u32| {
        let digit = |b: &u8| char::from(*b).to_digit(radix).unwrap_or(0);
        let value = digits.iter().fold(0, |sum, b| sum * radix + digit(b));
        // As in Postgres, only the low eight bits of an octal escape count.
        u8::try_from(value & 0xff).expect("eight bits")
    };
    let first = *bytes.first()?;
    Some(match first {
        b'b' => (0x08, 1),
        b'f' => (0x0c, 1),
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'v' => (0x0b, 1),
        b'0'..=b'7' => {
            let len = bytes.iter().take(3).take_while(|b| octal(b)).count();
            (value(&bytes[..len], 8), len)
        }
        b'x' => match bytes[1..].iter().take(2).take_while(|b| b.is_ascii_hexdigit()).count() {
            0 => (b'x', 1),
            len => (value(&bytes[1..=len], 16), 1 + len),
        },
        byte => (byte, 1),
    })
}
