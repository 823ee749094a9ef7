//! The evaluator: every query, from the definitions of the language, by brute force.
//!
//! # Semantics
//! The server's state is a few lists: the admitted rows of each stream in order of arrival, each
//! stream's watermark, and the rows of each table. A query on the ARRIVAL clock is the query over
//! these lists. A query on the EVENT clock is the query over its windows at the last closed
//! instant: the one before the least watermark of its streams; tables are as they were when that
//! instant was released.
//!
//! # Why
//! Nothing here is incremental and nothing is shared with the server, so a mistake of the one is
//! not a mistake of the other.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregate::aggregate;
use super::elements::{elements, made, so_far};
use super::group::Group;
use super::meet::met;
use super::query::{Expr, Query, Select, SetOperation, Shape};
use super::scalar::{compare, truth, value};
use super::source::{read, watermark};
use super::value::{Bag, Row, Value, bag, ordered, rows};
use super::world::World;

/// What a query sees: the world, and the instant at which it looks; without one it is on the
/// ARRIVAL clock, and sees everything.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// What the server holds.
    pub world: &'a World,
    /// Views that may be read.
    pub views: &'a [View],
    /// An instant of event time.
    pub instant: Option<i64>,
}

/// A view, and what is known of it that commits left behind.
#[derive(Clone, Debug)]
pub struct View {
    /// Its query.
    pub query: Query,
    /// Its last closed instant, and the world of its release; EVENT clock only.
    released: Option<(i64, World)>,
    /// What it has held so far, and what its relation was at the last commit: streams over tables
    /// alone, whose instants are the commits.
    told: Bag,
    before: Bag,
}

impl View {
    /// Makes a view; its instants up to now are released now.
    pub fn new(query: Query, world: &World, views: &[View]) -> Self {
        let (told, before) = (Bag::new(), Bag::new());
        let mut view = Self { query, released: None, told, before };
        view.commit(world, views);
        view
    }

    /// Takes note of a commit: releases the instants that it closed.
    pub fn commit(&mut self, world: &World, views: &[View]) {
        if self.query.event_clock() {
            let instant = last_closed(&self.query, world, views);
            match &mut self.released {
                // Rows that come late correct the instant.
                Some((before, released)) if *before == instant => {
                    released.streams.clone_from(&world.streams);
                }
                released => *released = Some((instant, world.clone())),
            }
        } else if let Query::ToStream(of, query, _) = &self.query {
            let now = evaluate(query, Moment { world, views, instant: None });
            for (row, n) in made(*of, &now, &self.before) {
                *self.told.entry(row).or_default() += n;
            }
            self.before = now;
        }
    }

    /// Its content.
    pub fn content(&self, world: &World, views: &[View]) -> Bag {
        match &self.released {
            Some((instant, world)) => {
                evaluate(&self.query, Moment { world, views, instant: Some(*instant) })
            }
            None if matches!(self.query, Query::ToStream(..)) => self.told.clone(),
            None => evaluate(&self.query, Moment { world, views, instant: None }),
        }
    }
}

/// The last closed instant of a query on the EVENT clock.
pub fn last_closed(query: &Query, world: &World, views: &[View]) -> i64 {
    watermark(query, world, views) - 1
}

/// The rows of a query at a moment.
pub fn evaluate(query: &Query, moment: Moment<'_>) -> Bag {
    let at = || moment.instant.expect("a window in brackets makes the clock EVENT");
    match query {
        Query::Select(s) => select(s, moment),
        Query::Set(operation, a, b, all) => {
            combine(*operation, &evaluate(a, moment), &evaluate(b, moment), *all)
        }
        Query::Top(query, order, limit) => {
            let mut all = in_order(&evaluate(query, moment), order);
            all.truncate(*limit);
            bag(all)
        }
        Query::DistinctOn(query, order, count) => {
            let mut all = in_order(&evaluate(query, moment), order);
            all.dedup_by(|a, b| order[..*count].iter().all(|(i, _)| a[*i] == b[*i]));
            bag(all)
        }
        Query::With(query) | Query::Changes(query) => evaluate(query, moment),
        Query::ToStream(of, query, every) => so_far(elements((*of, query, *every), moment, at())),
        Query::Every(query, period) => {
            let tick = at().div_euclid(*period) * period;
            evaluate(query, Moment { instant: Some(tick), ..moment })
        }
        Query::OnClose(s, end, _) => {
            let mut result = select(s, moment);
            let watermark = Value::Int(watermark(query, moment.world, moment.views));
            result.retain(|row, _| row[*end] <= watermark);
            result
        }
    }
}

