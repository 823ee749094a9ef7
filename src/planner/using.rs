//! USING and NATURAL joins as Postgres has them: the columns joined on are merged into one.
//!
//! # Semantics
//! `a JOIN b USING (k)` has one column `k`, in front: `a.k` of inner and left joins, `b.k` of right
//! ones and `COALESCE(a.k, b.k)` of full ones. `a.k` and `b.k` can still be named, and `a.*` shows
//! `a.k`. NATURAL joins on all columns that both sides show.
//!
//! ```text
//!   a FULL JOIN b USING (k)    Projection  $using.k = coalesce(a.k, b.k), a.x, b.y, a.k, b.k
//!                                Join  Full on a.k = b.k
//! ```
//!
//! # Why
//! DataFusion takes `k` for the column of one side, which is NULL where that side is padded, and
//! shows `*` in the order of its tables. What it does know is which columns are joined by USING, when
//! it looks for the meaning of `k` and of `*`. So a join that says this stands above the projection
//! while names are looked up ([`unmark`] takes it away).

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinConstraint, JoinType, NullEquality};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{EmptyRelation, Expr, Join, LogicalPlan, LogicalPlanBuilder, lit};
use sqlparser::ast::{
    self, JoinOperator, SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};

use super::error::Error;
use crate::error::SqlState;

/// Qualifies merged columns: sorts before all names, and cannot be written.
const MERGED: &str = "\u{1}using";

/// Puts parentheses around joins with USING or NATURAL, so that they are planned here.
pub(super) fn enclose(query: &mut ast::Query) {
    struct Enclose;
    impl VisitorMut for Enclose {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
            body(&mut query.body);
            ControlFlow::Continue(())
        }
    }
    fn body(expr: &mut SetExpr) {
        match expr {
            SetExpr::SetOperation { left, right, .. } => {
                body(left);
                body(right);
            }
            SetExpr::Select(select) => {
                for item in select.from.iter_mut().filter(|item| merges(item)) {
                    let empty = TableFactor::UNNEST {
                        alias: None,
                        array_exprs: vec![],
                        with_offset: false,
                        with_offset_alias: None,
                        with_ordinality: false,
                    };
                    let empty = TableWithJoins { relation: empty, joins: vec![] };
                    let joined = Box::new(std::mem::replace(item, empty));
                    item.relation =
                        TableFactor::NestedJoin { table_with_joins: joined, alias: None };
                }
            }
            _ => {}
        }
    }
    let _ = VisitMut::visit(query, &mut Enclose);
}

/// Whether a list of joins merges columns, and nothing in it looks at what stands before.
fn merges(item: &TableWithJoins) -> bool {
    let lateral = |factor: &TableFactor| match factor {
        TableFactor::Derived { lateral, .. } | TableFactor::Function { lateral, .. } => *lateral,
        TableFactor::UNNEST { .. } => true,
        _ => false,
    };
    let merging = item.joins.iter().any(|join| {
        matches!(
            kind_of(&join.join_operator),
            Some((_, ast::JoinConstraint::Using(_) | ast::JoinConstraint::Natural))
        )
    });
    merging && !lateral(&item.relation) && !item.joins.iter().any(|join| lateral(&join.relation))
}

fn kind_of(operator: &JoinOperator) -> Option<(JoinType, &ast::JoinConstraint)> {
    Some(match operator {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => {
            (JoinType::Inner, on)
        }
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (JoinType::Left, on),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (JoinType::Right, on),
        JoinOperator::FullOuter(on) => (JoinType::Full, on),
        _ => return None,
    })
}

/// Plans parentheses with such joins in them.
#[derive(Debug)]
pub(super) struct UsingPlanner;

