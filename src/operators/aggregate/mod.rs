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
//! slot (module `fold`). A group is freed with its last row, or when the watermark has passed the time
//! that `frees` names; rows that come for it later are ignored, for its result is final.
//!
//! # Invariants
//! 1. A group is touched at most once per instant: the old result is read before the first change
//!    of the instant, so that nothing emitted needs to be remembered.
//! 2. Results that are equal are not emitted.
//! 3. Groups are emitted in the order of their first touch: all old rows, then all new ones.
//!
//! # Cost
//! Per row one hash of the key and one update per call; per instant two reads per touched group and
//! call.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::evaluate::{Expressions, truths};
use super::finality::{Finality, Frees};
use super::{Instantwise, Operator, Output, Port, Result, StateReader, StateWriter};
use crate::delta::{Delta, Weights};
use crate::storage::RowSet;
use crate::time::{Timestamp, Watermark};
use fold::{Changes, Fold};
use results::Results;

mod best;
mod count;
mod distinct;
mod exact;
mod extremum;
mod fold;
mod other;
mod results;
mod save;
mod saved;
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
    /// By slot: whether the group was touched in this instant.
    touched: Vec<bool>,
    /// Touched groups in order.
    order: Vec<u32>,
    /// What the touched groups that were visible had as results before the instant.
    old: Vec<Results>,
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
    fn arguments(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let all = self.function.all_expressions();
        all.args.into_iter().chain(all.order_by_exprs).collect()
    }
}

impl Aggregate {
    /// Old results are read before an instant's first change, so instants must come one by one.
    pub const INSTANTS: Instantwise = Instantwise::One;

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
            touched: Vec::new(),
            order: Vec::new(),
            old: Vec::new(),
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
        self.touched.resize(bound, false);
        self.folds.iter_mut().for_each(|fold| fold.grow(bound));
    }

    /// Marks groups as touched, and reads the results of those that are visible.
    fn touch(&mut self, groups: &[u32]) -> Result<()> {
        let from = self.order.len();
        for group in groups {
            if !self.touched[*group as usize] {
                self.touched[*group as usize] = true;
                self.order.push(*group);
            }
        }
        let fresh = &self.order[from..];
        let visible: Vec<u32> =
            fresh.iter().copied().filter(|group| self.visible(*group)).collect();
        if !visible.is_empty() {
            self.old.push(Results::read(&mut self.folds, visible)?);
        }
        Ok(())
    }

    /// Folds rows into their groups.
    fn fold(&mut self, groups: &[u32], delta: &Delta, columns: &[ArrayRef]) -> Result<()> {
        let weights = match delta.weights() {
            Weights::Ones => None,
            Weights::Each(weights) => Some(&weights.values()[..]),
        };
        for (i, group) in groups.iter().enumerate() {
            self.rows[*group as usize] += weights.map_or(1, |weights| weights[i]);
        }
        for (fold, input) in self.folds.iter_mut().zip(&self.inputs) {
            let values: Vec<ArrayRef> =
                input.arguments.iter().map(|argument| Arc::clone(&columns[*argument])).collect();
            let changes = Changes { groups, weights, values: &values };
            match input.filter {
                None => fold.fold(&changes)?,
                Some(filter) => {
                    changes.filtered(&truths(&columns[filter]), |changes| fold.fold(changes))?;
                }
            }
        }
        Ok(())
    }

    /// Emits what has changed since the last instant, and frees groups without rows.
    fn emit(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        if self.single() && !self.started {
            self.touch(&[0])?;
            self.started = true;
        }
        if self.order.is_empty() {
            return Ok(());
        }
        let order = std::mem::take(&mut self.order);
        let old = Results::concat(std::mem::take(&mut self.old), &self.options)?;
        let visible = order.iter().copied().filter(|group| self.visible(*group)).collect();
        let new = Results::read(&mut self.folds, visible)?;
        results::emit_changes(
            &old,
            &new,
            &order,
            results::Emission { keys: &self.keys, options: &self.options, at, out },
        )?;
        for group in order {
            self.touched[group as usize] = false;
            if self.rows[group as usize] == 0 && !self.single() {
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
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let (mut delta, mut columns) = self.expressions.evaluate(delta, out)?;
        if let Some(finality) = &self.finality
            && let Some(keep) = finality.open(&columns)?
        {
            delta = delta.filter(&keep)?;
            let kept = columns.iter().map(|column| arrow::compute::filter(column, &keep));
            columns = kept.collect::<std::result::Result<_, _>>()?;
        }
        let groups = self.keys.intern(&columns[..self.options.groups.len()], delta.len())?;
        self.grow();
        if let Some(finality) = &mut self.finality {
            finality.watch(&groups, &columns)?;
        }
        self.touch(&groups)?;
        self.fold(&groups, &delta, &columns)
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        self.emit(at, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        if self.single() && !self.started {
            self.emit(watermark.last_closed(), out)?;
        }
        let Some(finality) = &mut self.finality else { return Ok(()) };
        for (_, group) in finality.close(watermark) {
            self.free(group);
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
