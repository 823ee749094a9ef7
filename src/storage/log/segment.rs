//! Files of the log.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::block::{self, HEADER};
use super::disk::{Disk, Opened};
use super::{Error, Result};
use crate::fault;

/// A file with space for blocks.
#[derive(Debug)]
pub struct Segment {
    /// Its path.
    pub path: PathBuf,
    /// Its bytes.
    pub len: u64,
    file: Box<dyn Opened>,
}

impl Segment {
    /// Allocates a segment before its first block is known; `number` tells it from others that are
    /// not named yet.
    pub fn spare(disk: &Disk, dir: &Path, number: u64, len: u64) -> io::Result<Self> {
        let path = dir.join(format!("{number}.spare"));
        let file = disk.allocate(&path, len)?;
        fault::point("log.spare.allocated");
        Ok(Self { path, len, file })
    }

    /// Gives a spare segment the name of its first block.
    pub fn name(mut self, disk: &Disk, dir: &Path, first: u64) -> Result<Self> {
        fault::point("log.segment.rename");
        let path = dir.join(format!("{first:020}-{}.log", self.len));
        disk.rename(&self.path, &path).map_err(Error::io("rename", &self.path))?;
        fault::point("log.segment.renamed");
        self.path = path;
        disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
        fault::point("log.segment.named");
        Ok(self)
    }

    /// Opens a segment with these bytes, of which `last` is the last block; `next` is the number of
    /// the one to come. Clears what is behind it, but for the mark.
    ///
    /// The last block is written again: one that was written and not synced, or of which the sync
    /// failed, may be in memory only, and has been read from there. The mark comes to the disk
    /// after it, as ever.
    pub fn resume(
        disk: &Disk,
        path: &Path,
        bytes: &[u8],
        last: Range<usize>,
        next: u64,
    ) -> Result<Self> {
        let file = disk.open(path).map_err(Error::io("open", path))?;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let mut rest = match last.end + HEADER <= bytes.len() {
            true => block::mark(next),
            false => Vec::new(),
        };
        rest.resize(rest.len().max(used.saturating_sub(last.end)), 0);
        let segment = Self { path: path.to_owned(), len: bytes.len() as u64, file };
        fault::point("log.resume");
        segment.write(&bytes[last.clone()], last.start as u64)?;
        segment.sync()?;
        fault::point("log.resume.written");
        segment.write(&rest, last.end as u64)?;
        segment.sync()?;
        fault::point("log.resume.cleared");
        Ok(segment)
    }

    /// Writes bytes at a place.
    pub fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.file.write(bytes, at).map_err(Error::io("write", &self.path))
    }

    /// Waits until what was written is on the disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync().map_err(Error::io("sync", &self.path))
    }
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
pub fn list(disk: &Disk, dir: &Path) -> Result<Vec<Listed>> {
    let mut found = Vec::new();
    for path in disk.list(dir).map_err(Error::io("read", dir))? {
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log"));
        let Some((first, len)) = name.and_then(|name| name.split_once('-')) else { continue };
        let (Ok(first), Ok(len)) = (first.parse(), len.parse()) else { continue };
        found.push(Listed { first, len, path });
    }
    found.sort();
    Ok(found)
}
