//! Functions of Postgres that DataFusion has not, for one-shot and continuous queries alike.
//!
//! A function here is a value of DataFusion's: it knows its name, its types and what it does with a
//! batch, and nothing of plans, streams or sessions.

use std::sync::Arc;

use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};

use crate::clock::Clock;

mod aggregates;
mod approximate;
mod array;
mod average;
pub mod bytes;
pub mod error;
pub mod interval_scale;
pub mod json;
mod now;
mod number;
mod number_format;
pub mod ordered_set;
pub mod part;
pub mod quote;
mod scalar;
mod series;
pub mod single_value;
mod text;
pub mod time;
mod time_format;
mod time_read;
mod truncate;
pub mod zone;

/// A call of `now()`.
pub fn now() -> Expr {
    ScalarUDF::from(now::Now::default()).call(vec![])
}

/// Plans the operators of JSON.
pub fn json_operators() -> Arc<dyn ExprPlanner> {
    Arc::new(json::operators::JsonOperators::default())
}

/// The function `clock_timestamp()` of a clock.
pub fn clock_timestamp(clock: Arc<dyn Clock>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(now::ClockTimestamp::new(clock)))
}

/// Adds all functions to a session's, but for [`clock_timestamp`].
pub fn register(state: &mut SessionState) -> datafusion::error::Result<()> {
    for function in ordered_set::functions() {
        replace_aggregate(state, AggregateUDF::from(function))?;
    }
    for name in json::AGGREGATES {
        state.register_udaf(Arc::new(AggregateUDF::from(json::Aggregate::new(name))))?;
    }
    replace_aggregate(state, AggregateUDF::from(average::Average::default()))?;
    state.register_udf(Arc::new(ScalarUDF::from(now::Now::default())))?;
    state.register_udf(Arc::new(ScalarUDF::from(part::Extract::default())))?;
    state.register_udf(Arc::new(ScalarUDF::from(truncate::DateTrunc::default())))?;
    let left = datafusion::functions::unicode::left().as_ref().clone();
    state.register_udf(Arc::new(left.with_aliases(["$cut_text"])))?;
    let scalars = [
        json::functions(),
        series::functions(),
        text::functions(),
        quote::functions(),
        number::functions(),
        time::functions(),
        array::functions(),
        bytes::functions(),
    ];
    for function in scalars.into_iter().flatten() {
        // DataFusion's of that name goes with its other names, under which it could come back.
        let _ = state.deregister_udf(function.name)?;
        state.register_udf(Arc::new(function.udf()))?;
    }
    state.register_expr_planner(Arc::new(aggregates::Aggregates))?;
    Ok(())
}

/// Adds an aggregate in the place of DataFusion's, which goes with its other names: under these it
/// could come back.
fn replace_aggregate(
    state: &mut SessionState,
    aggregate: AggregateUDF,
) -> datafusion::error::Result<()> {
    let _ = state.deregister_udaf(aggregate.name())?;
    state.register_udaf(Arc::new(aggregate))?;
    Ok(())
}
