//! Reading a log from its beginning, and going on behind its end.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::block::{self, Found};
use super::disk::Disk;
use super::segment::{self, Listed, Segment};
use super::writer::{Log, Place, Writer};
use super::{Error, Result};

/// The number of a log's first block.
const FIRST: u64 = 1;

/// Reads a log, block by block.
#[derive(Debug)]
pub struct Reader {
    disk: Disk,
    dir: PathBuf,
    /// Segments that follow.
    following: VecDeque<Listed>,
    current: Option<Current>,
    /// The number of the next block.
    number: u64,
}

#[derive(Debug)]
struct Current {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where the last block is that was read.
    last: usize,
    /// Where the next block is.
    at: usize,
}

impl Current {
    /// Tells how the log ends, if not as it should.
    fn tell(&self, found: &Found) {
        let said = match found {
            Found::End { marked: false } => "the log ends without a mark, as after a power cut",
            Found::Torn => "the last block of the log was not written whole; it is cut off",
            Found::Block(_) | Found::End { marked: true } | Found::Link => return,
        };
        tracing::warn!(path = %self.path.display(), offset = self.at, "{said}");
    }
}

impl Reader {
    /// Opens the log in a directory.
    pub fn open(disk: &Disk, dir: &Path) -> Result<Self> {
        let following = VecDeque::from(segment::list(disk, dir)?);
        let (disk, dir) = (disk.clone(), dir.to_owned());
        Ok(Self { disk, dir, following, current: None, number: FIRST })
    }

    /// The records of the next block, for [`records`](super::records); `None` behind the last one.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let Some(current) = &mut self.current else {
                if !self.advance()? {
                    return Ok(None);
                }
                continue;
            };
            let damaged = |what: &str| Error::Corrupt {
                path: current.path.clone(),
                offset: current.at as u64,
                what: what.to_owned(),
            };
            let found = block::find(&current.bytes, current.at, self.number);
            if let Found::Block(range) = found {
                let records = current.bytes[range.clone()].to_vec();
                (current.last, current.at) = (current.at, block::size(range.end));
                self.number += 1;
                return Ok(Some(records));
            }
            match self.following.front() {
                Some(next) if next.first != self.number && found == Found::Torn => {
                    return Err(damaged("a block is not what was written, and others follow it"));
                }
                // All that this segment had has been read, whatever is behind it.
                Some(_) => {
                    self.advance()?;
                }
                None if found == Found::Link => {
                    return Err(damaged("the segment with what follows is missing"));
                }
                None if block::is_followed(&current.bytes, current.at, self.number) => {
                    return Err(damaged("a block is not what was written, and others follow it"));
                }
                None => {
                    current.tell(&found);
                    return Ok(None);
                }
            }
        }
    }

    /// Whether there are no segments.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.following.is_empty()
    }

    /// Goes to the next segment; returns whether there is one.
    fn advance(&mut self) -> Result<bool> {
        let Some(Listed { first, len, path }) = self.following.pop_front() else {
            return Ok(false);
        };
        if first != self.number {
            let what =
                format!("it begins with block {first}, and block {} is missing", self.number);
            return Err(Error::Corrupt { path, offset: 0, what });
        }
        let bytes = self.disk.read(&path).map_err(Error::io("read", &path))?;
        if bytes.len() as u64 != len {
            let what = format!("it ends here, and was made {len} bytes long");
            return Err(Error::Corrupt { path, offset: bytes.len() as u64, what });
        }
        self.current = Some(Current { path, bytes, last: 0, at: 0 });
        Ok(true)
    }

    /// Goes on behind the last block that was read, which is that of the log. `durable` is told the
    /// number of records on the disk, counted from here, whenever there are more.
    pub fn into_log(self, durable: impl Fn(u64) + Send + 'static) -> Result<Log> {
        let (log, writer) = self.into_parts(durable)?;
        log.run(writer)
    }

    /// As [`Reader::into_log`], with the writer in the caller's hands.
    pub(super) fn into_parts(
        self,
        durable: impl Fn(u64) + Send + 'static,
    ) -> Result<(Log, Writer)> {
        let Self { disk, dir, current, number, .. } = self;
        let place = match current {
            None => None,
            Some(Current { path, bytes, last, at }) => {
                let segment = Segment::resume(&disk, &path, &bytes, last..at, number)?;
                Some(Place { segment, at: at as u64 })
            }
        };
        // The name of a segment may be younger than the last power cut.
        disk.sync_dir(&dir).map_err(Error::io("sync", &dir))?;
        Log::new(disk, &dir, place, number, Box::new(durable))
    }
}
