//! EXCEPT ALL and INTERSECT ALL as a node of the logical plan; queries rewritten to our nodes.
//!
//! # Why
//! DataFusion plans both as joins that forget multiplicities. Without ALL the left side is made
//! distinct first, and then the joins are right.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, JoinType, NullEquality};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{
    self as logical, Distinct, Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore, cast,
};

use super::plan::Combination;
use super::{first_rows, over};

/// Two bags combined row by row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BagNode {
    /// How.
    pub combination: Combination,
    /// The left bag.
    pub left: LogicalPlan,
    /// The right one, with columns of the same types.
    pub right: LogicalPlan,
}

impl BagNode {
    /// Gives both sides the same column types.
    fn new(combination: Combination, left: LogicalPlan, right: LogicalPlan) -> DfResult<Self> {
        let pairs = left.schema().fields().iter().zip(right.schema().fields());
        let types: Vec<_> =
            pairs.map(|(l, r)| type_union_coercion(l.data_type(), r.data_type())).collect();
        let typed = |side: LogicalPlan| -> DfResult<LogicalPlan> {
            let columns = side.schema().iter().zip(&types).map(|((qualifier, field), to)| {
                let column = Expr::Column(Column::from((qualifier, field)));
                match to {
                    Some(to) if to != field.data_type() => {
                        cast(column, to.clone()).alias_qualified(qualifier.cloned(), field.name())
                    }
                    _ => column,
                }
            });
            let columns = columns.collect();
            Ok(LogicalPlan::Projection(logical::Projection::try_new(columns, Arc::new(side))?))
        };
        Ok(Self { combination, left: typed(left)?, right: typed(right)? })
    }
}

impl PartialOrd for BagNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.combination, &self.left, &self.right).partial_cmp(&(
            other.combination,
            &other.left,
            &other.right,
        ))
    }
}

impl UserDefinedLogicalNodeCore for BagNode {
    fn name(&self) -> &str {
        "Bag"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.left.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} all", self.combination)
    }

    #[expect(clippy::disallowed_types, reason = "the trait's own signature")]
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        // The sides' columns may have different names.
        self.left.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let right = inputs.swap_remove(1);
        Ok(Self { combination: self.combination, left: inputs.swap_remove(0), right })
    }
}

/// The combination that a join stands for, as DataFusion plans it.
fn combination(join: &logical::Join) -> Option<Combination> {
    let all = join.null_equality == NullEquality::NullEqualsNull
        && join.on.len() == join.left.schema().fields().len()
        && !matches!(*join.left, LogicalPlan::Distinct(_));
    match join.join_type {
        JoinType::LeftAnti if all => Some(Combination::Except),
        JoinType::LeftSemi if all => Some(Combination::Intersect),
        _ => None,
    }
}

/// Puts our nodes into a plan that was just bound: OVER, DISTINCT ON, WITH TIES, EXCEPT ALL and
/// INTERSECT ALL.
pub(super) fn rewrite(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|node| {
        let ours = match node {
            // What DataFusion computes by itself in rounds is left to it.
            LogicalPlan::Window(window) if !in_rounds(&window.input)? => over::rewrite(window)?,
            LogicalPlan::Distinct(Distinct::On(distinct)) => first_rows::distinct_on(distinct)?,
            LogicalPlan::Limit(limit) => match first_rows::with_ties(&limit)? {
                Some(first) => first,
                None => return Ok(Transformed::no(LogicalPlan::Limit(limit))),
            },
            LogicalPlan::Join(join) => match combination(&join) {
                None if changed => {
                    return LogicalPlan::Join(join).recompute_schema().map(Transformed::yes);
                }
                None => return Ok(Transformed::no(LogicalPlan::Join(join))),
                Some(combination) => {
                    let (left, right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
                    let node = Arc::new(BagNode::new(combination, left, right)?);
                    LogicalPlan::Extension(Extension { node })
                }
            },
            other if changed => return other.recompute_schema().map(Transformed::yes),
            other => return Ok(Transformed::no(other)),
        };
        changed = true;
        Ok(Transformed::yes(ours))
    })?;
    Ok(plan.data)
}

/// Whether a plan reads the rows of the last round of WITH RECURSIVE.
fn in_rounds(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = datafusion::datasource::source_as_provider(&scan.source);
            found |= provider.is_ok_and(|p| {
                p.downcast_ref::<datafusion::datasource::cte_worktable::CteWorkTable>().is_some()
            });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
