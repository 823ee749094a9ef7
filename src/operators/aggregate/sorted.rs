//! The argument rows of a call in order: its ORDER BY, then the arguments themselves.
//!
//! # Semantics
//! An ordered multiset per group. Where ORDER BY leaves a tie, or there is none, the arguments
//! decide, ascending with NULLs last: the order is a function of the rows alone, whatever the way
//! and the order in which they came.
//!
//! [`Ends`] is `first_value` and `last_value` over it, which look at one end; [`Single`] the value
//! of a scalar subquery, which must be the only one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::fold::{Arguments, Changes, Failure, Fold, Rows};
use super::other::column;
use crate::operators::Result;
use crate::storage::{OrderedRows, RowCodec, Visit};

/// Argument rows per group, in order.
pub(super) struct Sorted {
    /// Columns: ORDER BY, then the arguments.
    codec: RowCodec,
    rows: OrderedRows,
    /// Number of ORDER BY columns.
    orders: usize,
}

impl Sorted {
    /// No rows; `types` are those of the arguments, then of ORDER BY.
    pub(super) fn new(function: &AggregateFunctionExpr, types: &[DataType]) -> Result<Self> {
        let order_bys = function.order_bys();
        let (arguments, orders) = types.split_at(types.len() - order_bys.len());
        let by = orders.iter().zip(order_bys).map(|(of, by)| (of.clone(), by.options));
        let last = SortOptions { descending: false, nulls_first: false };
        let ties = arguments.iter().map(|of| (of.clone(), last));
        let codec = RowCodec::sorted(by.chain(ties).collect())?;
        Ok(Self { codec, rows: OrderedRows::default(), orders: order_bys.len() })
    }

    /// Shows what it keeps.
    pub(super) fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.rows);
    }

    /// Encodes arguments, which stand before what they are ordered by.
    pub(super) fn prepare(&self, values: Vec<ArrayRef>) -> Result<Arguments> {
        let len = values.first().map_or(0, |value| value.len());
        let mut ordered = values.clone();
        ordered.rotate_right(self.orders);
        Ok(Arguments { values, encoded: Some(self.codec.encode(&ordered, len)?) })
    }

    pub(super) fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) {
        let encoded = changes.encoded();
        changes.each(rows, |group, row, weight| {
            self.add(u32::try_from(group).expect("groups are u32"), encoded.get(row), weight);
        });
    }

    fn add(&mut self, group: u32, bytes: &[u8], weight: i64) {
        let (slot, sum) = self.rows.add(group, bytes, weight);
        if sum == 0 {
            self.rows.remove(group, slot);
        }
    }

    /// The rows of a group as columns: arguments, then what they are ordered by.
    pub(super) fn of(&self, group: u32, distinct: bool) -> Result<Vec<ArrayRef>> {
        let slots = self.rows.of(group).flat_map(|slot| {
            let times = usize::try_from(self.rows.weight(slot)).unwrap_or(0);
            std::iter::repeat_n(slot, if distinct { times.min(1) } else { times })
        });
        let mut columns = self.codec.decode(slots.map(|slot| self.rows.get(slot)))?;
        columns.rotate_left(self.orders);
        Ok(columns)
    }

    pub(super) fn clear(&mut self, group: u32) {
        self.rows.clear(group);
    }
}

/// `first_value` or `last_value`.
pub(super) struct Ends {
    function: Arc<AggregateFunctionExpr>,
    rows: Sorted,
    last: bool,
    element: DataType,
    recorded: Vec<ScalarValue>,
}

impl Ends {
    pub(super) fn new(function: &Arc<AggregateFunctionExpr>, types: &[DataType]) -> Result<Self> {
        let last = function.fun().name() == "last_value";
        let (rows, element) = (Sorted::new(function, types)?, types[0].clone());
        let function = Arc::clone(function);
        Ok(Self { function, rows, last, element, recorded: Vec::new() })
    }

    fn value(&self, group: u32) -> Result<ScalarValue> {
        let rows = &self.rows.rows;
        let there = |slot: &u32| rows.weight(*slot) > 0;
        let slot =
            if self.last { rows.reversed(group).find(there) } else { rows.of(group).find(there) };
        match slot {
            None => Ok(ScalarValue::try_from(&self.element)?),
            Some(slot) => {
                let columns = self.rows.codec.decode(std::iter::once(rows.get(slot)))?;
                Ok(ScalarValue::try_from_array(&columns[self.rows.orders], 0)?)
            }
        }
    }
}

impl Fold for Ends {
    fn grow(&mut self, _: usize) {}

    fn skips_nulls(&self) -> bool {
        self.function.ignore_nulls()
    }

    fn prepare(&self, values: Vec<ArrayRef>) -> Result<Arguments> {
        self.rows.prepare(values)
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        self.rows.apply(changes, rows);
        Ok(())
    }

    fn record(&mut self, groups: &[u32], _: &mut [Option<Failure>]) -> Result<()> {
        for group in groups {
            let value = self.value(*group)?;
            self.recorded.push(value);
        }
        Ok(())
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        column(std::mem::take(&mut self.recorded), &self.function)
    }

    fn clear(&mut self, group: u32) {
        self.rows.clear(group);
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        self.rows.stores(visit);
    }
}

/// The value of the only row; a group of more has failed.
pub(super) struct Single {
    rows: Ends,
    /// By group: number of rows.
    counts: Vec<i64>,
}

impl Single {
    pub(super) fn new(function: &Arc<AggregateFunctionExpr>, types: &[DataType]) -> Result<Self> {
        Ok(Self { rows: Ends::new(function, types)?, counts: Vec::new() })
    }
}

impl Fold for Single {
    fn grow(&mut self, bound: usize) {
        self.counts.resize(bound, 0);
    }

    fn skips_nulls(&self) -> bool {
        false
    }

    fn prepare(&self, values: Vec<ArrayRef>) -> Result<Arguments> {
        self.rows.prepare(values)
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let counts = &mut self.counts;
        changes.each(rows, |group, _, weight| counts[group] += weight);
        self.rows.apply(changes, rows)
    }

    fn record(&mut self, groups: &[u32], failed: &mut [Option<Failure>]) -> Result<()> {
        for (group, failed) in groups.iter().zip(failed.iter_mut()) {
            if self.counts[*group as usize] > 1 {
                *failed = Some(Failure::MoreThanOneRow);
            }
        }
        self.rows.record(groups, failed)
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        self.rows.recorded()
    }

    fn clear(&mut self, group: u32) {
        self.counts[group as usize] = 0;
        self.rows.clear(group);
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        self.rows.stores(visit);
        visit(&mut self.counts);
    }
}
