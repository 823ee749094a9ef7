//! Savepoints.

use sqlparser::ast;

/// What is done with a savepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Savepoint {
    /// `SAVEPOINT name`.
    Define(ast::Ident),
    /// `RELEASE [SAVEPOINT] name`.
    Release(ast::Ident),
    /// `ROLLBACK TO [SAVEPOINT] name`.
    RollbackTo(ast::Ident),
}
