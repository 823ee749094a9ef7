//! What calls of aggregate functions mean, where Postgres and DataFusion differ.
//!
//! # Semantics
//! The result of an aggregate that sees the order of its rows (`array_agg`, `string_agg`,
//! `first_value`, ..) is a function of the bag of rows: where its ORDER BY leaves ties, or there is
//! none, the arguments themselves decide, ascending. So it is the same whatever the way rows took.
//! `any_value` is the least value; `approx_percentile` is of the buckets of the values. `median(x)`
//! is `percentile_cont(0.5) WITHIN GROUP (ORDER BY x)`.

use std::sync::Arc;

use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::min_max::min_udaf;
use datafusion::functions_aggregate::regr::{regr_sxx_udaf, regr_syy_udaf};
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr};
use datafusion::logical_expr::{AggregateUDF, Expr, cast, lit, when};

use super::approximate::bucket;
use super::error::failure;
use super::ordered_set::{OrderedSet, OrderedSetAggregate};
use crate::error::SqlState;

/// Plans calls of aggregate functions.
#[derive(Debug)]
pub(super) struct Aggregates;

impl ExprPlanner for Aggregates {
    fn plan_aggregate(&self, call: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let name = call.func.name().to_owned();
        if let Some(set) = call.func.inner().downcast_ref::<OrderedSetAggregate>() {
            return Ok(PlannerResult::Original(ordered_set(set.kind(), call)?));
        }
        Ok(match name.as_str() {
            "median" => PlannerResult::Planned(aggregate(RawAggregateExpr {
                func: ordered(OrderedSet::PercentileCont, false),
                args: vec![call.args[0].clone(), lit(0.5)],
                ..call
            })),
            "any_value" => PlannerResult::Original(RawAggregateExpr { func: min_udaf(), ..call }),
            "array_agg" | "string_agg" | "first_value" | "last_value" | "nth_value" => {
                PlannerResult::Original(fully_ordered(call))
            }
            "regr_r2" => PlannerResult::Planned(determination(call)?),
            // DataFusion counts in a type that Postgres has not.
            "regr_count" | "approx_distinct" => {
                PlannerResult::Planned(cast(aggregate(call), arrow::datatypes::DataType::Int64))
            }
            _ => PlannerResult::Original(call),
        })
    }
}

/// `regr_r2`, which is 1 where y does not vary and x does.
fn determination(call: RawAggregateExpr) -> Result<Expr> {
    let with = |func| aggregate(RawAggregateExpr { func, ..call.clone() });
    let flat = with(regr_syy_udaf()).eq(lit(0.0)).and(with(regr_sxx_udaf()).gt(lit(0.0)));
    when(flat, lit(1.0)).otherwise(aggregate(call.clone()))
}

fn aggregate(call: RawAggregateExpr) -> Expr {
    let RawAggregateExpr { func, args, distinct, filter, order_by, null_treatment } = call;
    let call = AggregateFunction::new_udf(func, args, distinct, filter, order_by, null_treatment);
    Expr::AggregateFunction(call)
}

fn ordered(kind: OrderedSet, descending: bool) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(OrderedSetAggregate::new(kind, descending)))
}

/// Puts the order of WITHIN GROUP into the function.
fn ordered_set(kind: OrderedSet, mut call: RawAggregateExpr) -> Result<RawAggregateExpr> {
    let [order] = call.order_by.as_slice() else {
        let name = call.func.name();
        let what = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
        return Err(failure(SqlState::WRONG_OBJECT_TYPE, what));
    };
    let func = ordered(kind, !order.asc);
    if kind == OrderedSet::ApproxPercentile && (2..=3).contains(&call.args.len()) {
        let error = call.args.get(2).cloned();
        call.args.truncate(2);
        call.args[0] = bucket(call.args[0].clone(), error);
    }
    Ok(RawAggregateExpr { func, order_by: vec![], ..call })
}

/// Orders a call's rows by its arguments where its ORDER BY says nothing.
fn fully_ordered(mut call: RawAggregateExpr) -> RawAggregateExpr {
    for argument in &call.args {
        let constant = matches!(argument, Expr::Literal(value, _) if *value != ScalarValue::Null);
        if !constant && !call.order_by.iter().any(|by| by.expr == *argument) {
            call.order_by.push(Sort::new(argument.clone(), true, false));
        }
    }
    call
}
