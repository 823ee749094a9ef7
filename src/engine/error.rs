//! Every error a statement can end with.

use crate::error::{Classify, Location, SqlState};

/// Result of a statement.
pub type Result<T> = std::result::Result<T, Error>;

/// Every error a statement can end with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Classify for Error {
    fn sqlstate(&self) -> SqlState {
        match self {
            Error::Internal(_) => SqlState::INTERNAL_ERROR,
        }
    }

    fn location(&self) -> Option<Location> {
        None
    }
}
