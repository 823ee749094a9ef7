//! Keeps IS NOT DISTINCT FROM joins as they are.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// DataFusion's choice of join pairs, for plans in which NULL equals nothing: where NULL equals
/// NULL in one of several joins, that rule makes it an ordinary equality.
#[derive(Debug)]
pub struct JoinPairs(EliminateCrossJoin);

impl Default for JoinPairs {
    fn default() -> Self {
        Self(EliminateCrossJoin::new())
    }
}

impl OptimizerRule for JoinPairs {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let null_safe = plan.exists(|node| {
            Ok(matches!(node, LogicalPlan::Join(join)
                if join.null_equality == NullEquality::NullEqualsNull))
        })?;
        if null_safe { Ok(Transformed::no(plan)) } else { self.0.rewrite(plan, config) }
    }
}
