//! Rows from text: one typed array builder per declared column, filled field by field.
//!
//! # Invariants
//! 1. All columns have the same number of entries after each row. A row whose third field is bad is
//!    filled up with NULLs and left out at [`RowsBuilder::finish`]. So builders need no rollback.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, BooleanBuilder, Date32Builder, Decimal128Builder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, ListArray, RecordBatch, RecordBatchOptions, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, SchemaRef, TimeUnit};

use super::datetime::{parse_date, parse_interval, parse_time, parse_timestamp};
use super::limit::TextLimit;
use super::value::{
    Rules, ValueError, parse_array, parse_bool, parse_bytea, parse_decimal, parse_f32, parse_f64,
    parse_int,
};
use crate::connectors::{Error, Result};

/// A field that is not a value of its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// The column, by its place in the schema.
    pub column: usize,
    /// What is wrong.
    pub error: ValueError,
}

/// Builds a batch of the declared schema from text.
#[derive(Debug)]
pub struct RowsBuilder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Whether each row is good.
    good: Vec<bool>,
    bad: usize,
}

impl RowsBuilder {
    /// Makes a builder; refuses types that have no text form here.
    pub fn new(schema: SchemaRef, rules: Rules) -> Result<Self> {
        let column = |field: &FieldRef| Column::new(field, rules).ok_or_else(|| unreadable(field));
        let columns = schema.fields().iter().map(column).collect::<Result<_>>()?;
        Ok(Self { schema, columns, good: Vec::new(), bad: 0 })
    }

    /// Appends a row, given the text of each column (`None` is NULL). A bad row is not kept.
    pub fn append<'a>(
        &mut self,
        text: impl Fn(usize) -> Option<&'a str>,
    ) -> std::result::Result<(), BadField> {
        let mut outcome = Ok(());
        for (index, column) in self.columns.iter_mut().enumerate() {
            match (&outcome, text(index)) {
                (Ok(()), Some(text)) => {
                    if let Err(error) = column.append(text) {
                        column.append_null();
                        outcome = Err(BadField { column: index, error });
                    }
                }
                _ => column.append_null(),
            }
        }
        self.bad += usize::from(outcome.is_err());
        self.good.push(outcome.is_ok());
        outcome
    }

    /// Returns how many good rows there are.
    pub fn len(&self) -> usize {
        self.good.len() - self.bad
    }

    /// Returns the good rows, in order, and starts anew.
    pub fn finish(&mut self) -> RecordBatch {
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        let nullable = Arc::new(all_nullable(&self.schema));
        let rows = self.good.len();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(nullable, columns, &options)
            .expect("each column has one entry per row, of its declared type");
        let good = std::mem::take(&mut self.good);
        if std::mem::take(&mut self.bad) == 0 {
            return batch;
        }
        filter_record_batch(&batch, &BooleanArray::from(good))
            .expect("the mask has one bit per row")
    }
}

/// Returns the schema with every column nullable: NOT NULL is checked when rows are complete.
pub fn all_nullable(schema: &SchemaRef) -> arrow::datatypes::Schema {
    let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    arrow::datatypes::Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        schema.metadata().clone(),
    )
}

/// Returns the error for a column whose type no format can read from text.
pub fn unreadable(field: &FieldRef) -> Error {
    Error::Option {
        message: format!(
            "column \"{}\" of type {} cannot be read from text",
            field.name(),
            field.data_type()
        ),
        hint: None,
    }
}

/// Returns Postgres's name of a type.
pub fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal128(..) => "numeric",
        DataType::Binary => "bytea",
        DataType::Date32 => "date",
        DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Interval(_) => "interval",
        DataType::List(_) => "array",
        _ => "text",
    }
}

