//! The files of a log, as the log sees them: tests put a disk behind it that fails and forgets.
//!
//! # Semantics
//! Bytes are on the disk when their file has been synced, and names when their directory has.
//! Before that a power cut may keep any of them, and lose the others.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};

use super::{Error, Result};
use crate::fault;

/// Bytes of a segment, unless one block is larger.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Where logs are, and how they are cut.
#[derive(Clone, Debug)]
pub struct Disk {
    files: Arc<dyn Files>,
    /// Bytes of a segment, unless one block is larger.
    pub segment_bytes: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self { files: Arc::new(System), segment_bytes: SEGMENT_BYTES }
    }
}

impl std::ops::Deref for Disk {
    type Target = dyn Files;

    fn deref(&self) -> &Self::Target {
        &*self.files
    }
}

impl Disk {
    /// A disk of a test's own.
    #[cfg(test)]
    pub fn of(files: Arc<dyn Files>, segment_bytes: u64) -> Self {
        Self { files, segment_bytes }
    }

    /// Makes a directory, and those that it is in. Their names are on the disk then.
    ///
    /// A directory is made when the name of the one that it is in is on the disk. So of those that
    /// are there already, the name of the last one alone may not be.
    pub fn create_dir(&self, dir: &Path) -> Result<()> {
        let has = |dir: &Path| dir.as_os_str().is_empty() || self.list(dir).is_ok();
        let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !has(dir)).collect();
        let last = missing.last().map_or(Some(dir), |first| first.parent());
        if let Some(last) = last {
            match self.sync_name(last) {
                // It was made by somebody else.
                Err(Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        for dir in missing.into_iter().rev() {
            self.make_dir(dir).map_err(Error::io("create", dir))?;
            self.sync_name(dir)?;
        }
        Ok(())
    }

    /// Waits until the name of a directory is on the disk.
    fn sync_name(&self, dir: &Path) -> Result<()> {
        let Some(parent) = dir.parent() else { return Ok(()) };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        self.sync_dir(parent).map_err(Error::io("sync", parent))
    }
}

/// What a log does with files.
pub trait Files: Debug + Send + Sync {
    /// Makes a directory, of which the one that it is in is there.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// What is in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// The bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Makes a file of zeros, with space kept for them, and waits until it is on the disk.
    fn allocate(&self, path: &Path, len: u64) -> io::Result<Box<dyn Opened>>;

    /// Makes a file of these bytes, and waits until it is on the disk.
    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Opens a file to be written to.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Opened>>;

    /// Renames a file within its directory, in place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all that is in it.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Waits until the names in a directory are on the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A file that is written to.
pub trait Opened: Debug + Send + Sync {
    /// Writes bytes at a place.
    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Waits until what was written is on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// The files of the operating system.
#[derive(Debug)]
struct System;

impl Files for System {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fault::failing("disk.make_dir")?;
        fs::create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fault::failing("disk.read")?;
        fs::read(path)
    }

    fn allocate(&self, path: &Path, len: u64) -> io::Result<Box<dyn Opened>> {
        fault::failing("disk.allocate")?;
        let file = File::options().create(true).truncate(true).write(true).open(path)?;
        let kept = match fallocate(&file, FallocateFlags::empty(), 0, len) {
            // Without space kept for it, a full disk shows when a block is written.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(len),
            kept => Ok(kept?),
        };
        fault::point("disk.allocate.sync");
        if let Err(error) = kept.and_then(|()| file.sync_all()) {
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(Box::new(file))
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fault::failing("disk.put")?;
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        fault::point("disk.put.sync");
        file.sync_all()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Opened>> {
        fault::failing("disk.open")?;
        Ok(Box::new(File::options().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fault::failing("disk.rename")?;
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fault::failing("disk.remove")?;
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fault::failing("disk.remove_dir")?;
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fault::failing("disk.sync_dir")?;
        File::open(dir)?.sync_all()
    }
}

impl Opened for File {
    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        fault::failing("disk.write")?;
        self.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        fault::failing("disk.sync")?;
        self.sync_data()
    }
}
