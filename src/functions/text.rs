//! Functions of text that DataFusion has not, or has with another meaning.
//!
//! # Semantics
//! Postgres's. Its regular expressions have back references and look-around, which ours refuse.

use std::cell::RefCell;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use regex::{Captures, Regex, RegexBuilder};

use super::error::failure;
use super::scalar::{Given, Kind, Returns, Row, Scalar, list, text, text_list, texts};
use crate::error::SqlState;

/// The functions.
pub(super) fn functions() -> Vec<Scalar> {
    use Kind::Text;
    let of = |name, arguments, required, returns, body| Scalar {
        required,
        ..Scalar::strict(name, arguments, returns, body)
    };
    vec![
        of("regexp_match", &[Text, Text, Text], 2, texts, |row| {
            let found = pattern(row, 1, 2)?.0;
            Ok(match found.captures(row.text(0)) {
                Some(captures) => list(groups(&captures)),
                None => ScalarValue::try_from(&text_list())?,
            })
        }),
        of("$regexp_matches", &[Text, Text, Text], 2, lists, |row| {
            let (found, all) = pattern(row, 1, 2)?;
            let count = if all { usize::MAX } else { 1 };
            let matches = found.captures_iter(row.text(0)).take(count);
            let matches: Vec<ScalarValue> = matches.map(|c| list(groups(&c))).collect();
            Ok(ScalarValue::List(ScalarValue::new_list_nullable(&matches, &text_list())))
        }),
        of("regexp_replace", &[Text, Text, Text, Text], 3, text, |row| {
            let (found, all) = pattern(row, 1, 3)?;
            let with = replacement(row.text(2));
            let replace = |c: &Captures<'_>| filled(&with, c);
            let count = if all { 0 } else { 1 };
            Ok(ScalarValue::from(found.replacen(row.text(0), count, replace).into_owned()))
        }),
        of("regexp_split_to_array", &[Text, Text, Text], 2, texts, |row| {
            Ok(list(split(row)?.into_iter().map(Some)))
        }),
        of("$regexp_split_to_table", &[Text, Text, Text], 2, texts, |row| {
            Ok(list(split(row)?.into_iter().map(Some)))
        }),
        of("like_escape", &[Text, Text], 2, text, |row| {
            Ok(ScalarValue::from(like_escape(row.text(0), row.text(1))?))
        }),
        of("regexp_substr", &[Text, Text], 2, text, |row| {
            let found = pattern(row, 1, 2)?.0.find(row.text(0)).map(|m| m.as_str().to_owned());
            Ok(ScalarValue::Utf8(found))
        }),
        Scalar {
            strict: false,
            ..of("$string_to_table", &[Text, Text, Text], 2, texts, |row| {
                Ok(list(string_to_table(row)))
            })
        },
    ]
}

fn lists(_: &Given<'_>) -> Returns {
    (DataType::List(Field::new_list_field(text_list(), true).into()), None)
}

/// A pattern of LIKE whose escape character is the backslash, as it means what this one means with
/// another, or without any.
fn like_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut given = escape.chars();
    let (escape, rest) = (given.next(), given.next());
    if rest.is_some() {
        return Err(failure(SqlState("22025"), "invalid escape string"));
    }
    let mut escaped = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => escaped.extend(['\\'].into_iter().chain(chars.next())),
            '\\' => escaped.push_str("\\\\"),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// Compiled patterns that are kept per thread: those of a query, which come again with every row.
const KEPT: usize = 16;

/// A compiled pattern, and whether its flags ask for all matches.
type Pattern = (Regex, bool);

thread_local! {
    static PATTERNS: RefCell<Vec<((String, String), Pattern)>> = const { RefCell::new(Vec::new()) };
}

/// Compiles a pattern with its flags, or finds it compiled.
fn pattern(row: &Row<'_>, pattern: usize, flags: usize) -> Result<Pattern> {
    let (text, flags) = (row.text(pattern), row.text(flags));
    PATTERNS.with_borrow_mut(|kept| {
        if let Some((_, found)) = kept.iter().find(|((t, f), _)| t == text && f == flags) {
            return Ok(found.clone());
        }
        let compiled = compile(text, flags)?;
        kept.truncate(KEPT - 1);
        kept.insert(0, ((text.to_owned(), flags.to_owned()), compiled.clone()));
        Ok(compiled)
    })
}

