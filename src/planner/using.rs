//! USING and NATURAL joins as Postgres has them: the columns joined on are merged into one.
//!
//! # Semantics
//! `a JOIN b USING (k)` has one column `k`, in front: `a.k` of inner and left joins, `b.k` of right
//! ones and `COALESCE(a.k, b.k)` of full ones. `a.k` and `b.k` can still be named, and `a.*` shows
//! `a.k`. NATURAL joins on all columns that both sides show. `USING (k) AS x` calls the merged
//! columns `x.k` as well.
//!
//! ```text
//!   a FULL JOIN b USING (k)    Projection  $using.k = coalesce(a.k, b.k), a.x, b.y, a.k, b.k
//!                                Join  Full on a.k = b.k
//! ```
//!
//! # Why
//! DataFusion takes `k` for the column of one side, which is NULL where that side is padded, and
//! shows `*` in the order of its tables. So names of merged columns are qualified before it looks
//! them up; and as it knows which columns are joined by USING when it looks for the meaning of `*`,
//! a join that says this stands above the projection meanwhile ([`unmark`] takes it away).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

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
use crate::sql::USING_ALIAS;
use crate::sql::names::fold;

/// Qualifies merged columns: sorts before all names, and cannot be written.
const MERGED: &str = "\u{1}using";

/// By the text of its joins: what a list of joins merges, as far as it has been planned.
pub(super) type Natural = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// Puts parentheses around joins with USING or NATURAL, so that they are planned here, and lets the
/// names of merged columns say that they are. Returns whether there is a NATURAL join that has not
/// been planned yet.
pub(super) fn enclose(query: &mut ast::Query, natural: &Natural) -> bool {
    struct Enclose<'a>(&'a Natural, bool);
    impl VisitorMut for Enclose<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
            let merged = self.body(&mut query.body);
            if let (SetExpr::Select(select), Some(order)) = (&*query.body, &mut query.order_by) {
                // A name in ORDER BY is that of a result, if there is one.
                let results = results(select);
                let alone =
                    |e: &ast::Expr| matches!(e, ast::Expr::Identifier(id) if results.shows(id));
                if let ast::OrderByKind::Expressions(exprs) = &mut order.kind {
                    let inputs = exprs.iter_mut().map(|order| &mut order.expr);
                    inputs.filter(|e| !alone(e)).for_each(|e| qualify(e, &merged));
                }
            }
            ControlFlow::Continue(())
        }
    }
    impl Enclose<'_> {
        /// Encloses the joins of a body; returns what those of a SELECT merge.
        fn body(&mut self, expr: &mut SetExpr) -> BTreeSet<String> {
            match expr {
                SetExpr::SetOperation { left, right, .. } => {
                    self.body(left);
                    self.body(right);
                    BTreeSet::new()
                }
                SetExpr::Select(select) => self.select(select),
                _ => BTreeSet::new(),
            }
        }

        fn select(&mut self, select: &mut ast::Select) -> BTreeSet<String> {
            let mut merged = BTreeSet::new();
            for item in select.from.iter_mut().filter(|item| merges(item)) {
                let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                match known.get(&item.to_string()) {
                    Some(names) => merged.extend(names.iter().cloned()),
                    None => {
                        self.1 |= item.joins.iter().any(is_natural);
                        merged.extend(item.joins.iter().flat_map(using_names));
                    }
                }
                let relation = TableFactor::NestedJoin {
                    table_with_joins: Box::new(item.clone()),
                    alias: None,
                };
                *item = TableWithJoins { relation, joins: vec![] };
            }
            if !merged.is_empty() {
                expressions(select).for_each(|expr| qualify(expr, &merged));
            }
            merged
        }
    }
    let mut enclose = Enclose(natural, false);
    let _ = VisitMut::visit(query, &mut enclose);
    enclose.1
}

/// Names of the results of a SELECT.
struct Results {
    names: BTreeSet<String>,
    all: bool,
}

impl Results {
    fn shows(&self, ident: &ast::Ident) -> bool {
        self.all || self.names.contains(&fold(ident))
    }
}

fn results(select: &ast::Select) -> Results {
    let mut results = Results { names: BTreeSet::new(), all: false };
    for item in &select.projection {
        match item {
            ast::SelectItem::ExprWithAlias { alias, .. } => {
                results.names.insert(fold(alias));
            }
            ast::SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(parts)) => {
                results.names.extend(parts.last().map(fold));
            }
            ast::SelectItem::Wildcard(_) => results.all = true,
            _ => {}
        }
    }
    results
}

