//! Statements about the session: SET, SHOW, RESET, transactions, and those without effect.

use sqlparser::tokenizer::Token;

use super::options::value;
use super::reader::Reader;
use crate::sql::Result;
use crate::sql::names::quote;
use crate::sql::statement::StatementKind;
use crate::sql::transaction::Savepoint;
use crate::sql::variables::TransactionModes;

/// The first words of statements about the session.
const FIRST: &[&str] = &[
    "SET",
    "SHOW",
    "RESET",
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "FLUSH",
    "DISCARD",
    "CHECKPOINT",
    "BACKUP",
    "LISTEN",
    "UNLISTEN",
    "NOTIFY",
    "LOCK",
    "ANALYZE",
    "ANALYSE",
    "VACUUM",
];

/// Reads a statement about the session, if one comes next.
pub fn statement(reader: &mut Reader<'_>) -> Result<Option<StatementKind>> {
    let first = reader.eat_any(FIRST);
    let Some(first) = first else { return Ok(None) };
    let kind = match first {
        "SET" => set(reader)?,
        "SHOW" => show(reader)?,
        "RESET" => reset(reader)?,
        "BEGIN" => {
            reader.eat_any(&["WORK", "TRANSACTION"]);
            StatementKind::Begin(transaction_modes(reader)?)
        }
        "START" => {
            reader.expect(&["TRANSACTION"])?;
            StatementKind::Begin(transaction_modes(reader)?)
        }
        "COMMIT" | "END" => {
            refuse_two_phase(reader, "COMMIT PREPARED")?;
            StatementKind::Commit { chain: transaction_end(reader)? }
        }
        "ROLLBACK" | "ABORT" => rollback(reader)?,
        "SAVEPOINT" => StatementKind::Savepoint(Savepoint::Define(reader.ident()?)),
        "RELEASE" => {
            reader.eat(&["SAVEPOINT"]);
            StatementKind::Savepoint(Savepoint::Release(reader.ident()?))
        }
        "FLUSH" => StatementKind::Flush,
        "DISCARD" => discard(reader)?,
        "CHECKPOINT" => StatementKind::Checkpoint,
        "BACKUP" => {
            reader.expect(&["TO"])?;
            StatementKind::Backup(reader.string()?.to_owned())
        }
        "LISTEN" => {
            reader.ident()?;
            StatementKind::NoOp("LISTEN")
        }
        "UNLISTEN" => {
            if !reader.eat_token(&Token::Mul) {
                reader.ident()?;
            }
            StatementKind::NoOp("UNLISTEN")
        }
        "NOTIFY" => {
            reader.ident()?;
            if reader.eat_token(&Token::Comma) {
                reader.string()?;
            }
            StatementKind::NoOp("NOTIFY")
        }
        "ANALYZE" | "ANALYSE" => upkeep(reader, "ANALYZE"),
        "VACUUM" => upkeep(reader, "VACUUM"),
        _ => lock(reader)?,
    };
    Ok(Some(kind))
}

fn set(reader: &mut Reader<'_>) -> Result<StatementKind> {
    let every = reader.eat(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]);
    if every || reader.eat(&["TRANSACTION"]) {
        let modes = transaction_modes(reader)?;
        return Ok(StatementKind::SetTransaction { every, modes });
    }
    if reader.eat(&["CONSTRAINTS"]) {
        reader.take_to(reader.rest().end);
        return Ok(StatementKind::NoOp("SET CONSTRAINTS"));
    }
    let local = match reader.peek(1) {
        // A setting may be called `local`.
        Token::Eq => false,
        _ => reader.eat_any(&["LOCAL", "SESSION"]) == Some("LOCAL"),
    };
    let done = |name: &str, value| StatementKind::Set { local, name: name.to_owned(), value };
    if reader.eat(&["TIME", "ZONE"]) {
        let value = if reader.eat(&["LOCAL"]) {
            None
        } else if reader.eat(&["INTERVAL"]) {
            let offset = reader.string()?.to_owned();
            reader.eat(&["HOUR", "TO", "MINUTE"]);
            Some(offset)
        } else {
            setting(reader, "timezone")?
        };
        return Ok(done("timezone", value));
    }
    if reader.eat(&["NAMES"]) {
        return Ok(done("client_encoding", setting(reader, "client_encoding")?));
    }
    if reader.sees(&["ROLE"]) || reader.sees(&["AUTHORIZATION"]) {
        return identity(reader);
    }
    let name = setting_name(reader)?;
    if !reader.eat(&["TO"]) {
        reader.expect_token(&Token::Eq)?;
    }
    let value = setting(reader, &name)?;
    Ok(done(&name, value))
}

/// `SET ROLE` and `SET SESSION AUTHORIZATION`: only back to what one is.
fn identity(reader: &mut Reader<'_>) -> Result<StatementKind> {
    let start = *reader;
    reader.skip(1);
    if reader.eat_any(&["NONE", "DEFAULT"]).is_some() {
        return Ok(StatementKind::NoOp("SET"));
    }
    Err(start.unsupported("SET ROLE", "Connect as the other user."))
}

/// Reads a setting's name in lower case; its parts are separated by dots.
fn setting_name(reader: &mut Reader<'_>) -> Result<String> {
    let name = reader.object_name()?;
    Ok(name.to_string().replace('"', "").to_ascii_lowercase())
}

