//! Scripts of instants and watermarks, and their delivery to an operator.

use std::collections::BTreeMap;

use highwater::delta::{Delta, Instants, Weights, codec, pretty};
use highwater::operators::checked::{Checked, Declared};
use highwater::operators::{Instantwise, Operator, Output, Port};
use highwater::storage::{StateReader, StateWriter, Visit, load_all, save_all};
use highwater::time::{Timestamp, Watermark};
use proptest::prelude::*;

use crate::Delivery;
use crate::cases::{Case, INPUT};

/// A row and its weight: `k`, `v`, `t`.
pub type Change = ((Option<i64>, Option<i64>, u8), i64);

/// What happens at an instant.
#[derive(Clone, Debug)]
pub struct Step {
    pub at: i64,
    /// Changes of both ports; operators with one port see the first.
    pub ports: [Vec<Change>; 2],
    /// The watermark after it.
    pub watermark: Option<i64>,
}

/// What an operator is told.
#[derive(Clone, Debug)]
pub struct Script {
    pub steps: Vec<Step>,
}

/// What an operator has emitted, by instant and row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Emitted {
    pub changes: BTreeMap<(i64, String), i64>,
    pub errors: BTreeMap<String, i64>,
}

impl Emitted {
    fn add(&mut self, out: Output) {
        for delta in &out.deltas {
            for i in 0..delta.len() {
                let row = delta.rows().columns().iter();
                let row: Vec<String> = row.map(|c| pretty::show_value(c.as_ref(), i)).collect();
                *self.changes.entry((delta.ts_at(i).0, row.join("|"))).or_default() +=
                    delta.weight(i);
            }
        }
        for error in out.errors {
            *self.errors.entry(format!("{} {}", error.sqlstate, error.row)).or_default() +=
                error.weight;
        }
        self.changes.retain(|_, weight| *weight != 0);
        self.errors.retain(|_, weight| *weight != 0);
    }

    /// The relation after all changes.
    pub fn content(&self) -> BTreeMap<String, i64> {
        self.content_at(i64::MAX)
    }

    /// The relation at an instant.
    pub fn content_at(&self, at: i64) -> BTreeMap<String, i64> {
        let mut content: BTreeMap<String, i64> = BTreeMap::new();
        for ((_, row), weight) in self.changes.iter().filter(|((ts, _), _)| *ts <= at) {
            *content.entry(row.clone()).or_default() += weight;
        }
        content.retain(|_, weight| *weight != 0);
        content
    }
}

impl Script {
    /// The same instants and watermarks, and no row.
    pub fn without_rows(&self) -> Script {
        let steps = self.steps.iter().cloned();
        Script { steps: steps.map(|step| Step { ports: Default::default(), ..step }).collect() }
    }

    /// The same rows, and no watermark.
    pub fn without_watermarks(&self) -> Script {
        let steps = self.steps.iter().cloned();
        Script { steps: steps.map(|step| Step { watermark: None, ..step }).collect() }
    }

    /// Ends by taking back all rows.
    pub fn undone(&self) -> Script {
        let mut steps = self.steps.clone();
        let all = |port: usize| {
            let changes = self.steps.iter().flat_map(move |step| step.ports[port].clone());
            changes.map(|(row, weight)| (row, -weight)).collect()
        };
        let at = steps.last().map_or(0, |step| step.at) + 1;
        steps.push(Step { at, ports: [all(0), all(1)], watermark: None });
        Script { steps }
    }

    /// Ends with the end of the stream.
    pub fn ended(&self) -> Script {
        let mut steps = self.steps.clone();
        let at = steps.last().map_or(0, |step| step.at) + 1;
        steps.push(Step { at, ports: Default::default(), watermark: Some(i64::MAX) });
        Script { steps }
    }
}

/// Scripts of a stream, which only inserts, or of relations, which retract only what is there.
pub fn scripts(stream: bool) -> impl Strategy<Value = Script> {
    let number =
        |range: std::ops::Range<i64>| prop_oneof![1 => Just(None), 4 => range.prop_map(Some)];
    let row = (number(0..3), number(-2..3), 0u8..3);
    let weight =
        if stream { prop_oneof![Just(1i64), Just(1)] } else { prop_oneof![Just(1i64), Just(-1)] };
    let changes = move || proptest::collection::vec((row.clone(), weight.clone()), 0..5);
    let step = (0i64..3, changes(), changes(), any::<bool>());
    proptest::collection::vec(step, 0..6).prop_map(move |drawn| {
        let mut at = 0;
        let mut there: [BTreeMap<_, i64>; 2] = Default::default();
        let steps = drawn.into_iter().map(|(gap, left, right, tells)| {
            at += gap + 1;
            let mut ports = [left, right];
            for (changes, there) in ports.iter_mut().zip(&mut there) {
                changes.retain(|(row, weight)| {
                    let sum = there.entry(*row).or_default();
                    let sensible = *sum + weight >= 0;
                    *sum += if sensible { *weight } else { 0 };
                    sensible
                });
            }
            Step { at, ports, watermark: tells.then_some(at + 1) }
        });
        Script { steps: steps.collect() }
    })
}

