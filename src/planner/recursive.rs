//! WITH RECURSIVE: what Postgres refuses of its recursive term.
//!
//! # Semantics
//! The columns have the types of the non-recursive term, numerics those of one without digits; a
//! recursive term that would need a wider one is refused (42804), where DataFusion casts it. The
//! term names the query once, and not in an aggregate, a subquery or the padded side of an outer
//! join (42P19): its rows are those of the last round alone, so such a value would mean nothing.
//!
//! # Why
//! A cast that DataFusion adds looks like one of the user. So what the user has written is marked
//! before it is planned, by a call of [`MARK`], and the marks go when the types have been seen.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, RecursiveQuery};
use sqlparser::ast::{self, SelectItem, SetExpr, SetOperator, Visit, Visitor};

use super::error::{Error, Result};
use crate::error::SqlState;
use crate::sql::names::fold;
use crate::sql::types::pg_type_name;

/// The function that marks what the user has written.
pub(super) const MARK: &str = "$recursive";

/// The function that gives a numeric the digits of one that is declared without.
pub(super) const WIDE: &str = "$unscaled";

/// Marks the select lists of recursive terms, and those of the other terms as to be widened, by
/// calls that `call` makes.
pub(super) fn mark(query: &mut ast::Query, call: impl Fn(&str, ast::Expr) -> ast::Expr) {
    let Some(with) = query.with.as_mut().filter(|with| with.recursive) else { return };
    for cte in &mut with.cte_tables {
        let name = fold(&cte.alias.name);
        let SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } =
            cte.query.body.as_mut()
        else {
            continue;
        };
        if !names(right, &name) {
            continue;
        }
        match left.as_mut() {
            SetExpr::Select(select) => mark_items(&mut select.projection, WIDE, &call),
            SetExpr::Values(values) => {
                for value in values.rows.iter_mut().flat_map(|row| row.iter_mut()) {
                    mark_expr(value, WIDE, &call);
                }
            }
            _ => {}
        }
        if let SetExpr::Select(select) = right.as_mut() {
            mark_items(&mut select.projection, MARK, &call);
        }
    }
}

fn mark_items(items: &mut [SelectItem], mark: &str, call: &impl Fn(&str, ast::Expr) -> ast::Expr) {
    for item in items {
        // A column keeps its name.
        let name = match item {
            SelectItem::UnnamedExpr(ast::Expr::Identifier(name)) => Some(name.clone()),
            SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(n)) => n.last().cloned(),
            _ => None,
        };
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        mark_expr(expr, mark, call);
        if let Some(alias) = name {
            let null = ast::Expr::Value(ast::Value::Null.into());
            *item = SelectItem::ExprWithAlias { expr: std::mem::replace(expr, null), alias };
        }
    }
}

fn mark_expr(expr: &mut ast::Expr, mark: &str, call: &impl Fn(&str, ast::Expr) -> ast::Expr) {
    let null = ast::Expr::Value(ast::Value::Null.into());
    *expr = call(mark, std::mem::replace(expr, null));
}

/// Whether a query names a relation.
fn names(query: &impl Visit, name: &str) -> bool {
    struct Find<'a>(&'a str);
    impl Visitor for Find<'_> {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
            match relation.0.as_slice() {
                [part] if part.as_ident().is_some_and(|name| fold(name) == self.0) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(query, &mut Find(name)).is_break()
}

