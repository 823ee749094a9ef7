//! The operators of JSON, and its aggregates, as calls of functions.
//!
//! # Semantics
//! `->` and the like stand for functions of [`super`]. `||`, `-` and `=` are JSON's where one side
//! is declared as jsonb. `json_agg(x)` is an array of the rows in the order that
//! [`crate::functions::aggregates`] gives them; `json_object_agg(k, v)` an object of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF};
use sqlparser::ast::BinaryOperator;

use super::is_json;

/// Plans operators on JSON and its aggregates.
#[derive(Debug)]
pub(in crate::functions) struct JsonOperators {
    functions: Vec<(&'static str, Arc<ScalarUDF>)>,
}

impl Default for JsonOperators {
    fn default() -> Self {
        let functions = super::functions().into_iter();
        let functions = functions.map(|scalar| (scalar.name, Arc::new(scalar.udf())));
        Self { functions: functions.collect() }
    }
}

impl JsonOperators {
    fn call(&self, name: &str, arguments: Vec<Expr>) -> Expr {
        let found = self.functions.iter().find(|(of, _)| *of == name);
        let (_, function) = found.expect("operators call functions of this module");
        function.call(arguments)
    }
}

/// What is known of an expression's value.
fn field(expr: &Expr, schema: &DFSchema) -> Option<Arc<Field>> {
    expr.to_field(schema).ok().map(|(_, field)| field)
}

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = &expr;
        let (Some(l), Some(r)) = (field(left, schema), field(right, schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let text = |field: &Field| {
            matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        };
        let (by_number, list) =
            (r.data_type().is_integer(), matches!(r.data_type(), DataType::List(_)));
        let (of_text, of_json) = (text(&l), is_json(&l) || is_json(&r));
        let name = match op {
            BinaryOperator::Arrow if of_text && by_number => "json_element",
            BinaryOperator::LongArrow if of_text && by_number => "json_element_text",
            BinaryOperator::Arrow if of_text => "json_field",
            BinaryOperator::LongArrow if of_text => "json_field_text",
            BinaryOperator::HashArrow if of_text => "json_path",
            BinaryOperator::HashLongArrow if of_text => "json_path_text",
            BinaryOperator::HashMinus if of_text => "jsonb_delete_path",
            BinaryOperator::AtArrow if of_text => "jsonb_contains",
            BinaryOperator::ArrowAt if of_text => {
                let contains = self.call("jsonb_contains", vec![right.clone(), left.clone()]);
                return Ok(PlannerResult::Planned(contains));
            }
            BinaryOperator::Question if of_text => "jsonb_exists",
            BinaryOperator::QuestionPipe if of_text => "jsonb_exists_any",
            BinaryOperator::QuestionAnd if of_text => "jsonb_exists_all",
            BinaryOperator::StringConcat if is_json(&l) && text(&r) && of_json => "jsonb_concat",
            BinaryOperator::Minus if is_json(&l) && by_number => "jsonb_delete_element",
            BinaryOperator::Minus if is_json(&l) && list => "jsonb_delete_any",
            BinaryOperator::Minus if is_json(&l) && text(&r) => "jsonb_delete",
            BinaryOperator::Eq | BinaryOperator::NotEq if of_json && text(&l) && text(&r) => {
                return Ok(PlannerResult::Original(self.comparable(expr, (&l, &r))));
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(self.call(name, vec![left.clone(), right.clone()])))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if !field(&expr.expr, schema).is_some_and(|field| is_json(&field)) {
            return Ok(PlannerResult::Original(expr));
        }
        let RawFieldAccessExpr { expr, field_access } = expr;
        let planned = match field_access {
            GetFieldAccess::NamedStructField { name } => {
                self.call("json_field", vec![expr, Expr::Literal(name, None)])
            }
            GetFieldAccess::ListIndex { key } => {
                let by_number = field(&key, schema).is_some_and(|f| f.data_type().is_integer());
                let name = if by_number { "json_element" } else { "json_field" };
                self.call(name, vec![expr, *key])
            }
            field_access @ GetFieldAccess::ListRange { .. } => {
                return Ok(PlannerResult::Original(RawFieldAccessExpr { expr, field_access }));
            }
        };
        Ok(PlannerResult::Planned(planned))
    }

    fn plan_aggregate(&self, call: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let (item, result) = match (call.func.name(), call.args.as_slice()) {
            ("json_agg", [value]) => (self.call("json_item", vec![value.clone()]), "json_array_of"),
            ("jsonb_agg", [value]) => {
                (self.call("json_item", vec![value.clone()]), "jsonb_array_of")
            }
            ("json_object_agg", [_, _]) => {
                (self.call("json_member", call.args.clone()), "json_object_of")
            }
            ("jsonb_object_agg", [_, _]) => {
                (self.call("json_member", call.args.clone()), "jsonb_object_of")
            }
            _ => return Ok(PlannerResult::Original(call)),
        };
        let mut order_by = call.order_by;
        if call.distinct {
            order_by.retain(|by| by.expr == item);
        }
        for tie in call.args.iter().filter(|_| !call.distinct).chain([&item]) {
            if !order_by.iter().any(|by| by.expr == *tie) {
                order_by.push(Sort::new(tie.clone(), true, false));
            }
        }
        let items = AggregateFunction::new_udf(
            array_agg_udaf(),
            vec![item],
            call.distinct,
            call.filter,
            order_by,
            None,
        );
        let items = Expr::AggregateFunction(items);
        Ok(PlannerResult::Planned(self.call(result, vec![items])))
    }
}

impl JsonOperators {
    /// Brings a text that is compared with jsonb into its form.
    fn comparable(&self, expr: RawBinaryExpr, (l, r): (&Field, &Field)) -> RawBinaryExpr {
        let RawBinaryExpr { op, left, right } = expr;
        let fit = |side: Expr, field: &Field| match is_json(field) {
            true => side,
            false => self.call("jsonb_in", vec![side]),
        };
        RawBinaryExpr { op, left: fit(left, l), right: fit(right, r) }
    }
}
