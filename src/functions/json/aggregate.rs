//! The names of JSON's aggregates. [`super::operators`] plans calls of them as `array_agg`.

use arrow::datatypes::DataType;
use datafusion::common::{Result, not_impl_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

/// The names.
pub(in crate::functions) const AGGREGATES: [&str; 4] =
    ["json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg"];

/// A name that stands for something else.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct Aggregate {
    name: &'static str,
    signature: Signature,
}

impl Aggregate {
    pub(in crate::functions) fn new(name: &'static str) -> Self {
        Self { name, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} with OVER", self.name)
    }
}
