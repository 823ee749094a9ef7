//! Rewrites the parts of StreamSQL that sqlparser has no place for, token by token.
//!
//! # Semantics
//! ```text
//! FROM s [NOW]                 FROM cql_window(s, 'w0') AS s      windows[0] = NOW
//! FROM (SELECT ..) [NOW] x     FROM cql_window((SELECT ..), 'w0') x
//! FROM TUMBLE(TABLE s, ..)     FROM TUMBLE(s, ..)
//! SELECT .. EMIT CHANGES       SELECT ..                          emit = CHANGES
//! ISTREAM (SELECT ..)          (SELECT * FROM cql_stream((SELECT ..), 'ISTREAM'))
//! SELECT ISTREAM a ..          SELECT a ..                        selects = ISTREAM
//! WITH c AS CHANGELOG FROM v   .. (SELECT * FROM cql_stream((SELECT * FROM v), 'CHANGELOG'))
//! ```
//! An operator before a select list is taken out here, and put around its SELECT in the tree, by
//! [`super::to_stream`].
//!
//! A `[` is a window only behind a relation in FROM. Elsewhere it subscripts an array: `a[1]`,
//! `ARRAY[..]`, `ON a.x[1] = b.y`.
//!
//! # Invariants
//! 1. A rewritten token carries the span of what it stands for, so that errors point into the
//!    user's text.
//! 2. One pass, no recursion: the nesting of the text lives in `frames`.
//!
//! # Why
//! sqlparser has no hook for table factors and no place in its tree for a window. A fork would have
//! to follow DataFusion's version for ever.

use sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::asof::MADE_OF_TABLES;
use super::emit::{ends_operand, sees_emit};
use super::frame::{Clause, Frame, Opened};
use super::reader::Reader;
use super::script::{is_word, keyword, made, made_word};
use super::to_stream::{self, Marked, STREAM_FUNCTION, sees_every};
use super::window_clause::window_spec;
use crate::sql::Result;
use crate::sql::derived::ToStream;
use crate::sql::statement::{Emit, WindowSpec};

/// The table function that a window bracket is rewritten to.
pub const WINDOW_FUNCTION: &str = "cql_window";

/// Table functions that assign windows; `TABLE x` is allowed as their argument.
const WINDOW_TABLE_FUNCTIONS: [&str; 4] = ["TUMBLE", "HOP", "CUMULATE", "SESSION"];

/// A query or a statement with queries in it, in sqlparser's language.
pub struct Rewritten {
    /// What sqlparser is to parse.
    pub tokens: Vec<TokenWithSpan>,
    /// Windows by number.
    pub windows: Vec<WindowSpec>,
    /// SELECTs with an operator before their list.
    pub selects: Vec<Marked>,
    /// EMIT at the end.
    pub emit: Option<Emit>,
}

/// Rewrites all that `input` has to read.
pub fn rewrite(input: Reader<'_>) -> Result<Rewritten> {
    rewrite_in(input, Frame::new(Opened::Other, Clause::Other))
}

/// Rewrites what would stand behind FROM.
pub fn rewrite_relation(input: Reader<'_>) -> Result<Rewritten> {
    let frame = Frame::new(Opened::Other, Clause::WantRelation);
    rewrite_in(input, Frame { reads: true, ..frame })
}

fn rewrite_in(input: Reader<'_>, frame: Frame) -> Result<Rewritten> {
    let mut prepass = Prepass {
        input,
        out: Vec::with_capacity(input.tokens().len()),
        frames: vec![frame],
        windows: Vec::new(),
        selects: Vec::new(),
        emit: None,
    };
    while !prepass.input.at_end() {
        prepass.step()?;
    }
    prepass.end_pick()?;
    let Prepass { out: tokens, windows, selects, emit, .. } = prepass;
    Ok(Rewritten { tokens, windows, selects, emit })
}

/// The rewriting, underway.
pub(super) struct Prepass<'s> {
    pub(super) input: Reader<'s>,
    pub(super) out: Vec<TokenWithSpan>,
    /// Open parentheses and brackets, innermost last; the first is the statement itself.
    pub(super) frames: Vec<Frame>,
    windows: Vec<WindowSpec>,
    selects: Vec<Marked>,
    emit: Option<Emit>,
}

