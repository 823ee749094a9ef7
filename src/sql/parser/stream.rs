//! CREATE STREAM and CREATE SINK.
//!
//! # Semantics
//! ```text
//! CREATE STREAM [IF NOT EXISTS] name ( item {, item} )
//!     [FROM connector ['path'] [(k = v, ..)]] [WITH (k = v, ..)]
//! CREATE TABLE [IF NOT EXISTS] name ( item {, item} ) APPEND ONLY
//!     [FROM connector ['path'] [(k = v, ..)]] [WITH (k = v, ..)]
//! CREATE STREAM [IF NOT EXISTS] name [WITH (k = v, ..)] AS query
//! CREATE SINK [IF NOT EXISTS] name INTO relation [(columns)] [KEY (columns)] [WITH (k = v, ..)]
//!     {AS query | FROM name} [WITH (k = v, ..)]
//! item     := column | WATERMARK FOR column AS expr {progress}
//!           | ALLOWED LATENESS {span | n} | LATE {DROP | INTO name | ERROR | UPDATE}
//!           | LATE TO OPEN WINDOWS
//!           | CLOCK {EVENT | SYSTEM} | PARTITION KEY (columns)
//! progress := IDLE TIMEOUT span | ON IDLE ADVANCE TO expr | MAX AHEAD span
//! ```
//! A table that only grows is a stream. Rows that are late, but by no more than ALLOWED LATENESS,
//! are taken, and results corrected: LATE
//! UPDATE says so once more. The other forms of LATE are about rows that are refused. A lateness
//! without unit counts seconds, or units of a BIGINT event time.
//!
//! The options of a watermark may also stand as items of their own. A connector's name is kept as
//! the option `connector`, its string as `path`.

use std::collections::BTreeMap;

use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::columns::Columns;
use super::options::{option_map, with_clause};
use super::query::{parse_query_text, query};
use super::reader::Reader;
use super::span::{positive_span, span};
use crate::sql::derived::{CreateSink, CreateStreamAs};
use crate::sql::names::fold;
use crate::sql::statement::{
    CreateStream, LatePolicy, Lateness, StatementKind, StreamClock, WatermarkClause,
};
use crate::sql::{Error, Result};

/// Returns whether STREAM, SINK or SOURCE comes next.
pub fn sees_stream(reader: &Reader<'_>) -> bool {
    ["STREAM", "SINK", "SOURCE"].iter().any(|word| reader.sees(&[word]))
}

/// Reads what follows CREATE.
pub fn create(mut reader: Reader<'_>) -> Result<StatementKind> {
    if reader.eat(&["SINK"]) {
        return sink(reader);
    }
    if reader.sees(&["SOURCE"]) {
        return Err(reader.unsupported("CREATE SOURCE", "Write CREATE STREAM .. FROM connector."));
    }
    reader.expect(&["STREAM"])?;
    let if_not_exists = reader.eat(&["IF", "NOT", "EXISTS"]);
    let name = reader.object_name()?;
    match derived(reader, &name, if_not_exists)? {
        Some(derived) => Ok(derived),
        None => declared(reader, name, if_not_exists),
    }
}

/// Reads what follows the name of a stream with columns of its own.
pub(super) fn declared(
    mut reader: Reader<'_>,
    name: ast::ObjectName,
    if_not_exists: bool,
) -> Result<StatementKind> {
    let start = reader;
    let mut items = Items::default();
    if reader.peek(0) == &Token::LParen {
        for item in reader.parenthesized()?.items()? {
            items.item(item)?;
        }
    }
    if reader.sees(&["AS"]) {
        return Err(start.unsupported(
            "an option of CREATE STREAM AS in parentheses",
            "The columns, their times and the watermark are those of the query; leave the \
             parentheses out.",
        ));
    }
    if items.columns.columns.is_empty() {
        return Err(
            start.unexpected_hint("A stream is declared with its columns: (ts TIMESTAMP, ..).")
        );
    }
    reader.eat(&["APPEND", "ONLY"]);
    let mut options = BTreeMap::new();
    if reader.eat(&["FROM"]) {
        connector(&mut reader, &mut options)?;
    }
    with_clause(&mut reader, &mut options)?;
    reader.expect_end()?;
    let stream = CreateStream {
        name,
        if_not_exists,
        columns: Vec::new(),
        watermark: None,
        lateness: None,
        late: LatePolicy::Drop,
        clock: None,
        partition_key: Vec::new(),
        options,
    };
    items.finish(stream).map_err(|error| error.at(start.location()))
}

