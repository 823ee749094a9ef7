//! Definitions: their dispatch, names, schemas, HEARTBEAT and COMMENT.

use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use sqlparser::ast;
use sqlparser::ast::Spanned;

use super::columns::index_of;
use super::session::Session;
use super::source::SourceStatus;
use super::{Error, Result, system};
use crate::error::{Location, SqlState};
use crate::fault;
use crate::planner::bind::constant;
use crate::planner::relation::Names;
use crate::planner::text_time;
use crate::runtime::hub::Write;
use crate::sql::catalog::{Object, ObjectKind, PUBLIC};
use crate::sql::names::{TEMPORARY, fold, fold_parts, is_reserved, is_reserved_word};
use crate::sql::statement::{Statement, StatementKind};
use crate::time::Timestamp;

impl Session {
    /// Runs a definition; returns its command tag.
    pub(super) async fn define(&mut self, statement: &Statement) -> Result<String> {
        let engine = Arc::clone(&self.engine);
        // Who waits for writers of a table must not keep them from definitions of their own.
        let _writing = self.lock_altered(&statement.kind).await?;
        let guard = engine.ddl.lock().await;
        // A heartbeat is an input of its own.
        if !matches!(statement.kind, StatementKind::Heartbeat { .. }) {
            engine.hub().define(self.definition(&statement.text))?;
        }
        let first = engine.catalog().next_oid();
        let defined = self.change(statement).await;
        self.remember_made(first);
        engine.hub().defined(defined.is_ok())?;
        let (tag, started) = defined?;
        drop(guard);
        if let Some(source) = started {
            source.wait().await?;
        }
        fault::point("session.definition");
        engine.hub().durable().await;
        fault::point("session.definition.durable");
        Ok(tag)
    }

    /// Makes the change of a definition; returns its command tag, and the source that it started.
    async fn change(
        &mut self,
        statement: &Statement,
    ) -> Result<(String, Option<Arc<SourceStatus>>)> {
        let text = Arc::clone(&statement.text);
        let mut started = None;
        let tag = match &statement.kind {
            StatementKind::CreateStream(create) => {
                started = self.create_stream(create, text).await?;
                "CREATE STREAM".to_owned()
            }
            StatementKind::CreateStreamAs(create) => {
                self.create_stream_as(create, text)?;
                "CREATE STREAM".to_owned()
            }
            StatementKind::CreateSink(create) => {
                self.create_sink(create, text).await?;
                "CREATE SINK".to_owned()
            }
            StatementKind::CreateTable(create) => {
                let (tag, source) = self.create_table(create, text).await?;
                started = source;
                tag
            }
            StatementKind::CreateView(create) => self.create_view(create, text)?,
            StatementKind::AlterView { name, if_exists, change } => {
                self.alter_view(name, *if_exists, change)?
            }
            StatementKind::AlterTable(alter) => self.alter_table(alter, &text, "ALTER TABLE")?,
            StatementKind::CreateIndex(alter) => self.alter_table(alter, &text, "CREATE INDEX")?,
            StatementKind::DropIndex(drop) => self.drop_index(drop, &text)?,
            StatementKind::CreateFunction(create) => self.create_function(create, text)?,
            StatementKind::DropFunction(drop) => self.drop_function(drop)?,
            StatementKind::Drop(drop) => self.drop(drop).await?,
            StatementKind::CreateSchema { name, if_not_exists } => {
                self.create_schema(name, *if_not_exists)?
            }
            StatementKind::Heartbeat { stream: Some(stream), table, at } => {
                self.heartbeat(stream, *table, at).await?
            }
            StatementKind::Heartbeat { stream: None, at, .. } => self.system_heartbeat(at)?,
            StatementKind::Comment { kind, name, text } => {
                self.comment(kind, name, text.as_deref())?
            }
            _ => return Err(Error::Internal("not a definition".into())),
        };
        Ok((tag, started))
    }

