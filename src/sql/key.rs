//! UNIQUE.

use sqlparser::ast;

/// Columns of which no two rows have the same values, unless one is NULL.
#[derive(Clone, Debug)]
pub struct UniqueKey {
    /// What the constraint is called, if it has a name.
    pub name: Option<ast::Ident>,
    /// The columns.
    pub columns: Vec<ast::Ident>,
}
