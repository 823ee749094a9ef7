//! What stores hold, on its way into an image and out of it.
//!
//! # Semantics
//! A [`StateWriter`] takes items, which a [`StateReader`] gives back in the same order and of the
//! same kinds; anything else is a [`Misfit`]. Small items stand in one string of bytes, one behind
//! the other; large ones are *pages* beside it, which are shared with the store that they come from
//! where that is possible: taking an image copies numbers, but no rows. Turning pages into bytes
//! ([`Page::into_bytes`]) is left to whoever writes the image, while the store goes on.
//!
//! # Format
//! ```text
//!   item      kind (1 byte)   bytes behind it
//!   value     v               length (8), JSON
//!   numbers   n               width of one (1), how many (8); then blobs of at most 64 KiB
//!   blob      b / p           length (8), bytes / nothing: the next page
//! ```
//! Numbers are little-endian. Rows are a blob: a stream of Arrow's IPC format of one batch.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::i256;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Buf;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::archive::Stored;
use super::scratch::Extent;
use crate::delta::{Delta, codec};

/// Bytes of numbers in a page: few enough that one changed number costs little.
const PAGE_BYTES: usize = 64 * 1024;

/// Bytes from which a blob is a page of its own.
const INLINE_BYTES: usize = 4 * 1024;

/// A saved state does not fit what it is loaded into.
#[derive(Debug, thiserror::Error)]
#[error("a saved state does not fit: {0}")]
pub struct Misfit(pub String);

/// Result of writing or reading a state.
pub type Result<T, E = Misfit> = std::result::Result<T, E>;

/// A large part of a state.
#[derive(Clone, Debug)]
pub enum Page {
    /// Bytes of its own.
    Bytes(Vec<u8>),
    /// Bytes that a store may still hold as well.
    Shared(Arc<Vec<u8>>),
    /// Bytes in the scratch file.
    Spilled(Arc<Extent>),
    /// Rows, to be written as a stream of Arrow's IPC format.
    Rows(RecordBatch),
}

impl Page {
    /// Returns its bytes. Fails if what was spilled cannot be read.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        match self {
            Page::Bytes(bytes) => Ok(bytes),
            Page::Shared(bytes) => Ok(Arc::unwrap_or_clone(bytes)),
            Page::Spilled(extent) => {
                let mut bytes = vec![0; extent.length()];
                extent.read(0, &mut bytes).map_err(|error| Misfit(error.to_string()))?;
                Ok(bytes)
            }
            Page::Rows(rows) => rows_to_bytes(&rows).map_err(misfit),
        }
    }

    /// Bytes that it takes at least, where that is known.
    fn length(&self) -> usize {
        match self {
            Page::Bytes(bytes) => bytes.len(),
            Page::Shared(bytes) => bytes.len(),
            Page::Spilled(extent) => extent.length(),
            Page::Rows(rows) => rows.get_array_memory_size(),
        }
    }
}

/// Takes what stores hold.
#[derive(Debug, Default)]
pub struct StateWriter {
    /// The small items, and where the pages belong.
    pub items: Vec<u8>,
    /// The large ones, in order.
    pub pages: Vec<Page>,
    /// Files that the items name, which have to be there for as long as they may be read.
    pub files: Vec<Arc<Stored>>,
}

impl StateWriter {
    /// Adds a value.
    pub fn put_value(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(value).map_err(|error| Misfit(error.to_string()))?;
        self.items.push(b'v');
        self.put_length(text.len());
        self.items.extend_from_slice(&text);
        Ok(())
    }

    /// Adds numbers.
    pub fn put_numbers<T: Plain>(&mut self, numbers: &[T]) -> Result<()> {
        self.items.extend([b'n', width::<T>()]);
        self.put_length(numbers.len());
        for part in numbers.chunks(PAGE_BYTES / T::WIDTH) {
            let mut bytes = Vec::with_capacity(part.len() * T::WIDTH);
            part.iter().for_each(|number| number.put(&mut bytes));
            self.put_page(Page::Bytes(bytes))?;
        }
        Ok(())
    }

    /// Adds rows.
    pub fn put_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        self.put_page(Page::Rows(rows.clone()))
    }

    /// Adds changes, with their instants and weights.
    pub fn put_delta(&mut self, delta: &Delta) -> Result<()> {
        self.put_page(Page::Rows(codec::encode(delta).map_err(misfit)?))
    }

    /// Adds a blob.
    pub fn put_page(&mut self, page: Page) -> Result<()> {
        if page.length() >= INLINE_BYTES {
            self.items.push(b'p');
            self.pages.push(page);
            return Ok(());
        }
        let bytes = page.into_bytes()?;
        self.items.push(b'b');
        self.put_length(bytes.len());
        self.items.extend_from_slice(&bytes);
        Ok(())
    }

    fn put_length(&mut self, length: usize) {
        self.items.extend_from_slice(&(length as u64).to_le_bytes());
    }
}

