//! The text at hand as tokens, each with its place in the text.
//!
//! # Invariants
//! 1. `tokens` holds no blanks and no comments, so that "the next token" is the next in the vector.
//! 2. `bytes[i]` is where `tokens[i]` stands in `text`. It is found in one pass, since sqlparser
//!    counts lines and columns in characters.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{
    Location as Place, Span, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace,
};

use super::depth::bound_depth;
use crate::error::Location;
use crate::sql::dialect::StreamSql;
use crate::sql::{Error, Result};

/// A text and its tokens.
pub struct Script<'a> {
    text: &'a str,
    tokens: Vec<TokenWithSpan>,
    bytes: Vec<Range<usize>>,
    /// Names that were too long: their token, as written and as cut.
    cut: Vec<(usize, String, String)>,
}

/// Longest name, in bytes.
const NAME_MAX: usize = 63;

impl<'a> Script<'a> {
    /// Splits a text into tokens.
    pub fn new(text: &'a str) -> Result<Self> {
        let mut tokens = without_blanks(tokenize(text)?);
        bound_depth(&tokens)?;
        let bytes = byte_ranges(text, &tokens);
        let cut = cut_names(&mut tokens);
        let script = Self { text, tokens, bytes, cut };
        // sqlparser would take the second string for an alias.
        let twin = script.tokens.windows(2).position(|pair| pair.iter().all(is_string));
        match twin {
            Some(first) => Err(script.unexpected(first + 1, None)),
            None => Ok(script),
        }
    }

    /// The tokens of a range.
    pub fn tokens(&self, range: Range<usize>) -> &[TokenWithSpan] {
        &self.tokens[range]
    }

    /// The names within a range that were too long, as written and as cut.
    pub fn cut_names(&self, range: &Range<usize>) -> Vec<(String, String)> {
        let within = self.cut.iter().filter(|(index, ..)| range.contains(index));
        within.map(|(_, long, short)| (long.clone(), short.clone())).collect()
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns the text from the first to the last token of a range.
    pub fn text_of(&self, range: Range<usize>) -> &'a str {
        if range.is_empty() {
            return "";
        }
        &self.text[self.bytes[range.start].start..self.bytes[range.end - 1].end]
    }

    /// Returns where a token starts, in bytes.
    pub fn byte_at(&self, index: usize) -> usize {
        self.bytes.get(index).map_or(self.text.len(), |bytes| bytes.start)
    }

    /// Returns how many characters stand before a byte that is not before `known.0`, of which it is
    /// known that `known.1` characters stand before it.
    pub fn chars_before(&self, byte: usize, known: (usize, usize)) -> usize {
        known.1 + self.text[known.0..byte].chars().count()
    }

    /// Returns the token ranges of the statements: what stands between top-level semicolons.
    pub fn statements(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let (mut start, mut depth) = (0, 0_usize);
        for (index, token) in self.tokens.iter().enumerate() {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                Token::SemiColon if depth == 0 => {
                    found.push(start..index);
                    start = index + 1;
                }
                _ => {}
            }
        }
        found.push(start..self.tokens.len());
        found.retain(|range| !range.is_empty());
        found
    }

    /// Returns the place of a token, or of the text's end.
    pub fn location(&self, index: usize) -> Location {
        let start = match self.tokens.get(index) {
            Some(token) => token.span.start,
            None => match self.tokens.last() {
                Some(token) => token.span.end,
                None => return Location { line: 1, column: 1 },
            },
        };
        Location { line: start.line, column: start.column }
    }

    /// A syntax error at a token.
    pub fn unexpected(&self, index: usize, hint: Option<&str>) -> Error {
        Error::Syntax {
            near: self.tokens.get(index).map(|_| self.text_of(index..index + 1).to_owned()),
            detail: None,
            hint: hint.map(str::to_owned),
            location: Some(self.location(index)),
        }
    }

    /// Translates an error of sqlparser, which has its location in its text. One without location
    /// came up behind the token before `end`.
    pub fn parser_error(&self, error: ParserError, end: usize) -> Error {
        let text = match error {
            ParserError::RecursionLimitExceeded => return Error::TooComplex,
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        };
        let (message, place) = split_location(&text);
        let index = place.map_or(end, |place| {
            self.tokens.partition_point(|token| {
                let start = token.span.start;
                (start.line, start.column) < (place.line, place.column)
            })
        });
        let mut error = self.unexpected(index, None);
        if let Error::Syntax { detail, .. } = &mut error {
            let message = match message.strip_prefix("Expected: ") {
                Some(rest) => {
                    format!("Expected {}", rest.split(", found: ").next().unwrap_or(rest))
                }
                None => message.to_owned(),
            };
            *detail = Some(format!("{}.", message.trim_end_matches(['.', ' '])));
        }
        error
    }
}

