//! Parquet files: columns by name, cast to the declared types.
//!
//! # Semantics
//! Columns are matched by name, exactly or else whatever the case; a missing one is an error when
//! the file is opened, like a type without a cast to the declared one, and like whole numbers for a
//! timestamp without `time_unit`. A value that does not fit the declared type, or NULL in a NOT
//! NULL column, makes its row bad. Timestamps become microseconds.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::limit::TextLimit;
use super::rows::type_name;
use super::{Decoded, Mark, RECORDS_MAX, bad_record, count};
use crate::connectors::{Error, Flaw, Result};
use crate::error::SqlState;

/// Reads the rows of one Parquet file.
pub struct ParquetReader {
    schema: SchemaRef,
    name: String,
    reader: ParquetRecordBatchReader,
    /// For each declared column, its place in the batches of the reader.
    places: Vec<usize>,
    /// What whole numbers count that are to be timestamps.
    unit: Option<TimeUnit>,
    /// Rows before the next batch.
    row: u64,
}

impl ParquetReader {
    /// Opens a file at a row. `unit` is what whole numbers count that are to be timestamps.
    pub fn open(
        schema: SchemaRef,
        file: File,
        name: &str,
        row: u64,
        unit: Option<TimeUnit>,
    ) -> Result<Self> {
        let error = |reason: String| Error::Format { what: name.to_owned(), reason };
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| error(e.to_string()))?;
        let found = Arc::clone(builder.schema());
        let mut roots = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let place = found.index_of(field.name()).ok().or_else(|| {
                found.fields().iter().position(|f| f.name().eq_ignore_ascii_case(field.name()))
            });
            let place = place.ok_or_else(|| {
                let names: Vec<&str> = found.fields().iter().map(|f| f.name().as_str()).collect();
                let names = names.join(", ");
                error(format!("there is no column \"{}\"; the file has {names}", field.name()))
            })?;
            let (from, to) = (found.field(place).data_type(), field.data_type());
            let numbers = from.is_numeric() && matches!(to, DataType::Timestamp(..));
            if !can_cast_types(from, to) || numbers && !(from.is_integer() && unit.is_some()) {
                let advice = match from.is_integer() && numbers {
                    true => "; say what it counts with time_unit = 's', 'ms', 'us' or 'ns'",
                    false => "",
                };
                let (column, to) = (field.name(), type_name(to));
                let reason = format!("column \"{column}\" is {from}, which is no {to}{advice}");
                return Err(error(reason));
            }
            roots.push(place);
        }
        // The reader keeps the file's order of columns, whatever order they are asked for in.
        let mut sorted = roots.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let place = |root| sorted.binary_search(root).expect("every root was sorted in");
        let places = roots.iter().map(place).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), sorted.iter().copied());
        let skip = usize::try_from(row).map_err(|e| error(e.to_string()))?;
        let reader = builder
            .with_projection(mask)
            .with_offset(skip)
            .with_batch_size(RECORDS_MAX)
            .build()
            .map_err(|e| error(e.to_string()))?;
        Ok(Self { schema, name: name.to_owned(), reader, places, unit, row })
    }

    /// Reads the next rows; `None` at the end.
    pub fn read_rows(&mut self) -> Result<Option<Decoded>> {
        let error = |reason: String| Error::Format { what: self.name.clone(), reason };
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|e| error(e.to_string()))?;
        let first = self.row;
        self.row += count(batch.num_rows());
        let mut flaws: Vec<Option<Flaw>> = vec![None; batch.num_rows()];
        let mut columns = Vec::with_capacity(self.places.len());
        for (field, place) in self.schema.fields().iter().zip(&self.places) {
            let from = batch.column(*place);
            let to = cast_column(from, field, self.unit, &mut flaws)
                .map_err(|e| error(format!("column \"{}\": {e}", field.name())))?;
            let limit = TextLimit::of(field);
            let to = limit.as_ref().map_or(Arc::clone(&to), |limit| limit.cut_all(&to));
            check_limits(&to, field, limit.as_ref(), &mut flaws);
            columns.push(to);
        }
        self.split(&batch, columns, &flaws, first).map(Some).map_err(error)
    }

    /// Parts good rows from bad ones.
    fn split(
        &self,
        batch: &RecordBatch,
        columns: Vec<ArrayRef>,
        flaws: &[Option<Flaw>],
        first: u64,
    ) -> std::result::Result<Decoded, String> {
        let (mut ends, mut bad) = (Vec::new(), Vec::new());
        for (index, flaw) in flaws.iter().enumerate() {
            let row = first + count(index) + 1;
            match flaw {
                None => ends.push(Mark { offset: row, line: row }),
                Some(flaw) => {
                    let raw = row_text(batch, index)?;
                    let record = bad_record(&self.name, row, flaw.clone(), raw.as_bytes());
                    bad.push((ends.len(), record));
                }
            }
        }
        let nullable = Arc::new(super::rows::all_nullable(&self.schema));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let mut rows = RecordBatch::try_new_with_options(nullable, columns, &options)
            .map_err(|e| e.to_string())?;
        if !bad.is_empty() {
            let good: BooleanArray = flaws.iter().map(|flaw| Some(flaw.is_none())).collect();
            rows = filter_record_batch(&rows, &good).map_err(|e| e.to_string())?;
        }
        let rows = super::declared(&self.schema, &rows).map_err(|flaw| flaw.message)?;
        let end = Mark { offset: self.row, line: self.row };
        Ok(Decoded { rows, ends, bad, end })
    }
}

