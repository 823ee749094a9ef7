//! What stores hold, on its way into an image and out of it.
//!
//! # Semantics
//! A [`StateWriter`] takes items, which a [`StateReader`] gives back in the same order and of the
//! same kinds; anything else is a [`Misfit`]. Small items stand in one string of bytes, one behind
//! the other; large ones are *pages* beside it, which are shared with the store that they come from
//! where that is possible: taking an image copies numbers, but no rows. Turning pages into bytes
//! ([`Page::read`]) is left to whoever writes the image, while the store goes on; so is their hash,
//! which the store then knows as well, for as long as the bytes are the same.
//!
//! # Format
//! ```text
//!   item      kind (1 byte)   bytes behind it
//!   value     v               length (8), JSON
//!   numbers   n               width of one (1), how many (8); then blobs of at most 64 KiB
//!   blob      b / p           length (8), bytes / nothing: the next page
//! ```
//! Numbers are little-endian. Rows are a blob: a stream of Arrow's IPC format of one batch.

use std::borrow::Cow;
use std::io::Cursor;
use std::sync::{Arc, OnceLock};

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

/// The BLAKE3 hash of a page.
pub type PageHash = [u8; 32];

/// The hash of bytes, once somebody has computed it.
pub type KnownHash = Arc<OnceLock<PageHash>>;

/// A large part of a state.
#[derive(Clone, Debug)]
pub struct Page {
    body: Body,
    hash: KnownHash,
}

#[derive(Clone, Debug)]
enum Body {
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
    /// A page of bytes.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self { body: Body::Bytes(bytes), hash: KnownHash::default() }
    }

    /// A page of rows.
    pub fn rows(rows: RecordBatch, hash: &KnownHash) -> Self {
        Self { body: Body::Rows(rows), hash: Arc::clone(hash) }
    }

    /// A page of bytes that a store holds as well. They stay as they are, and so does their hash,
    /// for as long as the page is there.
    pub fn shared(bytes: &Arc<Vec<u8>>, hash: &KnownHash) -> Self {
        Self { body: Body::Shared(Arc::clone(bytes)), hash: Arc::clone(hash) }
    }

    /// A page of bytes in the scratch file.
    pub fn spilled(extent: &Arc<Extent>, hash: &KnownHash) -> Self {
        Self { body: Body::Spilled(Arc::clone(extent)), hash: Arc::clone(hash) }
    }

    /// The hash, if it has been computed before.
    pub fn known_hash(&self) -> Option<PageHash> {
        self.hash.get().copied()
    }

    /// Hands on its bytes and their hash. Fails if what was spilled cannot be read.
    pub fn read<T>(&self, f: impl FnOnce(&[u8], PageHash) -> T) -> Result<T> {
        let bytes = self.content()?;
        let hash = self.hash.get_or_init(|| *blake3::hash(&bytes).as_bytes());
        Ok(f(&bytes, *hash))
    }

    fn content(&self) -> Result<Cow<'_, [u8]>> {
        match &self.body {
            Body::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Body::Shared(bytes) => Ok(Cow::Borrowed(bytes)),
            Body::Spilled(extent) => {
                let mut bytes = vec![0; extent.length()];
                extent.read(0, &mut bytes).map_err(|error| Misfit(error.to_string()))?;
                Ok(Cow::Owned(bytes))
            }
            Body::Rows(rows) => rows_to_bytes(rows).map(Cow::Owned).map_err(misfit),
        }
    }

    /// Bytes that it takes, about.
    fn length(&self) -> usize {
        match &self.body {
            Body::Bytes(bytes) => bytes.len(),
            Body::Shared(bytes) => bytes.len(),
            Body::Spilled(extent) => extent.length(),
            Body::Rows(rows) => rows.get_array_memory_size(),
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
            self.put_page(Page::bytes(bytes))?;
        }
        Ok(())
    }

    /// Adds numbers that stand in one blob, however many they are.
    pub fn put_inline<T: Plain>(&mut self, numbers: &[T]) {
        self.items.extend([b'n', width::<T>()]);
        self.put_length(numbers.len());
        if !numbers.is_empty() {
            self.items.push(b'b');
            self.put_length(numbers.len() * T::WIDTH);
            numbers.iter().for_each(|number| number.put(&mut self.items));
        }
    }

    /// Adds rows.
    pub fn put_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        self.put_page(Page::rows(rows.clone(), &KnownHash::default()))
    }

    /// Adds changes, with their instants and weights.
    pub fn put_delta(&mut self, delta: &Delta) -> Result<()> {
        self.put_rows(&codec::encode(delta).map_err(misfit)?)
    }

    /// Adds a blob.
    pub fn put_page(&mut self, page: Page) -> Result<()> {
        if page.length() >= INLINE_BYTES {
            self.items.push(b'p');
            self.pages.push(page);
            return Ok(());
        }
        self.items.push(b'b');
        let bytes = page.content()?;
        self.put_length(bytes.len());
        self.items.extend_from_slice(&bytes);
        Ok(())
    }

    fn put_length(&mut self, length: usize) {
        self.items.extend_from_slice(&(length as u64).to_le_bytes());
    }
}

/// Gives back what a [`StateWriter`] took.
pub struct StateReader {
    items: Cursor<Vec<u8>>,
    pages: Pages,
}

/// Pages of a state as they are read, with what is known of their hashes.
pub type Pages = Box<dyn Iterator<Item = Result<(Vec<u8>, KnownHash)>> + Send>;

impl StateReader {
    /// Reads a state without pages from its items.
    pub fn new(items: Vec<u8>) -> Self {
        Self { items: Cursor::new(items), pages: Box::new(std::iter::empty()) }
    }

    /// Reads a state from its items and pages.
    #[must_use]
    pub fn with_pages(self, pages: Pages) -> Self {
        Self { pages, ..self }
    }

    /// Reads what was written.
    pub fn of(written: StateWriter) -> Self {
        let read = |page: Page| page.read(|bytes, _| (bytes.to_vec(), Arc::clone(&page.hash)));
        Self::new(written.items).with_pages(Box::new(written.pages.into_iter().map(read)))
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
        Ok(self.take_page()?.0)
    }

    /// Takes a blob, with what is known of its hash.
    pub fn take_page(&mut self) -> Result<(Vec<u8>, KnownHash)> {
        match self.take_kind(b"bp", "bytes")? {
            b'b' => {
                let length = self.take_length()?;
                Ok((self.take(length)?, KnownHash::default()))
            }
            _ => {
                let page = self.pages.next();
                page.unwrap_or_else(|| Err(Misfit("a page is missing".to_owned())))
            }
        }
    }

    /// Fails if something is left.
    pub fn finish(&mut self) -> Result<()> {
        if self.items.has_remaining() || self.pages.next().is_some() {
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
        writer.put_page(Page::bytes(large.clone())).unwrap();
        writer.put_numbers(&[[1.5, f64::NEG_INFINITY]]).unwrap();
        assert_eq!(writer.pages.len(), 1 + (20_000 * 13usize).div_ceil(PAGE_BYTES));
        let mut reader = StateReader::of(writer);
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
            let mut reader = StateReader::new(writer.items.clone());
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
