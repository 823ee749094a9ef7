//! `date_trunc` to decades, centuries and millennia, which DataFusion does not know.
//!
//! # Semantics
//! A decade begins with a year that is a multiple of ten, a century with one behind a multiple of a
//! hundred, a millennium with one behind a multiple of a thousand. There is no year 0.

use std::sync::Arc;

use arrow::array::{AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::Result;
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The function, with DataFusion's for all other units.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc {
    inner: Arc<ScalarUDF>,
}

impl Default for DateTrunc {
    fn default() -> Self {
        Self { inner: date_trunc() }
    }
}

/// The first year of the span that a year, 0 being 1 BC, lies in.
fn first_year(unit: &str, year: i32) -> Option<i32> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "decade" => year.div_euclid(10) * 10,
        "century" => (year - 1).div_euclid(100) * 100 + 1,
        "millennium" => (year - 1).div_euclid(1_000) * 1_000 + 1,
        _ => return None,
    })
}

/// The beginning of the span that a time lies in.
fn beginning(unit: &str, micros: i64) -> Option<i64> {
    let year = DateTime::from_timestamp_micros(micros)?.year();
    let day = NaiveDate::from_ymd_opt(first_year(unit, year)?, 1, 1)?;
    Some(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(input)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unit = match &args.args[0] {
            ColumnarValue::Scalar(unit) => unit.try_as_str().flatten(),
            ColumnarValue::Array(_) => None,
        };
        let Some(unit) = unit.filter(|unit| first_year(unit, 1).is_some()) else {
            return self.inner.invoke_with_args(args);
        };
        let times = args.args[1].to_array(args.number_rows)?;
        let times = cast(&times, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let cut: TimestampMicrosecondArray =
            times.iter().map(|time| time.and_then(|time| beginning(unit, time))).collect();
        Ok(ColumnarValue::Array(cast(&cut, args.return_type())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_begin_as_in_postgres() {
        let years = [2024, 2000, 2001, 1, 0, -9, -99];
        let of = |unit| years.map(|year| first_year(unit, year).unwrap());
        assert_eq!(of("decade"), [2020, 2000, 2000, 0, 0, -10, -100]);
        assert_eq!(of("century"), [2001, 1901, 2001, 1, -99, -99, -99]);
        assert_eq!(of("Millennium"), [2001, 1001, 2001, 1, -999, -999, -999]);
    }
}
