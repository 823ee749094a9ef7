//! EMIT ON WINDOW CLOSE: holds rows back until their window has closed.
//!
//! # Semantics
//! A row's window has closed once the watermark is at least the value of its time column plus
//! `after`. Then as many copies as it has by then are emitted, as insertions, with `ts` one tick
//! before that time: the last instant of its window. What comes later for such a row is dropped,
//! unless late rows are taken: then it is let through as it comes, until the watermark is farther
//! by `late`. A row of which the time is NULL is never shown.
//!
//! ```text
//!   [0,5) after 0          W = 3         W = 5             W = 6
//!   +(0,5,1)  -(0,5,1)  +(0,5,2)  |      4 +(0,5,2)   |    -(0,5,2) +(0,5,3) are dropped
//! ```
//!
//! # State
//! The net weight of each row that was not shown; freed with its emission or when it is retracted.
//!
//! # Invariants
//! Without late rows the output is append-only and in the order of time: what is emitted lies at or
//! after the last watermark.
//!
//! # Cost
//! One hash per row, one timer per distinct row.

use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use super::finality::{Finality, Frees};
use super::{Instantwise, Operator, Output, Port, Result, Waiting};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::storage::{RowSet, Visit};
use crate::time::{Timestamp, Watermark};

/// Holds rows back until their window has closed.
pub struct OnClose {
    schema: SchemaRef,
    rows: RowSet,
    /// By slot: the net weight of the row.
    weights: Vec<i64>,
    finality: Finality,
    late: i64,
}

impl OnClose {
    /// Only the watermark decides what is emitted when.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Rows of `schema` are final `close.after` after the time in column `close.column`.
    /// They are corrected for `late` after that.
    pub fn new(schema: SchemaRef, close: Frees, late: i64) -> Result<Self> {
        let rows = RowSet::new(schema.fields().iter().map(|field| field.data_type().clone()))?;
        let finality = Finality::new(close);
        Ok(Self { schema, rows, weights: Vec::new(), finality, late })
    }

    fn add(&mut self, delta: &Delta) -> Result<()> {
        let slots = self.rows.intern(delta.rows().columns(), delta.len())?;
        self.weights.resize(self.rows.bound(), 0);
        self.finality.watch(&slots, delta.rows().columns())?;
        for (i, slot) in slots.iter().enumerate() {
            self.weights[*slot as usize] += delta.weight(i);
        }
        for slot in slots {
            if self.weights[slot as usize] == 0 && self.rows.contains(slot) {
                self.rows.remove(slot);
                self.finality.forget(slot);
            }
        }
        Ok(())
    }

    fn rows_of(&self, slots: &[u32]) -> Result<RecordBatch> {
        Ok(batch(self.schema.clone(), self.rows.decode(slots)?, slots.len())?)
    }
}

impl Operator for OnClose {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        if self.late > 0
            && let Some(shown) = self.finality.passed_within(delta.rows().columns(), self.late)?
        {
            out.push(delta.filter(&shown)?);
        }
        let delta = match self.finality.closing(delta.rows().columns())? {
            Some(open) => delta.filter(&open)?,
            None => delta,
        };
        self.add(&delta)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        let (mut slots, mut times, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (time, slot) in self.finality.close(watermark) {
            let weight = std::mem::take(&mut self.weights[slot as usize]);
            // A row that was only ever retracted was never there.
            if weight > 0 {
                slots.push(slot);
                times.push(time - 1);
                weights.push(weight);
            } else {
                self.rows.remove(slot);
            }
        }
        let rows = self.rows_of(&slots)?;
        slots.into_iter().for_each(|slot| self.rows.remove(slot));
        let once = weights.iter().all(|weight| *weight == 1);
        let weights = if once { Weights::Ones } else { Weights::Each(Int64Array::from(weights)) };
        let instants = match times.first() {
            Some(first) if times.last() == Some(first) => Instants::All(Timestamp(*first)),
            _ => Instants::Each(TimestampMicrosecondArray::from(times)),
        };
        out.push(Delta::new(rows, instants, weights));
        Ok(())
    }

    fn waiting(&self) -> Waiting {
        Waiting { rows: self.rows.len(), until: self.finality.earliest() }
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        visit(&mut self.weights);
        self.finality.stores(visit);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::operators::testing::{Emitted, hand_over, schema};

    fn gate() -> OnClose {
        let close = Frees { column: 0, after: 0 };
        OnClose::new(schema("window_end:int8 | count:int8"), close, 0).unwrap()
    }

    const CHANGES: &str = " w | ts | window_end:int8 | count:int8
                           +1 | 1  | 5    | 1
                           -1 | 2  | 5    | 1
                           +1 | 2  | 5    | 2
                           +2 | 2  | 10   | 7
                           -1 | 2  | 10   | 8
                           +1 | 2  | NULL | 9";

    #[test]
    fn row_is_emitted_once_its_window_has_closed() {
        let mut op = gate();
        let mut emitted = Emitted::default();
        emitted.delta(&mut op, 0, CHANGES).watermark(&mut op, 4);
        assert!(emitted.0.deltas.is_empty());
        emitted.watermark(&mut op, 5).watermark(&mut op, i64::MAX);
        expect![[r#"
             w | ts | window_end | count
            +1 | 4  | 5          | 2
            +2 | 9  | 10         | 7
        "#]]
        .assert_eq(&emitted.text());
        assert!(op.rows.is_empty());
    }

    #[test]
    fn change_of_a_final_row_is_dropped() {
        let mut op = gate();
        let mut emitted = Emitted::default();
        emitted.watermark(&mut op, 7).delta(&mut op, 0, CHANGES).watermark(&mut op, 20);
        expect![[r#"
             w | ts | window_end | count
            +2 | 9  | 10         | 7
        "#]]
        .assert_eq(&emitted.text());
    }

    #[test]
    fn shown_row_is_corrected_while_rows_may_be_late() {
        let close = Frees { column: 0, after: 0 };
        let mut op = OnClose::new(schema("window_end:int8 | count:int8"), close, 3).unwrap();
        let mut emitted = Emitted::default();
        let change = "w | ts | window_end:int8 | count:int8
                     -1 | 2  | 5    | 1
                     +1 | 2  | 5    | 2";
        emitted.delta(&mut op, 0, " w | ts | window_end:int8 | count:int8\n +1 | 1  | 5    | 1");
        emitted.watermark(&mut op, 7).delta(&mut op, 0, change);
        expect![[r#"
             w | ts | window_end | count
            -1 | 2  | 5          | 1
            +1 | 2  | 5          | 2
            +1 | 4  | 5          | 1
        "#]]
        .assert_eq(&emitted.text());
        let mut emitted = Emitted::default();
        emitted.watermark(&mut op, 8).delta(&mut op, 0, change);
        assert!(emitted.0.deltas.is_empty() && op.rows.is_empty());
    }

    #[test]
    fn saved_rows_are_emitted_after_loading() {
        let (mut first, mut second) = (gate(), gate());
        let mut emitted = Emitted::default();
        emitted.delta(&mut first, 0, CHANGES).watermark(&mut first, 5);
        hand_over(&mut first, &mut second);
        let mut emitted = Emitted::default();
        emitted.delta(&mut second, 0, CHANGES).watermark(&mut second, 10);
        expect![[r#"
             w | ts | window_end | count
            +4 | 9  | 10         | 7
        "#]]
        .assert_eq(&emitted.text());
    }
}
