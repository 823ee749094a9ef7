//! Splits deltas over shards: by key hash, or in contiguous slices.
//!
//! A row's *vnode* is the top 8 bits of a fixed hash of its key; it never changes. A shard owns a
//! range of the 256 vnodes, so the number of shards can change without rehashing (DESIGN 5.4).

use std::hash::BuildHasher;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use foldhash::fast::FixedState;

use super::Delta;

/// Number of virtual nodes, for ever.
pub const VNODES: usize = 256;

/// Hashes keys with a fixed seed, so that every run and every node agrees.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    FixedState::with_seed(0x4877).hash_one(bytes)
}

/// Returns the shard of a vnode when there are `shards` of them.
pub fn shard_of(hash: u64, shards: usize) -> usize {
    let vnode = usize::try_from(hash >> 56).expect("8 bits fit");
    vnode * shards / VNODES
}

/// Splits a delta by the hash of `keys`, columns as long as the delta; order within a part is kept.
pub fn by_hash(delta: &Delta, keys: &[ArrayRef], shards: usize) -> Result<Vec<Delta>, ArrowError> {
    if shards == 1 {
        return Ok(vec![delta.clone()]);
    }
    let fields = keys.iter().map(|k| SortField::new(k.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(keys)?;
    let mut parts: Vec<Vec<u32>> = vec![Vec::new(); shards];
    for (i, row) in rows.iter().enumerate() {
        let index = u32::try_from(i).expect("a batch has fewer than 2^32 rows");
        parts[shard_of(hash_bytes(row.data()), shards)].push(index);
    }
    parts.into_iter().map(|part| delta.take(&UInt32Array::from(part))).collect()
}

/// Splits a delta into contiguous slices of nearly equal length, so that their concatenation is the
/// delta. Deltas shorter than `min_rows` per shard stay in fewer slices.
pub fn by_slice(delta: &Delta, shards: usize, min_rows: usize) -> Vec<Delta> {
    let used = (delta.len() / min_rows.max(1)).clamp(1, shards);
    (0..shards)
        .map(|i| {
            if i >= used {
                return delta.slice(0, 0);
            }
            let (from, to) = (delta.len() * i / used, delta.len() * (i + 1) / used);
            delta.slice(from, to - from)
        })
        .collect()
}
