//! Lookup joins: each left row with what the right side holds when it comes.
//!
//! # Semantics
//! A row that the left side (port 0) gains at an instant is joined with the right side as it is at
//! that instant, changes of the same instant included. Later changes of the right side concern
//! later rows only. A row that the left side loses takes back what the youngest equal row was
//! joined with. An outer join keeps left rows without a partner, padded with NULLs.
//!
//! ```text
//!   right    +k-1         -k-1 +k-2
//!   left           +k@2              +k@4   -k@5
//!   result         +k-1@2            +k-2@4 -k-2@5
//! ```
//!
//! # State
//! The rows of the right side by key. If the left side retracts, also each of its rows with what it
//! was joined with; both are freed with the row.
//!
//! # Cost
//! One hash per left row and one per right row; per pair the decoding of the right row.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::JoinSide;
use super::pairs::{Pairing, Pairs, pad};
use super::side::Side;
use crate::delta::{Delta, Instants, Weights, batch};
use crate::operators::evaluate::Expressions;
use crate::operators::{Instantwise, Operator, Output, Port, Result};
use crate::storage::{Deltas, GroupedRows, RowSet, Value, Visit};
use crate::time::Timestamp;

/// What a [`Lookup`] is to compute.
#[derive(Clone, Debug)]
pub struct LookupOptions {
    /// The rows that look up.
    pub left: JoinSide,
    /// The rows that are looked up.
    pub right: JoinSide,
    /// What must be true of left and right columns besides equal keys.
    pub residual: Option<Arc<dyn PhysicalExpr>>,
    /// Whether left rows without a partner are kept.
    pub outer: bool,
    /// Whether NULL equals NULL in keys.
    pub null_equals_null: bool,
    /// Left columns, then right ones.
    pub output: SchemaRef,
}

/// A lookup join.
pub struct Lookup {
    outer: bool,
    null_equals_null: bool,
    output: SchemaRef,
    residual: Option<Expressions>,
    left: Side,
    /// Keys of the right side.
    keys: RowSet,
    right: Side,
    /// Left rows of this instant.
    waiting: Vec<Delta>,
    /// What left rows were joined with, if they may be retracted.
    answers: Option<Answers>,
}

/// What left rows were joined with.
struct Answers {
    /// Left rows.
    given: RowSet,
    /// By left slot: answers, the youngest last, each with the number of rows that got it.
    by_row: Vec<Vec<(u32, i64)>>,
    /// Output rows by their answer.
    rows: GroupedRows,
    /// Numbers of answers that nobody has.
    free: Vec<u32>,
    /// Numbers given out.
    count: u32,
}

impl Lookup {
    /// What comes of an instant must not be mixed with what comes of the next.
    pub const INSTANTS: Instantwise = Instantwise::One;

    /// A join with an empty right side.
    pub fn new(options: LookupOptions) -> Result<Self> {
        let LookupOptions { left, right, residual, outer, null_equals_null, output } = options;
        let types = left.keys.iter().map(|key| key.data_type(&left.schema));
        let types = types.collect::<std::result::Result<Vec<_>, _>>()?;
        let answers = match left.append_only {
            true => None,
            false => Some(Answers::new(&left.schema, &output)?),
        };
        Ok(Self {
            outer,
            null_equals_null,
            residual: residual.map(|residual| Expressions::new([residual])),
            left: Side::new(left, types.clone())?,
            keys: RowSet::new(types.clone())?,
            right: Side::new(right, types)?,
            waiting: Vec::new(),
            answers,
            output,
        })
    }

    /// Changes the right side.
    fn store(&mut self, delta: Delta, out: &mut Output) -> Result<()> {
        let keyed = self.right.key(delta, self.null_equals_null, out)?;
        let delta = keyed.delta;
        let owners = self.keys.intern(&keyed.keys, delta.len())?;
        let rows = &mut self.right.rows;
        let encoded = rows.codec().encode(delta.rows().columns(), delta.len())?;
        for (i, owner) in owners.iter().enumerate() {
            let change = rows.add(*owner, encoded.get(i), delta.weight(i));
            if change.after == 0 {
                rows.remove(change.slot);
            }
        }
        for owner in owners {
            if rows.first(owner).is_none() && self.keys.contains(owner) {
                self.keys.remove(owner);
            }
        }
        Ok(())
    }

