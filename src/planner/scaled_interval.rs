//! Intervals times and divided by numbers.

use std::sync::Arc;

use arrow::array::{AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use arrow::error::ArrowError;
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The type of intervals.
pub(super) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The function that multiplies or divides an interval by a number.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Scaled {
    operator: Operator,
    signature: Signature,
}

/// Multiplies or divides an interval.
pub(super) fn scaled(interval: Expr, number: Expr, operator: Operator) -> Expr {
    let signature = Signature::exact(vec![INTERVAL, DataType::Float64], Volatility::Immutable);
    let number = Expr::Cast(Cast::new(Box::new(number), DataType::Float64));
    ScalarUDF::from(Scaled { operator, signature }).call(vec![interval, number])
}

impl ScalarUDFImpl for Scaled {
    fn name(&self) -> &str {
        if self.operator == Operator::Multiply { "times" } else { "divided_by" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let intervals = arrays[0].as_primitive::<IntervalMonthDayNanoType>();
        let numbers = arrays[1].as_primitive::<Float64Type>();
        let multiply = self.operator == Operator::Multiply;
        let scaled = intervals.iter().zip(numbers).map(|pair| match pair {
            (Some(_), Some(0.0)) if !multiply => Err(ArrowError::DivideByZero.into()),
            (Some(interval), Some(number)) => {
                scale(interval, |part| if multiply { part * number } else { part / number })
                    .map(Some)
            }
            _ => Ok(None),
        });
        let scaled = scaled.collect::<DfResult<IntervalMonthDayNanoArray>>()?;
        Ok(ColumnarValue::Array(Arc::new(scaled)))
    }
}

/// Scales the parts of an interval: fractions of months become days of which a month has 30,
/// fractions of days time, in whole microseconds.
fn scale(
    interval: IntervalMonthDayNano,
    by: impl Fn(f64) -> f64,
) -> DfResult<IntervalMonthDayNano> {
    const DAY_MICROS: f64 = 86_400e6;
    // Postgres rounds so too, lest 0.1 of ten months lose a day.
    let tidy = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let months = by(f64::from(interval.months));
    let days = by(f64::from(interval.days));
    let rest = tidy(months.fract() * 30.0);
    let mut day_part = tidy((days.fract() + rest.fract()) * 86_400.0) * 1e6;
    let carried = (day_part / DAY_MICROS).trunc();
    day_part -= carried * DAY_MICROS;
    let days = days.trunc() + rest.trunc() + carried;
    let micros = (by(interval.nanoseconds as f64 / 1e3) + day_part).round_ties_even();
    let fits = |value: f64, most: f64| value.is_finite() && value.abs() < most;
    let limit = f64::from(i32::MAX);
    if !fits(months, limit) || !fits(days, limit) || !fits(micros, i64::MAX as f64 / 1e3) {
        return Err(exec_datafusion_err!("interval out of range"));
    }
    let nanos = micros as i64 * 1_000;
    Ok(IntervalMonthDayNano::new(months.trunc() as i32, days as i32, nanos))
}
