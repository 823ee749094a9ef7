//! Logs that replace each other: a directory of them, and which one counts.
//!
//! # Semantics
//! A new generation begins with what the one before it came to. It counts from the moment at which
//! its number stands in the file `current`, which is renamed into place; the others are removed.
//!
//! # Invariants
//! 1. Nothing is removed before it is on the disk which log counts, and that log has been read.
//! 2. There is no file `current` only as long as nothing was acknowledged.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::{Error, Reader, Result};
use crate::fault;

/// The file that names the generation that counts: its number, and the CRC-32 of that as text.
const CURRENT: &str = "current";

/// What becomes that file.
const DRAFT: &str = "draft";

/// The generation of a directory that names none.
const FIRST: u64 = 1;

/// What became of a damaged log.
#[derive(Debug)]
pub struct Salvaged {
    /// The records before the damage.
    pub records: u64,
    /// The damage.
    pub damage: Error,
    /// Where the damaged log is now.
    pub aside: PathBuf,
}

/// A directory of logs.
#[derive(Debug)]
pub struct Generations {
    disk: Disk,
    dir: PathBuf,
    current: u64,
    /// Whether the directory names it.
    named: bool,
}

impl Generations {
    /// Opens a directory, which is made if it is not there, and the log that counts.
    pub fn open(disk: Disk, dir: &Path) -> Result<(Self, Reader)> {
        disk.create_dir(dir)?;
        let named = counting(&disk, dir)?;
        if named.is_none() {
            disk.create_dir(&dir.join(FIRST.to_string()))?;
        }
        let current = named.unwrap_or(FIRST);
        let generations = Self { disk, dir: dir.to_owned(), current, named: named.is_some() };
        let reader = generations.reader(current)?;
        fault::point("generation.opened");
        Ok((generations, reader))
    }

    /// The log that counts in a directory that has one; nothing is changed.
    pub fn inspect(disk: Disk, dir: &Path) -> Result<Reader> {
        let Some(current) = counting(&disk, dir)? else {
            return Err(missing(dir));
        };
        Self { disk, dir: dir.to_owned(), current, named: true }.reader(current)
    }

    /// Lets a log count that has what can be read of the one that is damaged, if it is, which is
    /// put aside.
    pub fn salvage(disk: Disk, dir: &Path) -> Result<Option<Salvaged>> {
        let (mut generations, mut reader) = Self::open(disk, dir)?;
        let (log, mut records) = (generations.begin()?.into_log(|_| {})?, 0);
        let damage = loop {
            match reader.next_block() {
                Ok(Some(block)) => {
                    for record in super::records(&block) {
                        records = log.append(&[record])?;
                    }
                    log.drain(0);
                }
                Ok(None) => break None,
                Err(damage @ Error::Corrupt { .. }) => break Some(damage),
                Err(error) => return Err(error),
            }
        };
        // It goes when everything is on the disk.
        drop(log);
        let Some(damage) = damage.filter(|_| records > 0) else {
            generations.remove_others();
            return Ok(None);
        };
        let damaged = generations.path(generations.current);
        generations.prepare()?;
        generations.advance()?;
        let aside = damaged.with_extension("damaged");
        let renamed = generations.disk.rename(&damaged, &aside);
        renamed.map_err(Error::io("rename", &damaged))?;
        Ok(Some(Salvaged { records, damage, aside }))
    }

    /// Whether the directory names the log that was opened.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// The file of a directory that names the log that counts.
    pub fn named_in(dir: &Path) -> PathBuf {
        dir.join(CURRENT)
    }

    fn reader(&self, number: u64) -> Result<Reader> {
        let path = self.path(number);
        let corrupt =
            |what: &str| Error::Corrupt { path: path.clone(), offset: 0, what: what.to_owned() };
        match Reader::open(&self.disk, &path) {
            Ok(reader) if self.named && reader.is_empty() => {
                Err(corrupt("it has no files, and is the log that counts"))
            }
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(corrupt("it is missing, and is the log that counts"))
            }
            opened => opened,
        }
    }

    /// Lets the log that was opened count, which has been read and of which something is on the
    /// disk. From then on it must not be missing.
    pub fn settle(&mut self) -> Result<()> {
        match self.named {
            // The name may be younger than the last power cut.
            true => self.disk.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?,
            false => {
                self.draft(self.current)?;
                self.name()?;
            }
        }
        self.named = true;
        self.remove_others();
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// Begins the log that is to come next.
    pub fn begin(&self) -> Result<Reader> {
        self.remove_others();
        let path = self.path(self.current + 1);
        fault::point("generation.begin");
        self.disk.create_dir(&path)?;
        fault::point("generation.begun");
        let reader = Reader::open(&self.disk, &path)?;
        match reader.is_empty() {
            true => Ok(reader),
            false => {
                let what = "files of another log are in it".to_owned();
                Err(Error::Corrupt { path, offset: 0, what })
            }
        }
    }

    /// Prepares the log that was begun to count.
    pub fn prepare(&self) -> Result<()> {
        self.draft(self.current + 1)
    }

    /// Lets the log that was prepared count, of which everything is on the disk. After an error it
    /// is not known which one counts, and the process has to end.
    pub fn advance(&mut self) -> Result<()> {
        self.name()?;
        self.current += 1;
        Ok(())
    }

    fn draft(&self, number: u64) -> Result<()> {
        let path = self.dir.join(DRAFT);
        fault::point("generation.draft");
        self.disk.put(&path, text(number).as_bytes()).map_err(Error::io("write", &path))?;
        fault::point("generation.drafted");
        Ok(())
    }

    fn name(&self) -> Result<()> {
        let draft = self.dir.join(DRAFT);
        let renamed = self.disk.rename(&draft, &self.dir.join(CURRENT));
        renamed.map_err(Error::io("rename", &draft))?;
        fault::point("generation.named");
        self.disk.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        fault::point("generation.counts");
        Ok(())
    }

    /// Removes the logs that do not count.
    pub fn remove_others(&self) {
        let Ok(paths) = self.disk.list(&self.dir) else { return };
        for path in paths {
            if number(&path).is_some_and(|number| number != self.current)
                && let Err(error) = self.disk.remove_dir(&path)
            {
                // It is in nobody's way, and tried again next time.
                tracing::warn!(path = %path.display(), %error, "an old log is not removed");
            }
        }
        fault::point("generation.removed");
    }
}

/// The number of the generation that counts, if the directory names one.
fn counting(disk: &Disk, dir: &Path) -> Result<Option<u64>> {
    let path = dir.join(CURRENT);
    match disk.read(&path) {
        Ok(bytes) => {
            let found = String::from_utf8_lossy(&bytes);
            let number = found.split(' ').next().and_then(|number| number.parse().ok());
            let number = number.filter(|number| text(*number) == found);
            let what = "it does not name a log".to_owned();
            number.map(Some).ok_or(Error::Corrupt { path, offset: 0, what })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let paths = disk.list(dir).map_err(Error::io("read", dir))?;
            match paths.iter().filter_map(|path| number(path)).all(|number| number == FIRST) {
                true => Ok(None),
                false => Err(missing(dir)),
            }
        }
        Err(source) => Err(Error::Io { what: "read", path, source }),
    }
}

fn missing(dir: &Path) -> Error {
    let what = "it is missing, and says which log counts".to_owned();
    Error::Corrupt { path: dir.join(CURRENT), offset: 0, what }
}

/// The generation that a path is of.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.parse().ok()
}

fn text(number: u64) -> String {
    let number = number.to_string();
    format!("{number} {:08x}\n", crc32fast::hash(number.as_bytes()))
}