    /// Joins rows that have come with what is there.
    fn look_up(&mut self, delta: Delta, out: &mut Output) -> Result<Vec<Delta>> {
        let keyed = self.left.key(delta, self.null_equals_null, out)?;
        let alone = keyed.keyless.filter(|_| self.outer);
        let delta = keyed.delta;
        let owners = self.keys.find(&keyed.keys, delta.len())?;
        let residual = self.residual.as_ref();
        let how = Pairing { schema: &self.output, residual, right: false };
        let mut joined = Vec::new();
        let mut partnered = vec![false; delta.len()];
        Pairs::each(
            &owners,
            &self.right,
            |_| true,
            |mut pairs| {
                joined.push(pairs.join(&delta, &self.right, &how, out)?);
                pairs.probe.iter().for_each(|row| partnered[*row as usize] = true);
                Ok(())
            },
        )?;
        if self.outer {
            let single = BooleanArray::from_iter(partnered.iter().map(|found| Some(!found)));
            for alone in alone.into_iter().chain([delta.filter(&single)?]) {
                let rows = pad(alone.rows(), &self.output, false)?;
                joined.push(alone.with_rows(rows));
            }
        }
        Ok(joined)
    }

    /// Joins rows that have come one by one, and remembers what each was joined with.
    fn remember(&mut self, delta: &Delta, out: &mut Output) -> Result<Vec<Delta>> {
        let mut all = Vec::new();
        for row in 0..delta.len() {
            let row = delta.slice(row, 1);
            let joined = self.look_up(row.clone(), out)?;
            if let Some(answers) = &mut self.answers {
                answers.give(&row, &joined)?;
            }
            all.extend(joined);
        }
        Ok(all)
    }
}

impl Answers {
    fn new(left: &SchemaRef, output: &SchemaRef) -> Result<Self> {
        let types = |schema: &SchemaRef| -> Vec<_> {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        Ok(Self {
            given: RowSet::new(types(left))?,
            by_row: Vec::new(),
            rows: GroupedRows::new(types(output))?,
            free: Vec::new(),
            count: 0,
        })
    }

    /// The number of a new answer of that left row, which `count` rows got.
    fn number(&mut self, slot: u32, count: i64) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        if self.by_row.len() <= slot as usize {
            self.by_row.resize(slot as usize + 1, Vec::new());
        }
        self.by_row[slot as usize].push((number, count));
        number
    }

    /// Remembers what a left row was joined with.
    fn give(&mut self, row: &Delta, joined: &[Delta]) -> Result<()> {
        let (slots, count) = (self.given.intern(row.rows().columns(), 1)?, row.weight(0));
        let number = self.number(slots[0], count);
        for delta in joined {
            let encoded = self.rows.codec().encode(delta.rows().columns(), delta.len())?;
            for i in 0..delta.len() {
                self.rows.push(number, encoded.get(i), delta.weight(i) / count, 0);
            }
        }
        Ok(())
    }

    /// Takes back what left rows that have gone were joined with.
    fn take(&mut self, gone: &Delta, at: Timestamp, output: &SchemaRef) -> Result<Delta> {
        let slots = self.given.find(gone.rows().columns(), gone.len())?;
        let (mut rows, mut weights, mut unused) = (Vec::new(), Vec::new(), Vec::new());
        for (i, slot) in slots.into_iter().enumerate() {
            let mut left = -gone.weight(i);
            let Some(given) = self.by_row.get_mut(slot as usize) else { continue };
            while let Some((number, count)) = given.last_mut().filter(|_| left > 0) {
                let taken = left.min(*count);
                left -= taken;
                *count -= taken;
                for row in self.rows.of(*number) {
                    rows.push(row);
                    weights.push(-taken * self.rows.weight(row));
                }
                if *count == 0 {
                    unused.push(*number);
                    given.pop();
                }
            }
            if given.is_empty() && self.given.contains(slot) {
                self.given.remove(slot);
            }
        }
        let columns = self.rows.decode(&rows)?;
        for number in unused {
            self.rows.clear(number);
            self.free.push(number);
        }
        let rows = batch(Arc::clone(output), columns, weights.len())?;
        Ok(Delta::new(rows, Instants::All(at), Weights::Each(Int64Array::from(weights))))
    }
}

impl Operator for Lookup {
    fn on_delta(&mut self, port: Port, delta: Delta, out: &mut Output) -> Result<()> {
        if port.0 == 1 {
            return self.store(delta, out);
        }
        self.waiting.push(delta);
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if self.answers.is_none() {
            for delta in waiting {
                let joined = self.look_up(delta, out)?;
                joined.into_iter().for_each(|delta| out.push(delta));
            }
            return Ok(());
        }
        let delta = Delta::concat(&self.left.schema, &waiting)?.consolidate()?;
        let comes: BooleanArray = (0..delta.len()).map(|i| Some(delta.weight(i) > 0)).collect();
        let goes = delta.filter(&arrow::compute::not(&comes)?)?;
        let mut changes = Vec::new();
        if let Some(answers) = &mut self.answers {
            changes.push(answers.take(&goes, at, &self.output)?);
        }
        changes.extend(self.remember(&delta.filter(&comes)?, out)?);
        out.push_net(&self.output, changes)
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        self.left.stores(visit);
        self.right.stores(visit);
        if let Some(answers) = &mut self.answers {
            visit(&mut answers.given);
            visit(&mut answers.by_row);
            visit(&mut answers.rows);
            visit(&mut answers.free);
            visit(&mut Value(&mut answers.count));
        }
        visit(&mut Deltas(&mut self.waiting));
        visit(&mut self.keys);
    }
}

