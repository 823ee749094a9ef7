//! Byte strings under dense slot numbers, without an allocation per string.
//!
//! # Semantics
//! [`Slab::insert`] copies a string and returns its slot; a removed slot is given out again. So
//! slots stay dense, and facts about a string can live in vectors indexed by slot. A clone costs
//! what the places cost: it shares the strings.
//!
//! # State
//! Strings are packed into chunks of 256 KiB. A chunk whose last string is removed is freed at
//! once, which is all a window needs, since its rows leave in the order they came. When more than
//! half of all bytes are dead, what is left in chunks that are mostly dead is copied into new ones.
//!
//! Full chunks may be spilled: those first that nobody has looked into since the last time (the
//! clock algorithm, a second chance for each). A spilled string is read from the file whenever it
//! is looked at, into a buffer that lives until the next change; the page cache decides what that
//! costs. What is spilled never comes back as a chunk, but what is written again does.
//!
//! # Cost
//! One copy per string, 12 bytes beside its own, at most twice the live bytes. Compaction is
//! amortised: it copies fewer bytes than were removed since the last one.
//!
//! # Images
//! Places are copied, chunks shared: what is spilled, or full, is written as it is. The slots stay
//! what they are.
//!
//! # Panics
//! [`Slab::get`] panics with a [`Lost`] if a spilled string cannot be read: whoever computes with
//! it cannot go on, and what the file held is only a copy.

use std::cell::Cell;
use std::io;
use std::panic::panic_any;
use std::sync::Arc;

use bumpalo::Bump;

use super::scratch::{Extent, Scratch};
use super::state::{KnownHash, Page, Plain, Result, StateReader, StateWriter};
use super::store::{Lost, Store, ensure};

/// Not a slot.
pub const NONE: u32 = u32::MAX;

/// Bytes after which a chunk is full: large enough that its header is free, small enough that one
/// forgotten string holds back little.
const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes of strings read from the file that are kept until the next change.
const FETCHED_BYTES: usize = 64 * 1024;

/// Byte strings under dense slot numbers.
#[derive(Debug, Default)]
pub struct Slab {
    /// Packed strings; a freed chunk is empty and stands in `spare`.
    chunks: Vec<Chunk>,
    /// Where the string of a slot is; a free slot's `chunk` is `NONE`.
    places: Vec<Place>,
    /// Free slots; the last one is given out next.
    free: Vec<u32>,
    /// Freed chunks.
    spare: Vec<u32>,
    /// The chunk being filled, if any.
    open: Option<u32>,
    live_bytes: usize,
    dead_bytes: usize,
    spilled_bytes: usize,
    /// The chunk that is looked at next for spilling.
    hand: usize,
    /// Spilled strings that were looked at.
    fetched: Bump,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    bytes: Bytes,
    /// The hash of the bytes, once an image has it.
    hash: KnownHash,
    /// Number of live strings in it.
    live: u32,
    /// Bytes of removed strings.
    dead: usize,
    /// Whether it was looked into since the hand passed it.
    used: Cell<bool>,
}

/// The strings of a chunk, one behind the other.
#[derive(Clone, Debug)]
enum Bytes {
    Here(Arc<Vec<u8>>),
    Spilled(Arc<Extent>),
}

#[derive(Clone, Copy, Debug)]
struct Place {
    chunk: u32,
    offset: u32,
    length: u32,
}

impl Plain for Place {
    const WIDTH: usize = <[u32; 3]>::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        [self.chunk, self.offset, self.length].put(to);
    }

    fn get(from: &[u8]) -> Self {
        let [chunk, offset, length] = Plain::get(from);
        Self { chunk, offset, length }
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes::Here(Arc::default())
    }
}

impl Bytes {
    fn len(&self) -> usize {
        match self {
            Bytes::Here(bytes) => bytes.len(),
            Bytes::Spilled(extent) => extent.length(),
        }
    }

    /// Bytes in the file.
    fn spilled(&self) -> usize {
        match self {
            Bytes::Here(_) => 0,
            Bytes::Spilled(extent) => extent.length(),
        }
    }
}

