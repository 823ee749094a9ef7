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

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Engine, Error, Result, lock};
use crate::connectors::{self, Source, SourceBatch, SourcePosition, SourceSpec};
use crate::delta::Delta;
use crate::error::{Classify, SqlState};
use crate::operators::evaluate::row_text;
use crate::runtime::errors::Failure;
use crate::runtime::hub::Write;
use crate::sql::catalog::Oid;
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
    source: Box<dyn Source>,
    connector: String,
    bounded: bool,
    wait: bool,
}

/// Opens what the options ask for, if they name a connector. `own` are options that are not the
/// connector's.
pub(super) fn spec(
    engine: &Engine,
    options: &BTreeMap<String, String>,
    own: &[&str],
    schema: &SchemaRef,
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
        schema: Arc::clone(schema),
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
    let bounded = connectors::bounded(&spec);
    let source = connectors::open(spec)?;
    Ok(Some(Opened { source, connector: connector.clone(), bounded, wait }))
}

/// Starts reading.
pub(super) fn start(
    engine: &Arc<Engine>,
    opened: Opened,
    target: Target,
    name: &str,
) -> Arc<SourceStatus> {
    let (sender, progress) = watch::channel(Progress::Running);
    let waited_for = opened.bounded && (opened.wait || matches!(target, Target::Table(_)));
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
    };
    let task = tokio::spawn(async move {
        let end = match pump.run(opened.source).await {
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
}

impl Pump {
    async fn run(&self, mut source: Box<dyn Source>) -> Result<()> {
        let rows_max = self.engine.options.batch_rows.max(1_024);
        let (Target::Stream(oid) | Target::Table(oid)) = self.target;
        while let Some(batch) = source.next(rows_max).await? {
            let SourceBatch { rows, bad, .. } = batch;
            for record in bad {
                self.report(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    record.reason,
                    record.raw,
                    Some(record.place),
                );
            }
            let rows = self.without_nulls(rows)?;
            if rows.num_rows() == 0 {
                continue;
            }
            self.engine.hub().room(&[oid]).await;
            let count = rows.num_rows() as u64;
            match self.target {
                Target::Stream(oid) => self.take(vec![Write::Rows(oid, rows)], count)?,
                Target::Table(oid) => self.insert(oid, &rows)?,
            }
        }
        Ok(())
    }

    fn take(&self, writes: Vec<Write>, count: u64) -> Result<()> {
        self.engine.hub().commit(writes)?;
        self.status.rows.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Inserts rows into a table; if the batch has a bad one, row by row.
    fn insert(&self, oid: Oid, rows: &RecordBatch) -> Result<()> {
        let write = |rows| vec![Write::Table(oid, Delta::inserts(rows, Timestamp::MIN))];
        if self.take(write(rows.clone()), rows.num_rows() as u64).is_ok() {
            return Ok(());
        }
        for i in 0..rows.num_rows() {
            match self.take(write(rows.slice(i, 1)), 1) {
                Ok(()) => {}
                Err(error) => {
                    let row = row_text(rows.columns(), i);
                    self.report(error.sqlstate(), error.to_string(), row, None);
                }
            }
        }
        Ok(())
    }

    /// Takes out rows that have NULL where it may not be.
    fn without_nulls(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let (Target::Stream(oid) | Target::Table(oid)) = self.target;
        let catalog = self.engine.catalog();
        let Some(object) = catalog.get(oid) else { return Ok(rows) };
        let mut keep = vec![true; rows.num_rows()];
        for (column, values) in object.columns.iter().zip(rows.columns()) {
            if !column.not_null || values.null_count() == 0 {
                continue;
            }
            for (i, keep) in keep.iter_mut().enumerate().filter(|(i, _)| values.is_null(*i)) {
                if std::mem::replace(keep, false) {
                    let message = format!("null value in column \"{}\"", column.name);
                    let row = row_text(rows.columns(), i);
                    self.report(SqlState::NOT_NULL_VIOLATION, message, row, None);
                }
            }
        }
        Ok(filter_record_batch(&rows, &BooleanArray::from(keep))?)
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
