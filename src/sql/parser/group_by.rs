//! Recognizes `GROUP BY DISTINCT`, which leaves out grouping sets that come twice.
//!
//! # Semantics
//! ```text
//! GROUP BY DISTINCT ROLLUP (a), CUBE (a)      GROUP BY '\u{1}DISTINCT', ROLLUP (a), CUBE (a)
//! ```
//! The planner takes the mark out again: sqlparser has no place for the word.

use sqlparser::tokenizer::{Span, Token};

use super::frame::Clause;
use super::prepass::Prepass;
use super::script::made;

/// The constant that stands first in the list, which no user types.
pub const DISTINCT_MARK: &str = "\u{1}DISTINCT";

impl Prepass<'_> {
    /// Reads `GROUP BY DISTINCT`, if it comes next; returns whether it did.
    pub(super) fn group_by_distinct(&mut self) -> bool {
        if !self.input.sees(&["GROUP", "BY", "DISTINCT"]) || self.after_period() {
            return false;
        }
        self.frame().clause = Clause::Other;
        let span = self.input.tokens().first().map_or_else(Span::empty, |token| token.span);
        self.out.extend(self.input.next().cloned());
        self.out.extend(self.input.next().cloned());
        self.input.skip(1);
        let mark = Token::SingleQuotedString(DISTINCT_MARK.to_owned());
        self.out.extend([made(mark, span), made(Token::Comma, span)]);
        true
    }
}
