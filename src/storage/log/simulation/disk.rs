//! A disk in memory that fails, and at a power cut forgets what was not synced.
//!
//! # Semantics
//! What was written and not synced is there after a power cut sector by sector, each as after some
//! of the writes to it, perhaps torn within; changes of names are there each or not. A sync that
//! fails leaves what was to be synced in memory, and forgets that it is not on the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::random::Random;
use crate::storage::log::disk::{Files, Opened};

/// What comes to the disk at once.
pub const SECTOR: usize = 512;

/// A disk; copies are the same one.
#[derive(Clone, Debug)]
pub struct Simulated(Arc<Mutex<State>>);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The machine or the process stops within an operation.
    Stop,
    /// The same, and nothing of the operation is there.
    StopBefore,
    /// An operation fails.
    Fails,
}

#[derive(Debug)]
struct State {
    random: Random,
    files: Vec<Content>,
    names: Names,
    /// The names after a power cut now.
    kept: Names,
    /// What was done to names and not synced.
    changes: Vec<Change>,
    full: bool,
    /// What goes wrong, after so many operations.
    trouble: Option<(usize, Trouble)>,
    /// Whether something went wrong.
    troubled: bool,
    stopped: bool,
}

type Names = BTreeMap<PathBuf, Entry>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Directory,
    File(usize),
}

#[derive(Debug)]
enum Change {
    Add(PathBuf, Entry),
    Rename(PathBuf, PathBuf, Entry),
    Remove(PathBuf),
}

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    /// Those after a power cut now.
    kept: Vec<u8>,
    /// What was written and not synced.
    writes: Vec<(usize, Vec<u8>)>,
}

/// Of a sector that so many writes changed, and were not synced: how many are there after a power
/// cut, and how many bytes of the next one.
pub type Keep<'a> = &'a mut dyn FnMut(usize, usize) -> (usize, usize);

