//! Panes: overlapping windows are aggregated in pieces that they share.
//!
//! # Semantics
//! HOP and CUMULATE put a row into every window that overlaps it. All their bounds are multiples of
//! one length, the pane, so that a window is a union of panes: rows are aggregated per pane, and
//! panes, not rows, are assigned to windows and merged.
//!
//! ```text
//!   Aggregate [k, window_end] sum(v)        Project    cast the result back
//!     Assign HOP 10 min every 1 min           Aggregate [k, window_end] sum(part)
//!       Scan                            =>      Assign HOP 10 min every 1 min
//!                                                 Aggregate [k, pane] sum(v) as part
//!                                                   Assign TUMBLE 1 min
//!                                                     Scan
//! ```
//! This holds for calls whose result over a union follows exactly from the results over its parts:
//! count, sum and avg of integers, sum of decimals, min, max, and the boolean and bitwise ones.
//! Others, sums of floats among them, are left as they are, with all calls beside them.
//!
//! # Cost
//! A row costs one update, and a pane that changed one per window, where each row did. Panes that
//! are much shorter than the slide would save nothing and are not used.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprSchemable, Extension, LogicalPlan, LogicalPlanBuilder, cast,
    col,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::lower::window_node;
use super::plan::Assigner;
use super::window::{WindowKind, WindowNode};

/// The column that tells panes apart: their last tick, so that a window's last pane is final when
/// the window is.
const PANE: &str = "$pane";

/// Panes in a slide from which they are too short to be worth it.
const PANES_PER_SLIDE_MAX: i64 = 16;

/// The integers of 64 bits, and sums of them.
const WHOLE: DataType = DataType::Decimal128(20, 0);

/// Rewrites aggregates of overlapping windows.
#[derive(Debug)]
pub(super) struct Panes;

impl OptimizerRule for Panes {
    fn name(&self) -> &'static str {
        "panes"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Aggregate(aggregate) => match in_panes(aggregate)? {
                Some(rewritten) => Ok(Transformed::yes(rewritten)),
                None => Ok(Transformed::no(plan)),
            },
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// A call in two steps: over the rows of a pane, and over the panes of a window.
struct Split {
    /// Aggregates of rows.
    parts: Vec<Expr>,
    /// What merges each part.
    merges: Vec<Arc<AggregateUDF>>,
    /// Whether the result is the quotient of the two merges, and not the only one.
    quotient: bool,
}

/// A window function below an aggregate.
struct Below<'a> {
    window: &'a WindowNode,
    /// The columns of the aggregate's input as expressions over those of the window.
    columns: Vec<Expr>,
}

/// Returns the aggregate in panes, if it is one that can be.
fn in_panes(aggregate: &Aggregate) -> DfResult<Option<LogicalPlan>> {
    let Some(Below { window, columns }) = below(&aggregate.input)? else { return Ok(None) };
    let WindowKind::Assign(assigner) = window.kind else { return Ok(None) };
    let Some(pane) = pane(assigner) else { return Ok(None) };
    let schema = aggregate.input.schema();
    let moved = |expr: &Expr| replaced(expr.clone(), schema, &columns);
    let groups = aggregate.group_expr.iter().map(moved).collect::<DfResult<Vec<_>>>()?;
    let calls = aggregate.aggr_expr.iter().map(moved).collect::<DfResult<Vec<_>>>()?;
    let input = window.input.schema();
    let of_window = |column: &Column| !input.has_column(column);
    let on_window = |expr: &Expr| expr.column_refs().into_iter().any(of_window);
    let on_both = |expr: &Expr| {
        on_window(expr) && expr.column_refs().into_iter().any(|column| input.has_column(column))
    };
    let twice = |i: usize| groups[..i].contains(&groups[i]);
    let grouping_set = |group: &Expr| matches!(group, Expr::GroupingSet(_));
    if groups.is_empty()
        || groups.iter().any(|group| grouping_set(group) || on_both(group))
        || (0..groups.len()).any(twice)
        || calls.iter().any(on_window)
        || input.has_column(&Column::from_name(PANE))
    {
        return Ok(None);
    }
    let splits = calls.into_iter().map(|call| split(call, input));
    let Some(splits) = splits.collect::<DfResult<Option<Vec<Split>>>>()? else { return Ok(None) };
    let keys = groups.iter().filter(|group| !on_window(group)).cloned().collect();
    let parts = splits.iter().flat_map(|split| split.parts.iter().cloned()).collect();
    let partial = partial(window, pane, keys, parts)?;
    let windows = assign(assigner, col(Column::from_name(PANE)), partial)?;
    let bounds = windows.schema().columns().split_off(windows.schema().fields().len() - 3);
    let mut keys = (0..).map(key_name);
    let groups = groups.into_iter().map(|group| match on_window(&group) {
        false => Ok(col(Column::from_name(keys.next().expect("endless")))),
        true => with_bounds(group, &bounds),
    });
    let groups = groups.collect::<DfResult<Vec<_>>>()?;
    merged(aggregate, windows, groups, &splits).map(Some)
}

