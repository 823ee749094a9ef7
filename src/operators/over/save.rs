//! Saves and loads an OVER operator, also in the middle of a round.
//!
//! Partitions are numbered anew. Sections: `partitions`, `rows` (number of the partition, what was
//! emitted, position, row), `outputs` (of the rows that have some, in order), what each call
//! writes, `pending` and `watermark`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};

use super::{Over, Position, Shown};
use crate::delta::{Delta, batch, codec};
use crate::operators::aggregate::saved;
use crate::operators::{Output, Result, StateReader, StateWriter};
use crate::time::{Timestamp, Watermark};

/// Columns before the row.
const LEADING: usize = 5;

impl Over {
    pub(super) fn save_state(&self, to: &mut StateWriter) -> Result<()> {
        let partitions: Vec<u32> = self.partitions.slots().collect();
        let mut numbers = vec![0; self.partitions.bound()];
        for (number, partition) in (0i64..).zip(&partitions) {
            numbers[*partition as usize] = number;
        }
        let count = (0..).take(partitions.len());
        let count: ArrayRef = Arc::new(Int64Array::from_iter_values(count));
        let mut columns = vec![("number", count)];
        let keys = self.partitions.decode(&partitions)?;
        columns.extend(keys.into_iter().map(|column| ("key", column)));
        saved::put(to, "partitions", columns)?;
        self.save_rows(&numbers, to)?;
        for (i, call) in self.calls.iter().enumerate().filter(|(_, call)| call.total) {
            if let Some(fold) = &call.fold {
                fold.save(&partitions, &format!("call {i}"), to)?;
            }
        }
        for delta in &self.pending {
            to.put("pending", codec::encode(delta)?);
        }
        let finality = self.closes.iter().chain(&self.trims).next();
        let watermark = finality.map_or(Watermark::MIN, |finality| finality.watermark());
        let watermark: ArrayRef = Arc::new(Int64Array::from(vec![watermark.0.0]));
        saved::put(to, "watermark", vec![("watermark", watermark)])
    }

    fn save_rows(&self, numbers: &[i64], to: &mut StateWriter) -> Result<()> {
        let (owners, slots): (Vec<u32>, Vec<u32>) = self.sequence.entries.iter().unzip();
        let shown = |slot: &u32| match self.shown[*slot as usize] {
            Shown::New => 0,
            Shown::Failed => 1,
            Shown::Values(_) => 2,
        };
        let position = |slot: &u32| self.positions.get(*slot as usize).copied().unwrap_or_default();
        let column = |of: &dyn Fn(&u32) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(slots.iter().map(of)))
        };
        let mut columns = vec![
            ("partition", saved::numbers(&owners, numbers)),
            ("shown", column(&shown)),
            ("row", column(&|slot| position(slot).row)),
            ("rank", column(&|slot| position(slot).rank)),
            ("group", column(&|slot| position(slot).group)),
        ];
        let rows = self.sequence.rows.decode(slots.iter().map(|slot| self.sequence.row(*slot)))?;
        columns.extend(rows.into_iter().map(|column| ("column", column)));
        saved::put(to, "rows", columns)?;
        let outputs = slots.iter().filter_map(|slot| match self.shown[*slot as usize] {
            Shown::Values(output) => Some(self.outputs.get(output)),
            _ => None,
        });
        let outputs = self.codec.decode(outputs)?.into_iter().map(|column| ("output", column));
        saved::put(to, "outputs", outputs.collect())
    }

    pub(super) fn load_state(&mut self, from: &mut StateReader) -> Result<()> {
        let columns = saved::take(from, "partitions", 1)?;
        let partitions = self.partitions.intern(&columns[1..], columns[0].len())?;
        self.grow();
        if let Some(closes) = &mut self.closes {
            closes.watch(&partitions, &columns[1..])?;
        }
        self.load_rows(from)?;
        for (i, call) in self.calls.iter_mut().enumerate().filter(|(_, call)| call.total) {
            if let Some(fold) = &mut call.fold {
                fold.load(&format!("call {i}"), from)?;
            }
        }
        while let Some(delta) = from.take("pending") {
            self.pending.push(codec::decode(&delta)?);
        }
        let columns = saved::take(from, "watermark", 1)?;
        let watermark = Watermark(Timestamp(saved::read(&columns[0])?.value(0)));
        self.closes.iter_mut().chain(&mut self.trims).for_each(|f| f.restore(watermark));
        partitions.into_iter().try_for_each(|partition| self.watch_last(partition))
    }

    fn load_rows(&mut self, from: &mut StateReader) -> Result<()> {
        let columns = saved::take(from, "rows", LEADING)?;
        let (numbers, rows) = columns.split_at(LEADING);
        let numbers = numbers.iter().map(saved::read).collect::<Result<Vec<_>>>()?;
        let len = numbers[0].len();
        let rows = batch(self.options.input.clone(), rows.to_vec(), len)?;
        let rows = Delta::inserts(rows, Timestamp::MIN);
        let (rows, columns) = self.reads.all.evaluate(rows, &mut Output::default())?;
        let keys = &columns[self.options.partition.len()..];
        let (keys, rest) = keys.split_at(self.options.keys.len());
        let owners: UInt32Array =
            numbers[0].values().iter().map(|n| u32::try_from(*n).ok()).collect();
        let parts = [keys, &rest[..self.options.ties.len()], rows.rows().columns()];
        let entries = self.sequence.encode(owners.values(), parts)?;
        let outputs = saved::take(from, "outputs", self.calls.len())?;
        let outputs = self.codec.encode(&outputs, outputs[0].len())?;
        let mut output = 0;
        for (i, entry) in entries.iter().enumerate() {
            let slot = self.sequence.add(entry) as usize;
            let bound = self.sequence.entries.bound();
            self.shown.resize(bound, Shown::New);
            self.shown[slot] = match numbers[1].value(i) {
                0 => Shown::New,
                1 => Shown::Failed,
                _ => {
                    output += 1;
                    Shown::Values(self.outputs.insert(outputs.get(output - 1)))
                }
            };
            if self.reaches.positions {
                self.positions.resize(bound, Position::default());
                let [row, rank, group] = [2, 3, 4].map(|column| numbers[column].value(i));
                self.positions[slot] = Position { row, rank, group };
            }
        }
        Ok(())
    }
}
