//! GROUPING SETS, ROLLUP and CUBE.
//!
//! # Semantics
//! Every row belongs to a group of each set: the keys of the set, NULL for those that are not in
//! it, and the set's number, which is what GROUPING() reads. So they are one aggregate over rows
//! that are repeated once per set ([`super::plan::Op::Expand`]). The set `()` is the aggregate
//! without GROUP BY, which has a row also over no rows; it stands beside the others in a UNION ALL.
//!
//! The number of a set has a bit per key, the first key the highest, 1 where the key is missing;
//! above these bits it counts sets that are given more than once.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder, Union, cast, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;

use super::decorrelate::named;
use super::derive;
use super::error::Error;
use super::lower::Lowering;
use super::plan::{Node, Op};

/// Puts the set `()` beside the others.
#[derive(Debug)]
pub struct EmptyGroupingSets;

impl AnalyzerRule for EmptyGroupingSets {
    fn name(&self) -> &str {
        "empty_grouping_sets"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate) => match split(&aggregate)? {
                Some(plan) => Ok(Transformed::yes(plan)),
                None => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
            },
            other => Ok(Transformed::no(other)),
        })?;
        Ok(rewritten.data)
    }
}

/// The sets of an aggregate, each with its number, and the keys in order.
pub(super) struct Sets {
    /// All keys, as columns of the result.
    pub(super) keys: Vec<Expr>,
    /// Per set: the keys that are in it, and its number.
    pub(super) sets: Vec<(Vec<Expr>, u64)>,
}

/// Returns the grouping sets of an aggregate, if it has any.
pub(super) fn sets_of(aggregate: &Aggregate) -> Result<Option<Sets>> {
    let [Expr::GroupingSet(set)] = aggregate.group_expr.as_slice() else { return Ok(None) };
    let keys: Vec<Expr> =
        grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
    let lists: Vec<Vec<Expr>> = match set {
        GroupingSet::Rollup(keys) => (0..=keys.len()).rev().map(|n| keys[..n].to_vec()).collect(),
        GroupingSet::Cube(keys) => {
            let chosen = |set: usize| {
                let keys = keys.iter().enumerate().filter(|(i, _)| set & (1 << i) != 0);
                keys.map(|(_, key)| key.clone()).collect()
            };
            (0..1usize << keys.len()).rev().map(chosen).collect()
        }
        GroupingSet::GroupingSets(lists) => lists.clone(),
    };
    let mut sets: Vec<(Vec<Expr>, u64)> = Vec::new();
    let mut masks: Vec<u64> = Vec::new();
    for list in lists {
        let mask = keys.iter().fold(0, |mask, key| mask << 1 | u64::from(!list.contains(key)));
        let before = masks.iter().filter(|other| **other == mask).count() as u64;
        masks.push(mask);
        sets.push((list, before << keys.len() | mask));
    }
    Ok(Some(Sets { keys, sets }))
}

impl Lowering {
    /// The keys of an aggregate over rows that are repeated for every grouping set, if it has any.
    pub(super) fn grouped(&self, input: Node, aggregate: &Aggregate) -> Result<Grouped, Error> {
        let schema = aggregate.input.schema();
        let Some(sets) = sets_of(aggregate)? else {
            // A key that is grouped by twice is one column of the result.
            let mut keys: Vec<Expr> = Vec::new();
            for key in &aggregate.group_expr {
                if !keys.contains(key) {
                    keys.push(key.clone());
                }
            }
            return Ok((input, self.exprs(&keys, schema)?));
        };
        let input = self.expand(input, &sets, aggregate)?;
        let columns = input.schema.fields().iter().enumerate().skip(schema.fields().len());
        let keys = columns.map(|(i, field)| Arc::new(PhysicalColumn::new(field.name(), i)) as _);
        let keys = keys.collect();
        Ok((input, keys))
    }

