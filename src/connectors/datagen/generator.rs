//! Generators: the values of one made-up column, each a function of its row's number.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::DataType;

use crate::connectors::splitmix::mix;

/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Makes the values of one column.
#[derive(Clone, Debug)]
pub struct Generator {
    /// The column's type.
    pub data_type: DataType,
    /// How values come about.
    pub kind: Kind,
    /// Share of values that are NULL.
    pub null_fraction: f64,
    /// Distinguishes columns and seeds.
    pub salt: u64,
}

/// How values come about. Numbers count units of the type: decimals their last digit, times
/// microseconds, dates days.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `start + n * step`.
    Sequence {
        /// The first value.
        start: i128,
        /// From value to value.
        step: i128,
    },
    /// Evenly between two values.
    Random {
        /// The least value.
        min: i128,
        /// The greatest value.
        max: i128,
    },
    /// A sequence of floating-point numbers.
    SequenceFloat {
        /// The first value.
        start: f64,
        /// From value to value.
        step: f64,
    },
    /// Floating-point numbers evenly between two.
    RandomFloat {
        /// The least value.
        min: f64,
        /// Above every value.
        max: f64,
    },
    /// One of some values.
    Choice(ArrayRef),
    /// `start + n * step - d`.
    Timestamp {
        /// Event time of row 0, in microseconds.
        start: i64,
        /// From row to row, in microseconds.
        step: i64,
        /// Most microseconds that a row is late.
        disorder: i64,
    },
    /// Eight random bytes.
    Bytes,
    /// Random booleans.
    Bits,
}

impl Generator {
    /// Makes the values of some rows; `None` if one leaves its type.
    pub fn make(&self, rows: Range<u64>) -> Option<ArrayRef> {
        match &self.kind {
            Kind::Choice(values) => {
                let count = u32::try_from(values.len()).ok()?;
                let index = |row| self.unless_null(row, || below(self.draw(row, 1), count));
                take(values, &rows.map(index).collect::<UInt32Array>(), None).ok()
            }
            Kind::Bits => {
                let bit = |row| self.unless_null(row, || self.draw(row, 1) & 1 == 1);
                Some(Arc::new(rows.map(bit).collect::<BooleanArray>()))
            }
            Kind::Bytes => {
                let bytes = |row| self.unless_null(row, || self.draw(row, 1).to_be_bytes());
                Some(Arc::new(rows.map(bytes).collect::<BinaryArray>()))
            }
            Kind::SequenceFloat { start, step } => {
                self.floats(rows, |row| start + step * row_number(row))
            }
            Kind::RandomFloat { min, max } => {
                self.floats(rows, |row| min + (max - min) * unit(self.draw(row, 1)))
            }
            Kind::Sequence { start, step } => {
                self.numbers(rows, |row| step.checked_mul(row.into())?.checked_add(*start))
            }
            Kind::Random { min, max } => self.numbers(rows, |row| {
                // A range of 2^64 units and more is covered in coarser steps.
                let span = u128::try_from(max.checked_sub(*min)?).ok()?.checked_add(1)?;
                let draw = u128::from(self.draw(row, 1));
                let offset = match span.checked_mul(draw) {
                    Some(product) => product >> 64,
                    None => (span >> 64) * draw,
                };
                min.checked_add(i128::try_from(offset).ok()?)
            }),
            Kind::Timestamp { start, step, disorder } => self.numbers(rows, |row| {
                let late =
                    (u128::from(self.draw(row, 1)) * (disorder.unsigned_abs() as u128 + 1)) >> 64;
                let at = i128::from(*step) * i128::from(row) + i128::from(*start);
                let at = at - i128::try_from(late).ok()?;
                let date = self.data_type == DataType::Date32;
                Some(if date { at.div_euclid(MICROS_PER_DAY.into()) } else { at })
            }),
        }
    }

    fn floats(&self, rows: Range<u64>, value: impl Fn(u64) -> f64) -> Option<ArrayRef> {
        let values = rows.map(|row| self.unless_null(row, || value(row)));
        Some(match self.data_type {
            #[expect(clippy::cast_possible_truncation, reason = "single precision is asked for")]
            DataType::Float32 => {
                Arc::new(values.map(|v| v.map(|v| v as f32)).collect::<Float32Array>())
            }
            _ => Arc::new(values.collect::<Float64Array>()),
        })
    }

    fn numbers(&self, rows: Range<u64>, value: impl Fn(u64) -> Option<i128>) -> Option<ArrayRef> {
        let values = rows.map(|row| match self.unless_null(row, || value(row)) {
            None => Some(None),
            Some(value) => value.map(Some),
        });
        let values: Vec<Option<i128>> = values.collect::<Option<_>>()?;
        Some(match &self.data_type {
            DataType::Int16 => Arc::new(Int16Array::from(narrow(values)?)),
            DataType::Int32 => Arc::new(Int32Array::from(narrow(values)?)),
            DataType::Int64 => Arc::new(Int64Array::from(narrow(values)?)),
            DataType::Date32 => Arc::new(Date32Array::from(narrow(values)?)),
            DataType::Time64(_) => Arc::new(Time64MicrosecondArray::from(narrow(values)?)),
            DataType::Timestamp(..) => {
                let array = TimestampMicrosecondArray::from(narrow(values)?);
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            DataType::Decimal128(precision, scale) => {
                let array = Decimal128Array::from(values);
                let array = array.with_precision_and_scale(*precision, *scale).ok()?;
                array.validate_decimal_precision(*precision).ok()?;
                Arc::new(array)
            }
            _ => Arc::new(values.iter().map(|v| v.map(|v| v.to_string())).collect::<StringArray>()),
        })
    }

    fn unless_null<T>(&self, row: u64, value: impl FnOnce() -> T) -> Option<T> {
        let null = self.null_fraction > 0.0 && unit(self.draw(row, 0)) < self.null_fraction;
        (!null).then(value)
    }

    /// Returns 64 random bits; `which` distinguishes the draws for one value.
    fn draw(&self, row: u64, which: u64) -> u64 {
        mix(self.salt ^ mix(row.wrapping_mul(2).wrapping_add(which)))
    }
}

fn narrow<T: TryFrom<i128>>(values: Vec<Option<i128>>) -> Option<Vec<Option<T>>> {
    values.into_iter().map(|v| v.map(T::try_from).transpose().ok()).collect()
}

fn below(draw: u64, count: u32) -> u32 {
    u32::try_from((u128::from(draw) * u128::from(count)) >> 64).expect("less than the count")
}

/// Returns a number in `[0, 1)`, from the upper 53 bits.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

#[expect(clippy::cast_precision_loss, reason = "a float sequence has a float's precision")]
fn row_number(row: u64) -> f64 {
    row as f64
}
