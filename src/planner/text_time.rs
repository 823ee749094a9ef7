//! Text to times, intervals, arrays and bytea, wherever a query casts one to the other.
//!
//! # Semantics
//! Dates and times as [`datetime`] reads them, intervals as [`Interval`] does; bytea as `\x` with
//! hexadecimal digits.
//! Casts between text and json or jsonb are calls of [`crate::functions::json`].
//!
//! # Why
//! Arrow's cast refuses these, and people type them. A rule of the analyzer puts this function
//! where a cast
//! of text to a timestamp stands, so one-shot and continuous queries read times alike.

use std::sync::Arc;

use arrow::array::builder::{ListBuilder, StringBuilder};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, IntervalMonthDayNanoArray, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNano, IntervalUnit, Time64MicrosecondType, TimeUnit,
};
use chrono::Utc;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, exec_datafusion_err};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit,
};

use super::arithmetic::type_of;
use super::coercion::transformed;
use super::common_type::untyped;
use super::error::Error;
use super::interval_order::compares;
use super::zone::Session;
use crate::error::SqlState;
use crate::functions::bytes::from_escapes;
use crate::functions::error::failure;
use crate::functions::{json, zone};
use crate::sql;
use crate::sql::array::elements;
use crate::sql::datetime::{self, DateOrder, DateTime, Parts, Zone};
use crate::sql::interval::{Interval, Malformed};
use crate::sql::types::pg_type_name;

/// Reads a timestamp, in microseconds since the Unix epoch. Without a zone an offset in the text
/// says nothing, as in Postgres; with one, it goes before the zone.
fn read(text: &str, zone: Option<&str>, order: DateOrder) -> Result<i64, datetime::Malformed> {
    if let Some(micros) = read_iso(text.trim(), zone) {
        return Ok(micros);
    }
    let parts = match datetime::parse(text, order)? {
        DateTime::Epoch => return Ok(0),
        DateTime::Infinity => return Ok(i64::MAX),
        DateTime::MinusInfinity => return Ok(i64::MIN),
        DateTime::Parts(parts) => parts,
    };
    let days = i64::from(days(parts.date.ok_or(datetime::Malformed::Syntax)?));
    let local = days * DAY_MICROS + parts.time.unwrap_or(0);
    let in_zone = |name: &str| {
        let instant = zone::zone(name).and_then(|zone| zone::instant_of(zone, local));
        instant.map_err(|_| datetime::Malformed::Syntax)
    };
    match (parts.zone, zone) {
        (Some(Zone::Named(name)), Some(_)) => in_zone(&name),
        // It must be one all the same.
        (Some(Zone::Named(name)), None) => in_zone(&name).map(|_| local),
        (Some(Zone::Offset(seconds)), Some(_)) => Ok(local - i64::from(seconds) * 1_000_000),
        (None, Some(session)) => in_zone(session),
        (_, None) => Ok(local),
    }
}

const DAY_MICROS: i64 = 86_400_000_000;

/// Days since 1970.
fn days(date: chrono::NaiveDate) -> i32 {
    date.to_epoch_days()
}

/// Reads a timestamp in the form of ISO 8601, the usual one.
fn read_iso(text: &str, zone: Option<&str>) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits != 4 || text.as_bytes().get(digits) != Some(&b'-') {
        return None;
    }
    let utc = |text: &str| {
        let time = string_to_datetime(&Utc, text).ok()?;
        let rest = time.timestamp_subsec_nanos() % 1_000;
        Some(time.timestamp_micros() + i64::from(rest >= 500))
    };
    let parsed = |text: &str| {
        let time = without_offset(text);
        let offset = text[time.len()..].trim_start();
        let numeric = offset.eq_ignore_ascii_case("z") || offset.starts_with(['+', '-']);
        match zone {
            _ if !offset.is_empty() && !numeric => None,
            None | Some("UTC") if offset.is_empty() => utc(time),
            Some(name) if offset.is_empty() => {
                zone::instant_of(zone::zone(name).ok()?, utc(time)?).ok()
            }
            None => utc(time),
            Some(_) => utc(text),
        }
    };
    parsed(text).or_else(|| parsed(&with_seconds(text)?))
}

/// Reads a date.
fn read_date(text: &str, order: DateOrder) -> Result<i32, datetime::Malformed> {
    if let Some(days) = Date32Type::parse(text.trim()) {
        return Ok(days);
    }
    match datetime::parse(text, order)? {
        DateTime::Epoch => Ok(0),
        DateTime::Infinity => Ok(i32::MAX),
        DateTime::MinusInfinity => Ok(i32::MIN),
        DateTime::Parts(Parts { date: Some(date), .. }) => Ok(days(date)),
        _ => Err(datetime::Malformed::Syntax),
    }
}

