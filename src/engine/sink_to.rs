//! CREATE SINK .. TO FILE: a query whose rows go into files.
//!
//! # Semantics
//! The rows of a query that only appends go into files of a directory, each row once, whatever
//! happens to the server. What has come together is written every `interval`, and at once when the
//! server takes a checkpoint or ends. A range of commits is written as a whole
//! ([`FileSink`]); when it stands in files, that is recorded in the log
//! ([`Write::Delivered`]). A server that starts again finishes the range that it finds written, and
//! writes what comes behind.
//!
//! What cannot be written is tried again, at growing intervals; `hw.sinks` says why. Nothing else
//! waits for it but checkpoints.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::RecordBatch;
use sqlparser::ast;
use tokio::time::Instant;

use super::derived::QueryOptions;
use super::session::Session;
use super::sink::{SinkStatus, Started};
use super::{Error, Result, lock, query};
use crate::connectors::file::FileFormat;
use crate::connectors::file::sink::{FileSink, check_partition};
use crate::error::SqlState;
use crate::planner::bind::{bind_query, visible_names};
use crate::planner::lower::{self, Request, Wanted};
use crate::planner::relation::Names;
use crate::runtime;
use crate::runtime::hub::{Hub, Write};
use crate::runtime::sink::SinkProgress;
use crate::runtime::subscription::Change;
use crate::sql::catalog::{Catalog, Oid, SinkDef};
use crate::sql::derived::CreateSink;
use crate::sql::names::fold;
use crate::sql::variables;
use crate::time::Position;

/// How often files are written unless told otherwise.
const INTERVAL: Duration = Duration::from_secs(1);

/// The first and the longest pause after something could not be written.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];

/// Rows that wait at most before they are written.
const ROWS_MAX: usize = 1_000_000;

/// What the options say of the files.
struct Files {
    dir: PathBuf,
    format: FileFormat,
    interval: Duration,
}

impl Files {
    /// Takes the options of files out of those of the sink.
    fn take(create: &CreateSink) -> Result<(Self, QueryOptions)> {
        let mut options = create.options.clone();
        let connector = options.remove("connector").unwrap_or_default();
        if connector != "file" {
            return Err(Error::hinted(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("CREATE SINK .. TO {} is not supported yet", connector.to_uppercase()),
                "Write TO FILE 'directory', or INTO a stream or table.",
            ));
        }
        let invalid = |message: String, hint: &str| {
            Error::hinted(SqlState::INVALID_PARAMETER_VALUE, message, hint)
        };
        let dir = options.remove("path").filter(|path| !path.is_empty());
        let dir = dir.ok_or_else(|| {
            invalid("a sink to files needs a directory".into(), "Write TO FILE 'directory'.")
        })?;
        let format = options.remove("format").unwrap_or_else(|| "json".to_owned());
        let format = FileFormat::parse(&format).ok_or_else(|| {
            invalid(format!("unknown format \"{format}\""), "Formats are json, csv and parquet.")
        })?;
        let interval = options.remove("interval").map(|text| {
            let millis = variables::millis(&text).filter(|millis| *millis > 0);
            millis.map(Duration::from_millis).ok_or_else(|| {
                let hint = "Write e.g. '500 ms', '10 s' or '1 min'.";
                invalid(format!("invalid value for option \"interval\": \"{text}\""), hint)
            })
        });
        let interval = interval.transpose()?.unwrap_or(INTERVAL);
        Ok((Self { dir: dir.into(), format, interval }, QueryOptions::new(&options)?))
    }
}

