//! The writing end of the log: a buffer, and the thread that brings it to the disk.

use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::block::{self, HEADER};
use super::disk::Disk;
use super::segment::Segment;
use super::{Error, Result, end};
use crate::fault;

/// Where the next block goes.
#[derive(Debug)]
pub struct Place {
    /// The segment.
    pub segment: Segment,
    /// The offset in it.
    pub at: u64,
}

/// Is told the number of records on the disk.
type Durable = Box<dyn Fn(u64) + Send>;

/// A log that takes records.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    disk: Disk,
    dir: PathBuf,
    buffer: Mutex<Buffer>,
    filled: Condvar,
    drained: Condvar,
}

/// What has been taken and not yet written.
#[derive(Debug)]
struct Buffer {
    /// The next block: its header, still empty, and its records.
    block: Vec<u8>,
    /// Records taken so far.
    taken: u64,
    /// Their bytes.
    bytes: u64,
    /// Bytes of the segment in use behind what is being written.
    room: u64,
    /// A segment for a block that has no room in that one.
    spare: Option<Segment>,
    /// Segments allocated so far.
    spares: u64,
    /// Whether there was no room for the last one.
    full: bool,
    closed: bool,
}

impl Buffer {
    /// Makes sure that there is space for a block of so many bytes, and the mark behind it.
    fn reserve(&mut self, disk: &Disk, dir: &Path, bytes: u64) -> Result<()> {
        let bytes = bytes + HEADER as u64;
        if bytes <= self.room || self.spare.as_ref().is_some_and(|spare| bytes <= spare.len) {
            return Ok(());
        }
        // Where there is no room for a large one, a small one does.
        let large = disk.segment_bytes;
        let sizes = [large, large / 16, bytes].map(|size| size.max(bytes));
        let mut made = Err(io::ErrorKind::StorageFull.into());
        for size in sizes {
            self.spares += 1;
            made = Segment::spare(disk, dir, self.spares, size);
            if !made.as_ref().is_err_and(is_full) {
                break;
            }
        }
        if made.as_ref().is_err_and(is_full) && !mem::replace(&mut self.full, true) {
            tracing::warn!(path = %dir.display(), "there is no room for the log");
        }
        let made = made.map_err(|source| match is_full(&source) {
            true => Error::Full { path: dir.to_owned(), source },
            false => Error::io("extend", dir)(source),
        })?;
        // What was taken may rely on a smaller one until there is another.
        if let Some(small) = self.spare.replace(made) {
            // What is left of it is removed with the log.
            let _ = disk.remove(&small.path);
        }
        self.full = false;
        Ok(())
    }
}

/// Whether an operation failed for want of space.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Log {
    /// A log, and what brings it to the disk.
    pub(super) fn new(
        disk: Disk,
        dir: &Path,
        place: Option<Place>,
        number: u64,
        durable: Durable,
    ) -> Result<(Self, Writer)> {
        let room = place.as_ref().map_or(0, |place| place.segment.len - place.at);
        let block = vec![0; HEADER];
        let mut buffer = Buffer {
            block,
            taken: 0,
            bytes: 0,
            room,
            spare: None,
            spares: 0,
            full: false,
            closed: false,
        };
        buffer.reserve(&disk, dir, HEADER as u64)?;
        let shared = Arc::new(Shared {
            disk,
            dir: dir.to_owned(),
            buffer: Mutex::new(buffer),
            filled: Condvar::new(),
            drained: Condvar::new(),
        });
        let writer = Writer { shared: Arc::clone(&shared), place, number, durable };
        Ok((Self { shared, thread: None }, writer))
    }

    /// Lets the writer run on a thread.
    pub(super) fn run(mut self, writer: Writer) -> Result<Self> {
        let thread = thread::Builder::new().name("log".into()).spawn(move || writer.run());
        self.thread = Some(thread.map_err(Error::io("start writing", &self.shared.dir))?);
        Ok(self)
    }

    /// Fails if there is no room for a record of so many bytes.
    pub fn reserve(&self, length: usize) -> Result<()> {
        let mut buffer = self.shared.lock();
        let bytes = block::size(buffer.block.len() + 4 + length);
        buffer.reserve(&self.shared.disk, &self.shared.dir, bytes as u64)
    }

    /// Bytes of the records taken so far.
    pub fn bytes(&self) -> u64 {
        self.shared.lock().bytes
    }

    /// Waits until at most so many bytes are to be written.
    pub fn drain(&self, bytes: usize) {
        let full = |buffer: &mut Buffer| buffer.block.len() > bytes.max(HEADER);
        drop(self.shared.drained.wait_while(self.shared.lock(), full));
    }

    /// Takes a record: its parts, one behind the other. Returns how many have been taken by now.
    pub fn append(&self, parts: &[&[u8]]) -> Result<u64> {
        let mut buffer = self.shared.lock();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let bytes = block::size(buffer.block.len() + 4 + length);
        buffer.reserve(&self.shared.disk, &self.shared.dir, bytes as u64)?;
        block::push(&mut buffer.block, parts);
        buffer.taken += 1;
        buffer.bytes += length as u64;
        self.shared.filled.notify_one();
        Ok(buffer.taken)
    }
}

