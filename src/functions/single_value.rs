//! The one value that a scalar subquery may have.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use super::error::failure;
use crate::error::SqlState;

/// What is said of a subquery with more rows.
pub const MORE_THAN_ONE_ROW: &str =
    "more than one row returned by a subquery used as an expression";

/// The value of the only row, NULL if there is none; more rows are an error (21000).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SingleValue {
    signature: Signature,
}

impl Default for SingleValue {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        let field = Field::new(self.name(), arguments[0].data_type().clone(), true);
        Ok(field.with_metadata(arguments[0].metadata().clone()).into())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = args.input_fields[0].data_type().clone();
        Ok(vec![
            Field::new(format_state_name(args.name, "value"), value, true).into(),
            Field::new(format_state_name(args.name, "rows"), DataType::Int64, true).into(),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(args.return_field.data_type())?;
        Ok(Box::new(Single { value, rows: 0 }))
    }
}

#[derive(Debug)]
struct Single {
    value: ScalarValue,
    rows: i64,
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if !values[0].is_empty() {
            self.value = ScalarValue::try_from_array(&values[0], 0)?;
            self.rows += i64::try_from(values[0].len()).unwrap_or(i64::MAX);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows: &Int64Array = states[1].as_primitive::<Int64Type>();
        for (i, rows) in rows.iter().enumerate().filter(|(_, rows)| *rows != Some(0)) {
            self.value = ScalarValue::try_from_array(&states[0], i)?;
            self.rows += rows.unwrap_or(0);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Int64(Some(self.rows))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.rows {
            0 | 1 => Ok(self.value.clone()),
            _ => Err(failure(SqlState::CARDINALITY_VIOLATION, MORE_THAN_ONE_ROW)),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }
}
