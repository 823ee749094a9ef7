//! The extended protocol: statements are parsed once, bound to parameters and run in pieces.
//!
//! # Semantics
//! Parse asks the engine for the types of a statement's parameters and columns, Bind decodes
//! parameters, Execute runs. What is executed up to a Sync is one transaction, unless BEGIN and
//! COMMIT say otherwise. A portal that gave as many rows as were asked for is suspended: its
//! stream stays where it is until the next Execute. A name given to Describe that is no portal of
//! the protocol may be a cursor of DECLARE: to clients they are one kind.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use futures::SinkExt;
use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete,
    PortalSuspended, TARGET_TYPE_BYTE_STATEMENT,
};

use crate::engine::{Description, Outcome};
use crate::error::SqlState;
use crate::sql::statement::{Statement, StatementKind};
use crate::wire::connection::Connection;
use crate::wire::decode;
use crate::wire::encode::{Format, Layout};
use crate::wire::error::{Error, Result};
use crate::wire::pg_type::{in_memory, parameter};
use crate::wire::rows::{Feed, Progress};

/// A statement that was parsed and described.
pub(super) struct Prepared {
    /// The statement; `None` if the string held none.
    statement: Option<Statement>,
    /// The string it came in, for the positions of errors.
    text: String,
    /// Its parameters: the type the client sends and the type the engine takes.
    parameters: Vec<(Type, DataType)>,
    /// Its columns, if it gives rows.
    columns: Option<SchemaRef>,
}

/// A statement bound to parameters.
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    params: Vec<ScalarValue>,
    /// Format codes of the result, as Bind gives them.
    codes: Vec<i16>,
    state: PortalState,
}

/// How far a portal came.
enum PortalState {
    /// Not run yet.
    Bound,
    /// Some of its rows are sent.
    Suspended(Feed),
    /// Run to its end.
    Finished,
}

