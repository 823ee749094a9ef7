//! Cursors and prepared statements.

use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::options::options;
use super::query::sees_query;
use super::reader::Reader;
use super::span::parse_interval;
use super::statement::nested;
use crate::sql::Result;
use crate::sql::statement::{Motion, StatementKind};

/// Reads what follows DECLARE.
pub fn declare(mut reader: Reader<'_>) -> Result<StatementKind> {
    let name = reader.ident()?;
    let mut scroll = None;
    loop {
        if reader.sees(&["BINARY"]) {
            return Err(reader.unsupported(
                "DECLARE BINARY CURSOR",
                "Ask for binary results in the extended protocol.",
            ));
        } else if reader.eat(&["SCROLL"]) {
            scroll = Some(true);
        } else if reader.eat(&["NO", "SCROLL"]) {
            scroll = Some(false);
        } else if reader.eat_any(&["INSENSITIVE", "ASENSITIVE"]).is_none() {
            break;
        }
    }
    reader.expect(&["CURSOR"])?;
    let hold = reader.eat(&["WITH", "HOLD"]);
    if !hold {
        reader.eat(&["WITHOUT", "HOLD"]);
    }
    reader.expect(&["FOR"])?;
    if !sees_query(&reader) && !reader.sees(&["SUBSCRIBE"]) {
        return Err(reader.unexpected_hint("A cursor is declared for a query or SUBSCRIBE."));
    }
    Ok(StatementKind::Declare { name, hold, scroll, statement: Box::new(nested(reader)?) })
}

/// Reads what follows FETCH or MOVE.
pub fn fetch(mut reader: Reader<'_>, silent: bool) -> Result<StatementKind> {
    let motion = motion(&mut reader)?;
    reader.eat_any(&["FROM", "IN"]);
    let name = reader.ident()?;
    let mut timeout_ms = None;
    if reader.eat(&["WITH"]) {
        for option in options(reader.parenthesized()?)? {
            if option.key != "timeout" {
                return Err(option.unknown("FETCH", "The option is TIMEOUT."));
            }
            let micros = option.value.as_deref().map(parse_interval);
            let Some(Ok(micros @ 0..)) = micros else {
                let hint = "Write e.g. timeout = '1s'.";
                return Err(option.invalid("timeout must be a length of time".to_owned(), hint));
            };
            timeout_ms = Some(micros.unsigned_abs().div_ceil(1000));
        }
    }
    reader.expect_end()?;
    Ok(StatementKind::Fetch { name, motion, silent, timeout_ms })
}

fn motion(reader: &mut Reader<'_>) -> Result<Motion> {
    let word = ["NEXT", "PRIOR", "FIRST", "LAST", "ALL"].into_iter().find(|w| says(reader, w));
    if let Some(word) = word {
        reader.skip(1);
        return Ok(match word {
            "NEXT" => Motion::Forward(Some(1)),
            "PRIOR" => Motion::Backward(Some(1)),
            "FIRST" => Motion::Absolute(1),
            "LAST" => Motion::Absolute(-1),
            _ => Motion::Forward(None),
        });
    }
    let towards = ["FORWARD", "BACKWARD", "ABSOLUTE", "RELATIVE"].into_iter();
    let Some(word) = towards.into_iter().find(|w| says(reader, w)) else {
        return Ok(counted(row_count(reader)?, true));
    };
    reader.skip(1);
    if matches!(word, "ABSOLUTE" | "RELATIVE") {
        let start = *reader;
        let number = row_count(reader)?.ok_or_else(|| start.expected("a number of rows"))?;
        return Ok(if word == "ABSOLUTE" {
            Motion::Absolute(number)
        } else {
            Motion::Relative(number)
        });
    }
    let forward = word == "FORWARD";
    if says(reader, "ALL") {
        reader.skip(1);
        return Ok(if forward { Motion::Forward(None) } else { Motion::Backward(None) });
    }
    Ok(counted(row_count(reader)?, forward))
}

/// So many rows on or back; fewer than none go the other way.
fn counted(count: Option<i64>, forward: bool) -> Motion {
    let count = count.unwrap_or(1);
    let rows = Some(count.unsigned_abs());
    if forward == (count >= 0) || count == 0 {
        Motion::Forward(rows)
    } else {
        Motion::Backward(rows)
    }
}

/// A cursor may be called `all` or `next`.
fn says(reader: &Reader<'_>, word: &str) -> bool {
    reader.sees(&[word])
        && matches!(reader.peek(1), Token::Word(_) | Token::Number(..) | Token::Minus)
}

/// A number of rows, if there is one.
fn row_count(reader: &mut Reader<'_>) -> Result<Option<i64>> {
    let start = *reader;
    let negative = reader.eat_token(&Token::Minus);
    let Token::Number(number, _) = reader.peek(0).clone() else {
        return if negative { Err(start.expected("a number of rows")) } else { Ok(None) };
    };
    reader.skip(1);
    let number: i64 = number.parse().map_err(|_| start.unexpected())?;
    Ok(Some(if negative { -number } else { number }))
}

/// Reads what follows CLOSE.
pub fn close(mut reader: Reader<'_>) -> Result<StatementKind> {
    let name = if reader.eat(&["ALL"]) { None } else { Some(reader.ident()?) };
    reader.expect_end()?;
    Ok(StatementKind::Close(name))
}

/// Reads what follows PREPARE.
pub fn prepare(mut reader: Reader<'_>) -> Result<StatementKind> {
    if reader.sees(&["TRANSACTION"]) && matches!(reader.peek(1), Token::SingleQuotedString(_)) {
        return Err(reader.unsupported("PREPARE TRANSACTION", "Use an ordinary transaction."));
    }
    let name = reader.ident()?;
    let mut types = Vec::new();
    if reader.peek(0) == &Token::LParen {
        for mut item in reader.parenthesized()?.items()? {
            types.push(item.with_sqlparser(Parser::parse_data_type)?);
            item.expect_end()?;
        }
    }
    reader.expect(&["AS"])?;
    let words = ["SUBSCRIBE", "INSERT", "UPDATE", "DELETE"];
    if !sees_query(&reader) && !words.iter().any(|word| reader.sees(&[word])) {
        return Err(reader.unexpected_hint("PREPARE takes a query, INSERT, UPDATE or DELETE."));
    }
    Ok(StatementKind::Prepare { name, types, statement: Box::new(nested(reader)?) })
}

/// Reads what follows EXECUTE.
pub fn execute(mut reader: Reader<'_>) -> Result<StatementKind> {
    let name = reader.ident()?;
    let mut args: Vec<ast::Expr> = Vec::new();
    if reader.peek(0) == &Token::LParen {
        for mut item in reader.parenthesized()?.items()? {
            args.push(item.expr()?);
            item.expect_end()?;
        }
    }
    reader.expect_end()?;
    Ok(StatementKind::Execute { name, args })
}

/// Reads what follows DEALLOCATE.
pub fn deallocate(mut reader: Reader<'_>) -> Result<StatementKind> {
    reader.eat(&["PREPARE"]);
    let name = if reader.eat(&["ALL"]) { None } else { Some(reader.ident()?) };
    reader.expect_end()?;
    Ok(StatementKind::Deallocate(name))
}
