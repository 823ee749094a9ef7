//! Recognizes `WITH c AS CHANGELOG FROM v`: the changes of a relation as a stream.
//!
//! # Semantics
//! ```text
//! c AS CHANGELOG FROM v   c AS (SELECT * FROM cql_stream((SELECT * FROM v), 'CHANGELOG'))
//! ```
//! Only in the list of WITH: `SELECT a AS changelog FROM t` is a column of that name.

use sqlparser::tokenizer::{Span, Token};

use super::prepass::Prepass;
use super::script::{made, made_word};
use super::to_stream::STREAM_FUNCTION;
use crate::sql::Result;
use crate::sql::derived::ToStream;

impl Prepass<'_> {
    /// Reads `AS CHANGELOG FROM relation`, if it comes next; returns whether it did.
    pub(super) fn changelog(&mut self) -> Result<bool> {
        if !self.frame().names_queries || !self.input.sees(&["AS", "CHANGELOG", "FROM"]) {
            return Ok(false);
        }
        let span = self.input.tokens().first().map_or_else(Span::empty, |token| token.span);
        self.input.skip(3);
        if !matches!(self.input.peek(0), Token::Word(_)) {
            return Err(self.input.expected("the name of a relation"));
        }
        self.out.extend([made_word("AS", span), made(Token::LParen, span)]);
        self.select_all(span);
        self.out.extend([made_word(STREAM_FUNCTION, span), made(Token::LParen, span)]);
        self.out.push(made(Token::LParen, span));
        self.select_all(span);
        self.out.extend(self.input.next().cloned());
        while self.input.peek(0) == &Token::Period && matches!(self.input.peek(1), Token::Word(_)) {
            self.out.extend(self.input.next().cloned());
            self.out.extend(self.input.next().cloned());
        }
        let name = Token::SingleQuotedString(ToStream::Changelog.as_str().to_owned());
        self.out.extend([made(Token::RParen, span), made(Token::Comma, span), made(name, span)]);
        self.out.extend([made(Token::RParen, span), made(Token::RParen, span)]);
        Ok(true)
    }

    fn select_all(&mut self, span: Span) {
        let all = [made_word("SELECT", span), made(Token::Mul, span), made_word("FROM", span)];
        self.out.extend(all);
    }
}
