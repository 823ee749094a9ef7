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
use crate::sql::statement::StatementKind;

/// Reads what follows DECLARE.
pub fn declare(mut reader: Reader<'_>) -> Result<StatementKind> {
    let name = reader.ident()?;
    loop {
        if reader.sees(&["BINARY"]) {
            return Err(reader.unsupported(
                "DECLARE BINARY CURSOR",
                "Ask for binary results in the extended protocol.",
            ));
        } else if reader.sees(&["SCROLL"]) {
            return Err(reader.unsupported("SCROLL CURSOR", "Declare it with NO SCROLL."));
        } else if reader.eat_any(&["INSENSITIVE", "ASENSITIVE"]).is_none()
            && !reader.eat(&["NO", "SCROLL"])
        {
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
    Ok(StatementKind::Declare { name, hold, statement: Box::new(nested(reader)?) })
}

/// Reads what follows FETCH.
pub fn fetch(mut reader: Reader<'_>) -> Result<StatementKind> {
    let start = reader;
    let backward = ["BACKWARD", "PRIOR", "LAST", "FIRST", "ABSOLUTE", "RELATIVE"];
    let backward = backward.iter().any(|word| reader.sees(&[word]))
        && matches!(reader.peek(1), Token::Word(_) | Token::Number(..) | Token::Minus);
    if backward || reader.peek(0) == &Token::Minus {
        return Err(start.unsupported("FETCH other than forward", "Use FETCH n or FETCH ALL."));
    }
    let directed = reader.sees(&["FORWARD"]) && !matches!(reader.peek(1), Token::EOF);
    if directed {
        reader.skip(1);
    }
    let count = if matches!(reader.peek(0), Token::Number(..)) {
        Some(row_count(&mut reader)?)
    } else if is_count(&reader, "ALL") {
        reader.skip(1);
        None
    } else {
        if is_count(&reader, "NEXT") {
            reader.skip(1);
        }
        Some(1)
    };
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
    Ok(StatementKind::Fetch { name, count, timeout_ms })
}

/// A cursor may be called `all` or `next`.
fn is_count(reader: &Reader<'_>, word: &str) -> bool {
    reader.sees(&[word]) && matches!(reader.peek(1), Token::Word(_))
}

fn row_count(reader: &mut Reader<'_>) -> Result<u64> {
    let start = *reader;
    let Some(Token::Number(number, _)) = reader.next().map(|token| &token.token) else {
        return Err(start.expected("a number of rows"));
    };
    number.parse().map_err(|_| start.unexpected())
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
