//! CREATE VIEW: inlined or maintained, with the verdict on its state.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::columns::columns_of;
use super::session::Session;
use super::{Error, Result, query, subscribe};
use crate::error::SqlState;
use crate::planner::bind::{bind_query, visible_names};
use crate::planner::explain::warnings;
use crate::planner::lower::{self, window_node};
use crate::planner::plan::{Plan, ScanKind};
use crate::planner::relation::{Names, RelationSource};
use crate::planner::window::WindowKind;
use crate::runtime::hub::JobSpec;
use crate::sql::catalog::{Object, ObjectKind, ViewDef};
use crate::sql::names::fold;
use crate::sql::statement::CreateView;
use crate::sql::variables::UnboundedState;

impl Session {
    pub(super) fn create_view(&mut self, create: &CreateView, text: Arc<str>) -> Result<String> {
        let tag = if create.materialized { "CREATE MATERIALIZED VIEW" } else { "CREATE VIEW" };
        refuse_later(create)?;
        let (schema, name) = self.new_name(&create.name)?;
        if self.taken(&schema, &name, create.if_not_exists)? {
            return Ok(tag.into());
        }
        let relations = self.relations();
        let functions = self.engine.functions();
        let names = Names::new(&relations, functions, Arc::clone(&create.query.windows));
        let bound = query::with_params(bind_query(&create.query, &names)?, &[])?;
        let depends_on = names.used();
        let plan_names = self.column_names(create, &bound)?;
        let on_close = subscribe::on_close(create.query.emit)?;
        let emit = create.query.emit.is_some();
        let maintained = create.materialized || emit || !inlinable(&bound)?;
        let (plan, columns) = if maintained {
            let plan = lower::continuous(bound, on_close, functions)?;
            let columns = columns_of(&plan.root.schema, &plan_names)?;
            (Some(plan), columns)
        } else {
            // Planned to the end, so that a bad view is refused now and not when it is read.
            let options = functions.config_options();
            let bound = functions.analyzer().execute_and_check(bound, options, |_, _| {})?;
            let columns = columns_of(&query::named_schema(&bound, &plan_names), &plan_names)?;
            (None, columns)
        };
        if let Some(plan) = &plan {
            self.verdict(&name, plan)?;
        }
        let oid = self.engine.change_catalog(crate::sql::catalog::Catalog::fresh_oid);
        if let Some(plan) = &plan {
            self.engine.hub().start_job(JobSpec {
                plan,
                name: &name,
                oid: Some(oid),
                keep: true,
                snapshot: true,
                feed: None,
            })?;
            self.engine.set_properties(oid, Some(plan.output_properties()));
        }
        let kind = if maintained { "maintained" } else { "inlined where it is read" };
        self.notice(SqlState::SUCCESS, format!("view \"{name}\" is {kind}"));
        let def = ViewDef {
            materialized: create.materialized,
            maintained,
            query: Arc::clone(&create.query_text),
            search_path: self.search_path(),
        };
        self.engine.change_catalog(|catalog| {
            catalog.insert(Object {
                oid,
                schema,
                name,
                columns,
                kind: ObjectKind::View(Arc::new(def)),
                sql: text,
                depends_on,
                comment: None,
            })
        });
        Ok(tag.into())
    }

    fn column_names(&self, create: &CreateView, bound: &LogicalPlan) -> Result<Vec<String>> {
        let mut names = visible_names(bound);
        if create.columns.len() > names.len() {
            return Err(Error::refused(
                SqlState::SYNTAX_ERROR,
                "CREATE VIEW specifies more column names than columns",
            ));
        }
        for (name, column) in names.iter_mut().zip(&create.columns) {
            *name = fold(column);
        }
        Ok(names)
    }

    /// Warns of state that only grows, or refuses it, as `unbounded_state` says.
    fn verdict(&mut self, name: &str, plan: &Plan) -> Result<()> {
        let setting = self.variables.unbounded_state();
        if setting == UnboundedState::Allow {
            return Ok(());
        }
        for (what, hint) in warnings(plan) {
            let message = format!("the state of view \"{name}\" grows without bound: {what}");
            if setting == UnboundedState::Refuse {
                return Err(Error::unsupported(message, hint));
            }
            self.warning(SqlState::WARNING, message, Some(hint));
        }
        Ok(())
    }
}

/// Refuses what is to come.
fn refuse_later(create: &CreateView) -> Result<()> {
    if create.or_replace {
        return Err(Error::unsupported(
            "CREATE OR REPLACE VIEW is not supported yet",
            "DROP the view and create it again.",
        ));
    }
    if let Some(option) = create.options.keys().next() {
        return Err(Error::unsupported(
            format!("view option \"{option}\" is not supported yet"),
            "Leave the WITH clause out.",
        ));
    }
    Ok(())
}

/// Returns whether a view keeps nothing: it reads tables only, or is a filter and projection of
/// streams.
fn inlinable(plan: &LogicalPlan) -> Result<bool> {
    let (mut tables_only, mut stateless) = (true, true);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                if let Some(source) = scan.source.downcast_ref::<RelationSource>() {
                    tables_only &= source.kind() == ScanKind::Table;
                    stateless &= source.kind() == ScanKind::Stream;
                }
            }
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            }
            LogicalPlan::Union(_) | LogicalPlan::Unnest(_) => {}
            other => {
                let tvf = window_node(other)
                    .is_some_and(|window| matches!(window.kind, WindowKind::Assign(_)));
                stateless &= tvf;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables_only || stateless)
}
