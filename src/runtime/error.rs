//! Why a commit or a query cannot be taken.

use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::job::Fault;
use crate::error::{Classify, SqlState};
use crate::operators;
use crate::storage::{Misfit, archive, log};

/// Result of the runtime.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a commit or a query cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operator or kernel failed.
    #[error(transparent)]
    Operator(#[from] operators::Error),
    /// A row with a key that is there already.
    #[error("duplicate key value violates unique constraint \"{table}_pkey\"")]
    DuplicateKey {
        /// The table.
        table: String,
        /// `Key (id)=(1) already exists.`
        detail: String,
    },
    /// A row that a statement found and a sink has replaced since.
    #[error("could not serialize access due to concurrent update")]
    Changed {
        /// The table.
        table: String,
    },
    /// NULL where it may not be.
    #[error(
        "null value in column \"{column}\" of relation \"{relation}\" violates not-null constraint"
    )]
    NotNull {
        /// Stream or table.
        relation: String,
        /// The column.
        column: String,
    },
    /// A stream with LATE ERROR refused a row.
    #[error("row refused by stream \"{stream}\": {reason}")]
    Refused {
        /// The stream.
        stream: String,
        /// The reason.
        reason: &'static str,
        /// Event time and watermark.
        detail: String,
    },
    /// A table that keeps versions refused one.
    #[error("version refused by table \"{table}\": {reason}")]
    VersionRefused {
        /// The table.
        table: String,
        /// The reason.
        reason: &'static str,
        /// Its time and the watermark.
        detail: String,
    },
    /// An event time of a type that is none.
    #[error("event time cannot have type {0}")]
    NotATime(DataType),
    /// A query that had stopped.
    #[error("{0}")]
    Stopped(String, SqlState),
    /// An object that was dropped meanwhile.
    #[error("relation \"{0}\" does not exist")]
    Gone(String),
    /// The log takes no record.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// What a stream retains cannot be read or written.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A record of the log that cannot be read.
    #[error("a record of the log cannot be read: {0}")]
    Record(String),
    /// The past of a table or view that does not keep it.
    #[error("the past of \"{0}\" is not kept")]
    NoPast(String),
    /// A time of which nothing is known any more.
    #[error("what \"{name}\" was at {at} is not known any more")]
    Forgotten {
        /// Table or view.
        name: String,
        /// The time.
        at: String,
        /// The first time of which it is known.
        oldest: String,
    },
    /// A time that has not passed.
    #[error("what \"{name}\" is at {at} is not known yet")]
    NotYet {
        /// Table or view.
        name: String,
        /// The time.
        at: String,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Error {
    /// Whether a row is to blame, so that the other rows of its commit might be taken without it.
    pub fn of_row(&self) -> bool {
        match self {
            Error::Operator(_)
            | Error::DuplicateKey { .. }
            | Error::NotNull { .. }
            | Error::Refused { .. }
            | Error::VersionRefused { .. } => true,
            Error::Changed { .. }
            | Error::NotATime(_)
            | Error::Stopped(..)
            | Error::Gone(_)
            | Error::Log(_)
            | Error::Archive(_)
            | Error::Record(_)
            | Error::NoPast(_)
            | Error::Forgotten { .. }
            | Error::NotYet { .. }
            | Error::ShuttingDown => false,
        }
    }
}

impl Error {
    /// The error as a table has it, of which the stream of versions refused a row.
    pub(super) fn of_table(self) -> Self {
        match self {
            Error::Refused { stream: table, reason, detail } => {
                Error::VersionRefused { table, reason, detail }
            }
            other => other,
        }
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Error::Operator(error.into())
    }
}

impl From<Misfit> for Error {
    fn from(misfit: Misfit) -> Self {
        Error::Record(misfit.to_string())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error::Stopped(fault.message, fault.sqlstate)
    }
}

impl Classify for Error {
    fn sqlstate(&self) -> SqlState {
        match self {
            Error::Operator(error) => error.sqlstate(),
            Error::DuplicateKey { .. } => SqlState::UNIQUE_VIOLATION,
            Error::Changed { .. } => SqlState::SERIALIZATION_FAILURE,
            Error::NotNull { .. } => SqlState::NOT_NULL_VIOLATION,
            Error::Refused { .. } | Error::VersionRefused { .. } => SqlState::CHECK_VIOLATION,
            Error::NotATime(_) => SqlState::DATATYPE_MISMATCH,
            Error::Stopped(_, sqlstate) => *sqlstate,
            Error::Gone(_) => SqlState::UNDEFINED_TABLE,
            Error::Log(log::Error::Full { .. }) => SqlState::DISK_FULL,
            Error::Log(log::Error::Io { .. })
            | Error::Archive(archive::Error::Io { .. } | archive::Error::Sync(_)) => {
                SqlState::IO_ERROR
            }
            Error::Log(log::Error::Corrupt { .. })
            | Error::Archive(
                archive::Error::Corrupt { .. }
                | archive::Error::Nameless { .. }
                | archive::Error::State(_),
            )
            | Error::Record(_) => SqlState::DATA_CORRUPTED,
            Error::Archive(archive::Error::Unwritable(_)) => SqlState::INTERNAL_ERROR,
            Error::NoPast(_) => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            Error::Forgotten { .. } | Error::NotYet { .. } => SqlState::INVALID_PARAMETER_VALUE,
            Error::ShuttingDown => SqlState::ADMIN_SHUTDOWN,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Error::DuplicateKey { detail, .. }
            | Error::Refused { detail, .. }
            | Error::VersionRefused { detail, .. } => Some(detail.clone()),
            Error::Changed { table } => {
                Some(format!("A sink has replaced a row of table \"{table}\"."))
            }
            Error::Operator(_)
            | Error::NotNull { .. }
            | Error::NotATime(_)
            | Error::Stopped(..)
            | Error::Gone(_)
            | Error::Log(_)
            | Error::Archive(_)
            | Error::Record(_)
            | Error::NoPast(_)
            | Error::Forgotten { .. }
            | Error::NotYet { .. }
            | Error::ShuttingDown => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Refused { .. } => Some(
                "The stream was created with LATE ERROR; LATE INTO keeps such rows instead.".into(),
            ),
            Error::VersionRefused { .. } => Some(
                "What was valid before the watermark is settled; give the version a later time."
                    .into(),
            ),
            Error::Changed { .. } => Some("Try again.".into()),
            Error::Log(log::Error::Full { .. }) => {
                Some("Nothing was changed; make room on the disk, and try again.".into())
            }
            Error::NoPast(_) => Some("Create it WITH (retain = INTERVAL '1 hour').".into()),
            Error::Forgotten { oldest, .. } => {
                Some(format!("The oldest time that is known is {oldest}."))
            }
            Error::NotYet { .. } => Some("Name a time that has passed.".into()),
            Error::Stopped(..) => {
                Some("ALTER VIEW .. RESUME starts it anew; hw.views tells its state.".into())
            }
            Error::Operator(_)
            | Error::DuplicateKey { .. }
            | Error::NotNull { .. }
            | Error::NotATime(_)
            | Error::Gone(_)
            | Error::Log(_)
            | Error::Archive(_)
            | Error::Record(_)
            | Error::ShuttingDown => None,
        }
    }
}
