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
use super::assigned::{assigned, grown, sessions};
use super::change::Change;
use super::elements::{elements, so_far};
use super::group::Group;
use super::query::{
    Expr, JoinKind, Query, STREAM, Select, SetOperation, Shape, Source, Window, parts,
};
use super::scalar::{compare, number, truth, value};
use super::value::{Bag, Row, Type, Value, bag, ordered, rows};

/// A stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Admitted rows in order of arrival, each with its time.
    pub rows: Vec<(i64, Row)>,
    /// No later row is admitted before this.
    pub watermark: i64,
    /// How far behind the latest row the watermark is.
    pub delay: i64,
    /// How many rows came too late.
    pub late: i64,
    /// How many rows had no time.
    pub null_time: i64,
}

impl Stream {
    /// A stream without rows.
    pub fn new(delay: i64) -> Self {
        Self { rows: Vec::new(), watermark: i64::MIN, delay, late: 0, null_time: 0 }
    }

    /// Takes a row, or refuses it.
    pub fn insert(&mut self, row: Row) {
        match row[0] {
            Value::Int(time) if time >= self.watermark => {
                self.watermark = self.watermark.max(time - self.delay);
                self.rows.push((time, row));
            }
            Value::Int(_) => self.late += 1,
            _ => self.null_time += 1,
        }
    }

    /// Times of its rows.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        self.rows.iter().map(|(time, _)| *time)
    }

    /// The rows up to an instant, in order of time, then of arrival.
    fn until(&self, instant: i64) -> Vec<&(i64, Row)> {
        let mut rows: Vec<_> = self.rows.iter().filter(|(time, _)| *time <= instant).collect();
        rows.sort_by_key(|(time, _)| *time);
        rows
    }
}

/// What the server holds.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Streams.
    pub streams: Vec<Stream>,
    /// Tables: rows by primary key.
    pub tables: Vec<BTreeMap<i64, Row>>,
    /// One unit of time.
    pub unit: i64,
}

impl World {
    /// Lets a change happen.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Rows(i, rows) => {
                rows.iter().for_each(|row| self.streams[*i].insert(row.clone()));
            }
            Change::Heartbeat(i, at) => {
                let stream = &mut self.streams[*i];
                stream.watermark = stream.watermark.max(*at);
            }
            Change::Upsert(i, rows) => {
                self.tables[*i].extend(rows.iter().map(|row| (number(&row[0]), row.clone())));
            }
            Change::Raise(i, by, key) => {
                for row in self.tables[*i].values_mut() {
                    if let (Value::Text(k), Value::Int(v)) = (&row[1], &row[2])
                        && k == key
                    {
                        row[2] = Value::Int(v + by);
                    }
                }
            }
            Change::Delete(i, rest) => self.tables[*i].retain(|id, _| id % 3 != *rest),
        }
    }
}

/// A view, and the world as it was when its last closed instant was released.
#[derive(Clone, Debug)]
pub struct View {
    /// Its query.
    pub query: Query,
    /// Its last closed instant, and the world of its release; EVENT clock only.
    pub released: Option<(i64, World)>,
}

impl View {
    /// Makes a view; its instants up to now are released now.
    pub fn new(query: Query, world: &World, views: &[View]) -> Self {
        let mut view = Self { query, released: None };
        view.commit(world, views);
        view
    }

    /// Takes note of a commit: releases the instants that it closed.
    pub fn commit(&mut self, world: &World, views: &[View]) {
        if !self.query.event_clock() {
            return;
        }
        let instant = last_closed(&self.query, world, views);
        if self.released.as_ref().is_none_or(|(before, _)| *before < instant) {
            self.released = Some((instant, world.clone()));
        }
    }

    /// Its content.
    pub fn content(&self, world: &World, views: &[View]) -> Bag {
        match &self.released {
            Some((instant, world)) => evaluate(&self.query, world, views, Some(*instant)),
            None => evaluate(&self.query, world, views, None),
        }
    }
}

/// The streams that a query reads, directly or through views.
pub fn streams(query: &Query, views: &[View]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    query.sources(&mut |source| match source {
        Source::Stream(i, _)
        | Source::Tumble(i, ..)
        | Source::Hop(i, ..)
        | Source::Cumulate(i, ..)
        | Source::Session(i, ..) => {
            found.insert(*i);
        }
        // A relation on the ARRIVAL clock is a table to its readers.
        Source::View(i) if views[*i].query.event_clock() => {
            found.extend(streams(&views[*i].query, views));
        }
        Source::View(_) | Source::Table(_) | Source::Derived(_) | Source::Elements(..) => {}
    });
    found
}

