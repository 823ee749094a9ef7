//! The file connector: rows of one file, the matches of a glob, or a directory.
//!
//! # Semantics
//! Files are read in name order, each from its beginning to its end. Without `follow` the source
//! ends with the last file that was there when it was opened, and a last line needs no line end.
//! With
//! `follow` it goes on: files that grow and files that come are read as they do, and a line counts
//! once its line end is written; a file that has shrunk is read from its beginning. A Parquet file
//! counts once its footer is written.
//!
//! # Example
//! ```sql
//! CREATE STREAM s (...) WITH (connector = 'file', path = 'flights/*.ndjson', rate = '3600x')
//! ```
//!
//! # Invariants
//! 1. `next` changes its state only between waits. So it may be dropped while it waits.
//! 2. `pending` holds rows of the open file only, and the noted progress is that of the rows that
//!    were delivered. So a position resumes exactly behind its batch.
//!
//! # Why
//! Blocks are read with plain system calls on the calling task: a read of a local file takes less
//! time than decoding it, which happens there too.

mod listing;
mod progress;
mod reader;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::format::{Decoded, Mark};
use super::pace::{Due, Pacer, pause};
use super::{Error, Result, Source, SourceBatch, SourceSpec};
use listing::{is_glob, list};
use progress::Progress;
use reader::Reader;
use settings::{FileFormat, Settings};

/// Time between looks for growth while following: short against human patience, and a look costs
/// one system call per file.
const POLL_MICROS: i64 = 200_000;

/// Reads files.
pub struct FileSource {
    settings: Settings,
    pacer: Pacer,
    /// How far rows were delivered.
    progress: Progress,
    /// Files to be read, in name order, and then a new look at the directory.
    queue: VecDeque<PathBuf>,
    /// The file being read.
    current: Option<(PathBuf, Reader)>,
    /// Rows of the current file that are decoded and not delivered.
    pending: Decoded,
    /// Length of each file when it was last opened; it is not opened again before that changes.
    seen: BTreeMap<PathBuf, u64>,
}

/// Checks the options of a file source.
pub fn check(spec: &SourceSpec) -> Result<()> {
    Settings::new(spec).map(|_| ())
}

/// Returns whether the source ends by itself.
pub fn bounded(spec: &SourceSpec) -> bool {
    Settings::new(spec).is_ok_and(|settings| !settings.follow)
}

impl FileSource {
    /// Opens the files; a path that does not exist is an error unless it is followed or a glob.
    pub fn open(spec: &SourceSpec) -> Result<Self> {
        let settings = Settings::new(spec)?;
        let progress = Progress::parse(&spec.from)?;
        let mut source = Self {
            pacer: Pacer::new(settings.rate, spec.clock.clone()),
            pending: Decoded::empty(&settings.schema, Mark::default()),
            settings,
            progress,
            queue: VecDeque::new(),
            current: None,
            seen: BTreeMap::new(),
        };
        let files = source.list()?;
        if files.is_empty() && !source.settings.follow && is_glob(&source.settings.path) {
            tracing::warn!(path = %source.settings.path, "no file matches");
        }
        let begun = |file: &PathBuf| source.settings.follow || !source.progress.is_past(file);
        source.queue = files.into_iter().filter(begun).collect();
        source.open_next()?;
        Ok(source)
    }

    /// Returns the files that are there; a path that is followed may come later.
    fn list(&self) -> Result<Vec<PathBuf>> {
        match list(&self.settings.path, self.settings.only) {
            Err(Error::Io { source, .. })
                if self.settings.follow && source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(Vec::new())
            }
            files => files,
        }
    }

    /// Opens the next file of the queue that has news; returns whether there is one.
    fn open_next(&mut self) -> Result<bool> {
        let follow = self.settings.follow;
        while let Some(path) = self.queue.pop_front() {
            let mut from = self.progress.get(&path).unwrap_or_default();
            if follow {
                let Some(length) = self.news(&path)? else { continue };
                if self.settings.format != FileFormat::Parquet && length < from.offset {
                    from = Mark::default();
                    self.progress.set(&path, from, true);
                }
                self.seen.insert(path.clone(), length);
            }
            let reader = Reader::open(&self.settings, &path, from, !follow)?;
            self.current = Some((path, reader));
            return Ok(true);
        }
        Ok(false)
    }

    /// Returns the length of a followed file if it has changed and can be read.
    fn news(&self, path: &Path) -> Result<Option<u64>> {
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { what: path.display().to_string(), source }),
        };
        let changed = self.seen.get(path) != Some(&length);
        let readable = self.settings.format != FileFormat::Parquet || has_footer(path);
        Ok((changed && readable).then_some(length))
    }

    /// Decodes rows into `pending`; returns whether there are any now.
    fn fill(&mut self) -> Result<bool> {
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(false);
            }
            let Some((path, reader)) = &mut self.current else { return Ok(false) };
            match reader.read_rows()? {
                None => self.current = None,
                Some(decoded) if decoded.is_empty() => {
                    self.progress.set(path, decoded.end, self.settings.follow);
                }
                Some(decoded) => {
                    self.pending = decoded;
                    return Ok(true);
                }
            }
        }
    }

    /// Returns what is due of the pending rows, or how long to wait.
    fn due(&mut self, rows_max: usize) -> Due {
        let left = self.settings.limit.map_or(u64::MAX, |limit| limit - self.progress.rows);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let rows = self.pending.ends.len().min(rows_max.max(1)).min(left);
        if rows == 0 {
            return Due::Rows(0);
        }
        let time = self.settings.pace_by.map(|column| (&self.pending.rows, column));
        self.pacer.due(time, rows)
    }

    /// Takes rows off the pending ones.
    fn deliver(&mut self, rows: usize) -> SourceBatch {
        let taken = self.pending.take(rows);
        self.progress.rows += super::format::count(taken.ends.len());
        if let Some((path, _)) = &self.current {
            self.progress.set(path, taken.end, self.settings.follow);
        }
        let bad = taken.bad.into_iter().map(|(_, record)| record).collect();
        SourceBatch { rows: taken.rows, bad, position: self.progress.position() }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self, rows_max: usize) -> Result<Option<SourceBatch>> {
        loop {
            if self.settings.limit.is_some_and(|limit| self.progress.rows >= limit) {
                return Ok(None);
            }
            if !self.pending.is_empty() {
                match self.due(rows_max) {
                    Due::Rows(rows) => return Ok(Some(self.deliver(rows))),
                    Due::Wait(micros) => pause(micros).await,
                }
            } else if !self.fill()? {
                if !self.settings.follow {
                    return Ok(None);
                }
                let files = self.list()?;
                self.queue.extend(files);
                if !self.open_next()? {
                    pause(POLL_MICROS).await;
                }
            }
        }
    }
}

/// Returns whether a Parquet file is whole: it ends with its magic bytes.
fn has_footer(path: &Path) -> bool {
    let read = || -> io::Result<bool> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-4))?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)?;
        Ok(&magic == b"PAR1")
    };
    read().unwrap_or(false)
}
