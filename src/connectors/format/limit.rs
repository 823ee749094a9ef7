//! How long the texts of `varchar(n)` and `char(n)` may be.
//!
//! # Semantics
//! Characters are counted, not bytes. A surplus of spaces alone is cut off; else a longer text is
//! an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use arrow::datatypes::{DataType, Field};

use super::value::{Problem, ValueError};

/// Most characters of a column's texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextLimit {
    chars: usize,
    /// The type as an error names it.
    type_name: String,
}

impl TextLimit {
    /// Returns the limit of a field, or of its elements, if its declared type (`pg_type`) has one.
    pub fn of(field: &Field) -> Option<Self> {
        let type_name = field.metadata().get("pg_type")?.trim_end_matches("[]");
        let (_, rest) = type_name.strip_prefix("character")?.split_once('(')?;
        let chars = rest.strip_suffix(')')?.parse().ok()?;
        Some(Self { chars, type_name: type_name.to_owned() })
    }

    /// Returns a text without surplus spaces, if these are all its surplus.
    pub fn cut<'t>(&self, text: &'t str) -> &'t str {
        let end = match text.len() <= self.chars {
            true => None,
            false => text.char_indices().nth(self.chars).map(|(end, _)| end),
        };
        match end {
            Some(end) if text[end..].bytes().all(|byte| byte == b' ') => &text[..end],
            _ => text,
        }
    }

    /// Returns the texts of a column, or of its lists, without surplus spaces.
    pub fn cut_all(&self, column: &ArrayRef) -> ArrayRef {
        if let Some(lists) = column.as_list_opt::<i32>() {
            let DataType::List(field) = lists.data_type() else { return Arc::clone(column) };
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            let values = self.cut_all(lists.values());
            return Arc::new(ListArray::new(Arc::clone(field), offsets, values, nulls));
        }
        let Some(texts) = column.as_string_opt::<i32>() else { return Arc::clone(column) };
        let surplus = |text: &str| self.cut(text).len() < text.len();
        if !texts.iter().flatten().any(surplus) {
            return Arc::clone(column);
        }
        Arc::new(texts.iter().map(|text| text.map(|text| self.cut(text))).collect::<StringArray>())
    }

    /// Returns an error if a text is too long.
    pub fn check(&self, text: &str) -> Result<(), ValueError> {
        // Counting is needless for the many whose bytes are few enough.
        if text.len() <= self.chars || text.chars().count() <= self.chars {
            return Ok(());
        }
        let message = format!("value too long for type {}", self.type_name);
        Err(ValueError { problem: Problem::TooLong, message })
    }

    /// Returns the error of the first text of a column, or element of a list, that is too long.
    pub fn first(&self, column: &ArrayRef) -> Option<ValueError> {
        if let Some(lists) = column.as_list_opt::<i32>() {
            return lists.iter().flatten().find_map(|elements| self.first(&elements));
        }
        column.as_string_opt::<i32>()?.iter().flatten().find_map(|text| self.check(text).err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(pg_type: &str) -> Option<TextLimit> {
        let metadata = [("pg_type".to_owned(), pg_type.to_owned())];
        TextLimit::of(&Field::new("t", DataType::Utf8, true).with_metadata(metadata.into()))
    }

    #[test]
    fn characters_are_counted() {
        for pg_type in ["character varying(3)", "character(3)", "character varying(3)[]"] {
            let limit = limit(pg_type).unwrap();
            assert!(limit.check("éàü").is_ok());
            let error = limit.check("four").unwrap_err();
            let type_name = pg_type.trim_end_matches("[]");
            assert_eq!(error.message, format!("value too long for type {type_name}"));
            assert_eq!(error.sqlstate().0, "22001");
        }
        for pg_type in ["text", "character varying", "bpchar", "numeric(10,2)"] {
            assert_eq!(limit(pg_type), None, "{pg_type}");
        }
    }

    #[test]
    fn a_surplus_of_spaces_is_cut_off() {
        let limit = limit("character varying(3)").unwrap();
        assert_eq!(
            ["é  ", "été  ", " é    ", "été x"].map(|text| limit.cut(text)),
            ["é  ", "été", " é ", "été x"]
        );
    }

    #[test]
    fn the_first_that_is_too_long_is_found() {
        let texts = |texts: &[&str]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
        let limit = limit("character(2)").unwrap();
        assert!(limit.first(&texts(&["", "ab"])).is_none());
        assert!(limit.first(&texts(&["", "abc"])).is_some());
    }
}