/// Refuses what may not be, and removes the marks.
pub(super) fn checked(plan: LogicalPlan) -> Result<LogicalPlan> {
    let (mut queries, mut read) = (BTreeSet::new(), BTreeSet::new());
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::RecursiveQuery(query) = node {
            queries.insert(query.name.clone());
            check_types(query)?;
            check_references(query)?;
        }
        read.extend(last_round(node).map(str::to_owned));
        Ok(TreeNodeRecursion::Continue)
    })?;
    // DataFusion does not see that a query is recursive if only a subquery of it names it.
    if let Some(name) = read.difference(&queries).next() {
        refuse(name, ".. must not appear within a subquery")?;
    }
    if queries.is_empty() {
        return Ok(plan);
    }
    let unmarked = plan.transform_up_with_subqueries(|node| {
        let preserver = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let unmarked = expr.transform_up(|e| match written(&e) {
                Some(written) => Ok(Transformed::yes(written.clone())),
                None => Ok(Transformed::no(e)),
            })?;
            Ok(unmarked.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(unmarked.data)
}

/// What a mark stands around.
fn written(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == MARK => call.args.first(),
        _ => None,
    }
}

fn check_types(query: &RecursiveQuery) -> DfResult<()> {
    let LogicalPlan::Projection(projection) = query.recursive_term.as_ref() else { return Ok(()) };
    let declared = query.static_term.schema().fields();
    for (i, (expr, declared)) in projection.expr.iter().zip(declared).enumerate() {
        let declared = declared.data_type();
        let Some(own) = uncast(expr, projection.input.schema())? else { continue };
        let overall = type_union_coercion(declared, &own).unwrap_or(own);
        if type_name(declared) != type_name(&overall) {
            return Err(Error::Invalid {
                what: format!(
                    "recursive query \"{}\" column {} has type {} in non-recursive term but type \
                     {} overall",
                    query.name,
                    i + 1,
                    type_name(declared),
                    type_name(&overall)
                ),
                sqlstate: SqlState::DATATYPE_MISMATCH,
                hint: Some("Cast the output of the non-recursive term to the correct type.".into()),
            }
            .into());
        }
    }
    Ok(())
}

/// A type's name without its precision.
fn type_name(of: &DataType) -> String {
    let name = pg_type_name(of);
    name.split('(').next().unwrap_or(&name).to_owned()
}

/// The type of an expression without the cast that the user has not written, if it has one.
fn uncast(expr: &Expr, schema: &DFSchema) -> DfResult<Option<DataType>> {
    match expr.clone().unalias() {
        Expr::Cast(cast) => cast.expr.get_type(schema).map(Some),
        _ => Ok(None),
    }
}

/// The recursive query of which a node reads the rows of the last round.
fn last_round(node: &LogicalPlan) -> Option<&str> {
    let LogicalPlan::TableScan(scan) = node else { return None };
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<CteWorkTable>().map(|_| scan.table_name.table())
}

fn refuse(query: &str, what: &str) -> DfResult<()> {
    let what = match what.strip_prefix("..") {
        Some(what) => format!("recursive reference to query \"{query}\"{what}"),
        None => what.to_owned(),
    };
    Err(Error::Invalid { what, sqlstate: SqlState::INVALID_RECURSION, hint: None }.into())
}

fn check_references(query: &RecursiveQuery) -> DfResult<()> {
    let refuse = |what: &str| refuse(&query.name, what);
    let is_it = |node: &LogicalPlan| last_round(node) == Some(&query.name);
    let reads = |plan: &LogicalPlan| plan.exists(|node| Ok(is_it(node)));
    let (mut direct, mut all) = (0, 0);
    query.recursive_term.apply_with_subqueries(|node| {
        all += usize::from(is_it(node));
        Ok(TreeNodeRecursion::Continue)
    })?;
    query.recursive_term.apply(|node| {
        direct += usize::from(is_it(node));
        match node {
            LogicalPlan::Aggregate(aggregate)
                if !aggregate.aggr_expr.is_empty() && reads(&aggregate.input)? =>
            {
                refuse(
                    "aggregate functions are not allowed in a recursive query's recursive term",
                )?;
            }
            LogicalPlan::Join(join) => {
                let padded = match join.join_type {
                    JoinType::Left => reads(&join.right)?,
                    JoinType::Right => reads(&join.left)?,
                    JoinType::Full => reads(&join.left)? || reads(&join.right)?,
                    _ => false,
                };
                if padded {
                    refuse(".. must not appear within an outer join")?;
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if all > direct {
        refuse(".. must not appear within a subquery")?;
    }
    if direct > 1 {
        refuse(".. must not appear more than once")?;
    }
    Ok(())
}
