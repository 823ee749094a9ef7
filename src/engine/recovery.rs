//! Starting from the log: what the server was told is told again.
//!
//! # Semantics
//! Records are told in their order, each at the moment at which it came: writes to the hub,
//! definitions to a session with the settings of the one that ran them. The views then hold what
//! they held, watermarks stand where they stood, late rows are counted as before, and connectors
//! and sinks go on where the last commit left them.
//!
//! # Cost
//! As long as it takes the queries to do again what they did.

use std::path::Path;
use std::sync::Arc;

use super::session::Session;
use super::{Client, Engine, Error, Interrupt, Result, source};
use crate::clock::HeldClock;
use crate::error::Classify;
use crate::runtime::hub::Write;
use crate::runtime::journal::{self, Definition, Input, Journal, Moment};
use crate::sql::catalog::Oid;
use crate::storage::log::{self, Reader};

/// The process id of the session that tells definitions again; clients have greater ones.
const PID: i32 = 0;

/// Nobody interrupts a start.
#[derive(Debug)]
struct Uninterrupted;

impl Interrupt for Uninterrupted {
    fn cancel(&self) {}

    fn terminate(&self) {}
}

impl Engine {
    /// Brings a new engine to where the log in a directory ends, and goes on there.
    pub(super) async fn recover(self: &Arc<Self>, dir: &Path, clock: &HeldClock) -> Result<()> {
        let mut reader = Reader::open(dir).map_err(crate::runtime::Error::from)?;
        let mut records: u64 = 0;
        self.hub.recover();
        while let Some(block) = reader.next_block().map_err(crate::runtime::Error::from)? {
            for record in log::records(&block) {
                records += 1;
                self.tell(record, clock).await.map_err(|error| {
                    let text = format!("record {records} of the log cannot be told again: {error}");
                    Error::Refused {
                        message: text,
                        sqlstate: error.sqlstate(),
                        detail: error.detail(),
                        hint: error.hint(),
                    }
                })?;
            }
        }
        clock.release();
        self.hub.resume(Some(Journal::resume(reader)?));
        source::restart(self).await;
        tracing::info!(records, "the log has been told again");
        Ok(())
    }

    async fn tell(self: &Arc<Self>, record: &[u8], clock: &HeldClock) -> Result<()> {
        let (moment, input) = journal::decode(record, |oid| self.hub.schema(oid))?;
        match input {
            Input::Writes(writes) => {
                let objects: Vec<Oid> = writes.iter().map(Write::object).collect();
                self.hub.room(&objects).await;
                self.at(&moment, clock);
                self.hub.commit(writes)?;
            }
            Input::Tick => {
                self.at(&moment, clock);
                self.hub.on_clock();
            }
            Input::Heartbeat(at) => {
                self.at(&moment, clock);
                self.hub.heartbeat(at)?;
            }
            Input::Definition(definition) => {
                // What it finds of the queries, such as that one is suspended, is as it was.
                self.hub.idle().await;
                self.at(&moment, clock);
                self.define_again(definition).await?;
            }
        }
        Ok(())
    }

    fn at(&self, moment: &Moment, clock: &HeldClock) {
        clock.hold(moment.now);
        self.hub.rewind(moment);
    }

    async fn define_again(self: &Arc<Self>, definition: Definition) -> Result<()> {
        let Definition { text, user, settings, oid } = definition;
        let mut session = self.session(Client {
            user,
            database: String::new(),
            application_name: String::new(),
            address: None,
            pid: PID,
            interrupt: Arc::new(Uninterrupted),
        });
        for (name, value) in &settings {
            session.variables.set_startup(name, value)?;
        }
        self.change_catalog(|catalog| catalog.set_next_oid(oid));
        for statement in session.parse(&text)? {
            session.execute(&statement, &[]).await?;
        }
        Ok(())
    }
}

impl Session {
    /// A definition as it is recorded.
    pub(super) fn definition(&self, text: &str) -> Definition {
        Definition {
            text: text.to_owned(),
            user: self.client.user.clone(),
            settings: self.variables.settings(),
            oid: self.engine.catalog().next_oid(),
        }
    }
}
