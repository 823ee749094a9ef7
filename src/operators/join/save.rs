//! Saves and loads a join, also in the middle of an instant.
//!
//! Keys are numbered anew, in the order of their slots. Sections: `keys` (keys and totals), `left`
//! and `right` (rows, the number of their key, and what is known of each), `watermarks` and
//! `joined` (what was not emitted yet).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Field, Int64Type, Schema, UInt32Type};

use super::presence::Changed;
use super::{Join, JoinKind};
use crate::delta::codec;
use crate::operators::{Error, Result, StateReader, StateWriter};
use crate::time::{Timestamp, Watermark};

const SIDES: [&str; 2] = ["left", "right"];
/// Columns before the keys, or before the row.
const LEADING: usize = 6;

impl Join {
    pub(super) fn save_state(&self, to: &mut StateWriter) -> Result<()> {
        let keys: Vec<u32> = self.keys.slots().collect();
        let mut numbers = vec![0; self.keys.bound()];
        keys.iter().zip(0u32..).for_each(|(key, number)| numbers[*key as usize] = number);
        let mut before = vec![None; self.keys.bound()];
        self.totals.touched().for_each(|(key, totals)| before[key as usize] = Some(totals));
        let now = |side| keys.iter().map(move |key| Some(self.totals.now(*key, side)));
        let old = |side: usize| {
            let before = &before;
            keys.iter().map(move |key| before[*key as usize].map(|totals: [i64; 2]| totals[side]))
        };
        let mut columns = vec![
            int64(now(0)),
            int64(now(1)),
            int64(old(0)),
            int64(old(1)),
            int64(keys.iter().map(|_| None)),
            int64(keys.iter().map(|_| None)),
        ];
        columns.extend(self.keys.decode(&keys)?);
        to.put("keys", section(columns)?);
        for side in 0..2 {
            self.save_side(side, &numbers, to)?;
        }
        let watermark = |side: usize| self.sides[side].finality.as_ref().map(|f| f.watermark().0.0);
        to.put("watermarks", section(vec![int64((0..2).map(watermark))])?);
        for delta in &self.joined {
            to.put("joined", codec::encode(delta)?);
        }
        Ok(())
    }

    fn save_side(&self, side: usize, numbers: &[u32], to: &mut StateWriter) -> Result<()> {
        let Some(name) = SIDES.get(side) else { return Ok(()) };
        let rows = &self.sides[side].rows;
        let slots = rows.slots();
        let mut before: Vec<Option<Changed>> = vec![None; rows.bound()];
        let presence = self.presence[side].as_ref();
        for changed in presence.iter().flat_map(|presence| &presence.changed) {
            before[changed.slot as usize] = Some(*changed);
        }
        let before = |slot: &u32| before[*slot as usize];
        let partners = |slot: &u32| presence?.partners.get(*slot as usize).copied();
        let owners = slots.iter().map(|slot| numbers[rows.owner(*slot) as usize]);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from_iter_values(owners)),
            int64(slots.iter().map(|slot| Some(rows.weight(*slot)))),
            int64(slots.iter().map(|slot| Some(rows.ts(*slot)))),
            int64(slots.iter().map(partners)),
            int64(slots.iter().map(|slot| before(slot).map(|row| row.weight))),
            Arc::new(BooleanArray::from_iter(
                slots.iter().map(|slot| before(slot).map(|row| row.partnered)),
            )),
        ];
        columns.extend(rows.decode(&slots)?);
        to.put(name, section(columns)?);
        Ok(())
    }

    pub(super) fn load_state(&mut self, from: &mut StateReader) -> Result<()> {
        let columns = take(from, "keys", LEADING)?;
        let keys = self.keys.intern(&columns[LEADING..], columns[0].len())?;
        let value = |column: usize, row: usize| -> Result<Option<i64>> {
            let numbers = numbers(&columns[column])?;
            Ok(numbers.is_valid(row).then(|| numbers.value(row)))
        };
        for (row, key) in keys.iter().enumerate() {
            let now = [value(0, row)?.unwrap_or(0), value(1, row)?.unwrap_or(0)];
            let before = value(2, row)?.zip(value(3, row)?).map(|(left, right)| [left, right]);
            self.totals.restore(*key, now, before);
        }
        for (side, name) in SIDES.iter().enumerate() {
            self.load_side(side, take(from, name, LEADING)?, &keys)?;
        }
        let columns = take(from, "watermarks", 1)?;
        let watermarks = numbers(&columns[0])?;
        for (side, number) in self.sides.iter_mut().zip(watermarks.iter()) {
            if let (Some(finality), Some(number)) = (&mut side.finality, number) {
                finality.restore(Watermark(Timestamp(number)));
            }
        }
        while let Some(joined) = from.take("joined") {
            self.joined.push(codec::decode(&joined)?);
        }
        Ok(())
    }

    fn load_side(&mut self, side: usize, columns: Vec<ArrayRef>, keys: &[u32]) -> Result<()> {
        let owners = columns[0].as_primitive_opt::<UInt32Type>();
        let owners = owners.ok_or_else(|| misfit("a key is not a number".to_owned()))?;
        let (weights, ts) = (numbers(&columns[1])?, numbers(&columns[2])?);
        let (partners, before) = (numbers(&columns[3])?, numbers(&columns[4])?);
        let partnered = columns[5].as_boolean();
        let target = &mut self.sides[side];
        let encoded = target.rows.codec().encode(&columns[LEADING..], owners.len())?;
        let mut slots = Vec::with_capacity(owners.len());
        for (row, owner) in owners.values().iter().enumerate() {
            let owner =
                *keys.get(*owner as usize).ok_or_else(|| misfit("no such key".to_owned()))?;
            let (bytes, weight) = (encoded.get(row), weights.value(row));
            if self.kind == JoinKind::Inner {
                slots.push(target.rows.push(owner, bytes, weight, ts.value(row)));
                continue;
            }
            let slot = target.rows.add(owner, bytes, weight).slot;
            slots.push(slot);
            if weight == 0 {
                self.zeros[side].push(slot);
            }
            if let Some(presence) = &mut self.presence[side] {
                presence.grow(target);
                presence.partners[slot as usize] = partners.value(row);
                if before.is_valid(row) {
                    let (weight, partnered) = (before.value(row), partnered.value(row));
                    presence.touch(Changed { slot, weight, partnered });
                }
            }
        }
        if let Some(finality) = &mut target.finality {
            finality.watch(&slots, &columns[LEADING..])?;
        }
        if self.kind == JoinKind::Inner && !target.append_only {
            target.unsettled = slots;
            self.totals.touch(keys);
        }
        Ok(())
    }
}

pub(super) fn int64(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

pub(super) fn section(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields = columns.iter().map(|column| Field::new("", column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn take(from: &mut StateReader, name: &str, width: usize) -> Result<Vec<ArrayRef>> {
    let batch = from.take(name).filter(|batch| batch.num_columns() >= width);
    let batch = batch.ok_or_else(|| misfit(format!("section {name} is missing or too narrow")))?;
    Ok(batch.columns().to_vec())
}

fn numbers(column: &ArrayRef) -> Result<&Int64Array> {
    let numbers = column.as_primitive_opt::<Int64Type>();
    numbers.ok_or_else(|| misfit(format!("a column is {} and not Int64", column.data_type())))
}

fn misfit(reason: String) -> Error {
    Error::State { operator: "Join", reason }
}
