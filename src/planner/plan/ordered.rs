//! Operators that put rows in order: OVER, and the first rows.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::logical_expr::WindowFrame;
use datafusion::physical_expr::PhysicalExpr;

use super::{Call, Close};
use crate::sql::Exclude;

/// Sort keys.
pub type SortKeys = Vec<(Arc<dyn PhysicalExpr>, SortOptions)>;

/// Functions of the rows around each row; the output is the input's columns, then the calls.
#[derive(Clone, Debug)]
pub struct Over {
    /// PARTITION BY.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// ORDER BY.
    pub keys: SortKeys,
    /// What orders peers.
    pub ties: Vec<Arc<dyn PhysicalExpr>>,
    /// The calls.
    pub calls: Vec<OverCall>,
    /// The column of `partition` by which the watermark makes partitions final.
    pub closes: Option<Close>,
    /// When the watermark makes rows final by the first key (column 0).
    pub trims: Option<Close>,
}

/// One call of OVER.
#[derive(Clone, Debug)]
pub struct OverCall {
    /// What is called.
    pub function: OverFunction,
    /// ROWS, RANGE or GROUPS.
    pub frame: WindowFrame,
    /// What the frame leaves out.
    pub exclude: Exclude,
}

/// A function of OVER, as in `operators::over`.
#[derive(Clone, Debug)]
pub enum OverFunction {
    /// row_number, rank, dense_rank.
    Number(Counting),
    /// percent_rank.
    PercentRank,
    /// cume_dist.
    CumeDist,
    /// ntile(n).
    Ntile(i64),
    /// lag, and lead with a negative offset.
    Shift {
        /// What is read.
        value: Arc<dyn PhysicalExpr>,
        /// So many rows before.
        offset: i64,
        /// Where there is no row.
        default: Option<Arc<dyn PhysicalExpr>>,
        /// IGNORE NULLS.
        ignore_nulls: bool,
    },
    /// first_value, nth_value(n), last_value (-1).
    Pick {
        /// What is read.
        value: Arc<dyn PhysicalExpr>,
        /// Which row of the frame.
        place: i64,
        /// IGNORE NULLS.
        ignore_nulls: bool,
    },
    /// An aggregate of the frame.
    Aggregate(Call),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Rows: row_number.
    Rows,
    /// Positions of first peers: rank, WITH TIES.
    Ranks,
    /// Groups of peers: dense_rank.
    Groups,
}

/// The first rows of an order, of each partition.
#[derive(Clone, Debug)]
pub struct TopN {
    /// What has first rows of its own.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// Sort keys.
    pub keys: SortKeys,
    /// What orders rows of equal keys.
    pub ties: Vec<Arc<dyn PhysicalExpr>>,
    /// What `fetch` counts.
    pub counting: Counting,
    /// Whether the number is appended as a column.
    pub numbered: bool,
    /// The column of `partition` by which the watermark makes partitions final.
    pub closes: Option<Close>,
    /// Rows left out at the start.
    pub skip: usize,
    /// Rows kept after those; `None` keeps the rest.
    pub fetch: Option<usize>,
}
