//! Functions of numbers: `div`, `scale`, `min_scale`, `width_bucket`, `to_number`.
//!
//! # Semantics
//! Postgres's. The scale of a value is that of its type. `to_number` gives as many digits behind
//! the point as its picture, if that is a constant.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::error::failure;
use super::number_format::{digits_behind, to_number};
use super::scalar::{Given, Kind, Returns, Row, Scalar, int4};
use crate::error::SqlState;

/// Digits of the widest decimal.
const PRECISION: u8 = 38;

/// Digits behind the point where a picture does not say it: those of `numeric`.
const SCALE: i8 = 10;

/// The functions.
pub(super) fn functions() -> Vec<Scalar> {
    use Kind::{Int, Number, Text};
    vec![
        Scalar::strict("div", &[Number, Number], whole, div),
        Scalar::strict("scale", &[Number], int4, |row| {
            Ok(ScalarValue::Int32(Some(decimal(&row.values[0])?.scale.into())))
        }),
        Scalar::strict("min_scale", &[Number], int4, |row| {
            Ok(ScalarValue::Int32(Some(decimal(&row.values[0])?.trimmed().scale.into())))
        }),
        Scalar::strict("width_bucket", &[Number, Number, Number, Int], int4, width_bucket),
        Scalar::strict("to_number", &[Text, Text], of_picture, |row| {
            let DataType::Decimal128(_, scale) = row.returns else {
                unreachable!("the result is a decimal")
            };
            let value = to_number(row.text(0), row.text(1), *scale)?;
            Ok(ScalarValue::Decimal128(Some(value), PRECISION, *scale))
        }),
    ]
}

/// A number with digits behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    /// The number without its point.
    pub(super) unscaled: i128,
    /// Digits behind the point.
    pub(super) scale: i8,
}

impl Decimal {
    /// Reads digits with a sign, a point or an exponent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, behind) = digits.split_once('.').unwrap_or((digits, ""));
        let unscaled: i128 = format!("{whole}{behind}").parse().ok()?;
        let scale = i32::try_from(behind.len()).ok()? - exponent.parse::<i32>().ok()?;
        match i8::try_from(scale) {
            Ok(scale @ 0..) => Some(Self { unscaled, scale }),
            _ => {
                let by = 10_i128.checked_pow(u32::try_from(-scale).ok()?)?;
                Some(Self { unscaled: unscaled.checked_mul(by)?, scale: 0 })
            }
        }
    }

    /// The number with another scale, rounded half away from zero; `None` if it is too large.
    pub(super) fn rounded(self, scale: i8) -> Option<Self> {
        let digits = i32::from(scale) - i32::from(self.scale);
        let by = 10_i128.checked_pow(digits.unsigned_abs());
        let unscaled = match (digits >= 0, by) {
            (true, by) => self.unscaled.checked_mul(by?)?,
            // There are not that many digits.
            (false, None) => 0,
            (false, Some(by)) => {
                let rest = self.unscaled % by;
                let up = rest.unsigned_abs() >= by.unsigned_abs().div_ceil(2);
                self.unscaled / by + if up { self.unscaled.signum() } else { 0 }
            }
        };
        Some(Self { unscaled, scale })
    }

    /// The number without zeros at its end.
    fn trimmed(mut self) -> Self {
        while self.scale > 0 && self.unscaled % 10 == 0 {
            self = Self { unscaled: self.unscaled / 10, scale: self.scale - 1 };
        }
        self
    }
}

/// The decimal that a value is.
pub(super) fn decimal(value: &ScalarValue) -> Result<Decimal> {
    if let ScalarValue::Decimal128(Some(unscaled), _, scale) = value {
        return Ok(Decimal { unscaled: *unscaled, scale: *scale });
    }
    let found = Decimal::parse(&value.to_string());
    found.ok_or_else(|| out_of_range("numeric field overflow"))
}

fn out_of_range(what: &str) -> datafusion::error::DataFusionError {
    failure(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, what)
}

fn whole(_: &Given<'_>) -> Returns {
    (DataType::Decimal128(PRECISION, 0), None)
}

