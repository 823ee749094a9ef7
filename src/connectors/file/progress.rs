//! Where reading of files goes on, as text.
//!
//! # Semantics
//! `{"rows":N,"files":{"path":[offset,line]}}`. A bounded reader keeps the file it is in: those
//! before it, in name order, are done. A reader that follows keeps all files, since any may grow.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::connectors::format::Mark;
use crate::connectors::{Error, Result, SourcePosition};

/// How far each file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Rows delivered, for the limit.
    pub rows: u64,
    files: BTreeMap<String, (u64, u64)>,
}

impl Progress {
    /// Reads a position; the empty one is the beginning.
    pub fn parse(position: &SourcePosition) -> Result<Self> {
        if position.0.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(&position.0).map_err(|e| Error::Format {
            what: "position of a file source".to_owned(),
            reason: e.to_string(),
        })
    }

    /// Returns the position as text.
    pub fn position(&self) -> SourcePosition {
        let text = serde_json::to_string(self).expect("numbers and strings have a JSON form");
        SourcePosition(text)
    }

    /// Returns how far a file was read; `None` for one that was not begun.
    pub fn get(&self, file: &Path) -> Option<Mark> {
        let (offset, line) = *self.files.get(&*file.to_string_lossy())?;
        Some(Mark { offset, line })
    }

    /// Notes how far a file was read. Without `keep`, the other files are forgotten.
    pub fn set(&mut self, file: &Path, mark: Mark, keep: bool) {
        let key = file.to_string_lossy();
        if !keep && !self.files.contains_key(&*key) {
            self.files.clear();
        }
        self.files.insert(key.into_owned(), (mark.offset, mark.line));
    }

    /// Forgets a file; returns how far it was read.
    pub fn remove(&mut self, file: &Path) -> Option<Mark> {
        let (offset, line) = self.files.remove(&*file.to_string_lossy())?;
        Some(Mark { offset, line })
    }

    /// Returns whether a bounded reader is done with a file: it comes before the noted one.
    pub fn is_past(&self, file: &Path) -> bool {
        self.files.keys().next().is_some_and(|noted| file < Path::new(noted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_their_text() {
        let mut progress = Progress { rows: 7, ..Progress::default() };
        progress.set(Path::new("a \"b\"\n.csv"), Mark { offset: 10, line: 2 }, true);
        progress.set(Path::new("c"), Mark { offset: 1, line: 1 }, true);
        assert_eq!(Progress::parse(&progress.position()).unwrap(), progress);
        assert_eq!(Progress::parse(&SourcePosition::default()).unwrap(), Progress::default());
        progress.set(Path::new("d"), Mark::default(), false);
        assert_eq!(progress.position().0, r#"{"rows":7,"files":{"d":[0,0]}}"#);
        assert!(progress.is_past(Path::new("c")) && !progress.is_past(Path::new("e")));
        assert!(Progress::parse(&SourcePosition("x".to_owned())).is_err());
    }
}
