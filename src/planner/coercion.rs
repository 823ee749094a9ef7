//! Postgres's choice of types where DataFusion's is another; before the analyzer settles them.
//!
//! # Semantics
//! | written | becomes | because |
//! |---|---|---|
//! | `double` and `numeric` together | `double` | DataFusion's numeric would cut the double |
//! | `numeric / numeric` | at least 20 digits behind the point | DataFusion adds 4 |
//! | `date + interval` | `timestamp` | DataFusion's stays a date |
//! | `date + integer`, `date - date` | a number of days | it must not become the line above |
//! | `round(x, 2)` | the digits are an `integer` | a cast of them would hide the result's scale |
//! | `interval * number`, `interval / number` | `interval` | DataFusion has none |
//!
//! Together means: operands of an operator, arguments of COALESCE, GREATEST, LEAST and NULLIF, results of
//! CASE, members of IN, and columns of UNION.

use std::sync::Arc;

use arrow::array::{AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, exec_datafusion_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder,
    Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Union, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

/// Functions whose arguments have one type.
const OF_ONE_TYPE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

/// Digits behind the point of a numerator; division adds four.
const NUMERATOR_SCALE: i8 = 16;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The analyzer's rule.
#[derive(Debug)]
pub struct PostgresTypes;

impl AnalyzerRule for PostgresTypes {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
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
                Ok(rewrite(expr, &schema)?.update_data(|expr| name.restore(expr)))
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
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::BinaryExpr(binary) => operation(binary, schema),
        Expr::Between(mut between) => {
            let mut parts = [&mut *between.expr, &mut *between.low, &mut *between.high];
            let changed = float_wins(&mut parts, schema);
            Ok(transformed(changed, Expr::Between(between)))
        }
        Expr::InList(mut list) => {
            let mut parts: Vec<&mut Expr> =
                std::iter::once(&mut *list.expr).chain(&mut list.list).collect();
            let changed = float_wins(&mut parts, schema);
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
        Expr::ScalarFunction(mut function) if matches!(function.name(), "round" | "trunc") => {
            let digits = function.args.get_mut(1);
            let short = digits.and_then(|digits| match digits {
                Expr::Literal(ScalarValue::Int64(Some(n)), _) => {
                    let n = i32::try_from(*n).ok()?;
                    *digits = Expr::Literal(ScalarValue::Int32(Some(n)), None);
                    Some(())
                }
                _ => None,
            });
            Ok(transformed(short.is_some(), Expr::ScalarFunction(function)))
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
        Operator::Multiply if left == INTERVAL && right.is_numeric() => {
            return Ok(Transformed::yes(scaled(*binary.left, *binary.right, Operator::Multiply)));
        }
        Operator::Multiply if left.is_numeric() && right == INTERVAL => {
            return Ok(Transformed::yes(scaled(*binary.right, *binary.left, Operator::Multiply)));
        }
        Operator::Divide if left == INTERVAL && right.is_numeric() => {
            return Ok(Transformed::yes(scaled(*binary.left, *binary.right, Operator::Divide)));
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

/// The function that multiplies or divides an interval by a number.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Scaled {
    operator: Operator,
    signature: Signature,
}

fn scaled(interval: Expr, number: Expr, operator: Operator) -> Expr {
    let signature = Signature::exact(vec![INTERVAL, DataType::Float64], Volatility::Immutable);
    let number = Expr::Cast(Cast::new(Box::new(number), DataType::Float64));
    ScalarUDF::from(Scaled { operator, signature }).call(vec![interval, number])
}

impl ScalarUDFImpl for Scaled {
    fn name(&self) -> &str {
        if self.operator == Operator::Multiply { "times" } else { "divided_by" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let intervals = arrays[0].as_primitive::<IntervalMonthDayNanoType>();
        let numbers = arrays[1].as_primitive::<Float64Type>();
        let scaled = intervals.iter().zip(numbers).map(|pair| match pair {
            (Some(interval), Some(number)) if self.operator == Operator::Multiply => {
                scale(interval, number).map(Some)
            }
            (Some(_), Some(0.0)) => Err(ArrowError::DivideByZero.into()),
            (Some(interval), Some(number)) => scale(interval, 1.0 / number).map(Some),
            _ => Ok(None),
        });
        let scaled = scaled.collect::<DfResult<IntervalMonthDayNanoArray>>()?;
        debug_assert_eq!(scaled.len(), args.number_rows.max(scaled.len()));
        Ok(ColumnarValue::Array(Arc::new(scaled)))
    }
}

/// Multiplies an interval: fractions of months become days of which a month has 30, fractions of days
/// time, in whole microseconds.
fn scale(interval: IntervalMonthDayNano, by: f64) -> DfResult<IntervalMonthDayNano> {
    const DAY_MICROS: f64 = 86_400e6;
    // Postgres rounds so too, lest 0.1 of ten months lose a day.
    let tidy = |value: f64| (value * 1e6).round() / 1e6;
    let months = tidy(f64::from(interval.months) * by);
    let days = tidy(f64::from(interval.days) * by) + tidy(months.fract() * 30.0);
    let micros = interval.nanoseconds as f64 / 1e3 * by + (days.fract() * DAY_MICROS).round();
    let fits = |value: f64, most: f64| value.is_finite() && value.abs() < most;
    let limit = f64::from(i32::MAX);
    if !fits(months, limit) || !fits(days, limit) || !fits(micros, i64::MAX as f64 / 1e3) {
        return Err(exec_datafusion_err!("interval out of range"));
    }
    let nanos = micros.round() as i64 * 1_000;
    Ok(IntervalMonthDayNano::new(months.trunc() as i32, days.trunc() as i32, nanos))
}
