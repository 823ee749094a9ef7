//! Pages of images, in files that are written once.
//!
//! # Semantics
//! A page is known by the hash of its bytes. A [`Draft`] writes the pages of an image that are in
//! no file of the last one, and says of each where it is. So an image costs what has changed,
//! however large the state: rows that stay where they are in memory are in the same page as before.
//! What is read of a page is what was written, or an error that names the file.
//!
//! # Files
//! ```text
//!   image-17.pages    page page page ..      at most 32 MiB, unless one page has more
//! ```
//! A file stays as long as an image names it. Of a file that is mostly pages of earlier images, and
//! of the smallest where there are many, the pages are written again, so that it can go.
//!
//! # Cost
//! A hash of each page that the store cannot vouch for, some 1 GB/s; 76 bytes a page in memory. A
//! start opens a page's file for each page that it reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Archive, Description, Error, Result, Stored};
use crate::storage::state::{Page, PageHash, Plain};

/// The beginning of the files' names.
const OWNER: &str = "image";

/// What their names end in.
pub(super) const EXTENSION: &str = "pages";

/// Bytes from which a file is complete: few enough to be held in memory.
const FILE_BYTES: usize = 32 * 1024 * 1024;

/// Files from which on small ones are written again.
const FILES_MAX: usize = 64;

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRef {
    /// The hash of its bytes.
    pub hash: PageHash,
    /// The number of its file among those of the image.
    pub file: u32,
    offset: u32,
    length: u32,
}

impl Plain for PageRef {
    const WIDTH: usize = <(PageHash, [u32; 3])>::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        (self.hash, [self.file, self.offset, self.length]).put(to);
    }

    fn get(from: &[u8]) -> Self {
        let (hash, [file, offset, length]) = Plain::get(from);
        Self { hash, file, offset, length }
    }
}

/// The pages of an image.
#[derive(Debug, Default)]
pub struct Paged {
    /// The files that have them.
    pub files: Vec<Arc<Stored>>,
    /// Where each is.
    pub pages: BTreeMap<PageHash, PageRef>,
}

impl Paged {
    /// Reads a page, which the reference found in an image; fails if it is not what was written.
    pub fn read(&self, at: &PageRef) -> Result<Vec<u8>> {
        let PageRef { hash, file, offset, length } = *at;
        let stored = self.files.get(file as usize);
        let stored = stored.ok_or_else(|| Error::Nameless { pages_in: file })?;
        let mut bytes = vec![0; length as usize];
        let read = File::open(stored.path())
            .and_then(|file| file.read_exact_at(&mut bytes, u64::from(offset)));
        read.map_err(Error::io("read", stored.path()))?;
        if *blake3::hash(&bytes).as_bytes() != hash {
            return Err(stored.corrupt(format!("the page at byte {offset} is another one")));
        }
        Ok(bytes)
    }

    /// By file: whether its pages can stay where they are.
    fn lasting(&self) -> Vec<bool> {
        let mut live = vec![0_u64; self.files.len()];
        for page in self.pages.values() {
            live[page.file as usize] += u64::from(page.length);
        }
        let share = live.iter().sum::<u64>() / FILES_MAX as u64;
        let large = |live: u64| self.files.len() < FILES_MAX || live >= share;
        let files = self.files.iter().zip(live);
        files.map(|(file, live)| live * 2 >= file.description().bytes && large(live)).collect()
    }
}

/// The pages of the last image, which the next one need not write.
#[derive(Debug, Default)]
pub struct PageFiles {
    last: Mutex<Arc<Paged>>,
}

impl PageFiles {
    /// Says what the last image has.
    pub fn settle(&self, last: Arc<Paged>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    /// Begins to write the pages of an image.
    pub fn begin<'a>(&self, archive: &'a Archive) -> Draft<'a> {
        let last = Arc::clone(&self.last.lock().unwrap_or_else(PoisonError::into_inner));
        let (lasting, numbers) = (last.lasting(), vec![None; last.files.len()]);
        let (files, pages) = (Vec::new(), BTreeMap::new());
        Draft { archive, last, lasting, numbers, files, pages, open: None, written: 0 }
    }
}

/// Pages of an image that is being written.
pub struct Draft<'a> {
    archive: &'a Archive,
    last: Arc<Paged>,
    /// By file of the last image: whether it may be named, and its number in this one.
    lasting: Vec<bool>,
    numbers: Vec<Option<u32>>,
    /// The files of this image; of the one that is being filled nothing is here yet.
    files: Vec<Option<Arc<Stored>>>,
    pages: BTreeMap<PageHash, PageRef>,
    /// The file that is being filled, and its number.
    open: Option<(u32, Vec<u8>)>,
    written: u64,
}

