//! Takes what streams retain from memory to files, beside commits.
//!
//! # Semantics
//! A thread writes one part after the other, in the order in which they were sealed. A part stays
//! in memory until its file is on the disk. If that fails, as on a full disk, it is said in the
//! log, nothing is lost, and all is tried again with the next part or after `RETRY`. A part that
//! nobody holds any more is not written.
//!
//! A file that a log names in its image has to outlive the log: the journal holds it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::part::Sealed;
use crate::runtime::{Error, Result};
use crate::sql::catalog::Oid;
use crate::storage::archive::{self, Archive};

/// How long a part waits that could not be written: a disk has room again when somebody makes some.
const RETRY: Duration = Duration::from_secs(10);

/// Bytes of a part at most, about: of wide rows fewer belong together.
const PART_BYTES: usize = 32 * 1024 * 1024;

/// Takes what streams retain from memory to files.
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Rows that belong into a file; `None` writes none.
    part_rows: Option<usize>,
}

struct Shared {
    archive: Archive,
    queue: Mutex<Queue>,
    moved: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Parts to be written, with their streams.
    parts: VecDeque<(Oid, Weak<Sealed>)>,
    /// Whether one is being written.
    busy: bool,
    /// Whether the last one could not be written.
    failing: bool,
    closed: bool,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper {
    /// Keeps rows in files of a directory, `part_rows` or some more in each.
    pub fn start(dir: &Path, part_rows: usize) -> Result<Arc<Self>> {
        let (archive, queue, moved) = (Archive::open(dir)?, Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { archive, queue, moved });
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new().name("history".into()).spawn(move || worker.run());
        let thread = thread.map_err(|source| {
            Error::Archive(archive::Error::Io {
                what: "start a thread for",
                path: dir.into(),
                source,
            })
        })?;
        let (thread, part_rows) = (Mutex::new(Some(thread)), Some(part_rows));
        Ok(Arc::new(Self { shared, thread, part_rows }))
    }

    /// Reads files of a directory, and writes none.
    pub fn inspect(dir: &Path) -> Result<Arc<Self>> {
        let (archive, queue, moved) = (Archive::inspect(dir)?, Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { archive, queue, moved });
        Ok(Arc::new(Self { shared, thread: Mutex::default(), part_rows: None }))
    }

    /// The files.
    pub fn archive(&self) -> &Archive {
        &self.shared.archive
    }

    /// Whether so much in memory belongs into a file.
    pub(super) fn is_part(&self, rows: usize, bytes: usize) -> bool {
        self.part_rows.is_some_and(|part| rows >= part || bytes >= PART_BYTES)
    }

    /// Bytes beyond which [`Keeper::is_part`] does not ask for the rows.
    pub(super) fn is_large(bytes: usize) -> bool {
        bytes >= PART_BYTES
    }

    /// Writes a part when its turn comes.
    pub(super) fn write(&self, owner: Oid, part: &Arc<Sealed>) {
        let mut queue = lock(&self.shared.queue);
        queue.parts.push_back((owner, Arc::downgrade(part)));
        queue.failing = false;
        drop(queue);
        self.shared.moved.notify_all();
    }

    /// Waits until every part is in its file, or one cannot be written. Blocks.
    pub fn drain(&self) {
        let queue = lock(&self.shared.queue);
        let waits = |queue: &mut Queue| {
            (queue.busy || !queue.parts.is_empty()) && !queue.failing && !queue.closed
        };
        let drained = self.shared.moved.wait_while(queue, waits);
        drop(drained.unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes no more. Blocks until nothing is being written.
    pub fn stop(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.moved.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes history has panicked");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) {
        let mut told = false;
        while let Some((owner, part)) = self.next() {
            let Some(sealed) = part.upgrade() else {
                self.done(None);
                continue;
            };
            let stored = sealed.store(&self.archive, &owner.to_string());
            drop(sealed);
            match stored {
                Ok(()) => {
                    told = false;
                    self.done(None);
                }
                Err(error @ Error::Archive(archive::Error::Io { .. })) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(stream = owner, "history stays in memory: {error}");
                    }
                    self.done(Some((owner, part)));
                }
                Err(error) => {
                    tracing::error!(stream = owner, "a part of history stays in memory: {error}");
                    self.done(None);
                }
            }
            self.archive.sweep();
        }
    }

    /// Waits for a part; none if there will be no more.
    fn next(&self) -> Option<(Oid, Weak<Sealed>)> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                return None;
            }
            let pause = queue.failing;
            if !pause && let Some(part) = queue.parts.pop_front() {
                queue.busy = true;
                return Some(part);
            }
            let waits = self.moved.wait_timeout(queue, RETRY);
            queue = waits.unwrap_or_else(PoisonError::into_inner).0;
            queue.failing = false;
        }
    }

    /// Says that a part is through; or that it could not be written.
    fn done(&self, failed: Option<(Oid, Weak<Sealed>)>) {
        let mut queue = lock(&self.queue);
        queue.busy = false;
        queue.failing = failed.is_some();
        failed.into_iter().for_each(|part| queue.parts.push_front(part));
        drop(queue);
        self.moved.notify_all();
    }
}
