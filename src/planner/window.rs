//! Windows as nodes of the logical plan, below DataFusion's own.
//!
//! # Invariants
//! 1. A bracket window's columns are its input's, one for one.
//! 2. A TVF's columns are its input's followed by `window_start`, `window_end` and `window_time`.
//! 3. Predicates move below a window only where they commute with it (LANGUAGE 1.8, law L16): below
//!    a time
//!    window all, below a partitioned one those on its keys, below ROWS none, below a TVF those
//!    that do not
//!    look at the window.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::plan::Hopping;
use crate::time::Timestamp;

/// Names of the columns a TVF appends.
pub const TVF_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// What a window does; its expressions are kept beside it in [`WindowNode::exprs`]. Bracket windows
/// look at
/// the time that each change carries, so they need no time column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum WindowKind {
    /// NOW (size 1), RANGE, RANGE .. SLIDE.
    Range {
        /// Length in microseconds.
        size: i64,
        /// Slide and offset.
        slide: Option<(i64, i64)>,
    },
    /// ROWS n.
    Rows(u64),
    /// PARTITION BY .. ROWS n [RANGE T]; the expressions are the keys.
    Partitioned {
        /// Rows per partition.
        count: u64,
        /// Further bound by time, in microseconds.
        range: Option<i64>,
    },
    /// A TVF; the expression is the time column.
    Assign(Hopping),
}

/// A window over its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowNode {
    /// What it does.
    pub kind: WindowKind,
    /// Partition keys, or a TVF's time column.
    pub exprs: Vec<Expr>,
    /// The rows it takes.
    pub input: LogicalPlan,
    schema: DFSchemaRef,
}

impl WindowNode {
    /// A window over `input`.
    pub fn new(kind: WindowKind, exprs: Vec<Expr>, input: LogicalPlan) -> DfResult<Self> {
        let schema = match kind {
            WindowKind::Assign(_) => {
                use datafusion::logical_expr::ExprSchemable;
                let time = exprs[0].get_type(input.schema())?;
                let window_type = match &time {
                    DataType::Timestamp(_, zone) => {
                        DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
                    }
                    _ => DataType::Int64,
                };
                let qualifier = input.schema().iter().next().and_then(|(q, _)| q.cloned());
                let mut fields: Vec<_> =
                    input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
                for name in TVF_COLUMNS {
                    let field = Arc::new(Field::new(name, window_type.clone(), true));
                    fields.push((qualifier.clone(), field));
                }
                let metadata = input.schema().metadata().clone();
                Arc::new(DFSchema::new_with_metadata(fields, metadata)?)
            }
            WindowKind::Range { .. } | WindowKind::Rows(_) | WindowKind::Partitioned { .. } => {
                Arc::clone(input.schema())
            }
        };
        Ok(Self { kind, exprs, input, schema })
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.kind, &self.exprs, &self.input).partial_cmp(&(other.kind, &other.exprs, &other.input))
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.exprs.clone()
    }

    #[expect(clippy::disallowed_types, reason = "the trait's own signature")]
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let all = || self.schema.fields().iter().map(|f| f.name().clone());
        match self.kind {
            WindowKind::Range { .. } => std::collections::HashSet::new(),
            WindowKind::Rows(_) => all().collect(),
            WindowKind::Partitioned { .. } => {
                let keys: Vec<_> = self.exprs.iter().map(Expr::qualified_name).collect();
                all().filter(|name| !keys.iter().any(|(_, key)| key == name)).collect()
            }
            WindowKind::Assign(_) => TVF_COLUMNS.map(str::to_owned).into_iter().collect(),
        }
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window {:?} {:?}", self.kind, self.exprs)
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        Self::new(self.kind, exprs, inputs.swap_remove(0))
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // All output columns are made of input columns of the same index; pruning them would shift
        // the
        // window columns of a TVF, so it is left alone unless every input column stays in place.
        let width = self.input.schema().fields().len();
        if matches!(self.kind, WindowKind::Assign(_)) {
            return None;
        }
        let schema = self.input.schema();
        let mut needed: Vec<usize> =
            output_columns.iter().copied().filter(|i| *i < width).collect();
        for expr in &self.exprs {
            let columns = expr.column_refs().into_iter();
            let columns = columns.map(|column| schema.maybe_index_of_column(column));
            needed.extend(columns.collect::<Option<Vec<_>>>()?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Returns how a span shows in EXPLAIN, e.g. `1 h`, `5 min`, `30 s`, `250 ms`, `7 us`.
pub fn span_text(micros: i64) -> String {
    const UNITS: [(i64, &str); 5] =
        [(3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms"), (1, "us")];
    let (size, unit) = UNITS.into_iter().find(|(size, _)| micros % size == 0).unwrap_or((1, "us"));
    if Timestamp(micros) == Timestamp::MAX {
        return "for ever".to_owned();
    }
    format!("{} {unit}", micros / size)
}
