//! Ordered-set aggregates: `mode`, `percentile_disc` and `percentile_cont`.
//!
//! # Semantics
//! `f(fraction) WITHIN GROUP (ORDER BY value)`, as in Postgres. NULLs do not count; of nothing the
//! result is NULL. `mode` is the most frequent value, among equally frequent ones the first in the
//! order. `percentile_disc` is the first value whose position in the order equals or exceeds the
//! fraction; `percentile_cont` interpolates between adjacent ones and is double precision, or an
//! interval. The
//! fraction is a constant between 0 and 1, or an array of them, which gives an array.
//!
//! # Cost
//! All values of a group are collected and sorted once. (Continuous queries keep them sorted.)

use std::cmp::Ordering;
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{self, SortOptions};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, Schema,
};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::PhysicalExpr;

use super::error::failure;
use super::interval_scale::scale;
use crate::delta::span;
use crate::error::SqlState;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Which aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderedSet {
    /// The most frequent value.
    Mode,
    /// The value at a fraction of the order.
    PercentileDisc,
    /// The same, interpolated.
    PercentileCont,
    /// That of approximate values: see `functions::approximate`.
    ApproxPercentile,
}

/// All of them.
pub(super) fn functions() -> Vec<OrderedSetAggregate> {
    let all = [
        OrderedSet::Mode,
        OrderedSet::PercentileDisc,
        OrderedSet::PercentileCont,
        OrderedSet::ApproxPercentile,
    ];
    all.map(|kind| OrderedSetAggregate::new(kind, false)).into()
}

/// An ordered-set aggregate as a function of (value, fraction).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct OrderedSetAggregate {
    kind: OrderedSet,
    descending: bool,
    signature: Signature,
}

impl OrderedSetAggregate {
    /// An aggregate over values in one of their two orders.
    pub fn new(kind: OrderedSet, descending: bool) -> Self {
        Self { kind, descending, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// Which aggregate this is.
    pub fn kind(&self) -> OrderedSet {
        self.kind
    }

    /// How values are ordered.
    pub fn order(&self) -> SortOptions {
        SortOptions { descending: self.descending, nulls_first: false }
    }
}

/// Fractions asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Fractions {
    /// None, as by `mode`.
    Nothing,
    /// One; NULL gives NULL.
    One(Option<f64>),
    /// An array of them; `None` for a NULL array.
    Many(Option<Vec<Option<f64>>>),
}

impl Fractions {
    /// Reads the constant argument of a call.
    pub fn of_call(arguments: &[Arc<dyn PhysicalExpr>]) -> Result<Self> {
        let Some(fraction) = arguments.get(1) else { return Ok(Fractions::Nothing) };
        let one = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one)?;
        let Ok(value) = fraction.evaluate(&row) else {
            let what = "the fraction of a percentile must be a constant";
            return Err(failure(SqlState::GROUPING_ERROR, what));
        };
        let value = value.into_array(1)?;
        let read = |values: &ArrayRef| -> Result<Vec<Option<f64>>> {
            let values = compute::cast(values, &DataType::Float64)?;
            let values: Vec<Option<f64>> = values.as_primitive::<Float64Type>().iter().collect();
            match values.iter().flatten().find(|value| !(0.0..=1.0).contains(*value)) {
                Some(wrong) => {
                    let what = format!("percentile value {wrong} is not between 0 and 1");
                    Err(failure(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, what))
                }
                None => Ok(values),
            }
        };
        Ok(match value.as_list_opt::<i32>() {
            Some(list) if list.is_null(0) => Fractions::Many(None),
            Some(list) => Fractions::Many(Some(read(&list.value(0))?)),
            None => Fractions::One(read(&value)?[0]),
        })
    }

