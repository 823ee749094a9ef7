//! Pushes a domain down into a subquery.
//!
//! # Semantics
//! For a domain D of outer values and a plan Q that names them, the result has the columns of D
//! followed by those of Q, and for each row d of D the rows of Q(d). If D is not distinct, Q must
//! be row-wise ([`row_wise`]).

use std::sync::Arc;

use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, Extension, FetchType, Filter, Join, JoinType, Limit, LogicalPlan,
    LogicalPlanBuilder, Operator, SkipType, Union, Unnest, UserDefinedLogicalNodeCore, Values, lit,
};

use super::super::first_rows::{FirstRowsNode, first_rows};
use super::super::over::OverNode;
use super::domain::Domain;
use super::{Names, unsupported};

/// Pushes a domain down into a plan.
pub(super) fn push(domain: &Domain, plan: &LogicalPlan, names: &Names) -> Result<LogicalPlan> {
    if !domain.named_in(plan)? {
        return cross(domain, plan);
    }
    match plan {
        LogicalPlan::Projection(projection) => {
            let input = push(domain, &projection.input, names)?;
            let mut exprs = domain.exprs();
            for (expr, column) in projection.expr.iter().zip(projection.schema.columns()) {
                exprs.push(named(domain.resolve(expr.clone(), plan)?, column));
            }
            LogicalPlanBuilder::from(input).project(exprs)?.build()
        }
        LogicalPlan::Filter(filter) => self::filter(domain, filter, plan, names),
        LogicalPlan::SubqueryAlias(alias) => {
            let input = push(domain, &alias.input, names)?;
            let inner = alias.input.schema().columns().into_iter().zip(alias.schema.columns());
            let columns = inner.map(|(old, new)| named(Expr::Column(old), new));
            let exprs = domain.exprs().into_iter().chain(columns).collect::<Vec<_>>();
            LogicalPlanBuilder::from(input).project(exprs)?.build()
        }
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            single_group(domain, aggregate, plan, names)
        }
        LogicalPlan::Aggregate(aggregate) => {
            if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
                return Err(unsupported("GROUPING SETS"));
            }
            let input = push(domain, &aggregate.input, names)?;
            let mut groups = domain.exprs();
            for group in &aggregate.group_expr {
                groups.push(domain.resolve(group.clone(), plan)?);
            }
            let calls = aggregate.aggr_expr.iter().map(|call| domain.resolve(call.clone(), plan));
            let calls = calls.collect::<Result<Vec<_>>>()?;
            let grouped = LogicalPlanBuilder::from(input).aggregate(groups, calls)?.build()?;
            renamed(grouped, domain, &aggregate.schema)
        }
        LogicalPlan::Distinct(datafusion::logical_expr::Distinct::All(input)) => {
            LogicalPlanBuilder::from(push(domain, input, names)?).distinct()?.build()
        }
        // The order of a subquery's rows is not seen.
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => push(domain, &sort.input, names),
        LogicalPlan::Limit(limit) => self::limit(domain, limit, names),
        LogicalPlan::Join(join) => self::join(domain, join, plan, names),
        LogicalPlan::Union(union) => self::union(domain, union, names),
        LogicalPlan::Values(values) => self::values(domain, values, plan),
        LogicalPlan::Unnest(unnest) => self::unnest(domain, unnest, names),
        LogicalPlan::Extension(extension) => ordered(domain, extension, plan, names),
        LogicalPlan::Distinct(_) => Err(unsupported("DISTINCT ON")),
        _ => Err(unsupported("this construct")),
    }
}

/// Whether what a plan does to a row depends on no other row.
pub(super) fn row_wise(domain: &Domain, plan: &LogicalPlan) -> Result<bool> {
    if !domain.named_in(plan)? {
        return Ok(true);
    }
    Ok(match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Union(_) => {
            let mut all = true;
            for input in plan.inputs() {
                all &= row_wise(domain, input)?;
            }
            all
        }
        LogicalPlan::Values(_) => true,
        _ => false,
    })
}

