//! Backups of a running server, and what a data directory comes to.
//!
//! # Semantics
//! A backup is a data directory: its log begins with the state at one commit, which is not before
//! the statement, and goes on with nothing. A server can start on it, or on a copy; sinks that
//! write outside of it stand still there, since the server that was backed up went on writing.
//!
//! A check tells a log again, as a start does, and changes nothing on the disk.
//!
//! # Cost
//! A backup is as much as the state, and writers pause as for a checkpoint. A check takes as long
//! and as much memory as a start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::recovery::Recovery;
use super::sink::Place;
use super::{Engine, EngineOptions, Error, Result};
use crate::clock::{Clock, HeldClock};
use crate::data_dir::{self, DataDir};
use crate::error::SqlState;
use crate::runtime;
use crate::runtime::history::keeper::Keeper;
use crate::runtime::journal::Journal;
use crate::storage::archive;
use crate::time::{Position, Timestamp};

/// What a log came to.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// Its records.
    pub records: u64,
    /// The last commit.
    pub position: Position,
    /// The time of that.
    pub time: Timestamp,
    /// Objects in the catalog.
    pub objects: usize,
}

impl Engine {
    /// Writes a backup into a directory, which is made if need be, and has to be empty; returns the
    /// command tag.
    pub(super) async fn back_up(&self, dir: &str) -> Result<String> {
        let path = PathBuf::from(dir);
        if !path.is_absolute() {
            return Err(Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("\"{dir}\" is not an absolute path"),
                "It is a directory on the server's machine; begin it with a slash.",
            ));
        }
        if is_within(&path, &self.dir) {
            return Err(Error::hinted(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("\"{dir}\" is in the server's own data directory"),
                "A backup is written into a directory of its own.",
            ));
        }
        let image = {
            let _definitions = self.ddl.lock().await;
            self.image(|_| {}, Place::Backup).await?
        };
        let (pages, keeper) = (Arc::clone(&self.pages), Arc::clone(self.hub.keeper()));
        let written = tokio::task::spawn_blocking(move || {
            let mut dir = DataDir::begin(&path).map_err(|error| refused(&error))?;
            let image = image.store(&pages, keeper.archive())?;
            Journal::write(&dir.log(), &image)?;
            archive::copy(&image.files, &dir.history()).map_err(runtime::Error::from)?;
            dir.settle().map_err(|error| refused(&error))
        });
        written.await.map_err(|error| Error::Internal(error.to_string()))??;
        Ok("BACKUP".to_owned())
    }

    /// Tells the log in a directory again, and says what it came to.
    pub async fn check(
        options: EngineOptions,
        clock: Arc<dyn Clock>,
        log: &Path,
        history: &Path,
    ) -> Result<Checked> {
        let clock = Arc::new(HeldClock::new(clock));
        let mut recovery = Recovery::inspect(log)?;
        let (scratch, keeper) = (std::env::temp_dir(), Keeper::inspect(history)?);
        let engine = Self::new(options, &clock, recovery.shards, &scratch, keeper)?;
        let records = engine.tell_all(&mut recovery, &clock).await?;
        if records == 0 {
            return Err(super::recovery::no_records().into());
        }
        engine.hub.idle().await;
        let files = engine.hub.keeper().archive().adopted();
        let read = move || files.iter().try_for_each(|file| file.check());
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| Error::Internal(error.to_string()))?.map_err(runtime::Error::from)?;
        let last = engine.hub.last_commit();
        let objects = engine.catalog().objects().count();
        let hub = Arc::clone(&engine.hub);
        let stopped = tokio::task::spawn_blocking(move || hub.stop()).await;
        stopped.map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Checked { records, position: last.position, time: last.time, objects })
    }
}

/// Whether a path that may not be there yet leads into a directory.
fn is_within(path: &Path, dir: &Path) -> bool {
    let real = path.ancestors().find_map(|path| path.canonicalize().ok());
    real.zip(dir.canonicalize().ok()).is_some_and(|(path, dir)| path.starts_with(dir))
}

/// A directory that cannot be used, as an error of a statement.
fn refused(error: &data_dir::Error) -> Error {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let (sqlstate, hint) = match error {
        data_dir::Error::NotEmpty { .. } | data_dir::Error::NotADirectory { .. } => {
            let hint = "A backup is written into a directory of its own.";
            (SqlState::INVALID_PARAMETER_VALUE, Some(hint.to_owned()))
        }
        data_dir::Error::Create { .. }
        | data_dir::Error::ReadOnly { .. }
        | data_dir::Error::Read { .. }
        | data_dir::Error::InUse { .. }
        | data_dir::Error::Format { .. }
        | data_dir::Error::NotWhole { .. } => (SqlState::IO_ERROR, None),
    };
    Error::Refused { message: error.to_string(), sqlstate, detail: cause, hint }
}
