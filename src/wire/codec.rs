//! Bytes to messages, with the one check that pgwire's codec leaves out.
//!
//! # Why
//! pgwire reads strings with replacement characters for bytes that are no UTF-8. A literal would be
//! stored as other text than the client sent; Postgres refuses it, and the connection goes on.

use std::io;

use bytes::{Buf, BytesMut};
use pgwire::error::PgWireError;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::PgWireMessageServerCodec;
use tokio_util::codec::{Decoder, Encoder};

/// Bytes of a message's type and length.
const HEADER: usize = 5;

/// What a client sends after startup.
pub(super) enum Inbound {
    /// A message.
    Message(PgWireFrontendMessage),
    /// A Query (or, if `extended`, a Parse) with bytes that are no text.
    NoText {
        /// Whether the message is one of the extended protocol.
        extended: bool,
        /// The first byte that is wrong.
        byte: u8,
    },
}

/// pgwire's codec, behind a check of statements' texts.
pub(super) struct Codec(pub(super) PgWireMessageServerCodec<()>);

impl Decoder for Codec {
    type Item = Inbound;
    type Error = PgWireError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Inbound>, PgWireError> {
        if let Some(size) = statement_size(src)
            && let Err(error) = std::str::from_utf8(text_of(&src[..size]))
        {
            let extended = src[0] == b'P';
            let byte = text_of(&src[..size]).get(error.valid_up_to()).copied().unwrap_or_default();
            src.advance(size);
            return Ok(Some(Inbound::NoText { extended, byte }));
        }
        Ok(self.0.decode(src)?.map(Inbound::Message))
    }
}

impl Encoder<PgWireBackendMessage> for Codec {
    type Error = io::Error;

    fn encode(&mut self, message: PgWireBackendMessage, dst: &mut BytesMut) -> io::Result<()> {
        self.0.encode(message, dst)
    }
}

/// Returns the size of the Query or Parse message that `src` begins with, if all of it is there.
fn statement_size(src: &BytesMut) -> Option<usize> {
    let length = src.get(1..HEADER)?.try_into().map(u32::from_be_bytes).ok()?;
    let size = usize::try_from(length).ok()?.checked_add(1)?;
    (matches!(src[0], b'Q' | b'P') && size >= HEADER && src.len() >= size).then_some(size)
}

/// Returns the part of a Query or Parse message that is text: Parse ends with type oids.
fn text_of(message: &[u8]) -> &[u8] {
    let body = &message[HEADER..];
    let strings = if message[0] == b'P' { 2 } else { 1 };
    let end = body.iter().enumerate().filter(|(_, byte)| **byte == 0).nth(strings - 1);
    &body[..end.map_or(body.len(), |(end, _)| end)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_strings_of_a_message_have_to_be_text() {
        let parse = b"P\0\0\0\x0es\0SELECT\0\xff\xff";
        assert_eq!(text_of(parse), b"s\0SELECT");
        assert_eq!(text_of(b"Q\0\0\0\x06a\0"), b"a");
        assert_eq!(statement_size(&BytesMut::from(&b"Q\0\0\0\x06a"[..])), None);
    }
}
