//! Tells statements apart by their first words.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::options::{SqlOption, flag, options};
use super::reader::Reader;
use super::script::Script;
use super::{alter, copy, create, cursor, query, session, stream};
use crate::sql::dialect::StreamSql;
use crate::sql::statement::{Explain, Statement, StatementKind};
use crate::sql::{Error, Result};

/// Parses a string of statements, separated by semicolons. A string of nothing is one empty
/// statement.
pub fn parse(sql: &str) -> Result<Vec<Statement>> {
    let script = Script::new(sql)?;
    let ranges = script.statements();
    if ranges.is_empty() {
        return Ok(vec![Statement {
            text: "".into(),
            offset: 0,
            cut_names: vec![],
            kind: StatementKind::Empty,
        }]);
    }
    let mut known = (0, 0);
    let mut statements = Vec::with_capacity(ranges.len());
    for range in ranges {
        let byte = script.byte_at(range.start);
        known = (byte, script.chars_before(byte, known));
        let cut_names = script.cut_names(&range);
        let reader = Reader::new(&script, range);
        let (text, offset) = (reader.text(), known.1);
        statements.push(Statement { text, offset, cut_names, kind: kind(reader)? });
    }
    Ok(statements)
}

/// Reads the rest as a statement within another one.
pub fn nested(reader: Reader<'_>) -> Result<Statement> {
    let offset = reader.script().chars_before(reader.script().byte_at(reader.rest().start), (0, 0));
    // The statement around it tells of names that were cut.
    Ok(Statement { text: reader.text(), offset, cut_names: vec![], kind: kind(reader)? })
}

/// Reads the rest as a statement.
fn kind(mut reader: Reader<'_>) -> Result<StatementKind> {
    if reader.at_end() {
        return Err(reader.expected("a statement"));
    }
    if query::sees_query(&reader) {
        return query::query_or_into(reader);
    }
    if let Some(kind) = session::statement(&mut reader)? {
        reader.expect_end()?;
        return Ok(kind);
    }
    let start = reader;
    let kind = match reader.eat_any(&[
        "INSERT",
        "UPDATE",
        "DELETE",
        "TRUNCATE",
        "SUBSCRIBE",
        "CREATE",
        "DROP",
        "ALTER",
        "COMMENT",
        "REFRESH",
        "COPY",
        "EXPLAIN",
        "DECLARE",
        "FETCH",
        "MOVE",
        "CLOSE",
        "PREPARE",
        "EXECUTE",
        "DEALLOCATE",
    ]) {
        Some("INSERT" | "UPDATE" | "DELETE" | "TRUNCATE") => query::dml(start)?,
        Some("SUBSCRIBE") => StatementKind::Subscribe(query::subscribe(reader)?),
        Some("CREATE") if stream::sees_stream(&reader) => stream::create(reader)?,
        Some("CREATE") => create::create(reader)?,
        Some("DROP") => alter::drop(reader)?,
        Some("ALTER") => alter::alter(reader)?,
        Some("COMMENT") => alter::comment(reader)?,
        Some("REFRESH") => alter::refresh(reader)?,
        Some("COPY") => copy::copy(reader)?,
        Some("EXPLAIN") => explain(reader)?,
        Some("DECLARE") => cursor::declare(reader)?,
        Some("FETCH") => cursor::fetch(reader, false)?,
        Some("MOVE") => cursor::fetch(reader, true)?,
        Some("CLOSE") => cursor::close(reader)?,
        Some("PREPARE") => cursor::prepare(reader)?,
        Some("EXECUTE") => cursor::execute(reader)?,
        Some("DEALLOCATE") => cursor::deallocate(reader)?,
        _ => return Err(other(start)),
    };
    Ok(kind)
}

