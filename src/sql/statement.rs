//! Statements as the parser hands them on: sqlparser's tree plus what StreamSQL adds to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast;

use super::alter_table::{AlterTable, DropIndex};
pub use super::copy::{CopyFormat, CopyFrom, CopyOptions, CopyTo};
use super::derived::{CreateSink, CreateStreamAs};
use super::function::{CreateFunction, DropFunction};
use super::key::UniqueKey;
use super::subscribe::Subscribe;
use super::transaction::Savepoint;
use super::variables::TransactionModes;

/// One statement of the user's text.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The statement's own text, without the semicolon.
    pub text: Arc<str>,
    /// Where `text` starts in the string that was parsed, in characters from 0 (for positions).
    pub offset: usize,
    /// Names that were too long, as written and as cut to what a name may be.
    pub cut_names: Vec<(String, String)>,
    /// What it says.
    pub kind: StatementKind,
}

/// What a statement says.
#[derive(Clone, Debug)]
pub enum StatementKind {
    /// SELECT, VALUES, WITH ..; a top-level EMIT or xSTREAM makes it an implicit SUBSCRIBE.
    Query(Query),
    /// `SUBSCRIBE [TO] name | (query) [WITH (..)] ..`
    Subscribe(Subscribe),
    /// `CREATE STREAM`.
    CreateStream(CreateStream),
    /// `CREATE STREAM name AS query`.
    CreateStreamAs(CreateStreamAs),
    /// `CREATE SINK name INTO relation AS query`.
    CreateSink(CreateSink),
    /// `CREATE TABLE`; constraints and defaults are in the tree.
    CreateTable(CreateTable),
    /// `CREATE [MATERIALIZED] VIEW name AS query`.
    CreateView(CreateView),
    /// `CREATE [OR REPLACE] FUNCTION`.
    CreateFunction(CreateFunction),
    /// `DROP FUNCTION`.
    DropFunction(DropFunction),
    /// `DROP STREAM | TABLE | VIEW | MATERIALIZED VIEW | SINK | SCHEMA`.
    Drop(Drop),
    /// `CREATE SCHEMA [IF NOT EXISTS] name`.
    CreateSchema {
        /// The schema.
        name: ast::Ident,
        /// Whether an existing one is fine.
        if_not_exists: bool,
    },
    /// `ALTER STREAM name | ALTER TABLE name | ALTER SYSTEM HEARTBEAT expr`.
    Heartbeat {
        /// The stream or table; `None` is the system, whose time is that of commits.
        stream: Option<ast::ObjectName>,
        /// Whether the name was said to be that of a table.
        table: bool,
        /// A constant timestamp expression.
        at: ast::Expr,
    },
    /// `ALTER [MATERIALIZED] VIEW [IF EXISTS] name ..`.
    AlterView {
        /// The view.
        name: ast::ObjectName,
        /// Whether a missing one is fine.
        if_exists: bool,
        /// What changes.
        change: ViewChange,
    },
    /// `ALTER TABLE name ..`.
    AlterTable(AlterTable),
    /// `CREATE UNIQUE INDEX`, which is ADD UNIQUE.
    CreateIndex(AlterTable),
    /// `DROP INDEX [IF EXISTS] name`.
    DropIndex(DropIndex),
    /// `COMMENT ON STREAM | TABLE | VIEW | COLUMN name IS '..'`.
    Comment {
        /// STREAM, TABLE, VIEW or COLUMN.
        kind: String,
        /// The object, or table and column.
        name: ast::ObjectName,
        /// The text; `None` removes it.
        text: Option<String>,
    },
    /// INSERT, UPDATE, DELETE (a query inside may hold windows).
    Dml {
        /// The tree.
        statement: Box<ast::Statement>,
        /// Windows of its queries.
        windows: Arc<[WindowSpec]>,
    },
    /// `COPY table FROM STDIN`.
    CopyFrom(CopyFrom),
    /// `COPY table | (query) | (SUBSCRIBE ..) TO STDOUT`.
    CopyTo(CopyTo),
    /// `EXPLAIN [(..)] statement`.
    Explain(Explain),
    /// `EXPLAIN STALL view`: why nothing comes out.
    ExplainStall(ast::ObjectName),
    /// `DECLARE name [[NO] SCROLL] CURSOR [WITH|WITHOUT HOLD] FOR query | SUBSCRIBE ..`.
    Declare {
        /// The cursor's name.
        name: ast::Ident,
        /// Whether it outlives the transaction.
        hold: bool,
        /// Whether it can go back: SCROLL or NO SCROLL, if it says so.
        scroll: Option<bool>,
        /// What it runs: a `Query` or a `Subscribe`.
        statement: Box<Statement>,
    },
    /// `FETCH | MOVE motion FROM name [WITH (timeout = '..')]`.
    Fetch {
        /// The cursor's name.
        name: ast::Ident,
        /// Where to.
        motion: Motion,
        /// Whether the rows on the way are only counted (MOVE).
        silent: bool,
        /// How long to wait for rows, in milliseconds.
        timeout_ms: Option<u64>,
    },
    /// `CLOSE name | ALL` (`None`).
    Close(Option<ast::Ident>),
    /// `PREPARE name [(types)] AS statement`.
    Prepare {
        /// The statement's name.
        name: ast::Ident,
        /// Declared parameter types.
        types: Vec<ast::DataType>,
        /// The statement.
        statement: Box<Statement>,
    },
    /// `EXECUTE name [(args)]`.
    Execute {
        /// The statement's name.
        name: ast::Ident,
        /// Arguments: constant expressions.
        args: Vec<ast::Expr>,
    },
    /// `DEALLOCATE [PREPARE] name | ALL` (`None`).
    Deallocate(Option<ast::Ident>),
    /// `SHOW WATERMARKS`.
    ShowWatermarks,
    /// `SHOW name | ALL`.
    Show(String),
    /// `SET [SESSION | LOCAL] name = value | TO DEFAULT` (`None`).
    Set {
        /// Whether it ends with the transaction.
        local: bool,
        /// Name in lower case; `TIME ZONE` is `timezone`.
        name: String,
        /// The value as text.
        value: Option<String>,
    },
    /// `RESET name | ALL` (`None`).
    Reset(Option<String>),
    /// BEGIN, START TRANSACTION.
    Begin(TransactionModes),
    /// `SET TRANSACTION`, `SET SESSION CHARACTERISTICS AS TRANSACTION`.
    SetTransaction {
        /// Whether it is said of all transactions of the session from now on.
        every: bool,
        /// What it says.
        modes: TransactionModes,
    },
    /// COMMIT, END.
    Commit {
        /// Whether the next transaction begins at once (`AND CHAIN`).
        chain: bool,
    },
    /// ROLLBACK, ABORT.
    Rollback {
        /// Whether the next transaction begins at once (`AND CHAIN`).
        chain: bool,
    },
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    Savepoint(Savepoint),
    /// `FLUSH`: waits until what was accepted so far can be seen in every view.
    Flush,
    /// `DISCARD ALL | PLANS | ..`, `LISTEN`, `UNLISTEN`, `NOTIFY`, `LOCK`, ..: accepted, without
    /// effect;
    /// holds the command tag.
    NoOp(&'static str),
    /// CHECKPOINT: a log that begins with the present state.
    Checkpoint,
    /// `BACKUP TO 'directory'`: a data directory with the present state.
    Backup(String),
    /// Nothing but blanks and comments.
    Empty,
}

/// Where FETCH goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// So many rows on; `None` is all. 0 is the row that was fetched last.
    Forward(Option<u64>),
    /// So many rows back; `None` is all.
    Backward(Option<u64>),
    /// To the row of that number; from the end if it is negative.
    Absolute(i64),
    /// To the row so many rows away.
    Relative(i64),
}

