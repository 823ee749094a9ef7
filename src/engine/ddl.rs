//! Definitions: streams, tables, schemas, DROP, HEARTBEAT, COMMENT.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::ast;

use super::session::Session;
use super::{Error, Result, query, source, system};
use crate::error::SqlState;
use crate::planner::bind::{bind_expr, bind_query, constant, visible_names};
use crate::planner::relation::Names;
use crate::runtime::history::Retention;
use crate::runtime::hub::Write;
use crate::runtime::ingest::EventTime;
use crate::runtime::stream::{Late, SIDE_COLUMNS, Stream, side_types};
use crate::runtime::table::Table;
use crate::sql::catalog::{Column, Object, ObjectKind, Oid, PUBLIC, StreamDef, TableDef};
use crate::sql::names::{fold, fold_parts, is_reserved};
use crate::sql::statement::{
    CreateStream, CreateTable, Drop, DropKind, LatePolicy, Statement, StatementKind, StreamClock,
    WatermarkClause,
};
use crate::sql::types::{SqlType, column_type, pg_type_name};
use crate::time::Timestamp;

/// Most columns of a relation, as in Postgres.
const COLUMNS_MAX: usize = 1_600;

/// Options of streams and tables that are not their connector's.
const OWN_OPTIONS: [&str; 2] = ["retention", "wait"];

impl Session {
    /// Runs a definition; returns its command tag.
    pub(super) async fn define(&mut self, statement: &Statement) -> Result<String> {
        let engine = Arc::clone(&self.engine);
        let guard = engine.ddl.lock().await;
        let text = Arc::clone(&statement.text);
        let mut started = None;
        let tag = match &statement.kind {
            StatementKind::CreateStream(create) => {
                started = self.create_stream(create, text)?;
                "CREATE STREAM".to_owned()
            }
            StatementKind::CreateTable(create) => {
                let (tag, source) = self.create_table(create, text).await?;
                started = source;
                tag
            }
            StatementKind::CreateView(create) => self.create_view(create, text)?,
            StatementKind::Drop(drop) => self.drop(drop)?,
            StatementKind::CreateSchema { name, if_not_exists } => {
                self.create_schema(name, *if_not_exists)?
            }
            StatementKind::Heartbeat { stream, at } => self.heartbeat(stream, at).await?,
            StatementKind::Comment { kind, name, text } => {
                self.comment(kind, name, text.as_deref())?
            }
            _ => return Err(Error::Internal("not a definition".into())),
        };
        drop(guard);
        if let Some(source) = started {
            source.wait().await?;
        }
        Ok(tag)
    }

