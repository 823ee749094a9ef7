//! Windows by their definition: the relation at one instant, from all retained rows.
//!
//! # Semantics
//! For a one-shot SELECT over a stream's retained rows, and as the model that the operators are
//! tested against. Written from the definition alone: nothing here knows how the operators work.
//! The rows of the result stand in (ts, seq) order.
//!
//! | window                     | rows of the relation at τ, among those with ts <= τ            |
//! |----------------------------|----------------------------------------------------------------|
//! | `RANGE T`                  | τ - T < ts                                                     |
//! | `RANGE T SLIDE L OFFSET o` | E - T < ts <= E, E the last multiple <= τ of L, shifted by o   |
//! | `CURRENT P OFFSET o`       | E <= ts, E the last multiple <= τ of P, shifted by o           |
//! | `ROWS n`                   | the last n                                                     |
//! | `ROWS n SLIDE m`           | the last n of those in whole batches of m                      |
//! | `PARTITION BY k ROWS n`    | the last n of each k                                           |
//! | `.. RANGE T`               | of these, τ - T < ts                                           |
//!
//! `NOW` is a range of one tick; INCLUSIVE is one tick more.
//!
//! # Cost
//! A pass over the rows.

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Assigner;
use crate::delta::{Delta, batch, take_rows};
use crate::storage::RowCodec;
use crate::time::Timestamp;

/// A window over a stream.
#[derive(Clone, Debug)]
pub enum Spec {
    /// `RANGE size [SLIDE l OFFSET o]`, in microseconds.
    Range {
        /// Length; `NOW` is 1, INCLUSIVE one more.
        size: i64,
        /// Slide and offset.
        slide: Option<(i64, i64)>,
    },
    /// `CURRENT period OFFSET o`.
    Current {
        /// Length of a period.
        period: i64,
        /// By how much periods are shifted.
        offset: i64,
    },
    /// `[PARTITION BY keys] ROWS count`.
    Rows {
        /// How many, in each partition.
        count: u64,
        /// The keys of every row.
        keys: Vec<ArrayRef>,
    },
    /// `PARTITION BY keys ROWS count RANGE size`.
    RecentRows {
        /// How many, in each partition.
        count: u64,
        /// The keys of every row.
        keys: Vec<ArrayRef>,
        /// Length.
        size: i64,
    },
    /// `ROWS count SLIDE every`.
    Batches {
        /// How many.
        count: u64,
        /// Rows in a batch.
        every: u64,
    },
}

/// Returns the relation that the window of a stream is at an instant.
pub fn relation_at(spec: &Spec, rows: &Delta, at: Timestamp) -> Result<RecordBatch, ArrowError> {
    let ts = |row: &u32| rows.ts_at(*row as usize).0;
    let mut seen: Vec<u32> = (0..).take(rows.len()).collect();
    seen.retain(|row| ts(row) <= at.0);
    // Stable: rows of one instant stand in seq order.
    seen.sort_by_key(ts);
    let since = |start: i128, end: i64| {
        let inside = |row: &u32| start < i128::from(ts(row)) && ts(row) <= end;
        seen.iter().copied().filter(inside).collect::<Vec<u32>>()
    };
    let kept = match spec {
        Spec::Range { size, slide } => {
            let end = slide.map_or(at.0, |(slide, offset)| multiple(at.0, slide, offset));
            since(i128::from(end) - i128::from(*size), end)
        }
        Spec::Current { period, offset } => {
            since(i128::from(multiple(at.0, *period, *offset)) - 1, at.0)
        }
        Spec::Rows { count, keys } => last_of_each(&seen, keys, *count)?,
        Spec::RecentRows { count, keys, size } => {
            let oldest = i128::from(at.0) - i128::from(*size);
            let mut kept = last_of_each(&seen, keys, *count)?;
            kept.retain(|row| oldest < i128::from(ts(row)));
            kept
        }
        Spec::Batches { count, every } => {
            let whole = seen.len() - seen.len() % usize::try_from(*every).unwrap_or(usize::MAX);
            let from = whole.saturating_sub(usize::try_from(*count).unwrap_or(usize::MAX));
            seen[from..whole].to_vec()
        }
    };
    take_rows(rows.rows(), &UInt32Array::from(kept))
}