/// A query with the parts of StreamSQL that sqlparser has no place for.
///
/// `FROM s [RANGE ..]` stands in the tree as the table function `cql_window(s, 'w0')`, where `w0`
/// is
/// `windows[0]`; `ISTREAM (query)` as `cql_stream((query), 'ISTREAM')`, with the microseconds of
/// EVERY as a third argument; TUMBLE, HOP, .. stand as table functions of their own name, with
/// `TABLE x` reduced
/// to `x`
/// and `DESCRIPTOR(c)` kept.
#[derive(Clone, Debug)]
pub struct Query {
    /// The rewritten tree; its spans are those of the user's text.
    pub ast: Box<ast::Query>,
    /// Bracket windows by number.
    pub windows: Arc<[WindowSpec]>,
    /// The EMIT clause of the outermost query.
    pub emit: Option<Emit>,
    /// Whether ISTREAM, DSTREAM or RSTREAM stands at its top.
    pub to_stream: bool,
}

impl Query {
    /// Whether its result never ends: at the top level it is an implicit SUBSCRIBE.
    pub fn endless(&self) -> bool {
        self.emit.is_some() || self.to_stream
    }
}

/// A length of time in a window bracket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Length {
    /// In microseconds.
    Micros(i64),
    /// A parameter: `$1`.
    Parameter(String),
}

