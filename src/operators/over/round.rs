//! A round of changes: rows in and out, and the values that follow from them.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};

use super::call::Reach;
use super::segment::{Inputs, Segments};
use super::sequence::{Entry, Packed};
use super::{Over, Position, Shown};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::error::SqlState;
use crate::operators::aggregate::fold::Rows;
use crate::operators::evaluate::row_text;
use crate::operators::{Output, Result, RowError};
use crate::time::Timestamp;

/// Changed rows with their values, packed, and reports.
#[derive(Default)]
pub(super) struct Emitted {
    pub(super) rows: Packed,
    outputs: Packed,
    weights: Vec<i64>,
    instants: Vec<i64>,
    failures: Vec<(Vec<u8>, i64)>,
}

/// An entry that came or went.
struct Changed {
    partition: u32,
    bytes: Vec<u8>,
    /// Length of the key.
    key: usize,
}

impl Changed {
    fn place(&self) -> (&[u8], &[u8]) {
        (&self.bytes, &self.bytes[..self.key])
    }
}

impl Emitted {
    fn push(&mut self, row: &[u8], output: &[u8], weight: i64, at: i64) {
        self.rows.push(row);
        self.outputs.push(output);
        self.weights.push(weight);
        self.instants.push(at);
    }
}

impl Over {
    /// Evaluates the rows of a round, without those that are final already.
    fn evaluate(&self, delta: Delta, out: &mut Output) -> Result<(Delta, Vec<ArrayRef>)> {
        let (mut delta, mut columns) = self.reads.all.evaluate(delta, out)?;
        let keys = self.options.partition.len();
        for (finality, from) in self
            .closes
            .iter()
            .map(|closes| (closes, 0))
            .chain(self.trims.first().map(|t| (t, keys)))
        {
            if let Some(open) = finality.open(&columns[from..])? {
                delta = delta.filter(&open)?;
                let kept = columns.iter().map(|column| arrow::compute::filter(column, &open));
                columns = kept.collect::<std::result::Result<_, _>>()?;
            }
        }
        Ok((delta, columns))
    }

    /// Folds the rows of a round, instant by instant.
    pub(super) fn round(&mut self, out: &mut Output) -> Result<Emitted> {
        let pending = std::mem::take(&mut self.pending);
        let delta = Delta::concat(&self.options.input, &pending)?.by_instant()?;
        let (delta, columns) = self.evaluate(delta, out)?;
        let (keys, ties) = (self.options.partition.len(), self.options.keys.len());
        let partitions = self.partitions.intern(&columns[..keys], delta.len())?;
        self.grow();
        if let Some(closes) = &mut self.closes {
            closes.watch(&partitions, &columns[..keys])?;
        }
        for trims in &mut self.trims {
            trims.watch(&partitions, &columns[keys..])?;
        }
        let (key_columns, rest) = columns[keys..].split_at(ties);
        let parts = [key_columns, &rest[..self.options.ties.len()], delta.rows().columns()];
        let entries = self.sequence.encode(&partitions, parts)?;
        let weights = match delta.weights() {
            Weights::Ones => None,
            Weights::Each(weights) => Some(&weights.values()[..]),
        };
        let own = self.reads.own_of(&columns);
        let totals = self.calls.iter().map(|call| call.prepare(&partitions, weights, &own));
        let totals = totals.collect::<Result<Vec<_>>>()?;
        let (mut emitted, mut from) = (Emitted::default(), 0);
        while from < delta.len() {
            let to = delta.end_of_instant(from);
            let at = delta.ts_at(from).0;
            let changed = self.apply(&entries, from..to, &delta, (at, &mut emitted));
            for (call, total) in self.calls.iter_mut().zip(&totals) {
                if let (Some(fold), Some(total)) = (&mut call.fold, total) {
                    fold.apply(total, &Rows::Range(from..to))?;
                }
            }
            self.refresh(&changed, (at, &mut emitted))?;
            from = to;
        }
        let mut touched = partitions.clone();
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().for_each(|partition| self.free_if_empty(partition));
        Ok(emitted)
    }

