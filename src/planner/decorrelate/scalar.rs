//! Subqueries in expressions: their values as columns.
//!
//! A scalar subquery is brought into the form of an expression over aggregates without GROUP BY:
//! `count(*)` for EXISTS, [`SingleValue`] where nothing else says that there is one row only.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, FetchType, JoinType, LogicalPlan, LogicalPlanBuilder,
    SkipType, lit, when,
};

use super::Names;
use super::domain::{Domain, references};
use super::push::push;
use crate::functions::single_value::SingleValue;

/// A subquery's value: an expression over aggregates of the rows of a plan.
struct Form {
    /// The aggregate calls.
    calls: Vec<Expr>,
    /// What they are computed over.
    input: LogicalPlan,
    /// The value; `calls[i]` stands in it as the column that `column(i)` is.
    value: Expr,
    /// The name of the columns for calls.
    prefix: String,
}

impl Form {
    fn column(&self, call: usize) -> Column {
        Column::from_name(format!("{}.{call}", self.prefix))
    }
}

/// Joins a subquery to the input of the node it stands in; returns the new input and the value.
pub(super) fn join(
    outer: &LogicalPlan,
    subquery: Expr,
    names: &Names,
) -> Result<(LogicalPlan, Expr)> {
    let prefix = names.fresh("s");
    let form = match subquery {
        Expr::Exists(exists) => exists_form(&exists.subquery.subquery, exists.negated, prefix),
        Expr::ScalarSubquery(scalar) => scalar_form(&scalar.subquery, prefix)?,
        other => return exec_err!("{other} is no subquery"),
    };
    let value = outer_columns(form.value.clone(), outer)?;
    let found = references(&form.input, outer)?;
    let in_calls = LogicalPlanBuilder::from(form.input.clone())
        .aggregate(Vec::<Expr>::new(), form.calls.clone())?
        .build()?;
    let mut columns = found;
    for column in references(&in_calls, outer)? {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    if columns.is_empty() {
        let named = named_calls(in_calls, &form, &[])?;
        let joined = LogicalPlanBuilder::from(outer.clone()).cross_join(named)?.build()?;
        return Ok((joined, value));
    }
    let domain = Domain::distinct(outer, columns, names)?;
    let pushed = push(&domain, &form.input, names)?;
    let calls = form.calls.iter().map(|call| domain.resolve(call.clone(), &in_calls));
    let calls = calls.collect::<Result<Vec<_>>>()?;
    let grouped = LogicalPlanBuilder::from(pushed).aggregate(domain.exprs(), calls)?.build()?;
    let named = named_calls(grouped, &form, &domain.exprs())?;
    let on = domain.columns.clone();
    let joined = Domain::join(outer.clone(), named, JoinType::Left, on, None)?;
    // Where the join finds nothing the subquery has no rows.
    let mut over_nothing = Vec::new();
    for (i, call) in form.calls.iter().enumerate() {
        let empty = value_over_nothing(call, &form.input)?;
        over_nothing.push((form.column(i), empty));
    }
    let value = value.transform_up(|e| match &e {
        Expr::Column(column) => {
            let empty = over_nothing.iter().find(|(of, _)| of == column).map(|(_, v)| v.clone());
            match empty.filter(|value| !value.is_null()) {
                Some(empty) => Ok(Transformed::yes(
                    when(e.clone().is_null(), lit(empty)).otherwise(e.clone())?,
                )),
                None => Ok(Transformed::no(e)),
            }
        }
        _ => Ok(Transformed::no(e)),
    })?;
    Ok((joined, value.data))
}

/// Outer columns that the value itself names are columns of the input.
fn outer_columns(value: Expr, outer: &LogicalPlan) -> Result<Expr> {
    let resolved = value.transform_up(|e| match e {
        Expr::OuterReferenceColumn(_, column) if outer.schema().has_column(&column) => {
            Ok(Transformed::yes(Expr::Column(column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(resolved.data)
}

/// Gives the calls of an aggregate the names under which the value has them.
fn named_calls(aggregate: LogicalPlan, form: &Form, keys: &[Expr]) -> Result<LogicalPlan> {
    let calls = aggregate.schema().columns().into_iter().skip(keys.len());
    let calls = calls.enumerate();
    let calls = calls.map(|(i, column)| Expr::Column(column).alias(form.column(i).name));
    let exprs = keys.iter().cloned().chain(calls).collect::<Vec<_>>();
    LogicalPlanBuilder::from(aggregate).project(exprs)?.build()
}

/// The value of an aggregate call over no rows.
fn value_over_nothing(call: &Expr, input: &LogicalPlan) -> Result<ScalarValue> {
    let Expr::AggregateFunction(function) = call.clone().unalias() else {
        return ScalarValue::try_from(&call.get_type(input.schema())?);
    };
    function.func.default_value(&call.get_type(input.schema())?)
}

fn exists_form(plan: &LogicalPlan, negated: bool, prefix: String) -> Form {
    let mut input = plan;
    loop {
        input = match input {
            LogicalPlan::Sort(sort) => &sort.input,
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Limit(limit) if keeps_a_row(limit) => &limit.input,
            _ => break,
        };
    }
    let mut form =
        Form { calls: vec![count(lit(1_i64))], input: input.clone(), value: lit(true), prefix };
    let rows = Expr::Column(form.column(0));
    form.value = if negated { rows.eq(lit(0_i64)) } else { rows.gt(lit(0_i64)) };
    form
}

/// Whether LIMIT lets a first row through.
fn keeps_a_row(limit: &datafusion::logical_expr::Limit) -> bool {
    let skips = matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)));
    let fetches = !matches!(
        limit.get_fetch_type(),
        Ok(FetchType::Literal(Some(0)) | FetchType::UnsupportedExpr)
    );
    skips && fetches
}

fn scalar_form(plan: &LogicalPlan, prefix: String) -> Result<Form> {
    if let Some(form) = aggregate_form(plan, &prefix)? {
        return Ok(form);
    }
    let column = Expr::Column(Column::from(plan.schema().qualified_field(0)));
    let single = Arc::new(AggregateUDF::from(SingleValue::default()));
    let mut form = Form {
        calls: vec![single.call(vec![column])],
        input: plan.clone(),
        value: lit(true),
        prefix,
    };
    form.value = Expr::Column(form.column(0));
    Ok(form)
}

/// The form of a subquery that is an aggregate without GROUP BY already, with HAVING or not.
fn aggregate_form(plan: &LogicalPlan, prefix: &str) -> Result<Option<Form>> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(None) };
    let (having, below) = match projection.input.as_ref() {
        LogicalPlan::Filter(filter) => (Some(filter.predicate.clone()), filter.input.as_ref()),
        other => (None, other),
    };
    let LogicalPlan::Aggregate(aggregate) = below else { return Ok(None) };
    if !aggregate.group_expr.is_empty() {
        return Ok(None);
    }
    let mut form = Form {
        calls: aggregate.aggr_expr.clone(),
        input: aggregate.input.as_ref().clone(),
        value: lit(true),
        prefix: prefix.to_owned(),
    };
    let outputs = aggregate.schema.columns();
    let over_calls = |expr: Expr| -> Result<Expr> {
        let replaced = expr.transform_up(|e| match &e {
            Expr::Column(column) => match outputs.iter().position(|output| output == column) {
                Some(i) => Ok(Transformed::yes(Expr::Column(form.column(i)))),
                None => Ok(Transformed::no(e)),
            },
            _ => Ok(Transformed::no(e)),
        })?;
        Ok(replaced.data)
    };
    let value = over_calls(projection.expr[0].clone().unalias())?;
    form.value = match having {
        None => value,
        Some(condition) => when(over_calls(condition)?, value).end()?,
    };
    Ok(Some(form))
}
