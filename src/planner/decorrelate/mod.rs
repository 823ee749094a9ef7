//! Subqueries to joins: scalar subqueries, EXISTS in a select list, LATERAL.
//!
//! # Semantics
//! A correlated subquery is a function of the outer columns it names. The rule computes that
//! function for all their values at once and joins the result back:
//!
//! ```text
//!  SELECT t.k, (SELECT max(u.v) FROM u WHERE u.v < t.v) FROM t
//!
//!  t ⟕[t.v ≡ d]  γ_d; max(u.v) ( σ_{u.v < d} (D × u) )       D = δ π_{t.v AS d} (t)
//! ```
//!
//! `D` is pushed down through the subquery (module `push`) until what is below names no outer
//! column; there it is a cross join, or nothing at all where equalities in WHERE already say what
//! `d` is: `u.k = t.k` makes `u.k` stand for it. An aggregate over no rows has a value too (the
//! COUNT bug), so that is put in where the join finds nothing. `≡` holds between NULLs.
//!
//! LATERAL is the same without the aggregate. Where the right side works row by row, as unnest
//! does, the left side itself is pushed down, and there is no join.
//!
//! # Why
//! DataFusion's own rules cover equalities only and refuse EXISTS in a select list. They stay in
//! charge of IN and EXISTS in WHERE, which become semi joins.
//!
//! # References
//! Neumann, Kemper, Unnesting Arbitrary Queries (BTW 2015).

use std::cell::Cell;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;

mod domain;
mod lateral;
mod push;
mod scalar;

pub(super) use push::named;

use super::error::Error;

/// The analyzer's rule.
#[derive(Clone, Copy, Debug)]
pub struct Decorrelate {
    /// Whether subqueries without outer columns become joins too. One-shot queries leave these to
    /// DataFusion, which computes them beforehand.
    pub uncorrelated: bool,
}

impl AnalyzerRule for Decorrelate {
    fn name(&self) -> &str {
        "decorrelate"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        self.rewrite(plan)
    }
}

impl Decorrelate {
    /// Rewrites a plan, innermost subqueries first.
    pub fn rewrite(self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let names = Names::behind(&plan)?;
        let rewritten =
            plan.transform_up_with_subqueries(|node| match lateral::rewrite(&node, &names)? {
                Some(joined) => Ok(Transformed::yes(joined)),
                None => self.expressions(node, &names),
            })?;
        Ok(rewritten.data)
    }

    /// Replaces the subqueries in a node's expressions by columns of its input.
    fn expressions(self, node: LogicalPlan, names: &Names) -> Result<Transformed<LogicalPlan>> {
        let one_input = matches!(
            node,
            LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Aggregate(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::Window(_)
        );
        let predicate = matches!(node, LogicalPlan::Filter(_));
        let ours = |expr: &Expr| match expr {
            Expr::ScalarSubquery(scalar) => {
                Ok(self.uncorrelated || domain::correlated(&scalar.subquery)?)
            }
            // As a condition it is a semi join, unless that is beyond DataFusion.
            Expr::Exists(exists) => Ok(!predicate || correlated_union(&exists.subquery.subquery)?),
            _ => Ok(false),
        };
        let mut any = false;
        if one_input {
            for expr in node.expressions() {
                any |= expr.exists(ours)?;
            }
        }
        if !any {
            return Ok(Transformed::no(node));
        }
        let mut input = node.inputs()[0].clone();
        let preserver = NamePreserver::new(&node);
        let mut exprs = Vec::new();
        for expr in node.expressions() {
            let name = preserver.save(&expr);
            let replaced = expr.transform_down(|e| {
                if !ours(&e)? {
                    return Ok(Transformed::no(e));
                }
                let (joined, value) = scalar::join(&input, e, names)?;
                input = joined;
                Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
            })?;
            exprs.push(name.restore(replaced.data));
        }
        let rewritten = node.with_new_exprs(exprs, vec![input])?;
        if rewritten.schema().fields().len() == node.schema().fields().len() {
            return Ok(Transformed::yes(rewritten));
        }
        // What the subqueries added goes again.
        let columns = node.schema().columns().into_iter().map(Expr::Column);
        let columns = columns.collect::<Vec<_>>();
        Ok(Transformed::yes(LogicalPlanBuilder::from(rewritten).project(columns)?.build()?))
    }
}

/// Whether a subquery has a UNION whose branches name outer columns.
fn correlated_union(subquery: &LogicalPlan) -> Result<bool> {
    subquery.exists(|node| match node {
        LogicalPlan::Union(_) => domain::correlated(node),
        _ => Ok(false),
    })
}

/// Names of columns that no user can name.
#[derive(Debug)]
struct Names {
    next: Cell<usize>,
}

impl Names {
    /// Names that a plan does not have yet.
    fn behind(plan: &LogicalPlan) -> Result<Self> {
        let mut next = 0;
        plan.apply_with_subqueries(|node| {
            for field in node.schema().fields() {
                let Some(name) = field.name().strip_prefix('$') else { continue };
                let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
                let number = number.split('.').next().and_then(|digits| digits.parse().ok());
                next = next.max(number.map_or(0, |number: usize| number + 1));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Self { next: Cell::new(next) })
    }

    fn fresh(&self, what: &str) -> String {
        let number = self.next.get();
        self.next.set(number + 1);
        format!("${what}{number}")
    }
}

fn unsupported(what: &str) -> datafusion::error::DataFusionError {
    Error::Unsupported {
        what: format!(
            "{what} in a subquery that names columns of the query around it is not supported"
        ),
        hint: "Write it as a join.".into(),
    }
    .into()
}
