//! Logs cut, flipped and read again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::{Disk, Error, Log, Reader, Result, records, segment};

/// Reads the log in a directory to its end.
fn read(dir: &Path) -> Result<(Vec<Vec<u8>>, Reader)> {
    let mut reader = Reader::open(&Disk::default(), dir)?;
    let mut found = Vec::new();
    while let Some(block) = reader.next_block()? {
        found.extend(records(&block).map(<[u8]>::to_vec));
    }
    Ok((found, reader))
}

fn open(dir: &Path) -> (Vec<Vec<u8>>, Log) {
    let (found, reader) = read(dir).unwrap();
    (found, reader.into_log(|_| {}).unwrap())
}

/// Adds records, each a block of its own.
fn add(dir: &Path, added: &[Vec<u8>]) {
    let (sender, durable) = mpsc::channel();
    let (_, reader) = read(dir).unwrap();
    let log = reader.into_log(move |count| sender.send(count).unwrap()).unwrap();
    for (i, record) in added.iter().enumerate() {
        assert_eq!(log.append(&[&record[..1], &record[1..]]).unwrap(), i as u64 + 1);
        while durable.recv().unwrap() <= i as u64 {}
    }
}

fn numbered(count: u8, length: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| vec![i; length + i as usize]).collect()
}

fn only_segment(dir: &Path) -> PathBuf {
    let segments = segment::list(&Disk::default(), dir).unwrap();
    assert_eq!(segments.len(), 1);
    segments[0].path.clone()
}

#[test]
fn records_come_back_in_order_over_several_lives() {
    let dir = tempfile::tempdir().unwrap();
    let all = numbered(20, 50);
    for part in all.chunks(7) {
        add(dir.path(), part);
    }
    assert_eq!(read(dir.path()).unwrap().0, all);
}

#[test]
fn what_was_taken_is_written_before_the_log_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (_, log) = open(dir.path());
    let all = numbered(100, 1_000);
    all.iter().for_each(|record| {
        log.append(&[record]).unwrap();
    });
    drop(log);
    assert_eq!(open(dir.path()).0, all);
}

#[test]
fn segments_are_made_faster_than_they_are_filled() {
    let dir = tempfile::tempdir().unwrap();
    let (_, log) = open(dir.path());
    let all: Vec<Vec<u8>> = (0..100).map(|i| vec![i; 1 << 20]).collect();
    all.iter().for_each(|record| {
        log.append(&[record]).unwrap();
    });
    drop(log);
    assert!(open(dir.path()).0 == all);
}

#[test]
fn a_block_larger_than_a_segment_has_one_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let all = vec![vec![1; 10], vec![2; 40_000_000], vec![3; 10]];
    add(dir.path(), &all);
    assert_eq!(segment::list(&Disk::default(), dir.path()).unwrap().len(), 3);
    assert_eq!(read(dir.path()).unwrap().0, all);
    fs::remove_file(&segment::list(&Disk::default(), dir.path()).unwrap()[0].path).unwrap();
    let error = read(dir.path()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

/// Each cut of the last block, as of a write that was not synced, leaves those before it.
#[test]
fn a_torn_block_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let all = numbered(3, 3_000);
    add(dir.path(), &all);
    let path = only_segment(dir.path());
    let whole = fs::read(&path).unwrap();
    let block = |i: usize| super::block::size(super::block::HEADER + 4 + all[i].len());
    let (begin, end) = (block(0) + block(1), block(0) + block(1) + block(2));
    for cut in (begin..end).step_by(512) {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        fs::write(&path, &torn).unwrap();
        let (found, log) = open(dir.path());
        assert_eq!(found, all[..2], "cut at {cut}");
        log.append(&[&all[0]]).unwrap();
        drop(log);
        assert_eq!(read(dir.path()).unwrap().0, [&all[..2], &all[..1]].concat(), "cut at {cut}");
    }
}

/// Sectors of the last block may come to the disk in any order, or without the mark behind it.
#[test]
fn a_block_with_a_hole_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let all = numbered(2, 3_000);
    add(dir.path(), &all);
    let path = only_segment(dir.path());
    let mut torn = fs::read(&path).unwrap();
    let first = super::block::size(super::block::HEADER + 4 + all[0].len());
    let second = first + super::block::size(super::block::HEADER + 4 + all[1].len());
    torn[first + 512..first + 1024].fill(0);
    torn[second..].fill(0);
    fs::write(&path, &torn).unwrap();
    assert_eq!(open(dir.path()).0, all[..1]);
}

#[test]
fn every_flipped_bit_of_a_synced_block_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let all = numbered(4, 20);
    add(dir.path(), &all);
    let path = only_segment(dir.path());
    let end: usize =
        all.iter().map(|r| super::block::size(super::block::HEADER + 4 + r.len())).sum();
    let mut whole = fs::read(&path).unwrap();
    whole.truncate(end + super::block::HEADER);
    // The name of a segment says how long it was made.
    let short = dir.path().join(format!("{:020}-{}.log", 1, whole.len()));
    fs::rename(&path, &short).unwrap();
    let path = short;
    for at in 0..end {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&path, &flipped).unwrap();
            match read(dir.path()) {
                // A bit between the blocks says nothing.
                Ok((found, _)) => assert_eq!(found, all, "byte {at}, bit {bit}"),
                Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
            }
        }
    }
}
