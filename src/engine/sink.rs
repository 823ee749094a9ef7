//! CREATE SINK .. INTO: a query that writes into a stream or a table.
//!
//! # Semantics
//! Every commit that changes the query's result is followed by one commit of the sink. Into a
//! stream, and into a table without a primary key, go the elements of a query that only appends, as
//! an INSERT would bring them. Into another table go upserts and deletions by its primary key: the
//! row of a key becomes that of the query, and goes when the query has none any more. A query that
//! has two rows of one key suspends the sink. Columns that the query does not give get their
//! defaults.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::ArrayRef;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast;
use tokio_util::sync::CancellationToken;

use super::assignment::columns_of_query;
use super::columns::index_of;
use super::derived::QueryOptions;
use super::dml::{check_columns, check_not_null, fitted, refuse_derived};
use super::session::Session;
use super::{Engine, Error, Result, lock, query};
use crate::delta::{Delta, batch};
use crate::error::{Classify, SqlState};
use crate::fault;
use crate::operators::evaluate::row_text;
use crate::planner::bind::{bind_query, visible_names};
use crate::planner::lower::{self, Request, Wanted};
use crate::planner::plan::Plan;
use crate::planner::relation::Names;
use crate::runtime::hub::{Hub, JobSpec, Write};
use crate::runtime::image::{Others, Subject};
use crate::runtime::job::Fault;
use crate::runtime::packet::Commit;
use crate::runtime::sink::SinkProgress;
use crate::runtime::subscription::{Change, Feed};
use crate::sql::catalog::{Catalog, Object, ObjectKind, Oid, SinkDef};
use crate::sql::derived::CreateSink;
use crate::storage::{Bag, Misfit, NONE, StateReader, StateWriter, Store};
use crate::time::{Position, Timestamp};

/// How long DROP waits for a sink to write what has been committed.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Why a sink to the outside stands still on a server that began with a backup.
const RESTORED: &str = "55000: the server was restored from a backup, and what the sink wrote \
                        since is not known; drop it, and create it anew";

/// Where an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// This server, which goes on.
    Here,
    /// Another one, that goes on beside this one or after it. Both would write the same commits
    /// outside, with different rows.
    Backup,
}

/// A running sink, for the system relations.
pub(super) struct SinkStatus {
    /// Changes written.
    pub rows: AtomicU64,
    /// Why it stopped.
    pub fault: Mutex<Option<String>>,
    /// Why it tries again.
    pub trouble: Mutex<Option<String>>,
    /// Of a table: the keys that the query has rows of, with their number; and the last commit
    /// that counts there.
    keys: Mutex<Option<(Bag, Position)>>,
    /// What goes outside, has been taken from the feed, and is not known to be written.
    taken: Mutex<Vec<Change>>,
    progress: Arc<SinkProgress>,
    pub(super) feed: Arc<Feed>,
    /// Whether it writes outside of the server.
    outside: bool,
    /// Says that there is no such sink any more.
    pub(super) dropped: CancellationToken,
}

/// A sink whose query runs.
pub(super) struct Started {
    pub(super) progress: Arc<SinkProgress>,
    pub(super) status: Arc<SinkStatus>,
}