    /// Splits a name into schema and name; an unqualified one falls into the first schema of the path.
    pub(super) fn new_name(&self, name: &ast::ObjectName) -> Result<(String, String)> {
        let mut parts = fold_parts(name);
        let last = parts.pop().unwrap_or_default();
        let schema = match parts.pop() {
            Some(schema) => schema,
            None => {
                let catalog = self.engine.catalog();
                let path = self.search_path();
                path.into_iter().find(|s| catalog.has_schema(s)).unwrap_or_else(|| PUBLIC.into())
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
            [.., schema, name] => catalog.find(schema, name).cloned(),
            [name] => {
                self.search_path().iter().find_map(|schema| catalog.find(schema, name).cloned())
            }
            [] => None,
        };
        found.ok_or_else(|| Error::Undefined {
            kind: "relation",
            name: parts.join("."),
            sqlstate: SqlState::UNDEFINED_TABLE,
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

    fn create_stream(
        &mut self,
        create: &CreateStream,
        text: Arc<str>,
    ) -> Result<Option<Arc<source::SourceStatus>>> {
        let (schema, name) = self.new_name(&create.name)?;
        if self.taken(&schema, &name, create.if_not_exists)? {
            return Ok(None);
        }
        let columns = columns(&create.columns)?;
        let arrow = arrow_schema(&columns);
        let time = match &create.watermark {
            Some(clause) => Some(self.event_time(clause, &columns, &create.partition_key)?),
            None if create.clock == Some(StreamClock::Event) => {
                return Err(Error::hinted(
                    SqlState::INVALID_OBJECT_DEFINITION,
                    format!("stream \"{name}\" on CLOCK EVENT has no watermark"),
                    "Add WATERMARK FOR ts AS ts - INTERVAL '5 seconds'.",
                ));
            }
            None => None,
        };
        let retention = retention(&create.options)?;
        let side = match &create.late {
            LatePolicy::Into(side) if time.is_some() => Some(self.new_name(side)?),
            LatePolicy::Drop => None,
            LatePolicy::Error if time.is_some() => None,
            LatePolicy::Into(_) | LatePolicy::Error => {
                return Err(Error::hinted(
                    SqlState::INVALID_OBJECT_DEFINITION,
                    format!("LATE needs an event time, and stream \"{name}\" has none"),
                    "Add WATERMARK FOR ts AS ts - INTERVAL '5 seconds'.",
                ));
            }
        };
        if let Some((side_schema, side)) = &side {
            self.taken(side_schema, side, false)?;
        }
        let event_time_column = time.as_ref().map(|t| arrow.field(t.column).name().clone());
        let spec =
            source::spec(&self.engine, &create.options, &OWN_OPTIONS, &arrow, event_time_column)?;
        let oid = self.engine.change_catalog(crate::sql::catalog::Catalog::fresh_oid);
        let side_oid = match (&side, &time) {
            (Some(side), Some(time)) => {
                Some(self.create_side(side, oid, &columns, arrow.field(time.column).data_type()))
            }
            _ => None,
        };
        let late = match (&create.late, side_oid) {
            (LatePolicy::Error, _) => Late::Error,
            (_, Some(side)) => Late::Into(side),
            _ => Late::Drop,
        };
        let def = StreamDef {
            event_time: time.as_ref().map(|t| t.column),
            watermark: create.watermark.as_ref().map(|w| w.expr.to_string()),
            late: match &create.late {
                LatePolicy::Drop => "DROP".into(),
                LatePolicy::Into(side) => format!("INTO {side}"),
                LatePolicy::Error => "ERROR".into(),
            },
            late_into: side_oid,
            options: create.options.clone(),
        };
        let stream = Stream::new(&name, Arc::clone(&arrow), time, retention, late);
        self.engine.hub().create_stream(oid, stream);
        self.engine.change_catalog(|catalog| {
            catalog.insert(Object {
                oid,
                schema,
                name: name.clone(),
                columns,
                kind: ObjectKind::Stream(Arc::new(def)),
                sql: text,
                depends_on: BTreeSet::new(),
                comment: None,
            })
        });
        Ok(spec.map(|spec| source::start(&self.engine, spec, source::Target::Stream(oid), &name)))
    }

    /// Creates the stream that takes refused rows: it has no event time of its own.
    fn create_side(
        &self,
        (schema, name): &(String, String),
        main: Oid,
        columns: &[Column],
        time: &DataType,
    ) -> Oid {
        let mut all = columns.to_vec();
        for (name, data_type) in SIDE_COLUMNS.into_iter().zip(side_types(time)) {
            let sql_type = SqlType { name: pg_type_name(&data_type) };
            all.push(plain_column(name, sql_type, data_type));
        }
        all.iter_mut().for_each(|column| column.not_null = false);
        let arrow = arrow_schema(&all);
        let oid = self.engine.change_catalog(crate::sql::catalog::Catalog::fresh_oid);
        let stream = Stream::new(name, arrow, None, Retention::default(), Late::Drop);
        self.engine.hub().create_stream(oid, stream);
        let def = StreamDef {
            event_time: None,
            watermark: None,
            late: "DROP".into(),
            late_into: None,
            options: BTreeMap::new(),
        };
        self.engine.change_catalog(|catalog| {
            catalog.insert(Object {
                oid,
                schema: schema.clone(),
                name: name.clone(),
                columns: all,
                kind: ObjectKind::Stream(Arc::new(def)),
                sql: Arc::from(format!("-- rows refused by the stream with oid {main}")),
                depends_on: BTreeSet::new(),
                comment: None,
            })
        });
        oid
    }

    fn event_time(
        &self,
        clause: &WatermarkClause,
        columns: &[Column],
        partition_key: &[ast::Ident],
    ) -> Result<EventTime> {
        let column = index_of(columns, &clause.column)?;
        let data_type = &columns[column].data_type;
        if !matches!(data_type, DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return Err(Error::hinted(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "event time \"{}\" has type {}",
                    columns[column].name, columns[column].sql_type.name
                ),
                "Use a TIMESTAMP, TIMESTAMPTZ or BIGINT column.",
            ));
        }
        let schema = DFSchema::try_from(arrow_schema(columns).as_ref().clone())?;
        let relations = self.relations();
        let state = self.engine.functions_now();
        let names = Names::new(&relations, &state, Arc::from([]));
        let bound = bind_expr(&clause.expr, &schema, &names)?;
        let watermark: Arc<dyn PhysicalExpr> = state.create_physical_expr(bound, &schema)?;
        let promised = watermark.data_type(schema.as_arrow())?;
        if !matches!(promised, DataType::Int64 | DataType::Int32 | DataType::Timestamp(..)) {
            return Err(Error::hinted(
                SqlState::DATATYPE_MISMATCH,
                format!("the watermark has type {promised}, the event time {data_type}"),
                "Write for example ts - INTERVAL '5 seconds', or ts - 5 for a BIGINT.",
            ));
        }
        let on_idle_lag = match &clause.on_idle_advance_to {
            None => None,
            Some(expr) => {
                let at = timestamp_value(&constant(expr, &names, &state)?);
                let at = at.ok_or_else(|| {
                    Error::refused(
                        SqlState::DATATYPE_MISMATCH,
                        "ON IDLE ADVANCE TO needs a timestamp",
                    )
                })?;
                Some(self.engine.hub().clock().now().0 - at.0)
            }
        };
        let key = partition_key.iter().map(|c| index_of(columns, c));
        Ok(EventTime {
            column,
            watermark,
            idle_timeout: clause.idle_timeout,
            on_idle_lag,
            max_ahead: clause.max_ahead,
            partition_key: key.collect::<Result<_>>()?,
        })
    }

    async fn create_table(
        &mut self,
        create: &CreateTable,
        text: Arc<str>,
    ) -> Result<(String, Option<Arc<source::SourceStatus>>)> {
        let (schema, name) = self.new_name(&create.name)?;
        let tag = "CREATE TABLE".to_owned();
        if self.taken(&schema, &name, create.if_not_exists)? {
            return Ok((tag, None));
        }
        let (columns, rows) = match &create.query {
            None => (columns(&create.columns)?, None),
            Some(query) => {
                let plan = {
                    let relations = self.relations();
                    let windows = Arc::clone(&query.windows);
                    let names = Names::new(&relations, self.engine.functions(), windows);
                    bind_query(query, &names)?
                };
                let names = visible_names(&plan);
                let rows = query::collect(&self.engine, plan, &[]).await?;
                (columns_of(&rows.schema(), &names)?, Some(rows))
            }
        };
        let arrow = arrow_schema(&columns);
        let primary_key =
            create.primary_key.iter().map(|c| index_of(&columns, c)).collect::<Result<Vec<_>>>()?;
        let mut columns = columns;
        for i in &primary_key {
            columns[*i].not_null = true;
        }
        let spec = source::spec(&self.engine, &create.options, &OWN_OPTIONS, &arrow, None)?;
        let oid = self.engine.change_catalog(crate::sql::catalog::Catalog::fresh_oid);
        let table = Table::new(&name, Arc::clone(&arrow), primary_key.clone())?;
        self.engine.hub().create_table(oid, table);
        let def = TableDef { primary_key, options: create.options.clone() };
        self.engine.change_catalog(|catalog| {
            catalog.insert(Object {
                oid,
                schema,
                name: name.clone(),
                columns,
                kind: ObjectKind::Table(Arc::new(def)),
                sql: text,
                depends_on: BTreeSet::new(),
                comment: None,
            })
        });
        if let Some(rows) = rows {
            let tag = format!("SELECT {}", rows.num_rows());
            let rows = rows.with_schema(arrow)?;
            let delta = crate::delta::Delta::inserts(rows, Timestamp::MIN);
            self.commit(vec![Write::Table(oid, delta)]).await?;
            return Ok((tag, None));
        }
        let started =
            spec.map(|spec| source::start(&self.engine, spec, source::Target::Table(oid), &name));
        Ok((tag, started))
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

    fn drop(&mut self, drop: &Drop) -> Result<String> {
        let mut gone: Vec<Arc<Object>> = Vec::new();
        for name in &drop.names {
            if drop.kind == DropKind::Schema {
                self.drop_schema(name, drop, &mut gone)?;
                continue;
            }
            match self.find(name) {
                Ok(object) => {
                    right_kind(&object, drop.kind)?;
                    self.with_dependents(object, drop.cascade, &mut gone)?;
                }
                Err(_) if drop.if_exists => {
                    let kind = kind_word(drop.kind);
                    let name = fold_parts(name).join(".");
                    let text = format!("{kind} \"{name}\" does not exist, skipping");
                    self.notice(SqlState::SUCCESS, text);
                }
                Err(_) => {
                    return Err(Error::Undefined {
                        kind: kind_word(drop.kind),
                        name: fold_parts(name).join("."),
                        sqlstate: SqlState::UNDEFINED_TABLE,
                    });
                }
            }
        }
        for object in gone {
            self.engine.change_catalog(|catalog| catalog.remove(object.oid));
            self.engine.forget(object.oid);
        }
        if drop.kind == DropKind::Schema {
            for name in &drop.names {
                let name = fold_parts(name).join(".");
                self.engine.change_catalog(|catalog| catalog.drop_schema(&name));
            }
        }
        Ok(format!("DROP {}", kind_word(drop.kind).to_uppercase()))
    }

    fn drop_schema(
        &mut self,
        name: &ast::ObjectName,
        drop: &Drop,
        gone: &mut Vec<Arc<Object>>,
    ) -> Result<()> {
        let name = fold_parts(name).join(".");
        let catalog = self.engine.catalog();
        if !catalog.has_schema(&name) {
            if drop.if_exists {
                let text = format!("schema \"{name}\" does not exist, skipping");
                self.notice(SqlState::SUCCESS, text);
                return Ok(());
            }
            let sqlstate = SqlState::UNDEFINED_SCHEMA;
            return Err(Error::Undefined { kind: "schema", name, sqlstate });
        }
        let inside: Vec<_> = catalog.objects().filter(|o| o.schema == name).cloned().collect();
        if !inside.is_empty() && !drop.cascade {
            let list = inside
                .iter()
                .map(|o| format!("{} {} depends on schema {name}", o.kind_name(), o.name));
            return Err(Error::Refused {
                message: format!("cannot drop schema {name} because other objects depend on it"),
                sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                detail: Some(list.collect::<Vec<_>>().join("\n")),
                hint: Some("Use DROP ... CASCADE to drop the dependent objects too.".into()),
            });
        }
        for object in inside {
            self.with_dependents(object, true, gone)?;
        }
        Ok(())
    }

    /// Adds an object and what has to go with it, readers first.
    fn with_dependents(
        &mut self,
        object: Arc<Object>,
        cascade: bool,
        gone: &mut Vec<Arc<Object>>,
    ) -> Result<()> {
        let catalog = self.engine.catalog();
        let side = match &object.kind {
            ObjectKind::Stream(def) => def.late_into.and_then(|oid| catalog.get(oid).cloned()),
            ObjectKind::Table(_) | ObjectKind::View(_) => None,
        };
        let owner = catalog.objects().find(|o| match &o.kind {
            ObjectKind::Stream(def) => def.late_into == Some(object.oid),
            ObjectKind::Table(_) | ObjectKind::View(_) => false,
        });
        if let Some(owner) = owner.filter(|owner| !gone.iter().any(|g| g.oid == owner.oid)) {
            return Err(Error::Refused {
                message: format!(
                    "cannot drop stream {} because stream {} requires it",
                    object.name, owner.name
                ),
                sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                detail: None,
                hint: Some(format!("You can drop stream {} instead.", owner.name)),
            });
        }
        let mut dependents = catalog.dependents(object.oid);
        dependents.extend(side.iter().flat_map(|side| catalog.dependents(side.oid)));
        dependents.retain(|d| !gone.iter().any(|g| g.oid == d.oid));
        if !dependents.is_empty() && !cascade {
            let list = dependents.iter().rev().map(|d| {
                format!(
                    "{} {} depends on {} {}",
                    d.kind_name(),
                    d.name,
                    object.kind_name(),
                    object.name
                )
            });
            return Err(Error::Refused {
                message: format!(
                    "cannot drop {} {} because other objects depend on it",
                    object.kind_name(),
                    object.name
                ),
                sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                detail: Some(list.collect::<Vec<_>>().join("\n")),
                hint: Some("Use DROP ... CASCADE to drop the dependent objects too.".into()),
            });
        }
        for dependent in dependents {
            let text = format!("drop cascades to {} {}", dependent.kind_name(), dependent.name);
            self.notice(SqlState::SUCCESS, text);
            gone.push(dependent);
        }
        if !gone.iter().any(|g| g.oid == object.oid) {
            gone.push(object);
        }
        gone.extend(side);
        Ok(())
    }

    async fn heartbeat(&mut self, name: &ast::ObjectName, at: &ast::Expr) -> Result<String> {
        let object = self.find(name)?;
        let ObjectKind::Stream(def) = &object.kind else {
            return Err(Error::refused(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not a stream", object.name),
            ));
        };
        if def.event_time.is_none() {
            return Err(Error::hinted(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("stream \"{}\" has no event time", object.name),
                "Its clock is the system's, which advances by itself.",
            ));
        }
        let at = if is_infinity(at) {
            Timestamp::MAX
        } else {
            let relations = self.relations();
            let state = self.engine.functions_now();
            let names = Names::new(&relations, &state, Arc::from([]));
            let value = constant(at, &names, &state)?;
            timestamp_value(&value).ok_or_else(|| {
                Error::hinted(
                    SqlState::DATATYPE_MISMATCH,
                    format!("HEARTBEAT needs a timestamp, not {}", value.data_type()),
                    "Write for example TIMESTAMP '2026-01-01 12:00:00'.",
                )
            })?
        };
        self.engine.hub().room(&[object.oid]).await;
        self.engine.hub().commit(vec![Write::Heartbeat(object.oid, at)])?;
        Ok("ALTER STREAM".into())
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

fn plain_column(name: &str, sql_type: SqlType, data_type: DataType) -> Column {
    Column {
        name: name.to_owned(),
        sql_type,
        data_type,
        not_null: false,
        default: None,
        comment: None,
    }
}

/// Declared columns.
fn columns(defs: &[ast::ColumnDef]) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::with_capacity(defs.len());
    for def in defs {
        let name = fold(&def.name);
        if is_reserved(&name) {
            return Err(Error::hinted(
                SqlState::RESERVED_NAME,
                format!("column name \"{name}\" is reserved"),
                "Names that begin with hw_, pg_, cql_ or $ belong to the system.",
            ));
        }
        let (sql_type, data_type) = column_type(&def.data_type)?;
        let mut column = plain_column(&name, sql_type, data_type);
        for option in &def.options {
            match &option.option {
                ast::ColumnOption::NotNull | ast::ColumnOption::PrimaryKey(_) => {
                    column.not_null = true;
                }
                ast::ColumnOption::Default(expr) => column.default = Some(expr.to_string()),
                _ => {}
            }
        }
        columns.push(column);
    }
    if columns.len() > COLUMNS_MAX {
        return Err(Error::refused(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("relations can have at most {COLUMNS_MAX} columns"),
        ));
    }
    Ok(columns)
}

/// Columns of a query's result.
pub(super) fn columns_of(schema: &Schema, names: &[String]) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::with_capacity(names.len());
    for (field, name) in schema.fields().iter().zip(names) {
        if columns.iter().any(|c| c.name == *name) {
            return Err(Error::hinted(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
                "Name the columns apart with AS.",
            ));
        }
        // A column of unknown type holds text, as in Postgres.
        let data_type = match field.data_type() {
            DataType::Null => DataType::Utf8,
            other => other.clone(),
        };
        let declared = field.metadata().get("pg_type").cloned();
        let sql_type = SqlType { name: declared.unwrap_or_else(|| pg_type_name(&data_type)) };
        columns.push(plain_column(name, sql_type, data_type));
    }
    Ok(columns)
}

/// The row type of columns.
fn arrow_schema(columns: &[Column]) -> arrow::datatypes::SchemaRef {
    let fields = columns.iter().map(|column| {
        arrow::datatypes::Field::new(&column.name, column.data_type.clone(), true)
            .with_metadata(column.sql_type.metadata().into())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn index_of(columns: &[Column], name: &ast::Ident) -> Result<usize> {
    let name = fold(name);
    columns.iter().position(|c| c.name == name).ok_or(Error::Undefined {
        kind: "column",
        name,
        sqlstate: SqlState::UNDEFINED_COLUMN,
    })
}

fn retention(options: &BTreeMap<String, String>) -> Result<Retention> {
    let Some(text) = options.get("retention") else { return Ok(Retention::default()) };
    let text = text.trim().to_ascii_lowercase();
    let rows = text.strip_suffix("rows").unwrap_or(&text).trim().parse::<usize>();
    match (text.as_str(), rows) {
        ("forever", _) => Ok(Retention::Forever),
        ("none", _) | (_, Ok(0)) => Ok(Retention::Nothing),
        (_, Ok(rows)) => Ok(Retention::Rows(rows)),
        _ => Err(Error::hinted(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid value for option \"retention\": \"{text}\""),
            "Use a number of rows such as '100000 rows', 'forever' or 'none'; an interval is not \
             supported yet.",
        )),
    }
}

fn kind_word(kind: DropKind) -> &'static str {
    match kind {
        DropKind::Stream => "stream",
        DropKind::Table => "table",
        DropKind::View => "view",
        DropKind::MaterializedView => "materialized view",
        DropKind::Schema => "schema",
    }
}

fn right_kind(object: &Object, kind: DropKind) -> Result<()> {
    if object.kind_name() == kind_word(kind) {
        return Ok(());
    }
    let wanted = kind_word(kind);
    let article = if wanted.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    Err(Error::hinted(
        SqlState::WRONG_OBJECT_TYPE,
        format!("\"{}\" is not {article} {wanted}", object.name),
        format!("Use DROP {} to remove it.", object.kind_name().to_uppercase()),
    ))
}
