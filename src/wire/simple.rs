//! The simple protocol: a string of statements, each answered before the next one runs.
//!
//! They are one transaction, as far as they do not say otherwise.

use futures::SinkExt;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::EmptyQueryResponse;

use crate::engine::Outcome;
use crate::sql::statement::{Statement, StatementKind};
use crate::wire::connection::Connection;
use crate::wire::error::{Error, Result};
use crate::wire::rows::{Feed, Progress};

impl Connection {
    /// Runs all statements of `text`; the first error ends it.
    pub(super) async fn simple_query(&mut self, text: &str) -> Result<()> {
        self.statements.remove("");
        self.portals.remove("");
        let parsed = self.session.parse(text).map_err(|error| Error::engine(&error, text))?;
        let statements = parsed.iter().filter(|s| !matches!(s.kind, StatementKind::Empty));
        let statements: Vec<_> = statements.collect();
        let Some((last, before)) = statements.split_last() else { return self.send_empty().await };
        if !before.is_empty() {
            self.session.begin_message();
        }
        for statement in before {
            self.run_simple(statement, text).await?;
        }
        self.ends_message = !before.is_empty();
        self.run_simple(last, text).await
    }

    async fn run_simple(&mut self, statement: &Statement, text: &str) -> Result<()> {
        let deadline = self.deadline();
        match self.execute(statement, &[], text).await? {
            Outcome::Empty => self.send_empty().await,
            Outcome::Done(tag) => self.complete(tag).await,
            Outcome::Rows(rows) => {
                let mut feed = Feed::new(rows, &[], deadline);
                let description = PgWireBackendMessage::RowDescription(feed.layout.description());
                self.socket.feed(description).await?;
                match self.send_rows(&mut feed, None, text).await? {
                    Progress::Ended(count) => self.complete(feed.tag(count)).await,
                    Progress::Suspended => unreachable!("rows without a limit end"),
                }
            }
            Outcome::CopyIn(copy) => self.copy_in(copy, deadline, text).await,
            Outcome::CopyOut(rows, options) => self.copy_out(rows, &options, deadline, text).await,
        }
    }

    /// Answers a string without statements.
    pub(super) async fn send_empty(&mut self) -> Result<()> {
        let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
        Ok(self.socket.feed(empty).await?)
    }
}
