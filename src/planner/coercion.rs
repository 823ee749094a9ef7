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
//! | `round(double)` | the nearest, the even one in the middle | DataFusion goes away from zero |
//! | text in quotes beside another type | a value of that type | see [`super::common_type`] |
//! | `'..' IS TRUE` | a truth value | DataFusion has no such cast |
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
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, Limit, LogicalPlan, LogicalPlanBuilder, Operator,
    ScalarUDF, Union,
};
use datafusion::optimizer::AnalyzerRule;

use super::common_type::{Said, common, read_texts, unify};
use super::interval_order::compares;
use super::{casts, common_type, text_time, zone};
use crate::functions::part::Extract;
use crate::functions::time;
use crate::sql::datetime::Part;

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
                LogicalPlan::Limit(limit) => LogicalPlan::Limit(counts(limit)),
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
    let session = zone::of(config);
    let read_times = |parts: &mut [&mut Expr]| text_time::read_beside(parts, schema, &session);
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
            let changed = read_times(&mut parts)
                | read_texts(&mut parts, schema)
                | float_wins(&mut parts, schema);
            Ok(transformed(changed, Expr::Between(between)))
        }
        Expr::InList(mut list) => {
            let mut parts: Vec<&mut Expr> =
                std::iter::once(&mut *list.expr).chain(&mut list.list).collect();
            let changed = read_times(&mut parts)
                | read_texts(&mut parts, schema)
                | float_wins(&mut parts, schema);
            Ok(transformed(changed, Expr::InList(list)))
        }
        Expr::Case(mut case) => {
            let mut compared: Vec<&mut Expr> = Vec::new();
            if let Some(operand) = &mut case.expr {
                compared.push(operand);
                compared.extend(case.when_then_expr.iter_mut().map(|(when, _)| &mut **when));
            }
            let read = read_texts(&mut compared, schema);
            let results = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
            let mut parts: Vec<&mut Expr> =
                results.chain(case.else_expr.iter_mut().map(|e| &mut **e)).collect();
            let changed = read | read_texts(&mut parts, schema) | float_wins(&mut parts, schema);
            Ok(transformed(changed, Expr::Case(case)))
        }
        Expr::ScalarFunction(function) => call(function, schema),
        Expr::IsTrue(mut of) => Ok(transformed(truth(&mut of), Expr::IsTrue(of))),
        Expr::IsFalse(mut of) => Ok(transformed(truth(&mut of), Expr::IsFalse(of))),
        Expr::IsUnknown(mut of) => Ok(transformed(truth(&mut of), Expr::IsUnknown(of))),
        Expr::IsNotTrue(mut of) => Ok(transformed(truth(&mut of), Expr::IsNotTrue(of))),
        Expr::IsNotFalse(mut of) => Ok(transformed(truth(&mut of), Expr::IsNotFalse(of))),
        Expr::IsNotUnknown(mut of) => Ok(transformed(truth(&mut of), Expr::IsNotUnknown(of))),
        other => Ok(Transformed::no(other)),
    })
}

/// Rewrites a call.
fn call(mut function: ScalarFunction, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let changed = match function.name() {
        "$generate_series" | "date_bin" => read_series(&mut function, schema),
        "date_part" => return Ok(part_of_time(function, schema)),
        "round" if rounds_to_even(&function, schema) => {
            return Ok(Transformed::yes(casts::rounded(function.args.swap_remove(0))));
        }
        "round" | "trunc" => match function.args.get_mut(1) {
            Some(Expr::Literal(scale, _)) => {
                *scale = scale.cast_to(&DataType::Int32)?;
                true
            }
            _ => false,
        },
        _ => {
            let ScalarFunction { func, args } = &mut function;
            unify(func, args, schema)
        }
    };
    Ok(transformed(changed, Expr::ScalarFunction(function)))
}

/// Reads the texts among the times of a series or of `date_bin`, and the step of a series of times.
fn read_series(function: &mut ScalarFunction, schema: &DFSchema) -> bool {
    let series = function.name() == "$generate_series";
    let times = if series { 0..2 } else { 1..3 };
    let parts = function.args.iter_mut().take(times.end).skip(times.start);
    let mut changed = read_texts(&mut parts.collect::<Vec<_>>(), schema);
    let of_times = function.args.first().and_then(|first| first.get_type(schema).ok());
    let of_times = matches!(of_times, Some(DataType::Timestamp(..) | DataType::Date32));
    if let Some(step) = function.args.get_mut(2).filter(|_| series && of_times)
        && common_type::untyped(step).is_some()
    {
        cast(step, INTERVAL);
        changed = true;
    }
    changed
}

