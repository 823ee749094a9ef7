//! Saves and loads an ASOF join, also in the middle of an instant.
//!
//! Keys and right rows are numbered anew, in order. Sections: `keys`; `right` and `left` (number of
//! the key, weight, what is known of each row, time, row); `watermarks`; `waiting` and `joined`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Field, Int64Type, Schema, UInt32Type};

use super::{AsOf, truth};
use crate::delta::codec;
use crate::operators::{Error, Result, StateReader, StateWriter};
use crate::storage::NONE;
use crate::time::{Timestamp, Watermark};

/// Columns before the time of a row.
const LEADING: usize = 5;

/// What is known of the rows of a side, in order of their slots.
struct Facts {
    slots: Vec<u32>,
    /// Whether the instant has touched the row.
    touched: Vec<bool>,
    /// Of a left row the weight that was shown, of a right one whether it says "deleted".
    first: Vec<i64>,
    /// Of a left row the number of the right row that was shown with it.
    second: Vec<Option<i64>>,
}

impl AsOf {
    pub(super) fn save_state(&self, to: &mut StateWriter) -> Result<()> {
        let keys: Vec<u32> = self.keys.slots().collect();
        let mut numbers = vec![0; self.keys.bound()];
        keys.iter().zip(0u32..).for_each(|(key, number)| numbers[*key as usize] = number);
        let count: ArrayRef = Arc::new(Int64Array::from(vec![0; keys.len()]));
        let keys = [vec![count], self.keys.decode(&keys)?].concat();
        to.put("keys", section(keys)?);
        let right: Vec<u32> = self.right.rows.iter().map(|(_, slot)| slot).collect();
        let mut places = vec![None; self.right.rows.bound()];
        right.iter().zip(0i64..).for_each(|(slot, place)| places[*slot as usize] = Some(place));
        let mut touched = vec![false; self.right.rows.bound()];
        self.changed.iter().for_each(|(_, slot)| touched[*slot as usize] = true);
        let deleted =
            right.iter().map(|s| self.versions && self.right.rows.get(*s)[self.width] == 1);
        let facts = Facts {
            touched: right.iter().map(|slot| touched[*slot as usize]).collect(),
            first: deleted.map(i64::from).collect(),
            second: vec![None; right.len()],
            slots: right,
        };
        self.save_side(1, &numbers, &facts, to)?;
        let left: Vec<u32> = self.left.rows.iter().map(|(_, slot)| slot).collect();
        let shown = || left.iter().map(|slot| self.shown[*slot as usize]);
        let place = |pick: u32| if pick == NONE { None } else { places[pick as usize] };
        let facts = Facts {
            touched: left.iter().map(|slot| self.marks[*slot as usize]).collect(),
            first: shown().map(|(weight, _)| weight).collect(),
            second: shown().map(|(_, pick)| place(pick)).collect(),
            slots: left,
        };
        self.save_side(0, &numbers, &facts, to)?;
        let sides = [&self.left, &self.right];
        let watermark = sides.map(|side| side.finality.as_ref().map(|f| f.watermark().0.0));
        to.put("watermarks", section(vec![Arc::new(Int64Array::from(watermark.to_vec()))])?);
        for delta in &self.waiting {
            to.put("waiting", codec::encode(delta)?);
        }
        for delta in &self.joined {
            to.put("joined", codec::encode(delta)?);
        }
        Ok(())
    }