    /// Adds and removes the rows of an instant; returns what has changed, by partition, in order.
    fn apply(
        &mut self,
        entries: &[Entry],
        rows: std::ops::Range<usize>,
        delta: &Delta,
        (at, emitted): (i64, &mut Emitted),
    ) -> Vec<Changed> {
        let mut order: Vec<usize> = rows.collect();
        order.sort_by(|a, b| entries[*a].cmp(&entries[*b]));
        let mut changed = Vec::new();
        for equal in order.chunk_by(|a, b| entries[*a] == entries[*b]) {
            let entry = &entries[equal[0]];
            let net: i64 = equal.iter().map(|row| delta.weight(*row)).sum();
            for _ in 0..net {
                let slot = self.sequence.add(entry);
                let bound = self.sequence.entries.bound();
                self.shown.resize(bound, Shown::New);
                self.shown[slot as usize] = Shown::New;
                if self.reaches.positions {
                    self.positions.resize(bound, Position::default());
                }
                changed.push(self.changed(entry.partition, slot));
            }
            for _ in net..0 {
                // Invariant: what is retracted was inserted before.
                let Some(slot) = self.sequence.last_copy(entry) else { break };
                changed.push(self.changed(entry.partition, slot));
                self.retract(slot, at, emitted);
                self.sequence.entries.remove(entry.partition, slot);
            }
        }
        changed.sort_by(|a, b| (a.partition, &a.bytes).cmp(&(b.partition, &b.bytes)));
        changed
    }

    fn changed(&self, partition: u32, slot: u32) -> Changed {
        let (bytes, key) = self.sequence.place(slot);
        Changed { partition, bytes: bytes.to_vec(), key: key.len() }
    }

    /// Takes back what was emitted for an entry.
    fn retract(&mut self, slot: u32, at: i64, emitted: &mut Emitted) {
        let row = self.sequence.row(slot);
        match std::mem::take(&mut self.shown[slot as usize]) {
            Shown::New => {}
            Shown::Failed => emitted.failures.push((row.to_vec(), -1)),
            Shown::Values(output) => {
                emitted.push(row, self.outputs.get(output), -1, at);
                self.outputs.remove(output);
            }
        }
    }

    /// The spans of rows of a partition that changes affect.
    fn affected(&self, changed: &[Changed]) -> Result<Vec<[u32; 2]>> {
        let partition = changed[0].partition;
        let (sequence, affects) = (&self.sequence, &self.reaches.affects);
        let bytes = |slot: u32| sequence.entries.get(slot);
        let mut spans: Vec<[u32; 2]> = Vec::new();
        for change in changed {
            let first = sequence.first_of(partition, change.place(), &affects.back)?;
            let last = sequence.last_of(partition, change.place(), &affects.forward)?;
            let (Some(first), Some(last)) = (first, last) else { continue };
            match spans.last_mut() {
                _ if bytes(first) > bytes(last) => {}
                Some(span) if bytes(first) <= bytes(span[1]) => {
                    if bytes(last) > bytes(span[1]) {
                        span[1] = last;
                    }
                }
                _ => spans.push([first, last]),
            }
            // Changes come in order, so the others lie within.
            if affects.forward == [Reach::All] {
                break;
            }
        }
        Ok(spans)
    }

    /// Computes the rows that the changes of an instant affect, and emits those whose values have
    /// changed.
    fn refresh(&mut self, changed: &[Changed], (at, emitted): (i64, &mut Emitted)) -> Result<()> {
        let mut segments = Segments::default();
        for part in changed.chunk_by(|a, b| a.partition == b.partition) {
            let partition = part[0].partition;
            for span in self.affected(part)? {
                let body = self.body(partition, span)?;
                segments.add(&self.sequence, partition, (body, span), self.reaches.anchors);
                if self.reaches.positions {
                    self.place(partition, &mut segments);
                }
            }
        }
        if segments.slots.is_empty() {
            return Ok(());
        }
        let rows = segments.slots.iter().map(|slot| self.sequence.row(*slot));
        let columns = self.sequence.rows.decode(rows)?;
        let rows = batch(self.options.input.clone(), columns, segments.slots.len())?;
        let arguments = self.evaluate_arguments(rows)?;
        let (sequence, positions) = (&self.sequence, &self.positions[..]);
        let inputs = Inputs { sequence, arguments: &arguments, positions };
        let slots: Vec<u32> = segments.affected().collect();
        let mut failed = vec![false; slots.len()];
        let calls = self.calls.iter_mut();
        let values = calls.map(|call| segments.evaluate(call, &inputs, &mut failed));
        let values = values.collect::<Result<Vec<_>>>()?;
        let encoded = self.codec.encode(&values, slots.len())?;
        for (i, slot) in slots.into_iter().enumerate() {
            self.show(slot, (!failed[i]).then(|| encoded.get(i)), (at, emitted));
        }
        Ok(())
    }

