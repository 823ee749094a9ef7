//! Windows as nodes of the logical plan, below DataFusion's own.
//!
//! # Invariants
//! 1. A bracket window's columns are its input's, one for one.
//! 2. A TVF's columns are its input's followed by `window_start`, `window_end` and `window_time`.
//! 3. Predicates move below a window only where they commute with it (LANGUAGE 1.8, law L16): below
//!    a time window all, below a partitioned one and SESSION those on the keys, below ROWS none,
//!    below another TVF those that do not look at the window.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, UserDefinedLogicalNodeCore};

use super::error::Error;
use super::plan::Assigner;
use crate::error::SqlState;
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
        /// Whether a row that is exactly so old is still in it.
        inclusive: bool,
        /// Slide and offset.
        slide: Option<(i64, i64)>,
    },
    /// CURRENT period, in microseconds.
    Current(i64),
    /// ROWS n SLIDE m; without SLIDE m is 1.
    Rows {
        /// How many.
        count: u64,
        /// Rows in a batch.
        slide: u64,
    },
    /// PARTITION BY .. ROWS n [RANGE T]; the expressions are the keys.
    Partitioned {
        /// Rows per partition.
        count: u64,
        /// Further bound by time, in microseconds.
        range: Option<i64>,
    },
    /// TUMBLE, HOP, CUMULATE; the expression is the time column.
    Assign(Assigner),
    /// SESSION; the expressions are the time column, the keys, and, where rows come late, the
    /// watermark that they met.
    Session {
        /// Distance from which a row starts a session.
        gap: i64,
        /// Whether rows come late.
        late: bool,
    },
}

/// In how many windows a row may be: each costs a row of the result.
const WINDOWS_MAX: i64 = 1_000_000;

impl WindowKind {
    /// How far before an instant rows may lie that are in the window then; unknown, if that is not
    /// a matter of time.
    pub fn reach(self) -> Option<i64> {
        match self {
            WindowKind::Range { size, slide, .. } => {
                Some(size.saturating_add(slide.map_or(0, |(slide, _)| slide)))
            }
            WindowKind::Current(_)
            | WindowKind::Rows { .. }
            | WindowKind::Partitioned { .. }
            | WindowKind::Assign(_)
            | WindowKind::Session { .. } => None,
        }
    }

    /// Whether it is a bracket window, not a TVF.
    pub fn is_bracket(self) -> bool {
        match self {
            WindowKind::Range { .. }
            | WindowKind::Current(_)
            | WindowKind::Rows { .. }
            | WindowKind::Partitioned { .. } => true,
            WindowKind::Assign(_) | WindowKind::Session { .. } => false,
        }
    }

    /// Gives a span its value.
    fn set(&mut self, slot: Slot, value: i64) {
        match (self, slot) {
            (WindowKind::Range { size, .. }, Slot::Size)
            | (WindowKind::Partitioned { range: Some(size), .. }, Slot::Size)
            | (WindowKind::Current(size) | WindowKind::Session { gap: size, .. }, Slot::Size)
            | (WindowKind::Assign(Assigner::Hop { size, .. }), Slot::Size)
            | (WindowKind::Assign(Assigner::Cumulate { size, .. }), Slot::Size) => *size = value,
            (WindowKind::Range { slide: Some((slide, _)), .. }, Slot::Slide)
            | (WindowKind::Assign(Assigner::Hop { slide, .. }), Slot::Slide)
            | (WindowKind::Assign(Assigner::Cumulate { step: slide, .. }), Slot::Slide) => {
                *slide = value;
            }
            (WindowKind::Range { slide: Some((_, offset)), .. }, Slot::Offset)
            | (WindowKind::Assign(Assigner::Hop { offset, .. }), Slot::Offset)
            | (WindowKind::Assign(Assigner::Cumulate { offset, .. }), Slot::Offset) => {
                *offset = value;
            }
            (kind, slot) => unreachable!("{kind:?} has no {slot:?}"),
        }
    }

