//! IN, NOT IN, ANY and ALL with subqueries, spelled out by EXISTS.
//!
//! # Semantics
//! `x op ANY (Q)` is true if the comparison is true for a row of Q, else unknown if it is unknown
//! for one, else false; `x op ALL (Q)` is `NOT (x negated-op ANY (Q))`; IN is `= ANY` and NOT IN is
//! `<> ALL` (SQL:2023, 8.9). EXISTS knows neither NULL nor values, so:
//!
//! ```text
//!   x op ANY (Q)   CASE WHEN EXISTS (Q where x op y) THEN true
//!                       WHEN EXISTS (Q where (x op y) is null) THEN NULL ELSE false END
//!   WHERE x NOT IN (Q)   not exists (Q where x = y)
//!                        and not exists (N where n > v or (x is null and n > 0))
//!                        N = (select count(*) as n, count(y) as v from Q)
//! ```
//!
//! Where only truth counts, as in WHERE, unknown need not be told from false. Where Q does not
//! depend on the outer row, all that orders and NULLs need to know of it is one row of counts and
//! extremes, so nothing is compared row by row.
//!
//! # Why
//! DataFusion's own rewriting of NOT IN below OR takes unknown for false, and its null-aware anti
//! join has no incremental form. This form is exact for one-shot and continuous queries alike.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ExprSchema, JoinType, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::expr::{
    BinaryExpr, Exists, InSubquery, SetComparison, SetQuantifier,
};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, not, when,
};

use super::relation::RelationSource;

/// Name of the subquery within what it is rewritten to.
const INNER: &str = "$q";

/// Spells out the subqueries of a plan, innermost first.
pub(super) fn spell_out(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(spell_out_node)?.data)
}

fn spell_out_node(node: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let inner = matches!(&node, LogicalPlan::Join(join) if join.join_type == JoinType::Inner);
    let concerned =
        node.expressions().iter().any(|e| has_subquery(e) || inner && has_scalar_subquery(e));
    if !concerned {
        return Ok(Transformed::no(node));
    }
    match node {
        LogicalPlan::Filter(filter) => {
            let input = Arc::clone(&filter.input);
            let all = split_conjunction_owned(filter.predicate).into_iter();
            let all = all.map(|e| truth(e, &input)).collect::<DfResult<Vec<_>>>()?;
            let predicate = conjunction(all).expect("a filter has a condition");
            Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, input)?)))
        }
        // A condition of an inner join may as well stand in WHERE.
        LogicalPlan::Join(mut join) if join.join_type == JoinType::Inner => {
            let all = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
            let (above, on): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|e| has_subquery(e) || has_scalar_subquery(e));
            join.filter = conjunction(on);
            let Some(predicate) = conjunction(above) else {
                return Ok(Transformed::no(LogicalPlan::Join(join)));
            };
            let joined = Arc::new(LogicalPlan::Join(join));
            let filter = LogicalPlan::Filter(Filter::try_new(predicate, joined)?);
            Ok(Transformed::yes(spell_out_node(filter)?.data))
        }
        node => {
            let Some(input) = node.inputs().first().map(|input| (*input).clone()) else {
                return Ok(Transformed::no(node));
            };
            node.map_expressions(|expr| {
                let name = expr.schema_name().to_string();
                let named = !matches!(expr, Expr::Alias(_) | Expr::Column(_));
                let counted = value(expr, &input)?.transform_up(counted)?;
                Ok(counted.update_data(|expr| if named { expr.alias(name) } else { expr }))
            })
        }
    }
}

fn has_subquery(expr: &Expr) -> bool {
    let found = expr.exists(|e| {
        Ok(matches!(e, Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::Exists(_)))
    });
    found.unwrap_or(true)
}

/// Whether there is a scalar subquery that names outer columns.
fn has_scalar_subquery(expr: &Expr) -> bool {
    let found = expr.exists(|e| {
        Ok(matches!(e, Expr::ScalarSubquery(query) if !query.outer_ref_columns.is_empty()))
    });
    found.unwrap_or(true)
}

/// `x op ANY (Q)` or, negated, `NOT (x op ANY (Q))`.
struct Any {
    x: Expr,
    op: Operator,
    query: Subquery,
    negated: bool,
}

impl Any {
    /// Reads an expression as such a comparison.
    fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => Some(Self {
                x: expr.as_ref().clone(),
                op: Operator::Eq,
                query: subquery.clone(),
                negated: *negated,
            }),
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                let all = *quantifier == SetQuantifier::All;
                let op = if all { op.negate()? } else { *op };
                let (x, query) = (expr.as_ref().clone(), subquery.clone());
                Some(Self { x, op, query, negated: all })
            }
            Expr::Not(inner) => {
                let any = Self::of(inner)?;
                Some(Self { negated: !any.negated, ..any })
            }
            _ => None,
        }
    }
}

