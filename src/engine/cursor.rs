//! Cursors: DECLARE, FETCH, MOVE, CLOSE over finite and endless rows.
//!
//! # Semantics
//! A cursor stands before the first row, on one, or behind the last. One of a query goes forward
//! and back; unless it says SCROLL, back only until it has given [`KEPT_MAX`] rows, which it keeps
//! for that. One of a SUBSCRIBE goes forward only.
//!
//! `FETCH n` of an endless cursor waits for the first row and then takes what is ready, up to n;
//! with a timeout it takes what comes within it. `FETCH ALL` of a SUBSCRIBE with UP TO waits for
//! its end. Rows are taken out of the cursor only when the FETCH completes, so a canceled FETCH
//! loses none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::outcome::{Outcome, RowStream, Rows};
use super::session::Session;
use super::{Error, Result};
use crate::error::SqlState;
use crate::sql::statement::{Motion, Statement, StatementKind};

/// A declared cursor.
#[derive(Clone)]
pub(super) struct Cursor {
    /// Columns.
    pub schema: SchemaRef,
    /// Whether it outlives the transaction.
    pub hold: bool,
    /// Whether it was declared in the transaction block that is open.
    pub fresh: bool,
    state: Arc<Mutex<State>>,
}

/// So many rows are kept to go back to, where nothing says that the cursor will.
const KEPT_MAX: usize = 10_000;

struct State {
    stream: RowStream,
    /// Rows that came and were not fetched.
    ready: VecDeque<RecordBatch>,
    live: bool,
    /// Whether rows that come in time come to an end.
    finite: bool,
    ended: bool,
    /// What it takes to go back; `None` can only go forward.
    past: Option<Past>,
}

/// All rows so far of a cursor that can go back.
struct Past {
    rows: Vec<RecordBatch>,
    /// On which row it stands, from 1; 0 is before the first one.
    at: usize,
    /// Whether all rows are kept (SCROLL).
    all: bool,
}

impl Session {
    pub(super) async fn declare(
        &mut self,
        name: &str,
        (hold, scroll): (bool, Option<bool>),
        statement: &Statement,
        params: &[ScalarValue],
    ) -> Result<()> {
        if self.cursors.contains_key(name) {
            return Err(Error::Duplicate {
                kind: "cursor",
                name: name.to_owned(),
                sqlstate: SqlState::DUPLICATE_CURSOR,
            });
        }
        if self.block.is_none() && !hold {
            return Err(Error::hinted(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "DECLARE CURSOR can only be used in transaction blocks",
                "Use BEGIN first, or DECLARE .. CURSOR WITH HOLD.",
            ));
        }
        let (live, finite) = match &statement.kind {
            StatementKind::Subscribe(subscribe) => (true, subscribe.up_to.is_some()),
            StatementKind::Query(query) => (query.endless(), false),
            _ => (false, true),
        };
        let Outcome::Rows(rows) = Box::pin(self.execute(statement, params)).await? else {
            return Err(Error::Internal("a cursor over something without rows".into()));
        };
        if live && scroll == Some(true) {
            return Err(Error::unsupported(
                "SCROLL of a cursor over SUBSCRIBE is not supported",
                "Leave SCROLL out.",
            ));
        }
        let past = (!live && scroll != Some(false)).then(|| Past {
            rows: Vec::new(),
            at: 0,
            all: scroll.is_some(),
        });
        let ready = VecDeque::new();
        let state = State { stream: rows.stream, ready, live, finite, ended: false, past };
        let state = Arc::new(Mutex::new(state));
        let fresh = self.block.is_some();
        self.cursors.insert(name.to_owned(), Cursor { schema: rows.schema, hold, fresh, state });
        Ok(())
    }

    pub(super) fn cursor(&self, name: &str) -> Result<Cursor> {
        self.cursors.get(name).cloned().ok_or_else(|| Error::Undefined {
            kind: "cursor",
            name: name.to_owned(),
            sqlstate: SqlState::UNDEFINED_CURSOR,
        })
    }
}

/// The rows of FETCH.
pub(super) fn fetched(cursor: &Cursor, rows: RecordBatch) -> Rows {
    let stream = stream::iter([Ok(rows)]).boxed();
    Rows { schema: Arc::clone(&cursor.schema), stream, tag: "FETCH" }
}

/// Moves a cursor; returns the rows on the way.
pub(super) async fn fetch(
    cursor: &Cursor,
    motion: Motion,
    timeout_ms: Option<u64>,
) -> Result<RecordBatch> {
    let deadline = timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
    let mut state = cursor.state.lock().await;
    if state.past.is_some() {
        return state.scroll(motion, &cursor.schema).await;
    }
    let (Motion::Forward(count @ (None | Some(1..))), live) = (motion, state.live) else {
        return Err(Error::hinted(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "cursor can only scan forward",
            "Declare it with SCROLL option to enable backward scan.",
        ));
    };
    let wanted = count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    while state.rows() < wanted && !state.ended {
        let wait = match (deadline, live) {
            (Some(deadline), true) => Wait::Until(deadline),
            (None, true) if state.rows() > 0 && !(state.finite && count.is_none()) => Wait::Never,
            _ => Wait::ForEver,
        };
        if !state.fill(wait).await? {
            break;
        }
    }
    state.take(wanted, &cursor.schema)
}