/// A part of a time by the function that has it: those with fractions, calendars, or DataFusion's.
fn part_of_time(mut function: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let name = match function.args.first() {
        Some(Expr::Literal(part, _)) => part.try_as_str().flatten().unwrap_or_default(),
        _ => "",
    };
    if Part::named(name).is_some() {
        function.func = Arc::new(ScalarUDF::from(Extract::default()));
        // A date is a midnight.
        if let Some(date) = function.args.get_mut(1)
            && date.get_type(schema).is_ok_and(|of| of == DataType::Date32)
        {
            cast(date, DataType::Timestamp(TimeUnit::Microsecond, None));
        }
        let mut part = Expr::ScalarFunction(function);
        cast(&mut part, DataType::Float64);
        return Transformed::yes(part);
    }
    let calendar = time::CALENDAR_PARTS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if calendar {
        function.func = time::calendar_part();
    }
    transformed(calendar, Expr::ScalarFunction(function))
}

/// Whether this is `round` of a double.
fn rounds_to_even(function: &ScalarFunction, schema: &DFSchema) -> bool {
    function.name() == "round"
        && matches!(function.args.as_slice(), [arg]
            if arg.get_type(schema).is_ok_and(|data_type| data_type.is_floating()))
}

/// What a rewriting gives, and whether it changed anything.
pub(super) fn transformed<T>(changed: bool, data: T) -> Transformed<T> {
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

/// Reads a text in quotes as a truth value; returns whether it is one.
fn truth(expr: &mut Expr) -> bool {
    let text = common_type::untyped(expr).is_some();
    if text {
        cast(expr, DataType::Boolean);
    }
    text
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

/// Rounds the numbers of LIMIT and OFFSET.
fn counts(limit: Limit) -> Limit {
    let count = |count: Option<Box<Expr>>| {
        count.map(|mut count| {
            let of = count.get_type(&DFSchema::empty());
            if of.is_ok_and(|of| of.is_floating() || of.is_decimal()) {
                cast(&mut count, DataType::Int64);
            }
            count
        })
    };
    Limit { skip: count(limit.skip), fetch: count(limit.fetch), input: limit.input }
}

/// Gives the columns of the branches one type where DataFusion would choose another: doubles beside
/// numerics, and texts in quotes beside anything else.
fn union_of_one_type(union: Union) -> DfResult<Transformed<LogicalPlan>> {
    let column = |input: &LogicalPlan, i: usize| {
        let (qualifier, field) = input.schema().qualified_field(i);
        Expr::from((qualifier, field))
    };
    let target = |i: usize| {
        let types = || union.inputs.iter().map(|input| input.schema().field(i).data_type());
        let said = union.inputs.iter().map(|input| match quoted(input, i) {
            Some(text) => Said::Text(text),
            None => common_type::said_of(input.schema().field(i)),
        });
        let mixed = types().any(DataType::is_floating) && types().any(DataType::is_decimal);
        let quoted = union.inputs.iter().any(|input| quoted(input, i).is_some());
        common(said).ok().flatten().filter(|_| mixed || quoted)
    };
    let targets: Vec<_> = (0..union.schema.fields().len()).map(target).collect();
    if targets.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.iter().map(|input| {
        let columns = targets.iter().enumerate().map(|(i, target)| {
            let (qualifier, field) = input.schema().qualified_field(i);
            let column = column(input, i);
            match target {
                Some(to) if to.data_type() != field.data_type() => {
                    let cast = Cast::new_from_field(Box::new(column), Arc::clone(to));
                    Expr::Cast(cast).alias_qualified(qualifier.cloned(), field.name())
                }
                _ => column,
            }
        });
        let columns = columns.collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(Arc::clone(input)).project(columns)?.build()?;
        Ok(Arc::new(plan))
    });
    let union = Union::try_new_with_loose_types(inputs.collect::<DfResult<_>>()?)?;
    Ok(Transformed::yes(LogicalPlan::Union(union)))
}

/// The text in quotes that a column of a SELECT is.
fn quoted(plan: &LogicalPlan, column: usize) -> Option<&str> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let mut expr = projection.expr.get(column)?;
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    common_type::untyped(expr)
}
