//! GROUP BY: one row per group, replaced whenever its value changes; also DISTINCT.
//!
//! # Semantics
//! `γ_{groups; calls}(R)`. Groups are equal as in DISTINCT: NULL equals NULL. A group appears with
//! its first row and vanishes with its last. Without GROUP BY there is exactly one group, which is
//! also there over no rows; its first row is emitted at the first call of `on_instant` or
//! `on_watermark`. Without calls the operator is DISTINCT.
//!
//! A row of which an argument cannot be computed contributes to no call. A group of which a result
//! is out of range has no row while that is so, and is reported (22003) when it becomes so.
//!
//! # Example
//! ```text
//!  SELECT k, count(*) .. GROUP BY k          in            out, at the instant
//!                                            1 +x +x       1 +(x,2)
//!                                            2 -x +y       2 -(x,2)  2 +(x,1) +(y,1)
//!                                            3 -x          3 -(x,1)
//! ```
//!
//! # State
//! The key of each group under a dense slot, the number of its rows, and the state of each call by
//! slot (module `fold`). A group is freed with its last row, or when the watermark has passed the
//! time
//! that `frees` names; rows that come for it later are ignored, for its result is final.
//!
//! # Invariants
//! 1. A group is touched at most once per instant, and its result is recorded before the first
//!    change
//!    and after the last one of the instant. So nothing emitted needs to be remembered.
//! 2. Results that are equal are not emitted.
//! 3. Changes come in the order of instants, within one in the order in which groups were touched:
//!    all old rows, then all new ones.
//!
//! # Cost
//! Per row one hash of the key and one update per call; per instant two records per touched group
//! and
//! call. Expressions, keys and output are computed once for all instants of a round.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::evaluate::{Expressions, truths};
use super::finality::{Finality, Frees};
use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::{Delta, Instants, Weights};
use crate::storage::{Deltas, Fixed, RowSet, Store, Value, Visit};
use crate::time::{Timestamp, Watermark};
use entries::Entries;
use fold::{Changes, Fold, Rows};

mod best;
mod count;
mod distinct;
mod entries;
mod exact;
mod extremum;
pub(super) mod fold;
mod moments;
mod other;
mod ranked;
mod sorted;
mod sum;
#[cfg(test)]
mod tests;
mod truth;

/// One call of an aggregate function.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function with its arguments, DISTINCT and ORDER BY.
    pub function: Arc<AggregateFunctionExpr>,
    /// FILTER (WHERE ..).
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

/// What an [`Aggregate`] is to compute.
#[derive(Clone, Debug)]
pub struct AggregateOptions {
    /// The row type of the input.
    pub input: SchemaRef,
    /// GROUP BY.
    pub groups: Vec<Arc<dyn PhysicalExpr>>,
    /// The calls.
    pub calls: Vec<Call>,
    /// The row type of the output: the groups, then the calls.
    pub output: SchemaRef,
    /// Whether the input never retracts a row.
    pub append_only: bool,
    /// When groups are final, if a watermark tells.
    pub frees: Option<Frees>,
}

/// One row per group, replaced whenever its value changes.
pub struct Aggregate {
    options: AggregateOptions,
    /// Groups, then for each call its filter and arguments; equal ones once.
    expressions: Expressions,
    /// Where in `expressions` each call finds its filter and arguments.
    inputs: Vec<CallInput>,
    keys: RowSet,
    /// By slot: the number of the group's rows.
    rows: Vec<i64>,
    folds: Vec<Box<dyn Fold>>,
    /// By slot: whether the group is among `touched`.
    marks: Vec<bool>,
    /// Groups that the instant at hand has touched, in order; empty between calls.
    touched: Vec<u32>,
    /// Rows of this round.
    pending: Vec<Delta>,
    /// Whether the single group of an aggregate without GROUP BY has been emitted.
    started: bool,
    finality: Option<Finality>,
}

struct CallInput {
    filter: Option<usize>,
    arguments: Vec<usize>,
}

impl Call {
    /// Returns the arguments, then what they are ordered by.
    pub(super) fn arguments(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let all = self.function.all_expressions();
        all.args.into_iter().chain(all.order_by_exprs).collect()
    }
}

impl Aggregate {
    /// Instants of a round are told apart by their rows.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Groups of no rows.
    pub fn new(options: AggregateOptions) -> Result<Self> {
        let mut expressions = Expressions::new(options.groups.iter().cloned());
        let mut inputs = Vec::new();
        let mut folds = Vec::new();
        for call in &options.calls {
            let filter = call.filter.as_ref().map(|filter| expressions.add(filter, None));
            let arguments = call.arguments().into_iter();
            let arguments = arguments.map(|a| expressions.add(&a, filter)).collect();
            inputs.push(CallInput { filter, arguments });
            folds.push(fold::choose(call, &options.input, options.append_only)?);
        }
        let types = options.groups.iter().map(|group| group.data_type(&options.input));
        let keys = RowSet::new(types.collect::<std::result::Result<Vec<_>, _>>()?)?;
        let mut aggregate = Self {
            finality: options.frees.map(Finality::new),
            options,
            expressions,
            inputs,
            keys,
            rows: Vec::new(),
            folds,
            marks: Vec::new(),
            touched: Vec::new(),
            pending: Vec::new(),
            started: false,
        };
        if aggregate.single() {
            aggregate.keys.intern_row(&[]);
            aggregate.grow();
        }
        Ok(aggregate)
    }