/// Reads a time of day, in microseconds.
fn read_time(text: &str) -> Result<i64, datetime::Malformed> {
    if let Some(micros) = Time64MicrosecondType::parse(text.trim()) {
        return Ok(micros);
    }
    match datetime::parse(text, DateOrder::default())? {
        DateTime::Parts(Parts { time: Some(time), .. }) => Ok(time),
        _ => Err(datetime::Malformed::Syntax),
    }
}

/// The error for a text that is no value of a type.
fn wrong(malformed: datetime::Malformed, text: &str, to: &DataType) -> DataFusionError {
    match malformed {
        datetime::Malformed::Syntax => {
            let name = pg_type_name(to);
            let name = name.strip_suffix(" without time zone").unwrap_or(&name);
            let what = format!("invalid input syntax for type {name}: \"{text}\"");
            failure(SqlState::INVALID_DATETIME_FORMAT, what)
        }
        datetime::Malformed::OutOfRange => {
            let what = format!("date/time field value out of range: \"{text}\"");
            failure(SqlState::DATETIME_FIELD_OVERFLOW, what)
        }
    }
}

/// Cuts an offset or zone after a time.
fn without_offset(text: &str) -> &str {
    let Some(time) = text.find(':') else { return text };
    let offset = text[time..].find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.'));
    offset.map_or(text, |offset| text[..time + offset].trim_end())
}

/// Reads bytea: `\x` and hexadecimal digits, or bytes of which those behind `\` are octal.
fn read_bytes(text: &str) -> DfResult<Vec<u8>> {
    let Some(digits) = text.strip_prefix("\\x") else { return from_escapes(text) };
    let wrong = || exec_datafusion_err!("invalid input syntax for type bytea: \"{text}\"");
    if digits.len() % 2 != 0 || !digits.is_ascii() {
        return Err(wrong());
    }
    let byte = |i: usize| u8::from_str_radix(&digits[i..i + 2], 16).map_err(|_| wrong());
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Reads an interval.
fn read_interval(text: &str) -> DfResult<IntervalMonthDayNano> {
    let interval = Interval::parse(text).map_err(|malformed| {
        let (text, location) = (text.to_owned(), None);
        Error::Sql(sql::Error::Interval { malformed, text, location })
    })?;
    let nanos = interval.micros.checked_mul(1_000).ok_or_else(|| {
        let (malformed, text) = (Malformed::Overflow, text.to_owned());
        Error::Sql(sql::Error::Interval { malformed, text, location: None })
    })?;
    Ok(IntervalMonthDayNano::new(interval.months, interval.days, nanos))
}

/// Adds `:00` after a time of hours and minutes.
fn with_seconds(text: &str) -> Option<String> {
    let colon = text.find(':')?;
    let end = colon + 3;
    let minutes = text.get(colon + 1..end)?;
    let alone = !text[end..].starts_with(':') && minutes.bytes().all(|b| b.is_ascii_digit());
    alone.then(|| format!("{}:00{}", &text[..end], &text[end..]))
}

/// The function that stands for the cast.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextTime {
    to: DataType,
    /// In which zone times are that do not say.
    zone: Option<Arc<str>>,
    /// In which order day, month and year come where it is open.
    order: DateOrder,
    signature: Signature,
}

impl ScalarUDFImpl for TextTime {
    fn name(&self) -> &str {
        "text_input"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let texts = cast(&arrays[0], &DataType::Utf8)?;
        let values = self.values(texts.as_string::<i32>())?;
        if scalar && values.len() == 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(values))
    }
}

impl TextTime {
    /// Times without a zone are in that of the session, or else in that of the type.
    fn new(to: &DataType, session: &Session) -> Self {
        let zone = match to {
            DataType::Timestamp(_, Some(zone)) => {
                Some(session.zone.as_ref().unwrap_or(zone).clone())
            }
            _ => None,
        };
        let order = session.style.order;
        Self { to: to.clone(), zone, order, signature: Signature::any(1, Volatility::Immutable) }
    }

