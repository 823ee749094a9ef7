//! Postgres's choice of types where DataFusion's is another; before the analyzer settles them.
//!
//! # Semantics
//! | written | becomes | because |
//! |---|---|---|
//! | `double` and `numeric` together | `double` | DataFusion's numeric would cut the double |
//! | `numeric / numeric` | at least 20 digits behind the point | DataFusion adds 4 |
//! | `date + interval` | `timestamp` | DataFusion's stays a date |
//! | `date + integer`, `date - date` | a number of days | it must not become the line above |
//! | `round(numeric, n)` | the scale `n` | DataFusion forgets a constant that it casts |
//! | text in quotes compared with a time | a time of that type | it may be written in all forms |
//!
//! Together means: operands of an operator, arguments of COALESCE, GREATEST, LEAST and NULLIF,
//! results of
//! CASE, members of IN, and columns of UNION.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Union,
};
use datafusion::optimizer::AnalyzerRule;

use super::interval_order::compares;
use super::{text_time, zone};

/// Functions whose arguments have one type.
const OF_ONE_TYPE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

/// Digits behind the point of a numerator; division adds four.
const NUMERATOR_SCALE: i8 = 16;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The analyzer's rule.
#[derive(Debug)]
pub struct PostgresTypes;

impl AnalyzerRule for PostgresTypes {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> DfResult<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| {
            let node = match node {
                LogicalPlan::Union(union) => return union_of_one_type(union),
                node => node,
            };
            let mut schema = DFSchema::empty();
            for input in node.inputs() {
                schema.merge(input.schema());
            }
            let names = NamePreserver::new(&node);
            let node = node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(rewrite(expr, &schema, config)?.update_data(|expr| name.restore(expr)))
            })?;
            if node.transformed { node.map_data(LogicalPlan::recompute_schema) } else { Ok(node) }
        })?;
        Ok(plan.data)
    }

    fn name(&self) -> &str {
        "postgres_types"
    }
}