/// Reads `[WITH (..)] AS query`, if that is what the rest is.
fn derived(
    mut reader: Reader<'_>,
    name: &ast::ObjectName,
    if_not_exists: bool,
) -> Result<Option<StatementKind>> {
    let mut options = BTreeMap::new();
    with_clause(&mut reader, &mut options)?;
    if !reader.eat(&["AS"]) {
        return Ok(None);
    }
    Ok(Some(StatementKind::CreateStreamAs(CreateStreamAs {
        name: name.clone(),
        if_not_exists,
        query: query(reader)?,
        query_text: reader.text(),
        options,
    })))
}

/// Reads what follows CREATE SINK.
fn sink(mut reader: Reader<'_>) -> Result<StatementKind> {
    let if_not_exists = reader.eat(&["IF", "NOT", "EXISTS"]);
    let name = reader.object_name()?;
    let mut options = BTreeMap::new();
    let (mut into, mut columns, mut partition) = (None, Vec::new(), Vec::new());
    if reader.eat(&["TO"]) {
        connector(&mut reader, &mut options)?;
        if reader.eat(&["PARTITION", "BY"]) {
            partition = reader.idents()?;
        }
    } else {
        reader.expect(&["INTO"])?;
        into = Some(reader.object_name()?);
        if reader.peek(0) == &Token::LParen {
            columns = reader.idents()?;
        }
    }
    let columns = columns.into_iter().map(|column| ast::ObjectName::from(vec![column])).collect();
    let key = if reader.eat(&["KEY"]) { reader.idents()? } else { Vec::new() };
    if into.is_none() && reader.eat(&["FORMAT"]) {
        options.insert("format".to_owned(), fold(&reader.ident()?));
    }
    with_clause(&mut reader, &mut options)?;
    let of_relation = reader.eat(&["FROM"]);
    if !of_relation {
        reader.expect(&["AS"])?;
    }
    let source = before_options(&mut reader, &mut options)?;
    let (query, query_text) = if of_relation {
        let mut source = source;
        let name = source.object_name()?;
        source.expect_end()?;
        let text = format!("SELECT * FROM {name}");
        (parse_query_text(&text)?, text.into())
    } else {
        (query(source)?, source.text())
    };
    Ok(StatementKind::CreateSink(CreateSink {
        name,
        if_not_exists,
        into,
        partition,
        columns,
        key,
        query,
        query_text,
        options,
    }))
}

/// Takes `WITH (..)` off the end; what is before it remains.
fn before_options<'s>(
    reader: &mut Reader<'s>,
    options: &mut BTreeMap<String, String>,
) -> Result<Reader<'s>> {
    let tail = reader.find(|here| {
        let mut here = *here;
        here.eat(&["WITH"])
            && here.peek(0) == &Token::LParen
            && here.parenthesized().is_ok()
            && here.at_end()
    });
    let end = tail.map_or(reader.rest().end, |length| reader.rest().start + length);
    let before = reader.take_to(end);
    with_clause(reader, options)?;
    Ok(before)
}

fn connector(reader: &mut Reader<'_>, options: &mut BTreeMap<String, String>) -> Result<()> {
    let name = fold(&reader.ident()?);
    if let Some(path) = reader.eat_string() {
        options.insert("path".to_owned(), path.to_owned());
    }
    if reader.peek(0) == &Token::LParen {
        let start = *reader;
        for (key, value) in option_map(reader.parenthesized()?)? {
            if options.insert(key.clone(), value).is_some() {
                return Err(start.invalid_option(format!("option \"{key}\" is given twice"), ""));
            }
        }
    }
    options.insert("connector".to_owned(), name);
    Ok(())
}