/// Casts a column; a value that does not fit becomes NULL and its row gets a flaw.
fn cast_column(
    from: &ArrayRef,
    field: &Field,
    unit: Option<TimeUnit>,
    flaws: &mut [Option<Flaw>],
) -> std::result::Result<ArrayRef, String> {
    let to = field.data_type();
    if from.data_type() == to {
        return Ok(Arc::clone(from));
    }
    let options = CastOptions { safe: true, format_options: FormatOptions::default() };
    let cast = |from: &ArrayRef, to: &DataType| {
        cast_with_options(from, to, &options).map_err(|e| e.to_string())
    };
    let cast = match (to, unit.filter(|_| from.data_type().is_integer())) {
        (DataType::Timestamp(_, zone), Some(unit)) => {
            cast(&cast(from, &DataType::Timestamp(unit, zone.clone()))?, to)?
        }
        _ => cast(from, to)?,
    };
    if cast.null_count() > from.logical_null_count() {
        for (index, flaw) in flaws.iter_mut().enumerate() {
            if cast.is_null(index) && !from.is_null(index) {
                flaw.get_or_insert_with(|| Flaw {
                    sqlstate: SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                    message: format!(
                        "column \"{}\": the value does not fit type {}",
                        field.name(),
                        type_name(to)
                    ),
                });
            }
        }
    }
    Ok(cast)
}

/// Gives a flaw to the rows that have NULL where it may not be, or a text that is too long.
fn check_limits(
    column: &ArrayRef,
    field: &Field,
    limit: Option<&TextLimit>,
    flaws: &mut [Option<Flaw>],
) {
    if limit.is_none() && (field.is_nullable() || column.null_count() == 0) {
        return;
    }
    for (index, flaw) in flaws.iter_mut().enumerate().filter(|(_, flaw)| flaw.is_none()) {
        *flaw = if column.is_null(index) {
            (!field.is_nullable()).then(|| Flaw::null(field.name()))
        } else {
            let error = limit.and_then(|limit| limit.first(&column.slice(index, 1)));
            error.map(|error| Flaw::from(error).of_column(field.name()))
        };
    }
}

