//! Files of a directory: what is too much for memory or for the log, and never changes.
//!
//! Rows that streams retain stand in Parquet files, images of the state in those of [`pages`].
//!
//! # Semantics
//! A file is written once, whole, and is there for others only when it and its name are on the
//! disk. What is read of it is what was written, or an error that names it: its length and checksum
//! are compared first.
//!
//! A file lives as long as somebody holds its [`Stored`]; [`Archive::sweep`] removes the others.
//! Who relies on a file after a crash has to hold it. At a start nobody holds any: those that are
//! wanted are adopted, and [`Archive::settle`] removes the rest.
//!
//! # Invariants
//! 1. A name is given once in the life of a directory, as long as it knows of it; so a file is
//!    never overwritten.

pub mod pages;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

pub use stored::{Description, Opened, Stored};

use super::log::{self, Disk};
use super::state::Misfit;
use crate::fault;

/// What a file's name ends in.
const EXTENSION: &str = "parquet";

/// Rows that are read or passed over together: few enough that a query for a short time reads
/// little, and enough for columns to be compressed well.
const GROUP_ROWS: usize = 16_384;

/// Result of the archive.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why rows cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system failed.
    #[error("could not {what} \"{}\": {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ..
        what: &'static str,
        /// File or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("file \"{}\" is damaged: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The names of files are not on the disk.
    #[error(transparent)]
    Sync(#[from] log::Error),
    /// An image names a file that it does not have.
    #[error("pages are said to be in file {pages_in} of an image that has not so many")]
    Nameless {
        /// The number of the file.
        pages_in: u32,
    },
    /// What was spilled cannot be read.
    #[error(transparent)]
    State(#[from] Misfit),
    /// Rows of a kind that Parquet files cannot hold.
    #[error("rows cannot be written as Parquet: {0}")]
    Unwritable(#[from] ParquetError),
}

impl Error {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// A directory of files with rows.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    /// The number of the next file.
    next: u64,
    /// Files that somebody holds or held.
    known: BTreeMap<String, Weak<Stored>>,
    /// Files that were there at the start and that nobody has asked for.
    found: BTreeSet<String>,
    /// Files of an earlier life, until it is settled who holds them.
    adopted: Vec<Arc<Stored>>,
}

impl Archive {
    /// Opens a directory, which is made if it is not there.
    pub fn open(dir: &Path) -> Result<Self> {
        Disk::default().create_dir(dir)?;
        Self::inspect(dir)
    }

    /// Opens a directory to look at it, if it is there.
    pub fn inspect(dir: &Path) -> Result<Self> {
        if !dir.exists() {
            return Ok(Self { dir: dir.to_owned(), files: Mutex::default() });
        }
        let mut files = Files::default();
        for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
            let name = entry.map_err(Error::io("read", dir))?.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(number) = number(name) {
                files.next = files.next.max(number + 1);
                files.found.insert(name.to_owned());
            }
        }
        Ok(Self { dir: dir.to_owned(), files: Mutex::new(files) })
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a file whose name begins with `owner`, and waits until it is on the disk. No group of
    /// rows spans two `parts`. If it fails, nothing is left of it.
    pub fn write(
        &self,
        owner: &str,
        schema: &SchemaRef,
        parts: &[Vec<RecordBatch>],
    ) -> Result<Arc<Stored>> {
        let rows = parts.iter().flatten().map(|batch| batch.num_rows() as u64).sum();
        self.put(owner, EXTENSION, &encode(schema, parts)?, rows)
    }

    /// Writes a file of bytes, in which there are so many rows.
    fn put(&self, owner: &str, extension: &str, bytes: &[u8], rows: u64) -> Result<Arc<Stored>> {
        let name = {
            let mut files = self.lock();
            let number = files.next;
            files.next += 1;
            format!("{owner}-{number}.{extension}")
        };
        let path = self.dir.join(&name);
        fault::point("archive.write");
        if let Err(error) = put(&path, bytes) {
            // It is in nobody's way, and goes with the next start.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        fault::point("archive.written");
        let checksum = crc32fast::hash(bytes);
        Ok(self.hold(Description { name, bytes: bytes.len() as u64, checksum, rows }))
    }

    fn hold(&self, description: Description) -> Arc<Stored> {
        let name = description.name.clone();
        let stored = Arc::new(Stored::new(self.dir.join(&name), description));
        self.lock().known.insert(name, Arc::downgrade(&stored));
        stored
    }

    /// Takes a file of an earlier life of the server. Whoever reads it is told if it is gone.
    pub fn adopt(&self, description: Description) -> Arc<Stored> {
        let stored = self.hold(description);
        if let Err(error) = stored.check_length() {
            tracing::error!("a file that is needed cannot be read: {error}");
        }
        let mut files = self.lock();
        files.found.remove(&stored.description().name);
        files.adopted.push(Arc::clone(&stored));
        stored
    }

    /// The files that have been adopted since the start.
    pub fn adopted(&self) -> Vec<Arc<Stored>> {
        self.lock().adopted.clone()
    }

    /// Removes the files that nobody holds any more.
    pub fn sweep(&self) {
        let mut gone = Vec::new();
        self.lock().known.retain(|name, stored| {
            let held = stored.strong_count() > 0;
            if !held {
                gone.push(name.clone());
            }
            held
        });
        self.remove(gone);
    }

    /// Ends the start: removes the files that have not been adopted, and returns those that have
    /// been, for their holder.
    pub fn settle(&self) -> Vec<Arc<Stored>> {
        let (found, adopted) = {
            let mut files = self.lock();
            (std::mem::take(&mut files.found), std::mem::take(&mut files.adopted))
        };
        self.remove(found);
        adopted
    }

    fn remove(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            let path = self.dir.join(name);
            fault::point("archive.remove");
            if let Err(error) = fs::remove_file(&path) {
                // It takes space until the next start, and harms nobody.
                tracing::warn!(path = %path.display(), %error, "an old file is not removed");
            }
        }
    }
}

/// Copies files to another directory, under their names.
pub fn copy(files: &[Arc<Stored>], dir: &Path) -> Result<()> {
    Disk::default().create_dir(dir)?;
    files.iter().try_for_each(|file| put(&dir.join(&file.description().name), &file.bytes()?))
}

/// Writes a file, and waits until it and its name are on the disk.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let (disk, dir) = (Disk::default(), path.parent().unwrap_or(path));
    disk.put(path, bytes).map_err(Error::io("write", path))?;
    disk.sync_dir(dir).map_err(Error::io("sync", dir))
}

/// The number in a file's name; of other files none.
fn number(name: &str) -> Option<u64> {
    let (name, extension) = name.rsplit_once('.')?;
    let known = [EXTENSION, pages::EXTENSION].contains(&extension);
    name.rsplit_once('-').filter(|_| known)?.1.parse().ok()
}

fn encode(schema: &SchemaRef, parts: &[Vec<RecordBatch>]) -> Result<Vec<u8>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, SchemaRef::clone(schema), Some(properties))?;
    for part in parts {
        part.iter().try_for_each(|batch| writer.write(batch))?;
        writer.flush()?;
    }
    writer.close()?;
    Ok(bytes)
}