    /// Refuses lengths that make no window.
    fn checked(self) -> DfResult<Self> {
        let invalid = |what: &str, hint: &str| -> DfResult<Self> {
            let (what, hint) = (what.to_owned(), Some(hint.to_owned()));
            let sqlstate = SqlState::INVALID_PARAMETER_VALUE;
            Err(Error::Invalid { what, sqlstate, hint }.into())
        };
        let positive = match self {
            WindowKind::Range { size, inclusive, slide } => {
                let slide = slide.is_none_or(|(slide, _)| slide > 0);
                slide && size >= i64::from(!inclusive)
            }
            WindowKind::Partitioned { range, .. } => range.is_none_or(|range| range > 0),
            WindowKind::Current(size) | WindowKind::Session { gap: size, .. } => size > 0,
            WindowKind::Rows { .. } => true,
            WindowKind::Assign(Assigner::Hop { slide, size, .. }) => slide > 0 && size > 0,
            WindowKind::Assign(Assigner::Cumulate { step, size, .. }) => step > 0 && size > 0,
        };
        if !positive {
            return invalid("the spans of a window must be positive", "Give spans above zero.");
        }
        match self {
            WindowKind::Assign(
                Assigner::Hop { slide: step, size, .. } | Assigner::Cumulate { step, size, .. },
            ) if size / step > WINDOWS_MAX => invalid(
                "a row would be in more than a million windows",
                "Give a longer slide or step, or a shorter size.",
            ),
            WindowKind::Assign(Assigner::Cumulate { step, size, .. }) if size % step != 0 => {
                invalid(
                    "the size of CUMULATE must be a multiple of its step",
                    "Windows grow by the step until they have the size.",
                )
            }
            WindowKind::Assign(Assigner::Hop { slide, size, offset }) => {
                let offset = offset.rem_euclid(slide);
                Ok(WindowKind::Assign(Assigner::Hop { slide, size, offset }))
            }
            WindowKind::Assign(Assigner::Cumulate { step, size, offset }) => {
                let offset = offset.rem_euclid(size);
                Ok(WindowKind::Assign(Assigner::Cumulate { step, size, offset }))
            }
            other => Ok(other),
        }
    }
}

/// Which span of a window a parameter gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// The length, the period or the gap.
    Size,
    /// The slide or step.
    Slide,
    /// The shift of all starts.
    Offset,
}

/// A window over its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowNode {
    /// What it does; spans that parameters give are 1 until they are known.
    pub kind: WindowKind,
    /// Partition keys, or a TVF's time column.
    pub exprs: Vec<Expr>,
    /// Spans that are still parameters: `$1`.
    pub parameters: Vec<(Slot, Expr)>,
    /// The rows it takes.
    pub input: LogicalPlan,
    schema: DFSchemaRef,
}

impl WindowNode {
    /// A window over `input`.
    pub fn new(
        kind: WindowKind,
        exprs: Vec<Expr>,
        parameters: Vec<(Slot, Expr)>,
        input: LogicalPlan,
    ) -> DfResult<Self> {
        for expr in &exprs {
            of_rows(expr)?;
        }
        let schema = match kind.is_bracket() {
            true => Arc::clone(input.schema()),
            false => with_bounds(&input, &exprs[0])?,
        };
        let mut node = Self { kind, exprs, parameters: vec![], input, schema };
        let units =
            !kind.is_bracket() && node.exprs[0].get_type(node.input.schema())? == DataType::Int64;
        for (slot, value) in parameters {
            // A value that took a parameter's place has its name.
            match value.clone().unalias() {
                Expr::Literal(value, _) => {
                    let value = value.cast_to(&span_type(units))?;
                    node.kind.set(slot, span_value(&value, units)?);
                }
                _ => node.parameters.push((slot, value)),
            }
        }
        if node.parameters.is_empty() {
            node.kind = node.kind.checked()?;
        }
        Ok(node)
    }

