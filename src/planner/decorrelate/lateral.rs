//! LATERAL: a right side that names columns of the left.

use datafusion::common::NullHandling;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, SubqueryAlias,
};

use super::domain::{Domain, references};
use super::push::{named, push, row_wise};
use super::{Names, unsupported};

/// Rewrites a join whose right side is lateral; `None` for all other nodes.
pub(super) fn rewrite(node: &LogicalPlan, names: &Names) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Join(join) = node else { return Ok(None) };
    let right = match join.right.as_ref() {
        LogicalPlan::Subquery(subquery) => subquery.subquery.as_ref().clone(),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => {
                let (input, name) = (subquery.subquery.clone(), alias.alias.clone());
                LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, name)?)
            }
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let columns = references(&right, &join.left)?;
    let on = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
    let condition = conjunction(on.chain(join.filter.clone()));
    let whole = Domain::whole(&join.left, names)?;
    let joined = match join.join_type {
        JoinType::Inner | JoinType::Left if columns.is_empty() => {
            let left = LogicalPlanBuilder::from(join.left.as_ref().clone());
            left.join_on(right, join.join_type, condition)?.build()?
        }
        JoinType::Inner if row_wise(&whole, &right)? => {
            let pushed = restored(push(&whole, &right, names)?, &whole, &right)?;
            filtered(pushed, condition)?
        }
        JoinType::Left if always(&condition) && only_unnests(&right) => {
            restored(push(&whole, &keeping(&right)?, names)?, &whole, &right)?
        }
        JoinType::Inner | JoinType::Left => {
            let domain = Domain::distinct(&join.left, columns, names)?;
            let pushed = push(&domain, &right, names)?;
            let on = domain.columns.clone();
            let left = join.left.as_ref().clone();
            let joined = Domain::join(left, pushed, join.join_type, on, condition)?;
            own_columns(joined, join)?
        }
        _ => return Err(unsupported("a RIGHT or FULL join")),
    };
    Ok(Some(joined))
}

fn filtered(plan: LogicalPlan, condition: Option<Expr>) -> Result<LogicalPlan> {
    match condition {
        None => Ok(plan),
        Some(condition) => LogicalPlanBuilder::from(plan).filter(condition)?.build(),
    }
}

fn always(condition: &Option<Expr>) -> bool {
    use datafusion::common::ScalarValue::Boolean;
    matches!(condition, None | Some(Expr::Literal(Boolean(Some(true)), _)))
}

/// Gives the columns of a pushed left side their names again.
fn restored(pushed: LogicalPlan, whole: &Domain, right: &LogicalPlan) -> Result<LogicalPlan> {
    let left = whole.columns.iter();
    let left = left.map(|(of, column)| named(Expr::Column(column.clone()), of.clone()));
    let right = right.schema().columns().into_iter().map(Expr::Column);
    let exprs = left.chain(right).collect::<Vec<_>>();
    LogicalPlanBuilder::from(pushed).project(exprs)?.build()
}

fn own_columns(joined: LogicalPlan, join: &Join) -> Result<LogicalPlan> {
    let exprs = join.schema.columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    LogicalPlanBuilder::from(joined).project(exprs)?.build()
}

/// Whether a plan is an unnest of one row with its columns renamed: then a left join is an unnest
/// that keeps rows without elements.
fn only_unnests(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => only_unnests(&alias.input),
        LogicalPlan::Projection(projection) => {
            let column = |e: &Expr| matches!(e.clone().unalias(), Expr::Column(_));
            projection.expr.iter().all(column) && only_unnests(&projection.input)
        }
        LogicalPlan::Unnest(unnest) => {
            matches!(unnest.input.as_ref(), LogicalPlan::Projection(projection)
                if matches!(projection.input.as_ref(), LogicalPlan::EmptyRelation(_)))
        }
        _ => false,
    }
}

/// The same unnest, keeping rows without elements.
fn keeping(plan: &LogicalPlan) -> Result<LogicalPlan> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let kept = plan.clone().transform_down(|node| match node {
        LogicalPlan::Unnest(mut unnest) => {
            unnest.options.null_handling = NullHandling::PreserveAndExpandEmpty;
            Ok(Transformed::yes(LogicalPlan::Unnest(unnest)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(kept.data)
}