impl Session {
    /// Creates a sink whose rows go outside.
    pub(super) fn create_sink_to(&mut self, create: &CreateSink, text: Arc<str>) -> Result<()> {
        let (files, options) = Files::take(create)?;
        let (schema, name) = self.new_name(&create.name)?;
        if self.taken(&schema, &name, create.if_not_exists)? {
            return Ok(());
        }
        if !create.key.is_empty() {
            return Err(Error::hinted(
                SqlState::INVALID_OBJECT_DEFINITION,
                "files have no key",
                "Leave KEY out; changes can be written by WITH c AS CHANGELOG FROM v.",
            ));
        }
        let relations = self.relations();
        let functions = &*relations.functions;
        let names = Names::new(&relations, functions, Arc::clone(&create.query.windows));
        let bound = query::with_params(bind_query(&create.query, &names)?, &[])?;
        let columns = visible_names(&bound);
        let request = Request {
            wanted: Wanted::Stream,
            clock: options.clock,
            ..Request::emitting(create.query.emit)
        };
        let plan = lower::continuous(bound, request, functions)?;
        options.check(&plan)?;
        let partition = partition_of(create, &columns)?;
        check_partition(&plan.root.schema, &partition)?;
        self.verdict("sink", &name, &plan)?;
        let oid = self.engine.change_catalog(Catalog::fresh_oid);
        // No other server, and no other sink of this one, has begun at this moment with this oid.
        let id = format!("{oid}-{:x}", self.engine.hub().now().0);
        let Files { dir, format, interval } = files;
        let place = dir.to_string_lossy().into_owned();
        let files = Arc::new(FileSink::create(&dir, id, format, partition)?);
        let reads = names.used();
        let Started { progress, status } =
            self.start_sink(&plan, &options, (oid, &name, oid), None)?;
        let hub = Arc::clone(self.engine.hub());
        let writer = Writer { oid, hub, files, columns, interval, progress, status };
        tokio::spawn(writer.run());
        let query = Arc::clone(&create.query_text);
        self.add_sink((oid, schema, name), SinkDef { into: None, place, query }, text, reads);
        Ok(())
    }
}

/// The places of the partition columns.
fn partition_of(create: &CreateSink, columns: &[String]) -> Result<Vec<usize>> {
    let place = |column: &ast::Ident| {
        let name = fold(column);
        columns.iter().position(|other| *other == name).ok_or_else(|| {
            let message = format!("column \"{name}\" does not exist");
            let hint = "PARTITION BY names columns of the query.";
            Error::hinted(SqlState::UNDEFINED_COLUMN, message, hint)
        })
    };
    create.partition.iter().map(place).collect()
}

/// Writes what a sink's query gives into files.
struct Writer {
    oid: Oid,
    hub: Arc<Hub>,
    files: Arc<FileSink>,
    columns: Vec<String>,
    interval: Duration,
    progress: Arc<SinkProgress>,
    status: Arc<SinkStatus>,
}

/// What a writer does next.
enum Turn {
    /// It takes a change.
    Change(Box<Change>),
    /// It writes what waits.
    Write,
    /// It writes what waits and ends, perhaps for a reason.
    End(Option<String>),
}

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    rows: Vec<RecordBatch>,
    count: usize,
    /// When the first rows came.
    since: Option<Instant>,
    /// The last commit that made some of it, and the last that is known to have made no more.
    made: Position,
    until: Position,
}

impl Writer {
    /// Writes until the query ends.
    async fn run(self) {
        // The first commit that is not known to be in files.
        let mut next: Option<u64> = None;
        let mut waiting = Waiting::default();
        let fault = loop {
            let ended = match self.turn(&waiting).await {
                Turn::Change(change) => {
                    self.take(*change, &mut next, &mut waiting).await;
                    continue;
                }
                Turn::Write => None,
                Turn::End(fault) => Some(fault),
            };
            let Waiting { rows, count, made, until, .. } = std::mem::take(&mut waiting);
            if let Some(from) = next.filter(|_| count > 0) {
                self.write((from, made.0), rows).await;
                next = Some(made.0 + 1);
                self.delivered(made, count).await;
            }
            self.hub.sink_wrote(&self.progress, until);
            if let Some(fault) = ended {
                break fault;
            }
        };
        *lock(&self.status.fault) = fault;
        self.status.feed.close(None);
        self.hub.sink_stopped(&self.progress);
    }

