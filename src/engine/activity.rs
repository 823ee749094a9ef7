//! What every session is doing, for `pg_stat_activity`, and its end from outside.

use std::sync::Mutex;

use super::session::Session;
use super::{Client, TransactionStatus, lock};
use crate::time::Timestamp;

/// An open session, as others see it.
pub(super) struct Live {
    pub(super) client: Client,
    pub(super) started: Timestamp,
    now: Mutex<Doing>,
}

/// What a session is doing.
#[derive(Clone, Debug)]
pub(super) struct Doing {
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub(super) state: &'static str,
    /// Its last statement, and when it began.
    pub(super) query: String,
    pub(super) query_started: Option<Timestamp>,
    pub(super) application_name: String,
}

impl Live {
    pub(super) fn new(client: Client, started: Timestamp) -> Self {
        let application_name = client.application_name.clone();
        let query = String::new();
        let doing = Doing { state: "idle", query, query_started: None, application_name };
        Self { client, started, now: Mutex::new(doing) }
    }

    pub(super) fn doing(&self) -> Doing {
        lock(&self.now).clone()
    }
}

impl Session {
    /// Lets others see that a statement begins.
    pub(super) fn show_active(&self, text: &str) {
        let now = self.engine.hub().clock().now();
        let mut doing = lock(&self.live.now);
        doing.state = "active";
        doing.query.clear();
        doing.query.push_str(text);
        doing.query_started = Some(now);
    }

    /// Lets others see that the session waits for its client.
    pub fn show_idle(&self) {
        let application_name = self.variables.get("application_name").unwrap_or_default();
        let mut doing = lock(&self.live.now);
        doing.state = match self.transaction() {
            TransactionStatus::Idle => "idle",
            TransactionStatus::Block => "idle in transaction",
            TransactionStatus::Failed => "idle in transaction (aborted)",
        };
        doing.application_name = application_name;
    }
}
