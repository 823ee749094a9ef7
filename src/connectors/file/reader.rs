//! One open file: bytes are read in large blocks and handed to the decoder of the format.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::listing::file_name;
use super::settings::{FileFormat, Settings};
use crate::connectors::format::{Block, Decoded, Decoder, Mark, ParquetReader, count};
use crate::connectors::{Error, Result};

/// Bytes read at a time: some 10 000 rows, so that a batch is full, and a read takes about as long
/// as a disk needs to begin one.
const BLOCK_BYTES: usize = 2 << 20;

/// An open file of either kind.
pub enum Reader {
    /// A text format.
    Text(TextReader),
    /// Parquet.
    Parquet(Box<ParquetReader>),
}

impl Reader {
    /// Opens a file at a mark. `last` says that the file will not grow.
    pub fn open(settings: &Settings, path: &Path, from: Mark, last: bool) -> Result<Self> {
        let name = file_name(path);
        let what = || path.display().to_string();
        let file = File::open(path).map_err(|source| Error::Io { what: what(), source })?;
        if settings.format == FileFormat::Parquet {
            let schema = settings.schema.clone();
            let reader = ParquetReader::open(schema, file, &name, from.offset)?;
            return Ok(Reader::Parquet(Box::new(reader)));
        }
        Ok(Reader::Text(TextReader {
            file,
            name,
            decoder: settings.decoder()?,
            buffer: Vec::new(),
            start: 0,
            mark: Mark::default(),
            header: Some(from),
            ended: false,
            last,
        }))
    }

    /// Decodes the next rows; `None` at the end of what is there.
    pub fn read_rows(&mut self) -> Result<Option<Decoded>> {
        match self {
            Reader::Text(reader) => reader.read_rows(),
            Reader::Parquet(reader) => reader.read_rows(),
        }
    }
}

/// An open text file.
pub struct TextReader {
    file: File,
    name: String,
    decoder: Box<dyn Decoder>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are decoded.
    start: usize,
    /// Where the rest of the buffer stands in the file.
    mark: Mark,
    /// Where to go on once the header is read; `None` when it was.
    header: Option<Mark>,
    /// Whether the end of the file was reached.
    ended: bool,
    /// Whether that end is final, so that the last line needs no line end.
    last: bool,
}

impl TextReader {
    fn read_rows(&mut self) -> Result<Option<Decoded>> {
        loop {
            if let Some(resume) = self.header {
                self.read_header(resume)?;
            }
            if self.header.is_none() && self.start < self.buffer.len() {
                let block = Block {
                    bytes: &self.buffer[self.start..],
                    from: self.mark,
                    last: self.last && self.ended,
                    file: &self.name,
                };
                let decoded = self.decoder.decode(block)?;
                let used = usize::try_from(decoded.end.offset - self.mark.offset)
                    .expect("the decoder used a part of the buffer");
                if used > 0 {
                    self.start += used;
                    self.mark = decoded.end;
                    return Ok(Some(decoded));
                }
            }
            if self.ended {
                return Ok(None);
            }
            self.read()?;
        }
    }

    /// Reads the header if it is whole, and goes to where reading resumes.
    fn read_header(&mut self, resume: Mark) -> Result<()> {
        let block = Block {
            bytes: &self.buffer,
            from: Mark::default(),
            last: self.last && self.ended,
            file: &self.name,
        };
        let Some(end) = self.decoder.header(block)? else { return Ok(()) };
        self.header = None;
        if resume.offset <= end.offset {
            self.mark = end;
            self.start = usize::try_from(end.offset).expect("the header is in the buffer");
            return Ok(());
        }
        self.buffer.clear();
        self.start = 0;
        self.mark = resume;
        self.ended = false;
        self.file
            .seek(SeekFrom::Start(resume.offset))
            .map_err(|source| Error::Io { what: self.name.clone(), source })?;
        Ok(())
    }

    /// Reads a block behind what is not decoded yet.
    fn read(&mut self) -> Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let mut block = (&mut self.file).take(count(BLOCK_BYTES));
        let read = block
            .read_to_end(&mut self.buffer)
            .map_err(|source| Error::Io { what: self.name.clone(), source })?;
        self.ended = read < BLOCK_BYTES;
        Ok(())
    }
}
