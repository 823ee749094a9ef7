//! Temporary tables and views: objects of one session.
//!
//! # Semantics
//! They are in a schema of the session's own, `pg_temp_<pid>`, also called `pg_temp`, that its
//! search path has in front; it is made with the first of them. They end with the session or with
//! DISCARD, and with them what others made of them. ON COMMIT DELETE ROWS empties a table after
//! every commit, ON COMMIT DROP drops it with the transaction in which it was made; a statement
//! outside a block is a transaction.
//!
//! What is dropped is dropped by statements of its own, which the log keeps as all others; what a
//! server left when it ended is dropped when it starts again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::session::Session;
use super::{Client, Engine, Interrupt, Result};
use crate::sql::catalog::{Object, Oid};
use crate::sql::names::{TEMPORARY, quote};
use crate::sql::statement::OnCommit;

/// The setting by which the log keeps the name of a session's schema.
pub(super) const SETTING: &str = "highwater.temporary_schema";

/// What a session has of its own.
#[derive(Default)]
pub(super) struct Temporary {
    /// Its schema, if it has been made.
    schema: Option<String>,
    /// What its schema is called, if not after the session.
    name: Option<String>,
    /// How many schemas it had before.
    discarded: usize,
    /// Tables that the end of a transaction changes.
    on_commit: BTreeMap<Oid, OnCommit>,
}

impl Session {
    /// The schema of temporary objects, if there are any.
    pub(super) fn temporary_schema(&self) -> Option<&String> {
        self.temporary.schema.as_ref()
    }

    /// Goes on with a schema of temporary objects, or with none; what is in it stays.
    pub(super) fn set_temporary_schema(&mut self, name: Option<String>) {
        let catalog = self.engine.catalog();
        let made = |name: &String| catalog.schemas().any(|(schema, _)| schema == name);
        let schema = name.clone().filter(made);
        self.temporary = Temporary { schema, name, ..Temporary::default() };
    }

    /// What the schema of temporary objects is called, or will be.
    pub(super) fn temporary_name(&self) -> String {
        let Temporary { schema, name, discarded, .. } = &self.temporary;
        let given = schema.as_ref().or(name.as_ref()).cloned();
        given.unwrap_or_else(|| match (self.client.pid, discarded) {
            (pid, 0) => format!("{TEMPORARY}_{pid}"),
            (pid, before) => format!("{TEMPORARY}_{pid}_{before}"),
        })
    }

    /// The schema of temporary objects, made if need be. The caller holds the lock on definitions.
    pub(super) fn make_temporary_schema(&mut self) -> String {
        let name = self.temporary_name();
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
        if self.temporary.on_commit.is_empty() || self.engine.hub().is_recovering() {
            return Ok(());
        }
        let catalog = self.engine.catalog();
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
        for Object { schema, name, .. } in dropped.iter().map(AsRef::as_ref) {
            let name = format!("{}.{}", quote(schema), quote(name));
            self.tell(&format!("DROP TABLE {name} CASCADE")).await?;
        }
        Ok(())
    }

    /// Drops all temporary objects; returns at once.
    pub(super) fn drop_temporary(&mut self) {
        let discarded = self.temporary.discarded + 1;
        let old =
            std::mem::replace(&mut self.temporary, Temporary { discarded, ..Temporary::default() });
        let Some(schema) = old.schema else { return };
        let engine = Arc::clone(&self.engine);
        // Without a runtime the server is going down; it drops them when it starts again.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = engine.drop_schema_of_session(&schema).await {
                    tracing::warn!(%error, schema, "temporary objects could not be dropped");
                }
            });
        }
    }

    /// Runs a definition of the server's own, without telling the client of it.
    pub(super) async fn tell(&mut self, text: &str) -> Result<()> {
        let notices = std::mem::take(&mut self.notices);
        for statement in self.parse(text)? {
            Box::pin(self.define(&statement)).await?;
        }
        self.notices = notices;
        Ok(())
    }
}

/// Nobody interrupts the server itself.
#[derive(Debug)]
struct Uninterrupted;

impl Interrupt for Uninterrupted {
    fn cancel(&self) {}

    fn terminate(&self) {}
}

impl Engine {
    /// A session of the server's own.
    pub(super) fn own_session(self: &Arc<Self>, user: String) -> Session {
        self.session(Client {
            user,
            database: String::new(),
            application_name: String::new(),
            address: None,
            pid: OWN_PID,
            interrupt: Arc::new(Uninterrupted),
        })
    }

    /// Drops what sessions left when the server ended.
    pub(super) async fn drop_temporary(self: &Arc<Self>) -> Result<()> {
        let catalog = self.catalog();
        let prefix = format!("{TEMPORARY}_");
        let left = catalog.schemas().map(|(name, _)| name).filter(|name| name.starts_with(&prefix));
        for schema in left {
            self.drop_schema_of_session(schema).await?;
        }
        Ok(())
    }

    async fn drop_schema_of_session(self: &Arc<Self>, schema: &str) -> Result<()> {
        let mut session = self.own_session(String::new());
        session.tell(&format!("DROP SCHEMA {} CASCADE", quote(schema))).await
    }
}

/// The process id of the server's own sessions; clients have greater ones.
const OWN_PID: i32 = 0;
