//! The streaming plan: read-only data that the runtime builds operators from.
//!
//! # Invariants
//! 1. A plan is never changed after it is made; `Display` of the plan is what EXPLAIN prints.
//! 2. Expressions of a node refer to the columns of its input by index (a join's residual to the
//!    columns of
//!    the left input followed by those of the right).
//! 3. Every stateful node is either below an [`Op::Exchange`] that puts all its rows of one key on
//!    one
//!    shard, or its input already lies so.

mod join;
mod ordered;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

pub use self::join::{AsOf, Join, Lookup, TimeBound};
pub use self::ordered::{Counting, Over, OverCall, OverFunction, SortKeys, TopN};
use super::properties::Properties;
use super::temporal::Bound;
use crate::sql::catalog::Oid;
use crate::sql::derived;

/// The clock of a query block: which instants exist, and when they may be evaluated (LANGUAGE 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Event time; an instant is evaluated when the watermark has passed it.
    Event,
    /// Commits, evaluated at once.
    Arrival,
}

/// What a query's result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A relation: changes add up to its content.
    Relation,
    /// A stream: elements, of which none is ever taken back.
    Stream {
        /// Whether elements come when their instant has closed, and so in the order of their
        /// times; or else as the rows come that they are made of.
        closed: bool,
    },
}

/// A continuous query, ready to be built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The node whose output is the query's result.
    pub root: Node,
    /// Clock of the block.
    pub clock: Clock,
    /// Whether results wait until their window closes (`EMIT ON WINDOW CLOSE`): then they are
    /// final, unless late rows correct them.
    pub on_close: bool,
    /// What the result is.
    pub kind: Kind,
    /// Clock of the times that the result's changes carry. It is not the block's where elements
    /// have an event time although the block is on the ARRIVAL clock.
    pub result_clock: Clock,
    /// Streams, tables and maintained views it reads.
    pub inputs: Vec<Oid>,
    /// Type of the times that its changes carry: event time, or commit time (timestamptz).
    pub time_type: DataType,
}

/// An operator of the plan with its inputs.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Where its rows come from.
    pub inputs: Vec<Node>,
    /// Its row type.
    pub schema: SchemaRef,
    /// What is proven of its output.
    pub properties: Properties,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum Op {
    /// Reads a stream, table or maintained view.
    Scan(Scan),
    /// A constant relation.
    Values(RecordBatch),
    /// Keeps the rows for which the predicate is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes columns.
    Project(Vec<Arc<dyn PhysicalExpr>>),
    /// Repeats each row under several lists of expressions.
    Expand(Vec<Vec<Arc<dyn PhysicalExpr>>>),
    /// Replaces arrays by their elements.
    Unnest(Unnest),
    /// A bracket window over a stream.
    Window(Window),
    /// Keeps rows while the clock is within their lifetime.
    Temporal(Temporal),
    /// A window TVF: appends `window_start`, `window_end`, `window_time`.
    Assign(Assign),
    /// SESSION: appends the same columns, by all rows of a key.
    Session(Session),
    /// Groups and aggregates.
    Aggregate(Aggregate),
    /// Joins two inputs.
    Join(Join),
    /// Joins each left row with what the right side holds when it comes.
    Lookup(Lookup),
    /// Joins each left row with the nearest right one.
    AsOf(AsOf),
    /// Bag union of the inputs.
    Union,
    /// EXCEPT ALL and INTERSECT ALL.
    Bag(Combination),
    /// Functions of the rows around each row.
    Over(Over),
    /// The first rows of an order.
    TopN(TopN),
    /// Makes a stream of a relation, its first input; arrivals on the others are ticks.
    ToStream(ToStream),
    /// Brings the rows of each instant into the order of their values, instants in order.
    Arrange,
    /// Appends the time of each change as a column.
    Stamp,
    /// Holds results back until their window closes.
    OnClose(Gate),
    /// Shows changes at times of their own.
    Pace(Pace),
    /// Moves rows to the shards where their keys belong.
    Exchange(Distribution),
}

/// What kind of object a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanKind {
    /// Append-only, with event time.
    Stream,
    /// A stream whose rows have the time at which they arrived, also as a last column.
    Arrivals,
    /// Current state.
    Table,
    /// The result of another continuous query.
    View,
}