impl Answers {}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use expect_test::{Expect, expect};

    use super::*;
    use crate::delta::pretty;
    use crate::operators::testing::{Emitted, expr, hand_over, instants, schema};

    fn lookup(outer: bool, append_only: bool) -> Lookup {
        let side = |text: &str, append_only: bool| {
            let schema = schema(text);
            let keys = vec![expr(&schema, schema.field(0).name())];
            JoinSide { schema, keys, append_only, frees: None }
        };
        let left = side("k:text | a:text", append_only);
        let right = side("j:text | b:text", false);
        let fields = left.schema.fields().iter().chain(right.schema.fields());
        let fields: Vec<Field> = fields.map(|field| field.as_ref().clone()).collect();
        let output = Arc::new(Schema::new(fields));
        let (residual, null_equals_null) = (None, false);
        let options = LookupOptions { left, right, residual, outer, null_equals_null, output };
        Lookup::new(options).unwrap()
    }

    /// Delivers both tables instant by instant, each to an operator that took over the state, and
    /// the left one first.
    fn check(outer: bool, append_only: bool, tables: [&str; 2], expected: Expect) {
        let deltas = tables.map(pretty::parse);
        let mut emitted = Emitted::default();
        let mut op = lookup(outer, append_only);
        for (at, parts) in instants(&deltas) {
            for (port, part) in parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty()) {
                op.on_delta(Port(port), part, &mut emitted.0).unwrap();
                let mut heir = lookup(outer, append_only);
                hand_over(&mut op, &mut heir);
                op = heir;
            }
            op.on_instant(at, &mut emitted.0).unwrap();
            let mut heir = lookup(outer, append_only);
            hand_over(&mut op, &mut heir);
            op = heir;
        }
        expected.assert_eq(&emitted.text());
    }

    const RIGHT: &str = " w | ts | j:text | b:text
         +1 | 1  | k      | one
         -1 | 3  | k      | one
         +1 | 3  | k      | two
         +1 | 3  | k      | too
         -1 | 6  | k      | two
         -1 | 6  | k      | too";

    #[test]
    fn rows_get_what_is_there_when_they_come() {
        check(
            false,
            true,
            [
                " w | ts | k:text | a:text
                 +1 | 1  | k      | a
                 +1 | 2  | other  | b
                 +1 | 3  | k      | c
                 +1 | 4  | NULL   | d
                 +1 | 7  | k      | e",
                RIGHT,
            ],
            expect![[r#"
                 w | ts | k | a | j | b
                +1 | 1  | k | a | k | one
                +1 | 3  | k | c | k | too
                +1 | 3  | k | c | k | two
            "#]],
        );
    }

    #[test]
    fn outer_join_keeps_rows_that_find_nothing() {
        check(
            true,
            true,
            [
                " w | ts | k:text | a:text
                 +1 | 2  | other  | b
                 +1 | 4  | NULL   | d
                 +1 | 7  | k      | e",
                RIGHT,
            ],
            expect![[r#"
                 w | ts | k     | a | j    | b
                +1 | 2  | other | b | NULL | NULL
                +1 | 4  | NULL  | d | NULL | NULL
                +1 | 7  | k     | e | NULL | NULL
            "#]],
        );
    }

    #[test]
    fn rows_that_go_take_back_what_the_youngest_got() {
        check(
            true,
            false,
            [
                " w | ts | k:text | a:text
                 +2 | 1  | k      | a
                 +1 | 4  | k      | a
                 +1 | 7  | k      | a
                 -1 | 8  | k      | a
                 -2 | 9  | k      | a
                 +1 | 9  | k      | a
                 -1 | 10 | k      | a
                 -1 | 11 | k      | a",
                RIGHT,
            ],
            expect![[r#"
                 w | ts | k | a | j    | b
                +2 | 1  | k | a | k    | one
                +1 | 4  | k | a | k    | too
                +1 | 4  | k | a | k    | two
                +1 | 7  | k | a | NULL | NULL
                -1 | 8  | k | a | NULL | NULL
                -1 | 9  | k | a | k    | too
                -1 | 9  | k | a | k    | two
                -1 | 10 | k | a | k    | one
                -1 | 11 | k | a | k    | one
            "#]],
        );
    }
}