/// The last closed instant of a query on the EVENT clock.
pub fn last_closed(query: &Query, world: &World, views: &[View]) -> i64 {
    let streams = streams(query, views);
    let least = streams.iter().map(|i| world.streams[*i].watermark).min();
    least.expect("a query on the EVENT clock reads a stream") - 1
}

/// The rows of a query: at an instant on the EVENT clock, or of everything on the ARRIVAL clock.
pub fn evaluate(query: &Query, world: &World, views: &[View], instant: Option<i64>) -> Bag {
    match query {
        Query::Select(s) => select(s, world, views, instant),
        Query::Set(operation, a, b, all) => {
            let (a, b) = (evaluate(a, world, views, instant), evaluate(b, world, views, instant));
            combine(*operation, &a, &b, *all)
        }
        Query::Top(query, order, limit) => {
            let mut all = in_order(&evaluate(query, world, views, instant), order);
            all.truncate(*limit);
            bag(all)
        }
        Query::DistinctOn(query, order, count) => {
            let mut all = in_order(&evaluate(query, world, views, instant), order);
            all.dedup_by(|a, b| order[..*count].iter().all(|(i, _)| a[*i] == b[*i]));
            bag(all)
        }
        Query::With(query) => evaluate(query, world, views, instant),
        Query::ToStream(of, query, every) => {
            let at = instant.expect("a window in brackets makes the clock EVENT");
            so_far(elements((*of, query, *every), world, views, at))
        }
        Query::OnClose(s, end) => {
            let mut result = select(s, world, views, None);
            let watermark = streams(query, views).iter().map(|i| world.streams[*i].watermark).min();
            let watermark = Value::Int(watermark.expect("it reads a stream"));
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
fn in_order(bag: &Bag, order: &[(usize, bool)]) -> Vec<Row> {
    let mut all = rows(bag);
    all.sort_by(|a, b| {
        let by = |(i, desc): &(usize, bool)| ordered(&a[*i], &b[*i], *desc);
        order.iter().map(by).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    all
}

fn select(select: &Select, world: &World, views: &[View], instant: Option<i64>) -> Bag {
    let left = read(&select.from, world, views, instant);
    let mut joined = match &select.join {
        None => left,
        Some(join) => {
            let right = read(&join.source, world, views, instant);
            let widths = (width(&select.from, views), width(&join.source, views));
            product(&left, &right, join.kind, &join.on, widths)
        }
    };
    if let Some(lookup) = &select.lookup {
        let inner = read(&lookup.source, world, views, instant);
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
            let now = instant.expect("a window in brackets makes the clock EVENT");
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
            result.extend(kept.then(|| [key, values].concat()));
        }
    }
    bag(result)
}

fn width(source: &Source, views: &[View]) -> usize {
    match source {
        Source::Stream(..) => STREAM.len(),
        Source::Tumble(..) | Source::Hop(..) | Source::Cumulate(..) | Source::Session(..) => {
            STREAM.len() + 3
        }
        Source::Table(_) => super::query::TABLE.len(),
        Source::View(i) => views[*i].query.types().len(),
        Source::Derived(query) | Source::Elements(_, query, _) => query.types().len(),
    }
}

/// The rows of a source.
fn read(source: &Source, world: &World, views: &[View], instant: Option<i64>) -> Vec<Row> {
    match source {
        Source::Table(i) => world.tables[*i].values().cloned().collect(),
        Source::Stream(i, window) => {
            let stream = &world.streams[*i];
            match (window, instant) {
                (None | Some(Window::Unbounded), None) => {
                    stream.rows.iter().map(|(_, row)| row.clone()).collect()
                }
                (None, Some(at)) => windowed(stream, &Window::Unbounded, at),
                (Some(window), Some(at)) => windowed(stream, window, at),
                (Some(_), None) => unreachable!("a bracket window makes the clock EVENT"),
            }
        }
        Source::Tumble(i, size, offset) => assigned(&world.streams[*i], *size, *size, *offset),
        Source::Hop(i, slide, size) => assigned(&world.streams[*i], *slide, *size, 0),
        Source::Cumulate(i, step, size) => (1..=size / step)
            .flat_map(|n| grown(assigned(&world.streams[*i], *size, *size, 0), n * step))
            .collect(),
        Source::Session(i, gap, key) => {
            let until = instant.unwrap_or(i64::MAX);
            sessions(&world.streams[*i].until(until), *gap, *key)
        }
        Source::Derived(query) => rows(&evaluate(query, world, views, instant)),
        Source::Elements(of, query, window) => {
            let at = instant.expect("a window in brackets makes the clock EVENT");
            let rows = elements((*of, query, None), world, views, at);
            let stream = Stream { rows, ..Stream::new(0) };
            windowed(&stream, window.as_ref().unwrap_or(&Window::Unbounded), at)
        }
        Source::View(i) => {
            let view = &views[*i];
            let content = match instant {
                // The view's own instants are those of its reader.
                Some(_) if view.query.event_clock() => evaluate(&view.query, world, views, instant),
                Some(_) => evaluate(&view.query, world, views, None),
                None => view.content(world, views),
            };
            rows(&content)
        }
    }
}

/// The rows in a window at an instant.
fn windowed(stream: &Stream, window: &Window, at: i64) -> Vec<Row> {
    let past = stream.until(at);
    let between = |after: i64, until: i64| -> Vec<Row> {
        let within = past.iter().filter(|(time, _)| after < *time && *time <= until);
        within.map(|(_, row)| row.clone()).collect()
    };
    let last = |n: usize, rows: &[&(i64, Row)]| -> Vec<(i64, Row)> {
        rows[rows.len().saturating_sub(n)..].iter().map(|r| (*r).clone()).collect()
    };
    match window {
        Window::Now => between(at - 1, at),
        Window::Unbounded => between(i64::MIN, at),
        Window::Range(size, inclusive) => between(at - size - i64::from(*inclusive), at),
        Window::Slide(size, slide, offset) => {
            let end = (at - offset).div_euclid(*slide) * slide + offset;
            between(end - size, end)
        }
        Window::Current(period) => between(at.div_euclid(*period) * period - 1, at),
        Window::Batches(n, m) => {
            let whole = &past[..past.len() - past.len() % m];
            last(*n, whole).into_iter().map(|(_, row)| row).collect()
        }
        Window::Rows(n) => last(*n, &past).into_iter().map(|(_, row)| row).collect(),
        Window::Partition(column, n, range) => {
            let mut parts: BTreeMap<&Value, Vec<&(i64, Row)>> = BTreeMap::new();
            for row in &past {
                parts.entry(&row.1[*column]).or_default().push(row);
            }
            let young = |time: i64| range.is_none_or(|range| time > at - range);
            let rows = parts.values().flat_map(|part| last(*n, part));
            rows.filter(|(time, _)| young(*time)).map(|(_, row)| row).collect()
        }
    }
}

fn product(
    left: &[Row],
    right: &[Row],
    kind: JoinKind,
    on: &Expr,
    widths: (usize, usize),
) -> Vec<Row> {
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
            result.push([a.clone(), vec![Value::Null; widths.1]].concat());
        }
    }
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        for (b, _) in right.iter().zip(&matched).filter(|(_, matched)| !**matched) {
            result.push([vec![Value::Null; widths.0], b.clone()].concat());
        }
    }
    result
}

/// Types of a source's columns.
pub fn columns(source: &Source, views: &[View]) -> Vec<(String, Type)> {
    let named = |columns: &[(&str, Type)]| -> Vec<(String, Type)> {
        columns.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect()
    };
    let numbered = |types: &[Type]| -> Vec<(String, Type)> {
        types.iter().enumerate().map(|(i, t)| (format!("c{i}"), *t)).collect()
    };
    match source {
        Source::Stream(..) => named(&STREAM),
        Source::Table(_) => named(&super::query::TABLE),
        Source::Tumble(..) | Source::Hop(..) | Source::Cumulate(..) | Source::Session(..) => {
            let bounds = ["window_start", "window_end", "window_time"].map(|n| (n, Type::Time));
            [named(&STREAM), named(&bounds)].concat()
        }
        Source::View(i) => numbered(views[*i].query.types()),
        Source::Derived(query) | Source::Elements(_, query, _) => numbered(query.types()),
    }
}
