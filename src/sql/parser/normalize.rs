//! Brings types in expressions into the form in which DataFusion plans what Postgres means.
//!
//! | written | planned | because |
//! |---|---|---|
//! | `timestamp`, `timestamptz` | precision 6 | DataFusion's default is nanoseconds |
//! | `timestamp(3)` | cast to precision 6, then rounded | DataFusion cuts |
//! | `varchar(3)` | cast to `varchar`, then cut | DataFusion does not |
//! | `float` | `double precision` | DataFusion's is 32 bits wide |
//! | `character varying`, `bpchar`, .. | `varchar` | DataFusion knows one name |
//! | `dec` | `decimal` | as above |
//! | `uuid` | `text` | it is kept as text |
//! | `j ->-1` | `j -> -1` | the tokenizer takes `->-` for an operator |
//! | `INTERVAL '1 day 02:03'` | its months, days and seconds | DataFusion reads fewer forms |
//! | `extract(second FROM x)` | `extract('second', x)` | seconds have fractions |
//! | `x = ANY ('{1,2}')`, `x <> ALL ($1)` | an operator of its own | the array has the type of x |
//! | `x AT TIME ZONE z` | `timezone(z, x)` | DataFusion leaves an instant an instant |
//! | `x LIKE p ESCAPE '!'` | `x LIKE like_escape(p, '!')` | DataFusion knows the backslash |
//! | `x SIMILAR TO 'a%'` | `x ~ '^(?:a.*)$'` | it is no regular expression |
//! | `9223372036854775808`, `1e300` | a numeric, a double | else unsigned, or too long |
//! | `~x`, `@ x`, `\|/ x`, `\|\|/ x` | `x # -1`, `abs`, `sqrt`, `cbrt` | it has none |

use std::ops::ControlFlow;

use sqlparser::ast;
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, CharacterLength, DataType, ExactNumberInfo, Expr,
    UnaryOperator, Value, VisitMut, VisitorMut,
};

use super::precedence::regroup;
use crate::error::Location;
use crate::sql::datetime::Part;
use crate::sql::interval::{Field, Interval, Unit};
use crate::sql::{Error, Result};

/// Refuses `date NULL`: what stands behind a type is a text.
fn of_text(literal: &ast::TypedString) -> Result<()> {
    let value = &literal.value;
    if value.value.clone().into_string().is_some() {
        return Ok(());
    }
    let at = value.span.start;
    Err(Error::Syntax {
        near: Some(value.value.to_string()),
        detail: None,
        hint: Some("Write a text behind the type, or CAST(.. AS ..).".into()),
        location: Some(Location { line: at.line, column: at.column }),
    })
}

/// Normalizes all expressions of a tree.
pub fn normalize<T: VisitMut>(tree: &mut T) -> Result<()> {
    match tree.visit(&mut Normalizer) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// The operator for `x = ANY (a)`, where `a` is a literal or parameter.
pub const IN_ARRAY: &str = "= ANY";
/// The operator for `x <> ALL (a)`, where `a` is a literal or parameter.
pub const NOT_IN_ARRAY: &str = "<> ALL";

/// The function that stands for `extract(part from x)`, if the part has fractions.
pub const EXTRACT: &str = "extract";

/// The function that rounds a timestamp to so many digits of seconds.
const ROUNDED_TIME: &str = "$rounded_time";

/// The function that keeps so many characters of a text.
const CUT_TEXT: &str = "$cut_text";

/// Beyond this a number's exponent makes it a double: a numeric has 38 digits.
const EXPONENT_MAX: i32 = 30;

struct Normalizer;

impl VisitorMut for Normalizer {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        regroup(expr);
        if let Err(error) = replace_operator(expr) {
            return ControlFlow::Break(Box::new(error));
        }
        let wanted = match expr {
            Expr::BinaryOp { op, right, .. } => {
                split_minus(op, right);
                return ControlFlow::Continue(());
            }
            Expr::Cast { data_type, .. } => data_type,
            Expr::TypedString(literal) => {
                if let Err(error) = of_text(literal) {
                    return ControlFlow::Break(Box::new(error));
                }
                &mut literal.data_type
            }
            Expr::Interval(literal) => {
                return match normal_interval(literal) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(Box::new(error)),
                };
            }
            _ => return ControlFlow::Continue(()),
        };
        match normal_type(wanted) {
            Ok(None) => {}
            Ok(Some((function, size))) => {
                let inner = std::mem::replace(expr, Expr::Wildcard(AttachedToken::empty()));
                let size = Expr::Value(Value::Number(size.to_string(), false).into());
                *expr = call(function, vec![inner, size]);
            }
            Err(error) => return ControlFlow::Break(Box::new(error)),
        }
        ControlFlow::Continue(())
    }
}

