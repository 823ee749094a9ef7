//! Which statements change what other sessions see: those that a READ ONLY transaction refuses.

use sqlparser::ast;

use super::statement::{DropKind, StatementKind};

impl StatementKind {
    /// The command as errors name it, if it changes something that other sessions see.
    pub fn changes(&self) -> Option<&'static str> {
        Some(match self {
            StatementKind::CreateStream(_) | StatementKind::CreateStreamAs(_) => "CREATE STREAM",
            StatementKind::CreateSink(_) => "CREATE SINK",
            StatementKind::CreateTable(_) => "CREATE TABLE",
            StatementKind::CreateView(create) if create.materialized => "CREATE MATERIALIZED VIEW",
            StatementKind::CreateView(_) => "CREATE VIEW",
            StatementKind::CreateSchema { .. } => "CREATE SCHEMA",
            StatementKind::CreateFunction(_) => "CREATE FUNCTION",
            StatementKind::DropFunction(_) => "DROP FUNCTION",
            StatementKind::Drop(drop) => match drop.kind {
                DropKind::Stream => "DROP STREAM",
                DropKind::Sink => "DROP SINK",
                DropKind::Table => "DROP TABLE",
                DropKind::View => "DROP VIEW",
                DropKind::MaterializedView => "DROP MATERIALIZED VIEW",
                DropKind::Schema => "DROP SCHEMA",
            },
            StatementKind::Heartbeat { stream: None, .. } => "ALTER SYSTEM",
            StatementKind::Heartbeat { table: true, .. } | StatementKind::AlterTable(_) => {
                "ALTER TABLE"
            }
            StatementKind::Heartbeat { .. } => "ALTER STREAM",
            StatementKind::CreateIndex(_) => "CREATE INDEX",
            StatementKind::DropIndex(_) => "DROP INDEX",
            StatementKind::AlterView { .. } => "ALTER VIEW",
            StatementKind::Comment { .. } => "COMMENT",
            StatementKind::CopyFrom(_) => "COPY FROM",
            StatementKind::Dml { statement, .. } => match **statement {
                ast::Statement::Insert(_) => "INSERT",
                ast::Statement::Update(_) => "UPDATE",
                ast::Statement::Delete(_) => "DELETE",
                _ => "TRUNCATE TABLE",
            },
            _ => return None,
        })
    }
}
