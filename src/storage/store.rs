//! What operators keep, as the memory limit sees it.

use std::io;
use std::sync::Arc;

use super::scratch::Scratch;

/// Something that takes memory, and may give some of it back.
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
}

/// What is called with every store of an operator.
pub type Visit<'a> = dyn FnMut(&mut dyn Store) + 'a;

/// Bytes that stay in memory.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub usize);

/// What was in the scratch file cannot be read: the payload of a panic.
#[derive(Debug)]
pub struct Lost(pub io::Error);

impl Store for Fixed {
    fn memory(&self) -> usize {
        self.0
    }
}

impl<T: Copy> Store for Vec<T> {
    fn memory(&self) -> usize {
        self.capacity() * size_of::<T>()
    }
}
