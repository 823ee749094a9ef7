//! Functions of arrays, as far as DataFusion's mean something else or are missing.
//!
//! # Semantics
//! Postgres's: positions and lengths are integers, and NULL where there is none; what is removed or
//! replaced is so everywhere; NULL equals NULL. Arrays begin at 1, and an array of arrays has their
//! dimensions.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};

use super::error::failure;
use super::scalar::{Given, Kind, Returns, Row, Scalar, int4, text};
use crate::error::SqlState;

/// Elements that one call makes.
const ELEMENTS_MAX: i64 = 10_000_000;

/// The functions.
pub(super) fn functions() -> Vec<Scalar> {
    use Kind::{Any, Array, Int, Ints};
    let open = |required, scalar: Scalar| Scalar { required, strict: false, ..scalar };
    vec![
        Scalar::strict("array_length", &[Array, Int], int4, |row| length_at(row, |length| length)),
        Scalar::strict("array_upper", &[Array, Int], int4, |row| length_at(row, |length| length)),
        Scalar::strict("array_lower", &[Array, Int], int4, |row| length_at(row, |_| 1)),
        Scalar::strict("array_ndims", &[Array], int4, |row| {
            Ok(some_int(Some(dimensions(&row.values[0]).len()).filter(|count| *count > 0)))
        }),
        Scalar::strict("cardinality", &[Array], int4, |row| {
            let dimensions = dimensions(&row.values[0]);
            let product = dimensions.iter().product();
            Ok(some_int(Some(if dimensions.is_empty() { 0 } else { product })))
        }),
        Scalar::strict("array_dims", &[Array], text, |row| {
            let dimensions = dimensions(&row.values[0]);
            let shown: String = dimensions.iter().map(|count| format!("[1:{count}]")).collect();
            Ok(ScalarValue::Utf8(Some(shown).filter(|shown| !shown.is_empty())))
        }),
        open(2, Scalar::strict("array_position", &[Array, Any, Int], int4, position)),
        open(
            2,
            Scalar::strict("array_positions", &[Array, Any], ints, |row| {
                let Some((element, elements)) = searched(row)? else {
                    return ScalarValue::try_from(row.returns);
                };
                let found = (1..).zip(elements).filter(|(_, e)| *e == element).map(|(i, _)| i);
                Ok(list(found.map(|i| ScalarValue::Int32(Some(i))).collect(), row.returns))
            }),
        ),
        open(
            2,
            Scalar::strict("array_remove", &[Array, Any], same, |row| {
                let Some((element, elements)) = searched(row)? else {
                    return Ok(row.values[0].clone());
                };
                let kept = elements.into_iter().filter(|e| *e != element);
                Ok(list(kept.collect(), row.returns))
            }),
        ),
        open(
            3,
            Scalar::strict("array_replace", &[Array, Any, Any], same, |row| {
                let Some((element, elements)) = searched(row)? else {
                    return Ok(row.values[0].clone());
                };
                let with = row.values[2].cast_to(&of_element(row.returns))?;
                let replaced =
                    elements.into_iter().map(|e| if e == element { with.clone() } else { e });
                Ok(list(replaced.collect(), row.returns))
            }),
        ),
        open(2, Scalar::strict("array_fill", &[Any, Ints], filled_type, fill)),
        of_all("num_nulls", |row| Ok(some_int(Some(nulls(row))))),
        of_all("num_nonnulls", |row| Ok(some_int(Some(row.values.len() - nulls(row))))),
        Scalar::strict("$null_elements", &[Array], int4, |row| counted(row, ScalarValue::is_null)),
        Scalar::strict("$elements", &[Array], int4, |row| counted(row, |e| !e.is_null())),
        Scalar::strict("trim_array", &[Array, Int], same, |row| {
            let elements = elements(&row.values[0])?;
            let kept = usize::try_from(row.int(1)).ok();
            let kept = kept.and_then(|n| elements.len().checked_sub(n)).ok_or_else(|| {
                let what =
                    format!("number of elements to trim must be between 0 and {}", elements.len());
                failure(SqlState("2202E"), what)
            })?;
            Ok(list(elements.into_iter().take(kept).collect(), row.returns))
        }),
    ]
}

/// A function of any number of arguments of any type.
fn of_all(name: &'static str, body: super::scalar::Body) -> Scalar {
    Scalar { variadic: true, strict: false, ..Scalar::strict(name, &[Kind::Any], int4, body) }
}

