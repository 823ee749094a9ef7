//! `sum` and `avg` of integers, decimals and floats.
//!
//! # Semantics
//! NULLs do not count; the sum of nothing is NULL. Sums are exact whatever the order of additions
//! and retractions: integers in 128 bits, decimals in 256, floats as in [`super::exact`]. Only the
//! result must fit its type; a group whose result does not has failed (22003), until later changes
//! bring it back. The average of decimals is truncated at its scale, as DataFusion does.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, AsArray, Float64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float64Type, Int64Type, UInt64Type, i256,
};

use super::exact::ExactSums;
use super::fold::{Arguments, Changes, Failure, Fold, Rows};
use crate::operators::Result;
use crate::storage::Visit;

/// Sums per group, and averages.
pub(super) struct Sum {
    sums: Sums,
    /// Number of arguments that are not NULL.
    counts: Vec<i64>,
    /// The type in which arguments are summed.
    input: DataType,
    output: DataType,
    recorded: Recorded,
    /// Whether to divide by the count, after multiplication by this power of ten.
    average: Option<i256>,
}

enum Sums {
    Integers(Vec<i128>),
    Decimals(Vec<i256>),
    Floats(ExactSums),
}

/// Results: NULL for a sum of nothing, and for a failed one.
#[derive(Default)]
struct Recorded {
    floats: Vec<Option<f64>>,
    /// Integers and decimals.
    exact: Vec<Option<i256>>,
}

impl Sum {
    /// `sum`, for the result types that are summed here.
    pub(super) fn total(output: &DataType) -> Option<Self> {
        Self::new(output.clone(), output.clone(), None)
    }

    /// `avg`, for the result types that are averaged here.
    pub(super) fn average(argument: &DataType, output: &DataType) -> Option<Self> {
        let factor = match (decimal(argument), decimal(output)) {
            (Some((_, from)), Some((_, to))) => {
                i256::from(10).checked_pow(u32::try_from(to - from).ok()?)?
            }
            (None, None) if *output == DataType::Float64 => i256::ONE,
            _ => return None,
        };
        let input = if decimal(output).is_some() { argument } else { output };
        Self::new(input.clone(), output.clone(), Some(factor))
    }

    fn new(input: DataType, output: DataType, average: Option<i256>) -> Option<Self> {
        let (sums, input) = match input {
            DataType::Int64 | DataType::UInt64 => (Sums::Integers(Vec::new()), input),
            DataType::Float64 => (Sums::Floats(ExactSums::default()), input),
            DataType::Decimal256(..) => (Sums::Decimals(Vec::new()), input),
            _ => {
                let (_, scale) = decimal(&input)?;
                (Sums::Decimals(Vec::new()), DataType::Decimal128(38, scale))
            }
        };
        let recorded = Recorded::default();
        Some(Self { sums, counts: Vec::new(), input, output, recorded, average })
    }
}

/// Returns precision and scale.
fn decimal(of: &DataType) -> Option<(u8, i8)> {
    match of {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((*p, *s)),
        _ => None,
    }
}

impl Fold for Sum {
    fn grow(&mut self, bound: usize) {
        self.counts.resize(bound, 0);
        match &mut self.sums {
            Sums::Integers(sums) => sums.resize(bound, 0),
            Sums::Decimals(sums) => sums.resize(bound, i256::ZERO),
            Sums::Floats(sums) => sums.grow(bound),
        }
    }

    fn prepare(&self, mut values: Vec<ArrayRef>) -> Result<Arguments> {
        if values[0].data_type() != &self.input {
            values[0] = cast(&values[0], &self.input)?;
        }
        Ok(Arguments { values, encoded: None })
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let counts = &mut self.counts;
        changes.each(rows, |group, _, weight| counts[group] += weight);
        let values = &changes.values()[0];
        match &mut self.sums {
            Sums::Integers(sums) => match values.as_primitive_opt::<Int64Type>() {
                Some(values) => {
                    add(sums, changes, rows, values, |v, w| i128::from(v) * i128::from(w));
                }
                None => {
                    let values = values.as_primitive::<UInt64Type>();
                    add(sums, changes, rows, values, |v, w| i128::from(v) * i128::from(w));
                }
            },
            Sums::Decimals(sums) => match values.as_primitive_opt::<Decimal128Type>() {
                Some(values) => {
                    add(sums, changes, rows, values, |v, w| times(i256::from_i128(v), w));
                }
                None => {
                    add(sums, changes, rows, values.as_primitive::<Decimal256Type>(), times);
                }
            },
            Sums::Floats(sums) => {
                let numbers = values.as_primitive::<Float64Type>().values();
                changes.each(rows, |group, row, weight| sums.add(group, numbers[row], weight));
            }
        }
        Ok(())
    }

