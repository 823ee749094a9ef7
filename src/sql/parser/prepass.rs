//! Rewrites the parts of StreamSQL that sqlparser has no place for, token by token.
//!
//! # Semantics
//! ```text
//! FROM s [NOW]                 FROM cql_window(s, 'w0') AS s      windows[0] = NOW
//! FROM s [ROWS 5] AS x         FROM cql_window(s, 'w0') AS x      windows[0] = ROWS 5
//! FROM (SELECT ..) [NOW] x     FROM cql_window((SELECT ..), 'w0') x
//! FROM TUMBLE(TABLE s, ..)     FROM TUMBLE(s, ..)
//! FROM TABLE(TUMBLE(s, ..))    FROM TUMBLE(s, ..)
//! SELECT .. EMIT CHANGES       SELECT ..                          emit = CHANGES
//! ```
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

use super::asof::{Pick, VERSIONS_FUNCTION};
use super::emit::{emit, ends_operand, sees_emit};
use super::reader::Reader;
use super::script::{is_word, keyword, made, made_word};
use super::to_stream::relation_to_stream;
use super::window_clause::window_spec;
use crate::sql::Result;
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
        emit: None,
    };
    while !prepass.input.at_end() {
        prepass.step()?;
    }
    prepass.end_pick()?;
    Ok(Rewritten { tokens: prepass.out, windows: prepass.windows, emit: prepass.emit })
}

/// The rewriting, underway.
pub(super) struct Prepass<'s> {
    pub(super) input: Reader<'s>,
    pub(super) out: Vec<TokenWithSpan>,
    /// Open parentheses and brackets, innermost last; the first is the statement itself.
    frames: Vec<Frame>,
    windows: Vec<WindowSpec>,
    emit: Option<Emit>,
}

/// An open parenthesis or bracket.
pub(super) struct Frame {
    opened: Opened,
    pub(super) clause: Clause,
    /// The join that picks, if one is being read.
    pub(super) pick: Option<Pick>,
    /// Whether a FROM here starts a list of relations, as in SELECT, and not a part of
    /// `EXTRACT(..)`.
    reads: bool,
    /// Whether what is in parentheses is a query, not a nested join.
    is_query: bool,
}

/// What opened a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    /// An expression, a list, a subquery in an expression.
    Other,
    /// A parenthesis where a relation is wanted, at this place of the output.
    Relation(usize),
    /// The arguments of a window table function.
    WindowTableFunction,
    /// `TABLE (`, left out together with its end.
    LeftOut,
}

/// Where in its query a frame is.
#[derive(Clone)]
pub(super) enum Clause {
    /// Outside of FROM.
    Other,
    /// A relation comes next.
    WantRelation,
    /// Right behind a relation, which starts at this place of the output; its name, if it has one.
    Relation { start: usize, name: Option<TokenWithSpan> },
    /// Behind a relation's window or alias.
    Named,
    /// In a join condition.
    Condition,
}

impl Frame {
    fn new(opened: Opened, clause: Clause) -> Self {
        Self { opened, clause, pick: None, reads: false, is_query: false }
    }
}

impl Prepass<'_> {
    fn step(&mut self) -> Result<()> {
        self.refuse()?;
        if let Some(emit) = self.emit_clause()? {
            self.emit = Some(emit);
            return Ok(());
        }
        if self.pick()? {
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
        match self.input.peek(0) {
            Token::Word(_) if !self.after_period() => self.word(),
            Token::Comma => self.comma(),
            Token::LParen => self.open_parenthesis(),
            Token::RParen | Token::RBracket => self.close(),
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

    fn copy(&mut self) {
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
                let frame = self.frame();
                (frame.reads, frame.is_query, frame.clause) = (true, true, Clause::Other);
            }
            Keyword::WITH | Keyword::VALUES => {
                let frame = self.frame();
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
            Keyword::JOIN if self.frame().reads || self.in_from() => self.want_relation(),
            Keyword::ON | Keyword::USING if self.in_from() => {
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
            | Keyword::RETURNING => self.frame().clause = Clause::Other,
            _ => {}
        }
        self.copy();
    }

    fn in_from(&mut self) -> bool {
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

    fn close(&mut self) {
        // Without its opening one, sqlparser will complain.
        let frame = if self.frames.len() > 1 { self.frames.pop() } else { None };
        let outer = self.frame();
        match frame {
            Some(Frame { opened: Opened::Relation(start), is_query: true, .. }) => {
                outer.clause = Clause::Relation { start, name: None };
                outer.is_query = true;
            }
            Some(Frame { opened: Opened::Relation(_), .. }) => outer.clause = Clause::Named,
            Some(Frame { opened: Opened::LeftOut, .. }) => {
                outer.clause = Clause::Named;
                self.input.skip(1);
                return;
            }
            _ => {}
        }
        self.copy();
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
                        && !sees_emit(&self.input))
            }
            _ => false,
        }
    }

    /// Refuses what is to come, and what only the rewriting may write.
    fn refuse(&self) -> Result<()> {
        if self.input.peek(1) == &Token::LParen
            && matches!(self.input.peek(0), Token::Word(word)
                if [WINDOW_FUNCTION, VERSIONS_FUNCTION]
                    .iter()
                    .any(|made| word.value.eq_ignore_ascii_case(made)))
        {
            return Err(self.input.unexpected_hint("Write a window in brackets: FROM s [NOW]."));
        }
        if let Some(operator) = relation_to_stream(&self.input, self.previous()) {
            return Err(self.input.not_yet(
                operator,
                "SUBSCRIBE to the query without it: changes come with their weight in hw_diff.",
            ));
        }
        Ok(())
    }

    fn emit_clause(&mut self) -> Result<Option<Emit>> {
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
