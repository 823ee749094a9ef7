//! Partitioned row windows: the last rows of each key, at most so old.
//!
//! # Semantics
//! `PARTITION BY k ROWS n [RANGE T]` at instant τ holds of each k the last n rows in (ts, seq)
//! order, and of these those with `ts > τ - T`. Keys are equal as in GROUP BY. Only the net effect
//! of an instant is visible. The input is a stream: a row of weight w counts w times, and
//! retractions are ignored.
//!
//! ```text
//!   PARTITION BY k ROWS 2 RANGE 4
//!   in   1:(x,1)   2:(x,2)   3:(x,3)            4:(y,1)
//!   out  1+(x,1)   2+(x,2)   3-(x,1) 3+(x,3)    4+(y,1)   6-(x,2)   7-(x,3)   8-(y,1)
//! ```
//!
//! # State
//! The last n rows of each key; with a range, those that are not too old, and keys are freed with
//! their last row. Without one, keys stay for ever.
//!
//! # Watermarks
//! A row that is pushed out goes at the instant of the row that pushes it; one that is too old goes
//! when the watermark has passed its end, at that end.
//!
//! # Cost
//! One hash per row, and the decoding of what goes.

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

use super::rows::copies;
use super::temporal::moved;
use crate::delta::{Delta, Instants, Weights, batch};
use crate::operators::evaluate::Expressions;
use crate::operators::{Instantwise, Operator, Output, Port, Result};
use crate::storage::{Deltas, GroupedRows, RowSet, Timers, Value, Visit};
use crate::time::{Timestamp, Watermark};

/// What a [`PartitionedRows`] is to keep.
#[derive(Clone, Debug)]
pub struct PartitionedRowsOptions {
    /// The row type.
    pub schema: SchemaRef,
    /// PARTITION BY.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// ROWS, at least 1.
    pub count: u32,
    /// RANGE in microseconds; INCLUSIVE is one more.
    pub range: Option<i64>,
}

/// The last rows of each key.
pub struct PartitionedRows {
    schema: SchemaRef,
    count: u32,
    range: Option<i64>,
    partition: Expressions,
    keys: RowSet,
    /// The rows of each key, oldest first.
    rows: GroupedRows,
    /// By key: the number of its rows.
    counts: Vec<u32>,
    /// By slot of a row of this round: its place among the round's rows.
    places: Vec<u32>,
    /// Rows by the end of their lifetime.
    ends: Timers,
    /// Rows of this round.
    pending: Vec<Delta>,
    watermark: Watermark,
}

/// Rows that go, packed, and when.
#[derive(Default)]
struct Gone {
    bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    lengths: Vec<usize>,
    instants: Vec<i64>,
}