impl Prepass<'_> {
    fn step(&mut self) -> Result<()> {
        self.refuse()?;
        if let Some(emit) = self.emit_clause()? {
            self.emit = Some(emit);
            return Ok(());
        }
        if self.pick()?
            || self.group_by_distinct()
            || self.changelog()?
            || self.stream_operator()
            || self.every_clause()?
            || self.exclusion()?
        {
            return Ok(());
        }
        if let Clause::Relation { start, name } = self.frame().clause.clone() {
            if self.input.peek(0) == &Token::LBracket {
                return self.window(start, name);
            }
            self.frame().clause = Clause::Named;
        }
        let in_function = self.frame().opened == Opened::WindowTableFunction;
        if in_function && self.skips_table_keyword() {
            self.input.skip(1);
            return Ok(());
        }
        if self.spelled_otherwise() {
            return Ok(());
        }
        match self.input.peek(0) {
            Token::Word(_) if !self.after_period() => self.word(),
            Token::Comma => self.comma(),
            Token::LParen => self.open_parenthesis(),
            Token::RParen | Token::RBracket => return self.close(),
            Token::LBracket => return self.subscript(),
            _ => self.copy(),
        }
        Ok(())
    }

    pub(super) fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the statement's own frame is never closed")
    }

    pub(super) fn previous(&self) -> Option<&Token> {
        self.out.last().map(|token| &token.token)
    }

    pub(super) fn after_period(&self) -> bool {
        self.previous() == Some(&Token::Period)
    }

    pub(super) fn copy(&mut self) {
        self.out.extend(self.input.next().cloned());
    }

    fn word(&mut self) {
        let word = keyword(self.input.peek(0));
        if matches!(self.frame().clause, Clause::WantRelation)
            && !matches!(
                word,
                Keyword::SELECT
                    | Keyword::WITH
                    | Keyword::VALUES
                    | Keyword::LATERAL
                    | Keyword::ONLY
            )
        {
            return self.relation_name();
        }
        // A word behind AS is a name, whatever it is.
        let is_name = self.previous().is_some_and(|token| is_word(token, "AS"));
        match word {
            _ if is_name && word != Keyword::SELECT => {}
            Keyword::SELECT => {
                let select = self.input.tokens()[0].span.start;
                let frame = self.frame();
                (frame.reads, frame.is_query, frame.clause) = (true, true, Clause::Other);
                (frame.select, frame.marked, frame.names_queries) = (select, None, false);
            }
            Keyword::WITH | Keyword::VALUES => {
                let frame = self.frame();
                frame.names_queries = word == Keyword::WITH && !frame.reads;
                if matches!(frame.clause, Clause::WantRelation) {
                    (frame.is_query, frame.clause) = (true, Clause::Other);
                }
            }
            // UPDATE t SET .. FROM s
            Keyword::SET if self.frames.len() == 1 => {
                let frame = self.frame();
                (frame.reads, frame.clause) = (true, Clause::Other);
            }
            Keyword::FROM if self.frame().reads && !self.in_distinct_from() => {
                self.frame().clause = Clause::WantRelation;
            }
            Keyword::JOIN if self.frame().reads || self.in_from() => {
                self.join_begins();
                self.want_relation();
            }
            Keyword::ON | Keyword::USING if self.in_from() => {
                self.join_condition();
                self.frame().clause = Clause::Condition;
            }
            Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::FETCH
            | Keyword::FOR
            | Keyword::WINDOW
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::RETURNING => {
                let frame = self.frame();
                (frame.clause, frame.joins) = (Clause::Other, Vec::new());
            }
            _ => {}
        }
        self.copy();
    }

    pub(super) fn in_from(&mut self) -> bool {
        !matches!(self.frame().clause, Clause::Other)
    }

    /// Returns whether the next word is the FROM of `IS [NOT] DISTINCT FROM`.
    fn in_distinct_from(&self) -> bool {
        let behind = |places: usize| {
            let index = self.out.len().checked_sub(places)?;
            Some(keyword(&self.out[index].token))
        };
        behind(1) == Some(Keyword::DISTINCT)
            && matches!(behind(2), Some(Keyword::IS | Keyword::NOT))
    }

    /// Reads a relation's name, and the `(` if it is a function's.
    fn relation_name(&mut self) {
        let function =
            |token: &Token| WINDOW_TABLE_FUNCTIONS.iter().any(|name| is_word(token, name));
        if self.input.sees(&["TABLE"]) && self.input.peek(1) == &Token::LParen {
            if function(self.input.peek(2)) {
                self.frames.push(Frame::new(Opened::LeftOut, Clause::WantRelation));
                self.input.skip(2);
                return;
            }
        } else if self.input.sees(&["TABLE"]) && matches!(self.input.peek(1), Token::Word(_)) {
            return self.copy();
        }
        let start = self.out.len();
        let mut name = self.input.next();
        self.out.extend(name.cloned());
        while self.input.peek(0) == &Token::Period && matches!(self.input.peek(1), Token::Word(_)) {
            self.copy();
            name = self.input.next();
            self.out.extend(name.cloned());
        }
        if self.input.peek(0) != &Token::LParen {
            self.frame().clause = Clause::Relation { start, name: name.cloned() };
            return;
        }
        let is_window = self.out.len() == start + 1 && function(&self.out[start].token);
        let opened = if is_window { Opened::WindowTableFunction } else { Opened::Other };
        self.frame().clause = Clause::Named;
        self.frames.push(Frame::new(opened, Clause::Other));
        self.copy();
    }

    /// Returns whether the next word is the TABLE of `TUMBLE(TABLE s, ..)`.
    fn skips_table_keyword(&self) -> bool {
        self.input.sees(&["TABLE"])
            && matches!(self.input.peek(1), Token::Word(_))
            && matches!(self.previous(), Some(Token::LParen | Token::Comma | Token::RArrow))
    }

    fn comma(&mut self) {
        if self.in_from() {
            self.frame().joins.clear();
            self.want_relation();
        }
        self.copy();
    }

    /// Another relation joins; without a SELECT of its own, the frame holds a nested join.
    fn want_relation(&mut self) {
        let frame = self.frame();
        (frame.clause, frame.is_query) = (Clause::WantRelation, frame.reads);
    }

    fn open_parenthesis(&mut self) {
        let start = self.out.len();
        // sqlparser has no empty list: `key => ()`.
        if self.previous() == Some(&Token::RArrow) && self.input.peek(1) == &Token::RParen {
            self.copy();
            let span = self.input.tokens().first().map_or_else(Span::empty, |token| token.span);
            self.out.push(made_word("NULL", span));
            return self.copy();
        }
        let frame = match self.frame().clause {
            Clause::WantRelation => Frame::new(Opened::Relation(start), Clause::WantRelation),
            _ => Frame::new(Opened::Other, Clause::Other),
        };
        self.frames.push(frame);
        self.copy();
    }

    fn subscript(&mut self) -> Result<()> {
        if matches!(self.frame().clause, Clause::Named) {
            return Err(self.input.unexpected_hint(
                "A window stands right behind a stream or subquery, before the alias: \
                 FROM s [RANGE 10 SECONDS] AS x.",
            ));
        }
        self.frames.push(Frame::new(Opened::Other, Clause::Other));
        self.copy();
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        // Without its opening one, sqlparser will complain.
        let frame = if self.frames.len() > 1 { self.frames.pop() } else { None };
        let outer = self.frame();
        match frame {
            Some(Frame { opened: Opened::List, .. }) => {
                self.input.skip(1);
                return Ok(());
            }
            Some(Frame { opened: Opened::Stream(operator), .. }) => {
                return self.close_stream(operator, None);
            }
            Some(Frame { opened: Opened::StreamInFrom(operator, start), .. }) => {
                return self.close_stream(operator, Some(start));
            }
            Some(Frame { opened: Opened::Relation(start), is_query: true, .. }) => {
                outer.clause = Clause::Relation { start, name: None };
                outer.is_query = true;
            }
            Some(Frame { opened: Opened::Relation(_), .. }) => outer.clause = Clause::Named,
            Some(Frame { opened: Opened::LeftOut, .. }) => {
                outer.clause = Clause::Named;
                self.input.skip(1);
                return Ok(());
            }
            _ => {}
        }
        self.copy();
        Ok(())
    }

    /// Reads ISTREAM, DSTREAM or RSTREAM, if one comes next; returns whether it did.
    fn stream_operator(&mut self) -> bool {
        let behind = |places: usize| Some(&self.out[self.out.len().checked_sub(places)?].token);
        let Some((operator, before)) = to_stream::operator(&self.input, [behind(2), behind(1)])
        else {
            return false;
        };
        let span = self.input.next().map_or_else(Span::empty, |token| token.span);
        match before {
            to_stream::Before::List { parenthesized } => {
                let at = self.frame().select;
                self.frame().marked = Some(self.selects.len());
                self.selects.push(Marked { at, operator, every: None });
                if parenthesized {
                    self.input.skip(1);
                    self.frames.push(Frame::new(Opened::List, Clause::Other));
                }
            }
            to_stream::Before::Query => {
                let in_from = matches!(self.frame().clause, Clause::WantRelation)
                    && !(matches!(self.frame().opened, Opened::Relation(_))
                        && to_stream::is_whole_subquery(&self.input));
                if !in_from {
                    let frame = self.frame();
                    (frame.reads, frame.is_query, frame.clause) = (true, true, Clause::Other);
                }
                let start = self.out.len();
                let opened = match in_from {
                    true => Opened::StreamInFrom(operator, start),
                    false => Opened::Stream(operator),
                };
                if !in_from {
                    self.out.extend([made(Token::LParen, span), made_word("SELECT", span)]);
                    self.out.extend([made(Token::Mul, span), made_word("FROM", span)]);
                }
                self.out.extend([made_word(STREAM_FUNCTION, span), made(Token::LParen, span)]);
                self.frames.push(Frame::new(opened, Clause::Other));
                self.copy();
            }
        }
        true
    }

    /// Ends the call that `ISTREAM (query)` was rewritten to.
    fn close_stream(&mut self, operator: ToStream, in_from: Option<usize>) -> Result<()> {
        let end = self.input.tokens().first().map_or_else(Span::empty, |token| token.span);
        self.copy();
        let every = to_stream::every(&mut self.input)?;
        let name = Token::SingleQuotedString(operator.as_str().to_owned());
        self.out.extend([made(Token::Comma, end), made(name, end)]);
        if let Some(every) = every {
            let number = Token::Number(every.to_string(), false);
            self.out.extend([made(Token::Comma, end), made(number, end)]);
        }
        self.out.push(made(Token::RParen, end));
        match in_from {
            Some(start) => self.frame().clause = Clause::Relation { start, name: None },
            None => self.out.push(made(Token::RParen, end)),
        }
        Ok(())
    }

    /// Reads `EVERY span` of a SELECT with an operator, if it comes next; returns whether it did.
    fn every_clause(&mut self) -> Result<bool> {
        let marked = self.frame().marked;
        let Some(marked) = marked.filter(|_| self.previous().is_some_and(ends_operand)) else {
            return Ok(false);
        };
        let every = to_stream::every(&mut self.input)?;
        if every.is_some() {
            self.selects[marked].every = every;
            self.frame().clause = Clause::Other;
        }
        Ok(every.is_some())
    }

    /// Reads the bracket behind a relation and wraps the relation into a call.
    fn window(&mut self, start: usize, name: Option<TokenWithSpan>) -> Result<()> {
        let bracket = self.input.tokens().first().map_or_else(Span::empty, |token| token.span);
        let spec = window_spec(self.input.enclosed()?)?;
        let number = format!("w{}", self.windows.len());
        self.windows.push(spec);
        let at = self.out[start].span;
        let mut call = vec![made_word(WINDOW_FUNCTION, at), made(Token::LParen, at)];
        // As an argument, sqlparser takes only a subquery that starts with a keyword.
        let starts_with_parenthesis = name.is_none() && self.out[start + 1].token == Token::LParen;
        if starts_with_parenthesis {
            call.extend([made(Token::LParen, at), made_word("SELECT", at)]);
            call.extend([made(Token::Mul, at), made_word("FROM", at)]);
            self.out.push(made(Token::RParen, bracket));
        }
        self.out.splice(start..start, call);
        self.out.extend([
            made(Token::Comma, bracket),
            made(Token::SingleQuotedString(number), bracket),
            made(Token::RParen, bracket),
        ]);
        if let Some(name) = name
            && !self.alias_follows()
        {
            self.out.extend([made_word("AS", name.span), name]);
        }
        self.frame().clause = Clause::Named;
        Ok(())
    }

    pub(super) fn alias_follows(&self) -> bool {
        match self.input.peek(0) {
            Token::Word(word) => {
                word.quote_style.is_some()
                    || (!RESERVED_FOR_TABLE_ALIAS.contains(&word.keyword)
                        && !sees_emit(&self.input)
                        && !sees_every(&self.input))
            }
            _ => false,
        }
    }

    /// Refuses what only the rewriting may write.
    fn refuse(&self) -> Result<()> {
        let made = [WINDOW_FUNCTION, STREAM_FUNCTION].into_iter().chain(MADE_OF_TABLES);
        if self.input.peek(1) == &Token::LParen
            && matches!(self.input.peek(0), Token::Word(word)
                if made.into_iter().any(|made| word.value.eq_ignore_ascii_case(made)))
        {
            return Err(self.input.unexpected_hint("Write a window in brackets: FROM s [NOW]."));
        }
        Ok(())
    }
}
