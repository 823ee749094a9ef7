//! Bytes in, bytes out: sources of rows outside the server.
//!
//! A source knows bytes, formats and positions; it does not know event time. `runtime/ingest.rs`
//! extracts timestamps, makes watermarks and refuses late rows, once for all sources.

mod datagen;
pub mod file;
pub mod format;
mod nexmark;
mod options;
mod pace;
pub mod postgres;
mod splitmix;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::clock::Clock;
use crate::error::{Classify, SqlState};

/// Result of a connector.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a connector cannot go on, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An unknown connector, format or option, or an option without meaning.
    #[error("{message}")]
    Option {
        /// Names the option and its value.
        message: String,
        /// What would be right.
        hint: Option<String>,
    },
    /// There is no file where there has to be one.
    #[error("{message}")]
    NoFile {
        /// Names the path.
        message: String,
    },
    /// The outside world failed.
    #[error("{what}: {source}")]
    Io {
        /// The file or address.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A file or message that as a whole is not of its format.
    #[error("{what}: {reason}")]
    Format {
        /// The file or address.
        what: String,
        /// The cause.
        reason: String,
    },
    /// COPY data that are not of their format, or hold a text that is not a value of its column.
    #[error("{message}")]
    Copy {
        /// The code Postgres gives such an error.
        sqlstate: SqlState,
        /// Postgres's message.
        message: String,
        /// Where: `COPY s, line 3, column ts: "abc"`.
        context: String,
    },
}

impl Classify for Error {
    fn sqlstate(&self) -> SqlState {
        match self {
            Error::Option { .. } => SqlState::INVALID_PARAMETER_VALUE,
            Error::NoFile { .. } => SqlState::UNDEFINED_FILE,
            Error::Io { .. } => SqlState::IO_ERROR,
            Error::Format { .. } => SqlState::INVALID_TEXT_REPRESENTATION,
            Error::Copy { sqlstate, .. } => *sqlstate,
        }
    }

    fn context(&self) -> Option<String> {
        match self {
            Error::Copy { context, .. } => Some(context.clone()),
            Error::Option { .. }
            | Error::NoFile { .. }
            | Error::Io { .. }
            | Error::Format { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Option { hint, .. } => hint.clone(),
            Error::NoFile { .. } => {
                let here = std::env::current_dir().unwrap_or_default();
                Some(format!("Paths are the server's, which runs in \"{}\".", here.display()))
            }
            Error::Io { .. } | Error::Format { .. } | Error::Copy { .. } => None,
        }
    }
}

/// What a sink is to write of some commits.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The rows.
    pub rows: RecordBatch,
    /// How often each comes, or goes.
    pub weights: Vec<i64>,
}

/// Where rows go outside of the server. What was written is known there, by commits, so that
/// nothing is written twice.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Finishes what has been begun beyond the commit `delivered`; returns up to which commit
    /// everything has been written.
    async fn resume(&self, delivered: u64) -> Result<u64>;

    /// Writes the changes of the commits `range.0..=range.1`, of which none have been written, all
    /// or none.
    async fn write(&self, range: (u64, u64), changes: Arc<Changes>) -> Result<()>;

    /// It is known elsewhere that everything up to a commit has been written.
    async fn forget(&self, until: u64) -> Result<()>;

    /// Nothing more is written: removes what only that was for.
    async fn end(&self) -> Result<()>;
}

/// Why a record is no row of its stream or table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Flaw {
    /// The code that INSERT gives such an error.
    pub sqlstate: SqlState,
    /// What is wrong.
    pub message: String,
}

impl Flaw {
    /// The record is not of its format.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self { sqlstate: SqlState::INVALID_TEXT_REPRESENTATION, message: message.into() }
    }

    /// NULL where it may not be.
    pub fn null(column: &str) -> Self {
        let message = format!("null value in column \"{column}\" that is NOT NULL");
        Self { sqlstate: SqlState::NOT_NULL_VIOLATION, message }
    }

    /// The record has more bytes than are read.
    pub fn too_long(bytes: u64, max: usize) -> Self {
        let message = format!("the line has {bytes} bytes, more than max_line = {max}");
        Self { sqlstate: SqlState::PROGRAM_LIMIT_EXCEEDED, message }
    }

    /// Says in which column.
    #[must_use]
    pub fn of_column(self, column: &str) -> Self {
        Self { message: format!("column \"{column}\": {}", self.message), ..self }
    }
}

