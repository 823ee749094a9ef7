//! A constant relation: VALUES, or SELECT without FROM.
//!
//! # Semantics
//! Its rows are inserted at the query's first instant and stay.

use arrow::array::RecordBatch;

use super::{Operator, Output, Port, Result};
use crate::delta::Delta;
use crate::storage::{Value, Visit};
use crate::time::Timestamp;

/// Emits its rows once.
pub struct Constant {
    rows: RecordBatch,
    emitted: bool,
}

impl Constant {
    /// The relation of these rows.
    pub fn new(rows: RecordBatch) -> Self {
        Self { rows, emitted: false }
    }
}

impl Operator for Constant {
    fn on_delta(&mut self, _: Port, _: Delta, _: &mut Output) -> Result<()> {
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        if !std::mem::replace(&mut self.emitted, true) {
            out.push(Delta::inserts(self.rows.clone(), at));
        }
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut Value(&mut self.emitted));
    }
}