impl PartitionedRows {
    /// Every row goes at the instant of another one, so instants may come together.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// A window without rows.
    pub fn new(options: PartitionedRowsOptions) -> Result<Self> {
        let PartitionedRowsOptions { schema, partition, count, range } = options;
        let types = partition.iter().map(|expression| expression.data_type(&schema));
        let types = types.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Self {
            keys: RowSet::new(types)?,
            rows: GroupedRows::new(schema.fields().iter().map(|f| f.data_type().clone()))?,
            partition: Expressions::new(partition),
            schema,
            count,
            range,
            counts: Vec::new(),
            places: Vec::new(),
            ends: Timers::default(),
            pending: Vec::new(),
            watermark: Watermark::MIN,
        })
    }

    /// When a row of instant `ts` is too old.
    fn end(&self, ts: i64) -> Option<i64> {
        self.range.and_then(|range| ts.checked_add(range))
    }

    /// Stores rows of keys, and returns when each of them comes, if it outlives that instant, and
    /// what goes.
    fn store(&mut self, keys: &[u32], delta: &Delta) -> Result<(Vec<Option<i64>>, Gone)> {
        let encoded = self.rows.codec().encode(delta.rows().columns(), delta.len())?;
        let (mut comes, mut gone) = (vec![None; delta.len()], Gone::default());
        for (row, key) in keys.iter().enumerate() {
            let ts = delta.ts_at(row).0;
            let at = ts.max(self.watermark.last_closed().0);
            let full = self.counts[*key as usize] == self.count;
            let oldest = self.rows.first(*key).filter(|_| full);
            let too_old = oldest.is_some_and(|oldest| self.rows.ts(oldest) > ts);
            if too_old || (at > ts && self.end(ts).is_some_and(|end| end <= at)) {
                continue;
            }
            comes[row] = Some(at);
            self.counts[*key as usize] += 1;
            if let Some(oldest) = oldest {
                let born = self.rows.ts(oldest);
                let goes = self.end(born).map_or(at, |end| end.min(at));
                // Only what came in this round can still be taken back.
                if goes == born && Timestamp(born) >= self.watermark.0 {
                    comes[self.places[oldest as usize] as usize] = None;
                } else {
                    gone.add(self.rows.get(oldest), goes);
                }
                self.rows.remove(oldest);
                self.counts[*key as usize] -= 1;
            }
            let place = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
            self.insert(*key, (encoded.get(row), ts, place));
        }
        Ok((comes, gone))
    }

    /// Stores a row of a key behind those that are not later, given as its bytes, its instant and
    /// its place in the round.
    fn insert(&mut self, key: u32, (bytes, ts, place): (&[u8], i64, u32)) {
        let later = |slot: &u32| self.rows.ts(*slot) > ts;
        let later: Vec<u32> = match Timestamp(ts) < self.watermark.0 {
            true => self.rows.of(key).filter(later).collect(),
            false => Vec::new(),
        };
        let taken = |slot: &u32| {
            let place = self.places[*slot as usize];
            (self.rows.get(*slot).to_vec(), self.rows.ts(*slot), place)
        };
        let taken: Vec<(Vec<u8>, i64, u32)> = later.iter().map(taken).collect();
        later.into_iter().for_each(|slot| self.rows.remove(slot));
        self.append(key, (bytes, ts, place));
        for (bytes, ts, place) in taken {
            self.append(key, (&bytes, ts, place));
        }
    }

    fn append(&mut self, key: u32, (bytes, ts, place): (&[u8], i64, u32)) {
        let slot = self.rows.push(key, bytes, 1, ts);
        self.places.resize(self.rows.bound(), 0);
        self.places[slot as usize] = place;
        if let Some(end) = self.end(ts) {
            self.ends.add(end, slot);
        }
    }

    /// Forgets a key of which no row is left.
    fn free_if_empty(&mut self, key: u32) {
        if self.counts[key as usize] == 0 && self.keys.contains(key) {
            self.keys.remove(key);
        }
    }

    /// Builds the retractions of rows that go.
    fn retractions(&self, gone: &Gone) -> Result<Delta> {
        let ends = gone.lengths.iter().scan(0, |from, to| {
            let row = &gone.bytes[*from..*to];
            *from = *to;
            Some(row)
        });
        let columns: Vec<ArrayRef> = self.rows.codec().decode(ends)?;
        let rows = batch(self.schema.clone(), columns, gone.lengths.len())?;
        let instants = TimestampMicrosecondArray::from(gone.instants.clone());
        let weights = Int64Array::from_value(-1, gone.lengths.len());
        Ok(Delta::new(rows, Instants::Each(instants), Weights::Each(weights)))
    }
}

impl Gone {
    fn add(&mut self, bytes: &[u8], instant: i64) {
        self.bytes.extend_from_slice(bytes);
        self.lengths.push(self.bytes.len());
        self.instants.push(instant);
    }
}

impl Operator for PartitionedRows {
    fn on_delta(&mut self, _: Port, delta: Delta, _: &mut Output) -> Result<()> {
        self.pending.push(copies(delta)?);
        Ok(())
    }