    /// Repeats each row for every grouping set: the columns of the input, then the keys and the
    /// number of the set.
    fn expand(&self, input: Node, sets: &Sets, aggregate: &Aggregate) -> Result<Node, Error> {
        let input_schema = aggregate.input.schema();
        let added = &aggregate.schema.fields()[..=sets.keys.len()];
        let columns: Vec<Expr> = input_schema.columns().into_iter().map(Expr::Column).collect();
        let mut lists = Vec::new();
        for (set, number) in &sets.sets {
            let mut list = columns.clone();
            for (key, field) in sets.keys.iter().zip(added.iter()) {
                let there = set.contains(key);
                list.push(if there { key.clone() } else { null(field.data_type())? });
            }
            list.push(cast(lit(*number), added[sets.keys.len()].data_type().clone()));
            lists.push(self.exprs(&list, input_schema)?);
        }
        let fields = input.schema.fields().iter().chain(added);
        let fields = fields.map(|f| Field::new(f.name(), f.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(derive::node(Op::Expand(lists), vec![input], schema))
    }
}

/// A node and the keys that its rows are grouped by.
type Grouped = (Node, Vec<Arc<dyn PhysicalExpr>>);

/// An aggregate with a set `()` as a union; `None` for all others.
fn split(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let Some(Sets { keys, sets }) = sets_of(aggregate)? else { return Ok(None) };
    let (empty, rest): (Vec<_>, Vec<_>) = sets.into_iter().partition(|(set, _)| set.is_empty());
    if empty.is_empty() {
        return Ok(None);
    }
    let schema = &aggregate.schema;
    let columns = schema.columns();
    let data_type = |column: usize| schema.field(column).data_type().clone();
    let number = |value: u64| cast(lit(value), data_type(keys.len()));
    let mut parts = Vec::new();
    if !rest.is_empty() {
        let lists = rest.iter().map(|(set, _)| set.clone()).collect();
        let sets = Expr::GroupingSet(GroupingSet::GroupingSets(lists));
        let grouped = Aggregate::try_new(
            Arc::clone(&aggregate.input),
            vec![sets],
            aggregate.aggr_expr.clone(),
        )?;
        let grouped = LogicalPlan::Aggregate(grouped);
        let have = grouped.schema().columns().into_iter().zip(&columns).enumerate();
        let exprs = have.map(|(i, (old, new))| {
            let column = Expr::Column(old);
            let column = if i == keys.len() { cast(column, data_type(i)) } else { column };
            named(column, new.clone())
        });
        let exprs = exprs.collect::<Vec<_>>();
        parts.push(Arc::new(LogicalPlanBuilder::from(grouped).project(exprs)?.build()?));
    }
    for (_, value) in empty {
        // Without aggregates it is one row, whatever the input.
        let whole = match aggregate.aggr_expr.as_slice() {
            [] => LogicalPlanBuilder::empty(true),
            calls => LogicalPlanBuilder::from(aggregate.input.as_ref().clone())
                .aggregate(Vec::<Expr>::new(), calls.to_vec())?,
        };
        let whole = whole.build()?;
        let calls = whole.schema().columns();
        let mut exprs = Vec::new();
        for (i, column) in columns.iter().enumerate() {
            let value = match i.checked_sub(keys.len()) {
                None => null(&data_type(i))?,
                Some(0) => number(value),
                Some(call) => Expr::Column(calls[call - 1].clone()),
            };
            exprs.push(named(value, column.clone()));
        }
        parts.push(Arc::new(LogicalPlanBuilder::from(whole).project(exprs)?.build()?));
    }
    if parts.len() == 1 {
        return Ok(Some(Arc::unwrap_or_clone(parts.swap_remove(0))));
    }
    let union = LogicalPlan::Union(Union::try_new_with_loose_types(parts)?);
    let have: Vec<Column> = union.schema().columns();
    let exprs = have.into_iter().zip(columns).map(|(old, new)| named(Expr::Column(old), new));
    let exprs = exprs.collect::<Vec<_>>();
    Ok(Some(LogicalPlanBuilder::from(union).project(exprs)?.build()?))
}

/// NULL of a type.
pub(super) fn null(of: &DataType) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::try_from(of)?, None))
}