    /// What is to be done next.
    async fn turn(&self, waiting: &Waiting) -> Turn {
        let change = async {
            match self.status.feed.next().await {
                Some(Ok(change)) => Turn::Change(Box::new(change)),
                Some(Err(fault)) => Turn::End(Some(fault.message)),
                None => Turn::End(None),
            }
        };
        if waiting.count == 0 && waiting.until == Position::default() {
            return change.await;
        }
        if waiting.count >= ROWS_MAX {
            return Turn::Write;
        }
        let due = async {
            // Without rows there is nothing to be collected.
            if let Some(since) = waiting.since {
                tokio::select! {
                    () = tokio::time::sleep_until(since + self.interval) => {}
                    () = self.hub.hurried() => {}
                }
            }
        };
        tokio::select! {
            biased;
            change = change => change,
            () = due => Turn::Write,
        }
    }

    /// Takes note of a change, unless it is in files already.
    async fn take(&self, change: Change, next: &mut Option<u64>, waiting: &mut Waiting) {
        self.hub.sink_turn(&self.progress, change.made).await;
        waiting.until = change.commit.position;
        if change.delta.is_empty() || self.progress.has_delivered(change.made) {
            return;
        }
        if next.is_none() {
            *next = Some(self.found().await + 1);
        }
        if next.is_some_and(|next| change.made.0 < next) {
            return;
        }
        let rows = change.delta.rows();
        let schema = rows.schema();
        let renamed = self.columns.iter().zip(schema.fields().iter().zip(rows.columns()));
        let renamed =
            renamed.map(|(name, (field, column))| (name, Arc::clone(column), field.is_nullable()));
        let rows = RecordBatch::try_from_iter_with_nullable(renamed);
        waiting.rows.push(rows.expect("columns of a batch have its length"));
        waiting.count += change.delta.len();
        waiting.since.get_or_insert_with(Instant::now);
        waiting.made = change.made;
    }

    /// Finishes what an earlier life of the server has written, and tells up to where that is.
    async fn found(&self) -> u64 {
        let Position(delivered) = self.progress.delivered_until();
        let files = Arc::clone(&self.files);
        let until = self.tried(move || files.resume(delivered)).await;
        if until > delivered {
            self.delivered(Position(until), 0).await;
        }
        until
    }

    /// Writes rows.
    async fn write(&self, range: (u64, u64), rows: Vec<RecordBatch>) {
        let (files, rows) = (Arc::clone(&self.files), Arc::new(rows));
        self.tried(move || files.write(range, &rows)).await;
    }

    /// Does a step, however often it has to be tried.
    async fn tried<T: Send + 'static>(
        &self,
        step: impl Fn() -> crate::connectors::Result<T> + Send + Sync + 'static,
    ) -> T {
        let (step, mut pause) = (Arc::new(step), PAUSES[0]);
        loop {
            let once = Arc::clone(&step);
            let said = match tokio::task::spawn_blocking(move || once()).await {
                Ok(Ok(done)) => {
                    *lock(&self.status.trouble) = None;
                    return done;
                }
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::warn!(sink = self.oid, "tried again in {pause:?}: {said}");
            *lock(&self.status.trouble) = Some(said);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Records that everything up to a commit is in files.
    async fn delivered(&self, until: Position, rows: usize) {
        let recorded = || self.hub.commit(vec![Write::Delivered(self.oid, until)]);
        let mut pause = PAUSES[0];
        while let Err(error) = recorded() {
            if matches!(error, runtime::Error::ShuttingDown) {
                return;
            }
            tracing::warn!(sink = self.oid, "tried again in {pause:?}: {error}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
        self.hub.durable().await;
        self.status.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let files = Arc::clone(&self.files);
        let forgotten = tokio::task::spawn_blocking(move || files.forget(until.0)).await;
        if let Ok(Err(error)) = forgotten {
            tracing::warn!(sink = self.oid, "{error}");
        }
    }
}
