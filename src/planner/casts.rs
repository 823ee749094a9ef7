//! Casts that say or keep what Postgres's do.
//!
//! # Semantics
//! A number cast to an integer is rounded: a double to the nearest even one in the middle, a
//! numeric
//! away from zero. A timestamp cast to text looks as Postgres shows it (ISO, time zone UTC).

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::time::Timestamp;

/// The function that stands between a value and its cast.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Prepared {
    what: What,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    /// Rounds a double, half to even.
    Round,
    /// Shows a timestamp; with a zone its text ends with `+00`.
    Show { zone: bool },
}

impl Prepared {
    fn call(what: What, arg: Expr) -> Expr {
        let signature = Signature::any(1, Volatility::Immutable);
        ScalarUDF::from(Prepared { what, signature }).call(vec![arg])
    }
}

impl ScalarUDFImpl for Prepared {
    fn name(&self) -> &str {
        match self.what {
            What::Round => "rounded",
            What::Show { .. } => "text_output",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(match self.what {
            What::Round => DataType::Float64,
            What::Show { .. } => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array(match self.what {
            What::Round => {
                let values = cast(&arrays[0], &DataType::Float64)?;
                let rounded: Float64Array =
                    values.as_primitive::<Float64Type>().unary(f64::round_ties_even);
                Arc::new(rounded)
            }
            What::Show { zone } => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                let values = cast(&cast(&arrays[0], &DataType::Int64)?, &micros)?;
                let values = values.as_primitive::<TimestampMicrosecondType>();
                Arc::new(values.iter().map(|v| Some(shown(v?, zone))).collect::<StringArray>())
            }
        }))
    }
}

/// Shows microseconds since the Unix epoch.
fn shown(micros: i64, zone: bool) -> String {
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        micros => {
            let text = Timestamp(micros).to_string();
            let text = match text.contains('.') {
                true => text.trim_end_matches('0'),
                false => &text,
            };
            format!("{text}{}", if zone { "+00" } else { "" })
        }
    }
}

/// Replaces a cast that would cut where Postgres rounds, or show otherwise.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Ok(Transformed::no(expr)) };
    let Ok(from) = inner.get_type(schema) else { return Ok(Transformed::no(expr)) };
    let inner = || inner.as_ref().clone();
    let prepared = match (from, field.data_type()) {
        (DataType::Float16 | DataType::Float32 | DataType::Float64, to) if to.is_integer() => {
            Prepared::call(What::Round, inner())
        }
        (DataType::Decimal128(precision, scale), to) if to.is_integer() && scale > 0 => {
            let whole = DataType::Decimal128(precision, 0);
            Expr::Cast(Cast::new(Box::new(inner()), whole))
        }
        (DataType::Timestamp(TimeUnit::Microsecond, zone), DataType::Utf8) => {
            let zone = zone.is_some();
            return Ok(Transformed::yes(Prepared::call(What::Show { zone }, inner())));
        }
        _ => return Ok(Transformed::no(expr)),
    };
    let to = field.data_type().clone();
    Ok(Transformed::yes(Expr::Cast(Cast::new(Box::new(prepared), to))))
}
