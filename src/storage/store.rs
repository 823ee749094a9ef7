//! What operators keep, as the memory limit and an image see it.

use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::scratch::Scratch;
use super::state::{Misfit, Plain, Result, StateReader, StateWriter};
use crate::delta::Delta;

/// Something that takes memory, may give some of it back, and stands in images.
pub trait Store {
    /// Bytes held in memory.
    fn memory(&self) -> usize;

    /// Bytes held in the scratch file.
    fn spilled(&self) -> usize {
        0
    }

    /// Moves at least so many bytes into the scratch file, if there are so many that can be moved;
    /// returns how many were.
    fn spill(&mut self, _scratch: &Arc<Scratch>, _bytes: usize) -> io::Result<usize> {
        Ok(0)
    }

    /// Number of rows held, where it holds rows.
    fn rows(&self) -> usize {
        0
    }

    /// Adds what it holds to an image.
    fn save(&self, to: &mut StateWriter) -> Result<()>;

    /// Takes what [`Store::save`] added, in place of what it holds.
    fn load(&mut self, from: &mut StateReader) -> Result<()>;
}

/// What is called with every store of an operator.
pub type Visit<'a> = dyn FnMut(&mut dyn Store) + 'a;

/// What was in the scratch file cannot be read: the payload of a panic.
#[derive(Debug)]
pub struct Lost(pub io::Error);

impl<T: Plain> Store for Vec<T> {
    fn memory(&self) -> usize {
        self.capacity() * size_of::<T>()
    }

    fn save(&self, to: &mut StateWriter) -> Result<()> {
        to.put_numbers(self)
    }

    fn load(&mut self, from: &mut StateReader) -> Result<()> {
        *self = from.take_numbers()?;
        Ok(())
    }
}

impl<T: Plain> Store for Vec<Vec<T>> {
    fn memory(&self) -> usize {
        self.iter().map(|list| size_of::<Vec<T>>() + list.memory()).sum()
    }

    fn save(&self, to: &mut StateWriter) -> Result<()> {
        to.put_numbers(&self.iter().map(Vec::len).collect::<Vec<_>>())?;
        to.put_numbers(&self.iter().flatten().copied().collect::<Vec<_>>())
    }

    fn load(&mut self, from: &mut StateReader) -> Result<()> {
        let lengths = from.take_numbers::<usize>()?;
        let mut all = from.take_numbers()?.into_iter();
        *self = lengths.into_iter().map(|length| all.by_ref().take(length).collect()).collect();
        Ok(())
    }
}

/// A small value, as a store.
pub struct Value<'a, T>(pub &'a mut T);

impl<T: Serialize + DeserializeOwned> Store for Value<'_, T> {
    fn memory(&self) -> usize {
        size_of::<T>()
    }

    fn save(&self, to: &mut StateWriter) -> Result<()> {
        to.put_value(self.0)
    }

    fn load(&mut self, from: &mut StateReader) -> Result<()> {
        *self.0 = from.take_value()?;
        Ok(())
    }
}

/// Bytes that stay in memory, of what follows from other stores and is in no image.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub usize);

impl Store for Fixed {
    fn memory(&self) -> usize {
        self.0
    }

    fn save(&self, _: &mut StateWriter) -> Result<()> {
        Ok(())
    }

    fn load(&mut self, _: &mut StateReader) -> Result<()> {
        Ok(())
    }
}

/// Changes as they came, as a store.
pub struct Deltas<'a>(pub &'a mut Vec<Delta>);

impl Store for Deltas<'_> {
    fn memory(&self) -> usize {
        self.0.iter().map(Delta::bytes).sum()
    }

    fn rows(&self) -> usize {
        self.0.iter().map(Delta::len).sum()
    }

    fn save(&self, to: &mut StateWriter) -> Result<()> {
        to.put_value(&self.0.len())?;
        self.0.iter().try_for_each(|delta| to.put_delta(delta))
    }

    fn load(&mut self, from: &mut StateReader) -> Result<()> {
        let count = from.take_value::<usize>()?;
        *self.0 = (0..count).map(|_| from.take_delta()).collect::<Result<_>>()?;
        Ok(())
    }
}

/// Saves all stores that `stores` shows.
pub fn save_all(stores: impl FnOnce(&mut Visit<'_>), to: &mut StateWriter) -> Result<()> {
    each(stores, |store| store.save(to))
}

/// Loads all stores that `stores` shows.
pub fn load_all(stores: impl FnOnce(&mut Visit<'_>), from: &mut StateReader) -> Result<()> {
    each(stores, |store| store.load(from))
}

/// Does something with all stores, up to the first that fails.
fn each(
    stores: impl FnOnce(&mut Visit<'_>),
    mut act: impl FnMut(&mut dyn Store) -> Result<()>,
) -> Result<()> {
    let mut outcome = Ok(());
    stores(&mut |store| {
        if outcome.is_ok() {
            outcome = act(store);
        }
    });
    outcome
}

/// Fails with that reason unless something holds of a loaded state.
pub(super) fn ensure(holds: bool, reason: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Misfit(reason.to_owned())) }
}
