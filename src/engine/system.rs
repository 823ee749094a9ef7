//! The schema `hw`: relations about the engine itself, and SHOW.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::MemTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use futures::{StreamExt, stream};

use super::outcome::Rows;
use super::session::Session;
use super::sink::SinkStatus;
use super::source::Progress;
use super::{Engine, Error, Result, lock};
use crate::planner::plan::Clock;
use crate::runtime::ingest::Reason;
use crate::runtime::status::JobStatus;
use crate::runtime::stream::LateRow;
use crate::sql::catalog::{Catalog, ObjectKind, Oid, StreamDef};
use crate::sql::statement::StatementKind;
use crate::time::{Timestamp, Watermark};

/// The schema's name.
pub(super) const SCHEMA: &str = "hw";

/// Names of its relations, with a line on each.
pub(super) const RELATIONS: [(&str, &str); 8] = [
    ("streams", "streams with their watermarks and counts"),
    ("views", "maintained views and their state"),
    ("memory", "what queries and tables hold in memory and in the scratch file"),
    ("late_rows", "the newest rows that streams refused"),
    ("errors", "the newest rows and records that could not be computed or decoded"),
    ("sources", "connectors and how far they are"),
    ("sinks", "queries that write into streams and tables"),
    ("sessions", "open connections"),
];

/// Returns a relation of the schema as it is now.
pub(super) fn relation(
    engine: &Arc<Engine>,
    catalog: &Catalog,
    name: &str,
) -> Option<Arc<dyn TableSource>> {
    let batch = content(engine, catalog, name)?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).ok()?;
    Some(provider_as_source(Arc::new(table)))
}

/// The rows of a relation of the schema.
pub(super) fn content(engine: &Engine, catalog: &Catalog, name: &str) -> Option<RecordBatch> {
    let table = match name {
        "streams" => streams(engine, catalog),
        "views" => views(engine, catalog),
        "memory" => memory(engine, catalog),
        "late_rows" => late_rows(engine, catalog),
        "errors" => errors(engine),
        "sources" => sources(engine, catalog),
        "sinks" => sinks(engine, catalog),
        "sessions" => sessions(engine),
        _ => return None,
    };
    Some(table.batch())
}

/// Columns in the making.
struct Table {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Table {
    fn new() -> Self {
        Self { fields: Vec::new(), columns: Vec::new() }
    }

    fn add(mut self, name: &str, column: ArrayRef) -> Self {
        self.fields.push(Field::new(name, column.data_type().clone(), true));
        self.columns.push(column);
        self
    }

    fn text<T: Into<String>>(self, name: &str, values: impl Iterator<Item = Option<T>>) -> Self {
        let values: StringArray = values.map(|v| v.map(Into::into)).collect();
        self.add(name, Arc::new(values))
    }

    fn count(self, name: &str, values: impl Iterator<Item = u64>) -> Self {
        let values = values.map(|v| Some(i64::try_from(v).unwrap_or(i64::MAX)));
        self.add(name, Arc::new(values.collect::<Int64Array>()))
    }

    fn time(self, name: &str, values: impl Iterator<Item = Option<Timestamp>>) -> Self {
        let values = values.map(|v| v.filter(|t| *t != Timestamp::MIN).map(|t| t.0));
        let values = values.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        self.add(name, Arc::new(values))
    }

    fn flag(self, name: &str, values: impl Iterator<Item = bool>) -> Self {
        let values: BooleanArray = values.map(Some).collect();
        self.add(name, Arc::new(values))
    }

    fn batch(self) -> RecordBatch {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.columns)
            .expect("every column was made for the same rows")
    }
}

/// A watermark or event time as text, in the type of the stream's event time.
pub(super) fn event_time(
    def: &StreamDef,
    columns: &[crate::sql::catalog::Column],
    at: Timestamp,
) -> Option<String> {
    if at == Timestamp::MIN {
        return None;
    }
    let bigint =
        def.by_rows || def.event_time.is_some_and(|i| columns[i].data_type == DataType::Int64);
    Some(if bigint && at != Timestamp::MAX { at.0.to_string() } else { at.to_string() })
}

