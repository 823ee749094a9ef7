//! Lowers what has an order: OVER, its first rows, ORDER BY .. LIMIT, DISTINCT ON and WITH TIES.
//!
//! # Semantics
//! `row_number() <= n`, `rank() <= n` and `dense_rank() <= n` above an OVER of that call alone need
//! no more than the first rows of each partition: they become [`Op::TopN`]. What a condition says
//! beyond that stays a filter above.

use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment, WindowFunctionParams};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    self as logical, BinaryExpr, Expr, FetchType, LogicalPlan, Operator, SkipType, SortExpr,
    UserDefinedLogicalNodeCore, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

use super::bag::BagNode;
use super::derive;
use super::error::{Error, Result};
use super::first_rows::FirstRowsNode;
use super::lower::{Lowering, constant, later, one_row, relaxed};
use super::over::{OverNode, window_call};
use super::plan::{Clock, Counting, Node, Op, Over, OverCall, OverFunction, SortKeys, TopN};
use crate::error::SqlState;
use crate::sql::Exclude;

/// Our node that is lowered here.
pub(super) enum Ordered<'a> {
    Over(&'a OverNode),
    FirstRows(&'a FirstRowsNode),
    Bag(&'a BagNode),
}

impl<'a> Ordered<'a> {
    pub(super) fn of(plan: &'a LogicalPlan) -> Option<Self> {
        let LogicalPlan::Extension(extension) = plan else { return None };
        let node = extension.node.as_any();
        let over = node.downcast_ref().map(Ordered::Over);
        let first_rows = || node.downcast_ref().map(Ordered::FirstRows);
        over.or_else(first_rows).or_else(|| node.downcast_ref().map(Ordered::Bag))
    }
}

/// Whether a node is one of ours.
pub fn is_ours(plan: &LogicalPlan) -> bool {
    Ordered::of(plan).is_some()
}

/// Lowers one of our nodes over inputs that are given as rows: for queries that run once. Nothing
/// for other nodes.
pub fn alone(plan: &LogicalPlan) -> Option<Result<Node>> {
    let ordered = Ordered::of(plan)?;
    let given = |input: &LogicalPlan| constant(relaxed(input.schema()), 0);
    let inputs = plan.inputs().into_iter().map(given).collect();
    Some(Lowering::new(Clock::Arrival).ordered(&ordered, inputs))
}

impl Lowering {
    /// Lowers a node over its lowered inputs.
    pub(super) fn ordered(&self, node: &Ordered<'_>, mut inputs: Vec<Node>) -> Result<Node> {
        match node {
            Ordered::Over(over) => self.over(over, inputs.swap_remove(0)),
            Ordered::FirstRows(first) => self.first_rows(first, inputs.swap_remove(0)),
            Ordered::Bag(bag) => {
                let schema = relaxed(bag.schema());
                Ok(derive::node(Op::Bag(bag.combination), inputs, schema))
            }
        }
    }

    fn over(&self, node: &OverNode, input: Node) -> Result<Node> {
        let logical = node.input.schema();
        let (partition, keys) = node.clause();
        let over = Over {
            partition: self.exprs(partition, logical)?,
            keys: self.sort_keys(keys, logical)?,
            ties: self.exprs(&node.ties, logical)?,
            calls: self.calls(node)?,
            closes: None,
            trims: None,
        };
        let over = derive::over_finality(over, &input);
        Ok(derive::node(Op::Over(over), vec![input], relaxed(node.schema())))
    }

    fn first_rows(&self, node: &FirstRowsNode, input: Node) -> Result<Node> {
        let logical = node.input.schema();
        let partition = self.exprs(&node.partition, logical)?;
        let top = TopN {
            closes: derive::frees(&partition, &input),
            partition,
            keys: self.sort_keys(&node.keys, logical)?,
            ties: self.exprs(&node.ties, logical)?,
            counting: if node.with_ties { Counting::Ranks } else { Counting::Rows },
            numbered: false,
            skip: node.skip,
            fetch: Some(node.fetch),
        };
        let schema = Arc::clone(&input.schema);
        Ok(derive::node(Op::TopN(top), vec![input], schema))
    }

    /// Lowers ORDER BY with the LIMIT above it.
    pub(super) fn sort(
        &self,
        sort: &logical::Sort,
        skip: usize,
        fetch: Option<usize>,
    ) -> Result<Node> {
        let input = self.node(&sort.input)?;
        if skip == 0 && fetch.is_none() {
            return Ok(input);
        }
        let keys = self.sort_keys(&sort.expr, sort.input.schema())?;
        let schema = Arc::clone(&input.schema);
        Ok(derive::node(Op::TopN(first(keys, skip, fetch)), vec![input], schema))
    }

    /// Lowers LIMIT.
    pub(super) fn limit(&self, limit: &logical::Limit) -> Result<Node> {
        let not_constant = || later("a LIMIT that is not a constant", "Write the number.");
        let SkipType::Literal(skip) = limit.get_skip_type()? else { return Err(not_constant()) };
        let FetchType::Literal(fetch) = limit.get_fetch_type()? else { return Err(not_constant()) };
        match limit.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.sort(sort, skip, fetch),
            // ORDER BY a column that is not selected: the projection stands above the sort.
            LogicalPlan::Projection(projection) if sorts(&projection.input) => {
                let LogicalPlan::Sort(sort) = projection.input.as_ref() else {
                    unreachable!("matched above")
                };
                let input = self.sort(sort, skip, fetch)?;
                let exprs = self.exprs(&projection.expr, projection.input.schema())?;
                Ok(derive::node(Op::Project(exprs), vec![input], relaxed(&projection.schema)))
            }
            _ => {
                let input = self.node(&limit.input)?;
                let schema = Arc::clone(&input.schema);
                Ok(derive::node(Op::TopN(first(vec![], skip, fetch)), vec![input], schema))
            }
        }
    }

    /// Lowers sort keys.
    pub(super) fn sort_keys(&self, keys: &[SortExpr], schema: &DFSchema) -> Result<SortKeys> {
        let keys = keys.iter().map(|key| {
            let options = SortOptions { descending: !key.asc, nulls_first: key.nulls_first };
            Ok((self.expr(&key.expr, schema)?, options))
        });
        keys.collect()
    }

    /// Lowers a filter above an OVER of which it needs but the first rows.
    pub(super) fn top_of_over(&self, predicate: &Expr, plan: &LogicalPlan) -> Result<Option<Node>> {
        // A projection that only leaves columns out does not come between.
        if let LogicalPlan::Projection(projection) = plan
            && projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_)))
        {
            let Some(top) = self.top_of_over(predicate, &projection.input)? else {
                return Ok(None);
            };
            let exprs = self.exprs(&projection.expr, projection.input.schema())?;
            let schema = relaxed(&projection.schema);
            return Ok(Some(derive::node(Op::Project(exprs), vec![top], schema)));
        }
        let Some(Ordered::Over(node)) = Ordered::of(plan) else { return Ok(None) };
        let [call] = &node.calls[..] else { return Ok(None) };
        let Some(counting) = window_call(call).and_then(|call| counting(call.fun.name())) else {
            return Ok(None);
        };
        let name = call.schema_name().to_string();
        let bounds = |condition: &Expr| bound(condition, &name);
        let conditions = split_conjunction(predicate);
        let least = conditions.iter().filter_map(|c| bounds(c)).map(|(bound, _)| bound).min();
        let Some(least) = least else { return Ok(None) };
        let implied =
            |condition: &Expr| bounds(condition).is_some_and(|(_, exact)| !exact || least == 1);
        let rest = conditions.into_iter().filter(|c| !implied(c)).cloned();
        let rest = conjunction(rest.collect::<Vec<_>>());
        let input = self.node(&node.input)?;
        let (partition, keys) = node.clause();
        let logical = node.input.schema();
        let partition = self.exprs(partition, logical)?;
        let top = TopN {
            closes: derive::frees(&partition, &input),
            partition,
            keys: self.sort_keys(keys, logical)?,
            ties: self.exprs(&node.ties, logical)?,
            counting,
            numbered: true,
            skip: 0,
            fetch: Some(usize::try_from(least).unwrap_or(0)),
        };
        let schema = relaxed(node.schema());
        let top = derive::node(Op::TopN(top), vec![input], Arc::clone(&schema));
        Ok(Some(match rest {
            None => top,
            Some(rest) => {
                let predicate = self.expr(&rest, node.schema())?;
                derive::node(Op::Filter(predicate), vec![top], schema)
            }
        }))
    }

    fn calls(&self, node: &OverNode) -> Result<Vec<OverCall>> {
        let schema = node.input.schema();
        let calls = node.calls.iter().zip(&node.excludes);
        let calls = calls.map(|(call, exclude)| {
            let exclude = *exclude;
            Ok(OverCall { exclude, ..self.call(call, schema)? })
        });
        calls.collect()
    }

    fn call(&self, call: &Expr, schema: &DFSchema) -> Result<OverCall> {
        let Some(call) = window_call(call) else {
            return Err(later("this expression with OVER", "Compute it in a subquery."));
        };
        let WindowFunctionParams { args, window_frame, order_by, null_treatment, .. } =
            &call.params;
        self.check_frame(window_frame, order_by, schema)?;
        let ignore_nulls = *null_treatment == Some(NullTreatment::IgnoreNulls);
        let value = || self.expr(&args[0], schema);
        let name = call.fun.name();
        let function = match (&call.fun, name) {
            (WindowFunctionDefinition::AggregateUDF(_), _) => self.frame_aggregate(call, schema)?,
            (_, "percent_rank") => OverFunction::PercentRank,
            (_, "cume_dist") => OverFunction::CumeDist,
            (_, "ntile") => {
                OverFunction::Ntile(self.positive(name, &args[0], SqlState::INVALID_NTILE)?)
            }
            (_, "lag" | "lead") => {
                let offset = args.get(1).map_or(Ok(1), |offset| self.number(name, offset))?;
                let default =
                    args.get(2).filter(|d| !matches!(d, Expr::Literal(v, _) if v.is_null()));
                OverFunction::Shift {
                    value: value()?,
                    offset: if name == "lag" { offset } else { offset.saturating_neg() },
                    default: default.map(|default| self.expr(default, schema)).transpose()?,
                    ignore_nulls,
                }
            }
            (_, "first_value" | "last_value" | "nth_value") => {
                let place = match name {
                    "first_value" => 1,
                    "last_value" => -1,
                    _ => self.positive(name, &args[1], SqlState::INVALID_NTH_VALUE)?,
                };
                OverFunction::Pick { value: value()?, place, ignore_nulls }
            }
            _ => match counting(name) {
                Some(counting) => OverFunction::Number(counting),
                None => return Err(later(format!("{name}() OVER"), "Use another function.")),
            },
        };
        Ok(OverCall { function, frame: window_frame.clone(), exclude: Exclude::NoOthers })
    }

    fn frame_aggregate(
        &self,
        call: &datafusion::logical_expr::expr::WindowFunction,
        schema: &DFSchema,
    ) -> Result<OverFunction> {
        let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else {
            unreachable!("called for aggregates")
        };
        let WindowFunctionParams { args, filter, null_treatment, distinct, .. } = &call.params;
        let aggregate = Expr::AggregateFunction(AggregateFunction::new_udf(
            Arc::clone(function),
            args.clone(),
            *distinct,
            filter.clone(),
            vec![],
            *null_treatment,
        ));
        Ok(OverFunction::Aggregate(self.aggregate_call(&aggregate, schema)?))
    }

    /// RANGE with a distance needs one key, from which the distance can be taken.
    fn check_frame(&self, frame: &WindowFrame, keys: &[SortExpr], schema: &DFSchema) -> Result<()> {
        let distance = |bound: &WindowFrameBound| match bound {
            WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) if !by.is_null() => {
                Some(by.clone())
            }
            _ => None,
        };
        let distances = [&frame.start_bound, &frame.end_bound].into_iter().filter_map(distance);
        for by in distances.filter(|_| frame.units == WindowFrameUnits::Range) {
            let [key] = keys else {
                let what =
                    "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
                return Err(invalid(what.into(), SqlState::WINDOWING_ERROR));
            };
            let key = self.expr(&key.expr, schema)?;
            let key = key.data_type(schema.as_arrow())?;
            let tried = by.to_scalar().map_err(Error::from).and_then(|by| {
                Ok(arrow::compute::kernels::numeric::add(&new_null_array(&key, 1), &by)?)
            });
            if tried.is_err() {
                return Err(later(
                    format!("RANGE with an offset over {key}"),
                    "Use ROWS or GROUPS, or order by a number or a time.",
                ));
            }
        }
        Ok(())
    }

    /// Computes an argument that must be a constant.
    fn number(&self, function: &str, argument: &Expr) -> Result<i64> {
        let refused = || {
            let what = format!("an argument of {function}() that is not a constant");
            later(what, "Write the number.")
        };
        let computed = self.expr(argument, &DFSchema::empty()).map_err(|_| refused())?;
        let value = computed.evaluate(&one_row()?)?.into_array(1)?;
        match ScalarValue::try_from_array(&value, 0)?.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(number)) => Ok(number),
            _ => Err(refused()),
        }
    }

    fn positive(&self, function: &str, argument: &Expr, sqlstate: SqlState) -> Result<i64> {
        let number = self.number(function, argument)?;
        if number > 0 {
            return Ok(number);
        }
        Err(invalid(format!("argument of {function} must be greater than zero"), sqlstate))
    }
}

