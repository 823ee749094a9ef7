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
//!
//! What is marked as a value of the group (`OF_GROUP`) stands within an aggregate: there, too,
//! keys are NULL that are not in the set. Then every set is an aggregate of its own.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::{DataFusionError, Result};
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
use crate::error::SqlState;

/// The function that marks a value of the group among those of its rows.
pub(super) const OF_GROUP: &str = "$of_group";

/// Puts the set `()` beside the others, and fixes what is of the group.
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

/// An aggregate with sets that stand alone as a union; `None` for all others.
fn split(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let Some(Sets { keys, sets }) = sets_of(aggregate)? else {
        checked(aggregate)?;
        return Ok(None);
    };
    let of_group =
        aggregate.aggr_expr.iter().map(has_value_of_group).collect::<Result<Vec<_>>>()?;
    let of_group = of_group.contains(&true);
    let (alone, rest): (Vec<_>, Vec<_>) =
        sets.into_iter().partition(|(set, _)| set.is_empty() || of_group);
    if alone.is_empty() {
        return Ok(None);
    }
    let schema = &aggregate.schema;
    let columns = schema.columns();
    let data_type = |column: usize| schema.field(column).data_type().clone();
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
    for (set, number) in alone {
        parts.push(Arc::new(stands_alone(aggregate, &keys, (&set, number))?));
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

/// The groups of one set, given with its number, in the columns of all sets.
fn stands_alone(
    aggregate: &Aggregate,
    keys: &[Expr],
    (set, number): (&[Expr], u64),
) -> Result<LogicalPlan> {
    let mut group: Vec<Expr> = Vec::new();
    for key in set {
        if !group.contains(key) {
            group.push(key.clone());
        }
    }
    let calls = aggregate.aggr_expr.iter().map(|call| of_group(aggregate, call, (keys, &group)));
    let calls = calls.collect::<Result<Vec<_>>>()?;
    // Without keys and aggregates it is one row, whatever the input.
    let whole = match (group.as_slice(), calls.as_slice()) {
        ([], []) => LogicalPlanBuilder::empty(true).build()?,
        _ => LogicalPlan::Aggregate(Aggregate::try_new(
            Arc::clone(&aggregate.input),
            group.clone(),
            calls,
        )?),
    };
    let have = whole.schema().columns();
    let mut exprs = Vec::new();
    for (i, column) in aggregate.schema.columns().into_iter().enumerate() {
        let data_type = aggregate.schema.field(i).data_type();
        let value = match (keys.get(i), i.checked_sub(keys.len() + 1)) {
            (Some(key), _) => match group.iter().position(|other| other == key) {
                Some(place) => Expr::Column(have[place].clone()),
                None => null(data_type)?,
            },
            (None, None) => cast(lit(number), data_type.clone()),
            (None, Some(call)) => Expr::Column(have[group.len() + call].clone()),
        };
        exprs.push(named(value, column));
    }
    LogicalPlanBuilder::from(whole).project(exprs)?.build()
}

fn value_of_group(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == OF_GROUP => call.args.first(),
        _ => None,
    }
}

fn has_value_of_group(call: &Expr) -> Result<bool> {
    call.exists(|expr| Ok(value_of_group(expr).is_some()))
}

/// A call of an aggregate in which the values of the group are those of the groups of a set.
fn of_group(aggregate: &Aggregate, call: &Expr, (keys, set): (&[Expr], &[Expr])) -> Result<Expr> {
    let fixed = call.clone().transform_up(|expr| {
        let Some(value) = value_of_group(&expr) else { return Ok(Transformed::no(expr)) };
        let value = value.clone().transform_down(|expr| {
            if set.contains(&expr) {
                return Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
            }
            if let Some(key) = keys.iter().position(|key| *key == expr) {
                let null = null(aggregate.schema.field(key).data_type())?;
                return Ok(Transformed::new(null, true, TreeNodeRecursion::Jump));
            }
            match expr {
                Expr::Column(column) => Err(ungrouped(&column)),
                other => Ok(Transformed::no(other)),
            }
        })?;
        Ok(Transformed::yes(value.data))
    })?;
    Ok(fixed.data)
}

/// Refuses a value of the group that is none, where there is one set.
fn checked(aggregate: &Aggregate) -> Result<()> {
    for call in &aggregate.aggr_expr {
        if has_value_of_group(call)? {
            of_group(aggregate, call, (&[], &aggregate.group_expr))?;
        }
    }
    Ok(())
}

fn ungrouped(column: &Column) -> DataFusionError {
    let what = format!(
        "column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function",
        column.flat_name()
    );
    let hint = "Direct arguments of an ordered-set aggregate must use only grouped columns.";
    let (sqlstate, hint) = (SqlState::GROUPING_ERROR, Some(hint.to_owned()));
    Error::Invalid { what, sqlstate, hint }.into()
}

/// NULL of a type.
pub(super) fn null(of: &DataType) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::try_from(of)?, None))
}
