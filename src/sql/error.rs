//! Placeholder until the parser lands.
use crate::error::{Classify, SqlState};
/// Error.
#[derive(Debug, thiserror::Error)]
#[error("sql")]
pub struct Error;
impl Classify for Error {
    fn sqlstate(&self) -> SqlState {
        SqlState::SYNTAX_ERROR
    }
}
/// Result.
pub type Result<T> = std::result::Result<T, Error>;
