//! CREATE OR REPLACE VIEW; ALTER VIEW .. RENAME, SUSPEND, RESUME.
//!
//! # Semantics
//! A replacement is built beside the query that runs, from what its inputs hold, and takes over at
//! one commit. Subscriptions and queries that read the view see the difference of the two contents
//! as one change. What was planned on promises that the new query does not make (that it never
//! retracts, when its rows are final) is planned and built again with it, and hands over in the
//! same way; a SUBSCRIBE to a query of its own over such a view ends with 55000.

use std::sync::Arc;

use sqlparser::ast;

use super::derived::QueryOptions;
use super::relations::StatementRelations;
use super::session::Session;
use super::view::{Maintained, NewView, is_maintained};
use super::{Error, Result};
use crate::error::SqlState;
use crate::planner::plan::Plan;
use crate::planner::properties::Properties;
use crate::runtime::hub::{JobSpec, Keeps, Replacement};
use crate::runtime::job::Fault;
use crate::sql::catalog::{Column, Object, ObjectKind};
use crate::sql::names::{fold, fold_parts};
use crate::sql::statement::ViewChange;

/// A view whose query is built anew.
struct Rebuilt {
    object: Arc<Object>,
    plan: Plan,
    keeps: Keeps,
}

impl Session {
    /// Puts `new` in the place of the view `old`.
    pub(super) fn replace_view(
        &mut self,
        old: &Arc<Object>,
        new: Object,
        plan: Option<Plan>,
    ) -> Result<()> {
        if !matches!(old.kind, ObjectKind::View(_)) {
            let message = format!("\"{}\" is not a view", old.name);
            return Err(Error::refused(SqlState::WRONG_OBJECT_TYPE, message));
        }
        fits(&old.columns, &new.columns)?;
        let dependents = self.engine.catalog().dependents(old.oid);
        let reads_itself = new.depends_on.contains(&old.oid)
            || dependents.iter().any(|d| new.depends_on.contains(&d.oid));
        if reads_itself {
            return Err(Error::hinted(
                SqlState::INVALID_OBJECT_DEFINITION,
                format!("infinite recursion detected in view \"{}\"", old.name),
                "A view cannot read itself, directly or through other views.",
            ));
        }
        let mut relations = self.relations();
        let new = Arc::make_mut(&mut relations.catalog).insert(new);
        let mut rebuilt = Vec::new();
        let mut keeps = Keeps::Nothing;
        if let Some(plan) = plan {
            keeps = self.keeps(old, &new, &plan);
            relations.properties.insert(new.oid, plan.output_properties());
            rebuilt.push(Rebuilt { object: new, plan, keeps });
        }
        if keeps != Keeps::Readers {
            for dependent in dependents.iter().rev() {
                rebuilt.extend(self.rebuild(dependent, old, &mut relations)?);
            }
        }
        self.start_rebuilt(&rebuilt)?;
        let catalog = relations.catalog;
        self.engine.change_catalog(|current| *current = catalog.as_ref().clone());
        Ok(())
    }

    /// Plans the query of a view again, over objects of which `changed` is about to change.
    fn rebuild(
        &self,
        view: &Arc<Object>,
        changed: &Object,
        relations: &mut StatementRelations,
    ) -> Result<Option<Rebuilt>> {
        let cannot = |reason: String| Error::Refused {
            message: format!(
                "cannot replace view \"{}\" because {} \"{}\" depends on it",
                changed.name,
                view.kind_name(),
                view.name
            ),
            sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            detail: Some(reason),
            hint: Some(format!("Drop {} \"{}\" first.", view.kind_name(), view.name)),
        };
        let ObjectKind::View(def) = &view.kind else {
            return Err(cannot("It has taken what the view promised.".into()));
        };
        let NewView { plan, columns, .. } = self
            .plan_stored(view, relations)
            .map_err(|error| cannot(format!("Over the new view, it fails: {error}")))?;
        if columns.len() != view.columns.len() || fits(&view.columns, &columns).is_err() {
            return Err(cannot("Its own columns would change.".into()));
        }
        let Some(plan) = plan.filter(|_| def.maintained) else { return Ok(None) };
        relations.properties.insert(view.oid, plan.output_properties());
        let keeps = self.keeps(view, view, &plan);
        Ok(Some(Rebuilt { object: Arc::clone(view), plan, keeps }))
    }

