//! Named places at which a test lets the process die, or an operation fail.
//!
//! # Semantics
//! The variable `HIGHWATER_FAULT` arms one place; without it nothing here does anything.
//!
//! | value | what happens |
//! |---|---|
//! | `name` | the process ends there at once, as by `kill -9` |
//! | `name@3` | the same at the third time |
//! | `name@3=full*2` | the third and the fourth time there is no space on the disk |
//! | `name@3=io*2` | the third and the fourth time the disk fails |
//!
//! # Cost
//! One load per place where nothing is armed.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that arms a place.
pub const VARIABLE: &str = "HIGHWATER_FAULT";

static ARMED: OnceLock<Armed> = OnceLock::new();

#[derive(Debug)]
struct Armed {
    name: String,
    /// The first time at which something happens, counted from 1.
    first: u64,
    /// What the operation fails with, and how often; without it the process ends.
    failure: Option<(io::ErrorKind, u64)>,
    passed: AtomicU64,
}

/// Arms a place, once per process.
pub fn arm(text: &str) -> Result<(), String> {
    let armed = Armed::read(text).ok_or_else(|| {
        format!("environment variable {VARIABLE}: \"{text}\" is not of the form name@3=full*2")
    })?;
    ARMED.set(armed).map_err(|_| format!("environment variable {VARIABLE}: a place is armed"))
}

/// A place at which the process may end.
pub fn point(name: &'static str) {
    if let Some(armed) = ARMED.get() {
        armed.pass(name);
    }
}

/// A place at which the process may end, or what comes next fail.
pub fn failing(name: &'static str) -> io::Result<()> {
    match ARMED.get().and_then(|armed| armed.pass(name)) {
        None => Ok(()),
        Some(kind) => Err(io::Error::new(kind, format!("fault \"{name}\""))),
    }
}

impl Armed {
    fn read(text: &str) -> Option<Self> {
        let (place, failure) = match text.split_once('=') {
            None => (text, None),
            Some((place, failure)) => {
                let (kind, times) = failure.split_once('*').unwrap_or((failure, "1"));
                let kind = match kind {
                    "full" => io::ErrorKind::StorageFull,
                    "io" => io::ErrorKind::Other,
                    _ => return None,
                };
                (place, Some((kind, times.parse().ok()?)))
            }
        };
        let (name, first) = place.split_once('@').unwrap_or((place, "1"));
        let (name, first) = (name.to_owned(), first.parse().ok()?);
        Some(Self { name, first, failure, passed: AtomicU64::new(0) })
    }

    /// Passes a place: ends the process, or returns what the operation fails with.
    fn pass(&self, name: &str) -> Option<io::ErrorKind> {
        if self.name != name {
            return None;
        }
        let time = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        let Some((kind, times)) = self.failure else {
            if time == self.first {
                tracing::error!(name, "ended by a fault");
                std::process::abort();
            }
            return None;
        };
        (self.first..self.first + times).contains(&time).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_fail_as_often_as_is_said() {
        let armed = Armed::read("a.b@2=full*2").unwrap();
        let full = Some(io::ErrorKind::StorageFull);
        assert_eq!(armed.pass("a"), None);
        let passes = [armed.pass("a.b"), armed.pass("a.b"), armed.pass("a.b"), armed.pass("a.b")];
        assert_eq!(passes, [None, full, full, None]);
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for text in ["a@x", "a=b", "a=io*", "a@=io"] {
            assert!(Armed::read(text).is_none(), "{text}");
        }
    }
}
