//! `COPY .. FROM STDIN` and `COPY .. TO STDOUT`, with Postgres's options in both of its syntaxes.

use sqlparser::tokenizer::Token;

use super::options::{SqlOption, flag, options};
use super::query::{query, select_from, subscribe};
use super::reader::Reader;
use crate::sql::Result;
use crate::sql::statement::{CopyFormat, CopyFrom, CopyOptions, CopyTo, Statement, StatementKind};

/// Reads what follows COPY.
pub fn copy(mut reader: Reader<'_>) -> Result<StatementKind> {
    let mut given = Vec::new();
    if reader.peek(0) == &Token::LParen {
        let inside = reader.parenthesized()?;
        let source = Box::new(source_query(inside)?);
        reader.expect(&["TO"])?;
        standard_stream(&mut reader, "STDOUT")?;
        read_options(&mut reader, &mut given)?;
        return Ok(StatementKind::CopyTo(CopyTo { source, options: copy_options(given)? }));
    }
    if reader.sees(&["BINARY"]) && matches!(reader.peek(1), Token::Word(_)) {
        given.push(old_option(&reader, "format", Some("binary".to_owned())));
        reader.skip(1);
    }
    let start = reader;
    let name = reader.object_name()?;
    let table = Reader::new(reader.script(), start.rest().start..reader.rest().start);
    let columns = if reader.peek(0) == &Token::LParen { reader.idents()? } else { Vec::new() };
    let whole = Reader::new(reader.script(), start.rest().start..reader.rest().start);
    if reader.eat(&["FROM"]) {
        standard_stream(&mut reader, "STDIN")?;
        read_options(&mut reader, &mut given)?;
        let at = given.iter().find(|option| option.key == "format").map(|option| option.location);
        let options = copy_options(given)?;
        if options.format == CopyFormat::Binary {
            let error = start.unsupported("COPY FROM in binary format", "Use text or CSV.");
            return Err(at.map_or(error.clone(), |at| error.at(at)));
        }
        return Ok(StatementKind::CopyFrom(CopyFrom { name, columns, options }));
    }
    reader.expect(&["TO"])?;
    standard_stream(&mut reader, "STDOUT")?;
    read_options(&mut reader, &mut given)?;
    let kind = StatementKind::Query(select_from(table, &columns)?);
    let source = Box::new(statement(whole, kind));
    Ok(StatementKind::CopyTo(CopyTo { source, options: copy_options(given)? }))
}

fn source_query(mut inside: Reader<'_>) -> Result<Statement> {
    let whole = inside;
    let kind = if inside.eat(&["SUBSCRIBE"]) {
        StatementKind::Subscribe(subscribe(inside)?)
    } else if ["INSERT", "UPDATE", "DELETE"].iter().any(|word| inside.sees(&[word])) {
        return Err(inside.unsupported("COPY of a statement that changes data", "COPY a query."));
    } else {
        StatementKind::Query(query(inside)?)
    };
    Ok(statement(whole, kind))
}

fn statement(whole: Reader<'_>, kind: StatementKind) -> Statement {
    let byte = whole.script().byte_at(whole.rest().start);
    let offset = whole.script().chars_before(byte, (0, 0));
    Statement { text: whole.text(), offset, cut_names: vec![], kind }
}

fn standard_stream(reader: &mut Reader<'_>, name: &str) -> Result<()> {
    if matches!(reader.peek(0), Token::SingleQuotedString(_)) || reader.sees(&["PROGRAM"]) {
        return Err(reader.unsupported(
            "COPY with a file on the server",
            "Use psql's \\copy, or COPY .. FROM STDIN and TO STDOUT.",
        ));
    }
    reader.expect(&[name])
}

/// Reads `[WITH] (k v, ..)` or the old `[WITH] [CSV] [HEADER] [DELIMITER [AS] 'c'] ..`.
fn read_options(reader: &mut Reader<'_>, given: &mut Vec<SqlOption>) -> Result<()> {
    reader.eat(&["WITH"]);
    if reader.peek(0) == &Token::LParen {
        given.extend(options(reader.parenthesized()?)?);
    }
    while !reader.at_end() {
        let here = *reader;
        let word = reader.eat_any(&[
            "CSV",
            "BINARY",
            "HEADER",
            "DELIMITER",
            "DELIMITERS",
            "NULL",
            "QUOTE",
            "ESCAPE",
            "ENCODING",
        ]);
        let option = match word {
            Some("CSV") => old_option(&here, "format", Some("csv".to_owned())),
            Some("BINARY") => old_option(&here, "format", Some("binary".to_owned())),
            Some("HEADER") => old_option(&here, "header", None),
            Some(word) => {
                reader.eat(&["AS"]);
                let value = reader.string()?.to_owned();
                let key = if word == "DELIMITERS" { "DELIMITER" } else { word };
                old_option(&here, &key.to_ascii_lowercase(), Some(value))
            }
            None if reader.sees(&["WHERE"]) => {
                return Err(reader.unsupported("COPY .. WHERE", "Filter in a view."));
            }
            None => return Err(reader.unexpected()),
        };
        if given.iter().any(|other| other.key == option.key) {
            return Err(option.invalid(format!("option \"{}\" is given twice", option.key), ""));
        }
        given.push(option);
    }
    Ok(())
}

