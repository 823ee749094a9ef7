//! The one type of expressions that stand for one another, and of texts in quotes beside others.
//!
//! # Semantics
//! A text in quotes has no type of its own: its place gives it one. Beside expressions of other
//! types it has theirs; alone it is text. Types that differ become the widest of their kind
//! (numbers, dates and timestamps, arrays by their elements); other mixtures are an error.
//!
//! | place | the text is read as |
//! |---|---|
//! | COALESCE, GREATEST, LEAST, NULLIF, CASE, IN, BETWEEN, UNION, VALUES | the type of the others |
//! | operand of a comparison or of arithmetic | the type of the other operand |
//! | `date + '..'`, `timestamp + '..'`, `time + '..'` | an interval |
//! | beside a numeric | a numeric with as many digits as the text has |

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::functions::core;
use datafusion::logical_expr::binary::type_union_resolution;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast::BinaryOperator;

use super::error::Error;
use super::scaled_interval::INTERVAL;
use crate::error::SqlState;
use crate::functions::json::is_json;
use crate::sql::types::pg_type_name;

/// The most digits of a numeric.
const DIGITS: usize = 38;

/// What an expression tells of its type.
pub(super) enum Said<'a> {
    /// Nothing: NULL, or a parameter.
    Nothing,
    /// A text in quotes.
    Text(&'a str),
    /// A type.
    Type(FieldRef),
}

/// What an expression tells of its type; nothing if it has none yet.
pub(super) fn said<'a>(expr: &'a Expr, schema: &DFSchema) -> Said<'a> {
    if let Some(text) = untyped(expr) {
        return Said::Text(text);
    }
    expr.to_field(schema).map_or(Said::Nothing, |(_, field)| said_of(&field))
}

/// What a column tells of its type.
pub(super) fn said_of(field: &FieldRef) -> Said<'static> {
    if field.data_type().is_null() { Said::Nothing } else { Said::Type(Arc::clone(field)) }
}

/// The text, if the expression is one in quotes.
pub(super) fn untyped(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Finds the type that all can have, `None` if none of them says anything; fails with two that have
/// none in common.
pub(super) fn common<'a>(
    parts: impl IntoIterator<Item = Said<'a>>,
) -> Result<Option<FieldRef>, (FieldRef, FieldRef)> {
    let (mut texts, mut found) = (Vec::new(), None::<FieldRef>);
    for part in parts {
        match (part, found.take()) {
            (Said::Nothing, before) => found = before,
            (Said::Text(text), before) => {
                texts.push(text);
                found = before;
            }
            (Said::Type(field), None) => found = Some(field),
            (Said::Type(field), Some(before)) => match widest(&before, &field) {
                Some(both) => found = Some(both),
                None => return Err((before, field)),
            },
        }
    }
    if found.is_none() && !texts.is_empty() {
        found = Some(plain(DataType::Utf8));
    }
    Ok(found.map(|found| {
        let fields = texts.iter().map(|text| numeric_of(text, &found));
        fields.fold(Arc::clone(&found), |a, b| widest(&a, &b).unwrap_or(a))
    }))
}

fn plain(data_type: DataType) -> FieldRef {
    Field::new("", data_type, true).into()
}

/// The wider of two types; `None` if they are of different kinds.
fn widest(a: &FieldRef, b: &FieldRef) -> Option<FieldRef> {
    let (left, right) = (a.data_type(), b.data_type());
    if left == right {
        let same = a.metadata().get("pg_type") == b.metadata().get("pg_type");
        return Some(if same { Arc::clone(a) } else { plain(left.clone()) });
    }
    let numbers = left.is_numeric() && right.is_numeric();
    Some(plain(match (left, right) {
        (DataType::Null, other) | (other, DataType::Null) => other.clone(),
        _ if is_text(left) && is_text(right) => DataType::Utf8,
        _ if is_text(left) || is_text(right) => return None,
        _ if numbers && (left.is_floating() || right.is_floating()) => DataType::Float64,
        (
            DataType::Date32 | DataType::Timestamp(..),
            DataType::Date32 | DataType::Timestamp(..),
        ) => {
            let zone = [left, right].into_iter().find_map(|data_type| match data_type {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            });
            DataType::Timestamp(TimeUnit::Microsecond, zone)
        }
        (DataType::List(a), DataType::List(b)) => {
            let element = widest(a, b)?.data_type().clone();
            DataType::List(Field::new_list_field(element, true).into())
        }
        _ => type_union_resolution(&[left.clone(), right.clone()])?,
    }))
}

