//! What stands in FROM: its columns, its watermarks, and its rows at an instant.

use std::collections::{BTreeMap, BTreeSet};

use super::assigned::{assigned, grown, sessions};
use super::elements::elements;
use super::oracle::{Moment, View, evaluate};
use super::query::{Query, STREAM, Source, TABLE, VERSIONS, Window};
use super::value::{Row, Type, Value, rows};
use super::world::{Input, Stream, World};

/// The inputs with a watermark that a query reads, directly or through views.
pub fn inputs(query: &Query, views: &[View]) -> BTreeSet<Input> {
    let event = query.event_clock();
    let mut found = BTreeSet::new();
    query.sources(&mut |source| match source {
        Source::Stream(i, _)
        | Source::Tumble(i, ..)
        | Source::Hop(i, ..)
        | Source::Cumulate(i, ..)
        | Source::Session(i, ..) => {
            found.insert(Input::Stream(*i));
        }
        Source::Versions if event => {
            found.insert(Input::Versions);
        }
        // A relation on the ARRIVAL clock is a table to its readers.
        Source::View(i) if views[*i].query.event_clock() => {
            found.extend(inputs(&views[*i].query, views));
        }
        Source::View(_)
        | Source::Table(_)
        | Source::Versions
        | Source::Derived(_)
        | Source::Lateral(_)
        | Source::Elements(..) => {}
    });
    found
}

/// The objects that a query reads, directly or through views.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Streams.
    pub streams: BTreeSet<usize>,
    /// Tables.
    pub tables: BTreeSet<usize>,
    /// Whether it reads the table that keeps versions.
    pub versions: bool,
}

impl Objects {
    /// Those that a query reads.
    pub fn of(query: &Query, views: &[View]) -> Self {
        let mut found = Self::default();
        query.sources(&mut |source| match source {
            Source::Stream(i, _)
            | Source::Tumble(i, ..)
            | Source::Hop(i, ..)
            | Source::Cumulate(i, ..)
            | Source::Session(i, ..) => {
                found.streams.insert(*i);
            }
            Source::Table(i) => {
                found.tables.insert(*i);
            }
            Source::Versions => found.versions = true,
            Source::View(i) => {
                let of_view = Self::of(&views[*i].query, views);
                found.streams.extend(of_view.streams);
                found.tables.extend(of_view.tables);
                found.versions |= of_view.versions;
            }
            Source::Derived(_) | Source::Lateral(_) | Source::Elements(..) => {}
        });
        found
    }

    /// What of it has a watermark.
    pub fn inputs(&self) -> Vec<Input> {
        let versions = self.versions.then_some(Input::Versions);
        self.streams.iter().copied().map(Input::Stream).chain(versions).collect()
    }
}

/// The least watermark of a query's inputs.
pub fn watermark(query: &Query, world: &World, views: &[View]) -> i64 {
    let inputs = inputs(query, views);
    let least = inputs.iter().map(|input| world.watermark(*input)).min();
    least.expect("a query in event time reads a stream")
}

/// Names and types of a source's columns.
pub fn columns(source: &Source, views: &[View]) -> Vec<(String, Type)> {
    let named = |columns: &[(&str, Type)]| -> Vec<(String, Type)> {
        columns.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect()
    };
    let numbered = |types: &[Type]| -> Vec<(String, Type)> {
        types.iter().enumerate().map(|(i, t)| (format!("c{i}"), *t)).collect()
    };
    match source {
        Source::Stream(..) => named(&STREAM),
        Source::Table(_) => named(&TABLE),
        Source::Tumble(..) | Source::Hop(..) | Source::Cumulate(..) | Source::Session(..) => {
            let bounds = ["window_start", "window_end", "window_time"].map(|n| (n, Type::Time));
            [named(&STREAM), named(&bounds)].concat()
        }
        Source::Versions => named(&VERSIONS),
        Source::View(i) => numbered(views[*i].query.types()),
        Source::Derived(query) | Source::Elements(_, query, ..) => numbered(query.types()),
        Source::Lateral(lateral) => numbered(&lateral.types()),
    }
}

/// The rows of a source.
pub fn read(source: &Source, moment: Moment<'_>) -> Vec<Row> {
    let Moment { world, views, instant } = moment;
    match source {
        Source::Table(i) => world.tables[*i].values().cloned().collect(),
        Source::Versions => match instant {
            Some(at) => world.versions().at(at),
            None => world.versions().now.values().cloned().collect(),
        },
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
        Source::Derived(query) => rows(&evaluate(query, moment)),
        Source::Elements(of, query, every, window) => {
            let at = instant.expect("a window in brackets makes the clock EVENT");
            let rows = elements((*of, query, *every), moment, at);
            let stream = Stream { rows, ..Stream::new(0, 0) };
            windowed(&stream, window.as_ref().unwrap_or(&Window::Unbounded), at)
        }
        Source::View(i) => {
            let view = &views[*i];
            let content = match instant {
                // The view's own instants are those of its reader.
                Some(_) if view.query.event_clock() => evaluate(&view.query, moment),
                Some(_) => evaluate(&view.query, Moment { instant: None, ..moment }),
                None => view.content(world, views),
            };
            rows(&content)
        }
        Source::Lateral(_) => unreachable!("it has rows for a row of the other source"),
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
