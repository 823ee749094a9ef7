//! An append-only log of records in files: what an acknowledged commit rests on.
//!
//! # Semantics
//! [`Log::append`] takes a record in memory; a thread of the log writes whatever has come together
//! meanwhile as one block, syncs it, and tells how many records are durable (group commit).
//! [`Reader`] gives back the records of a log, oldest first, and becomes the log that goes on
//! behind them.
//!
//! # Files
//! A log is a directory of segments, each named by the number of its first block; their space is
//! allocated when they are made. The module `block` has the format.
//!
//! What comes first in a log may be what an earlier one came to: [`Generations`].
//!
//! # Invariants
//! 1. A block is written only when the one before it is on the disk. So of what was not synced at
//!    most one block is torn, and it is the last one: it is cut off. Any other damage is
//!    corruption, which the reader refuses to pass over.
//! 2. A record is taken only if there is space for it on the disk: a full disk refuses records, and
//!    loses none that was taken.
//! 3. A failed sync ends the process: what is on the disk then is not known, and a second try would
//!    not tell.

mod block;
mod disk;
mod generation;
mod reader;
mod segment;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::PathBuf;

pub use block::records;
pub use disk::Disk;
pub use generation::{Generations, Salvaged};
pub use reader::Reader;
pub use writer::Log;

/// Result of the log.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a log cannot be read or take a record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No space for another record.
    #[error("could not extend the log in \"{}\"", path.display())]
    Full {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file system failed.
    #[error("could not {what} \"{}\"", path.display())]
    Io {
        /// What was tried: `read`, `write`, ..
        what: &'static str,
        /// File or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Something in the log is not what was written.
    #[error("the log is damaged in \"{}\" at byte {offset}: {what}", path.display())]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

/// Ends the process: what is on the disk is not known, and a second try would not tell.
pub fn end(error: &Error) -> ! {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!("{error}: {}; ending", cause.unwrap_or_default());
    std::process::abort();
}

impl Error {
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
