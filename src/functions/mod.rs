//! Functions of Postgres that DataFusion has not, for one-shot and continuous queries alike.
//!
//! A function here is a value of DataFusion's: it knows its name, its types and what it does with a
//! batch, and nothing of plans, streams or sessions.

use std::sync::Arc;

use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::AggregateUDF;

mod aggregates;
pub mod error;
pub mod ordered_set;
pub mod single_value;

/// Adds all functions to a session's.
pub fn register(state: &mut SessionState) -> datafusion::error::Result<()> {
    for function in ordered_set::functions() {
        state.register_udaf(Arc::new(AggregateUDF::from(function)))?;
    }
    state.register_expr_planner(Arc::new(aggregates::Aggregates))?;
    Ok(())
}
