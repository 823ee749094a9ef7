//! Options of a WITH clause: taken one by one, and an unknown one is an error.

use std::collections::BTreeMap;

use super::{Error, Result};
use crate::size;

/// Options that the engine reads itself, whatever the connector.
const ENGINE_OPTIONS: [&str; 4] = ["connector", "retain", "retention", "wait"];

/// The options of one connector.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    options: &'a BTreeMap<String, String>,
}

impl<'a> Options<'a> {
    /// Checks that every option is one of `known` or the engine's, or starts with `prefix`.
    pub fn new(
        options: &'a BTreeMap<String, String>,
        known: &[&str],
        prefix: Option<&str>,
    ) -> Result<Self> {
        for key in options.keys() {
            let listed = known.iter().chain(&ENGINE_OPTIONS).any(|name| name == key);
            if !listed && !prefix.is_some_and(|prefix| key.starts_with(prefix)) {
                let mut names = known.to_vec();
                names.sort_unstable();
                return Err(Error::Option {
                    message: format!("unknown option \"{key}\""),
                    hint: Some(format!("Known options are {}.", names.join(", "))),
                });
            }
        }
        Ok(Self { options })
    }

    /// Returns an option.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.options.get(key).map(String::as_str)
    }

    /// Returns an option that must be there.
    pub fn required(&self, key: &str) -> Result<&'a str> {
        self.get(key).ok_or_else(|| Error::Option {
            message: format!("option \"{key}\" is missing"),
            hint: None,
        })
    }

    /// Returns a boolean option.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "on" | "yes" | "1") => Ok(true),
            Some("false" | "off" | "no" | "0") => Ok(false),
            Some(_) => Err(self.wrong(key, "It is true or false.")),
        }
    }

    /// Returns a whole number that is not negative.
    pub fn number(&self, key: &str) -> Result<Option<u64>> {
        let parse = |text: &str| text.trim().replace('_', "").parse().ok();
        self.parsed(key, parse, "It is a whole number that is not negative.")
    }

    /// Returns a number of bytes, at least one: `1000`, `64 kB`, `64MB`, `1 GB`, in steps of 1024.
    pub fn bytes(&self, key: &str) -> Result<Option<usize>> {
        let parse = |text: &str| {
            let bytes = size::parse(text).filter(|bytes| *bytes > 0)?;
            usize::try_from(bytes).ok()
        };
        self.parsed(key, parse, "It is a number of bytes such as 1000, '64 kB' or '64 MB'.")
    }

    /// Returns the names of all options.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.options.keys().map(String::as_str)
    }

    /// Returns an option that `parse` understands; `hint` says what would be right.
    pub fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
        hint: &str,
    ) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(None),
            Some(text) => parse(text).map(Some).ok_or_else(|| self.wrong(key, hint)),
        }
    }

    /// Returns the error for an option whose value has no meaning.
    pub fn wrong(&self, key: &str, hint: &str) -> Error {
        let value = self.get(key).unwrap_or_default();
        Error::Option {
            message: format!("option \"{key}\" cannot be '{value}'"),
            hint: Some(hint.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Classify;

    #[test]
    fn bytes_have_units() {
        let bytes = |text: &str| {
            let map = BTreeMap::from([("max".to_owned(), text.to_owned())]);
            Options::new(&map, &["max"], None).unwrap().bytes("max").ok().flatten()
        };
        assert_eq!(bytes("1_000"), Some(1000));
        assert_eq!(bytes(" 64 MiB "), Some(64 << 20));
        assert_eq!(bytes("2kB"), Some(2048));
        for bad in ["", "0", "MB", "-1", "1 XB", "99999999999 GB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn unknown_options_are_named_and_known_ones_listed() {
        let map = |key: &str| BTreeMap::from([(key.to_owned(), "x".to_owned())]);
        assert!(Options::new(&map("retention"), &["path"], None).is_ok());
        assert!(Options::new(&map("fields.a.kind"), &["path"], Some("fields.")).is_ok());
        let error = Options::new(&map("pth"), &["path", "follow"], None).unwrap_err();
        assert_eq!(error.to_string(), "unknown option \"pth\"");
        assert_eq!(error.hint().unwrap(), "Known options are follow, path.");
    }
}