/// ORDER BY .. LIMIT of a whole relation.
fn first(keys: SortKeys, skip: usize, fetch: Option<usize>) -> TopN {
    let (partition, ties, closes) = (vec![], vec![], None);
    let (counting, numbered) = (Counting::Rows, false);
    TopN { partition, keys, ties, counting, numbered, closes, skip, fetch }
}

fn sorts(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Sort(sort) if sort.fetch.is_none())
}

fn invalid(what: String, sqlstate: SqlState) -> Error {
    Error::Invalid { what, sqlstate, hint: None }
}

/// What a numbering function counts.
fn counting(function: &str) -> Option<Counting> {
    match function {
        "row_number" => Some(Counting::Rows),
        "rank" => Some(Counting::Ranks),
        "dense_rank" => Some(Counting::Groups),
        _ => None,
    }
}

/// The greatest number that a condition leaves, and whether it leaves no other.
fn bound(condition: &Expr, column: &str) -> Option<(i64, bool)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (number, op, literal) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(number), Expr::Literal(literal, _)) => (number, *op, literal),
        (Expr::Literal(literal, _), Expr::Column(number)) => (number, op.swap()?, literal),
        _ => return None,
    };
    let ScalarValue::Int64(Some(literal)) = literal else { return None };
    if number.name != column {
        return None;
    }
    match op {
        Operator::LtEq => Some((*literal, false)),
        Operator::Lt => Some((literal.saturating_sub(1), false)),
        Operator::Eq => Some((*literal, true)),
        _ => None,
    }
}

/// The distance of a RANGE bound in microseconds, or units of an integer key, at most.
pub(super) fn extent(by: &ScalarValue) -> Option<i64> {
    match by {
        ScalarValue::IntervalMonthDayNano(Some(i)) => {
            let days = i64::from(i.months) * 31 + i64::from(i.days);
            Some(days.saturating_mul(86_400_000_000).saturating_add((i.nanoseconds + 999) / 1_000))
        }
        by => match by.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(extent)) => extent,
            _ => None,
        },
    }
}

/// Sort keys as EXPLAIN shows them.
pub(super) fn keys_text(keys: &[(Arc<dyn PhysicalExpr>, SortOptions)]) -> String {
    let key = |(key, order): &(Arc<dyn PhysicalExpr>, SortOptions)| {
        format!("{key}{}", if order.descending { " DESC" } else { "" })
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}
