//! CREATE TABLE, VIEW and SCHEMA.

use std::collections::BTreeMap;

use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::alter::OTHER_KINDS;
use super::alter_table::unique_index;
use super::columns::Columns;
use super::function;
use super::options::with_clause;
use super::query::query;
use super::reader::Reader;
use super::statement::statement_name;
use super::stream::{declared, set_once, versioned_by};
use crate::sql::statement::{CreateTable, CreateView, OnCommit, StatementKind, WatermarkClause};
use crate::sql::{Error, Result};

/// Reads what follows CREATE.
pub fn create(mut reader: Reader<'_>) -> Result<StatementKind> {
    let start = reader;
    let or_replace = reader.eat(&["OR", "REPLACE"]);
    let temporary = modifiers(&mut reader)?;
    if reader.eat(&["MATERIALIZED", "VIEW"]) {
        return view(reader, or_replace, true, false);
    }
    if reader.eat(&["VIEW"]) {
        return view(reader, or_replace, false, temporary);
    }
    if reader.sees(&["TABLE"]) && !or_replace {
        reader.skip(1);
        return table(reader, temporary);
    }
    if reader.sees(&["SCHEMA"]) && !or_replace {
        reader.skip(1);
        return schema(reader);
    }
    if reader.eat(&["FUNCTION"]) {
        return function::create(reader, or_replace);
    }
    if reader.sees(&["STREAM"]) || reader.sees(&["TABLE"]) {
        return Err(start.unsupported(
            format!("CREATE OR REPLACE {}", statement_name(reader.tokens())),
            "Drop the object first.",
        ));
    }
    if reader.eat(&["UNIQUE", "INDEX"]) {
        return unique_index(reader);
    }
    let mut words = reader;
    words.eat(&["TRUSTED"]);
    if OTHER_KINDS.iter().any(|kind| words.sees(&[kind])) {
        let name = format!("CREATE {}", statement_name(words.tokens()));
        let hint = match name.as_str() {
            "CREATE INDEX" => {
                "Declare a PRIMARY KEY, or keep the result in a MATERIALIZED VIEW; UNIQUE is taken."
            }
            _ => "",
        };
        return Err(start.unsupported(name, hint));
    }
    Err(reader.unexpected())
}

/// Reads TEMP or UNLOGGED; returns whether the object is temporary.
fn modifiers(reader: &mut Reader<'_>) -> Result<bool> {
    let mut ahead = *reader;
    ahead.eat_any(&["GLOBAL", "LOCAL"]);
    if ahead.eat_any(&["TEMP", "TEMPORARY"]).is_some() {
        if !ahead.sees(&["TABLE"]) && !ahead.sees(&["VIEW"]) {
            let what = format!("a temporary {}", statement_name(ahead.tokens()).to_lowercase());
            return Err(reader.unsupported(what, "Create an ordinary one and drop it."));
        }
        *reader = ahead;
        return Ok(true);
    }
    // All tables are in memory: none writes a log of its own.
    if reader.sees(&["UNLOGGED", "TABLE"]) {
        reader.skip(1);
    }
    if reader.sees(&["RECURSIVE", "VIEW"]) {
        return Err(reader.unsupported("CREATE RECURSIVE VIEW", "Use WITH RECURSIVE in a query."));
    }
    Ok(false)
}

fn view(
    mut reader: Reader<'_>,
    or_replace: bool,
    materialized: bool,
    temporary: bool,
) -> Result<StatementKind> {
    let if_not_exists = reader.eat(&["IF", "NOT", "EXISTS"]);
    let name = reader.object_name()?;
    let columns = if reader.peek(0) == &Token::LParen { reader.idents()? } else { Vec::new() };
    let mut options = BTreeMap::new();
    with_clause(&mut reader, &mut options)?;
    reader.expect(&["AS"])?;
    let (text, with_data) = without_view_tail(reader)?;
    if !with_data && !materialized {
        return Err(reader.unsupported("WITH NO DATA of a view", "Use CREATE MATERIALIZED VIEW."));
    }
    Ok(StatementKind::CreateView(CreateView {
        name,
        temporary,
        if_not_exists,
        or_replace,
        materialized,
        columns,
        query: query(text)?,
        query_text: text.text(),
        options,
        with_data,
    }))
}

/// Takes `WITH [NO] DATA` and `WITH CHECK OPTION` off the end of a view's query; returns whether
/// there is to be data.
fn without_view_tail(mut reader: Reader<'_>) -> Result<(Reader<'_>, bool)> {
    let tail = reader.find(|here| {
        let mut here = *here;
        if !here.eat(&["WITH"]) {
            return false;
        }
        here.eat_any(&["NO", "LOCAL", "CASCADED"]);
        (here.eat(&["DATA"]) || here.eat(&["CHECK", "OPTION"])) && here.at_end()
    });
    let Some(length) = tail else { return Ok((reader, true)) };
    let query = reader.take_to(reader.rest().start + length);
    if reader.eat(&["WITH", "DATA"]) {
        return Ok((query, true));
    }
    if reader.sees(&["WITH", "NO", "DATA"]) {
        return Ok((query, false));
    }
    Err(reader.unsupported("WITH CHECK OPTION", "Views cannot be written to."))
}