impl Session {
    pub(super) async fn create_sink(&mut self, create: &CreateSink, text: Arc<str>) -> Result<()> {
        let Some(into) = &create.into else { return self.create_sink_to(create, text).await };
        let options = QueryOptions::new(&create.options)?;
        let (schema, name) = self.new_name(&create.name)?;
        if self.taken(&schema, &name, create.if_not_exists)? {
            return Ok(());
        }
        let into = self.find(into)?;
        check_target(&into, create)?;
        let keyed = matches!(&into.kind, ObjectKind::Table(def) if !def.primary_key.is_empty());
        let fit = |query: LogicalPlan, names: &Names<'_>| into_columns(query, create, &into, names);
        let (plan, _, reads) = self.sink_plan(create, keyed, &options, fit)?;
        refuse_cycle(&self.engine.catalog(), &into, &reads)?;
        self.verdict("sink", &name, &plan)?;
        let keys = match &into.kind {
            ObjectKind::Table(def) if !def.primary_key.is_empty() => {
                Some(Bag::new(Arc::new(into.arrow_schema().project(&def.primary_key)?))?)
            }
            _ => None,
        };
        let oid = self.engine.change_catalog(Catalog::fresh_oid);
        let Started { progress, status } =
            self.start_sink(&plan, &options, (oid, &name, into.oid), keys)?;
        let writer = Writer::new(&self.engine, (oid, Arc::clone(&into)), progress, status);
        tokio::spawn(writer.run());
        let query = Arc::clone(&create.query_text);
        let def = SinkDef { into: Some(into.oid), place: into.name.clone(), query };
        let mut depends_on = reads;
        depends_on.insert(into.oid);
        self.add_sink((oid, schema, name), def, text, depends_on);
        Ok(())
    }

    /// Starts the query of a sink. What goes outside counts as written into the sink itself.
    pub(super) fn start_sink(
        &self,
        plan: &Plan,
        options: &QueryOptions,
        (oid, name, into): (Oid, &str, Oid),
        keys: Option<Bag>,
    ) -> Result<Started> {
        let feed = Arc::new(Feed::new(usize::MAX, true));
        let spec = options.spec(JobSpec::view(plan, name, oid));
        let spec = JobSpec { keep: None, feed: Some(Arc::clone(&feed)), ..spec };
        let job = self.engine.hub().start_job(spec)?;
        let progress = self.engine.hub().add_sink(oid, job, into);
        let (rows, fault, trouble) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        let status = Arc::new(SinkStatus {
            rows,
            fault,
            trouble,
            keys: Mutex::new(keys.map(|keys| (keys, Position::default()))),
            taken: Mutex::default(),
            progress: Arc::clone(&progress),
            feed,
            outside: into == oid,
            dropped: CancellationToken::new(),
        });
        lock(&self.engine.sinks).insert(oid, Arc::clone(&status));
        Ok(Started { progress, status })
    }

    /// Puts a sink into the catalog.
    pub(super) fn add_sink(
        &self,
        (oid, schema, name): (Oid, String, String),
        def: SinkDef,
        sql: Arc<str>,
        depends_on: BTreeSet<Oid>,
    ) {
        let kind = ObjectKind::Sink(Arc::new(def));
        let (columns, comment) = (vec![], None);
        let object = Object { oid, schema, name, columns, kind, sql, depends_on, comment };
        self.engine.change_catalog(|catalog| catalog.insert(object));
    }

