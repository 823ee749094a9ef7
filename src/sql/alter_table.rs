//! ALTER TABLE.

use sqlparser::ast;

use super::key::UniqueKey;

/// `ALTER TABLE [IF EXISTS] [ONLY] name change, ..`.
#[derive(Clone, Debug)]
pub struct AlterTable {
    /// The table, possibly with a schema.
    pub name: ast::ObjectName,
    /// Whether a missing one is fine.
    pub if_exists: bool,
    /// What changes, in order.
    pub changes: Vec<TableChange>,
}

/// What ALTER TABLE does.
#[derive(Clone, Debug)]
pub enum TableChange {
    /// `RENAME TO name`.
    Rename(ast::Ident),
    /// `RENAME [COLUMN] name TO name`.
    RenameColumn(ast::Ident, ast::Ident),
    /// `ADD [COLUMN] [IF NOT EXISTS] name type ..`.
    AddColumn {
        /// The column with its options.
        column: Box<ast::ColumnDef>,
        /// Whether an existing one is fine.
        if_not_exists: bool,
    },
    /// `DROP [COLUMN] [IF EXISTS] name`.
    DropColumn {
        /// The column.
        column: ast::Ident,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// `ADD [CONSTRAINT name] PRIMARY KEY (..)`.
    AddPrimaryKey(Vec<ast::Ident>),
    /// `ADD [CONSTRAINT name] UNIQUE (..)`, and CREATE UNIQUE INDEX.
    AddUnique {
        /// The key.
        key: UniqueKey,
        /// Whether an existing one of its name is fine.
        if_not_exists: bool,
    },
    /// `DROP CONSTRAINT [IF EXISTS] name`: of a key.
    DropConstraint {
        /// The constraint.
        name: ast::Ident,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// `ALTER [COLUMN] name SET DEFAULT expression | DROP DEFAULT` (`None`).
    Default(ast::Ident, Option<Box<ast::Expr>>),
    /// `ALTER [COLUMN] name SET NOT NULL | DROP NOT NULL` (`false`).
    NotNull(ast::Ident, bool),
}

impl TableChange {
    /// Whether what reads the table would find other columns, or not find it.
    pub fn shows(&self) -> bool {
        matches!(
            self,
            TableChange::Rename(_)
                | TableChange::RenameColumn(..)
                | TableChange::AddColumn { .. }
                | TableChange::DropColumn { .. }
        )
    }
}

/// `DROP INDEX [IF EXISTS] name`.
#[derive(Clone, Debug)]
pub struct DropIndex {
    /// The key's name.
    pub name: ast::ObjectName,
    /// Whether a missing one is fine.
    pub if_exists: bool,
}