/// An expression of which only truth counts.
fn truth(expr: Expr, input: &LogicalPlan) -> DfResult<Expr> {
    if let Some(any) = Any::of(&expr) {
        return any.truth(input);
    }
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let (left, right) = (truth(*left, input)?, truth(*right, input)?);
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::Not(inner) => match *inner {
            Expr::Not(inner) => truth(*inner, input),
            Expr::Exists(Exists { subquery, negated }) => {
                Ok(Expr::Exists(Exists { subquery, negated: !negated }))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                Ok(truth(not(*left), input)?.or(truth(not(*right), input)?))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Ok(truth(not(*left), input)?.and(truth(not(*right), input)?))
            }
            inner => value(not(inner), input),
        },
        other => value(other, input),
    }
}

/// An expression of which the value counts, NULL included.
fn value(expr: Expr, input: &LogicalPlan) -> DfResult<Expr> {
    let spelled = expr.transform_down(|expr| match Any::of(&expr) {
        Some(any) => Ok(Transformed::yes(any.value(input)?)),
        None => Ok(Transformed::no(expr)),
    })?;
    Ok(spelled.data)
}

impl Any {
    fn truth(self, input: &LogicalPlan) -> DfResult<Expr> {
        let kept = self.op == Operator::Eq && !self.negated;
        if kept {
            // DataFusion makes a semi join of it.
            return Ok(Expr::InSubquery(InSubquery::new(Box::new(self.x), self.query, false)));
        }
        let some = self.some(input)?;
        if !self.negated {
            return exists(some, false);
        }
        let none = exists(some, true)?;
        match self.unknown(input)? {
            None => Ok(none),
            Some(unknown) => Ok(none.and(exists(unknown, true)?)),
        }
    }

    fn value(self, input: &LogicalPlan) -> DfResult<Expr> {
        let some = if self.op == Operator::Eq || self.correlated() {
            exists(self.some(input)?, false)?
        } else {
            let [_, _, low, high] = self.summary()?.1;
            let (low, high) = (self.summed(low)?, self.summed(high)?);
            extremes(&self.x, self.op, low, high)
        };
        let mut case = when(some, lit(!self.negated));
        if let Some(unknown) = self.unknown_value(input)? {
            case = case.when(unknown, lit(ScalarValue::Boolean(None)));
        }
        case.otherwise(lit(self.negated))
    }

    /// Whether the comparison is unknown for a row of Q, asked outside of Q.
    fn unknown_value(&self, input: &LogicalPlan) -> DfResult<Option<Expr>> {
        let known = never_null(input, &self.x);
        let (inner, y) = self.inner()?;
        let all_known = never_null(&inner, &y);
        let (nulls, rows) = if self.correlated() {
            let nulls = LogicalPlanBuilder::from(inner.clone()).filter(y.is_null())?.build()?;
            (exists(nulls, false)?, exists(inner, false)?)
        } else {
            let [rows, values, ..] = self.summary()?.1;
            let some = rows.clone().gt(lit(0_i64));
            (self.summed(rows.gt(values))?, self.summed(some)?)
        };
        let unknown = self.x.clone().is_null().and(rows);
        Ok(match (known, all_known) {
            (true, true) => None,
            (true, false) => Some(nulls),
            (false, true) => Some(unknown),
            (false, false) => Some(nulls.or(unknown)),
        })
    }

    /// What an expression over the summary gives.
    fn summed(&self, expr: Expr) -> DfResult<Expr> {
        let plan = LogicalPlanBuilder::from(self.summary()?.0).project(vec![expr])?.build()?;
        Ok(Expr::ScalarSubquery(subquery(plan)))
    }

    /// The rows, of Q or of what it sums up to, that show the comparison to be true of one in Q.
    fn some(&self, input: &LogicalPlan) -> DfResult<LogicalPlan> {
        let x = outer(&self.x, input)?;
        if self.op == Operator::Eq || self.correlated() {
            let (inner, y) = self.inner()?;
            return LogicalPlanBuilder::from(inner).filter(compare(&x, self.op, y))?.build();
        }
        let (summary, [_, _, low, high]) = self.summary()?;
        let condition = extremes(&x, self.op, low, high);
        LogicalPlanBuilder::from(summary).filter(condition)?.build()
    }