/// One call of an operator.
enum Call {
    Delta(usize, Box<Delta>),
    Instant(i64),
    Watermark(i64),
}

/// Delivers a script; returns what came out and the operator.
pub fn run(case: &Case, script: &Script, delivery: &Delivery) -> (Emitted, Box<dyn Operator>) {
    let checked = || -> Box<dyn Operator> {
        Box::new(Checked::new(
            Boxed((case.make)()),
            Declared {
                inputs: vec![pretty::schema(INPUT); case.ports],
                output: case.output.clone(),
                instants: case.instants,
                event_time: true,
            },
        ))
    };
    let calls = calls(case, script, delivery);
    let restart = delivery.restart.filter(|_| !calls.is_empty()).map(|at| at.index(calls.len()));
    let mut op = checked();
    let mut emitted = Emitted::default();
    for (i, call) in calls.into_iter().enumerate() {
        let mut out = Output::default();
        match call {
            Call::Delta(port, delta) => op.on_delta(Port(port), *delta, &mut out).unwrap(),
            Call::Instant(at) => op.on_instant(Timestamp(at), &mut out).unwrap(),
            Call::Watermark(at) => op.on_watermark(Watermark(Timestamp(at)), &mut out).unwrap(),
        }
        emitted.add(out);
        if restart == Some(i) {
            // The watcher's own memory starts anew; the watermark is not told twice.
            let mut state = StateWriter::default();
            save_all(|visit| op.stores(visit), &mut state).unwrap();
            op = Box::new(Boxed((case.make)()));
            let mut reader = StateReader::of(state);
            load_all(|visit| op.stores(visit), &mut reader).unwrap();
            assert!(reader.finish().is_ok(), "{} leaves state behind", case.name);
            op.loaded();
        }
    }
    (emitted, op)
}

/// An operator of unknown type.
struct Boxed(Box<dyn Operator>);

impl Operator for Boxed {
    fn on_delta(
        &mut self,
        port: Port,
        delta: Delta,
        out: &mut Output,
    ) -> highwater::operators::Result<()> {
        self.0.on_delta(port, delta, out)
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> highwater::operators::Result<()> {
        self.0.on_instant(at, out)
    }

    fn on_watermark(
        &mut self,
        at: Watermark,
        out: &mut Output,
    ) -> highwater::operators::Result<()> {
        self.0.on_watermark(at, out)
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        self.0.stores(visit);
    }

    fn loaded(&mut self) {
        self.0.loaded();
    }
}

fn calls(case: &Case, script: &Script, delivery: &Delivery) -> Vec<Call> {
    let together = delivery.together && case.instants == Instantwise::Any;
    // The first instant has no rows, so that results over nothing appear at the same time.
    let mut calls = vec![Call::Instant(0)];
    // Steps that end with a watermark, or one by one.
    for round in script.steps.split_inclusive(|step| !together || step.watermark.is_some()) {
        for port in 0..case.ports {
            let mut rows: Vec<(i64, Change)> = Vec::new();
            for step in round {
                let mut changes: Vec<_> = step.ports[port].iter().map(|c| (step.at, *c)).collect();
                if delivery.reversed {
                    changes.reverse();
                }
                rows.extend(changes);
            }
            let size = delivery.batch.unwrap_or(rows.len()).max(1);
            calls.extend(
                rows.chunks(size).map(|part| Call::Delta(port, Box::new(delta(part, delivery)))),
            );
        }
        if let Some(last) = round.last() {
            calls.push(Call::Instant(last.at));
            calls.extend(last.watermark.map(Call::Watermark));
        }
    }
    calls
}

/// Builds a delta.
pub fn delta(rows: &[(i64, Change)], delivery: &Delivery) -> Delta {
    let mut text = format!(" w | ts | {INPUT}\n");
    let show = |value: Option<i64>| value.map_or("NULL".to_owned(), |value| value.to_string());
    for (at, ((k, v, t), weight)) in rows {
        let t = ["x", "y", ""][usize::from(*t)];
        text += &format!("{weight:+} | {at} | {} | {} | {t}\n", show(*k), show(*v));
    }
    let delta = pretty::parse(&text);
    if delivery.long_form {
        let (ts, weights) = (Instants::Each(delta.ts_array()), Weights::Each(delta.weight_array()));
        return Delta::new(delta.rows().clone(), ts, weights);
    }
    codec::decode(&codec::encode(&delta).unwrap()).unwrap()
}

/// Number of rows that an operator holds.
pub fn rows_held(op: &mut dyn Operator) -> usize {
    let mut rows = 0;
    op.stores(&mut |store| rows += store.rows());
    rows
}
