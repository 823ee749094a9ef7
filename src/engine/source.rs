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
use crate::connectors::{self, BadRecord, Source, SourceBatch, SourcePosition, SourceSpec};
use crate::delta::Delta;
use crate::error::{Classify, SqlState};
use crate::fault;
use crate::operators::evaluate::row_text;
use crate::runtime;
use crate::runtime::errors::Failure;
use crate::runtime::hub::Write;
use crate::runtime::intake::{Intake, Step};
use crate::sql::catalog::{Column, ObjectKind, Oid};
use crate::time::Timestamp;

/// Options of streams and tables that are not their connector's.
const OWN_OPTIONS: [&str; 3] = ["retain", "retention", "wait"];

/// Where a source's rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A stream.
    Stream(Oid),
    /// A table; bounded sources are loaded before CREATE returns.
    Table(Oid),
}

impl Target {
    fn oid(self) -> Oid {
        let (Target::Stream(oid) | Target::Table(oid)) = self;
        oid
    }
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
    /// A source that goes on from where the log says that it was.
    fn new(
        engine: &Engine,
        target: Target,
        connector: String,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        let Intake { rows, bad_rows, .. } = engine.hub().intake(target.oid());
        let (rows, bad_rows) = (AtomicU64::new(rows), AtomicU64::new(bad_rows));
        let (waited_for, task) = (false, Mutex::default());
        Self { connector, rows, bad_rows, progress, waited_for, task }
    }

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

/// Opens what the options ask for, if they name a connector, at a position. Files are looked at on
/// a thread that may block.
pub(super) async fn open(
    engine: &Engine,
    options: &BTreeMap<String, String>,
    columns: &[Column],
    event_time: Option<String>,
    from: SourcePosition,
) -> Result<Option<Opened>> {
    let Some(connector) = options.get("connector") else {
        let unknown = options.keys().find(|key| !OWN_OPTIONS.contains(&key.as_str()));
        return match unknown {
            None => Ok(None),
            Some(key) => Err(Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("unknown option \"{key}\""),
                "Without a connector the options are: retention of a stream, retain of a table.",
            )),
        };
    };
    let theirs = options.iter().filter(|(key, _)| !OWN_OPTIONS.contains(&key.as_str()));
    let spec = SourceSpec {
        options: theirs.map(|(k, v)| (k.clone(), v.clone())).collect(),
        schema: declared(columns),
        event_time,
        from,
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
    let status = SourceStatus::new(engine, target, opened.connector, progress);
    let status = Arc::new(SourceStatus { waited_for, ..status });
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
    lock(&engine.sources).insert(target.oid(), Arc::clone(&status));
    status
}

/// Goes on reading where the log says that reading was, for all streams and tables.
pub(super) async fn restart(engine: &Arc<Engine>) {
    for object in engine.catalog().objects() {
        let (target, options, event_time) = match &object.kind {
            ObjectKind::Stream(def) => (Target::Stream(object.oid), &def.options, def.event_time),
            ObjectKind::Table(def) => (Target::Table(object.oid), &def.options, None),
            ObjectKind::View(_) | ObjectKind::Sink(_) => continue,
        };
        let Some(connector) = options.get("connector") else { continue };
        let Intake { position, finished, .. } = engine.hub().intake(object.oid);
        let known = |progress: Progress| {
            let progress = watch::channel(progress).1;
            let status = SourceStatus::new(engine, target, connector.clone(), progress);
            lock(&engine.sources).insert(object.oid, Arc::new(status));
        };
        if finished {
            known(Progress::Finished);
            continue;
        }
        let event_time = event_time.map(|column| object.columns[column].name.clone());
        let from = SourcePosition(position);
        match open(engine, options, &object.columns, event_time, from).await {
            Ok(Some(opened)) => {
                start(engine, opened, target, &object.name);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(source = %object.name, "source failed: {error}");
                known(Progress::Failed(error.to_string()));
            }
        }
    }
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
        let mut last = self.engine.hub().intake(self.target.oid()).position;
        while let Some(batch) = source.next(rows_max).await? {
            let SourceBatch { rows, bad, position } = batch;
            last.clone_from(&position.0);
            let bad = bad.into_iter().map(|BadRecord { flaw, raw, place }| {
                self.failure(flaw.sqlstate, flaw.message, raw, Some(place))
            });
            let step = Step { position: position.0, bad: bad.collect(), ..Step::default() };
            if rows.num_rows() == 0 && step.bad.is_empty() {
                continue;
            }
            self.engine.hub().room(&[self.target.oid()]).await;
            self.take(rows.with_schema(Arc::clone(&self.schema))?, step).await?;
        }
        let end = Step { position: last, finished: true, ..Step::default() };
        self.take(RecordBatch::new_empty(Arc::clone(&self.schema)), end).await
    }

    /// Commits rows; those that cannot be taken are left out. A full disk is waited for.
    async fn take(&self, rows: RecordBatch, mut step: Step) -> Result<()> {
        let mut taken = match rows.num_rows() {
            0 => Vec::new(),
            _ => vec![self.write(rows.clone())],
        };
        loop {
            let count = |write: &Write| match write {
                Write::Rows(_, rows) => rows.num_rows(),
                Write::Table(_, delta) => delta.len(),
                _ => 0,
            };
            step.rows = taken.iter().map(count).sum::<usize>() as u64;
            match self.commit(taken.clone(), step.clone()).await {
                // Others may have written between the sifting and the commit.
                Err(error) if error.of_row() => {
                    taken = Vec::new();
                    self.sift(&rows, &mut taken, &mut step.bad)?;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Finds the parts of rows that can be taken behind those in `taken`, and the rows that cannot.
    fn sift(
        &self,
        rows: &RecordBatch,
        taken: &mut Vec<Write>,
        bad: &mut Vec<Failure>,
    ) -> Result<()> {
        taken.push(self.write(rows.clone()));
        let Err(error) = self.engine.hub().check(taken) else { return Ok(()) };
        taken.pop();
        if !error.of_row() {
            return Err(error.into());
        }
        if rows.num_rows() == 1 {
            let row = row_text(rows.columns(), 0);
            bad.push(self.failure(error.sqlstate(), error.to_string(), row, None));
            return Ok(());
        }
        let half = rows.num_rows() / 2;
        self.sift(&rows.slice(0, half), taken, bad)?;
        self.sift(&rows.slice(half, rows.num_rows() - half), taken, bad)
    }

    fn write(&self, rows: RecordBatch) -> Write {
        match self.target {
            Target::Stream(oid) => Write::Rows(oid, rows),
            Target::Table(oid) => Write::Table(oid, Delta::inserts(rows, Timestamp::MIN)),
        }
    }

    async fn commit(&self, mut writes: Vec<Write>, step: Step) -> Result<(), runtime::Error> {
        let (rows, bad) = (step.rows, step.bad.len() as u64);
        writes.push(Write::Intake(self.target.oid(), step));
        fault::point("source.commit");
        self.engine.hub().commit_patiently(writes).await?;
        fault::point("source.committed");
        self.status.rows.fetch_add(rows, Ordering::Relaxed);
        self.status.bad_rows.fetch_add(bad, Ordering::Relaxed);
        Ok(())
    }

    fn failure(
        &self,
        sqlstate: SqlState,
        message: String,
        row: String,
        place: Option<String>,
    ) -> Failure {
        let at = self.engine.hub().clock().now();
        Failure { at, object: self.name.clone(), sqlstate, message, row, weight: 1, place }
    }
}
