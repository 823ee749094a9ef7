//! Arithmetic that fails where Postgres's does.
//!
//! # Semantics
//! A sum, difference, product or negation of integers that its type does not hold is an error, and
//! so is a division of floating-point numbers by zero. (Arrow's integers wrap and its floats become
//! infinite; the rest it checks as Postgres does.) A quotient of numerics is rounded, away from
//! zero in the middle, and computed with as many digits as it takes. (Arrow's is cut, and fails
//! where its numerator has more than 38 digits.)
//!
//! # Why
//! A function stands for the operation from the analyzer on, so constants that are computed while
//! planning, one-shot queries and continuous ones all fail alike.

use std::fmt::Write;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Decimal128Array};
use arrow::compute::kernels::{cmp, numeric};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Float32Type, Float64Type, i256,
};
use arrow::error::ArrowError;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan,
    LogicalPlanBuilder, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use foldhash::quality::FixedState;

use crate::sql::types::pg_type_name;

/// The function that stands for an operation of two numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operator: Operator,
    data_type: DataType,
    /// Names the column that it makes; of the first operands only the names.
    label: String,
    signature: Signature,
}

/// The longest label, in bytes. Of a longer one the beginning stays, and what tells it from others.
const LABEL_MAX: usize = 200;

/// Names an operation. A chain of operations is as deep as it is long: names that grew with it
/// would make planning it take time with the square of its length and more.
fn label(operator: Operator, args: &[Expr]) -> String {
    let mut label = format!("{} {operator} {}", args[0].schema_name(), args[1].schema_name());
    if label.len() > LABEL_MAX {
        let hash = FixedState::with_seed(0).hash_one(&label);
        label.truncate(label.floor_char_boundary(LABEL_MAX / 2));
        let _ = write!(label, " .. {hash:x}");
    }
    label
}

/// The type of an expression. DataFusion looks through the whole of a chain of operations; here the
/// last one tells.
pub(super) fn type_of(expr: &Expr, schema: &DFSchema) -> DfResult<DataType> {
    if let Expr::ScalarFunction(function) = expr
        && let Some(checked) = function.func.inner().downcast_ref::<Checked>()
    {
        return Ok(checked.data_type.clone());
    }
    expr.get_type(schema)
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "plus",
            Operator::Minus => "minus",
            Operator::Multiply => "times",
            _ => "divided_by",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.data_type.clone())
    }

    fn schema_name(&self, _: &[Expr]) -> DfResult<String> {
        Ok(self.label.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        apply(&args.args[0], &args.args[1], |left, right| {
            let result = match self.operator {
                Operator::Plus => numeric::add(left, right),
                Operator::Minus => numeric::sub(left, right),
                Operator::Multiply => numeric::mul(left, right),
                _ if self.data_type.is_decimal() => quotients(left, right, &self.data_type),
                _ => divided(left, right),
            };
            result.map_err(|error| match error {
                ArrowError::ArithmeticOverflow(_) => {
                    let name = pg_type_name(&self.data_type);
                    ArrowError::ArithmeticOverflow(format!("{name} out of range"))
                }
                other => other,
            })
        })
    }
}

/// Divides floating-point numbers.
fn divided(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    let zero = ScalarValue::new_zero(right.get().0.data_type())
        .and_then(|zero| zero.to_scalar())
        .map_err(|error| ArrowError::ComputeError(error.to_string()))?;
    let (lefts, by_zero) = (left.get().0, cmp::eq(right, &zero)?);
    let fails = |i: usize| by_zero.is_valid(i) && by_zero.value(i);
    // A scalar stands for as many values as the other side has.
    let rows = lefts.len().max(by_zero.len());
    let at = |array: &dyn Array, i: usize| if array.len() == 1 { 0 } else { i };
    // What is no number stays so.
    let is_number = |i: usize| match lefts.data_type() {
        DataType::Float32 => !lefts.as_primitive::<Float32Type>().value(i).is_nan(),
        DataType::Float64 => !lefts.as_primitive::<Float64Type>().value(i).is_nan(),
        _ => true,
    };
    let counts = |i: usize| lefts.is_valid(i) && is_number(i);
    if (0..rows).any(|i| fails(at(&by_zero, i)) && counts(at(lefts, i))) {
        return Err(ArrowError::DivideByZero);
    }
    numeric::div(left, right)
}