    /// Computes a result from what is at each fraction; `at` is not asked if there are no values.
    pub fn result(
        &self,
        empty: bool,
        element: &DataType,
        mut at: impl FnMut(f64) -> Result<ScalarValue>,
    ) -> Result<ScalarValue> {
        let null = || ScalarValue::try_from(element);
        match self {
            Fractions::Nothing => null(),
            Fractions::One(Some(fraction)) if !empty => at(*fraction),
            Fractions::One(_) => null(),
            Fractions::Many(Some(fractions)) if !empty => {
                let values = fractions.iter().map(|f| f.map_or_else(null, &mut at));
                let values = values.collect::<Result<Vec<_>>>()?;
                Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, element)))
            }
            Fractions::Many(_) => ScalarValue::try_from(&list_of(element)),
        }
    }
}

/// The position, from 0, of the discrete percentile among `count` sorted values.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "positions")]
fn discrete(fraction: f64, count: i64) -> i64 {
    ((fraction * count as f64).ceil() as i64 - 1).clamp(0, count - 1)
}

/// The positions between which the continuous percentile lies, and how far from the first.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "positions")]
pub fn continuous(fraction: f64, count: i64) -> (i64, i64, f64) {
    let position = fraction * (count - 1) as f64;
    (position.floor() as i64, position.ceil() as i64, position - position.floor())
}

/// The position, from 0, of a percentile that is not interpolated, among `count` sorted values.
pub fn position(kind: OrderedSet, fraction: f64, count: i64) -> i64 {
    match kind {
        OrderedSet::ApproxPercentile => continuous(fraction, count).0,
        _ => discrete(fraction, count),
    }
}

/// Interpolates between two values.
pub fn between(low: f64, high: f64, part: f64) -> f64 {
    if part == 0.0 { low } else { low + part * (high - low) }
}

fn list_of(element: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element.clone(), true)))
}

impl AggregateUDFImpl for OrderedSetAggregate {
    fn name(&self) -> &str {
        match (self.kind, self.descending) {
            (OrderedSet::Mode, false) => "mode",
            (OrderedSet::Mode, true) => "mode_desc",
            (OrderedSet::PercentileDisc, false) => "percentile_disc",
            (OrderedSet::PercentileDisc, true) => "percentile_disc_desc",
            (OrderedSet::PercentileCont, false) => "percentile_cont",
            (OrderedSet::PercentileCont, true) => "percentile_cont_desc",
            (OrderedSet::ApproxPercentile, false) => "approx_percentile",
            (OrderedSet::ApproxPercentile, true) => "approx_percentile_desc",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let fraction = |declared: &DataType| match declared {
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                list_of(&DataType::Float64)
            }
            _ => DataType::Float64,
        };
        match (self.kind, arguments) {
            (OrderedSet::Mode, [value]) => Ok(vec![value.clone()]),
            (OrderedSet::PercentileDisc, [value, by]) => Ok(vec![value.clone(), fraction(by)]),
            (OrderedSet::PercentileCont | OrderedSet::ApproxPercentile, [value, by])
                if value.is_numeric() || value.is_null() =>
            {
                Ok(vec![DataType::Float64, fraction(by)])
            }
            (OrderedSet::PercentileCont, [DataType::Interval(_), by]) => {
                Ok(vec![INTERVAL, fraction(by)])
            }
            _ => plan_err!("Function '{}' failed to match any signature", self.name()),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match arguments.get(1) {
            Some(DataType::List(_)) => list_of(&arguments[0]),
            _ => arguments[0].clone(),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = list_of(args.input_fields[0].data_type());
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "values"), values, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Values {
            kind: self.kind,
            fractions: Fractions::of_call(args.exprs)?,
            data_type: args.expr_fields[0].data_type().clone(),
            order: self.order(),
            values: Vec::new(),
        }))
    }
}

/// The values of a group.
#[derive(Debug)]
struct Values {
    kind: OrderedSet,
    fractions: Fractions,
    data_type: DataType,
    order: SortOptions,
    /// Without NULLs.
    values: Vec<ArrayRef>,
}

