//! Records and fields of comma-separated values, as Postgres and RFC 4180 define them.
//!
//! # Semantics
//! A quote may open anywhere in a field and closes at the next quote; inside, the escape character
//! before a quote or escape stands for it, and line ends are data. A record ends at a line feed
//! outside quotes, with or without a carriage return before it.

use std::str::Utf8Error;

/// The special characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Separates fields.
    pub delimiter: u8,
    /// Opens and closes quoted text.
    pub quote: u8,
    /// Escapes a quote inside quotes.
    pub escape: u8,
}

/// Where the scan of a record came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The record is whole: its bytes with the line end, and the line feeds in them.
    Whole {
        /// Length with the line end.
        len: usize,
        /// Line feeds in it.
        lines: u64,
    },
    /// More bytes are needed.
    Partial,
    /// The data end inside quotes.
    Unterminated,
}

/// The fields of one record, with quotes taken off. Reused from record to record.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    /// Where each field ends in `bytes`, and whether it had quotes.
    ends: Vec<(usize, bool)>,
}

impl Fields {
    /// Starts a new record.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether the record was a blank line.
    pub fn is_blank(&self) -> bool {
        self.bytes.is_empty() && matches!(self.ends[..], [(_, false)])
    }

    /// Adds bytes to the current field.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Ends the current field.
    pub fn end_field(&mut self, quoted: bool) {
        self.ends.push((self.bytes.len(), quoted));
    }

    /// Returns the text of all fields, or an error if they are not UTF-8.
    pub fn texts(&self) -> Result<Texts<'_>, Utf8Error> {
        Ok(Texts { text: std::str::from_utf8(&self.bytes)?, ends: &self.ends })
    }

    /// Scans the record at the start of `bytes`; `last` says that no more bytes follow.
    pub fn scan(&mut self, bytes: &[u8], dialect: Dialect, last: bool) -> Scan {
        self.clear();
        let Dialect { delimiter, quote, escape } = dialect;
        let (mut at, mut lines, mut quoted) = (0, 0, false);
        loop {
            let special = |b: &u8| *b == delimiter || *b == quote || *b == b'\n';
            let run = bytes[at..].iter().position(special).unwrap_or(bytes.len() - at);
            self.bytes.extend_from_slice(&bytes[at..at + run]);
            at += run;
            match bytes.get(at) {
                Some(b'\n') => {
                    self.end_record(&bytes[..at], quoted);
                    return Scan::Whole { len: at + 1, lines: lines + 1 };
                }
                None if !last => return Scan::Partial,
                None => {
                    self.end_record(bytes, quoted);
                    return Scan::Whole { len: at, lines: lines + 1 };
                }
                Some(byte) if *byte == delimiter => {
                    self.end_field(quoted);
                    quoted = false;
                    at += 1;
                }
                Some(_) => {
                    quoted = true;
                    match self.scan_quoted(&bytes[at + 1..], quote, escape) {
                        Some((len, feeds)) => {
                            at += 1 + len;
                            lines += feeds;
                        }
                        None if last => return Scan::Unterminated,
                        None => return Scan::Partial,
                    }
                }
            }
        }
    }

    /// Takes text up to the closing quote; returns its length with the quote, and its line feeds.
    fn scan_quoted(&mut self, bytes: &[u8], quote: u8, escape: u8) -> Option<(usize, u64)> {
        let (mut at, mut lines) = (0, 0);
        loop {
            let byte = *bytes.get(at)?;
            let next = bytes.get(at + 1).copied();
            if byte == escape && next.is_some_and(|b| b == quote || b == escape) {
                self.bytes.extend(next);
                at += 2;
            } else if byte == quote {
                return Some((at + 1, lines));
            } else {
                self.bytes.push(byte);
                lines += u64::from(byte == b'\n');
                at += 1;
            }
        }
    }

    /// Ends the last field; a carriage return that belongs to the line end is taken off.
    fn end_record(&mut self, raw: &[u8], quoted: bool) {
        if raw.ends_with(b"\r") && self.bytes.ends_with(b"\r") {
            self.bytes.pop();
        }
        self.end_field(quoted);
    }
}

/// The fields of a record as text.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    text: &'a str,
    ends: &'a [(usize, bool)],
}

impl<'a> Texts<'a> {
    /// Returns a field and whether it had quotes.
    pub fn get(&self, index: usize) -> (&'a str, bool) {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let (end, quoted) = self.ends[index];
        (&self.text[start..end], quoted)
    }

    /// Returns a field, or `None` if it is the null string without quotes.
    pub fn value(&self, index: usize, null: &str) -> Option<&'a str> {
        let (text, quoted) = self.get(index);
        (quoted || text != null).then_some(text)
    }

    /// Returns all fields.
    pub fn all(&self) -> Vec<&'a str> {
        (0..self.ends.len()).map(|index| self.get(index).0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Dialect = Dialect { delimiter: b',', quote: b'"', escape: b'"' };

    fn scan(bytes: &[u8], last: bool) -> (Scan, Vec<String>) {
        let mut fields = Fields::default();
        let scan = fields.scan(bytes, CSV, last);
        let texts = fields.texts().unwrap().all().into_iter().map(str::to_owned).collect();
        (scan, texts)
    }

    #[test]
    fn quotes_hide_delimiters_quotes_and_line_ends() {
        let (end, fields) = scan(b"a,\"b,\"\"c\"\"\r\nd\",e\"f\"g\r\nrest", false);
        assert_eq!(end, Scan::Whole { len: 22, lines: 2 });
        assert_eq!(fields, ["a", "b,\"c\"\r\nd", "efg"]);
    }

    #[test]
    fn a_record_without_line_end_is_whole_only_at_the_end() {
        assert_eq!(scan(b"a,b", false).0, Scan::Partial);
        assert_eq!(
            scan(b"a,b", true),
            (Scan::Whole { len: 3, lines: 1 }, vec!["a".into(), "b".into()])
        );
        assert_eq!(scan(b"a,\"b", false).0, Scan::Partial);
        assert_eq!(scan(b"a,\"b", true).0, Scan::Unterminated);
        assert_eq!(scan(b"a,\"b\"", false).0, Scan::Partial);
        assert_eq!(scan(b"\"a\r\n\"\r\n", true).1, ["a\r\n"]);
    }
}
