//! Intervals compared, ordered and grouped by their length: `1 day` is `24 hours`.
//!
//! # Semantics
//! Where the order or equality of intervals matters, a function gives their lengths in their place:
//! operands of comparisons, keys of ORDER BY, GROUP BY, DISTINCT, joins and windows. A group or an
//! extremum shows one of the intervals of its length: the one with the fewest months, then days,
//! whatever came first.
//!
//! # Why
//! Arrow compares months, then days, then time. With lengths in their place before there are
//! operators, one-shot and continuous queries need to know nothing of it.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::expr_fn::min;
use datafusion::logical_expr::expr::{InSubquery, ScalarFunction};
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Operator,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, SortExpr, Subquery, Volatility, when,
};
use datafusion::optimizer::AnalyzerRule;

use super::arithmetic::type_of;
use super::lower::window_node;
use super::scaled_interval::INTERVAL;
use crate::delta::span;

/// Between intervals and what is compared in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// The length.
    Length,
    /// The length, and how the interval is written.
    Marked,
    /// The interval that was marked.
    Unmarked,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    kind: Kind,
    signature: Signature,
}

impl Kind {
    fn of(self, arg: Expr) -> Expr {
        let signature = Signature::any(1, Volatility::Immutable);
        ScalarUDF::from(Function { kind: self, signature }).call(vec![arg])
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Length => "length_of_time",
            Kind::Marked => "marked_interval",
            Kind::Unmarked => "interval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(if self.kind == Kind::Unmarked { INTERVAL } else { DataType::Binary })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let array = &ColumnarValue::values_to_arrays(&args.args)?[0];
        let array: arrow::array::ArrayRef = match self.kind {
            Kind::Length => Arc::new(span::spans(array)),
            Kind::Marked => Arc::new(span::marked(array)),
            Kind::Unmarked => Arc::new(span::intervals(array.as_binary())),
        };
        if scalar && array.len() == 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// Puts intervals back in the place of their lengths.
pub(super) fn without_lengths(expr: Expr) -> DfResult<Expr> {
    let measured = |call: &ScalarFunction| {
        let function = call.func.inner().downcast_ref::<Function>();
        function.is_some_and(|function| function.kind == Kind::Length)
    };
    let put_back = expr.transform_up(|expr| match expr {
        Expr::ScalarFunction(mut call) if measured(&call) => {
            Ok(Transformed::yes(call.args.swap_remove(0)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(put_back.data)
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    type_of(expr, schema).is_ok_and(|data_type| data_type == INTERVAL)
}

/// Puts an interval's length in its place; returns whether it is one.
fn measure(expr: &mut Expr, schema: &DFSchema) -> bool {
    let found = is_interval(expr, schema);
    if found {
        *expr = Kind::Length.of(std::mem::take(expr));
    }
    found
}

fn measure_all<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    exprs.into_iter().fold(false, |changed, expr| measure(expr, schema) | changed)
}

fn measure_keys(keys: &mut [SortExpr], schema: &DFSchema) -> bool {
    measure_all(keys.iter_mut().map(|key| &mut key.expr), schema)
}

/// Puts lengths in the place of the intervals that an expression compares.
pub(super) fn rewrite(mut expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let changed = match &mut expr {
        Expr::BinaryExpr(binary) if compares(binary.op) => {
            is_interval(&binary.left, schema)
                && is_interval(&binary.right, schema)
                && measure_all([&mut *binary.left, &mut *binary.right], schema)
        }
        Expr::Between(between) => {
            let parts = [&mut *between.expr, &mut *between.low, &mut *between.high];
            is_interval(&*parts[0], schema) && measure_all(parts, schema)
        }
        Expr::InList(list) => {
            is_interval(&list.expr, schema)
                && measure_all(std::iter::once(&mut *list.expr).chain(&mut list.list), schema)
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
            let found = measure(expr, schema);
            if found {
                *subquery = measured(subquery)?;
            }
            found
        }
        Expr::Case(case) => {
            let found = case.expr.as_mut().is_some_and(|subject| measure(subject, schema));
            found
                && measure_all(case.when_then_expr.iter_mut().map(|(when, _)| &mut **when), schema)
        }
        Expr::WindowFunction(function) => {
            let params = &mut function.params;
            measure_all(&mut params.partition_by, schema)
                | measure_keys(&mut params.order_by, schema)
        }
        Expr::AggregateFunction(function) => {
            let params = &mut function.params;
            let counted = params.distinct && function.func.name() == "count";
            measure_keys(&mut params.order_by, schema)
                | (counted && measure_all(&mut params.args, schema))
        }
        Expr::ScalarFunction(function) if is_interval_choice(function.name()) => {
            if !function.args.iter().any(|arg| is_interval(arg, schema)) {
                return Ok(Transformed::no(expr));
            }
            if function.name() == "nullif" {
                let [left, right] = [0, 1].map(|i| function.args[i].clone());
                let same = Kind::Length.of(left.clone()).eq(Kind::Length.of(right));
                let null = Expr::Literal(ScalarValue::IntervalMonthDayNano(None), None);
                return Ok(Transformed::yes(when(same, null).otherwise(left)?));
            }
            for arg in &mut function.args {
                *arg = Kind::Marked.of(std::mem::take(arg));
            }
            return Ok(Transformed::yes(Kind::Unmarked.of(expr)));
        }
        _ => false,
    };
    Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// Whether an operator compares two values.
pub(super) fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Functions that compare their arguments.
fn is_interval_choice(name: &str) -> bool {
    matches!(name, "greatest" | "least" | "nullif")
}

/// A subquery whose column are the lengths of its intervals.
fn measured(query: &Subquery) -> DfResult<Subquery> {
    let inner = query.subquery.as_ref().clone();
    let column = Expr::Column(Column::from(inner.schema().qualified_field(0)));
    let inner = LogicalPlanBuilder::from(inner).project(vec![Kind::Length.of(column)])?.build()?;
    Ok(query.with_plan(Arc::new(inner)))
}

/// The analyzer's rule; expressions are rewritten before it.
#[derive(Debug)]
pub struct IntervalOrder;

impl AnalyzerRule for IntervalOrder {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_node)?.data)
    }

    fn name(&self) -> &str {
        "interval_order"
    }
}

fn rewrite_node(node: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Join(mut join) => {
            let mut changed = false;
            for (left, right) in &mut join.on {
                changed |= measure(left, join.left.schema());
                changed |= measure(right, join.right.schema());
            }
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
        }
        LogicalPlan::Sort(mut sort) => {
            let changed = measure_keys(&mut sort.expr, sort.input.schema());
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), changed))
        }
        LogicalPlan::Distinct(Distinct::On(mut on)) => {
            let schema = Arc::clone(on.input.schema());
            let mut changed = measure_all(&mut on.on_expr, &schema);
            changed |= on.sort_expr.as_mut().is_some_and(|keys| measure_keys(keys, &schema));
            Ok(Transformed::new_transformed(LogicalPlan::Distinct(Distinct::On(on)), changed))
        }
        LogicalPlan::Distinct(Distinct::All(input)) if has_intervals(input.schema()) => {
            let keys = input.schema().iter().map(Expr::from).collect();
            aggregate(Aggregate::try_new(input, keys, vec![])?)
        }
        LogicalPlan::Aggregate(old) => aggregate(old),
        LogicalPlan::Window(window) => extremes_over(LogicalPlan::Window(window)),
        node if window_node(&node).is_some() => {
            let schema = Arc::clone(node.inputs()[0].schema());
            node.map_expressions(|mut expr| {
                let changed = measure(&mut expr, &schema);
                Ok(Transformed::new_transformed(expr, changed))
            })
        }
        node => Ok(Transformed::no(node)),
    }
}