/// Reads an object.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Which.
    pub object: Oid,
    /// Its name, for display.
    pub name: String,
    /// Its kind.
    pub kind: ScanKind,
    /// Columns read, in order. Those after the object's own are the time of arrival, if the kind is
    /// arrivals, and the number in the order of arrival.
    pub projection: Vec<usize>,
    /// Whether it is a stream without event time.
    pub untimed: bool,
    /// Whether it is a stream with a PARTITION KEY.
    pub partitioned: bool,
    /// Columns that identify its rows, of a table whose primary key is read.
    pub key: Option<Vec<usize>>,
    /// How late rows of a stream may be: microseconds, or units of a BIGINT time.
    pub lateness: i64,
    /// The column of the event time, where late rows are read too, with one column more.
    pub late: Option<usize>,
    /// Whether rows are numbered in the order of arrival.
    pub seq: bool,
    /// How a stream gets its watermark and what becomes of refused rows, for display.
    pub progress: Option<String>,
}

/// A bracket window.
#[derive(Clone, Debug)]
pub enum Window {
    /// Rows live from their timestamp for a time: NOW, RANGE, RANGE .. SLIDE.
    Range {
        /// Length in microseconds; NOW is 1.
        size: i64,
        /// Whether a row that is exactly so old is still in it.
        inclusive: bool,
        /// Slide and offset in microseconds.
        slide: Option<(i64, i64)>,
    },
    /// The rows since the period began: CURRENT.
    Current {
        /// Length of the period in microseconds.
        period: i64,
    },
    /// All rows; those that come late from the first open instant on.
    Unbounded,
    /// The last rows by (ts, seq).
    Rows {
        /// How many.
        count: u64,
        /// Only whole batches of so many count.
        slide: u64,
    },
    /// The last rows of each partition.
    Partitioned {
        /// Partition.
        keys: Vec<Arc<dyn PhysicalExpr>>,
        /// How many per partition.
        count: u64,
        /// Further bound by time, in microseconds.
        range: Option<i64>,
    },
}

/// A temporal filter.
#[derive(Clone, Debug)]
pub struct Temporal {
    /// Instants in microseconds, and what they say of a row's lifetime.
    pub bounds: Vec<(Arc<dyn PhysicalExpr>, Bound)>,
    /// Whose time it is.
    pub clock: Clock,
}

/// Unnests list columns side by side.
#[derive(Clone, Debug)]
pub struct Unnest {
    /// Per output column: the input column, and whether it is a list whose elements come out.
    pub columns: Vec<(usize, bool)>,
    /// Whether rows without elements stay, with NULLs.
    pub keep_empty: bool,
}

/// A window TVF.
#[derive(Clone, Debug)]
pub struct Assign {
    /// The time column.
    pub time: Arc<dyn PhysicalExpr>,
    /// How windows lie.
    pub assigner: Assigner,
}

/// How windows lie, in microseconds (or units of a BIGINT time).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum Assigner {
    /// Windows `[k * slide + offset, k * slide + offset + size)`; TUMBLE has `slide = size`.
    Hop {
        /// Distance of starts.
        slide: i64,
        /// Length.
        size: i64,
        /// Shift of all starts.
        offset: i64,
    },
    /// Windows `[k * size + offset, k * size + offset + j * step)`, up to `size` long.
    Cumulate {
        /// Difference of ends.
        step: i64,
        /// Length of the longest; a multiple of `step`.
        size: i64,
        /// Shift of all starts.
        offset: i64,
    },
}

impl Assigner {
    /// Adjacent windows.
    pub fn tumble(size: i64, offset: i64) -> Self {
        Assigner::Hop { slide: size, size, offset }
    }

    /// Length of the longest window.
    pub fn size(self) -> i64 {
        match self {
            Assigner::Hop { size, .. } | Assigner::Cumulate { size, .. } => size,
        }
    }
}

