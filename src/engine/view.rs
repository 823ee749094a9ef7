//! CREATE VIEW: inlined or maintained, with the verdict on its state.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::columns::columns_of;
use super::derived::QueryOptions;
use super::relations::StatementRelations;
use super::session::Session;
use super::{Error, Result, query};
use crate::error::SqlState;
use crate::planner::bind::{bind_query, visible_names, with_names};
use crate::planner::doubts::doubts;
use crate::planner::lookup::lookup_node;
use crate::planner::lower::{self, Request, Wanted, window_node};
use crate::planner::plan::{Clock, Plan, ScanKind};
use crate::planner::relation::{Names, RelationSource};
use crate::planner::temporal::asks_time;
use crate::planner::to_stream::to_stream_node;
use crate::planner::verdict::warnings;
use crate::planner::window::WindowKind;
use crate::runtime::hub::JobSpec;
use crate::sql::catalog::{Catalog, Column, Object, ObjectKind, Oid, ViewDef};
use crate::sql::names::fold;
use crate::sql::statement::{CreateView, Query};
use crate::sql::variables::UnboundedState;

/// A view as it is going to be.
pub(super) struct NewView {
    /// The query that maintains it; `None` is inlined where it is read.
    pub plan: Option<Plan>,
    /// Columns.
    pub columns: Vec<Column>,
    /// Objects it reads.
    pub depends_on: BTreeSet<Oid>,
}

/// How a view is to be maintained.
#[derive(Clone, Copy)]
pub(super) struct Maintained {
    /// Whether it is, also if it need not be.
    pub always: bool,
    /// `WITH (clock = ..)`.
    pub clock: Option<Clock>,
}

impl Session {
    pub(super) fn create_view(&mut self, create: &CreateView, text: Arc<str>) -> Result<String> {
        let tag = if create.materialized { "CREATE MATERIALIZED VIEW" } else { "CREATE VIEW" };
        let options = QueryOptions::new(&create.options)?;
        let (schema, name) = match create.temporary {
            true => self.new_temporary_name(&create.name)?,
            false => self.new_name(&create.name)?,
        };
        let old = self.engine.catalog().find(&schema, &name).filter(|_| create.or_replace).cloned();
        if old.is_none() && self.taken(&schema, &name, create.if_not_exists)? {
            return Ok(tag.into());
        }
        let names: Vec<_> = create.columns.iter().map(fold).collect();
        // What options say of a query is said of one that runs.
        let always = create.materialized
            || !create.options.is_empty()
            || old.as_ref().is_some_and(|old| is_maintained(old));
        let how = Maintained { always, clock: options.clock };
        let new = self.plan_view(&self.relations(), &create.query, &names, how)?;
        if let Some(plan) = &new.plan {
            options.check(plan)?;
            self.verdict("view", &name, plan)?;
        }
        let maintained = new.plan.is_some();
        let def = ViewDef {
            materialized: create.materialized,
            maintained,
            query: Arc::clone(&create.query_text),
            search_path: self.search_path(),
            time_zone: self.variables.time_zone(),
            options: create.options.clone(),
        };
        let oid = match &old {
            Some(old) => old.oid,
            None => self.engine.change_catalog(Catalog::fresh_oid),
        };
        let object = Object {
            oid,
            schema,
            name: name.clone(),
            columns: new.columns,
            kind: ObjectKind::View(Arc::new(def)),
            sql: text,
            depends_on: new.depends_on,
            comment: old.as_ref().and_then(|old| old.comment.clone()),
        };
        match old {
            Some(old) => self.replace_view(&old, object, new.plan)?,
            None => {
                if let Some(plan) = &new.plan {
                    let spec = options.spec(JobSpec::view(plan, &name, oid));
                    self.engine.hub().start_job(spec)?;
                    self.engine.set_properties(oid, Some(plan.output_properties()));
                }
                self.engine.change_catalog(|catalog| catalog.insert(object));
            }
        }
        if !create.with_data
            && let Some(view) = self.engine.catalog().get(oid)
        {
            self.suspend_view(view)?;
        }
        let kind = if maintained { "maintained" } else { "inlined where it is read" };
        self.notice(SqlState::SUCCESS, format!("view \"{name}\" is {kind}"));
        Ok(tag.into())
    }