fn streams(engine: &Engine, catalog: &Catalog) -> Table {
    let status = engine.hub().stream_status();
    let derived = engine.hub().job_status().into_iter().filter_map(|job| job.as_stream());
    let status: Vec<_> = status.into_iter().chain(derived).collect();
    let rows: Vec<_> = status
        .iter()
        .filter_map(|status| {
            let (object, def) = catalog.stream(status.oid)?;
            Some((status, object, def))
        })
        .collect();
    let each = || rows.iter();
    let refused =
        |reason: Reason| each().map(move |(s, ..)| s.refused.get(&reason).copied().unwrap_or(0));
    Table::new()
        .text("schema_name", each().map(|(_, o, _)| Some(o.schema.clone())))
        .text("name", each().map(|(_, o, _)| Some(o.name.clone())))
        .text("event_time", each().map(|(_, o, d)| d.event_time.map(|i| o.columns[i].name.clone())))
        .text("watermark", each().map(|(s, o, d)| event_time(d, &o.columns, s.watermark.0)))
        .text("watermark_expression", each().map(|(_, _, d)| d.watermark.clone()))
        .time("watermark_moved_at", each().map(|(s, ..)| Some(s.moved_at)))
        .count("rows", each().map(|(s, ..)| s.admitted))
        .count("retained", each().map(|(s, ..)| s.retained.rows as u64))
        .count("retained_in_files", each().map(|(s, ..)| s.retained.rows_in_files as u64))
        .count("memory_bytes", each().map(|(s, ..)| s.retained.memory_bytes as u64))
        .count("file_bytes", each().map(|(s, ..)| s.retained.file_bytes))
        .count("late_taken", each().map(|(s, ..)| s.late_admitted))
        .count("late", refused(Reason::Late))
        .count("null_time", refused(Reason::NullTime))
        .count("ahead", refused(Reason::TooFarAhead))
        .count("partitions", each().map(|(s, ..)| s.partitions.0 as u64))
        .count("idle_partitions", each().map(|(s, ..)| s.partitions.1 as u64))
        .text(
            "late_policy",
            each().map(|(_, _, d)| Some(d.late.clone()).filter(|late| !late.is_empty())),
        )
        .text("query", each().map(|(_, _, d)| d.query.as_ref().map(|query| query.to_string())))
}

fn memory(engine: &Engine, catalog: &Catalog) -> Table {
    let object = |oid: Oid| catalog.get(oid);
    let query = |job: JobStatus| {
        let schema = job.oid.and_then(object).map(|object| object.schema.clone());
        (schema, job.name, job.memory, job.spilled)
    };
    let table = |(oid, memory, spilled): (Oid, usize, usize)| {
        let table = object(oid)?;
        Some((Some(table.schema.clone()), table.name.clone(), memory, spilled))
    };
    let queries = engine.hub().job_status().into_iter().map(query);
    let tables = engine.hub().tables_held().into_iter().filter_map(table);
    let rows: Vec<_> = queries.chain(tables).collect();
    let limit = engine.hub().memory().limit() as u64;
    Table::new()
        .text("schema_name", rows.iter().map(|(schema, ..)| schema.clone()))
        .text("name", rows.iter().map(|(_, name, ..)| Some(name.clone())))
        .count("memory", rows.iter().map(|(.., memory, _)| *memory as u64))
        .count("spilled", rows.iter().map(|(.., spilled)| *spilled as u64))
        .count("memory_limit", rows.iter().map(|_| limit))
}

