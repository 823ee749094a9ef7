//! Temporal filters: comparisons of a row with `now()` in a maintained query.
//!
//! # Semantics
//! `WHERE ts > now() - INTERVAL '1 hour'` holds for a row from the beginning until `now()` reaches
//! `ts + 1 hour`. So each comparison of `now()` with a function of the row bounds the times at
//! which the row is there, and a conjunction of them is a lifetime: `from <= now() < until`. Where
//! a bound is NULL the row is never there. `now()` is the clock of the block: the instant on the
//! EVENT clock, the commit's time on the ARRIVAL clock.
//!
//! ```text
//!  now() <  e    until e            now() - i <  e    until e + i
//!  now() <= e    until e + 1 µs     e <= now() + i    from e - i
//!  now() >= e    from e             now() - e < i     until e + i
//!  now() >  e    from e + 1 µs      now() BETWEEN a AND b, and with sides exchanged
//! ```
//!
//! Everywhere else `now()` is refused: the value of the query would change at every instant.
//! Intervals are constants without months, whose length is not fixed.
//!
//! # References
//! LANGUAGE 3.1 and 7.2 (error E8); Materialize, temporal filters.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable, Extension, Filter, Join, JoinType, LogicalPlan,
    Operator, UserDefinedLogicalNodeCore, cast,
};
use datafusion::physical_expr::create_physical_expr;

use super::derive;
use super::error::Error;
use super::interval_order::without_lengths;
use super::lower::{Lowering, later, one_row};
use super::plan::{Clock, Node, Op, ScanKind, Temporal};
use super::relation::RelationSource;

/// Keeps rows while the clock is within their lifetime.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TemporalNode {
    /// Bounds: expressions over the input's columns, timestamps in microseconds.
    pub bounds: Vec<Expr>,
    /// What each of them bounds.
    pub kinds: Vec<Bound>,
    /// The input.
    pub input: LogicalPlan,
}

/// What an instant e says of a row's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// It begins at e.
    From,
    /// It begins after e.
    After,
    /// It ends before e.
    Until,
    /// It ends with e.
    Through,
}

impl PartialOrd for TemporalNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.kinds, &self.bounds, &self.input).partial_cmp(&(
            &other.kinds,
            &other.bounds,
            &other.input,
        ))
    }
}

impl UserDefinedLogicalNodeCore for TemporalNode {
    fn name(&self) -> &str {
        "TemporalFilter"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.bounds.clone()
    }

    #[expect(clippy::disallowed_types, reason = "the trait's own signature")]
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        // A filter of rows and one of times commute.
        std::collections::HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TemporalFilter {:?} {:?}", self.kinds, self.bounds)
    }

    fn with_exprs_and_inputs(
        &self,
        bounds: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        Ok(Self { bounds, kinds: self.kinds.clone(), input: inputs.swap_remove(0) })
    }
}

/// Returns the temporal filter that a logical node is, if it is one.
pub fn temporal_node(plan: &LogicalPlan) -> Option<&TemporalNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// Whether an expression asks for the time.
fn asks(expr: &Expr) -> bool {
    let now = |e: &Expr| matches!(e, Expr::ScalarFunction(f) if f.func.name() == "now");
    expr.exists(|e| Ok(now(e))).unwrap_or(false)
}

/// Whether a node's expressions ask for the time.
pub fn asks_time(node: &LogicalPlan) -> bool {
    node.expressions().iter().any(asks)
}

/// Whether a plan compares a row that has event time with `now()`.
pub fn on_event_time(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        let filters = match node {
            LogicalPlan::Filter(filter) => asks(&filter.predicate),
            other => temporal_node(other).is_some(),
        };
        found |= filters && !timeless(node)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Whether a plan reads tables and views on the ARRIVAL clock only.
fn timeless(plan: &LogicalPlan) -> DfResult<bool> {
    let mut timeless = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(source) = scan.source.downcast_ref::<RelationSource>()
        {
            timeless &= match source.kind() {
                ScanKind::Stream | ScanKind::Arrivals => false,
                ScanKind::Table => true,
                ScanKind::View => source.properties.as_ref().is_none_or(|p| p.timeless),
            };
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(timeless)
}

/// Replaces `now()` by an instant of event time.
pub fn fix(plan: LogicalPlan, instant: i64) -> DfResult<LogicalPlan> {
    // What is earlier is no time that expressions could compute with.
    const YEAR_1: i64 = -62_135_596_800_000_000;
    let at = ScalarValue::TimestampMicrosecond(Some(instant.max(YEAR_1)), Some("UTC".into()));
    let fixed = plan.transform_down_with_subqueries(|node| {
        let preserver = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let fixed = expr.transform_up(|e| match &e {
                Expr::ScalarFunction(f) if f.func.name() == "now" => {
                    Ok(Transformed::yes(Expr::Literal(at.clone(), None)))
                }
                _ => Ok(Transformed::no(e)),
            })?;
            Ok(fixed.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(fixed.data)
}

/// Takes the temporal filters out of WHERE, and refuses `now()` everywhere else.
pub fn extract(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let extracted = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) if asks(&filter.predicate) => {
            Ok(Transformed::yes(self::filter(filter)?))
        }
        other => Ok(Transformed::no(other)),
    })?;
    extracted.data.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| match asks(expr) {
            true => Err(refused("now() is only allowed in WHERE, compared with a row")),
            false => Ok(TreeNodeRecursion::Continue),
        })
    })?;
    Ok(extracted.data)
}

