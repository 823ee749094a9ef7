//! Queries, and the statements that wrap one: SUBSCRIBE, INSERT, UPDATE, DELETE.

use std::collections::BTreeMap;

use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::normalize::normalize;
use super::options::{flag, options};
use super::prepass::{Rewritten, rewrite};
use super::reader::Reader;
use super::script::{Script, is_word, made, made_word};
use super::stream::set_once;
use super::to_stream::{is_stream, wrap_marked};
use crate::sql::Result;
use crate::sql::dialect::StreamSql;
use crate::sql::statement::{CreateTable, Emit, OnCommit, Query, StatementKind};
use crate::sql::subscribe::Subscribe;

/// How many parentheses around a whole query are looked through; sqlparser refuses more.
const PARENTHESES_MAX: usize = 50;

/// Parses the text of a query, as `CreateView::query_text` holds it.
pub fn parse_query_text(text: &str) -> Result<Query> {
    let script = Script::new(text)?;
    query(Reader::new(&script, 0..script.len()))
}

/// Parses the text of an expression, as the catalog keeps defaults and watermarks.
pub fn parse_expression(text: &str) -> Result<ast::Expr> {
    let script = Script::new(text)?;
    let mut reader = Reader::new(&script, 0..script.len());
    let expr = reader.expr()?;
    reader.expect_end()?;
    Ok(expr)
}

/// Returns whether a query comes next.
pub fn sees_query(reader: &Reader<'_>) -> bool {
    match reader.peek(0) {
        Token::LParen => true,
        token => {
            ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| is_word(token, word))
                || (["ISTREAM", "DSTREAM", "RSTREAM"].iter().any(|word| is_word(token, word))
                    && reader.peek(1) == &Token::LParen)
        }
    }
}

/// Reads the rest as a query with its EMIT.
pub fn query(reader: Reader<'_>) -> Result<Query> {
    let reader = without_parentheses(reader)?;
    if reader.at_end() {
        return Err(reader.expected("a query"));
    }
    let rewritten = rewrite(reader)?;
    let query = query_of(reader, rewritten)?;
    refuse_hidden_dml(&query.ast.body, &reader)?;
    Ok(query)
}

/// Reads the rest as a query, or as `SELECT .. INTO`, which makes a table of it.
pub fn query_or_into(reader: Reader<'_>) -> Result<StatementKind> {
    let inner = without_parentheses(reader)?;
    if inner.at_end() {
        return Err(inner.expected("a query"));
    }
    let mut query = query_of(inner, rewrite(inner)?)?;
    let into = match query.ast.body.as_mut() {
        ast::SetExpr::Select(select) => select.into.take(),
        _ => None,
    };
    refuse_hidden_dml(&query.ast.body, &inner)?;
    Ok(match into {
        None => StatementKind::Query(query),
        Some(into) => StatementKind::CreateTable(CreateTable {
            name: into.name,
            temporary: into.temporary.then_some(OnCommit::PreserveRows),
            if_not_exists: false,
            columns: vec![],
            unique: vec![],
            primary_key: vec![],
            versions: None,
            query: Some(query),
            with_data: true,
            options: BTreeMap::new(),
        }),
    })
}

/// Parses a rewritten query.
fn query_of(reader: Reader<'_>, rewritten: Rewritten) -> Result<Query> {
    let Rewritten { tokens, windows, selects, emit } = rewritten;
    let mut parser = Parser::new(&StreamSql).with_tokens_with_locations(tokens);
    let mut ast = parser.parse_query().map_err(|error| reader.parser_error(error))?;
    expect_parser_end(&parser, &reader)?;
    normalize(&mut ast).map_err(|error| error.at(reader.location()))?;
    wrap_marked(ast.as_mut(), &selects);
    let to_stream = is_stream(&ast);
    if to_stream && !matches!(emit, None | Some(Emit::Changes)) {
        return Err(reader.unexpected_hint(
            "A query is shown either by ISTREAM, DSTREAM or RSTREAM, or as EMIT says.",
        ));
    }
    Ok(Query { ast, windows: windows.into(), emit, to_stream })
}

