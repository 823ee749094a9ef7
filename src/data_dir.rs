//! The data directory: whose it is, of which format, and whether all of it is there.
//!
//! ```text
//!   highwater.lock      locked by the server that runs on it
//!   highwater.format    the format of the rest; written last, when the rest is on the disk
//!   log/                what the server was told (`storage::log`)
//!   history/            what streams retain, and pages of the image, in files (`storage::archive`)
//! ```
//! A backup is a data directory without a lock.
//!
//! # Invariants
//! 1. A directory that says its format is whole.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::fault;
use crate::storage::log::{self, Disk, Generations};

/// The file that a running server locks.
const LOCK_FILE: &str = "highwater.lock";

/// The file that says in which format the others are.
const FORMAT_FILE: &str = "highwater.format";

/// What becomes that file.
const DRAFT_FILE: &str = "highwater.draft";

/// The format that this version writes.
const FORMAT: &str = "2";

/// The directory of the log.
const LOG_DIR: &str = "log";

/// The directory of what streams retain.
const HISTORY_DIR: &str = "history";

/// Result of working on a data directory.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be made.
    #[error("could not create data directory \"{}\"", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: log::Error,
    },
    /// There is something else.
    #[error("data directory \"{}\" is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Nothing can be written to it.
    #[error("could not write to data directory \"{}\"", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("could not read \"{}\"", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A server runs on it.
    #[error("data directory \"{}\" is in use by another highwater server", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The files are of another version.
    #[error(
        "data directory \"{}\" has format \"{found}\", and this version reads format \"{FORMAT}\"",
        path.display()
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// It is to be made, and has something in it.
    #[error("directory \"{}\" is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// It has no format, or not what comes with one.
    #[error("data directory \"{}\" is not whole: \"{missing}\" is missing", path.display())]
    NotWhole {
        /// The directory.
        path: PathBuf,
        /// What is not there.
        missing: String,
    },
}

/// A data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Whether it says its format.
    whole: bool,
    /// Held open for its lock.
    _lock: Option<File>,
}

impl DataDir {
    /// Opens the directory of a server; makes it if need be.
    pub fn open(path: &Path) -> Result<Self> {
        make(path)?;
        let lock = path.join(LOCK_FILE);
        let file = File::options().create(true).truncate(false).write(true).open(lock);
        let file = file.map_err(|source| Error::ReadOnly { path: path.to_owned(), source })?;
        locked(path, file.try_lock())?;
        fault::point("data_dir.locked");
        let whole = format(path)?;
        Ok(Self { path: path.to_owned(), whole, _lock: Some(file) })
    }

    /// Looks at a directory that is there; nothing is changed. No server can start on it meanwhile.
    pub fn inspect(path: &Path) -> Result<Self> {
        let lock = File::open(path.join(LOCK_FILE)).ok();
        if let Some(lock) = &lock {
            locked(path, lock.try_lock_shared())?;
        }
        match format(path)? {
            true => Ok(Self { path: path.to_owned(), whole: true, _lock: lock }),
            false => {
                let missing = path.join(FORMAT_FILE).display().to_string();
                Err(Error::NotWhole { path: path.to_owned(), missing })
            }
        }
    }

    /// Begins one in a place where there is nothing.
    pub fn begin(path: &Path) -> Result<Self> {
        make(path)?;
        let read = |source| Error::Read { path: path.to_owned(), source };
        if fs::read_dir(path).map_err(read)?.next().is_some() {
            return Err(Error::NotEmpty { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), whole: false, _lock: None })
    }

    /// Where its log is.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG_DIR)
    }

    /// Where its history is.
    pub fn history(&self) -> PathBuf {
        self.path.join(HISTORY_DIR)
    }

    /// Says that everything is there and on the disk.
    pub fn settle(&mut self) -> Result<()> {
        if self.whole {
            return Ok(());
        }
        let (disk, draft) = (Disk::default(), self.path.join(DRAFT_FILE));
        let written = disk
            .put(&draft, format!("{FORMAT}\n").as_bytes())
            .and_then(|()| disk.rename(&draft, &self.path.join(FORMAT_FILE)))
            .and_then(|()| disk.sync_dir(&self.path));
        written.map_err(|source| Error::ReadOnly { path: self.path.clone(), source })?;
        fault::point("data_dir.settled");
        self.whole = true;
        Ok(())
    }

    /// Copies everything to a directory that was begun, and settles it.
    pub fn copy_to(&self, to: &mut Self) -> Result<()> {
        let mut dirs = vec![PathBuf::new()];
        let mut made = Vec::new();
        while let Some(dir) = dirs.pop() {
            let from = self.path.join(&dir);
            let read = |source| Error::Read { path: from.clone(), source };
            for entry in fs::read_dir(&from).map_err(read)? {
                let name = dir.join(entry.map_err(read)?.file_name());
                if self.path.join(&name).is_dir() {
                    make(&to.path.join(&name))?;
                    dirs.push(name);
                } else if ![LOCK_FILE, FORMAT_FILE, DRAFT_FILE].map(Path::new).contains(&&*name) {
                    self.copy_file(&name, to)?;
                }
            }
            made.push(to.path.join(dir));
        }
        for path in made {
            let synced = Disk::default().sync_dir(&path);
            synced.map_err(|source| Error::ReadOnly { path, source })?;
        }
        to.settle()
    }

    fn copy_file(&self, name: &Path, to: &Self) -> Result<()> {
        let (from, to) = (self.path.join(name), to.path.join(name));
        let copied = fs::copy(&from, &to).and_then(|_| File::open(&to)?.sync_all());
        copied.map_err(|source| Error::Read { path: from, source })
    }
}

/// Makes a directory if need be.
fn make(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Err(Error::NotADirectory { path: path.to_owned() }),
        _ => Disk::default()
            .create_dir(path)
            .map_err(|source| Error::Create { path: path.to_owned(), source }),
    }
}

fn locked(path: &Path, locked: Result<(), TryLockError>) -> Result<()> {
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(Error::ReadOnly { path: path.to_owned(), source }),
    }
}

/// Whether the directory says its format, which is ours; then its log is there.
fn format(path: &Path) -> Result<bool> {
    let file = path.join(FORMAT_FILE);
    match fs::read(&file) {
        Ok(found) if found == format!("{FORMAT}\n").as_bytes() => {
            let named = Generations::named_in(&path.join(LOG_DIR));
            match named.exists() {
                true => Ok(true),
                false => {
                    let missing = named.display().to_string();
                    Err(Error::NotWhole { path: path.to_owned(), missing })
                }
            }
        }
        Ok(found) => {
            let found = String::from_utf8_lossy(&found).trim_end().to_owned();
            Err(Error::Format { path: path.to_owned(), found })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Read { path: file, source }),
    }
}