fn old_option(reader: &Reader<'_>, key: &str, value: Option<String>) -> SqlOption {
    SqlOption { key: key.to_owned(), value, location: reader.location() }
}

/// Makes sense of the options; what is not given depends on the format.
fn copy_options(given: Vec<SqlOption>) -> Result<CopyOptions> {
    let format = match given.iter().find(|option| option.key == "format") {
        Some(option) => format(option)?,
        None => CopyFormat::Text,
    };
    let csv = format == CopyFormat::Csv;
    let mut copy = CopyOptions {
        format,
        delimiter: if csv { ',' } else { '\t' },
        null: if csv { String::new() } else { "\\N".to_owned() },
        header: false,
        quote: '"',
        escape: '"',
    };
    let mut escape = None;
    for option in &given {
        match option.key.as_str() {
            "format" => {}
            "delimiter" | "null" | "header" if format == CopyFormat::Binary => {
                let key = option.key.to_ascii_uppercase();
                return Err(
                    option.invalid(format!("COPY {key} is not available in binary mode"), "")
                );
            }
            "delimiter" => copy.delimiter = character(option)?,
            "null" => copy.null = text(option)?,
            "header" => copy.header = flag(option)?,
            "quote" | "escape" if !csv => {
                let key = option.key.to_ascii_uppercase();
                return Err(option.invalid(format!("COPY {key} is available only in CSV mode"), ""));
            }
            "quote" => copy.quote = character(option)?,
            "escape" => escape = Some(character(option)?),
            "encoding" => encoding(option)?,
            // Rows are never visible before the commit: there is nothing to freeze.
            "freeze" => drop(flag(option)?),
            _ => {
                let hint =
                    "Options are FORMAT, DELIMITER, NULL, HEADER, QUOTE, ESCAPE and ENCODING.";
                return Err(option.unknown("COPY", hint));
            }
        }
    }
    copy.escape = escape.unwrap_or(copy.quote);
    check(&copy, &given)?;
    Ok(copy)
}

fn check(copy: &CopyOptions, given: &[SqlOption]) -> Result<()> {
    let Some(option) = given.iter().find(|o| o.key == "delimiter").or(given.first()) else {
        return Ok(());
    };
    let csv = copy.format == CopyFormat::Csv;
    let message = if ['\n', '\r'].contains(&copy.delimiter) {
        "COPY delimiter cannot be newline or carriage return"
    } else if csv && copy.delimiter == copy.quote {
        "COPY delimiter and quote must be different"
    } else if !csv
        && (copy.delimiter.is_ascii_lowercase() || "\\.0123456789".contains(copy.delimiter))
    {
        "COPY delimiter cannot be a letter, a digit, a period or a backslash"
    } else if copy.null.contains(copy.delimiter) {
        "COPY delimiter must not appear in the NULL specification"
    } else if copy.null.contains(['\n', '\r']) {
        "COPY null representation cannot use newline or carriage return"
    } else {
        return Ok(());
    };
    Err(option.invalid(message.to_owned(), ""))
}

fn format(option: &SqlOption) -> Result<CopyFormat> {
    match option.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("text") => Ok(CopyFormat::Text),
        Some("csv") => Ok(CopyFormat::Csv),
        Some("binary") => Ok(CopyFormat::Binary),
        value => {
            let message = format!("COPY format \"{}\" not recognized", value.unwrap_or_default());
            Err(option.invalid(message, "Formats are text, csv and binary."))
        }
    }
}

fn encoding(option: &SqlOption) -> Result<()> {
    match text(option)?.to_ascii_lowercase().as_str() {
        "utf8" | "utf-8" | "unicode" => Ok(()),
        other => Err(option.invalid(format!("COPY cannot convert from \"{other}\""), "Use UTF8.")),
    }
}

fn text(option: &SqlOption) -> Result<String> {
    let missing = || option.invalid(format!("{} requires a parameter", option.key), "");
    option.value.clone().ok_or_else(missing)
}

fn character(option: &SqlOption) -> Result<char> {
    let text = text(option)?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii() => Ok(c),
        _ => {
            Err(option
                .invalid(format!("COPY {} must be a single one-byte character", option.key), ""))
        }
    }
}
