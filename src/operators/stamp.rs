//! The time of each change as a column.
//!
//! # Semantics
//! Every row gets one more column, the last: the instant at which it comes. Linear, but for
//! retractions, which would carry another time; so only streams are stamped.
//!
//! # Cost
//! None: the times are there already.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::{Operator, Output, Port, Result};
use crate::delta::{Delta, batch};

/// Appends the time of each change.
pub struct Stamp {
    schema: SchemaRef,
}

impl Stamp {
    /// Gives rows of this type; its last column is a timestamp or a number.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Operator for Stamp {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let ts = delta.ts_array();
        let time: ArrayRef = match self.schema.fields().last().map(|field| field.data_type()) {
            Some(DataType::Int64) => Arc::new(ts.reinterpret_cast::<Int64Type>()),
            Some(DataType::Timestamp(_, Some(zone))) => {
                Arc::new(ts.with_timezone(Arc::clone(zone)))
            }
            Some(other) => cast(&ts, other)?,
            None => return Ok(()),
        };
        let mut columns = delta.rows().columns().to_vec();
        columns.push(time);
        let rows = batch(Arc::clone(&self.schema), columns, delta.len())?;
        out.push(delta.with_rows(rows));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::Stamp;
    use crate::operators::testing::{check, schema};

    #[test]
    fn time_becomes_a_column() {
        let rows = " w | ts | x:text\n+1 | 3 | a\n+2 | 4 | b";
        check(
            &mut Stamp::new(schema("x:text | at:int8")),
            rows,
            expect![[r#"
             w | ts | x | at
            +1 | 3  | a | 3
            +2 | 4  | b | 4
        "#]],
        );
    }
}