fn refused(what: &str) -> datafusion::error::DataFusionError {
    Error::Windowing {
        what: format!("{what}, in a continuous query"),
        hint: "Write for example ts > now() - INTERVAL '1 hour', or a window such as \
               [RANGE 1 HOUR]."
            .into(),
    }
    .into()
}

fn filter(filter: Filter) -> DfResult<LogicalPlan> {
    let (mut bounds, mut kinds, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for conjunct in split_conjunction_owned(filter.predicate) {
        if !asks(&conjunct) {
            rest.push(conjunct);
            continue;
        }
        for (bound, kind) in bounds_of(without_lengths(conjunct)?)? {
            bounds.push(bound);
            kinds.push(kind);
        }
    }
    let input = filter.input.as_ref().clone();
    let input = match conjunction(rest) {
        None => input,
        Some(rest) => LogicalPlan::Filter(Filter::try_new(rest, Arc::new(input))?),
    };
    placed(bounds, kinds, input)
}

/// Puts the filter where its columns come from: below joins that keep its side.
fn placed(bounds: Vec<Expr>, kinds: Vec<Bound>, input: LogicalPlan) -> DfResult<LogicalPlan> {
    let named = |side: &LogicalPlan| {
        let columns = bounds.iter().flat_map(Expr::column_refs);
        columns.into_iter().all(|column| side.schema().has_column(column))
    };
    match input {
        LogicalPlan::Join(join)
            if matches!(join.join_type, JoinType::Inner | JoinType::Left) && named(&join.left) =>
        {
            let left = placed(bounds, kinds, join.left.as_ref().clone())?;
            Ok(LogicalPlan::Join(Join { left: Arc::new(left), ..join }))
        }
        LogicalPlan::Join(join)
            if matches!(join.join_type, JoinType::Inner | JoinType::Right)
                && named(&join.right) =>
        {
            let right = placed(bounds, kinds, join.right.as_ref().clone())?;
            Ok(LogicalPlan::Join(Join { right: Arc::new(right), ..join }))
        }
        LogicalPlan::Filter(filter) => {
            let below = placed(bounds, kinds, filter.input.as_ref().clone())?;
            Ok(LogicalPlan::Filter(Filter::try_new(filter.predicate, Arc::new(below))?))
        }
        input => {
            let node = TemporalNode { bounds, kinds, input };
            Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
        }
    }
}

impl Lowering {
    /// Lowers a temporal filter.
    pub(super) fn temporal(&self, filter: &TemporalNode) -> Result<Node, Error> {
        let input = self.node(&filter.input)?;
        if self.clock == Clock::Event && input.properties.timeless {
            return Err(later(
                "now() compared with a table beside a stream's event time",
                "Filter the table in a view of its own.",
            ));
        }
        let bounds = self.exprs(&filter.bounds, filter.input.schema())?;
        let bounds = bounds.into_iter().zip(filter.kinds.iter().copied()).collect();
        let schema = Arc::clone(&input.schema);
        let op = Op::Temporal(Temporal { bounds, clock: self.clock });
        Ok(derive::node(op, vec![input], schema))
    }
}

/// The bounds that a comparison with `now()` sets.
fn bounds_of(conjunct: Expr) -> DfResult<Vec<(Expr, Bound)>> {
    match conjunct {
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let mut bounds = Vec::new();
            for (op, bound) in [(Operator::GtEq, low), (Operator::LtEq, high)] {
                let compared = BinaryExpr::new(expr.clone(), op, bound);
                if asks(&compared.left) || asks(&compared.right) {
                    bounds.extend(comparison(compared)?);
                } else {
                    return Err(refused("now() BETWEEN needs now() as what is compared"));
                }
            }
            Ok(bounds)
        }
        Expr::BinaryExpr(compared) if !compared.op.is_logic_operator() => comparison(compared),
        _ => Err(refused("now() is only allowed in comparisons joined by AND")),
    }
}

