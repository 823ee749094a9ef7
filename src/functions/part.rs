//! `extract(part FROM time)` for the parts that have fractions.
//!
//! # Semantics
//! Seconds, milliseconds and microseconds are those of the minute, with fractions; they are
//! numerics of 6, 3 and no digits behind the point. The epoch is the seconds since 1970, of a time
//! of day since midnight; of an interval all its seconds, of which a year has those of 365.25 days
//! and a month those of 30. A date has an epoch alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::error::failure;
use crate::error::SqlState;
use crate::sql::EXTRACT;
use crate::sql::datetime::Part;
use crate::sql::types::pg_type_name;

const SECOND_MICROS: i128 = 1_000_000;
const MINUTE_MICROS: i128 = 60 * SECOND_MICROS;
const DAY_MICROS: i128 = 1_440 * MINUTE_MICROS;
const DAY_SECONDS: i128 = 86_400;
const MONTH_DAYS: i128 = 30;

/// The numeric that a part is of a type.
fn numeric(part: Part, of: &DataType) -> DataType {
    match (part, of) {
        (Part::Epoch, DataType::Date32) => DataType::Decimal128(14, 0),
        (Part::Epoch, _) => DataType::Decimal128(20, 6),
        (Part::Second, _) => DataType::Decimal128(8, 6),
        (Part::Millisecond, _) => DataType::Decimal128(8, 3),
        (Part::Microsecond, _) => DataType::Decimal128(8, 0),
    }
}

/// Of microseconds; a count of them, whatever the scale.
fn of_micros(part: Part, micros: i64) -> i128 {
    let micros = i128::from(micros);
    if part == Part::Epoch { micros } else { micros.rem_euclid(MINUTE_MICROS) }
}

fn of_span(part: Part, span: IntervalMonthDayNano) -> i128 {
    let micros = i128::from(span.nanoseconds / 1_000);
    if part != Part::Epoch {
        return micros % MINUTE_MICROS;
    }
    let (years, months) = (i128::from(span.months / 12), i128::from(span.months % 12));
    let quarters = years * 1_461 + (months * MONTH_DAYS + i128::from(span.days)) * 4;
    quarters * (DAY_MICROS / 4) + micros
}

/// The function `extract(part, time)`; its part is a constant.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Extract {
    signature: Signature,
}

impl Default for Extract {
    fn default() -> Self {
        let micros = |zone: Option<&str>| {
            DataType::Timestamp(TimeUnit::Microsecond, zone.map(|zone| zone.into()))
        };
        let types = [
            micros(None),
            micros(Some("UTC")),
            DataType::Date32,
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Interval(IntervalUnit::MonthDayNano),
        ];
        let types = types.map(|of| TypeSignature::Exact(vec![DataType::Utf8, of]));
        Self { signature: Signature::one_of(types.to_vec(), Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Extract {
    fn name(&self) -> &str {
        EXTRACT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(numeric(Part::Epoch, &types[1]))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let of = args.arg_fields[1].data_type();
        let part = part(args.scalar_arguments[0], of)?;
        Ok(Field::new(EXTRACT, numeric(part, of), true).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = match &args.args[0] {
            ColumnarValue::Scalar(name) => Some(name),
            ColumnarValue::Array(_) => None,
        };
        let part = part(name, args.arg_fields[1].data_type())?;
        let values = args.args[1].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(parts(part, &values, args.return_type())?))
    }
}

/// The part that an argument names.
fn part(name: Option<&ScalarValue>, of: &DataType) -> Result<Part> {
    let name = name.and_then(|name| name.try_as_str().flatten()).unwrap_or_default();
    let refused = |what| {
        let text = format!("unit \"{name}\" not {what} for type {}", pg_type_name(of));
        let recognized = what == "recognized";
        let code = if recognized { SqlState("22023") } else { SqlState::FEATURE_NOT_SUPPORTED };
        failure(code, text)
    };
    let part = Part::named(name).ok_or_else(|| refused("recognized"))?;
    match (part, of) {
        (Part::Epoch, _) => Ok(part),
        (_, DataType::Date32) => Err(refused("supported")),
        _ => Ok(part),
    }
}

fn parts(part: Part, values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let found: Decimal128Array = match values.data_type() {
        DataType::Interval(_) => {
            values.as_primitive::<IntervalMonthDayNanoType>().unary(|span| of_span(part, span))
        }
        DataType::Date32 => {
            values.as_primitive::<Date32Type>().unary(|days| i128::from(days) * DAY_SECONDS)
        }
        _ => {
            let micros = cast(values, &DataType::Int64)?;
            micros.as_primitive::<Int64Type>().unary(|micros| of_micros(part, micros))
        }
    };
    Ok(Arc::new(found.with_data_type(to.clone())))
}
