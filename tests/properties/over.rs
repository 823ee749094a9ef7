//! Calls with OVER: as trees, as SQL, and their values.
//!
//! # Semantics
//! A call looks at the rows of its partition, in its order; rows that are equal in that order are
//! peers. A frame is the rows around a row that an aggregate is of: counted in rows, or by the
//! distance of the order's one column. Without a frame it is everything up to the last peer, or
//! the partition where nothing is in order.

use std::cmp::Ordering;
use std::ops::Range;

use super::aggregate::aggregate;
use super::group::Aggregate;
use super::query::{Expr, Times};
use super::scalar::value;
use super::value::{Row, Type, Value, ordered};

/// A function.
#[derive(Clone, Debug)]
pub enum Call {
    /// `row_number()`.
    RowNumber,
    /// `rank()`.
    Rank,
    /// `dense_rank()`.
    DenseRank,
    /// `lag(x, n)`; `lead` if n is negative.
    Lag(Expr, i64),
    /// `first_value(x)` of the frame.
    First(Expr),
    /// `last_value(x)` of the frame.
    Last(Expr),
    /// An aggregate of the frame.
    Aggregate(Aggregate),
}

/// How the ends of a frame are counted. An end is a distance from the row, none is without end.
#[derive(Clone, Debug)]
pub enum Frame {
    /// No frame is written.
    Default,
    /// `ROWS`.
    Rows(Option<i64>, Option<i64>),
    /// `RANGE` over a column of the type.
    Range(Option<i64>, Option<i64>, Type),
}

/// A call with its window.
#[derive(Clone, Debug)]
pub struct Over {
    /// Function.
    pub call: Call,
    /// PARTITION BY.
    pub partition: Vec<Expr>,
    /// ORDER BY: an expression and whether it is descending.
    pub order: Vec<(Expr, bool)>,
    /// Frame.
    pub frame: Frame,
}

impl Over {
    /// Its SQL.
    pub fn sql(&self, times: Times) -> String {
        let call = match &self.call {
            Call::RowNumber => "row_number()".to_owned(),
            Call::Rank => "rank()".to_owned(),
            Call::DenseRank => "dense_rank()".to_owned(),
            Call::Lag(x, n) if *n < 0 => format!("lead({}, {})", x.sql(), -n),
            Call::Lag(x, n) => format!("lag({}, {n})", x.sql()),
            Call::First(x) => format!("first_value({})", x.sql()),
            Call::Last(x) => format!("last_value({})", x.sql()),
            Call::Aggregate(aggregate) => aggregate.sql(),
        };
        let mut parts = Vec::new();
        if !self.partition.is_empty() {
            let by: Vec<String> = self.partition.iter().map(Expr::sql).collect();
            parts.push(format!("PARTITION BY {}", by.join(", ")));
        }
        if !self.order.is_empty() {
            let item = |(x, desc): &(Expr, bool)| x.sql() + if *desc { " DESC" } else { "" };
            let by: Vec<String> = self.order.iter().map(item).collect();
            parts.push(format!("ORDER BY {}", by.join(", ")));
        }
        parts.extend(self.frame.sql(times));
        format!("{call} OVER ({})", parts.join(" "))
    }

