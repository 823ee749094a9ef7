//! Logarithms that fail where Postgres's do: of zero, and of negative numbers.

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::exec_err;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Lets a number through that has a logarithm.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Positive {
    signature: Signature,
}

const NAME: &str = "logarithm_of";

impl ScalarUDFImpl for Positive {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        Ok(args[0].clone())
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arg = args.args.swap_remove(0);
        let values: ArrayRef = cast(&arg.to_array(1)?, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        if values.iter().flatten().any(|value| value == 0.0) {
            return exec_err!("cannot take logarithm of zero");
        }
        if values.iter().flatten().any(|value| value < 0.0) {
            return exec_err!("cannot take logarithm of a negative number");
        }
        Ok(arg)
    }
}

/// Guards the arguments of a logarithm.
pub(super) fn rewrite(expr: Expr) -> Transformed<Expr> {
    let Expr::ScalarFunction(mut function) = expr else { return Transformed::no(expr) };
    let guarded = |arg: &Expr| matches!(arg, Expr::ScalarFunction(inner) if inner.name() == NAME);
    let logarithm = matches!(function.name(), "ln" | "log" | "log2" | "log10");
    if !logarithm || function.args.iter().all(guarded) {
        return Transformed::no(Expr::ScalarFunction(function));
    }
    for arg in &mut function.args {
        let signature = Signature::any(1, Volatility::Immutable);
        *arg = ScalarUDF::from(Positive { signature }).call(vec![std::mem::take(arg)]);
    }
    Transformed::yes(Expr::ScalarFunction(function))
}
