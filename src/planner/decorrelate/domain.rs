//! The outer columns that a subquery names, and the relation of their values.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery};

use super::Names;

/// A relation of values of outer columns, to be pushed down into a subquery.
#[derive(Clone, Debug)]
pub(super) struct Domain {
    /// The relation.
    pub(super) plan: LogicalPlan,
    /// Outer columns, and the columns of `plan` that stand for them.
    pub(super) columns: Vec<(Column, Column)>,
    /// Whether `plan` has no row twice and may be replaced by what has more of them.
    pub(super) distinct: bool,
}

/// Returns the columns of `outer` that a subquery names, in order of appearance.
pub(super) fn references(subquery: &LogicalPlan, outer: &LogicalPlan) -> Result<Vec<Column>> {
    let mut found: Vec<Column> = Vec::new();
    visit(subquery, &mut |column| {
        if outer.schema().has_column(column) && !found.contains(column) {
            found.push(column.clone());
        }
    })?;
    Ok(found)
}

/// Whether a subquery names any outer column.
pub(super) fn correlated(subquery: &LogicalPlan) -> Result<bool> {
    let mut any = false;
    visit(subquery, &mut |_| any = true)?;
    Ok(any)
}

/// Calls `f` for each column that a plan takes from outside. What a subquery in an expression takes
/// from the node it stands in is not from outside.
fn visit(plan: &LogicalPlan, f: &mut impl FnMut(&Column)) -> Result<()> {
    visit_within(plan, &[], f)
}

fn visit_within(
    plan: &LogicalPlan,
    around: &[&LogicalPlan],
    f: &mut dyn FnMut(&Column),
) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            visit_expr(expr, node, around, f)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(())
}

fn visit_expr(
    expr: &Expr,
    node: &LogicalPlan,
    around: &[&LogicalPlan],
    f: &mut dyn FnMut(&Column),
) -> Result<()> {
    expr.apply(|e| {
        if let Expr::OuterReferenceColumn(_, column) = e
            && !around.iter().any(|node| gives(node, column))
        {
            f(column);
        }
        if let Some(subquery) = subquery_of(e) {
            let around: Vec<&LogicalPlan> = around.iter().copied().chain([node]).collect();
            visit_within(&subquery.subquery, &around, f)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Whether subqueries in a node's expressions may take a column from it.
fn gives(node: &LogicalPlan, column: &Column) -> bool {
    node.inputs().iter().any(|input| input.schema().has_column(column))
}

fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(within) => Some(&within.subquery),
        Expr::SetComparison(comparison) => Some(&comparison.subquery),
        _ => None,
    }
}

fn subquery_of_mut(expr: &mut Expr) -> Option<&mut Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&mut exists.subquery),
        Expr::InSubquery(within) => Some(&mut within.subquery),
        Expr::SetComparison(comparison) => Some(&mut comparison.subquery),
        _ => None,
    }
}

impl Domain {
    /// The distinct values of some columns of a plan.
    pub(super) fn distinct(
        outer: &LogicalPlan,
        columns: Vec<Column>,
        names: &Names,
    ) -> Result<Self> {
        let columns: Vec<(Column, Column)> = columns
            .into_iter()
            .map(|column| (column, Column::from_name(names.fresh("d"))))
            .collect();
        let exprs = columns.iter().map(|(of, name)| Expr::Column(of.clone()).alias(&name.name));
        let exprs = exprs.collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(outer.clone()).project(exprs)?.distinct()?.build()?;
        Ok(Self { plan, columns, distinct: true })
    }

    /// All rows of a plan, their columns renamed.
    pub(super) fn whole(outer: &LogicalPlan, names: &Names) -> Result<Self> {
        let columns = outer.schema().columns().into_iter();
        let columns: Vec<(Column, Column)> =
            columns.map(|column| (column, Column::from_name(names.fresh("d")))).collect();
        let exprs = columns.iter().map(|(of, name)| Expr::Column(of.clone()).alias(&name.name));
        let exprs = exprs.collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(outer.clone()).project(exprs)?.build()?;
        Ok(Self { plan, columns, distinct: false })
    }

