//! Holds an operator and its caller to their contract, for tests and debugging.
//!
//! # Semantics
//! Passes every call on and panics if a promise is broken:
//!
//! | the caller promises                         | the operator promises                      |
//! |---------------------------------------------|--------------------------------------------|
//! | watermarks rise, instants do not fall       | rows have the declared type                |
//! | a port exists, and its rows have its type   | no delta is empty, no weight is 0          |
//! | no row lies before the watermark            | no row lies before a watermark it was told |
//! | rows of a round lie at its instant, or, if  | none lies after the instant of the round   |
//! | they may come together, not after it        |                                            |
//!
//! Times are compared only on the EVENT clock: on the ARRIVAL clock a delta's time is a position.

use arrow::datatypes::{DataType, SchemaRef};

use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::Delta;
use crate::storage::Visit;
use crate::time::{Timestamp, Watermark};

/// What is declared of an operator.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The row types of its ports.
    pub inputs: Vec<SchemaRef>,
    /// The row type of its output.
    pub output: SchemaRef,
    /// How it wants instants.
    pub instants: Instantwise,
    /// Whether times are event times, and not positions.
    pub event_time: bool,
}

/// An operator that is watched.
pub struct Checked<O> {
    inner: O,
    declared: Declared,
    watermark: Watermark,
    /// The last instant that was completed.
    instant: Timestamp,
    /// The least and the greatest instant of the rows of this round.
    round: Option<(Timestamp, Timestamp)>,
}

impl<O: Operator> Checked<O> {
    /// Watches `inner`.
    pub fn new(inner: O, declared: Declared) -> Self {
        let (watermark, instant) = (Watermark::MIN, Timestamp::MIN);
        Self { inner, declared, watermark, instant, round: None }
    }

    /// The operator.
    pub fn into_inner(self) -> O {
        self.inner
    }

    /// Lets the operator emit, and looks at what it emits.
    fn watch(
        &mut self,
        until: Timestamp,
        out: &mut Output,
        call: impl FnOnce(&mut O, &mut Output) -> Result<()>,
    ) -> Result<()> {
        let mut emitted = Output::default();
        call(&mut self.inner, &mut emitted)?;
        for delta in emitted.deltas {
            assert!(!delta.is_empty(), "an empty delta is not emitted");
            assert_eq!(types(&delta.schema()), types(&self.declared.output), "the declared type");
            assert_weights(&delta);
            if let Some((first, last)) = span(&delta).filter(|_| self.declared.event_time) {
                let promised = self.watermark.0;
                assert!(first >= promised, "a row of {first} comes after watermark {promised}");
                assert!(last <= until, "a row of {last} comes before its instant, at {until}");
            }
            out.push(delta);
        }
        emitted.errors.into_iter().for_each(|error| out.quarantine(error));
        Ok(())
    }
}

impl<O: Operator> Operator for Checked<O> {
    fn on_delta(&mut self, port: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let input = self.declared.inputs.get(port.0).expect("the port exists");
        assert_eq!(types(&delta.schema()), types(input), "the type of port {}", port.0);
        assert_weights(&delta);
        if let Some((first, last)) = span(&delta).filter(|_| self.declared.event_time) {
            assert!(first >= self.watermark.0, "no row lies before the watermark");
            let (least, most) = self.round.unwrap_or((first, last));
            self.round = Some((least.min(first), most.max(last)));
        }
        let until = self.round.map_or(Timestamp::MAX, |(_, last)| last);
        self.watch(until, out, |inner, out| inner.on_delta(port, delta, out))
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        assert!(at >= self.instant, "instants do not fall");
        self.instant = at;
        if let Some((first, last)) = self.round.take() {
            assert!(last <= at, "a round ends with its last instant");
            let one = self.declared.instants == Instantwise::One;
            assert!(!one || first == at, "instants come one by one");
        }
        self.watch(at, out, |inner, out| inner.on_instant(at, out))
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        assert!(watermark > self.watermark, "watermarks rise");
        assert!(self.round.is_none(), "a round ends before the watermark moves");
        let closed = watermark.last_closed();
        self.watch(closed, out, |inner, out| inner.on_watermark(watermark, out))?;
        self.watermark = watermark;
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        self.inner.stores(visit);
    }

    fn loaded(&mut self) {
        self.inner.loaded();
    }
}

/// Column types: names and nullability may differ.
fn types(schema: &SchemaRef) -> Vec<DataType> {
    schema.fields().iter().map(|field| field.data_type().clone()).collect()
}

fn assert_weights(delta: &Delta) {
    assert!((0..delta.len()).all(|i| delta.weight(i) != 0), "no weight is 0");
}

/// The least and the greatest instant.
fn span(delta: &Delta) -> Option<(Timestamp, Timestamp)> {
    let instants = || (0..delta.len()).map(|i| delta.ts_at(i));
    instants().min().zip(instants().max())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::pretty;
    use crate::operators::testing::{expr, schema};
    use crate::operators::{Filter, Project};

    fn declared(output: &str) -> Declared {
        Declared {
            inputs: vec![schema("v:int8")],
            output: schema(output),
            instants: Instantwise::One,
            event_time: true,
        }
    }

    fn filter() -> Checked<Filter> {
        Checked::new(Filter::new(expr(&schema("v:int8"), "v > 0")), declared("v:int8"))
    }

    #[test]
    fn calls_that_keep_the_contract_pass() {
        let mut out = Output::default();
        let mut op = filter();
        op.on_delta(Port(0), pretty::parse(" w | ts | v:int8\n+1 | 1 | 7"), &mut out).unwrap();
        op.on_instant(Timestamp(1), &mut out).unwrap();
        op.on_watermark(Watermark(Timestamp(2)), &mut out).unwrap();
        assert_eq!(out.deltas.len(), 1);
    }

    #[test]
    #[should_panic(expected = "no row lies before the watermark")]
    fn late_row_is_the_callers_fault() {
        let mut op = filter();
        op.on_watermark(Watermark(Timestamp(2)), &mut Output::default()).unwrap();
        let late = pretty::parse(" w | ts | v:int8\n+1 | 1 | 7");
        op.on_delta(Port(0), late, &mut Output::default()).unwrap();
    }

    #[test]
    #[should_panic(expected = "the declared type")]
    fn row_of_another_type_is_the_operators_fault() {
        let inner = Project::new(vec![expr(&schema("v:int8"), "v")], schema("v:int8"));
        let mut op = Checked::new(inner, declared("v:text"));
        let delta = pretty::parse(" w | ts | v:int8\n+1 | 1 | 7");
        op.on_delta(Port(0), delta, &mut Output::default()).unwrap();
    }
}