/// The window function that a plan passes on, seen through projections.
fn below(plan: &LogicalPlan) -> DfResult<Option<Below<'_>>> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => below(&alias.input),
        LogicalPlan::Projection(projection) => {
            let Some(Below { window, columns }) = below(&projection.input)? else {
                return Ok(None);
            };
            let schema = projection.input.schema();
            let exprs = projection.expr.iter().cloned().map(Expr::unalias);
            let columns = exprs.map(|expr| replaced(expr, schema, &columns));
            Ok(Some(Below { window, columns: columns.collect::<DfResult<_>>()? }))
        }
        other => Ok(window_node(other).map(|window| {
            let columns = other.schema().columns().into_iter().map(Expr::Column).collect();
            Below { window, columns }
        })),
    }
}

/// The length of panes, if windows overlap and panes are worth it.
fn pane(assigner: Assigner) -> Option<i64> {
    match assigner {
        Assigner::Cumulate { step, size, .. } => (size > step).then_some(step),
        Assigner::Hop { slide, size, .. } => {
            let (mut pane, mut rest) = (slide, size % slide);
            while rest > 0 {
                (pane, rest) = (rest, pane % rest);
            }
            (size >= 2 * slide && slide / pane <= PANES_PER_SLIDE_MAX).then_some(pane)
        }
    }
}

/// Puts expressions in the place of columns.
fn replaced(expr: Expr, schema: &DFSchema, by: &[Expr]) -> DfResult<Expr> {
    let replaced = expr.transform(|expr| match &expr {
        Expr::Column(column) => Ok(Transformed::yes(by[schema.index_of_column(column)?].clone())),
        _ => Ok(Transformed::no(expr)),
    });
    Ok(replaced?.data)
}

/// Puts the bounds of other windows in the place of bounds.
fn with_bounds(expr: Expr, bounds: &[Column]) -> DfResult<Expr> {
    let replaced = expr.transform(|expr| match &expr {
        Expr::Column(column) => {
            let bound = bounds.iter().find(|bound| bound.name == column.name);
            Ok(Transformed::yes(Expr::Column(bound.unwrap_or(column).clone())))
        }
        _ => Ok(Transformed::no(expr)),
    });
    Ok(replaced?.data)
}

/// Splits a call, if it can be.
fn split(call: Expr, schema: &DFSchema) -> DfResult<Option<Split>> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = call.unalias() else {
        return Ok(None);
    };
    let plain = params.order_by.is_empty() && params.null_treatment.is_none();
    if !plain || (params.distinct && !matches!(func.name(), "min" | "max")) {
        return Ok(None);
    }
    let part = |func: Arc<AggregateUDF>, args: Vec<Expr>| {
        let params = AggregateFunctionParams { args, ..params.clone() };
        Expr::AggregateFunction(AggregateFunction { func, params })
    };
    let one = |part: Expr, merge: Arc<AggregateUDF>| {
        Ok(Some(Split { parts: vec![part], merges: vec![merge], quotient: false }))
    };
    let args = params.args.clone();
    match (func.name(), args.as_slice()) {
        ("count", _) => one(part(func, args), sum_udaf()),
        ("min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "bit_xor", [_]) => {
            one(part(Arc::clone(&func), args), func)
        }
        ("sum", [arg]) => match arg.get_type(schema)? {
            // A part may need more digits than the whole, where others take away from it.
            DataType::Int64 | DataType::UInt64 => {
                one(part(func, vec![cast(arg.clone(), WHOLE)]), sum_udaf())
            }
            DataType::Decimal128(precision, _) if precision <= 18 => {
                one(part(func, args), sum_udaf())
            }
            _ => Ok(None),
        },
        ("avg", [Expr::Cast(average)]) if average.field.data_type() == &DataType::Float64 => {
            let arg = average.expr.as_ref();
            if !arg.get_type(schema)?.is_integer() {
                return Ok(None);
            }
            let sum = part(sum_udaf(), vec![cast(arg.clone(), WHOLE)]);
            let count = part(count_udaf(), vec![arg.clone()]);
            let merges = vec![sum_udaf(), sum_udaf()];
            Ok(Some(Split { parts: vec![sum, count], merges, quotient: true }))
        }
        _ => Ok(None),
    }
}

