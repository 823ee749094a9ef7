//! The writing end of the log: a buffer, and the thread that brings it to the disk.

use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::block::{self, HEADER};
use super::segment::Segment;
use super::{Error, Result};

/// Bytes of a segment, unless one block is larger.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

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
    /// Makes sure that there is space for a block of so many bytes.
    fn reserve(&mut self, dir: &Path, bytes: u64) -> Result<()> {
        if bytes <= self.room || self.spare.as_ref().is_some_and(|spare| bytes <= spare.len) {
            return Ok(());
        }
        let full = |source| Error::Full { path: dir.to_owned(), source };
        if let Some(small) = self.spare.take() {
            // What is left of it is removed with the log.
            let _ = std::fs::remove_file(&small.path);
        }
        // Where there is no room for a large one, a small one does.
        let sizes = [SEGMENT_BYTES, SEGMENT_BYTES / 16, bytes].map(|size| size.max(bytes));
        let mut made = Err(io::ErrorKind::StorageFull.into());
        for size in sizes {
            self.spares += 1;
            made = Segment::spare(dir, self.spares, size);
            if made.is_ok() {
                break;
            }
        }
        if made.is_err() && !mem::replace(&mut self.full, true) {
            tracing::warn!(path = %dir.display(), "there is no room for the log");
        }
        self.spare = Some(made.map_err(full)?);
        self.full = false;
        Ok(())
    }
}

impl Log {
    pub(super) fn start(
        dir: &Path,
        place: Option<Place>,
        number: u64,
        durable: Durable,
    ) -> Result<Self> {
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
        buffer.reserve(dir, HEADER as u64)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            buffer: Mutex::new(buffer),
            filled: Condvar::new(),
            drained: Condvar::new(),
        });
        let writer = Writer { shared: Arc::clone(&shared), place, number, durable };
        let thread = thread::Builder::new().name("log".into());
        let thread = thread.spawn(move || writer.run()).map_err(Error::io("start writing", dir))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Fails if there is no room for a record of so many bytes.
    pub fn reserve(&self, length: usize) -> Result<()> {
        let mut buffer = self.shared.lock();
        let bytes = block::size(buffer.block.len() + 4 + length);
        buffer.reserve(&self.shared.dir, bytes as u64)
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
        buffer.reserve(&self.shared.dir, bytes as u64)?;
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

/// What the thread of a log works on.
struct Writer {
    shared: Arc<Shared>,
    place: Option<Place>,
    /// The number of the next block.
    number: u64,
    durable: Durable,
}

impl Writer {
    fn run(mut self) {
        let mut block = Vec::new();
        while let Some((spare, taken)) = self.wait(&mut block) {
            if let Err(error) = self.write(&mut block, spare) {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!("{error}: {}; ending", cause.unwrap_or_default());
                std::process::abort();
            }
            (self.durable)(taken);
        }
    }

    /// Waits for records and swaps them into `block`; returns the segment that they begin, if they
    /// do, and the number of records up to them. `None` at the end.
    fn wait(&self, block: &mut Vec<u8>) -> Option<(Option<Segment>, u64)> {
        block.clear();
        block.resize(HEADER, 0);
        let filled = |buffer: &mut Buffer| buffer.block.len() == HEADER && !buffer.closed;
        let guard = self.shared.filled.wait_while(self.shared.lock(), filled);
        let mut guard = guard.unwrap_or_else(PoisonError::into_inner);
        let buffer = &mut *guard;
        if buffer.block.len() == HEADER {
            return None;
        }
        mem::swap(&mut buffer.block, block);
        self.shared.drained.notify_all();
        let bytes = block::size(block.len()) as u64;
        let spare = if bytes <= buffer.room { None } else { buffer.spare.take() };
        let room = spare.as_ref().map_or(buffer.room, |spare| spare.len);
        buffer.room = room - bytes;
        Some((spare, buffer.taken))
    }

    fn write(&mut self, block: &mut Vec<u8>, spare: Option<Segment>) -> Result<()> {
        if let Some(spare) = spare {
            let segment = spare.name(&self.shared.dir, self.number)?;
            self.place = Some(Place { segment, at: 0 });
        }
        let place = self.place.as_mut().expect("a block without room begins a segment");
        let failed = |what| Error::io(what, &place.segment.path);
        block::seal(block, self.number);
        place.segment.write(block, place.at).map_err(failed("write"))?;
        place.segment.sync().map_err(failed("sync"))?;
        place.at += block.len() as u64;
        self.number += 1;
        if place.segment.len - place.at >= HEADER as u64 {
            let mut mark = vec![0; HEADER];
            block::seal(&mut mark, self.number);
            place.segment.write(&mark, place.at).map_err(failed("write"))?;
        }
        Ok(())
    }
}
