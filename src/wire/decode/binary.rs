//! Values in binary, as Postgres's receive functions read them.

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::ScalarValue;
use pgwire::api::Type;

use super::unsupported;
use crate::error::SqlState;
use crate::wire::encode::{EPOCH_DAYS, EPOCH_MICROS};
use crate::wire::error::{Error, Result};
use crate::wire::pg_type::{element_of, in_memory, is_oid};

/// Sign words of a `numeric`.
const NUMERIC_NEGATIVE: u16 = 0x4000;
const NUMERIC_NAN: u16 = 0xC000;

/// Reads a value of `pg_type`. A numeric is read as its text.
pub(super) fn read(bytes: &[u8], pg_type: &Type) -> Result<ScalarValue> {
    let mut input = Input { rest: bytes, pg_type };
    let value = match *pg_type {
        Type::BOOL => ScalarValue::Boolean(Some(input.take::<1>()? != [0])),
        Type::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(input.take()?))),
        Type::INT4 => ScalarValue::Int32(Some(input.int4()?)),
        Type::INT8 => ScalarValue::Int64(Some(input.int8()?)),
        Type::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(input.take()?))),
        Type::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(input.take()?))),
        Type::NUMERIC => ScalarValue::Utf8(Some(input.numeric()?)),
        Type::BYTEA => ScalarValue::Binary(Some(input.all().to_vec())),
        Type::DATE => ScalarValue::Date32(Some(match input.int4()? {
            infinite @ (i32::MIN | i32::MAX) => infinite,
            days => days.saturating_add(EPOCH_DAYS),
        })),
        Type::TIME => ScalarValue::Time64Microsecond(Some(input.int8()?)),
        Type::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(input.micros()?), None),
        Type::TIMESTAMPTZ => {
            let zone = match in_memory(pg_type) {
                Some(DataType::Timestamp(_, zone)) => zone,
                _ => None,
            };
            ScalarValue::TimestampMicrosecond(Some(input.micros()?), zone)
        }
        Type::INTERVAL => {
            let nanoseconds = input.int8()?.saturating_mul(1_000);
            let (days, months) = (input.int4()?, input.int4()?);
            let interval = IntervalMonthDayNano::new(months, days, nanoseconds);
            ScalarValue::IntervalMonthDayNano(Some(interval))
        }
        Type::UUID => {
            let digits = format!("{:032x}", u128::from_be_bytes(input.take()?));
            let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20]];
            ScalarValue::Utf8(Some(format!("{}-{}", parts.join("-"), &digits[20..])))
        }
        Type::JSONB => {
            input.take::<1>()?;
            ScalarValue::Utf8(Some(input.text()?))
        }
        ref oid if is_oid(oid) => {
            ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(input.take()?))))
        }
        ref array if element_of(array).is_some() => input.array()?,
        _ => ScalarValue::Utf8(Some(input.text()?)),
    };
    if input.rest.is_empty() { Ok(value) } else { Err(malformed(pg_type)) }
}

fn malformed(pg_type: &Type) -> Error {
    let text = format!("incorrect binary data format of a parameter of type {pg_type}");
    Error::new(SqlState::PROTOCOL_VIOLATION, text)
}

/// The bytes of a value that are still to be read.
struct Input<'a> {
    rest: &'a [u8],
    pg_type: &'a Type,
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(|| malformed(self.pg_type))?;
        self.rest = rest;
        Ok(*head)
    }

    fn int4(&mut self) -> Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn int8(&mut self) -> Result<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn uint2(&mut self) -> Result<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn micros(&mut self) -> Result<i64> {
        Ok(match self.int8()? {
            infinite @ (i64::MIN | i64::MAX) => infinite,
            micros => micros.saturating_add(EPOCH_MICROS),
        })
    }

    fn all(&mut self) -> &[u8] {
        std::mem::take(&mut self.rest)
    }

    fn text(&mut self) -> Result<String> {
        let text = std::str::from_utf8(std::mem::take(&mut self.rest)).map(str::to_owned);
        text.map_err(|_| malformed(self.pg_type))
    }

    /// Reads a `numeric` as plain decimal text.
    fn numeric(&mut self) -> Result<String> {
        let (count, weight) = (self.uint2()?, self.uint2()?.cast_signed());
        let (sign, scale) = (self.uint2()?, usize::from(self.uint2()?));
        if sign == NUMERIC_NAN {
            return Ok("NaN".to_owned());
        }
        let digits = (0..count).map(|_| self.uint2()).collect::<Result<Vec<_>>>()?;
        // Digit `i` counts for 10000 to the power of `weight - i`.
        let digit = |power: i32| {
            let index = usize::try_from(i32::from(weight) - power).ok();
            index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
        };
        let whole: String =
            (0..=i32::from(weight)).rev().map(|power| format!("{:04}", digit(power))).collect();
        let groups = i32::try_from(scale.div_ceil(4)).unwrap_or(0);
        let mut fraction: String = (1..=groups).map(|i| format!("{:04}", digit(-i))).collect();
        fraction.truncate(scale);
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if sign == NUMERIC_NEGATIVE { "-" } else { "" };
        let point = if scale == 0 { "" } else { "." };
        Ok(format!("{sign}{whole}{point}{fraction}"))
    }

    /// Reads an array of one dimension.
    fn array(&mut self) -> Result<ScalarValue> {
        let (dimensions, _has_null) = (self.int4()?, self.int4()?);
        let oid = u32::from_be_bytes(self.take()?);
        let element = Type::from_oid(oid).ok_or_else(|| malformed(self.pg_type))?;
        let data_type = match is_oid(&element) {
            true => DataType::Int64,
            false => in_memory(&element).unwrap_or(DataType::Utf8),
        };
        let count = match dimensions {
            0 => 0,
            1 => {
                let count = self.int4()?;
                self.int4()?;
                count
            }
            _ => return Err(unsupported("array of several dimensions")),
        };
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(match usize::try_from(self.int4()?) {
                Err(_) => ScalarValue::try_from(&data_type)
                    .map_err(|error| unsupported(&error.to_string()))?,
                Ok(length) => {
                    let item = self
                        .rest
                        .split_at_checked(length)
                        .ok_or_else(|| malformed(self.pg_type))?;
                    self.rest = item.1;
                    read(item.0, &element)?
                }
            });
        }
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(&items, &data_type)))
    }
}
