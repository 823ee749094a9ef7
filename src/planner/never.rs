//! Conditions that never hold, above aggregates.
//!
//! # Why
//! DataFusion pushes a condition without columns below an aggregate. But an aggregate without GROUP
//! BY, or with the grouping set `()`, has a row for no rows: that row has to be refused as well.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, Limit, LogicalPlan, lit};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Puts LIMIT 0 in the place of a condition that never holds.
#[derive(Debug)]
pub(super) struct Never;

impl OptimizerRule for Never {
    fn name(&self) -> &str {
        "never"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let never = match &filter.predicate {
            Expr::Literal(value, _) => value.is_null() || *value == false.into(),
            _ => false,
        };
        let aggregates = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::Aggregate(_)));
        if !never || !filter.input.exists(aggregates)? {
            return Ok(Transformed::no(plan));
        }
        let (skip, fetch) = (None, Some(Box::new(lit(0_i64))));
        let input = Arc::clone(&filter.input);
        Ok(Transformed::yes(LogicalPlan::Limit(Limit { skip, fetch, input })))
    }
}