/// Gives back what a [`StateWriter`] took.
#[derive(Debug, Default)]
pub struct StateReader {
    items: Cursor<Vec<u8>>,
    pages: VecDeque<Vec<u8>>,
}

impl StateReader {
    /// Reads a state from its items and pages.
    pub fn new(items: Vec<u8>, pages: Vec<Vec<u8>>) -> Self {
        Self { items: Cursor::new(items), pages: pages.into() }
    }

    /// Reads what was written.
    pub fn of(written: StateWriter) -> Result<Self> {
        let pages = written.pages.into_iter().map(Page::into_bytes);
        Ok(Self::new(written.items, pages.collect::<Result<_>>()?))
    }

    /// Takes a value.
    pub fn take_value<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.take_kind(b"v", "a value")?;
        let length = self.take_length()?;
        let text = self.take(length)?;
        serde_json::from_slice(&text).map_err(|error| Misfit(error.to_string()))
    }

    /// Takes numbers.
    pub fn take_numbers<T: Plain>(&mut self) -> Result<Vec<T>> {
        self.take_kind(b"n", "numbers")?;
        let found = self.take(1)?[0];
        if found != width::<T>() {
            return Err(Misfit(format!("numbers have {found} bytes and not {}", width::<T>())));
        }
        let count = self.take_length()?;
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let bytes = self.take_bytes()?;
            numbers.extend(bytes.chunks_exact(T::WIDTH).map(T::get));
            if bytes.is_empty() || numbers.len() > count {
                return Err(Misfit(format!("{count} numbers are not {}", numbers.len())));
            }
        }
        Ok(numbers)
    }

    /// Takes rows.
    pub fn take_rows(&mut self) -> Result<RecordBatch> {
        rows_of_bytes(self.take_bytes()?).map_err(misfit)
    }

    /// Takes changes.
    pub fn take_delta(&mut self) -> Result<Delta> {
        codec::decode(&self.take_rows()?).map_err(misfit)
    }

    /// Takes a blob.
    pub fn take_bytes(&mut self) -> Result<Vec<u8>> {
        match self.take_kind(b"bp", "bytes")? {
            b'b' => {
                let length = self.take_length()?;
                self.take(length)
            }
            _ => self.pages.pop_front().ok_or_else(|| Misfit("a page is missing".to_owned())),
        }
    }

    /// Fails if something is left.
    pub fn finish(&self) -> Result<()> {
        if self.items.has_remaining() || !self.pages.is_empty() {
            return Err(Misfit("there is more of it than expected".to_owned()));
        }
        Ok(())
    }

    fn take_kind(&mut self, of: &[u8], what: &str) -> Result<u8> {
        let kind = self.items.try_get_u8().map_err(|_| Misfit(format!("{what} is missing")))?;
        let known = of.contains(&kind).then_some(kind);
        known.ok_or_else(|| Misfit(format!("{what} is expected and not {:?}", char::from(kind))))
    }

    fn take_length(&mut self) -> Result<usize> {
        let length = self.items.try_get_u64_le().ok().and_then(|length| length.try_into().ok());
        length.ok_or_else(|| Misfit("a length is missing".to_owned()))
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        if self.items.remaining() < length {
            return Err(Misfit("it ends too early".to_owned()));
        }
        Ok(self.items.copy_to_bytes(length).to_vec())
    }
}

/// What is saved as it is, in so many bytes.
pub trait Plain: Copy {
    /// Its number of bytes.
    const WIDTH: usize;

    /// Appends its bytes.
    fn put(self, to: &mut Vec<u8>);

    /// Reads it from as many bytes.
    fn get(from: &[u8]) -> Self;
}

/// The width of a number, as an item has it.
fn width<T: Plain>() -> u8 {
    u8::try_from(T::WIDTH).expect("a number has few bytes")
}

