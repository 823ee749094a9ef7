//! A single operator over rows that are all there: for queries that run once.
//!
//! # Semantics
//! The operator gets the rows of its inputs as one instant; what it emits is the relation.

use arrow::array::RecordBatch;

use super::Result;
use super::operator::operator;
use crate::delta::{Delta, batch};
use crate::operators::{Output, Port, RowError};
use crate::planner::plan::Node;
use crate::time::Timestamp;

/// The rows of a node over the rows of its inputs; or the first row that cannot be computed.
pub fn run(
    node: &Node,
    inputs: Vec<RecordBatch>,
) -> Result<std::result::Result<RecordBatch, RowError>> {
    let mut operator = operator(node, 0)?;
    let mut out = Output::default();
    for (port, (rows, input)) in inputs.into_iter().zip(&node.inputs).enumerate() {
        let rows = batch(input.schema.clone(), rows.columns().to_vec(), rows.num_rows())?;
        operator.on_delta(Port(port), Delta::inserts(rows, Timestamp::MIN), &mut out)?;
    }
    operator.on_instant(Timestamp::MIN, &mut out)?;
    if let Some(error) = out.errors.into_iter().next() {
        return Ok(Err(error));
    }
    let relation = Delta::concat(&node.schema, &out.deltas)?.consolidate()?.repeated()?;
    Ok(Ok(relation.rows().clone()))
}