/// Expressions of a SELECT that name columns of its FROM.
fn expressions(select: &mut ast::Select) -> impl Iterator<Item = &mut ast::Expr> {
    let items = select.projection.iter_mut().filter_map(|item| match item {
        ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr)
        }
        _ => None,
    });
    let groups = match &mut select.group_by {
        ast::GroupByExpr::Expressions(exprs, _) => exprs.as_mut_slice(),
        ast::GroupByExpr::All(_) => &mut [],
    };
    let distinct = match &mut select.distinct {
        Some(ast::Distinct::On(exprs)) => exprs.as_mut_slice(),
        _ => &mut [],
    };
    let clauses = [&mut select.selection, &mut select.having, &mut select.qualify];
    let clauses = clauses.into_iter().filter_map(Option::as_mut);
    items.chain(groups).chain(distinct).chain(clauses)
}

/// Qualifies the names of merged columns in an expression. Subqueries have columns of their own.
fn qualify(expr: &mut ast::Expr, merged: &BTreeSet<String>) {
    struct Qualify<'a>(&'a BTreeSet<String>, usize);
    impl VisitorMut for Qualify<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
            self.1 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
            self.1 -= 1;
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
            if let ast::Expr::Identifier(ident) = expr
                && self.1 == 0
                && self.0.contains(&fold(ident))
            {
                let qualifier = ast::Ident::with_quote('"', MERGED);
                *expr = ast::Expr::CompoundIdentifier(vec![qualifier, ident.clone()]);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(expr, &mut Qualify(merged, 0));
}

fn is_natural(join: &ast::Join) -> bool {
    matches!(kind_of(&join.join_operator), Some((_, ast::JoinConstraint::Natural)))
}

fn using_names(join: &ast::Join) -> Vec<String> {
    match kind_of(&join.join_operator) {
        Some((_, ast::JoinConstraint::Using(names))) => {
            let columns = names.iter().filter(|name| name.0.len() == 1);
            columns.filter_map(|name| Some(fold(name.0.last()?.as_ident()?))).collect()
        }
        _ => Vec::new(),
    }
}

/// What a join calls its merged columns, if it does.
fn using_alias(join: &ast::Join) -> Option<String> {
    let Some((_, ast::JoinConstraint::Using(names))) = kind_of(&join.join_operator) else {
        return None;
    };
    let of = |name: &ast::ObjectName, part: usize| Some(fold(name.0.get(part)?.as_ident()?));
    let alias = names.iter().find(|name| of(name, 0).is_some_and(|first| first == USING_ALIAS))?;
    of(alias, 1)
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
pub(super) struct UsingPlanner {
    /// Takes what is merged.
    pub(super) natural: Natural,
}

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
        let text = table_with_joins.to_string();
        let mut joined = Joined::new(context.plan(table_with_joins.relation)?);
        for join in table_with_joins.joins {
            let (names, alias) = (using_names(&join), using_alias(&join));
            let right = context.plan(join.relation)?;
            let (kind, on) = kind_of(&join.join_operator).expect("looked at before");
            joined = match on {
                ast::JoinConstraint::On(expr) => joined.on(right, kind, expr, context)?,
                ast::JoinConstraint::None => joined.plain(right, kind, lit(true))?,
                ast::JoinConstraint::Natural => {
                    let shown = Joined::new(right.clone());
                    let common = joined.shown().into_iter().map(|column| column.name);
                    let names = common.filter(|name| shown.find(name, "right").is_ok()).collect();
                    joined.using(right, kind, names)?
                }
                ast::JoinConstraint::Using(_) => joined.using(right, kind, names.clone())?,
            };
            if let Some(alias) = alias {
                joined = joined.called(&alias, &names)?;
            }
        }
        let merged = joined.shown().into_iter().filter(is_merged).map(|column| column.name);
        let mut natural = self.natural.lock().unwrap_or_else(PoisonError::into_inner);
        natural.insert(text, merged.collect());
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
    fn find(&self, name: &str, side: &str) -> DfResult<Column> {
        let mut found = self.shown().into_iter().filter(|column| column.name == name);
        let invalid = |what: String, sqlstate: SqlState| -> DataFusionError {
            Error::Invalid { what, sqlstate, hint: None }.into()
        };
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column),
            (None, _) => Err(invalid(
                format!(
                    "column \"{name}\" specified in USING clause does not exist in {side} table"
                ),
                SqlState::UNDEFINED_COLUMN,
            )),
            _ => Err(invalid(
                format!("common column name \"{name}\" appears more than once in {side} table"),
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
                    both.iter().filter_map(|side| side.find(&name, "left").ok()).collect();
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
            let (left, right) = (self.find(name, "left")?, other.find(name, "right")?);
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

    /// The same with merged columns that have a qualifier, too.
    fn called(mut self, alias: &str, names: &[String]) -> DfResult<Self> {
        let all = self.plan.schema().columns().into_iter().map(Expr::Column);
        let merged = names.iter().map(|name| {
            Expr::Column(Column::new(Some(MERGED), name)).alias_qualified(Some(alias), name)
        });
        let columns: Vec<Expr> = all.chain(merged).collect();
        self.plan = LogicalPlanBuilder::from(self.plan).project(columns)?.build()?;
        self.hidden.extend(names.iter().map(|name| Column::new(Some(alias), name)));
        Ok(self)
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
