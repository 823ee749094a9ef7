//! Recognizes EXCLUDE in the frames of OVER.
//!
//! # Semantics
//! ```text
//! OVER (PARTITION BY a ORDER BY b ROWS 1 PRECEDING EXCLUDE TIES)
//! OVER (PARTITION BY ('\u{1}TIES'), a ORDER BY b ROWS 1 PRECEDING)
//! ```
//! The mark stands first in PARTITION BY, where a constant changes nothing, and goes with the
//! window where that is named. The planner takes it out. (Constants without parentheses
//! DataFusion leaves out by itself.)
//!
//! # Why
//! sqlparser and DataFusion have no place for it in a frame.

use sqlparser::ast;
use sqlparser::tokenizer::{Span, Token};

use super::prepass::Prepass;
use super::script::{is_word, made, made_word};
use crate::sql::Result;

/// Rows that are left out of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Exclude {
    /// None: `EXCLUDE NO OTHERS`.
    #[default]
    NoOthers,
    /// The row itself.
    CurrentRow,
    /// The row and its peers.
    Group,
    /// Its peers, not the row itself.
    Ties,
}

/// What a mark begins with, which no user types.
const MARK: char = '\u{1}';

impl Exclude {
    const ALL: [Exclude; 4] =
        [Exclude::NoOthers, Exclude::CurrentRow, Exclude::Group, Exclude::Ties];

    /// The words behind EXCLUDE.
    pub fn as_str(self) -> &'static str {
        match self {
            Exclude::NoOthers => "NO OTHERS",
            Exclude::CurrentRow => "CURRENT ROW",
            Exclude::Group => "GROUP",
            Exclude::Ties => "TIES",
        }
    }

    /// What the text of a constant in PARTITION BY marks, if it is a mark.
    pub fn of_mark(text: &str) -> Option<Self> {
        let words = text.strip_prefix(MARK)?;
        Self::ALL.into_iter().find(|exclude| exclude.as_str() == words)
    }

    /// What an expression of PARTITION BY marks, if it is a mark.
    pub fn of_expr(expr: &ast::Expr) -> Option<Self> {
        let ast::Expr::Nested(constant) = expr else { return None };
        match constant.as_ref() {
            ast::Expr::Value(value) => match &value.value {
                ast::Value::SingleQuotedString(text) => Self::of_mark(text),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Prepass<'_> {
    /// Reads EXCLUDE behind a frame, if it comes next; returns whether it did.
    pub(super) fn exclusion(&mut self) -> Result<bool> {
        let ends =
            |token: &Token| ["ROW", "PRECEDING", "FOLLOWING"].iter().any(|w| is_word(token, w));
        if !self.input.sees(&["EXCLUDE"]) || !self.previous().is_some_and(ends) {
            return Ok(false);
        }
        let found = Exclude::ALL.into_iter().find_map(|exclude| {
            let words = ["EXCLUDE"].into_iter().chain(exclude.as_str().split(' '));
            let words: Vec<&str> = words.collect();
            self.input.sees(&words).then_some((exclude, words.len()))
        });
        let Some((exclude, length)) = found else { return Ok(false) };
        let span = self.input.tokens().first().map_or_else(Span::empty, |token| token.span);
        self.input.skip(length);
        if self.input.peek(0) != &Token::RParen {
            return Err(self.input.expected("the end of the window"));
        }
        let mark = Token::SingleQuotedString(format!("{MARK}{}", exclude.as_str()));
        let mark = [Token::LParen, mark, Token::RParen].map(|token| made(token, span));
        let begin = self.window_begins();
        let partitioned =
            self.out.get(begin).is_some_and(|token| is_word(&token.token, "PARTITION"));
        if partitioned {
            let mark = mark.into_iter().chain([made(Token::Comma, span)]);
            self.out.splice(begin + 2..begin + 2, mark);
        } else {
            let by = [made_word("PARTITION", span), made_word("BY", span)];
            self.out.splice(begin..begin, by.into_iter().chain(mark));
        }
        Ok(true)
    }

    /// Where, in what is written, the window begins in which the reading is: behind its parenthesis
    /// and the name of the window that it extends.
    fn window_begins(&self) -> usize {
        let mut depth = 0_usize;
        let open = self.out.iter().rposition(|token| match token.token {
            Token::RParen => {
                depth += 1;
                false
            }
            Token::LParen if depth == 0 => true,
            Token::LParen => {
                depth -= 1;
                false
            }
            _ => false,
        });
        let begin = open.map_or(0, |open| open + 1);
        let clauses = ["PARTITION", "ORDER", "ROWS", "RANGE", "GROUPS"];
        let clause = |token: &Token| clauses.iter().any(|word| is_word(token, word));
        let named = self.out.get(begin).is_some_and(|first| !clause(&first.token));
        begin + usize::from(named)
    }
}
