//! A session's view of the server: statements in, outcomes out.
//!
//! `wire` is written against [`Engine`], [`Session`] and [`Outcome`] alone.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use crate::sql::statement::Statement;

mod error;
pub mod outcome;
pub mod pg_catalog;

pub use error::{Error, Result};
pub use outcome::{Client, Description, Notice, Outcome, TransactionStatus};

/// The server: catalog, commits, running views. One per process.
pub struct Engine {}

impl Engine {
    /// Opens a session for a client.
    pub fn session(self: &Arc<Self>, client: Client) -> Session {
        Session { engine: Arc::clone(self), client }
    }
}

/// One client's session. Statements run one at a time.
pub struct Session {
    engine: Arc<Engine>,
    client: Client,
}

impl Session {
    /// Parses a string of statements. An error carries the location within `sql`.
    pub fn parse(&self, _sql: &str) -> Result<Vec<Statement>> {
        let _ = (&self.engine, &self.client);
        Err(Error::Internal("not built yet".into()))
    }

    /// Tells the types of a statement's parameters and result. `declared` are the types the client gave.
    pub async fn describe(
        &mut self,
        _statement: &Statement,
        _declared: &[Option<DataType>],
    ) -> Result<Description> {
        Err(Error::Internal("not built yet".into()))
    }

    /// Runs a statement. Dropping the future or the outcome cancels it.
    pub async fn execute(
        &mut self,
        _statement: &Statement,
        _params: &[ScalarValue],
    ) -> Result<Outcome> {
        Err(Error::Internal("not built yet".into()))
    }

    /// The transaction block's state, for ReadyForQuery. `execute` keeps it.
    pub fn transaction(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    /// Tells the session that a row stream it handed out ended in an error: fails the block, if any.
    pub fn fail(&mut self) {}

    /// Takes the notices that came up since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }

    /// Takes the parameters (ParameterStatus) that changed since the last call; all reported ones at first.
    pub fn take_parameters(&mut self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// `statement_timeout` in milliseconds; 0 is none.
    pub fn statement_timeout_ms(&self) -> u64 {
        0
    }
}
