//! Which values a variable can have, and how they are spelled.

use std::str::FromStr;

use arrow::array::timezone::Tz;

use super::Variable;
use crate::size;
use crate::sql::error::{Error, Result};
use crate::sql::names::quote;

/// Which values a variable can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Any text.
    Text,
    /// `on` or `off`.
    Bool,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A whole number within bounds.
    Int(i64, i64),
    /// A size in bytes, also written with a unit.
    Bytes,
    /// A length of time in milliseconds, also written with a unit.
    Millis,
    /// One of the isolation levels, which are all the same here.
    Isolation,
    /// A time zone by name or offset.
    TimeZone,
    /// `ISO` and an order of day, month and year.
    DateStyle,
    /// `UTF8`, by any of its names.
    Encoding,
    /// A list of names.
    Names,
    /// A fact that cannot be changed.
    Fixed,
}

/// Units of time with their milliseconds, greatest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

const ISOLATION_LEVELS: [&str; 4] =
    ["serializable", "repeatable read", "read committed", "read uncommitted"];

impl Check {
    /// Returns the canonical spelling of a value, if the variable can have it.
    pub fn canonical(self, variable: &Variable, value: &str) -> Result<String> {
        let refuse = |hint: String| Error::InvalidVariable {
            name: variable.name,
            value: value.to_owned(),
            hint: (!hint.is_empty()).then_some(hint),
        };
        let word = value.trim().to_ascii_lowercase();
        match self {
            Check::Text => Ok(value.to_owned()),
            Check::Fixed => Err(Error::FixedVariable { name: variable.name }),
            Check::Bool => boolean(&word)
                .map(|on| if on { "on" } else { "off" }.to_owned())
                .ok_or_else(|| refuse("Values are on and off.".to_owned())),
            Check::Enum(words) => enumerated(words, &word)
                .ok_or_else(|| refuse(format!("Available values: {}.", words.join(", ")))),
            Check::Int(min, max) => match word.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
                _ => Err(refuse(format!("The value is a whole number from {min} to {max}."))),
            },
            Check::Bytes => size::parse(&word)
                .filter(|bytes| *bytes > 0)
                .map(size::print)
                .ok_or_else(|| refuse("Write e.g. 65536, 512kB, 64MB or 1GB.".to_owned())),
            Check::Millis => millis(&word)
                .map(in_greatest_unit)
                .ok_or_else(|| refuse("Write e.g. 500, 500ms, 5s, 1min or 2h.".to_owned())),
            Check::Isolation => {
                if ISOLATION_LEVELS.contains(&word.as_str()) {
                    Ok("read committed".to_owned())
                } else {
                    Err(refuse(format!("Available values: {}.", ISOLATION_LEVELS.join(", "))))
                }
            }
            Check::TimeZone => time_zone(value.trim()).ok_or_else(|| {
                refuse("Use a name such as UTC or Europe/Berlin, or an offset.".to_owned())
            }),
            Check::DateStyle => date_style(&word).ok_or_else(|| {
                refuse("Styles are ISO, SQL, Postgres and German, with MDY, DMY or YMD.".to_owned())
            }),
            Check::Encoding => match word.as_str() {
                "utf8" | "utf-8" | "unicode" => Ok("UTF8".to_owned()),
                // Postgres takes this as "convert nothing", which is what happens.
                "sql_ascii" => Ok("SQL_ASCII".to_owned()),
                _ => Err(refuse("The encoding is UTF8.".to_owned())),
            },
            Check::Names => {
                let names: Vec<String> =
                    split_names(value).iter().map(|name| quote(name)).collect();
                Ok(names.join(", "))
            }
        }
    }
}

fn boolean(word: &str) -> Option<bool> {
    match word {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// Booleans stand for `on` and `off` where these are among the words.
fn enumerated(words: &[&str], word: &str) -> Option<String> {
    let alias = boolean(word).map(|on| if on { "on" } else { "off" });
    words.iter().find(|w| **w == word || Some(**w) == alias).map(|w| (*w).to_owned())
}

/// Parses `500`, `500ms`, `1.5 s`, in lower case.
pub fn millis(word: &str) -> Option<u64> {
    let unit_at = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
    let (number, unit) = word.split_at(unit_at);
    let factor = match unit {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    let number = number.trim();
    if let Ok(whole) = number.parse::<u64>() {
        return whole
            .checked_mul(factor)
            .filter(|millis| *millis <= i32::MAX.unsigned_abs().into());
    }
    let (whole, fraction) = number.split_once('.')?;
    let digits: u64 = fraction.parse().ok().filter(|_| fraction.len() <= 6)?;
    let part = digits * factor / 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    Some(whole.parse::<u64>().ok()?.checked_mul(factor)? + part)
}

/// Prints milliseconds as Postgres does: in the greatest unit that leaves no rest.
fn in_greatest_unit(millis: u64) -> String {
    match UNITS.iter().find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", millis / factor),
        None => "0".to_owned(),
    }
}

/// Returns the number behind a canonical value, in milliseconds if it has a unit.
pub fn base_units(value: &str) -> Option<u64> {
    millis(value)
}

fn time_zone(value: &str) -> Option<String> {
    if let Some(offset) = offset(value) {
        return Some(offset);
    }
    let title = |text: &str| {
        let mut start = true;
        text.chars()
            .map(|c| {
                let c = if start { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
                start = !c.is_ascii_alphabetic();
                c
            })
            .collect::<String>()
            .replace("_Of_", "_of_")
    };
    let spellings = [value.to_owned(), value.to_ascii_uppercase(), title(value)];
    let starts_with_letter = value.starts_with(|c: char| c.is_ascii_alphabetic());
    spellings.into_iter().find(|name| starts_with_letter && Tz::from_str(name).is_ok())
}

/// Parses `-8`, `+5:30`, `+0530` into `-08:00`, `+05:30`.
fn offset(value: &str) -> Option<String> {
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', value.strip_prefix('+').unwrap_or(value)),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 && digits.is_ascii() => digits.split_at(2),
        None => (digits, "0"),
    };
    let number = |text: &str| text.parse::<u8>().ok().filter(|_| text.len() <= 2);
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 16 && minutes < 60).then(|| format!("{sign}{hours:02}:{minutes:02}"))
}

fn date_style(word: &str) -> Option<String> {
    let (mut style, mut order) = (None, None);
    for part in word.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part {
            "iso" => style = Some("ISO"),
            "sql" => style = Some("SQL"),
            "german" => (style, order) = (Some("German"), None),
            "postgres" => style = Some("Postgres"),
            "default" => {}
            "mdy" | "us" | "noneuro" | "noneuropean" => order = Some("MDY"),
            "dmy" | "euro" | "european" => order = Some("DMY"),
            "ymd" => order = Some("YMD"),
            _ => return None,
        }
    }
    let by_style = if style == Some("German") { "DMY" } else { "MDY" };
    Some(format!("{}, {}", style.unwrap_or("ISO"), order.unwrap_or(by_style)))
}

/// Splits a list of names, folding those without quotes.
pub fn split_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut name, mut quoted, mut was_quoted) = (String::new(), false, false);
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                name.push('"');
                chars.next();
            }
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => {
                names.push((std::mem::take(&mut name), was_quoted));
                was_quoted = false;
            }
            c if quoted => name.push(c),
            c if c.is_whitespace() => {}
            c => name.push(c.to_ascii_lowercase()),
        }
    }
    names.push((name, was_quoted));
    names.into_iter().filter(|(name, q)| *q || !name.is_empty()).map(|(name, _)| name).collect()
}
