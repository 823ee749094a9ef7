//! Connectors at work: rows from outside become commits.
//!
//! # Semantics
//! A batch of a source is one commit. Records that cannot be decoded, and rows that their stream or
//! table cannot
//! take, are counted and kept in `hw.errors`; they stop nothing. A source that fails as a whole
//! says so in
//! `hw.sources`. Reading waits while the queries that read the stream have no room.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::columns::arrow_schema;
use super::{Engine, Error, Result, lock};
use crate::connectors::{self, Flaw, Source, SourceBatch, SourcePosition, SourceSpec};
use crate::delta::Delta;
use crate::error::{Classify, SqlState};
use crate::operators::evaluate::row_text;
use crate::runtime::errors::Failure;
use crate::runtime::hub::Write;
use crate::sql::catalog::{Column, Oid};
use crate::time::Timestamp;

/// Where a source's rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A stream.
    Stream(Oid),
    /// A table; bounded sources are loaded before CREATE returns.
    Table(Oid),
}

/// How far a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Reading.
    Running,
    /// A bounded source was read to its end.
    Finished,
    /// It cannot go on.
    Failed(String),
}

impl Progress {
    /// The word users see.
    pub fn as_str(&self) -> &'static str {
        match self {
            Progress::Running => "running",
            Progress::Finished => "finished",
            Progress::Failed(_) => "failed",
        }
    }
}

/// A source as `hw.sources` shows it.
pub(super) struct SourceStatus {
    /// Its connector.
    pub connector: String,
    /// Rows delivered.
    pub rows: AtomicU64,
    /// Records that could not be decoded or taken.
    pub bad_rows: AtomicU64,
    /// How far it is.
    pub progress: watch::Receiver<Progress>,
    waited_for: bool,
    task: Mutex<Option<AbortHandle>>,
}

impl SourceStatus {
    /// Ends reading.
    pub fn stop(&self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }

