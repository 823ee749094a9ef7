//! What a statement comes to.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, SchemaRef};
use futures::stream::BoxStream;

use super::{Result, Session};
use crate::error::SqlState;
use crate::sql::statement::CopyOptions;

/// Rows on their way to a client.
pub type RowStream = BoxStream<'static, Result<RecordBatch>>;

/// What a statement comes to.
pub enum Outcome {
    /// Nothing was said.
    Empty,
    /// Rows, finite or not; the wire flushes whenever the stream is pending.
    Rows(Rows),
    /// Done; the command tag, e.g. `INSERT 0 3`, `CREATE STREAM`.
    Done(String),
    /// The client is to send COPY data.
    CopyIn(CopyIn),
    /// Rows to send as COPY data.
    CopyOut(Rows, CopyOptions),
}

/// Rows of a result.
pub struct Rows {
    /// Columns.
    pub schema: SchemaRef,
    /// Batches of that schema.
    pub stream: RowStream,
    /// Command tag; the wire appends the row count: `SELECT`, `FETCH`, `SUBSCRIBE`, `SHOW`,
    /// `EXPLAIN`.
    pub tag: &'static str,
}

/// The receiving end of `COPY .. FROM STDIN`.
pub struct CopyIn {
    /// Number of columns expected.
    pub columns: usize,
    /// Format.
    pub options: CopyOptions,
    /// Takes the bytes.
    pub sink: Box<dyn CopySink>,
}

/// Takes the bytes of `COPY .. FROM STDIN`.
#[async_trait::async_trait]
pub trait CopySink: Send {
    /// Takes the next piece; records may be split over pieces.
    async fn write(&mut self, data: &[u8]) -> Result<()>;
    /// The data is complete: writes it in the session's transaction and returns the number of rows
    /// taken. Dropping without `finish` undoes all.
    async fn finish(self: Box<Self>, session: &mut Session) -> Result<u64>;
}

/// What Describe tells of a statement.
#[derive(Clone, Debug)]
pub struct Description {
    /// Types of `$1`, `$2`, ..
    pub parameters: Vec<Field>,
    /// Columns of its result, if it has one.
    pub columns: Option<SchemaRef>,
}

/// A message beside the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// NOTICE, WARNING, INFO.
    pub severity: &'static str,
    /// Its code.
    pub code: SqlState,
    /// One line.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The state of a session's transaction block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// None.
    Idle,
    /// In a block.
    Block,
    /// In a block that failed.
    Failed,
}

/// Who connects.
#[derive(Clone, Debug)]
pub struct Client {
    /// User name.
    pub user: String,
    /// Database name.
    pub database: String,
    /// Name of the client program.
    pub application_name: String,
    /// Address of the peer.
    pub address: Option<std::net::SocketAddr>,
    /// Process id given to it, for cancel requests and pg_stat_activity.
    pub pid: i32,
    /// How others end what it does.
    pub interrupt: Arc<dyn Interrupt>,
}

/// Ends what a session does, from outside.
pub trait Interrupt: std::fmt::Debug + Send + Sync {
    /// Cancels the statement that runs, if one does.
    fn cancel(&self);
    /// Ends the session.
    fn terminate(&self);
}