/// Splits a text into tokens, blanks among them. Where Postgres's operators of shapes are known,
/// sqlparser's tokenizer fails behind `|>`; so that is put in by hand.
fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>> {
    let (mut all, mut rest, mut origin) = (Vec::new(), text, Place::new(1, 1));
    loop {
        let first = all.len();
        let done = Tokenizer::new(&StreamSql, rest).tokenize_with_location_into_buf(&mut all);
        for token in &mut all[first..] {
            token.span =
                Span::new(behind(origin, token.span.start), behind(origin, token.span.end));
        }
        let Err(error) = done else { return Ok(all) };
        let end =
            byte_ranges(rest, &[made(Token::Pipe, Span::new(error.location, error.location))]);
        let end = end.first().map_or(0, |range| range.start);
        let place = behind(origin, error.location);
        if !rest[..end].ends_with("|>") {
            return Err(lexical_error(text, TokenizerError { location: place, ..error }));
        }
        let start = Place::new(place.line, place.column.saturating_sub(2));
        all.push(made(Token::VerticalBarRightAngleBracket, Span::new(start, place)));
        (rest, origin) = (&rest[end..], place);
    }
}

/// A place in a text that begins at `origin`.
fn behind(origin: Place, place: Place) -> Place {
    match place.line {
        1 => Place::new(origin.line, origin.column + place.column - 1),
        line => Place::new(origin.line + line - 1, place.column),
    }
}

/// Splits `<message> at Line: 1, Column: 2`.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.parse().ok()?, column: column.parse().ok()? })
    });
    (message, location)
}

fn lexical_error(text: &str, error: TokenizerError) -> Error {
    let location = Location { line: error.location.line, column: error.location.column };
    let message = match error.message.as_str() {
        message if message.contains("dollar-quoted") => "unterminated dollar-quoted string",
        message if message.contains("string literal") => "unterminated quoted string",
        message if message.contains("close delimiter") => "unterminated quoted identifier",
        message if message.contains("comment") => "unterminated /* comment",
        message => message,
    };
    let near: String = text.chars().skip(location.char_offset(text) - 1).take(40).collect();
    let message = match near.lines().next() {
        Some(near) => format!("{message} at or near \"{near}\""),
        None => message.to_owned(),
    };
    Error::Lexical { message, location: Some(location) }
}

/// Leaves out blanks and comments; joins strings that only blanks with a line break separate.
fn without_blanks(all: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut tokens: Vec<TokenWithSpan> = Vec::with_capacity(all.len());
    let mut new_line = false;
    for token in all {
        match (&token.token, tokens.last_mut()) {
            (Token::Whitespace(blank), _) => {
                new_line |=
                    matches!(blank, Whitespace::Newline | Whitespace::SingleLineComment { .. });
                continue;
            }
            (
                Token::SingleQuotedString(more),
                Some(TokenWithSpan {
                    token: Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text),
                    span,
                }),
            ) if new_line => {
                text.push_str(more);
                span.end = token.span.end;
            }
            (Token::EOF, _) => {}
            _ => tokens.push(token),
        }
        new_line = false;
    }
    tokens
}

/// Cuts names to the longest one that Postgres knows, between characters.
fn cut_names(tokens: &mut [TokenWithSpan]) -> Vec<(usize, String, String)> {
    let mut cut = Vec::new();
    for (index, token) in tokens.iter_mut().enumerate() {
        if let Token::Word(word) = &mut token.token
            && word.value.len() > NAME_MAX
        {
            let short = word.value[..word.value.floor_char_boundary(NAME_MAX)].to_owned();
            cut.push((index, std::mem::replace(&mut word.value, short.clone()), short));
        }
    }
    cut
}

/// Finds the byte ranges of tokens that are given by line and column.
fn byte_ranges(text: &str, tokens: &[TokenWithSpan]) -> Vec<Range<usize>> {
    let (mut line, mut column) = (1, 1);
    let mut chars = text.char_indices();
    let mut byte_of = |place: sqlparser::tokenizer::Location| {
        while (line, column) < (place.line, place.column) {
            match chars.next() {
                Some((_, '\n')) => (line, column) = (line + 1, 1),
                Some(_) => column += 1,
                None => break,
            }
        }
        chars.offset()
    };
    tokens.iter().map(|token| byte_of(token.span.start)..byte_of(token.span.end)).collect()
}

fn is_string(token: &TokenWithSpan) -> bool {
    matches!(
        token.token,
        Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::DollarQuotedString(_)
    )
}

/// Makes a token that the user did not write but that stands for what they wrote at `span`.
pub fn made(token: Token, span: Span) -> TokenWithSpan {
    TokenWithSpan { token, span }
}

/// Makes a keyword.
pub fn made_word(word: &str, span: Span) -> TokenWithSpan {
    made(Token::make_keyword(word), span)
}

/// Returns whether a token is that keyword, unquoted.
pub fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Returns the keyword that a token is, or `NoKeyword`.
pub fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}
