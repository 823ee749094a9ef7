//! Saves and loads a top-n, also in the middle of a round.
//!
//! Sections: `rows` (copies shown, weight, partition, keys, ties and row), `pending` and
//! `watermark`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Int64Type, Schema};

use super::{Peers, Shown, TopN};
use crate::delta::codec;
use crate::operators::{Error, Result, StateReader, StateWriter};
use crate::time::{Timestamp, Watermark};

/// Columns before the partition.
const LEADING: usize = 2;

impl TopN {
    pub(super) fn save_state(&self, to: &mut StateWriter) -> Result<()> {
        let (owners, slots): (Vec<u32>, Vec<u32>) = self.rows.iter().unzip();
        let mut copies = vec![0; self.rows.bound()];
        for (slot, count) in self.shown.iter().flat_map(|shown| &shown.rows) {
            copies[*slot as usize] = i64::try_from(*count).expect("copies are at most a weight");
        }
        let shown = slots.iter().map(|slot| copies[*slot as usize]);
        let weights = slots.iter().map(|slot| self.rows.weight(*slot));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(shown)),
            Arc::new(Int64Array::from_iter_values(weights)),
        ];
        columns.extend(self.partitions.decode(&owners)?);
        columns.extend(self.codec.decode(slots.iter().map(|slot| self.rows.get(*slot)))?);
        let fields = columns.iter().map(|column| Field::new("", column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        to.put("rows", RecordBatch::try_new(schema, columns)?);
        for delta in &self.pending {
            to.put("pending", codec::encode(delta)?);
        }
        let watermark = self.finality.as_ref().map_or(Watermark::MIN, |f| f.watermark());
        let watermark: ArrayRef = Arc::new(Int64Array::from(vec![watermark.0.0]));
        to.put("watermark", RecordBatch::try_from_iter([("watermark", watermark)])?);
        Ok(())
    }

    pub(super) fn load_state(&mut self, from: &mut StateReader) -> Result<()> {
        let saved = from.take("rows").ok_or_else(misfit)?;
        let columns = saved.columns();
        let keys_from = LEADING + self.options.partition.len();
        if columns.len() < keys_from {
            return Err(misfit());
        }
        let partition = &columns[LEADING..keys_from];
        let partitions = self.partitions.intern(partition, saved.num_rows())?;
        self.shown.resize_with(self.partitions.bound(), Shown::default);
        if let Some(finality) = &mut self.finality {
            finality.watch(&partitions, partition)?;
        }
        let encoded = self.codec.encode(&columns[keys_from..], saved.num_rows())?;
        let keys = &columns[keys_from..][..self.options.keys.len()];
        let lengths = self.key_lengths(keys, saved.num_rows())?;
        let (copies, weights) = (numbers(&columns[0])?, numbers(&columns[1])?);
        // Rows of a partition stand in order.
        for (i, partition) in partitions.iter().enumerate() {
            let (slot, _) = self.rows.add(*partition, encoded.get(i), weights.value(i));
            if let Some(length) = lengths.get(i) {
                self.key_lengths.resize(self.rows.bound(), 0);
                self.key_lengths[slot as usize] = *length;
            }
            let count = usize::try_from(copies.value(i)).map_err(|_| misfit())?;
            if count > 0 {
                let (rows, key_lengths) = (&self.rows, &self.key_lengths[..]);
                let peers = Peers { rows, key_lengths, counting: self.options.counting };
                self.shown[*partition as usize].push(peers, slot, count);
            }
        }
        while let Some(delta) = from.take("pending") {
            self.pending.push(codec::decode(&delta)?);
        }
        let watermark = from.take("watermark").ok_or_else(misfit)?;
        if let Some(finality) = &mut self.finality {
            finality.restore(Watermark(Timestamp(numbers(watermark.column(0))?.value(0))));
        }
        Ok(())
    }
}

fn numbers(column: &ArrayRef) -> Result<&Int64Array> {
    column.as_primitive_opt::<Int64Type>().ok_or_else(misfit)
}

fn misfit() -> Error {
    Error::State { operator: "TopN", reason: "a section is missing or of another type".into() }
}
