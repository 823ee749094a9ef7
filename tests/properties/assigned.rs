//! Rows with the windows of TUMBLE, HOP, CUMULATE and SESSION.

use super::query::STREAM;
use super::value::{Row, Value};
use super::world::Stream;

/// The rows with the windows [start, start + size) they are in, start a multiple of slide (+
/// offset).
pub fn assigned(stream: &Stream, slide: i64, size: i64, offset: i64) -> Vec<Row> {
    let mut result = Vec::new();
    for (time, row) in &stream.rows {
        let mut start = (time - offset).div_euclid(slide) * slide + offset;
        while start + size > *time {
            let end = start + size;
            let bounds = [start, end, end - 1].map(Value::Int).to_vec();
            result.push([row.clone(), bounds].concat());
            start -= slide;
        }
    }
    result
}

/// Of rows with windows, those that are in the first `length` of theirs, which then ends there.
pub fn grown(rows: Vec<Row>, length: i64) -> Vec<Row> {
    let width = STREAM.len();
    let shorter = |mut row: Row| {
        let (Value::Int(time), Value::Int(start)) = (row[0].clone(), row[width].clone()) else {
            unreachable!("times are numbers here")
        };
        row.truncate(width + 1);
        row.extend([start + length, start + length - 1].map(Value::Int));
        (time < start + length).then_some(row)
    };
    rows.into_iter().filter_map(shorter).collect()
}

/// The rows with the windows of their sessions.
pub fn sessions(rows: &[&(i64, Row)], gap: i64, key: Option<usize>) -> Vec<Row> {
    let key_of = |row: &Row| key.map(|column| row[column].clone());
    let near = |a: i64, b: i64| (a - b).abs() < gap;
    let bounds = |(time, row): &(i64, Row)| {
        // Grow from the row on, until no row of the key is near.
        let (mut first, mut last) = (*time, *time);
        loop {
            let of_key = rows.iter().filter(|(_, other)| key_of(other) == key_of(row));
            let reached = of_key.filter(|(t, _)| near(*t, first) || near(*t, last));
            let times: Vec<i64> = reached.map(|(t, _)| *t).chain([first, last]).collect();
            let (low, high) = (times.iter().min().copied(), times.iter().max().copied());
            if (low, high) == (Some(first), Some(last)) {
                return [first, last + gap, last + gap - 1].map(Value::Int).to_vec();
            }
            (first, last) = (low.unwrap_or(first), high.unwrap_or(last));
        }
    };
    rows.iter().map(|row| [row.1.clone(), bounds(row)].concat()).collect()
}
