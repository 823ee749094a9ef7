//! Files of the log.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::{Error, Result};

/// A file with space for blocks.
#[derive(Debug)]
pub struct Segment {
    /// Its path.
    pub path: PathBuf,
    /// Its bytes.
    pub len: u64,
    file: File,
}

impl Segment {
    /// Allocates a segment before its first block is known; `number` tells it from others that are
    /// not named yet.
    pub fn spare(dir: &Path, number: u64, len: u64) -> io::Result<Self> {
        let path = dir.join(format!("{number}.spare"));
        let file = File::options().create(true).truncate(true).write(true).open(&path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, len) {
            Ok(()) => {}
            // Without space kept for it, a full disk shows when a block is written.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(len)?,
            Err(error) => {
                drop(file);
                let _ = fs::remove_file(&path);
                return Err(error.into());
            }
        }
        file.sync_all()?;
        Ok(Self { path, len, file })
    }

    /// Gives a spare segment the name of its first block.
    pub fn name(mut self, dir: &Path, first: u64) -> Result<Self> {
        let path = dir.join(format!("{first:020}-{}.log", self.len));
        fs::rename(&self.path, &path).map_err(Error::io("rename", &self.path))?;
        self.path = path;
        sync_dir(dir)?;
        Ok(self)
    }

    /// Opens a segment that has blocks, and clears what is behind the last one.
    pub fn resume(path: &Path, end: u64) -> Result<Self> {
        let failed = |what| Error::io(what, path);
        let file = File::options().write(true).open(path).map_err(failed("open"))?;
        let len = file.metadata().map_err(failed("read"))?.len();
        file.set_len(end).map_err(failed("truncate"))?;
        file.set_len(len).map_err(failed("extend"))?;
        let kept = fallocate(&file, FallocateFlags::empty(), 0, len);
        // Without space kept for it, a full disk shows when a block is written.
        if let Err(error) =
            kept.or_else(|e| (e == rustix::io::Errno::OPNOTSUPP).then_some(()).ok_or(e))
        {
            return Err(failed("extend")(error.into()));
        }
        file.sync_all().map_err(failed("sync"))?;
        Ok(Self { path: path.to_owned(), len, file })
    }

    /// Writes bytes at a place.
    pub fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    /// Waits until what was written is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Waits until the names in a directory are on the disk.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", dir))
}

/// A segment as its name says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The number of its first block.
    pub first: u64,
    /// Its bytes, since it was made.
    pub len: u64,
    /// Its path.
    pub path: PathBuf,
}

/// The segments of a log, oldest first.
pub fn list(dir: &Path) -> Result<Vec<Listed>> {
    let failed = || Error::io("read", dir);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log"));
        let Some((first, len)) = name.and_then(|name| name.split_once('-')) else { continue };
        let (Ok(first), Ok(len)) = (first.parse(), len.parse()) else { continue };
        found.push(Listed { first, len, path });
    }
    found.sort();
    Ok(found)
}
