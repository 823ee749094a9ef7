//! The state of one aggregate call for all groups, and the choice of it.
//!
//! # Semantics
//! A [`Fold`] sums up weighted argument rows per group. Groups are dense numbers, so its state is
//! vectors indexed by group. The arguments of a round are prepared once as columns; then parts of
//! them are applied, instant by instant, and the values of the groups an instant touches are
//! recorded
//! before and after it. All recorded values come back as one column.
//!
//! | call                     | append-only input   | retracting input            |
//! |--------------------------|---------------------|-----------------------------|
//! | count, sum, avg          | `Count`, `Sum`      | the same                    |
//! | variance .. regression   | `Moments`           | the same                    |
//! | bool_and, bool_or        | `Truth`             | the same                    |
//! | .. DISTINCT              | `Distinct` before   | the same                    |
//! | min, max                 | the best value      | `Extremum`, in order        |
//! | mode, percentiles        | `Ranked`, in order  | the same                    |
//! | first_value, last_value  | `Ends`, in order    | the same                    |
//! | others                   | `Kept` or the next  | `Recomputed` from all rows  |
//!
//! # Why
//! On the EVENT clock most instants have one row. Kernels that run once per instant would cost more
//! than all the arithmetic; here an instant costs a few calls and pushes, whatever its number of
//! rows.

use std::ops::Range;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, SchemaRef};

use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::Call;
use super::best::best;
use super::count::Count;
use super::distinct::Distinct;
use super::extremum::{End, Extremum};
use super::moments::Moments;
use super::other::{Kept, Recomputed};
use super::ranked::Ranked;
use super::sorted::{Ends, Single};
use super::sum::Sum;
use super::truth::Truth;
use crate::error::SqlState;
use crate::functions::single_value::MORE_THAN_ONE_ROW;
use crate::operators::Result;
use crate::storage::{Encoded, Visit};

/// The state of one aggregate call for all groups.
pub(in crate::operators) trait Fold: Send {
    /// Makes room for the groups below `bound`.
    fn grow(&mut self, bound: usize);

    /// Brings arguments into the form in which they are applied.
    fn prepare(&self, values: Vec<ArrayRef>) -> Result<Arguments> {
        Ok(Arguments { values, encoded: None })
    }

    /// Whether rows with a NULL among the arguments do not count.
    fn skips_nulls(&self) -> bool {
        true
    }

    /// Adds weighted argument rows to their groups.
    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()>;

    /// Appends the value of each group to what is recorded: NULL for one it has marked as failed
    /// with the reason.
    fn record(&mut self, groups: &[u32], failed: &mut [Option<Failure>]) -> Result<()>;

    /// Returns all recorded values, and forgets them.
    fn recorded(&mut self) -> Result<ArrayRef>;

    /// Empties a group, whose number may then be given to another one.
    fn clear(&mut self, group: u32);

    /// Shows what it keeps between calls.
    fn stores(&mut self, visit: &mut Visit<'_>);
}

/// Why a group has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operators) enum Failure {
    /// A value does not fit its type.
    OutOfRange,
    /// A scalar subquery has more than one row.
    MoreThanOneRow,
}

impl Failure {
    pub(super) fn sqlstate(self) -> SqlState {
        match self {
            Failure::OutOfRange => SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            Failure::MoreThanOneRow => SqlState::CARDINALITY_VIOLATION,
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Failure::OutOfRange => "the value of an aggregate is out of range",
            Failure::MoreThanOneRow => MORE_THAN_ONE_ROW,
        }
    }
}

/// Arguments of a round.
pub(in crate::operators) struct Arguments {
    pub(in crate::operators) values: Vec<ArrayRef>,
    /// The rows of them, if they are needed.
    pub(in crate::operators) encoded: Option<Encoded>,
}

/// Weighted argument rows of one call, for a round.
pub(in crate::operators) struct Changes<'a> {
    /// The group of each row.
    groups: &'a [u32],
    /// The weight of each row; none means all 1.
    weights: Option<&'a [i64]>,
    arguments: Arguments,
    /// Rows that count; none means all.
    mask: Option<NullBuffer>,
}

/// Some rows of a round.
pub(in crate::operators) enum Rows<'a> {
    /// Those of an instant.
    Range(Range<usize>),
    /// These, taken back.
    Removed(Range<usize>),
    /// These, with weights of their own.
    Listed(&'a [(u32, i64)]),
}

