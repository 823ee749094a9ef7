//! ORDER BY .. LIMIT n OFFSET m as a relation, of the whole input or of each partition.
//!
//! # Semantics
//! Of each partition the rows from the `skip`-th, `fetch` of them, in the order of the keys; ties
//! are broken by the whole row, column by column, so that the result is a function of the relation.
//! Without `fetch` all rows from the `skip`-th. With `numbered` each row also gets its place, from
//! 1: `ROW_NUMBER() OVER (PARTITION BY .. ORDER BY ..)`.
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

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;

use super::evaluate::Expressions;
use super::finality::{Finality, Frees};
use super::{Instantwise, Operator, Output, Port, Result, StateReader, StateWriter};
use crate::delta::{Delta, Instants, Weights, batch};
use crate::storage::{OrderedRows, RowCodec, RowSet};
use crate::time::{Timestamp, Watermark};
use shown::{Change, Shown};

mod save;
mod shown;
#[cfg(test)]
mod tests;

/// What a [`TopN`] is to compute.
#[derive(Clone, Debug)]
pub struct TopNOptions {
    /// The row type of the input.
    pub input: SchemaRef,
    /// PARTITION BY; none makes one partition.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// ORDER BY.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
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
    /// Partition, then keys.
    expressions: Expressions,
    partitions: RowSet,
    /// Keys, then the row.
    codec: RowCodec,
    rows: OrderedRows,
    /// By partition.
    shown: Vec<Shown>,
    /// Partitions to look at when the instant is complete, in order.
    dirty: Vec<u32>,
    /// Rows of which the weight became 0, with their partition.
    zeros: Vec<(u32, u32)>,
    /// By slot: zero, but while two lists are compared.
    net: Vec<i64>,
    /// Without a limit: the input of this instant, which is shown but for the rows skipped.
    passed: Vec<Delta>,
    finality: Option<Finality>,
}

impl TopN {
    /// What is shown is compared once per instant.
    pub const INSTANTS: Instantwise = Instantwise::One;