/// Compiles a pattern with Postgres's flags; says whether `g` is among them.
fn compile(pattern: &str, flags: &str) -> Result<Pattern> {
    let mut builder = RegexBuilder::new(pattern);
    // A dot matches a line's end, and ^ and $ the text's, unless the flags say otherwise.
    builder.dot_matches_new_line(true);
    let mut all = false;
    for flag in flags.chars() {
        match flag {
            'g' => all = true,
            'i' => {
                builder.case_insensitive(true);
            }
            'c' => {
                builder.case_insensitive(false);
            }
            'n' | 'm' => {
                builder.multi_line(true).dot_matches_new_line(false);
            }
            's' => {
                builder.multi_line(false).dot_matches_new_line(true);
            }
            'x' => {
                builder.ignore_whitespace(true);
            }
            other => {
                let what = format!("invalid regular expression option: \"{other}\"");
                return Err(failure(SqlState::INVALID_PARAMETER_VALUE, what));
            }
        }
    }
    let regex = builder.build().map_err(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        failure(SqlState("2201B"), format!("invalid regular expression: {why}"))
    })?;
    Ok((regex, all))
}

/// What the groups of a match hold; the whole match if there are no groups.
fn groups(captures: &Captures<'_>) -> Vec<Option<String>> {
    let first = usize::from(captures.len() > 1);
    let groups = captures.iter().skip(first);
    groups.map(|group| group.map(|m| m.as_str().to_owned())).collect()
}

/// A piece of a replacement: text, or a group's number.
enum Piece {
    Text(String),
    Group(usize),
}

/// Reads `\1`, `\&` and `\\`.
fn replacement(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let group = match (c, chars.as_str().chars().next()) {
            ('\\', Some('&')) => Some(0),
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                digit.to_digit(10).and_then(|d| usize::try_from(d).ok())
            }
            ('\\', Some('\\')) => {
                chars.next();
                plain.push('\\');
                continue;
            }
            _ => None,
        };
        match group {
            Some(group) => {
                chars.next();
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(Piece::Group(group));
            }
            None => plain.push(c),
        }
    }
    pieces.push(Piece::Text(plain));
    pieces
}

fn filled(pieces: &[Piece], captures: &Captures<'_>) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Group(group) => captures.get(*group).map_or("", |m| m.as_str()).to_owned(),
    };
    pieces.iter().map(piece).collect()
}

/// The parts between matches; matches of nothing at an end do not count.
fn split(row: &Row<'_>) -> Result<Vec<String>> {
    let (found, _) = pattern(row, 1, 2)?;
    let whole = row.text(0);
    let (mut parts, mut from) = (Vec::new(), 0);
    for m in found.find_iter(whole) {
        let nothing = m.is_empty() && (m.start() == 0 || m.start() == whole.len());
        if !nothing && (!m.is_empty() || m.start() > from) {
            parts.push(whole[from..m.start()].to_owned());
            from = m.end();
        }
    }
    parts.push(whole[from..].to_owned());
    Ok(parts)
}

/// `string_to_array`, for rows.
fn string_to_table(row: &Row<'_>) -> Vec<Option<String>> {
    let Some(whole) = row.values[0].try_as_str().flatten() else { return Vec::new() };
    let null = row.values.get(2).and_then(|v| v.try_as_str().flatten());
    let parts: Vec<String> = match row.values[1].try_as_str().flatten() {
        _ if whole.is_empty() => Vec::new(),
        None => whole.chars().map(String::from).collect(),
        Some("") => vec![whole.to_owned()],
        Some(by) => whole.split(by).map(str::to_owned).collect(),
    };
    parts.into_iter().map(|part| Some(part).filter(|part| Some(part.as_str()) != null)).collect()
}
