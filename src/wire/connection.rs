//! One client's connection: the message loop and what it keeps between messages.
//!
//! # Invariants
//! 1. Every message is handled to its end before the next one is read, so answers keep the order of
//!    questions.
//! 2. Nothing waits without watching [`Signals`], but for the socket to take a short answer.
//! 3. After an error in the extended protocol, messages are skipped until Sync, as Postgres does.
//! 4. What the extended protocol runs up to a Sync, outside a block, is one transaction.
//! 5. Portals do not outlive the transaction block they were opened in.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use futures::{FutureExt, SinkExt, StreamExt};
use pgwire::error::ErrorInfo;
use pgwire::messages::response::{CommandComplete, ReadyForQuery, TransactionStatus as Status};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::MaybeTls;
use tokio::time::{Duration, Instant};
use tokio_util::codec::Framed;

use crate::engine::{self, Outcome, Session, TransactionStatus};
use crate::error::SqlState;
use crate::sql::statement::{Statement, StatementKind};
use crate::wire::cancel::{Interrupt, Registration, Signals};
use crate::wire::codec::{Codec, Inbound};
use crate::wire::encode::Style;
use crate::wire::error::{Error, Result, error_response, notice_response};
use crate::wire::extended::{Portal, Prepared};

/// A client's socket, seen as messages.
pub(super) type Socket = Framed<MaybeTls, Codec>;

/// A message, or why there is none.
type Received = Result<Inbound>;

/// One client's connection, after startup.
pub(super) struct Connection {
    /// Where messages come from and go to.
    pub(super) socket: Socket,
    /// The engine's side of the connection.
    pub(super) session: Session,
    /// What can end a statement early.
    pub(super) signals: Signals,
    /// Settings that show in text output; follows the session's parameters.
    pub(super) style: Style,
    /// Statements of the extended protocol by name; the unnamed one has the empty name.
    pub(super) statements: BTreeMap<String, Arc<Prepared>>,
    /// Portals of the extended protocol by name.
    pub(super) portals: BTreeMap<String, Portal>,
    /// Whether the statement that runs is the last one of its message: its end is the message's.
    pub(super) ends_message: bool,
    /// Whether messages are skipped until the next Sync.
    skipping: bool,
    /// A message that was read before its turn.
    ahead: Option<Option<Received>>,
    /// Makes cancel requests find this connection.
    registration: Registration,
}

impl Connection {
    /// Starts with a client that has been let in.
    pub(super) fn new(
        socket: Socket,
        session: Session,
        signals: Signals,
        registration: Registration,
    ) -> Connection {
        Connection {
            socket,
            session,
            signals,
            style: Style::default(),
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            ends_message: false,
            skipping: false,
            ahead: None,
            registration,
        }
    }

    /// Answers messages until the client leaves or the connection fails.
    pub(super) async fn serve(&mut self) -> Result<()> {
        loop {
            let Some(message) = self.receive().await else { return Ok(()) };
            let (extended, result) = match message {
                Ok(Inbound::Message(message)) => {
                    (message.is_extended_query(), self.handle(message).await)
                }
                Ok(Inbound::NoText { extended, .. }) if extended && self.skipping => {
                    (extended, Ok(()))
                }
                Ok(Inbound::NoText { extended, byte }) => (extended, Err(Error::no_text(byte))),
                Err(error) => (false, Err(error)),
            };
            match result {
                Ok(()) => {}
                Err(Error::Statement(info)) => self.report(*info, extended).await?,
                Err(Error::Fatal(info)) => {
                    self.socket.send(error_response(*info)).await?;
                    return Ok(self.socket.close().await?);
                }
                Err(closed @ Error::Closed(_)) => return Err(closed),
            }
        }
    }

