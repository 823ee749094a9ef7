//! ORDER BY .. LIMIT n OFFSET m as a relation, of the whole input or of each partition.
//!
//! # Semantics
//! Of each partition the rows from the `skip`-th, `fetch` of them, in the order of the keys; ties
//! are broken by the tie expressions, then by the whole row, column by column, so that the result
//! is a function of the relation. Without `fetch` all rows from the `skip`-th. What is counted are
//! rows, ranks (peers of the last row stay: WITH TIES), or groups of peers. With `numbered` each
//! row also gets its number, from 1: `row_number()`, `rank()` or `dense_rank()` `<= n`.
//!
//! # Example
//! ```text
//!   ORDER BY v DESC LIMIT 2     1 +10      1 +10
//!                               2 +30      2 +30
//!                               3 +20      3 -10 +20
//!                               4 -30      4 -30 +10        the runner-up returns
//! ```
//!
//! # State
//! All rows in order, and which of them are shown; if nothing is ever retracted only the first
//! `skip + fetch` of each partition. Partitions are freed with their last row, or as `frees` says.
//!
//! # Cost
//! Per row a search in the order; per instant and partition in which a row among the first `skip +
//! fetch` has changed, a walk over these. Rows behind them cost no walk.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;

use super::evaluate::Expressions;
use super::finality::{Finality, Frees};
use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::storage::{Deltas, Fixed, OrderedRows, RowCodec, RowSet, Store, Visit};
use crate::time::{Timestamp, Watermark};
use shown::{Changes, Peers, Shown};

mod shown;
#[cfg(test)]
mod tests;

/// What is counted, and by what rows are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Rows, as `row_number()`.
    Rows,
    /// The position of the first peer, as `rank()`.
    Ranks,
    /// Groups of peers, as `dense_rank()`.
    Groups,
}

/// What a [`TopN`] is to compute.
#[derive(Clone, Debug)]
pub struct TopNOptions {
    /// The row type of the input.
    pub input: SchemaRef,
    /// PARTITION BY; none makes one partition.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// ORDER BY.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    /// What orders rows of equal keys.
    pub ties: Vec<Arc<dyn PhysicalExpr>>,
    /// What `fetch` counts.
    pub counting: Counting,
    /// OFFSET.
    pub skip: usize,
    /// LIMIT.
    pub fetch: Option<usize>,
    /// Whether the place is appended as a column.
    pub numbered: bool,
    /// Whether the input never retracts a row.
    pub append_only: bool,
    /// When a partition's result is final, by one of the partition's columns.
    pub frees: Option<Frees>,
    /// The row type of the output: the input's, then the place if `numbered`.
    pub output: SchemaRef,
}

/// ORDER BY .. LIMIT as a relation.
pub struct TopN {
    options: TopNOptions,
    /// Partition, keys, ties.
    expressions: Expressions,
    partitions: RowSet,
    /// Keys, ties, then the row.
    codec: RowCodec,
    /// The keys alone, unless rows are counted.
    keys: Option<RowCodec>,
    rows: OrderedRows,
    /// By slot: the length of its key, unless rows are counted.
    key_lengths: Vec<usize>,
    /// By partition.
    shown: Vec<Shown>,
    /// Partitions to look at when the instant is complete, in order; empty between calls.
    dirty: Vec<u32>,
    /// Rows of which the weight became 0, with their partition; empty between calls.
    zeros: Vec<(u32, u32)>,
    /// Partitions that had no rows at some time of this round; empty between calls.
    empty: Vec<u32>,
    /// By slot: zero, but while two lists are compared.
    net: Vec<i64>,
    /// Rows of this round.
    pending: Vec<Delta>,
    finality: Option<Finality>,
}