fn key_name(i: usize) -> String {
    format!("$key{i}")
}

fn part_name(i: usize) -> String {
    format!("$part{i}")
}

/// Aggregates the rows of each pane.
fn partial(
    window: &WindowNode,
    pane: i64,
    keys: Vec<Expr>,
    parts: Vec<Expr>,
) -> DfResult<LogicalPlan> {
    let (Assigner::Hop { offset, .. } | Assigner::Cumulate { offset, .. }) = match window.kind {
        WindowKind::Assign(assigner) => assigner,
        _ => unreachable!("only windows that rows are assigned to have panes"),
    };
    let tumble = Assigner::tumble(pane, offset.rem_euclid(pane));
    let panes = assign(tumble, window.exprs[0].clone(), window.input.clone())?;
    let last = panes.schema().columns().pop().expect("a window function appends columns");
    let last = Expr::Column(last).alias(PANE);
    let named = |(i, expr): (usize, Expr), name: fn(usize) -> String| expr.unalias().alias(name(i));
    let groups = keys.into_iter().enumerate().map(|key| named(key, key_name)).chain([last]);
    let parts = parts.into_iter().enumerate().map(|part| named(part, part_name));
    let aggregate = Aggregate::try_new(Arc::new(panes), groups.collect(), parts.collect())?;
    Ok(LogicalPlan::Aggregate(aggregate))
}

/// Assigns windows by a time.
fn assign(assigner: Assigner, time: Expr, input: LogicalPlan) -> DfResult<LogicalPlan> {
    let node = WindowNode::new(WindowKind::Assign(assigner), vec![time], vec![], input)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// Merges the panes of each window, under the names and types of the original aggregate.
fn merged(
    original: &Aggregate,
    windows: LogicalPlan,
    groups: Vec<Expr>,
    splits: &[Split],
) -> DfResult<LogicalPlan> {
    let width = groups.len();
    let merges = splits.iter().flat_map(|split| &split.merges).enumerate().map(|(i, merge)| {
        let args = vec![col(Column::from_name(part_name(i)))];
        let call = AggregateFunction::new_udf(Arc::clone(merge), args, false, None, vec![], None);
        Expr::AggregateFunction(call).alias(part_name(i))
    });
    let merges: Vec<Expr> = merges.collect();
    let aggregate = Aggregate::try_new(Arc::new(windows), groups, merges)?;
    let mut columns = aggregate.schema.columns().into_iter().map(Expr::Column);
    let mut results: Vec<Expr> = columns.by_ref().take(width).collect();
    for split in splits {
        let mut next = || columns.next().expect("every part is merged");
        results.push(match split.quotient {
            false => next(),
            true => cast(next(), DataType::Float64) / cast(next(), DataType::Float64),
        });
    }
    let named = results.into_iter().zip(original.schema.iter()).map(|(result, (of, field))| {
        let typed = result.get_type(&aggregate.schema)? == *field.data_type();
        let result = if typed { result } else { cast(result, field.data_type().clone()) };
        Ok(result.alias_qualified(of.cloned(), field.name()))
    });
    let named = named.collect::<DfResult<Vec<_>>>()?;
    LogicalPlanBuilder::from(LogicalPlan::Aggregate(aggregate)).project(named)?.build()
}
