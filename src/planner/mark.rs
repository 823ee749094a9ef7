//! Marks that binding puts on parts of a statement, so that they are found again in its plan.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::{first_rows, recursive};

/// Returns the function of a mark, which leaves its argument as it is.
pub(super) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    let name = [first_rows::WITH_TIES, recursive::MARK].into_iter().find(|mark| *mark == name)?;
    let signature = Signature::any(1, Volatility::Immutable);
    Some(Arc::new(ScalarUDF::from(Mark { name, signature })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mark {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Mark {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(arguments.args[0].clone())
    }
}
