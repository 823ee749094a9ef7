//! CREATE FUNCTION and DROP FUNCTION.

use std::sync::Arc;

use sqlparser::ast;

/// `CREATE FUNCTION`.
#[derive(Clone, Debug)]
pub struct CreateFunction {
    /// Name, possibly with a schema.
    pub name: ast::ObjectName,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// Parameters in order.
    pub parameters: Vec<Parameter>,
    /// The type of the result.
    pub returns: ast::DataType,
    /// Its text.
    pub returns_text: String,
    /// Whether NULL among the arguments gives NULL.
    pub strict: bool,
    /// `i`, `s` or `v`, as Postgres has it.
    pub volatility: char,
    /// An expression, or a query that selects one.
    pub body: Arc<str>,
}

/// A parameter of a function.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name; else it is `$n`.
    pub name: Option<ast::Ident>,
    /// Its type.
    pub data_type: ast::DataType,
    /// The text of the type.
    pub text: String,
}

/// `DROP FUNCTION`.
#[derive(Clone, Debug)]
pub struct DropFunction {
    /// The functions, with the number of their arguments if it is given.
    pub functions: Vec<(ast::ObjectName, Option<usize>)>,
    /// Whether missing ones are fine.
    pub if_exists: bool,
    /// Whether dependent objects go too.
    pub cascade: bool,
}
