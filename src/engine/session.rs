//! One client's session: statements one at a time, cursors, settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast;

use super::activity::Live;
use super::cursor::Cursor;
use super::introspect::Introspection;
use super::outcome::Rows;
use super::query::Once;
use super::relations::StatementRelations;
use super::temporary::Temporary;
use super::transaction::Block;
use super::{
    Client, Engine, Error, Notice, Outcome, Result, aside, cursor, explain, query, stall, subscribe,
};
use crate::error::SqlState;
use crate::planner::bind::{bind_query, constant};
use crate::planner::relation::Names;
use crate::sql;
use crate::sql::catalog::Oid;
use crate::sql::names::fold;
use crate::sql::output::style::Style;
use crate::sql::statement::{Query, Statement, StatementKind};
use crate::sql::variables::Variables;

/// One client's session. Statements run one at a time.
pub struct Session {
    pub(super) engine: Arc<Engine>,
    pub(super) client: Client,
    pub(super) live: Arc<Live>,
    pub(super) block: Option<Block>,
    /// Whether statements outside a block are one transaction until the end of the message.
    pub(super) together: bool,
    pub(super) variables: Variables,
    pub(super) cursors: BTreeMap<String, Cursor>,
    prepared: BTreeMap<String, Prepared>,
    pub(super) notices: Vec<Notice>,
    reported: BTreeMap<String, String>,
    pub(super) introspection: Option<Introspection>,
    pub(super) temporary: Temporary,
    /// What transactions that rolled back had made, and is still there.
    pub(super) undone: Vec<Oid>,
}