impl Past {
    fn count(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }

    /// Rows by their numbers, from 1: `from` to `to`, which may be the lower one.
    fn slice(&self, from: usize, to: usize, schema: &SchemaRef) -> Result<RecordBatch> {
        let (low, high) = (from.min(to) - 1, from.max(to));
        let (mut parts, mut start) = (Vec::new(), 0);
        for batch in &self.rows {
            let end = start + batch.num_rows();
            let (first, last) = (low.max(start), high.min(end));
            if first < last {
                parts.push(batch.slice(first - start, last - first));
            }
            start = end;
        }
        let rows = concat_batches(schema, &parts)?;
        if from <= to {
            return Ok(rows);
        }
        let backwards = UInt64Array::from_iter_values((0..rows.num_rows() as u64).rev());
        Ok(take_record_batch(&rows, &backwards)?)
    }
}

impl State {
    /// Moves a cursor that can go back.
    async fn scroll(&mut self, motion: Motion, schema: &SchemaRef) -> Result<RecordBatch> {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let Some(at) = self.past.as_ref().map(|past| past.at) else {
            return Err(Error::Internal("a cursor that cannot go back".into()));
        };
        // The first and the last row to show, and where the cursor stands then.
        let target = match motion {
            Motion::Forward(Some(0)) | Motion::Relative(0) => {
                let count = self.read_to(at).await?;
                ((1..=count).contains(&at).then_some((at, at)), at)
            }
            Motion::Forward(count) => {
                let end = at.saturating_add(count.map_or(usize::MAX, number));
                let count = self.read_to(end).await?;
                let last = end.min(count);
                ((at < last).then_some((at + 1, last)), end.min(count + 1))
            }
            Motion::Backward(count) => {
                let end = at.saturating_sub(count.map_or(usize::MAX, number));
                ((at > 1).then(|| (at - 1, end.max(1))), end)
            }
            Motion::Absolute(row @ ..0) => {
                let count = self.read_to(usize::MAX).await?;
                let row = (count + 1).checked_sub(number(row.unsigned_abs()));
                self.single(row.unwrap_or(0)).await?
            }
            Motion::Absolute(row) => self.single(number(row.unsigned_abs())).await?,
            Motion::Relative(rows @ ..0) => {
                self.single(at.saturating_sub(number(rows.unsigned_abs()))).await?
            }
            Motion::Relative(rows) => {
                self.single(at.saturating_add(number(rows.unsigned_abs()))).await?
            }
        };
        let (shown, at) = target;
        let Some(past) = &mut self.past else { return Ok(RecordBatch::new_empty(schema.clone())) };
        past.at = at;
        let rows = match shown {
            Some((from, to)) => past.slice(from, to, schema)?,
            None => RecordBatch::new_empty(Arc::clone(schema)),
        };
        if !past.all && past.count() > KEPT_MAX {
            let (all, next) = (past.count(), past.at + 1);
            if next <= all {
                self.ready.push_back(past.slice(next, all, schema)?);
            }
            self.past = None;
        }
        Ok(rows)
    }

    /// The row of that number alone, if there is one, and where the cursor stands then.
    async fn single(&mut self, row: usize) -> Result<(Option<(usize, usize)>, usize)> {
        let count = self.read_to(row).await?;
        Ok(((1..=count).contains(&row).then_some((row, row)), row.min(count + 1)))
    }

    /// Reads rows up to that number, or to the end; returns how many there are so far.
    async fn read_to(&mut self, row: usize) -> Result<usize> {
        loop {
            let count = self.past.as_ref().map_or(0, Past::count);
            if count >= row || self.ended {
                return Ok(count);
            }
            self.fill(Wait::ForEver).await?;
            if let Some(past) = &mut self.past {
                past.rows.extend(self.ready.drain(..));
            }
        }
    }
}

/// How long to wait for a batch.
enum Wait {
    Never,
    Until(Instant),
    ForEver,
}

impl State {
    fn rows(&self) -> usize {
        self.ready.iter().map(RecordBatch::num_rows).sum()
    }

    /// Takes one batch from the query; returns whether there was one.
    async fn fill(&mut self, wait: Wait) -> Result<bool> {
        let next = match wait {
            Wait::Never => self.stream.next().now_or_never(),
            Wait::Until(deadline) => {
                tokio::time::timeout_at(deadline, self.stream.next()).await.ok()
            }
            Wait::ForEver => Some(self.stream.next().await),
        };
        match next {
            None => Ok(false),
            Some(None) => {
                self.ended = true;
                Ok(false)
            }
            Some(Some(batch)) => {
                self.ready.push_back(batch?);
                Ok(true)
            }
        }
    }

    fn take(&mut self, mut wanted: usize, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut taken = Vec::new();
        while wanted > 0
            && let Some(batch) = self.ready.pop_front()
        {
            let rows = batch.num_rows();
            if rows > wanted {
                self.ready.push_front(batch.slice(wanted, rows - wanted));
                taken.push(batch.slice(0, wanted));
                break;
            }
            wanted -= rows;
            taken.push(batch);
        }
        Ok(concat_batches(schema, &taken)?)
    }
}
