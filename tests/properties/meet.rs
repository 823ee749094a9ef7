//! Joins: the rows of two sources that belong together.

use super::aggregate::aggregate;
use super::oracle::{Moment, in_order};
use super::query::{Expr, Items, Join, JoinKind, Lateral, Source, VERSIONS, parts};
use super::scalar::{number, truth, value};
use super::source::{columns, read};
use super::value::{Row, Type, Value, bag};

/// The rows of a join whose left source has these rows.
pub fn met(from: &Source, left: Vec<Row>, join: &Join, moment: Moment<'_>) -> Vec<Row> {
    match (join.kind, &join.source) {
        (kind, Source::Lateral(lateral)) => {
            let of = |row: &Row| lateral.rows(row, moment);
            beside(left, lateral.types().len(), kind == JoinKind::Left, of)
        }
        (JoinKind::Versions(outer), _) => {
            let (Expr::Compare(_, key, _), _) = parts(&join.on) else {
                unreachable!("versions are looked up by their key")
            };
            let of = |row: &Row| match (value(key, row), &row[0]) {
                (Value::Int(key), Value::Int(at)) => {
                    moment.world.versions().of(key, *at).cloned().into_iter().collect()
                }
                _ => Vec::new(),
            };
            beside(left, VERSIONS.len(), outer, of)
        }
        (JoinKind::AsOf(outer), source) => {
            let right = read(source, moment);
            let width = columns(source, moment.views).len();
            beside(left, width, outer, |row| nearest(row, &right, &join.on).into_iter().collect())
        }
        (kind, source) => {
            let widths = [from, source].map(|source| columns(source, moment.views).len());
            product(&left, &read(source, moment), kind, &join.on, widths)
        }
    }
}

/// Each row with the rows that go with it, or with NULLs where there are none and it is to stay.
fn beside(left: Vec<Row>, width: usize, outer: bool, of: impl Fn(&Row) -> Vec<Row>) -> Vec<Row> {
    let all = left.into_iter().flat_map(|row| {
        let mut found = of(&row);
        if found.is_empty() && outer {
            found.push(vec![Value::Null; width]);
        }
        found.into_iter().map(move |other| [row.clone(), other].concat())
    });
    all.collect()
}

/// Of the right rows for which an ASOF condition holds the one whose time is nearest; of equal
/// times the greatest.
fn nearest(row: &Row, right: &[Row], on: &Expr) -> Option<Row> {
    let both = |other: &Row| [row.clone(), other.clone()].concat();
    let (_, Some(Expr::Compare(op, _, time))) = parts(on) else {
        unreachable!("an ASOF join compares times")
    };
    let found = right.iter().filter(|other| truth(on, &both(other)) == Some(true));
    let after = op.starts_with('<');
    let rank = |other: &&Row| {
        let time = number(&value(time, &both(other)));
        (if after { -time } else { time }, (*other).clone())
    };
    found.max_by_key(rank).cloned()
}

fn product(left: &[Row], right: &[Row], kind: JoinKind, on: &Expr, widths: [usize; 2]) -> Vec<Row> {
    let mut result = Vec::new();
    let mut matched = vec![false; right.len()];
    for a in left.iter().filter(|_| !kind.shows_right()) {
        let rows = right.iter().map(|b| [a.clone(), b.clone()].concat());
        let (equality, rest) = parts(on);
        let counts = |row: &Row| rest.is_none_or(|rest| truth(rest, row) == Some(true));
        let mut found = rows.filter(counts).map(|row| truth(equality, &row));
        let keeps = match kind {
            JoinKind::In(true) => found.all(|equal| equal == Some(false)),
            _ => found.any(|equal| equal == Some(true)) != (kind == JoinKind::Exists(true)),
        };
        result.extend(keeps.then(|| a.clone()));
    }
    for a in left.iter().filter(|_| kind.shows_right()) {
        let mut found = false;
        for (b, matched) in right.iter().zip(&mut matched) {
            let row = [a.clone(), b.clone()].concat();
            if truth(on, &row) == Some(true) {
                (found, *matched) = (true, true);
                result.push(row);
            }
        }
        if !found && matches!(kind, JoinKind::Left | JoinKind::Full) {
            result.push([a.clone(), vec![Value::Null; widths[1]]].concat());
        }
    }
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        for (b, _) in right.iter().zip(&matched).filter(|(_, matched)| !**matched) {
            result.push([vec![Value::Null; widths[0]], b.clone()].concat());
        }
    }
    result
}

impl Lateral {
    /// Types of its columns.
    pub fn types(&self) -> Vec<Type> {
        match self {
            Lateral::Unnest(_, ordinality) => vec![Type::Int; 1 + usize::from(*ordinality)],
            Lateral::Series(..) => vec![Type::Int],
            Lateral::Select { types, .. } => types.clone(),
        }
    }

    /// Its rows for a row of the other source.
    fn rows(&self, outer: &Row, moment: Moment<'_>) -> Vec<Row> {
        match self {
            Lateral::Unnest(items, ordinality) => {
                let numbered = items.iter().zip(1..).map(|(item, n)| {
                    let number = ordinality.then_some(Value::Int(n));
                    std::iter::once(value(item, outer)).chain(number).collect()
                });
                numbered.collect()
            }
            Lateral::Series(low, high) => match (value(low, outer), value(high, outer)) {
                (Value::Int(low), Value::Int(high)) => {
                    (low..=high).map(|n| vec![Value::Int(n)]).collect()
                }
                _ => Vec::new(),
            },
            Lateral::Select { source, filter, items, types, limit } => {
                let both = |row: Row| [outer.clone(), row].concat();
                let mut all: Vec<Row> = read(source, moment).into_iter().map(both).collect();
                all.retain(|row| filter.as_ref().is_none_or(|f| truth(f, row) == Some(true)));
                let shown: Vec<Row> = match items {
                    Items::Aggregates(items) => {
                        vec![items.iter().map(|item| aggregate(item, &all)).collect()]
                    }
                    Items::Exprs(items) => {
                        let show = |row: &Row| items.iter().map(|item| value(item, row)).collect();
                        all.iter().map(show).collect()
                    }
                };
                let Some(limit) = limit else { return shown };
                let order: Vec<(usize, bool)> = (0..types.len()).map(|i| (i, false)).collect();
                let mut shown = in_order(&bag(shown), &order);
                shown.truncate(*limit);
                shown
            }
        }
    }
}