    /// Takes the next message; `None` when there are no more.
    async fn receive(&mut self) -> Option<Received> {
        if let Some(message) = self.ahead.take() {
            return message;
        }
        tokio::select! {
            biased;
            () = self.signals.shutdown.cancelled() => Some(Err(Error::from(Interrupt::Shutdown))),
            message = self.socket.next() => match message {
                None | Some(Ok(Inbound::Message(PgWireFrontendMessage::Terminate(_)))) => None,
                Some(Ok(message)) => Some(Ok(message)),
                Some(Err(error)) => {
                    Some(Err(Error::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string())))
                }
            },
        }
    }

    /// Whether the next message is Sync. A client that wants an answer sends one, or Flush, so it
    /// is no loss to wait for it.
    pub(super) async fn sync_follows(&mut self) -> bool {
        let next = self.receive().await;
        let sync = matches!(&next, Some(Ok(Inbound::Message(PgWireFrontendMessage::Sync(_)))));
        self.ahead = Some(next);
        sync
    }

    /// Passes over a Sync that was read ahead: while a client sends COPY data, it says nothing.
    pub(super) fn forget_sync(&mut self) {
        let sync = |next: &mut Option<Received>| {
            matches!(next, Some(Ok(Inbound::Message(PgWireFrontendMessage::Sync(_)))))
        };
        self.ahead.take_if(sync);
    }

    /// Handles a message; a panic becomes an error, and the connection survives it.
    async fn handle(&mut self, message: PgWireFrontendMessage) -> Result<()> {
        if self.skipping && !matches!(message, PgWireFrontendMessage::Sync(_)) {
            return Ok(());
        }
        self.signals.cancel = self.registration.running.begin();
        let result = AssertUnwindSafe(self.dispatch(message)).catch_unwind().await;
        self.registration.running.end();
        result.unwrap_or_else(|payload| Err(Error::panic(payload.as_ref())))
    }

    async fn dispatch(&mut self, message: PgWireFrontendMessage) -> Result<()> {
        match message {
            PgWireFrontendMessage::Query(query) => {
                self.simple_query(&query.query).await?;
                self.ready().await
            }
            PgWireFrontendMessage::Parse(parse) => self.parse(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(bind).await,
            PgWireFrontendMessage::Describe(describe) => self.describe(describe).await,
            PgWireFrontendMessage::Execute(execute) => self.run_portal(execute).await,
            PgWireFrontendMessage::Close(close) => self.close(close).await,
            PgWireFrontendMessage::Flush(_) => Ok(self.socket.flush().await?),
            PgWireFrontendMessage::Sync(_) => {
                self.skipping = false;
                // What a pipeline did is committed before the client reads that it is over.
                let committed = self.session.end_message().await;
                committed.map_err(|error| Error::engine(&error, ""))?;
                self.ready().await
            }
            // What a client still sends of a COPY that has failed.
            PgWireFrontendMessage::CopyData(_)
            | PgWireFrontendMessage::CopyDone(_)
            | PgWireFrontendMessage::CopyFail(_) => Ok(()),
            _ => Err(Error::fatal(SqlState::PROTOCOL_VIOLATION, "unexpected message")),
        }
    }

    /// Tells the client of a failed statement.
    async fn report(&mut self, info: ErrorInfo, extended: bool) -> Result<()> {
        self.ends_message = false;
        self.session.fail();
        self.send_notices().await?;
        self.socket.feed(error_response(info)).await?;
        if extended {
            self.skipping = true;
            Ok(self.socket.flush().await?)
        } else {
            self.ready().await
        }
    }

    /// Ends a round of messages: the client may send the next query.
    pub(super) async fn ready(&mut self) -> Result<()> {
        self.session.show_idle();
        self.send_parameters().await?;
        let status = match self.session.transaction() {
            TransactionStatus::Idle => Status::Idle,
            TransactionStatus::Block => Status::Transaction,
            TransactionStatus::Failed => Status::Error,
        };
        if status != Status::Transaction {
            self.portals.clear();
        }
        let ready = PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status));
        Ok(self.socket.send(ready).await?)
    }

    /// Runs a statement to its outcome; `text` is the string it came in.
    pub(super) async fn execute(
        &mut self,
        statement: &Statement,
        params: &[ScalarValue],
        text: &str,
    ) -> Result<Outcome> {
        if let Some(outcome) = self.deallocate(statement) {
            return Ok(outcome);
        }
        let outcome = self.attempt(statement, params).await?;
        let outcome = outcome.map_err(|error| Error::engine(&error, text))?;
        self.send_parameters().await?;
        Ok(outcome)
    }

    /// Runs a statement unless it is interrupted.
    async fn attempt(
        &mut self,
        statement: &Statement,
        params: &[ScalarValue],
    ) -> Result<engine::Result<Outcome>> {
        let deadline = self.deadline();
        let signals = &self.signals;
        let interrupted = async {
            // A client may send its last change and hang up; whoever asks for rows has to stay.
            if asks_for_rows(&statement.kind) {
                signals.interrupted(deadline).await
            } else {
                signals.told_to_stop(deadline).await
            }
        };
        let running = self.session.execute(statement, params);
        tokio::pin!(interrupted, running);
        let mut flushed = false;
        loop {
            tokio::select! {
                biased;
                interrupt = &mut interrupted => return Err(interrupt.into()),
                outcome = &mut running => return Ok(outcome),
                // Results of statements before this one need not wait for it.
                result = self.socket.flush(), if !flushed => {
                    result?;
                    flushed = true;
                }
            }
        }
    }

    /// Forgets prepared statements of the protocol when SQL says so: to clients they are one kind.
    fn deallocate(&mut self, statement: &Statement) -> Option<Outcome> {
        match &statement.kind {
            StatementKind::Deallocate(Some(name)) => {
                self.statements.remove(&name.value)?;
                Some(Outcome::Done("DEALLOCATE".to_owned()))
            }
            StatementKind::Deallocate(None) | StatementKind::NoOp("DISCARD ALL") => {
                self.statements.clear();
                None
            }
            _ => None,
        }
    }

    /// Returns when a statement that starts now has to end.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.session.statement_timeout_ms() {
            0 => None,
            millis => Instant::now().checked_add(Duration::from_millis(millis)),
        }
    }

    /// Ends a statement well.
    pub(super) async fn complete(&mut self, tag: String) -> Result<()> {
        if std::mem::take(&mut self.ends_message) {
            // The client must not read of success before the message's transaction is committed.
            self.session.end_message().await.map_err(|error| Error::engine(&error, ""))?;
        }
        self.send_notices().await?;
        let complete = PgWireBackendMessage::CommandComplete(CommandComplete::new(tag));
        Ok(self.socket.feed(complete).await?)
    }

    /// Follows the settings that show in text output.
    pub(super) fn follow_parameters(&mut self, changed: &[(String, String)]) {
        for (name, value) in changed {
            match name.as_str() {
                "TimeZone" => self.style.zone = value.parse().ok(),
                "DateStyle" | "IntervalStyle" => self.style.times = self.session.style(),
                _ => {}
            }
        }
    }

    /// Returns the process id and the secret that cancel requests name.
    pub(super) fn identity(&self) -> (i32, i32) {
        (self.registration.pid, self.registration.secret)
    }

    pub(super) async fn send_notices(&mut self) -> Result<()> {
        for notice in self.session.take_notices() {
            self.socket.feed(notice_response(notice)).await?;
        }
        Ok(())
    }

    /// Tells the client which parameters changed, and follows them.
    pub(super) async fn send_parameters(&mut self) -> Result<()> {
        let changed = self.session.take_parameters();
        self.follow_parameters(&changed);
        for (name, value) in changed {
            let status = PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name, value));
            self.socket.feed(status).await?;
        }
        Ok(())
    }
}

/// Returns whether nobody needs the statement's effect once the client is gone.
fn asks_for_rows(kind: &StatementKind) -> bool {
    matches!(
        kind,
        StatementKind::Query(_)
            | StatementKind::Subscribe(_)
            | StatementKind::Fetch { .. }
            | StatementKind::CopyTo(_)
            | StatementKind::Explain(_)
            | StatementKind::ExplainStall(_)
            | StatementKind::Show(_)
    )
}
