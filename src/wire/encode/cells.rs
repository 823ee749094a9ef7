//! A column's values, brought into the few forms that the encoders know.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    Decimal256Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, StringArray, StringViewArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Field, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pgwire::api::Type;

use crate::wire::pg_type::{ColumnType, element_of, natural};

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// A column of a batch, ready to be written row by row.
pub(super) struct Column {
    /// The type it is sent as.
    pub(super) pg_type: Type,
    /// Its values.
    pub(super) cells: Cells,
    /// Which rows are NULL.
    nulls: Option<NullBuffer>,
}

/// Values in memory, in as few forms as keep every type of Arrow apart that Postgres keeps apart.
pub(super) enum Cells {
    Null,
    Bool(BooleanArray),
    Int16(Int16Array),
    Int32(Int32Array),
    Int64(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Decimal(Decimal128Array),
    LongDecimal(Decimal256Array),
    Text(StringViewArray),
    Bytes(BinaryViewArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray),
    Timestamptz(TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    /// Items of row `i` lie between offsets `i` and `i + 1`.
    List(OffsetBuffer<i32>, Box<Column>),
    Record(Vec<Column>),
}

impl Column {
    /// Prepares an array to be sent as `pg_type`.
    pub(super) fn new(array: &ArrayRef, pg_type: &Type) -> Result<Column, ArrowError> {
        let nulls = array.logical_nulls();
        Ok(Column { pg_type: pg_type.clone(), cells: Cells::new(array, pg_type)?, nulls })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        matches!(self.cells, Cells::Null) || self.nulls.as_ref().is_some_and(|n| n.is_null(row))
    }
}

impl Cells {
    fn new(array: &ArrayRef, pg_type: &Type) -> Result<Cells, ArrowError> {
        let to = |target: &DataType| cast(array, target);
        Ok(match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Boolean => Cells::Bool(array.as_boolean().clone()),
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => {
                Cells::Int16(to(&DataType::Int16)?.as_primitive().clone())
            }
            DataType::UInt16 | DataType::Int32 => {
                Cells::Int32(to(&DataType::Int32)?.as_primitive().clone())
            }
            // Counts that DataFusion gives no sign; none is beyond the signed ones.
            DataType::UInt32 | DataType::UInt64 | DataType::Int64 => {
                Cells::Int64(to(&DataType::Int64)?.as_primitive().clone())
            }
            DataType::Float16 | DataType::Float32 => {
                Cells::Float4(to(&DataType::Float32)?.as_primitive().clone())
            }
            DataType::Float64 => Cells::Float8(array.as_primitive().clone()),
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
                Cells::Decimal(to(&DataType::Decimal128(*p, *s))?.as_primitive().clone())
            }
            DataType::Decimal256(..) => Cells::LongDecimal(array.as_primitive().clone()),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Cells::Text(to(&DataType::Utf8View)?.as_string_view().clone())
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Cells::Bytes(to(&DataType::BinaryView)?.as_binary_view().clone())
            }
            DataType::FixedSizeBinary(_) => {
                let binary = to(&DataType::Binary)?;
                Cells::Bytes(cast(&binary, &DataType::BinaryView)?.as_binary_view().clone())
            }
            DataType::Date32 | DataType::Date64 => {
                Cells::Date(to(&DataType::Date32)?.as_primitive().clone())
            }
            DataType::Time32(_) | DataType::Time64(_) => {
                let micros = DataType::Time64(TimeUnit::Microsecond);
                Cells::Time(to(&micros)?.as_primitive().clone())
            }
            DataType::Timestamp(unit, zone) => {
                let micros = in_micros(array, *unit)?;
                if zone.is_some() { Cells::Timestamptz(micros) } else { Cells::Timestamp(micros) }
            }
            DataType::Duration(_) => {
                // A difference of timestamps: days and what is left, as Postgres counts it.
                let micros = to(&DataType::Duration(TimeUnit::Microsecond))?;
                let micros = micros.as_primitive::<DurationMicrosecondType>();
                let interval = micros.unary::<_, IntervalMonthDayNanoType>(|micros| {
                    let days = i32::try_from(micros / DAY_MICROS).unwrap_or(i32::MAX);
                    IntervalMonthDayNano::new(0, days, micros % DAY_MICROS * 1_000)
                });
                Cells::Interval(interval)
            }
            DataType::Interval(_) => {
                let interval = DataType::Interval(IntervalUnit::MonthDayNano);
                Cells::Interval(to(&interval)?.as_primitive().clone())
            }
            DataType::Dictionary(_, value) => return Cells::new(&to(value)?, pg_type),
            _ => return Cells::nested(array, pg_type),
        })
    }

    /// Values made of values, and those that Postgres has no type for.
    fn nested(array: &ArrayRef, pg_type: &Type) -> Result<Cells, ArrowError> {
        Ok(match array.data_type() {
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns().iter().zip(fields);
                let column = |(array, field): (_, &Arc<Field>)| {
                    Column::new(array, &ColumnType::of(field).pg_type)
                };
                Cells::Record(columns.map(column).collect::<Result<_, _>>()?)
            }
            DataType::List(element) => {
                let list = array.as_list::<i32>();
                let item = element_of(pg_type).unwrap_or_else(|| natural(element.data_type()));
                // The items of a list of lists are lists of the same array type.
                let nested = natural(element.data_type());
                let item = if element_of(&nested).is_some() { pg_type.clone() } else { item };
                let items = Column::new(list.values(), &item)?;
                Cells::List(list.offsets().clone(), Box::new(items))
            }
            DataType::LargeList(element)
            | DataType::FixedSizeList(element, _)
            | DataType::ListView(element)
            | DataType::LargeListView(element) => {
                let list = cast(array, &DataType::List(Arc::clone(element)))?;
                return Cells::nested(&list, pg_type);
            }
            _ => Cells::Text(displayed(array)?),
        })
    }
}

/// Brings timestamps of any unit to microseconds. The infinite ones stay infinite, and what does
/// not fit becomes so.
fn in_micros(array: &ArrayRef, unit: TimeUnit) -> Result<TimestampMicrosecondArray, ArrowError> {
    let raw = cast(array, &DataType::Int64)?;
    let raw = raw.as_primitive::<Int64Type>();
    let scale = |value: i64| match (value, unit) {
        (i64::MIN | i64::MAX, _) | (_, TimeUnit::Microsecond) => value,
        (_, TimeUnit::Second) => value.saturating_mul(1_000_000),
        (_, TimeUnit::Millisecond) => value.saturating_mul(1_000),
        (_, TimeUnit::Nanosecond) => value.div_euclid(1_000),
    };
    Ok(raw.unary::<_, TimestampMicrosecondType>(scale))
}

/// Prints values that Postgres has no type for.
fn displayed(array: &ArrayRef) -> Result<StringViewArray, ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
    let texts = (0..array.len()).map(|row| formatter.value(row).to_string());
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    Ok(cast(&texts, &DataType::Utf8View)?.as_string_view().clone())
}
