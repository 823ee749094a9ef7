//! OVER: functions of the rows around each row of a partition.
//!
//! # Semantics
//! Every input row gets a value of each call: `f(..) OVER (PARTITION BY p ORDER BY k frame)`. Rows
//! of equal `k` are peers, as in Postgres; where their order matters it is that of the tie
//! expressions (a stream's rows: event time, then arrival), then of the whole row. NULL equals NULL
//! in `p` and `k`. All calls of one operator have the same partition and order.
//!
//! A row whose value is out of range has no result while that is so, and is reported (22003) when it
//! becomes so.
//!
//! # Example
//! ```text
//!   sum(v) OVER (ORDER BY k ROWS 1 PRECEDING)      in             out
//!                                                  1 +(a,1)       1 +(a,1,1)
//!                                                  2 +(c,5)       2 +(c,5,6)
//!                                                  3 +(b,2)       3 +(b,2,3)  3 -(c,5,6) +(c,5,7)
//! ```
//!
//! # State
//! All rows in order with the values last emitted; positions, if functions ask for them; for
//! aggregates whose frame is open at an end, the aggregate of the whole partition. Where the
//! watermark makes partitions final (`closes`) they are freed; where it makes rows final by the first
//! ORDER BY key (`trims`) those are freed that no frame can look at any more.
//!
//! # Cost
//! Per changed row a search in the order. Then only the rows that the change can affect are computed
//! again: neighbours for lag and lead, the rows whose frame includes the place for bounded frames,
//! the rows behind it for numbers, ranks and frames that begin with the partition. Of these only
//! rows whose values differ are emitted.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;

use super::aggregate::fold::{self, Changes as FoldChanges, Fold, Rows};
use super::evaluate::{Expressions, row_text, truths};
use super::finality::{Finality, Frees};
use super::{
    Instantwise, Operator, Output, Port, Result, RowError, StateReader, StateWriter,
};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::error::SqlState;
use crate::storage::{RowCodec, RowSet, Slab};
use crate::time::{Timestamp, Watermark};
pub use call::{OverCall, OverFunction};
use call::{Edge, Reaches};
use segment::{Inputs, Segment};
use sequence::{Entry, Packed, Sequence};

mod call;
mod save;
mod segment;
mod sequence;
#[cfg(test)]
mod tests;

/// What an [`Over`] is to compute.
#[derive(Clone, Debug)]
pub struct OverOptions {
    /// The row type of the input.
    pub input: SchemaRef,
    /// PARTITION BY; none makes one partition.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// ORDER BY.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    /// What orders peers.
    pub ties: Vec<Arc<dyn PhysicalExpr>>,
    /// The calls.
    pub calls: Vec<OverCall>,
    /// When a partition's result is final, by one of the partition's columns.
    pub closes: Option<Frees>,
    /// When rows are final, by the first key, which ascends with NULLs last. The column is 0.
    pub trims: Option<Frees>,
    /// The row type of the output: the input's, then the calls.
    pub output: SchemaRef,
}

/// Functions of the rows around each row of a partition.
pub struct Over {
    options: OverOptions,
    reads: Reads,
    calls: Vec<Call>,
    reaches: Reaches,
    partitions: RowSet,
    sequence: Sequence,
    /// By slot of an entry.
    shown: Vec<Shown>,
    /// By slot of an entry, if positions are kept.
    positions: Vec<Position>,
    outputs: Slab,
    codec: RowCodec,
    /// Rows of this round.
    pending: Vec<Delta>,
    /// When partitions are final.
    closes: Option<Finality>,
    /// When the first row of a partition is final, and when no frame looks at it.
    trims: Vec<Finality>,
}

/// A call and its state.
struct Call {
    function: OverFunction,
    edges: [Edge; 2],
    /// Where in `Reads::own` its filter and arguments stand.
    filter: Option<usize>,
    reads: Vec<usize>,
    output: DataType,
    /// The state of an aggregate that slides.
    fold: Option<Box<dyn Fold>>,
    /// Whether that holds all rows of each partition.
    total: bool,
}

/// What is computed of rows.
struct Reads {
    /// Partition, keys, ties, then filters and arguments of the calls.
    all: Expressions,
    /// The calls' alone.
    own: Expressions,
    /// By expression of `own`: its place in `all`.
    places: Vec<usize>,
}

impl Reads {
    /// Adds a filter, or an argument where that filter is true; returns its place in `own`.
    fn add(&mut self, expression: &Arc<dyn PhysicalExpr>, filter: Option<usize>) -> usize {
        let place = self.all.add(expression, filter.map(|filter| self.places[filter]));
        let own = self.own.add(expression, filter);
        if own == self.places.len() {
            self.places.push(place);
        }
        own
    }

    /// The columns of `own` among those of `all`.
    fn own_of(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        self.places.iter().map(|place| Arc::clone(&columns[*place])).collect()
    }
}

/// What was emitted for an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shown {
    /// Nothing yet.
    #[default]
    New,
    /// An error.
    Failed,
    /// The values under this slot of the outputs.
    Values(u32),
}