    /// Plans a view's query from its text.
    fn plan_stored(&self, view: &Object, relations: &StatementRelations) -> Result<NewView> {
        let ObjectKind::View(def) = &view.kind else {
            return Err(Error::Internal(format!("\"{}\" is not a view", view.name)));
        };
        let query = crate::sql::parse_query_text(&def.query)?;
        let names: Vec<_> = view.columns.iter().map(|c| c.name.clone()).collect();
        let relations = relations.of_view(def);
        let clock = QueryOptions::new(&def.options)?.clock;
        let how = Maintained { always: def.maintained, clock };
        self.plan_view(&relations, &query, &names, how)
    }

    /// Which readers of a view can go on reading it when `plan` maintains it.
    fn keeps(&self, old: &Object, new: &Object, plan: &Plan) -> Keeps {
        let same_columns = old.columns.len() == new.columns.len();
        let Some(promised) = self.engine.properties_of(old.oid).filter(|_| same_columns) else {
            return Keeps::Nothing;
        };
        let Properties { timeless, time_type, .. } = &promised;
        let properties = plan.output_properties();
        if promised.stream || properties.stream {
            // What was an element of the old stream cannot be taken back.
            return Keeps::Nothing;
        }
        if (timeless, time_type) != (&properties.timeless, &properties.time_type) {
            Keeps::Nothing
        } else if promised.allow(&properties) {
            Keeps::Readers
        } else {
            Keeps::Subscriptions
        }
    }

    fn start_rebuilt(&self, rebuilt: &[Rebuilt]) -> Result<()> {
        let replacements = rebuilt.iter().map(|Rebuilt { object, plan, keeps }| {
            let spec = JobSpec::view(plan, &object.name, object.oid);
            let spec = match &object.kind {
                ObjectKind::View(def) => QueryOptions::new(&def.options)?.spec(spec),
                ObjectKind::Stream(def) => QueryOptions::new(&def.options)?.spec(spec),
                ObjectKind::Table(_) | ObjectKind::Sink(_) => spec,
            };
            Ok(Replacement { spec, keeps: *keeps })
        });
        self.engine.hub().replace(replacements.collect::<Result<_>>()?)?;
        for Rebuilt { object, plan, .. } in rebuilt {
            self.engine.set_properties(object.oid, Some(plan.output_properties()));
        }
        Ok(())
    }

    /// ALTER VIEW.
    pub(super) fn alter_view(
        &mut self,
        name: &ast::ObjectName,
        if_exists: bool,
        change: &ViewChange,
    ) -> Result<String> {
        let view = match self.find(name) {
            Ok(view) => view,
            Err(_) if if_exists => {
                let name = fold_parts(name).join(".");
                let text = format!("relation \"{name}\" does not exist, skipping");
                self.notice(SqlState::SUCCESS, text);
                return Ok("ALTER VIEW".into());
            }
            Err(error) => return Err(error),
        };
        if !matches!(view.kind, ObjectKind::View(_)) {
            return Err(Error::hinted(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not a view", view.name),
                "RENAME, SUSPEND and RESUME are for views.",
            ));
        }
        match change {
            ViewChange::Rename(new) => self.rename_view(&view, new)?,
            ViewChange::Suspend => self.suspend_view(&view)?,
            ViewChange::Resume => self.resume_view(&view)?,
            ViewChange::Refresh if view.kind_name() == "materialized view" => {
                if self.is_suspended(&view) {
                    self.resume_view(&view)?;
                }
                return Ok("REFRESH MATERIALIZED VIEW".into());
            }
            ViewChange::Refresh => {
                return Err(Error::refused(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("\"{}\" is not a materialized view", view.name),
                ));
            }
        }
        let tag = if view.kind_name() == "view" { "ALTER VIEW" } else { "ALTER MATERIALIZED VIEW" };
        Ok(tag.into())
    }

