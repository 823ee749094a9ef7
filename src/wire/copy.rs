//! COPY: a client's bytes into a sink, a result's rows out as text, CSV or binary.
//!
//! # Semantics
//! Outgoing rows are one CopyData message each, so that `COPY (SUBSCRIBE ..) TO STDOUT` shows every
//! row as it comes. An error ends COPY with ErrorResponse alone.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::time::Instant;

use crate::engine::outcome::{CopyIn, Rows};
use crate::error::SqlState;
use crate::sql::statement::{CopyFormat, CopyOptions};
use crate::wire::codec::Inbound;
use crate::wire::connection::Connection;
use crate::wire::encode::{Batch, write_message};
use crate::wire::error::{Error, Result};
use crate::wire::rows::{Feed, Progress};

/// Starts binary COPY data: signature, flags, length of the header's extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Ends binary COPY data: a row of -1 fields.
const BINARY_TRAILER: [u8; 2] = [0xff, 0xff];

impl Connection {
    /// Takes COPY data until the client says that it is complete.
    pub(super) async fn copy_in(
        &mut self,
        mut copy: CopyIn,
        deadline: Option<Instant>,
        text: &str,
    ) -> Result<()> {
        let (format, codes) = formats(copy.options.format, copy.columns);
        let answer = CopyInResponse::new(format, count(copy.columns), codes);
        self.socket.send(PgWireBackendMessage::CopyInResponse(answer)).await?;
        while let Some(piece) = self.next_piece(deadline).await? {
            let written = tokio::select! {
                biased;
                interrupt = self.signals.told_to_stop(deadline) => return Err(interrupt.into()),
                written = copy.sink.write(&piece) => written,
            };
            written.map_err(|error| Error::engine(&error, text))?;
        }
        let rows = tokio::select! {
            biased;
            interrupt = self.signals.told_to_stop(deadline) => return Err(interrupt.into()),
            rows = copy.sink.finish(&mut self.session) => rows,
        };
        let rows = rows.map_err(|error| Error::engine(&error, text))?;
        self.complete(format!("COPY {rows}")).await
    }

    /// Returns the next piece of COPY data, `None` at its end.
    async fn next_piece(&mut self, deadline: Option<Instant>) -> Result<Option<Bytes>> {
        loop {
            let message = tokio::select! {
                biased;
                interrupt = self.signals.told_to_stop(deadline) => return Err(interrupt.into()),
                message = self.socket.next() => message,
            };
            match message {
                Some(Ok(Inbound::Message(PgWireFrontendMessage::CopyData(piece)))) => {
                    return Ok(Some(piece.data));
                }
                Some(Ok(Inbound::Message(PgWireFrontendMessage::CopyDone(_)))) => return Ok(None),
                Some(Ok(Inbound::Message(PgWireFrontendMessage::CopyFail(fail)))) => {
                    let text = format!("COPY from stdin failed: {}", fail.message);
                    return Err(Error::new(SqlState::QUERY_CANCELED, text));
                }
                // Clients may send Sync right behind the Execute that starts COPY.
                Some(Ok(Inbound::Message(
                    PgWireFrontendMessage::Flush(_) | PgWireFrontendMessage::Sync(_),
                ))) => {}
                Some(Ok(_)) => {
                    let text = "unexpected message type during COPY from stdin";
                    return Err(Error::new(SqlState::PROTOCOL_VIOLATION, text));
                }
                Some(Err(error)) => {
                    return Err(Error::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string()));
                }
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            }
        }
    }

    /// Sends rows as COPY data.
    pub(super) async fn copy_out(
        &mut self,
        rows: Rows,
        options: &CopyOptions,
        deadline: Option<Instant>,
        text: &str,
    ) -> Result<()> {
        let binary = options.format == CopyFormat::Binary;
        let mut feed = Feed::new(rows, if binary { &[1] } else { &[] }, deadline);
        let (format, codes) = formats(options.format, feed.layout.len());
        let answer = CopyOutResponse::new(format, count(feed.layout.len()), codes);
        self.socket.feed(PgWireBackendMessage::CopyOutResponse(answer)).await?;
        // What comes before the first row travels with it, as from Postgres.
        let mut prefix: &[u8] = if binary { BINARY_HEADER } else { b"" };
        if options.header && !binary {
            let names = feed.layout.names().map(|name| Some(BytesMut::from(name)));
            write_data(self.socket.write_buffer_mut(), |out| write_line(names, options, out));
        }
        let progress = self.feed_rows(&mut feed, None, text, |batch, row, out| {
            write_data(out, |out| {
                out.put_slice(std::mem::take(&mut prefix));
                write_copy_row(batch, row, options, out);
            });
        });
        let Progress::Ended(sent) = progress.await? else {
            unreachable!("rows without a limit end");
        };
        if binary {
            write_data(self.socket.write_buffer_mut(), |out| {
                out.put_slice(prefix);
                out.put_slice(&BINARY_TRAILER);
            });
        }
        self.socket.feed(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
        self.complete(format!("COPY {sent}")).await
    }
}