impl<'a> Changes<'a> {
    /// Prepares the arguments of a round; `filter` tells which rows count.
    pub(in crate::operators) fn new(
        fold: &dyn Fold,
        groups: &'a [u32],
        weights: Option<&'a [i64]>,
        values: Vec<ArrayRef>,
        filter: Option<BooleanArray>,
    ) -> Result<Self> {
        let mut mask = filter.map(|filter| NullBuffer::new(filter.values().clone()));
        if fold.skips_nulls() {
            let nulls = values.iter().map(|value| value.logical_nulls());
            mask = nulls.fold(mask, |all, one| NullBuffer::union(all.as_ref(), one.as_ref()));
        }
        let mask = mask.filter(|mask| mask.null_count() > 0);
        Ok(Self { groups, weights, arguments: fold.prepare(values)?, mask })
    }

    /// The prepared arguments.
    pub(in crate::operators) fn values(&self) -> &[ArrayRef] {
        &self.arguments.values
    }

    /// The encoded arguments, of folds that prepare them.
    pub(in crate::operators) fn encoded(&self) -> &Encoded {
        self.arguments.encoded.as_ref().expect("a fold that reads encoded arguments encodes them")
    }

    /// Calls `f(group, row, weight)` for each of the rows that count.
    #[inline]
    pub(in crate::operators) fn each(&self, rows: &Rows<'_>, mut f: impl FnMut(usize, usize, i64)) {
        let group = |row: usize| self.groups[row] as usize;
        match (rows, &self.mask, self.weights) {
            (Rows::Listed(rows), _, _) => {
                rows.iter().for_each(|(row, w)| f(group(*row as usize), *row as usize, *w));
            }
            (Rows::Removed(rows), mask, weights) => {
                let counts = |row: &usize| mask.as_ref().is_none_or(|mask| mask.is_valid(*row));
                for row in rows.clone().filter(counts) {
                    f(group(row), row, -weights.map_or(1, |weights| weights[row]));
                }
            }
            (Rows::Range(rows), None, None) => rows.clone().for_each(|row| f(group(row), row, 1)),
            (Rows::Range(rows), None, Some(weights)) => {
                rows.clone().for_each(|row| f(group(row), row, weights[row]));
            }
            (Rows::Range(rows), Some(mask), weights) => {
                for row in rows.clone().filter(|row| mask.is_valid(*row)) {
                    f(group(row), row, weights.map_or(1, |weights| weights[row]));
                }
            }
        }
    }
}

/// Chooses the state for a call.
pub(in crate::operators) fn choose(
    call: &Call,
    input: &SchemaRef,
    append_only: bool,
) -> Result<Box<dyn Fold>> {
    let function = &call.function;
    let types = argument_types(call, input)?;
    let output = function.field().data_type().clone();
    let name = function.fun().name();
    let plain: Option<Box<dyn Fold>> = match name {
        "count" => Some(Box::new(Count::default())),
        "sum" => Sum::total(&output).map(|sum| Box::new(sum) as _),
        "avg" => Sum::average(&types[0], &output).map(|avg| Box::new(avg) as _),
        "bool_and" | "bool_or" => Some(Box::new(Truth::new(name == "bool_and"))),
        _ => Moments::named(name, &output).map(|moments| Box::new(moments) as _),
    };
    if let Some(plain) = plain {
        return match function.is_distinct() {
            true => Ok(Box::new(Distinct::new(types, plain)?)),
            false => Ok(plain),
        };
    }
    if let Some(ranked) = Ranked::of_call(function, &types[0])? {
        return Ok(Box::new(ranked));
    }
    match name {
        "min" | "max" if types[0] == output => {
            let end = if name == "min" { End::Least } else { End::Greatest };
            Ok(match append_only {
                true => best(output, end)?,
                false => Box::new(Extremum::new(output, end)?),
            })
        }
        "single_value" => Ok(Box::new(Single::new(function, &types)?)),
        "first_value" | "last_value" => Ok(Box::new(Ends::new(function, &types)?)),
        _ if append_only && Kept::suits(function) => Ok(Box::new(Kept::new(function)?)),
        _ => Ok(Box::new(Recomputed::new(function, &types)?)),
    }
}

/// Whether a call's state gives rows back exactly and in any order, so that a frame can slide.
pub(in crate::operators) fn slides(function: &AggregateFunctionExpr) -> bool {
    const SLIDING: [&str; 7] = ["count", "sum", "avg", "min", "max", "bool_and", "bool_or"];
    SLIDING.contains(&function.fun().name())
}

/// Returns the types of a call's arguments and of what it orders them by.
fn argument_types(call: &Call, input: &SchemaRef) -> Result<Vec<DataType>> {
    let types = call.arguments().into_iter().map(|argument| argument.data_type(input));
    Ok(types.collect::<std::result::Result<_, _>>()?)
}
