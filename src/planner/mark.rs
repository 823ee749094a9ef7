//! Marks that binding puts on parts of a statement, so that they are found again in its plan.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::{first_rows, grouping, recursive};

/// Returns the function of a mark, which leaves its argument as it is, or widens numerics.
pub(super) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    let marks = [first_rows::WITH_TIES, grouping::OF_GROUP, recursive::MARK, recursive::WIDE];
    let name = marks.into_iter().find(|mark| *mark == name)?;
    let signature = Signature::any(1, Volatility::Immutable);
    Some(Arc::new(ScalarUDF::from(Mark { name, signature })))
}

/// Digits behind the point of a numeric that is declared without.
const NUMERIC_SCALE: i8 = 10;

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
        Ok(match &arguments[0] {
            DataType::Decimal128(_, scale) if self.name == recursive::WIDE => {
                DataType::Decimal128(DECIMAL128_MAX_PRECISION, (*scale).max(NUMERIC_SCALE))
            }
            other => other.clone(),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        arguments.args[0].cast_to(arguments.return_type(), None)
    }
}