fn views(engine: &Engine, catalog: &Catalog) -> Table {
    let jobs = engine.hub().job_status();
    let rows: Vec<_> = catalog
        .objects()
        .filter_map(|object| match &object.kind {
            ObjectKind::View(def) => {
                let job = jobs.iter().find(|job| job.oid == Some(object.oid));
                Some((object, Arc::clone(def), job))
            }
            ObjectKind::Stream(_) | ObjectKind::Table(_) | ObjectKind::Sink(_) => None,
        })
        .collect();
    let each = || rows.iter();
    let clock = |oid: Oid| engine.hub().view(oid).map(|job| job.publication.shape().clock);
    let watermark = |w: Watermark| (w != Watermark::MIN).then(|| w.to_string());
    Table::new()
        .text("schema_name", each().map(|(o, ..)| Some(o.schema.clone())))
        .text("name", each().map(|(o, ..)| Some(o.name.clone())))
        .flag("maintained", each().map(|(_, d, _)| d.maintained))
        .text(
            "state",
            each().map(|(_, d, job)| {
                Some(match job {
                    Some(job) if job.fault.is_some() => "suspended",
                    Some(_) => "running",
                    None if d.maintained => "gone",
                    None => "inlined",
                })
            }),
        )
        .text(
            "clock",
            each().map(|(o, ..)| {
                clock(o.oid).map(|clock| match clock {
                    Clock::Event => "event",
                    Clock::Arrival => "arrival",
                })
            }),
        )
        .text("watermark", each().map(|(.., job)| job.and_then(|j| watermark(j.watermark))))
        .count("rows", each().map(|(.., job)| job.map_or(0, |j| j.rows as u64)))
        .count("in_flight", each().map(|(.., job)| job.map_or(0, |j| j.in_flight)))
        .count("errors", each().map(|(o, ..)| engine.hub().errors().count(&o.name)))
        .text(
            "error",
            each().map(|(.., job)| job.and_then(|j| j.fault.as_ref()).map(|f| f.message.clone())),
        )
        .text("query", each().map(|(_, d, _)| Some(d.query.to_string())))
}

