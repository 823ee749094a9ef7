//! The files of a source, one after the other: a blocking iterator over decoded rows.
//!
//! # Semantics
//! A file that as a whole is not of its format, or lacks a declared column, is one bad record, and
//! is not read any more; so is the rest of a file that turns out to be damaged.
//!
//! A followed file that was renamed is read on under its new name, whether or not that is one of
//! the source's, and what has come in its place is read from its beginning. So is a file that has
//! shrunk, which is told as a bad record: what was in it and not read is gone.
//!
//! # State
//! How far each file was read and, of followed files, the beginning of a last line that has no end
//! yet: a line that grows is not read again from its start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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

/// Tells a file from all others, whatever its path: its device, its number there, and when it was
/// made, since numbers are used again.
type Identity = (u64, u64, Option<SystemTime>);

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
    /// Which file was found under each followed path.
    identities: BTreeMap<PathBuf, Identity>,
    /// Files that were found to be shorter than what was read of them.
    truncated: VecDeque<PathBuf>,
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
            identities: BTreeMap::new(),
            truncated: VecDeque::new(),
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
            if let Some(file) = self.truncated.pop_front() {
                return Ok(Some(self.shrunk(file)));
            }
            let (file, mut reader) = match self.current.take() {
                Some(current) => current,
                None => match self.open_next() {
                    Some((file, Ok(reader))) => (file, reader),
                    Some((file, Err(error))) => return self.refuse(file, error).map(Some),
                    None if looked => return Ok(None),
                    None => {
                        looked = true;
                        let found = self.list()?;
                        self.queue = self.renamed().into();
                        let other = |file: &PathBuf| !self.queue.contains(file);
                        let found: Vec<_> = found.into_iter().filter(other).collect();
                        self.queue.extend(found);
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

    /// Says that a file has shrunk.
    fn shrunk(&self, file: PathBuf) -> Chunk {
        let reason = "the file has shrunk; it is read again from its beginning".to_owned();
        let (place, flaw) = (file_name(&file), Flaw::malformed(reason));
        let record = BadRecord { place, flaw, raw: String::new() };
        let rows = Decoded::empty(&self.settings.schema, Mark::default());
        Chunk { file, rows: Decoded { bad: vec![(0, record)], ..rows } }
    }

    /// Finds the files that have other names than before, and keeps what is known of them under
    /// these.
    fn renamed(&mut self) -> Vec<PathBuf> {
        let gone = |(path, identity): &(&PathBuf, &Identity)| identity_of(path) != Some(**identity);
        let gone = self.identities.iter().filter(gone);
        let moves: Vec<(PathBuf, Option<PathBuf>)> =
            gone.map(|(path, identity)| (path.clone(), sibling(path, *identity))).collect();
        let forget = |from: &PathBuf| {
            let identity = self.identities.remove(from);
            (identity, self.seen.remove(from), self.rests.remove(from), self.read.remove(from))
        };
        let known: Vec<_> = moves.iter().map(|(from, _)| from).map(forget).collect();
        let mut renamed = Vec::new();
        for ((_, to), (identity, seen, rest, read)) in moves.into_iter().zip(known) {
            let Some(to) = to else { continue };
            self.identities.extend(identity.map(|identity| (to.clone(), identity)));
            self.seen.extend(seen.map(|seen| (to.clone(), seen)));
            self.rests.extend(rest.map(|rest| (to.clone(), rest)));
            if let Some(read) = read {
                self.read.set(&to, read, true);
            }
            renamed.push(to);
        }
        renamed
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
                    self.truncated.push_back(path.clone());
                }
                self.seen.insert(path.clone(), length);
                self.identities.extend(identity_of(&path).map(|id| (path.clone(), id)));
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

fn identity_of(path: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Finds a file under another name of its folder.
fn sibling(path: &Path, identity: Identity) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| identity_of(path) == Some(identity))
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
