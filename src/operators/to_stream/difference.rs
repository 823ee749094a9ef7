//! ISTREAM, DSTREAM and CHANGELOG: what comes into a relation, what goes out of it, and both.
//!
//! # Semantics
//! The changes of each instant are summed; what is left over are insertions, of which ISTREAM
//! makes elements, and deletions, of which DSTREAM does. A row that comes and goes in one instant
//! does neither. A changelog has both, with their sign as a last column. With EVERY the instants
//! between two ticks count as that of the later one.
//!
//! # State
//! None; with EVERY the changes since the last tick.
//!
//! # Watermarks
//! The elements of an instant are emitted with it, those of a tick once the watermark has passed
//! it.
//!
//! # Cost
//! One hash per change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array};
use arrow::datatypes::SchemaRef;

use super::Every;
use crate::delta::{Delta, Weights, batch};
use crate::operators::{Instantwise, Operator, Output, Port, Result};
use crate::storage::{Misfit, StateReader, StateWriter, Store, Visit};
use crate::time::{Timestamp, Watermark};

/// Which of a relation's changes become elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// ISTREAM.
    Insertions,
    /// DSTREAM.
    Deletions,
    /// CHANGELOG.
    Both,
}

/// What comes into a relation, or goes out of it, as a stream.
pub struct Differences {
    /// The row type of the elements.
    output: SchemaRef,
    side: Side,
    every: Option<Every>,
    /// Changes of the round, or, with EVERY, of the ticks that are open.
    open: BTreeMap<Timestamp, Vec<Delta>>,
}

/// The place of all changes in `open` where every instant is a tick.
const ROUND: Timestamp = Timestamp::MIN;

impl Differences {
    /// Many instants may come at once: changes are summed for each.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Differences as elements of that row type, at every instant or every so often.
    pub fn new(output: SchemaRef, side: Side, every: Option<Every>) -> Self {
        Self { output, side, every, open: BTreeMap::new() }
    }

    /// Sorts a change under the ticks of its rows.
    fn add(&mut self, delta: Delta) -> Result<()> {
        let Some(every) = self.every else {
            self.open.entry(ROUND).or_default().push(delta);
            return Ok(());
        };
        let mut ticks: Vec<Timestamp> =
            (0..delta.len()).map(|i| every.at_or_after(delta.ts_at(i))).collect();
        let of_rows = ticks.clone();
        ticks.sort_unstable();
        ticks.dedup();
        for tick in ticks {
            let here: BooleanArray = of_rows.iter().map(|of_row| Some(*of_row == tick)).collect();
            let part = delta.filter(&here)?.at(tick);
            self.open.entry(tick).or_default().push(part);
        }
        Ok(())
    }

    /// Makes elements of changes.
    fn emit(&self, changes: &[Delta], out: &mut Output) -> Result<()> {
        let Some(first) = changes.first() else { return Ok(()) };
        let net = Delta::concat(&first.schema(), changes)?.consolidate()?;
        let net = match self.side {
            Side::Insertions => net,
            Side::Deletions => net.negate(),
            Side::Both => return self.both(&net, out),
        };
        let counts: BooleanArray = (0..net.len()).map(|i| Some(net.weight(i) > 0)).collect();
        out.push(net.filter(&counts)?.repeated()?);
        Ok(())
    }

    /// Elements with the signs of their weights.
    fn both(&self, net: &Delta, out: &mut Output) -> Result<()> {
        let weights = || (0..net.len()).map(|i| net.weight(i));
        let signs = Int64Array::from_iter_values(weights().map(i64::signum));
        let times = Int64Array::from_iter_values(weights().map(i64::abs));
        let mut columns = net.rows().columns().to_vec();
        columns.push(Arc::new(signs));
        let rows = batch(Arc::clone(&self.output), columns, net.len())?;
        out.push(Delta::new(rows, net.ts().clone(), Weights::Each(times)).repeated()?);
        Ok(())
    }
}

impl Operator for Differences {
    fn on_delta(&mut self, _: Port, delta: Delta, _: &mut Output) -> Result<()> {
        self.add(delta)
    }