/// What has been read of the parentheses.
#[derive(Default)]
struct Items {
    columns: Columns,
    watermark: Option<(ast::Ident, ast::Expr)>,
    idle_timeout: Option<i64>,
    on_idle_advance_to: Option<ast::Expr>,
    max_ahead: Option<i64>,
    lateness: Option<Lateness>,
    late_update: Option<()>,
    late: Option<LatePolicy>,
    clock: Option<StreamClock>,
    partition_key: Option<Vec<ast::Ident>>,
}

/// Sets an option that may be given once.
pub(super) fn set_once<T>(
    option: &mut Option<T>,
    value: T,
    start: &Reader<'_>,
    name: &str,
) -> Result<()> {
    match option.replace(value) {
        None => Ok(()),
        Some(_) => Err(start.invalid_option(format!("{name} is given twice"), "")),
    }
}

impl Items {
    fn item(&mut self, mut item: Reader<'_>) -> Result<()> {
        let start = item;
        if item.eat(&["WATERMARK", "FOR"]) {
            let column = item.ident()?;
            item.expect(&["AS"])?;
            set_once(&mut self.watermark, (column, item.expr()?), &start, "WATERMARK")?;
            while self.progress(&mut item)? {}
        } else if self.progress(&mut item)? {
            while self.progress(&mut item)? {}
        } else if item.eat(&["ALLOWED", "LATENESS"]) {
            set_once(&mut self.lateness, lateness(&mut item)?, &start, "ALLOWED LATENESS")?;
        } else if item.eat(&["LATE", "UPDATE"]) {
            set_once(&mut self.late_update, (), &start, "LATE UPDATE")?;
        } else if let Some(policy) = late_policy(&mut item)? {
            set_once(&mut self.late, policy, &start, "LATE")?;
        } else if let Some(clock) = clock(&mut item)? {
            set_once(&mut self.clock, clock, &start, "CLOCK")?;
        } else if item.eat(&["PARTITION", "KEY"]) {
            set_once(&mut self.partition_key, item.idents()?, &start, "PARTITION KEY")?;
        } else if self.columns.constraint(item)? {
            return Err(no_primary_key(&start));
        } else {
            self.columns.column(item)?;
            if !(self.columns.primary_key.is_empty() && self.columns.unique.is_empty()) {
                return Err(no_primary_key(&start));
            }
            return Ok(());
        }
        item.expect_end()
    }

