//! Joins whose lateral side names a relation before the comma.
//!
//! # Semantics
//! ```text
//!   FROM a, b JOIN LATERAL f(a.x) ON c    FROM a CROSS JOIN b JOIN LATERAL f(a.x) ON c
//! ```
//! Both are the same where nothing keeps unmatched rows of the right: `a × (b ⋈ f) = (a × b) ⋈ f`.
//!
//! # Why
//! What is lateral becomes a join with what stands left of it ([`super::decorrelate`]), and in the
//! first form `a` does not.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Join, JoinConstraint, JoinOperator, TableFactor, TableWithJoins, Visit, Visitor,
};

use crate::sql::names::{fold, fold_parts};

/// Takes commas before such joins for cross joins.
pub(super) fn flatten(from: &mut Vec<TableWithJoins>) {
    let mut before = BTreeSet::new();
    for item in std::mem::take(from) {
        let names = item.joins.iter().map(|join| &join.relation).chain([&item.relation]);
        let names: Vec<String> = names.filter_map(name).collect();
        match from.last_mut().filter(|_| concerns(&item, &before)) {
            Some(left) => {
                let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
                let relation = item.relation;
                left.joins.push(Join { relation, global: false, join_operator });
                left.joins.extend(item.joins);
            }
            None => from.push(item),
        }
        before.extend(names);
    }
}

/// What a relation is called.
fn name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(fold(&alias.name)),
        TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => {
            fold_parts(name).pop()
        }
        _ => None,
    }
}

/// Whether a side of a list of joins names what stands before, and the list may follow a cross
/// join.
fn concerns(item: &TableWithJoins, before: &BTreeSet<String>) -> bool {
    let plain = |constraint: &JoinConstraint| {
        matches!(constraint, JoinConstraint::On(_) | JoinConstraint::None)
    };
    let keeps_left = |join: &Join| match &join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::CrossJoin(constraint) => plain(constraint),
        _ => false,
    };
    let names = |join: &Join| join.relation.visit(&mut Qualifiers(before)).is_break();
    item.joins.iter().all(keeps_left) && item.joins.iter().any(names)
}

/// Looks for columns that are qualified by one of the names.
struct Qualifiers<'a>(&'a BTreeSet<String>);

impl Visitor for Qualifiers<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(parts)
                if parts.first().is_some_and(|part| self.0.contains(&fold(part))) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