    /// Splits a name into schema and name; an unqualified one falls into the first schema of the
    /// path.
    pub(super) fn new_name(&self, name: &ast::ObjectName) -> Result<(String, String)> {
        self.new_name_in(name, &self.named_path())
    }

    /// Splits the name of a temporary object into the session's own schema and its name.
    pub(super) fn new_temporary_name(
        &mut self,
        name: &ast::ObjectName,
    ) -> Result<(String, String)> {
        let own = self.make_temporary_schema();
        let [.., schema, _] = name.0.as_slice() else { return self.new_name_in(name, &[own]) };
        if schema.as_ident().is_some_and(|ident| [own.as_str(), TEMPORARY].contains(&&*fold(ident)))
        {
            let mut last = name.clone();
            last.0.drain(..last.0.len() - 1);
            return self.new_name_in(&last, &[own]);
        }
        Err(Error::refused(
            SqlState::INVALID_TABLE_DEFINITION,
            "cannot create temporary relation in non-temporary schema",
        ))
    }

    fn new_name_in(&self, name: &ast::ObjectName, path: &[String]) -> Result<(String, String)> {
        if let Some(ident) = name.0.last().and_then(|part| part.as_ident()) {
            refuse_reserved_word(ident)?;
        }
        let mut parts = fold_parts(name);
        let last = parts.pop().unwrap_or_default();
        let schema = match parts.pop() {
            Some(schema) => schema,
            None => {
                let catalog = self.engine.catalog();
                let first = path.iter().find(|schema| catalog.has_schema(schema));
                first.cloned().unwrap_or_else(|| PUBLIC.into())
            }
        };
        if is_reserved(&last)
            || matches!(schema.as_str(), "pg_catalog" | "information_schema")
            || schema == system::SCHEMA
        {
            return Err(Error::hinted(
                SqlState::RESERVED_NAME,
                format!("unacceptable name \"{schema}.{last}\""),
                "Names that begin with pg_ or hw_ and the system's schemas are reserved.",
            ));
        }
        if !self.engine.catalog().has_schema(&schema) {
            return Err(Error::Undefined {
                kind: "schema",
                name: schema,
                sqlstate: SqlState::UNDEFINED_SCHEMA,
            });
        }
        Ok((schema, last))
    }

    /// Finds an object by name.
    pub(super) fn find(&self, name: &ast::ObjectName) -> Result<Arc<Object>> {
        let parts = fold_parts(name);
        let catalog = self.engine.catalog();
        let found = match parts.as_slice() {
            [.., schema, name] if schema == TEMPORARY => {
                self.temporary_schema().and_then(|own| catalog.find(own, name).cloned())
            }
            [.., schema, name] => catalog.find(schema, name).cloned(),
            [name] => {
                self.search_path().iter().find_map(|schema| catalog.find(schema, name).cloned())
            }
            [] => None,
        };
        found.ok_or_else(|| {
            let (kind, sqlstate) = ("relation", SqlState::UNDEFINED_TABLE);
            Error::Undefined { kind, name: parts.join("."), sqlstate }.at(name.span())
        })
    }

    /// Returns whether a name is taken; with IF NOT EXISTS that is only worth a notice.
    pub(super) fn taken(&mut self, schema: &str, name: &str, if_not_exists: bool) -> Result<bool> {
        if self.engine.catalog().find(schema, name).is_none() {
            return Ok(false);
        }
        if if_not_exists {
            let text = format!("relation \"{name}\" already exists, skipping");
            self.notice(SqlState::DUPLICATE_TABLE, text);
            return Ok(true);
        }
        Err(Error::Duplicate {
            kind: "relation",
            name: name.to_owned(),
            sqlstate: SqlState::DUPLICATE_TABLE,
        })
    }