    /// The plan of a sink's query, the names of its columns, and the objects it names; `fit` gives
    /// it other columns.
    pub(super) fn sink_plan(
        &self,
        create: &CreateSink,
        keyed: bool,
        options: &QueryOptions,
        fit: impl FnOnce(LogicalPlan, &Names<'_>) -> Result<LogicalPlan>,
    ) -> Result<(Plan, Vec<String>, BTreeSet<Oid>)> {
        let relations = self.relations();
        let functions = &*relations.functions;
        let names = Names::new(&relations, functions, Arc::clone(&create.query.windows));
        let bound = query::with_params(bind_query(&create.query, &names)?, &[])?;
        let columns = visible_names(&bound);
        let bound = fit(bound, &names)?;
        let wanted = match !keyed || create.query.to_stream {
            true => Wanted::Stream,
            false => Wanted::Changes,
        };
        let emitting = Request::emitting(create.query.emit);
        let request = Request { wanted, clock: options.clock, ..emitting };
        let plan = lower::continuous(bound, request, functions)?;
        options.check(&plan)?;
        Ok((plan, columns, names.used()))
    }
}

/// Gives a query the columns of what it is written into, as INSERT does.
fn into_columns(
    query: LogicalPlan,
    create: &CreateSink,
    into: &Object,
    names: &Names<'_>,
) -> Result<LogicalPlan> {
    check_columns(&create.columns, into)?;
    let width = query.schema().fields().len();
    let named = create.columns.len();
    if width > into.columns.len() || (named > 0 && named != width) {
        let message = match named {
            0 => format!(
                "the query has {width} columns, and {} \"{}\" has {}",
                into.kind_name(),
                into.name,
                into.columns.len()
            ),
            _ => format!("the query has {width} columns, and {named} are named"),
        };
        return Err(Error::refused(SqlState::SYNTAX_ERROR, message));
    }
    let first = into.columns[..width].iter();
    let first = first.map(|c| ast::ObjectName::from(vec![ast::Ident::with_quote('"', &c.name)]));
    let columns = if named > 0 { create.columns.clone() } else { first.collect() };
    columns_of_query(query, &columns, into, names)
}

/// A sink writes into a stream that takes rows, or a table.
fn check_target(into: &Object, create: &CreateSink) -> Result<()> {
    refuse_derived(into)?;
    match &into.kind {
        ObjectKind::Table(def) if def.primary_key.is_empty() && !create.key.is_empty() => {
            Err(Error::hinted(
                SqlState::INVALID_OBJECT_DEFINITION,
                format!("table \"{}\" has no primary key", into.name),
                "Leave KEY out, or declare the table with a PRIMARY KEY.",
            ))
        }
        ObjectKind::Table(def) if def.versions.is_some() => Err(Error::hinted(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("a sink into table \"{}\", which keeps versions, is not supported", into.name),
            "Write into a table without VERSIONED BY, or into a stream.",
        )),
        ObjectKind::Table(def) if !def.unique.is_empty() => Err(Error::hinted(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("a sink into table \"{}\", which has UNIQUE keys, is not supported", into.name),
            "Write into a table with a PRIMARY KEY only.",
        )),
        ObjectKind::Table(def) => {
            let key = create.key.iter().map(|column| index_of(&into.columns, column));
            let key = key.collect::<Result<BTreeSet<_>>>()?;
            let primary: BTreeSet<usize> = def.primary_key.iter().copied().collect();
            if key.is_empty() || key == primary {
                return Ok(());
            }
            Err(Error::hinted(
                SqlState::INVALID_OBJECT_DEFINITION,
                format!("KEY is not the primary key of table \"{}\"", into.name),
                "Leave it out.",
            ))
        }
        ObjectKind::Stream(_) if !create.key.is_empty() => Err(Error::hinted(
            SqlState::INVALID_OBJECT_DEFINITION,
            format!("\"{}\" is a stream, which has no key", into.name),
            "Leave KEY out, or write into a table.",
        )),
        ObjectKind::Stream(_) => Ok(()),
        ObjectKind::View(_) | ObjectKind::Sink(_) => Err(Error::refused(
            SqlState::WRONG_OBJECT_TYPE,
            format!("cannot write into {} \"{}\"", into.kind_name(), into.name),
        )),
    }
}

/// Refuses a sink that would read what it writes.
fn refuse_cycle(catalog: &Catalog, into: &Object, reads: &BTreeSet<Oid>) -> Result<()> {
    let mut next: Vec<Oid> = reads.iter().copied().collect();
    let mut seen = BTreeSet::new();
    while let Some(oid) = next.pop() {
        if oid == into.oid {
            return Err(Error::hinted(
                SqlState::INVALID_OBJECT_DEFINITION,
                format!("the query reads what it would write: \"{}\"", into.name),
                "Write into an object of its own.",
            ));
        }
        let Some(object) = catalog.get(oid).filter(|_| seen.insert(oid)) else { continue };
        next.extend(&object.depends_on);
        for other in catalog.objects() {
            match &other.kind {
                ObjectKind::Sink(def) if def.into == Some(oid) => {
                    next.extend(other.depends_on.iter().filter(|read| **read != oid));
                }
                ObjectKind::Stream(def) if def.late_into == Some(oid) => next.push(other.oid),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Writes what a sink's query gives.
struct Writer {
    oid: Oid,
    hub: Arc<Hub>,
    into: Arc<Object>,
    progress: Arc<SinkProgress>,
    status: Arc<SinkStatus>,
}

impl Writer {
    fn new(
        engine: &Engine,
        (oid, into): (Oid, Arc<Object>),
        progress: Arc<SinkProgress>,
        status: Arc<SinkStatus>,
    ) -> Self {
        let hub = Arc::clone(engine.hub());
        Self { oid, hub, into, progress, status }
    }

    /// Writes until the query ends, or something cannot be written.
    async fn run(mut self) {
        let fault = loop {
            match self.status.feed.next().await {
                None => break None,
                Some(Err(fault)) => break Some(fault.message),
                Some(Ok(change)) => {
                    self.hub.sink_turn(&self.progress, change.made).await;
                    if self.status.dropped.is_cancelled() {
                        break None;
                    }
                    if let Err(error) = self.write(&change).await {
                        tracing::error!(into = %self.into.name, %error, "sink suspended");
                        break Some(format!("{}: {error}", error.sqlstate()));
                    }
                    self.hub.sink_wrote(&self.progress, change.commit.position);
                }
            }
        };
        *lock(&self.status.fault) = fault;
        self.status.feed.close(None);
        self.hub.sink_stopped(&self.progress);
    }

    async fn write(&mut self, change: &Change) -> Result<()> {
        if change.delta.is_empty() {
            return Ok(());
        }
        let rows = fitted(&self.into, change.delta.rows().columns(), change.delta.len())?;
        check_not_null(&self.into, &rows)?;
        let delta = change.delta.clone().with_rows(rows);
        let count = delta.len() as u64;
        let write = match &self.into.kind {
            ObjectKind::Table(def) if def.primary_key.is_empty() => {
                Write::Table(self.into.oid, Delta::inserts(delta.rows().clone(), Timestamp::MIN))
            }
            ObjectKind::Table(def) => {
                let counted = Change { delta: delta.clone(), ..*change };
                self.status.count_keys(&counted, &def.primary_key)?;
                Write::Upsert(self.into.oid, delta)
            }
            _ => Write::Rows(self.into.oid, delta.rows().clone()),
        };
        if !self.progress.has_delivered(change.made) {
            self.hub.sink_room(&[self.into.oid]).await;
            fault::point("sink.commit");
            let delivered = Write::Delivered(self.oid, change.made);
            self.hub.commit_patiently(vec![write, delivered]).await?;
            fault::point("sink.committed");
        }
        self.status.rows.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}

impl SinkStatus {
    /// Takes note of a change that is about to be written outside.
    pub(super) fn note(&self, change: &Change) {
        if !change.delta.is_empty() {
            lock(&self.taken).push(change.clone());
        }
    }

    /// Forgets changes that are known to be written.
    pub(super) fn forget(&self) {
        lock(&self.taken).retain(|change| !self.progress.has_delivered(change.made));
    }

    /// Refuses a change that leaves two rows of one key.
    pub(super) fn count_keys(&self, change: &Change, key: &[usize]) -> Result<()> {
        let mut keys = lock(&self.keys);
        let Some((keys, counted)) = keys.as_mut() else { return Ok(()) };
        if change.made <= std::mem::replace(counted, change.made.max(*counted)) {
            return Ok(());
        }
        let delta = &change.delta;
        let columns: Vec<ArrayRef> =
            key.iter().map(|i| Arc::clone(delta.rows().column(*i))).collect();
        let rows = batch(Arc::clone(keys.schema()), columns, delta.len())?;
        keys.apply(&delta.clone().with_rows(rows.clone()))?;
        for (i, slot) in keys.find(&rows)?.into_iter().enumerate() {
            let count = if slot == NONE { 0 } else { keys.weight(slot) };
            if count > 1 {
                return Err(Error::hinted(
                    SqlState("21000"),
                    format!("the query has {count} rows of key {}", row_text(rows.columns(), i)),
                    "Group by the key, or keep its last row with [PARTITION BY key ROWS 1].",
                ));
            }
        }
        Ok(())
    }

    /// Writes how far the sink is.
    fn save(&self, place: Place) -> Result<StateWriter, Misfit> {
        let mut to = StateWriter::default();
        let fault = lock(&self.fault).clone();
        let fault = fault.or_else(|| match place {
            Place::Backup if self.outside => Some(RESTORED.to_owned()),
            Place::Backup | Place::Here => None,
        });
        to.put_value(&(self.rows.load(Ordering::Relaxed), fault))?;
        if let Some((keys, counted)) = lock(&self.keys).as_ref() {
            keys.save(&mut to)?;
            to.put_value(counted)?;
        }
        let waiting = if self.outside && place == Place::Here { self.waiting() } else { vec![] };
        let about = |change: &Change| {
            let Change { delta: _, progress, commit, made } = change;
            (*made, commit.position, commit.time, *progress)
        };
        to.put_value(&waiting.iter().map(about).collect::<Vec<_>>())?;
        waiting.iter().try_for_each(|change| to.put_delta(&change.delta))?;
        Ok(to)
    }

    /// The changes that are not known to be written outside.
    fn waiting(&self) -> Vec<Change> {
        self.feed.look(|others| {
            let taken = lock(&self.taken);
            let all = taken.iter().chain(others).filter(|change| !change.delta.is_empty());
            all.filter(|change| !self.progress.has_delivered(change.made)).cloned().collect()
        })
    }

    /// Takes what [`SinkStatus::save`] wrote; a sink that had stopped stays so.
    pub(super) fn load(&self, from: &mut StateReader) -> Result<(), Misfit> {
        let (rows, fault): (u64, Option<String>) = from.take_value()?;
        self.rows.store(rows, Ordering::Relaxed);
        if let Some((keys, counted)) = lock(&self.keys).as_mut() {
            keys.load(from)?;
            *counted = from.take_value()?;
        }
        let waiting: Vec<(Position, Position, Timestamp, Timestamp)> = from.take_value()?;
        let waiting = waiting.into_iter().map(|(made, position, time, progress)| {
            let commit = Commit { position, time };
            Ok(Change { delta: from.take_delta()?, progress, commit, made })
        });
        self.feed.restore(waiting.collect::<Result<_, Misfit>>()?);
        if let Some(message) = fault {
            self.feed.close(Some(Fault {
                sqlstate: SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                message,
            }));
        }
        Ok(())
    }
}

impl Engine {
    /// Lets sinks that are about to be dropped write what has been committed, if that is done soon.
    pub(super) async fn finish_sinks(&self, objects: &[Arc<Object>]) {
        let into = objects.iter().filter_map(|object| match &object.kind {
            ObjectKind::Sink(def) => Some(def.into.unwrap_or(object.oid)),
            ObjectKind::Stream(_) | ObjectKind::Table(_) | ObjectKind::View(_) => None,
        });
        let into: Vec<Oid> = into.collect();
        if into.is_empty() || self.hub().is_recovering() {
            return;
        }
        if tokio::time::timeout(LAST_WAIT, self.hub().settle_now(&into)).await.is_err() {
            tracing::warn!("a sink is dropped that has not written everything");
        }
    }

    /// What an image has of the sinks.
    pub(super) fn sink_states(&self, place: Place) -> Result<Others, Misfit> {
        let sinks = lock(&self.sinks);
        let states = sinks.iter();
        states.map(|(oid, status)| Ok((Subject::Sink(*oid), status.save(place)?))).collect()
    }
}
