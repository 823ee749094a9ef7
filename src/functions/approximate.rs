//! Approximate percentiles: of the buckets into which values fall.
//!
//! # Semantics
//! `approx_percentile(fraction, error) WITHIN GROUP (ORDER BY x)` is off by no more than the share
//! `error` of the value that stands at `fraction * (count - 1)` in the order; 0.01 if it is left
//! out. It is DDSketch: with `g = (1 + error) / (1 - error)`, a bucket holds the values from
//! `g^(i-1)` to `g^i`, and stands for one between them. Zero and each sign have buckets of their
//! own.
//!
//! # State
//! As of other ordered sets: distinct values, which here are buckets. Of values between a and b
//! there are no more than `ln(b / a) / ln(g)`.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, lit};

use super::error::failure;
use super::scalar::{Given, Kind, Returns, Row, Scalar};
use crate::error::SqlState;

/// The error where none is given.
const ERROR: f64 = 0.01;

/// What stands for the bucket that a value falls into.
pub(super) fn bucket(value: Expr, error: Option<Expr>) -> Expr {
    let bucket = Scalar::strict("bucket", &[Kind::Float, Kind::Float], double, middle).udf();
    bucket.call(vec![value, error.unwrap_or_else(|| lit(ERROR))])
}

fn double(_: &Given<'_>) -> Returns {
    (DataType::Float64, None)
}

/// The value that is nearest to all of a bucket, as a share of them.
#[expect(clippy::cast_possible_truncation, reason = "logarithms of doubles are small")]
fn middle(row: &Row<'_>) -> Result<ScalarValue> {
    let (value, error) = (row.float(0), row.float(1));
    if error <= 0.0 || error >= 1.0 {
        let what = format!("relative error {error} is not between 0 and 1");
        return Err(failure(SqlState::INVALID_PARAMETER_VALUE, what));
    }
    if value == 0.0 || !value.is_finite() {
        return Ok(ScalarValue::Float64(Some(value)));
    }
    let growth = (1.0 + error) / (1.0 - error);
    let number = value.abs().log(growth).ceil() as i32;
    let middle = 2.0 * growth.powi(number) / (growth + 1.0);
    Ok(ScalarValue::Float64(Some(middle.copysign(value))))
}
