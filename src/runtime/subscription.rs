//! A reader's end of a query's changes: a bounded queue between workers and a connection.
//!
//! # Semantics
//! Changes arrive per commit, consolidated and in order of their times. A reader that falls behind
//! by more
//! than the limit loses its subscription, with an error, and harms nobody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::job::Fault;
use super::packet::Commit;
use crate::delta::Delta;
use crate::error::SqlState;
use crate::time::{Position, Timestamp};

/// What a reader gets at a time.
#[derive(Clone, Debug)]
pub struct Change {
    /// Changes, in order of their times; may be empty.
    pub delta: Delta,
    /// Nothing before this time follows.
    pub progress: Timestamp,
    /// The last commit in it.
    pub commit: Commit,
    /// The commit that made the changes.
    pub made: Position,
}

#[derive(Default)]
struct Queue {
    /// Changes with their sizes.
    changes: VecDeque<(Change, usize)>,
    bytes: usize,
    closed: bool,
    fault: Option<Fault>,
}

/// A bounded queue of changes.
pub struct Feed {
    queue: Mutex<Queue>,
    arrived: Notify,
    bytes_max: usize,
    /// Whether commits without a change are passed on, for their progress.
    progress: bool,
    /// Times that the reader waits for the progress to reach.
    alarms: Vec<Timestamp>,
}

impl Feed {
    /// An empty queue that holds at most `bytes_max` bytes, or one change that
    /// is larger.
    pub fn new(bytes_max: usize, progress: bool) -> Self {
        let alarms = Vec::new();
        Self { queue: Mutex::default(), arrived: Notify::new(), bytes_max, progress, alarms }
    }

    /// The queue of a reader that waits for progress to reach these times.
    #[must_use]
    pub fn waiting(self, alarms: Vec<Timestamp>) -> Self {
        Self { alarms, ..self }
    }

    /// Whether the reader waits for progress beyond `known` that `next` would bring.
    pub fn waits_within(&self, known: Timestamp, next: Timestamp) -> bool {
        self.alarms.iter().any(|at| known < *at && *at <= next) && !self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a change; returns whether the reader is still there.
    pub fn push(&self, delta: &Delta, progress: Timestamp, commit: Commit) -> bool {
        let mut queue = self.lock();
        if queue.closed {
            return false;
        }
        if delta.is_empty() && !self.progress {
            return true;
        }
        let bytes = delta.bytes();
        if queue.bytes + bytes > self.bytes_max && queue.bytes > 0 {
            queue.closed = true;
            queue.changes.clear();
            queue.fault = Some(Fault {
                sqlstate: SqlState::PROGRAM_LIMIT_EXCEEDED,
                message: format!(
                    "the subscription fell more than {} bytes behind (subscribe_buffer)",
                    self.bytes_max
                ),
            });
        } else {
            if delta.is_empty()
                && let Some((last, _)) = queue.changes.back_mut()
            {
                last.progress = last.progress.max(progress);
                last.commit = commit;
            } else {
                queue.bytes += bytes;
                let change =
                    Change { delta: delta.clone(), progress, commit, made: commit.position };
                queue.changes.push_back((change, bytes));
            }
        }
        let open = !queue.closed;
        drop(queue);
        self.arrived.notify_one();
        open
    }

    /// Ends the queue; what is in it can still be read.
    pub fn close(&self, fault: Option<Fault>) {
        let mut queue = self.lock();
        if !queue.closed {
            queue.closed = true;
            queue.fault = fault;
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// Adds changes that had come in an earlier life of the server, before all others.
    pub fn restore(&self, changes: Vec<Change>) {
        let mut queue = self.lock();
        for change in changes {
            let bytes = change.delta.bytes();
            queue.bytes += bytes;
            queue.changes.push_back((change, bytes));
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// Looks at the changes that have not been taken; meanwhile none comes or is taken.
    pub fn look<T>(&self, look: impl FnOnce(Vec<&Change>) -> T) -> T {
        look(self.lock().changes.iter().map(|(change, _)| change).collect())
    }

    /// Waits for the next change; `None` when the query has ended. One reader at a time;
    /// cancel-safe.
    pub async fn next(&self) -> Option<Result<Change, Fault>> {
        self.next_noted(|_| ()).await
    }

    /// The same; the change is shown to `note` before it is gone for those who look.
    pub async fn next_noted(&self, note: impl Fn(&Change)) -> Option<Result<Change, Fault>> {
        loop {
            {
                let mut queue = self.lock();
                if let Some((change, bytes)) = queue.changes.pop_front() {
                    note(&change);
                    queue.bytes -= bytes;
                    return Some(Ok(change));
                }
                if queue.closed {
                    return queue.fault.take().map(Err);
                }
            }
            self.arrived.notified().await;
        }
    }
}