/// A record that is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Where it stood: file and line (from 1), or row of a binary file; a file alone stands for
    /// all of it that is not read.
    pub place: String,
    /// Why it is none.
    pub flaw: Flaw,
    /// The raw record as text, cut to a few hundred characters.
    pub raw: String,
}

/// What a source delivers at a time.
#[derive(Clone, Debug)]
pub struct SourceBatch {
    /// Rows of the declared schema, in order of arrival.
    pub rows: RecordBatch,
    /// Records that could not be decoded, between those rows.
    pub bad: Vec<BadRecord>,
    /// Where reading goes on after this batch.
    pub position: SourcePosition,
}

/// Where reading goes on: opaque text that only its connector understands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourcePosition(pub String);

/// Rows from outside, in order.
#[async_trait]
pub trait Source: Send {
    /// Waits for the next rows; `None` at the end of a bounded source. Cancel-safe. Delivers at
    /// most
    /// `rows_max` rows, and what is there at once rather than waiting to fill a batch.
    async fn next(&mut self, rows_max: usize) -> Result<Option<SourceBatch>>;
}

/// What a stream or table says about its connector: `FROM`/`WITH` options and the declared columns.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Options of the WITH clause, keys in lower case.
    pub options: BTreeMap<String, String>,
    /// Declared columns, in order; rows are delivered in this schema. A row that violates it, or
    /// the length in a field's `pg_type`, is a bad record.
    pub schema: SchemaRef,
    /// Name of the event-time column, if any (for `rate` by event time).
    pub event_time: Option<String>,
    /// Where to start; the default is the beginning.
    pub from: SourcePosition,
    /// Tells the time, for pacing.
    pub clock: Arc<dyn Clock>,
}

/// The connectors, by name.
const CONNECTORS: [&str; 3] = ["datagen", "file", "nexmark"];

/// A connector by its name.
enum Connector {
    Datagen,
    File,
    Nexmark,
}

/// A source that is ready to be read.
pub struct Opened {
    /// The source.
    pub source: Box<dyn Source>,
    /// Whether it ends by itself.
    pub bounded: bool,
    /// What its user should know, such as that there is nothing to read yet.
    pub notice: Option<String>,
}

/// Opens a source where its specification says. Reads from disk, and so may block.
pub fn open(spec: &SourceSpec) -> Result<Opened> {
    match connector(spec)? {
        Connector::Datagen => {
            let source = datagen::DatagenSource::open(spec)?;
            let bounded = source.bounded();
            Ok(Opened { source: Box::new(source), bounded, notice: None })
        }
        Connector::File => {
            let source = file::FileSource::open(spec)?;
            let (bounded, notice) = (source.bounded(), source.notice());
            Ok(Opened { source: Box::new(source), bounded, notice })
        }
        Connector::Nexmark => {
            let source = nexmark::NexmarkSource::open(spec)?;
            let bounded = source.bounded();
            Ok(Opened { source: Box::new(source), bounded, notice: None })
        }
    }
}

fn connector(spec: &SourceSpec) -> Result<Connector> {
    let hint = || Some(format!("Known connectors are {}.", CONNECTORS.join(", ")));
    match spec.options.get("connector").map(String::as_str) {
        Some("datagen") => Ok(Connector::Datagen),
        Some("file") => Ok(Connector::File),
        Some("nexmark") => Ok(Connector::Nexmark),
        Some(name) => {
            Err(Error::Option { message: format!("unknown connector \"{name}\""), hint: hint() })
        }
        None => Err(Error::Option {
            message: "option \"connector\" is missing".to_owned(),
            hint: hint(),
        }),
    }
}
