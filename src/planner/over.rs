//! OVER as a node of the logical plan.
//!
//! # Semantics
//! An [`OverNode`] appends a column per call to its input; its calls have one PARTITION BY and one
//! ORDER BY. It differs from DataFusion's in that ties are broken (module `arrival`), and in that
//! numbers are bigint as in Postgres.
//!
//! # Invariants
//! 1. The columns are the input's, one for one, then the calls.
//! 2. Predicates move below only if they look at nothing but PARTITION BY columns.
//! 3. Where ties matter and nothing but the whole row breaks them, no column of the input is
//!    pruned: results do not depend on what else is selected.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::utils::exprlist_to_fields;
use datafusion::logical_expr::{
    self as logical, Expr, ExprSchemable, Extension, LogicalPlan, SortExpr,
    UserDefinedLogicalNodeCore, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::scalar::ScalarValue;

use super::arrival::with_arrival;
use super::error::Error;
use super::scaled_interval::INTERVAL;
use crate::error::SqlState;
use crate::sql::Exclude;
use crate::sql::types::pg_type_name;

/// Calls over the rows of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OverNode {
    /// The calls: window functions, perhaps under an alias.
    pub calls: Vec<Expr>,
    /// What the frame of each call leaves out.
    pub excludes: Vec<Exclude>,
    /// What orders peers, before the whole row.
    pub ties: Vec<Expr>,
    /// The rows.
    pub input: LogicalPlan,
    schema: DFSchemaRef,
}

impl OverNode {
    /// Calls over `input`, with what their frames leave out.
    pub fn new(
        (calls, excludes): (Vec<Expr>, Vec<Exclude>),
        ties: Vec<Expr>,
        input: LogicalPlan,
    ) -> DfResult<Self> {
        let mut fields: Vec<_> =
            input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        for (call, (qualifier, field)) in calls.iter().zip(exprlist_to_fields(&calls, &input)?) {
            let data_type = number_type(call).unwrap_or_else(|| field.data_type().clone());
            let field = Field::new(field.name(), data_type, true);
            fields.push((qualifier, Arc::new(field)));
        }
        let metadata = input.schema().metadata().clone();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, metadata)?);
        Ok(Self { calls, excludes, ties, input, schema })
    }

    /// PARTITION BY and ORDER BY.
    pub fn clause(&self) -> (&[Expr], &[SortExpr]) {
        self.calls.first().and_then(window_call).map_or((&[], &[]), clause)
    }
}

/// The window function that a call is.
pub(super) fn window_call(call: &Expr) -> Option<&WindowFunction> {
    match call {
        Expr::WindowFunction(call) => Some(call),
        Expr::Alias(alias) => window_call(&alias.expr),
        _ => None,
    }
}

fn clause(call: &WindowFunction) -> (&[Expr], &[SortExpr]) {
    let WindowFunctionParams { partition_by, order_by, .. } = &call.params;
    (partition_by, order_by)
}

/// The type that Postgres gives to numbers of rows, which DataFusion has unsigned.
fn number_type(call: &Expr) -> Option<DataType> {
    let call = window_call(call)?;
    match (&call.fun, call.fun.name()) {
        (WindowFunctionDefinition::AggregateUDF(_), _) => None,
        (_, "row_number" | "rank" | "dense_rank") => Some(DataType::Int64),
        (_, "ntile") => Some(DataType::Int32),
        _ => None,
    }
}

/// Whether a call's value depends on the order of peers.
fn ties_matter(call: &Expr) -> bool {
    let Some(call) = window_call(call) else { return false };
    let frame = &call.params.window_frame;
    let whole = frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded();
    match call.fun.name() {
        "rank" | "dense_rank" | "percent_rank" | "cume_dist" => false,
        "count" | "sum" | "avg" | "min" | "max" | "bool_and" | "bool_or" => {
            frame.units == WindowFrameUnits::Rows && !whole
        }
        _ => true,
    }
}

/// DataFusion takes a number for seconds where the ORDER BY key is a time; Postgres refuses it.
fn refuse_number_of_time(call: &Expr, schema: &DFSchema) -> DfResult<()> {
    let Some(call) = window_call(call) else { return Ok(()) };
    let frame = &call.params.window_frame;
    let [key] = &call.params.order_by[..] else { return Ok(()) };
    let number = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(ScalarValue::Utf8(Some(by)))
        | WindowFrameBound::Following(ScalarValue::Utf8(Some(by))) => by.parse::<f64>().is_ok(),
        _ => false,
    };
    let numbers = number(&frame.start_bound) || number(&frame.end_bound);
    if frame.units != WindowFrameUnits::Range || !numbers {
        return Ok(());
    }
    let of = key.expr.get_type(schema)?;
    if !of.is_temporal() {
        return Ok(());
    }
    let of = pg_type_name(&of);
    let what = format!(
        "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {of} and offset \
         type integer"
    );
    let hint = "Write an interval such as INTERVAL '1 minute'.".to_owned();
    Err(Error::Unsupported { what, hint }.into())
}

/// A call in the form in which it is computed, under the name that it has, and what its frame
/// leaves out.
fn computed(mut call: Expr, schema: &DFSchema) -> DfResult<(Expr, Exclude)> {
    let name = call.schema_name().to_string();
    let Expr::WindowFunction(function) = &mut call else { return Ok((call, Exclude::NoOthers)) };
    let exclude = unmark(function);
    let changed = by_groups(function, schema)? || exclude.is_some();
    let call = if changed { call.alias(name) } else { call };
    Ok((call, exclude.unwrap_or_default()))
}

