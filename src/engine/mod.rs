//! A session's view of the server: statements in, outcomes out.
//!
//! `wire` is written against [`Engine`], [`Session`] and [`Outcome`] alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use datafusion::execution::SessionState;
use tokio::task::JoinHandle;

mod activity;
mod ahead;
mod alter_table;
mod aside;
mod asof;
mod assigned;
mod assignment;
mod backup;
mod budget;
mod checkpoint;
mod columns;
mod constants;
mod copy;
mod create;
mod create_as;
mod cursor;
mod ddl;
mod derived;
mod describe;
mod dml;
mod drop;
mod error;
mod explain;
mod function;
mod functions;
mod gauges;
mod history;
mod introspect;
mod keys;
mod locks;
mod nodes;
mod outbox;
pub mod outcome;
mod parameters;
mod past;
pub mod pg_catalog;
mod query;
mod recovery;
mod relations;
mod replace;
mod returning;
mod session;
mod sink;
mod sink_to;
mod source;
mod stall;
mod subscribe;
mod system;
mod temporary;
mod transaction;
mod undo;
mod unique;
mod update;
mod view;

pub use backup::Checked;
pub use error::{Error, Result};
pub use gauges::Gauge;
pub use outcome::{Client, Description, Interrupt, Notice, Outcome, TransactionStatus};
pub use session::Session;

use crate::clock::{Clock, HeldClock};
use crate::config::{Config, cores};
use crate::planner::properties::Properties;
use crate::runtime::history::keeper::Keeper;
use crate::runtime::hub::{Hub, Sizes};
use crate::runtime::memory::Memory;
use crate::sql::catalog::{Catalog, Object, Oid};
use crate::sql::output::style::Style;
use crate::storage::Scratch;
use crate::storage::archive::pages::PageFiles;
use crate::time::Timestamp;
use activity::Live;
use locks::TableLocks;
use sink::SinkStatus;
use source::SourceStatus;

/// How often idle partitions and the system clock are looked at, in milliseconds.
const TICK_MS: u64 = 100;

/// How many time zones are kept ready.
const ZONES_MAX: usize = 64;

/// What an engine is started with.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Shards of every keyed operator.
    pub shards: usize,
    /// Worker threads.
    pub threads: usize,
    /// Most rows of a delta that enters a query.
    pub batch_rows: usize,
    /// Rows of a stream from which on those in memory go to a file.
    pub history_rows: usize,
    /// Bytes that the state of queries may take in memory.
    pub memory_limit: usize,
}

impl EngineOptions {
    /// What the server's settings say.
    pub fn of(config: &Config) -> Self {
        Self {
            shards: config.shards,
            batch_rows: config.batch_rows,
            history_rows: config.history_rows,
            threads: cores(),
            memory_limit: usize::try_from(config.memory_limit.0).unwrap_or(usize::MAX),
        }
    }
}

/// The server: catalog, commits, running views. One per process.
pub struct Engine {
    hub: Arc<Hub>,
    functions: Arc<SessionState>,
    /// The functions in the time zones and styles of sessions.
    zones: Mutex<BTreeMap<(String, Style), Arc<SessionState>>>,
    options: EngineOptions,
    /// The data directory.
    dir: PathBuf,
    catalog: RwLock<Arc<Catalog>>,
    /// What is proven of the maintained views' results.
    properties: RwLock<BTreeMap<Oid, Properties>>,
    /// One definition at a time.
    ddl: tokio::sync::Mutex<()>,
    /// The pages of the last image.
    pages: Arc<PageFiles>,
    locks: Arc<TableLocks>,
    sources: Mutex<BTreeMap<Oid, Arc<SourceStatus>>>,
    sinks: Mutex<BTreeMap<Oid, Arc<SinkStatus>>>,
    sessions: Mutex<BTreeMap<i32, Arc<Live>>>,
    background: Mutex<Vec<JoinHandle<()>>>,
    started: Timestamp,
}

