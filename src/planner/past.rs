//! Relations as of a time: `FROM v AS OF t`.
//!
//! # Semantics
//! The parser marks such a relation, and the mark is a node of the logical plan: every table and
//! view below it is read as of its time. A query that goes on has no single past, so there the mark
//! is refused.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

/// A relation as of a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PastNode {
    /// The relation.
    pub input: LogicalPlan,
    /// The time: a constant.
    pub at: Expr,
}

impl PastNode {
    pub(super) fn plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }
}

/// Returns the node that a logical node is, if it is one.
pub fn past_node(plan: &LogicalPlan) -> Option<&PastNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

impl PartialOrd for PastNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.input, &self.at).partial_cmp(&(&other.input, &other.at))
    }
}

impl UserDefinedLogicalNodeCore for PastNode {
    fn name(&self) -> &str {
        "Past"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.at.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Past: {}", self.at)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let input = inputs.pop().expect("it has one input");
        Ok(Self { input, at: exprs.pop().expect("it has one time") })
    }
}
