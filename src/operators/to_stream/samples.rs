//! RSTREAM: the content of a relation, again and again.
//!
//! # Semantics
//! At each tick τ every row of `R(τ)` is an element, as often as it is in the relation. Ticks are
//! instants at regular distances, or those at which rows arrive on other ports: the ports of one of
//! the given lists, all of them. Regular ticks begin with the first instant that is known, by a
//! change or by the watermark.
//!
//! ```text
//!   every 5, R(τ) = {x, y} from 4 on      5:x 5:y 10:x 10:y ..
//! ```
//!
//! # State
//! The content.
//!
//! # Watermarks
//! A tick fires when the watermark has passed it. After the end of a stream there are no ticks
//! beyond the last change.
//!
//! # Cost
//! Per tick all rows of the relation. A step of the watermark over more ticks than make a million
//! elements is an error: an hour of microseconds is not what was meant.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;

use super::Every;
use crate::delta::{Delta, Instants, Weights};
use crate::operators::{Error, Instantwise, Operator, Output, Port, Result};
use crate::storage::{Bag, Deltas, Value, Visit};
use crate::time::{Timestamp, Watermark};

/// The most elements that one step of event time may make.
const STEP_ELEMENTS_MAX: usize = 1_000_000;

/// When a relation is sampled.
#[derive(Clone, Debug)]
pub enum Ticks {
    /// At all instants of these.
    Every(Vec<Every>),
    /// When, for one of the lists, rows arrive on all ports in the list.
    Arrivals(Vec<Vec<usize>>),
}

/// The content of a relation, at ticks.
pub struct Samples {
    ticks: Ticks,
    content: Bag,
    /// Changes of the round.
    round: Vec<Delta>,
    /// Ports on which rows have arrived in the round.
    arrived: BTreeSet<usize>,
    /// The instant up to which regular ticks have fired, once one is known.
    fired: Option<Timestamp>,
    /// The last instant with a change.
    changed: Timestamp,
}

impl Samples {
    /// The content must be that of one instant.
    pub const INSTANTS: Instantwise = Instantwise::One;

    /// Samples of a relation of that row type.
    pub fn new(schema: SchemaRef, ticks: Ticks) -> Result<Self> {
        Ok(Self {
            content: Bag::new(schema)?,
            ticks,
            round: Vec::new(),
            arrived: BTreeSet::new(),
            fired: None,
            changed: Timestamp::MIN,
        })
    }

    fn elements(&self) -> Result<Delta> {
        let (rows, weights) = self.content.snapshot()?;
        let at = Instants::All(Timestamp::MIN);
        Ok(Delta::new(rows, at, Weights::Each(weights)).repeated()?)
    }

    /// Fires the regular ticks up to an instant, which lie before its changes.
    fn fire_until(&mut self, last: Timestamp, out: &mut Output) -> Result<()> {
        let (Ticks::Every(every), Some(fired)) = (&self.ticks, self.fired) else { return Ok(()) };
        if last <= fired {
            return Ok(());
        }
        let next = |after: Timestamp| every.iter().map(|e| e.at_or_after(after.plus(1))).min();
        let mut tick = next(fired).filter(|_| !self.content.is_empty());
        if tick.is_some_and(|tick| tick <= last) {
            let elements = self.elements()?;
            let mut count = 0;
            while let Some(at) = tick.filter(|at| *at <= last) {
                count += elements.len();
                if count > STEP_ELEMENTS_MAX {
                    return Err(Error::Limit {
                        what: "RSTREAM",
                        reason: format!(
                            "event time went from {fired} to {last} in one step, which makes more \
                             than {STEP_ELEMENTS_MAX} elements"
                        ),
                    });
                }
                out.push(elements.clone().at(at));
                tick = next(at);
            }
        }
        self.fired = Some(last);
        Ok(())
    }

    fn fires_on_arrival(&self) -> bool {
        match &self.ticks {
            Ticks::Every(_) => false,
            Ticks::Arrivals(lists) => {
                lists.iter().any(|ports| ports.iter().all(|port| self.arrived.contains(port)))
            }
        }
    }
}

