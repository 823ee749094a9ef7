//! Relation-to-relation and relation-to-stream operators: folds of deltas.
//!
//! # Catalogue
//! | operator      | SQL                                  | instants  | state                   |
//! |---------------|--------------------------------------|-----------|-------------------------|
//! | [`Filter`]    | WHERE, HAVING                        | any       | none                    |
//! | [`Project`]   | the select list                      | any       | none                    |
//! | [`Union`]     | UNION ALL                            | any       | none                    |
//! | [`Expand`]    | GROUPING SETS, ROLLUP, CUBE          | any       | none                    |
//! | [`Unnest`]    | unnest, functions that give rows     | any       | none                    |
//! | [`Constant`]  | VALUES                               | one       | whether it was emitted  |
//! | [`Aggregate`] | GROUP BY; DISTINCT, without calls    | any       | per group               |
//! | [`Join`]      | JOIN of every kind, EXISTS, IN       | inner any | both sides, by key      |
//! | [`Lookup`]    | FOR SYSTEM_TIME AS OF PROC_TIME()    | one       | right side, by key      |
//! | [`AsOf`]      | ASOF JOIN, FOR SYSTEM_TIME AS OF     | any, one  | a row per key, and open |
//! | [`Except`]    | EXCEPT ALL, INTERSECT ALL            | one       | distinct rows of both   |
//! | [`Over`]      | OVER (..)                            | any       | rows in order, results  |
//! | [`TopN`]      | ORDER BY .. LIMIT, ROW_NUMBER() <= n | any       | all rows, or the first  |
//! | [`OnClose`]   | EMIT ON WINDOW CLOSE                 | any       | rows that are not shown |
//! | [`Pace`]      | EMIT EVERY, EMIT AFTER DELAY         | one       | changes not shown yet   |
//! | [`Differences`] | ISTREAM, DSTREAM, CHANGELOG        | any       | none, or since the tick |
//! | [`Samples`]   | RSTREAM                              | one       | the content             |
//! | [`Arrange`]   | before windows of rows, subscribers  | any       | none                    |
//! | [`Stamp`]     | CREATE STREAM AS                     | any       | none                    |
//!
//! Windows, which make relations of streams, are operators as well: see `windows`.
//! [`evaluate`] computes expressions for all of them, [`checked`] holds them to the contract.
//!
//! # Contract
//! The task (`runtime/task.rs`) is the only caller. Per instant it calls `on_delta` for what
//! arrived on each port, ports in order, then `on_instant` once; after the instants of a commit it
//! calls `on_watermark` if the watermark of all ports moved. On the EVENT clock instants are
//! instants of event time, complete and in order, because the task holds rows back until the
//! watermark has passed them; on the ARRIVAL clock a commit is one instant. An operator whose
//! [`Instantwise`] is `Any` may get several instants in one call, and must then time-stamp what it
//! emits per instant.
//!
//! # Errors of rows
//! A row whose expression fails (division by zero, a cast) contributes nothing: the operator
//! reports it to [`Output::quarantine`] and goes on. Its later retraction fails the same way, so it
//! cancels. An operator returns `Err` only for what no row can be blamed for; the view then is
//! suspended.
//!
//! # Invariants
//! 1. An operator never blocks, reads a clock, does I/O, logs, or knows how many copies of it run.
//! 2. Given the same calls in the same order it emits the same output.
//! 3. Nothing is emitted with `ts` below a watermark it has forwarded.

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::delta::Delta;
use crate::error::{Classify, SqlState};
use crate::functions::error as functions;
use crate::storage::Visit;
use crate::time::{Timestamp, Watermark};

pub mod aggregate;
mod arrange;
pub mod asof;
pub mod checked;
mod constant;
pub mod evaluate;
mod except;
mod expand;
mod filter;
mod finality;
pub mod join;
mod on_close;
pub mod over;
pub mod pace;
mod project;
mod stamp;
#[cfg(test)]
pub(crate) mod testing;
pub mod to_stream;
pub mod top_n;
mod union;
pub mod unnest;

pub use aggregate::Aggregate;
pub use arrange::Arrange;
pub use asof::AsOf;
pub use constant::Constant;
pub use except::{Combination, Except};
pub use expand::Expand;
pub use filter::Filter;
pub use finality::Frees;
pub use join::{Join, Lookup};
pub use on_close::OnClose;
pub use over::Over;
pub use pace::Pace;
pub use project::Project;
pub use stamp::Stamp;
pub use to_stream::{Differences, Samples};
pub use top_n::TopN;
pub use union::Union;
pub use unnest::Unnest;

