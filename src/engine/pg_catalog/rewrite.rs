//! Clients' catalog SQL into SQL that DataFusion plans.

use std::sync::LazyLock;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

static PARSER: LazyLock<PostgresCompatibilityParser> =
    LazyLock::new(PostgresCompatibilityParser::new);

/// Returns whether a statement asks about the server.
pub fn is_catalog_statement(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    sql.contains("pg_") || sql.contains("information_schema")
}

/// Rewrites one statement.
pub fn rewrite(sql: &str) -> Result<Statement> {
    let parsed = PARSER.parse(sql).map_err(|error| DataFusionError::SQL(Box::new(error), None))?;
    let mut parsed = parsed.into_iter();
    let statement =
        parsed.next().ok_or_else(|| DataFusionError::Plan("no statement".to_owned()))?;
    Ok(statement)
}