fn late_rows(engine: &Engine, catalog: &Catalog) -> Table {
    let rows: Vec<_> = engine
        .hub()
        .late_rows()
        .into_iter()
        .filter_map(|(oid, row)| {
            let object = catalog.get(oid)?;
            match &object.kind {
                ObjectKind::Stream(def) => Some((Arc::clone(object), Arc::clone(def), row)),
                ObjectKind::Table(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => None,
            }
        })
        .collect();
    let each = || rows.iter();
    let at = |ts: Option<i64>| ts.map(Timestamp);
    Table::new()
        .text("schema_name", each().map(|(o, ..)| Some(o.schema.clone())))
        .text("stream", each().map(|(o, ..)| Some(o.name.clone())))
        .time("arrived_at", each().map(|(.., row)| Some(row.at)))
        .text("reason", each().map(|(.., row)| Some(row.reason.as_str())))
        .text(
            "event_time",
            each().map(|(o, d, row)| at(row.ts).and_then(|ts| event_time(d, &o.columns, ts))),
        )
        .text("watermark", each().map(|(o, d, row)| event_time(d, &o.columns, row.watermark.0)))
        .text("late_by", each().map(|(_, d, row)| late_by(d, row)))
        .text("row", each().map(|(.., row)| Some(row.row.clone())))
}

/// By how much a late row missed its watermark.
fn late_by(def: &StreamDef, row: &LateRow) -> Option<String> {
    let late = row.reason == Reason::Late && def.event_time.is_some();
    let by = row.watermark.0.0.checked_sub(row.ts.filter(|_| late)?)?;
    let seconds = by / 1_000_000;
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let micros = by % 1_000_000;
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    Some(format!("{hours:02}:{minutes:02}:{rest:02}{}", fraction.trim_end_matches('0')))
}

fn errors(engine: &Engine) -> Table {
    let rows = engine.hub().errors().newest();
    let each = || rows.iter();
    let weights: Int64Array = each().map(|f| Some(f.weight)).collect();
    Table::new()
        .time("at", each().map(|f| Some(f.at)))
        .text("object", each().map(|f| Some(f.object.clone())))
        .text("sqlstate", each().map(|f| Some(f.sqlstate.0)))
        .text("message", each().map(|f| Some(f.message.clone())))
        .text("row", each().map(|f| Some(f.row.clone())))
        .add("weight", Arc::new(weights))
        .text("place", each().map(|f| f.place.clone()))
}

fn sources(engine: &Engine, catalog: &Catalog) -> Table {
    let sources = lock(&engine.sources).clone();
    let rows: Vec<_> = sources
        .iter()
        .filter_map(|(oid, status)| {
            let progress = status.progress.borrow().clone();
            Some((Arc::clone(catalog.get(*oid)?), Arc::clone(status), progress))
        })
        .collect();
    let each = || rows.iter();
    Table::new()
        .text("schema_name", each().map(|(o, ..)| Some(o.schema.clone())))
        .text("name", each().map(|(o, ..)| Some(o.name.clone())))
        .text("connector", each().map(|(_, s, _)| Some(s.connector.clone())))
        .text("state", each().map(|(.., p)| Some(p.as_str())))
        .count("rows", each().map(|(_, s, _)| s.rows.load(Ordering::Relaxed)))
        .count("bad_rows", each().map(|(_, s, _)| s.bad_rows.load(Ordering::Relaxed)))
        .text(
            "message",
            each().map(|(.., p)| match p {
                Progress::Failed(message) => Some(message.clone()),
                Progress::Running | Progress::Finished => None,
            }),
        )
}

fn sinks(engine: &Engine, catalog: &Catalog) -> Table {
    let sinks = lock(&engine.sinks).clone();
    let rows: Vec<_> = sinks
        .iter()
        .filter_map(|(oid, status)| {
            let object = catalog.get(*oid)?;
            match &object.kind {
                ObjectKind::Sink(def) => Some((object, Arc::clone(def), Arc::clone(status))),
                _ => None,
            }
        })
        .collect();
    let each = || rows.iter();
    let fault = |status: &SinkStatus| lock(&status.fault).clone();
    let trouble = |status: &SinkStatus| lock(&status.trouble).clone();
    let state = |status: &SinkStatus| match (fault(status), trouble(status)) {
        (Some(_), _) => "suspended",
        (None, Some(_)) => "retrying",
        (None, None) => "running",
    };
    Table::new()
        .text("schema_name", each().map(|(o, ..)| Some(o.schema.clone())))
        .text("name", each().map(|(o, ..)| Some(o.name.clone())))
        .text("into_name", each().map(|(_, d, _)| Some(d.place.clone())))
        .text("state", each().map(|(.., status)| Some(state(status))))
        .count("rows", each().map(|(.., status)| status.rows.load(Ordering::Relaxed)))
        .text("error", each().map(|(.., status)| fault(status).or_else(|| trouble(status))))
        .text("query", each().map(|(_, d, _)| Some(d.query.to_string())))
}

fn sessions(engine: &Engine) -> Table {
    let rows = engine.sessions();
    let each = || rows.iter();
    Table::new()
        .count("pid", each().map(|c| u64::try_from(c.client.pid).unwrap_or(0)))
        .text("user_name", each().map(|c| Some(c.client.user.clone())))
        .text("database", each().map(|c| Some(c.client.database.clone())))
        .text("application_name", each().map(|c| Some(c.doing().application_name)))
        .text("client_address", each().map(|c| c.client.address.map(|a| a.to_string())))
}

impl Session {
    /// SHOW.
    pub(super) fn show(&self, kind: &StatementKind) -> Result<Rows> {
        let batch = match kind {
            StatementKind::ShowWatermarks => watermarks(&self.engine),
            StatementKind::Show(name) if name == "all" => {
                let all: Vec<_> = self.variables.iter().collect();
                Table::new()
                    .text("name", all.iter().map(|(v, _)| Some(v.name)))
                    .text("setting", all.iter().map(|(_, value)| Some(value.clone())))
                    .text("description", all.iter().map(|(v, _)| Some(v.doc)))
                    .batch()
            }
            StatementKind::Show(name) => {
                let value = self.variables.get(name)?;
                Table::new().text(name, [Some(value)].into_iter()).batch()
            }
            _ => return Err(Error::Internal("not SHOW".into())),
        };
        let schema = batch.schema();
        Ok(Rows { schema, stream: stream::iter([Ok(batch)]).boxed(), tag: "SHOW" })
    }
}

/// SHOW WATERMARKS: how far each stream is, and since when.
fn watermarks(engine: &Engine) -> RecordBatch {
    let all = streams(engine, &engine.catalog()).batch();
    let wanted = [
        "name",
        "watermark",
        "watermark_moved_at",
        "partitions",
        "idle_partitions",
        "rows",
        "late",
    ];
    let indices = wanted.iter().map(|name| all.schema().index_of(name));
    let indices = indices.collect::<Result<Vec<_>, _>>().expect("columns of hw.streams");
    all.project(&indices).expect("columns of hw.streams")
}