/// Divides numerics.
fn quotients(
    left: &dyn Datum,
    right: &dyn Datum,
    data_type: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let ((lefts, one_left), (rights, one_right)) = (left.get(), right.get());
    let scale = |of: &DataType| match of {
        DataType::Decimal128(_, scale) => i32::from(*scale),
        _ => 0,
    };
    // The quotient of the unscaled numbers has the scale of the left less that of the right.
    let shift = scale(data_type) - scale(lefts.data_type()) + scale(rights.data_type());
    let ten = |power: i32| i256::from_i128(10).checked_pow(u32::try_from(power).unwrap_or(0));
    let factors = ten(shift).zip(ten(-shift));
    let (lefts, rights) =
        (lefts.as_primitive::<Decimal128Type>(), rights.as_primitive::<Decimal128Type>());
    let overflow = || ArrowError::ArithmeticOverflow(String::new());
    let (up, down) = factors.ok_or_else(overflow)?;
    let divide = |left: i128, right: i128| {
        if right == 0 {
            return Err(ArrowError::DivideByZero);
        }
        let left = i256::from_i128(left).checked_mul(up).ok_or_else(overflow)?;
        let right = i256::from_i128(right).checked_mul(down).ok_or_else(overflow)?;
        let (whole, rest) = (left.wrapping_div(right), left.wrapping_rem(right).wrapping_abs());
        let half_or_more = rest >= right.wrapping_abs().wrapping_sub(rest);
        let away = match (half_or_more, left.is_negative() == right.is_negative()) {
            (false, _) => i256::ZERO,
            (true, true) => i256::ONE,
            (true, false) => i256::MINUS_ONE,
        };
        let rounded = whole.wrapping_add(away).to_i128().ok_or_else(overflow)?;
        Decimal128Type::validate_decimal_precision(rounded, DECIMAL128_MAX_PRECISION, 0)
            .map_err(|_| overflow())?;
        Ok(rounded)
    };
    let rows = if one_left { rights.len() } else { lefts.len() };
    let quotients = (0..rows).map(|row| {
        let (left, right) = (if one_left { 0 } else { row }, if one_right { 0 } else { row });
        if lefts.is_null(left) || rights.is_null(right) {
            return Ok(None);
        }
        divide(lefts.value(left), rights.value(right)).map(Some)
    });
    let quotients = quotients.collect::<Result<Decimal128Array, ArrowError>>()?;
    Ok(Arc::new(quotients.with_data_type(data_type.clone())))
}

/// Makes sums of `bigint` fail where they overflow, in a settled plan that DataFusion runs: they
/// are
/// computed as numerics. (Continuous plans have a sum of their own.)
pub fn checked_sums(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Aggregate(mut aggregate) = node else { return Ok(Transformed::no(node)) };
        let old = Arc::clone(&aggregate.schema);
        let input = Arc::clone(aggregate.input.schema());
        let groups = old.fields().len() - aggregate.aggr_expr.len();
        let mut columns: Vec<Expr> = old.iter().map(Expr::from).collect();
        let mut changed = false;
        for (i, call) in aggregate.aggr_expr.iter_mut().enumerate() {
            let (qualifier, field) = old.qualified_field(groups + i);
            let name = field.name().clone();
            let mut inner = call.clone().unalias();
            let Expr::AggregateFunction(sum) = &mut inner else { continue };
            let [arg] = sum.params.args.as_mut_slice() else { continue };
            if sum.func.name() != "sum" || !arg.get_type(&input).is_ok_and(|t| t == DataType::Int64)
            {
                continue;
            }
            let wide = DataType::Decimal128(28, 0);
            *arg = Expr::Cast(Cast::new(Box::new(std::mem::take(arg)), wide));
            *call = inner.alias(&name);
            let sum = std::mem::take(&mut columns[groups + i]);
            let sum = Expr::Cast(Cast::new(Box::new(sum), DataType::Int64));
            columns[groups + i] = sum.alias_qualified(qualifier.cloned(), name);
            changed = true;
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
        let aggregate = LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, aggr_expr)?);
        let plan = LogicalPlanBuilder::from(aggregate).project(columns)?.build()?;
        Ok(Transformed::yes(plan))
    })?;
    Ok(plan.data)
}

/// Replaces an operation that would not fail where it should.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let (operator, data_type) = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (Ok(left), Ok(right)) = (type_of(left, schema), type_of(right, schema)) else {
                return Ok(Transformed::no(expr));
            };
            if *op == Operator::Divide && left.is_decimal() && right.is_decimal() {
                return quotient(expr, [left, right], schema);
            }
            let wraps = matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply);
            let fails = left == right
                && (wraps && left.is_integer() || *op == Operator::Divide && left.is_floating());
            if !fails {
                return Ok(Transformed::no(expr));
            }
            (*op, left)
        }
        Expr::Negative(inner) if !matches!(**inner, Expr::Literal(..)) => {
            match type_of(inner, schema) {
                Ok(data_type) if data_type.is_signed_integer() => (Operator::Minus, data_type),
                _ => return Ok(Transformed::no(expr)),
            }
        }
        _ => return Ok(Transformed::no(expr)),
    };
    let args = match expr {
        Expr::BinaryExpr(binary) => vec![*binary.left, *binary.right],
        Expr::Negative(inner) => {
            vec![Expr::Literal(ScalarValue::new_zero(&data_type)?, None), *inner]
        }
        other => return Ok(Transformed::no(other)),
    };
    Ok(Transformed::yes(checked(operator, [data_type.clone(), data_type.clone()], data_type, args)))
}

/// Replaces a division of numerics.
fn quotient(expr: Expr, operands: [DataType; 2], schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let data_type = expr.get_type(schema)?;
    let numbers = [&operands[0], &operands[1], &data_type];
    let narrow = numbers.iter().all(|of| matches!(of, DataType::Decimal128(..)));
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) if narrow => {
            let args = vec![*left, *right];
            Ok(Transformed::yes(checked(Operator::Divide, operands, data_type, args)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn checked(
    operator: Operator,
    operands: [DataType; 2],
    data_type: DataType,
    args: Vec<Expr>,
) -> Expr {
    let signature = Signature::exact(operands.to_vec(), Volatility::Immutable);
    let label = label(operator, &args);
    let function = ScalarUDF::from(Checked { operator, data_type, label, signature });
    Arc::new(function).call(args)
}
