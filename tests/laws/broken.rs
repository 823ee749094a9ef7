//! Operators that break one law each: the laws must find them.

use highwater::delta::pretty::schema;
use highwater::delta::{Delta, Weights};
use highwater::operators::{Instantwise, Operator, Output, Port, Result};
use highwater::storage::{Misfit, StateReader, StateWriter, Store, Visit};
use highwater::time::{Timestamp, Watermark};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use crate::cases::{Case, INPUT};
use crate::drive::{Script, scripts};

/// Which law is broken.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    /// Emits only the first row of each call.
    Batching,
    /// Emits the last row of an instant.
    Order,
    /// Stamps all rows of a round with its last instant.
    Together,
    /// Forgets how many rows it has seen.
    Restart,
    /// Drops rows when weights are explicit.
    Representation,
    /// Ignores retractions, and counts for ever.
    Cancellation,
    /// Counts for ever.
    Drain,
}

/// Passes every row, with a flaw.
struct Broken {
    flaw: Flaw,
    seen: i64,
    held: Option<Delta>,
}

impl Operator for Broken {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        self.seen += 1;
        match self.flaw {
            Flaw::Batching => out.push(delta.slice(0, delta.len().min(1))),
            Flaw::Restart if self.seen % 3 != 0 => {}
            Flaw::Representation if matches!(delta.weights(), Weights::Each(_)) => {}
            Flaw::Order if !delta.is_empty() => self.held = Some(delta.slice(delta.len() - 1, 1)),
            Flaw::Together => self.held = Some(delta),
            Flaw::Cancellation if (0..delta.len()).any(|i| delta.weight(i) < 0) => {}
            _ => out.push(delta),
        }
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        if let Some(held) = self.held.take() {
            out.push(if self.flaw == Flaw::Together { held.at(at) } else { held });
        }
        Ok(())
    }

    fn on_watermark(&mut self, _: Watermark, _: &mut Output) -> Result<()> {
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        if matches!(self.flaw, Flaw::Drain | Flaw::Cancellation) {
            visit(&mut Seen(self.seen));
        }
    }
}

/// Rows that stay, and are lost by a restart.
struct Seen(i64);

impl Store for Seen {
    fn memory(&self) -> usize {
        0
    }

    fn rows(&self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    fn save(&self, _: &mut StateWriter) -> std::result::Result<(), Misfit> {
        Ok(())
    }

    fn load(&mut self, _: &mut StateReader) -> std::result::Result<(), Misfit> {
        Ok(())
    }
}

/// Returns whether some script makes a broken operator fail the law.
fn found(
    flaw: Flaw,
    stream: bool,
    law: impl Fn(&Case, &Script, Index) -> std::result::Result<(), TestCaseError>,
) -> bool {
    let case = Case {
        instants: if flaw == Flaw::Together { Instantwise::Any } else { Instantwise::One },
        ..Case::new("broken", INPUT, move || Box::new(Broken { flaw, seen: 0, held: None }))
    };
    assert_eq!(case.output, schema(INPUT));
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let drawn = (scripts(stream), any::<Index>());
    TestRunner::new(config).run(&drawn, |(script, at)| law(&case, &script, at)).is_err()
}

#[test]
fn every_law_finds_an_operator_that_breaks_it() {
    assert!(found(Flaw::Batching, false, |case, script, _| crate::batching(case, script, 1)));
    assert!(found(Flaw::Order, false, |case, script, _| crate::order(case, script)));
    assert!(found(Flaw::Together, false, |case, script, _| crate::together(case, script)));
    assert!(found(Flaw::Restart, true, |case, script, at| crate::restart(case, script, at, false)));
    assert!(found(Flaw::Representation, true, |case, script, _| {
        crate::representation(case, script)
    }));
    assert!(found(Flaw::Cancellation, false, |case, script, _| crate::cancellation(case, script)));
    assert!(found(Flaw::Drain, true, |case, script, _| crate::drain(case, script)));
}
