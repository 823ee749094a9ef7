//! Joins with a table as it is when a row comes: FOR SYSTEM_TIME AS OF PROC_TIME().
//!
//! # Semantics
//! The parser marks the right side of such a join, and the mark is a node of the logical plan. The
//! join is an ordinary one to DataFusion's rewrites, as all of them hold at the moment at which a
//! row looks up. A one-shot query looks up now, so there the mark means nothing.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchemaRef, JoinType, NullEquality};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    self as logical, Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore,
};

use super::derive;
use super::error::Result;
use super::lower::{Lowering, later, relaxed};
use super::plan::{Lookup, Node, Op};
use super::properties::Properties;

/// The right side of a join that looks up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LookupNode {
    /// What is looked up.
    pub input: LogicalPlan,
}

impl LookupNode {
    pub(super) fn plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }
}

/// Returns the node that a logical node is, if it is one.
pub fn lookup_node(plan: &LogicalPlan) -> Option<&LookupNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// Takes the marks off a query that runs once.
pub fn unmark(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match lookup_node(&node) {
        Some(lookup) => Ok(Transformed::yes(lookup.input.clone())),
        None => Ok(Transformed::no(node)),
    });
    Ok(plan?.data)
}

/// Whether the right side of a join is looked up.
pub(super) fn looks_up(join: &logical::Join) -> bool {
    let mut side = join.right.as_ref();
    loop {
        side = match side {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            other => return lookup_node(other).is_some(),
        };
    }
}

impl Lowering {
    /// Lowers a join whose right side is looked up.
    pub(super) fn lookup(&self, join: &logical::Join) -> Result<Node> {
        let outer = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left => true,
            other => {
                let what = format!("FOR SYSTEM_TIME AS OF PROC_TIME() in a join that is {other}");
                return Err(later(what, "Write JOIN or LEFT JOIN."));
            }
        };
        let (left_keys, right_keys): (Vec<_>, Vec<_>) =
            join.on.iter().map(|(left, right)| (left.clone(), right.clone())).unzip();
        let both = join.left.schema().join(join.right.schema())?;
        let op = Op::Lookup(Lookup {
            left_keys: self.exprs(&left_keys, join.left.schema())?,
            right_keys: self.exprs(&right_keys, join.right.schema())?,
            residual: join.filter.as_ref().map(|f| self.expr(f, &both)).transpose()?,
            outer,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
        });
        let inputs = vec![self.node(&join.left)?, self.node(&join.right)?];
        Ok(derive::node(op, inputs, relaxed(&join.schema)))
    }
}

/// What is proven of a lookup join's output: nothing on the right changes what was joined.
pub(super) fn properties(left: &Node) -> Properties {
    Properties {
        append_only: left.properties.append_only,
        finality: left.properties.finality.clone(),
        size: left.properties.size,
        time_column: left.properties.time_column,
        ..Properties::default()
    }
}

impl PartialOrd for LookupNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for LookupNode {
    fn name(&self) -> &str {
        "Lookup"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookup")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        Ok(Self { input: inputs.swap_remove(0) })
    }

    fn necessary_children_exprs(&self, columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![columns.to_vec()])
    }
}