/// Gives the minus of `->-` and `->>-` to the right side.
fn split_minus(op: &mut BinaryOperator, right: &mut Expr) {
    let BinaryOperator::Custom(text) = op else { return };
    *op = match text.as_str() {
        "->-" => BinaryOperator::Arrow,
        "->>-" => BinaryOperator::LongArrow,
        _ => return,
    };
    let positive = Box::new(std::mem::replace(right, Expr::Wildcard(AttachedToken::empty())));
    *right = Expr::UnaryOp { op: UnaryOperator::Minus, expr: positive };
}

/// Replaces operators that DataFusion does not know.
fn replace_operator(expr: &mut Expr) -> Result<()> {
    let untyped = |expr: &Expr| {
        let value =
            |value: &Value| matches!(value, Value::SingleQuotedString(_) | Value::Placeholder(_));
        matches!(expr, Expr::Value(v) if value(&v.value))
    };
    let take = |expr: &mut Box<Expr>| {
        Box::new(std::mem::replace(expr.as_mut(), Expr::Wildcard(AttachedToken::empty())))
    };
    if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = expr
        && let Some(escape) = escape_char.take_if(|escape| !is_backslash(&escape.value))
    {
        let escape = Expr::Value(escape);
        **pattern = call("like_escape", vec![*take(pattern), escape]);
        return Ok(());
    }
    *expr = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } if untyped(right) => {
            let op = BinaryOperator::Custom(IN_ARRAY.to_owned());
            Expr::BinaryOp { left: take(left), op, right: take(right) }
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } if untyped(right) => {
            let op = BinaryOperator::Custom(NOT_IN_ARRAY.to_owned());
            Expr::BinaryOp { left: take(left), op, right: take(right) }
        }
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => {
            let ones = Expr::Value(Value::Number("-1".to_owned(), false).into());
            let op = BinaryOperator::PGBitwiseXor;
            Expr::BinaryOp { left: take(expr), op, right: Box::new(ones) }
        }
        // DataFusion takes the sign for one of the first number in the text.
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(**expr, Expr::Interval(_)) => {
            let minus = Expr::Value(Value::Number("-1".to_owned(), false).into());
            let op = BinaryOperator::Multiply;
            Expr::BinaryOp { left: take(expr), op, right: Box::new(minus) }
        }
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => call("abs", vec![*take(expr)]),
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr } => call("sqrt", vec![*take(expr)]),
        Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr } => call("cbrt", vec![*take(expr)]),
        Expr::Extract { field, expr, .. } if Part::named(&part(field)).is_some() => {
            let part = Value::SingleQuotedString(part(field));
            call(EXTRACT, vec![Expr::Value(part.into()), *take(expr)])
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            call("timezone", vec![*take(time_zone), *take(timestamp)])
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char: None } => {
            let op = match negated {
                true => BinaryOperator::PGRegexNotMatch,
                false => BinaryOperator::PGRegexMatch,
            };
            let (left, right) = (take(expr), Box::new(regular(pattern)?));
            Expr::BinaryOp { left, op, right }
        }
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => match outsized(number) {
                Some(number) => number,
                None => return Ok(()),
            },
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    Ok(())
}

/// The name of a part of a time.
fn part(field: &ast::DateTimeField) -> String {
    match field {
        ast::DateTimeField::Custom(name) => name.value.clone(),
        field => field.to_string(),
    }
}

fn is_backslash(escape: &Value) -> bool {
    matches!(escape, Value::SingleQuotedString(text) if text == "\\")
}

/// Numbers that DataFusion would take for unsigned, or for numerics that it does not have.
fn outsized(number: &str) -> Option<Expr> {
    let value = |value: Value| Box::new(Expr::Value(value.into()));
    let exponent = number.split_once(['e', 'E']).and_then(|(_, e)| e.parse::<i32>().ok());
    if exponent.is_some_and(|exponent| exponent.abs() > EXPONENT_MAX) {
        return Some(Expr::Cast {
            kind: CastKind::Cast,
            expr: value(Value::SingleQuotedString(number.to_owned())),
            data_type: DataType::DoublePrecision,
            array: false,
            format: None,
        });
    }
    let whole = number.bytes().all(|byte| byte.is_ascii_digit());
    let big = whole && number.len() >= 19 && number.parse::<i64>().is_err();
    big.then(|| *value(Value::Number(format!("{number}e0"), false)))
}