/// One array under construction.
#[derive(Debug)]
pub enum Column {
    /// `boolean`.
    Boolean(BooleanBuilder),
    /// `smallint`.
    Int16(Int16Builder, Rules),
    /// `integer`.
    Int32(Int32Builder, Rules),
    /// `bigint`.
    Int64(Int64Builder, Rules),
    /// `real`.
    Float32(Float32Builder),
    /// `double precision`.
    Float64(Float64Builder),
    /// `numeric(precision, scale)`.
    Decimal(Decimal128Builder, u8, i8),
    /// `text`, and how long it may be.
    Text(StringBuilder, Option<TextLimit>),
    /// `bytea`.
    Binary(BinaryBuilder),
    /// `date`.
    Date(Date32Builder),
    /// `time`.
    Time(Time64MicrosecondBuilder),
    /// `timestamp`, whose rules they are, and the name of its type.
    Timestamp(TimestampMicrosecondBuilder, Rules, &'static str),
    /// `interval`.
    Interval(IntervalMonthDayNanoBuilder),
    /// An array of one dimension.
    List(ListColumn),
}

/// An array column: its elements, and where each list ends.
#[derive(Debug)]
pub struct ListColumn {
    field: FieldRef,
    items: Box<Column>,
    items_len: i32,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Column {
    /// Returns an empty column, or `None` for a type that has no text form here.
    pub fn new(field: &Field, rules: Rules) -> Option<Self> {
        let data_type = field.data_type();
        Some(match data_type {
            DataType::Boolean => Column::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Column::Int16(Int16Builder::new(), rules),
            DataType::Int32 => Column::Int32(Int32Builder::new(), rules),
            DataType::Int64 => Column::Int64(Int64Builder::new(), rules),
            DataType::Float32 => Column::Float32(Float32Builder::new()),
            DataType::Float64 => Column::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::new().with_data_type(data_type.clone());
                Column::Decimal(builder, *precision, *scale)
            }
            DataType::Utf8 => Column::Text(StringBuilder::new(), TextLimit::of(field)),
            DataType::Binary => Column::Binary(BinaryBuilder::new()),
            DataType::Date32 => Column::Date(Date32Builder::new()),
            DataType::Time64(TimeUnit::Microsecond) => {
                Column::Time(Time64MicrosecondBuilder::new())
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let builder = TimestampMicrosecondBuilder::new().with_data_type(data_type.clone());
                Column::Timestamp(builder, rules, type_name(data_type))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Column::Interval(IntervalMonthDayNanoBuilder::new())
            }
            DataType::List(item) => Column::List(ListColumn {
                field: Arc::clone(item),
                items: Box::new(Column::new(&element(field, item), rules)?),
                items_len: 0,
                offsets: vec![0],
                valid: Vec::new(),
            }),
            _ => return None,
        })
    }

    /// Appends the value of a text. After an error nothing but unused list elements was appended.
    pub fn append(&mut self, text: &str) -> std::result::Result<(), ValueError> {
        match self {
            Column::Boolean(b) => b.append_value(parse_bool(text)?),
            Column::Int16(b, rules) => {
                let range = (i64::from(i16::MIN), i64::from(i16::MAX));
                let value = parse_int(text, range, "smallint", *rules)?;
                b.append_value(i16::try_from(value).expect("the range was checked"));
            }
            Column::Int32(b, rules) => {
                let range = (i64::from(i32::MIN), i64::from(i32::MAX));
                let value = parse_int(text, range, "integer", *rules)?;
                b.append_value(i32::try_from(value).expect("the range was checked"));
            }
            Column::Int64(b, rules) => {
                b.append_value(parse_int(text, (i64::MIN, i64::MAX), "bigint", *rules)?);
            }
            Column::Float32(b) => b.append_value(parse_f32(text)?),
            Column::Float64(b) => b.append_value(parse_f64(text)?),
            Column::Decimal(b, precision, scale) => {
                b.append_value(parse_decimal(text, *precision, *scale)?);
            }
            Column::Text(b, limit) => {
                let text = limit.as_ref().map_or(text, |limit| limit.cut(text));
                limit.as_ref().map_or(Ok(()), |limit| limit.check(text))?;
                b.append_value(text);
            }
            Column::Binary(b) => b.append_value(parse_bytea(text)?),
            Column::Date(b) => b.append_value(parse_date(text)?),
            Column::Time(b) => b.append_value(parse_time(text)?),
            Column::Timestamp(b, rules, name) => {
                b.append_value(timestamp(text, *rules, name)?);
            }
            Column::Interval(b) => b.append_value(parse_interval(text)?),
            Column::List(list) => list.append(text)?,
        }
        Ok(())
    }