    fn save_side(
        &self,
        port: usize,
        numbers: &[u32],
        facts: &Facts,
        to: &mut StateWriter,
    ) -> Result<()> {
        let (name, side) = if port == 0 { ("left", &self.left) } else { ("right", &self.right) };
        let slots = &facts.slots;
        let owners = slots.iter().map(|slot| numbers[side.owners[*slot as usize] as usize]);
        let weights = slots.iter().map(|slot| side.rows.weight(*slot));
        let times = self.time.decode(slots.iter().map(|s| &side.rows.get(*s)[..self.width]))?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from_iter_values(owners)),
            Arc::new(Int64Array::from_iter_values(weights)),
            Arc::new(BooleanArray::from(facts.touched.clone())),
            Arc::new(Int64Array::from(facts.first.clone())),
            Arc::new(Int64Array::from(facts.second.clone())),
        ];
        columns.extend(times);
        columns.extend(side.decode(slots)?);
        to.put(name, section(columns)?);
        Ok(())
    }

    pub(super) fn load_state(&mut self, from: &mut StateReader) -> Result<()> {
        let columns = take(from, "keys", 1)?;
        let keys = self.keys.intern(&columns[1..], columns[0].len())?;
        let columns = take(from, "right", LEADING + 1)?;
        let right = self.load_side(1, &columns, &keys)?;
        for (row, slot) in right.iter().enumerate() {
            if truth(&columns[2], row) {
                self.changed.push((self.right.owners[*slot as usize], *slot));
            }
        }
        let columns = take(from, "left", LEADING + 1)?;
        let left = self.load_side(0, &columns, &keys)?;
        let (weights, picks) = (numbers(&columns[3])?, numbers(&columns[4])?);
        for (row, slot) in left.into_iter().enumerate() {
            self.touch(self.left.owners[slot as usize], slot);
            if !truth(&columns[2], row) {
                self.dirty.pop();
                self.marks[slot as usize] = false;
            }
            let pick = picks.is_valid(row).then(|| usize::try_from(picks.value(row)));
            let pick = match pick {
                None => NONE,
                Some(place) => *place.ok().and_then(|place| right.get(place)).ok_or_else(misfit)?,
            };
            self.shown[slot as usize] = (weights.value(row), pick);
        }
        let columns = take(from, "watermarks", 1)?;
        let watermarks = numbers(&columns[0])?;
        for (side, number) in [&mut self.left, &mut self.right].into_iter().zip(watermarks) {
            if let (Some(finality), Some(number)) = (&mut side.finality, number) {
                finality.restore(Watermark(Timestamp(number)));
            }
        }
        while let Some(waiting) = from.take("waiting") {
            self.waiting.push(codec::decode(&waiting)?);
        }
        while let Some(joined) = from.take("joined") {
            self.joined.push(codec::decode(&joined)?);
        }
        Ok(())
    }

    fn load_side(&mut self, port: usize, columns: &[ArrayRef], keys: &[u32]) -> Result<Vec<u32>> {
        let owners = columns[0].as_primitive_opt::<UInt32Type>().ok_or_else(misfit)?;
        let weights = numbers(&columns[1])?;
        let deleted = numbers(&columns[3])?;
        let side = if port == 0 { &mut self.left } else { &mut self.right };
        let times = self.time.encode(&columns[LEADING..=LEADING], owners.len())?;
        let encoded = side.codec.encode(&columns[LEADING + 1..], owners.len())?;
        let (mut bytes, mut slots) = (Vec::new(), Vec::with_capacity(owners.len()));
        for (row, owner) in owners.values().iter().enumerate() {
            bytes.clear();
            bytes.extend(times.get(row));
            bytes.extend((port == 1 && self.versions).then_some(u8::from(deleted.value(row) == 1)));
            bytes.extend(encoded.get(row));
            let owner = *keys.get(*owner as usize).ok_or_else(misfit)?;
            slots.push(side.add(owner, &bytes, weights.value(row)));
        }
        side.watch(&slots, &columns[LEADING + 1..])?;
        Ok(slots)
    }
}

fn section(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields = columns.iter().map(|column| Field::new("", column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn take(from: &mut StateReader, name: &str, width: usize) -> Result<Vec<ArrayRef>> {
    let batch = from.take(name).filter(|batch| batch.num_columns() >= width).ok_or_else(misfit)?;
    Ok(batch.columns().to_vec())
}

fn numbers(column: &ArrayRef) -> Result<&Int64Array> {
    column.as_primitive_opt::<Int64Type>().ok_or_else(misfit)
}

fn misfit() -> Error {
    let reason = "a section is missing or of another type".to_owned();
    Error::State { operator: "AsOf", reason }
}