/// Appends the windows of TUMBLE, HOP or CUMULATE, once per window that a row falls in. `times` are
/// timestamps in microseconds or BIGINT.
pub fn assign(
    rows: &RecordBatch,
    times: &ArrayRef,
    assigner: Assigner,
) -> Result<RecordBatch, ArrowError> {
    let mut windows = Vec::new();
    for (row, time) in (0..).zip(numbers(times)?.iter()) {
        let Some(time) = time else { continue };
        let _none = assigner.windows(time, |start, end| windows.push((row, start, end)));
    }
    with_bounds(rows, times, &windows)
}

/// What [`sessions`] are of.
#[derive(Clone, Copy, Debug)]
pub struct SessionsOf<'a> {
    /// The time of every row.
    pub times: &'a ArrayRef,
    /// The keys of every row.
    pub keys: &'a [ArrayRef],
    /// The watermark that a row met if it came late.
    pub met: Option<&'a ArrayRef>,
    /// Distance from which a row starts a new session.
    pub gap: i64,
}

/// Appends the window of each row's session: of the rows with equal keys, a run in which
/// neighbours are less than `gap` apart. A row that came late leaves those before it alone of which
/// the sessions had ended by the watermark that it met, and is in none if its own had.
pub fn sessions(rows: &RecordBatch, of: SessionsOf<'_>) -> Result<RecordBatch, ArrowError> {
    let SessionsOf { times, keys, met, gap } = of;
    let codec = RowCodec::new(keys.iter().map(|key| key.data_type().clone()))?;
    let encoded = codec.encode(keys, rows.num_rows())?;
    let met = met.map(numbers).transpose()?;
    let open = |row: u32, end: i64| {
        let met = met.as_ref().filter(|met| met.is_valid(row as usize));
        met.is_none_or(|met| met.value(row as usize) < end)
    };
    let mut by_key: BTreeMap<&[u8], Vec<(i64, u32)>> = BTreeMap::new();
    for (row, time) in (0..).zip(numbers(times)?.iter()) {
        if let Some(time) = time.filter(|t| t.checked_add(gap).is_some_and(|end| open(row, end))) {
            by_key.entry(encoded.get(row as usize)).or_default().push((time, row));
        }
    }
    let mut windows = Vec::new();
    for rows in by_key.values_mut() {
        rows.sort_unstable();
        let mut from = 0;
        for last in 0..rows.len() {
            let (time, behind) = (rows[last].0, &rows[last + 1..]);
            let mut near = behind.iter().take_while(|(next, _)| next.saturating_sub(time) < gap);
            // What lies between two rows of a session is in it as well.
            if !near.any(|(_, row)| open(*row, time + gap)) {
                let session = &rows[from..=last];
                windows.extend(session.iter().map(|(_, row)| (*row, session[0].0, time + gap)));
                from = last + 1;
            }
        }
    }
    windows.sort_unstable();
    with_bounds(rows, times, &windows)
}

fn numbers(times: &ArrayRef) -> Result<Int64Array, ArrowError> {
    let numbers = cast(times, &DataType::Int64)?;
    Ok(arrow::array::AsArray::as_primitive::<Int64Type>(&numbers).clone())
}

/// Takes rows and appends the start, the end and the last tick of their windows.
fn with_bounds(
    rows: &RecordBatch,
    times: &ArrayRef,
    windows: &[(u32, i64, i64)],
) -> Result<RecordBatch, ArrowError> {
    let taken = windows.iter().map(|(row, ..)| *row);
    let taken = take_rows(rows, &UInt32Array::from_iter_values(taken))?;
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    let mut columns = taken.columns().to_vec();
    let starts: Int64Array = windows.iter().map(|(_, start, _)| Some(*start)).collect();
    let ends: Int64Array = windows.iter().map(|(.., end)| Some(*end)).collect();
    let last: Int64Array = windows.iter().map(|(.., end)| Some(end - 1)).collect();
    for (name, values) in [("window_start", starts), ("window_end", ends), ("window_time", last)] {
        fields.push(Arc::new(Field::new(name, times.data_type().clone(), false)));
        columns.push(cast(&values, times.data_type())?);
    }
    batch(Arc::new(Schema::new(fields)), columns, taken.num_rows())
}

/// Returns the last multiple of `step`, shifted by `offset`, that is not after `at`.
fn multiple(at: i64, step: i64, offset: i64) -> i64 {
    at.saturating_sub(at.saturating_sub(offset).rem_euclid(step))
}