/// The content of a window bracket.
#[derive(Clone, Debug, PartialEq)]
pub enum WindowSpec {
    /// `[NOW]`: the current instant.
    Now,
    /// `[UNBOUNDED]`, `[RANGE UNBOUNDED]`.
    Unbounded,
    /// `[RANGE T [INCLUSIVE] [SLIDE L [OFFSET o]]]`.
    Range {
        /// Length.
        size: Length,
        /// Whether the old end belongs to the window.
        inclusive: bool,
        /// Slide and offset.
        slide: Option<(Length, Length)>,
    },
    /// `[ROWS n [SLIDE m]]`.
    Rows {
        /// How many.
        count: u64,
        /// Only whole batches of so many count.
        slide: Option<u64>,
    },
    /// `[PARTITION BY e, .. ROWS n [RANGE T]]`.
    Partitioned {
        /// Partition expressions over the stream's columns.
        keys: Vec<ast::Expr>,
        /// Rows per partition.
        count: u64,
        /// Further bound by time.
        range: Option<Length>,
    },
    /// `[CURRENT T]`.
    Current {
        /// Length of the period.
        size: Length,
    },
}

/// When results become visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// `EMIT CHANGES`.
    Changes,
    /// `EMIT ON WINDOW CLOSE | FINAL | AFTER WATERMARK`.
    OnWindowClose,
    /// `EMIT AFTER DELAY`, in microseconds.
    AfterDelay(i64),
    /// `EMIT EVERY`, in microseconds.
    Every(i64),
}

/// `CREATE STREAM`.
#[derive(Clone, Debug)]
pub struct CreateStream {
    /// Name, possibly with a schema.
    pub name: ast::ObjectName,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// Columns with their options.
    pub columns: Vec<ast::ColumnDef>,
    /// `WATERMARK FOR col AS expr`.
    pub watermark: Option<WatermarkClause>,
    /// `ALLOWED LATENESS`: rows that are less late than this are taken.
    pub lateness: Option<Lateness>,
    /// `LATE ..` of refused rows; `None` is DROP.
    pub late: LatePolicy,
    /// `CLOCK ..`.
    pub clock: Option<StreamClock>,
    /// `PARTITION KEY (..)`.
    pub partition_key: Vec<ast::Ident>,
    /// `WITH (k = v, ..)` and `FROM connector (..)`; keys in lower case.
    pub options: BTreeMap<String, String>,
}

/// `WATERMARK FOR column AS expr ..`.
#[derive(Clone, Debug)]
pub struct WatermarkClause {
    /// Event-time column.
    pub column: ast::Ident,
    /// What is promised after a row: an expression over its columns, usually `ts - delay`.
    pub expr: ast::Expr,
    /// `IDLE TIMEOUT`, in microseconds.
    pub idle_timeout: Option<i64>,
    /// `ON IDLE ADVANCE TO expr`, where `now()` is the system time.
    pub on_idle_advance_to: Option<ast::Expr>,
    /// `MAX AHEAD`, in microseconds.
    pub max_ahead: Option<i64>,
}