impl Values {
    fn together(&self) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = self.values.iter().map(AsRef::as_ref).collect();
        match parts.is_empty() {
            true => Ok(arrow::array::new_empty_array(&self.data_type)),
            false => Ok(compute::concat(&parts)?),
        }
    }

    /// The values in order, and by what they are told apart: intervals by their length.
    fn sorted(&self) -> Result<[ArrayRef; 2]> {
        let all = self.together()?;
        if self.data_type != INTERVAL {
            let sorted = compute::sort(&all, Some(self.order))?;
            return Ok([Arc::clone(&sorted), sorted]);
        }
        let order = compute::sort_to_indices(&span::marked(&all), Some(self.order), None)?;
        let sorted = compute::take(&all, &order, None)?;
        let lengths = Arc::new(span::spans(&sorted));
        Ok([sorted, lengths])
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let present = compute::is_not_null(&values[0])?;
        self.values.push(compute::filter(&values[0], &present)?);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        self.values.extend(lists.iter().flatten());
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let all = self.together()?;
        let list = datafusion::common::utils::SingleRowListArrayBuilder::new(all);
        Ok(vec![list.build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let [sorted, keys] = self.sorted()?;
        let count = i64::try_from(sorted.len()).unwrap_or(i64::MAX);
        if self.kind == OrderedSet::Mode {
            return most_frequent(&sorted, keys);
        }
        let index = |position: i64| usize::try_from(position).unwrap_or(0);
        self.fractions.result(count == 0, &self.data_type, |fraction| match self.kind {
            OrderedSet::PercentileCont if self.data_type == INTERVAL => {
                let (low, high, part) = continuous(fraction, count);
                let values = sorted.as_primitive::<IntervalMonthDayNanoType>();
                let value =
                    between_spans(values.value(index(low)), values.value(index(high)), part)?;
                Ok(ScalarValue::IntervalMonthDayNano(Some(value)))
            }
            OrderedSet::PercentileCont => {
                let (low, high, part) = continuous(fraction, count);
                let values = sorted.as_primitive::<Float64Type>();
                let value = between(values.value(index(low)), values.value(index(high)), part);
                Ok(ScalarValue::Float64(Some(value)))
            }
            _ => ScalarValue::try_from_array(&sorted, index(position(self.kind, fraction, count))),
        })
    }

    fn size(&self) -> usize {
        let values = self.values.iter().map(|values| values.get_array_memory_size());
        size_of_val(self) + values.sum::<usize>()
    }
}

/// Interpolates between two intervals, part by part.
fn between_spans(
    low: IntervalMonthDayNano,
    high: IntervalMonthDayNano,
    part: f64,
) -> Result<IntervalMonthDayNano> {
    if part == 0.0 {
        return Ok(low);
    }
    let apart = IntervalMonthDayNano::new(
        high.months.wrapping_sub(low.months),
        high.days.wrapping_sub(low.days),
        high.nanoseconds.wrapping_sub(low.nanoseconds),
    );
    let by = scale(apart, |of| of * part)?;
    Ok(IntervalMonthDayNano::new(
        low.months.wrapping_add(by.months),
        low.days.wrapping_add(by.days),
        low.nanoseconds.wrapping_add(by.nanoseconds),
    ))
}

/// The first of the most frequent values, which are told apart by `keys`.
fn most_frequent(sorted: &ArrayRef, keys: ArrayRef) -> Result<ScalarValue> {
    if sorted.is_empty() {
        return ScalarValue::try_from(sorted.data_type());
    }
    let runs = compute::partition(&[keys])?.ranges();
    // The first of several equal ones: `max_by` would take the last.
    let longest = runs.into_iter().reduce(|best, next| match next.len().cmp(&best.len()) {
        Ordering::Greater => next,
        Ordering::Less | Ordering::Equal => best,
    });
    let first = longest.map_or(0, |run| run.start);
    let first = UInt32Array::from_iter_values(u32::try_from(first));
    ScalarValue::try_from_array(&compute::take(sorted, &first, None)?, 0)
}
