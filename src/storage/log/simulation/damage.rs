//! Files that are not what was written: found, or of no matter.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{SECTOR, Simulated, Trouble};
use super::random::Random;
use super::{DIR, Next, SEGMENT_BYTES, Seen, World, Writing, open, record};
use crate::storage::log::disk::Disk;
use crate::storage::log::{Error, Generations, Reader};

/// A disk with a log of some segments behind an image, of which everything is acknowledged.
fn filled(records: usize) -> World {
    let mut world = World::new(1);
    let (mut generations, reader) = Generations::open(world.disk(), Path::new(DIR)).unwrap();
    let mut current = Writing::begin(reader, 0).unwrap();
    world.append(&mut current, &mut Next::None).unwrap();
    current.step().unwrap();
    generations.settle().unwrap();
    let mut seen = Seen::default();
    for i in 0..records {
        world.append(&mut current, &mut Next::None).unwrap();
        current.step().unwrap();
        if i == records / 3 {
            let mut next = Next::None;
            while !seen.replaced {
                next = world.replace(&mut generations, &mut current, next, &mut seen).unwrap();
            }
        }
    }
    world.acknowledged = world.written.len();
    world
}

/// Opens a copy of the disk that somebody has meddled with: it has all records, or says where it is
/// damaged.
fn found(world: &World, meddle: impl FnOnce(&Simulated)) -> Option<Error> {
    let files = world.files.copy();
    meddle(&files);
    match open(&Disk::of(Arc::new(files), SEGMENT_BYTES)) {
        Ok((_, _, found)) => {
            assert_eq!(found, world.written);
            None
        }
        Err(error) => Some(error),
    }
}

fn damaged(error: &Error) -> &Path {
    match error {
        Error::Corrupt { path, .. } => path,
        other => panic!("{other}"),
    }
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

#[test]
fn a_flipped_bit_is_found_in_every_file() {
    let world = filled(40);
    flip(&world);
    // So it is when another process went on with the log, and has written nothing yet.
    let (mut generations, reader, _) = open(&world.disk()).unwrap();
    let writing = Writing::begin(reader, 0).unwrap();
    generations.settle().unwrap();
    drop(writing);
    flip(&world);
}

fn flip(world: &World) {
    let mut random = Random::new(3);
    let (mut flipped, mut said) = (0, 0);
    for path in world.files.paths() {
        let mut bytes = Vec::new();
        world.files.meddle(&path, |now| bytes = now.clone());
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(64, |last| last + 17);
        for at in (random.below(2)..used.min(bytes.len())).step_by(2) {
            let bit = random.below(8);
            let error = found(world, |files| files.meddle(&path, |now| now[at] ^= 1 << bit));
            flipped += 1;
            if let Some(error) = error {
                said += 1;
                assert_eq!(damaged(&error), path, "byte {at}, bit {bit}");
            }
        }
    }
    assert!(flipped > 2_000 && said > flipped * 9 / 10, "{said} of {flipped}");
}

#[test]
fn a_file_that_is_missing_or_cut_is_found() {
    let world = filled(60);
    let paths = world.files.paths();
    assert!(paths.iter().filter(|path| is_segment(path)).count() > 3, "{paths:?}");
    for path in &paths {
        let counts = is_segment(path) || path.ends_with("current");
        let gone = found(&world, |files| {
            use crate::storage::log::disk::Files;
            files.remove(path).unwrap();
        });
        assert_eq!(gone.is_some(), counts, "{}", path.display());
        assert!(gone.iter().all(|error| damaged(error).starts_with(DIR)));
        let mut whole = 0;
        world.files.meddle(path, |now| whole = now.len());
        for length in [0, 1, 15, 511].into_iter().filter(|length| *length < whole) {
            let cut = found(&world, |files| files.meddle(path, |now| now.truncate(length)));
            assert_eq!(cut.is_some(), counts, "{} cut at {length}", path.display());
            cut.iter().for_each(|error| assert_eq!(damaged(error), path));
        }
    }
}

/// Sectors of the last block are there in any combination of a cut and a hole, and the block is
/// torn at any byte.
#[test]
fn every_cut_of_what_was_not_synced_leaves_what_was() {
    let world = filled(20);
    let sectors = record(b'R', &[17]).len() / SECTOR + 2;
    for cut in 0..=sectors {
        for hole in 0..=sectors {
            torn(&world, &mut |sector, writes| {
                if sector < cut || sector == hole { (writes, 0) } else { (0, 0) }
            });
        }
    }
    for byte in 0..SECTOR {
        torn(&world, &mut |sector, writes| if sector == 1 { (0, byte) } else { (writes, 0) });
    }
}

/// Writes a long block on a copy of the disk, and cuts the power before it is synced.
fn torn(world: &World, keep: super::disk::Keep<'_>) {
    let files = world.files.copy();
    let disk = Disk::of(Arc::new(files.clone()), SEGMENT_BYTES);
    let (_, reader, found) = open(&disk).unwrap();
    let mut log = Writing::begin(reader, 0).unwrap();
    log.append(&record(b'R', &[17])).unwrap();
    // It is renamed, its directory is synced, it is written, and synced.
    files.begin(Some((4, Trouble::StopBefore)));
    log.step().unwrap_err();
    files.cut_power_with(Vec::new(), keep);
    files.begin(None);
    let (mut generations, reader, after) = open(&disk).unwrap();
    assert!(after == found || after[..found.len()] == found && after.len() == found.len() + 1);
    let mut log = Writing::begin(reader, 0).unwrap();
    generations.settle().unwrap();
    log.append(&record(b'R', &[18])).unwrap();
    log.step().unwrap();
    let (_, _, last) = open(&disk).unwrap();
    assert_eq!(last, [&after[..], &[18]].concat());
}

/// The log that counts, for those who only look.
#[test]
fn looking_changes_nothing() {
    let world = filled(20);
    let before: Vec<PathBuf> = world.files.paths();
    let mut reader: Reader = Generations::inspect(world.disk(), Path::new(DIR)).unwrap();
    assert_eq!(super::read(&mut reader).unwrap(), world.written);
    assert_eq!(world.files.paths(), before);
    let error = Generations::inspect(world.disk(), Path::new("/data")).unwrap_err();
    assert_eq!(damaged(&error), Path::new("/data/current"));
}
