//! Byte strings under dense slot numbers, without an allocation per string.
//!
//! # Semantics
//! [`Slab::insert`] copies a string and returns its slot; a removed slot is given out again. So
//! slots stay dense, and facts about a string can live in vectors indexed by slot.
//!
//! # State
//! Strings are packed into chunks of 256 KiB. A chunk whose last string is removed is freed at
//! once, which is all a window needs, since its rows leave in the order they came. When more than
//! half of all bytes are dead the rest is copied into new chunks.
//!
//! # Cost
//! One copy per string, 12 bytes beside its own, at most twice the live bytes. Compaction is
//! amortised: it copies fewer bytes than were removed since the last one.

/// Not a slot.
pub const NONE: u32 = u32::MAX;

/// Bytes after which a chunk is full: large enough that its header is free, small enough that one
/// forgotten string holds back little.
const CHUNK_BYTES: usize = 256 * 1024;

/// Byte strings under dense slot numbers.
#[derive(Debug, Default)]
pub struct Slab {
    /// Packed strings; a freed chunk is an empty vector and stands in `spare`.
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
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Number of live strings in it.
    live: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    chunk: u32,
    offset: u32,
    length: u32,
}

impl Slab {
    /// Copies `bytes` in and returns their slot.
    pub fn insert(&mut self, bytes: &[u8]) -> u32 {
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
        let place = self.places[slot as usize];
        let offset = place.offset as usize;
        &self.chunks[place.chunk as usize].bytes[offset..offset + place.length as usize]
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
        if chunk.live == 0 {
            self.dead_bytes -= chunk.bytes.len();
            if self.open == Some(place.chunk) {
                chunk.bytes.clear();
            } else {
                chunk.bytes = Vec::new();
                self.spare.push(place.chunk);
            }
        } else if self.dead_bytes > self.live_bytes + CHUNK_BYTES {
            self.compact();
        }
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

    /// Bytes held by strings and by the slab itself.
    pub fn memory(&self) -> usize {
        self.live_bytes + self.dead_bytes + self.places.len() * size_of::<Place>()
    }

    fn append(&mut self, bytes: &[u8]) -> Place {
        let index = match self.open {
            Some(open) if self.fits(open, bytes.len()) => open,
            _ => self.open_chunk(),
        };
        let chunk = &mut self.chunks[index as usize];
        let offset = u32::try_from(chunk.bytes.len()).expect("a chunk is smaller than 4 GiB");
        chunk.bytes.extend_from_slice(bytes);
        chunk.live += 1;
        let length = u32::try_from(bytes.len()).expect("a row is smaller than 4 GiB");
        Place { chunk: index, offset, length }
    }

    fn fits(&self, chunk: u32, length: usize) -> bool {
        let used = self.chunks[chunk as usize].bytes.len();
        used == 0 || used + length <= CHUNK_BYTES
    }

    fn open_chunk(&mut self) -> u32 {
        let index = self.spare.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            u32::try_from(self.chunks.len() - 1).expect("fewer than 2^32 chunks")
        });
        self.open = Some(index);
        index
    }

    fn compact(&mut self) {
        let old = std::mem::take(&mut self.chunks);
        self.spare.clear();
        self.open = None;
        self.dead_bytes = 0;
        for slot in 0..self.places.len() {
            let place = self.places[slot];
            if place.chunk != NONE {
                let offset = place.offset as usize;
                let bytes = &old[place.chunk as usize].bytes;
                self.places[slot] = self.append(&bytes[offset..offset + place.length as usize]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
