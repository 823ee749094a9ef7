//! Reads a range of tokens from left to right.
//!
//! StreamSQL's own clauses are read with these methods; columns, types, expressions and queries are
//! handed to sqlparser, over the same tokens, with [`Reader::with_sqlparser`].

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::normalize::normalize;
use super::script::{Script, is_word};
use crate::error::Location;
use crate::sql::dialect::StreamSql;
use crate::sql::{Error, Result};

/// A place in a range of tokens. A copy looks ahead.
#[derive(Clone, Copy)]
pub struct Reader<'s> {
    script: &'s Script<'s>,
    index: usize,
    end: usize,
}

impl<'s> Reader<'s> {
    /// Starts at the beginning of a range.
    pub fn new(script: &'s Script<'s>, range: Range<usize>) -> Self {
        Self { script, index: range.start, end: range.end }
    }

    /// The tokens still to be read, as a range of the script.
    pub fn rest(&self) -> Range<usize> {
        self.index..self.end
    }

    /// The tokens still to be read.
    pub fn tokens(&self) -> &'s [TokenWithSpan] {
        self.script.tokens(self.rest())
    }

    /// The text still to be read.
    pub fn text(&self) -> Arc<str> {
        self.script.text_of(self.rest()).into()
    }

    /// The script.
    pub fn script(&self) -> &'s Script<'s> {
        self.script
    }

    /// Reads the part from here to `end`, which is handed on.
    pub fn take_to(&mut self, end: usize) -> Reader<'s> {
        let part = Reader { script: self.script, index: self.index, end };
        self.index = end;
        part
    }

    /// Returns whether all is read.
    pub fn at_end(&self) -> bool {
        self.index >= self.end
    }

    /// Returns the token `ahead` places from here.
    pub fn peek(&self, ahead: usize) -> &'s Token {
        self.tokens().get(ahead).map_or(&Token::EOF, |token| &token.token)
    }

    /// Reads a token.
    pub fn next(&mut self) -> Option<&'s TokenWithSpan> {
        let token = self.tokens().first()?;
        self.index += 1;
        Some(token)
    }

    /// Passes over so many tokens.
    pub fn skip(&mut self, count: usize) {
        self.index = (self.index + count).min(self.end);
    }

    /// Returns whether these keywords come next.
    pub fn sees(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| is_word(self.peek(ahead), word))
    }

    /// Reads these keywords if all of them come next.
    pub fn eat(&mut self, words: &[&str]) -> bool {
        let seen = self.sees(words);
        if seen {
            self.skip(words.len());
        }
        seen
    }

    /// Reads one of these keywords, if one comes next.
    pub fn eat_any(&mut self, words: &[&'static str]) -> Option<&'static str> {
        words.iter().copied().find(|word| self.eat(&[word]))
    }

    /// Reads these keywords.
    pub fn expect(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.eat(&[word]) {
                return Err(self.expected(word));
            }
        }
        Ok(())
    }

    /// Reads this token if it comes next.
    pub fn eat_token(&mut self, token: &Token) -> bool {
        let seen = self.peek(0) == token;
        if seen {
            self.skip(1);
        }
        seen
    }

    /// Reads this token.
    pub fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.eat_token(token) { Ok(()) } else { Err(self.expected(&token.to_string())) }
    }

    /// Requires that all is read.
    pub fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Reads a name.
    pub fn ident(&mut self) -> Result<ast::Ident> {
        match self.tokens().first() {
            Some(TokenWithSpan { token: Token::Word(word), span }) => {
                self.skip(1);
                Ok(word.to_ident(*span))
            }
            _ => Err(self.expected("a name")),
        }
    }

    /// Reads a name with its qualifiers.
    pub fn object_name(&mut self) -> Result<ast::ObjectName> {
        let mut parts = vec![self.ident()?];
        while self.eat_token(&Token::Period) {
            parts.push(self.ident()?);
        }
        Ok(ast::ObjectName::from(parts))
    }

    /// Reads a string, if one comes next.
    pub fn eat_string(&mut self) -> Option<&'s str> {
        let text = match self.peek(0) {
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::UnicodeStringLiteral(text) => text.as_str(),
            Token::DollarQuotedString(text) => text.value.as_str(),
            _ => return None,
        };
        self.skip(1);
        Some(text)
    }

    /// Reads a string.
    pub fn string(&mut self) -> Result<&'s str> {
        self.eat_string().ok_or_else(|| self.expected("a string"))
    }

    /// Reads what stands in parentheses.
    pub fn parenthesized(&mut self) -> Result<Reader<'s>> {
        if self.peek(0) != &Token::LParen {
            return Err(self.expected("("));
        }
        self.enclosed()
    }

    /// Reads what stands between the opening token that comes next and its closing one.
    pub fn enclosed(&mut self) -> Result<Reader<'s>> {
        let close = self.index + self.closing(0)?;
        self.skip(1);
        let inside = self.take_to(close);
        self.skip(1);
        Ok(inside)
    }

    /// Returns how far ahead the parenthesis or bracket `ahead` is closed.
    pub fn closing(&self, ahead: usize) -> Result<usize> {
        let mut depth = 0_usize;
        for (place, token) in self.tokens().iter().enumerate().skip(ahead) {
            match token.token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Ok(place);
            }
        }
        Err(self.script.unexpected(self.end, None))
    }

    /// Returns how far ahead the first token outside of parentheses and brackets is for which
    /// `found` holds; it is given a reader at that token.
    pub fn find(&self, found: impl Fn(&Reader<'s>) -> bool) -> Option<usize> {
        let mut depth = 0_usize;
        let mut here = *self;
        while let Some(token) = here.tokens().first() {
            if depth == 0 && found(&here) {
                return Some(here.index - self.index);
            }
            match token.token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
                _ => {}
            }
            here.skip(1);
        }
        None
    }

    /// Splits the rest at commas outside of parentheses. Nothing at all is no item.
    pub fn items(mut self) -> Result<Vec<Reader<'s>>> {
        let mut items = Vec::new();
        while !self.at_end() {
            let length = self.find(|here| here.peek(0) == &Token::Comma);
            let item = self.take_to(length.map_or(self.end, |length| self.index + length));
            if item.at_end() {
                return Err(item.unexpected());
            }
            items.push(item);
            if self.eat_token(&Token::Comma) && self.at_end() {
                return Err(self.unexpected());
            }
        }
        Ok(items)
    }

    /// Reads names in parentheses.
    pub fn idents(&mut self) -> Result<Vec<ast::Ident>> {
        let inside = self.parenthesized()?;
        if inside.at_end() {
            return Err(inside.expected("a name"));
        }
        let read = |mut item: Reader<'s>| {
            let ident = item.ident()?;
            item.expect_end().map(|()| ident)
        };
        inside.items()?.into_iter().map(read).collect()
    }

    /// Reads with sqlparser; `read` stops where it likes.
    pub fn with_sqlparser<T: ast::VisitMut>(
        &mut self,
        read: impl FnOnce(&mut Parser<'static>) -> std::result::Result<T, ParserError>,
    ) -> Result<T> {
        let start = self.location();
        let mut parser = Parser::new(&StreamSql).with_tokens_with_locations(self.tokens().to_vec());
        let mut tree = read(&mut parser).map_err(|error| self.parser_error(error))?;
        self.skip(parser.index());
        normalize(&mut tree).map_err(|error| error.at(start))?;
        Ok(tree)
    }

    /// Reads an expression.
    pub fn expr(&mut self) -> Result<ast::Expr> {
        self.with_sqlparser(Parser::parse_expr)
    }

    /// The place of the next token.
    pub fn location(&self) -> Location {
        self.script.location(self.index)
    }

    /// A syntax error at the next token.
    pub fn unexpected(&self) -> Error {
        self.script.unexpected(self.index, None)
    }

    /// A syntax error at the next token, with advice.
    pub fn unexpected_hint(&self, hint: &str) -> Error {
        self.script.unexpected(self.index, Some(hint))
    }

    /// A syntax error at the next token, in place of which something else was expected.
    pub fn expected(&self, what: &str) -> Error {
        let mut error = self.unexpected();
        if let Error::Syntax { detail, .. } = &mut error {
            *detail = Some(format!("Expected {what}."));
        }
        error
    }

    /// Translates an error of sqlparser over the tokens of this reader.
    pub fn parser_error(&self, error: ParserError) -> Error {
        self.script.parser_error(error, self.end)
    }

    /// A clause that the server does not have, at the next token.
    pub fn unsupported(&self, feature: impl Into<String>, hint: &str) -> Error {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Error::Unsupported { feature: feature.into(), hint, location: Some(self.location()) }
    }

    /// A clause that is to come, at the next token.
    pub fn not_yet(&self, feature: impl Into<String>, hint: &str) -> Error {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Error::NotYet { feature: feature.into(), hint, location: Some(self.location()) }
    }

    /// An option that cannot be, at the next token.
    pub fn invalid_option(&self, message: impl Into<String>, hint: &str) -> Error {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Error::InvalidOption { message: message.into(), hint, location: Some(self.location()) }
    }
}
