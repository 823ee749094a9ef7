//! A round of changes: rows in and out, and the values that follow from them.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};

use super::call::Reach;
use super::segment::{Inputs, Segment};
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
            for part in changed.chunk_by(|a, b| a.partition == b.partition) {
                self.refresh(part, (at, &mut emitted))?;
            }
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

    /// Computes the rows of a partition that changes affect.
    fn refresh(&mut self, changed: &[Changed], (at, emitted): (i64, &mut Emitted)) -> Result<()> {
        let partition = changed[0].partition;
        let sequence = &self.sequence;
        let mut spans: Vec<[u32; 2]> = Vec::new();
        for change in changed {
            let affects = &self.reaches.affects;
            let first = sequence.first_of(partition, change.place(), &affects.back)?;
            let last = sequence.last_of(partition, change.place(), &affects.forward)?;
            let (Some(first), Some(last)) = (first, last) else { continue };
            let bytes = |slot: u32| sequence.entries.get(slot);
            match spans.last_mut() {
                _ if bytes(first) > bytes(last) => {}
                Some(span) if bytes(first) <= bytes(span[1]) => {
                    if bytes(last) > bytes(span[1]) {
                        span[1] = last;
                    }
                }
                _ => spans.push([first, last]),
            }
            if self.reaches.affects.forward == [Reach::All] {
                break;
            }
        }
        for span in spans {
            self.recompute(partition, span, (at, emitted))?;
        }
        Ok(())
    }

    /// Computes a span of rows, and emits those whose values have changed.
    fn recompute(
        &mut self,
        partition: u32,
        span: [u32; 2],
        (at, emitted): (i64, &mut Emitted),
    ) -> Result<()> {
        let body = self.body(partition, span)?;
        let segment = Segment::new(&self.sequence, partition, (body, span), self.reaches.anchors);
        if self.reaches.positions {
            self.place(&segment);
        }
        let rows = segment.slots.iter().map(|slot| self.sequence.row(*slot));
        let columns = self.sequence.rows.decode(rows)?;
        let rows = batch(self.options.input.clone(), columns, segment.slots.len())?;
        let arguments = self.evaluate_arguments(rows)?;
        let last = self.sequence.entries.last(partition);
        let inputs = Inputs {
            arguments: &arguments,
            positions: &self.positions,
            rows: last.and_then(|l| self.positions.get(l as usize)).map_or(0, |p| p.row),
            partition,
        };
        let slots = &segment.slots[segment.affected.clone()];
        let mut failed = vec![false; slots.len()];
        let calls = self.calls.iter_mut();
        let values = calls.map(|call| segment.evaluate(call, &self.sequence, &inputs, &mut failed));
        let values = values.collect::<Result<Vec<_>>>()?;
        let encoded = self.codec.encode(&values, slots.len())?;
        for (i, slot) in slots.iter().enumerate() {
            let same = match self.shown[*slot as usize] {
                Shown::New => false,
                Shown::Failed => failed[i],
                Shown::Values(shown) => !failed[i] && self.outputs.get(shown) == encoded.get(i),
            };
            if same {
                continue;
            }
            self.retract(*slot, at, emitted);
            let row = self.sequence.row(*slot);
            self.shown[*slot as usize] = if failed[i] {
                emitted.failures.push((row.to_vec(), 1));
                Shown::Failed
            } else {
                emitted.push(row, encoded.get(i), 1, at);
                Shown::Values(self.outputs.insert(encoded.get(i)))
            };
        }
        Ok(())
    }

    /// The first and last row that the frames of a span look at, and a row more on either side.
    fn body(&self, partition: u32, [first, last]: [u32; 2]) -> Result<[u32; 2]> {
        let (sequence, needs) = (&self.sequence, &self.reaches.needs);
        let entries = &sequence.entries;
        let back = sequence.first_of(partition, sequence.place(first), &needs.back)?;
        let back = back.filter(|b| entries.get(*b) < entries.get(first)).unwrap_or(first);
        let forward = sequence.last_of(partition, sequence.place(last), &needs.forward)?;
        let forward = forward.filter(|f| entries.get(*f) > entries.get(last)).unwrap_or(last);
        let before = entries.before(partition, entries.get(back)).next();
        let after = entries.starting_at(partition, entries.get(forward)).nth(1);
        Ok([before.unwrap_or(back), after.unwrap_or(forward)])
    }

    /// Numbers the affected rows of a segment.
    fn place(&mut self, segment: &Segment) {
        for i in segment.affected.clone() {
            let slot = segment.slots[i];
            let before = i.checked_sub(1).filter(|i| segment.body.contains(i));
            let position = match before.map(|i| segment.slots[i]) {
                None => Position { row: 1, rank: 1, group: 1 },
                Some(before) => {
                    let Position { row, rank, group } = self.positions[before as usize];
                    match self.sequence.key(before) == self.sequence.key(slot) {
                        true => Position { row: row + 1, rank, group },
                        false => Position { row: row + 1, rank: row + 1, group: group + 1 },
                    }
                }
            };
            self.positions[slot as usize] = position;
        }
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