impl TopN {
    /// Instants of a round are told apart by their rows.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// The first rows of nothing.
    pub fn new(options: TopNOptions) -> Result<Self> {
        let input = &options.input;
        let types = options.partition.iter().map(|expression| expression.data_type(input));
        let types = types.collect::<std::result::Result<Vec<_>, _>>()?;
        let mut columns: Vec<(DataType, SortOptions)> = Vec::new();
        for (key, order) in &options.keys {
            columns.push((key.data_type(input)?, *order));
        }
        let peers = options.counting != Counting::Rows;
        let key_codec = peers.then(|| RowCodec::sorted(columns.clone())).transpose()?;
        for tie in &options.ties {
            columns.push((tie.data_type(input)?, SortOptions::default()));
        }
        let row = input.fields().iter().map(|f| (f.data_type().clone(), SortOptions::default()));
        columns.extend(row);
        let keys = options.keys.iter().map(|(key, _)| Arc::clone(key));
        Ok(Self {
            expressions: Expressions::new(
                options.partition.iter().cloned().chain(keys).chain(options.ties.iter().cloned()),
            ),
            keys: key_codec,
            key_lengths: Vec::new(),
            partitions: RowSet::new(types)?,
            codec: RowCodec::sorted(columns)?,
            rows: OrderedRows::default(),
            shown: Vec::new(),
            dirty: Vec::new(),
            zeros: Vec::new(),
            net: Vec::new(),
            empty: Vec::new(),
            pending: Vec::new(),
            finality: options.frees.map(Finality::new),
            options,
        })
    }

    /// Whether everything is shown but the rows skipped, so that only these need to be known.
    fn complement(&self) -> bool {
        self.options.fetch.is_none() && !self.options.numbered
    }

    /// How many rows of a partition are looked at.
    fn limit(&self) -> usize {
        match self.options.fetch {
            Some(fetch) => self.options.skip.saturating_add(fetch),
            None if self.options.numbered => usize::MAX,
            None => self.options.skip,
        }
    }

    /// Folds the rows of a round, instant by instant; returns the changes of what is looked at, and
    /// the rows that had values for their expressions.
    fn round(&mut self, out: &mut Output) -> Result<(Changes, Delta)> {
        let pending = std::mem::take(&mut self.pending);
        let delta = Delta::concat(&self.options.input, &pending)?.by_instant()?;
        let (mut delta, mut columns) = self.expressions.evaluate(delta, out)?;
        if let Some(finality) = &self.finality
            && let Some(open) = finality.open(&columns)?
        {
            delta = delta.filter(&open)?;
            let kept = columns.iter().map(|column| arrow::compute::filter(column, &open));
            columns = kept.collect::<std::result::Result<_, _>>()?;
        }
        let mut changes = Changes::default();
        if self.limit() == 0 {
            // Nothing is shown, or nothing is left out.
            return Ok((changes, delta));
        }
        let (partition, keys) = columns.split_at(self.options.partition.len());
        let partitions = self.partitions.intern(partition, delta.len())?;
        self.shown.resize_with(self.partitions.bound(), Shown::default);
        if let Some(finality) = &mut self.finality {
            finality.watch(&partitions, partition)?;
        }
        let row: Vec<ArrayRef> =
            keys.iter().chain(delta.rows().columns()).map(Arc::clone).collect();
        let encoded = self.codec.encode(&row, delta.len())?;
        let lengths = self.key_lengths(&keys[..self.options.keys.len()], delta.len())?;
        let mut from = 0;
        while from < delta.len() {
            let to = delta.end_of_instant(from);
            for (row, partition) in (from..to).zip(&partitions[from..to]) {
                let length = lengths.get(row).copied().unwrap_or(0);
                self.add(*partition, (encoded.get(row), length), delta.weight(row));
            }
            changes.at = delta.ts_at(from).0;
            self.refresh(&mut changes);
            self.sweep();
            from = to;
        }
        Ok((changes, delta))
    }

    /// The length of each encoded key, unless rows are counted.
    fn key_lengths(&self, keys: &[ArrayRef], len: usize) -> Result<Vec<usize>> {
        let Some(codec) = &self.keys else { return Ok(Vec::new()) };
        let encoded = codec.encode(keys, len)?;
        Ok((0..len).map(|row| encoded.get(row).len()).collect())
    }

