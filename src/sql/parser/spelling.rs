//! What Postgres spells otherwise than sqlparser.
//!
//! | written                       | read as                         |
//! |-------------------------------|---------------------------------|
//! | `ORDER BY x USING >`          | `ORDER BY x DESC`               |
//! | `trim(LEADING FROM x)`        | `trim(LEADING ' ' FROM x)`      |
//! | `x ISNULL`                    | `x IS NULL`                     |
//! | `FROM ROWS FROM (f(..), ..)`  | `FROM $rows_from(f(..), ..)`    |
//! | `f(.., VARIADIC x)`           | `f(.., $variadic => x)`         |
//! | `a JOIN b USING (k) AS x`      | `a JOIN b USING (k, $as.x)`     |
//! | `a JOIN b JOIN c ON x ON y`   | `a JOIN (b JOIN c ON x) ON y`   |

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::emit::ends_operand;
use super::frame::{Clause, Frame, OpenJoin, Opened};
use super::prepass::Prepass;
use super::script::{is_word, keyword, made, made_word};

/// The table function that stands for ROWS FROM.
pub const ROWS_FROM: &str = "$rows_from";

/// The name of an argument behind VARIADIC: its elements are the arguments.
pub const VARIADIC: &str = "$variadic";

/// What qualifies the name of the columns that USING merges, among their names.
pub const USING_ALIAS: &str = "$as";

impl Prepass<'_> {
    /// Writes what comes next as sqlparser knows it, if it is one of these; returns whether it
    /// was.
    pub(super) fn spelled_otherwise(&mut self) -> bool {
        if !matches!(self.input.peek(0), Token::Word(word) if word.quote_style.is_none())
            || self.after_period()
        {
            return false;
        }
        self.ordering()
            || self.trimmed()
            || self.null_test()
            || self.rows_from()
            || self.variadic()
            || self.merged_name()
    }

    /// `USING >` and `USING <` of ORDER BY.
    fn ordering(&mut self) -> bool {
        let direction = match self.input.peek(1) {
            Token::Lt => "ASC",
            Token::Gt => "DESC",
            _ => return false,
        };
        self.input.sees(&["USING"]) && self.replace(2, &[direction])
    }

    /// A side of `trim` without characters.
    fn trimmed(&mut self) -> bool {
        let sides = ["LEADING", "TRAILING", "BOTH"];
        let of_trim = self.previous() == Some(&Token::LParen)
            && sides.iter().any(|side| self.input.sees(&[side, "FROM"]));
        if of_trim {
            let span = self.input.tokens()[0].span;
            self.copy();
            self.out.push(made(Token::SingleQuotedString(" ".into()), span));
            self.copy();
        }
        of_trim
    }

    fn null_test(&mut self) -> bool {
        self.input.sees(&["ISNULL"])
            && self.previous().is_some_and(ends_operand)
            && self.replace(1, &["IS", "NULL"])
    }

    fn rows_from(&mut self) -> bool {
        let next = matches!(self.frame().clause, Clause::WantRelation)
            && self.input.sees(&["ROWS", "FROM"])
            && self.input.peek(2) == &Token::LParen;
        if next {
            self.replace(2, &[ROWS_FROM]);
            self.frame().clause = Clause::Named;
            self.frames.push(Frame::new(Opened::Other, Clause::Other));
            self.copy();
        }
        next
    }

    fn variadic(&mut self) -> bool {
        let next = self.input.sees(&["VARIADIC"])
            && matches!(self.previous(), Some(Token::LParen | Token::Comma))
            && !matches!(self.input.peek(1), Token::RParen | Token::Comma | Token::Period);
        if next {
            let span = self.input.tokens()[0].span;
            self.replace(1, &[VARIADIC]);
            self.out.push(made(Token::RArrow, span));
        }
        next
    }

    /// A name for the columns that USING merges.
    fn merged_name(&mut self) -> bool {
        if !self.input.sees(&["USING"]) || self.input.peek(1) != &Token::LParen {
            return false;
        }
        let Ok(end) = self.input.closing(1) else { return false };
        let named = self.in_from()
            && is_word(self.input.peek(end + 1), "AS")
            && matches!(self.input.peek(end + 2), Token::Word(_));
        if named {
            self.join_condition();
            self.frame().clause = Clause::Condition;
            (0..end).for_each(|_| self.copy());
            let close = self.input.tokens()[0].clone();
            let span = close.span;
            self.input.skip(2);
            self.out.push(made(Token::Comma, span));
            self.out.push(made_word(USING_ALIAS, span));
            self.out.push(made(Token::Period, span));
            self.copy();
            self.out.push(close);
        }
        named
    }

    /// A JOIN comes next.
    pub(super) fn join_begins(&mut self) {
        let behind = |places: usize| {
            let index = self.out.len().checked_sub(places)?;
            Some(keyword(&self.out[index].token))
        };
        let side = matches!(
            behind(1),
            Some(Keyword::INNER | Keyword::LEFT | Keyword::RIGHT | Keyword::FULL | Keyword::OUTER)
        );
        let first = match (behind(1), side) {
            (Some(Keyword::OUTER), _) => behind(3),
            (first, false) => first,
            (_, true) => behind(2),
        };
        let right = self.out.len() + 1;
        let joins = &mut self.frame().joins;
        if let Some(around) = joins.last_mut() {
            around.nested = true;
        }
        if !matches!(first, Some(Keyword::CROSS | Keyword::NATURAL)) {
            joins.push(OpenJoin { right, nested: false });
        }
    }

    /// A join's condition comes next: what began since the join did is its right side.
    pub(super) fn join_condition(&mut self) {
        let Some(OpenJoin { right, nested: true }) = self.frame().joins.pop() else { return };
        let (start, end) = (self.out[right].span, self.input.tokens()[0].span);
        self.out.insert(right, made(Token::LParen, start));
        self.out.push(made(Token::RParen, end));
    }

    /// Puts words in the place of so many tokens.
    fn replace(&mut self, count: usize, words: &[&str]) -> bool {
        let span = self.input.tokens()[0].span;
        self.out.extend(words.iter().map(|word| made_word(word, span)));
        self.input.skip(count);
        true
    }
}
