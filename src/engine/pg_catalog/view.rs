//! What the catalog is a picture of: the engine, as one session sees it.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::sql::catalog::Catalog;
use crate::time::Timestamp;

/// The engine, as one session sees it. Asked anew for every relation that a query names.
pub trait CatalogView: Debug + Send + Sync {
    /// Schemas and objects.
    fn catalog(&self) -> Arc<Catalog>;

    /// Whose session this is.
    fn identity(&self) -> Identity;

    /// Relations of the schema `hw`, in an order that never changes.
    fn system_relations(&self) -> Vec<SystemRelation> {
        Vec::new()
    }

    /// All settings with their present values.
    fn settings(&self) -> Vec<Setting> {
        Vec::new()
    }

    /// All sessions.
    fn sessions(&self) -> Vec<Activity> {
        Vec::new()
    }

    /// When the server started.
    fn started(&self) -> Timestamp {
        Timestamp(0)
    }

    /// Cancels what session `pid` runs; returns whether there is such a session.
    fn cancel(&self, _pid: i32) -> bool {
        false
    }

    /// Ends session `pid`; returns whether there is such a session.
    fn terminate(&self, _pid: i32) -> bool {
        false
    }
}

/// Whose session it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The database it is connected to.
    pub database: String,
    /// Its user.
    pub user: String,
    /// Its process id, as clients know it.
    pub pid: i32,
    /// Schemas in which it looks for unqualified names.
    pub search_path: Vec<String>,
}

/// A relation about the engine itself.
#[derive(Clone, Debug)]
pub struct SystemRelation {
    /// Its name in the schema `hw`.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
}

/// A setting, as `pg_settings` shows it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Name.
    pub name: String,
    /// Present value.
    pub value: String,
    /// Value after RESET.
    pub default: String,
    /// What it does, in a sentence.
    pub description: String,
}

/// A session, as `pg_stat_activity` shows it.
#[derive(Clone, Debug)]
pub struct Activity {
    /// Process id.
    pub pid: i32,
    /// Database.
    pub database: String,
    /// User.
    pub user: String,
    /// Name of the client program.
    pub application_name: String,
    /// Address of the client.
    pub address: Option<SocketAddr>,
    /// When it began.
    pub started: Timestamp,
    /// When its last statement began.
    pub query_started: Option<Timestamp>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    /// Its last statement.
    pub query: String,
}