impl Slab {
    /// Copies `bytes` in and returns their slot.
    pub fn insert(&mut self, bytes: &[u8]) -> u32 {
        self.forget_fetched();
        let place = self.append(bytes);
        self.live_bytes += bytes.len();
        match self.free.pop() {
            Some(slot) => {
                self.places[slot as usize] = place;
                slot
            }
            None => {
                let slot = u32::try_from(self.places.len()).expect("fewer than 2^32 rows per slab");
                assert_ne!(slot, NONE, "fewer than 2^32 - 1 rows per slab");
                self.places.push(place);
                slot
            }
        }
    }

    /// Returns the string of a live slot.
    #[inline]
    pub fn get(&self, slot: u32) -> &[u8] {
        self.at(self.places[slot as usize], &self.fetched)
    }

    /// Returns the strings of live slots; what is spilled is read into `fetched`.
    pub fn all<'a>(
        &'a self,
        slots: &'a [u32],
        fetched: &'a Bump,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        slots.iter().map(|slot| self.at(self.places[*slot as usize], fetched))
    }

    #[inline]
    fn at<'a>(&'a self, place: Place, fetched: &'a Bump) -> &'a [u8] {
        let chunk = &self.chunks[place.chunk as usize];
        let (offset, length) = (place.offset as usize, place.length as usize);
        match &chunk.bytes {
            Bytes::Here(bytes) => {
                chunk.used.set(true);
                &bytes[offset..offset + length]
            }
            Bytes::Spilled(extent) => fetch(extent, offset, length, fetched),
        }
    }

    /// Forgets spilled strings that were looked at, once they are many.
    fn forget_fetched(&mut self) {
        if self.spilled_bytes > 0 && self.fetched.allocated_bytes() > FETCHED_BYTES {
            self.fetched.reset();
        }
    }

    /// Forgets the string of a live slot.
    pub fn remove(&mut self, slot: u32) {
        let place = std::mem::replace(
            &mut self.places[slot as usize],
            Place { chunk: NONE, offset: 0, length: 0 },
        );
        assert_ne!(place.chunk, NONE, "a slot is removed once");
        self.free.push(slot);
        self.live_bytes -= place.length as usize;
        self.dead_bytes += place.length as usize;
        let chunk = &mut self.chunks[place.chunk as usize];
        chunk.live -= 1;
        chunk.dead += place.length as usize;
        if chunk.live == 0 {
            self.empty(place.chunk);
        } else if self.dead_bytes > self.live_bytes + CHUNK_BYTES {
            self.compact();
        }
    }

    /// Takes away the dead bytes of a chunk without live ones.
    fn empty(&mut self, index: u32) {
        let chunk = &mut self.chunks[index as usize];
        self.dead_bytes -= std::mem::take(&mut chunk.dead);
        if self.open == Some(index) {
            if let Bytes::Here(packed) = &mut chunk.bytes
                && let Some(packed) = Arc::get_mut(packed)
            {
                packed.clear();
                chunk.hash = KnownHash::default();
                return;
            }
            self.open = None;
        }
        self.spilled_bytes -= chunk.bytes.spilled();
        chunk.bytes = Bytes::default();
        self.spare.push(index);
    }

    /// Whether the slot holds a string.
    #[inline]
    pub fn contains(&self, slot: u32) -> bool {
        self.places.get(slot as usize).is_some_and(|place| place.chunk != NONE)
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the greatest slot ever used.
    pub fn bound(&self) -> usize {
        self.places.len()
    }

    /// Live slots, ascending.
    pub fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        let slots = 0..u32::try_from(self.places.len()).expect("slots are u32");
        slots.filter(|slot| self.contains(*slot))
    }

    fn append(&mut self, bytes: &[u8]) -> Place {
        let length = u32::try_from(bytes.len()).expect("a row is smaller than 4 GiB");
        if let Some(index) = self.open
            && let Chunk { bytes: Bytes::Here(packed), hash, live, .. } =
                &mut self.chunks[index as usize]
            && packed.len() + bytes.len() <= CHUNK_BYTES
            // A clone of the slab keeps what it shares.
            && let Some(packed) = Arc::get_mut(packed)
        {
            let offset = u32::try_from(packed.len()).expect("a chunk is smaller than 4 GiB");
            packed.extend_from_slice(bytes);
            if hash.get().is_some() {
                *hash = KnownHash::default();
            }
            *live += 1;
            return Place { chunk: index, offset, length };
        }
        let packed = Bytes::Here(Arc::new(bytes.to_vec()));
        let (hash, used) = (KnownHash::default(), Cell::new(true));
        let chunk = Chunk { bytes: packed, hash, live: 1, dead: 0, used };
        let index = match self.spare.pop() {
            Some(index) => {
                self.chunks[index as usize] = chunk;
                index
            }
            None => {
                self.chunks.push(chunk);
                u32::try_from(self.chunks.len() - 1).expect("fewer than 2^32 chunks")
            }
        };
        self.open = Some(index);
        Place { chunk: index, offset: 0, length }
    }

    /// Copies what is left in chunks that are mostly dead into new ones.
    fn compact(&mut self) {
        let mostly_dead = |chunk: &Chunk| chunk.live > 0 && chunk.dead * 2 > chunk.bytes.len();
        let sparse: Vec<bool> = self.chunks.iter().map(mostly_dead).collect();
        self.open = self.open.filter(|index| !sparse[*index as usize]);
        for slot in 0..self.places.len() {
            let place = self.places[slot];
            if place.chunk == NONE
                || !sparse.get(place.chunk as usize).is_some_and(|sparse| *sparse)
            {
                continue;
            }
            let bytes = self.at(place, &self.fetched).to_vec();
            self.forget_fetched();
            self.places[slot] = self.append(&bytes);
            let chunk = &mut self.chunks[place.chunk as usize];
            chunk.live -= 1;
            chunk.dead += bytes.len();
            self.dead_bytes += bytes.len();
            if chunk.live == 0 {
                self.empty(place.chunk);
            }
        }
    }
}