fn row_text(batch: &RecordBatch, row: usize) -> std::result::Result<String, String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut texts = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let formatter = ArrayFormatter::try_new(column, &options).map_err(|e| e.to_string())?;
        texts.push(format!("{}={}", field.name(), formatter.value(row)));
    }
    Ok(texts.join(", "))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{Int32Type, Schema, TimestampMicrosecondType};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn file() -> File {
        let schema = Arc::new(Schema::new(vec![
            Field::new("b", DataType::Utf8, true),
            Field::new("A", DataType::Int64, true),
        ]));
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(StringArray::from(vec![Some("1"), Some("x"), None, Some("4")])),
                Arc::new(Int64Array::from(vec![Some(10), Some(20), Some(30), Some(1 << 40)])),
            ],
        )
        .unwrap();
        let file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(file.try_clone().unwrap(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    fn declared(columns: &[(&str, DataType)]) -> SchemaRef {
        let field =
            |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
        Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
    }

    #[test]
    fn columns_are_found_by_name_and_cast() {
        let schema = declared(&[("a", DataType::Int32), ("b", DataType::Int32)]);
        let mut reader = ParquetReader::open(schema, file(), "f.parquet", 0, None).unwrap();
        let decoded = reader.read_rows().unwrap().unwrap();
        let a: Vec<_> = decoded.rows.column(0).as_primitive::<Int32Type>().iter().collect();
        assert_eq!(a, [Some(10), Some(30)]);
        assert_eq!(decoded.ends.iter().map(|m| m.offset).collect::<Vec<_>>(), [1, 3]);
        let bad: Vec<_> = decoded.bad.iter().map(|(at, b)| (*at, b.place.as_str())).collect();
        assert_eq!(bad, [(1, "f.parquet:2"), (2, "f.parquet:4")]);
        assert_eq!(decoded.bad[0].1.raw, "b=x, A=20");
        assert!(reader.read_rows().unwrap().is_none());
    }

    #[test]
    fn reading_resumes_at_a_row() {
        let schema = declared(&[("b", DataType::Utf8)]);
        let mut reader = ParquetReader::open(schema, file(), "f.parquet", 2, None).unwrap();
        let decoded = reader.read_rows().unwrap().unwrap();
        assert_eq!(decoded.ends[0].offset, 3);
        assert_eq!(decoded.rows.num_rows(), 2);
    }

    #[test]
    fn a_missing_column_is_an_error_at_open() {
        let schema = declared(&[("c", DataType::Utf8)]);
        let error = ParquetReader::open(schema, file(), "f.parquet", 0, None).err().unwrap();
        assert_eq!(error.to_string(), "f.parquet: there is no column \"c\"; the file has b, A");
    }

    #[test]
    fn whole_numbers_are_times_if_their_unit_is_known() {
        let schema = declared(&[("a", DataType::Timestamp(TimeUnit::Microsecond, None))]);
        let error = ParquetReader::open(Arc::clone(&schema), file(), "f.parquet", 0, None);
        assert_eq!(
            error.err().unwrap().to_string(),
            "f.parquet: column \"a\" is Int64, which is no timestamp; say what it counts with \
             time_unit = 's', 'ms', 'us' or 'ns'"
        );
        let unit = Some(TimeUnit::Millisecond);
        let mut reader = ParquetReader::open(schema, file(), "f.parquet", 0, unit).unwrap();
        let decoded = reader.read_rows().unwrap().unwrap();
        let times = decoded.rows.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.values().to_vec(), [10_000, 20_000, 30_000, 1000 << 40]);
    }

    #[test]
    fn texts_have_their_limit_and_not_null_holds() {
        let metadata = [("pg_type".to_owned(), "character(0)".to_owned())];
        let field = Field::new("b", DataType::Utf8, false).with_metadata(metadata.into());
        let schema = Arc::new(Schema::new(vec![field]));
        let mut reader = ParquetReader::open(schema, file(), "f.parquet", 0, None).unwrap();
        let bad = reader.read_rows().unwrap().unwrap().bad;
        let codes: Vec<_> = bad.iter().map(|(_, record)| record.flaw.sqlstate.0).collect();
        assert_eq!(codes, ["22001", "22001", "23502", "22001"]);
    }
}
