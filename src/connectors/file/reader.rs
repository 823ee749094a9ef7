//! One open file: bytes are read in large blocks and handed to the decoder of the format.
//!
//! # Semantics
//! A line that is longer than `max_line` is one bad record, and reading goes on behind its end. Of
//! such a line only the beginning is kept.
//!
//! # Cost
//! Each byte is looked at once for a line end, and the decoder sees the rest of the buffer only
//! when there is one. A record of many lines (CSV) is decoded anew when the buffer has doubled. So
//! memory and time are linear in the length of a record, and bounded by `max_line` and by a block.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::listing::file_name;
use super::settings::{FileFormat, Settings};
use crate::connectors::format::{
    Block, Decoded, Decoder, Mark, ParquetReader, bad_record, beginning, count,
};
use crate::connectors::{Error, Flaw, Result};
use arrow::datatypes::SchemaRef;

/// Bytes read at a time: some 10 000 rows, so that a batch is full, and a read takes about as long
/// as a disk needs to begin one.
const BLOCK_BYTES: usize = 2 << 20;

/// An open file of either kind.
pub enum Reader {
    /// A text format.
    Text(Box<TextReader>),
    /// Parquet.
    Parquet(Box<ParquetReader>),
}

impl Reader {
    /// Opens a file at a mark and reads its header, if that is written already. `rest` is what a
    /// reader before has left there. `last` says that the file will not grow.
    pub fn open(
        settings: &Settings,
        path: &Path,
        from: Mark,
        rest: Option<Rest>,
        last: bool,
    ) -> Result<Self> {
        let name = file_name(path);
        let what = || path.display().to_string();
        let file = File::open(path).map_err(|source| Error::Io { what: what(), source })?;
        let schema = settings.schema.clone();
        if settings.format == FileFormat::Parquet {
            let unit = settings.time_unit;
            let reader = ParquetReader::open(schema, file, &name, from.offset, unit)?;
            return Ok(Reader::Parquet(Box::new(reader)));
        }
        let mut reader = TextReader {
            file,
            name,
            schema,
            decoder: settings.decoder()?,
            max_line: settings.max_line,
            start: 0,
            rest: Rest::default(),
            mark: Mark::default(),
            header: Some((from, rest.unwrap_or_default())),
            ended: false,
            last,
        };
        while reader.header.is_some() && !reader.ended {
            reader.read()?;
            reader.read_header()?;
        }
        Ok(Reader::Text(Box::new(reader)))
    }

    /// Decodes the next rows; `None` at the end of what is there.
    pub fn read_rows(&mut self) -> Result<Option<Decoded>> {
        match self {
            Reader::Text(reader) => reader.read_rows(),
            Reader::Parquet(reader) => reader.read_rows(),
        }
    }

    /// Returns what was read of a line that has no end yet.
    pub fn into_rest(self) -> Option<Rest> {
        match self {
            Reader::Text(mut reader) if reader.header.is_none() => {
                reader.rest.unread.drain(..reader.start);
                Some(reader.rest).filter(|rest| rest.len() > 0)
            }
            Reader::Text(_) | Reader::Parquet(_) => None,
        }
    }
}

/// The beginning of a record whose end is not read yet.
#[derive(Debug, Default)]
pub struct Rest {
    /// Its bytes, after those that are skipped.
    unread: Vec<u8>,
    /// How many of them are known to hold no end of a record.
    scanned: usize,
    /// What is passed over of a line that is too long.
    skipped: Option<Skipped>,
}

/// The part of a line that is passed over because the line is too long.
#[derive(Debug)]
struct Skipped {
    /// How it begins.
    raw: Vec<u8>,
    /// Its bytes.
    len: u64,
}

impl Rest {
    /// Bytes of the record so far.
    pub fn len(&self) -> u64 {
        count(self.unread.len()) + self.skipped.as_ref().map_or(0, |skipped| skipped.len)
    }
}

/// An open text file.
pub struct TextReader {
    file: File,
    name: String,
    schema: SchemaRef,
    decoder: Box<dyn Decoder>,
    max_line: usize,
    /// What is read and not decoded, behind `start` bytes that are.
    rest: Rest,
    start: usize,
    /// Where the rest stands in the file.
    mark: Mark,
    /// Where to go on once the header is read; `None` when it was.
    header: Option<(Mark, Rest)>,
    /// Whether the end of the file was reached.
    ended: bool,
    /// Whether that end is final, so that the last line needs no line end.
    last: bool,
}