macro_rules! plain_numbers {
    ($($of:ty),*) => {$(
        impl Plain for $of {
            const WIDTH: usize = size_of::<$of>();

            fn put(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn get(from: &[u8]) -> Self {
                Self::from_le_bytes(from.try_into().expect("it has its width"))
            }
        }
    )*};
}

plain_numbers!(u8, u32, u64, i64, i128, i256, f64, usize);

impl Plain for bool {
    const WIDTH: usize = 1;

    fn put(self, to: &mut Vec<u8>) {
        u8::from(self).put(to);
    }

    fn get(from: &[u8]) -> Self {
        u8::get(from) != 0
    }
}

impl<A: Plain, B: Plain> Plain for (A, B) {
    const WIDTH: usize = A::WIDTH + B::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        self.0.put(to);
        self.1.put(to);
    }

    fn get(from: &[u8]) -> Self {
        let (first, second) = from.split_at(A::WIDTH);
        (A::get(first), B::get(second))
    }
}

impl<T: Plain + Default, const N: usize> Plain for [T; N] {
    const WIDTH: usize = T::WIDTH * N;

    fn put(self, to: &mut Vec<u8>) {
        self.into_iter().for_each(|one| one.put(to));
    }

    fn get(from: &[u8]) -> Self {
        std::array::from_fn(|i| T::get(&from[i * T::WIDTH..][..T::WIDTH]))
    }
}

impl<T: Plain + Default> Plain for Option<T> {
    const WIDTH: usize = 1 + T::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        (self.is_some(), self.unwrap_or_default()).put(to);
    }

    fn get(from: &[u8]) -> Self {
        let (there, value) = <(bool, T)>::get(from);
        there.then_some(value)
    }
}

/// Rows as a stream of Arrow's IPC format.
pub(super) fn rows_to_bytes(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), rows.schema_ref())?;
    writer.write(rows)?;
    writer.into_inner()
}

/// Reads what [`rows_to_bytes`] returned.
pub(super) fn rows_of_bytes(bytes: Vec<u8>) -> Result<RecordBatch, ArrowError> {
    let rows = StreamReader::try_new(Cursor::new(bytes), None)?.next();
    rows.ok_or_else(|| ArrowError::IpcError("a stream of rows is empty".to_owned()))?
}

fn misfit(error: ArrowError) -> Misfit {
    Misfit(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::pretty::{parse, print};

    #[test]
    fn what_was_put_is_taken_in_the_same_order() {
        let delta = parse(" w | ts | k:text | v:int8\n+1 | 1  | a      | 1\n-2 | 3  | NULL   | 2");
        let many: Vec<(u32, Option<i64>)> =
            (0..20_000).map(|i| (i, (i % 3 > 0).then_some(-i64::from(i)))).collect();
        let large = vec![7; 3 * PAGE_BYTES];
        let mut writer = StateWriter::default();
        writer.put_value(&("x", 1)).unwrap();
        writer.put_numbers(&many).unwrap();
        writer.put_numbers::<bool>(&[]).unwrap();
        writer.put_delta(&delta).unwrap();
        writer.put_page(Page::Shared(Arc::new(large.clone()))).unwrap();
        writer.put_numbers(&[[1.5, f64::NEG_INFINITY]]).unwrap();
        assert_eq!(writer.pages.len(), 1 + (20_000 * 13usize).div_ceil(PAGE_BYTES));
        let mut reader = StateReader::of(writer).unwrap();
        assert_eq!(reader.take_value::<(String, i32)>().unwrap(), ("x".to_owned(), 1));
        assert_eq!(reader.take_numbers::<(u32, Option<i64>)>().unwrap(), many);
        assert!(reader.take_numbers::<bool>().unwrap().is_empty());
        assert_eq!(print(&reader.take_delta().unwrap()), print(&delta));
        assert_eq!(reader.take_bytes().unwrap(), large);
        assert!(reader.finish().is_err());
        let numbers = reader.take_numbers::<[f64; 2]>().unwrap();
        assert_eq!(numbers, [[1.5, f64::NEG_INFINITY]]);
        reader.finish().unwrap();
    }

    #[test]
    fn what_is_of_another_kind_does_not_fit() {
        let mut writer = StateWriter::default();
        writer.put_numbers(&[1_i64]).unwrap();
        let wrong = |read: fn(&mut StateReader) -> Result<()>| {
            let mut reader = StateReader::new(writer.items.clone(), vec![]);
            read(&mut reader).unwrap_err().0
        };
        let messages = [
            wrong(|from| from.take_value::<i64>().map(drop)),
            wrong(|from| from.take_numbers::<u32>().map(drop)),
            wrong(|from| from.take_numbers::<i64>().and(from.take_bytes()).map(drop)),
        ];
        expect_test::expect![[r#"
            [
                "a value is expected and not 'n'",
                "numbers have 8 bytes and not 4",
                "bytes is missing",
            ]
        "#]]
        .assert_debug_eq(&messages);
    }
}
