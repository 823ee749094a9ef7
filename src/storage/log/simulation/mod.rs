//! Logs and their generations on a disk that fails and forgets, by seed.
//!
//! A seed is some lives of a process: it appends records, brings them to the disk, replaces the log
//! by one that begins with an image, and ends in the middle of something, by itself or with the
//! power. What the next life reads are the records that the ones before wrote, in order, up to the
//! last one that was acknowledged or some way behind it.
//!
//! `HIGHWATER_SEED=n` runs one seed, `HIGHWATER_SEEDS=n` so many.

mod damage;
mod disk;
#[path = "../../../../tests/support/random.rs"]
#[expect(dead_code, reason = "not all of it is used here")]
mod random;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Disk;
use super::writer::Writer;
use super::{Error, Generations, Log, Reader, Result, records};
use disk::{Simulated, Trouble};
use random::Random;

/// Seeds of an ordinary run.
const SEEDS: u64 = 1_500;

/// Bytes of a segment: some blocks.
const SEGMENT_BYTES: u64 = 4096;

/// The directory of the logs.
const DIR: &str = "/data/log";

#[test]
fn nothing_acknowledged_is_lost_on_a_disk_that_fails_and_forgets() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("HIGHWATER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HIGHWATER_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let _told = Told(seed);
        World::new(seed).run(&mut seen);
    }
    if seeds.end - seeds.start >= SEEDS {
        assert!(seen.all(), "something was never simulated: {seen:?}");
    }
}

/// Tells the seed of a test that fails.
struct Told(u64);

impl Drop for Told {
    #[expect(clippy::print_stderr, reason = "a failing test tells its seed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("HIGHWATER_SEED={}", self.0);
        }
    }
}

/// What has happened at least once.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: bool,
    replaced: bool,
    given_up: bool,
    refused_when_full: bool,
    lost_unacknowledged: bool,
    kept_unacknowledged: bool,
    ended_by_failure: bool,
    stopped_at_start: bool,
}

impl Seen {
    fn all(&self) -> bool {
        let Self { acknowledged, replaced, given_up, refused_when_full, .. } = self;
        let Self { lost_unacknowledged, kept_unacknowledged, .. } = self;
        let Self { ended_by_failure, stopped_at_start, .. } = self;
        *acknowledged
            && *replaced
            && *given_up
            && *refused_when_full
            && *lost_unacknowledged
            && *kept_unacknowledged
            && *ended_by_failure
            && *stopped_at_start
    }
}

/// A disk, and what is known of it.
struct World {
    random: Random,
    files: Simulated,
    /// The records that were taken, in order.
    written: Vec<u64>,
    /// How many of them were acknowledged.
    acknowledged: usize,
    next: u64,
}

/// A log that is written to.
struct Writing {
    log: Log,
    writer: Writer,
    taken: u64,
    durable: Arc<AtomicU64>,
    /// How many records of the world the first one of it follows, or fewer than none where an
    /// image comes first.
    offset: i64,
}

impl Writing {
    fn begin(reader: Reader, offset: i64) -> Result<Self> {
        let durable = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&durable);
        let (log, writer) =
            reader.into_parts(move |count| counter.store(count, Ordering::Relaxed))?;
        Ok(Self { log, writer, taken: 0, durable, offset })
    }

    fn append(&mut self, record: &[u8]) -> Result<()> {
        self.taken = self.log.append(&[record])?;
        Ok(())
    }

    /// Brings what was taken to the disk.
    fn step(&mut self) -> Result<()> {
        if self.is_durable() { Ok(()) } else { self.writer.step() }
    }

    fn is_durable(&self) -> bool {
        self.durable.load(Ordering::Relaxed) == self.taken
    }

    /// How many records of the world are on the disk.
    fn acknowledged(&self) -> usize {
        let count = self.offset + self.durable.load(Ordering::Relaxed) as i64;
        usize::try_from(count.max(0)).expect("not negative")
    }
}

/// The log that is to replace the current one.
enum Next {
    None,
    /// The image is taken, and these records came after it.
    Waits(Writing, Vec<u64>),
    Follows(Writing),
}

/// A record: its kind, and its numbers.
fn record(kind: u8, ids: &[u64]) -> Vec<u8> {
    let mut bytes = vec![kind];
    ids.iter().for_each(|id| bytes.extend(id.to_le_bytes()));
    if let (b'R', [id]) = (kind, ids) {
        // Most are short, and some longer than a segment.
        let length = if id % 61 == 17 { 5_000 } else { (id * 7919 % 701) as usize };
        bytes.resize(bytes.len() + length, *id as u8);
    }
    bytes
}

/// What the log that counts says, and that log.
fn open(disk: &Disk) -> Result<(Generations, Reader, Vec<u64>)> {
    let (generations, mut reader) = Generations::open(disk.clone(), Path::new(DIR))?;
    let found = read(&mut reader)?;
    Ok((generations, reader, found))
}

