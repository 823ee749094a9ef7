//! Recognizes joins that pick one partner per row, and relations as of a time.
//!
//! # Semantics
//! ```text
//! a ASOF [LEFT] JOIN b ON c                     a [LEFT] JOIN b ON "$asof"((c))
//! a ASOF [LEFT] JOIN b MATCH_CONDITION (m) ON c a [LEFT] JOIN b ON "$asof"((m), (c))
//! a [LEFT] JOIN t FOR SYSTEM_TIME AS OF e ON c  a [LEFT] JOIN cql_versions(t) AS t
//!                                                   ON "$as_of"((e), (c))
//! a [LEFT] JOIN t FOR SYSTEM_TIME AS OF PROC_TIME() ON c
//!                                               a [LEFT] JOIN cql_lookup(t) AS t ON c
//! v AS OF e, FROM v FOR SYSTEM_TIME AS OF e     cql_past(v, (e)) AS v
//! ```
//! PROC_TIME(), or PROCTIME(), is the time at which a row comes: it is joined with the table as it
//! then is.
//!
//! # Why
//! sqlparser knows only the second form, DataFusion none; but both carry a condition along. So the
//! planner finds the whole join where its condition stands.

use sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::frame::Clause;
use super::prepass::Prepass;
use super::script::{is_word, keyword, made, made_word};
use crate::sql::Result;

/// The table function that stands for a table's versions.
pub const VERSIONS_FUNCTION: &str = "cql_versions";

/// The table function that stands for a table as it is when a row comes.
pub const LOOKUP_FUNCTION: &str = "cql_lookup";

/// The table function that stands for a relation as of a time.
pub const PAST_FUNCTION: &str = "cql_past";

/// The functions that stand for a relation in some way.
pub const MADE_OF_TABLES: [&str; 3] = [VERSIONS_FUNCTION, LOOKUP_FUNCTION, PAST_FUNCTION];

const USAGE: &str = "Write ASOF JOIN b ON a.k = b.k AND a.ts >= b.ts.";

/// A join that picks, from its first word to the end of its condition.
pub struct Pick {
    function: &'static str,
    /// The match condition, or the time.
    extra: Option<Vec<TokenWithSpan>>,
    /// Whether its JOIN has been read.
    joined: bool,
    /// Whether its ON has been read.
    opened: bool,
}

