//! EMIT EVERY and EMIT AFTER DELAY: changes that are shown at times of their own.
//!
//! # Semantics
//! A change is held until its key's next time, and what is shown then is the sum of all changes up
//! to that time: those of the time itself are in it.
//!
//! ```text
//!   EVERY d          one key for all; its times are the multiples of d
//!   AFTER DELAY d    d after the first change of the key since it was last shown
//! ```
//!
//! On the ARRIVAL clock time is that of commits, and the operator asks to be called
//! ([`Operator::due`]); on the EVENT clock it is that of instants, and a time has come when the
//! watermark has passed it. What is shown carries the time at which it is.
//!
//! # State
//! Per key the changes that are held, summed up, and its time.
//!
//! # Cost
//! Two hashes per change, and a timer per key that changes.

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;

use super::{Instantwise, Operator, Output, Port, Result, Waiting};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::storage::{GroupedRows, RowSet, Timers, Visit};
use crate::time::{Timestamp, Watermark};

/// No time: nothing is held.
const NEVER: i64 = i64::MAX;

/// When the changes of a key are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// At the multiples of so many microseconds.
    Every(i64),
    /// So many microseconds after the first of them.
    After(i64),
}

/// What tells the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Commits.
    Commits,
    /// The watermark.
    Watermark,
}

/// Holds changes until their key's time has come.
pub struct Pace {
    schema: SchemaRef,
    shows: Shows,
    beat: Beat,
    /// Columns of the key.
    key: Vec<usize>,
    keys: RowSet,
    /// What is held, by slot of its key.
    rows: GroupedRows,
    /// By slot of a key: when it is shown.
    times: Vec<i64>,
    timers: Timers,
    /// Keys of which changes have cancelled in this instant.
    cancelled: Vec<u32>,
}

impl Pace {
    /// The times of a key go by instants, one at a time.
    pub const INSTANTS: Instantwise = Instantwise::One;

    /// Nothing is held yet, of rows of `schema` with this key.
    pub fn new(schema: SchemaRef, key: Vec<usize>, shows: Shows, beat: Beat) -> Result<Self> {
        let types = |columns: &[usize]| {
            columns.iter().map(|i| schema.field(*i).data_type().clone()).collect::<Vec<_>>()
        };
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let (keys, rows) = (RowSet::new(types(&key))?, GroupedRows::new(types(&all))?);
        let (times, timers) = (Vec::new(), Timers::default());
        let cancelled = Vec::new();
        Ok(Self { schema, shows, beat, key, keys, rows, times, timers, cancelled })
    }

    /// When a change at `at` is shown, if its key holds nothing else.
    fn time(&self, at: Timestamp) -> i64 {
        match self.shows {
            Shows::Every(period) => {
                let tick = at.0.div_euclid(period).saturating_mul(period);
                if tick == at.0 { tick } else { tick.saturating_add(period) }
            }
            Shows::After(delay) => at.plus(delay).0,
        }
    }

    /// Holds changes of one instant, or what was saved with the times of its keys.
    fn hold(&mut self, delta: &Delta, time: impl Fn(&Self, usize) -> i64) -> Result<()> {
        let columns = delta.rows().columns();
        let key: Vec<ArrayRef> = self.key.iter().map(|i| ArrayRef::clone(&columns[*i])).collect();
        let keys = self.keys.intern(&key, delta.len())?;
        let rows = self.rows.codec().encode(columns, delta.len())?;
        self.times.resize(self.keys.bound(), NEVER);
        for (i, key) in keys.into_iter().enumerate() {
            if self.times[key as usize] == NEVER {
                let time = time(self, i);
                self.times[key as usize] = time;
                self.timers.add(time, key);
            }
            let change = self.rows.add(key, rows.get(i), delta.weight(i));
            if change.after == 0 {
                self.rows.remove(change.slot);
                self.cancelled.push(key);
            }
        }
        Ok(())
    }

    /// Forgets keys whose changes have cancelled by the end of an instant: the next one is the
    /// first.
    fn forget_cancelled(&mut self) {
        for key in std::mem::take(&mut self.cancelled) {
            if self.rows.first(key).is_none() && self.keys.contains(key) {
                self.keys.remove(key);
                self.times[key as usize] = NEVER;
            }
        }
    }

    /// Shows the keys whose time has come.
    fn show(&mut self, come: impl Fn(i64) -> bool, out: &mut Output) -> Result<()> {
        while let Some((time, first)) = self.timers.take_due(&come) {
            let mut keys = vec![first];
            while let Some((_, key)) = self.timers.take_due(|other| other == time) {
                keys.push(key);
            }
            // The timer of a key that was forgotten may find another one under its number.
            keys.retain(|key| self.times[*key as usize] == time);
            keys.sort_unstable();
            keys.dedup();
            let slots: Vec<u32> = keys.iter().flat_map(|key| self.rows.of(*key)).collect();
            out.push(self.held(&slots, Instants::All(Timestamp(time)))?);
            for key in keys {
                self.rows.clear(key);
                self.keys.remove(key);
                self.times[key as usize] = NEVER;
            }
        }
        Ok(())
    }

