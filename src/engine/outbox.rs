//! What sinks write outside, each commit once.
//!
//! # Semantics
//! What has come together is written every `interval`, and at once when somebody waits for it, as
//! FLUSH does. A range of commits is written as a whole, with its end where it is written
//! ([`Sink::write`]); then that is recorded in the log ([`Write::Delivered`]). A server that starts
//! again asks up to where everything stands there ([`Sink::resume`]), and writes what comes behind.
//!
//! What cannot be written is tried again, at growing intervals; `hw.sinks` says why. Nothing else
//! waits for it: an image has what is not written yet. A sink that is dropped writes no more, and
//! what it kept outside for itself is removed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use tokio::time::Instant;

use super::sink::SinkStatus;
use super::{Result, lock};
use crate::connectors::{self, Changes, Sink};
use crate::delta::Delta;
use crate::error::Classify;
use crate::fault;
use crate::planner::text_output::column_text;
use crate::runtime;
use crate::runtime::hub::{Hub, Write};
use crate::runtime::sink::SinkProgress;
use crate::runtime::subscription::Change;
use crate::sql::catalog::Oid;
use crate::time::{Position, Timestamp};

/// The first and the longest pause after something could not be written.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];

/// Rows that wait at most before they are written.
const ROWS_MAX: usize = 1_000_000;

/// Writes what a sink's query gives.
pub(super) struct Outbox {
    pub(super) oid: Oid,
    pub(super) hub: Arc<Hub>,
    pub(super) sink: Arc<dyn Sink>,
    /// Names of the columns.
    pub(super) columns: Vec<String>,
    /// Places of the key; empty if rows only come.
    pub(super) key: Vec<usize>,
    /// Whether values are written as Postgres prints them.
    pub(super) as_text: bool,
    pub(super) interval: Duration,
    pub(super) progress: Arc<SinkProgress>,
    pub(super) status: Arc<SinkStatus>,
}

/// What is done next.
enum Turn {
    /// A change is taken.
    Change(Box<Change>),
    /// What waits is written.
    Write,
    /// What waits is written, and that is the end, perhaps for a reason.
    End(Option<String>),
    /// That is the end.
    Dropped,
}

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    deltas: Vec<Delta>,
    count: usize,
    /// When the first rows came.
    since: Option<Instant>,
    /// The last commit that made some of it, and the last that is known to have made no more.
    made: Position,
    until: Position,
}

impl Outbox {
    /// Writes until the query ends.
    pub(super) async fn run(self) {
        // The first commit that is not known to be written.
        let mut next: Option<u64> = None;
        let mut waiting = Waiting::default();
        let fault = loop {
            let mut ended = None;
            match self.turn(&waiting).await {
                Turn::Change(change) => match self.take(*change, &mut next, &mut waiting).await {
                    Ok(()) => continue,
                    Err(error) => ended = Some(Some(format!("{}: {error}", error.sqlstate()))),
                },
                Turn::Write => {}
                Turn::End(fault) => ended = Some(fault),
                Turn::Dropped => break None,
            }
            let Waiting { deltas, count, made, until, .. } = std::mem::take(&mut waiting);
            if let Some(from) = next.filter(|_| count > 0) {
                match self.changes(&deltas) {
                    Ok(changes) => {
                        if self.write((from, made.0), changes).await {
                            next = Some(made.0 + 1);
                            self.delivered(made, count).await;
                        }
                    }
                    Err(error) => ended = Some(Some(error.to_string())),
                }
            }
            self.hub.sink_wrote(&self.progress, until);
            if let Some(fault) = ended {
                break fault;
            }
        };
        *lock(&self.status.fault) = fault;
        self.status.feed.close(None);
        self.hub.sink_stopped(&self.progress);
        self.status.dropped.cancelled().await;
        if let Err(error) = self.sink.end().await {
            tracing::warn!(sink = self.oid, "something is left of it: {error}");
        }
    }

    /// What is to be done next.
    async fn turn(&self, waiting: &Waiting) -> Turn {
        tokio::select! {
            biased;
            () = self.status.dropped.cancelled() => Turn::Dropped,
            turn = self.turn_of_running(waiting) => turn,
        }
    }