    /// The first rows of nothing.
    pub fn new(options: TopNOptions) -> Result<Self> {
        let input = &options.input;
        let types = options.partition.iter().map(|expression| expression.data_type(input));
        let types = types.collect::<std::result::Result<Vec<_>, _>>()?;
        let mut columns: Vec<(DataType, SortOptions)> = Vec::new();
        for (key, order) in &options.keys {
            columns.push((key.data_type(input)?, *order));
        }
        let row = input.fields().iter().map(|f| (f.data_type().clone(), SortOptions::default()));
        columns.extend(row);
        let keys = options.keys.iter().map(|(key, _)| Arc::clone(key));
        Ok(Self {
            expressions: Expressions::new(options.partition.iter().cloned().chain(keys)),
            partitions: RowSet::new(types)?,
            codec: RowCodec::sorted(columns)?,
            rows: OrderedRows::default(),
            shown: Vec::new(),
            dirty: Vec::new(),
            zeros: Vec::new(),
            net: Vec::new(),
            passed: Vec::new(),
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

    /// Adds encoded rows to the order.
    fn add(&mut self, partitions: &[u32], delta: &Delta, keys: &[ArrayRef]) -> Result<()> {
        let columns: Vec<ArrayRef> =
            keys.iter().chain(delta.rows().columns()).map(Arc::clone).collect();
        let encoded = self.codec.encode(&columns, delta.len())?;
        let limit = self.limit();
        // Without retractions a row behind the limit will never be shown.
        let drops = self.options.append_only && !self.complement();
        for (i, partition) in partitions.iter().enumerate() {
            let bytes = encoded.get(i);
            let shown = &mut self.shown[*partition as usize];
            let behind = shown.count >= limit
                && shown.rows.last().is_none_or(|(last, _)| bytes > self.rows.get(*last));
            if behind && drops {
                continue;
            }
            let (slot, weight) = self.rows.add(*partition, bytes, delta.weight(i));
            if weight == 0 {
                self.zeros.push((*partition, slot));
            }
            if !behind && !shown.dirty {
                shown.dirty = true;
                self.dirty.push(*partition);
            }
        }
        Ok(())
    }

    /// Compares what is shown with what is to be shown.
    fn refresh(&mut self) -> Vec<Change> {
        let (limit, skip) = (self.limit(), self.options.skip);
        let visible = if self.complement() { 0..skip } else { skip..limit };
        let mut changes = Vec::new();
        self.net.resize(self.rows.bound(), 0);
        for partition in std::mem::take(&mut self.dirty) {
            let new = Shown::first(&self.rows, partition, limit);
            let old = std::mem::replace(&mut self.shown[partition as usize], new);
            let new = &self.shown[partition as usize];
            if self.options.numbered {
                old.numbered_changes(new, visible.clone(), &mut changes);
            } else {
                old.changes(new, visible.clone(), &mut self.net, &mut changes);
            }
            if self.options.append_only && !self.complement() {
                let last = new.rows.len();
                let behind: Vec<u32> = self.rows.of(partition).skip(last).collect();
                self.zeros.extend(behind.into_iter().map(|slot| (partition, slot)));
            }
        }
        changes
    }

    /// Gives changes the row type of the output.
    fn delta(&self, changes: &[Change], at: Timestamp) -> Result<Delta> {
        let rows = changes.iter().map(|change| self.rows.get(change.slot));
        let mut columns = self.codec.decode(rows)?.split_off(self.options.keys.len());
        if self.options.numbered {
            let places = changes.iter().map(|change| i64::try_from(change.place + 1).ok());
            let places: ArrayRef = Arc::new(places.collect::<Int64Array>());
            let kind = self.options.output.field(columns.len()).data_type().clone();
            columns.push(arrow::compute::cast(&places, &kind)?);
        }
        let rows = batch(self.options.output.clone(), columns, changes.len())?;
        let weights = Int64Array::from_iter_values(changes.iter().map(|change| change.weight));
        Ok(Delta::new(rows, Instants::All(at), Weights::Each(weights)))
    }

    /// Removes rows without weight, or behind the limit, and partitions without rows.
    fn sweep(&mut self) {
        for (partition, slot) in std::mem::take(&mut self.zeros) {
            let unused = self.rows.contains(slot)
                && (self.rows.weight(slot) == 0 || self.options.append_only);
            if unused {
                self.rows.remove(partition, slot);
                if self.rows.first(partition).is_none() {
                    self.free(partition);
                }
            }
        }
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
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        if self.limit() == 0 {
            // Nothing is shown, or nothing is left out.
            self.passed.extend(self.complement().then_some(delta));
            return Ok(());
        }
        let (mut delta, mut columns) = self.expressions.evaluate(delta, out)?;
        if let Some(finality) = &self.finality
            && let Some(open) = finality.open(&columns)?
        {
            delta = delta.filter(&open)?;
            let kept = columns.iter().map(|column| arrow::compute::filter(column, &open));
            columns = kept.collect::<std::result::Result<_, _>>()?;
        }
        let (partition, keys) = columns.split_at(self.options.partition.len());
        let partitions = self.partitions.intern(partition, delta.len())?;
        self.shown.resize_with(self.partitions.bound(), Shown::default);
        if let Some(finality) = &mut self.finality {
            finality.watch(&partitions, partition)?;
        }
        self.add(&partitions, &delta, keys)?;
        if self.complement() {
            self.passed.push(delta);
        }
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        let changes = self.refresh();
        let changed = self.delta(&changes, at)?;
        self.sweep();
        if !self.complement() {
            out.push(changed);
            return Ok(());
        }
        let mut parts = std::mem::take(&mut self.passed);
        if parts.is_empty() {
            return Ok(());
        }
        parts.push(changed.negate());
        out.push(Delta::concat(&self.options.output, &parts)?.at(at).consolidate()?);
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Output) -> Result<()> {
        let Some(finality) = &mut self.finality else { return Ok(()) };
        for (_, partition) in finality.close(watermark) {
            self.free(partition);
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