#[cold]
fn fetch<'a>(extent: &Extent, offset: usize, length: usize, into: &'a Bump) -> &'a [u8] {
    let bytes = into.alloc_slice_fill_copy(length, 0);
    if let Err(error) = extent.read(offset, bytes) {
        panic_any(Lost(error));
    }
    bytes
}

impl Clone for Slab {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            places: self.places.clone(),
            free: self.free.clone(),
            spare: self.spare.clone(),
            open: self.open,
            live_bytes: self.live_bytes,
            dead_bytes: self.dead_bytes,
            spilled_bytes: self.spilled_bytes,
            hand: self.hand,
            fetched: Bump::new(),
        }
    }
}

impl Store for Slab {
    fn memory(&self) -> usize {
        let strings = self.live_bytes + self.dead_bytes - self.spilled_bytes;
        strings + self.places.len() * size_of::<Place>() + self.fetched.allocated_bytes()
    }

    fn spilled(&self) -> usize {
        self.spilled_bytes
    }

    fn spill(&mut self, scratch: &Arc<Scratch>, bytes: usize) -> io::Result<usize> {
        self.fetched = Bump::new();
        let mut done = 0;
        // In the second round no chunk has another chance.
        for _ in 0..2 * self.chunks.len() {
            if done >= bytes {
                break;
            }
            self.hand = (self.hand + 1) % self.chunks.len();
            let chunk = &mut self.chunks[self.hand];
            let Bytes::Here(packed) = &chunk.bytes else { continue };
            let open = self.open.is_some_and(|open| open as usize == self.hand);
            if open || chunk.live == 0 || chunk.used.replace(false) {
                continue;
            }
            let length = packed.len();
            chunk.bytes = Bytes::Spilled(Arc::new(scratch.write(packed)?));
            self.spilled_bytes += length;
            done += length;
        }
        Ok(done)
    }

    fn rows(&self) -> usize {
        self.len()
    }