impl Drop for Log {
    /// Waits until everything that was taken is on the disk.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the log panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What brings a log to the disk.
pub(super) struct Writer {
    shared: Arc<Shared>,
    place: Option<Place>,
    /// The number of the next block.
    number: u64,
    durable: Durable,
}

impl Writer {
    /// Works until the log is closed.
    fn run(mut self) {
        while self.wait() {
            if let Err(error) = self.step() {
                end(&error);
            }
        }
    }

    /// Waits for records; returns whether there are any, or the log is closed.
    fn wait(&self) -> bool {
        let idle = |buffer: &mut Buffer| buffer.block.len() == HEADER && !buffer.closed;
        let buffer = self.shared.filled.wait_while(self.shared.lock(), idle);
        buffer.unwrap_or_else(PoisonError::into_inner).block.len() > HEADER
    }

    /// Brings what has come together to the disk. After an error it is not known what is there, and
    /// the process has to end.
    pub(super) fn step(&mut self) -> Result<()> {
        let (mut block, spare, taken) = self.take();
        self.write(&mut block, spare)?;
        fault::point("log.block.acknowledge");
        (self.durable)(taken);
        fault::point("log.block.acknowledged");
        Ok(())
    }

    /// Takes what has come together: the block, the segment that it begins, if it does, and the
    /// number of records up to its end.
    fn take(&self) -> (Vec<u8>, Option<Segment>, u64) {
        let mut buffer = self.shared.lock();
        let block = mem::replace(&mut buffer.block, vec![0; HEADER]);
        self.shared.drained.notify_all();
        let bytes = block::size(block.len()) as u64;
        let fits = bytes + HEADER as u64 <= buffer.room;
        let spare = if fits { None } else { buffer.spare.take() };
        let room = spare.as_ref().map_or(buffer.room, |spare| spare.len);
        buffer.room = room - bytes;
        (block, spare, buffer.taken)
    }

    fn write(&mut self, block: &mut Vec<u8>, spare: Option<Segment>) -> Result<()> {
        let mut left = None;
        if let Some(spare) = spare {
            let segment = spare.name(&self.shared.disk, &self.shared.dir, self.number)?;
            left = self.place.replace(Place { segment, at: 0 });
        }
        let place = self.place.as_mut().expect("a block without room begins a segment");
        block::seal(block, self.number);
        fault::point("log.block.write");
        place.segment.write(block, place.at)?;
        fault::point("log.block.written");
        place.segment.sync()?;
        fault::point("log.block.synced");
        place.at += block.len() as u64;
        if let Some(left) = left.filter(|left| left.segment.len - left.at >= HEADER as u64) {
            left.segment.write(&block::link(self.number), left.at)?;
            fault::point("log.block.linked");
        }
        self.number += 1;
        place.segment.write(&block::mark(self.number), place.at)?;
        fault::point("log.block.marked");
        Ok(())
    }
}
