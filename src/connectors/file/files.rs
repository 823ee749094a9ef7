//! The files of a source, one after the other: a blocking iterator over decoded rows.
//!
//! # Semantics
//! A file that as a whole is not of its format, or lacks a declared column, is one bad record, and
//! is not read any more; so is the rest of a file that turns out to be damaged.
//!
//! # State
//! How far each file was read and, of followed files, the beginning of a last line that has no end
//! yet: a line that grows is not read again from its start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::listing::{file_name, is_glob, list};
use super::progress::Progress;
use super::reader::{Reader, Rest};
use super::settings::{FileFormat, Settings};
use crate::connectors::format::{Decoded, Mark};
use crate::connectors::{BadRecord, Error, Flaw, Result};

/// Decoded rows of one file.
pub struct Chunk {
    /// The file.
    pub file: PathBuf,
    /// Its rows.
    pub rows: Decoded,
}

/// The files of a source, one after the other.
pub struct Files {
    settings: Settings,
    /// How far rows were read.
    read: Progress,
    /// Files to be read, in name order, and then a new look at the directory.
    queue: VecDeque<PathBuf>,
    /// The file being read.
    current: Option<(PathBuf, Reader)>,
    /// Length of each followed file when it was last opened; it is not opened again before that
    /// changes.
    seen: BTreeMap<PathBuf, u64>,
    /// Beginnings of lines that have no end yet.
    rests: BTreeMap<PathBuf, Rest>,
    /// Files that are not of their format.
    refused: BTreeSet<PathBuf>,
}

impl Files {
    /// Finds the files and opens the first one; that it can be read is an error here if it cannot.
    pub fn open(settings: Settings, read: Progress) -> Result<Self> {
        let mut files = Self {
            read,
            queue: VecDeque::new(),
            current: None,
            seen: BTreeMap::new(),
            rests: BTreeMap::new(),
            refused: BTreeSet::new(),
            settings,
        };
        let Settings { path, follow, .. } = &files.settings;
        let found = files.list()?;
        let exists = Path::new(path).exists();
        if found.is_empty() && !follow && !exists && is_glob(path) {
            return Err(Error::NoFile { message: format!("no file matches \"{path}\"") });
        }
        let begun = |file: &PathBuf| *follow || !files.read.is_past(file);
        files.queue = found.into_iter().filter(begun).collect();
        files.current = match files.open_next() {
            Some((path, reader)) => Some((path, reader?)),
            None => None,
        };
        Ok(files)
    }

    /// Says that there is nothing to read yet, if that is so.
    pub fn notice(&self) -> Option<String> {
        let Settings { path, follow, .. } = &self.settings;
        let nothing = self.current.is_none() && self.seen.is_empty() && self.read.rows == 0;
        nothing.then(|| match (Path::new(path).exists(), follow) {
            (true, false) => format!("there is no file to read in \"{path}\""),
            (true, true) => format!("there is no file to read in \"{path}\" yet; waiting for one"),
            (false, _) => format!("\"{path}\" does not exist yet; waiting for it"),
        })
    }

    /// Reads the next rows; `None` if there are none now, or none any more.
    pub fn next(&mut self) -> Result<Option<Chunk>> {
        let follow = self.settings.follow;
        let mut looked = !follow;
        loop {
            let (file, mut reader) = match self.current.take() {
                Some(current) => current,
                None => match self.open_next() {
                    Some((file, Ok(reader))) => (file, reader),
                    Some((file, Err(error))) => return self.refuse(file, error).map(Some),
                    None if looked => return Ok(None),
                    None => {
                        looked = true;
                        self.queue.extend(self.list()?);
                        continue;
                    }
                },
            };
            match reader.read_rows() {
                Ok(Some(rows)) => {
                    self.read.set(&file, rows.end, follow);
                    self.current = Some((file.clone(), reader));
                    return Ok(Some(Chunk { file, rows }));
                }
                Ok(None) if follow => {
                    self.rests.extend(reader.into_rest().map(|rest| (file, rest)));
                }
                Ok(None) => {}
                Err(error) => return self.refuse(file, error).map(Some),
            }
        }
    }

    /// Makes an error of a file's format one bad record.
    fn refuse(&mut self, file: PathBuf, error: Error) -> Result<Chunk> {
        let Error::Format { reason, .. } = error else { return Err(error) };
        let end = self.read.get(&file).unwrap_or_default();
        let flaw = Flaw::malformed(reason);
        let record = BadRecord { place: file_name(&file), flaw, raw: String::new() };
        self.refused.insert(file.clone());
        let rows = Decoded::empty(&self.settings.schema, end);
        Ok(Chunk { file, rows: Decoded { bad: vec![(0, record)], ..rows } })
    }

    /// Returns the files that are there; a path that is followed may come later.
    fn list(&self) -> Result<Vec<PathBuf>> {
        match list(&self.settings.path, self.settings.only) {
            Err(Error::NoFile { .. }) if self.settings.follow => Ok(Vec::new()),
            files => files,
        }
    }

    /// Opens the next file of the queue that has news, if there is one.
    fn open_next(&mut self) -> Option<(PathBuf, Result<Reader>)> {
        let follow = self.settings.follow;
        while let Some(path) = self.queue.pop_front() {
            if self.refused.contains(&path) {
                continue;
            }
            let mut from = self.read.get(&path).unwrap_or_default();
            let mut rest = None;
            if follow {
                let length = match self.news(&path) {
                    Ok(Some(length)) => length,
                    Ok(None) => continue,
                    Err(error) => return Some((path, Err(error))),
                };
                rest = self.rests.remove(&path);
                let known = from.offset + rest.as_ref().map_or(0, Rest::len);
                if self.settings.format != FileFormat::Parquet && length < known {
                    (from, rest) = (Mark::default(), None);
                    self.read.set(&path, from, true);
                }
                self.seen.insert(path.clone(), length);
            }
            let reader = Reader::open(&self.settings, &path, from, rest, !follow);
            return Some((path, reader));
        }
        None
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
