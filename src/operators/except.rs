//! EXCEPT ALL and INTERSECT ALL: bags by subtraction and by minimum.
//!
//! # Semantics
//! A row that the left input (port 0) has l times and the right one r times is in the result
//! `max(l - r, 0)` times, or `min(l, r)` times. Rows are equal as in DISTINCT: NULL equals NULL.
//! The set operations are these over distinct inputs.
//!
//! # State
//! Each distinct row of both inputs with its two weights; freed when both are 0.
//!
//! # Cost
//! One hash per row; per instant one comparison per row that has changed.

use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;

use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::storage::{RowSet, Visit};
use crate::time::Timestamp;

/// How the multiplicities of a row are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// EXCEPT ALL.
    Except,
    /// INTERSECT ALL.
    Intersect,
}

/// Combines two bags row by row.
pub struct Except {
    combination: Combination,
    schema: SchemaRef,
    rows: RowSet,
    /// By slot: the weight of the row on each side.
    weights: Vec<[i64; 2]>,
    /// By slot: whether the row is among `touched`.
    marks: Vec<bool>,
    /// Rows that this instant has touched, in order, and their multiplicity before it.
    touched: Vec<(u32, i64)>,
}

impl Except {
    /// Multiplicities are compared once per instant.
    pub const INSTANTS: Instantwise = Instantwise::One;

    /// Two empty bags of rows with the column types of `schema`.
    pub fn new(schema: SchemaRef, combination: Combination) -> Result<Self> {
        let rows = RowSet::new(schema.fields().iter().map(|field| field.data_type().clone()))?;
        let (weights, marks, touched) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { combination, schema, rows, weights, marks, touched })
    }

    /// Returns how often a row is in the result.
    fn multiplicity(&self, slot: u32) -> i64 {
        let [left, right] = self.weights[slot as usize];
        match self.combination {
            Combination::Except => (left - right.max(0)).max(0),
            Combination::Intersect => left.min(right).max(0),
        }
    }

    fn grow(&mut self) {
        self.weights.resize(self.rows.bound(), [0; 2]);
        self.marks.resize(self.rows.bound(), false);
    }

    fn touch(&mut self, slot: u32, before: i64) {
        if !std::mem::replace(&mut self.marks[slot as usize], true) {
            self.touched.push((slot, before));
        }
    }
}

impl Operator for Except {
    fn on_delta(&mut self, port: Port, delta: Delta, _: &mut Output) -> Result<()> {
        let slots = self.rows.intern(delta.rows().columns(), delta.len())?;
        self.grow();
        for (i, slot) in slots.into_iter().enumerate() {
            self.touch(slot, self.multiplicity(slot));
            self.weights[slot as usize][port.0] += delta.weight(i);
        }
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        let touched = std::mem::take(&mut self.touched);
        let net = touched.iter().map(|(slot, before)| (*slot, self.multiplicity(*slot) - before));
        let (slots, weights): (Vec<u32>, Vec<i64>) = net.filter(|(_, weight)| *weight != 0).unzip();
        let rows = batch(self.schema.clone(), self.rows.decode(&slots)?, slots.len())?;
        out.push(Delta::new(rows, Instants::All(at), Weights::Each(Int64Array::from(weights))));
        for (slot, _) in touched {
            self.marks[slot as usize] = false;
            if self.weights[slot as usize] == [0; 2] {
                self.rows.remove(slot);
            }
        }
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        visit(&mut self.weights);
        visit(&mut self.marks);
        visit(&mut self.touched);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::operators::testing::{run, schema};

    const D5: [&str; 2] = [
        " w | ts | x:text
         +2 | 1  | a
         +1 | 2  | b
         +1 | 2  | NULL",
        " w | ts | x:text
         +1 | 3  | a
         +1 | 4  | NULL
         +2 | 4  | c
         -1 | 5  | a",
    ];

    fn check(combination: Combination, expected: Expect) {
        let mut op = Except::new(schema("x:text"), combination).unwrap();
        expected.assert_eq(&run(&mut op, &D5, None).text());
    }

    #[test]
    fn d5_except_all_subtracts() {
        check(
            Combination::Except,
            expect![[r#"
                 w | ts | x
                +2 | 1  | a
                +1 | 2  | NULL
                +1 | 2  | b
                -1 | 3  | a
                -1 | 4  | NULL
                +1 | 5  | a
            "#]],
        );
    }

    #[test]
    fn intersect_all_takes_the_lesser() {
        check(
            Combination::Intersect,
            expect![[r#"
                 w | ts | x
                +1 | 3  | a
                +1 | 4  | NULL
                -1 | 5  | a
            "#]],
        );
    }
}