/// Returns the last rows of each key, in order.
fn last_of_each(seen: &[u32], keys: &[ArrayRef], count: u64) -> Result<Vec<u32>, ArrowError> {
    let codec = RowCodec::new(keys.iter().map(|key| key.data_type().clone()))?;
    let encoded = codec.encode(keys, keys.first().map_or(0, |key| key.len()))?;
    let mut left: BTreeMap<&[u8], u64> = BTreeMap::new();
    let mut kept: Vec<u32> = Vec::new();
    for row in seen.iter().rev() {
        let left = left.entry(encoded.get(*row as usize)).or_insert(count);
        if *left > 0 {
            *left -= 1;
            kept.push(*row);
        }
    }
    kept.reverse();
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::pretty;

    fn rows(table: &str) -> Delta {
        pretty::parse(&format!(" w | ts | s:text\n{table}"))
    }

    /// The first column of the relation at each of the instants.
    fn relations(spec: &Spec, delta: &Delta, instants: &[i64]) -> Vec<String> {
        let at = |at: &i64| {
            let relation = relation_at(spec, delta, Timestamp(*at)).unwrap();
            let text = |row| pretty::show_value(relation.column(0), row);
            (0..relation.num_rows()).map(text).collect::<String>()
        };
        instants.iter().map(at).collect()
    }

    #[test]
    fn a2_range() {
        let delta = rows("+1 | 1 | a\n+1 | 2 | b\n+1 | 6 | c");
        let spec = Spec::Range { size: 3, slide: None };
        let expected = ["", "a", "ab", "b", "", "c", ""];
        assert_eq!(relations(&spec, &delta, &[0, 1, 3, 4, 5, 8, 9]), expected);
    }

    #[test]
    fn a9_slide() {
        let delta = rows("+1 | 1 | a\n+1 | 2 | b\n+1 | 3 | c\n+1 | 6 | d");
        let spec = Spec::Range { size: 4, slide: Some((2, 0)) };
        let expected = ["", "ab", "ab", "abc", "abc", "cd", "d", ""];
        assert_eq!(relations(&spec, &delta, &[1, 2, 3, 4, 5, 6, 8, 10]), expected);
    }

    #[test]
    fn a6_ties_are_in_arrival_order() {
        let delta = rows("+1 | 5 | e\n+1 | 1 | a\n+1 | 2 | b\n+1 | 2 | c\n+1 | 2 | d");
        let spec = Spec::Rows { count: 2, keys: vec![] };
        assert_eq!(relations(&spec, &delta, &[1, 2, 5]), ["a", "cd", "de"]);
    }

    #[test]
    fn a11_batches_of_rows() {
        let delta = rows("+1 | 1 | a\n+1 | 2 | b\n+1 | 3 | c\n+1 | 4 | d\n+1 | 5 | e");
        let spec = Spec::Batches { count: 3, every: 2 };
        assert_eq!(relations(&spec, &delta, &[1, 2, 3, 4, 5]), ["", "ab", "ab", "bcd", "bcd"]);
    }

    #[test]
    fn a7_last_row_of_each_key() {
        let delta = rows("+1 | 1 | x\n+1 | 2 | y\n+1 | 3 | z");
        let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![None, Some(1), None]))];
        let spec = Spec::Rows { count: 1, keys: keys.clone() };
        assert_eq!(relations(&spec, &delta, &[1, 2, 3]), ["x", "xy", "yz"]);
        let spec = Spec::RecentRows { count: 1, keys, size: 1 };
        assert_eq!(relations(&spec, &delta, &[1, 2, 3]), ["x", "y", "z"]);
    }

    #[test]
    fn hop_appends_three_columns() {
        let delta = pretty::parse(" w | ts | t:timestamp\n+1 | 0 | 3\n+1 | 0 | NULL");
        let times = Arc::clone(delta.rows().column(0));
        let rows =
            assign(delta.rows(), &times, Assigner::Hop { slide: 2, size: 4, offset: 0 }).unwrap();
        let row = |i| {
            rows.columns().iter().map(|c| pretty::show_value(c, i)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((rows.num_rows(), row(0), row(1)), (2, "3 0 4 3".into(), "3 2 6 5".into()));
    }
}