    /// The rows that show the comparison to be unknown for one in Q; none if it never is.
    fn unknown(&self, input: &LogicalPlan) -> DfResult<Option<LogicalPlan>> {
        let known = never_null(input, &self.x);
        let (inner, y) = self.inner()?;
        if known && never_null(&inner, &y) {
            return Ok(None);
        }
        let x_is_null = outer(&self.x, input)?.is_null();
        if self.correlated() {
            let condition = if known { y.is_null() } else { y.is_null().or(x_is_null) };
            return Ok(Some(LogicalPlanBuilder::from(inner).filter(condition)?.build()?));
        }
        let (summary, [rows, values, ..]) = self.summary()?;
        let nulls = rows.clone().gt(values);
        let condition = if known { nulls } else { nulls.or(x_is_null.and(rows.gt(lit(0_i64)))) };
        Ok(Some(LogicalPlanBuilder::from(summary).filter(condition)?.build()?))
    }

    /// Whether the subquery depends on the outer row.
    fn correlated(&self) -> bool {
        !self.query.outer_ref_columns.is_empty()
    }

    /// The subquery with its column under a name of its own.
    fn inner(&self) -> DfResult<(LogicalPlan, Expr)> {
        let query = self.query.subquery.as_ref().clone();
        let y = Expr::Column(Column::from(query.schema().qualified_field(0))).alias(INNER);
        let inner = LogicalPlanBuilder::from(query).project(vec![y])?.build()?;
        Ok((inner, Expr::Column(Column::new_unqualified(INNER))))
    }

    /// One row about the subquery: how many rows, how many values, the least and the greatest.
    fn summary(&self) -> DfResult<(LogicalPlan, [Expr; 4])> {
        const NAMES: [&str; 4] = ["n", "v", "low", "high"];
        let (inner, y) = self.inner()?;
        let calls = [count(lit(1_i64)), count(y.clone()), min(y.clone()), max(y)];
        let calls = calls.into_iter().zip(NAMES).map(|(call, name)| call.alias(name));
        let none: Vec<Expr> = Vec::new();
        let summary = LogicalPlanBuilder::from(inner).aggregate(none, calls.collect::<Vec<_>>())?;
        let summary = summary.alias(INNER)?.build()?;
        Ok((summary, NAMES.map(|name| Expr::Column(Column::new(Some(INNER), name)))))
    }
}

fn compare(x: &Expr, op: Operator, y: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(x.clone()), op, Box::new(y)))
}

/// A comparison that is true of a value if it is true of the least or the greatest.
fn extremes(x: &Expr, op: Operator, low: Expr, high: Expr) -> Expr {
    match op {
        Operator::Lt | Operator::LtEq => compare(x, op, high),
        Operator::Gt | Operator::GtEq => compare(x, op, low),
        _ => compare(x, op, low).or(compare(x, op, high)),
    }
}

fn exists(plan: LogicalPlan, negated: bool) -> DfResult<Expr> {
    Ok(Expr::Exists(Exists { subquery: subquery(plan), negated }))
}

fn subquery(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Default::default() }
}

/// EXISTS outside of WHERE: a subquery that counts.
fn counted(expr: Expr) -> DfResult<Transformed<Expr>> {
    let Expr::Exists(Exists { subquery: query, negated }) = expr else {
        return Ok(Transformed::no(expr));
    };
    let none: Vec<Expr> = Vec::new();
    let rows = LogicalPlanBuilder::from(query.subquery.as_ref().clone());
    let rows = rows.aggregate(none, vec![count(lit(1_i64)).alias("$rows")])?;
    let n = Expr::Column(Column::from_name("$rows"));
    let answer = if negated { n.eq(lit(0_i64)) } else { n.gt(lit(0_i64)) };
    let answer = rows.project(vec![answer.alias("exists")])?.build()?;
    Ok(Transformed::yes(Expr::ScalarSubquery(subquery(answer))))
}

/// The expression as seen from inside of a subquery.
fn outer(expr: &Expr, input: &LogicalPlan) -> DfResult<Expr> {
    let outer = expr.clone().transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = Arc::clone(input.schema().field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outer.data)
}

/// Whether an expression over a plan's rows is a column that is declared NOT NULL, or a value.
fn never_null(plan: &LogicalPlan, expr: &Expr) -> bool {
    let column = match expr {
        Expr::Literal(value, _) => return !value.is_null(),
        Expr::Alias(alias) => return never_null(plan, &alias.expr),
        Expr::Column(column) => column,
        _ => return false,
    };
    let Some(index) = plan.schema().maybe_index_of_column(column) else { return false };
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = alias.input.schema().qualified_field(index);
            never_null(&alias.input, &Expr::Column(Column::from(inner)))
        }
        LogicalPlan::Projection(projection) => {
            never_null(&projection.input, &projection.expr[index])
        }
        LogicalPlan::Filter(filter) => never_null(&filter.input, expr),
        LogicalPlan::TableScan(scan) => {
            let column = scan.projection.as_ref().map_or(index, |columns| columns[index]);
            let source = scan.source.downcast_ref::<RelationSource>();
            source.is_some_and(|source| source.object.columns[column].not_null)
        }
        _ => false,
    }
}
