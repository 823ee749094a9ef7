//! Results of groups before and after an instant, and the change between them.

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, UInt32Array, new_empty_array};
use arrow::compute::{self, kernels::cmp};

use super::AggregateOptions;
use super::fold::Fold;
use crate::delta::{Delta, Instants, Weights, batch};
use crate::error::SqlState;
use crate::operators::evaluate::row_text;
use crate::operators::{Output, Result, RowError};
use crate::storage::{RowCodec, RowSet};
use crate::time::Timestamp;

/// Results of some groups: one column per call.
pub(super) struct Results {
    pub(super) groups: Vec<u32>,
    pub(super) columns: Vec<ArrayRef>,
    /// Groups of which a result is out of range.
    pub(super) failed: Vec<bool>,
}

/// Where and how changes are emitted.
pub(super) struct Emission<'a> {
    pub(super) keys: &'a RowSet,
    pub(super) options: &'a AggregateOptions,
    pub(super) at: Timestamp,
    pub(super) out: &'a mut Output,
}

impl Results {
    /// Reads the results of `groups`.
    pub(super) fn read(folds: &mut [Box<dyn Fold>], groups: Vec<u32>) -> Result<Self> {
        let mut failed = vec![false; groups.len()];
        let columns = folds.iter_mut().map(|fold| fold.evaluate(&groups, &mut failed));
        let columns = columns.collect::<Result<_>>()?;
        Ok(Self { groups, columns, failed })
    }

    /// Joins results of disjoint groups.
    pub(super) fn concat(parts: Vec<Results>, options: &AggregateOptions) -> Result<Self> {
        if parts.len() == 1 {
            return Ok(parts.into_iter().next().expect("there is one"));
        }
        let column = |i: usize| {
            let parts: Vec<&dyn Array> =
                parts.iter().map(|part| part.columns[i].as_ref()).collect();
            if parts.is_empty() {
                let function = &options.calls[i].function;
                return Ok(new_empty_array(function.field().data_type()));
            }
            compute::concat(&parts)
        };
        let columns = (0..options.calls.len()).map(column);
        Ok(Self {
            columns: columns.collect::<std::result::Result<_, _>>()?,
            groups: parts.iter().flat_map(|part| part.groups.iter().copied()).collect(),
            failed: parts.iter().flat_map(|part| part.failed.iter().copied()).collect(),
        })
    }

    fn take(&self, rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
        if rows.len() == self.groups.len() {
            // Rows are ascending, so these are all of them.
            return Ok(self.columns.clone());
        }
        let columns = self.columns.iter().map(|column| compute::take(column, rows, None));
        Ok(columns.collect::<std::result::Result<_, _>>()?)
    }
}

/// Emits `-old +new` for the groups of `order` whose results differ.
pub(super) fn emit_changes(
    old: &Results,
    new: &Results,
    order: &[u32],
    emission: Emission<'_>,
) -> Result<()> {
    let (minus, plus) = differences(old, new, order)?;
    let Emission { keys, options, at, out } = emission;
    report(old, &minus, -1, keys, out)?;
    report(new, &plus, 1, keys, out)?;
    let sound = |of: &Results, rows: Vec<u32>| -> UInt32Array {
        rows.into_iter().filter(|row| !of.failed[*row as usize]).collect::<Vec<_>>().into()
    };
    let (minus, plus) = (sound(old, minus), sound(new, plus));
    let of = |results: &Results, rows: &UInt32Array| -> Vec<u32> {
        rows.values().iter().map(|row| results.groups[*row as usize]).collect()
    };
    let mut groups = of(old, &minus);
    groups.extend(of(new, &plus));
    if groups.is_empty() {
        return Ok(());
    }
    let mut columns = keys.decode(&groups)?;
    let new_values = new.take(&plus)?;
    if minus.is_empty() {
        columns.extend(new_values);
    } else {
        for (old, new) in old.take(&minus)?.iter().zip(&new_values) {
            columns.push(compute::concat(&[old.as_ref(), new.as_ref()])?);
        }
    }
    let weights = if minus.is_empty() {
        Weights::Ones
    } else {
        let minus = std::iter::repeat_n(-1, minus.len());
        Weights::Each(Int64Array::from_iter_values(minus.chain(std::iter::repeat_n(1, plus.len()))))
    };
    let rows = batch(options.output.clone(), columns, groups.len())?;
    out.push(Delta::new(rows, Instants::All(at), weights));
    Ok(())
}

/// Returns the rows of `old` to take back and those of `new` to bring: the groups of both are
/// subsequences of `order`.
fn differences(old: &Results, new: &Results, order: &[u32]) -> Result<(Vec<u32>, Vec<u32>)> {
    // Rows of groups that are in both, position by position.
    let (mut both_old, mut both_new) = (Vec::new(), Vec::new());
    let (mut minus, mut plus) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0u32, 0u32);
    for group in order {
        let was = old.groups.get(i as usize) == Some(group);
        let is = new.groups.get(j as usize) == Some(group);
        match (was, is) {
            (true, true) => {
                both_old.push(i);
                both_new.push(j);
            }
            (true, false) => minus.push(i),
            (false, true) => plus.push(j),
            (false, false) => {}
        }
        i += u32::from(was);
        j += u32::from(is);
    }
    let changed = changed(old, new, &both_old, &both_new)?;
    let pick = |rows: &[u32], only: &mut Vec<u32>| {
        let picked = rows.iter().zip(&changed).filter(|(_, changed)| **changed);
        only.extend(picked.map(|(row, _)| *row));
        only.sort_unstable();
    };
    pick(&both_old, &mut minus);
    pick(&both_new, &mut plus);
    Ok((minus, plus))
}

/// Returns which of the aligned rows differ.
fn changed(old: &Results, new: &Results, old_rows: &[u32], new_rows: &[u32]) -> Result<Vec<bool>> {
    let rows = old_rows.iter().zip(new_rows);
    let failed = rows.map(|(i, j)| old.failed[*i as usize] != new.failed[*j as usize]);
    let mut changed: Vec<bool> = failed.collect();
    let old_columns = old.take(&UInt32Array::from(old_rows.to_vec()))?;
    let new_columns = new.take(&UInt32Array::from(new_rows.to_vec()))?;
    for (old, new) in old_columns.iter().zip(&new_columns) {
        let distinct = distinct(old, new)?;
        distinct.values().set_indices().for_each(|row| changed[row] = true);
    }
    Ok(changed)
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

/// Reports the groups among `rows` of which a result is out of range.
fn report(of: &Results, rows: &[u32], weight: i64, keys: &RowSet, out: &mut Output) -> Result<()> {
    for row in rows.iter().filter(|row| of.failed[**row as usize]) {
        let key = keys.decode(&[of.groups[*row as usize]])?;
        out.quarantine(RowError {
            sqlstate: SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            message: "the value of an aggregate is out of range".to_owned(),
            row: row_text(&key, 0),
            weight,
        });
    }
    Ok(())
}
