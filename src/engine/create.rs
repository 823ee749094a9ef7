//! CREATE STREAM and CREATE TABLE.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::ast;
use sqlparser::ast::Spanned;

use super::columns::{arrow_schema, columns, index_of, plain_column};
use super::create_as::fitted;
use super::ddl::timestamp_value;
use super::derived::retain_of_stream;
use super::session::Session;
use super::unique::table_keys;
use super::{Error, Result, source};
use crate::connectors::SourcePosition;
use crate::delta::Delta;
use crate::error::SqlState;
use crate::planner::asof::DELETED;
use crate::planner::bind::{bind_expr, constant};
use crate::planner::relation::Names;
use crate::runtime::history::Retention;
use crate::runtime::hub::Write;
use crate::runtime::ingest::{EventTime, Ingest};
use crate::runtime::stream::{Late, SIDE_COLUMNS, Stream, side_types};
use crate::runtime::table::{Table, TableKeys};
use crate::sql::catalog::{
    Catalog, Column, Object, ObjectKind, Oid, StreamDef, TableDef, VersionsDef,
};
use crate::sql::interval::Interval;
use crate::sql::names::fold;
use crate::sql::parse_expression;
use crate::sql::statement::{
    CreateStream, CreateTable, LatePolicy, Lateness, StreamClock, WatermarkClause,
};
use crate::sql::types::{SqlType, pg_type_name};
use crate::time::Timestamp;

impl Session {
    pub(super) async fn create_stream(
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
        let time = self.stream_time(create, &name, &columns)?;
        let retention = retention(&create.options)?;
        if create.options.contains_key("retain") {
            return Err(retain_of_stream());
        }
        let side = self.side_name(create, &name, time.is_some())?;
        if let Some((side_schema, side)) = &side {
            self.taken(side_schema, side, false)?;
        }
        let event_time_column = time.as_ref().map(|t| arrow.field(t.column).name().clone());
        let opened = self.open_source(&create.options, &columns, event_time_column).await?;
        let oid = self.engine.change_catalog(Catalog::fresh_oid);
        let side_oid = match (&side, &time) {
            (Some(side), Some(time)) => {
                Some(self.create_side(side, oid, &columns, arrow.field(time.column).data_type())?)
            }
            _ => None,
        };
        let late = match (&create.late, side_oid) {
            (LatePolicy::Error, _) => Late::Error,
            (LatePolicy::ToOpenWindows, _) => Late::ToOpenWindows,
            (_, Some(side)) => Late::Into(side),
            _ => Late::Drop,
        };
        let def = StreamDef {
            event_time: time.as_ref().map(|t| t.column),
            by_rows: create.clock == Some(StreamClock::Row),
            watermark: create.watermark.as_ref().map(|w| w.expr.to_string()),
            late: match &create.late {
                LatePolicy::Drop => "DROP".into(),
                LatePolicy::Into(side) => format!("INTO {side}"),
                LatePolicy::Error => "ERROR".into(),
                LatePolicy::ToOpenWindows => "TO OPEN WINDOWS".into(),
            },
            partitioned: !create.partition_key.is_empty(),
            lateness: time.as_ref().map_or(0, |t| t.lateness),
            late_into: side_oid,
            late_to_windows: create.late == LatePolicy::ToOpenWindows,
            options: create.options.clone(),
            query: None,
        };
        let ingest = match create.clock {
            Some(StreamClock::Row) => Ingest::by_rows(),
            _ => Ingest::new(time),
        };
        let stream = Stream::new(&name, Arc::clone(&arrow), ingest, retention, late);
        self.engine.hub().create_stream(oid, stream)?;
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
        let target = source::Target::Stream(oid);
        Ok(opened.map(|opened| source::start(&self.engine, opened, target, &name)))
    }

    /// Opens the source that the options ask for; that of a definition that is told again is opened
    /// when all has been told.
    async fn open_source(
        &mut self,
        options: &BTreeMap<String, String>,
        columns: &[Column],
        event_time: Option<String>,
    ) -> Result<Option<source::Opened>> {
        if self.engine.hub().is_recovering() {
            return Ok(None);
        }
        let engine = Arc::clone(&self.engine);
        let from = SourcePosition::default();
        let mut opened = source::open(&engine, options, columns, event_time, from).await?;
        if let Some(message) = opened.as_mut().and_then(source::Opened::take_notice) {
            self.notice(SqlState::UNDEFINED_FILE, message);
        }
        Ok(opened)
    }