/// The type in which a text is read where `other` is expected.
fn numeric_of(text: &str, other: &FieldRef) -> FieldRef {
    if !other.data_type().is_decimal() {
        return Arc::clone(other);
    }
    let digits = text.trim().trim_start_matches(['+', '-']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let count = whole.len() + fraction.len();
    let number = [whole, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    match (u8::try_from(count), i8::try_from(fraction.len())) {
        (Ok(precision), Ok(scale)) if number && (1..=DIGITS).contains(&count) => {
            plain(DataType::Decimal128(precision, scale))
        }
        _ => Arc::clone(other),
    }
}

/// Reads a text in quotes as a type, and casts anything else to it.
fn fit(expr: &mut Expr, to: &FieldRef, schema: &DFSchema) {
    let to = untyped(expr).map_or_else(|| Arc::clone(to), |text| numeric_of(text, to));
    let has = expr.get_type(schema).is_ok_and(|data_type| data_type == *to.data_type());
    if !has || (untyped(expr).is_some() && is_json(&to)) {
        *expr = Expr::Cast(Cast::new_from_field(Box::new(std::mem::take(expr)), to));
    }
}

/// Gives texts in quotes the type of the expressions beside them; returns whether there are any.
pub(super) fn read_texts(parts: &mut [&mut Expr], schema: &DFSchema) -> bool {
    if !parts.iter().any(|part| untyped(part).is_some()) {
        return false;
    }
    let Ok(Some(to)) = common(parts.iter().map(|part| said(part, schema))) else { return false };
    if is_text(to.data_type()) && !is_json(&to) {
        return false;
    }
    for part in parts.iter_mut().filter(|part| untyped(part).is_some()) {
        fit(part, &to, schema);
    }
    true
}

/// Gives a text in quotes the type that an operator has for it beside the other operand.
pub(super) fn read_operand(
    op: &BinaryOperator,
    left: &mut Expr,
    right: &mut Expr,
    schema: &DFSchema,
) {
    if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
        let truth = plain(DataType::Boolean);
        for side in [left, right] {
            if untyped(side).is_some() {
                fit(side, &truth, schema);
            }
        }
        return;
    }
    let is_null = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Null, _));
    let open = |expr: &Expr| untyped(expr).is_some() || is_null(expr);
    let (text, other) = match (open(left), open(right)) {
        (true, false) => (left, right),
        (false, true) => (right, left),
        _ => return,
    };
    let Said::Type(other) = said(other, schema) else { return };
    // DataFusion would give it the type of the other one.
    let added = *op == BinaryOperator::Plus && matches!(other.data_type(), DataType::Timestamp(..));
    if is_null(text) && !added {
        return;
    }
    if let Some(to) = beside(op, &other) {
        fit(text, &to, schema);
    }
}

/// The type that an operator expects beside another.
fn beside(op: &BinaryOperator, other: &FieldRef) -> Option<FieldRef> {
    use BinaryOperator as Op;
    let data_type = other.data_type();
    let time =
        matches!(data_type, DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..));
    let same = match op {
        // What is compared with a time is read later, in the session's zone.
        Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => {
            !matches!(data_type, DataType::Timestamp(..))
        }
        Op::Plus if time => return Some(plain(INTERVAL)),
        Op::Plus | Op::Minus => time || *data_type == INTERVAL || data_type.is_numeric(),
        Op::Multiply | Op::Divide | Op::Modulo | Op::PGExp => data_type.is_numeric(),
        Op::BitwiseAnd | Op::BitwiseOr | Op::PGBitwiseXor => data_type.is_integer(),
        Op::StringConcat => *data_type == DataType::Binary,
        _ => false,
    };
    (same && !is_text(data_type)).then(|| Arc::clone(other))
}

/// Casts the arguments of a function of one type to it; returns whether that is what it is.
pub(super) fn unify(function: &ScalarUDF, args: &mut [Expr], schema: &DFSchema) -> bool {
    if function.inner().downcast_ref::<OneType>().is_none() {
        return false;
    }
    if let Ok(Some(to)) = common(args.iter().map(|arg| said(arg, schema))) {
        for arg in args {
            fit(arg, &to, schema);
        }
    }
    true
}

/// `coalesce`, `greatest`, `least` and `nullif`, whose arguments have one type.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let of_one_type = |inner| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(OneType { inner, signature }))
    };
    [core::coalesce(), core::greatest(), core::least(), core::nullif()].map(of_one_type).to_vec()
}

/// A function of DataFusion's with Postgres's choice of a type. Its arguments are cast by the
/// analyzer ([`unify`]), since only a query's text tells a text in quotes from others.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OneType {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for OneType {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(given.to_vec())
    }

    fn return_type(&self, given: &[DataType]) -> DfResult<DataType> {
        self.inner.inner().return_type(given)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let wanted = if self.name() == "nullif" { 2..=2 } else { 1..=usize::MAX };
        if !wanted.contains(&args.arg_fields.len()) {
            let what = format!("{} does not take {} arguments", self.name(), args.arg_fields.len());
            return Err(invalid(SqlState::SYNTAX_ERROR, what));
        }
        let said =
            args.arg_fields.iter().zip(args.scalar_arguments).map(
                |(field, constant)| match constant {
                    Some(ScalarValue::Utf8(Some(text))) => Said::Text(text),
                    _ => said_of(field),
                },
            );
        let found = common(said).map_err(|(a, b)| {
            let [a, b] = [a, b].map(|field| pg_type_name(field.data_type()));
            match self.name() {
                "nullif" => invalid(
                    SqlState::UNDEFINED_FUNCTION,
                    format!("operator does not exist: {a} = {b}"),
                ),
                name => invalid(
                    SqlState::DATATYPE_MISMATCH,
                    format!("{} types {a} and {b} cannot be matched", name.to_uppercase()),
                ),
            }
        })?;
        let found = found.unwrap_or_else(|| plain(DataType::Null));
        let nullable =
            self.name() != "coalesce" || args.arg_fields.iter().all(|field| field.is_nullable());
        let field = found.as_ref().clone().with_name(self.name()).with_nullable(nullable);
        Ok(field.into())
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DfResult<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }
}

fn invalid(sqlstate: SqlState, what: String) -> datafusion::error::DataFusionError {
    Error::Invalid { what, sqlstate, hint: None }.into()
}
