//! Every error a statement can end with.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use sqlparser::tokenizer::Span;

use crate::error::{Classify, Location, SqlState};
use crate::{connectors, planner, runtime, sql};

/// Result of a statement.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error a statement can end with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Syntax and options.
    #[error(transparent)]
    Sql(#[from] sql::Error),
    /// Planning.
    #[error(transparent)]
    Planner(#[from] planner::Error),
    /// Commits and running queries.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// Sources.
    #[error(transparent)]
    Connector(#[from] connectors::Error),
    /// A name that is not there.
    #[error("{kind} \"{name}\" does not exist")]
    Undefined {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The code.
        sqlstate: SqlState,
    },
    /// A name that is taken.
    #[error("{kind} \"{name}\" already exists")]
    Duplicate {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The code.
        sqlstate: SqlState,
    },
    /// Something that cannot be done (yet).
    #[error("{what}")]
    Unsupported {
        /// What.
        what: String,
        /// What can be done instead.
        hint: String,
    },
    /// A statement that contradicts itself or the state of things.
    #[error("{message}")]
    Refused {
        /// What is wrong.
        message: String,
        /// The code.
        sqlstate: SqlState,
        /// More facts.
        detail: Option<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// An error with its place in the text.
    #[error("{error}")]
    At {
        /// What is wrong.
        error: Box<Error>,
        /// Where.
        location: Location,
    },
    /// A bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// A refusal without detail.
    pub fn refused(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Error::Refused { message: message.into(), sqlstate, detail: None, hint: None }
    }

    /// A refusal with a hint.
    pub fn hinted(sqlstate: SqlState, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Refused { message: message.into(), sqlstate, detail: None, hint: Some(hint.into()) }
    }

    /// Something that cannot be done (yet).
    pub fn unsupported(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Unsupported { what: what.into(), hint: hint.into() }
    }
}

impl Error {
    /// Places an error at what the user wrote; a span of nothing places it nowhere.
    pub fn at(self, span: Span) -> Self {
        let Location { line, column } =
            Location { line: span.start.line, column: span.start.column };
        match (line, self.location()) {
            (0, _) | (_, Some(_)) => self,
            _ => Error::At { error: Box::new(self), location: Location { line, column } },
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Error::Planner(error.into())
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Error::Planner(error.into())
    }
}

impl Classify for Error {
    fn sqlstate(&self) -> SqlState {
        match self {
            Error::Sql(error) => error.sqlstate(),
            Error::Planner(error) => error.sqlstate(),
            Error::Runtime(error) => error.sqlstate(),
            Error::Connector(error) => error.sqlstate(),
            Error::Undefined { sqlstate, .. }
            | Error::Duplicate { sqlstate, .. }
            | Error::Refused { sqlstate, .. } => *sqlstate,
            Error::Unsupported { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            Error::At { error, .. } => error.sqlstate(),
            Error::Internal(_) => SqlState::INTERNAL_ERROR,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Error::Sql(error) => error.detail(),
            Error::Planner(error) => error.detail(),
            Error::Runtime(error) => error.detail(),
            Error::Connector(error) => error.detail(),
            Error::Refused { detail, .. } => detail.clone(),
            Error::At { error, .. } => error.detail(),
            Error::Undefined { .. }
            | Error::Duplicate { .. }
            | Error::Unsupported { .. }
            | Error::Internal(_) => None,
        }
    }

    fn context(&self) -> Option<String> {
        match self {
            Error::Connector(error) => error.context(),
            Error::At { error, .. } => error.context(),
            Error::Sql(_)
            | Error::Planner(_)
            | Error::Runtime(_)
            | Error::Undefined { .. }
            | Error::Duplicate { .. }
            | Error::Unsupported { .. }
            | Error::Refused { .. }
            | Error::Internal(_) => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Sql(error) => error.hint(),
            Error::Planner(error) => error.hint(),
            Error::Runtime(error) => error.hint(),
            Error::Connector(error) => error.hint(),
            Error::Unsupported { hint, .. } => Some(hint.clone()),
            Error::Refused { hint, .. } => hint.clone(),
            Error::At { error, .. } => error.hint(),
            Error::Undefined { .. } | Error::Duplicate { .. } | Error::Internal(_) => None,
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Error::Sql(error) => error.location(),
            Error::Planner(error) => error.location(),
            Error::Runtime(error) => error.location(),
            Error::Connector(error) => error.location(),
            Error::At { location, .. } => Some(*location),
            Error::Undefined { .. }
            | Error::Duplicate { .. }
            | Error::Unsupported { .. }
            | Error::Refused { .. }
            | Error::Internal(_) => None,
        }
    }
}