fn comparison(BinaryExpr { left, op, right }: BinaryExpr) -> DfResult<Vec<(Expr, Bound)>> {
    let (side, other, op) = match (asks(&left), asks(&right)) {
        (true, false) => (*left, *right, Some(op)),
        (false, true) => (*right, *left, op.swap()),
        _ => return Err(refused("now() must be on one side of the comparison")),
    };
    let (instant, reversed) = solved(side, other)?;
    let op = if reversed { op.and_then(|op| op.swap()) } else { op };
    let instant = as_instant(instant);
    match op {
        Some(Operator::Lt) => Ok(vec![(instant, Bound::Until)]),
        Some(Operator::LtEq) => Ok(vec![(instant, Bound::Through)]),
        Some(Operator::Gt) => Ok(vec![(instant, Bound::After)]),
        Some(Operator::GtEq) => Ok(vec![(instant, Bound::From)]),
        Some(Operator::Eq) => Ok(vec![(instant.clone(), Bound::From), (instant, Bound::Through)]),
        _ => Err(refused("now() is only allowed with <, <=, >, >=, = and BETWEEN")),
    }
}

/// Solves `side = other` for `now()`; says whether the comparison is the other way round.
fn solved(side: Expr, other: Expr) -> DfResult<(Expr, bool)> {
    match side {
        Expr::ScalarFunction(f) if f.func.name() == "now" => Ok((other, false)),
        Expr::Alias(alias) => solved(*alias.expr, other),
        Expr::Cast(Cast { expr, field })
            if matches!(
                field.data_type(),
                DataType::Timestamp(..) | DataType::Interval(_) | DataType::Duration(_)
            ) =>
        {
            solved(*expr, other)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = (Box::new(computed(*left)), Box::new(computed(*right)));
            match (op, asks(&left), asks(&right)) {
                (Operator::Plus, true, false) => {
                    solved(*left, moved(other, Operator::Minus, *right)?)
                }
                (Operator::Plus, false, true) => {
                    solved(*right, moved(other, Operator::Minus, *left)?)
                }
                (Operator::Minus, true, false) if is_fixed(&right) => {
                    solved(*left, moved(other, Operator::Plus, *right)?)
                }
                // now() - e < i  is  now() < e + i
                (Operator::Minus, true, false) => {
                    solved(*left, moved(*right, Operator::Plus, other)?)
                }
                // e - now() < i  is  now() > e - i
                (Operator::Minus, false, true) => {
                    let (instant, reversed) =
                        solved(*right, moved(*left, Operator::Minus, other)?)?;
                    Ok((instant, !reversed))
                }
                _ => Err(refused("now() is only allowed with an interval added to it")),
            }
        }
        _ => Err(refused("now() is only allowed with an interval added to it")),
    }
}

/// The value of an expression that is an interval and depends on nothing.
fn computed(expr: Expr) -> Expr {
    let constant =
        !matches!(expr, Expr::Literal(..)) && !asks(&expr) && expr.column_refs().is_empty();
    let empty = DFSchema::empty();
    if !constant || !matches!(expr.get_type(&empty), Ok(DataType::Interval(_))) {
        return expr;
    }
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let Ok(row) = one_row() else { return expr };
    let value = create_physical_expr(&expr, &empty, &props, &context)
        .and_then(|physical| physical.evaluate(&row)?.into_array(1))
        .and_then(|values| ScalarValue::try_from_array(&values, 0));
    value.map_or(expr, |value| Expr::Literal(value, None))
}

/// Whether an expression is an interval of fixed length.
fn is_fixed(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval.months == 0,
        Expr::Literal(ScalarValue::DurationMicrosecond(Some(_)), _) => true,
        Expr::Cast(cast) => is_fixed(&cast.expr),
        Expr::Negative(inner) => is_fixed(inner),
        _ => false,
    }
}

/// `instant op interval`.
fn moved(instant: Expr, op: Operator, interval: Expr) -> DfResult<Expr> {
    if !is_fixed(&interval) {
        return Err(refused("now() is compared by constant intervals without months only"));
    }
    // A difference of timestamps may have made a duration of the interval.
    let interval = match interval {
        Expr::Cast(cast) => *cast.expr,
        other => other,
    };
    Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(instant), op, Box::new(interval))))
}

fn as_instant(expr: Expr) -> Expr {
    cast(expr, DataType::Timestamp(TimeUnit::Microsecond, None))
}