    fn record(&mut self, groups: &[u32], failed: &mut [Option<Failure>]) -> Result<()> {
        for (group, failed) in groups.iter().zip(failed) {
            let (group, count) = (*group as usize, self.counts[*group as usize]);
            if let Sums::Floats(sums) = &self.sums {
                #[expect(clippy::cast_precision_loss, reason = "the average is a float")]
                let value = match self.average {
                    Some(_) => sums.sum(group) / count as f64,
                    None => sums.sum(group),
                };
                self.recorded.floats.push((count != 0).then_some(value));
            } else if count == 0 {
                self.recorded.exact.push(None);
            } else {
                let value = self.exact(group);
                if value.is_none() {
                    *failed = Some(Failure::OutOfRange);
                }
                self.recorded.exact.push(value);
            }
        }
        Ok(())
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        let Recorded { floats, exact } = std::mem::take(&mut self.recorded);
        let narrow = |value: Option<i256>| value.map(i256::as_i128);
        let output = self.output.clone();
        // What is recorded fits the type.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it fits")]
        Ok(match &self.output {
            DataType::Float64 => Arc::new(Float64Array::from(floats)),
            DataType::Int64 => column::<Int64Type>(exact, output, |v| narrow(v).map(|v| v as i64)),
            DataType::UInt64 => {
                column::<UInt64Type>(exact, output, |v| narrow(v).map(|v| v as u64))
            }
            DataType::Decimal32(..) => {
                column::<Decimal32Type>(exact, output, |v| narrow(v).map(|v| v as i32))
            }
            DataType::Decimal64(..) => {
                column::<Decimal64Type>(exact, output, |v| narrow(v).map(|v| v as i64))
            }
            DataType::Decimal128(..) => column::<Decimal128Type>(exact, output, narrow),
            _ => column::<Decimal256Type>(exact, output, |v| v),
        })
    }

    fn clear(&mut self, group: u32) {
        let group = group as usize;
        self.counts[group] = 0;
        match &mut self.sums {
            Sums::Integers(sums) => sums[group] = 0,
            Sums::Decimals(sums) => sums[group] = i256::ZERO,
            Sums::Floats(sums) => sums.clear(group),
        }
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.counts);
        match &mut self.sums {
            Sums::Integers(sums) => visit(sums),
            Sums::Decimals(sums) => visit(sums),
            Sums::Floats(sums) => visit(sums),
        }
    }
}

impl Sum {
    /// Returns the result of a group that has a sum, if it fits its type.
    fn exact(&self, group: usize) -> Option<i256> {
        let sum = match &self.sums {
            Sums::Integers(sums) => i256::from_i128(sums[group]),
            Sums::Decimals(sums) => sums[group],
            Sums::Floats(_) => return None,
        };
        let value = match self.average {
            Some(factor) => sum.checked_mul(factor)?.checked_div(i256::from(self.counts[group]))?,
            None => sum,
        };
        let fits = match &self.output {
            DataType::Int64 => value >= i256::from(i64::MIN) && value <= i256::from(i64::MAX),
            DataType::UInt64 => {
                value >= i256::ZERO && value <= i256::from_i128(i128::from(u64::MAX))
            }
            decimals => {
                let (precision, _) = decimal(decimals)?;
                let limit = i256::from(10).pow_wrapping(u32::from(precision));
                value < limit && value > -limit
            }
        };
        fits.then_some(value)
    }
}

fn column<T: ArrowPrimitiveType>(
    values: Vec<Option<i256>>,
    of: DataType,
    narrow: impl Fn(Option<i256>) -> Option<T::Native>,
) -> ArrayRef {
    let column: PrimitiveArray<T> = values.into_iter().map(narrow).collect();
    Arc::new(column.with_data_type(of))
}

/// Adds weighted values to the sums of their groups.
fn add<T: ArrowPrimitiveType, S: ArrowNativeTypeOp>(
    sums: &mut [S],
    changes: &Changes<'_>,
    rows: &Rows<'_>,
    values: &PrimitiveArray<T>,
    times: impl Fn(T::Native, i64) -> S,
) {
    let numbers = values.values();
    changes.each(rows, |group, row, weight| {
        sums[group] = sums[group].add_wrapping(times(numbers[row], weight));
    });
}

fn times(value: i256, weight: i64) -> i256 {
    if weight == 1 { value } else { value.wrapping_mul(i256::from(weight)) }
}
