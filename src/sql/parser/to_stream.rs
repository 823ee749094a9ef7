//! ISTREAM, DSTREAM and RSTREAM, which turn a relation into a stream.
//!
//! # Semantics
//! ```text
//! ISTREAM (query) [EVERY span]          statement, or wherever a subquery may stand
//! SELECT ISTREAM a, b .. [EVERY span]   before the select list
//! SELECT ISTREAM (a, b AS c) ..         around the whole select list, as in the CQL paper
//! ```
//! All become a call in FROM, `cql_stream((query), 'ISTREAM'[, span])`. An operator before a select
//! list turns its whole query block into a stream, with its ORDER BY and LIMIT.
//!
//! # Why
//! sqlparser reads `SELECT ISTREAM a FROM s` as a column `istream` with alias `a`, and
//! `SELECT RSTREAM * FROM s` as a product. So this is decided before it sees the text. The words
//! stay usable as names: `SELECT istream, ..`, `SELECT istream AS x`, `SELECT s.istream`.

use std::ops::ControlFlow;

use sqlparser::ast::{self, VisitMut, VisitorMut};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token};

use super::reader::Reader;
use super::script::is_word;
use super::span::positive_span;
use crate::sql::Result;
use crate::sql::derived::ToStream;
use crate::sql::dialect::StreamSql;

/// The table function that an operator is rewritten to.
pub const STREAM_FUNCTION: &str = "cql_stream";

/// A SELECT with an operator before its list.
#[derive(Clone, Copy, Debug)]
pub struct Marked {
    /// Where the SELECT begins.
    pub at: Location,
    /// The operator.
    pub operator: ToStream,
    /// `EVERY`, in microseconds.
    pub every: Option<i64>,
}

/// What an operator stands before.
pub enum Before {
    /// A select list.
    List {
        /// Whether the whole list is in parentheses.
        parenthesized: bool,
    },
    /// A query in parentheses.
    Query,
}

/// Returns the operator that comes next, unless the word is a name; `behind` are the two tokens
/// before it, in order.
pub fn operator(reader: &Reader<'_>, behind: [Option<&Token>; 2]) -> Option<(ToStream, Before)> {
    let operator = [ToStream::Istream, ToStream::Dstream, ToStream::Rstream]
        .into_iter()
        .find(|operator| reader.sees(&[operator.as_str()]))?;
    let is = |token: Option<&Token>, word: &str| token.is_some_and(|token| is_word(token, word));
    let in_list = is(behind[1], "SELECT")
        || (is(behind[0], "SELECT") && (is(behind[1], "DISTINCT") || is(behind[1], "ALL")));
    let list = || Before::List { parenthesized: encloses_select_list(reader) };
    let found = match behind[1] {
        Some(Token::Period) => None,
        _ if in_list => stands_before_select_list(reader).then(list),
        None => (reader.peek(1) == &Token::LParen).then_some(Before::Query),
        Some(_) => stands_before_subquery(reader).then_some(Before::Query),
    };
    Some((operator, found?))
}

/// Returns whether the query in parentheses that comes next, and not a join with it, is all of a
/// subquery in FROM.
pub fn is_whole_subquery(reader: &Reader<'_>) -> bool {
    let Ok(end) = reader.closing(0) else { return false };
    match reader.peek(end + 1) {
        Token::RParen => true,
        after => ["EVERY", "UNION", "EXCEPT", "INTERSECT", "ORDER", "LIMIT"]
            .iter()
            .any(|word| is_word(after, word)),
    }
}

/// Returns whether `EVERY span` comes next.
pub fn sees_every(reader: &Reader<'_>) -> bool {
    reader.sees(&["EVERY"])
        && (matches!(reader.peek(1), Token::Number(..) | Token::Minus)
            || is_word(reader.peek(1), "INTERVAL"))
}

/// Reads `EVERY span`, if it comes next.
pub fn every(reader: &mut Reader<'_>) -> Result<Option<i64>> {
    if !sees_every(reader) {
        return Ok(None);
    }
    reader.skip(1);
    positive_span(reader, "the period of EVERY").map(Some)
}

/// Puts the operators that stood before select lists around their query blocks.
pub fn wrap_marked<T: VisitMut>(tree: &mut T, selects: &[Marked]) {
    if !selects.is_empty() {
        let _ = tree.visit(&mut Wrap(selects));
    }
}

/// Returns whether a query is a stream: an operator stands at its top.
pub fn is_stream(query: &ast::Query) -> bool {
    fn streams(body: &ast::SetExpr) -> bool {
        match body {
            ast::SetExpr::Query(query) => is_stream(query),
            ast::SetExpr::SetOperation { left, right, .. } => streams(left) || streams(right),
            ast::SetExpr::Select(select) => is_wrapper(select),
            _ => false,
        }
    }
    streams(&query.body)
}

/// Whether a SELECT is what an operator was rewritten to.
fn is_wrapper(select: &ast::Select) -> bool {
    let calls = |relation: &ast::TableFactor| match relation {
        ast::TableFactor::Table { name, args: Some(_), alias: None, .. } => {
            name.to_string().eq_ignore_ascii_case(STREAM_FUNCTION)
        }
        _ => false,
    };
    let all = matches!(select.projection.as_slice(), [ast::SelectItem::Wildcard(_)]);
    match select.from.as_slice() {
        [one] => all && one.joins.is_empty() && select.selection.is_none() && calls(&one.relation),
        _ => false,
    }
}