    /// Plans a view's query; `names` stand for its first columns' own.
    pub(super) fn plan_view(
        &self,
        relations: &StatementRelations,
        query: &Query,
        names: &[String],
        how: Maintained,
    ) -> Result<NewView> {
        let functions = &*relations.functions;
        let scope = Names::new(relations, functions, Arc::clone(&query.windows));
        let scope = if how.always { scope } else { scope.of_view() };
        let bound = query::with_params(bind_query(query, &scope)?, &[])?;
        let depends_on = scope.used();
        let mut column_names = visible_names(&bound);
        if names.len() > column_names.len() {
            return Err(Error::refused(
                SqlState::SYNTAX_ERROR,
                "CREATE VIEW specifies more column names than columns",
            ));
        }
        column_names[..names.len()].clone_from_slice(names);
        let maintained = how.always || query.emit.is_some() || !inlinable(&bound)?;
        if maintained {
            let bound = if names.is_empty() { bound } else { with_names(bound, &column_names)? };
            let wanted = if query.to_stream { Wanted::Stream } else { Wanted::Changes };
            let emitting = Request::emitting(query.emit);
            let request = Request { wanted, clock: how.clock, ..emitting };
            let plan = lower::continuous(bound, request, functions)?;
            let columns = columns_of(&plan.root.schema, &column_names)?;
            return Ok(NewView { plan: Some(plan), columns, depends_on });
        }
        let columns = columns_of(&query::named_schema(&bound, &column_names), &column_names)?;
        Ok(NewView { plan: None, columns, depends_on })
    }

    /// Warns of what may not be meant, and of state that only grows, or refuses that, as
    /// `unbounded_state` says.
    pub(super) fn verdict(&mut self, kind: &str, name: &str, plan: &Plan) -> Result<()> {
        for (what, hint) in doubts(plan) {
            self.warning(SqlState::WARNING, what, Some(hint));
        }
        let setting = self.variables.unbounded_state();
        if setting == UnboundedState::Allow {
            return Ok(());
        }
        for (what, hint) in warnings(plan) {
            let message = format!("the state of {kind} \"{name}\" grows without bound: {what}");
            if setting == UnboundedState::Refuse {
                return Err(Error::unsupported(message, hint));
            }
            self.warning(SqlState::WARNING, message, Some(hint));
        }
        Ok(())
    }
}

/// Returns whether an object is a view whose content is kept.
pub(super) fn is_maintained(object: &Object) -> bool {
    matches!(&object.kind, ObjectKind::View(def) if def.maintained)
}

/// Returns whether a view keeps nothing: it reads tables only, or is a filter and projection of
/// streams.
fn inlinable(plan: &LogicalPlan) -> Result<bool> {
    let (mut tables_only, mut stateless) = (true, true);
    plan.apply_with_subqueries(|node| {
        // What compares with now() changes by itself, and what is looked up stays as it was.
        let looked_up = lookup_node(node).is_some();
        stateless &= !asks_time(node) && !looked_up;
        tables_only &= !looked_up;
        match node {
            LogicalPlan::TableScan(scan) => {
                if let Some(source) = scan.source.downcast_ref::<RelationSource>() {
                    tables_only &= source.kind() == ScanKind::Table;
                    stateless &= source.is_stream();
                }
            }
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            }
            LogicalPlan::Union(_) | LogicalPlan::Unnest(_) => {}
            other => {
                let tvf = window_node(other)
                    .is_some_and(|window| matches!(window.kind, WindowKind::Assign(_)));
                stateless &= tvf || to_stream_node(other).is_some_and(query::passes);
                tables_only &= to_stream_node(other).is_none();
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables_only || stateless)
}