/// The rows of two bags: each as often as the operation says, at most once without ALL.
fn combine(operation: SetOperation, a: &Bag, b: &Bag, all: bool) -> Bag {
    let once = |bag: &Bag| -> Bag {
        bag.iter().map(|(row, n)| (row.clone(), if all { *n } else { 1 })).collect()
    };
    let (a, b) = (once(a), once(b));
    let count = |bag: &Bag, row: &Row| bag.get(row).copied().unwrap_or(0);
    let both: BTreeSet<&Row> = a.keys().chain(b.keys()).collect();
    let counted = both.into_iter().map(|row| {
        let (a, b) = (count(&a, row), count(&b, row));
        let n = match operation {
            SetOperation::Union if all => a + b,
            SetOperation::Union => a.max(b),
            SetOperation::Intersect => a.min(b),
            SetOperation::Except => (a - b).max(0),
        };
        (row.clone(), n)
    });
    counted.filter(|(_, n)| *n > 0).collect()
}

/// The rows of a bag in the order of columns, each descending or not.
pub fn in_order(bag: &Bag, order: &[(usize, bool)]) -> Vec<Row> {
    let mut all = rows(bag);
    all.sort_by(|a, b| {
        let by = |(i, desc): &(usize, bool)| ordered(&a[*i], &b[*i], *desc);
        order.iter().map(by).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    all
}

fn select(select: &Select, moment: Moment<'_>) -> Bag {
    let left = read(&select.from, moment);
    let mut joined = match &select.join {
        None => left,
        Some(join) => met(&select.from, left, join, moment),
    };
    if let Some(lookup) = &select.lookup {
        let inner = read(&lookup.source, moment);
        for row in &mut joined {
            let matches = |other: &&Row| {
                let both = [row.clone(), (*other).clone()].concat();
                lookup.on.as_ref().is_none_or(|on| truth(on, &both) == Some(true))
            };
            let found: Vec<Row> = inner.iter().filter(matches).cloned().collect();
            row.push(aggregate(&lookup.aggregate, &found));
        }
    }
    let keeps = |row: &Row| select.filter.as_ref().is_none_or(|f| truth(f, row) == Some(true));
    let in_age = |row: &Row| {
        select.age.is_none_or(|(op, span)| {
            let now = moment.instant.expect("a window in brackets makes the clock EVENT");
            compare(op, &row[0], &Value::Int(now - span)) == Some(true)
        })
    };
    let kept: Vec<Row> = joined.into_iter().filter(keeps).filter(in_age).collect();
    let project =
        |items: &[Expr], row: &Row| -> Row { items.iter().map(|e| value(e, row)).collect() };
    match &select.shape {
        Shape::Project(items, distinct) => {
            let projected = kept.iter().map(|row| project(items, row));
            if *distinct { bag(projected.collect::<BTreeSet<Row>>()) } else { bag(projected) }
        }
        Shape::Group(group) => grouped(group, &kept),
        Shape::Over(items, calls) => {
            let values: Vec<Vec<Value>> = calls.iter().map(|call| call.values(&kept)).collect();
            let result = kept.iter().enumerate().map(|(i, row)| {
                let called = values.iter().map(|of_call| of_call[i].clone());
                project(items, row).into_iter().chain(called).collect()
            });
            bag(result)
        }
    }
}

/// The groups of each set of keys; the keys that are not in the set are NULL.
fn grouped(group: &Group, rows: &[Row]) -> Bag {
    let mut result = Vec::new();
    for set in group.sets() {
        let mut groups: BTreeMap<Row, Vec<Row>> = BTreeMap::new();
        if set.is_empty() {
            groups.insert(vec![Value::Null; group.keys.len()], Vec::new());
        }
        for row in rows {
            let key = |(i, key): (usize, &Expr)| {
                if set.contains(&i) { value(key, row) } else { Value::Null }
            };
            let key = group.keys.iter().enumerate().map(key).collect();
            groups.entry(key).or_default().push(row.clone());
        }
        for (key, rows) in groups {
            let values: Row = group.aggregates.iter().map(|a| aggregate(a, &rows)).collect();
            let kept = group
                .having
                .is_none_or(|(i, op, n)| compare(op, &values[i], &Value::Int(n)) == Some(true));
            let grouping = group.grouping(&set).map(Value::Int).into_iter().collect();
            result.extend(kept.then(|| [key, values, grouping].concat()));
        }
    }
    bag(result)
}