    fn create_schema(&mut self, name: &ast::Ident, if_not_exists: bool) -> Result<String> {
        let name = fold(name);
        if is_reserved(&name) || name == system::SCHEMA || name == "information_schema" {
            return Err(Error::hinted(
                SqlState::RESERVED_NAME,
                format!("unacceptable schema name \"{name}\""),
                "The prefixes pg_ and hw_ are reserved for system schemas.",
            ));
        }
        if !self.engine.change_catalog(|catalog| catalog.create_schema(&name)) {
            if !if_not_exists {
                let sqlstate = SqlState::DUPLICATE_SCHEMA;
                return Err(Error::Duplicate { kind: "schema", name, sqlstate });
            }
            let text = format!("schema \"{name}\" already exists, skipping");
            self.notice(SqlState::DUPLICATE_SCHEMA, text);
        }
        Ok("CREATE SCHEMA".into())
    }

    async fn heartbeat(
        &mut self,
        name: &ast::ObjectName,
        table: bool,
        at: &ast::Expr,
    ) -> Result<String> {
        let object = self.find(name)?;
        let wrong_kind = |kind: &str, hint: &str| {
            let text = format!("\"{}\" is not a {kind}", object.name);
            Error::hinted(SqlState::WRONG_OBJECT_TYPE, text, hint)
        };
        let (oid, event_time, tag) = match (&object.kind, table) {
            (ObjectKind::Stream(def), false) => {
                (object.oid, def.event_time.is_some(), "ALTER STREAM")
            }
            (ObjectKind::Table(def), true) => match &def.versions {
                Some(versions) => (versions.stream, true, "ALTER TABLE"),
                None => {
                    let hint = "Only a table VERSIONED BY a time has a watermark.";
                    return Err(wrong_kind("table that keeps versions", hint));
                }
            },
            (ObjectKind::Stream(_), true) => {
                return Err(wrong_kind("table", "Use ALTER STREAM .. HEARTBEAT."));
            }
            (ObjectKind::Table(def), false) if def.versions.is_some() => {
                return Err(wrong_kind("stream", "Use ALTER TABLE .. HEARTBEAT."));
            }
            (ObjectKind::Table(_) | ObjectKind::View(_) | ObjectKind::Sink(_), _) => {
                let hint = "Only streams, and tables VERSIONED BY a time, have watermarks.";
                return Err(wrong_kind(if table { "table" } else { "stream" }, hint));
            }
        };
        if matches!(&object.kind, ObjectKind::Stream(def) if def.query.is_some()) {
            return Err(Error::hinted(
                SqlState::WRONG_OBJECT_TYPE,
                format!("stream \"{}\" has the watermark of its query", object.name),
                "Move that of a stream which the query reads.",
            ));
        }
        if !event_time {
            return Err(Error::hinted(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("stream \"{}\" has no event time", object.name),
                "Its clock is the system's, or that of its rows, and advances by itself.",
            ));
        }
        let at = self.constant_time(at, "HEARTBEAT")?;
        self.write(Write::Heartbeat(oid, at)).await?;
        Ok(tag.into())
    }

    /// Moves the time of commits, which arrival times are, on to `at` at least.
    fn system_heartbeat(&mut self, at: &ast::Expr) -> Result<String> {
        let at = self.constant_time(at, "HEARTBEAT")?;
        if at > HEARTBEAT_MAX {
            return Err(Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                "the system's time must go on after its HEARTBEAT",
                "Give a time before the year 10000.",
            ));
        }
        self.engine.hub().heartbeat(at)?;
        Ok("ALTER SYSTEM".into())
    }

    /// The instant that a constant in a clause says.
    pub(super) fn constant_time(&self, at: &ast::Expr, clause: &str) -> Result<Timestamp> {
        if is_infinity(at) {
            return Ok(Timestamp::MAX);
        }
        let relations = self.relations();
        let state = relations.functions_now();
        let names = Names::new(&relations, &state, Arc::from([]));
        let value = constant(at, &names, &state)?;
        let read = match value.try_as_str().flatten() {
            None => timestamp_value(&value),
            Some(text) => {
                let time = DataType::Timestamp(TimeUnit::Microsecond, None);
                let read = text_time::values(&StringArray::from(vec![text]), &time)?;
                let read = read.map(|read| ScalarValue::try_from_array(&read, 0)).transpose()?;
                read.as_ref().and_then(timestamp_value)
            }
        };
        read.ok_or_else(|| {
            let (sqlstate, message) = no_timestamp(clause, &value);
            Error::hinted(sqlstate, message, "Write for example TIMESTAMP '2026-01-01 12:00:00'.")
        })
    }

    fn comment(
        &mut self,
        kind: &str,
        name: &ast::ObjectName,
        text: Option<&str>,
    ) -> Result<String> {
        let text = text.map(str::to_owned);
        let mut object_name = name.clone();
        let column = (kind == "COLUMN").then(|| object_name.0.pop()).flatten();
        let mut object = self.find(&object_name)?.as_ref().clone();
        match column.and_then(|part| part.as_ident().cloned()) {
            None => object.comment = text,
            Some(column) => {
                let index = index_of(&object.columns, &column)?;
                object.columns[index].comment = text;
            }
        }
        self.engine.change_catalog(|catalog| catalog.insert(object));
        Ok("COMMENT".into())
    }
}

