//! Keeps joins in which NULL equals NULL as they are.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::lookup::lookup_node;

/// DataFusion's choice of join pairs, for plans in which NULL equals nothing: where NULL equals
/// NULL in one of several joins, that rule makes it an ordinary equality. It also changes which
/// rows look up in a table as it is when they come.
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
        let bound = plan.exists(|node| {
            let null_safe = matches!(node, LogicalPlan::Join(join)
                if join.null_equality == NullEquality::NullEqualsNull);
            Ok(null_safe || lookup_node(node).is_some())
        })?;
        if bound { Ok(Transformed::no(plan)) } else { self.0.rewrite(plan, config) }
    }
}

/// DataFusion's keys of joins, for joins in which NULL equals nothing: that rule makes every
/// equality in the condition of a join a key of it, and in a key NULL would equal NULL.
#[derive(Debug)]
pub struct JoinKeys(ExtractEquijoinPredicate);

impl Default for JoinKeys {
    fn default() -> Self {
        Self(ExtractEquijoinPredicate::new())
    }
}

impl OptimizerRule for JoinKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Join(join)
                if join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty() =>
            {
                Ok(Transformed::no(plan))
            }
            _ => self.0.rewrite(plan, config),
        }
    }
}
