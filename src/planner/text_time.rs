//! Text to timestamps and bytea by Postgres's rules, wherever a query casts one to the other.
//!
//! # Semantics
//! What Arrow reads, and besides: times without seconds (`2024-05-01 10:00`), `infinity`,
//! `-infinity` and
//! `epoch`; bytea as `\x` with hexadecimal digits; and arrays as `{1,2}`.
//!
//! Casts between text and json or jsonb are calls of [`crate::functions::json`].
//!
//! # Why
//! Arrow's cast refuses these, and people type them. A rule of the analyzer puts this function
//! where a cast
//! of text to a timestamp stands, so one-shot and continuous queries read times alike.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, TimeUnit};
use chrono::Utc;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, exec_datafusion_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::{array, json};

/// Reads a timestamp, in microseconds since the Unix epoch.
fn read(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.to_ascii_lowercase().as_str() {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        "epoch" => return Some(0),
        _ => {}
    }
    let parsed = |text: &str| Some(string_to_datetime(&Utc, text).ok()?.timestamp_micros());
    parsed(text).or_else(|| parsed(&with_seconds(text)?))
}

/// Reads bytea: `\x` and hexadecimal digits, or the text's own bytes.
fn read_bytes(text: &str) -> DfResult<Vec<u8>> {
    let Some(digits) = text.strip_prefix("\\x") else { return Ok(text.as_bytes().to_vec()) };
    let wrong = || exec_datafusion_err!("invalid input syntax for type bytea: \"{text}\"");
    if digits.len() % 2 != 0 || !digits.is_ascii() {
        return Err(wrong());
    }
    let byte = |i: usize| u8::from_str_radix(&digits[i..i + 2], 16).map_err(|_| wrong());
    (0..digits.len()).step_by(2).map(byte).collect()
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
        let texts = texts.as_string::<i32>();
        if let DataType::List(_) = self.to {
            let lists = array::read(texts, &self.to)?;
            return Ok(match scalar {
                true => ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?),
                false => ColumnarValue::Array(lists),
            });
        }
        if self.to == DataType::Binary {
            let bytes = texts.iter().map(|text| text.map(read_bytes).transpose());
            let bytes = bytes.collect::<DfResult<Vec<_>>>()?;
            return Ok(ColumnarValue::Array(Arc::new(bytes.into_iter().collect::<BinaryArray>())));
        }
        let times = texts.iter().map(|text| {
            let read = |text: &str| {
                read(text).ok_or_else(|| {
                    exec_datafusion_err!("invalid input syntax for type timestamp: \"{text}\"")
                })
            };
            text.map(read).transpose()
        });
        let times = times.collect::<DfResult<TimestampMicrosecondArray>>()?;
        let zone = match &self.to {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let times = Arc::new(times.with_timezone_opt(zone));
        let times = cast(&(times as Arc<dyn Array>), &self.to)?;
        if scalar && times.len() == 1 {
            let value = ScalarValue::try_from_array(&times, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(times))
    }
}

/// Replaces casts of text to timestamps in an expression over `schema`.
pub fn rewrite(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    expr.transform_up(|expr| {
        if let Some(json) = json_cast(&expr, schema) {
            return Ok(Transformed::yes(json));
        }
        let (inner, to) = match &expr {
            Expr::ScalarFunction(function) if function.func.name() == "to_char" => {
                return Ok(postgres_format(expr));
            }
            Expr::Cast(cast) => (&cast.expr, cast.field.data_type()),
            _ => return Ok(Transformed::no(expr)),
        };
        let read_here =
            matches!(
            to,
            DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Binary | DataType::List(_)
        );
        let from = inner.get_type(schema);
        let text = matches!(from, Ok(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View));
        if !read_here || !text {
            return Ok(Transformed::no(expr));
        }
        let signature = Signature::any(1, Volatility::Immutable);
        let function = ScalarUDF::from(TextTime { to: to.clone(), signature });
        Ok(Transformed::yes(function.call(vec![inner.as_ref().clone()])))
    })
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
        _ => return None,
    };
    Some(json::call(name, cast.expr.as_ref().clone()))
}

/// Turns a constant pattern of `to_char` from Postgres's language into chrono's.
fn postgres_format(expr: Expr) -> Transformed<Expr> {
    let Expr::ScalarFunction(mut function) = expr else { return Transformed::no(expr) };
    let Some(Expr::Literal(pattern, _)) = function.args.get_mut(1) else {
        return Transformed::no(Expr::ScalarFunction(function));
    };
    let text = pattern.try_as_str().flatten().map(str::to_owned);
    if let Some(text) = text.filter(|text| !text.contains('%')) {
        *pattern = ScalarValue::Utf8(Some(chrono_format(&text)));
    }
    Transformed::yes(Expr::ScalarFunction(function))
}

/// Patterns of `to_char`, longer ones before their beginnings, and chrono's for them.
const PATTERNS: [(&str, &str); 22] = [
    ("YYYY", "%Y"),
    ("YY", "%y"),
    ("Month", "%B"),
    ("Mon", "%b"),
    ("MM", "%m"),
    ("MI", "%M"),
    ("MS", "%3f"),
    ("DDD", "%j"),
    ("DD", "%d"),
    ("Day", "%A"),
    ("Dy", "%a"),
    ("ID", "%u"),
    ("IYYY", "%G"),
    ("IW", "%V"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("HH", "%I"),
    ("SS", "%S"),
    ("US", "%6f"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("TZ", "%Z"),
];

fn chrono_format(postgres: &str) -> String {
    let mut chrono = String::new();
    let mut rest = postgres;
    while let Some(next) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            chrono.push_str(&quoted[..end]);
            rest = quoted[end..].trim_start_matches('"');
        } else if let Some((from, to)) = PATTERNS.iter().find(|(from, _)| rest.starts_with(from)) {
            chrono.push_str(to);
            rest = &rest[from.len()..];
        } else {
            chrono.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    chrono
}

/// The analyzer's rule.
#[derive(Debug)]
pub struct TextTimes;

impl AnalyzerRule for TextTimes {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| {
            let mut schema = DFSchema::empty();
            for input in node.inputs() {
                schema.merge(input.schema());
            }
            // The text of an expression names its column: keep what others refer to.
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(rewrite(expr, &schema)?.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(plan.data)
    }

    fn name(&self) -> &str {
        "text_times"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_to_char_are_translated() {
        assert_eq!(chrono_format("YYYY-MM-DD HH24:MI"), "%Y-%m-%d %H:%M");
        assert_eq!(chrono_format("\"Day\" DD"), "Day %d");
    }

    #[test]
    fn seconds_may_be_left_out() {
        assert_eq!(read("1970-01-01 00:01"), Some(60_000_000));
        assert_eq!(read("1970-01-01 01:00+01"), Some(0));
        assert_eq!(read("1970-01-01T00:00:01.5Z"), Some(1_500_000));
        assert_eq!(read("1970-01-01"), Some(0));
        assert_eq!(read("infinity"), Some(i64::MAX));
        assert_eq!(read("10:00"), None);
        assert_eq!(read("yesterday"), None);
    }
}
