//! What is to be said of a query that is to run.

use std::sync::Arc;

use super::history::Retention;
use super::subscription::Feed;
use crate::planner::plan::Plan;
use crate::sql::catalog::Oid;

/// How a query is to run.
pub struct JobSpec<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Name for messages.
    pub name: &'a str,
    /// The view's oid.
    pub oid: Option<Oid>,
    /// What of its result is kept for readers; of a relation all, unless nothing is.
    pub keep: Option<Retention>,
    /// Whether what it finds at its start is part of its result.
    pub snapshot: bool,
    /// Whether streams count from its start on: what they retain is not read.
    pub from_now: bool,
    /// For how many microseconds its changes are kept, for readers of the past.
    pub retain: Option<i64>,
    /// A subscription from the first commit on.
    pub feed: Option<Arc<Feed>>,
    /// Whether a row that cannot be computed suspends the query.
    pub fail_on_error: bool,
}

impl<'a> JobSpec<'a> {
    /// The query of a view, from all that its inputs hold.
    pub fn view(plan: &'a Plan, name: &'a str, oid: Oid) -> Self {
        let keep = Some(Retention::default());
        let (snapshot, from_now, fail_on_error) = (true, false, false);
        let (oid, retain, feed) = (Some(oid), None, None);
        Self { plan, name, oid, keep, snapshot, from_now, retain, feed, fail_on_error }
    }
}

/// Which readers of a view stay when its query is replaced. The others get an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// None: columns or clock are others.
    Nothing,
    /// Subscriptions; queries rely on what the new one does not promise.
    Subscriptions,
    /// Subscriptions and queries.
    Readers,
}

/// A query that takes the place of a view's query.
pub struct Replacement<'a> {
    /// The new query, with the view's oid.
    pub spec: JobSpec<'a>,
    /// Which readers stay.
    pub keeps: Keeps,
}
