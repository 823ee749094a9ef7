//! Sums the weights of equal rows and drops what cancels.
//!
//! # Semantics
//! The consolidated form of a delta holds each `(row, ts)` at most once, with the sum of its
//! weights, and none whose sum is 0. Rows keep the order of their first appearance, so the result
//! does not depend on hash order. NULLs are equal here, as in DISTINCT.
//!
//! # Cost
//! One arrow-row encoding and one hash per row.

use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::{Delta, Instants, Weights, take_rows};

/// Sums the weights of equal `(row, ts)` of a delta and drops zeros.
pub fn consolidate(delta: &Delta) -> Result<Delta, ArrowError> {
    if delta.len() <= 1 {
        return Ok(delta.clone());
    }
    let ts: Option<&TimestampMicrosecondArray> = match delta.ts() {
        Instants::All(_) => None,
        Instants::Each(ts) => Some(ts),
    };
    let (firsts, sums) = sum_equal(delta.rows(), ts, |i| delta.weight(i))?;
    let ones = sums.iter().all(|w| *w == 1);
    if ones && firsts.len() == delta.len() && matches!(delta.weights(), Weights::Ones) {
        return Ok(delta.clone());
    }
    let taken = delta.take(&UInt32Array::from(firsts))?;
    let weights = if ones { Weights::Ones } else { Weights::Each(Int64Array::from(sums)) };
    Ok(Delta::new(taken.rows().clone(), taken.ts().clone(), weights))
}

/// Sums the weights of equal rows and drops zeros: the content of a relation, row by row with its
/// multiplicity.
pub fn consolidate_batch(
    rows: &RecordBatch,
    weights: &Int64Array,
) -> Result<(RecordBatch, Int64Array), ArrowError> {
    let (firsts, sums) = sum_equal(rows, None, |i| weights.value(i))?;
    let taken = take_rows(rows, &UInt32Array::from(firsts))?;
    Ok((taken, Int64Array::from(sums)))
}

/// Returns the index of the first of each class of equal rows and the sum of the class's weights,
/// without the classes whose sum is 0.
fn sum_equal(
    rows: &RecordBatch,
    ts: Option<&TimestampMicrosecondArray>,
    weight: impl Fn(usize) -> i64,
) -> Result<(Vec<u32>, Vec<i64>), ArrowError> {
    let fields = rows.columns().iter().map(|c| SortField::new(c.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let encoded = (rows.num_columns() > 0).then(|| converter.convert_columns(rows.columns()));
    let encoded = encoded.transpose()?;
    let bytes = |i: usize| encoded.as_ref().map_or(&[][..], |rows| rows.row(i).data());
    let instant = |i: usize| ts.map_or(0, |ts| ts.value(i));
    let state = FixedState::with_seed(0);
    let hash = |i: usize| state.hash_one((bytes(i), instant(i)));
    let mut index: HashTable<u32> = HashTable::with_capacity(rows.num_rows());
    let (mut firsts, mut sums) = (Vec::new(), Vec::new());
    for i in 0..rows.num_rows() {
        let class = index.find(hash(i), |&c| {
            let first = firsts[c as usize] as usize;
            instant(first) == instant(i) && bytes(first) == bytes(i)
        });
        match class {
            Some(&class) => sums[class as usize] += weight(i),
            None => {
                let class = u32::try_from(firsts.len()).expect("a batch has fewer than 2^32 rows");
                firsts.push(u32::try_from(i).expect("a batch has fewer than 2^32 rows"));
                sums.push(weight(i));
                index.insert_unique(hash(i), class, |&c| hash(firsts[c as usize] as usize));
            }
        }
    }
    let mut sum = sums.iter();
    firsts.retain(|_| *sum.next().expect("one sum per class") != 0);
    sums.retain(|w| *w != 0);
    Ok((firsts, sums))
}
