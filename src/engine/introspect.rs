//! Statements about the server itself: the system catalog, in a context of their own.
//!
//! Which way a statement goes is decided by what it names. One that mentions Postgres's catalog is
//! planned
//! there first; any other only if it calls a function that the language does not have and the
//! catalog does
//! (`version()`, `current_setting(..)`). If neither way works, the error is that of the first.

use std::sync::{Arc, Mutex};

use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::activity::Live;
use super::outcome::{RowStream, Rows};
use super::pg_catalog::{
    self, Activity, CatalogView, Identity, Setting, SystemRelation, is_catalog_statement,
};
use super::session::Session;
use super::{Client, Engine, Error, Result, lock, query, system};
use crate::error::{Classify, SqlState};
use crate::sql::catalog::Catalog;
use crate::time::Timestamp;

/// The engine, as one session sees it.
struct View {
    engine: Arc<Engine>,
    client: Client,
    settings: Arc<Mutex<Facts>>,
}

/// What of a session can change between statements.
#[derive(Default)]
struct Facts {
    settings: Vec<Setting>,
    search_path: Vec<String>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View({})", self.client.pid)
    }
}

impl CatalogView for View {
    fn catalog(&self) -> Arc<Catalog> {
        self.engine.catalog()
    }

    fn identity(&self) -> Identity {
        Identity {
            database: self.client.database.clone(),
            user: self.client.user.clone(),
            pid: self.client.pid,
            search_path: lock(&self.settings).search_path.clone(),
        }
    }

    fn system_relations(&self) -> Vec<SystemRelation> {
        let catalog = self.engine.catalog();
        let relations = system::RELATIONS.iter().filter_map(|(name, _)| {
            let schema = system::content(&self.engine, &catalog, name)?.schema();
            Some(SystemRelation { name: (*name).to_owned(), schema })
        });
        relations.collect()
    }

    fn settings(&self) -> Vec<Setting> {
        lock(&self.settings).settings.clone()
    }

    fn sessions(&self) -> Vec<Activity> {
        let activity = |live: Arc<Live>| {
            let (client, doing) = (&live.client, live.doing());
            Activity {
                pid: client.pid,
                database: client.database.clone(),
                user: client.user.clone(),
                application_name: doing.application_name,
                address: client.address,
                started: live.started,
                query_started: doing.query_started,
                state: doing.state,
                query: doing.query,
            }
        };
        self.engine.sessions().into_iter().map(activity).collect()
    }

    fn started(&self) -> Timestamp {
        self.engine.started
    }

    fn cancel(&self, pid: i32) -> bool {
        let found = self.engine.sessions().into_iter().find(|live| live.client.pid == pid);
        found.inspect(|live| live.client.interrupt.cancel()).is_some()
    }

    fn terminate(&self, pid: i32) -> bool {
        let found = self.engine.sessions().into_iter().find(|live| live.client.pid == pid);
        found.inspect(|live| live.client.interrupt.terminate()).is_some()
    }
}

/// A session's context for statements about the server.
pub(super) struct Introspection {
    context: SessionContext,
    facts: Arc<Mutex<Facts>>,
}

/// The same functions with a list of catalogs of their own: copies of a state share it, and what
/// sessions see differs.
fn own_catalog(functions: &SessionState) -> SessionState {
    let config = functions.config().clone().with_create_default_catalog_and_schema(true);
    SessionStateBuilder::new_from_existing(functions.clone())
        .with_config(config)
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build()
}

impl Session {
    /// The context, made at first use and told of the session's settings.
    fn introspection(&mut self) -> Result<SessionContext> {
        if self.introspection.is_none() {
            let facts = Arc::new(Mutex::new(Facts::default()));
            let view = View {
                engine: Arc::clone(&self.engine),
                client: self.client.clone(),
                settings: Arc::clone(&facts),
            };
            let context = SessionContext::new_with_state(own_catalog(&self.engine.functions));
            pg_catalog::install(&context, Arc::new(view))?;
            self.introspection = Some(Introspection { context, facts });
        }
        let settings = self.variables.iter().map(|(variable, value)| Setting {
            name: variable.name.to_owned(),
            value,
            default: variable.default.to_owned(),
            description: variable.doc.to_owned(),
        });
        let catalog = self.engine.catalog();
        let mut search_path = self.named_path();
        search_path.retain(|schema| catalog.has_schema(schema));
        let facts = Facts { settings: settings.collect(), search_path };
        let introspection = self.introspection.as_ref().expect("made above");
        *lock(&introspection.facts) = facts;
        Ok(introspection.context.clone())
    }

    /// Plans a statement about the server.
    pub(super) async fn catalog_plan(&mut self, text: &str) -> Result<LogicalPlan> {
        let context = self.introspection()?;
        Ok(pg_catalog::plan(&context, text).await?)
    }

    /// Chooses between the plan of an ordinary query and that of one about the server; the latter
    /// comes
    /// with `true`.
    pub(super) async fn either_plan(
        &mut self,
        text: &str,
        ordinary: Result<LogicalPlan>,
    ) -> Result<(LogicalPlan, bool)> {
        if is_catalog_statement(text) {
            return match self.catalog_plan(text).await {
                Ok(plan) => Ok((plan, true)),
                Err(error) => ordinary.map(|plan| (plan, false)).map_err(|_| error),
            };
        }
        match ordinary {
            Ok(plan) => Ok((plan, false)),
            Err(error) if may_be_known_there(&error) => {
                let plan = self.catalog_plan(text).await;
                plan.map(|plan| (plan, true)).map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs a plan of [`Session::catalog_plan`].
    pub(super) async fn run_catalog(
        &mut self,
        plan: LogicalPlan,
        params: &[datafusion::common::ScalarValue],
    ) -> Result<Rows> {
        let context = self.introspection()?;
        let names = crate::planner::bind::visible_names(&plan);
        let plan = query::with_params(plan, params)?;
        let schema = query::named_schema(&plan, &names);
        let stream = context.execute_logical_plan(plan).await?.execute_stream().await?;
        let out = Arc::clone(&schema);
        let stream: RowStream = stream
            .map(move |batch| {
                let batch = batch?;
                let columns = batch.columns().to_vec();
                Ok(crate::delta::batch(Arc::clone(&out), columns, batch.num_rows())?)
            })
            .boxed();
        Ok(Rows { schema, stream, tag: "SELECT" })
    }
}

/// Whether an error may come from a function that only the catalog has.
fn may_be_known_there(error: &Error) -> bool {
    matches!(error.sqlstate(), SqlState::UNDEFINED_FUNCTION | SqlState::UNDEFINED_COLUMN)
}
