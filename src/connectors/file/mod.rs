//! The file connector: rows of one file, the matches of a glob, or a directory.
//!
//! # Semantics
//! Files are read in name order, each from its beginning to its end. Without `follow` the source
//! ends with the last file that was there when it was opened, and a last line needs no line end.
//! With `follow` it goes on: files that grow and files that come are read as they do, and a line
//! counts once its line end is written; a file that was renamed is read on, and one that has shrunk
//! is read from its beginning, which is told as a bad record. A Parquet file counts once its
//! footer is written. A path where there is nothing is an error,
//! unless it is followed.
//!
//! # Example
//! ```sql
//! CREATE STREAM s (...) WITH (connector = 'file', path = 'flights/*.ndjson', rate = '3600x')
//! ```
//!
//! # Invariants
//! 1. `next` changes its state only between waits, and a read that is under way stays in `reading`.
//!    So it may be dropped while it waits.
//! 2. `pending` holds rows of one file only, and the noted progress is that of the rows that were
//!    delivered. So a position resumes exactly behind its batch.
//!
//! # Why
//! Reading and decoding block, so threads that may block do it, one chunk ahead: a slow disk holds
//! up nobody else, and rows are decoded while those before them are taken.

mod files;
mod listing;
mod progress;
mod reader;
mod settings;
pub mod sink;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::format::{Decoded, Mark};
use super::pace::{Due, Pacer, pause};
use super::{Error, Result, Source, SourceBatch, SourceSpec};
use files::{Chunk, Files};
use progress::Progress;
use settings::Settings;

pub use settings::FileFormat;

/// Time between looks for growth while following: short against human patience, and a look costs
/// one system call per file.
const POLL_MICROS: i64 = 200_000;

/// Reads files.
pub struct FileSource {
    follow: bool,
    limit: Option<u64>,
    pace_by: Option<usize>,
    pacer: Pacer,
    /// How far rows were delivered.
    progress: Progress,
    reading: Reading,
    /// Rows that are decoded and not delivered, and their file.
    pending: Decoded,
    file: PathBuf,
}

/// Where the files are.
enum Reading {
    /// Nothing is being read.
    Idle(Box<Files>),
    /// The next chunk is being read.
    Busy(JoinHandle<(Box<Files>, Result<Option<Chunk>>)>),
    /// The reader is gone with the server.
    Gone,
}

impl FileSource {
    /// Finds the files and opens the first one, which has to have the declared columns.
    pub fn open(spec: &SourceSpec) -> Result<Self> {
        let settings = Settings::new(spec)?;
        let progress = Progress::parse(&spec.from)?;
        Ok(Self {
            follow: settings.follow,
            limit: settings.limit,
            pace_by: settings.pace_by,
            pacer: Pacer::new(settings.rate, spec.clock.clone()),
            pending: Decoded::empty(&settings.schema, Mark::default()),
            file: PathBuf::new(),
            reading: Reading::Idle(Box::new(Files::open(settings, progress.clone())?)),
            progress,
        })
    }

    /// Returns whether the source ends by itself.
    pub fn bounded(&self) -> bool {
        !self.follow
    }

    /// Says that there is nothing to read yet, if that is so.
    pub fn notice(&self) -> Option<String> {
        match &self.reading {
            Reading::Idle(files) => files.notice(),
            Reading::Busy(_) | Reading::Gone => None,
        }
    }

    /// Begins to read the next chunk, unless that was begun.
    fn read_ahead(&mut self) {
        self.reading = match std::mem::replace(&mut self.reading, Reading::Gone) {
            Reading::Idle(mut files) => Reading::Busy(tokio::task::spawn_blocking(move || {
                let chunk = files.next();
                (files, chunk)
            })),
            other => other,
        };
    }

    /// Waits for the next chunk; `None` if there is none now, or none any more.
    async fn chunk(&mut self) -> Result<Option<Chunk>> {
        self.read_ahead();
        let Reading::Busy(job) = &mut self.reading else { return Ok(None) };
        let done = job.await;
        self.reading = Reading::Gone;
        let (files, chunk) = done.map_err(|error| Error::Io {
            what: "reading files".to_owned(),
            source: io::Error::other(error),
        })?;
        self.reading = Reading::Idle(files);
        chunk
    }

    /// Returns what is due of the pending rows, or how long to wait.
    fn due(&mut self, rows_max: usize) -> Due {
        let left = self.limit.map_or(u64::MAX, |limit| limit - self.progress.rows);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let rows = self.pending.ends.len().min(rows_max.max(1)).min(left);
        if rows == 0 {
            return Due::Rows(0);
        }
        let time = self.pace_by.map(|column| (&self.pending.rows, column));
        self.pacer.due(time, rows)
    }

    /// Takes rows off the pending ones.
    fn deliver(&mut self, rows: usize) -> SourceBatch {
        let taken = self.pending.take(rows);
        self.progress.rows += super::format::count(taken.ends.len());
        self.progress.set(&self.file, taken.end, self.follow);
        let bad = taken.bad.into_iter().map(|(_, record)| record).collect();
        SourceBatch { rows: taken.rows, bad, position: self.progress.position() }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self, rows_max: usize) -> Result<Option<SourceBatch>> {
        loop {
            if self.limit.is_some_and(|limit| self.progress.rows >= limit) {
                return Ok(None);
            }
            if !self.pending.is_empty() {
                match self.due(rows_max) {
                    Due::Rows(rows) => return Ok(Some(self.deliver(rows))),
                    Due::Wait(micros) => pause(micros).await,
                }
                continue;
            }
            match self.chunk().await? {
                Some(Chunk { file, rows }) => {
                    if rows.is_empty() {
                        self.progress.set(&file, rows.end, self.follow);
                    }
                    (self.file, self.pending) = (file, rows);
                    self.read_ahead();
                }
                None if self.follow => pause(POLL_MICROS).await,
                None => return Ok(None),
            }
        }
    }
}