    /// The keys of SESSION; of anything else nothing.
    pub fn session_keys(&self) -> &[Expr] {
        match self.kind {
            WindowKind::Session { late, .. } => {
                &self.exprs[1..self.exprs.len() - usize::from(late)]
            }
            _ => &[],
        }
    }
}

/// Refuses what is not computed of single rows.
fn of_rows(expr: &Expr) -> DfResult<()> {
    expr.apply(|expr| {
        let (kind, sqlstate) = match expr {
            Expr::AggregateFunction(_) => ("aggregate", SqlState::GROUPING_ERROR),
            Expr::WindowFunction(_) => ("window", SqlState::WINDOWING_ERROR),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        let what = format!("{kind} functions are not allowed in window definitions");
        let hint = "Compute it in a subquery; the keys of a window are columns of its rows.";
        Err(Error::Invalid { what, sqlstate, hint: Some(hint.into()) }.into())
    })?;
    Ok(())
}

/// The columns of a TVF: those of its input and the bounds of windows.
fn with_bounds(input: &LogicalPlan, time: &Expr) -> DfResult<DFSchemaRef> {
    let window_type = match time.get_type(input.schema())? {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone),
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
    Ok(Arc::new(DFSchema::new_with_metadata(fields, metadata)?))
}

/// The type of a span: an interval, or, where times are numbers (`units`), a number.
pub fn span_type(units: bool) -> DataType {
    if units { DataType::Int64 } else { DataType::Interval(IntervalUnit::MonthDayNano) }
}

/// The length that a constant stands for: an interval in microseconds, or, where times are numbers
/// (`units`), a number.
pub fn span_value(value: &ScalarValue, units: bool) -> DfResult<i64> {
    let wrong = || -> DataFusionError {
        let hint = match units {
            true => "Write an integer, as the time column is one.",
            false => "Write for example INTERVAL '5 minutes'.",
        };
        let what = format!("the span {value} is not a constant interval");
        Error::Windowing { what, hint: hint.into() }.into()
    };
    match value {
        ScalarValue::Int64(Some(span)) if units => Ok(*span),
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months != 0 => {
            Err(Error::Windowing {
                what: "a span in months or years has no fixed length".into(),
                hint: "Give the span in days or smaller units.".into(),
            }
            .into())
        }
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            Ok(i64::from(interval.days) * 86_400_000_000 + interval.nanoseconds / 1_000)
        }
        _ => Err(wrong()),
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
        self.exprs.iter().chain(self.parameters.iter().map(|(_, value)| value)).cloned().collect()
    }

    #[expect(clippy::disallowed_types, reason = "the trait's own signature")]
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let all = || self.schema.fields().iter().map(|f| f.name().clone());
        let not = |keys: &[Expr]| {
            let keys: Vec<_> = keys.iter().map(Expr::qualified_name).collect();
            all().filter(|name| !keys.iter().any(|(_, key)| key == name)).collect()
        };
        match self.kind {
            WindowKind::Range { .. } | WindowKind::Current(_) => std::collections::HashSet::new(),
            WindowKind::Rows { .. } => all().collect(),
            WindowKind::Partitioned { .. } => not(&self.exprs),
            WindowKind::Session { .. } => not(self.session_keys()),
            WindowKind::Assign(_) => TVF_COLUMNS.map(str::to_owned).into_iter().collect(),
        }
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window {:?} {:?}", self.kind, self.exprs)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let values = exprs.split_off(self.exprs.len());
        let parameters = self.parameters.iter().map(|(slot, _)| *slot).zip(values).collect();
        Self::new(self.kind, exprs, parameters, inputs.swap_remove(0))
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // Output columns are input columns of the same index; a TVF's own follow them.
        let width = self.input.schema().fields().len();
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