    fn held(&self, slots: &[u32], times: Instants) -> Result<Delta> {
        let rows = batch(self.schema.clone(), self.rows.decode(slots)?, slots.len())?;
        let weights = slots.iter().map(|slot| self.rows.weight(*slot));
        Ok(Delta::new(rows, times, Weights::Each(Int64Array::from_iter_values(weights))))
    }

    fn earliest(&self) -> i64 {
        self.timers.earliest().unwrap_or(NEVER)
    }
}

impl Operator for Pace {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        if delta.is_empty() {
            return Ok(());
        }
        let at = delta.ts_at(0);
        // What was to be shown before this instant knows nothing of it.
        self.show(|time| time < at.0, out)?;
        self.hold(&delta, |pace, _| pace.time(at))
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        self.forget_cancelled();
        self.show(|time| time <= at.0, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        match self.beat {
            Beat::Commits => Ok(()),
            Beat::Watermark => self.show(|time| watermark.closes(Timestamp(time)), out),
        }
    }

    fn due(&self) -> Option<Timestamp> {
        (self.beat == Beat::Commits).then(|| Timestamp(self.earliest()))
    }

    fn waiting(&self) -> Waiting {
        let earliest = Some(self.earliest()).filter(|time| *time != NEVER).map(Timestamp);
        let until = earliest.filter(|_| self.beat == Beat::Watermark).map(|time| time.plus(1));
        Waiting { rows: self.rows.len(), until }
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        visit(&mut self.times);
        visit(&mut self.timers);
        visit(&mut self.cancelled);
        visit(&mut self.keys);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::operators::testing::{Emitted, hand_over, schema};

    fn pace(shows: Shows, beat: Beat) -> Pace {
        Pace::new(schema("k:int8 | v:int8"), vec![0], shows, beat).unwrap()
    }

    const FIRST: &str = " w | ts | k:int8 | v:int8\n +1 | 8  | 1    | 2";
    const OTHER: &str = " w | ts | k:int8 | v:int8\n +1 | 12 | 2    | 3";
    const SECOND: &str = " w | ts | k:int8 | v:int8\n -1 | 13 | 1    | 2\n +1 | 13 | 1    | 4";
    const THIRD: &str = " w | ts | k:int8 | v:int8\n -1 | 15 | 1    | 4\n +1 | 15 | 1    | 5";

    #[test]
    fn key_is_shown_a_delay_after_its_first_change() {
        let mut op = pace(Shows::After(6), Beat::Commits);
        let mut emitted = Emitted::default();
        emitted.delta(&mut op, 0, FIRST).delta(&mut op, 0, OTHER).delta(&mut op, 0, SECOND);
        assert_eq!(op.due(), Some(Timestamp(14)));
        emitted.delta(&mut op, 0, THIRD).instant(&mut op, 18).instant(&mut op, 21);
        expect![[r#"
             w | ts | k | v
            +1 | 14 | 1 | 4
            +1 | 18 | 2 | 3
            -1 | 21 | 1 | 4
            +1 | 21 | 1 | 5
        "#]]
        .assert_eq(&emitted.text());
        assert!(op.rows.is_empty() && op.due() == Some(Timestamp(NEVER)));
    }

    #[test]
    fn ticks_have_what_happened_up_to_them() {
        let mut op = pace(Shows::Every(5), Beat::Watermark);
        let mut emitted = Emitted::default();
        emitted.delta(&mut op, 0, FIRST).watermark(&mut op, 10);
        assert!(emitted.0.deltas.is_empty());
        emitted.watermark(&mut op, 11).delta(&mut op, 0, OTHER).delta(&mut op, 0, SECOND);
        emitted.delta(&mut op, 0, THIRD).watermark(&mut op, 16);
        expect![[r#"
             w | ts | k | v
            +1 | 10 | 1 | 2
            -1 | 15 | 1 | 2
            +1 | 15 | 1 | 5
            +1 | 15 | 2 | 3
        "#]]
        .assert_eq(&emitted.text());
    }

    #[test]
    fn changes_that_cancel_are_not_shown() {
        let mut op = pace(Shows::After(2), Beat::Commits);
        let mut emitted = Emitted::default();
        let back = " w | ts | k:int8 | v:int8\n -1 | 9  | 1    | 2";
        emitted.delta(&mut op, 0, FIRST).delta(&mut op, 0, back).instant(&mut op, 30);
        assert!(emitted.0.deltas.is_empty() && op.keys.is_empty());
    }

    #[test]
    fn saved_changes_keep_their_time() {
        let (mut first, mut second) =
            (pace(Shows::After(6), Beat::Commits), pace(Shows::After(6), Beat::Commits));
        let mut emitted = Emitted::default();
        emitted.delta(&mut first, 0, FIRST).delta(&mut first, 0, OTHER);
        hand_over(&mut first, &mut second);
        let mut emitted = Emitted::default();
        emitted.delta(&mut second, 0, SECOND).instant(&mut second, 14);
        expect![[r#"
             w | ts | k | v
            +1 | 14 | 1 | 4
        "#]]
        .assert_eq(&emitted.text());
    }
}
