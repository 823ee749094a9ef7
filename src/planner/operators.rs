//! Operators of Postgres that DataFusion does not plan by itself.
//!
//! # Semantics
//! `text ^@ text` is `starts_with`, `array && array` is `array_has_any`; intervals are multiplied
//! with
//! and divided by numbers. `x = ANY (a)` and
//! `x <> ALL (a)` where `a` is a literal in quotes or a parameter are, after the parser, operators
//! of their own ([`IN_ARRAY`], [`NOT_IN_ARRAY`]): only here the type of `x` is known, which makes
//! `a` an array of it.

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::functions::expr_fn::starts_with;
use datafusion::functions_nested::expr_fn::{
    array_has, array_has_any, array_position, cardinality,
};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, Operator, lit, when};
use sqlparser::ast::BinaryOperator;

use super::common_type::read_operand;
use super::scaled_interval::{INTERVAL, scaled};
use crate::sql::{IN_ARRAY, NOT_IN_ARRAY};

/// Plans these operators.
#[derive(Debug)]
pub struct PostgresOperators;

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> DfResult<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, mut left, mut right } = expr;
        read_operand(&op, &mut left, &mut right, schema);
        if matches!(op, BinaryOperator::Multiply | BinaryOperator::Divide) {
            for side in [&mut left, &mut right] {
                // A time is the interval since midnight.
                if matches!(side.get_type(schema), Ok(DataType::Time64(_))) {
                    *side = Expr::Cast(Cast::new(Box::new(std::mem::take(side)), INTERVAL));
                }
            }
        }
        let planned = match &op {
            BinaryOperator::PGStartsWith => starts_with(left, right),
            BinaryOperator::PGOverlap => array_has_any(left, right),
            BinaryOperator::Custom(name) if name == IN_ARRAY => {
                array_has(array_of(&left, right, schema), left)
            }
            BinaryOperator::Custom(name) if name == NOT_IN_ARRAY => {
                let array = array_of(&left, right, schema);
                let unknown = array_position(array.clone(), lit(ScalarValue::Null), lit(1_i64));
                let unknown = unknown.is_not_null().or(left.clone().is_null());
                when(cardinality(array.clone()).eq(lit(0_u64)), lit(true))
                    .when(array_has(array.clone(), left), lit(false))
                    .when(unknown.or(array.is_null()), lit(ScalarValue::Boolean(None)))
                    .otherwise(lit(true))?
            }
            BinaryOperator::Multiply
                if is_interval(&left, schema) && !is_interval(&right, schema) =>
            {
                scaled(left, right, Operator::Multiply)
            }
            BinaryOperator::Multiply if is_interval(&right, schema) => {
                scaled(right, left, Operator::Multiply)
            }
            BinaryOperator::Divide if is_interval(&left, schema) => {
                scaled(left, right, Operator::Divide)
            }
            _ => return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type == INTERVAL)
}

/// Casts a literal or parameter to an array whose elements have the type of `element`.
fn array_of(element: &Expr, array: Expr, schema: &DFSchema) -> Expr {
    let data_type = match element.get_type(schema) {
        Ok(DataType::Null) | Err(_) => DataType::Utf8,
        Ok(data_type) => data_type,
    };
    let list = DataType::List(Field::new_list_field(data_type, true).into());
    Expr::Cast(Cast::new(Box::new(array), list))
}
