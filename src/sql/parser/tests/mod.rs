//! Tests of the parser, by what users write.

use super::parse;
use crate::error::{Classify, Location, SqlState};
use crate::sql::Error;
use crate::sql::statement::{Query, Statement, StatementKind};

mod ddl;
mod errors;
mod nexmark;
mod other_statements;
mod queries;
mod robustness;
mod windows;

/// Parses one statement.
#[track_caller]
fn statement(sql: &str) -> Statement {
    let mut statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0)
}

#[track_caller]
fn kind(sql: &str) -> StatementKind {
    statement(sql).kind
}

/// Parses a query.
#[track_caller]
fn query(sql: &str) -> Query {
    match kind(sql) {
        StatementKind::Query(query) => query,
        other => panic!("{sql}: {other:?}"),
    }
}

/// Returns what sqlparser is given to parse, as text.
#[track_caller]
fn rewritten(sql: &str) -> String {
    query(sql).ast.to_string()
}

#[track_caller]
fn error(sql: &str) -> Error {
    match parse(sql) {
        Err(error) => error,
        Ok(statements) => panic!("{sql}: {statements:?}"),
    }
}

/// Requires an error with its code, a part of its message, and its place.
#[track_caller]
fn check_error(sql: &str, state: SqlState, message: &str, place: (u64, u64)) {
    let error = error(sql);
    assert_eq!(error.sqlstate(), state, "{sql}: {error:?}");
    assert!(error.to_string().contains(message), "{sql}: {error}");
    let location = Location { line: place.0, column: place.1 };
    assert_eq!(error.location(), Some(location), "{sql}: {error:?}");
}

/// Requires that something is refused as unsupported under its name.
#[track_caller]
fn check_unsupported(sql: &str, feature: &str) {
    let error = error(sql);
    assert_eq!(error.sqlstate(), SqlState::FEATURE_NOT_SUPPORTED, "{sql}: {error:?}");
    assert!(
        error.to_string().starts_with(&format!("{feature} is not supported")),
        "{sql}: {error}"
    );
    assert!(error.location().is_some(), "{sql}: no location");
}