impl Prepass<'_> {
    /// Reads what makes a join one that picks; returns whether it has read anything.
    pub(super) fn pick(&mut self) -> Result<bool> {
        self.end_pick()?;
        let clause = self.frame().clause.clone();
        if matches!(clause, Clause::Other | Clause::WantRelation) || self.after_period() {
            return Ok(false);
        }
        if self.sees_asof() {
            self.input.skip(1);
            self.frame().clause = Clause::Named;
            self.frame().pick =
                Some(Pick { function: "$asof", extra: None, joined: false, opened: false });
            return Ok(true);
        }
        if let Clause::Relation { start, name } = clause
            && self.input.sees(&["FOR", "SYSTEM_TIME", "AS", "OF"])
        {
            self.as_of(start, name)?;
            return Ok(true);
        }
        if let Clause::Relation { start, name: Some(name) } = self.frame().clause.clone()
            && self.input.sees(&["AS", "OF"])
            && self.time_follows(2)
        {
            self.input.skip(2);
            self.past(start, name)?;
            return Ok(true);
        }
        let next = self.input.peek(0);
        let (is_join, is_on) = (is_word(next, "JOIN"), is_word(next, "ON"));
        let is_match = is_word(next, "MATCH_CONDITION");
        if is_word(next, "USING") && self.frame().pick.is_some() {
            return Err(self.input.unexpected_hint(USAGE));
        }
        let Some(pick) = &mut self.frame().pick else { return Ok(false) };
        pick.joined |= is_join;
        if is_match && !pick.opened && pick.extra.is_none() {
            self.input.skip(1);
            let condition = self.input.parenthesized()?.tokens().to_vec();
            if let Some(pick) = &mut self.frame().pick {
                pick.extra = Some(condition);
            }
            return Ok(true);
        }
        if is_on && !pick.opened {
            let span = self.input.tokens().first().map_or_else(Span::empty, |token| token.span);
            self.input.skip(1);
            self.open_pick(span);
            self.frame().clause = Clause::Condition;
            return Ok(true);
        }
        Ok(false)
    }

    fn sees_asof(&self) -> bool {
        let forms: [&[&str]; 4] = [
            &["ASOF", "JOIN"],
            &["ASOF", "LEFT", "JOIN"],
            &["ASOF", "LEFT", "OUTER", "JOIN"],
            &["ASOF", "INNER", "JOIN"],
        ];
        forms.iter().any(|words| self.input.sees(words))
    }

    /// Writes ON, the name of the function and what comes before the condition.
    fn open_pick(&mut self, span: Span) {
        let Some(pick) = &mut self.frame().pick else { return };
        pick.opened = true;
        let (function, extra) = (pick.function, pick.extra.take());
        self.out.push(made_word("ON", span));
        self.out.push(made(Token::make_word(function, Some('"')), span));
        self.out.push(made(Token::LParen, span));
        if let Some(extra) = extra {
            self.out.push(made(Token::LParen, span));
            self.out.extend(extra);
            self.out.extend([made(Token::RParen, span), made(Token::Comma, span)]);
        }
        self.out.push(made(Token::LParen, span));
    }

    /// Closes the function once the join ends.
    pub(super) fn end_pick(&mut self) -> Result<()> {
        let Some(Pick { joined: true, opened, extra, .. }) = &self.frame().pick else {
            return Ok(());
        };
        let (opened, matched) = (*opened, extra.is_some());
        if !self.join_ends() {
            return Ok(());
        }
        let span = self.out.last().map_or_else(Span::empty, |token| token.span);
        if !opened {
            if !matched {
                return Err(self.input.unexpected_hint(USAGE));
            }
            self.open_pick(span);
            self.out.push(made_word("TRUE", span));
        }
        self.out.extend([made(Token::RParen, span), made(Token::RParen, span)]);
        self.frame().pick = None;
        Ok(())
    }

    /// Returns whether the next token is behind the join that is being read.
    fn join_ends(&self) -> bool {
        let next = self.input.peek(0);
        if self.input.at_end() || matches!(next, Token::RParen | Token::Comma | Token::SemiColon) {
            return true;
        }
        if self.after_period() || self.previous().is_some_and(|token| is_word(token, "AS")) {
            return false;
        }
        match keyword(next) {
            // `left(a, 2)` is a function.
            Keyword::LEFT | Keyword::RIGHT => self.input.peek(1) != &Token::LParen,
            Keyword::FOR => !self.input.sees(&["FOR", "SYSTEM_TIME"]),
            Keyword::JOIN => self.previous().is_some_and(|token| !joins(token)),
            Keyword::INNER
            | Keyword::FULL
            | Keyword::CROSS
            | Keyword::NATURAL
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::FETCH
            | Keyword::WINDOW
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::RETURNING => true,
            _ => {
                self.sees_asof()
                    || self.input.sees(&["EMIT"]) && self.input.peek(1) != &Token::Period
                    || self.input.sees(&["EVERY"])
            }
        }
    }

    /// Reads FOR SYSTEM_TIME AS OF and wraps the table before it into a call.
    fn as_of(&mut self, start: usize, name: Option<TokenWithSpan>) -> Result<()> {
        let here = self.input;
        let hint = "Join with the table as of a column: JOIN t FOR SYSTEM_TIME AS OF s.ts ON ..";
        let joined = start.checked_sub(1).is_some_and(|i| is_word(&self.out[i].token, "JOIN"));
        let Some(name) = name.filter(|_| self.frame().pick.is_none()) else {
            return Err(here.unsupported("FOR SYSTEM_TIME AS OF of what has no name", hint));
        };
        self.input.skip(4);
        if !joined {
            return self.past(start, name);
        }
        let before = self.input.tokens();
        self.input.expr()?;
        let time = before[..before.len() - self.input.tokens().len()].to_vec();
        let looks_up = is_proc_time(&time);
        let function = if looks_up { LOOKUP_FUNCTION } else { VERSIONS_FUNCTION };
        let at = self.out[start].span;
        let call = [made_word(function, at), made(Token::LParen, at)];
        self.out.splice(start..start, call);
        self.out.push(made(Token::RParen, at));
        if !self.alias_follows() {
            self.out.extend([made_word("AS", at), name]);
        }
        let frame = self.frame();
        frame.clause = Clause::Named;
        if !looks_up {
            frame.pick =
                Some(Pick { function: "$as_of", extra: Some(time), joined: true, opened: false });
        }
        Ok(())
    }

    /// Reads the time as of which a relation is read, and wraps the relation before it into a call.
    fn past(&mut self, start: usize, name: TokenWithSpan) -> Result<()> {
        let here = self.input;
        let before = self.input.tokens();
        self.input.expr()?;
        let time = before[..before.len() - self.input.tokens().len()].to_vec();
        if is_proc_time(&time) {
            return Err(here.unsupported(
                "AS OF PROC_TIME() of what is not the right side of a JOIN",
                "Leave it out: a table is read as it is now. In a JOIN it is looked up as it is \
                 when a row of the left side comes.",
            ));
        }
        let at = self.out[start].span;
        let call = [made_word(PAST_FUNCTION, at), made(Token::LParen, at)];
        self.out.splice(start..start, call);
        self.out.extend([made(Token::Comma, at), made(Token::LParen, at)]);
        self.out.extend(time);
        self.out.extend([made(Token::RParen, at), made(Token::RParen, at)]);
        if !self.alias_follows() {
            self.out.extend([made_word("AS", at), name]);
        }
        self.frame().clause = Clause::Named;
        Ok(())
    }

    /// Whether a time can be what comes behind so many tokens; else OF is a name there.
    fn time_follows(&self, tokens: usize) -> bool {
        match self.input.peek(tokens) {
            Token::Word(word) => !RESERVED_FOR_TABLE_ALIAS.contains(&word.keyword),
            Token::EOF | Token::Comma | Token::RParen | Token::SemiColon => false,
            _ => true,
        }
    }
}

/// Whether an expression is `PROC_TIME()`.
fn is_proc_time(expr: &[TokenWithSpan]) -> bool {
    let tokens: Vec<&Token> = expr.iter().map(|token| &token.token).collect();
    match tokens.as_slice() {
        [name, Token::LParen, Token::RParen] => {
            is_word(name, "PROC_TIME") || is_word(name, "PROCTIME")
        }
        _ => false,
    }
}

/// Words before the JOIN of the same join.
fn joins(token: &Token) -> bool {
    ["LEFT", "RIGHT", "FULL", "OUTER", "INNER", "CROSS", "NATURAL"]
        .iter()
        .any(|word| is_word(token, word))
}