impl Operator for Samples {
    fn on_delta(&mut self, port: Port, delta: Delta, _: &mut Output) -> Result<()> {
        if port.0 == 0 {
            self.round.push(delta);
        } else {
            self.arrived.insert(port.0);
        }
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        if at != Timestamp::MIN {
            self.fired = self.fired.or(Some(at.plus(-1)));
            self.fire_until(at.plus(-1), out)?;
        }
        for delta in std::mem::take(&mut self.round) {
            self.content.apply(&delta)?;
            self.changed = at;
        }
        if self.fires_on_arrival() {
            out.push(self.elements()?.at(at));
        }
        self.arrived.clear();
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        let last = match watermark {
            Watermark::MAX => self.changed,
            _ => watermark.last_closed(),
        };
        self.fired = self.fired.or(Some(last)).filter(|fired| *fired != Timestamp::MIN);
        self.fire_until(last, out)
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.content);
        visit(&mut Deltas(&mut self.round));
        visit(&mut Value(&mut self.arrived));
        visit(&mut Value(&mut self.fired));
        visit(&mut Value(&mut self.changed));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::operators::testing::{Emitted, hand_over, run, schema};

    fn every(period: i64) -> Samples {
        let ticks = Ticks::Every(vec![Every { period, offset: 0 }]);
        Samples::new(schema("x:text"), ticks).unwrap()
    }

    #[test]
    fn content_is_emitted_at_ticks_and_not_after_the_end() {
        let changes = " w | ts | x:text
                       +1 | 1  | a
                       +2 | 3  | b
                       -1 | 4  | a
                       -1 | 7  | b";
        let emitted = run(&mut every(2), &[changes], Some(10));
        expect![[r#"
             w | ts | x
            +1 | 2  | a
            +2 | 4  | b
            +2 | 6  | b
            +1 | 8  | b
        "#]]
        .assert_eq(&emitted.text());
        let end = run(&mut every(2), &[changes], Some(i64::MAX));
        expect![[r#"
             w | ts | x
            +1 | 2  | a
            +2 | 4  | b
            +2 | 6  | b
        "#]]
        .assert_eq(&end.text());
    }

    #[test]
    fn ticks_begin_where_time_begins() {
        let mut op = every(2);
        let mut emitted = Emitted::default();
        emitted.delta(&mut op, 0, " w | ts | x:text\n+1 | -9223372036854775808 | a");
        emitted.instant(&mut op, i64::MIN).watermark(&mut op, 1_000_001);
        emitted.watermark(&mut op, 1_000_003);
        expect![[r#"
             w | ts      | x
            +1 | 1000002 | a
        "#]]
        .assert_eq(&emitted.text());
    }

    #[test]
    fn arrivals_are_ticks_although_nothing_changes() {
        let ticks = Ticks::Arrivals(vec![vec![1], vec![2, 3]]);
        let mut op = Samples::new(schema("n:int8"), ticks).unwrap();
        let arrivals = |ts: &str| format!(" w | ts | arrival:bool\n+1 | {ts} | true");
        let ports = [
            " w | ts | n:int8\n+1 | 1 | 7",
            " w | ts | arrival:bool\n+1 | 1 | true\n+3 | 2 | true",
            &arrivals("3"),
            &arrivals("4"),
        ];
        expect![[r#"
             w | ts | n
            +1 | 1  | 7
            +1 | 2  | 7
        "#]]
        .assert_eq(&run(&mut op, &ports, Some(10)).text());
    }

    #[test]
    fn leap_over_too_many_ticks_is_an_error() {
        let mut op = every(1);
        let mut emitted = Emitted::default();
        emitted.delta(&mut op, 0, " w | ts | x:text\n+1 | 1 | a").instant(&mut op, 1);
        let far = op.on_watermark(Watermark(Timestamp(10_000_000)), &mut emitted.0);
        assert!(matches!(far, Err(Error::Limit { .. })));
    }

    #[test]
    fn saved_content_is_sampled_after_loading() {
        let (mut first, mut second) = (every(5), every(5));
        let mut emitted = Emitted::default();
        emitted.delta(&mut first, 0, " w | ts | x:text\n+1 | 1 | a").instant(&mut first, 1);
        emitted.watermark(&mut first, 3);
        hand_over(&mut first, &mut second);
        let mut emitted = Emitted::default();
        emitted.watermark(&mut second, 11);
        expect![[r#"
             w | ts | x
            +1 | 5  | a
            +1 | 10 | a
        "#]]
        .assert_eq(&emitted.text());
    }
}
