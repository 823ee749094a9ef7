//! `now()`, the time of the statement or of a continuous query's clock, and `clock_timestamp()`.
//!
//! # Semantics
//! A timestamptz in microseconds, the same wherever it stands in a statement. A one-shot query gets
//! it when it is simplified; a continuous query has it in temporal filters only, which are taken
//! out before anything is computed. `clock_timestamp()` is the time at which it is
//! computed; continuous queries refuse it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::clock::Clock;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Now {
    signature: Signature,
    aliases: Vec<String>,
}

impl Default for Now {
    fn default() -> Self {
        let aliases = ["current_timestamp", "transaction_timestamp", "statement_timestamp"];
        let aliases = aliases.map(str::to_owned).into();
        Self { signature: Signature::nullary(Volatility::Stable), aliases }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("now() is replaced before anything is computed")
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match info.query_execution_start_time() {
            None => ExprSimplifyResult::Original(args),
            Some(now) => {
                let (micros, zone) = (Some(now.timestamp_micros()), Some(Arc::from("UTC")));
                let now = ScalarValue::TimestampMicrosecond(micros, zone);
                ExprSimplifyResult::Simplified(Expr::Literal(now, None))
            }
        })
    }
}

/// The time at which it is computed.
#[derive(Debug)]
pub(super) struct ClockTimestamp {
    clock: Arc<dyn Clock>,
    signature: Signature,
}

impl ClockTimestamp {
    /// The function that reads this clock.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl PartialEq for ClockTimestamp {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for ClockTimestamp {}

impl Hash for ClockTimestamp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for ClockTimestamp {
    fn name(&self) -> &str {
        "clock_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = (0..args.number_rows).map(|_| self.clock.now().0);
        let times: TimestampMicrosecondArray = times.collect::<Vec<i64>>().into();
        Ok(ColumnarValue::Array(Arc::new(times.with_timezone("UTC"))))
    }
}
