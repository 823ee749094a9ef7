//! Cursors: DECLARE, FETCH, CLOSE over finite and endless rows.
//!
//! # Semantics
//! `FETCH n` of an endless cursor waits for the first row and then takes what is ready, up to n;
//! with a timeout it takes what comes within it. `FETCH ALL` of a SUBSCRIBE with UP TO waits for
//! its end. Rows are taken out of the cursor only when the FETCH completes, so a canceled FETCH
//! loses none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::outcome::{Outcome, RowStream, Rows};
use super::session::Session;
use super::{Error, Result};
use crate::error::SqlState;
use crate::sql::statement::{Statement, StatementKind};

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

struct State {
    stream: RowStream,
    /// Rows that came and were not fetched.
    ready: VecDeque<RecordBatch>,
    live: bool,
    /// Whether rows that come in time come to an end.
    finite: bool,
    ended: bool,
}

impl Session {
    pub(super) async fn declare(
        &mut self,
        name: &str,
        hold: bool,
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
        let state =
            State { stream: rows.stream, ready: VecDeque::new(), live, finite, ended: false };
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

/// Takes the next rows of a cursor.
pub(super) async fn fetch(
    cursor: Cursor,
    count: Option<u64>,
    timeout_ms: Option<u64>,
) -> Result<Rows> {
    let wanted = count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let deadline = timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
    let mut state = cursor.state.lock().await;
    while state.rows() < wanted && !state.ended {
        let wait = match (deadline, state.live) {
            (Some(deadline), true) => Wait::Until(deadline),
            (None, true) if state.rows() > 0 && !(state.finite && count.is_none()) => Wait::Never,
            _ => Wait::ForEver,
        };
        if !state.fill(wait).await? {
            break;
        }
    }
    let batch = state.take(wanted, &cursor.schema)?;
    let rows = stream::iter([Ok(batch)]).boxed();
    Ok(Rows { schema: Arc::clone(&cursor.schema), stream: rows, tag: "FETCH" })
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