    /// What tells whether rows are peers.
    fn peers(&self) -> Peers<'_> {
        Peers { rows: &self.rows, key_lengths: &self.key_lengths, counting: self.options.counting }
    }

    /// Adds an encoded row, which begins with a key of that length, to the order.
    fn add(&mut self, partition: u32, (bytes, key): (&[u8], usize), weight: i64) {
        let drops = self.drops();
        let behind = self.shown[partition as usize].behind(self.limit(), self.peers(), bytes, key);
        let shown = &mut self.shown[partition as usize];
        // Without retractions a row behind the limit will never be shown.
        if behind && drops {
            return;
        }
        let (slot, weight) = self.rows.add(partition, bytes, weight);
        if weight == 0 {
            self.zeros.push((partition, slot));
        }
        if self.keys.is_some() {
            self.key_lengths.resize(self.rows.bound(), 0);
            self.key_lengths[slot as usize] = key;
        }
        if !behind && !shown.dirty {
            shown.dirty = true;
            self.dirty.push(partition);
        }
    }

    /// Whether rows that are not looked at are not kept.
    fn drops(&self) -> bool {
        self.options.append_only && !self.complement()
    }

    /// Adds the changes between what is shown and what is to be shown.
    fn refresh(&mut self, changes: &mut Changes) {
        let (limit, skip) = (self.limit(), self.options.skip);
        let visible = match self.options.counting {
            _ if self.complement() => 0..skip,
            Counting::Rows => skip..limit,
            Counting::Ranks | Counting::Groups => skip..usize::MAX,
        };
        self.net.resize(self.rows.bound(), 0);
        for partition in std::mem::take(&mut self.dirty) {
            let new = Shown::first(self.peers(), partition, limit);
            let old = std::mem::replace(&mut self.shown[partition as usize], new);
            let new = &self.shown[partition as usize];
            if self.options.numbered {
                old.numbered_changes(new, &visible, self.peers(), changes);
            } else {
                old.changes(new, &visible, (&self.rows, &mut self.net), changes);
            }
            if self.drops() {
                let behind = self.rows.of(partition).skip(new.rows.len());
                self.zeros.extend(behind.map(|slot| (partition, slot)));
            }
        }
    }

    /// Removes rows without weight, or behind the limit.
    fn sweep(&mut self) {
        for (partition, slot) in std::mem::take(&mut self.zeros) {
            let unused = self.rows.contains(slot) && (self.rows.weight(slot) == 0 || self.drops());
            if unused {
                self.rows.remove(partition, slot);
                if self.rows.first(partition).is_none() {
                    self.empty.push(partition);
                }
            }
        }
    }

    /// Gives changes the row type of the output.
    fn delta(&self, changes: Changes) -> Result<Delta> {
        let leading = self.options.keys.len() + self.options.ties.len();
        let mut columns = self.codec.decode(changes.rows())?.split_off(leading);
        let Changes { weights, instants, places, .. } = changes;
        if self.options.numbered {
            let places: ArrayRef = Arc::new(Int64Array::from(places));
            let kind = self.options.output.field(columns.len()).data_type().clone();
            columns.push(arrow::compute::cast(&places, &kind)?);
        }
        let rows = batch(self.options.output.clone(), columns, weights.len())?;
        let instants = match (instants.first(), instants.last()) {
            (Some(first), Some(last)) if first == last => Instants::All(Timestamp(*first)),
            _ => Instants::Each(TimestampMicrosecondArray::from(instants)),
        };
        Ok(Delta::new(rows, instants, Weights::Each(Int64Array::from(weights))))
    }

    fn free(&mut self, partition: u32) {
        self.rows.clear(partition);
        self.shown[partition as usize] = Shown::default();
        self.partitions.remove(partition);
        if let Some(finality) = &mut self.finality {
            finality.forget(partition);
        }
    }
}

impl Operator for TopN {
    fn on_delta(&mut self, _: Port, delta: Delta, _: &mut Output) -> Result<()> {
        self.pending.push(delta);
        Ok(())
    }

    fn on_instant(&mut self, _: Timestamp, out: &mut Output) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (changes, input) = self.round(out)?;
        let changed = self.delta(changes)?;
        if self.complement() {
            let parts = [input, changed.negate()];
            out.push(Delta::concat(&self.options.output, &parts)?.consolidate()?);
        } else {
            out.push(changed);
        }
        for partition in std::mem::take(&mut self.empty) {
            if self.rows.first(partition).is_none() && self.partitions.contains(partition) {
                self.free(partition);
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Output) -> Result<()> {
        let Some(finality) = &mut self.finality else { return Ok(()) };
        for (_, partition) in finality.close(watermark) {
            self.free(partition);
        }
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        visit(&mut self.key_lengths);
        visit(&mut Fixed(self.net.memory()));
        visit(&mut self.shown);
        visit(&mut Deltas(&mut self.pending));
        self.finality.iter_mut().for_each(|finality| finality.stores(visit));
        visit(&mut self.partitions);
    }
}