    fn on_instant(&mut self, _: Timestamp, out: &mut Output) -> Result<()> {
        if self.pending.is_empty() || self.count == 0 {
            self.pending.clear();
            return Ok(());
        }
        let new = Delta::concat(&self.schema, &self.pending)?.by_instant()?;
        self.pending.clear();
        let (new, keys) = self.partition.evaluate(new, out)?;
        let keys = self.keys.intern(&keys, new.len())?;
        self.counts.resize(self.keys.bound(), 0);
        let (comes, gone) = self.store(&keys, &new)?;
        out.push(moved(&new, comes)?);
        out.push(self.retractions(&gone)?);
        keys.into_iter().for_each(|key| self.free_if_empty(key));
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        self.watermark = watermark;
        let mut gone = Gone::default();
        while let Some((end, slot)) = self.ends.take_due(|end| watermark.closes(Timestamp(end))) {
            // The timer of a row that was pushed out may find another row under its slot.
            if !self.rows.contains(slot) || self.end(self.rows.ts(slot)) != Some(end) {
                continue;
            }
            let key = self.rows.owner(slot);
            gone.add(self.rows.get(slot), end);
            self.rows.remove(slot);
            self.counts[key as usize] -= 1;
            self.free_if_empty(key);
        }
        out.push(self.retractions(&gone)?);
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        visit(&mut self.counts);
        visit(&mut self.places);
        visit(&mut self.ends);
        visit(&mut Value(&mut self.watermark));
        visit(&mut Deltas(&mut self.pending));
        visit(&mut self.keys);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::operators::testing::{Emitted, expr, hand_over, run, run_whole, schema};

    fn window(count: u32, range: Option<i64>) -> PartitionedRows {
        let schema = schema("k:text | v:int8");
        let partition = vec![expr(&schema, "k")];
        PartitionedRows::new(PartitionedRowsOptions { schema, partition, count, range }).unwrap()
    }

    fn check(count: u32, range: Option<i64>, stream: &str, expected: Expect) {
        let rows = stream.split(' ').map(|row| {
            let cells: Vec<&str> = row.split([':', ',']).collect();
            format!("+1 | {} | {} | {}\n", cells[0], cells[1], cells[2])
        });
        let table = format!(" w | ts | k:text | v:int8\n{}", rows.collect::<String>());
        let mut op = window(count, range);
        let by_instant = run(&mut op, &[&table], Some(i64::MAX)).text();
        expected.assert_eq(&by_instant);
        assert!(range.is_none() || (op.keys.is_empty() && op.rows.is_empty()));
        let whole = run_whole(&mut window(count, range), &[&table], Some(i64::MAX));
        assert_eq!(whole.text(), by_instant);
    }

    #[test]
    fn a7_last_row_of_each_key() {
        let expected = expect![[r#"
             w | ts | k | v
            +1 | 1  | x | 1
            +1 | 2  | y | 1
            -1 | 3  | x | 1
            +1 | 3  | x | 2
            -1 | 3  | y | 1
            +1 | 3  | y | 3
        "#]];
        check(1, None, "1:x,1 2:y,1 3:x,2 3:y,2 3:y,3", expected);
    }

    #[test]
    fn a8_rows_that_are_too_old_go_as_well() {
        let expected = expect![[r#"
             w | ts | k | v
            +1 | 1  | x | 1
            +1 | 2  | x | 2
            -1 | 3  | x | 1
            +1 | 3  | x | 3
            +1 | 4  | y | 1
            -1 | 6  | x | 2
            -1 | 7  | x | 3
            -1 | 8  | y | 1
        "#]];
        check(2, Some(4), "1:x,1 2:x,2 3:x,3 4:y,1", expected);
    }

    #[test]
    fn row_that_is_too_old_before_it_is_pushed_out_goes_at_its_end() {
        let expected = expect![[r#"
             w | ts | k    | v
            +1 | 1  | x    | 1
            -1 | 4  | x    | 1
            +1 | 9  | NULL | 1
            +1 | 9  | x    | 2
            -1 | 10 | NULL | 1
            +1 | 10 | NULL | 2
            -1 | 12 | x    | 2
            -1 | 13 | NULL | 2
        "#]];
        check(1, Some(3), "1:x,1 9:x,2 9:NULL,1 10:NULL,2", expected);
    }

    #[test]
    fn saved_rows_still_go() {
        let (mut first, mut second) = (window(2, Some(5)), window(2, Some(5)));
        let mut emitted = Emitted::default();
        let table = " w | ts | k:text | v:int8\n+1 | 1 | x | 1\n+1 | 2 | x | 2\n+1 | 2 | y | 1";
        emitted.delta(&mut first, 0, table).instant(&mut first, 2);
        emitted.delta(&mut first, 0, " w | ts | k:text | v:int8\n+1 | 3 | x | 3");
        hand_over(&mut first, &mut second);
        let mut emitted = Emitted::default();
        emitted.instant(&mut second, 3).watermark(&mut second, 8);
        expect![[r#"
             w | ts | k | v
            -1 | 3  | x | 1
            +1 | 3  | x | 3
            -1 | 7  | x | 2
            -1 | 7  | y | 1
        "#]]
        .assert_eq(&emitted.text());
    }
}