    /// Waits for the end of a bounded source, where CREATE is to.
    pub async fn wait(&self) -> Result<()> {
        let mut progress = self.progress.clone();
        if self.waited_for {
            // The sender goes away only with the task, which has told its end before.
            let _ = progress.wait_for(|p| *p != Progress::Running).await;
        }
        match &*progress.borrow() {
            Progress::Failed(message) if self.waited_for => {
                Err(Error::refused(SqlState::IO_ERROR, message.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// A source that has been opened.
pub(super) struct Opened {
    opened: connectors::Opened,
    connector: String,
    /// The row type of its stream or table.
    schema: SchemaRef,
    wait: bool,
}

impl Opened {
    /// What the user who creates it should know.
    pub fn take_notice(&mut self) -> Option<String> {
        self.opened.notice.take()
    }
}

/// Opens what the options ask for, if they name a connector. `own` are options that are not the
/// connector's. Files are looked at on a thread that may block.
pub(super) async fn spec(
    engine: &Engine,
    options: &BTreeMap<String, String>,
    own: &[&str],
    columns: &[Column],
    event_time: Option<String>,
) -> Result<Option<Opened>> {
    let Some(connector) = options.get("connector") else {
        let unknown = options.keys().find(|key| !own.contains(&key.as_str()));
        return match unknown {
            None => Ok(None),
            Some(key) => Err(Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("unknown option \"{key}\""),
                "Without a connector the options are: retention.",
            )),
        };
    };
    let theirs = options.iter().filter(|(key, _)| !own.contains(&key.as_str()));
    let spec = SourceSpec {
        options: theirs.map(|(k, v)| (k.clone(), v.clone())).collect(),
        schema: declared(columns),
        event_time,
        from: SourcePosition::default(),
        clock: Arc::clone(engine.hub().clock()),
    };
    let wait = match options.get("wait").map(|v| v.to_ascii_lowercase()).as_deref() {
        None | Some("false" | "off") => false,
        Some("true" | "on") => true,
        Some(other) => {
            return Err(Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for option \"wait\": \"{other}\""),
                "Use true or false.",
            ));
        }
    };
    let opened = tokio::task::spawn_blocking(move || connectors::open(&spec)).await;
    let opened = opened.map_err(|error| Error::Internal(error.to_string()))??;
    let schema = arrow_schema(columns);
    Ok(Some(Opened { opened, connector: connector.clone(), schema, wait }))
}

/// The row type that a connector keeps to: with NOT NULL, unlike that of streams and tables, whose
/// views may hold NULL.
fn declared(columns: &[Column]) -> SchemaRef {
    let schema = arrow_schema(columns);
    let fields = schema.fields().iter().zip(columns);
    let fields = fields.map(|(field, c)| field.as_ref().clone().with_nullable(!c.not_null));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Starts reading.
pub(super) fn start(
    engine: &Arc<Engine>,
    opened: Opened,
    target: Target,
    name: &str,
) -> Arc<SourceStatus> {
    let (sender, progress) = watch::channel(Progress::Running);
    let waited_for = opened.opened.bounded && (opened.wait || matches!(target, Target::Table(_)));
    let status = Arc::new(SourceStatus {
        connector: opened.connector,
        rows: AtomicU64::new(0),
        bad_rows: AtomicU64::new(0),
        progress,
        waited_for,
        task: Mutex::default(),
    });
    let pump = Pump {
        engine: Arc::clone(engine),
        status: Arc::clone(&status),
        target,
        name: name.to_owned(),
        schema: opened.schema,
    };
    let source = opened.opened.source;
    let task = tokio::spawn(async move {
        let end = match pump.run(source).await {
            Ok(()) => Progress::Finished,
            Err(error) => {
                tracing::error!(source = %pump.name, "source failed: {error}");
                Progress::Failed(error.to_string())
            }
        };
        // Nobody may be looking any more.
        let _ = sender.send(end);
    });
    *lock(&status.task) = Some(task.abort_handle());
    let (Target::Stream(oid) | Target::Table(oid)) = target;
    lock(&engine.sources).insert(oid, Arc::clone(&status));
    status
}

struct Pump {
    engine: Arc<Engine>,
    status: Arc<SourceStatus>,
    target: Target,
    name: String,
    schema: SchemaRef,
}

impl Pump {
    async fn run(&self, mut source: Box<dyn Source>) -> Result<()> {
        let rows_max = self.engine.options.batch_rows.max(1_024);
        let (Target::Stream(oid) | Target::Table(oid)) = self.target;
        while let Some(batch) = source.next(rows_max).await? {
            let SourceBatch { rows, bad, .. } = batch;
            for record in bad {
                let Flaw { sqlstate, message } = record.flaw;
                self.report(sqlstate, message, record.raw, Some(record.place));
            }
            if rows.num_rows() == 0 {
                continue;
            }
            self.engine.hub().room(&[oid]).await;
            self.take(&rows.with_schema(Arc::clone(&self.schema))?)?;
        }
        Ok(())
    }

    /// Commits rows; if one of them cannot be taken, row by row without it.
    fn take(&self, rows: &RecordBatch) -> Result<()> {
        match self.commit(rows) {
            Err(error) if error.of_row() && rows.num_rows() == 1 => {
                let row = row_text(rows.columns(), 0);
                self.report(error.sqlstate(), error.to_string(), row, None);
                Ok(())
            }
            Err(error) if error.of_row() => {
                (0..rows.num_rows()).try_for_each(|row| self.take(&rows.slice(row, 1)))
            }
            outcome => Ok(outcome?),
        }
    }

    fn commit(&self, rows: &RecordBatch) -> std::result::Result<(), crate::runtime::Error> {
        let count = rows.num_rows() as u64;
        let write = match self.target {
            Target::Stream(oid) => Write::Rows(oid, rows.clone()),
            Target::Table(oid) => Write::Table(oid, Delta::inserts(rows.clone(), Timestamp::MIN)),
        };
        self.engine.hub().commit(vec![write])?;
        self.status.rows.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    fn report(&self, sqlstate: SqlState, message: String, row: String, place: Option<String>) {
        self.status.bad_rows.fetch_add(1, Ordering::Relaxed);
        self.engine.hub().errors().add(Failure {
            at: self.engine.hub().clock().now(),
            object: self.name.clone(),
            sqlstate,
            message,
            row,
            weight: 1,
            place,
        });
    }
}
