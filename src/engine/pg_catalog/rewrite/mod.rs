//! Clients' catalog SQL into SQL that DataFusion plans.
//!
//! Rules of ours come first, then those of `datafusion-pg-catalog`, which know how qualified names,
//! `ANY` over arrays and `COLLATE` have to look. None of them sees users' own statements: rewriting
//! loses the positions that error messages point at.

use std::sync::LazyLock;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{Expr, Ident, Statement, Value, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

use crate::planner::bind::name_statement;

mod arrays;
mod empty;
mod kinds;
mod names;
mod output;
mod parameters;
mod subquery;

pub(super) use empty::without_rows;
pub(super) use parameters::parameters;

/// What makes a statement one about the server, besides names that begin with `pg_`: functions that
/// only the catalog knows.
const WORDS: [&str; 17] = [
    "information_schema",
    "version(",
    "current_catalog",
    "current_database(",
    "current_role",
    "current_schema",
    "current_setting(",
    "current_user",
    "col_description(",
    "format_type(",
    "getdatabaseencoding(",
    "obj_description(",
    "session_user",
    "set_config(",
    "shobj_description(",
    "to_reg",
    "pg_",
];

static PARSER: LazyLock<PostgresCompatibilityParser> =
    LazyLock::new(PostgresCompatibilityParser::new);

/// Returns whether a statement asks about the server, by the names in it.
///
/// A name in a string or comment counts too: such a statement is rewritten without need, and means
/// the same.
pub fn is_catalog_statement(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    let begins = |at: usize| !sql[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let named = |word: &&str| sql.match_indices(*word).any(|(at, _)| begins(at));
    ["::reg", "_privilege("].iter().any(|part| sql.contains(part)) || WORDS.iter().any(named)
}

/// Rewrites one statement.
pub fn rewrite(sql: &str) -> Result<Statement> {
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql)
        .map_err(|error| DataFusionError::SQL(Box::new(error), None))?;
    let statement = parsed.into_iter().next();
    let mut statement =
        statement.ok_or_else(|| DataFusionError::Plan("no statement".to_owned()))?;
    name_statement(&mut statement);
    output::show_object_ids(&mut statement);
    apply(&mut statement, &mut names::Names);
    apply(&mut statement, &mut kinds::Kinds);
    apply(&mut statement, &mut arrays::Arrays);
    apply(&mut statement, &mut subquery::Subqueries);
    Ok(PARSER.rewrite(statement))
}

fn apply(statement: &mut Statement, rule: &mut impl VisitorMut<Break = ()>) {
    // Rules never break off.
    let _ = statement.visit(rule);
}

/// Parses an expression of ours.
fn expression(sql: &str) -> Expr {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
    let parsed = parser.and_then(|mut parser| parser.parse_expr());
    parsed.unwrap_or_else(|_| null())
}

/// Calls a function.
fn call(function: &str, arguments: &[&Expr]) -> Expr {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    expression(&format!("{function}({})", arguments.join(", ")))
}

fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span())
}

/// Returns the text of a string literal.
fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the last part of a column's name.
fn column(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    }
}
