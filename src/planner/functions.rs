//! Functions of Postgres that DataFusion does not have.

use std::sync::Arc;

use arrow::array::{AsArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, Months, Utc};
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::scaled_interval::INTERVAL;
use crate::functions::zone::{clock_time, instant_of, naive, zone};
use crate::sql::types::pg_type_name;

/// Returns the functions.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let kinds = [Kind::Mod, Kind::Age, Kind::Timezone, Kind::TypeOf];
    kinds.into_iter().map(|kind| Arc::new(ScalarUDF::from(Function::new(kind)))).collect()
}

/// `timezone(zone, time)`.
pub(super) fn timezone(zone: Expr, time: Expr) -> Expr {
    ScalarUDF::from(Function::new(Kind::Timezone)).call(vec![zone, time])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// `mod(a, b)`: the remainder, with the sign of the first.
    Mod,
    /// `age(timestamp, timestamp)`: the time between, in years, months and days.
    Age,
    /// `timezone(zone, time)`, also written `time AT TIME ZONE zone`: an instant as the zone's
    /// clocks
    /// show it, or the instant at which they show a time.
    Timezone,
    /// `pg_typeof(any)`: the name of a value's type.
    TypeOf,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    kind: Kind,
    signature: Signature,
}

pub(super) const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

pub(super) fn instants() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl Function {
    fn new(kind: Kind) -> Self {
        let signature = match kind {
            Kind::Mod => Signature::numeric(2, Volatility::Immutable),
            Kind::TypeOf => Signature::any(1, Volatility::Immutable),
            Kind::Age => {
                let types = [MICROS, instants()].map(|of| TypeSignature::Exact(vec![of; 2]));
                Signature::one_of(types.to_vec(), Volatility::Immutable)
            }
            Kind::Timezone => Signature::one_of(
                vec![
                    TypeSignature::Exact(vec![DataType::Utf8, MICROS]),
                    TypeSignature::Exact(vec![DataType::Utf8, instants()]),
                ],
                Volatility::Immutable,
            ),
        };
        Self { kind, signature }
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Mod => "mod",
            Kind::Age => "age",
            Kind::Timezone => "timezone",
            Kind::TypeOf => "pg_typeof",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        Ok(match (self.kind, args) {
            (Kind::Mod, [first, _]) => first.clone(),
            (Kind::TypeOf, _) => DataType::Utf8,
            (Kind::Age, _) => INTERVAL,
            (Kind::Timezone, [_, DataType::Timestamp(_, None)]) => instants(),
            (Kind::Timezone, [_, _]) => MICROS,
            _ => return plan_err!("{} takes two arguments", self.name()),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        if self.kind == Kind::Mod {
            return apply(&args.args[0], &args.args[1], numeric::rem);
        }
        if self.kind == Kind::TypeOf {
            let name = type_name(&args.arg_fields[0]);
            return Ok(ColumnarValue::Scalar(ScalarValue::from(name)));
        }
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let times = arrays[1].as_primitive::<TimestampMicrosecondType>();
        if self.kind == Kind::Age {
            let firsts = arrays[0].as_primitive::<TimestampMicrosecondType>();
            let ages = firsts.iter().zip(times).map(|(first, second)| match (first, second) {
                (Some(first), Some(second)) => age(first, second).map(Some),
                _ => Ok(None),
            });
            let ages = ages.collect::<DfResult<IntervalMonthDayNanoArray>>()?;
            return Ok(ColumnarValue::Array(Arc::new(ages)));
        }
        let instant = times.timezone().is_some();
        let zones = arrays[0].as_string::<i32>();
        let moved = zones.iter().zip(times).map(|(name, micros)| match (name, micros) {
            (Some(name), Some(micros)) if instant => clock_time(zone(name)?, micros).map(Some),
            (Some(name), Some(micros)) => instant_of(zone(name)?, micros).map(Some),
            _ => Ok(None),
        });
        let moved = moved.collect::<DfResult<TimestampMicrosecondArray>>()?;
        let zone = (!instant).then(|| "UTC".into());
        Ok(ColumnarValue::Array(Arc::new(moved.with_timezone_opt::<Arc<str>>(zone))))
    }
}

/// What Postgres calls the type of a column, without length and digits.
fn type_name(field: &Field) -> String {
    let declared = field.metadata().get("pg_type").cloned();
    let name = declared.unwrap_or_else(|| pg_type_name(field.data_type()));
    match (name.split_once('('), name.split_once(')')) {
        (Some((before, _)), Some((_, behind))) => format!("{before}{behind}"),
        _ => name,
    }
}

/// The time from `second` to `first`, counted in whole months, then days, then microseconds.
fn age(first: i64, second: i64) -> DfResult<IntervalMonthDayNano> {
    if first < second {
        let IntervalMonthDayNano { months, days, nanoseconds } = age(second, first)?;
        return Ok(IntervalMonthDayNano::new(-months, -days, -nanoseconds));
    }
    let (late, early) = (naive(first)?.and_utc(), naive(second)?.and_utc());
    let count = |time: DateTime<Utc>| time.year() * 12 + i32::try_from(time.month0()).unwrap_or(0);
    let mut months = count(late) - count(early);
    let after = |months: i32| early.checked_add_months(Months::new(u32::try_from(months).ok()?));
    let mut reached = after(months).filter(|reached| *reached <= late);
    if reached.is_none() {
        months -= 1;
        reached = after(months);
    }
    let rest = late - reached.ok_or_else(|| exec_datafusion_err!("timestamp out of range"))?;
    let days = i32::try_from(rest.num_days()).unwrap_or(i32::MAX);
    let micros = rest.num_microseconds().unwrap_or(0) % 86_400_000_000;
    Ok(IntervalMonthDayNano::new(months, days, micros * 1_000))
}