/// The type that a picture says.
fn of_picture(given: &Given<'_>) -> Returns {
    let picture = given.constants.get(1).copied().flatten();
    let picture = picture.and_then(|picture| picture.try_as_str().flatten());
    let scale = picture.and_then(digits_behind).unwrap_or(SCALE);
    (DataType::Decimal128(PRECISION, scale), None)
}

/// Brings numbers to one scale.
fn aligned<const N: usize>(values: [Decimal; N]) -> Result<[i128; N]> {
    let scale = values.iter().map(|value| value.scale).max().unwrap_or(0);
    let mut aligned = [0; N];
    for (to, from) in aligned.iter_mut().zip(values) {
        let value = from.rounded(scale).ok_or_else(|| out_of_range("numeric field overflow"))?;
        *to = value.unscaled;
    }
    Ok(aligned)
}

/// The quotient's integer, towards zero.
fn div(row: &Row<'_>) -> Result<ScalarValue> {
    let [dividend, divisor] = aligned([decimal(&row.values[0])?, decimal(&row.values[1])?])?;
    match dividend.checked_div(divisor) {
        Some(quotient) => Ok(ScalarValue::Decimal128(Some(quotient), PRECISION, 0)),
        None => Err(failure(SqlState::DIVISION_BY_ZERO, "division by zero")),
    }
}

/// The number of the bucket that a value falls into, of some of equal width; 0 and one more than
/// there are for values outside.
fn width_bucket(row: &Row<'_>) -> Result<ScalarValue> {
    let wrong = |what| failure(SqlState("2201G"), what);
    let count = row.int(3);
    if count <= 0 {
        return Err(wrong("count must be greater than zero"));
    }
    let float = |value: &ScalarValue| match value {
        ScalarValue::Float64(Some(value)) => Some(*value),
        _ => None,
    };
    let bucket = if row.values[..3].iter().any(|value| float(value).is_some()) {
        let number = |value: &ScalarValue| match value.cast_to(&DataType::Float64)? {
            ScalarValue::Float64(Some(value)) if !value.is_nan() => Ok(value),
            _ => Err(wrong("operand, lower bound, and upper bound cannot be NaN")),
        };
        let [value, low, high] = [&row.values[0], &row.values[1], &row.values[2]].map(number);
        let (value, low, high) = (value?, low?, high?);
        if !low.is_finite() || !high.is_finite() {
            return Err(wrong("lower and upper bounds must be finite"));
        }
        let part = (value - low) / (high - low);
        // Whole numbers up to the count of buckets.
        outside(value.total_cmp(&low), value.total_cmp(&high), low.total_cmp(&high), count)
            .map(|bucket| bucket.unwrap_or((part * count as f64).floor() as i64 + 1))
    } else {
        let parts = [&row.values[0], &row.values[1], &row.values[2]].map(decimal);
        let [value, low, high] = parts;
        let [value, low, high] = aligned([value?, low?, high?])?;
        let inside = || {
            let part = value.checked_sub(low)?.checked_mul(count.into())?;
            let part = part.checked_div(high.checked_sub(low)?)?;
            i64::try_from(part).ok()?.checked_add(1)
        };
        outside(value.cmp(&low), value.cmp(&high), low.cmp(&high), count)
            .and_then(|bucket| bucket.or_else(inside).ok_or_else(|| out_of_range("overflow")))
    };
    let bucket = i32::try_from(bucket?).map_err(|_| out_of_range("integer out of range"))?;
    Ok(ScalarValue::Int32(Some(bucket)))
}

/// The bucket of a value outside of the bounds, from how it compares with them and they do.
fn outside(low: Ordering, high: Ordering, bounds: Ordering, count: i64) -> Result<Option<i64>> {
    let (before, behind) = match bounds {
        Ordering::Less => (low.is_lt(), high.is_ge()),
        Ordering::Greater => (low.is_gt(), high.is_le()),
        Ordering::Equal => {
            return Err(failure(SqlState("2201G"), "lower bound cannot equal upper bound"));
        }
    };
    Ok(match (before, behind) {
        (true, _) => Some(0),
        (_, true) => Some(count + 1),
        _ => None,
    })
}
