//! What lies in a segment: blocks, each of the records that were written and synced together.
//!
//! ```text
//!   offset  bytes
//!        0      4  length n of the records, 0 for the mark behind the last block
//!        4      4  CRC-32 of the number and the records
//!        8      8  number of the block: one more than that of the block before
//!       16      n  records: length (4 bytes), bytes
//!                  zeros up to a multiple of 8
//! ```
//! Numbers are little-endian. The mark tells a block that was damaged from one that was never
//! written whole: it is written when the block before it is on the disk, and the next block takes
//! its place. Where the next block is in another segment, a mark with all bits of its number
//! turned, the link, says so when that block is on the disk: the segment must not be missing then.

use std::ops::Range;

/// Bytes before the records.
pub const HEADER: usize = 16;

/// Blocks begin at multiples of this.
const ALIGN: usize = 8;

/// Returns the bytes that a block of this length takes on disk.
pub fn size(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

/// Adds a record, the parts one behind the other, to a block that is being filled.
pub fn push(block: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    block.extend(u32::try_from(length).expect("a record has less than 4 GiB").to_le_bytes());
    parts.iter().for_each(|part| block.extend_from_slice(part));
}

/// Completes a block.
pub fn seal(block: &mut Vec<u8>, number: u64) {
    block[8..HEADER].copy_from_slice(&number.to_le_bytes());
    let length = u32::try_from(block.len() - HEADER).expect("a block has less than 4 GiB");
    let sum = crc32fast::hash(&block[8..]);
    block[..4].copy_from_slice(&length.to_le_bytes());
    block[4..8].copy_from_slice(&sum.to_le_bytes());
    block.resize(size(block.len()), 0);
}

/// The mark behind the last block, with the number of the block to come.
pub fn mark(number: u64) -> Vec<u8> {
    let mut mark = vec![0; HEADER];
    seal(&mut mark, number);
    mark
}

/// What takes the place of the mark when the block of that number is in another segment.
pub fn link(number: u64) -> Vec<u8> {
    mark(!number)
}

/// What is found where a block is expected.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Records of a block, at these places.
    Block(Range<usize>),
    /// The end: nothing has been written here but perhaps the mark.
    End {
        /// Whether the mark is there; at the end of a segment there is no room for it.
        marked: bool,
    },
    /// The end of a segment that another one follows.
    Link,
    /// Something else.
    Torn,
}

/// Looks for the block with this number at a place in a segment.
pub fn find(segment: &[u8], at: usize, number: u64) -> Found {
    let Some(header) = segment.get(at..at + HEADER) else { return Found::End { marked: true } };
    if header.iter().all(|byte| *byte == 0) {
        return Found::End { marked: at == 0 };
    }
    match read(segment, at) {
        Some((found, range)) if found == number && range.is_empty() => Found::End { marked: true },
        Some((found, range)) if found == number => Found::Block(range),
        Some((found, range)) if found == !number && range.is_empty() => Found::Link,
        _ => Found::Torn,
    }
}

/// Whether behind a place lies a whole block or mark with a number that is greater.
pub fn is_followed(segment: &[u8], at: usize, number: u64) -> bool {
    (at + ALIGN..segment.len().saturating_sub(HEADER - 1))
        .step_by(ALIGN)
        .filter(|at| number_at(segment, *at) > number)
        .any(|at| read(segment, at).is_some())
}

fn number_at(segment: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(segment[at + 8..at + HEADER].try_into().expect("it has 8 bytes"))
}

/// The number and the place of the records of a block or mark that is whole.
fn read(segment: &[u8], at: usize) -> Option<(u64, Range<usize>)> {
    let word =
        |at: usize| u32::from_le_bytes(segment[at..at + 4].try_into().expect("it has 4 bytes"));
    let range = at + HEADER..(at + HEADER).checked_add(word(at) as usize)?;
    let summed = segment.get(at + 8..range.end)?;
    (crc32fast::hash(summed) == word(at + 4)).then(|| (number_at(segment, at), range))
}

/// The records of a block.
pub fn records(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (record, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = behind;
        Some(record)
    })
}