    fn on_instant(&mut self, _: Timestamp, out: &mut Output) -> Result<()> {
        match (self.every, self.open.remove(&ROUND)) {
            (None, Some(changes)) => self.emit(&changes, out),
            _ => Ok(()),
        }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        while let Some(tick) = self.open.first_entry().filter(|tick| watermark.closes(*tick.key()))
        {
            let changes = tick.remove();
            self.emit(&changes, out)?;
        }
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut Open(&mut self.open));
    }
}

/// Changes by their ticks, as a store.
struct Open<'a>(&'a mut BTreeMap<Timestamp, Vec<Delta>>);

impl Store for Open<'_> {
    fn memory(&self) -> usize {
        self.0.values().flatten().map(Delta::bytes).sum()
    }

    fn rows(&self) -> usize {
        self.0.values().flatten().map(Delta::len).sum()
    }

    fn save(&self, to: &mut StateWriter) -> std::result::Result<(), Misfit> {
        to.put_value(&self.0.iter().map(|(tick, of)| (*tick, of.len())).collect::<Vec<_>>())?;
        self.0.values().flatten().try_for_each(|delta| to.put_delta(delta))
    }

    fn load(&mut self, from: &mut StateReader) -> std::result::Result<(), Misfit> {
        self.0.clear();
        for (tick, count) in from.take_value::<Vec<(Timestamp, usize)>>()? {
            let deltas = (0..count).map(|_| from.take_delta());
            self.0.insert(tick, deltas.collect::<std::result::Result<_, _>>()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::operators::testing::{Emitted, hand_over, run, run_whole, schema};

    const CHANGES: &str = " w | ts | x:text
                           +1 | 1  | a
                           +2 | 2  | b
                           -1 | 2  | a
                           +1 | 2  | a
                           -1 | 3  | a
                           -2 | 4  | b
                           +3 | 4  | b";

    fn check(side: Side, every: Option<i64>, expected: Expect) {
        let every = every.map(|period| Every { period, offset: 0 });
        let output = if side == Side::Both { "x:text | diff:int8" } else { "x:text" };
        let make = || Differences::new(schema(output), side, every);
        let by_instant = run(&mut make(), &[CHANGES], Some(100)).text();
        expected.assert_eq(&by_instant);
        assert_eq!(run_whole(&mut make(), &[CHANGES], Some(100)).text(), by_instant);
    }

    #[test]
    fn istream_gives_what_comes() {
        check(
            Side::Insertions,
            None,
            expect![[r#"
             w | ts | x
            +1 | 1  | a
            +2 | 2  | b
            +1 | 4  | b
        "#]],
        );
    }

    #[test]
    fn dstream_gives_what_goes() {
        check(
            Side::Deletions,
            None,
            expect![[r#"
             w | ts | x
            +1 | 3  | a
        "#]],
        );
    }

    #[test]
    fn changelog_gives_both_with_their_signs() {
        check(
            Side::Both,
            None,
            expect![[r#"
             w | ts | x | diff
            +1 | 1  | a | 1
            +2 | 2  | b | 1
            +1 | 3  | a | -1
            +1 | 4  | b | 1
        "#]],
        );
    }

    #[test]
    fn every_looks_at_ticks_alone() {
        check(
            Side::Insertions,
            Some(3),
            expect![[r#"
             w | ts | x
            +2 | 3  | b
            +1 | 6  | b
        "#]],
        );
    }

    #[test]
    fn each_element_is_one_of_weight_one() {
        let mut op = Differences::new(schema("x:text"), Side::Insertions, None);
        let emitted = run(&mut op, &[CHANGES], None);
        let delta = Delta::concat(&schema("x:text"), &emitted.0.deltas).unwrap();
        assert_eq!(delta.len(), 4);
        assert!((0..4).all(|i| delta.weight(i) == 1));
    }

    #[test]
    fn saved_changes_wait_for_their_tick() {
        let every = Some(Every { period: 10, offset: 0 });
        let make = || Differences::new(schema("x:text"), Side::Insertions, every);
        let (mut first, mut second) = (make(), make());
        let mut emitted = Emitted::default();
        emitted.delta(&mut first, 0, CHANGES).instant(&mut first, 4).watermark(&mut first, 10);
        assert!(emitted.0.deltas.is_empty(), "the tick is open");
        hand_over(&mut first, &mut second);
        let mut emitted = Emitted::default();
        emitted.watermark(&mut second, 11);
        expect![[r#"
             w | ts | x
            +3 | 10 | b
        "#]]
        .assert_eq(&emitted.text());
    }
}