    /// Reads an option of the watermark.
    fn progress(&mut self, item: &mut Reader<'_>) -> Result<bool> {
        let start = *item;
        if item.eat(&["IDLE", "TIMEOUT"]) {
            let span = positive_span(item, "IDLE TIMEOUT")?;
            set_once(&mut self.idle_timeout, span, &start, "IDLE TIMEOUT")?;
        } else if item.eat(&["ON", "IDLE", "ADVANCE", "TO"]) {
            set_once(&mut self.on_idle_advance_to, item.expr()?, &start, "ON IDLE ADVANCE TO")?;
        } else if item.eat(&["MAX", "AHEAD"]) {
            let span = positive_span(item, "MAX AHEAD")?;
            set_once(&mut self.max_ahead, span, &start, "MAX AHEAD")?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn finish(self, stream: CreateStream) -> Result<StatementKind> {
        let partition_key = self.partition_key.unwrap_or_default();
        self.columns.check_names(&partition_key, "PARTITION KEY")?;
        let Self { idle_timeout, on_idle_advance_to, max_ahead, .. } = self;
        let watermark = match self.watermark {
            Some((column, expr)) => {
                self.columns.check_names(std::slice::from_ref(&column), "WATERMARK")?;
                Some(WatermarkClause { column, expr, idle_timeout, on_idle_advance_to, max_ahead })
            }
            None if idle_timeout.is_some()
                || on_idle_advance_to.is_some()
                || max_ahead.is_some() =>
            {
                return Err(contradiction(
                    "IDLE TIMEOUT, ON IDLE ADVANCE TO and MAX AHEAD require WATERMARK FOR",
                ));
            }
            None => None,
        };
        if self.lateness.is_some() && watermark.is_none() {
            return Err(contradiction("ALLOWED LATENESS requires WATERMARK FOR"));
        }
        if self.lateness.is_some() && self.late == Some(LatePolicy::ToOpenWindows) {
            return Err(contradiction(
                "ALLOWED LATENESS and LATE TO OPEN WINDOWS exclude each other",
            ));
        }
        if self.late_update.is_some() && self.lateness.is_none() {
            return Err(contradiction(
                "LATE UPDATE requires ALLOWED LATENESS, which says how late a row may be",
            ));
        }
        match (self.clock, &watermark) {
            (Some(StreamClock::Event), None) => {
                return Err(contradiction("CLOCK EVENT requires WATERMARK FOR"));
            }
            (Some(StreamClock::System), Some(_)) => {
                return Err(contradiction("CLOCK SYSTEM and WATERMARK FOR exclude each other"));
            }
            (Some(StreamClock::Row), Some(_)) => {
                return Err(contradiction("CLOCK ROW and WATERMARK FOR exclude each other"));
            }
            _ => {}
        }
        Ok(StatementKind::CreateStream(CreateStream {
            columns: self.columns.columns,
            watermark,
            lateness: self.lateness,
            late: self.late.unwrap_or_default(),
            clock: self.clock,
            partition_key,
            ..stream
        }))
    }
}

/// Reads `VERSIONED BY col WATERMARK AS expr` with its options.
pub(super) fn versioned_by(mut item: Reader<'_>) -> Result<WatermarkClause> {
    item.expect(&["VERSIONED", "BY"])?;
    let column = item.ident()?;
    item.expect(&["WATERMARK", "AS"])?;
    let expr = item.expr()?;
    let mut options = Items::default();
    while options.progress(&mut item)? {}
    item.expect_end()?;
    let Items { idle_timeout, on_idle_advance_to, max_ahead, .. } = options;
    Ok(WatermarkClause { column, expr, idle_timeout, on_idle_advance_to, max_ahead })
}

fn contradiction(message: &str) -> Error {
    Error::InvalidDefinition { message: message.to_owned(), location: None }
}

fn no_primary_key(start: &Reader<'_>) -> Error {
    start.unsupported(
        "PRIMARY KEY or UNIQUE of a stream",
        "A stream keeps every row; declare a TABLE, or read it with [PARTITION BY key ROWS 1].",
    )
}

/// Reads `LATE ..`; a column may be called `late`.
fn late_policy(item: &mut Reader<'_>) -> Result<Option<LatePolicy>> {
    if item.eat(&["LATE", "DROP"]) {
        Ok(Some(LatePolicy::Drop))
    } else if item.eat(&["LATE", "ERROR"]) {
        Ok(Some(LatePolicy::Error))
    } else if item.eat(&["LATE", "TO", "OPEN", "WINDOWS"]) {
        Ok(Some(LatePolicy::ToOpenWindows))
    } else if item.eat(&["LATE", "INTO"]) {
        Ok(Some(LatePolicy::Into(item.object_name()?)))
    } else {
        Ok(None)
    }
}

/// Reads how late a row may be.
fn lateness(item: &mut Reader<'_>) -> Result<Lateness> {
    if let (Token::Number(number, _), Token::EOF) = (item.peek(0), item.peek(1))
        && let Ok(units) = number.parse()
    {
        item.skip(1);
        return Ok(Lateness::Units(units));
    }
    Ok(Lateness::Span(span(item)?))
}

/// Reads `CLOCK ..`; a column may be called `clock`.
fn clock(item: &mut Reader<'_>) -> Result<Option<StreamClock>> {
    if item.eat(&["CLOCK", "EVENT"]) {
        Ok(Some(StreamClock::Event))
    } else if item.eat(&["CLOCK", "SYSTEM"]) {
        Ok(Some(StreamClock::System))
    } else if item.sees(&["CLOCK", "ROW"]) {
        item.skip(2);
        Ok(Some(StreamClock::Row))
    } else {
        Ok(None)
    }
}