struct Wrap<'a>(&'a [Marked]);

impl Wrap<'_> {
    fn marked(&self, select: &ast::Select) -> Option<Marked> {
        let at = select.select_token.0.span.start;
        self.0.iter().find(|marked| marked.at == at).copied()
    }

    /// Wraps the SELECTs of a set operation, each on its own.
    fn operands(&self, body: &mut ast::SetExpr) {
        if let ast::SetExpr::SetOperation { left, right, .. } = body {
            for side in [left, right] {
                match side.as_ref() {
                    ast::SetExpr::Select(select) => {
                        if let Some(marked) = self.marked(select) {
                            wrap_body(side, marked);
                        }
                    }
                    _ => self.operands(side),
                }
            }
        }
    }
}

impl VisitorMut for Wrap<'_> {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        let marked = match query.body.as_ref() {
            ast::SetExpr::Select(select) => self.marked(select),
            _ => None,
        };
        match marked {
            None => self.operands(&mut query.body),
            Some(marked) => {
                let mut outer = call(marked);
                outer.with = query.with.take();
                let inner = std::mem::replace(query, outer);
                *subquery(query) = inner;
            }
        }
        ControlFlow::Continue(())
    }
}

fn wrap_body(body: &mut ast::SetExpr, marked: Marked) {
    let mut outer = call(marked);
    let inner = subquery(&mut outer);
    std::mem::swap(inner.body.as_mut(), body);
    *body = ast::SetExpr::Query(Box::new(outer));
}

/// `SELECT * FROM cql_stream((SELECT 1), 'ISTREAM')`.
fn call(Marked { operator, every, .. }: Marked) -> ast::Query {
    let every = every.map(|every| format!(", {every}")).unwrap_or_default();
    let operator = operator.as_str();
    let text = format!("SELECT * FROM {STREAM_FUNCTION}((SELECT 1), '{operator}'{every})");
    let parsed = Parser::new(&StreamSql).try_with_sql(&text).and_then(|mut p| p.parse_query());
    *parsed.expect("the text is a query")
}

/// The query that [`call`] calls the function on.
fn subquery(call: &mut ast::Query) -> &mut ast::Query {
    let ast::SetExpr::Select(select) = call.body.as_mut() else { unreachable!("made by `call`") };
    let ast::TableFactor::Table { args: Some(args), .. } = &mut select.from[0].relation else {
        unreachable!("made by `call`")
    };
    match &mut args.args[0] {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Subquery(query))) => query,
        _ => unreachable!("made by `call`"),
    }
}

/// Returns whether the word stands before `(list)`, where the list is all that is selected.
fn encloses_select_list(reader: &Reader<'_>) -> bool {
    const ENDS: [&str; 14] = [
        "FROM",
        "WHERE",
        "GROUP",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "FETCH",
        "WINDOW",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "EMIT",
        "EVERY",
    ];
    let subquery = ["SELECT", "WITH", "VALUES"].iter().any(|word| is_word(reader.peek(2), word));
    if reader.peek(1) != &Token::LParen || subquery {
        return false;
    }
    let Ok(end) = reader.closing(1) else { return false };
    match reader.peek(end + 1) {
        Token::EOF | Token::RParen => true,
        after => ENDS.iter().any(|word| is_word(after, word)),
    }
}

/// Returns whether what follows the word is a select list, not the rest of an expression over a
/// column of that name.
fn stands_before_select_list(reader: &Reader<'_>) -> bool {
    match reader.peek(1) {
        Token::Word(word) if word.quote_style.is_some() => true,
        Token::Word(_) => !continues_an_expression(reader),
        // `RSTREAM * FROM s` is a list; `rstream * 2` is a product.
        Token::Mul => match reader.peek(2) {
            Token::EOF | Token::Comma | Token::RParen => true,
            after => ["FROM", "WHERE", "UNION", "EXCEPT", "INTERSECT", "ORDER", "LIMIT"]
                .iter()
                .any(|word| is_word(after, word)),
        },
        Token::LParen
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_) => true,
        _ => false,
    }
}

/// Returns whether the second word from here can follow a column: an operator or the next clause.
fn continues_an_expression(reader: &Reader<'_>) -> bool {
    const CONTINUATIONS: [&str; 29] = [
        "AS",
        "FROM",
        "WHERE",
        "GROUP",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "FETCH",
        "FOR",
        "WINDOW",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "INTO",
        "AND",
        "OR",
        "IS",
        "ISNULL",
        "NOTNULL",
        "IN",
        "LIKE",
        "ILIKE",
        "SIMILAR",
        "BETWEEN",
        "COLLATE",
        "AT",
        "OPERATOR",
        "OVERLAPS",
    ];
    let next = reader.peek(1);
    let negated = is_word(next, "NOT")
        && ["IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN"].iter().any(|w| is_word(reader.peek(2), w));
    negated || CONTINUATIONS.iter().any(|word| is_word(next, word))
}

/// Returns whether a query in parentheses follows the word.
fn stands_before_subquery(reader: &Reader<'_>) -> bool {
    let queries = ["SELECT", "WITH", "VALUES", "TABLE"];
    reader.peek(1) == &Token::LParen && queries.iter().any(|word| is_word(reader.peek(2), word))
}