    /// How a stream takes event time; `None` is CLOCK SYSTEM or CLOCK ROW.
    fn stream_time(
        &self,
        create: &CreateStream,
        name: &str,
        columns: &[Column],
    ) -> Result<Option<EventTime>> {
        match &create.watermark {
            Some(clause) => {
                let time = self.event_time(clause, columns, &create.partition_key)?;
                let lateness = lateness(create.lateness, &columns[time.column])?;
                Ok(Some(EventTime { lateness, ..time }))
            }
            None if create.clock == Some(StreamClock::Event) => Err(Error::hinted(
                SqlState::INVALID_OBJECT_DEFINITION,
                format!("stream \"{name}\" on CLOCK EVENT has no watermark"),
                "Add WATERMARK FOR ts AS ts - INTERVAL '5 seconds'.",
            )),
            None => Ok(None),
        }
    }

    /// The name of the stream that is to take refused rows.
    fn side_name(
        &self,
        create: &CreateStream,
        name: &str,
        event_time: bool,
    ) -> Result<Option<(String, String)>> {
        match &create.late {
            LatePolicy::Drop => Ok(None),
            LatePolicy::Into(side) if event_time => {
                let side = self.new_name(side)?;
                if side == self.new_name(&create.name)? {
                    return Err(Error::hinted(
                        SqlState::DUPLICATE_TABLE,
                        format!("LATE INTO \"{name}\" names the stream itself"),
                        "Refused rows go to a stream of their own.",
                    ));
                }
                let taken =
                    |column: &&ast::ColumnDef| SIDE_COLUMNS.contains(&fold(&column.name).as_str());
                if let Some(column) = create.columns.iter().find(taken) {
                    return Err(Error::hinted(
                        SqlState::DUPLICATE_COLUMN,
                        format!("column \"{}\" specified more than once", fold(&column.name)),
                        format!(
                            "The stream of refused rows adds {} to the columns.",
                            SIDE_COLUMNS.join(", ")
                        ),
                    ));
                }
                Ok(Some(side))
            }
            LatePolicy::Error | LatePolicy::ToOpenWindows if event_time => Ok(None),
            LatePolicy::Into(_) | LatePolicy::Error | LatePolicy::ToOpenWindows => {
                Err(Error::hinted(
                    SqlState::INVALID_OBJECT_DEFINITION,
                    format!("LATE needs an event time, and stream \"{name}\" has none"),
                    "Add WATERMARK FOR ts AS ts - INTERVAL '5 seconds'.",
                ))
            }
        }
    }