fn has_intervals(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| *field.data_type() == INTERVAL)
}

/// Lets `min` and `max` compare marked intervals; returns whether it is such a call.
fn mark_extremum(call: &mut Expr, schema: &DFSchema) -> bool {
    let (name, args) = match call {
        Expr::Alias(alias) => return mark_extremum(&mut alias.expr, schema),
        Expr::AggregateFunction(call) => (call.func.name(), &mut call.params.args),
        Expr::WindowFunction(call) => (call.fun.name(), &mut call.params.args),
        _ => return false,
    };
    let [arg] = args.as_mut_slice() else { return false };
    let found = matches!(name, "min" | "max") && is_interval(arg, schema);
    if found {
        *arg = Kind::Marked.of(std::mem::take(arg));
    }
    found
}

/// Extrema of intervals OVER windows.
fn extremes_over(node: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(mut window) = node else { return Ok(Transformed::no(node)) };
    let old = Arc::clone(&window.schema);
    let before = window.input.schema().fields().len();
    let mut columns: Vec<Expr> = old.iter().map(Expr::from).collect();
    let mut changed = false;
    for (i, call) in window.window_expr.iter_mut().enumerate() {
        let (qualifier, field) = old.qualified_field(before + i);
        if mark_extremum(call, window.input.schema()) {
            let name = field.name().clone();
            *call = std::mem::take(call).unalias().alias(&name);
            let shown = Kind::Unmarked.of(Expr::Column(Column::new_unqualified(&name)));
            columns[before + i] = shown.alias_qualified(qualifier.cloned(), name);
            changed = true;
        }
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let window =
        LogicalPlanBuilder::from(window.input.as_ref().clone()).window(window.window_expr)?;
    Ok(Transformed::yes(window.project(columns)?.build()?))
}

/// Groups by lengths, and shows the least interval of each.
fn aggregate(mut old: Aggregate) -> DfResult<Transformed<LogicalPlan>> {
    let (schema, input) = (Arc::clone(&old.schema), Arc::clone(old.input.schema()));
    let mut columns: Vec<Expr> = schema.iter().map(Expr::from).collect();
    let (groups, calls) = (columns.len() - old.aggr_expr.len(), old.aggr_expr.len());
    let show = |column: &mut Expr, i: usize, inner: &str| {
        let (qualifier, field) = schema.qualified_field(i);
        let shown = Kind::Unmarked.of(Expr::Column(Column::new_unqualified(inner)));
        *column = shown.alias_qualified(qualifier.cloned(), field.name());
    };
    let mut changed = false;
    for i in 0..calls {
        let call = &mut old.aggr_expr[i];
        if mark_extremum(call, &input) {
            let name = schema.field(groups + i).name();
            *call = std::mem::take(call).unalias().alias(name);
            show(&mut columns[groups + i], groups + i, name);
            changed = true;
        }
    }
    for (i, key) in old.group_expr.iter_mut().enumerate() {
        if is_interval(key, &input) {
            let (name, shown) = (format!("$length{i}"), format!("$interval{i}"));
            let interval = std::mem::take(key).unalias();
            old.aggr_expr.push(min(Kind::Marked.of(interval.clone())).alias(&shown));
            *key = Kind::Length.of(interval).alias(name);
            show(&mut columns[i], i, &shown);
            changed = true;
        }
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Aggregate(old)));
    }
    let new = Aggregate::try_new(old.input, old.group_expr, old.aggr_expr)?;
    let plan = LogicalPlanBuilder::from(LogicalPlan::Aggregate(new)).project(columns)?;
    Ok(Transformed::yes(plan.build()?))
}