/// How many arguments are NULL.
fn nulls(row: &Row<'_>) -> usize {
    row.values.iter().filter(|value| value.is_null()).count()
}

/// How many elements of an array are so.
fn counted(row: &Row<'_>, so: fn(&ScalarValue) -> bool) -> Result<ScalarValue> {
    let elements = elements(&row.values[0])?;
    Ok(some_int(Some(elements.into_iter().filter(so).count())))
}

fn same(given: &Given<'_>) -> Returns {
    (super::scalar::as_list(given.fields[0].data_type()), None)
}

fn ints(_: &Given<'_>) -> Returns {
    (list_of(DataType::Int32), None)
}

fn filled_type(given: &Given<'_>) -> Returns {
    (list_of(given.fields[0].data_type().clone()), None)
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Field::new_list_field(element, true).into())
}

fn of_element(list: &DataType) -> DataType {
    match list {
        DataType::List(element) => element.data_type().clone(),
        other => other.clone(),
    }
}

fn list(elements: Vec<ScalarValue>, of: &DataType) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list_nullable(&elements, &of_element(of)))
}

fn some_int(value: Option<usize>) -> ScalarValue {
    ScalarValue::Int32(value.and_then(|value| i32::try_from(value).ok()))
}

/// The elements of an array; none of NULL.
fn elements(array: &ScalarValue) -> Result<Vec<ScalarValue>> {
    let ScalarValue::List(list) = array else { return Ok(Vec::new()) };
    if list.is_null(0) {
        return Ok(Vec::new());
    }
    let values = list.value(0);
    (0..values.len()).map(|i| ScalarValue::try_from_array(&values, i)).collect()
}

/// The lengths of an array and of the arrays in it; none if it is empty.
pub(super) fn dimensions(array: &ScalarValue) -> Vec<usize> {
    let ScalarValue::List(list) = array else { return Vec::new() };
    let (mut lengths, mut values) = (Vec::new(), list.value(0));
    while !values.is_empty() {
        lengths.push(values.len());
        let Some(inner) = values.as_list_opt::<i32>().filter(|inner| inner.is_valid(0)) else {
            break;
        };
        values = inner.value(0);
    }
    lengths
}

/// Of the length of a dimension, NULL if there is none.
fn length_at(row: &Row<'_>, f: fn(usize) -> usize) -> Result<ScalarValue> {
    let dimension = usize::try_from(row.int(1)).ok().and_then(|n| n.checked_sub(1));
    let lengths = dimensions(&row.values[0]);
    Ok(some_int(dimension.and_then(|at| lengths.get(at).copied()).map(f)))
}

/// What is looked for as an element, and the elements; `None` if the array is NULL.
fn searched(row: &Row<'_>) -> Result<Option<(ScalarValue, Vec<ScalarValue>)>> {
    let array = &row.values[0];
    if array.is_null() {
        return Ok(None);
    }
    let element = row.values[1].cast_to(&of_element(&array.data_type()))?;
    Ok(Some((element, elements(array)?)))
}

fn position(row: &Row<'_>) -> Result<ScalarValue> {
    let Some((element, elements)) = searched(row)? else { return Ok(some_int(None)) };
    let from = match row.values.len() {
        3 => usize::try_from(row.int(2).saturating_sub(1)).unwrap_or(0),
        _ => 0,
    };
    let found = elements.iter().enumerate().skip(from).find(|(_, e)| **e == element);
    Ok(some_int(found.map(|(i, _)| i + 1)))
}

/// An array of equal elements, with the lengths given.
fn fill(row: &Row<'_>) -> Result<ScalarValue> {
    let lengths = elements(&row.values[1])?;
    let lengths = lengths.iter().map(|length| match length {
        ScalarValue::Int64(Some(length)) => Ok(*length),
        _ => Err(failure(SqlState("22004"), "dimension values cannot be null")),
    });
    let length = match lengths.collect::<Result<Vec<_>>>()?.as_slice() {
        [] => 0,
        [length] if *length <= ELEMENTS_MAX => usize::try_from(*length).unwrap_or(0),
        [_] => {
            let what = format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})");
            return Err(failure(SqlState::PROGRAM_LIMIT_EXCEEDED, what));
        }
        _ => {
            let what = "array_fill with more than one dimension is not supported";
            return Err(failure(SqlState::FEATURE_NOT_SUPPORTED, what));
        }
    };
    Ok(list(vec![row.values[0].clone(); length], row.returns))
}