/// Returns the overall format and that of each column, as both CopyResponses tell them.
fn formats(format: CopyFormat, columns: usize) -> (i8, Vec<i16>) {
    match format {
        CopyFormat::Binary => (1, vec![1; columns]),
        CopyFormat::Text | CopyFormat::Csv => (0, vec![0; columns]),
    }
}

fn count(columns: usize) -> i16 {
    i16::try_from(columns).unwrap_or(i16::MAX)
}

/// Writes a CopyData message.
fn write_data(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(b'd');
    write_message(out, write);
}

fn write_copy_row(batch: &Batch, row: usize, options: &CopyOptions, out: &mut BytesMut) {
    match options.format {
        CopyFormat::Binary => batch.write_fields(row, out),
        CopyFormat::Text | CopyFormat::Csv => write_line(batch.texts(row), options, out),
    }
}

/// Writes a line of text or CSV; `None` is NULL.
fn write_line(
    fields: impl Iterator<Item = Option<BytesMut>>,
    options: &CopyOptions,
    out: &mut BytesMut,
) {
    let mut delimiter = [0; 4];
    let delimiter = options.delimiter.encode_utf8(&mut delimiter).as_bytes();
    let fields: Vec<_> = fields.collect();
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.put_slice(delimiter);
        }
        match field {
            None => out.put_slice(options.null.as_bytes()),
            Some(text) if options.format == CopyFormat::Csv => {
                write_csv(text, fields.len() == 1, options, out);
            }
            Some(text) => write_escaped(text, options.delimiter, out),
        }
    }
    out.put_u8(b'\n');
}

/// Writes a field of the text format.
fn write_escaped(text: &[u8], delimiter: char, out: &mut BytesMut) {
    for byte in text {
        match byte {
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            0x08 => out.put_slice(b"\\b"),
            0x0b => out.put_slice(b"\\v"),
            0x0c => out.put_slice(b"\\f"),
            // Delimiters are single bytes, so never part of another character.
            byte if *byte as char == delimiter => out.put_slice(&[b'\\', *byte]),
            byte => out.put_u8(*byte),
        }
    }
}

/// Writes a field of CSV; in quotes if it could be read as anything else.
fn write_csv(text: &[u8], alone: bool, options: &CopyOptions, out: &mut BytesMut) {
    let special = |byte: &u8| {
        let byte = *byte as char;
        byte == options.delimiter || byte == options.quote || byte == '\n' || byte == '\r'
    };
    // A line of `\.` alone would end the data.
    let quoted =
        text == options.null.as_bytes() || (alone && text == b"\\.") || text.iter().any(special);
    if !quoted {
        return out.put_slice(text);
    }
    let (quote, escape) = (options.quote as u8, options.escape as u8);
    out.put_u8(quote);
    for byte in text {
        if *byte == quote || *byte == escape {
            out.put_u8(escape);
        }
        out.put_u8(*byte);
    }
    out.put_u8(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fields: &[Option<&str>], format: CopyFormat) -> String {
        let options = CopyOptions {
            format,
            delimiter: if format == CopyFormat::Csv { ',' } else { '\t' },
            null: if format == CopyFormat::Csv { String::new() } else { "\\N".to_owned() },
            header: false,
            quote: '"',
            escape: '"',
        };
        let mut out = BytesMut::new();
        write_line(fields.iter().map(|f| f.map(BytesMut::from)), &options, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn text_escapes_what_ends_a_field() {
        let fields = [Some("a\tb"), None, Some("c\\d\ne"), Some("")];
        assert_eq!(line(&fields, CopyFormat::Text), "a\\tb\t\\N\tc\\\\d\\ne\t\n");
    }

    #[test]
    fn csv_tells_null_from_the_empty_string() {
        let fields = [None, Some(""), Some("a,b"), Some("say \"hi\""), Some("plain")];
        assert_eq!(line(&fields, CopyFormat::Csv), ",\"\",\"a,b\",\"say \"\"hi\"\"\",plain\n");
        assert_eq!(line(&[Some("\\.")], CopyFormat::Csv), "\"\\.\"\n");
    }
}