/// Rewrites an expression over `schema`.
pub(super) fn rewrite(
    expr: Expr,
    schema: &DFSchema,
    config: &ConfigOptions,
) -> DfResult<Transformed<Expr>> {
    let zone = zone::of(config);
    let read_times = |parts: &mut [&mut Expr]| text_time::read_beside(parts, schema, zone.as_ref());
    expr.transform_up(|expr| match expr {
        Expr::BinaryExpr(mut binary) => {
            let read =
                compares(binary.op) && read_times(&mut [&mut *binary.left, &mut *binary.right]);
            let mut typed = operation(binary, schema)?;
            typed.transformed |= read;
            Ok(typed)
        }
        Expr::Between(mut between) => {
            let mut parts = [&mut *between.expr, &mut *between.low, &mut *between.high];
            let changed = float_wins(&mut parts, schema) | read_times(&mut parts);
            Ok(transformed(changed, Expr::Between(between)))
        }
        Expr::InList(mut list) => {
            let mut parts: Vec<&mut Expr> =
                std::iter::once(&mut *list.expr).chain(&mut list.list).collect();
            let changed = float_wins(&mut parts, schema) | read_times(&mut parts);
            Ok(transformed(changed, Expr::InList(list)))
        }
        Expr::Case(mut case) => {
            let results = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
            let mut parts: Vec<&mut Expr> =
                results.chain(case.else_expr.iter_mut().map(|e| &mut **e)).collect();
            let changed = float_wins(&mut parts, schema);
            Ok(transformed(changed, Expr::Case(case)))
        }
        Expr::ScalarFunction(mut function) if OF_ONE_TYPE.contains(&function.name()) => {
            let mut parts: Vec<&mut Expr> = function.args.iter_mut().collect();
            let changed = float_wins(&mut parts, schema);
            Ok(transformed(changed, Expr::ScalarFunction(function)))
        }
        Expr::ScalarFunction(mut function) if ["round", "trunc"].contains(&function.name()) => {
            let Some(Expr::Literal(scale, _)) = function.args.get_mut(1) else {
                return Ok(Transformed::no(Expr::ScalarFunction(function)));
            };
            *scale = scale.cast_to(&DataType::Int32)?;
            Ok(Transformed::yes(Expr::ScalarFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    })
}

fn transformed<T>(changed: bool, data: T) -> Transformed<T> {
    if changed { Transformed::yes(data) } else { Transformed::no(data) }
}

fn cast(expr: &mut Expr, to: DataType) {
    let inner = std::mem::take(expr);
    *expr = Expr::Cast(Cast::new(Box::new(inner), to));
}

/// Makes numerics doubles where there are doubles beside them; returns whether it did.
fn float_wins(parts: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = parts.iter().map(|p| p.get_type(schema).ok()).collect();
    let known = || types.iter().flatten();
    if !known().any(DataType::is_floating) || !known().any(DataType::is_decimal) {
        return false;
    }
    for (part, data_type) in parts.iter_mut().zip(&types) {
        if data_type.as_ref().is_some_and(|t| t.is_decimal() || *t == DataType::Float32) {
            cast(part, DataType::Float64);
        }
    }
    true
}

fn operation(mut binary: BinaryExpr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    if float_wins(&mut [&mut *binary.left, &mut *binary.right], schema) {
        return Ok(Transformed::yes(Expr::BinaryExpr(binary)));
    }
    let (left, right) = (binary.left.get_type(schema), binary.right.get_type(schema));
    let (Ok(left), Ok(right)) = (left, right) else {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    };
    let micros = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let (dates, plus) =
        ([&left, &right].map(|t| *t == DataType::Date32), binary.op == Operator::Plus);
    match binary.op {
        Operator::Plus | Operator::Minus
            if dates == [true, false] && right.is_integer()
                || plus && dates == [false, true] && left.is_integer() =>
        {
            cast(&mut binary.left, DataType::Int32);
            cast(&mut binary.right, DataType::Int32);
            let mut days = Expr::BinaryExpr(binary);
            cast(&mut days, DataType::Date32);
            return Ok(Transformed::yes(days));
        }
        Operator::Minus if dates == [true, true] => {
            cast(&mut binary.left, DataType::Int32);
            cast(&mut binary.right, DataType::Int32);
        }
        Operator::Plus | Operator::Minus if left == DataType::Date32 && right == INTERVAL => {
            cast(&mut binary.left, micros());
        }
        Operator::Plus if left == INTERVAL && right == DataType::Date32 => {
            cast(&mut binary.right, micros());
        }
        Operator::Divide if left.is_decimal() || (left.is_integer() && right.is_decimal()) => {
            let scale = match left {
                DataType::Decimal128(_, scale) => scale,
                DataType::Decimal256(..) => NUMERATOR_SCALE,
                _ => 0,
            };
            if scale >= NUMERATOR_SCALE || !(right.is_decimal() || right.is_integer()) {
                return Ok(Transformed::no(Expr::BinaryExpr(binary)));
            }
            cast(&mut binary.left, DataType::Decimal128(38, NUMERATOR_SCALE));
        }
        _ => return Ok(Transformed::no(Expr::BinaryExpr(binary))),
    }
    Ok(Transformed::yes(Expr::BinaryExpr(binary)))
}

/// Makes numeric columns double where another branch has doubles.
fn union_of_one_type(union: Union) -> DfResult<Transformed<LogicalPlan>> {
    let types = |column: usize| {
        union
            .inputs
            .iter()
            .filter_map(move |input| Some(input.schema().fields().get(column)?.data_type()))
    };
    let doubles: Vec<bool> = (0..union.schema.fields().len())
        .map(|i| types(i).any(DataType::is_floating) && types(i).any(DataType::is_decimal))
        .collect();
    if !doubles.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.iter().map(|input| {
        let columns = input.schema().iter().zip(&doubles).map(|((qualifier, field), double)| {
            let mut column = Expr::from((qualifier, field));
            if *double && *field.data_type() != DataType::Float64 {
                cast(&mut column, DataType::Float64);
                column = column.alias_qualified(qualifier.cloned(), field.name());
            }
            column
        });
        let columns = columns.collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(Arc::clone(input)).project(columns)?.build()?;
        Ok(Arc::new(plan))
    });
    let union = Union::try_new_with_loose_types(inputs.collect::<DfResult<_>>()?)?;
    Ok(Transformed::yes(LogicalPlan::Union(union)))
}