/// Sees to it, now and then, that queries do not hold too much memory.
async fn relieve(hub: Arc<Hub>) {
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(TICK_MS));
    loop {
        ticks.tick().await;
        let hub = Arc::clone(&hub);
        if let Err(error) = tokio::task::spawn_blocking(move || hub.relieve()).await {
            tracing::error!(%error, "memory is not looked after");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Starts an engine where the log in a directory ends, with what streams retain in another one;
    /// needs a tokio runtime.
    pub async fn start(
        options: EngineOptions,
        clock: Arc<dyn Clock>,
        log: &Path,
        history: &Path,
    ) -> Result<Arc<Self>> {
        let clock = Arc::new(HeldClock::new(clock));
        let (generations, recovery) = recovery::Recovery::open(log)?;
        let keeper = Keeper::start(history, options.history_rows)?;
        let dir = log.parent().unwrap_or(log);
        let engine = Self::new(options, &clock, recovery.shards, dir, keeper)?;
        engine.recover((generations, recovery), &clock).await?;
        let hub = Arc::clone(&engine.hub);
        let ticker = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(TICK_MS));
            loop {
                ticks.tick().await;
                hub.on_clock();
            }
        });
        let checkpoints = tokio::spawn(Arc::clone(&engine).checkpoints());
        let relief = tokio::spawn(relieve(Arc::clone(&engine.hub)));
        *lock(&engine.background) = vec![ticker, checkpoints, relief];
        Ok(engine)
    }

    /// An engine to which nothing has been told, for the number of shards that the log has, if it
    /// has one, with its scratch file in a directory.
    fn new(
        options: EngineOptions,
        clock: &Arc<HeldClock>,
        shards: Option<usize>,
        dir: &Path,
        keeper: Arc<Keeper>,
    ) -> Result<Arc<Self>> {
        let started = clock.now();
        let shards = shards.unwrap_or(options.shards);
        if shards != options.shards {
            let asked = options.shards;
            tracing::warn!(shards, asked, "state on the disk keeps its number of shards");
        }
        let options = EngineOptions { shards, ..options };
        let hub: Arc<dyn Clock> = Arc::<HeldClock>::clone(clock);
        let internal = |error: std::io::Error| Error::Internal(error.to_string());
        let scratch = Scratch::create(dir).map_err(internal)?;
        let memory = Memory::new(options.memory_limit, Some(scratch));
        let EngineOptions { shards, threads, batch_rows, .. } = options;
        let sizes = Sizes { shards, threads, batch_rows };
        let hub = Hub::start(hub, sizes, keeper, memory).map_err(internal)?;
        let system = Arc::<HeldClock>::clone(clock);
        let functions = functions::session_state(threads, options.memory_limit, system)?;
        Ok(Arc::new(Self {
            functions: Arc::new(functions),
            zones: Mutex::default(),
            hub,
            options,
            dir: dir.to_owned(),
            catalog: RwLock::default(),
            properties: RwLock::default(),
            ddl: tokio::sync::Mutex::default(),
            pages: Arc::default(),
            locks: Arc::default(),
            sources: Mutex::default(),
            sinks: Mutex::default(),
            sessions: Mutex::default(),
            background: Mutex::default(),
            started,
        }))
    }

    /// Ends sources, queries and workers.
    pub async fn shutdown(&self) {
        for task in std::mem::take(&mut *lock(&self.background)) {
            task.abort();
        }
        let sources = std::mem::take(&mut *lock(&self.sources));
        for source in sources.values() {
            source.stop();
        }
        self.last_checkpoint().await;
        let hub = Arc::clone(&self.hub);
        if let Err(error) = tokio::task::spawn_blocking(move || hub.stop()).await {
            tracing::error!(%error, "workers did not stop");
        }
        self.hub.durable().await;
    }

    /// Opens a session for a client.
    pub fn session(self: &Arc<Self>, client: Client) -> Session {
        let live = Arc::new(Live::new(client.clone(), self.hub.clock().now()));
        lock(&self.sessions).insert(client.pid, Arc::clone(&live));
        Session::new(Arc::clone(self), client, live)
    }

    fn close_session(&self, pid: i32) {
        lock(&self.sessions).remove(&pid);
    }

    /// Open sessions.
    fn sessions(&self) -> Vec<Arc<Live>> {
        lock(&self.sessions).values().cloned().collect()
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The catalog as of now.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the catalog. The caller holds the lock on definitions.
    fn change_catalog<T>(&self, change: impl FnOnce(&mut Catalog) -> T) -> T {
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut catalog))
    }

    fn properties_of(&self, view: Oid) -> Option<Properties> {
        let properties = self.properties.read().unwrap_or_else(PoisonError::into_inner);
        properties.get(&view).cloned()
    }

    fn set_properties(&self, view: Oid, new: Option<Properties>) {
        let mut properties = self.properties.write().unwrap_or_else(PoisonError::into_inner);
        match new {
            Some(new) => properties.insert(view, new),
            None => properties.remove(&view),
        };
    }

    /// The functions of the language, in a time zone and with a style of times.
    fn functions(&self, zone: &str, style: Style) -> Arc<SessionState> {
        if zone == "UTC" && style == Style::default() {
            return Arc::clone(&self.functions);
        }
        let mut zones = lock(&self.zones);
        let key = (zone.to_owned(), style);
        if let Some(known) = zones.get(&key) {
            return Arc::clone(known);
        }
        if zones.len() >= ZONES_MAX {
            zones.clear();
        }
        let functions = Arc::new(functions::in_zone(&self.functions, zone, style));
        zones.insert(key, Arc::clone(&functions));
        functions
    }

    /// These functions, with `now()` at the current time.
    fn at_present(&self, functions: &SessionState) -> SessionState {
        let mut state = functions.clone();
        let now = chrono::DateTime::from_timestamp_micros(self.hub.now().0);
        state.execution_props_mut().query_execution_start_time = now;
        state
    }

    /// Takes an object out of the catalog and ends it. The caller holds the lock on definitions.
    fn remove(&self, object: &Object) {
        self.change_catalog(|catalog| catalog.remove(object.oid));
        self.forget(object.oid);
    }

    fn forget(&self, oid: Oid) {
        self.locks.forget(oid);
        if let Some(sink) = lock(&self.sinks).remove(&oid) {
            sink.dropped.cancel();
        }
        if let Some(source) = lock(&self.sources).remove(&oid) {
            source.stop();
        }
        self.set_properties(oid, None);
        self.hub.drop_object(oid);
    }
}