/// Refuses a reserved word as a name, as Postgres's grammar does.
pub(super) fn refuse_reserved_word(ident: &ast::Ident) -> Result<()> {
    if !is_reserved_word(ident) {
        return Ok(());
    }
    let start = ident.span.start;
    Err(Error::Sql(crate::sql::Error::Syntax {
        near: Some(ident.value.clone()),
        detail: Some("It is a reserved word.".into()),
        hint: Some("Put the name in double quotes.".into()),
        location: Some(Location { line: start.line, column: start.column }),
    }))
}

/// The year 10000.
const HEARTBEAT_MAX: Timestamp = Timestamp(253_402_300_800_000_000);

/// `'infinity'` or `TIMESTAMP 'infinity'`.
fn is_infinity(expr: &ast::Expr) -> bool {
    let value = match expr {
        ast::Expr::Value(value) => &value.value,
        ast::Expr::TypedString(typed) => &typed.value.value,
        ast::Expr::Cast { expr, .. } | ast::Expr::Nested(expr) => return is_infinity(expr),
        _ => return false,
    };
    matches!(value, ast::Value::SingleQuotedString(text) if text.eq_ignore_ascii_case("infinity"))
}

/// What is wrong with a value that a clause cannot take for an instant.
pub(super) fn no_timestamp(clause: &str, value: &ScalarValue) -> (SqlState, String) {
    let (sqlstate, what) = match value.is_null() {
        true => (SqlState::NULL_VALUE_NOT_ALLOWED, "NULL".to_owned()),
        false => (SqlState::DATATYPE_MISMATCH, value.data_type().to_string()),
    };
    (sqlstate, format!("{clause} needs a timestamp, not {what}"))
}

/// Returns a timestamp or integer as an instant.
pub(super) fn timestamp_value(value: &ScalarValue) -> Option<Timestamp> {
    let unit = DataType::Timestamp(TimeUnit::Microsecond, None);
    match value {
        ScalarValue::Int64(Some(units)) => Some(Timestamp(*units)),
        ScalarValue::Int32(Some(units)) => Some(Timestamp(i64::from(*units))),
        ScalarValue::Utf8(_) | ScalarValue::Date32(_) => {
            timestamp_value(&value.cast_to(&unit).ok()?)
        }
        ScalarValue::TimestampMicrosecond(Some(micros), _) => Some(Timestamp(*micros)),
        ScalarValue::TimestampNanosecond(Some(nanos), _) => {
            Some(Timestamp(nanos.div_euclid(1_000)))
        }
        ScalarValue::TimestampMillisecond(Some(millis), _) => {
            Some(Timestamp(millis.checked_mul(1_000)?))
        }
        ScalarValue::TimestampSecond(Some(secs), _) => {
            Some(Timestamp(secs.checked_mul(1_000_000)?))
        }
        _ => None,
    }
}