/// The regular expression that a pattern of SIMILAR TO stands for.
fn regular(pattern: &Expr) -> Result<Expr> {
    let text = match pattern {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    };
    let text = text.ok_or_else(|| Error::Unsupported {
        feature: "SIMILAR TO a pattern that is not constant".to_owned(),
        hint: Some("Use ~ with a regular expression.".to_owned()),
        location: None,
    })?;
    let mut regular = "^(?:".to_owned();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => regular.push_str(".*"),
            '_' => regular.push('.'),
            '.' | '^' | '$' => regular.extend(['\\', c]),
            '\\' => regular.extend(['\\'].into_iter().chain(chars.next())),
            c => regular.push(c),
        }
    }
    regular.push_str(")$");
    Ok(Expr::Value(Value::SingleQuotedString(regular).into()))
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let arg = |arg| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(arg));
    Expr::Function(ast::Function {
        name: ast::Ident::new(name).into(),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(arg).collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// Writes the text of an interval out in units.
fn normal_interval(literal: &mut ast::Interval) -> Result<()> {
    let Expr::Value(value) = literal.value.as_mut() else { return Ok(()) };
    let start = value.span.start;
    let Value::SingleQuotedString(text) = &mut value.value else { return Ok(()) };
    let field = |field: &ast::DateTimeField| Field::named(&field.to_string());
    let read = match (&literal.leading_field, &literal.last_field) {
        (None, _) if counts_units(text) => return Ok(()),
        (None, _) => Interval::parse(text),
        (Some(first), last) => match (field(first), field(last.as_ref().unwrap_or(first))) {
            (Some(first), Some(last)) => Interval::parse_fields(text, first, last),
            // Weeks and the like are DataFusion's.
            _ => return Ok(()),
        },
    };
    let Interval { months, days, micros } = read.map_err(|malformed| {
        let location = Some(Location { line: start.line, column: start.column });
        Error::Interval { malformed, text: text.clone(), location }
    })?;
    (literal.leading_field, literal.last_field) = (None, None);
    let (sign, size) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let (seconds, rest) = (size / 1_000_000, size % 1_000_000);
    *text = format!("{months} months {days} days {sign}{seconds}.{rest:06} seconds");
    Ok(())
}

/// Returns whether the text of an interval is numbers of units alone, which DataFusion reads.
fn counts_units(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let counts = |pair: &[&str]| match pair {
        [number, unit] => number.parse::<i32>().is_ok() && Unit::named(unit).is_some(),
        _ => false,
    };
    !words.is_empty() && words.chunks(2).all(counts)
}

/// Replaces a type; returns the function that fits values to its digits of seconds or its length,
/// and how many these are.
fn normal_type(data_type: &mut DataType) -> Result<Option<(&'static str, u64)>> {
    match data_type {
        DataType::Timestamp(precision, _) => {
            // More digits than there are mean all of them.
            let digits = precision.replace(6).filter(|digits| *digits < 6);
            return Ok(digits.map(|digits| (ROUNDED_TIME, digits)));
        }
        DataType::Character(length) | DataType::Char(length) => {
            let chars = length.map_or(Some(1), chars);
            *data_type = DataType::Varchar(None);
            return Ok(chars.map(|chars| (CUT_TEXT, chars)));
        }
        DataType::CharacterVarying(length)
        | DataType::CharVarying(length)
        | DataType::Varchar(length) => {
            let chars = length.and_then(chars);
            *data_type = DataType::Varchar(None);
            return Ok(chars.map(|chars| (CUT_TEXT, chars)));
        }
        DataType::Time(precision, _) => *precision = None,
        DataType::Float(ExactNumberInfo::Precision(1..=24)) => *data_type = DataType::Real,
        DataType::Float(_) => *data_type = DataType::DoublePrecision,
        DataType::Dec(info) => *data_type = DataType::Decimal(*info),
        DataType::Uuid => *data_type = DataType::Text,
        DataType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("bpchar") => {
            *data_type = DataType::Varchar(None);
        }
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element),
        ) => {
            normal_type(element)?;
        }
        _ => {}
    }
    Ok(None)
}

/// How many characters a length says.
fn chars(length: CharacterLength) -> Option<u64> {
    match length {
        CharacterLength::IntegerLength { length, .. } => Some(length),
        CharacterLength::Max => None,
    }
}
