//! Arrays as text: `{1,2,NULL}`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListBuilder, StringArray, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;

use super::error::failure;
use crate::error::SqlState;

/// Reads texts as arrays of a type.
pub fn read(texts: &StringArray, to: &DataType) -> Result<ArrayRef> {
    let item = Field::new_list_field(DataType::Utf8, true);
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(item);
    for text in texts {
        let Some(text) = text else {
            lists.append_null();
            continue;
        };
        let elements = elements(text).ok_or_else(|| {
            let what = format!("malformed array literal: \"{text}\"");
            failure(SqlState::INVALID_TEXT_REPRESENTATION, what)
        })?;
        elements.into_iter().for_each(|element| lists.values().append_option(element));
        lists.append(true);
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(if lists.data_type() == to { lists } else { cast_with_options(&lists, to, &options)? })
}

/// The elements of an array of one dimension; `None` if the text is not one.
fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Some(elements);
    }
    let mut rest = inner;
    loop {
        rest = rest.trim_start();
        let (element, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (element, after) = unquoted(quoted)?;
                (Some(element), after.trim_start())
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let plain = rest[..end].trim_end();
                if plain.is_empty() || plain.contains(['{', '}', '"']) {
                    return None;
                }
                let null = plain.eq_ignore_ascii_case("null");
                ((!null).then(|| plain.replace('\\', "")), &rest[end..])
            }
        };
        elements.push(element);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(elements),
        }
    }
}

/// Reads up to the closing quote; returns the element and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut element = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((element, &text[at + 1..])),
            '\\' => element.push(chars.next()?.1),
            c => element.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_may_be_quoted_and_null() {
        let of = |text: &str| elements(text);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("{1, 2}"), Some(vec![some("1"), some("2")]));
        assert_eq!(of(r#" {a,NULL,"NULL","x,\"y"} "#).map(|e| e.len()), Some(4));
        assert_eq!(of(r#"{"x,\"y"}"#), Some(vec![some("x,\"y")]));
        assert_eq!(of("{}"), Some(vec![]));
        for wrong in ["", "1,2", "{1", "{1,}", "{,}", "{\"a}", "{{1}}", "{a\"b}"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
