//! Columns: what the options say about each made-up column.
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

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};

use super::generator::{Generator, Kind, MICROS_PER_DAY};
use crate::connectors::format::{
    Column, Digits, Rules, count, parse_decimal, parse_span, parse_timestamp, unreadable,
};
use crate::connectors::options::Options;
use crate::connectors::splitmix::mix;
use crate::connectors::{Error, Result};

const MICROS_PER_SECOND: i64 = 1_000_000;
/// 2024-01-01 00:00 UTC: event time starts here unless told otherwise.
const START: i64 = 1_704_067_200 * MICROS_PER_SECOND;
const WORDS: &str = "alpha,beta,gamma,delta,epsilon";
const ATTRIBUTES: [&str; 8] =
    ["kind", "min", "max", "choices", "null_fraction", "start", "step", "disorder"];

/// Makes the generators of all columns.
pub fn columns(schema: &SchemaRef, options: &Options<'_>) -> Result<Vec<Generator>> {
    check_names(schema, options)?;
    let seed = options.number("seed")?.unwrap_or(0);
    let generator = |(place, field): (usize, &Arc<Field>)| {
        let salt = mix(mix(seed) ^ count(place + 1));
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
        let mut values = Column::new(self.field, Rules::File(Digits::Date))
            .ok_or_else(|| unreadable(&Arc::new(self.field.clone())))?;
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

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}