    /// Creates the stream that takes refused rows: it has no event time of its own.
    fn create_side(
        &self,
        (schema, name): &(String, String),
        main: Oid,
        columns: &[Column],
        time: &DataType,
    ) -> Result<Oid> {
        let mut all = columns.to_vec();
        for (name, data_type) in SIDE_COLUMNS.into_iter().zip(side_types(time)) {
            let sql_type = SqlType { name: pg_type_name(&data_type) };
            all.push(plain_column(name, sql_type, data_type));
        }
        all.iter_mut().for_each(|column| column.not_null = false);
        let arrow = arrow_schema(&all);
        let oid = self.engine.change_catalog(Catalog::fresh_oid);
        let stream = Stream::new(name, arrow, Ingest::new(None), Retention::default(), Late::Drop);
        self.engine.hub().create_stream(oid, stream)?;
        let def = StreamDef {
            event_time: None,
            by_rows: false,
            watermark: None,
            late: "DROP".into(),
            partitioned: false,
            lateness: 0,
            late_into: None,
            late_to_windows: false,
            options: BTreeMap::new(),
            query: None,
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
        Ok(oid)
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
        let state = relations.functions_now();
        let names = Names::new(&relations, &state, Arc::from([]));
        let bound = bind_expr(&clause.expr, &schema, &names)?;
        let watermark: Arc<dyn PhysicalExpr> = state.create_physical_expr(bound, &schema)?;
        let promised = watermark.data_type(schema.as_arrow())?;
        let fits = match data_type {
            DataType::Int64 => matches!(promised, DataType::Int64 | DataType::Int32),
            _ => matches!(promised, DataType::Timestamp(..)),
        };
        if !fits {
            let (promised, declared) = (pg_type_name(&promised), &columns[column].sql_type.name);
            let error = Error::hinted(
                SqlState::DATATYPE_MISMATCH,
                format!("the watermark has type {promised}, the event time {declared}"),
                "Write for example ts - INTERVAL '5 seconds', or ts - 5 for a BIGINT.",
            );
            return Err(error.at(clause.expr.span()));
        }
        let on_idle_lag = match &clause.on_idle_advance_to {
            None => None,
            Some(expr) => {
                let at = constant(expr, &names, &state)?;
                let is_time = matches!(at.data_type(), DataType::Timestamp(..) | DataType::Date32);
                let at = timestamp_value(&at).filter(|_| is_time).ok_or_else(|| {
                    Error::refused(
                        SqlState::DATATYPE_MISMATCH,
                        "ON IDLE ADVANCE TO needs a timestamp",
                    )
                })?;
                // By the clock of the expression, which stands still.
                let now = constant(&parse_expression("now()")?, &names, &state)?;
                timestamp_value(&now).map(|now| now.0 - at.0)
            }
        };
        let key = partition_key.iter().map(|c| index_of(columns, c));
        Ok(EventTime {
            column,
            watermark,
            idle_timeout: clause.idle_timeout,
            on_idle_lag,
            lateness: 0,
            max_ahead: clause.max_ahead,
            partition_key: key.collect::<Result<_>>()?,
        })
    }

    /// Creates the stream of a table's versions.
    fn create_versions(
        &self,
        name: &str,
        table: &SchemaRef,
        time: EventTime,
    ) -> Result<VersionsDef> {
        let deleted = Field::new(DELETED, DataType::Boolean, true);
        let fields = table.fields().iter().map(|field| field.as_ref().clone()).chain([deleted]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let column = time.column;
        let stream = self.engine.change_catalog(Catalog::fresh_oid);
        let versions =
            Stream::new(name, schema, Ingest::new(Some(time)), Retention::Forever, Late::Error);
        self.engine.hub().create_stream(stream, versions)?;
        Ok(VersionsDef { time: column, watermark: String::new(), stream })
    }

    pub(super) async fn create_table(
        &mut self,
        create: &CreateTable,
        text: Arc<str>,
    ) -> Result<(String, Option<Arc<source::SourceStatus>>)> {
        let (schema, name) = match create.temporary {
            Some(_) => self.new_temporary_name(&create.name)?,
            None => self.new_name(&create.name)?,
        };
        let tag = "CREATE TABLE".to_owned();
        if self.taken(&schema, &name, create.if_not_exists)? {
            return Ok((tag, None));
        }
        let (columns, rows) = match &create.query {
            None => (columns(&create.columns)?, None),
            Some(query) => {
                let (columns, rows) = self.rows_of_query(query, &create.columns).await?;
                (columns, Some(rows))
            }
        };
        let arrow = arrow_schema(&columns);
        let primary_key =
            create.primary_key.iter().map(|c| index_of(&columns, c)).collect::<Result<Vec<_>>>()?;
        let mut columns = columns;
        for i in &primary_key {
            columns[*i].not_null = true;
        }
        let time = create.versions.as_ref().map(|clause| self.event_time(clause, &columns, &[]));
        let time = time.transpose()?;
        if let Some(time) = &time {
            columns[time.column].not_null = true;
        }
        let opened = self.open_source(&create.options, &columns, None).await?;
        let oid = self.engine.change_catalog(Catalog::fresh_oid);
        let unique = self.unique_keys(&schema, &name, &columns, &create.unique)?;
        let keys = table_keys(&primary_key, &unique);
        let mut table = new_table(&name, &arrow, keys, &create.options)?;
        let versions = time.map(|time| self.create_versions(&name, &arrow, time)).transpose()?;
        if let Some(versions) = &versions {
            table.keep_versions(versions.stream, versions.time);
        }
        self.engine.hub().create_table(oid, table)?;
        let versions = versions.map(|versions| VersionsDef {
            watermark: create.versions.as_ref().map_or(String::new(), |v| v.expr.to_string()),
            ..versions
        });
        if let Some(on_commit) = create.temporary {
            self.on_commit(oid, on_commit);
        }
        let def = TableDef { primary_key, unique, options: create.options.clone(), versions };
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
        if let Some(rows) = rows.filter(|_| create.with_data) {
            let tag = format!("SELECT {}", rows.num_rows());
            let delta = Delta::inserts(fitted(&rows, arrow)?, Timestamp::MIN);
            if !self.engine.hub().is_recovering() {
                self.commit(vec![Write::Table(oid, delta)]).await?;
            }
            return Ok((tag, None));
        }
        let target = source::Target::Table(oid);
        let started = opened.map(|opened| source::start(&self.engine, opened, target, &name));
        Ok((tag, started))
    }
}

/// How late a row may be, in what its time counts.
fn lateness(lateness: Option<Lateness>, column: &Column) -> Result<i64> {
    let units = column.data_type == DataType::Int64;
    match lateness {
        None => Ok(0),
        Some(Lateness::Units(number)) if units => Ok(number),
        Some(Lateness::Units(seconds)) => Ok(seconds.saturating_mul(1_000_000)),
        Some(Lateness::Span(_)) if units => Err(Error::hinted(
            SqlState::DATATYPE_MISMATCH,
            format!("ALLOWED LATENESS is an interval, and event time \"{}\" a bigint", column.name),
            "Write a number, in the units of the event time: ALLOWED LATENESS 30.",
        )),
        Some(Lateness::Span(micros)) => Ok(micros),
    }
}

/// Reads the option `retention` of a stream.
pub(super) fn retention(options: &BTreeMap<String, String>) -> Result<Retention> {
    let Some(text) = options.get("retention") else { return Ok(Retention::default()) };
    let text = text.trim().to_ascii_lowercase();
    let rows = text.strip_suffix("rows").unwrap_or(&text).trim().parse::<usize>();
    match (text.as_str(), rows) {
        ("forever", _) => Ok(Retention::Forever),
        ("none", _) | (_, Ok(0)) => Ok(Retention::Nothing),
        (_, Ok(rows)) => Ok(Retention::Rows(rows)),
        _ => span(&text).map(Retention::Time).ok_or_else(|| {
            Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for option \"retention\": \"{text}\""),
                "Use a number of rows such as '100000 rows', a time such as '1 hour', 'forever' or \
                 'none'.",
            )
        }),
    }
}

