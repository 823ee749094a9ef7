//! Text tables to deltas and back, for tests and debugging.
//!
//! # Example
//! ```
//! use highwater::delta::pretty;
//!
//! let delta = pretty::parse(
//!     " w | ts    | k:text | v:int8
//!      +1 | 09:00 | a      | 1
//!      -2 | 09:01 | b      | NULL",
//! );
//! assert_eq!(pretty::print(&delta), " w | ts    | k | v
//! +1 | 09:00 | a | 1
//! -2 | 09:01 | b | NULL
//! ");
//! ```
//!
//! # Semantics
//! Times are ticks (microseconds) or `HH:MM[:SS[.fraction]]` on the first of January 1970; printed
//! are ticks below one minute, else clock times, else dates. The column types are `text`, `bool`,
//! `int2`, `int4`, `int8`, `float4`, `float8`, `numeric(p,s)`, `date`, `timestamp`, `timestamptz`
//! and `bytea`. An empty cell is the empty text; `NULL` is NULL.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::DateTime;

use super::{Delta, Instants, Weights};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Returns the row type that `text`, such as `k:text | v:int8`, describes.
///
/// # Panics
/// On an unknown type.
pub fn schema(text: &str) -> SchemaRef {
    let fields = text.split('|').map(str::trim).filter(|cell| !cell.is_empty()).map(|cell| {
        let (name, kind) = cell.split_once(':').expect("a column is written name:type");
        Field::new(name, data_type(kind), true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Returns the delta that `text` shows: a header `w | ts | name:type | ..`, then one line per row.
///
/// # Panics
/// On text that is not such a table.
pub fn parse(text: &str) -> Delta {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let header: Vec<&str> = lines.next().expect("a table has a header").splitn(3, '|').collect();
    let names: Vec<&str> = header.iter().take(2).map(|cell| cell.trim()).collect();
    assert_eq!(names, ["w", "ts"], "a table starts with the columns w and ts");
    let schema = schema(header.get(2).unwrap_or(&""));
    let width = schema.fields().len() + 2;
    let cells: Vec<Vec<&str>> =
        lines.map(|line| line.split('|').map(str::trim).collect()).collect();
    for row in &cells {
        assert_eq!(row.len(), width, "a row has {width} cells: {row:?}");
    }
    let weights = cells.iter().map(|row| row[0].parse::<i64>().expect("a weight is a number"));
    let weights: Int64Array = weights.map(Some).collect();
    let times = cells.iter().map(|row| time(row[1]).expect("ts is a time"));
    let times: TimestampMicrosecondArray = times.map(Some).collect();
    let columns = schema.fields().iter().enumerate().map(|(i, field)| {
        let texts = cells.iter().map(|row| (row[i + 2] != "NULL").then_some(row[i + 2]));
        column(texts.collect(), field.data_type())
    });
    let options = RecordBatchOptions::new().with_row_count(Some(cells.len()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns.collect(), &options)
        .expect("columns have the types of the schema");
    Delta::new(rows, Instants::Each(times), Weights::Each(weights))
}

/// Shows a delta as a text table.
pub fn print(delta: &Delta) -> String {
    let mut table = vec![header(&["w", "ts"], delta.rows())];
    for i in 0..delta.len() {
        let ts = show_time(delta.ts_at(i).0);
        table.push(row(&[format!("{:+}", delta.weight(i)), ts], delta.rows(), i));
    }
    align(&table)
}

/// Shows the rows of a relation and their weights as a text table.
pub fn print_rows(content: &(RecordBatch, Int64Array)) -> String {
    let (rows, weights) = content;
    let mut table = vec![header(&["w"], rows)];
    for i in 0..rows.num_rows() {
        table.push(row(&[format!("{:+}", weights.value(i))], rows, i));
    }
    align(&table)
}

/// Shows one value.
pub fn show_value(column: &dyn Array, i: usize) -> String {
    if column.is_null(i) {
        return "NULL".to_owned();
    }
    if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        return show_time(times.value(i));
    }
    let options = FormatOptions::default();
    match ArrayFormatter::try_new(column, &options) {
        Ok(formatter) => formatter.value(i).to_string(),
        Err(error) => error.to_string(),
    }
}

fn header(leading: &[&str], rows: &RecordBatch) -> Vec<String> {
    let schema = rows.schema();
    let names = schema.fields().iter().map(|f| f.name().clone());
    leading.iter().map(|name| (*name).to_owned()).chain(names).collect()
}

fn row(leading: &[String], rows: &RecordBatch, i: usize) -> Vec<String> {
    let values = rows.columns().iter().map(|column| show_value(column, i));
    leading.iter().cloned().chain(values).collect()
}

/// Pads cells to the width of their column: the first to the right, the others to the left.
fn align(table: &[Vec<String>]) -> String {
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..table[0].len()).map(|c| width(c).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in table {
        let mut line = format!("{:>1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            write!(line, " | {cell:<width$}").expect("a string takes all text");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn data_type(name: &str) -> DataType {
    let timestamp =
        |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    match name.trim() {
        "text" => DataType::Utf8,
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "date" => DataType::Date32,
        "timestamp" => timestamp(None),
        "timestamptz" => timestamp(Some("UTC")),
        "bytea" => DataType::Binary,
        other => decimal(other).unwrap_or_else(|| panic!("no column type is called {other:?}")),
    }
}

fn decimal(name: &str) -> Option<DataType> {
    let (precision, scale) = name.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
    Some(DataType::Decimal128(precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

fn column(texts: Vec<Option<&str>>, to: &DataType) -> ArrayRef {
    match to {
        DataType::Timestamp(_, zone) => {
            let times = texts.iter().map(|t| t.map(|t| time(t).expect("a time")));
            let times: TimestampMicrosecondArray = times.collect();
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        DataType::Binary => Arc::new(BinaryArray::from_iter(texts)),
        _ => {
            let texts: ArrayRef = Arc::new(StringArray::from(texts));
            cast(&texts, to).expect("cells are values of their column's type")
        }
    }
}

/// Reads ticks or a time of day.
fn time(text: &str) -> Option<i64> {
    if let Ok(ticks) = text.parse() {
        return Some(ticks);
    }
    let mut parts = text.splitn(3, ':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next().map_or(Some(0.0), |s| s.parse().ok())?;
    Some((hours * 60 + minutes) * MINUTE + format!("{:.0}", seconds * 1e6).parse::<i64>().ok()?)
}

fn show_time(ticks: i64) -> String {
    let clock = match ticks {
        i64::MIN => return "-infinity".to_owned(),
        i64::MAX => return "infinity".to_owned(),
        _ if ticks.abs() < MINUTE => return ticks.to_string(),
        _ if ticks % MINUTE == 0 => "%H:%M",
        _ => "%H:%M:%S%.f",
    };
    let format = if (0..DAY).contains(&ticks) { clock } else { "%Y-%m-%d %H:%M:%S%.f" };
    match DateTime::from_timestamp_micros(ticks) {
        Some(time) => time.format(format).to_string(),
        None => ticks.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_a_parsed_table_returns_it() {
        let delta = parse(
            " w | ts    | t:text | b:bool | i:int4 | d:numeric(5,2) | f:float8 | s:timestamp
             +1 | 09:00 | x y    | true   | 7      | 1.50           | 0.5      | 3
             -12 | 09:01:30 | NULL   | NULL   | NULL   | NULL           | NULL     | 10:00",
        );
        expect_test::expect![[r#"
              w | ts       | t    | b    | i    | d    | f    | s
             +1 | 09:00    | x y  | true | 7    | 1.50 | 0.5  | 3
            -12 | 09:01:30 | NULL | NULL | NULL | NULL | NULL | 10:00
        "#]]
        .assert_eq(&print(&delta));
    }

    #[test]
    fn table_without_columns_still_has_rows() {
        let delta = parse(" w | ts\n+1 | 5\n-1 | 6");
        assert_eq!((delta.len(), delta.rows().num_columns()), (2, 0));
        assert_eq!(print(&delta), " w | ts\n+1 | 5\n-1 | 6\n");
    }
}
