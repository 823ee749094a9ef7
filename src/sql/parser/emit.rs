//! The EMIT clause: when results become visible.
//!
//! # Semantics
//! ```text
//! EMIT [STREAM] { CHANGES | ON WINDOW CLOSE | FINAL | AFTER WATERMARK | AFTER DELAY span | EVERY
//! span }
//! ```
//! FINAL and AFTER WATERMARK mean ON WINDOW CLOSE; a bare EMIT STREAM means EMIT CHANGES. The word
//! stays usable as a name: `SELECT emit, a FROM s AS emit`.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::prepass::Prepass;
use super::reader::Reader;
use super::span::positive_span;
use crate::sql::Result;
use crate::sql::statement::Emit;

/// Returns whether EMIT comes next, as a clause and not as a name.
pub fn sees_emit(reader: &Reader<'_>) -> bool {
    reader.sees(&["EMIT", "ON", "WINDOW", "CLOSE"])
        || ["CHANGES", "FINAL", "AFTER", "EVERY", "STREAM"]
            .iter()
            .any(|word| reader.sees(&["EMIT", word]))
}

/// Reads what follows EMIT.
pub fn emit(input: &mut Reader<'_>) -> Result<Emit> {
    let stream = input.eat(&["STREAM"]);
    if input.eat(&["CHANGES"]) || (stream && input.at_end()) {
        Ok(Emit::Changes)
    } else if input.eat(&["ON", "WINDOW", "CLOSE"])
        || input.eat(&["FINAL"])
        || input.eat(&["AFTER", "WATERMARK"])
    {
        Ok(Emit::OnWindowClose)
    } else if input.eat(&["AFTER", "DELAY"]) {
        Ok(Emit::AfterDelay(positive_span(input, "the delay of EMIT")?))
    } else if input.eat(&["EVERY"]) {
        Ok(Emit::Every(positive_span(input, "the period of EMIT")?))
    } else {
        Err(input.unexpected_hint(
            "Write EMIT CHANGES, EMIT ON WINDOW CLOSE, EMIT AFTER DELAY or EMIT EVERY.",
        ))
    }
}

/// Returns whether a clause may follow a token, i.e. no expression is left open.
pub fn ends_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_some()
                || !matches!(
                    word.keyword,
                    Keyword::SELECT
                        | Keyword::DISTINCT
                        | Keyword::ALL
                        | Keyword::AS
                        | Keyword::FROM
                        | Keyword::JOIN
                        | Keyword::WHERE
                        | Keyword::AND
                        | Keyword::OR
                        | Keyword::NOT
                        | Keyword::BY
                        | Keyword::ON
                        | Keyword::HAVING
                        | Keyword::WHEN
                        | Keyword::THEN
                        | Keyword::ELSE
                        | Keyword::CASE
                )
        }
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::Placeholder(_)
        | Token::RParen
        | Token::RBracket
        | Token::Mul => true,
        _ => false,
    }
}

impl Prepass<'_> {
    /// Takes an EMIT that stands here.
    pub(super) fn emit_clause(&mut self) -> Result<Option<Emit>> {
        if !sees_emit(&self.input) || !self.previous().is_some_and(ends_operand) {
            return Ok(None);
        }
        let start = self.input;
        self.input.skip(1);
        let emit = emit(&mut self.input)?;
        if self.frames.len() > 1 {
            return Err(start.unsupported(
                "EMIT inside a subquery",
                "Put EMIT at the end of the outermost query.",
            ));
        }
        if !self.input.at_end() {
            return Err(self.input.unexpected_hint("EMIT stands at the end of the query."));
        }
        Ok(Some(emit))
    }
}