    /// Whether there is no GROUP BY.
    fn single(&self) -> bool {
        self.options.groups.is_empty()
    }

    /// Whether the group has a result row.
    fn visible(&self, group: u32) -> bool {
        if self.single() { self.started } else { self.rows[group as usize] > 0 }
    }

    fn grow(&mut self) {
        let bound = self.keys.bound();
        self.rows.resize(bound, 0);
        self.marks.resize(bound, false);
        self.folds.iter_mut().for_each(|fold| fold.grow(bound));
    }

    /// Returns the touched groups that have a result row.
    fn visible_touched(&self) -> Vec<u32> {
        self.touched.iter().copied().filter(|group| self.visible(*group)).collect()
    }

    /// Folds the rows of a round, instant by instant. Returns groups that had no rows at some time.
    fn round(&mut self, entries: &mut Entries, out: &mut Output) -> Result<Vec<u32>> {
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
        let keys = &columns[..self.options.groups.len()];
        let groups = self.keys.intern(keys, delta.len())?;
        self.grow();
        if let Some(finality) = &mut self.finality {
            finality.watch(&groups, keys)?;
        }
        let weights = match delta.weights() {
            Weights::Ones => None,
            Weights::Each(weights) => Some(&weights.values()[..]),
        };
        let changes = self.folds.iter().zip(&self.inputs).map(|(fold, input)| {
            let values = input.arguments.iter().map(|i| Arc::clone(&columns[*i])).collect();
            let filter = input.filter.map(|filter| truths(&columns[filter]));
            Changes::new(fold.as_ref(), &groups, weights, values, filter)
        });
        let changes = changes.collect::<Result<Vec<_>>>()?;
        let (mut from, mut empty) = (0, Vec::new());
        while from < delta.len() {
            let to = end_of_instant(&delta, from);
            self.touch(&groups[from..to]);
            self.instant(delta.ts_at(from), entries, |aggregate| {
                for (row, group) in groups.iter().enumerate().take(to).skip(from) {
                    aggregate.rows[*group as usize] += weights.map_or(1, |weights| weights[row]);
                }
                let rows = Rows::Range(from..to);
                let mut folds = aggregate.folds.iter_mut().zip(&changes);
                folds.try_for_each(|(fold, changes)| fold.apply(changes, &rows))
            })?;
            empty.extend(self.touched.iter().filter(|group| self.rows[**group as usize] == 0));
            self.forget_touched();
            from = to;
        }
        Ok(empty)
    }

    /// Records the touched groups before and after what `apply` does at an instant.
    fn instant(
        &mut self,
        at: Timestamp,
        entries: &mut Entries,
        apply: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let visible = self.visible_touched();
        let old = entries.record(&mut self.folds, &visible, at, -1)?;
        apply(self)?;
        self.started = true;
        let visible = self.visible_touched();
        let new = entries.record(&mut self.folds, &visible, at, 1)?;
        entries.pair(old, new, &self.touched);
        Ok(())
    }

    /// Marks the groups of an instant.
    fn touch(&mut self, groups: &[u32]) {
        for group in groups {
            if !std::mem::replace(&mut self.marks[*group as usize], true) {
                self.touched.push(*group);
            }
        }
    }

    fn forget_touched(&mut self) {
        for group in self.touched.drain(..) {
            self.marks[group as usize] = false;
        }
    }

    /// Folds and emits a round that ends with instant `at`, and frees groups without rows.
    fn complete(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        let mut entries = Entries::default();
        let mut empty = Vec::new();
        if !self.pending.is_empty() {
            empty = self.round(&mut entries, out)?;
        }
        if self.single() && !self.started {
            self.touch(&[0]);
            self.instant(at, &mut entries, |_| Ok(()))?;
            self.forget_touched();
        }
        entries.emit(&mut self.folds, &self.keys, &self.options.output, out)?;
        for group in empty {
            if !self.single() && self.rows[group as usize] == 0 && self.keys.contains(group) {
                self.free(group);
            }
        }
        Ok(())
    }

    fn free(&mut self, group: u32) {
        self.rows[group as usize] = 0;
        self.folds.iter_mut().for_each(|fold| fold.clear(group));
        self.keys.remove(group);
        if let Some(finality) = &mut self.finality {
            finality.forget(group);
        }
    }
}

impl Operator for Aggregate {
    fn on_delta(&mut self, _: Port, delta: Delta, _: &mut Output) -> Result<()> {
        self.pending.push(delta);
        Ok(())
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        self.complete(at, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        if self.single() && !self.started {
            self.complete(watermark.last_closed(), out)?;
        }
        let Some(finality) = &mut self.finality else { return Ok(()) };
        for (_, group) in finality.close(watermark) {
            self.free(group);
        }
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
        visit(&mut Fixed(self.marks.memory()));
        visit(&mut Deltas(&mut self.pending));
        visit(&mut Value(&mut self.started));
        self.folds.iter_mut().for_each(|fold| fold.stores(visit));
        self.finality.iter_mut().for_each(|finality| finality.stores(visit));
        visit(&mut self.keys);
    }

    fn loaded(&mut self) {
        self.grow();
    }
}

/// Returns the end of the run of rows that begins at `from` and has its instant.
fn end_of_instant(delta: &Delta, from: usize) -> usize {
    match delta.ts() {
        Instants::All(_) => delta.len(),
        Instants::Each(ts) => {
            let ts = &ts.values()[from..];
            from + ts.iter().position(|t| *t != ts[0]).unwrap_or(ts.len())
        }
    }
}