/// Sessions: runs of rows of a key that are less than `gap` apart.
#[derive(Clone, Debug)]
pub struct Session {
    /// The time column.
    pub time: Arc<dyn PhysicalExpr>,
    /// Each key has sessions of its own.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// A row that is so far from the last one starts a session.
    pub gap: i64,
    /// The watermark that a row met if it came late.
    pub met: Option<Arc<dyn PhysicalExpr>>,
    /// A session that ends at `e` is final once the watermark has reached `e` plus this.
    pub closes: Option<i64>,
    /// Whether only final sessions are wanted.
    pub held: bool,
}

/// ISTREAM, DSTREAM or RSTREAM.
#[derive(Clone, Debug)]
pub struct ToStream {
    /// Which of them.
    pub operator: derived::ToStream,
    /// When it fires.
    pub ticks: Ticks,
}

/// Instants at which a stream is made of a relation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum Ticks {
    /// Every instant.
    Instants,
    /// Multiples of each period, in microseconds, plus its offset.
    Every(Vec<(i64, i64)>),
    /// Instants at which, for one of the lists, rows arrive on all inputs in the list.
    Arrivals(Vec<Vec<usize>>),
}

/// Groups and aggregates.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Group keys; none makes one group that always exists.
    pub group: Vec<Arc<dyn PhysicalExpr>>,
    /// Aggregate calls.
    pub calls: Vec<Call>,
    /// Whether the input only inserts.
    pub append_only: bool,
    /// The group column that lets the watermark free groups.
    pub frees: Option<Close>,
}

/// One aggregate call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function with its arguments.
    pub function: Arc<AggregateFunctionExpr>,
    /// `FILTER (WHERE ..)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

/// "Rows with value `v` in `column` are final once the watermark has reached `v + after`."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Column index.
    pub column: usize,
    /// Microseconds, or units of a BIGINT time.
    pub after: i64,
}

/// Where results wait until their window closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// When they are shown.
    pub close: Close,
    /// For how long after that they are corrected: microseconds, or units of a BIGINT time.
    pub late: i64,
}

/// Shows changes at times of their own.
#[derive(Clone, Debug)]
pub struct Pace {
    /// When.
    pub shows: Shows,
    /// Columns of what is shown together.
    pub key: Vec<usize>,
    /// What tells the time: commits or the watermark.
    pub clock: Clock,
}

/// When changes are shown, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// At the multiples of a period.
    Every(i64),
    /// A delay after the first change of a key since it was last shown.
    After(i64),
}

/// How the multiplicities of a row are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Combination {
    /// EXCEPT ALL.
    Except,
    /// INTERSECT ALL.
    Intersect,
}

/// Where rows have to lie.
#[derive(Clone, Debug)]
pub enum Distribution {
    /// All on one shard.
    Single,
    /// By the hash of these expressions.
    Hash(Vec<Arc<dyn PhysicalExpr>>),
    /// A copy on every shard.
    Broadcast,
}

impl Plan {
    /// Whether the passing of commit time alone changes the result.
    pub fn timed(&self) -> bool {
        let mut timed = false;
        self.root.visit(&mut |node| {
            timed |= match &node.op {
                Op::Temporal(filter) => filter.clock == Clock::Arrival,
                Op::Pace(pace) => pace.clock == Clock::Arrival,
                _ => false,
            };
        });
        timed
    }

    /// What other queries may count on when they read this one's result.
    pub fn output_properties(&self) -> Properties {
        let stream = self.is_stream();
        let timeless = !stream && self.result_clock == Clock::Arrival;
        let time_type = (!timeless).then(|| self.time_type.clone());
        let properties = self.root.properties.clone();
        Properties { stream, timeless, time_type, hashed_by: None, ..properties }
    }

    /// Whether the result is a stream.
    pub fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream { .. })
    }

    /// Whether nothing is kept: each row is handled alone, as it comes.
    pub fn stateless(&self) -> bool {
        let mut stateless = true;
        self.root.visit(&mut |node| {
            stateless &= match node.op {
                Op::Scan(_) | Op::Filter(_) | Op::Project(_) | Op::Assign(_) | Op::Stamp => true,
                Op::Union => !node.inputs.iter().any(|input| input.properties.timeless),
                _ => false,
            };
        });
        stateless
    }
}

impl Node {
    /// Visits the node and all below it, inputs first.
    pub fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Node)) {
        for input in &self.inputs {
            input.visit(f);
        }
        f(self);
    }
}