impl Simulated {
    /// An empty disk.
    pub fn new(random: Random) -> Self {
        let root = Names::from([(PathBuf::from("/"), Entry::Directory)]);
        Self(Arc::new(Mutex::new(State {
            random,
            files: Vec::new(),
            names: root.clone(),
            kept: root,
            changes: Vec::new(),
            full: false,
            trouble: None,
            troubled: false,
            stopped: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a life of the process, in which perhaps something goes wrong.
    pub fn begin(&self, trouble: Option<(usize, Trouble)>) {
        let mut state = self.lock();
        (state.trouble, state.troubled, state.stopped) = (trouble, false, false);
    }

    /// Whether something has gone wrong in this life.
    pub fn is_troubled(&self) -> bool {
        self.lock().troubled
    }

    /// Whether there is no space.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Cuts the power: anything may be there that was not synced.
    pub fn cut_power(&self) {
        let mut random = self.lock().random.clone();
        // All, nothing, or each by itself.
        let mode = random.below(4);
        let changes = self.lock().changes.len();
        let kept = (0..changes).map(|_| mode == 0 || mode > 1 && random.chance(50)).collect();
        self.cut_power_with(kept, &mut |_, writes| match mode {
            0 => (writes, 0),
            1 => (0, 0),
            _ => (random.below(writes + 1), [0, random.below(SECTOR)][random.below(2)]),
        });
        self.lock().random = random;
    }

    /// Cuts the power: of the changes of names these are there, and of each sector what is said.
    pub fn cut_power_with(&self, changes: Vec<bool>, keep: Keep<'_>) {
        let mut state = self.lock();
        let state = &mut *state;
        for (change, there) in std::mem::take(&mut state.changes).iter().zip(changes) {
            if there {
                change.apply(&mut state.kept);
            }
        }
        let kept = state.kept.clone();
        state.kept.retain(|path, _| path.ancestors().all(|above| kept.contains_key(above)));
        state.names = state.kept.clone();
        state.files.iter_mut().for_each(|file| file.cut_power(keep));
    }

    /// The files that are there.
    pub fn paths(&self) -> Vec<PathBuf> {
        let state = self.lock();
        let files = state.names.iter().filter(|(_, entry)| **entry != Entry::Directory);
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Changes the bytes of a file, on the disk as well.
    pub fn meddle(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let file = state.file(path).expect("the file is there");
        change(&mut state.files[file].now);
        state.files[file].kept = state.files[file].now.clone();
    }

    /// A copy of the disk as it is.
    pub fn copy(&self) -> Self {
        let state = self.lock();
        let copy = Self::new(state.random.clone());
        {
            let mut to = copy.lock();
            (to.names, to.kept) = (state.names.clone(), state.names.clone());
            to.files = state.files.clone();
        }
        copy
    }

    /// Does something; what is there of it when it stops in the middle comes second.
    fn act<T>(
        &self,
        whole: impl FnOnce(&mut State) -> io::Result<T>,
        part: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let mut state = self.lock();
        if state.stopped {
            return Err(io::Error::other("stopped"));
        }
        match &mut state.trouble {
            Some((0, _)) | None => {}
            Some((left, trouble)) => {
                *left -= 1;
                let trouble = *trouble;
                if *left == 0 {
                    (state.troubled, state.stopped) = (true, trouble != Trouble::Fails);
                    match (trouble, state.random.below(3)) {
                        (Trouble::Stop, 0) => drop(whole(&mut state)),
                        (Trouble::Stop | Trouble::Fails, 1) => part(&mut state),
                        _ => {}
                    }
                    return Err(io::Error::other("trouble"));
                }
            }
        }
        whole(&mut state)
    }
}

impl Content {
    fn cut_power(&mut self, keep: Keep<'_>) {
        let sectors = self.kept.len().div_ceil(SECTOR);
        for sector in 0..if self.writes.is_empty() { 0 } else { sectors } {
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(self.kept.len());
            let parts: Vec<(usize, &[u8])> = self
                .writes
                .iter()
                .filter_map(|(at, bytes)| {
                    let (begin, end) = (from.max(*at), to.min(at + bytes.len()));
                    (begin < end).then(|| (begin, &bytes[begin - at..end - at]))
                })
                .collect();
            let (whole, torn) = keep(sector, parts.len());
            for (i, (begin, bytes)) in parts.into_iter().enumerate().take(whole + 1) {
                let length = if i < whole { bytes.len() } else { torn.min(bytes.len()) };
                self.kept[begin..begin + length].copy_from_slice(&bytes[..length]);
            }
        }
        self.writes.clear();
        self.now = self.kept.clone();
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Change::Add(path, entry) => drop(names.insert(path.clone(), *entry)),
            Change::Rename(from, to, entry) => {
                if names.get(from) == Some(entry) {
                    names.remove(from);
                }
                names.insert(to.clone(), *entry);
            }
            Change::Remove(path) => names.retain(|name, _| !name.starts_with(path)),
        }
    }

    fn parent(&self) -> Option<&Path> {
        match self {
            Change::Add(path, _) | Change::Rename(path, ..) | Change::Remove(path) => path.parent(),
        }
    }
}

impl State {
    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(file)) => Ok(*file),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    /// Adds a file that is on the disk with these bytes, under a name that is not.
    fn add(&mut self, path: &Path, bytes: Vec<u8>) -> io::Result<usize> {
        if !path.parent().is_some_and(|dir| self.names.contains_key(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.files.push(Content { now: bytes.clone(), kept: bytes, writes: Vec::new() });
        let file = self.files.len() - 1;
        self.change(Change::Add(path.to_owned(), Entry::File(file)));
        Ok(file)
    }

    fn add_part(&mut self, path: &Path, mut bytes: Vec<u8>) {
        bytes.truncate(self.random.below(bytes.len() + 1));
        // It is as far as it is.
        let _ = self.add(path, bytes);
    }

    fn fits(&self) -> io::Result<()> {
        if self.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn write(&mut self, file: usize, at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).expect("it is in memory");
        let file = &mut self.files[file];
        file.now[at..at + bytes.len()].copy_from_slice(bytes);
        file.writes.push((at, bytes.to_vec()));
    }

    fn sync(&mut self, file: usize) {
        let file = &mut self.files[file];
        for (at, bytes) in std::mem::take(&mut file.writes) {
            file.kept[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
}

impl Files for Simulated {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let make = |state: &mut State| {
            state.fits()?;
            state.change(Change::Add(dir.to_owned(), Entry::Directory));
            Ok(())
        };
        self.act(make, |_| {})
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.lock();
        match state.names.get(dir) {
            Some(Entry::Directory) => {
                let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
                Ok(inside.cloned().collect())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.act(|state| Ok(state.files[state.file(path)?].now.clone()), |_| {})
    }

    fn allocate(&self, path: &Path, len: u64) -> io::Result<Box<dyn Opened>> {
        let bytes = vec![0; usize::try_from(len).expect("it is in memory")];
        let part = bytes.clone();
        let made = |state: &mut State| {
            state.fits()?;
            state.add(path, bytes)
        };
        let file = self.act(made, |state| state.add_part(path, part))?;
        Ok(Box::new(Handle { disk: self.clone(), file }))
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let made = |state: &mut State| {
            state.fits()?;
            state.add(path, bytes.to_vec()).map(drop)
        };
        self.act(made, |state| state.add_part(path, bytes.to_vec()))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Opened>> {
        let file = self.act(|state| state.file(path), |_| {})?;
        Ok(Box::new(Handle { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let rename = |state: &mut State| {
            let entry = Entry::File(state.file(from)?);
            state.change(Change::Rename(from.to_owned(), to.to_owned(), entry));
            Ok(())
        };
        self.act(rename, |_| {})
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let remove = |state: &mut State| {
            state.file(path)?;
            state.change(Change::Remove(path.to_owned()));
            Ok(())
        };
        self.act(remove, |_| {})
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let inside = |state: &State| {
            let names = state.names.keys().rev().filter(|path| path.starts_with(dir));
            names.cloned().collect::<Vec<_>>()
        };
        let remove = |state: &mut State| {
            inside(state).into_iter().for_each(|path| state.change(Change::Remove(path)));
            Ok(())
        };
        let part = |state: &mut State| {
            let mut gone = inside(state);
            gone.truncate(state.random.below(gone.len() + 1));
            gone.into_iter().for_each(|path| state.change(Change::Remove(path)));
        };
        self.act(remove, part)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let sync = |state: &mut State| {
            let (synced, others) = std::mem::take(&mut state.changes)
                .into_iter()
                .partition(|change| change.parent() == Some(dir));
            state.changes = others;
            let synced: Vec<Change> = synced;
            synced.iter().for_each(|change| change.apply(&mut state.kept));
            Ok(())
        };
        self.act(sync, |_| {})
    }
}

#[derive(Debug)]
struct Handle {
    disk: Simulated,
    file: usize,
}

impl Opened for Handle {
    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let write = |state: &mut State| {
            state.write(self.file, at, bytes);
            Ok(())
        };
        let part = |state: &mut State| {
            let length = state.random.below(bytes.len() + 1);
            state.write(self.file, at, &bytes[..length]);
        };
        self.disk.act(write, part)
    }

    fn sync(&self) -> io::Result<()> {
        let sync = |state: &mut State| {
            state.sync(self.file);
            Ok(())
        };
        // Some of it is there, and the rest is held for it.
        self.disk.act(sync, |state| {
            let file = &mut state.files[self.file];
            let now = file.now.clone();
            file.cut_power(&mut |sector, writes| (if sector % 2 == 0 { writes } else { 0 }, 0));
            file.now = now;
        })
    }
}
