//! A constant relation: VALUES, or SELECT without FROM.
//!
//! # Semantics
//! Its rows are inserted at the query's first instant and stay.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use std::sync::Arc;

use super::{Operator, Output, Port, Result, StateReader, StateWriter};
use crate::delta::Delta;
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

    fn save(&self, to: &mut StateWriter) -> Result<()> {
        let emitted = Arc::new(BooleanArray::from(vec![self.emitted]));
        to.put("emitted", RecordBatch::try_from_iter([("emitted", emitted as _)])?);
        Ok(())
    }

    fn load(&mut self, from: &mut StateReader) -> Result<()> {
        if let Some(saved) = from.take("emitted") {
            self.emitted = saved.column(0).as_boolean().value(0);
        }
        Ok(())
    }
}
