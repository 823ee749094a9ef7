//! Casts that say or keep what Postgres's do.
//!
//! # Semantics
//! A number cast to an integer is rounded: a double to the nearest even one in the middle, a
//! numeric
//! away from zero. A float cast to a numeric has the digits that it is sure of, 6 or 15. A value
//! cast to text looks as Postgres shows it, instants in the session's zone.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, IntervalMonthDayNanoArray, ListArray,
    Time64MicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    TimeUnit,
};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arithmetic::type_of;
use super::scaled_interval::INTERVAL;
use super::text_output::{differs, texts};
use super::zone::Session;
use crate::sql::output::style::Style;

/// The function that stands between a value and its cast.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Prepared {
    what: What,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    /// Rounds doubles, also those of an array, half to even.
    Round,
    /// The digits that a float is sure of, of those that it has.
    Digits,
    /// A time of day as the interval since midnight.
    SinceMidnight,
    /// The time of day that an interval is behind midnight.
    TimeOfDay,
    /// Shows a value as text; an instant as a zone's clocks show it, with their offset.
    Show { zone: Option<Arc<str>>, style: Style },
}

impl Prepared {
    fn call(what: What, arg: Expr) -> Expr {
        let signature = Signature::any(1, Volatility::Immutable);
        ScalarUDF::from(Prepared { what, signature }).call(vec![arg])
    }
}

impl ScalarUDFImpl for Prepared {
    fn name(&self) -> &str {
        match self.what {
            What::Round => "rounded",
            What::Digits => "sure_digits",
            What::SinceMidnight => "since_midnight",
            What::TimeOfDay => "time_of_day",
            What::Show { .. } => "text_output",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, of: &[DataType]) -> DfResult<DataType> {
        Ok(match self.what {
            What::Round if matches!(of, [DataType::List(_)]) => doubles(),
            What::Round | What::Digits => DataType::Float64,
            What::SinceMidnight => INTERVAL,
            What::TimeOfDay => DataType::Time64(TimeUnit::Microsecond),
            What::Show { .. } => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array(match &self.what {
            What::Round => match arrays[0].as_list_opt::<i32>() {
                Some(lists) => {
                    let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
                    let item = Field::new_list_field(DataType::Float64, true).into();
                    Arc::new(ListArray::new(item, offsets, whole(lists.values())?, nulls))
                }
                None => whole(&arrays[0])?,
            },
            What::Digits => {
                let count = if *arrays[0].data_type() == DataType::Float32 { 6 } else { 15 };
                let values = cast(&arrays[0], &DataType::Float64)?;
                let digits: Float64Array =
                    values.as_primitive::<Float64Type>().unary(|value| sure_digits(value, count));
                Arc::new(digits)
            }
            What::SinceMidnight => {
                let micros = cast(&arrays[0], &DataType::Int64)?;
                let spans: IntervalMonthDayNanoArray = micros
                    .as_primitive::<Int64Type>()
                    .unary(|micros| IntervalMonthDayNano::new(0, 0, micros * 1_000));
                Arc::new(spans)
            }
            What::TimeOfDay => {
                const DAY: i64 = 86_400_000_000;
                let times: Time64MicrosecondArray = arrays[0]
                    .as_primitive::<IntervalMonthDayNanoType>()
                    .unary(|span| (span.nanoseconds / 1_000).rem_euclid(DAY));
                Arc::new(times)
            }
            What::Show { zone, style } => Arc::new(texts(&arrays[0], zone.as_deref(), *style)?),
        }))
    }
}

fn doubles() -> DataType {
    DataType::List(Field::new_list_field(DataType::Float64, true).into())
}

/// Rounds numbers, half to even.
fn whole(values: &ArrayRef) -> DfResult<ArrayRef> {
    let values = cast(values, &DataType::Float64)?;
    let rounded: Float64Array = values.as_primitive::<Float64Type>().unary(f64::round_ties_even);
    Ok(Arc::new(rounded))
}

/// A number with so many digits.
fn sure_digits(value: f64, count: usize) -> f64 {
    format!("{value:.*e}", count - 1).parse().unwrap_or(value)
}

/// Rounds a double, half to even.
pub(super) fn rounded(double: Expr) -> Expr {
    Prepared::call(What::Round, double)
}

/// Replaces a cast that would cut where Postgres rounds, or show otherwise.
pub(super) fn rewrite(
    expr: Expr,
    schema: &DFSchema,
    session: &Session,
) -> DfResult<Transformed<Expr>> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Ok(Transformed::no(expr)) };
    let Ok(from) = type_of(inner, schema) else { return Ok(Transformed::no(expr)) };
    let inner = || inner.as_ref().clone();
    let prepared = match (from, field.data_type()) {
        (DataType::Float16 | DataType::Float32 | DataType::Float64, to) if to.is_integer() => {
            rounded(inner())
        }
        (DataType::Float16 | DataType::Float32 | DataType::Float64, to) if to.is_decimal() => {
            Prepared::call(What::Digits, inner())
        }
        (DataType::List(from), DataType::List(to)) if to.data_type().is_integer() => {
            match from.data_type() {
                DataType::Float32 | DataType::Float64 => rounded(inner()),
                DataType::Decimal128(precision, scale) if *scale > 0 => {
                    let item = DataType::Decimal128(*precision, 0);
                    let whole = DataType::List(Field::new_list_field(item, true).into());
                    Expr::Cast(Cast::new(Box::new(inner()), whole))
                }
                _ => return Ok(Transformed::no(expr)),
            }
        }
        (DataType::Decimal128(precision, scale), to) if to.is_integer() && scale > 0 => {
            let whole = DataType::Decimal128(precision, 0);
            Expr::Cast(Cast::new(Box::new(inner()), whole))
        }
        (DataType::Time64(_), to) if *to == INTERVAL => {
            return Ok(Transformed::yes(Prepared::call(What::SinceMidnight, inner())));
        }
        (from, DataType::Time64(_)) if from == INTERVAL => {
            return Ok(Transformed::yes(Prepared::call(What::TimeOfDay, inner())));
        }
        (from, DataType::Utf8) if differs(&from) => {
            let zone = match from {
                DataType::Timestamp(_, Some(zone)) => Some(session.zone.clone().unwrap_or(zone)),
                DataType::List(_) => session.zone.clone(),
                _ => None,
            };
            return Ok(Transformed::yes(Prepared::call(
                What::Show { zone, style: session.style },
                inner(),
            )));
        }
        _ => return Ok(Transformed::no(expr)),
    };
    let to = field.data_type().clone();
    Ok(Transformed::yes(Expr::Cast(Cast::new(Box::new(prepared), to))))
}