    fn save(&self, to: &mut StateWriter) -> Result<()> {
        to.put_numbers(&self.places)?;
        to.put_numbers(&self.free)?;
        to.put_numbers(&self.spare)?;
        to.put_numbers(&self.chunks.iter().map(|c| (c.live, c.dead)).collect::<Vec<_>>())?;
        let open = self.open.filter(|_| self.live_bytes > 0);
        to.put_numbers(&[open])?;
        for chunk in self.chunks.iter().filter(|chunk| chunk.live > 0) {
            to.put_page(match &chunk.bytes {
                Bytes::Here(bytes) => Page::shared(bytes, &chunk.hash),
                Bytes::Spilled(extent) => Page::spilled(extent, &chunk.hash),
            })?;
        }
        Ok(())
    }

    fn load(&mut self, from: &mut StateReader) -> Result<()> {
        let places = from.take_numbers::<Place>()?;
        let (free, spare) = (from.take_numbers()?, from.take_numbers()?);
        let counts: Vec<(u32, usize)> = from.take_numbers()?;
        let open = from.take_numbers::<Option<u32>>()?;
        let mut chunks = Vec::with_capacity(counts.len());
        for (live, dead) in counts {
            let (bytes, hash) = if live > 0 { from.take_page()? } else { Default::default() };
            let (bytes, used) = (Bytes::Here(Arc::new(bytes)), Cell::new(false));
            chunks.push(Chunk { bytes, hash, live, dead, used });
        }
        let live_places = || places.iter().filter(|place| place.chunk != NONE);
        let fits = |place: &Place| {
            let end = place.offset as usize + place.length as usize;
            chunks.get(place.chunk as usize).is_some_and(|chunk| end <= chunk.bytes.len())
        };
        ensure(live_places().all(fits), "a row lies outside of its chunk")?;
        let open = open.first().copied().flatten();
        *self = Self {
            live_bytes: live_places().map(|place| place.length as usize).sum(),
            dead_bytes: chunks.iter().map(|chunk| chunk.dead).sum(),
            open: open.filter(|open| (*open as usize) < chunks.len()),
            chunks,
            places,
            free,
            spare,
            ..Self::default()
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(i: u32) -> Vec<u8> {
        i.to_be_bytes().repeat(4)
    }

    #[test]
    fn spilled_strings_are_read_removed_and_compacted_like_others() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path()).unwrap();
        let mut slab = Slab::default();
        let slots: Vec<u32> = (0..200_000).map(|i| slab.insert(&numbered(i))).collect();
        let held = slab.memory();
        let spilled = slab.spill(&scratch, 1_000_000).unwrap();
        assert!((1_000_000..1_000_000 + CHUNK_BYTES).contains(&spilled), "{spilled}");
        assert_eq!((slab.spilled(), slab.memory()), (spilled, held - spilled));
        let frozen = slab.clone();
        slab.spill(&scratch, usize::MAX).unwrap();
        assert!(slab.spilled() >= 200_000 * 16 - CHUNK_BYTES, "{}", slab.spilled());
        let is = |slab: &Slab, i: usize| assert_eq!(slab.get(slots[i]), numbered(i as u32), "{i}");
        (0..200_000).for_each(|i| is(&slab, i));
        (0..200_000).filter(|i| i % 16 != 0).for_each(|i| slab.remove(slots[i]));
        assert!(slab.dead_bytes <= slab.live_bytes + CHUNK_BYTES, "{}", slab.dead_bytes);
        (0..200_000).step_by(16).for_each(|i| is(&slab, i));
        // A clone is what the slab was.
        (0..200_000).for_each(|i| is(&frozen, i));
        (0..200_000).step_by(16).for_each(|i| slab.remove(slots[i]));
        assert_eq!((slab.spilled(), slab.dead_bytes, slab.live_bytes), (0, 0, 0));
        drop(frozen);
        assert_eq!(scratch.used(), 0);
    }

