//! `pg_sleep`: the one function that waits.

use std::sync::Arc;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use tokio::time::{Duration, sleep};

/// Returns the function.
pub(super) fn function() -> ScalarUDF {
    let signature = Signature::exact(vec![DataType::Float64], Volatility::Volatile);
    AsyncScalarUDF::new(Arc::new(Sleep { signature })).into_scalar_udf()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep {
    signature: Signature,
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &'static str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::NotImplemented("pg_sleep is allowed in a select list only".to_owned()))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    /// Sleeps once for each row, as Postgres does.
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let seconds = args.args.first().map(|arg| arg.to_array(args.number_rows)).transpose()?;
        for row in 0..args.number_rows {
            let Some(seconds) = &seconds else { break };
            if let ScalarValue::Float64(Some(seconds)) = ScalarValue::try_from_array(seconds, row)?
                && let Ok(pause) = Duration::try_from_secs_f64(seconds)
            {
                sleep(pause).await;
            }
        }
        let nothing = ScalarValue::from("").to_array_of_size(args.number_rows)?;
        Ok(ColumnarValue::Array(nothing))
    }
}
