//! The state of one aggregate call for all groups, and the choice of it.
//!
//! # Semantics
//! A [`Fold`] sums up weighted argument rows per group. Groups are dense numbers, so its state is
//! vectors indexed by group and its loops run over columns.
//!
//! | call                    | append-only input       | retracting input                     |
//! |-------------------------|-------------------------|--------------------------------------|
//! | count, sum, avg         | `Count`, `Sum`          | the same                             |
//! | .. DISTINCT             | `Distinct` before these | the same                             |
//! | min, max                | the best value          | `Extremum`, an ordered multiset      |
//! | bool_and, bool_or       | `Truth`                 | the same                             |
//! | others, no ORDER BY     | `Kept`, if repeatable   | `Recomputed` from the group's rows   |
//! | others                  | `Recomputed`            | `Recomputed`                         |

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};

use super::Call;
use super::best::best;
use super::count::Count;
use super::distinct::Distinct;
use super::extremum::{End, Extremum};
use super::other::{Kept, Recomputed};
use super::sum::Sum;
use super::truth::Truth;
use crate::operators::{Result, StateReader, StateWriter};

/// The state of one aggregate call for all groups.
pub(super) trait Fold: Send {
    /// Makes room for the groups below `bound`.
    fn grow(&mut self, bound: usize);

    /// Adds weighted argument rows to their groups.
    fn fold(&mut self, changes: &Changes<'_>) -> Result<()>;

    /// Returns the value of each group, NULL for one it has marked as failed because its value is
    /// out of range.
    fn evaluate(&mut self, groups: &[u32], failed: &mut [bool]) -> Result<ArrayRef>;

    /// Empties a group, whose number may then be given to another one.
    fn clear(&mut self, group: u32);

    /// Writes the state of `groups`, which `load` will find under the numbers from 0.
    fn save(&self, groups: &[u32], name: &str, to: &mut StateWriter) -> Result<()>;

    /// Restores what `save` wrote, into an empty state with room for all groups.
    fn load(&mut self, name: &str, from: &mut StateReader) -> Result<()>;
}

/// Weighted argument rows of one call.
pub(super) struct Changes<'a> {
    /// The group of each row.
    pub(super) groups: &'a [u32],
    /// The weight of each row; none means all 1.
    pub(super) weights: Option<&'a [i64]>,
    /// The arguments.
    pub(super) values: &'a [ArrayRef],
}

impl Changes<'_> {
    /// Calls `f(group, row, weight)` for each row that `nulls` does not mark.
    #[inline]
    pub(super) fn each(&self, nulls: Option<&NullBuffer>, mut f: impl FnMut(usize, usize, i64)) {
        let groups = self.groups.iter().map(|group| *group as usize).enumerate();
        match (self.weights, nulls.filter(|nulls| nulls.null_count() > 0)) {
            (None, None) => groups.for_each(|(row, group)| f(group, row, 1)),
            (Some(w), None) => groups.for_each(|(row, group)| f(group, row, w[row])),
            (None, Some(nulls)) => {
                nulls.valid_indices().for_each(|row| f(self.groups[row] as usize, row, 1));
            }
            (Some(w), Some(nulls)) => {
                nulls.valid_indices().for_each(|row| f(self.groups[row] as usize, row, w[row]));
            }
        }
    }

    /// Where any argument is NULL.
    pub(super) fn nulls(&self) -> Option<NullBuffer> {
        let nulls = self.values.iter().map(|value| value.logical_nulls());
        nulls.fold(None, |all, one| NullBuffer::union(all.as_ref(), one.as_ref()))
    }

    /// Calls `f` with the rows for which `keep` is true.
    pub(super) fn filtered(
        &self,
        keep: &BooleanArray,
        f: impl FnOnce(&Changes<'_>) -> Result<()>,
    ) -> Result<()> {
        if keep.true_count() == keep.len() {
            return f(self);
        }
        let rows: Vec<usize> = keep.values().set_indices().collect();
        let groups: Vec<u32> = rows.iter().map(|row| self.groups[*row]).collect();
        let weights: Option<Vec<i64>> = self.weights.map(|w| rows.iter().map(|r| w[*r]).collect());
        let values = self.values.iter().map(|value| compute::filter(value, keep));
        let values = values.collect::<std::result::Result<Vec<_>, _>>()?;
        f(&Changes { groups: &groups, weights: weights.as_deref(), values: &values })
    }
}

/// Chooses the state for a call.
pub(super) fn choose(call: &Call, input: &SchemaRef, append_only: bool) -> Result<Box<dyn Fold>> {
    let function = &call.function;
    let types = argument_types(call, input)?;
    let output = function.field().data_type().clone();
    let plain: Option<Box<dyn Fold>> = match function.fun().name() {
        "count" => Some(Box::new(Count::default())),
        "sum" => Sum::total(&output).map(|sum| Box::new(sum) as _),
        "avg" => Sum::average(&types[0], &output).map(|avg| Box::new(avg) as _),
        _ => None,
    };
    match (plain, function.fun().name()) {
        (Some(plain), _) if function.is_distinct() => Ok(Box::new(Distinct::new(types, plain)?)),
        (Some(plain), _) => Ok(plain),
        (None, name @ ("min" | "max")) if types[0] == output => {
            let end = if name == "min" { End::Least } else { End::Greatest };
            Ok(match append_only {
                true => best(output, end)?,
                false => Box::new(Extremum::new(output, end)?),
            })
        }
        (None, name @ ("bool_and" | "bool_or")) => Ok(Box::new(Truth::new(name == "bool_and"))),
        _ if append_only && Kept::suits(function) => Ok(Box::new(Kept::new(function)?)),
        _ => Ok(Box::new(Recomputed::new(function, types)?)),
    }
}

/// Returns the types of a call's arguments and of what it orders them by.
fn argument_types(call: &Call, input: &SchemaRef) -> Result<Vec<DataType>> {
    let types = call.arguments().into_iter().map(|argument| argument.data_type(input));
    Ok(types.collect::<std::result::Result<_, _>>()?)
}