    /// The same values under new names.
    pub(super) fn renamed(&self, names: &Names) -> Result<Self> {
        let columns: Vec<(Column, Column)> = self
            .columns
            .iter()
            .map(|(outer, _)| (outer.clone(), Column::from_name(names.fresh("d"))))
            .collect();
        let exprs = self.columns.iter().zip(&columns);
        let exprs = exprs.map(|((_, old), (_, new))| Expr::Column(old.clone()).alias(&new.name));
        let exprs = exprs.collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(self.plan.clone()).project(exprs)?.build()?;
        Ok(Self { plan, columns, distinct: self.distinct })
    }

    /// The domain's columns as expressions.
    pub(super) fn exprs(&self) -> Vec<Expr> {
        self.columns.iter().map(|(_, column)| Expr::Column(column.clone())).collect()
    }

    fn find(&self, outer: &Column) -> Option<&Column> {
        self.columns.iter().find(|(of, _)| of == outer).map(|(_, column)| column)
    }

    /// Whether a plan names outer columns of this domain.
    pub(super) fn named_in(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut any = false;
        visit(plan, &mut |column| any |= self.find(column).is_some())?;
        Ok(any)
    }

    /// Whether an expression of a node names outer columns of this domain.
    pub(super) fn named_by(&self, expr: &Expr, node: &LogicalPlan) -> Result<bool> {
        let mut any = false;
        visit_expr(expr, node, &[], &mut |column| any |= self.find(column).is_some())?;
        Ok(any)
    }

    /// Replaces outer columns in an expression of a node by what stands for them; within subqueries
    /// of the expression they stay outer columns, under the new name.
    pub(super) fn resolve(&self, expr: Expr, node: &LogicalPlan) -> Result<Expr> {
        self.replace(expr, node, &[])
    }

    fn replace(&self, expr: Expr, node: &LogicalPlan, around: &[&LogicalPlan]) -> Result<Expr> {
        let replaced = expr.transform_down(|mut e| {
            if let Expr::OuterReferenceColumn(field, column) = &e
                && !around.iter().any(|node| gives(node, column))
                && let Some(new) = self.find(column)
            {
                return Ok(Transformed::yes(match around {
                    [] => Expr::Column(new.clone()),
                    _ => Expr::OuterReferenceColumn(Arc::clone(field), new.clone()),
                }));
            }
            let Some(subquery) = subquery_of_mut(&mut e) else { return Ok(Transformed::no(e)) };
            let around: Vec<&LogicalPlan> = around.iter().copied().chain([node]).collect();
            let plan = subquery.subquery.as_ref().clone().transform_down(|inner| {
                let whole = inner.clone();
                inner.map_expressions(|e| Ok(Transformed::yes(self.replace(e, &whole, &around)?)))
            })?;
            let plan = plan.data.recompute_schema()?;
            subquery.outer_ref_columns = plan.all_out_ref_exprs();
            subquery.subquery = Arc::new(plan);
            Ok(Transformed::yes(e))
        })?;
        Ok(replaced.data)
    }

    /// Joins two plans that both have values of the domain, where these are the same.
    pub(super) fn join(
        left: LogicalPlan,
        right: LogicalPlan,
        kind: JoinType,
        on: impl IntoIterator<Item = (Column, Column)>,
        filter: Option<Expr>,
    ) -> Result<LogicalPlan> {
        let (left_on, right_on): (Vec<Column>, Vec<Column>) = on.into_iter().unzip();
        let null = NullEquality::NullEqualsNull;
        let builder = LogicalPlanBuilder::from(left);
        if left_on.is_empty() {
            return builder.join_on(right, kind, filter)?.build();
        }
        builder.join_detailed(right, kind, (left_on, right_on), filter, null)?.build()
    }
}