impl RelationPlanner for UsingPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let TableFactor::NestedJoin { table_with_joins, alias } = relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let known = table_with_joins.joins.iter().all(|j| kind_of(&j.join_operator).is_some());
        if !merges(&table_with_joins) || !known {
            return Ok(RelationPlanning::Original(Box::new(TableFactor::NestedJoin {
                table_with_joins,
                alias,
            })));
        }
        let mut joined = Joined::new(context.plan(table_with_joins.relation)?);
        for join in table_with_joins.joins {
            let right = context.plan(join.relation)?;
            let (kind, on) = kind_of(&join.join_operator).expect("looked at before");
            joined = match on {
                ast::JoinConstraint::On(expr) => joined.on(right, kind, expr, context)?,
                ast::JoinConstraint::None => joined.plain(right, kind, lit(true))?,
                ast::JoinConstraint::Natural => {
                    let shown = Joined::new(right.clone());
                    let names = joined.shown().into_iter().map(|column| column.name);
                    let names = names.filter(|name| shown.find(name).is_ok()).collect();
                    joined.using(right, kind, names)?
                }
                ast::JoinConstraint::Using(names) => {
                    let names = names.iter().filter_map(|name| name.0.last()?.as_ident());
                    let names = names.map(|ident| context.normalize_ident(ident.clone())).collect();
                    joined.using(right, kind, names)?
                }
            };
        }
        let plan = match alias {
            None => joined.marked()?,
            Some(_) => joined.only_shown()?,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// Joined relations, and which of their columns are merged into others.
struct Joined {
    plan: LogicalPlan,
    hidden: Vec<Column>,
}

impl Joined {
    fn new(plan: LogicalPlan) -> Self {
        Self { plan, hidden: Vec::new() }
    }

    /// The columns that `*` shows.
    fn shown(&self) -> Vec<Column> {
        let all = self.plan.schema().columns().into_iter();
        all.filter(|column| !self.hidden.contains(column)).collect()
    }

    /// Finds the one column of a name.
    fn find(&self, name: &str) -> DfResult<Column> {
        let mut found = self.shown().into_iter().filter(|column| column.name == name);
        let invalid = |what: String, sqlstate: SqlState| -> DataFusionError {
            Error::Invalid { what, sqlstate, hint: None }.into()
        };
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column),
            (None, _) => Err(invalid(
                format!("column \"{name}\" specified in USING clause does not exist in one side"),
                SqlState::UNDEFINED_COLUMN,
            )),
            _ => Err(invalid(
                format!("common column name \"{name}\" appears more than once in one side"),
                SqlState::AMBIGUOUS_COLUMN,
            )),
        }
    }

    fn on(
        self,
        right: LogicalPlan,
        kind: JoinType,
        on: &ast::Expr,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<Self> {
        let schema = self.plan.schema().join(right.schema())?;
        let both = [&self, &Self::new(right.clone())];
        // A merged column is found by its name, before those that are merged into it.
        let on = context.sql_to_expr(on.clone(), &schema)?.transform_up(|expr| match expr {
            Expr::Column(Column { relation: None, name, .. }) => {
                let found: Vec<Column> =
                    both.iter().filter_map(|side| side.find(&name).ok()).collect();
                match found.as_slice() {
                    [one] => Ok(Transformed::yes(Expr::Column(one.clone()))),
                    _ => Ok(Transformed::no(Expr::Column(Column::new_unqualified(name)))),
                }
            }
            other => Ok(Transformed::no(other)),
        })?;
        self.plain(right, kind, on.data)
    }

    fn plain(self, right: LogicalPlan, kind: JoinType, on: Expr) -> DfResult<Self> {
        let plan = LogicalPlanBuilder::from(self.plan).join_on(right, kind, [on])?.build()?;
        Ok(Self { plan, ..self })
    }

    fn using(self, right: LogicalPlan, kind: JoinType, names: Vec<String>) -> DfResult<Self> {
        if names.is_empty() {
            return self.plain(right, kind, lit(true));
        }
        let other = Self::new(right);
        let (mut on, mut merged) = (Vec::new(), Vec::new());
        let mut hidden = self.hidden.clone();
        for name in &names {
            let (left, right) = (self.find(name)?, other.find(name)?);
            let of = |plan: &LogicalPlan, column: &Column| {
                Ok::<_, DataFusionError>(
                    plan.schema().qualified_field_from_column(column)?.1.clone(),
                )
            };
            let alike = of(&self.plan, &left)?.data_type() == of(&other.plan, &right)?.data_type();
            let sides = [Expr::Column(left.clone()), Expr::Column(right.clone())];
            let [l, r] = sides.clone();
            merged.push(
                match kind {
                    JoinType::Right if alike => r,
                    JoinType::Right => coalesce(vec![r, l]),
                    JoinType::Full => coalesce(vec![l, r]),
                    _ if alike => l,
                    _ => coalesce(vec![l, r]),
                }
                .alias_qualified(Some(MERGED), name),
            );
            let [l, r] = sides;
            on.push((l, r));
            // What was merged before is merged again, and gone.
            hidden.extend([left, right].into_iter().filter(|c| !is_merged(c)));
        }
        let shown = self.shown().into_iter().chain(other.shown());
        let rest = shown.filter(|column| !names.contains(&column.name));
        let columns = rest.chain(hidden.clone()).map(Expr::Column);
        let columns: Vec<Expr> = merged.into_iter().chain(columns).collect();
        let join = Join::try_new(
            Arc::new(self.plan),
            Arc::new(other.plan),
            on,
            None,
            kind,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        let plan = LogicalPlanBuilder::from(LogicalPlan::Join(join)).project(columns)?.build()?;
        Ok(Self { plan, hidden })
    }

    /// The plan below a join that tells DataFusion which columns are merged.
    fn marked(self) -> DfResult<LogicalPlan> {
        let merged = self.shown().into_iter().filter(is_merged);
        let on = merged.flat_map(|merged| {
            let of = self.hidden.iter().filter(|column| column.name == merged.name).cloned();
            let of: Vec<Column> = of.collect();
            of.into_iter().map(move |column| (Expr::Column(merged.clone()), Expr::Column(column)))
        });
        let (on, schema) = (on.collect(), Arc::clone(self.plan.schema()));
        let nothing = EmptyRelation { produce_one_row: true, schema: Arc::new(DFSchema::empty()) };
        Ok(LogicalPlan::Join(Join {
            left: Arc::new(self.plan),
            right: Arc::new(LogicalPlan::EmptyRelation(nothing)),
            on,
            filter: None,
            join_type: JoinType::Inner,
            join_constraint: JoinConstraint::Using,
            schema,
            null_equality: NullEquality::NullEqualsNothing,
            null_aware: false,
        }))
    }

    fn only_shown(self) -> DfResult<LogicalPlan> {
        let shown: Vec<Expr> = self.shown().into_iter().map(Expr::Column).collect();
        LogicalPlanBuilder::from(self.plan).project(shown)?.build()
    }
}

fn is_merged(column: &Column) -> bool {
    column.relation.as_ref().is_some_and(|relation| relation.table() == MERGED)
}

/// Takes away the joins that only tell which columns are merged.
pub(super) fn unmark(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let plain = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(Join { left, right, join_constraint: JoinConstraint::Using, .. })
            if right.schema().fields().is_empty() =>
        {
            Ok(Transformed::yes(Arc::unwrap_or_clone(left)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plain.data)
}
