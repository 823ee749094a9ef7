//! Nodes that join two inputs.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_expr::PhysicalExpr;

use super::Close;

/// Joins two inputs on equal keys and a residual condition.
#[derive(Clone, Debug)]
pub struct Join {
    /// Inner, Left, Right, Full, LeftSemi, LeftAnti or LeftMark.
    pub kind: JoinType,
    /// Keys over the left input.
    pub left_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Keys over the right input.
    pub right_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Further condition over left and right columns.
    pub residual: Option<Arc<dyn PhysicalExpr>>,
    /// Whether NULL keys are equal (IS NOT DISTINCT FROM).
    pub null_equals_null: bool,
    /// When rows of the left and right side can match no longer.
    pub frees: [Option<Close>; 2],
    /// What the condition says of how far times of both sides are apart.
    pub bounds: Vec<TimeBound>,
}

/// Joins each left row with what the right side holds when it comes.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Keys over the left input.
    pub left_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Keys over the right input.
    pub right_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Further condition over left and right columns.
    pub residual: Option<Arc<dyn PhysicalExpr>>,
    /// Whether left rows without a partner are kept.
    pub outer: bool,
    /// Whether NULL keys are equal.
    pub null_equals_null: bool,
}

/// `low <= right - left <= high` for a column of each side of a join; none is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBound {
    /// Index of a left column.
    pub left: usize,
    /// Index of a right column.
    pub right: usize,
    /// Microseconds, or units of a BIGINT time.
    pub low: Option<i64>,
    /// The same.
    pub high: Option<i64>,
}

/// Joins each left row with the right row of its key that is nearest in time.
#[derive(Clone, Debug)]
pub struct AsOf {
    /// Keys over the left input.
    pub left_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Keys over the right input.
    pub right_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Time over the left input.
    pub left_time: Arc<dyn PhysicalExpr>,
    /// Time over the right input.
    pub right_time: Arc<dyn PhysicalExpr>,
    /// Whether right times come after the left one; else before it.
    pub after: bool,
    /// Whether equal times do not match.
    pub strict: bool,
    /// Whether left rows that pick nothing are kept.
    pub outer: bool,
    /// Whether right rows are versions, of which the last column says which are deletions.
    pub versions: bool,
    /// Whether nothing that comes later touches a joined row.
    pub settled: bool,
    /// When rows of the left and right side are final.
    pub frees: [Option<Close>; 2],
}