    fn values(&self, texts: &StringArray) -> DfResult<ArrayRef> {
        fn each<T>(
            texts: &StringArray,
            read: impl Fn(&str) -> DfResult<T>,
        ) -> impl Iterator<Item = DfResult<Option<T>>> {
            texts.iter().map(move |text| text.map(&read).transpose())
        }
        let zone = match &self.to {
            DataType::Binary => {
                let bytes = each(texts, read_bytes).collect::<DfResult<Vec<_>>>()?;
                return Ok(Arc::new(bytes.into_iter().collect::<BinaryArray>()));
            }
            DataType::List(_) => return self.arrays(texts),
            DataType::Interval(_) => {
                let spans = each(texts, read_interval);
                return Ok(Arc::new(spans.collect::<DfResult<IntervalMonthDayNanoArray>>()?));
            }
            DataType::Date32 => {
                let dates = each(texts, |text| {
                    read_date(text, self.order).map_err(|m| wrong(m, text, &self.to))
                });
                return Ok(Arc::new(dates.collect::<DfResult<Date32Array>>()?));
            }
            DataType::Time64(_) => {
                let times =
                    each(texts, |text| read_time(text).map_err(|m| wrong(m, text, &self.to)));
                return Ok(Arc::new(times.collect::<DfResult<Time64MicrosecondArray>>()?));
            }
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let times = each(texts, |text| {
            read(text, self.zone.as_deref(), self.order).map_err(|m| wrong(m, text, &self.to))
        });
        let times = times.collect::<DfResult<TimestampMicrosecondArray>>()?;
        Ok(cast(&(Arc::new(times.with_timezone_opt(zone)) as ArrayRef), &self.to)?)
    }
}

impl TextTime {
    fn arrays(&self, texts: &StringArray) -> DfResult<ArrayRef> {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for text in texts {
            if let Some(text) = text {
                let elements = elements(text)
                    .ok_or_else(|| exec_datafusion_err!("malformed array literal: \"{text}\""))?;
                elements.into_iter().for_each(|element| lists.values().append_option(element));
            }
            lists.append(text.is_some());
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        Ok(cast_with_options(&lists.finish(), &self.to, &options)?)
    }
}

fn is_read_here(to: &DataType) -> bool {
    matches!(
        to,
        DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Binary
            | DataType::Interval(IntervalUnit::MonthDayNano)
            | DataType::List(_)
    )
}

/// Reads texts as values of one of these types; nothing for other types.
pub fn values(texts: &StringArray, to: &DataType) -> DfResult<Option<ArrayRef>> {
    is_read_here(to).then(|| TextTime::new(to, &Session::default()).values(texts)).transpose()
}

/// Replaces a cast of text to one of these types.
pub(super) fn rewrite(
    expr: Expr,
    schema: &DFSchema,
    session: &Session,
) -> DfResult<Transformed<Expr>> {
    if let Some(json) = json_cast(&expr, schema) {
        return Ok(Transformed::yes(json));
    }
    let (inner, to) = match &expr {
        Expr::Cast(cast) => (&cast.expr, cast.field.data_type()),
        _ => return Ok(Transformed::no(expr)),
    };
    let from = type_of(inner, schema);
    let text = matches!(from, Ok(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View));
    if !is_read_here(to) || !text {
        return Ok(Transformed::no(expr));
    }
    Ok(Transformed::yes(input(inner.as_ref().clone(), to, session)))
}

/// Reads the texts among operands that are compared with a timestamp; returns whether there are
/// any.
pub(super) fn read_beside(parts: &mut [&mut Expr], schema: &DFSchema, session: &Session) -> bool {
    let text = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _));
    if !parts.iter().any(|part| text(part)) {
        return false;
    }
    let types = parts.iter().filter_map(|part| part.get_type(schema).ok());
    let Some(to) = types.into_iter().find(|t| matches!(t, DataType::Timestamp(..))) else {
        return false;
    };
    let zone = match &to {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let to = DataType::Timestamp(TimeUnit::Microsecond, zone);
    for part in parts.iter_mut().filter(|part| text(part)) {
        **part = input(std::mem::take(*part), &to, session);
    }
    true
}

/// Reads the texts in quotes that stand for instants as the zone's clocks show them: those that are
/// cast, and those that are compared with instants.
pub(super) fn read_instants(plan: LogicalPlan, session: &Session) -> DfResult<LogicalPlan> {
    let instant = |to: &DataType| matches!(to, DataType::Timestamp(_, Some(_)));
    let read = plan.transform_up_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        for input in node.inputs() {
            schema.merge(input.schema());
        }
        let beside = |parts: &mut [&mut Expr]| {
            let mut types = parts.iter().filter_map(|part| part.get_type(&schema).ok());
            types.any(|to| instant(&to)) && read_beside(parts, &schema, session)
        };
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let read = expr.transform_up(|expr| match expr {
                Expr::Cast(of) if instant(of.field.data_type()) && untyped(&of.expr).is_some() => {
                    Ok(Transformed::yes(input(*of.expr, of.field.data_type(), session)))
                }
                Expr::BinaryExpr(mut binary) => {
                    let changed =
                        compares(binary.op) && beside(&mut [&mut *binary.left, &mut *binary.right]);
                    Ok(transformed(changed, Expr::BinaryExpr(binary)))
                }
                Expr::Between(mut of) => {
                    let changed = beside(&mut [&mut *of.expr, &mut *of.low, &mut *of.high]);
                    Ok(transformed(changed, Expr::Between(of)))
                }
                Expr::InList(mut of) => {
                    let mut parts = vec![&mut *of.expr];
                    parts.extend(&mut of.list);
                    let changed = beside(&mut parts);
                    Ok(transformed(changed, Expr::InList(of)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(read.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(read.data)
}

/// The value of a type that a text is.
fn input(text: Expr, to: &DataType, session: &Session) -> Expr {
    ScalarUDF::from(TextTime::new(to, session)).call(vec![text])
}

/// A cast of text to json or jsonb, or of these to text, as a call.
fn json_cast(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::Cast(cast) = expr else { return None };
    let (_, from) = cast.expr.to_field(schema).ok()?;
    let text = |of: &DataType| {
        matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
    };
    let to = cast.field.metadata().get("pg_type").map(String::as_str);
    let name = match to {
        Some("json") if text(from.data_type()) => "json_in",
        Some("jsonb") if text(from.data_type()) => "jsonb_in",
        _ if json::is_json(&from) && text(cast.field.data_type()) => "json_out",
        _ if to.is_none() && json::is_json(&from) => return scalar_of_json(cast),
        _ => return None,
    };
    Some(json::call(name, vec![cast.expr.as_ref().clone()]))
}

/// A cast of json to a number or a truth value, which takes numbers and truth values only, and
/// null; an integer is the rounded number.
fn scalar_of_json(cast: &Cast) -> Option<Expr> {
    let to = cast.field.data_type();
    let name = match to {
        DataType::Boolean => "json_truth",
        number if number.is_numeric() => "json_number",
        _ => return None,
    };
    let wanted = lit(pg_type_name(to));
    let value = json::call(name, vec![cast.expr.as_ref().clone(), wanted]);
    let as_type = |value, to| Expr::Cast(Cast::new(Box::new(value), to));
    let value = match to {
        whole if whole.is_integer() => {
            let exact = as_type(value, DataType::Decimal128(38, 10));
            as_type(exact, DataType::Decimal128(38, 0))
        }
        _ => value,
    };
    Some(Expr::Cast(Cast { expr: Box::new(value), field: Arc::clone(&cast.field) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_be_left_out() {
        let read = |text| read(text, Some("UTC"), DateOrder::default()).ok();
        assert_eq!(read("1970-01-01 00:01"), Some(60_000_000));
        assert_eq!(read("Jan 2 1970 00:01:00"), Some(86_460_000_000));
        assert_eq!(read("1970-01-01 01:00+01"), Some(0));
        assert_eq!(read("1970-01-01T00:00:01.5Z"), Some(1_500_000));
        assert_eq!(read("1970-01-01"), Some(0));
        assert_eq!(read("infinity"), Some(i64::MAX));
        assert_eq!(read("10:00"), None);
        assert_eq!(read("yesterday"), None);
    }

    #[test]
    fn times_without_a_zone_are_those_of_the_session() {
        const HOUR: i64 = 3_600_000_000;
        let read = |text, zone| read(text, zone, DateOrder::default()).ok();
        assert_eq!(read("1970-01-01 01:00", Some("Europe/Vienna")), Some(0));
        assert_eq!(read("1970-01-01 01:00+02", Some("Europe/Vienna")), Some(-HOUR));
        assert_eq!(read("1970-01-01 01:00+02", None), Some(HOUR));
        assert_eq!(read("1970-01-01T01:00:00.5Z", None), Some(HOUR + 500_000));
        // Clocks go from 2 to 3.
        let skipped =
            [read("2024-03-31 02:30", Some("Europe/Vienna")), read("2024-03-31 01:30", None)];
        assert_eq!(skipped[0], skipped[1]);
    }
}