impl TextReader {
    fn read_rows(&mut self) -> Result<Option<Decoded>> {
        loop {
            self.read_header()?;
            if self.header.is_none()
                && let Some(decoded) = self.decode()?
            {
                return Ok(Some(decoded));
            }
            if self.ended {
                return Ok(None);
            }
            self.read()?;
        }
    }

    /// Decodes the records that are whole, if there are any.
    fn decode(&mut self) -> Result<Option<Decoded>> {
        if self.rest.skipped.is_some() {
            return Ok(self.skip());
        }
        let last = self.last && self.ended;
        let bytes = &self.rest.unread[self.start..];
        if !bytes.is_empty() && (last || bytes[self.rest.scanned..].contains(&b'\n')) {
            let (from, max_line) = (self.mark, self.max_line);
            let block = Block { bytes, from, last, max_line, file: &self.name };
            let decoded = self.decoder.decode(block)?;
            let used = usize::try_from(decoded.end.offset - self.mark.offset)
                .expect("the decoder used a part of the buffer");
            if used > 0 {
                self.start += used;
                self.rest.scanned = 0;
                self.mark = decoded.end;
                return Ok(Some(decoded));
            }
        }
        self.rest.scanned = bytes.len();
        if bytes.len() > self.max_line {
            let (raw, len) = (beginning(bytes).to_vec(), count(bytes.len()));
            self.start = 0;
            self.rest = Rest { skipped: Some(Skipped { raw, len }), ..Rest::default() };
        }
        Ok(None)
    }

    /// Passes over a line that is too long; at its end it is a bad record.
    fn skip(&mut self) -> Option<Decoded> {
        let bytes = &self.rest.unread[self.start..];
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        let taken = end.unwrap_or(bytes.len());
        self.start += taken;
        let skipped = self.rest.skipped.as_mut()?;
        skipped.len += count(taken);
        if end.is_none() && !(self.last && self.ended) {
            return None;
        }
        let Skipped { raw, len } = self.rest.skipped.take()?;
        self.mark = Mark { offset: self.mark.offset + len, line: self.mark.line + 1 };
        let flaw = Flaw::too_long(len, self.max_line);
        let record = bad_record(&self.name, self.mark.line, flaw, &raw);
        Some(Decoded { bad: vec![(0, record)], ..Decoded::empty(&self.schema, self.mark) })
    }

    /// Reads the header if it is whole, and goes to where reading resumes.
    fn read_header(&mut self) -> Result<()> {
        let Some((resume, _)) = &self.header else { return Ok(()) };
        let block = Block {
            bytes: &self.rest.unread,
            from: Mark::default(),
            last: self.last && self.ended,
            max_line: self.max_line,
            file: &self.name,
        };
        let Some(end) = self.decoder.header(block)? else {
            if self.rest.unread.len() > self.max_line {
                let flaw = Flaw::too_long(count(self.rest.unread.len()), self.max_line);
                let reason = format!("the header has no end: {flaw}");
                return Err(Error::Format { what: self.name.clone(), reason });
            }
            return Ok(());
        };
        if resume.offset <= end.offset {
            self.header = None;
            self.mark = end;
            self.start = usize::try_from(end.offset).expect("the header is in the buffer");
            return Ok(());
        }
        let (resume, rest) = self.header.take().unwrap_or_default();
        let offset = resume.offset + rest.len();
        (self.mark, self.rest, self.start, self.ended) = (resume, rest, 0, false);
        self.file
            .seek(SeekFrom::Start(offset))
            .map_err(|source| Error::Io { what: self.name.clone(), source })?;
        Ok(())
    }

    /// Reads a block behind what is not decoded yet, or as much again as that.
    fn read(&mut self) -> Result<()> {
        self.rest.unread.drain(..self.start);
        self.start = 0;
        let wanted = self.rest.unread.len().max(BLOCK_BYTES);
        let mut block = (&mut self.file).take(count(wanted));
        let read = block
            .read_to_end(&mut self.rest.unread)
            .map_err(|source| Error::Io { what: self.name.clone(), source })?;
        self.ended = read < wanted;
        Ok(())
    }
}