impl Draft<'_> {
    /// Adds a page, unless it is there; says where it is. Blocks.
    pub fn add(&mut self, page: &Page) -> Result<PageRef> {
        if let Some(known) = page.known_hash().and_then(|hash| self.find(hash)) {
            return Ok(known);
        }
        page.read(|bytes, hash| match self.find(hash) {
            Some(known) => Ok(known),
            None => self.append(bytes, hash),
        })?
    }

    /// Where a page is, if it is in a file that stays.
    fn find(&mut self, hash: PageHash) -> Option<PageRef> {
        if let Some(known) = self.pages.get(&hash) {
            return Some(*known);
        }
        let there = *self.last.pages.get(&hash)?;
        let file = there.file as usize;
        if !self.lasting[file] {
            return None;
        }
        let number = match self.numbers[file] {
            Some(number) => number,
            None => {
                let number = file_number(self.files.len());
                self.files.push(Some(Arc::clone(&self.last.files[file])));
                self.numbers[file] = Some(number);
                number
            }
        };
        let here = PageRef { file: number, ..there };
        self.pages.insert(hash, here);
        Some(here)
    }

    fn append(&mut self, bytes: &[u8], hash: PageHash) -> Result<PageRef> {
        let (file, open) = self.open.get_or_insert_with(|| {
            self.files.push(None);
            (file_number(self.files.len() - 1), Vec::new())
        });
        let offset = u32::try_from(open.len()).expect("a file is completed before 4 GiB");
        let length = u32::try_from(bytes.len()).expect("a page is smaller than 4 GiB");
        let here = PageRef { hash, file: *file, offset, length };
        open.extend_from_slice(bytes);
        self.pages.insert(hash, here);
        if open.len() >= FILE_BYTES {
            self.complete()?;
        }
        Ok(here)
    }

    /// Writes the file that is being filled.
    fn complete(&mut self) -> Result<()> {
        let Some((number, bytes)) = self.open.take() else { return Ok(()) };
        self.written += bytes.len() as u64;
        self.files[number as usize] = Some(self.archive.put(OWNER, EXTENSION, &bytes, 0)?);
        Ok(())
    }

    /// Returns the pages of the image, all of which are on the disk, and how many bytes were
    /// written for it. Blocks.
    pub fn finish(mut self) -> Result<(Paged, u64)> {
        self.complete()?;
        let files = self.files.into_iter().flatten().collect();
        Ok((Paged { files, pages: self.pages }, self.written))
    }
}

fn file_number(files: usize) -> u32 {
    u32::try_from(files).expect("an image has fewer than 2^32 files")
}

/// What an image says of its files.
pub fn descriptions(files: &[Arc<Stored>]) -> Vec<Description> {
    files.iter().map(|file| file.description().clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn page(number: u32) -> Page {
        Page::bytes(number.to_le_bytes().repeat(16 * 1024))
    }

    /// An image of these pages.
    fn image(of: &PageFiles, archive: &Archive, numbers: impl IntoIterator<Item = u32>) -> u64 {
        let mut draft = of.begin(archive);
        let refs: Vec<(u32, PageRef)> =
            numbers.into_iter().map(|n| (n, draft.add(&page(n)).unwrap())).collect();
        let (paged, written) = draft.finish().unwrap();
        for (number, at) in refs {
            assert_eq!(paged.read(&at).unwrap(), number.to_le_bytes().repeat(16 * 1024));
        }
        of.settle(Arc::new(paged));
        archive.sweep();
        written
    }

    #[test]
    fn only_pages_that_are_new_are_written() {
        let dir = TempDir::new().unwrap();
        let (archive, files) = (Archive::open(dir.path()).unwrap(), PageFiles::default());
        const PAGE: u64 = 64 * 1024;
        assert_eq!(image(&files, &archive, (0..600).chain(0..600)), 600 * PAGE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(image(&files, &archive, 1..601), PAGE);
        assert_eq!(image(&files, &archive, 1..601), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        // Of a file of which little is left the rest is written again, once.
        assert_eq!(image(&files, &archive, 500..602), PAGE);
        assert_eq!(image(&files, &archive, 500..602), 12 * PAGE);
        assert_eq!(image(&files, &archive, 500..602), 0);
        assert_eq!(image(&files, &archive, []), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_do_not_become_ever_more() {
        let dir = TempDir::new().unwrap();
        let (archive, files) = (Archive::open(dir.path()).unwrap(), PageFiles::default());
        let written: u64 = (1..400).map(|n| image(&files, &archive, 0..n)).sum();
        assert!(fs::read_dir(dir.path()).unwrap().count() <= FILES_MAX + 1);
        assert!(written < 5 * 400 * 64 * 1024, "{written}");
    }

    #[test]
    fn a_damaged_page_is_not_read() {
        let dir = TempDir::new().unwrap();
        let (archive, files) = (Archive::open(dir.path()).unwrap(), PageFiles::default());
        let mut draft = files.begin(&archive);
        let at = [1, 2].map(|number| draft.add(&page(number)).unwrap());
        let (paged, _) = draft.finish().unwrap();
        let path = paged.files[0].path();
        let mut bytes = fs::read(path).unwrap();
        bytes[70_000] ^= 1;
        fs::write(path, bytes).unwrap();
        assert!(paged.read(&at[0]).is_ok());
        let error = paged.read(&at[1]).unwrap_err().to_string();
        assert!(error.contains("image-0.pages") && error.contains("is damaged"), "{error}");
    }
}
