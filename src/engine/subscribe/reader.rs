//! What a subscriber reads: changes as they come, from AS OF on and up to UP TO.
//!
//! # Semantics
//! AS OF t: the first lines are the content as of t, at that time, once it is known that no change
//! of t or before follows; of a stream they are its elements from t on. UP TO t: lines of before t,
//! and the end once progress has reached t. An instant of event time that rows which come late may
//! still correct is not promised: there progress is behind the watermark.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use futures::{StreamExt, stream};

use super::super::outcome::Rows;
use super::super::{Error, Result};
use super::shape::Shape;
use super::upsert::Upsert;
use super::{Guard, Options};
use crate::delta::Delta;
use crate::error::SqlState;
use crate::planner::plan::Clock;
use crate::runtime::job::Fault;
use crate::runtime::subscription::Change;
use crate::time::Timestamp;

/// What is there already when a view or derived stream is followed.
pub(super) struct First {
    /// The content.
    pub content: Delta,
    /// The content as of AS OF, and the changes since, if they are known.
    pub changes: Option<Delta>,
    /// Nothing before this time follows.
    pub progress: Timestamp,
}

/// What the rows of a subscription go through.
pub(super) struct Reader {
    guard: Guard,
    shape: Shape,
    options: Options,
    upsert: Option<Upsert>,
    /// The content at the start of what exists already.
    first: Option<First>,
    /// Whether the first changes are those since AS OF, each at its time.
    replayed: bool,
    /// What came while the content of AS OF was not known; `None` once the first lines are out.
    start: Option<Vec<Delta>>,
    /// Whether UP TO is reached.
    ended: bool,
    /// The time of the last progress line; the first says that the content at the start is whole.
    last_progress: Option<Timestamp>,
    /// Batches to be sent, the next one last.
    pending: Vec<RecordBatch>,
}

impl Reader {
    pub(super) fn new(
        guard: Guard,
        shape: Shape,
        first: Option<First>,
        options: Options,
    ) -> Result<Self> {
        let upsert = match &options.upsert_key {
            None => None,
            Some(key) => Some(Upsert::new(&shape.columns, shape.key(key)?)?),
        };
        let replayed = first.as_ref().is_some_and(|first| first.changes.is_some());
        Ok(Self {
            guard,
            shape,
            options,
            upsert,
            first,
            replayed,
            start: Some(Vec::new()),
            ended: false,
            last_progress: None,
            pending: Vec::new(),
        })
    }

    /// The rows, as they come.
    pub(super) fn rows(self) -> Rows {
        let schema = Arc::clone(&self.shape.schema);
        let stream = stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(batch)) => Some((Ok(batch), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Rows { schema, stream: stream.boxed(), tag: "SUBSCRIBE" }
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.pending.pop() {
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            let (delta, progress) = if let Some(first) = self.first.take() {
                (first.changes.unwrap_or(first.content), first.progress)
            } else {
                match self.guard.feed.next().await {
                    None => return Ok(None),
                    Some(Err(fault)) => return Err(ended(fault)),
                    Some(Ok(Change { delta, progress, .. })) => {
                        self.guard.engine.hub().durable().await;
                        (delta, progress)
                    }
                }
            };
            self.take(delta, progress)?;
        }
    }

    /// Turns a change into batches.
    fn take(&mut self, delta: Delta, progress: Timestamp) -> Result<()> {
        let (first, delta) = match self.start.take() {
            None => (None, delta),
            Some(held) => match self.begin(held, delta, progress)? {
                None => return Ok(()),
                Some((first, delta)) => (Some(first), delta),
            },
        };
        let progress = self.final_before(progress);
        let progress = self.options.up_to.map_or(progress, |end| progress.min(end));
        self.ended = self.options.up_to.is_some_and(|end| progress >= end);
        if self.options.progress && self.last_progress < Some(progress) {
            self.last_progress = Some(progress);
            self.pending.push(self.shape.progressed(progress)?);
        }
        let first = first.map(|first| self.lines(first)).transpose()?.flatten();
        let changes = self.lines(delta)?;
        self.pending.extend(changes);
        self.pending.extend(first.filter(|_| self.options.snapshot));
        Ok(())
    }

    /// The lines of changes, of before UP TO.
    fn lines(&mut self, delta: Delta) -> Result<Option<RecordBatch>> {
        let delta = match self.options.up_to {
            None => delta,
            Some(end) => part(&delta, |at| at < end)?,
        };
        if delta.is_empty() {
            return Ok(None);
        }
        let lines = match &mut self.upsert {
            None => self.shape.changes(&delta)?,
            Some(upsert) => self.shape.upserts(upsert.fold(&delta)?)?,
        };
        Ok((lines.num_rows() > 0).then_some(lines))
    }

    /// Before which time nothing changes any more, where the watermark has reached `progress`.
    fn final_before(&self, progress: Timestamp) -> Timestamp {
        progress.plus(-self.shape.result.late)
    }

    /// What comes first, and the changes after it; `None` as long as it is not known.
    fn begin(
        &mut self,
        mut held: Vec<Delta>,
        delta: Delta,
        progress: Timestamp,
    ) -> Result<Option<(Delta, Delta)>> {
        let stream = self.shape.is_stream();
        let Some(as_of) = self.options.as_of else {
            // The first commit of a query of its own: what it finds, at the last closed instant.
            // Elements keep their own times.
            let collapse = !stream && self.shape.result.clock == Clock::Event;
            let at = progress.plus(-1);
            let first = if collapse { delta.at(at).consolidate()? } else { delta };
            let none = Delta::empty(first.schema());
            return Ok(Some((first, none)));
        };
        if stream {
            if progress <= as_of {
                self.start = Some(held);
                return Ok(None);
            }
            let (first, rest) = (part(&delta, |at| at == as_of)?, part(&delta, |at| at > as_of)?);
            return Ok(Some((first, rest)));
        }
        let progress = self.final_before(progress);
        let found = held.is_empty() && self.shape.result.clock == Clock::Arrival && !self.replayed;
        // What a query finds was so before, since a time that was compared with AS OF.
        held.push(if found { delta.at(Timestamp::MIN) } else { delta });
        if progress <= as_of {
            self.start = Some(held);
            return Ok(None);
        }
        let all = Delta::concat(&held[0].schema(), &held)?;
        let first = part(&all, |at| at <= as_of)?.at(as_of).consolidate()?;
        let rest = part(&all, |at| at > as_of)?.by_instant()?.consolidate()?;
        Ok(Some((first, rest)))
    }
}

/// The changes whose time passes a test.
fn part(delta: &Delta, test: impl Fn(Timestamp) -> bool) -> Result<Delta> {
    let keep: BooleanArray = (0..delta.len()).map(|i| Some(test(delta.ts_at(i)))).collect();
    Ok(delta.filter(&keep)?)
}

/// What a reader sees when its query has ended.
fn ended(fault: Fault) -> Error {
    let hint = (fault.sqlstate == SqlState::PROGRAM_LIMIT_EXCEEDED)
        .then(|| "Read faster, or SET subscribe_buffer to more, e.g. '256MB'.".to_owned());
    Error::Refused { message: fault.message, sqlstate: fault.sqlstate, detail: None, hint }
}
