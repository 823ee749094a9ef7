//! Intervals as Postgres compares them: by their length.
//!
//! # Semantics
//! A month is 30 days long and a day 24 hours.
//! [`spans`] is one value for all intervals of one length, in the order of lengths. [`marked`] adds
//! how each is written, so that the interval can be had back ([`intervals`]); among those of one
//! length it is the order of months, then of days.
//!
//! # Why
//! Columns in one encoding (bytes, most significant first) let equality, order, groups, joins and
//! keys of intervals be those of bytes, wherever they are computed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};

const DAY_NANOS: i128 = 86_400_000_000_000;
const MONTH_NANOS: i128 = 30 * DAY_NANOS;
/// Bytes of a length; what follows them in a marked one are months and days.
const LENGTH: usize = 16;

/// Makes negative numbers come before others as bytes.
const fn ordered_length(nanos: i128) -> [u8; LENGTH] {
    (nanos ^ i128::MIN).to_be_bytes()
}

const fn ordered(number: i32) -> [u8; 4] {
    (number ^ i32::MIN).to_be_bytes()
}

fn nanos(interval: IntervalMonthDayNano) -> i128 {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    i128::from(months) * MONTH_NANOS + i128::from(days) * DAY_NANOS + i128::from(nanoseconds)
}

/// Returns the lengths of intervals.
pub fn spans(intervals: &dyn Array) -> BinaryArray {
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    intervals.iter().map(|interval| Some(ordered_length(nanos(interval?)))).collect()
}

/// Returns the lengths of intervals with the way each is written.
pub fn marked(intervals: &dyn Array) -> BinaryArray {
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let mark = |interval: IntervalMonthDayNano| {
        let written = [ordered(interval.months), ordered(interval.days)].concat();
        [ordered_length(nanos(interval)).as_slice(), &written].concat()
    };
    intervals.iter().map(|interval| Some(mark(interval?))).collect()
}

/// Returns the intervals that [`marked`] was given.
pub fn intervals(marked: &BinaryArray) -> IntervalMonthDayNanoArray {
    let read = |bytes: &[u8]| {
        let (length, written) = bytes.split_first_chunk::<LENGTH>()?;
        let (months, days) = written.split_first_chunk::<4>()?;
        let number = |bytes: [u8; 4]| i32::from_be_bytes(bytes) ^ i32::MIN;
        let (months, days) = (number(*months), number(days.try_into().ok()?));
        let length = i128::from_be_bytes(*length) ^ i128::MIN;
        let rest = length - nanos(IntervalMonthDayNano::new(months, days, 0));
        Some(IntervalMonthDayNano::new(months, days, i64::try_from(rest).ok()?))
    };
    marked.iter().map(|bytes| read(bytes?)).collect()
}

/// Returns columns of which two values are the same key if and only if Postgres calls them equal:
/// intervals become their lengths.
pub fn keys(columns: impl IntoIterator<Item = ArrayRef>) -> Vec<ArrayRef> {
    let key = |column: ArrayRef| match column.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => Arc::new(spans(&column)) as ArrayRef,
        _ => column,
    };
    columns.into_iter().map(key).collect()
}

/// The type that a column of a key has after [`keys`].
pub fn key_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Interval(IntervalUnit::MonthDayNano) => DataType::Binary,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_ordered_and_marked_ones_can_be_read() {
        let of = |months, days, nanos| Some(IntervalMonthDayNano::new(months, days, nanos));
        let day = 86_400_000_000_000;
        let values = IntervalMonthDayNanoArray::from(vec![
            of(i32::MIN, i32::MIN, i64::MIN),
            of(0, -1, 0),
            of(0, 0, 0),
            of(0, 0, day),
            of(0, 1, 0),
            of(0, 30, 0),
            of(1, 0, 0),
            of(i32::MAX, i32::MAX, i64::MAX),
            None,
        ]);
        let lengths = spans(&values);
        assert_eq!(lengths.value(3), lengths.value(4));
        assert_eq!(lengths.value(5), lengths.value(6));
        let of =
            |array: &BinaryArray| array.iter().flatten().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert!(of(&lengths).is_sorted());
        let marked = marked(&values);
        assert!(of(&marked).is_sorted_by(|one, next| one < next));
        assert_eq!(intervals(&marked), values);
    }
}
