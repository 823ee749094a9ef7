//! The values of aggregates.

use std::collections::BTreeSet;

use super::group::{Aggregate, Function};
use super::scalar::{number, truth, value};
use super::value::{Row, Value, ordered, ratio, real};

/// The value of an aggregate over the rows of a group or frame.
pub fn aggregate(aggregate: &Aggregate, rows: &[Row]) -> Value {
    let counts = |row: &&Row| aggregate.filter.as_ref().is_none_or(|f| truth(f, row) == Some(true));
    let rows = rows.iter().filter(counts);
    let Some(argument) = &aggregate.argument else {
        return Value::Int(i64::try_from(rows.count()).expect("few rows"));
    };
    let mut values: Vec<Value> = rows.map(|row| value(argument, row)).collect();
    if !matches!(aggregate.function, Function::ArrayAgg(_)) {
        values.retain(|v| *v != Value::Null);
    }
    if aggregate.distinct {
        values = values.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    }
    let sum = || values.iter().map(number).sum::<i64>();
    match aggregate.function {
        Function::Count => Value::Int(i64::try_from(values.len()).expect("few rows")),
        _ if values.is_empty() => Value::Null,
        Function::Sum => Value::Int(sum()),
        Function::Avg => real(ratio(sum(), i64::try_from(values.len()).expect("few rows"))),
        Function::Min => values.into_iter().min().expect("not empty"),
        Function::Max => values.into_iter().max().expect("not empty"),
        Function::BoolAnd => shown(!values.contains(&Value::Bool(false))),
        Function::BoolOr => shown(values.contains(&Value::Bool(true))),
        Function::Spread(name) => spread(name, &values),
        Function::StringAgg(desc) => Value::Text(sorted(values, desc).join(",")),
        Function::ArrayAgg(desc) => Value::Text(format!("{{{}}}", sorted(values, desc).join(","))),
        Function::PercentileDisc(percent) => {
            values.sort();
            // The first value at which so much of the whole has passed.
            let passed = |n: usize| 100 * (n + 1) >= percent * values.len();
            let at = (0..values.len()).find(|n| passed(*n)).expect("the last has passed all");
            values.swap_remove(at)
        }
    }
}

fn shown(truth: bool) -> Value {
    Value::Text(if truth { "t" } else { "f" }.to_owned())
}

/// The variance or its root, of all that there is or of a sample: with one value a sample has none.
fn spread(name: &str, values: &[Value]) -> Value {
    let n = i64::try_from(values.len()).expect("few rows");
    let (root, sample) = (name.starts_with("stddev"), name.ends_with("samp"));
    if sample && n < 2 {
        return Value::Null;
    }
    let sum: i64 = values.iter().map(number).sum();
    let squares: i64 = values.iter().map(|v| number(v) * number(v)).sum();
    let variance = ratio(n * squares - sum * sum, n * (n - i64::from(sample)));
    real(if root { variance.sqrt() } else { variance })
}

fn sorted(mut values: Vec<Value>, desc: bool) -> Vec<String> {
    values.sort_by(|a, b| ordered(a, b, desc));
    let text = |value: Value| match value {
        Value::Text(text) => text,
        Value::Int(n) => n.to_string(),
        Value::Null => "NULL".to_owned(),
        other => panic!("{other:?} in a list"),
    };
    values.into_iter().map(text).collect()
}