/// A table that keeps its past, if the options say so.
fn new_table(
    name: &str,
    schema: &SchemaRef,
    keys: TableKeys,
    options: &BTreeMap<String, String>,
) -> Result<Table> {
    let mut table = Table::new(name, Arc::clone(schema), keys)?;
    if let Some(span) = retain(options)? {
        table.keep_changes(span);
    }
    Ok(table)
}

/// A time in microseconds, more than 0 and without months.
fn span(text: &str) -> Option<i64> {
    let Interval { months: 0, days, micros } = Interval::parse(text).ok()? else { return None };
    let span = i64::from(days).checked_mul(86_400_000_000)?.checked_add(micros)?;
    (span > 0).then_some(span)
}

/// Reads the option `retain` of a relation: for how long its past is kept, in microseconds or in
/// the units of its times.
pub(super) fn retain(options: &BTreeMap<String, String>) -> Result<Option<i64>> {
    let Some(text) = options.get("retain") else { return Ok(None) };
    let units = text.parse::<i64>().ok().filter(|units| *units > 0);
    units.or_else(|| span(text)).map(Some).ok_or_else(|| {
        Error::hinted(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid value for option \"retain\": \"{text}\""),
            "Use a time such as '1 hour', or a number where times are numbers.",
        )
    })
}