/// A query may be wrapped in parentheses as a whole: EMIT within them is still at its end.
fn without_parentheses(mut reader: Reader<'_>) -> Result<Reader<'_>> {
    for _ in 0..PARENTHESES_MAX {
        if reader.peek(0) != &Token::LParen || reader.closing(0)? + 1 < reader.tokens().len() {
            break;
        }
        reader = reader.parenthesized()?;
    }
    Ok(reader)
}

fn expect_parser_end(parser: &Parser<'_>, reader: &Reader<'_>) -> Result<()> {
    let next = parser.peek_token();
    if next.token == Token::EOF {
        return Ok(());
    }
    let error = parser.expected::<()>("end of statement", next);
    error.map_err(|error| reader.parser_error(error))
}

/// `WITH .. INSERT` and `SELECT .. INTO` hide a statement in a query.
fn refuse_hidden_dml(body: &ast::SetExpr, reader: &Reader<'_>) -> Result<()> {
    let (feature, hint) = match body {
        ast::SetExpr::Insert(_) => {
            ("WITH before INSERT", "Put it behind: INSERT INTO t WITH .. SELECT ..")
        }
        ast::SetExpr::Update(_) => ("WITH before UPDATE", "Use a subquery."),
        ast::SetExpr::Delete(_) => ("WITH before DELETE", "Use a subquery."),
        ast::SetExpr::Merge(_) => ("MERGE", "Use INSERT, UPDATE and DELETE."),
        ast::SetExpr::Select(select) if select.into.is_some() => {
            ("SELECT INTO", "Use CREATE TABLE .. AS.")
        }
        _ => return Ok(()),
    };
    Err(reader.unsupported(feature, hint))
}

/// Reads the rest as INSERT, UPDATE or DELETE.
pub fn dml(reader: Reader<'_>) -> Result<StatementKind> {
    let Rewritten { tokens, windows, selects, emit } = rewrite(reader)?;
    if emit.is_some() {
        return Err(reader.unsupported(
            "EMIT in a statement that changes a relation",
            "It runs once over the current content; leave EMIT out.",
        ));
    }
    let mut parser = Parser::new(&StreamSql).with_tokens_with_locations(tokens);
    let mut statement = parser.parse_statement().map_err(|error| reader.parser_error(error))?;
    expect_parser_end(&parser, &reader)?;
    normalize(&mut statement).map_err(|error| error.at(reader.location()))?;
    wrap_marked(&mut statement, &selects);
    Ok(StatementKind::Dml { statement: Box::new(statement), windows: windows.into() })
}

/// Reads `SELECT columns FROM relation`, of which the user wrote only the relation, and perhaps the
/// columns.
pub fn select_from(relation: Reader<'_>, columns: &[ast::Ident]) -> Result<Query> {
    let Some(first) = relation.tokens().first() else {
        return Err(relation.expected("a name"));
    };
    let span = first.span;
    // `SELECT * FROM` is put before the rewritten relation, so that brackets are found in its FROM.
    let mut rewritten = super::prepass::rewrite_relation(relation)?;
    let mut tokens = vec![made_word("SELECT", span)];
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            tokens.push(made(Token::Comma, span));
        }
        tokens.push(made(Token::make_word(&column.value, column.quote_style), column.span));
    }
    if columns.is_empty() {
        tokens.push(made(Token::Mul, span));
    }
    tokens.push(made_word("FROM", span));
    tokens.append(&mut rewritten.tokens);
    query_of(relation, Rewritten { tokens, ..rewritten })
}

/// Returns whether a clause of SUBSCRIBE comes next.
fn sees_clause(here: &Reader<'_>) -> bool {
    (here.sees(&["WITH"]) && here.peek(1) == &Token::LParen)
        || [["AS", "OF"], ["UP", "TO"], ["ENVELOPE", "UPSERT"], ["ENVELOPE", "DIFF"]]
            .iter()
            .any(|words| here.sees(words))
}

/// Reads what comes before the next clause of SUBSCRIBE.
fn before_clause<'s>(reader: &mut Reader<'s>) -> Reader<'s> {
    let length = reader.find(sees_clause);
    reader.take_to(length.map_or(reader.rest().end, |length| reader.rest().start + length))
}

/// Reads what follows SUBSCRIBE.
pub fn subscribe(mut reader: Reader<'_>) -> Result<Subscribe> {
    reader.eat(&["TO"]);
    let what = before_clause(&mut reader);
    let query = if sees_query(&what) { query(what)? } else { select_from(what, &[])? };
    let mut subscribe = Subscribe::new(query);
    let mut envelope = None;
    while !reader.at_end() {
        let start = reader;
        if reader.eat(&["WITH"]) {
            for option in options(reader.parenthesized()?)? {
                match option.key.as_str() {
                    "snapshot" => subscribe.snapshot = flag(&option)?,
                    "progress" => subscribe.progress = flag(&option)?,
                    _ => {
                        return Err(
                            option.unknown("SUBSCRIBE", "Options are SNAPSHOT and PROGRESS.")
                        );
                    }
                }
            }
        } else if reader.eat(&["AS", "OF"]) {
            let at = time(before_clause(&mut reader))?;
            set_once(&mut subscribe.as_of, at, &start, "AS OF")?;
        } else if reader.eat(&["UP", "TO"]) {
            let at = time(before_clause(&mut reader))?;
            set_once(&mut subscribe.up_to, at, &start, "UP TO")?;
        } else if reader.eat(&["ENVELOPE", "UPSERT"]) {
            reader.expect(&["KEY"])?;
            set_once(&mut envelope, Some(reader.idents()?), &start, "ENVELOPE")?;
        } else if reader.eat(&["ENVELOPE", "DIFF"]) {
            set_once(&mut envelope, None, &start, "ENVELOPE")?;
        } else {
            return Err(reader.unexpected());
        }
    }
    subscribe.upsert_key = envelope.flatten();
    Ok(subscribe)
}

fn time(mut reader: Reader<'_>) -> Result<ast::Expr> {
    let expr = reader.expr()?;
    reader.expect_end()?;
    Ok(expr)
}