impl Connection {
    /// Handles Parse.
    pub(super) async fn parse(&mut self, message: Parse) -> Result<()> {
        let name = message.name.unwrap_or_default();
        if !name.is_empty() && self.statements.contains_key(&name) {
            let text = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(SqlState::DUPLICATE_PSTATEMENT, text));
        }
        self.statements.remove(&name);
        let text = message.query;
        let parsed = self.session.parse(&text).map_err(|error| Error::engine(&error, &text))?;
        let mut parsed = parsed.into_iter().filter(|s| !matches!(s.kind, StatementKind::Empty));
        let (statement, more) = (parsed.next(), parsed.next());
        if more.is_some() {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(Error::new(SqlState::SYNTAX_ERROR, text));
        }
        let declared: Vec<Option<Type>> =
            message.type_oids.iter().map(|oid| Type::from_oid(*oid)).collect();
        let description = match &statement {
            Some(statement) => self.ask(statement, &declared, &text).await?,
            None => Description { parameters: Vec::new(), columns: None },
        };
        let parameters = description.parameters.into_iter().enumerate().map(|(i, field)| {
            let declared = declared.get(i).cloned().flatten().filter(|t| *t != Type::UNKNOWN);
            (declared.unwrap_or_else(|| parameter(&field)), field.data_type().clone())
        });
        let prepared = Prepared {
            statement,
            text,
            parameters: parameters.collect(),
            columns: description.columns,
        };
        self.statements.insert(name, Arc::new(prepared));
        Ok(self.socket.feed(Message::ParseComplete(ParseComplete::new())).await?)
    }

    /// Asks the engine what a statement takes and gives.
    async fn ask(
        &mut self,
        statement: &Statement,
        declared: &[Option<Type>],
        text: &str,
    ) -> Result<Description> {
        let deadline = self.deadline();
        let declared: Vec<Option<DataType>> =
            declared.iter().map(|pg_type| pg_type.as_ref().and_then(in_memory)).collect();
        tokio::select! {
            biased;
            interrupt = self.signals.interrupted(deadline) => Err(interrupt.into()),
            description = self.session.describe(statement, &declared) => {
                description.map_err(|error| Error::engine(&error, text))
            }
        }
    }

    /// Handles Bind.
    pub(super) async fn bind(&mut self, message: Bind) -> Result<()> {
        let portal = message.portal_name.unwrap_or_default();
        let taken = self.portals.contains_key(&portal) || self.session.has_cursor(&portal);
        if !portal.is_empty() && taken {
            let text = format!("cursor \"{portal}\" already exists");
            return Err(Error::new(SqlState::DUPLICATE_CURSOR, text));
        }
        let name = message.statement_name.unwrap_or_default();
        let prepared = Arc::clone(self.prepared(&name)?);
        let (given, wanted) = (message.parameters.len(), prepared.parameters.len());
        if given != wanted {
            let text = format!(
                "bind message supplies {given} parameters, \
                 but prepared statement \"{name}\" requires {wanted}"
            );
            return Err(Error::new(SqlState::PROTOCOL_VIOLATION, text));
        }
        let values = message.parameters.iter().zip(&prepared.parameters).enumerate();
        let params = values.map(|(i, (bytes, (pg_type, data_type)))| {
            let format = Format::of(&message.parameter_format_codes, i);
            decode::parameter(bytes.as_deref(), format, pg_type, data_type, self.style.zone)
        });
        let params = params.collect::<Result<_>>()?;
        let codes = message.result_column_format_codes;
        self.portals.insert(portal, Portal { prepared, params, codes, state: PortalState::Bound });
        Ok(self.socket.feed(Message::BindComplete(BindComplete::new())).await?)
    }

    /// Handles Describe.
    pub(super) async fn describe(&mut self, message: Describe) -> Result<()> {
        let name = message.name.unwrap_or_default();
        let layout = if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let prepared = Arc::clone(self.prepared(&name)?);
            let oids = prepared.parameters.iter().map(|(pg_type, _)| pg_type.oid()).collect();
            let parameters = ParameterDescription::new(oids);
            self.socket.feed(Message::ParameterDescription(parameters)).await?;
            prepared.columns.as_ref().map(|columns| Layout::new(columns, &[]))
        } else {
            match self.portals.get(&name) {
                Some(portal) => {
                    let columns = portal.prepared.columns.as_ref();
                    columns.map(|columns| Layout::new(columns, &portal.codes))
                }
                None => self.cursor(&name).await?,
            }
        };
        let answer = match layout {
            Some(layout) => Message::RowDescription(layout.description()),
            None => Message::NoData(NoData::new()),
        };
        Ok(self.socket.feed(answer).await?)
    }

    /// Describes a cursor of DECLARE.
    async fn cursor(&mut self, name: &str) -> Result<Option<Layout>> {
        let missing = || undefined_portal(name);
        let fetch = format!("FETCH ALL FROM \"{}\"", name.replace('"', "\"\""));
        let parsed = self.session.parse(&fetch).map_err(|_| missing())?;
        let statement = parsed.first().ok_or_else(missing)?;
        let description = self.ask(statement, &[], &fetch).await.map_err(|error| match error {
            Error::Statement(_) => missing(),
            other => other,
        })?;
        Ok(description.columns.map(|columns| Layout::new(&columns, &[])))
    }

    /// Handles Execute.
    pub(super) async fn run_portal(&mut self, message: Execute) -> Result<()> {
        let name = message.name.unwrap_or_default();
        // A portal that fails is gone.
        let mut portal = self.portals.remove(&name).ok_or_else(|| undefined_portal(&name))?;
        let limit = u64::try_from(message.max_rows).ok().filter(|limit| *limit > 0);
        // The last statement before Sync ends the transaction; one alone needs none.
        self.ends_message = self.sync_follows().await;
        if !self.ends_message {
            self.session.begin_message();
        }
        self.advance(&mut portal, limit).await?;
        self.ends_message = false;
        self.portals.insert(name, portal);
        Ok(())
    }

    async fn advance(&mut self, portal: &mut Portal, limit: Option<u64>) -> Result<()> {
        let prepared = Arc::clone(&portal.prepared);
        let (deadline, text) = (self.deadline(), prepared.text.as_str());
        let mut feed = match std::mem::replace(&mut portal.state, PortalState::Finished) {
            PortalState::Suspended(feed) => feed,
            PortalState::Finished => {
                let text = "portal cannot be run any more";
                return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, text));
            }
            PortalState::Bound => {
                let Some(statement) = &prepared.statement else {
                    return self.send_empty().await;
                };
                match self.execute(statement, &portal.params, text).await? {
                    Outcome::Empty => return self.send_empty().await,
                    Outcome::Done(tag) => return self.complete(tag).await,
                    Outcome::CopyIn(copy) => {
                        self.forget_sync();
                        return self.copy_in(copy, deadline, text).await;
                    }
                    Outcome::CopyOut(rows, options) => {
                        return self.copy_out(rows, &options, deadline, text).await;
                    }
                    Outcome::Rows(rows) => {
                        let feed = Feed::new(rows, &portal.codes, deadline);
                        prepared.check(&feed.layout)?;
                        feed
                    }
                }
            }
        };
        match self.send_rows(&mut feed, limit, text).await? {
            Progress::Ended(count) => {
                let tag = feed.tag(count);
                portal.state = PortalState::Suspended(feed);
                self.complete(tag).await
            }
            Progress::Suspended => {
                portal.state = PortalState::Suspended(feed);
                self.send_notices().await?;
                Ok(self.socket.feed(Message::PortalSuspended(PortalSuspended::new())).await?)
            }
        }
    }

    /// Handles Close; closing what does not exist is fine.
    pub(super) async fn close(&mut self, message: Close) -> Result<()> {
        let name = message.name.unwrap_or_default();
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            self.statements.remove(&name);
        } else {
            self.portals.remove(&name);
        }
        Ok(self.socket.feed(Message::CloseComplete(CloseComplete::new())).await?)
    }

    fn prepared(&self, name: &str) -> Result<&Arc<Prepared>> {
        self.statements.get(name).ok_or_else(|| {
            let text = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(SqlState::UNDEFINED_PSTATEMENT, text)
        })
    }
}

impl Prepared {
    /// Refuses a result that is not what Describe told: clients trust it and crash.
    fn check(&self, layout: &Layout) -> Result<()> {
        let told = self.columns.as_ref().map(|columns| Layout::new(columns, &[]));
        if told.is_some_and(|told| told.types().eq(layout.types())) {
            return Ok(());
        }
        let text = "cached plan must not change result type";
        Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, text))
    }
}

fn undefined_portal(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_CURSOR, format!("portal \"{name}\" does not exist"))
}
