//! Relations as of a time: `FROM v AS OF t`.
//!
//! # Semantics
//! The parser marks such a relation, and the mark is a node of the logical plan. Before a one-shot
//! query runs, its times are computed, and every table and view below a mark is read as of its
//! time. A query that goes on has no single past, so there the mark is refused.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, TableScan, UserDefinedLogicalNodeCore,
};

use super::error::Error;
use super::relation::RelationSource;
use crate::time::Timestamp;

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

/// Takes the marks off a query that runs once: what is below one is read as of its time.
pub fn resolve(
    plan: LogicalPlan,
    time: &dyn Fn(&Expr) -> DfResult<Timestamp>,
) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match past_node(&node) {
        Some(past) => Ok(Transformed::yes(as_of(past.input.clone(), time(&past.at)?)?)),
        None => Ok(Transformed::no(node)),
    });
    Ok(plan?.data)
}

fn as_of(plan: LogicalPlan, at: Timestamp) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(Transformed::no(node)) };
        let source = scan.source.downcast_ref::<RelationSource>();
        let Some(source) = source.filter(|source| !source.is_stream()) else {
            return Err(Error::Unsupported {
                what: format!("\"{}\" AS OF a time is not supported", scan.table_name.table()),
                hint: "Tables and views are read as of a time; of a stream choose rows by a time \
                       of theirs in WHERE."
                    .into(),
            }
            .into());
        };
        // A time closer to the relation counts.
        let at = source.as_of().unwrap_or(at);
        let source = Arc::new(source.clone().read_as_of(at));
        Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
    });
    Ok(plan?.data)
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
