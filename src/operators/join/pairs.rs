//! Pairs of rows with equal keys, in batches.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::SchemaRef;

use super::side::Side;
use crate::delta::{Delta, Instants, Weights, batch, take_rows};
use crate::operators::evaluate::{Expressions, truths};
use crate::operators::{Output, Result};
use crate::time::Timestamp;

/// Pairs per batch: enough to make batches cheap, few enough for the cache.
const PAIRS: usize = 8192;

/// Row `probe[i]` of a delta and the stored row `slots[i]` of the other side have equal keys.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) probe: Vec<u32>,
    pub(super) slots: Vec<u32>,
}

/// How pairs become rows.
pub(super) struct Pairing<'a> {
    /// Left columns, then right ones.
    pub(super) schema: &'a SchemaRef,
    pub(super) residual: Option<&'a Expressions>,
    /// Whether the delta stands on the right.
    pub(super) right: bool,
}

impl Pairs {
    /// Calls `f` with all pairs of the rows for which `probes` is true, some thousand at a time.
    pub(super) fn each(
        owners: &[u32],
        other: &Side,
        probes: impl Fn(usize) -> bool,
        mut f: impl FnMut(Pairs) -> Result<()>,
    ) -> Result<()> {
        let mut pairs = Pairs::default();
        for (row, owner) in owners.iter().enumerate().filter(|(row, _)| probes(*row)) {
            let row = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
            for slot in other.rows.of(*owner) {
                if other.rows.weight(slot) == 0 {
                    continue;
                }
                pairs.probe.push(row);
                pairs.slots.push(slot);
                if pairs.slots.len() == PAIRS {
                    f(std::mem::take(&mut pairs))?;
                }
            }
        }
        if pairs.slots.is_empty() { Ok(()) } else { f(pairs) }
    }

    /// Builds the joined rows and drops the pairs for which the residual is not true.
    pub(super) fn join(
        &mut self,
        delta: &Delta,
        other: &Side,
        how: &Pairing<'_>,
        out: &mut Output,
    ) -> Result<Delta> {
        let probe = UInt32Array::from(self.probe.clone());
        let ours = take_rows(delta.rows(), &probe)?;
        let theirs = other.rows.decode(&self.slots)?;
        let columns = if how.right {
            theirs.into_iter().chain(ours.columns().iter().cloned()).collect()
        } else {
            ours.columns().iter().cloned().chain(theirs).collect()
        };
        let rows = batch(how.schema.clone(), columns, self.slots.len())?;
        let joined = Delta::new(rows, self.instants(delta, other), self.weights(delta, other));
        let Some(residual) = how.residual else { return Ok(joined) };
        let (sound, values) = residual.evaluate_sound(&joined, out)?;
        let keep = spread(sound.as_ref(), &truths(&values[0]));
        self.retain(&keep);
        Ok(joined.filter(&keep)?)
    }

    /// A joined row is there from the later of both instants.
    fn instants(&self, delta: &Delta, other: &Side) -> Instants {
        let ts = |i: usize| delta.ts_at(self.probe[i] as usize).0.max(other.rows.ts(self.slots[i]));
        let first = ts(0);
        if (1..self.slots.len()).all(|i| ts(i) == first) {
            return Instants::All(Timestamp(first));
        }
        let all = (0..self.slots.len()).map(ts);
        Instants::Each(TimestampMicrosecondArray::from_iter_values(all))
    }

    fn weights(&self, delta: &Delta, other: &Side) -> Weights {
        let weight =
            |i: usize| delta.weight(self.probe[i] as usize) * other.rows.weight(self.slots[i]);
        if (0..self.slots.len()).all(|i| weight(i) == 1) {
            return Weights::Ones;
        }
        Weights::Each(Int64Array::from_iter_values((0..self.slots.len()).map(weight)))
    }

    fn retain(&mut self, keep: &BooleanArray) {
        for list in [&mut self.probe, &mut self.slots] {
            let mut kept = keep.values().iter();
            list.retain(|_| kept.next() == Some(true));
        }
    }
}

/// Spreads truths of the sound rows over all rows.
fn spread(sound: Option<&BooleanArray>, truths: &BooleanArray) -> BooleanArray {
    let Some(sound) = sound else { return truths.clone() };
    let mut next = truths.values().iter();
    sound.values().iter().map(|sound| Some(sound && next.next() == Some(true))).collect()
}

/// Fills up the rows of one side with NULLs for the other.
pub(super) fn pad(rows: &RecordBatch, schema: &SchemaRef, right: bool) -> Result<RecordBatch> {
    let width = rows.num_columns();
    let missing = schema.fields().len() - width;
    let fields = if right { &schema.fields()[..missing] } else { &schema.fields()[width..] };
    let nulls = fields.iter().map(|f| arrow::array::new_null_array(f.data_type(), rows.num_rows()));
    let own = rows.columns().iter().map(Arc::clone);
    let columns: Vec<ArrayRef> =
        if right { nulls.chain(own).collect() } else { own.chain(nulls).collect() };
    Ok(batch(schema.clone(), columns, rows.num_rows())?)
}
