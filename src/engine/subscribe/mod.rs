//! SUBSCRIBE: a query's changes as rows `hw_time, hw_diff, [hw_progressed,] columns`.
//!
//! # Semantics
//! LANGUAGE 7.3, rule 3: times do not decrease, per time and row there is at most one line, all
//! lines of one time come together, and a progress line `t` says that nothing before `t` follows. A
//! maintained view is followed itself, on its own clock; any other query gets a job of its own,
//! which ends with the subscription. ENVELOPE UPSERT folds the lines of a key: see [`upsert`].
//!
//! AS OF a time that lies before what is known is refused, as the past of a relation is not kept;
//! but a query of its own over event time computes it again from what its streams retain, and a
//! stream gives what it retains.

mod reader;
mod shape;
mod upsert;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::physical_expr::expressions::Column;
use sqlparser::ast;

use self::reader::{First, Reader};
use self::shape::Shape;
use super::outcome::{Description, Rows};
use super::parameters::parameter_types;
use super::session::Session;
use super::{Engine, Error, Result, query};
use crate::error::SqlState;
use crate::planner::bind::{bind_query, visible_names};
use crate::planner::lower::{self, Request, Wanted};
use crate::planner::plan::{Clock, Kind, Node, Op, Plan};
use crate::planner::relation::Names;
use crate::planner::replay;
use crate::runtime::hub::JobSpec;
use crate::runtime::job::{Job, JobId};
use crate::runtime::publication;
use crate::runtime::read::{Followed, Read};
use crate::runtime::subscription::Feed;
use crate::sql::catalog::Oid;
use crate::sql::statement::Query;
use crate::sql::subscribe::Subscribe;
use crate::time::Timestamp;

/// What a subscription shows.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// The content at its start.
    pub snapshot: bool,
    /// Progress lines.
    pub progress: bool,
    /// The time of the content at its start; `None` is now.
    pub as_of: Option<Timestamp>,
    /// The time at which it ends.
    pub up_to: Option<Timestamp>,
    /// The key of ENVELOPE UPSERT.
    pub upsert_key: Option<Vec<ast::Ident>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { snapshot: true, progress: false, as_of: None, up_to: None, upsert_key: None }
    }
}

impl Options {
    /// Whether the content at its start must be known, shown or not.
    fn needs_content(&self) -> bool {
        self.snapshot || self.as_of.is_some() || self.upsert_key.is_some()
    }

    /// Commit times at which a subscriber waits for progress.
    fn alarms(&self) -> Vec<Timestamp> {
        self.as_of.map(|at| at.plus(1)).into_iter().chain(self.up_to).collect()
    }
}

impl Session {
    /// Plans a query as a continuous one.
    pub(super) fn continuous(
        &self,
        query: &Query,
        params: &[ScalarValue],
    ) -> Result<(Plan, Vec<String>)> {
        let relations = self.relations();
        let functions = &*relations.functions;
        let names = Names::new(&relations, functions, Arc::clone(&query.windows));
        let bound = query::with_params(bind_query(query, &names)?, params)?;
        let columns = visible_names(&bound);
        let wanted = if query.to_stream { Wanted::InOrder } else { Wanted::Changes };
        let request = Request { wanted, ..Request::emitting(query.emit) };
        let plan = lower::continuous(bound, request, functions)?;
        Ok((plan, columns))
    }