/// How late a row may be that is taken all the same, and corrects what has been said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    /// In microseconds.
    Span(i64),
    /// In units of a BIGINT event time.
    Units(i64),
}

/// What becomes of refused rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LatePolicy {
    /// Counted only.
    #[default]
    Drop,
    /// Sent to a stream that is created with this one.
    Into(ast::ObjectName),
    /// The INSERT fails.
    Error,
    /// Window functions take them into windows that are open.
    ToOpenWindows,
}

/// `CLOCK EVENT | ROW | SYSTEM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamClock {
    /// Event time of a column.
    Event,
    /// The number of the row: each is an instant of its own.
    Row,
    /// Logged commit time.
    System,
}

/// What the end of a transaction does to a temporary table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCommit {
    /// Nothing.
    PreserveRows,
    /// A commit deletes its rows.
    DeleteRows,
    /// It goes with the transaction.
    Drop,
}

/// `CREATE TABLE`.
#[derive(Clone, Debug)]
pub struct CreateTable {
    /// Name, possibly with a schema.
    pub name: ast::ObjectName,
    /// `TEMP`, with what becomes of it at the end of a transaction.
    pub temporary: Option<OnCommit>,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// Columns with their options.
    pub columns: Vec<ast::ColumnDef>,
    /// Primary key columns, from a column option or a table constraint.
    pub primary_key: Vec<ast::Ident>,
    /// Other keys.
    pub unique: Vec<UniqueKey>,
    /// `VERSIONED BY col WATERMARK AS expr`.
    pub versions: Option<WatermarkClause>,
    /// `CREATE TABLE x AS query`.
    pub query: Option<Query>,
    /// Whether the query's rows go into the table: not `WITH NO DATA`.
    pub with_data: bool,
    /// `WITH (k = v, ..)`; keys in lower case.
    pub options: BTreeMap<String, String>,
}

/// `CREATE [MATERIALIZED] VIEW`.
#[derive(Clone, Debug)]
pub struct CreateView {
    /// Name, possibly with a schema.
    pub name: ast::ObjectName,
    /// `TEMP`.
    pub temporary: bool,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// `MATERIALIZED`.
    pub materialized: bool,
    /// Column names in place of the query's own.
    pub columns: Vec<ast::Ident>,
    /// The query.
    pub query: Query,
    /// The query's own text, from which it is parsed again after a restart.
    pub query_text: Arc<str>,
    /// `WITH (k = v, ..)`; keys in lower case.
    pub options: BTreeMap<String, String>,
    /// Whether it runs from the start: not `WITH NO DATA`.
    pub with_data: bool,
}

/// What ALTER VIEW does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewChange {
    /// `RENAME TO name`.
    Rename(ast::Ident),
    /// `SUSPEND`: stops it; its content cannot be read.
    Suspend,
    /// `RESUME`: starts it again.
    Resume,
    /// `REFRESH MATERIALIZED VIEW`: starts it again if it was suspended; else its content is up
    /// to date.
    Refresh,
}

/// `DROP ..`.
#[derive(Clone, Debug)]
pub struct Drop {
    /// Of which kind.
    pub kind: DropKind,
    /// The objects.
    pub names: Vec<ast::ObjectName>,
    /// Whether missing ones are fine.
    pub if_exists: bool,
    /// Whether dependent objects go too.
    pub cascade: bool,
}

/// The kind of object that DROP names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropKind {
    /// STREAM.
    Stream,
    /// TABLE.
    Table,
    /// VIEW.
    View,
    /// MATERIALIZED VIEW.
    MaterializedView,
    /// SINK.
    Sink,
    /// SCHEMA.
    Schema,
}

/// `EXPLAIN`.
#[derive(Clone, Debug)]
pub struct Explain {
    /// The explained statement: a query, SUBSCRIBE, CREATE VIEW, or DML.
    pub statement: Box<Statement>,
    /// VERBOSE.
    pub verbose: bool,
    /// ANALYZE.
    pub analyze: bool,
    /// FORMAT JSON.
    pub json: bool,
    /// STATE: what each operator has to remember, and no more.
    pub state: bool,
}
