//! `avg`, which DataFusion has not of intervals.
//!
//! # Semantics
//! The average of intervals is their sum divided by their number, as in Postgres: fractions of
//! months become days, those of days time. Of all other types it is DataFusion's.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};

use super::error::failure;
use super::interval_scale::scale;
use crate::error::SqlState;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Average {
    others: Avg,
    signature: Signature,
}

impl Default for Average {
    fn default() -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { others: Avg::new(), signature }
    }
}

fn of_intervals(args: &AccumulatorArgs<'_>) -> bool {
    args.expr_fields.first().is_some_and(|field| *field.data_type() == INTERVAL)
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        self.others.name()
    }

    fn aliases(&self) -> &[String] {
        self.others.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if matches!(arguments, [DataType::Interval(_)]) {
            return Ok(vec![INTERVAL]);
        }
        let field = |of: &DataType| FieldRef::new(Field::new("", of.clone(), true));
        let fields: Vec<FieldRef> = arguments.iter().map(field).collect();
        match fields_with_udf(&fields, &AggregateUDF::from(Avg::new())) {
            Ok(fields) => Ok(fields.iter().map(|field| field.data_type().clone()).collect()),
            Err(_) => plan_err!("Function 'avg' failed to match any signature"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Interval(_)] => Ok(INTERVAL),
            _ => self.others.return_type(arguments),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if *args.input_fields[0].data_type() != INTERVAL {
            return self.others.state_fields(args);
        }
        let field = |part: &str, of: DataType| {
            FieldRef::new(Field::new(format_state_name(args.name, part), of, true))
        };
        Ok(vec![
            field("count", DataType::Int64),
            field("months", DataType::Int64),
            field("days", DataType::Int64),
            field("nanoseconds", DataType::Decimal128(38, 0)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match of_intervals(&args) {
            true if args.is_distinct => {
                let what = "avg(DISTINCT interval) is not supported";
                Err(failure(SqlState::FEATURE_NOT_SUPPORTED, what))
            }
            true => Ok(Box::new(Intervals::default())),
            false => self.others.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match of_intervals(&args) {
            true => self.accumulator(args),
            false => self.others.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !of_intervals(&args) && self.others.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.others.create_groups_accumulator(args)
    }
}

/// The sum of intervals, part by part.
#[derive(Debug, Default)]
struct Intervals {
    count: i64,
    months: i64,
    days: i64,
    nanoseconds: i128,
}

impl Accumulator for Intervals {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for interval in values[0].as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            self.count += 1;
            self.months += i64::from(interval.months);
            self.days += i64::from(interval.days);
            self.nanoseconds += i128::from(interval.nanoseconds);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let part = |i: usize| states[i].as_primitive::<Int64Type>();
        for row in 0..states[0].len() {
            self.count += part(0).value(row);
            self.months += part(1).value(row);
            self.days += part(2).value(row);
            self.nanoseconds += states[3].as_primitive::<Decimal128Type>().value(row);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let parts = [self.count, self.months, self.days].map(|part| ScalarValue::Int64(Some(part)));
        let nanoseconds = ScalarValue::Decimal128(Some(self.nanoseconds), 38, 0);
        Ok(parts.into_iter().chain([nanoseconds]).collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return Ok(ScalarValue::IntervalMonthDayNano(None));
        }
        let overflow = || failure(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range");
        let part = |part: i64| i32::try_from(part).map_err(|_| overflow());
        let nanoseconds = i64::try_from(self.nanoseconds).map_err(|_| overflow())?;
        let sum = IntervalMonthDayNano::new(part(self.months)?, part(self.days)?, nanoseconds);
        #[expect(clippy::cast_precision_loss, reason = "a group has fewer than 2^53 rows")]
        let count = self.count as f64;
        let average = scale(sum, |part| part / count)?;
        Ok(ScalarValue::IntervalMonthDayNano(Some(average)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
