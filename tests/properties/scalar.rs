//! The values of expressions.

use super::query::Expr;
use super::value::{Row, Value};

/// The number that a value is.
pub fn number(value: &Value) -> i64 {
    match value {
        Value::Int(n) => *n,
        other => panic!("{other:?} is no number"),
    }
}

/// Whether a condition is true of a row; none if it is unknown.
pub fn truth(expr: &Expr, row: &Row) -> Option<bool> {
    match value(expr, row) {
        Value::Bool(b) => Some(b),
        Value::Null => None,
        other => panic!("{other:?} is no truth value"),
    }
}

/// A comparison; of NULL it is unknown.
pub fn compare(op: &str, a: &Value, b: &Value) -> Option<bool> {
    if *a == Value::Null || *b == Value::Null {
        return None;
    }
    Some(match op {
        "=" => a == b,
        "<>" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        ">=" => a >= b,
        _ => panic!("{op} compares nothing"),
    })
}

/// The value of an expression for a row.
pub fn value(expr: &Expr, row: &Row) -> Value {
    let bool = |b: Option<bool>| b.map_or(Value::Null, Value::Bool);
    match expr {
        Expr::Column(i, _) => row[*i].clone(),
        Expr::Literal(literal) => literal.clone(),
        Expr::Arithmetic(op, a, b) => match (value(a, row), value(b, row)) {
            (Value::Int(a), Value::Int(b)) => Value::Int(match op {
                '+' => a + b,
                '-' => a - b,
                _ => a * b,
            }),
            _ => Value::Null,
        },
        Expr::Compare(op, a, b) => bool(compare(op, &value(a, row), &value(b, row))),
        Expr::Logic("AND", a, b) => bool(match (truth(a, row), truth(b, row)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }),
        Expr::Logic(_, a, b) => bool(match (truth(a, row), truth(b, row)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }),
        Expr::Not(a) => bool(truth(a, row).map(|b| !b)),
        Expr::IsNull(a) => Value::Bool(value(a, row) == Value::Null),
        Expr::In(a, list) => {
            let a = value(a, row);
            let equal: Vec<Option<bool>> =
                list.iter().map(|e| compare("=", &a, &value(e, row))).collect();
            bool(match (equal.contains(&Some(true)), equal.contains(&None)) {
                (true, _) => Some(true),
                (false, unknown) => (!unknown).then_some(false),
            })
        }
        Expr::Coalesce(a, b) => match value(a, row) {
            Value::Null => value(b, row),
            some => some,
        },
        Expr::Case(a, b, c) => value(if truth(a, row) == Some(true) { b } else { c }, row),
        Expr::Call(name, a) => match (*name, value(a, row)) {
            (_, Value::Null) => Value::Null,
            ("abs", Value::Int(n)) => Value::Int(n.abs()),
            ("length", Value::Text(t)) => {
                Value::Int(i64::try_from(t.chars().count()).expect("short"))
            }
            ("upper", Value::Text(t)) => Value::Text(t.to_uppercase()),
            (name, other) => panic!("{name} of {other:?}"),
        },
        Expr::Within(sides, [low, high], _) => match (value(&sides[0], row), value(&sides[1], row))
        {
            (Value::Int(a), Value::Int(b)) => Value::Bool((*low..=*high).contains(&(b - a))),
            _ => Value::Null,
        },
        Expr::Concat(a, b) => match (value(a, row), value(b, row)) {
            (Value::Text(a), Value::Text(b)) => Value::Text(a + &b),
            _ => Value::Null,
        },
    }
}
