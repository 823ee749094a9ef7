//! CREATE FUNCTION and DROP FUNCTION: functions in SQL.

use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::reader::Reader;
use crate::sql::Result;
use crate::sql::function::{CreateFunction, DropFunction, Parameter};
use crate::sql::statement::StatementKind;

/// Reads what follows CREATE [OR REPLACE] FUNCTION.
pub fn create(mut reader: Reader<'_>, or_replace: bool) -> Result<StatementKind> {
    let name = reader.object_name()?;
    let mut parameters = Vec::new();
    for item in reader.parenthesized()?.items()? {
        parameters.push(parameter(item)?);
    }
    reader.expect(&["RETURNS"])?;
    for rows in ["TABLE", "SETOF"] {
        if reader.sees(&[rows]) {
            return Err(reader.unsupported("a function that gives rows", "Create a view."));
        }
    }
    let (returns, returns_text) = data_type(&mut reader)?;
    let mut create = CreateFunction {
        name,
        or_replace,
        parameters,
        returns,
        returns_text,
        strict: false,
        volatility: 'v',
        body: "".into(),
    };
    while !reader.at_end() {
        option(&mut reader, &mut create)?;
    }
    if create.body.is_empty() {
        return Err(reader.expected("AS or RETURN"));
    }
    Ok(StatementKind::CreateFunction(create))
}

fn parameter(mut item: Reader<'_>) -> Result<Parameter> {
    item.eat(&["IN"]);
    if ["OUT", "INOUT", "VARIADIC"].iter().any(|mode| item.sees(&[mode])) {
        return Err(item.unsupported("a parameter that is not IN", "Return one value."));
    }
    // `x integer` or `integer`: the first word is a name if a type follows it.
    let mut named = item;
    let name = named.ident().ok().filter(|_| !named.at_end());
    if let Some(name) = name
        && let Ok((data_type, text)) = data_type(&mut named)
    {
        named.expect_end().map_err(|_| default_refused(&named))?;
        return Ok(Parameter { name: Some(name), data_type, text });
    }
    let (data_type, text) = data_type(&mut item)?;
    item.expect_end().map_err(|_| default_refused(&item))?;
    Ok(Parameter { name: None, data_type, text })
}

fn default_refused(reader: &Reader<'_>) -> crate::sql::Error {
    if reader.sees(&["DEFAULT"]) || reader.peek(0) == &Token::Eq {
        return reader.unsupported("a default of a parameter", "Give every argument.");
    }
    reader.unexpected()
}

/// A type, and its text.
fn data_type(reader: &mut Reader<'_>) -> Result<(ast::DataType, String)> {
    let data_type = reader.with_sqlparser(Parser::parse_data_type)?;
    let text = data_type.to_string();
    Ok((data_type, text))
}

/// Reads one of the clauses behind RETURNS.
fn option(reader: &mut Reader<'_>, create: &mut CreateFunction) -> Result<()> {
    let start = *reader;
    if reader.eat(&["LANGUAGE"]) {
        let language = match reader.eat_string() {
            Some(text) => text.to_lowercase(),
            None => reader.ident()?.value.to_lowercase(),
        };
        if language != "sql" {
            return Err(start.unsupported(format!("LANGUAGE {language}"), "Write it in SQL."));
        }
    } else if let Some(word) = reader.eat_any(&["IMMUTABLE", "STABLE", "VOLATILE"]) {
        create.volatility = word.chars().next().map_or('v', |c| c.to_ascii_lowercase());
    } else if reader.eat(&["STRICT"]) || reader.eat(&["RETURNS", "NULL", "ON", "NULL", "INPUT"]) {
        create.strict = true;
    } else if reader.eat(&["CALLED", "ON", "NULL", "INPUT"]) {
        create.strict = false;
    } else if reader.eat(&["PARALLEL"]) || reader.eat(&["COST"]) {
        reader.skip(1);
    } else if reader.eat(&["AS"]) {
        create.body = reader.string()?.trim().trim_end_matches(';').into();
    } else if reader.eat(&["RETURN"]) {
        create.body = reader.text();
        let end = reader.rest().end;
        reader.take_to(end);
    } else if reader.sees(&["BEGIN"]) {
        return Err(start.unsupported("BEGIN ATOMIC", "Use RETURN, or AS with a string."));
    } else {
        return Err(reader.unexpected());
    }
    Ok(())
}

/// Reads what follows DROP FUNCTION.
pub fn drop(mut reader: Reader<'_>) -> Result<StatementKind> {
    let if_exists = reader.eat(&["IF", "EXISTS"]);
    let mut functions = Vec::new();
    loop {
        let name = reader.object_name()?;
        let mut count = None;
        if reader.peek(0) == &Token::LParen {
            let items = reader.parenthesized()?.items()?;
            count = Some(items.len());
            items.into_iter().try_for_each(|item| parameter(item).map(|_| ()))?;
        }
        functions.push((name, count));
        if !reader.eat_token(&Token::Comma) {
            break;
        }
    }
    let cascade = reader.eat_any(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
    reader.expect_end()?;
    Ok(StatementKind::DropFunction(DropFunction { functions, if_exists, cascade }))
}
