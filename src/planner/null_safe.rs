//! Keeps joins in which NULL equals NULL as they are.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::lookup::lookup_node;

/// A rule of DataFusion, for plans whose joins it does not change in meaning.
#[derive(Debug)]
pub struct NullSafe<R> {
    rule: R,
    misread: fn(&LogicalPlan) -> Result<bool>,
}

/// DataFusion's choice of join pairs, for plans in which NULL equals nothing: where NULL equals
/// NULL in one of several joins, that rule makes it an ordinary equality. It also changes which
/// rows
/// look up in a table as it is when they come.
pub fn join_pairs() -> NullSafe<EliminateCrossJoin> {
    let misread = |plan: &LogicalPlan| {
        plan.exists(|node| {
            let null_safe = matches!(node, LogicalPlan::Join(join)
                if join.null_equality == NullEquality::NullEqualsNull);
            Ok(null_safe || lookup_node(node).is_some())
        })
    };
    NullSafe { rule: EliminateCrossJoin::new(), misread }
}

/// DataFusion's keys of joins, for joins in which NULL equals nothing: that rule makes every
/// equality in the condition of a join a key of it, and in a key NULL would equal NULL.
pub fn join_keys() -> NullSafe<ExtractEquijoinPredicate> {
    let misread = |plan: &LogicalPlan| {
        Ok(matches!(plan, LogicalPlan::Join(join)
            if join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty()))
    };
    NullSafe { rule: ExtractEquijoinPredicate::new(), misread }
}

impl<R: OptimizerRule> OptimizerRule for NullSafe<R> {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match (self.misread)(&plan)? {
            true => Ok(Transformed::no(plan)),
            false => self.rule.rewrite(plan, config),
        }
    }
}
