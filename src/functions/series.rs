//! `generate_series` and `range`, and the numbers of an array's elements.
//!
//! # Semantics
//! From a first to a last value, both included, by steps; nothing if the step leads away from the
//! last one. A range is the same without the last value. Integers, numerics, and timestamps by
//! intervals, where a month is a calendar month, of the
//! clocks
//! of a zone if one is given. A call gives
//! at most [`ROWS_MAX`] values, which it holds at once.

use arrow::array::Array;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, IntervalUnit, TimeUnit,
};
use datafusion::common::{Result, ScalarValue};

use super::array::dimensions;
use super::error::failure;
use super::scalar::{Body, Kind, Row, Scalar};
use super::zone::{after, zone};
use crate::error::SqlState;

/// Values of one call: 80 MB of them.
const ROWS_MAX: usize = 10_000_000;

const DAY_NANOS: i128 = 86_400_000_000_000;

/// The functions.
pub(super) fn functions() -> Vec<Scalar> {
    vec![
        of_steps("$generate_series", |row| series(row, Last::Included)),
        of_steps("$range", |row| series(row, Last::Excluded)),
        Scalar {
            name: "$ordinality",
            arguments: &[Kind::Array],
            required: 1,
            variadic: true,
            returns: |_| (list_of(DataType::Int64), None),
            strict: false,
            body: ordinality,
        },
        Scalar {
            name: "$generate_subscripts",
            arguments: &[Kind::Array, Kind::Int],
            required: 2,
            variadic: false,
            returns: |_| (list_of(DataType::Int32), None),
            strict: true,
            body: |row| {
                let dimension = usize::try_from(row.int(1)).unwrap_or(0);
                let lengths = dimensions(&row.values[0]);
                let count = dimension.checked_sub(1).and_then(|i| lengths.get(i).copied());
                let count = count.unwrap_or(0);
                let numbers = (1..).take(count).map(|n| ScalarValue::Int32(Some(n)));
                Ok(list(numbers, &DataType::Int32))
            },
        },
    ]
}

/// Whether the last value is one of the values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Included,
    Excluded,
}

fn of_steps(name: &'static str, body: Body) -> Scalar {
    Scalar {
        name,
        arguments: &[Kind::Any, Kind::Any, Kind::Any, Kind::Text],
        required: 2,
        variadic: false,
        returns: |given| (list_of(element(given.fields)), None),
        strict: true,
        body,
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Field::new_list_field(element, true).into())
}

fn list(values: impl Iterator<Item = ScalarValue>, element: &DataType) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list_nullable(&values.collect::<Vec<_>>(), element))
}

/// The type of the values: that of the first argument, integers and numerics as the widest.
fn element(fields: &[FieldRef]) -> DataType {
    let scales = fields.iter().filter_map(|field| match field.data_type() {
        DataType::Decimal128(_, scale) => Some(*scale),
        _ => None,
    });
    if let Some(scale) = scales.max() {
        return DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale);
    }
    match fields[0].data_type() {
        timestamp @ DataType::Timestamp(..) => timestamp.clone(),
        DataType::Date32 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Int8 | DataType::Int16 | DataType::Int32
            if fields.iter().all(|field| *field.data_type() != DataType::Int64) =>
        {
            DataType::Int32
        }
        _ => DataType::Int64,
    }
}

fn too_many() -> datafusion::error::DataFusionError {
    let what = format!("generate_series gives more than {ROWS_MAX} rows at once");
    failure(SqlState::PROGRAM_LIMIT_EXCEEDED, what)
}

