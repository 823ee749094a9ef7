//! The rows of each instant in an order of their own.
//!
//! # Semantics
//! The relation does not change. Instants come in order, and the rows of one instant in the order
//! of their values, so that a window of rows that reads them finds an order that depends on neither
//! shards nor batches.
//!
//! # State
//! The rows of the round.
//!
//! # Cost
//! One arrow-row encoding per row, and a sort per round.

use arrow::datatypes::SchemaRef;

use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::Delta;
use crate::storage::{Deltas, Visit};
use crate::time::Timestamp;

/// Brings the rows of each instant into the order of their values.
pub struct Arrange {
    schema: SchemaRef,
    round: Vec<Delta>,
}

impl Arrange {
    /// Instants are sorted as well.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// For rows of that type.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, round: Vec::new() }
    }
}

impl Operator for Arrange {
    fn on_delta(&mut self, _: Port, delta: Delta, _: &mut Output) -> Result<()> {
        self.round.push(delta);
        Ok(())
    }

    fn on_instant(&mut self, _: Timestamp, out: &mut Output) -> Result<()> {
        let round = std::mem::take(&mut self.round);
        out.push(Delta::concat(&self.schema, &round)?.by_instant_and_row()?);
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut Deltas(&mut self.round));
    }
}

#[cfg(test)]
mod tests {
    use crate::delta::{Delta, pretty};
    use crate::operators::testing::{run_whole, schema};

    #[test]
    fn rows_of_an_instant_are_sorted() {
        let rows = " w | ts | k:text | v:int8
                    +1 | 2  | b      | 2
                    +1 | 1  | z      | 9
                    +1 | 2  | b      | 1
                    +1 | 2  | a      | 7";
        let mut op = super::Arrange::new(schema("k:text | v:int8"));
        let emitted = run_whole(&mut op, &[rows], None).0.deltas;
        let sorted = " w | ts | k:text | v:int8
                      +1 | 1  | z      | 9
                      +1 | 2  | a      | 7
                      +1 | 2  | b      | 1
                      +1 | 2  | b      | 2";
        let (found, sorted) =
            (Delta::concat(&emitted[0].schema(), &emitted), pretty::parse(sorted));
        assert_eq!(pretty::print(&found.unwrap()), pretty::print(&sorted));
    }
}