/// A statement of PREPARE.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) statement: Statement,
    types: Vec<ast::DataType>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave_definitions();
        self.drop_temporary();
        self.engine.close_session(self.client.pid);
    }
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>, client: Client, live: Arc<Live>) -> Self {
        let mut variables = Variables::default();
        // An application name of any text is fine.
        let _ = variables.set_startup("application_name", &client.application_name);
        Self {
            engine,
            client,
            live,
            block: None,
            together: false,
            variables,
            cursors: BTreeMap::new(),
            prepared: BTreeMap::new(),
            notices: Vec::new(),
            reported: BTreeMap::new(),
            introspection: None,
            temporary: Temporary::default(),
            undone: Vec::new(),
        }
    }

    /// Parses a string of statements. An error carries the location within `sql`.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        Ok(aside::compute(|| sql::parse(sql))?)
    }

    /// Takes the notices that came up since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        let least = self.variables.get("client_min_messages").unwrap_or_default();
        let rank = |severity: &str| match severity.to_ascii_lowercase().as_str() {
            "error" => 3,
            "warning" => 2,
            "notice" => 1,
            _ => 0,
        };
        let mut notices = std::mem::take(&mut self.notices);
        notices.retain(|notice| rank(notice.severity) >= rank(&least));
        notices
    }

    /// Takes the parameters (ParameterStatus) that changed since the last call; all reported ones
    /// at first.
    pub fn take_parameters(&mut self) -> Vec<(String, String)> {
        let mut changed = Vec::new();
        for (name, value) in self.variables.reported() {
            if self.reported.get(name) != Some(&value) {
                self.reported.insert(name.to_owned(), value.clone());
                changed.push((name.to_owned(), value));
            }
        }
        changed
    }

    /// Whether there is a cursor of that name.
    pub fn has_cursor(&self, name: &str) -> bool {
        self.cursors.contains_key(name)
    }

    /// `DateStyle` and `IntervalStyle`.
    pub fn style(&self) -> Style {
        self.variables.style()
    }

    /// `statement_timeout` in milliseconds; 0 is none.
    pub fn statement_timeout_ms(&self) -> u64 {
        self.variables.statement_timeout_ms()
    }

    pub(super) fn notice(&mut self, code: SqlState, message: impl Into<String>) {
        self.notices.push(Notice { severity: "NOTICE", code, message: message.into(), hint: None });
    }

    pub(super) fn warning(
        &mut self,
        code: SqlState,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.notices.push(Notice { severity: "WARNING", code, message: message.into(), hint });
    }

    /// Schemas for unqualified names.
    pub(super) fn search_path(&self) -> Vec<String> {
        self.temporary_schema().cloned().into_iter().chain(self.named_path()).collect()
    }

    /// Schemas for new objects that are not temporary.
    pub(super) fn named_path(&self) -> Vec<String> {
        let path = self.variables.search_path().into_iter();
        let user = |name: String| if name == "$user" { self.client.user.clone() } else { name };
        path.map(user).collect()
    }

    /// Names as a statement that starts now sees them.
    pub(super) fn relations(&self) -> StatementRelations {
        let (zone, style) = (self.variables.time_zone(), self.variables.style());
        StatementRelations::new(&self.engine, self.search_path(), &zone, style)
    }

    /// What a query that starts now runs against.
    pub(super) fn once(&self) -> Once {
        let functions = self.engine.functions(&self.variables.time_zone(), self.variables.style());
        Once { engine: Arc::clone(&self.engine), functions, pending: self.pending() }
    }

    /// Runs a statement. Dropping the future or the outcome cancels it.
    pub async fn execute(
        &mut self,
        statement: &Statement,
        params: &[ScalarValue],
    ) -> Result<Outcome> {
        self.show_active(&statement.text);
        self.undo_definitions().await?;
        self.open_transaction(&statement.kind)?;
        for (long, short) in &statement.cut_names {
            let text = format!("identifier \"{long}\" will be truncated to \"{short}\"");
            self.notice(SqlState::NAME_TOO_LONG, text);
        }
        let result = aside::run(Box::pin(self.dispatch(statement, params))).await;
        if result.is_err() {
            self.fail();
        }
        if self.block.is_none() {
            self.after_transaction(result.is_ok()).await?;
        }
        result
    }

    async fn dispatch(&mut self, statement: &Statement, params: &[ScalarValue]) -> Result<Outcome> {
        self.check_read_only(&statement.kind)?;
        match &statement.kind {
            StatementKind::Query(query) if query.endless() => {
                let options = subscribe::Options::default();
                Ok(Outcome::Rows(self.subscribe(query, options, params).await?))
            }
            StatementKind::Query(query) => {
                Ok(Outcome::Rows(self.query(&statement.text, query, params).await?))
            }
            StatementKind::Subscribe(s) => {
                let options = self.subscribe_options(s)?;
                Ok(Outcome::Rows(self.subscribe(&s.query, options, params).await?))
            }
            StatementKind::Dml { statement, windows } => self.dml(statement, windows, params).await,
            StatementKind::CopyFrom(copy) => self.copy_from(copy).map(Outcome::CopyIn),
            StatementKind::CopyTo(copy) => {
                match Box::pin(self.dispatch(&copy.source, params)).await? {
                    Outcome::Rows(rows) => Ok(Outcome::CopyOut(rows, copy.options.clone())),
                    _ => Err(Error::Internal("COPY of something without rows".into())),
                }
            }
            StatementKind::Explain(e) => explain::explain(self, e, params).await.map(Outcome::Rows),
            StatementKind::ExplainStall(v) => {
                stall::explain_stall(self, v).await.map(Outcome::Rows)
            }
            StatementKind::Declare { .. }
            | StatementKind::Fetch { .. }
            | StatementKind::Close(_)
            | StatementKind::Prepare { .. }
            | StatementKind::Execute { .. }
            | StatementKind::Deallocate(_) => self.named(statement, params).await,
            StatementKind::ShowWatermarks | StatementKind::Show(_) => {
                self.show(&statement.kind).map(Outcome::Rows)
            }
            StatementKind::Set { .. }
            | StatementKind::SetTransaction { .. }
            | StatementKind::Reset(_)
            | StatementKind::NoOp(_) => self.control(&statement.kind),
            StatementKind::Begin(_)
            | StatementKind::Commit { .. }
            | StatementKind::Rollback { .. }
            | StatementKind::Savepoint(_) => {
                self.transact(&statement.kind).await.map(Outcome::Done)
            }
            StatementKind::Flush => {
                self.engine.hub().flush().await;
                Ok(Outcome::Done("FLUSH".to_owned()))
            }
            StatementKind::Checkpoint => self.engine.checkpoint().await.map(Outcome::Done),
            StatementKind::Backup(dir) => self.engine.back_up(dir).await.map(Outcome::Done),
            StatementKind::Empty => Ok(Outcome::Empty),
            StatementKind::CreateStream(_)
            | StatementKind::CreateStreamAs(_)
            | StatementKind::CreateSink(_)
            | StatementKind::CreateTable(_)
            | StatementKind::CreateView(_)
            | StatementKind::Drop(_)
            | StatementKind::CreateFunction(_)
            | StatementKind::DropFunction(_)
            | StatementKind::CreateSchema { .. }
            | StatementKind::Heartbeat { .. }
            | StatementKind::AlterView { .. }
            | StatementKind::AlterTable(_)
            | StatementKind::CreateIndex(_)
            | StatementKind::DropIndex(_)
            | StatementKind::Comment { .. } => self.define(statement).await.map(Outcome::Done),
        }
    }

    /// Runs a one-shot query.
    async fn query(&mut self, text: &str, query: &Query, params: &[ScalarValue]) -> Result<Rows> {
        let ordinary = self.ordinary_plan(query);
        match self.either_plan(text, ordinary).await? {
            (plan, true) => self.run_catalog(plan, params).await,
            (plan, false) => query::run(&self.once(), plan, params).await,
        }
    }

    pub(super) fn ordinary_plan(&self, query: &Query) -> Result<LogicalPlan> {
        let relations = self.relations();
        let names = Names::new(&relations, &relations.functions, Arc::clone(&query.windows));
        Ok(bind_query(query, &names)?)
    }

    /// Settings.
    fn control(&mut self, kind: &StatementKind) -> Result<Outcome> {
        let done = |tag: &str| Ok(Outcome::Done(tag.to_owned()));
        match kind {
            StatementKind::Set { local, name, value } => {
                if !*local {
                    self.variables.set(name, value.as_deref())?;
                } else if self.block.is_some() {
                    self.variables.set_local(name, value.as_deref())?;
                } else {
                    let code = SqlState::NO_ACTIVE_SQL_TRANSACTION;
                    self.warning(code, "SET LOCAL can only be used in transaction blocks", None);
                }
                done("SET")
            }
            StatementKind::SetTransaction { every, modes } => {
                if *every || self.block.is_some() {
                    self.variables.set_modes(*modes, *every);
                } else {
                    let code = SqlState::NO_ACTIVE_SQL_TRANSACTION;
                    let text = "SET TRANSACTION can only be used in transaction blocks";
                    self.warning(code, text, None);
                }
                done("SET")
            }
            StatementKind::Reset(Some(name)) => {
                self.variables.reset(name)?;
                done("RESET")
            }
            StatementKind::Reset(None) => {
                self.variables.reset_all();
                done("RESET")
            }
            StatementKind::NoOp("DISCARD ALL") if self.block.is_some() => Err(Error::refused(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "DISCARD ALL cannot run inside a transaction block",
            )),
            StatementKind::NoOp(tag) => {
                if matches!(*tag, "DISCARD ALL" | "DISCARD TEMP") {
                    self.drop_temporary();
                }
                if *tag == "DISCARD ALL" {
                    self.cursors.clear();
                    self.prepared.clear();
                    self.variables.reset_all();
                }
                done(tag)
            }
            _ => Err(Error::Internal("not a setting".into())),
        }
    }

    /// Cursors and prepared statements.
    async fn named(&mut self, statement: &Statement, params: &[ScalarValue]) -> Result<Outcome> {
        let done = |tag: &str| Ok(Outcome::Done(tag.to_owned()));
        match &statement.kind {
            StatementKind::Declare { name, hold, scroll, statement } => {
                self.declare(&fold(name), (*hold, *scroll), statement, params).await?;
                done("DECLARE CURSOR")
            }
            StatementKind::Fetch { name, motion, silent, timeout_ms } => {
                let cursor = self.cursor(&fold(name))?;
                let rows = cursor::fetch(&cursor, *motion, *timeout_ms).await?;
                Ok(match silent {
                    true => Outcome::Done(format!("MOVE {}", rows.num_rows())),
                    false => Outcome::Rows(cursor::fetched(&cursor, rows)),
                })
            }
            StatementKind::Close(None) => {
                self.cursors.clear();
                done("CLOSE CURSOR ALL")
            }
            StatementKind::Close(Some(name)) => {
                self.cursor(&fold(name))?;
                self.cursors.remove(&fold(name));
                done("CLOSE CURSOR")
            }
            StatementKind::Prepare { name, types, statement } => {
                let name = fold(name);
                if self.prepared.contains_key(&name) {
                    return Err(Error::Duplicate {
                        kind: "prepared statement",
                        name,
                        sqlstate: SqlState::DUPLICATE_PSTATEMENT,
                    });
                }
                let (statement, types) = (statement.as_ref().clone(), types.clone());
                self.prepared.insert(name, Prepared { statement, types });
                done("PREPARE")
            }
            StatementKind::Execute { name, args } => {
                let prepared = self.prepared(&fold(name))?;
                let described = Box::pin(self.describe(&prepared.statement, &[])).await?;
                let expected = described.parameters.len();
                if expected != args.len() {
                    return Err(wrong_count(&fold(name), expected, args.len()));
                }
                let params = self.arguments(&prepared, args)?;
                Box::pin(self.dispatch(&prepared.statement, &params)).await
            }
            StatementKind::Deallocate(None) => {
                self.prepared.clear();
                done("DEALLOCATE ALL")
            }
            StatementKind::Deallocate(Some(name)) => {
                self.prepared(&fold(name))?;
                self.prepared.remove(&fold(name));
                done("DEALLOCATE")
            }
            _ => Err(Error::Internal("not a named statement".into())),
        }
    }

    pub(super) fn prepared(&self, name: &str) -> Result<Prepared> {
        self.prepared.get(name).cloned().ok_or_else(|| Error::Undefined {
            kind: "prepared statement",
            name: name.to_owned(),
            sqlstate: SqlState::UNDEFINED_PSTATEMENT,
        })
    }

    /// Computes the arguments of EXECUTE.
    fn arguments(&self, prepared: &Prepared, args: &[ast::Expr]) -> Result<Vec<ScalarValue>> {
        let relations = self.relations();
        let state = relations.functions_now();
        let names = Names::new(&relations, &state, Arc::from([]));
        let values = args.iter().enumerate().map(|(i, arg)| {
            let Some(declared) = prepared.types.get(i) else {
                return Ok(constant(arg, &names, &state)?);
            };
            let (_, data_type) = sql::types::column_type(declared)?;
            let value = match data_type {
                DataType::Timestamp(..) => constant(&cast_to(arg, declared), &names, &state)?,
                _ => constant(arg, &names, &state)?,
            };
            Ok(value.cast_to(&data_type)?)
        });
        values.collect()
    }
}

/// The expression that casts a value as SQL does, which reads times in all forms and in the zone.
fn cast_to(expr: &ast::Expr, data_type: &ast::DataType) -> ast::Expr {
    ast::Expr::Cast {
        kind: ast::CastKind::DoubleColon,
        expr: Box::new(expr.clone()),
        data_type: data_type.clone(),
        array: false,
        format: None,
    }
}

/// EXECUTE with too many or too few arguments.
fn wrong_count(name: &str, expected: usize, got: usize) -> Error {
    Error::Refused {
        message: format!("wrong number of parameters for prepared statement \"{name}\""),
        sqlstate: SqlState::SYNTAX_ERROR,
        detail: Some(format!("Expected {expected} parameters but got {got}.")),
        hint: None,
    }
}