/// The place of an entry in its partition, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    row: i64,
    /// Of the first peer.
    rank: i64,
    /// Number of the group of peers.
    group: i64,
}

/// Changed rows with their values, packed, and reports.
#[derive(Default)]
struct Emitted {
    rows: Packed,
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

impl Call {
    fn new(
        call: &OverCall,
        options: &OverOptions,
        column: usize,
        all: &mut Reads,
    ) -> Result<Self> {
        let order = options.keys.first().map(|(_, order)| *order);
        let (filter, reads) = call.function.reads();
        let filter = filter.map(|filter| all.add(&filter, None));
        let reads = reads.iter().map(|read| all.add(read, filter)).collect();
        let edges = call.edges(order);
        let (mut fold, mut total) = (None, false);
        if let OverFunction::Aggregate(aggregate) = &call.function
            && call.function.slides()
        {
            fold = Some(fold::choose(aggregate, &options.input, false)?);
            total = edges[0] == Edge::First || edges[1] == Edge::Last;
        }
        let output = options.output.field(column).data_type().clone();
        let function = call.function.clone();
        Ok(Self { function, edges, filter, reads, output, fold, total })
    }

    fn arguments(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        self.reads.iter().map(|read| Arc::clone(&columns[*read])).collect()
    }

    /// Adds rows to the aggregates of their partitions.
    fn prepare<'a>(
        &self,
        partitions: &'a [u32],
        weights: Option<&'a [i64]>,
        columns: &[ArrayRef],
    ) -> Result<Option<FoldChanges<'a>>> {
        let Some(fold) = self.fold.as_ref().filter(|_| self.total) else { return Ok(None) };
        let filter = self.filter.map(|filter| truths(&columns[filter]));
        let arguments = self.arguments(columns);
        FoldChanges::new(fold.as_ref(), partitions, weights, arguments, filter).map(Some)
    }
}

impl Over {
    /// Instants of a round are told apart by their rows.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Partitions of no rows.
    pub fn new(options: OverOptions) -> Result<Self> {
        let schema = &options.input;
        let types = |list: &[Arc<dyn PhysicalExpr>]| {
            let types = list.iter().map(|expression| expression.data_type(schema));
            types.collect::<std::result::Result<Vec<_>, _>>()
        };
        let keys: Vec<_> = options.keys.iter().map(|(key, _)| Arc::clone(key)).collect();
        let all = options.partition.iter().chain(&keys).chain(&options.ties).cloned();
        let (all, own) = (Expressions::new(all), Expressions::default());
        let mut reads = Reads { all, own, places: Vec::new() };
        let mut calls = Vec::with_capacity(options.calls.len());
        for (i, call) in options.calls.iter().enumerate() {
            let column = schema.fields().len() + i;
            calls.push(Call::new(call, &options, column, &mut reads)?);
        }
        let order = options.keys.first().map(|(_, order)| *order);
        let reaches = Reaches::new(&options.calls, order);
        let sorted = types(&keys)?.into_iter().zip(&options.keys).map(|(t, (_, by))| (t, *by));
        let rows = schema.fields().iter().map(|field| field.data_type().clone());
        let trims = options.trims.map(|trims| {
            let after = trims.after.saturating_add(reaches.extent());
            let both = [trims, Frees { after, ..trims }];
            both.map(Finality::new).into_iter().collect::<Vec<_>>()
        });
        Ok(Self {
            sequence: Sequence::new(sorted.collect(), types(&options.ties)?, rows.collect())?,
            partitions: RowSet::new(types(&options.partition)?)?,
            codec: RowCodec::new(calls.iter().map(|call| call.output.clone()))?,
            closes: options.closes.map(Finality::new),
            trims: trims.unwrap_or_default(),
            shown: Vec::new(),
            positions: Vec::new(),
            outputs: Slab::default(),
            pending: Vec::new(),
            reads,
            calls,
            reaches,
            options,
        })
    }

    /// Evaluates the rows of a round, without those that are final already.
    fn evaluate(&self, delta: Delta, out: &mut Output) -> Result<(Delta, Vec<ArrayRef>)> {
        let (mut delta, mut columns) = self.reads.all.evaluate(delta, out)?;
        let keys = self.options.partition.len();
        for (finality, from) in
            self.closes.iter().map(|closes| (closes, 0)).chain(self.trims.first().map(|t| (t, keys)))
        {
            if let Some(open) = finality.open(&columns[from..])? {
                delta = delta.filter(&open)?;
                let kept = columns.iter().map(|column| arrow::compute::filter(column, &open));
                columns = kept.collect::<std::result::Result<_, _>>()?;
            }
        }
        Ok((delta, columns))
    }

    fn grow(&mut self) {
        let bound = self.partitions.bound();
        for call in &mut self.calls {
            let bound = if call.total { bound } else { 1 };
            call.fold.iter_mut().for_each(|fold| fold.grow(bound));
        }
    }