fn table(mut reader: Reader<'_>, temporary: bool) -> Result<StatementKind> {
    let if_not_exists = reader.eat(&["IF", "NOT", "EXISTS"]);
    let name = reader.object_name()?;
    let start = reader;
    if only_grows(reader) {
        return declared(reader, name, if_not_exists);
    }
    let mut own = Columns::default();
    let mut versions = None;
    if reader.peek(0) == &Token::LParen {
        for item in reader.parenthesized()?.items()? {
            if item.sees(&["VERSIONED", "BY"]) {
                set_once(&mut versions, versioned_by(item)?, &item, "VERSIONED BY")?;
            } else {
                table_item(item, &mut own)?;
            }
        }
        check_versions(versions.as_ref(), &own, &start)?;
        own.check_names(&own.primary_key, "PRIMARY KEY")?;
        own.unique.iter().try_for_each(|key| own.check_names(&key.columns, "UNIQUE"))?;
    }
    refuse_table_tail(&reader, temporary)?;
    let mut options = BTreeMap::new();
    with_clause(&mut reader, &mut options)?;
    let on_commit = if temporary { Some(on_commit(&mut reader)?) } else { None };
    let mut with_data = true;
    let query = if reader.eat(&["AS"]) {
        let end = reader.rest().end;
        let (text, as_is) = without_view_tail(reader.take_to(end))?;
        with_data = as_is;
        Some(query(text)?)
    } else {
        let untyped = |column: &ast::ColumnDef| column.data_type == ast::DataType::Unspecified;
        if start.peek(0) != &Token::LParen || own.columns.iter().any(untyped) {
            return Err(if start.peek(0) == &Token::LParen {
                reader.expected("AS, as there is a column without a type")
            } else {
                start.expected("( or AS")
            });
        }
        None
    };
    reader.expect_end()?;
    Ok(StatementKind::CreateTable(CreateTable {
        name,
        temporary: on_commit,
        if_not_exists,
        columns: own.columns,
        primary_key: own.primary_key,
        unique: own.unique,
        versions,
        query,
        with_data,
        options,
    }))
}

/// Reads ON COMMIT of a temporary table.
fn on_commit(reader: &mut Reader<'_>) -> Result<OnCommit> {
    if !reader.eat(&["ON", "COMMIT"]) {
        return Ok(OnCommit::PreserveRows);
    }
    if reader.eat(&["DROP"]) {
        return Ok(OnCommit::Drop);
    }
    let preserve = reader.eat(&["PRESERVE"]);
    if !preserve {
        reader.expect(&["DELETE"])?;
    }
    reader.expect(&["ROWS"])?;
    Ok(if preserve { OnCommit::PreserveRows } else { OnCommit::DeleteRows })
}

/// Whether APPEND ONLY follows the parentheses.
fn only_grows(mut reader: Reader<'_>) -> bool {
    reader.peek(0) == &Token::LParen
        && reader.parenthesized().is_ok()
        && reader.sees(&["APPEND", "ONLY"])
}

/// A version replaces the one before it of the same key.
fn check_versions(
    versions: Option<&WatermarkClause>,
    declared: &Columns,
    start: &Reader<'_>,
) -> Result<()> {
    let Some(versions) = versions else { return Ok(()) };
    declared.check_names(std::slice::from_ref(&versions.column), "VERSIONED BY")?;
    if declared.primary_key.is_empty() {
        let message = "VERSIONED BY requires a PRIMARY KEY".to_owned();
        return Err(Error::InvalidDefinition { message, location: Some(start.location()) });
    }
    Ok(())
}

fn table_item(item: Reader<'_>, declared: &mut Columns) -> Result<()> {
    if item.sees(&["WATERMARK", "FOR"]) {
        return Err(item.unsupported(
            "WATERMARK of a table",
            "Write CREATE STREAM, or CREATE TABLE .. APPEND ONLY.",
        ));
    }
    if declared.constraint(item)? { Ok(()) } else { declared.column(item) }
}

fn refuse_table_tail(reader: &Reader<'_>, temporary: bool) -> Result<()> {
    let tails: [(&[&str], &str); 5] = [
        (&["PARTITION", "BY"], "PARTITION BY in CREATE TABLE"),
        (&["INHERITS"], "INHERITS"),
        (&["TABLESPACE"], "TABLESPACE"),
        (&["ON", "COMMIT"], "ON COMMIT"),
        (&["USING"], "USING in CREATE TABLE"),
    ];
    let refused = |words: &[&str]| reader.sees(words) && !(temporary && words[0] == "ON");
    match tails.iter().find(|(words, _)| refused(words)) {
        Some((_, feature)) => Err(reader.unsupported(*feature, "Leave it out.")),
        None => Ok(()),
    }
}

fn schema(mut reader: Reader<'_>) -> Result<StatementKind> {
    let if_not_exists = reader.eat(&["IF", "NOT", "EXISTS"]);
    if reader.sees(&["AUTHORIZATION"]) {
        return Err(reader.unsupported("CREATE SCHEMA AUTHORIZATION", "Name the schema."));
    }
    let name = reader.ident()?;
    // Everyone owns everything: the owner is read and forgotten.
    if reader.eat(&["AUTHORIZATION"]) {
        reader.ident()?;
    }
    reader.expect_end()?;
    Ok(StatementKind::CreateSchema { name, if_not_exists })
}
