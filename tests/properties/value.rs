//! Values, rows and bags of the evaluator.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// BIGINT.
    Int,
    /// TEXT.
    Text,
    /// An instant, in microseconds.
    Time,
    /// A quotient or root: a number of any type, compared to six digits.
    Real,
    /// An array or a truth value: compared as it is written.
    Shown,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// NULL.
    Null,
    /// TRUE, FALSE.
    Bool(bool),
    /// A number or an instant.
    Int(i64),
    /// A quotient or root, in millionths.
    Real(i64),
    /// A text.
    Text(String),
}

/// A row.
pub type Row = Vec<Value>;

/// Rows with their multiplicities.
pub type Bag = BTreeMap<Row, i64>;

/// Makes a bag of rows.
pub fn bag(rows: impl IntoIterator<Item = Row>) -> Bag {
    let mut bag = Bag::new();
    for row in rows {
        *bag.entry(row).or_default() += 1;
    }
    bag
}

/// The rows of a bag, each as often as it is in there.
pub fn rows(bag: &Bag) -> Vec<Row> {
    let repeat = |(row, n): (&Row, &i64)| {
        let n = usize::try_from(*n).expect("a bag holds no negative counts");
        std::iter::repeat_n(row.clone(), n)
    };
    bag.iter().flat_map(repeat).collect()
}

/// The order of two values; NULL is larger than every value.
pub fn ordered(a: &Value, b: &Value, desc: bool) -> Ordering {
    let key = |value: &Value| (*value == Value::Null, value.clone());
    let order = key(a).cmp(&key(b));
    if desc { order.reverse() } else { order }
}

/// A quotient as it is compared.
pub fn ratio(a: i64, b: i64) -> f64 {
    let real = |n: i64| f64::from(i32::try_from(n).expect("a small number"));
    real(a) / real(b)
}

/// A number as it is compared: to six digits.
pub fn real(number: f64) -> Value {
    let millionths = format!("{:.0}", number * 1e6);
    Value::Real(millionths.parse().expect("a small number"))
}

/// Reads a row of the server.
pub fn typed(row: &[Option<String>], types: &[Type]) -> Row {
    assert_eq!(row.len(), types.len(), "columns of {row:?}");
    row.iter().zip(types).map(|(value, of)| read(value.as_deref(), *of)).collect()
}

/// Reads a value of the server.
fn read(text: Option<&str>, of: Type) -> Value {
    let Some(text) = text else { return Value::Null };
    match of {
        Type::Text | Type::Shown => Value::Text(text.to_owned()),
        Type::Real => real(text.parse().unwrap_or_else(|_| panic!("{text} is no number"))),
        Type::Int | Type::Time => {
            Value::Int(instant(text).unwrap_or_else(|| panic!("{text} is no {of:?}")))
        }
    }
}

/// Reads a number, or a timestamp as microseconds.
pub fn instant(text: &str) -> Option<i64> {
    let timestamp = || {
        let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
        Some(time.and_utc().timestamp_micros())
    };
    text.parse().ok().or_else(timestamp)
}