    async fn turn_of_running(&self, waiting: &Waiting) -> Turn {
        let change = async {
            match self.status.feed.next_noted(|change| self.status.note(change)).await {
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

    /// Takes note of a change, unless it has been written already.
    async fn take(
        &self,
        change: Change,
        next: &mut Option<u64>,
        waiting: &mut Waiting,
    ) -> Result<()> {
        self.hub.sink_turn(&self.progress, change.made).await;
        waiting.until = change.commit.position;
        if change.delta.is_empty() {
            return Ok(());
        }
        self.status.count_keys(&change, &self.key)?;
        if self.progress.has_delivered(change.made) {
            self.status.forget();
            return Ok(());
        }
        if next.is_none() {
            *next = self.found().await.map(|until| until + 1);
        }
        if next.is_some_and(|next| change.made.0 < next) {
            return Ok(());
        }
        waiting.count += change.delta.len();
        waiting.since.get_or_insert_with(Instant::now);
        waiting.made = change.made;
        waiting.deltas.push(change.delta);
        Ok(())
    }

    /// What deltas come to, under the names of the columns.
    fn changes(&self, deltas: &[Delta]) -> std::result::Result<Changes, ArrowError> {
        let mut all = Delta::concat(&deltas[0].schema(), deltas)?;
        if !self.key.is_empty() {
            all = all.at(Timestamp::MIN).consolidate()?;
        }
        let schema = all.schema();
        let columns = schema.fields().iter().zip(all.rows().columns());
        let columns = self.columns.iter().zip(columns).map(|(name, (field, column))| {
            let column = match self.as_text {
                true => column_text(column)?,
                false => ArrayRef::clone(column),
            };
            Ok((name, column, field.is_nullable()))
        });
        let columns = columns.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
        let rows = RecordBatch::try_from_iter_with_nullable(columns)?;
        let weights = (0..all.len()).map(|i| all.weight(i)).collect();
        Ok(Changes { rows, weights })
    }

    /// Finishes what an earlier life of the server has begun, and tells up to where all is written;
    /// nothing if the sink is dropped before.
    async fn found(&self) -> Option<u64> {
        let Position(delivered) = self.progress.delivered_until();
        let until = self.tried(|| self.sink.resume(delivered)).await?;
        if until > delivered {
            self.delivered(Position(until), 0).await;
        }
        Some(until)
    }

    /// Writes changes; tells whether it could before the sink is dropped.
    async fn write(&self, range: (u64, u64), changes: Changes) -> bool {
        let changes = Arc::new(changes);
        fault::point("outbox.write");
        let written = self.tried(|| self.sink.write(range, Arc::clone(&changes))).await;
        fault::point("outbox.written");
        written.is_some()
    }

    /// Does a step, however often it has to be tried before the sink is dropped.
    async fn tried<T, F: Future<Output = connectors::Result<T>>>(
        &self,
        step: impl Fn() -> F,
    ) -> Option<T> {
        let mut pause = PAUSES[0];
        loop {
            match step().await {
                Ok(done) => {
                    *lock(&self.status.trouble) = None;
                    return Some(done);
                }
                Err(error) => {
                    tracing::warn!(sink = self.oid, "tried again in {pause:?}: {error}");
                    *lock(&self.status.trouble) = Some(said(&error));
                }
            }
            tokio::select! {
                () = self.status.dropped.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Records that everything up to a commit has been written.
    async fn delivered(&self, until: Position, rows: usize) {
        let mut pause = PAUSES[0];
        while let Err(error) = self.hub.commit(vec![Write::Delivered(self.oid, until)]) {
            if matches!(error, runtime::Error::ShuttingDown | runtime::Error::Gone(_)) {
                return;
            }
            tracing::warn!(sink = self.oid, "tried again in {pause:?}: {error}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
        self.hub.durable().await;
        self.status.forget();
        fault::point("outbox.delivered");
        self.status.rows.fetch_add(rows as u64, Ordering::Relaxed);
        if let Err(error) = self.sink.forget(until.0).await {
            tracing::warn!(sink = self.oid, "{error}");
        }
    }
}

/// An error with its cause.
fn said(error: &connectors::Error) -> String {
    format!("{}: {error}", error.sqlstate())
}
