//! Reading a log from its beginning, and going on behind its end.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use super::block::{self, Found};
use super::segment::{self, Listed, Segment};
use super::writer::{Log, Place};
use super::{Error, Result};

/// The number of a log's first block.
const FIRST: u64 = 1;

/// Reads a log, block by block.
#[derive(Debug)]
pub struct Reader {
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
    /// Where the next block is.
    at: usize,
}

impl Reader {
    /// Opens the log in a directory, which is made if it is not there.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let following = VecDeque::from(segment::list(dir)?);
        Ok(Self { dir: dir.to_owned(), following, current: None, number: FIRST })
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
            match block::find(&current.bytes, current.at, self.number) {
                Found::Block(range) => {
                    let records = current.bytes[range.clone()].to_vec();
                    current.at = block::size(range.end);
                    self.number += 1;
                    return Ok(Some(records));
                }
                _ if block::is_followed(&current.bytes, current.at, self.number) => {
                    return Err(damaged("a block is not what was written, and others follow it"));
                }
                Found::End { .. } if !self.following.is_empty() => {
                    self.advance()?;
                }
                Found::Torn if !self.following.is_empty() => {
                    return Err(damaged("a block is not what was written, and others follow it"));
                }
                Found::End { marked } => {
                    if !marked {
                        tracing::warn!(
                            path = %current.path.display(), offset = current.at,
                            "the log ends without a mark, as after a power cut"
                        );
                    }
                    return Ok(None);
                }
                Found::Torn => {
                    tracing::warn!(
                        path = %current.path.display(), offset = current.at,
                        "the last block of the log was not written whole; it is cut off"
                    );
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
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        if bytes.len() as u64 != len {
            let what = format!("it ends here, and was made {len} bytes long");
            return Err(Error::Corrupt { path, offset: bytes.len() as u64, what });
        }
        self.current = Some(Current { path, bytes, at: 0 });
        Ok(true)
    }

    /// Goes on behind the last block that was read, which is that of the log. `durable` is told the
    /// number of records on the disk, counted from here, whenever there are more.
    pub fn into_log(self, durable: impl Fn(u64) + Send + 'static) -> Result<Log> {
        let place = match self.current {
            None => None,
            Some(Current { path, at, .. }) => {
                Some(Place { segment: Segment::resume(&path, at as u64)?, at: at as u64 })
            }
        };
        Log::start(&self.dir, place, self.number, Box::new(durable))
    }
}
