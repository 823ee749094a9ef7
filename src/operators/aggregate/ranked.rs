//! `mode`, `percentile_disc` and `percentile_cont` of values that come and go.
//!
//! # Semantics
//! As [`crate::functions::ordered_set`].
//!
//! # State
//! All values of each group in order, and for `mode` also by how often they are there.
//!
//! # Cost
//! Per row as an ordered insertion; per touched group a walk over the runs of its values, a
//! two-hundredth of their number.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::fold::{Arguments, Changes, Failure, Fold, Rows};
use super::other::column;
use crate::functions::ordered_set::{
    Fractions, OrderedSet, OrderedSetAggregate, between, continuous, position,
};
use crate::operators::Result;
use crate::storage::{OrderedRows, RowCodec, Visit};

/// An ordered-set aggregate.
pub(super) struct Ranked {
    function: Arc<AggregateFunctionExpr>,
    kind: OrderedSet,
    fractions: Fractions,
    element: DataType,
    codec: RowCodec,
    values: OrderedRows,
    /// By group: number of values.
    counts: Vec<i64>,
    /// For `mode`: values behind how often they are there, most frequent first.
    frequent: OrderedRows,
    recorded: Vec<ScalarValue>,
}

impl Ranked {
    /// The state for a call, if it is of such an aggregate.
    pub(super) fn of_call(
        function: &Arc<AggregateFunctionExpr>,
        argument: &DataType,
    ) -> Result<Option<Self>> {
        let Some(aggregate) = function.fun().inner().downcast_ref::<OrderedSetAggregate>() else {
            return Ok(None);
        };
        // Intervals are ordered by their length, and rows by what intervals are made of.
        if matches!(argument, DataType::Interval(_)) {
            return Ok(None);
        }
        let kind = aggregate.kind();
        Ok(Some(Self {
            kind,
            fractions: Fractions::of_call(&function.expressions())?,
            element: argument.clone(),
            codec: RowCodec::sorted(vec![(argument.clone(), aggregate.order())])?,
            function: Arc::clone(function),
            values: OrderedRows::default(),
            counts: Vec::new(),
            frequent: OrderedRows::default(),
            recorded: Vec::new(),
        }))
    }

    fn change(&mut self, group: u32, bytes: &[u8], weight: i64) {
        let (slot, after) = self.values.add(group, bytes, weight);
        if after == 0 {
            self.values.remove(group, slot);
        }
        self.counts[group as usize] += weight;
        if self.kind == OrderedSet::Mode {
            let before = after - weight;
            for (times, change) in [(before, -1), (after, 1)] {
                if times > 0 {
                    let row = [&(i64::MAX - times).to_be_bytes()[..], bytes].concat();
                    let (slot, sum) = self.frequent.add(group, &row, change);
                    if sum == 0 {
                        self.frequent.remove(group, slot);
                    }
                }
            }
        }
    }

    fn value(&self, group: u32) -> Result<ScalarValue> {
        let count = self.counts[group as usize];
        let decoded = |bytes: &[u8]| -> datafusion::error::Result<ArrayRef> {
            Ok(self.codec.decode(std::iter::once(bytes))?.remove(0))
        };
        let at = |place: i64| {
            let slot = self.values.nth(group, place).expect("a position below the count");
            decoded(self.values.get(slot))
        };
        if self.kind == OrderedSet::Mode {
            return match self.frequent.first(group) {
                Some(slot) => {
                    let value = decoded(&self.frequent.get(slot)[size_of::<i64>()..])?;
                    Ok(ScalarValue::try_from_array(&value, 0)?)
                }
                None => Ok(ScalarValue::try_from(&self.element)?),
            };
        }
        let number = |place: i64| -> datafusion::error::Result<f64> {
            Ok(at(place)?.as_primitive::<Float64Type>().value(0))
        };
        Ok(self.fractions.result(count <= 0, &self.element, |fraction| match self.kind {
            OrderedSet::PercentileCont => {
                let (low, high, part) = continuous(fraction, count);
                Ok(ScalarValue::Float64(Some(between(number(low)?, number(high)?, part))))
            }
            _ => ScalarValue::try_from_array(&at(position(self.kind, fraction, count))?, 0),
        })?)
    }
}

impl Fold for Ranked {
    fn grow(&mut self, bound: usize) {
        self.counts.resize(bound, 0);
    }

    fn prepare(&self, mut values: Vec<ArrayRef>) -> Result<Arguments> {
        values.truncate(1);
        let encoded = Some(self.codec.encode(&values, values[0].len())?);
        Ok(Arguments { values, encoded })
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let encoded = changes.encoded();
        changes.each(rows, |group, row, weight| {
            let group = u32::try_from(group).expect("groups are u32");
            self.change(group, encoded.get(row), weight);
        });
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
        self.values.clear(group);
        self.frequent.clear(group);
        self.counts[group as usize] = 0;
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.values);
        visit(&mut self.counts);
        visit(&mut self.frequent);
    }
}
