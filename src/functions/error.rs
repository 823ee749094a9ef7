//! Why a function cannot give a value, with the code that clients see.

use datafusion::error::DataFusionError;

use crate::error::SqlState;

/// A failure of one of our functions, as it travels through DataFusion.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The code.
    pub sqlstate: SqlState,
    /// What is wrong, in Postgres's words.
    pub message: String,
}

impl Error {
    /// Finds our error in DataFusion's wrapping.
    pub fn within(error: &DataFusionError) -> Option<&Error> {
        match error {
            DataFusionError::External(inner) => inner.downcast_ref(),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::within(inner)
            }
            DataFusionError::Shared(inner) => Self::within(inner),
            DataFusionError::Collection(errors) => errors.iter().find_map(Self::within),
            _ => None,
        }
    }
}

/// The code of a failure that has one: ours, or something DataFusion has not.
pub fn sqlstate(error: &DataFusionError) -> Option<SqlState> {
    match Error::within(error) {
        Some(own) => Some(own.sqlstate),
        None => match error.find_root() {
            DataFusionError::NotImplemented(_) => Some(SqlState::FEATURE_NOT_SUPPORTED),
            DataFusionError::Execution(what) if what.contains("ORDER BY expressions must") => {
                Some(SqlState("42P10"))
            }
            _ => None,
        },
    }
}

/// Makes an error that functions return.
pub fn failure(sqlstate: SqlState, message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Error { sqlstate, message: message.into() }))
}