    /// Reads the options of SUBSCRIBE.
    pub(super) fn subscribe_options(&self, subscribe: &Subscribe) -> Result<Options> {
        let time = |at: &Option<ast::Expr>, clause| {
            at.as_ref().map(|at| self.constant_time(at, clause)).transpose()
        };
        let (as_of, up_to) = (time(&subscribe.as_of, "AS OF")?, time(&subscribe.up_to, "UP TO")?);
        if as_of.zip(up_to).is_some_and(|(as_of, up_to)| up_to < as_of) {
            return Err(Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                "UP TO is before AS OF",
                "A subscription runs from AS OF to UP TO.",
            ));
        }
        let Subscribe { snapshot, progress, .. } = *subscribe;
        let upsert_key = subscribe.upsert_key.clone();
        Ok(Options { snapshot, progress, as_of, up_to, upsert_key })
    }

    /// The plan of a subscription. A stream that is read from a time on is read by the times at
    /// which its rows arrived.
    fn subscription(
        &self,
        query: &Query,
        options: &Options,
        params: &[ScalarValue],
    ) -> Result<(Plan, Vec<String>)> {
        let (plan, columns) = self.continuous(query, params)?;
        let replayed = options.as_of.and_then(|_| replay::by_arrival(&plan));
        let plan = replayed.unwrap_or(plan);
        if plan.is_stream() && options.upsert_key.is_some() {
            return Err(Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                "ENVELOPE UPSERT is for relations, and this is a stream",
                "The newest row per key is a relation: SUBSCRIBE (SELECT * FROM s \
                 [PARTITION BY key ROWS 1]) ENVELOPE UPSERT KEY (key).",
            ));
        }
        Ok((plan, columns))
    }

    /// Starts a subscription.
    pub(super) async fn subscribe(
        &mut self,
        query: &Query,
        options: Options,
        params: &[ScalarValue],
    ) -> Result<Rows> {
        let (plan, columns) = self.subscription(query, &options, params)?;
        let shape = self.shape(&plan, &columns, &options);
        let bytes_max = usize::try_from(self.variables.subscribe_buffer_bytes());
        let feed = Feed::new(bytes_max.unwrap_or(usize::MAX), true).waiting(options.alarms());
        let feed = Arc::new(feed);
        let mut guard = Guard { engine: Arc::clone(&self.engine), job: None, feed };
        let feed = Arc::clone(&guard.feed);
        let (first, known) = match self.followed(&plan) {
            Some((oid, job)) => {
                let answer = self.engine.hub().follow(oid, feed, options.as_of)?;
                let Followed { read, changes, oldest } = answer
                    .await
                    .map_err(|_| Error::Runtime(crate::runtime::Error::ShuttingDown))??;
                if let Some((at, oldest)) = options.as_of.zip(oldest).filter(|(at, from)| at < from)
                {
                    return Err(shape.forgotten(&job.name, at, oldest).into());
                }
                let known = oldest.unwrap_or_else(|| known(&read, shape.result.clock));
                let (content, progress) = shape.first(read)?;
                (Some(First { content, changes, progress }), known)
            }
            None => {
                let (job, since) = self.engine.hub().start_job_since(JobSpec {
                    plan: &plan,
                    name: "subscription",
                    oid: None,
                    keep: None,
                    snapshot: options.needs_content(),
                    from_now: false,
                    retain: None,
                    feed: Some(feed),
                    fail_on_error: false,
                })?;
                guard.job = Some(job.id);
                let known = match (plan.kind, plan.result_clock) {
                    (Kind::Relation, Clock::Arrival) => since,
                    _ => Timestamp::MIN,
                };
                (None, known)
            }
        };
        if options.as_of.is_some_and(|as_of| as_of < known) {
            return Err(forgotten(self.followed(&plan).is_some(), shape.result.clock));
        }
        Ok(Reader::new(guard, shape, first, options)?.rows())
    }

    /// The columns of a subscription.
    fn shape(&self, plan: &Plan, columns: &[String], options: &Options) -> Shape {
        let Some((oid, job)) = self.followed(plan) else {
            return Shape::of_plan(plan, columns, options);
        };
        let time = self.engine.properties_of(oid).and_then(|p| p.time_type);
        let time = time.unwrap_or_else(crate::planner::relation::system_time_type);
        Shape::new(job.publication.shape(), time, &plan.root.schema, columns, options)
    }

    /// The maintained view or derived stream that a plan reads as it is, if that is all it does.
    /// Elements that come as they arrive are read like those of any other stream.
    fn followed(&self, plan: &Plan) -> Option<(Oid, Arc<Job>)> {
        let oid = identity(&plan.root)?;
        let job = self.engine.hub().view(oid)?;
        let found = match job.publication.shape().kind {
            Kind::Relation => !plan.is_stream(),
            Kind::Stream { closed } => closed,
        };
        found.then_some((oid, job))
    }

    /// Describes a subscription.
    pub(super) fn describe_subscribe(
        &self,
        query: &Query,
        options: &Options,
        declared: &[Option<DataType>],
    ) -> Result<Description> {
        let relations = self.relations();
        let names = Names::new(&relations, &relations.functions, Arc::clone(&query.windows));
        let bound = bind_query(query, &names)?;
        let parameters = parameter_types(&bound, declared)?;
        let shape = if parameters.is_empty() {
            let (plan, columns) = self.subscription(query, options, &[])?;
            self.shape(&plan, &columns, options)
        } else {
            let columns = visible_names(&bound);
            let schema = query::named_schema(&bound, &columns);
            let (kind, clock) = (Kind::Relation, Clock::Arrival);
            let result = publication::Shape { kind, clock, ordered: true, late: 0 };
            let time = crate::planner::relation::system_time_type();
            Shape::new(result, time, &schema, &columns, options)
        };
        Ok(Description { parameters, columns: Some(shape.schema) })
    }
}

/// The time from which on the content of what is followed is known.
fn known(read: &Read, clock: Clock) -> Timestamp {
    match (read, clock) {
        (Read::Stream(..), _) => Timestamp::MIN,
        (Read::Table(snapshot) | Read::View(snapshot), Clock::Arrival) => snapshot.commit.time,
        (Read::Table(snapshot) | Read::View(snapshot), Clock::Event) => {
            snapshot.watermark.last_closed()
        }
    }
}

/// The error of AS OF a time of which nothing is known any more.
fn forgotten(view: bool, clock: Clock) -> Error {
    let (before, hint) = match (view, clock) {
        (true, Clock::Event) => (
            "before the last instant that has closed",
            "The past of a view is not kept. Subscribe to its query: that is computed from what \
             its streams retain.",
        ),
        _ => (
            "before the last commit that concerns it",
            "The past of a relation is not kept. Leave AS OF out, or name a time to come.",
        ),
    };
    Error::hinted(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("the content as of that time is not known: it is {before}"),
        hint,
    )
}

/// The object that a plan reads as it is, if it does nothing else.
fn identity(node: &Node) -> Option<Oid> {
    match &node.op {
        Op::Scan(scan) => {
            let identity = scan.projection.iter().enumerate().all(|(i, c)| i == *c);
            identity.then_some(scan.object)
        }
        Op::Project(exprs) => {
            let identity = exprs.len() == node.inputs[0].schema.fields().len()
                && exprs
                    .iter()
                    .enumerate()
                    .all(|(i, e)| e.downcast_ref::<Column>().is_some_and(|c| c.index() == i));
            identity.then(|| self::identity(&node.inputs[0])).flatten()
        }
        // A stream that comes in order anyway.
        Op::Arrange => identity(&node.inputs[0]),
        _ => None,
    }
}

/// Ends the job and the queue when the reader is gone.
struct Guard {
    engine: Arc<Engine>,
    job: Option<JobId>,
    feed: Arc<Feed>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.feed.close(None);
        if let Some(job) = self.job {
            self.engine.hub().end_job(job);
        }
    }
}
