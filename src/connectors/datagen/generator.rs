//! Generators: the values of one made-up column.
//!
//! # Semantics
//! `fields.<column>.kind` is one of
//! - `sequence`: `start` (1), `start + step`, ...; numbers and text;
//! - `random`: evenly between `min` and `max`, both included;
//! - `choice`: one of `choices`, which are separated by commas;
//! - `timestamp`: `start + n * step - d`, with `d` evenly between 0 and `disorder`.
//!
//! `null_fraction` of the values are NULL. Without options: timestamps and dates go with event time
//! (from 2024-01-01, one second per row), a number called `id` is a sequence, other numbers are
//! random from 0 to 100, text is one of five words.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, StringArray, UInt32Array};
use arrow::array::{
    Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};

use super::super::format::{Column, Rules, parse_decimal, parse_span, parse_timestamp};
use crate::connectors::options::Options;
use crate::connectors::{Error, Result};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// 2024-01-01 00:00 UTC: event time starts here unless told otherwise.
const START: i64 = 1_704_067_200 * MICROS_PER_SECOND;
const WORDS: &str = "alpha,beta,gamma,delta,epsilon";
const ATTRIBUTES: [&str; 8] =
    ["kind", "min", "max", "choices", "null_fraction", "start", "step", "disorder"];

/// Makes the values of one column.
#[derive(Clone, Debug)]
pub struct Generator {
    data_type: DataType,
    kind: Kind,
    null_fraction: f64,
    /// Distinguishes columns and seeds.
    salt: u64,
}

/// How values come about. Numbers count units of the type: decimals their last digit, times
/// microseconds, dates days.
#[derive(Clone, Debug)]
enum Kind {
    Sequence { start: i128, step: i128 },
    Random { min: i128, max: i128 },
    SequenceFloat { start: f64, step: f64 },
    RandomFloat { min: f64, max: f64 },
    Choice(ArrayRef),
    Timestamp { start: i64, step: i64, disorder: i64 },
    Bytes,
    Bits,
}

/// Makes the generators of all columns.
pub fn generators(schema: &SchemaRef, options: &Options<'_>) -> Result<Vec<Generator>> {
    check_names(schema, options)?;
    let seed = options.number("seed")?.unwrap_or(0);
    let generator = |(place, field): (usize, &Arc<Field>)| {
        let salt = mix(mix(seed) ^ super::super::format::count(place + 1));
        ColumnOptions { options, field }.generator(salt)
    };
    schema.fields().iter().enumerate().map(generator).collect()
}

/// Checks that every `fields.` option names a column and an attribute.
fn check_names(schema: &SchemaRef, options: &Options<'_>) -> Result<()> {
    for key in options.keys().filter_map(|key| key.strip_prefix("fields.")) {
        let (column, attribute) = key.rsplit_once('.').unwrap_or((key, ""));
        let exists = schema.fields().iter().any(|f| f.name().eq_ignore_ascii_case(column));
        if !exists {
            let hint = Some("Options of a column are fields.<column>.<attribute>.".to_owned());
            let message = format!("option \"fields.{key}\": there is no column \"{column}\"");
            return Err(Error::Option { message, hint });
        }
        if !ATTRIBUTES.contains(&attribute) {
            let message = format!("unknown option \"fields.{key}\"");
            let hint = Some(format!("Known attributes are {}.", ATTRIBUTES.join(", ")));
            return Err(Error::Option { message, hint });
        }
    }
    Ok(())
}

/// The options of one column.
struct ColumnOptions<'a> {
    options: &'a Options<'a>,
    field: &'a Field,
}

