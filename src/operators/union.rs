//! Bag union: every change of every input.
//!
//! # Semantics
//! UNION ALL. Linear: changes pass as they are, under the union's column names.

use arrow::datatypes::SchemaRef;

use super::{Operator, Output, Port, Result};
use crate::delta::{Delta, batch};

/// Passes the changes of all inputs.
pub struct Union {
    schema: SchemaRef,
}

impl Union {
    /// Inputs have the columns of `schema`, under names of their own.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Operator for Union {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let rows = batch(self.schema.clone(), delta.rows().columns().to_vec(), delta.len())?;
        out.push(delta.with_rows(rows));
        Ok(())
    }
}