    #[test]
    fn a_loaded_slab_is_what_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path()).unwrap();
        let mut slab = Slab::default();
        let slots: Vec<u32> = (0..100_000).map(|i| slab.insert(&numbered(i))).collect();
        slab.spill(&scratch, 600_000).unwrap();
        (0..60_000).for_each(|i| slab.remove(slots[i]));
        let mut saved = StateWriter::default();
        slab.save(&mut saved).unwrap();
        // What happens from now on is not in the image.
        (60_000..99_000).for_each(|i| slab.remove(slots[i]));
        for i in 0..50_000 {
            slab.insert(&numbered(i));
        }
        let mut loaded = Slab::default();
        loaded.load(&mut StateReader::of(saved)).unwrap();
        assert_eq!((loaded.len(), loaded.bound()), (40_000, 100_000));
        (60_000..100_000).for_each(|i| assert_eq!(loaded.get(slots[i]), numbered(i as u32)));
        assert_eq!(loaded.insert(b"x"), slots[59_999]);
        (60_000..100_000).for_each(|i| loaded.remove(slots[i]));
        assert_eq!((loaded.live_bytes, loaded.get(slots[59_999])), (1, &b"x"[..]));
    }

    #[test]
    fn chunks_that_are_looked_into_stay() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path()).unwrap();
        let mut slab = Slab::default();
        let slots: Vec<u32> = (0..200_000).map(|i| slab.insert(&numbered(i))).collect();
        // The first round takes the chance that filling them gave.
        slab.spill(&scratch, 1).unwrap();
        let here = |slab: &Slab, slot: u32| {
            let place = slab.places[slot as usize];
            matches!(slab.chunks[place.chunk as usize].bytes, Bytes::Here(_))
        };
        assert!(here(&slab, slots[0]) && here(&slab, slots[40_000]));
        slab.get(slots[0]);
        slab.spill(&scratch, 2_000_000).unwrap();
        assert!(here(&slab, slots[0]) && !here(&slab, slots[40_000]));
    }

    #[test]
    fn a_clone_keeps_what_it_has_while_the_slab_goes_on() {
        let mut slab = Slab::default();
        let a = slab.insert(b"a");
        let frozen = slab.clone();
        let b = slab.insert(b"b");
        slab.remove(a);
        assert_eq!((frozen.get(a), frozen.len()), (&b"a"[..], 1));
        assert_eq!((slab.get(b), slab.contains(a)), (&b"b"[..], false));
    }

    #[test]
    fn removed_slot_is_given_out_again() {
        let mut slab = Slab::default();
        let a = slab.insert(b"a");
        let b = slab.insert(b"bb");
        slab.remove(a);
        assert_eq!(slab.insert(b"ccc"), a);
        assert_eq!((slab.get(a), slab.get(b)), (&b"ccc"[..], &b"bb"[..]));
        assert_eq!((slab.len(), slab.bound()), (2, 2));
    }

    #[test]
    fn compaction_keeps_strings_and_frees_dead_bytes() {
        let mut slab = Slab::default();
        let rows: Vec<Vec<u8>> = (0..200_000u32).map(|i| i.to_be_bytes().repeat(4)).collect();
        let slots: Vec<u32> = rows.iter().map(|row| slab.insert(row)).collect();
        for slot in slots.iter().filter(|slot| **slot % 16 != 0) {
            slab.remove(*slot);
        }
        assert!(slab.dead_bytes <= slab.live_bytes + CHUNK_BYTES, "{}", slab.dead_bytes);
        for slot in slots.iter().filter(|slot| **slot % 16 == 0) {
            assert_eq!(slab.get(*slot), rows[*slot as usize]);
        }
    }

    #[test]
    fn chunks_without_strings_are_freed_without_copying() {
        let mut slab = Slab::default();
        for _ in 0..8 {
            let slots: Vec<u32> = (0..10_000).map(|_| slab.insert(&[7; 100])).collect();
            slots.into_iter().for_each(|slot| slab.remove(slot));
        }
        assert!(slab.is_empty());
        assert!(slab.chunks.len() <= 5, "{}", slab.chunks.len());
        assert_eq!((slab.live_bytes, slab.dead_bytes), (0, 0));
    }

    #[test]
    fn row_larger_than_a_chunk_has_its_own() {
        let mut slab = Slab::default();
        let small = slab.insert(b"x");
        let large = slab.insert(&vec![1; CHUNK_BYTES * 2]);
        assert_eq!(slab.get(large).len(), CHUNK_BYTES * 2);
        assert_eq!(slab.get(small), b"x");
    }
}
