//! Temporary tables and views: objects of one session.
//!
//! # Semantics
//! They are in a schema of the session's own, `pg_temp_<pid>`, also called `pg_temp`, that its
//! search path has in front; it is made with the first of them. They end with the session or with
//! DISCARD, and with them what others made of them. ON COMMIT DELETE ROWS empties a table after
//! every commit, ON COMMIT DROP drops it with the transaction in which it was made; a statement
//! outside a block is a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::session::Session;
use super::{Engine, Result};
use crate::sql::catalog::{Object, Oid};
use crate::sql::statement::OnCommit;

/// By what name a session can call its own schema.
pub(super) const ALIAS: &str = "pg_temp";

/// What a session has of its own.
#[derive(Default)]
pub(super) struct Temporary {
    /// Its schema, if it has been made.
    schema: Option<String>,
    /// Tables that the end of a transaction changes.
    on_commit: BTreeMap<Oid, OnCommit>,
}

impl Session {
    /// The schema of temporary objects, if there are any.
    pub(super) fn temporary_schema(&self) -> Option<&String> {
        self.temporary.schema.as_ref()
    }

    /// The schema of temporary objects, made if need be. The caller holds the lock on definitions.
    pub(super) fn make_temporary_schema(&mut self) -> String {
        let name = format!("{ALIAS}_{}", self.client.pid);
        self.engine.change_catalog(|catalog| catalog.create_schema(&name));
        self.temporary.schema = Some(name.clone());
        name
    }

    /// Keeps in mind what a commit does to a table.
    pub(super) fn on_commit(&mut self, table: Oid, what: OnCommit) {
        if what != OnCommit::PreserveRows {
            self.temporary.on_commit.insert(table, what);
        }
    }

    /// Does what ON COMMIT says, after a transaction.
    pub(super) async fn after_transaction(&mut self, committed: bool) -> Result<()> {
        if self.temporary.on_commit.is_empty() {
            return Ok(());
        }
        let engine = Arc::clone(&self.engine);
        let catalog = engine.catalog();
        let (mut emptied, mut dropped) = (Vec::new(), Vec::new());
        self.temporary.on_commit.retain(|oid, what| {
            let Some(table) = catalog.get(*oid) else { return false };
            match what {
                OnCommit::Drop => dropped.push(Arc::clone(table)),
                OnCommit::DeleteRows if committed => emptied.push(Arc::clone(table)),
                OnCommit::DeleteRows | OnCommit::PreserveRows => {}
            }
            *what != OnCommit::Drop
        });
        for table in emptied {
            self.empty(&table).await?;
        }
        if !dropped.is_empty() {
            let _guard = engine.ddl.lock().await;
            engine.drop_with_dependents(dropped);
        }
        Ok(())
    }

    /// Drops all temporary objects; returns at once.
    pub(super) fn drop_temporary(&mut self) {
        let Temporary { schema: Some(schema), .. } = std::mem::take(&mut self.temporary) else {
            return;
        };
        let engine = Arc::clone(&self.engine);
        // Without a runtime the server is going down, and everything with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _guard = engine.ddl.lock().await;
                let catalog = engine.catalog();
                let inside = catalog.objects().filter(|object| object.schema == schema);
                engine.drop_with_dependents(inside.cloned().collect());
                engine.change_catalog(|catalog| catalog.drop_schema(&schema));
            });
        }
    }
}

impl Engine {
    /// Drops objects and what was made of them. The caller holds the lock on definitions.
    fn drop_with_dependents(&self, objects: Vec<Arc<Object>>) {
        let catalog = self.catalog();
        for object in objects {
            for gone in catalog.dependents(object.oid).into_iter().chain([object]) {
                self.remove(&gone);
            }
        }
    }
}
