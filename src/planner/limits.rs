//! LIMIT and OFFSET that are no constants but have one value per query, such as `random() * 10`.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};

use super::bind::constant_value;

/// Computes them; NULL is no limit.
pub fn computed(plan: LogicalPlan, state: &SessionState) -> DfResult<LogicalPlan> {
    let value = |expr: Box<Expr>| -> DfResult<Option<Box<Expr>>> {
        if !expr.is_volatile() || !expr.column_refs().is_empty() {
            return Ok(Some(expr));
        }
        let value = constant_value(*expr, state)?.cast_to(&arrow::datatypes::DataType::Int64)?;
        Ok(match value {
            ScalarValue::Int64(Some(rows)) => Some(Box::new(lit(rows))),
            _ => None,
        })
    };
    let computed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(mut limit) => {
            limit.skip = limit.skip.map(value).transpose()?.flatten();
            limit.fetch = limit.fetch.map(value).transpose()?.flatten();
            Ok(Transformed::yes(LogicalPlan::Limit(limit)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(computed.data)
}
