//! Results of touched groups before and after each instant, and the changes between them.
//!
//! # Semantics
//! Entries are recorded in the order of instants: for each, `-1` for the touched groups that were
//! visible before it, `+1` for those that are visible after it. The folds record the values in the
//! same order. A group of which both values are equal has not changed, and both entries are
//! dropped.

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{self, kernels::cmp};
use arrow::datatypes::SchemaRef;

use super::fold::{Failure, Fold};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::operators::evaluate::row_text;
use crate::operators::{Output, Result, RowError};
use crate::storage::{RowCodec, RowSet};
use crate::time::Timestamp;

/// Results of groups, as they come and go.
#[derive(Default)]
pub(super) struct Entries {
    groups: Vec<u32>,
    instants: Vec<i64>,
    weights: Vec<i64>,
    /// Why there is no result.
    failed: Vec<Option<Failure>>,
    /// Entries of one group and instant, before and after it.
    pairs: Vec<(u32, u32)>,
}

impl Entries {
    /// Records groups as they are before (-1) or after (+1) an instant; returns the first entry.
    pub(super) fn record(
        &mut self,
        folds: &mut [Box<dyn Fold>],
        groups: &[u32],
        at: Timestamp,
        weight: i64,
    ) -> Result<usize> {
        let first = self.groups.len();
        let bound = first + groups.len();
        self.groups.extend_from_slice(groups);
        self.instants.resize(bound, at.0);
        self.weights.resize(bound, weight);
        self.failed.resize(bound, None);
        for fold in folds {
            fold.record(groups, &mut self.failed[first..])?;
        }
        Ok(first)
    }

    /// Notes which entries stand for one group, before and after an instant. Those from `old` and
    /// those from `new` are in the order of `touched`, but some groups are missing among them.
    pub(super) fn pair(&mut self, old: usize, new: usize, touched: &[u32]) {
        let index = |entry: usize| u32::try_from(entry).expect("entries are counted by u32");
        let (mut i, mut j) = (old, new);
        for group in touched {
            let was = i < new && self.groups[i] == *group;
            let is = self.groups.get(j) == Some(group);
            if was && is {
                self.pairs.push((index(i), index(j)));
            }
            i += usize::from(was);
            j += usize::from(is);
        }
    }

    /// Emits what has changed, and reports groups without a result.
    pub(super) fn emit(
        self,
        folds: &mut [Box<dyn Fold>],
        keys: &RowSet,
        output: &SchemaRef,
        out: &mut Output,
    ) -> Result<()> {
        let columns = folds.iter_mut().map(|fold| fold.recorded()).collect::<Result<Vec<_>>>()?;
        let changed = self.changed(&columns)?;
        let (mut rows, mut groups) = (Vec::new(), Vec::new());
        for row in changed {
            let group = self.groups[row as usize];
            if let Some(failure) = self.failed[row as usize] {
                out.quarantine(RowError {
                    sqlstate: failure.sqlstate(),
                    message: failure.message().to_owned(),
                    row: row_text(&keys.decode(&[group])?, 0),
                    weight: self.weights[row as usize],
                });
            } else {
                rows.push(row);
                groups.push(group);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut row_columns = keys.decode(&groups)?;
        let rows = UInt32Array::from(rows);
        for column in columns {
            // Rows are ascending, so if they are as many these are all of them.
            let all = rows.len() == column.len();
            row_columns.push(if all { column } else { compute::take(&column, &rows, None)? });
        }
        let batch = batch(output.clone(), row_columns, rows.len())?;
        let (instants, weights) = self.times(&rows);
        out.push(Delta::new(batch, instants, weights));
        Ok(())
    }

    fn times(&self, rows: &UInt32Array) -> (Instants, Weights) {
        let of = |list: &[i64]| rows.values().iter().map(|row| list[*row as usize]).collect();
        let (instants, weights): (Vec<i64>, Vec<i64>) = (of(&self.instants), of(&self.weights));
        let instants = match (instants.first(), instants.last()) {
            // Instants are ascending.
            (Some(first), Some(last)) if first == last => Instants::All(Timestamp(*first)),
            _ => Instants::Each(TimestampMicrosecondArray::from(instants)),
        };
        let ones = weights.iter().all(|weight| *weight == 1);
        let weights = if ones { Weights::Ones } else { Weights::Each(Int64Array::from(weights)) };
        (instants, weights)
    }

    /// Returns the entries that stand for a change, ascending.
    fn changed(&self, columns: &[ArrayRef]) -> Result<Vec<u32>> {
        let old: UInt32Array = self.pairs.iter().map(|pair| Some(pair.0)).collect();
        let new: UInt32Array = self.pairs.iter().map(|pair| Some(pair.1)).collect();
        let failed = |entry: u32| self.failed[entry as usize];
        let differ = self.pairs.iter().map(|(old, new)| failed(*old) != failed(*new));
        let mut differ: Vec<bool> = differ.collect();
        for column in columns.iter().filter(|_| !self.pairs.is_empty()) {
            let old = compute::take(column, &old, None)?;
            let new = compute::take(column, &new, None)?;
            distinct(&old, &new)?.values().set_indices().for_each(|pair| differ[pair] = true);
        }
        let mut kept = vec![true; self.groups.len()];
        for ((old, new), differ) in self.pairs.iter().zip(differ) {
            kept[*old as usize] = differ;
            kept[*new as usize] = differ;
        }
        Ok((0..).zip(kept).filter(|(_, kept)| *kept).map(|(entry, _)| entry).collect())
    }
}

/// Returns where two columns differ; NULL equals NULL.
fn distinct(old: &ArrayRef, new: &ArrayRef) -> Result<BooleanArray> {
    if !old.data_type().is_nested() {
        return Ok(cmp::distinct(old, new)?);
    }
    let codec = RowCodec::new([old.data_type().clone()])?;
    let old = codec.encode(std::slice::from_ref(old), old.len())?;
    let new = codec.encode(std::slice::from_ref(new), new.len())?;
    Ok((0..old.len()).map(|row| Some(old.get(row) != new.get(row))).collect())
}