    fn rename_view(&mut self, view: &Arc<Object>, new: &ast::Ident) -> Result<()> {
        let name = ast::ObjectName::from(vec![new.clone()]);
        self.new_name(&name)?;
        let name = fold(new);
        self.taken(&view.schema, &name, false)?;
        let dependents = self.engine.catalog().dependents(view.oid);
        if let Some(reader) = dependents.last() {
            return Err(Error::Refused {
                message: format!("cannot rename view \"{}\"", view.name),
                sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                detail: Some(format!(
                    "The text of {} \"{}\" names it.",
                    reader.kind_name(),
                    reader.name
                )),
                hint: Some("Drop what reads it, rename, and create that again.".into()),
            });
        }
        self.engine.change_catalog(|catalog| {
            catalog.remove(view.oid);
            catalog.insert(Object { name, ..view.as_ref().clone() })
        });
        Ok(())
    }

    pub(super) fn suspend_view(&mut self, view: &Object) -> Result<()> {
        if !is_maintained(view) {
            return Err(Error::hinted(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("view \"{}\" is inlined where it is read", view.name),
                "Only maintained views run, and can be suspended.",
            ));
        }
        let fault = Fault {
            sqlstate: SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            message: format!("view \"{}\" is suspended", view.name),
        };
        self.engine.hub().suspend(view.oid, fault);
        Ok(())
    }

    fn is_suspended(&self, view: &Object) -> bool {
        let job = self.engine.hub().view(view.oid);
        job.is_some_and(|job| job.publication.fault().is_some())
    }

    /// Starts a suspended view, and those that were suspended because they read it, from what
    /// their inputs hold now.
    fn resume_view(&mut self, view: &Arc<Object>) -> Result<()> {
        let catalog = self.engine.catalog();
        let suspended = |object: &Object| self.is_suspended(object);
        if !suspended(view) {
            let text = format!("view \"{}\" is not suspended", view.name);
            self.notice(SqlState::SUCCESS, text);
            return Ok(());
        }
        let below = catalog
            .objects()
            .find(|o| suspended(o) && catalog.dependents(o.oid).iter().any(|d| d.oid == view.oid));
        if let Some(below) = below {
            return Err(Error::hinted(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("view \"{}\", which it reads, is suspended", below.name),
                format!("Resume it with ALTER VIEW {} RESUME.", below.name),
            ));
        }
        let mut relations = self.relations();
        let mut rebuilt = Vec::new();
        let mut all = catalog.dependents(view.oid);
        all.retain(|d| suspended(d));
        all.push(Arc::clone(view));
        for object in all.iter().rev() {
            rebuilt.extend(self.rebuild(object, view, &mut relations)?);
        }
        self.start_rebuilt(&rebuilt)
    }
}

/// Refuses new columns that readers of the old ones would trip over, as Postgres does.
fn fits(old: &[Column], new: &[Column]) -> Result<()> {
    let refuse = |message: String| Err(Error::refused(SqlState::INVALID_TABLE_DEFINITION, message));
    if new.len() < old.len() {
        return refuse("cannot drop columns from view".into());
    }
    for (old, new) in old.iter().zip(new) {
        if old.name != new.name {
            let (old, new) = (&old.name, &new.name);
            return refuse(format!("cannot change name of view column \"{old}\" to \"{new}\""));
        }
        if old.data_type != new.data_type {
            return refuse(format!(
                "cannot change data type of view column \"{}\" from {} to {}",
                old.name, old.sql_type.name, new.sql_type.name
            ));
        }
    }
    Ok(())
}
