//! Logs that replace each other: a directory of them, and which one counts.
//!
//! # Semantics
//! A new generation begins with what the one before it came to. It counts from the moment at which
//! its number stands in the file `current`, which is renamed into place; the others are removed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::segment::sync_dir;
use super::{Error, Reader, Result};

/// The file that names the generation that counts.
const CURRENT: &str = "current";

/// The generation of a directory that names none.
const FIRST: u64 = 1;

/// A directory of logs.
#[derive(Debug)]
pub struct Generations {
    dir: PathBuf,
    current: u64,
}

impl Generations {
    /// Opens a directory, which is made if it is not there, and the log that counts.
    pub fn open(dir: &Path) -> Result<(Self, Reader)> {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let file = dir.join(CURRENT);
        let current = match fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => FIRST,
            Err(source) => return Err(Error::Io { what: "read", path: file, source }),
            Ok(text) => text.trim().parse().map_err(|_| Error::Corrupt {
                path: file.clone(),
                offset: 0,
                what: "it is not the number of a log".into(),
            })?,
        };
        let generations = Self { dir: dir.to_owned(), current };
        generations.remove_others();
        let path = generations.path(current);
        let reader = Reader::open(&path)?;
        if file.exists() && reader.is_empty() {
            let what = "it has no files, and is the log that counts".to_owned();
            return Err(Error::Corrupt { path, offset: 0, what });
        }
        Ok((generations, reader))
    }

    /// Lets the log that was opened count, of which something is on the disk. From then on it must
    /// not be missing.
    pub fn settle(&mut self) -> Result<()> {
        match self.dir.join(CURRENT).exists() {
            true => Ok(()),
            false => self.note(self.current),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// Begins the log that is to come next.
    pub fn begin(&self) -> Result<Reader> {
        self.remove_others();
        let path = self.path(self.current + 1);
        let reader = Reader::open(&path)?;
        sync_dir(&self.dir)?;
        Ok(reader)
    }

    /// Lets the log that was begun count, of which everything is on the disk.
    pub fn advance(&mut self) -> Result<()> {
        self.note(self.current + 1)?;
        self.current += 1;
        Ok(())
    }

    fn note(&self, number: u64) -> Result<()> {
        let (file, draft) = (self.dir.join(CURRENT), self.dir.join("draft"));
        let written = File::create(&draft).and_then(|mut file| {
            writeln!(file, "{number}")?;
            file.sync_all()
        });
        written.map_err(Error::io("write", &draft))?;
        fs::rename(&draft, &file).map_err(Error::io("rename", &draft))?;
        sync_dir(&self.dir)
    }

    /// Removes the logs that do not count.
    pub fn remove_others(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
            if number.is_some_and(|number| number != self.current)
                && let Err(error) = fs::remove_dir_all(&path)
            {
                // It is in nobody's way, and tried again next time.
                tracing::warn!(path = %path.display(), %error, "an old log is not removed");
            }
        }
    }
}
