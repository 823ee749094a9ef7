//! Intervals times and divided by numbers.

use std::sync::Arc;

use arrow::array::{AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNanoType, IntervalUnit};
use arrow::error::ArrowError;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::functions::interval_scale::scale;

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
        let scaled = intervals.iter().zip(numbers).map(|pair| match pair {
            (Some(interval), Some(number)) if self.operator == Operator::Multiply => {
                scale(interval, |part| part * number).map(Some)
            }
            (Some(_), Some(0.0)) => Err(ArrowError::DivideByZero.into()),
            (Some(interval), Some(number)) => scale(interval, |part| part / number).map(Some),
            _ => Ok(None),
        });
        let scaled = scaled.collect::<DfResult<IntervalMonthDayNanoArray>>()?;
        Ok(ColumnarValue::Array(Arc::new(scaled)))
    }
}