fn no_step() -> datafusion::error::DataFusionError {
    failure(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero")
}

fn series(row: &Row<'_>, end: Last) -> Result<ScalarValue> {
    let element = element(row.fields);
    if let DataType::Timestamp(..) = element {
        return times(row, &element, end);
    }
    // Numerics are counted in units of their last digit.
    let (counted, one) = match element {
        DataType::Decimal128(_, scale) => {
            (element.clone(), 10_i128.pow(u32::try_from(scale).unwrap_or(0)))
        }
        _ => (DataType::Int64, 1),
    };
    let undefined = || {
        failure(
            SqlState::UNDEFINED_FUNCTION,
            "function generate_series does not exist for arguments of these types",
        )
    };
    let number = |i: usize| {
        let Some(value) = row.values.get(i) else { return Ok(one) };
        if value.data_type().is_floating() {
            return Err(undefined());
        }
        match value.cast_to(&counted) {
            Ok(ScalarValue::Int64(Some(number))) => Ok(i128::from(number)),
            Ok(ScalarValue::Decimal128(Some(number), ..)) => Ok(number),
            _ => Err(undefined()),
        }
    };
    let (first, last, step) = (number(0)?, number(1)?, number(2)?);
    if step == 0 {
        return Err(no_step());
    }
    let mut values = Vec::new();
    let mut next = Some(first);
    let before = |v: &i128| {
        (if step > 0 { *v <= last } else { *v >= last }) && (*v != last || end == Last::Included)
    };
    while let Some(value) = next.filter(before) {
        if values.len() >= ROWS_MAX {
            return Err(too_many());
        }
        values.push(value);
        next = value.checked_add(step);
    }
    let value = |number: i128| match &element {
        DataType::Decimal128(precision, scale) => {
            Ok(ScalarValue::Decimal128(Some(number), *precision, *scale))
        }
        _ => ScalarValue::Int64(i64::try_from(number).ok()).cast_to(&element),
    };
    let values = values.into_iter().map(value);
    Ok(list(values.collect::<Result<Vec<_>>>()?.into_iter(), &element))
}

fn times(row: &Row<'_>, element: &DataType, end: Last) -> Result<ScalarValue> {
    let time = |i: usize| match row.values[i].cast_to(element)? {
        ScalarValue::TimestampMicrosecond(Some(micros), _) => Ok(micros),
        other => datafusion::common::exec_err!("{other} is no timestamp"),
    };
    let (first, last) = (time(0)?, time(1)?);
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let step = row.values.get(2).map(|step| step.cast_to(&interval)).transpose()?;
    let Some(ScalarValue::IntervalMonthDayNano(Some(step))) = step else {
        return Err(failure(
            SqlState::UNDEFINED_FUNCTION,
            "generate_series of timestamps needs an interval as its step",
        ));
    };
    // A month has 30 days where intervals are compared.
    let days = i128::from(step.months) * 30 + i128::from(step.days);
    let forward = match days * DAY_NANOS + i128::from(step.nanoseconds) {
        0 => return Err(no_step()),
        length => length > 0,
    };
    let zone = match row.text(3) {
        "" => None,
        name => Some(zone(name)?),
    };
    let mut values = Vec::new();
    let mut next = Some(first);
    let before = |v: &i64| {
        (if forward { *v <= last } else { *v >= last }) && (*v != last || end == Last::Included)
    };
    while let Some(value) = next.filter(before) {
        next = after(value, step, zone);
        if values.len() >= ROWS_MAX {
            return Err(too_many());
        }
        values.push(ScalarValue::TimestampMicrosecond(Some(value), None).cast_to(element)?);
    }
    Ok(list(values.into_iter(), element))
}

/// The lengths of the arrays among the arguments; none of NULL.
fn lengths<'a>(row: &'a Row<'_>) -> impl Iterator<Item = usize> + 'a {
    row.values.iter().filter_map(|value| match value {
        ScalarValue::List(list) if !list.is_null(0) => Some(list.value(0).len()),
        _ => None,
    })
}

/// The numbers from 1 to the length of the longest array.
fn ordinality(row: &Row<'_>) -> Result<ScalarValue> {
    let count = lengths(row).max().unwrap_or(0);
    Ok(list((1..).take(count).map(|n| ScalarValue::Int64(Some(n))), &DataType::Int64))
}