    /// Its value for each of the rows, which stand in the order that breaks ties.
    pub fn values(&self, rows: &[Row]) -> Vec<Value> {
        let key = |row: &Row| -> Row { self.partition.iter().map(|x| value(x, row)).collect() };
        let of = |i: usize| {
            let mut part: Vec<usize> =
                (0..rows.len()).filter(|j| key(&rows[*j]) == key(&rows[i])).collect();
            part.sort_by(|a, b| self.compare(&rows[*a], &rows[*b]));
            let at = part.iter().position(|j| *j == i).expect("a row is in its partition");
            let part: Vec<&Row> = part.iter().map(|j| &rows[*j]).collect();
            self.value(&part, at)
        };
        (0..rows.len()).map(of).collect()
    }

    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let by = |(x, desc): &(Expr, bool)| ordered(&value(x, a), &value(x, b), *desc);
        self.order.iter().map(by).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Its value for the row at a place of its partition.
    fn value(&self, part: &[&Row], at: usize) -> Value {
        let count = |n: usize| Value::Int(i64::try_from(n).expect("few rows"));
        let first_peer = |of: usize| {
            part.iter().position(|row| self.compare(row, part[of]).is_eq()).expect("itself")
        };
        let frame = &part[self.frame(part, at)];
        let of = |x: &Expr, row: Option<&&Row>| row.map_or(Value::Null, |row| value(x, row));
        match &self.call {
            Call::RowNumber => count(at + 1),
            Call::Rank => count(first_peer(at) + 1),
            Call::DenseRank => count((0..=at).filter(|i| first_peer(*i) == *i).count()),
            Call::Lag(x, n) => {
                let place = i64::try_from(at).expect("few rows") - n;
                of(x, usize::try_from(place).ok().and_then(|i| part.get(i)))
            }
            Call::First(x) => of(x, frame.first()),
            Call::Last(x) => of(x, frame.last()),
            Call::Aggregate(call) => {
                let rows: Vec<Row> = frame.iter().map(|row| (*row).clone()).collect();
                aggregate(call, &rows)
            }
        }
    }

    /// The frame of the row at a place of its partition.
    fn frame(&self, part: &[&Row], at: usize) -> Range<usize> {
        let place = |n: usize| i64::try_from(n).expect("few rows");
        let first = |holds: &dyn Fn(usize) -> bool| {
            let found = (0..part.len()).find(|i| holds(*i));
            found.unwrap_or(part.len())
        };
        let (start, end) = match self.frame {
            Frame::Default => (0, first(&|i| self.compare(part[i], part[at]).is_gt())),
            Frame::Rows(low, high) => (
                low.map_or(0, |low| first(&|i| place(i) >= place(at) + low)),
                high.map_or(part.len(), |high| first(&|i| place(i) > place(at) + high)),
            ),
            Frame::Range(low, high, _) => (
                low.map_or(0, |low| {
                    first(&|i| self.distance(part[i], part[at]).is_none_or(|apart| apart >= low))
                }),
                high.map_or(part.len(), |high| {
                    first(&|i| self.distance(part[i], part[at]).is_some_and(|apart| apart > high))
                }),
            ),
        };
        start..end.max(start)
    }

    /// How far after the other a row is, in the order's one column: NULL is infinitely far from
    /// everything else, and within any distance of NULL.
    fn distance(&self, row: &Row, from: &Row) -> Option<i64> {
        let (x, desc) = &self.order[0];
        let sign = if *desc { -1 } else { 1 };
        let apart = match (value(x, row), value(x, from)) {
            (Value::Int(a), Value::Int(b)) => a - b,
            (Value::Null, Value::Null) => return None,
            (Value::Null, _) => i64::MAX,
            (_, Value::Null) => -i64::MAX,
            (a, b) => panic!("the distance of {a:?} and {b:?}"),
        };
        Some(sign * apart)
    }
}

impl Frame {
    fn sql(&self, times: Times) -> Option<String> {
        let (units, low, high) = match self {
            Frame::Default => return None,
            Frame::Rows(low, high) => ("ROWS", low, high),
            Frame::Range(low, high, _) => ("RANGE", low, high),
        };
        let span = |n: i64| match self {
            Frame::Range(_, _, Type::Time) if times == Times::Seconds => times.interval(n),
            _ => n.to_string(),
        };
        let bound = |n: &Option<i64>, open: &str| match n {
            None => format!("UNBOUNDED {open}"),
            Some(0) => "CURRENT ROW".to_owned(),
            Some(n) if *n < 0 => format!("{} PRECEDING", span(-n)),
            Some(n) => format!("{} FOLLOWING", span(*n)),
        };
        let (low, high) = (bound(low, "PRECEDING"), bound(high, "FOLLOWING"));
        Some(format!("{units} BETWEEN {low} AND {high}"))
    }
}
