//! Every other aggregate, by DataFusion's accumulators.
//!
//! # Semantics
//! [`Kept`], for input that is never retracted and functions that do not see the order of rows: one
//! accumulator per group. [`Recomputed`]: the argument rows of a group in order
//! ([`super::sorted`]); the value of a touched group is computed from all of them with a fresh
//! accumulator, a row as often as its weight says, with DISTINCT once.
//!
//! # Cost
//! `Recomputed` costs the size of the group at every change of it, once per instant. The last value
//! is kept, so that retracting it costs nothing.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::scalar::ScalarValue;

use super::fold::{Arguments, Changes, Failure, Fold, Rows};
use super::sorted::Sorted;
use crate::operators::Result;
use crate::storage::{Fixed, Misfit, StateReader, StateWriter, Store, Visit};

/// Functions that do not depend on the order of rows and whose accumulators can be read again and
/// again.
const REPEATABLE: [&str; 4] = ["approx_distinct", "bit_and", "bit_or", "bit_xor"];

/// One accumulator per group.
pub(super) struct Kept {
    function: Arc<AggregateFunctionExpr>,
    /// By group; reading an accumulator needs it mutable, also to save it.
    groups: Vec<RefCell<Box<dyn Accumulator>>>,
    recorded: Vec<ScalarValue>,
}

impl Kept {
    /// Whether a call's accumulators may be kept.
    pub(super) fn suits(function: &AggregateFunctionExpr) -> bool {
        let repeatable = REPEATABLE.contains(&function.fun().name());
        repeatable && function.order_bys().is_empty() && !function.is_distinct()
    }

    pub(super) fn new(function: &Arc<AggregateFunctionExpr>) -> Result<Self> {
        // A function that has no accumulator is refused here, and not at the first row.
        function.create_accumulator()?;
        Ok(Self { function: Arc::clone(function), groups: Vec::new(), recorded: Vec::new() })
    }

    /// What the accumulators know, group by group.
    fn states(&self) -> Result<RecordBatch> {
        let fields = self.function.state_fields()?;
        let mut states: Vec<Vec<ScalarValue>> = vec![Vec::new(); fields.len()];
        for group in &self.groups {
            let state = group.borrow_mut().state()?;
            states.iter_mut().zip(state).for_each(|(states, value)| states.push(value));
        }
        let columns = states.into_iter().map(ScalarValue::iter_to_array);
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    fn fresh(&self) -> RefCell<Box<dyn Accumulator>> {
        let accumulator = self.function.create_accumulator();
        RefCell::new(accumulator.expect("an accumulator that was made once can be made again"))
    }
}

impl Fold for Kept {
    fn grow(&mut self, bound: usize) {
        while self.groups.len() < bound {
            self.groups.push(self.fresh());
        }
    }

    fn skips_nulls(&self) -> bool {
        false
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let mut order: Vec<(usize, u32)> = Vec::new();
        changes.each(rows, |group, row, weight| {
            let row = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
            order.extend((0..weight).map(|_| (group, row)));
        });
        // Stable, so that each group's rows stay in arrival order.
        order.sort_by_key(|(group, _)| *group);
        let rows = UInt32Array::from_iter_values(order.iter().map(|(_, row)| *row));
        let values = changes.values().iter().map(|value| compute::take(value, &rows, None));
        let values = values.collect::<std::result::Result<Vec<_>, _>>()?;
        let mut from = 0;
        for part in order.chunk_by(|a, b| a.0 == b.0) {
            let values: Vec<ArrayRef> = values.iter().map(|v| v.slice(from, part.len())).collect();
            self.groups[part[0].0].get_mut().update_batch(&values)?;
            from += part.len();
        }
        Ok(())
    }

    fn record(&mut self, groups: &[u32], _: &mut [Option<Failure>]) -> Result<()> {
        for group in groups {
            self.recorded.push(self.groups[*group as usize].get_mut().evaluate()?);
        }
        Ok(())
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        column(std::mem::take(&mut self.recorded), &self.function)
    }