/// Gives an expression the name of a column.
pub(in crate::planner) fn named(expr: Expr, column: Column) -> Expr {
    match &expr {
        Expr::Column(same) if *same == column => expr,
        _ => expr.alias_qualified(column.relation, column.name),
    }
}

/// Gives the columns behind the domain's the names they have in `schema`.
fn renamed(plan: LogicalPlan, domain: &Domain, schema: &DFSchema) -> Result<LogicalPlan> {
    let have = plan.schema().columns().into_iter().skip(domain.columns.len());
    let columns = have.zip(schema.columns()).map(|(old, new)| named(Expr::Column(old), new));
    let exprs = domain.exprs().into_iter().chain(columns).collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

fn cross(domain: &Domain, plan: &LogicalPlan) -> Result<LogicalPlan> {
    if let LogicalPlan::EmptyRelation(one) = plan
        && one.produce_one_row
        && one.schema.fields().is_empty()
    {
        return Ok(domain.plan.clone());
    }
    LogicalPlanBuilder::from(domain.plan.clone()).cross_join(plan.clone())?.build()
}

/// WHERE. If it equates every column of the domain with an expression over the input, these
/// expressions stand for the domain: what they have beyond it joins with nothing above.
fn filter(
    domain: &Domain,
    filter: &Filter,
    node: &LogicalPlan,
    names: &Names,
) -> Result<LogicalPlan> {
    let conjuncts = split_conjunction_owned(filter.predicate.clone());
    if domain.distinct
        && !domain.named_in(&filter.input)?
        && let Some((values, rest)) = equated(domain, conjuncts, node)?
    {
        let columns = domain.columns.iter().zip(&values);
        let columns = columns.map(|((_, column), value)| value.clone().alias(&column.name));
        let own = filter.input.schema().columns().into_iter().map(Expr::Column);
        let exprs = columns.chain(own).collect::<Vec<_>>();
        let known = values.into_iter().map(|value| value.is_not_null());
        let known = conjunction(known).unwrap_or_else(|| lit(true));
        let input = LogicalPlanBuilder::from(filter.input.as_ref().clone()).filter(known)?;
        let input = input.project(exprs)?;
        let rest = rest.into_iter().map(|e| domain.resolve(e, node)).collect::<Result<Vec<_>>>()?;
        return match conjunction(rest) {
            Some(rest) => input.filter(rest)?.build(),
            None => input.build(),
        };
    }
    let input = push(domain, &filter.input, names)?;
    let predicate = domain.resolve(filter.predicate.clone(), node)?;
    LogicalPlanBuilder::from(input).filter(predicate)?.build()
}

/// For each column of the domain an expression that a conjunct equates with it, and the other
/// conjuncts; nothing unless all have one.
fn equated(
    domain: &Domain,
    conjuncts: Vec<Expr>,
    node: &LogicalPlan,
) -> Result<Option<(Vec<Expr>, Vec<Expr>)>> {
    let mut values: Vec<Option<Expr>> = vec![None; domain.columns.len()];
    let mut rest = Vec::new();
    for conjunct in conjuncts {
        let mut found = None;
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = &conjunct {
            for (one, other) in [(left, right), (right, left)] {
                let Expr::OuterReferenceColumn(_, outer) = one.as_ref() else { continue };
                let at = domain.columns.iter().position(|(of, _)| of == outer);
                let free = at.filter(|at| values[*at].is_none());
                if !domain.named_by(other, node)? && free.is_some() {
                    found = free.map(|at| (at, other.as_ref().clone()));
                }
            }
        }
        match found {
            Some((at, value)) => values[at] = Some(value),
            None => rest.push(conjunct),
        }
    }
    Ok(values.into_iter().collect::<Option<Vec<_>>>().map(|values| (values, rest)))
}

/// An aggregate without GROUP BY has a row for every value of the domain, also over no rows.
fn single_group(
    domain: &Domain,
    aggregate: &Aggregate,
    node: &LogicalPlan,
    names: &Names,
) -> Result<LogicalPlan> {
    let inner = domain.renamed(names)?;
    let input = push(&inner, &aggregate.input, names)?;
    let mark = Column::from_name(names.fresh("m"));
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let columns = columns.chain([lit(true).alias(&mark.name)]).collect::<Vec<_>>();
    let marked = LogicalPlanBuilder::from(input).project(columns)?.build()?;
    let on = domain.columns.iter().zip(&inner.columns);
    let on = on.map(|((_, one), (_, other))| (one.clone(), other.clone()));
    let joined = Domain::join(domain.plan.clone(), marked, JoinType::Left, on, None)?;
    let there = Expr::Column(mark).is_true();
    let mut calls = Vec::new();
    for call in &aggregate.aggr_expr {
        calls.push(guarded(inner.resolve(call.clone(), node)?, &there)?);
    }
    let grouped = LogicalPlanBuilder::from(joined).aggregate(domain.exprs(), calls)?.build()?;
    renamed(grouped, domain, &aggregate.schema)
}

/// Adds a condition to the FILTER of an aggregate call.
fn guarded(call: Expr, condition: &Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let guarded = call.transform_up(|e| match e {
        Expr::AggregateFunction(mut call) => {
            let old = call.params.filter.take();
            let both = match old {
                Some(old) => condition.clone().and(*old),
                None => condition.clone(),
            };
            call.params.filter = Some(Box::new(both));
            Ok(Transformed::yes(Expr::AggregateFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(guarded.data)
}

/// LIMIT keeps the first rows for every value of the domain.
fn limit(domain: &Domain, limit: &Limit, names: &Names) -> Result<LogicalPlan> {
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
        (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return Err(unsupported("a LIMIT that is not a constant"));
    };
    let (below, above) = match limit.input.as_ref() {
        LogicalPlan::Projection(above) if matches!(above.input.as_ref(), LogicalPlan::Sort(_)) => {
            (above.input.as_ref(), Some(above))
        }
        other => (other, None),
    };
    let (input, order): (&LogicalPlan, &[SortExpr]) = match below {
        LogicalPlan::Sort(sort) => (&sort.input, &sort.expr),
        other => (other, &[]),
    };
    let pushed = push(domain, input, names)?;
    let mut keys = Vec::new();
    for by in order {
        let expr = domain.resolve(by.expr.clone(), below)?;
        keys.push(SortExpr { expr, ..by.clone() });
    }
    let columns = pushed.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let rows = (skip, fetch.unwrap_or(usize::MAX), false);
    let first = first_rows(domain.exprs(), keys, rows, pushed)?;
    let kept = LogicalPlanBuilder::from(first).project(columns)?.build()?;
    match above {
        None => Ok(kept),
        Some(above) => {
            let mut exprs = domain.exprs();
            for (expr, column) in above.expr.iter().zip(above.schema.columns()) {
                exprs.push(named(domain.resolve(expr.clone(), &limit.input)?, column));
            }
            LogicalPlanBuilder::from(kept).project(exprs)?.build()
        }
    }
}

fn join(domain: &Domain, join: &Join, node: &LogicalPlan, names: &Names) -> Result<LogicalPlan> {
    let filter = join.filter.clone().map(|f| domain.resolve(f, node)).transpose()?;
    let mut on = Vec::new();
    for (left, right) in &join.on {
        let left = domain.resolve(left.clone(), node)?;
        on.push(left.eq(domain.resolve(right.clone(), node)?));
    }
    let condition = conjunction(on.into_iter().chain(filter)).unwrap_or_else(|| lit(true));
    let keeps_left = matches!(
        join.join_type,
        JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti
    );
    if keeps_left && !domain.named_in(&join.right)? {
        let left = push(domain, &join.left, names)?;
        let builder = LogicalPlanBuilder::from(left);
        return builder.join_on(join.right.as_ref().clone(), join.join_type, [condition])?.build();
    }
    if !keeps_left || !domain.distinct {
        return Err(unsupported("a RIGHT or FULL join"));
    }
    let left = push(domain, &join.left, names)?;
    let inner = domain.renamed(names)?;
    let right = push(&inner, &join.right, names)?;
    let same = domain.columns.iter().zip(&inner.columns);
    let same = same.map(|((_, one), (_, other))| (one.clone(), other.clone()));
    let joined = Domain::join(left, right, join.join_type, same, Some(condition))?;
    let columns = join.schema.columns().into_iter().map(Expr::Column);
    let exprs = domain.exprs().into_iter().chain(columns).collect::<Vec<_>>();
    LogicalPlanBuilder::from(joined).project(exprs)?.build()
}

fn union(domain: &Domain, union: &Union, names: &Names) -> Result<LogicalPlan> {
    let mut all: Option<LogicalPlanBuilder> = None;
    for input in &union.inputs {
        let pushed = push(domain, input, names)?;
        all = Some(match all {
            None => LogicalPlanBuilder::from(pushed),
            Some(before) => before.union(pushed)?,
        });
    }
    let all = all.ok_or_else(|| unsupported("an empty union"))?.build()?;
    renamed(all, domain, &union.schema)
}

/// VALUES: a row of the domain for each of its rows.
fn values(domain: &Domain, values: &Values, node: &LogicalPlan) -> Result<LogicalPlan> {
    let mut all: Option<LogicalPlanBuilder> = None;
    for row in &values.values {
        let mut exprs = domain.exprs();
        for (value, column) in row.iter().zip(values.schema.columns()) {
            exprs.push(named(domain.resolve(value.clone(), node)?, column));
        }
        let rows = LogicalPlanBuilder::from(domain.plan.clone()).project(exprs)?;
        all = Some(match all {
            None => rows,
            Some(before) => before.union(rows.build()?)?,
        });
    }
    let all = all.ok_or_else(|| unsupported("VALUES without rows"))?.build()?;
    renamed(all, domain, &values.schema)
}

fn unnest(domain: &Domain, unnest: &Unnest, names: &Names) -> Result<LogicalPlan> {
    let input = push(domain, &unnest.input, names)?;
    let columns = unnest.exec_columns.clone();
    let options = unnest.options.clone();
    LogicalPlanBuilder::from(input).unnest_columns_with_options(columns, options)?.build()
}

/// OVER and DISTINCT ON, of which every value of the domain has partitions of its own.
fn ordered(
    domain: &Domain,
    extension: &Extension,
    node: &LogicalPlan,
    names: &Names,
) -> Result<LogicalPlan> {
    let of = extension.node.as_any();
    if let Some(over) = of.downcast_ref::<OverNode>() {
        let input = push(domain, &over.input, names)?;
        let calls = over.calls.iter().map(|call| {
            let mut call = domain.resolve(call.clone(), node)?.unalias();
            if let Expr::WindowFunction(function) = &mut call {
                function.params.partition_by.extend(domain.exprs());
            }
            Ok(call)
        });
        let calls = (calls.collect::<Result<Vec<_>>>()?, over.excludes.clone());
        let ties = over.ties.iter().map(|tie| domain.resolve(tie.clone(), node));
        let over = OverNode::new(calls, ties.collect::<Result<_>>()?, input)?;
        let over = LogicalPlan::Extension(Extension { node: Arc::new(over) });
        return renamed(over, domain, node.schema());
    }
    let Some(first) = of.downcast_ref::<FirstRowsNode>() else {
        return Err(unsupported("this construct"));
    };
    let input = push(domain, &first.input, names)?;
    let exprs = first.expressions().into_iter().map(|expr| domain.resolve(expr, node));
    let resolved = first.with_exprs_and_inputs(exprs.collect::<Result<_>>()?, vec![input])?;
    let partition = resolved.partition.iter().cloned().chain(domain.exprs()).collect();
    let first = FirstRowsNode { partition, ..resolved };
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(first) }))
}