/// Takes out the mark that says what a frame leaves out.
fn unmark(function: &mut WindowFunction) -> Option<Exclude> {
    let mut found = None;
    function.params.partition_by.retain(|expr| {
        let mark = match expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Exclude::of_mark(text),
            _ => None,
        };
        found = found.or(mark);
        mark.is_none()
    });
    found
}

/// Makes GROUPS of RANGE where keys are intervals and no bound is a distance: then both mean the
/// same, and DataFusion knows no RANGE of intervals. Returns whether it did.
fn by_groups(function: &mut WindowFunction, schema: &DFSchema) -> DfResult<bool> {
    let (frame, keys) = (&mut function.params.window_frame, &function.params.order_by);
    let mut intervals = false;
    for key in keys {
        intervals |= key.expr.get_type(schema)? == INTERVAL;
    }
    if frame.units != WindowFrameUnits::Range || !intervals {
        return Ok(false);
    }
    for bound in [&mut frame.start_bound, &mut frame.end_bound] {
        match bound {
            WindowFrameBound::CurrentRow => {}
            WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) if by.is_null() => {
                *by = ScalarValue::UInt64(None);
            }
            _ => {
                return Err(Error::Unsupported {
                    what: "RANGE with an offset over intervals is not supported yet".into(),
                    hint: "Use ROWS or GROUPS, or order by extract(epoch from ..).".into(),
                }
                .into());
            }
        }
    }
    frame.units = WindowFrameUnits::Groups;
    Ok(true)
}

/// Refuses frames that end before they can start, as Postgres does.
fn refuse_backward_frame(call: &Expr) -> DfResult<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let Some(call) = window_call(call) else { return Ok(()) };
    let frame = &call.params.window_frame;
    let what = match (&frame.start_bound, &frame.end_bound) {
        (CurrentRow, Preceding(_)) => "frame starting from current row cannot have preceding rows",
        (Following(_), Preceding(_) | CurrentRow) => {
            "frame starting from following row cannot have preceding rows"
        }
        _ => return Ok(()),
    };
    let (what, sqlstate) = (what.to_owned(), SqlState::WINDOWING_ERROR);
    Err(Error::Invalid { what, sqlstate, hint: None }.into())
}

/// Makes our nodes of DataFusion's window node.
pub(super) fn rewrite(window: logical::Window) -> DfResult<LogicalPlan> {
    for call in &window.window_expr {
        refuse_backward_frame(call)?;
        refuse_number_of_time(call, window.input.schema())?;
    }
    let columns: Vec<Expr> = window.schema.columns().into_iter().map(Expr::Column).collect();
    let mut input = Arc::unwrap_or_clone(window.input);
    let mut ties = Vec::new();
    if window.window_expr.iter().any(ties_matter)
        && let Some((with_order, order)) = with_arrival(&input)?
    {
        (input, ties) = (with_order, order);
    }
    let mut clauses: Vec<(Vec<Expr>, Vec<Exclude>)> = Vec::new();
    let of = |call: &Expr| window_call(call).map(clause).map(|(p, o)| (p.to_vec(), o.to_vec()));
    for call in window.window_expr {
        let (call, exclude) = computed(call, input.schema())?;
        match clauses.iter_mut().find(|(calls, _)| of(&calls[0]) == of(&call)) {
            Some((calls, excludes)) => {
                calls.push(call);
                excludes.push(exclude);
            }
            None => clauses.push((vec![call], vec![exclude])),
        }
    }
    for calls in clauses {
        let node = Arc::new(OverNode::new(calls, ties.clone(), input)?);
        input = LogicalPlan::Extension(Extension { node });
    }
    let same = input.schema().columns().into_iter().map(Expr::Column).eq(columns.iter().cloned());
    if same {
        return Ok(input);
    }
    let projection = logical::Projection::try_new(columns, Arc::new(input))?;
    Ok(LogicalPlan::Projection(projection))
}

impl PartialOrd for OverNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.calls, &self.ties, &self.input).partial_cmp(&(
            &other.calls,
            &other.ties,
            &other.input,
        ))
    }
}

impl UserDefinedLogicalNodeCore for OverNode {
    fn name(&self) -> &str {
        "Over"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.calls.iter().chain(&self.ties).cloned().collect()
    }

    #[expect(clippy::disallowed_types, reason = "the trait's own signature")]
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let (partition, _) = self.clause();
        let keys: Vec<&Column> = partition.iter().filter_map(Expr::try_as_col).collect();
        let names = self.schema.fields().iter().map(|field| field.name().clone());
        names.filter(|name| !keys.iter().any(|key| key.name == *name)).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Over {:?}", self.calls)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let ties = exprs.split_off(self.calls.len());
        Self::new((exprs, self.excludes.clone()), ties, inputs.swap_remove(0))
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        if self.ties.is_empty() && self.calls.iter().any(ties_matter) {
            return None;
        }
        let schema = self.input.schema();
        needed(output_columns, &self.expressions(), schema).map(|needed| vec![needed])
    }
}

/// Columns of an input that are asked for or that expressions name.
pub(super) fn needed(
    output_columns: &[usize],
    exprs: &[Expr],
    input: &DFSchema,
) -> Option<Vec<usize>> {
    let width = input.fields().len();
    let mut needed: Vec<usize> = output_columns.iter().copied().filter(|i| *i < width).collect();
    for expr in exprs {
        let columns = expr.column_refs().into_iter();
        let columns = columns.map(|column| input.maybe_index_of_column(column));
        needed.extend(columns.collect::<Option<Vec<_>>>()?);
    }
    needed.sort_unstable();
    needed.dedup();
    Some(needed)
}