/// Reads a setting's value; `None` is DEFAULT. A list is joined with commas.
fn setting(reader: &mut Reader<'_>, name: &str) -> Result<Option<String>> {
    if reader.eat(&["DEFAULT"]) {
        return Ok(None);
    }
    let mut values = Vec::new();
    loop {
        let is_name = matches!(reader.peek(0), Token::Word(_));
        let text = value(reader)?;
        // The search path is a list of names, each of which may need quotes to be read again.
        let name_of_schema = name == "search_path" && (is_name || !text.contains([',', '"']));
        values.push(if name_of_schema { quote(&text) } else { text });
        if !reader.eat_token(&Token::Comma) {
            return Ok(Some(values.join(", ")));
        }
    }
}

fn show(reader: &mut Reader<'_>) -> Result<StatementKind> {
    if reader.eat(&["WATERMARKS"]) {
        return Ok(StatementKind::ShowWatermarks);
    }
    let name = if reader.eat(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
        "transaction_isolation".to_owned()
    } else if reader.eat(&["TIME", "ZONE"]) {
        "timezone".to_owned()
    } else if reader.eat(&["SESSION", "AUTHORIZATION"]) {
        "session_authorization".to_owned()
    } else {
        setting_name(reader)?
    };
    Ok(StatementKind::Show(name))
}

fn reset(reader: &mut Reader<'_>) -> Result<StatementKind> {
    if reader.eat(&["ALL"]) {
        return Ok(StatementKind::Reset(None));
    }
    if reader.eat(&["ROLE"]) || reader.eat(&["SESSION", "AUTHORIZATION"]) {
        return Ok(StatementKind::NoOp("RESET"));
    }
    let name = if reader.eat(&["TIME", "ZONE"]) {
        "timezone".to_owned()
    } else if reader.eat(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
        "transaction_isolation".to_owned()
    } else {
        setting_name(reader)?
    };
    Ok(StatementKind::Reset(Some(name)))
}

/// Reads `ISOLATION LEVEL .. | READ ONLY | READ WRITE | [NOT] DEFERRABLE`, separated by commas or
/// blanks.
fn transaction_modes(reader: &mut Reader<'_>) -> Result<TransactionModes> {
    const MODES: [&[&str]; 8] = [
        &["ISOLATION", "LEVEL", "SERIALIZABLE"],
        &["ISOLATION", "LEVEL", "REPEATABLE", "READ"],
        &["ISOLATION", "LEVEL", "READ", "COMMITTED"],
        &["ISOLATION", "LEVEL", "READ", "UNCOMMITTED"],
        &["READ", "ONLY"],
        &["READ", "WRITE"],
        &["DEFERRABLE"],
        &["NOT", "DEFERRABLE"],
    ];
    let mut modes = TransactionModes::default();
    while !reader.at_end() {
        let Some(mode) = MODES.iter().find(|mode| reader.eat(mode)) else {
            return Err(reader.unexpected());
        };
        match mode {
            ["READ", "ONLY"] => modes.read_only = Some(true),
            ["READ", "WRITE"] => modes.read_only = Some(false),
            ["DEFERRABLE"] => modes.deferrable = Some(true),
            ["NOT", "DEFERRABLE"] => modes.deferrable = Some(false),
            _ => {}
        }
        if reader.eat_token(&Token::Comma) && reader.at_end() {
            return Err(reader.unexpected());
        }
    }
    Ok(modes)
}

/// Reads the end of COMMIT or ROLLBACK; returns whether it says AND CHAIN.
fn transaction_end(reader: &mut Reader<'_>) -> Result<bool> {
    reader.eat_any(&["WORK", "TRANSACTION"]);
    let chain = reader.eat(&["AND", "CHAIN"]);
    if !chain {
        reader.eat(&["AND", "NO", "CHAIN"]);
    }
    Ok(chain)
}

fn rollback(reader: &mut Reader<'_>) -> Result<StatementKind> {
    refuse_two_phase(reader, "ROLLBACK PREPARED")?;
    let chain = transaction_end(reader)?;
    if chain || !reader.eat(&["TO"]) {
        return Ok(StatementKind::Rollback { chain });
    }
    reader.eat(&["SAVEPOINT"]);
    Ok(StatementKind::Savepoint(Savepoint::RollbackTo(reader.ident()?)))
}

fn refuse_two_phase(reader: &Reader<'_>, name: &str) -> Result<()> {
    if reader.sees(&["PREPARED"]) {
        return Err(reader.unsupported(name, "Use an ordinary transaction."));
    }
    Ok(())
}

fn discard(reader: &mut Reader<'_>) -> Result<StatementKind> {
    let tag = match reader.eat_any(&["ALL", "PLANS", "SEQUENCES", "TEMPORARY", "TEMP"]) {
        Some("ALL") => "DISCARD ALL",
        Some("PLANS") => "DISCARD PLANS",
        Some("SEQUENCES") => "DISCARD SEQUENCES",
        Some(_) => "DISCARD TEMP",
        None => return Err(reader.unexpected()),
    };
    Ok(StatementKind::NoOp(tag))
}

/// ANALYZE and VACUUM: there are no statistics to take and no dead rows to take away.
fn upkeep(reader: &mut Reader<'_>, tag: &'static str) -> StatementKind {
    reader.take_to(reader.rest().end);
    StatementKind::NoOp(tag)
}

/// `LOCK [TABLE] name, .. [IN mode MODE] [NOWAIT]`: commits are serial, no lock is needed.
fn lock(reader: &mut Reader<'_>) -> Result<StatementKind> {
    reader.eat(&["TABLE"]);
    reader.eat(&["ONLY"]);
    reader.object_name()?;
    while reader.eat_token(&Token::Comma) {
        reader.object_name()?;
    }
    if reader.eat(&["IN"]) {
        while !reader.eat(&["MODE"]) {
            reader.ident()?;
        }
    }
    reader.eat(&["NOWAIT"]);
    Ok(StatementKind::NoOp("LOCK TABLE"))
}