fn read(reader: &mut Reader) -> Result<Vec<u64>> {
    let (mut found, mut in_image) = (Vec::new(), false);
    while let Some(block) = reader.next_block()? {
        for bytes in records(&block) {
            let (ids, _) = bytes[1..].as_chunks::<8>();
            let ids: Vec<u64> = ids.iter().map(|id| u64::from_le_bytes(*id)).collect();
            match bytes[0] {
                b'R' => {
                    assert!(!in_image, "a record within the image");
                    assert_eq!(bytes, record(b'R', &ids[..1]), "a record is what was written");
                    found.push(ids[0]);
                }
                b'B' => in_image = true,
                b'P' => found.extend(ids),
                b'E' => in_image = false,
                kind => panic!("a record of kind {kind}"),
            }
        }
    }
    assert!(!in_image, "half an image counts");
    Ok(found)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let files = Simulated::new(Random::new(random.bits()));
        Self { random, files, written: Vec::new(), acknowledged: 0, next: 0 }
    }

    fn disk(&self) -> Disk {
        Disk::of(Arc::new(self.files.clone()), SEGMENT_BYTES)
    }

    fn run(mut self, seen: &mut Seen) {
        for _ in 0..2 + self.random.below(6) {
            let trouble = match self.random.below(4) {
                0 => None,
                1 => Some(Trouble::Fails),
                _ => Some(Trouble::Stop),
            };
            let within = [12, 60][self.random.below(2)];
            let trouble = trouble.map(|trouble| (1 + self.random.below(within), trouble));
            self.files.begin(trouble);
            self.files.set_full(false);
            if let Err(error) = self.live(seen) {
                assert!(
                    self.files.is_troubled(),
                    "{error} ({:?})",
                    std::error::Error::source(&error)
                );
                seen.ended_by_failure |= trouble.is_some_and(|(_, kind)| kind == Trouble::Fails);
            }
            if self.random.chance(50) {
                self.files.cut_power();
            }
        }
        self.files.begin(None);
        self.files.set_full(false);
        let (_, _, found) = open(&self.disk()).expect("a disk without trouble is read");
        self.check(&found);
    }

    /// What is found is what was written, up to what was acknowledged at least.
    fn check(&self, found: &[u64]) {
        assert!(self.written.starts_with(found), "{found:?} is not of {:?}", self.written);
        assert!(
            found.len() >= self.acknowledged,
            "{} of {} acknowledged records are there",
            found.len(),
            self.acknowledged
        );
    }

    /// One life of the process; an error ends it.
    fn live(&mut self, seen: &mut Seen) -> Result<()> {
        let (mut generations, reader, found) =
            open(&self.disk()).inspect_err(|_| seen.stopped_at_start = true)?;
        self.check(&found);
        seen.lost_unacknowledged |= found.len() < self.written.len();
        seen.kept_unacknowledged |= found.len() > self.acknowledged;
        self.written = found;
        let mut current = Writing::begin(reader, self.written.len() as i64)?;
        if self.written.is_empty() {
            self.append(&mut current, &mut Next::None)?;
            current.step()?;
        }
        generations.settle()?;
        // Whatever was read is shown to others from now on.
        self.acknowledged = self.written.len();
        let mut next = Next::None;
        for _ in 0..self.random.below(60) {
            match self.random.below(12) {
                0..=5 => match self.append(&mut current, &mut next) {
                    Err(Error::Full { .. }) => seen.refused_when_full = true,
                    Err(_) if self.files.is_troubled() => {}
                    appended => appended?,
                },
                6..=8 => {
                    current.step()?;
                    self.acknowledged = self.acknowledged.max(current.acknowledged());
                    seen.acknowledged = true;
                }
                9 => {
                    let full = self.random.chance(30);
                    self.files.set_full(full);
                }
                _ => next = self.replace(&mut generations, &mut current, next, seen)?,
            }
        }
        Ok(())
    }

    /// Takes a record; the next log takes it as well.
    fn append(&mut self, current: &mut Writing, next: &mut Next) -> Result<()> {
        let bytes = record(b'R', &[self.next]);
        current.append(&bytes)?;
        match next {
            Next::None => {}
            Next::Waits(_, came) => came.push(self.next),
            Next::Follows(log) => {
                if log.append(&bytes).is_err() {
                    *next = Next::None;
                }
            }
        }
        self.written.push(self.next);
        self.next += 1;
        Ok(())
    }

    /// Goes a step towards another log that counts. What fails before the last step is given up.
    fn replace(
        &mut self,
        generations: &mut Generations,
        current: &mut Writing,
        next: Next,
        seen: &mut Seen,
    ) -> Result<Next> {
        let going = match next {
            Next::None => self.image(generations).map(|log| Next::Waits(log, Vec::new())),
            Next::Waits(mut log, came) => {
                let mut all = came.iter().map(|id| record(b'R', &[*id]));
                all.try_for_each(|bytes| log.append(&bytes)).map(|()| Next::Follows(log))
            }
            Next::Follows(mut log) if !log.is_durable() => {
                log.step()?;
                Ok(Next::Follows(log))
            }
            Next::Follows(log) => match generations.prepare() {
                Err(error) => Err(error),
                Ok(()) => {
                    generations.advance()?;
                    *current = log;
                    current.offset = self.written.len() as i64 - current.taken as i64;
                    self.acknowledged = self.written.len();
                    generations.remove_others();
                    seen.replaced = true;
                    Ok(Next::None)
                }
            },
        };
        Ok(going.unwrap_or_else(|_| {
            seen.given_up = true;
            generations.remove_others();
            Next::None
        }))
    }

    /// Begins a log with an image of all that was taken.
    fn image(&mut self, generations: &Generations) -> Result<Writing> {
        let mut log = Writing::begin(generations.begin()?, 0)?;
        log.append(&record(b'B', &[]))?;
        for part in self.written.chunks(1 + self.random.below(200)) {
            log.append(&record(b'P', part))?;
            if self.random.chance(50) {
                log.step()?;
            }
        }
        log.append(&record(b'E', &[]))?;
        Ok(log)
    }
}
