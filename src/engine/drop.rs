//! DROP: what depends on an object goes with it, or keeps it.

use std::sync::Arc;

use sqlparser::ast;

use super::session::Session;
use super::{Error, Result};
use crate::error::SqlState;
use crate::sql::catalog::{Object, ObjectKind};
use crate::sql::names::fold_parts;
use crate::sql::statement::{Drop, DropKind};

impl Session {
    pub(super) async fn drop(&mut self, drop: &Drop) -> Result<String> {
        let mut gone: Vec<Arc<Object>> = Vec::new();
        for name in &drop.names {
            if drop.kind == DropKind::Schema {
                self.drop_schema(name, drop, &mut gone)?;
                continue;
            }
            match self.find(name) {
                Ok(object) => {
                    right_kind(&object, drop.kind)?;
                    self.with_dependents(object, drop.cascade, &mut gone)?;
                }
                Err(_) if drop.if_exists => {
                    let kind = kind_word(drop.kind);
                    let name = fold_parts(name).join(".");
                    let text = format!("{kind} \"{name}\" does not exist, skipping");
                    self.notice(SqlState::SUCCESS, text);
                }
                Err(_) => {
                    return Err(Error::Undefined {
                        kind: kind_word(drop.kind),
                        name: fold_parts(name).join("."),
                        sqlstate: SqlState::UNDEFINED_TABLE,
                    });
                }
            }
        }
        self.engine.finish_sinks(&gone).await;
        for object in gone {
            self.engine.remove(&object);
        }
        if drop.kind == DropKind::Schema {
            for name in &drop.names {
                let name = fold_parts(name).join(".");
                self.engine.change_catalog(|catalog| catalog.drop_schema(&name));
            }
        }
        Ok(format!("DROP {}", kind_word(drop.kind).to_uppercase()))
    }

    fn drop_schema(
        &mut self,
        name: &ast::ObjectName,
        drop: &Drop,
        gone: &mut Vec<Arc<Object>>,
    ) -> Result<()> {
        let name = fold_parts(name).join(".");
        let catalog = self.engine.catalog();
        if !catalog.has_schema(&name) {
            if drop.if_exists {
                let text = format!("schema \"{name}\" does not exist, skipping");
                self.notice(SqlState::SUCCESS, text);
                return Ok(());
            }
            let sqlstate = SqlState::UNDEFINED_SCHEMA;
            return Err(Error::Undefined { kind: "schema", name, sqlstate });
        }
        let inside: Vec<_> = catalog.objects().filter(|o| o.schema == name).cloned().collect();
        if !inside.is_empty() && !drop.cascade {
            let list = inside
                .iter()
                .map(|o| format!("{} {} depends on schema {name}", o.kind_name(), o.name));
            return Err(Error::Refused {
                message: format!("cannot drop schema {name} because other objects depend on it"),
                sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                detail: Some(list.collect::<Vec<_>>().join("\n")),
                hint: Some("Use DROP ... CASCADE to drop the dependent objects too.".into()),
            });
        }
        for object in inside {
            self.with_dependents(object, true, gone)?;
        }
        Ok(())
    }

    /// Adds an object and what has to go with it, readers first.
    fn with_dependents(
        &mut self,
        object: Arc<Object>,
        cascade: bool,
        gone: &mut Vec<Arc<Object>>,
    ) -> Result<()> {
        let catalog = self.engine.catalog();
        let side = match &object.kind {
            ObjectKind::Stream(def) => def.late_into.and_then(|oid| catalog.get(oid).cloned()),
            ObjectKind::Table(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => None,
        };
        let owner = catalog.objects().find(|o| match &o.kind {
            ObjectKind::Stream(def) => def.late_into == Some(object.oid),
            ObjectKind::Table(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => false,
        });
        if let Some(owner) = owner.filter(|owner| !gone.iter().any(|g| g.oid == owner.oid)) {
            return Err(Error::Refused {
                message: format!(
                    "cannot drop stream {} because stream {} requires it",
                    object.name, owner.name
                ),
                sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                detail: None,
                hint: Some(format!("You can drop stream {} instead.", owner.name)),
            });
        }
        let mut dependents = catalog.dependents(object.oid);
        dependents.extend(side.iter().flat_map(|side| catalog.dependents(side.oid)));
        dependents.retain(|d| !gone.iter().any(|g| g.oid == d.oid));
        if !dependents.is_empty() && !cascade {
            let list = dependents.iter().rev().map(|d| {
                format!(
                    "{} {} depends on {} {}",
                    d.kind_name(),
                    d.name,
                    object.kind_name(),
                    object.name
                )
            });
            return Err(Error::Refused {
                message: format!(
                    "cannot drop {} {} because other objects depend on it",
                    object.kind_name(),
                    object.name
                ),
                sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                detail: Some(list.collect::<Vec<_>>().join("\n")),
                hint: Some("Use DROP ... CASCADE to drop the dependent objects too.".into()),
            });
        }
        for dependent in dependents {
            let text = format!("drop cascades to {} {}", dependent.kind_name(), dependent.name);
            self.notice(SqlState::SUCCESS, text);
            gone.push(dependent);
        }
        if !gone.iter().any(|g| g.oid == object.oid) {
            gone.push(object);
        }
        gone.extend(side);
        Ok(())
    }
}

fn kind_word(kind: DropKind) -> &'static str {
    match kind {
        DropKind::Stream => "stream",
        DropKind::Table => "table",
        DropKind::View => "view",
        DropKind::MaterializedView => "materialized view",
        DropKind::Sink => "sink",
        DropKind::Schema => "schema",
    }
}

/// A stream is a table that only grows, so DROP TABLE takes it as well.
fn right_kind(object: &Object, kind: DropKind) -> Result<()> {
    let stream = matches!(object.kind, ObjectKind::Stream(_));
    if object.kind_name() == kind_word(kind) || (stream && kind == DropKind::Table) {
        return Ok(());
    }
    let wanted = kind_word(kind);
    let article = if wanted.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    Err(Error::hinted(
        SqlState::WRONG_OBJECT_TYPE,
        format!("\"{}\" is not {article} {wanted}", object.name),
        format!("Use DROP {} to remove it.", object.kind_name().to_uppercase()),
    ))
}