/// Reads what follows EXPLAIN.
fn explain(mut reader: Reader<'_>) -> Result<StatementKind> {
    let (mut analyze, mut verbose, mut json) = (false, false, false);
    let (mut state, mut stall) = (false, false);
    let mut lookahead = reader;
    lookahead.skip(1);
    if reader.peek(0) == &Token::LParen && !query::sees_query(&lookahead) {
        for option in options(reader.parenthesized()?)? {
            match option.key.as_str() {
                "analyze" => analyze = flag(&option)?,
                "verbose" => verbose = flag(&option)?,
                "state" => state = flag(&option)?,
                "stall" => stall = flag(&option)?,
                "format" => json = explain_format(&option)?,
                // Postgres's other options choose what costs and counters to print.
                "costs" | "settings" | "generic_plan" | "buffers" | "wal" | "timing"
                | "summary" => {
                    flag(&option)?;
                }
                _ => {
                    let hint = "Options are STATE, STALL, ANALYZE, VERBOSE and FORMAT.";
                    return Err(option.unknown("EXPLAIN", hint));
                }
            }
        }
    } else {
        analyze = reader.eat_any(&["ANALYZE", "ANALYSE"]).is_some();
        verbose = reader.eat(&["VERBOSE"]);
    }
    if stall || reader.sees(&["STALL"]) {
        reader.eat(&["STALL"]);
        let view = reader.object_name()?;
        reader.expect_end()?;
        return Ok(StatementKind::ExplainStall(view));
    }
    let start = reader;
    let hint = "EXPLAIN takes a query, SUBSCRIBE, INSERT or CREATE VIEW.";
    // Refused before it is read: the depth of the text must not become that of the stack.
    if reader.sees(&["EXPLAIN"]) {
        return Err(start.unexpected_hint(hint));
    }
    let statement = Box::new(nested(reader)?);
    match statement.kind {
        StatementKind::Query(_)
        | StatementKind::Subscribe(_)
        | StatementKind::CreateView(_)
        | StatementKind::CreateTable(_)
        | StatementKind::CreateStreamAs(_)
        | StatementKind::CreateSink(_)
        | StatementKind::Dml { .. }
        | StatementKind::Declare { .. }
        | StatementKind::Execute { .. } => {
            Ok(StatementKind::Explain(Explain { statement, verbose, analyze, json, state }))
        }
        _ => Err(start.unexpected_hint(hint)),
    }
}

fn explain_format(option: &SqlOption) -> Result<bool> {
    match option.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("text") => Ok(false),
        Some("json") => Ok(true),
        _ => Err(option.invalid(
            "unrecognized value for EXPLAIN option \"format\"".to_owned(),
            "Formats are TEXT and JSON.",
        )),
    }
}

/// A statement that is not ours: one that sqlparser knows is named, any other is a syntax error.
pub fn other(reader: Reader<'_>) -> Error {
    let tokens = reader.tokens().to_vec();
    let mut parser = Parser::new(&StreamSql).with_tokens_with_locations(tokens);
    match parser.parse_statement() {
        Ok(_) => reader.unsupported(statement_name(reader.tokens()), ""),
        Err(error) => reader.parser_error(error),
    }
}

/// Returns the words that a statement is called by: `TRUNCATE`, `ALTER TABLE`, `CREATE FUNCTION`.
pub fn statement_name(tokens: &[TokenWithSpan]) -> String {
    const FILLERS: [&str; 8] =
        ["OR", "REPLACE", "TEMP", "TEMPORARY", "UNIQUE", "RECURSIVE", "GLOBAL", "LOCAL"];
    const PREFIXES: [&str; 7] =
        ["CREATE", "ALTER", "DROP", "MATERIALIZED", "FOREIGN", "EVENT", "REFRESH"];
    let mut name: Vec<String> = Vec::new();
    for token in tokens {
        let Token::Word(word) = &token.token else { break };
        let word = word.value.to_ascii_uppercase();
        if !name.is_empty() && FILLERS.contains(&word.as_str()) {
            continue;
        }
        let last = !PREFIXES.contains(&word.as_str());
        name.push(word);
        if last {
            break;
        }
    }
    name.join(" ")
}