    /// Appends NULL.
    pub fn append_null(&mut self) {
        match self {
            Column::Boolean(b) => b.append_null(),
            Column::Int16(b, _) => b.append_null(),
            Column::Int32(b, _) => b.append_null(),
            Column::Int64(b, _) => b.append_null(),
            Column::Float32(b) => b.append_null(),
            Column::Float64(b) => b.append_null(),
            Column::Decimal(b, ..) => b.append_null(),
            Column::Text(b, _) => b.append_null(),
            Column::Binary(b) => b.append_null(),
            Column::Date(b) => b.append_null(),
            Column::Time(b) => b.append_null(),
            Column::Timestamp(b, ..) => b.append_null(),
            Column::Interval(b) => b.append_null(),
            Column::List(list) => list.end(false),
        }
    }

    /// Returns the array and starts anew.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Boolean(b) => Arc::new(b.finish()),
            Column::Int16(b, _) => Arc::new(b.finish()),
            Column::Int32(b, _) => Arc::new(b.finish()),
            Column::Int64(b, _) => Arc::new(b.finish()),
            Column::Float32(b) => Arc::new(b.finish()),
            Column::Float64(b) => Arc::new(b.finish()),
            Column::Decimal(b, ..) => Arc::new(b.finish()),
            Column::Text(b, _) => Arc::new(b.finish()),
            Column::Binary(b) => Arc::new(b.finish()),
            Column::Date(b) => Arc::new(b.finish()),
            Column::Time(b) => Arc::new(b.finish()),
            Column::Timestamp(b, ..) => Arc::new(b.finish()),
            Column::Interval(b) => Arc::new(b.finish()),
            Column::List(list) => list.finish(),
        }
    }
}

impl ListColumn {
    fn append(&mut self, text: &str) -> std::result::Result<(), ValueError> {
        for element in parse_array(text)? {
            match element {
                Some(element) => self.items.append(&element)?,
                None => self.items.append_null(),
            }
            self.items_len += 1;
        }
        self.end(true);
        Ok(())
    }

    /// Ends a list. Elements of a list that went wrong stay below a NULL entry.
    fn end(&mut self, valid: bool) {
        self.offsets.push(self.items_len);
        self.valid.push(valid);
    }

    fn finish(&mut self) -> ArrayRef {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let valid = NullBuffer::from(std::mem::take(&mut self.valid));
        self.items_len = 0;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let (field, items) = (Arc::clone(&self.field), self.items.finish());
        Arc::new(
            ListArray::try_new(field, offsets, items, Some(valid))
                .expect("the last offset is the number of elements"),
        )
    }
}

/// Returns the field of a list's elements, with the declared type of the list.
pub fn element(list: &Field, item: &Field) -> Field {
    item.clone().with_metadata(list.metadata().clone())
}

/// Reads a timestamp. Only COPY leaves an offset out where the column has no time zone.
fn timestamp(text: &str, rules: Rules, type_name: &str) -> std::result::Result<i64, ValueError> {
    let (shift, number) = match rules {
        Rules::Postgres => (type_name != "timestamp", None),
        Rules::File(digits) => (true, digits.timestamp(text, type_name)),
    };
    number.unwrap_or_else(|| parse_timestamp(text, shift, type_name))
}