/// The number of an operator's input, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port(pub usize);

/// Result of an operator.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What no single row can be blamed for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An Arrow kernel failed.
    #[error("{0}")]
    Arrow(#[from] ArrowError),
    /// An expression failed on a whole batch and on no row alone.
    #[error("{0}")]
    Expression(#[from] DataFusionError),
    /// More than can be meant.
    #[error("{what}: {reason}")]
    Limit {
        /// What went too far.
        what: &'static str,
        /// How.
        reason: String,
    },
}

impl Classify for Error {
    fn sqlstate(&self) -> SqlState {
        match self {
            Error::Arrow(_) => SqlState::INTERNAL_ERROR,
            Error::Expression(error) => {
                functions::sqlstate(error).unwrap_or(SqlState::INTERNAL_ERROR)
            }
            Error::Limit { .. } => SqlState::PROGRAM_LIMIT_EXCEEDED,
        }
    }
}

/// How an operator wants the instants of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instantwise {
    /// One instant per round of calls.
    One,
    /// Many instants at once are fine.
    Any,
}

/// A node of the dataflow: folds deltas into state and emits deltas.
pub trait Operator: Send {
    /// Folds `delta`, which arrived on `port`.
    fn on_delta(&mut self, port: Port, delta: Delta, out: &mut Output) -> Result<()>;

    /// Every row of instant `at` (and before) has been delivered, on every port. Stateful operators
    /// emit their consolidated change here.
    fn on_instant(&mut self, _at: Timestamp, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// Event time has reached `watermark` on every port. Called with strictly increasing values.
    fn on_watermark(&mut self, _watermark: Watermark, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// The time at which the operator has something to emit though nothing comes in: it wants a
    /// commit then. Only operators of the ARRIVAL clock that let time pass.
    fn due(&self) -> Option<Timestamp> {
        None
    }

    /// What it holds until the watermark moves on, for EXPLAIN STALL.
    fn waiting(&self) -> Waiting {
        Waiting::default()
    }

    /// Shows all that it keeps from call to call to `visit`, store by store, always in the same
    /// order: what the memory limit sees, and an image has. Stateless operators keep the default.
    fn stores(&mut self, _visit: &mut Visit<'_>) {}

    /// The stores have been loaded from an image: what follows from them is made again.
    fn loaded(&mut self) {}
}

/// Rows that are held until the watermark moves on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub rows: usize,
    /// The watermark that lets the first of them go.
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// Those of both.
    #[must_use]
    pub fn and(self, other: Waiting) -> Waiting {
        let until = [self.until, other.until].into_iter().flatten().min();
        Waiting { rows: self.rows + other.rows, until }
    }
}

/// A row that could not be computed.
#[derive(Clone, Debug)]
pub struct RowError {
    /// The code of the failure, e.g. 22012.
    pub sqlstate: SqlState,
    /// What failed, in one line.
    pub message: String,
    /// The input row, as text.
    pub row: String,
    /// Its weight: a negative one cancels an earlier report.
    pub weight: i64,
}

/// What one call emits.
#[derive(Debug, Default)]
pub struct Output {
    /// Changes, in order.
    pub deltas: Vec<Delta>,
    /// Rows that could not be computed.
    pub errors: Vec<RowError>,
}

impl Output {
    /// Emits a delta; an empty one is dropped.
    pub fn push(&mut self, delta: Delta) {
        if !delta.is_empty() {
            self.deltas.push(delta);
        }
    }

    /// Emits what deltas of rows of `schema` come to; where nothing is taken back, as they are.
    pub fn push_net(&mut self, schema: &SchemaRef, deltas: Vec<Delta>) -> Result<()> {
        let retracts = |delta: &Delta| (0..delta.len()).any(|i| delta.weight(i) < 0);
        if deltas.iter().any(retracts) {
            self.push(Delta::concat(schema, &deltas)?.consolidate()?);
        } else {
            deltas.into_iter().for_each(|delta| self.push(delta));
        }
        Ok(())
    }

    /// Reports a row that could not be computed.
    pub fn quarantine(&mut self, error: RowError) {
        self.errors.push(error);
    }
}
