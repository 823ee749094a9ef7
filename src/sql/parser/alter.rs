//! Statements on existing objects: DROP, ALTER STREAM, COMMENT ON. Also ALTER SYSTEM.

use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::alter_table::{alter_table, drop_index};
use super::function;
use super::reader::Reader;
use super::statement::statement_name;
use crate::sql::Result;
use crate::sql::statement::{Drop, DropKind, StatementKind, ViewChange};

/// Kinds of objects that Postgres or StreamSQL has and this server does not drop, alter or comment.
pub const OTHER_KINDS: [&str; 27] = [
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "CONVERSION",
    "DATABASE",
    "DOMAIN",
    "EVENT",
    "EXTENSION",
    "FOREIGN",
    "FUNCTION",
    "INDEX",
    "LANGUAGE",
    "OPERATOR",
    "OWNED",
    "POLICY",
    "PROCEDURE",
    "PUBLICATION",
    "ROLE",
    "RULE",
    "SEQUENCE",
    "SERVER",
    "SUBSCRIPTION",
    "TABLESPACE",
    "TRIGGER",
    "TYPE",
    "USER",
    "SYSTEM",
];

/// Reads what follows DROP.
pub fn drop(mut reader: Reader<'_>) -> Result<StatementKind> {
    if reader.eat(&["FUNCTION"]) {
        return function::drop(reader);
    }
    if reader.eat(&["INDEX"]) {
        return drop_index(reader);
    }
    let kinds = ["STREAM", "TABLE", "VIEW", "MATERIALIZED", "SINK", "SCHEMA"];
    let kind = match reader.eat_any(&kinds) {
        Some("STREAM") => DropKind::Stream,
        Some("SINK") => DropKind::Sink,
        Some("TABLE") => DropKind::Table,
        Some("VIEW") => DropKind::View,
        Some("SCHEMA") => DropKind::Schema,
        Some(_) => {
            reader.expect(&["VIEW"])?;
            DropKind::MaterializedView
        }
        None if reader.sees(&["SOURCE"]) => {
            return Err(reader.not_yet(format!("DROP {}", statement_name(reader.tokens())), ""));
        }
        None => return Err(unknown_kind(&reader, "DROP")),
    };
    let if_exists = reader.eat(&["IF", "EXISTS"]);
    let mut names = vec![reader.object_name()?];
    while reader.eat_token(&Token::Comma) {
        names.push(reader.object_name()?);
    }
    let cascade = reader.eat_any(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
    reader.expect_end()?;
    Ok(StatementKind::Drop(Drop { kind, names, if_exists, cascade }))
}

fn unknown_kind(reader: &Reader<'_>, verb: &str) -> crate::sql::Error {
    if OTHER_KINDS.iter().any(|kind| reader.sees(&[kind])) {
        return reader.unsupported(format!("{verb} {}", statement_name(reader.tokens())), "");
    }
    reader.unexpected()
}

/// Reads what follows REFRESH.
pub fn refresh(mut reader: Reader<'_>) -> Result<StatementKind> {
    reader.expect(&["MATERIALIZED"])?;
    reader.expect(&["VIEW"])?;
    reader.eat(&["CONCURRENTLY"]);
    let name = reader.object_name()?;
    if reader.sees(&["WITH", "NO", "DATA"]) {
        return Err(reader.unsupported("WITH NO DATA", "A view's content is always up to date."));
    }
    reader.eat(&["WITH", "DATA"]);
    reader.expect_end()?;
    Ok(StatementKind::AlterView { name, if_exists: false, change: ViewChange::Refresh })
}

/// Reads what follows ALTER.
pub fn alter(mut reader: Reader<'_>) -> Result<StatementKind> {
    let start = reader;
    if reader.eat(&["SYSTEM", "HEARTBEAT"]) {
        return heartbeat(reader, None, false);
    }
    if reader.eat(&["MATERIALIZED", "VIEW"]) || reader.eat(&["VIEW"]) {
        return alter_view(start, reader);
    }
    let versions = reader.eat(&["TABLE"]);
    if versions {
        let mut table = reader;
        if !(table.object_name().is_ok() && table.sees(&["HEARTBEAT"])) {
            return alter_table(reader);
        }
    } else if !reader.eat(&["STREAM"]) {
        let kinds = ["SCHEMA", "SINK", "SOURCE"];
        if kinds.iter().any(|kind| reader.sees(&[kind])) {
            let name = format!("ALTER {}", statement_name(reader.tokens()));
            return Err(start.unsupported(name, "Drop the object and create it again."));
        }
        return Err(unknown_kind(&reader, "ALTER"));
    }
    let stream = reader.object_name()?;
    if !reader.eat(&["HEARTBEAT"]) {
        let words = ["ADD", "DROP", "ALTER", "RENAME", "SET", "RESET", "OWNER"];
        if words.iter().any(|word| reader.sees(&[word])) {
            return Err(start.unsupported(
                "ALTER STREAM other than HEARTBEAT",
                "Drop the stream and create it again.",
            ));
        }
        return Err(reader.unexpected_hint("Write ALTER STREAM name HEARTBEAT timestamp."));
    }
    heartbeat(reader, Some(stream), versions)
}

fn heartbeat(
    mut reader: Reader<'_>,
    stream: Option<ast::ObjectName>,
    table: bool,
) -> Result<StatementKind> {
    let at = reader.expr()?;
    reader.expect_end()?;
    Ok(StatementKind::Heartbeat { stream, table, at })
}

fn alter_view(start: Reader<'_>, mut reader: Reader<'_>) -> Result<StatementKind> {
    let if_exists = reader.eat(&["IF", "EXISTS"]);
    let name = reader.object_name()?;
    let change = match reader.eat_any(&["RENAME", "SUSPEND", "RESUME"]) {
        Some("RENAME") if reader.eat(&["TO"]) => ViewChange::Rename(reader.ident()?),
        Some("SUSPEND") => ViewChange::Suspend,
        Some("RESUME") => ViewChange::Resume,
        _ => {
            return Err(start.unsupported(
                "ALTER VIEW other than RENAME TO, SUSPEND and RESUME",
                "Use CREATE OR REPLACE VIEW for another query.",
            ));
        }
    };
    reader.expect_end()?;
    Ok(StatementKind::AlterView { name, if_exists, change })
}

/// Reads what follows COMMENT.
pub fn comment(mut reader: Reader<'_>) -> Result<StatementKind> {
    reader.expect(&["ON"])?;
    let kind = if reader.eat(&["MATERIALIZED", "VIEW"]) {
        "MATERIALIZED VIEW"
    } else {
        match reader.eat_any(&["STREAM", "TABLE", "VIEW", "COLUMN"]) {
            Some(kind) => kind,
            None if reader.sees(&["SCHEMA"]) => {
                return Err(reader.unsupported("COMMENT ON SCHEMA", ""));
            }
            None => return Err(unknown_kind(&reader, "COMMENT ON")),
        }
    };
    let name = reader.object_name()?;
    reader.expect(&["IS"])?;
    let text = if reader.eat(&["NULL"]) { None } else { Some(reader.string()?.to_owned()) };
    reader.expect_end()?;
    Ok(StatementKind::Comment { kind: kind.to_owned(), name, text })
}
