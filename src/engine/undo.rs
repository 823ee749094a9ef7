//! What a transaction made goes when it rolls back.
//!
//! # Semantics
//! Relations, schemas and functions are there for everybody as soon as they are made. If their
//! transaction rolls back, or a savepoint before them, they are dropped, and with them what others
//! made of them. That is a definition of its own, which the log keeps: what a server that died had
//! not dropped yet stays.

use super::Result;
use super::session::Session;
use crate::sql::catalog::Oid;
use crate::sql::names::{TEMPORARY, quote};

impl Session {
    /// Keeps in mind what a definition made, which are the oids from `first` on.
    pub(super) fn remember_made(&mut self, first: Oid) {
        let made = first..self.engine.catalog().next_oid();
        if let Some(block) = &mut self.block {
            block.made.extend(made);
        }
    }

    /// Drops what transactions that rolled back had made.
    pub(super) async fn undo_definitions(&mut self) -> Result<()> {
        while let Some(oid) = self.undone.pop() {
            if let Some(drop) = self.undoing(oid) {
                self.tell(&drop).await?;
            }
        }
        Ok(())
    }

    /// Drops what the transaction had made with which the client left; returns at once.
    pub(super) fn leave_definitions(&mut self) {
        let mut undone = std::mem::take(&mut self.undone);
        undone.extend(self.block.take().into_iter().flat_map(|block| block.made));
        // Without a runtime the server is going down.
        let runtime = tokio::runtime::Handle::try_current();
        let Some(runtime) = runtime.ok().filter(|_| !undone.is_empty()) else { return };
        let mut session = self.engine.own_session(String::new());
        session.undone = undone;
        runtime.spawn(async move {
            if let Err(error) = session.undo_definitions().await {
                tracing::warn!(%error, "what a transaction made could not be dropped");
            }
        });
    }

    /// The statement that drops what has that oid, if it is still there.
    fn undoing(&self, oid: Oid) -> Option<String> {
        let catalog = self.engine.catalog();
        if let Some(object) = catalog.get(oid) {
            let (kind, schema, name) = (object.kind_name(), &object.schema, &object.name);
            return Some(format!("DROP {kind} {}.{} CASCADE", quote(schema), quote(name)));
        }
        if let Some(function) = catalog.functions().find(|function| function.oid == oid) {
            let types: Vec<_> = function.parameters.iter().map(|p| p.type_text.as_str()).collect();
            let (schema, name) = (quote(&function.schema), quote(&function.name));
            return Some(format!("DROP FUNCTION {schema}.{name}({}) CASCADE", types.join(", ")));
        }
        let schema = catalog.schemas().find(|(_, schema)| *schema == oid)?.0;
        // That of temporary objects is the session's, and goes with it.
        (!schema.starts_with(TEMPORARY)).then(|| format!("DROP SCHEMA {} CASCADE", quote(schema)))
    }
}
