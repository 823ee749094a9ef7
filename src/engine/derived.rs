//! CREATE STREAM AS: a stream whose elements a query makes, and the options of such queries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::columns::columns_of;
use super::create::{retain, retention};
use super::session::Session;
use super::{Error, Result, query};
use crate::error::SqlState;
use crate::planner::bind::{bind_query, visible_names};
use crate::planner::lower::{self, Request, TIME_COLUMN, Wanted};
use crate::planner::plan::{Clock, Plan};
use crate::planner::relation::Names;
use crate::runtime::history::Retention;
use crate::runtime::hub::JobSpec;
use crate::sql::catalog::{Catalog, Object, ObjectKind, StreamDef};
use crate::sql::derived::CreateStreamAs;

/// `WITH (..)` of CREATE VIEW, CREATE STREAM AS and CREATE SINK.
pub(super) struct QueryOptions {
    /// `clock = 'event' | 'arrival'`.
    pub clock: Option<Clock>,
    /// `snapshot`: whether what the query finds at its start is part of a stream, and what streams
    /// retain part of a relation.
    pub snapshot: bool,
    /// `retention` of a stream.
    pub retention: Retention,
    /// `retain` of a relation: for how long its past is kept, in microseconds.
    pub retain: Option<i64>,
    /// `on_error = 'fail'`: a row that cannot be computed suspends the query.
    pub fail_on_error: bool,
    /// An option that has a meaning for streams only, if one is given.
    of_stream: Option<&'static str>,
}

impl QueryOptions {
    /// Reads the options.
    pub(super) fn new(options: &BTreeMap<String, String>) -> Result<Self> {
        let of_stream = ["retention"].into_iter().find(|o| options.contains_key(*o));
        let (clock, snapshot, fail_on_error) = (None, true, false);
        let retention = retention(options)?;
        let retain = retain(options)?;
        let mut read = Self { clock, snapshot, retention, retain, fail_on_error, of_stream };
        for (key, value) in options {
            match (key.as_str(), value.to_ascii_lowercase().as_str()) {
                ("clock", "event") => read.clock = Some(Clock::Event),
                ("clock", "arrival") => read.clock = Some(Clock::Arrival),
                ("snapshot", "true" | "on" | "1" | "yes") => read.snapshot = true,
                ("snapshot", "false" | "off" | "0" | "no") => read.snapshot = false,
                ("on_error", "fail") => read.fail_on_error = true,
                ("on_error", "skip") => read.fail_on_error = false,
                ("retention" | "retain", _) => {}
                ("on_error", _) => {
                    return Err(invalid(
                        key,
                        value,
                        "It is 'skip' (a row that cannot be computed goes to hw.errors) or 'fail' \
                         (it suspends the view).",
                    ));
                }
                ("clock", _) => return Err(invalid(key, value, "Use 'event' or 'arrival'.")),
                ("snapshot", _) => return Err(invalid(key, value, "Use true or false.")),
                _ => {
                    return Err(Error::hinted(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!("unrecognized option \"{key}\""),
                        "Options are on_error, clock, snapshot, for relations retain and for \
                         streams retention.",
                    ));
                }
            }
        }
        Ok(read)
    }

    /// Refuses options of streams for what turned out to be a relation.
    pub(super) fn check(&self, plan: &Plan) -> Result<()> {
        if self.retain.is_some() && plan.is_stream() {
            return Err(retain_of_stream());
        }
        match self.of_stream.filter(|_| !plan.is_stream()) {
            None => Ok(()),
            Some(option) => Err(Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("option \"{option}\" is for streams, and this is a relation"),
                "Leave it out, or add ISTREAM, DSTREAM or RSTREAM before the select list.",
            )),
        }
    }

    /// A query as the options say.
    pub(super) fn spec<'a>(&self, spec: JobSpec<'a>) -> JobSpec<'a> {
        let from_now = !self.snapshot && !spec.plan.is_stream();
        let (keep, snapshot) = (Some(self.retention), self.snapshot || from_now);
        let Self { retain, fail_on_error, .. } = *self;
        JobSpec { keep, snapshot, from_now, retain, fail_on_error, ..spec }
    }
}

/// The error of `retain` for a stream.
pub(super) fn retain_of_stream() -> Error {
    Error::hinted(
        SqlState::INVALID_PARAMETER_VALUE,
        "option \"retain\" is for relations, and this is a stream",
        "What a stream keeps says retention.",
    )
}

fn invalid(key: &str, value: &str, hint: &str) -> Error {
    let message = format!("invalid value for option \"{key}\": \"{value}\"");
    Error::hinted(SqlState::INVALID_PARAMETER_VALUE, message, hint)
}

impl Session {
    pub(super) fn create_stream_as(
        &mut self,
        create: &CreateStreamAs,
        text: Arc<str>,
    ) -> Result<()> {
        let options = QueryOptions::new(&create.options)?;
        if options.retain.is_some() {
            return Err(retain_of_stream());
        }
        let (schema, name) = self.new_name(&create.name)?;
        if self.taken(&schema, &name, create.if_not_exists)? {
            return Ok(());
        }
        let (plan, names, depends_on) = self.stream_plan(create, options.clock)?;
        let columns = columns_of(&plan.root.schema, &names)?;
        self.verdict("stream", &name, &plan)?;
        let def = StreamDef {
            event_time: plan.root.properties.time_column,
            by_rows: false,
            watermark: None,
            partitioned: false,
            lateness: 0,
            late: String::new(),
            late_into: None,
            late_to_windows: false,
            options: create.options.clone(),
            query: Some(Arc::clone(&create.query_text)),
        };
        let oid = self.engine.change_catalog(Catalog::fresh_oid);
        self.engine.hub().start_job(options.spec(JobSpec::view(&plan, &name, oid)))?;
        self.engine.set_properties(oid, Some(plan.output_properties()));
        self.engine.change_catalog(|catalog| {
            catalog.insert(Object {
                oid,
                schema,
                name,
                columns,
                kind: ObjectKind::Stream(Arc::new(def)),
                sql: text,
                depends_on,
                comment: None,
            })
        });
        Ok(())
    }

    /// The plan of a derived stream, with the names of its columns and the objects it names.
    pub(super) fn stream_plan(
        &self,
        create: &CreateStreamAs,
        clock: Option<Clock>,
    ) -> Result<(Plan, Vec<String>, BTreeSet<u32>)> {
        let relations = self.relations();
        let functions = &*relations.functions;
        let names = Names::new(&relations, functions, Arc::clone(&create.query.windows));
        let bound = query::with_params(bind_query(&create.query, &names)?, &[])?;
        let mut columns = visible_names(&bound);
        let emitting = Request::emitting(create.query.emit);
        let request = Request { wanted: Wanted::Stamped, clock, ..emitting };
        let plan = lower::continuous(bound, request, functions)?;
        if plan.root.schema.fields().len() > columns.len() {
            columns.push(TIME_COLUMN.to_owned());
        }
        Ok((plan, columns, names.used()))
    }
}