    /// Emits an entry if its values, or that it has none, are not what was emitted.
    fn show(&mut self, slot: u32, values: Option<&[u8]>, (at, emitted): (i64, &mut Emitted)) {
        let same = match self.shown[slot as usize] {
            Shown::New => false,
            Shown::Failed => values.is_none(),
            Shown::Values(shown) => values == Some(self.outputs.get(shown)),
        };
        if same {
            return;
        }
        self.retract(slot, at, emitted);
        let row = self.sequence.row(slot);
        self.shown[slot as usize] = match values {
            None => {
                emitted.failures.push((row.to_vec(), 1));
                Shown::Failed
            }
            Some(values) => {
                emitted.push(row, values, 1, at);
                Shown::Values(self.outputs.insert(values))
            }
        };
    }

    /// The first and last row that the frames of a span look at, and a row more on either side.
    fn body(&self, partition: u32, [first, last]: [u32; 2]) -> Result<[u32; 2]> {
        let (sequence, needs) = (&self.sequence, &self.reaches.needs);
        let entries = &sequence.entries;
        let back = sequence.first_of(partition, sequence.place(first), &needs.back)?;
        let back = back.filter(|b| entries.get(*b) < entries.get(first)).unwrap_or(first);
        let forward = sequence.last_of(partition, sequence.place(last), &needs.forward)?;
        let forward = forward.filter(|f| entries.get(*f) > entries.get(last)).unwrap_or(last);
        let before = entries.of_before(partition, entries.get(back)).next();
        let after = entries.of_from(partition, entries.get(forward)).nth(1);
        Ok([before.unwrap_or(back), after.unwrap_or(forward)])
    }

    /// Numbers the affected rows of the last segment.
    fn place(&mut self, partition: u32, segments: &mut Segments) {
        let Segments { slots, list } = segments;
        let Some(segment) = list.last_mut() else { return };
        for i in segment.affected.clone() {
            let slot = slots[i];
            let position = match i.checked_sub(1).filter(|i| segment.body.contains(i)) {
                None => Position { row: 1, rank: 1, group: 1 },
                Some(before) => {
                    let before = slots[before];
                    let Position { row, rank, group } = self.positions[before as usize];
                    match self.sequence.key(before) == self.sequence.key(slot) {
                        true => Position { row: row + 1, rank, group },
                        false => Position { row: row + 1, rank: row + 1, group: group + 1 },
                    }
                }
            };
            self.positions[slot as usize] = position;
        }
        let last = self.sequence.entries.last(partition);
        segment.rows = last.map_or(0, |last| self.positions[last as usize].row);
    }

    /// Evaluates filters and arguments of rows that were evaluated when they came.
    fn evaluate_arguments(&self, rows: RecordBatch) -> Result<Vec<ArrayRef>> {
        let rows = Delta::inserts(rows, Timestamp::MIN);
        Ok(self.reads.own.evaluate(rows, &mut Output::default())?.1)
    }

    /// Gives what was emitted the row type of the output.
    pub(super) fn delta(&self, emitted: &Emitted) -> Result<Delta> {
        let mut columns = self.sequence.rows.decode(emitted.rows.iter())?;
        columns.extend(self.codec.decode(emitted.outputs.iter())?);
        let rows = batch(self.options.output.clone(), columns, emitted.rows.len())?;
        let instants = match (emitted.instants.first(), emitted.instants.last()) {
            (Some(first), Some(last)) if first == last => Instants::All(Timestamp(*first)),
            _ => Instants::Each(TimestampMicrosecondArray::from(emitted.instants.clone())),
        };
        let weights = Weights::Each(Int64Array::from(emitted.weights.clone()));
        Ok(Delta::new(rows, instants, weights))
    }

    pub(super) fn report(&self, emitted: &Emitted, out: &mut Output) -> Result<()> {
        for (row, weight) in &emitted.failures {
            let columns = self.sequence.rows.decode(std::iter::once(&row[..]))?;
            out.quarantine(RowError {
                sqlstate: SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                message: "the value of a window function is out of range".to_owned(),
                row: row_text(&columns, 0),
                weight: *weight,
            });
        }
        Ok(())
    }
}
