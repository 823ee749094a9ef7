//! Placeholder.
use super::statement::{Query, Statement};
/// x
pub fn parse_query_text(_: &str) -> super::Result<Query> {
    Err(super::Error)
}
/// x
pub fn parse(_: &str) -> super::Result<Vec<Statement>> {
    Err(super::Error)
}
