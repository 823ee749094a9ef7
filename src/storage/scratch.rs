//! A file for what memory has no room for: it goes with the process, and nothing durable is in it.
//!
//! # Semantics
//! [`Scratch::write`] copies bytes into the file and returns where they are; the place is free
//! again when its [`Extent`] is dropped. The file has no name from the moment it is open, so that
//! nothing is left of it however the process ends.
//!
//! # Cost
//! Space is given out in blocks of 64 KiB, at the first place that is large enough. The file never
//! shrinks, but free space is used again. Reads and writes go through the page cache; nothing is
//! synchronised.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a block: few enough that little is wasted, enough that the list of free ones is short.
const BLOCK_BYTES: u64 = 64 * 1024;

/// The file's name for as long as it has one.
const NAME: &str = "scratch";

/// A file for what memory has no room for.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    space: Mutex<Space>,
}

/// Blocks of the file.
#[derive(Debug, Default)]
struct Space {
    /// Free runs of blocks before the end: the first block and how many; none touch each other.
    free: BTreeMap<u64, u64>,
    /// Blocks of the file.
    end: u64,
    /// Blocks in use.
    used: u64,
}

/// Bytes in the file.
#[derive(Debug)]
pub struct Extent {
    scratch: Arc<Scratch>,
    first: u64,
    length: usize,
}

impl Scratch {
    /// Makes an empty file in a directory.
    pub fn create(dir: &Path) -> io::Result<Arc<Self>> {
        let path = dir.join(NAME);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Arc::new(Self { file, space: Mutex::default() }))
    }

    /// Copies bytes into the file. Fails if the disk is full or broken.
    pub fn write(self: &Arc<Self>, bytes: &[u8]) -> io::Result<Extent> {
        let first = self.with_space(|space| space.take(blocks(bytes.len())));
        let extent = Extent { scratch: Arc::clone(self), first, length: bytes.len() };
        self.file.write_all_at(bytes, first * BLOCK_BYTES)?;
        Ok(extent)
    }

    /// Bytes of the file that are in use.
    pub fn used(&self) -> u64 {
        self.with_space(|space| space.used) * BLOCK_BYTES
    }

    fn with_space<T>(&self, f: impl FnOnce(&mut Space) -> T) -> T {
        f(&mut self.space.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Extent {
    /// Reads the bytes from a place on.
    pub fn read(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        assert!(at + into.len() <= self.length, "an extent is read within its bounds");
        self.scratch.file.read_exact_at(into, self.first * BLOCK_BYTES + at as u64)
    }

    /// Number of bytes.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        self.scratch.with_space(|space| space.give(self.first, blocks(self.length)));
    }
}

impl Space {
    /// Takes consecutive blocks and returns the first.
    fn take(&mut self, count: u64) -> u64 {
        self.used += count;
        let found = self.free.iter().find(|(_, free)| **free >= count);
        let Some((&first, &free)) = found else {
            // A free run at the end grows.
            let last =
                self.free.last_key_value().filter(|(first, free)| **first + **free == self.end);
            let first = last.map_or(self.end, |(first, _)| *first);
            self.free.remove(&first);
            self.end = first + count;
            return first;
        };
        self.free.remove(&first);
        if free > count {
            self.free.insert(first + count, free - count);
        }
        first
    }

    /// Gives blocks back.
    fn give(&mut self, mut first: u64, mut count: u64) {
        self.used -= count;
        if let Some(next) = self.free.remove(&(first + count)) {
            count += next;
        }
        let before = self.free.range(..first).next_back().map(|(at, free)| (*at, *free));
        if let Some((at, free)) = before.filter(|(at, free)| at + free == first) {
            (first, count) = (at, free + count);
        }
        self.free.insert(first, count);
    }
}

/// Blocks that hold so many bytes; one at least.
fn blocks(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BLOCK_BYTES).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(of: u8, length: usize) -> Vec<u8> {
        vec![of; length]
    }

    fn read(extent: &Extent) -> Vec<u8> {
        let mut all = vec![0; extent.length()];
        extent.read(0, &mut all).unwrap();
        all
    }

    #[test]
    fn what_is_written_is_read_and_free_space_is_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
        let lengths = [1, 65_536, 65_537, 300_000];
        let mut extents: Vec<Extent> =
            (0..).zip(lengths).map(|(i, n)| scratch.write(&bytes(i, n)).unwrap()).collect();
        assert_eq!(scratch.used(), (1 + 1 + 2 + 5) * BLOCK_BYTES);
        for (i, (extent, length)) in (0..).zip(extents.iter().zip(lengths)) {
            assert_eq!(read(extent), bytes(i, length));
        }
        // Two neighbours make room for three blocks.
        extents.drain(1..3);
        let again = scratch.write(&bytes(9, 190_000)).unwrap();
        assert_eq!((again.first, read(&again)), (1, bytes(9, 190_000)));
        assert_eq!(read(&extents[1]), bytes(3, 300_000));
        drop((extents, again));
        assert_eq!(scratch.used(), 0);
        assert_eq!(scratch.write(&bytes(1, 1_000_000)).unwrap().first, 0);
    }
}
