//! Lists of options: `(k = v, ..)` of WITH and of connectors.

use std::collections::BTreeMap;

use sqlparser::tokenizer::Token;

use super::reader::Reader;
use crate::error::Location;
use crate::sql::names::fold;
use crate::sql::{Error, Result};

/// One option.
pub struct SqlOption {
    /// Name in lower case, with dots as written.
    pub key: String,
    /// Value as text; an option without value has none.
    pub value: Option<String>,
    /// Where it stands.
    pub location: Location,
}

impl SqlOption {
    /// An error for an option that `owner` does not have.
    pub fn unknown(&self, owner: &str, hint: &str) -> Error {
        self.invalid(format!("{owner} has no option \"{}\"", self.key), hint)
    }

    /// An error at this option.
    pub fn invalid(&self, message: String, hint: &str) -> Error {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Error::InvalidOption { message, hint, location: Some(self.location) }
    }
}

/// Reads all options that the reader holds.
pub fn options(reader: Reader<'_>) -> Result<Vec<SqlOption>> {
    let mut found: Vec<SqlOption> = Vec::new();
    for item in reader.items()? {
        let option = option(item)?;
        if found.iter().any(|other| other.key == option.key) {
            return Err(option.invalid(format!("option \"{}\" is given twice", option.key), ""));
        }
        found.push(option);
    }
    Ok(found)
}

/// Reads options into a map; one without value is `true`.
pub fn option_map(reader: Reader<'_>) -> Result<BTreeMap<String, String>> {
    let text = |value: Option<String>| value.unwrap_or_else(|| "true".to_owned());
    Ok(options(reader)?.into_iter().map(|option| (option.key, text(option.value))).collect())
}

/// Reads `WITH (k = v, ..)`, if it comes next, into `into`.
pub fn with_clause(reader: &mut Reader<'_>, into: &mut BTreeMap<String, String>) -> Result<()> {
    if !reader.eat(&["WITH"]) {
        return Ok(());
    }
    let start = *reader;
    for (key, value) in option_map(reader.parenthesized()?)? {
        if into.insert(key.clone(), value).is_some() {
            return Err(start.invalid_option(format!("option \"{key}\" is given twice"), ""));
        }
    }
    Ok(())
}

/// Reads an option's value as a boolean; without value it is true.
pub fn flag(option: &SqlOption) -> Result<bool> {
    match option.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "on" | "1" | "yes") => Ok(true),
        Some("false" | "off" | "0" | "no") => Ok(false),
        Some(_) => Err(option.invalid(
            format!("option \"{}\" requires a boolean value", option.key),
            "Write true or false.",
        )),
    }
}

/// Reads `key [=] [value]`.
fn option(mut reader: Reader<'_>) -> Result<SqlOption> {
    let location = reader.location();
    let mut key = option_key(&mut reader)?;
    while reader.eat_token(&Token::Period) {
        key = format!("{key}.{}", option_key(&mut reader)?);
    }
    let equals = reader.eat_token(&Token::Eq);
    let value = if reader.at_end() && !equals { None } else { Some(value(&mut reader)?) };
    reader.expect_end()?;
    Ok(SqlOption { key, value, location })
}

fn option_key(reader: &mut Reader<'_>) -> Result<String> {
    match reader.eat_string() {
        Some(text) => Ok(text.to_ascii_lowercase()),
        None => Ok(reader.ident()?.value.to_ascii_lowercase()),
    }
}

/// Reads a string, number, word or interval as text.
pub fn value(reader: &mut Reader<'_>) -> Result<String> {
    reader.eat(&["INTERVAL"]);
    let sign = if reader.eat_token(&Token::Minus) { "-" } else { "" };
    let amount = match reader.peek(0) {
        Token::Number(number, _) => {
            reader.skip(1);
            format!("{sign}{number}")
        }
        Token::Word(_) if sign.is_empty() => return reader.ident().map(|word| fold(&word)),
        _ if sign.is_empty() => {
            reader.eat_string().ok_or_else(|| reader.expected("a value"))?.to_owned()
        }
        _ => return Err(reader.expected("a number")),
    };
    // INTERVAL '5' SECOND, 10 MB
    Ok(match reader.peek(0) {
        Token::Word(unit) => {
            reader.skip(1);
            format!("{amount} {}", unit.value)
        }
        _ => amount,
    })
}