    /// Folds the rows of a round, instant by instant.
    fn round(&mut self, out: &mut Output) -> Result<Emitted> {
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

    /// Adds and removes the rows of an instant; returns what has changed, by partition and in order.
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
            if self.reaches.affects.forward == [call::Reach::All] {
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
    fn delta(&self, emitted: &Emitted) -> Result<Delta> {
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

    fn report(&self, emitted: &Emitted, out: &mut Output) -> Result<()> {
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

    /// Whether a partition without rows must be remembered, because rows of it were freed that
    /// count.
    fn lasting(&self) -> bool {
        let counts = self.reaches.positions || self.calls.iter().any(|call| call.total);
        !self.trims.is_empty() && counts
    }

    fn free_if_empty(&mut self, partition: u32) {
        let empty = self.sequence.entries.first(partition).is_none();
        if empty && !self.lasting() && self.partitions.contains(partition) {
            self.free(partition);
        }
    }

    fn free(&mut self, partition: u32) {
        while let Some(slot) = self.sequence.entries.first(partition) {
            self.forget(partition, slot);
        }
        for call in self.calls.iter_mut().filter(|call| call.total) {
            call.fold.iter_mut().for_each(|fold| fold.clear(partition));
        }
        self.partitions.remove(partition);
        self.closes.iter_mut().chain(&mut self.trims).for_each(|f| f.forget(partition));
    }

    /// Frees an entry, of which the values stay as they are.
    fn forget(&mut self, partition: u32, slot: u32) {
        if let Shown::Values(output) = std::mem::take(&mut self.shown[slot as usize]) {
            self.outputs.remove(output);
        }
        self.sequence.entries.remove(partition, slot);
    }

    /// Frees the rows of a partition that no frame of a row to come, or of one that is not final,
    /// looks at.
    fn trim(&mut self, partition: u32, watermark: Watermark) -> Result<()> {
        let Some(trims) = self.options.trims else { return Ok(()) };
        let (key, order) = &self.options.keys[0];
        let key = key.data_type(&self.options.input)?;
        let next = watermark.0.plus(trims.after.saturating_neg()).plus(1);
        let next: ArrayRef = Arc::new(Int64Array::from(vec![next.0]));
        let codec = RowCodec::sorted(vec![(key.clone(), *order)])?;
        let next = codec.encode(&[cast(&next, &key)?], 1)?;
        let (sequence, Reaches { affects, needs, .. }) = (&self.sequence, &self.reaches);
        let entries = &sequence.entries;
        let mut at = (next.get(0), next.get(0));
        for reaches in [&affects.back, &needs.back] {
            let first = sequence.first_of(partition, at, reaches)?;
            if let Some(first) = first.filter(|first| entries.get(*first) < at.0) {
                at = sequence.place(first);
            }
        }
        if self.reaches.positions || self.reaches.predecessor {
            let before = entries.before(partition, at.0).next();
            at = before.map_or(at, |before| sequence.place(before));
        }
        let keep = self.reaches.anchors[0];
        let gone = entries.of(partition).skip(keep).take_while(|slot| entries.get(*slot) < at.0);
        let gone: Vec<u32> = gone.collect();
        gone.into_iter().for_each(|slot| self.forget(partition, slot));
        Ok(())
    }

    /// Looks at a partition again when its last row is final, or out of sight.
    fn watch_last(&mut self, partition: u32) -> Result<()> {
        let Some(last) = self.sequence.entries.last(partition) else { return Ok(()) };
        let keys = self.sequence.keys.decode(std::iter::once(self.sequence.key(last)))?;
        for trims in &mut self.trims {
            if trims.open(&keys)?.is_none() {
                trims.watch(&[partition], &keys)?;
            }
        }
        Ok(())
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

impl Operator for Over {
    fn on_delta(&mut self, _: Port, delta: Delta, _: &mut Output) -> Result<()> {
        self.pending.push(delta);
        Ok(())
    }

    fn on_instant(&mut self, _: Timestamp, out: &mut Output) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let emitted = self.round(out)?;
        self.report(&emitted, out)?;
        out.push(self.delta(&emitted)?);
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Output) -> Result<()> {
        if let Some(closes) = &mut self.closes {
            for (_, partition) in closes.close(watermark) {
                self.free(partition);
            }
        }
        let mut due = Vec::new();
        for trims in &mut self.trims {
            due.extend(trims.close(watermark).into_iter().map(|(_, partition)| partition));
        }
        due.sort_unstable();
        due.dedup();
        for partition in due.into_iter().filter(|p| self.partitions.contains(*p)).collect::<Vec<_>>()
        {
            self.trim(partition, watermark)?;
            self.watch_last(partition)?;
            self.free_if_empty(partition);
        }
        Ok(())
    }

    fn save(&self, to: &mut StateWriter) -> Result<()> {
        self.save_state(to)
    }

    fn load(&mut self, from: &mut StateReader) -> Result<()> {
        self.load_state(from)
    }
}