    fn clear(&mut self, group: u32) {
        self.groups[group as usize] = self.fresh();
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(self);
    }
}

impl Store for Kept {
    fn memory(&self) -> usize {
        self.groups.iter().map(|group| group.borrow().size()).sum()
    }

    fn save(&self, to: &mut StateWriter) -> std::result::Result<(), Misfit> {
        to.put_value(&self.groups.len())?;
        if self.groups.is_empty() {
            return Ok(());
        }
        let states = self.states().map_err(|error| Misfit(error.to_string()))?;
        to.put_rows(&states)
    }

    fn load(&mut self, from: &mut StateReader) -> std::result::Result<(), Misfit> {
        let count = from.take_value()?;
        self.groups.clear();
        self.grow(count);
        if count == 0 {
            return Ok(());
        }
        let states = from.take_rows()?;
        if states.num_rows() != count {
            return Err(Misfit(format!("there are {count} groups and not {}", states.num_rows())));
        }
        for (i, group) in self.groups.iter_mut().enumerate() {
            let state: Vec<ArrayRef> = states.columns().iter().map(|c| c.slice(i, 1)).collect();
            let merged = group.get_mut().merge_batch(&state);
            merged.map_err(|error| Misfit(error.to_string()))?;
        }
        Ok(())
    }
}

/// The rows of each group in order, from which touched groups are computed again.
pub(super) struct Recomputed {
    function: Arc<AggregateFunctionExpr>,
    rows: Sorted,
    /// By group: its value, unless a row has changed since.
    values: Vec<Option<ScalarValue>>,
    recorded: Vec<ScalarValue>,
}

impl Recomputed {
    pub(super) fn new(function: &Arc<AggregateFunctionExpr>, types: &[DataType]) -> Result<Self> {
        function.create_accumulator()?;
        let (rows, function) = (Sorted::new(function, types)?, Arc::clone(function));
        Ok(Self { function, rows, values: Vec::new(), recorded: Vec::new() })
    }

    /// Computes the value of a group from its rows.
    fn compute(&self, group: u32) -> Result<ScalarValue> {
        let columns = self.rows.of(group, self.function.is_distinct())?;
        let mut accumulator = self.function.create_accumulator()?;
        if columns.first().is_some_and(|column| !column.is_empty()) {
            accumulator.update_batch(&columns)?;
        }
        Ok(accumulator.evaluate()?)
    }
}

impl Fold for Recomputed {
    fn grow(&mut self, bound: usize) {
        self.values.resize(bound, None);
    }

    fn skips_nulls(&self) -> bool {
        false
    }

    fn prepare(&self, values: Vec<ArrayRef>) -> Result<Arguments> {
        self.rows.prepare(values)
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let values = &mut self.values;
        changes.each(rows, |group, _, _| values[group] = None);
        self.rows.apply(changes, rows);
        Ok(())
    }

    fn record(&mut self, groups: &[u32], _: &mut [Option<Failure>]) -> Result<()> {
        for group in groups {
            let value = match self.values[*group as usize].take() {
                Some(value) => value,
                None => self.compute(*group)?,
            };
            self.recorded.push(value.clone());
            self.values[*group as usize] = Some(value);
        }
        Ok(())
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        column(std::mem::take(&mut self.recorded), &self.function)
    }

    fn clear(&mut self, group: u32) {
        self.rows.clear(group);
        self.values[group as usize] = None;
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        self.rows.stores(visit);
        let values = self.values.iter().flatten();
        visit(&mut Fixed(values.map(ScalarValue::size).sum()));
    }
}

/// Builds a column of a function's results.
pub(super) fn column(values: Vec<ScalarValue>, of: &AggregateFunctionExpr) -> Result<ArrayRef> {
    let field = of.field();
    if values.is_empty() {
        return Ok(arrow::array::new_empty_array(field.data_type()));
    }
    let column = ScalarValue::iter_to_array(values)?;
    match column.data_type() == field.data_type() {
        true => Ok(column),
        false => Ok(compute::cast(&column, field.data_type())?),
    }
}