impl ColumnOptions<'_> {
    fn key(&self, attribute: &str) -> String {
        format!("fields.{}.{attribute}", self.field.name().to_lowercase())
    }

    fn get(&self, attribute: &str) -> Option<&str> {
        self.options.get(&self.key(attribute))
    }

    fn wrong(&self, attribute: &str, hint: &str) -> Error {
        self.options.wrong(&self.key(attribute), hint)
    }

    fn generator(&self, salt: u64) -> Result<Generator> {
        let data_type = self.field.data_type().clone();
        let fraction = |text: &str| text.parse().ok().filter(|f| (0.0..=1.0).contains(f));
        let null_fraction = self
            .options
            .parsed(&self.key("null_fraction"), fraction, "It is a number from 0 to 1.")?
            .unwrap_or(0.0);
        if null_fraction > 0.0 && !self.field.is_nullable() {
            return Err(self.wrong("null_fraction", "The column is NOT NULL."));
        }
        let kind = match self.get("kind").unwrap_or_else(|| self.default_kind()) {
            "sequence" => self.sequence()?,
            "random" => self.random()?,
            "choice" => self.choice()?,
            "timestamp" => self.timestamp()?,
            _ => return Err(self.wrong("kind", "It is sequence, random, choice or timestamp.")),
        };
        Ok(Generator { data_type, kind, null_fraction, salt })
    }

    fn default_kind(&self) -> &'static str {
        match self.field.data_type() {
            _ if self.get("choices").is_some() => "choice",
            DataType::Timestamp(..) | DataType::Date32 => "timestamp",
            DataType::Utf8 | DataType::List(_) | DataType::Interval(_) => "choice",
            _ if self.get("min").is_some() || self.get("max").is_some() => "random",
            _ if self.field.name().eq_ignore_ascii_case("id") => "sequence",
            _ => "random",
        }
    }

    fn sequence(&self) -> Result<Kind> {
        if is_float(self.field.data_type()) {
            let start = self.float("start", 1.0)?;
            return Ok(Kind::SequenceFloat { start, step: self.float("step", 1.0)? });
        }
        let one = 10_i128.pow(self.digits());
        let start = self.units("start", one)?;
        Ok(Kind::Sequence { start, step: self.units("step", one)? })
    }

    fn random(&self) -> Result<Kind> {
        let data_type = self.field.data_type();
        let above = |ordered: bool| {
            let message = || format!("option \"{}\" is above the maximum", self.key("min"));
            if ordered { Ok(()) } else { Err(Error::Option { message: message(), hint: None }) }
        };
        if is_float(data_type) {
            let (min, max) = (self.float("min", 0.0)?, self.float("max", 100.0)?);
            above(min <= max)?;
            return Ok(Kind::RandomFloat { min, max });
        }
        let max = match data_type {
            DataType::Boolean => return Ok(Kind::Bits),
            DataType::Binary => return Ok(Kind::Bytes),
            DataType::Time64(_) => i128::from(MICROS_PER_DAY) - 1,
            DataType::Decimal128(precision, _) => {
                (100 * 10_i128.pow(self.digits())).min(10_i128.pow(u32::from(*precision)) - 1)
            }
            _ => 100,
        };
        let (min, max) = (self.units("min", 0)?, self.units("max", max)?);
        above(min <= max)?;
        Ok(Kind::Random { min, max })
    }

    fn choice(&self) -> Result<Kind> {
        let json = self.field.metadata().get("pg_type").is_some_and(|t| t.starts_with("json"));
        let choices = self.get("choices").unwrap_or(match self.field.data_type() {
            DataType::Utf8 if !json => WORDS,
            DataType::Utf8 | DataType::List(_) => "{}",
            DataType::Interval(_) => "1 second,1 minute,1 hour",
            _ => return Err(self.wrong("choices", "List the values, separated by commas.")),
        });
        let mut values = Column::new(self.field.data_type(), Rules::File)
            .ok_or_else(|| super::super::format::unreadable(&Arc::new(self.field.clone())))?;
        for choice in choices.split(',') {
            values.append(choice.trim()).map_err(|e| self.wrong("choices", &e.to_string()))?;
        }
        Ok(Kind::Choice(values.finish()))
    }

    fn timestamp(&self) -> Result<Kind> {
        if !matches!(
            self.field.data_type(),
            DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Date32
        ) {
            return Err(self.wrong("kind", "Only timestamps and dates go with event time."));
        }
        let start = |text: &str| parse_timestamp(text, true, "timestamp").ok();
        let start = self.event_time("start", start, START, "It is a timestamp.")?;
        let span_hint = "It is a span of time, such as '1 s' or '500 ms'.";
        let step = self.event_time("step", parse_span, MICROS_PER_SECOND, span_hint)?;
        let late = |text: &str| parse_span(text).filter(|span| *span >= 0);
        let disorder = self.event_time("disorder", late, 0, span_hint)?;
        Ok(Kind::Timestamp { start, step, disorder })
    }

    /// Returns an attribute of event time: that of the column, or that of the source.
    fn event_time(
        &self,
        attribute: &str,
        parse: impl Fn(&str) -> Option<i64>,
        default: i64,
        hint: &str,
    ) -> Result<i64> {
        let own = self.options.parsed(&self.key(attribute), &parse, hint)?;
        let shared = self.options.parsed(attribute, &parse, hint)?;
        Ok(own.or(shared).unwrap_or(default))
    }

    fn float(&self, attribute: &str, default: f64) -> Result<f64> {
        let parse = |text: &str| text.parse().ok().filter(|f: &f64| f.is_finite());
        let value = self.options.parsed(&self.key(attribute), parse, "It is a number.")?;
        Ok(value.unwrap_or(default))
    }

    /// Returns an attribute that is a value of the column's type, or a span of time.
    fn units(&self, attribute: &str, default: i128) -> Result<i128> {
        let spans = attribute == "step";
        let data_type = self.field.data_type();
        let parse = |text: &str| match data_type {
            DataType::Decimal128(_, scale) => parse_decimal(text, 38, *scale).ok(),
            DataType::Timestamp(..) | DataType::Time64(_) if spans => {
                parse_span(text).map(i128::from)
            }
            DataType::Timestamp(..) => parse_timestamp(text, true, "").ok().map(i128::from),
            DataType::Time64(_) => {
                let at = parse_timestamp(&format!("1970-01-01 {text}"), true, "");
                at.ok().map(i128::from)
            }
            DataType::Date32 if !spans => {
                let at = parse_timestamp(text, true, "").ok()?;
                Some(i128::from(at.div_euclid(MICROS_PER_DAY)))
            }
            _ => parse_decimal(text, 38, 0).ok(),
        };
        let hint = "It is a value of the column's type.";
        Ok(self.options.parsed(&self.key(attribute), parse, hint)?.unwrap_or(default))
    }

    /// Returns the decimal digits behind the point.
    fn digits(&self) -> u32 {
        match self.field.data_type() {
            DataType::Decimal128(_, scale) => u32::try_from(*scale).unwrap_or(0),
            _ => 0,
        }
    }
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

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

fn narrow<T: TryFrom<i128>>(values: Vec<Option<i128>>) -> Option<Vec<Option<T>>> {
    values.into_iter().map(|v| v.map(T::try_from).transpose().ok()).collect()
}

/// SplitMix64's step: a bijection of 64 bits whose output looks random.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
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
