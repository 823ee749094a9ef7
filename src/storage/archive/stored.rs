//! A file of the archive, and its rows.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// What is to be known of a file to find it and to trust it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its name in the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32 of its bytes.
    pub checksum: u32,
    /// Number of rows.
    pub rows: u64,
}

/// A file of the archive; it stays for as long as this is held.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    description: Description,
}

impl Stored {
    pub(super) fn new(path: PathBuf, description: Description) -> Self {
        Self { path, description }
    }

    /// What is to be known of it.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.clone(), what: what.into() }
    }

    fn wrong_length(&self, found: u64) -> Error {
        self.corrupt(format!("it has {found} bytes and should have {}", self.description.bytes))
    }

    pub(super) fn check_length(&self) -> Result<()> {
        let found = fs::metadata(&self.path).map_err(Error::io("read", &self.path))?.len();
        if found == self.description.bytes { Ok(()) } else { Err(self.wrong_length(found)) }
    }

    /// Reads the file; fails if it is not what was written. Blocks.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let bytes = fs::read(&self.path).map_err(Error::io("read", &self.path))?;
        if bytes.len() as u64 != self.description.bytes {
            return Err(self.wrong_length(bytes.len() as u64));
        }
        if crc32fast::hash(&bytes) != self.description.checksum {
            return Err(self.corrupt("its checksum is another one"));
        }
        Ok(bytes)
    }

    /// Fails if the file is not what was written. Blocks.
    pub fn check(&self) -> Result<()> {
        self.bytes().map(drop)
    }

    /// Reads the rows in the file; fails if it is not what was written. Blocks.
    pub fn open(&self) -> Result<Opened<'_>> {
        let bytes = Bytes::from(self.bytes()?);
        let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new());
        let metadata = metadata.map_err(|error| self.corrupt(error.to_string()))?;
        Ok(Opened { stored: self, bytes, metadata })
    }
}

/// A file in memory, compressed.
pub struct Opened<'a> {
    stored: &'a Stored,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
}

impl Opened<'_> {
    /// The columns as they were written.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Groups of rows, and what of their columns is known.
    pub fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// Some columns of some groups of rows, in the order of the file.
    pub fn read(&self, columns: &[usize], groups: Vec<usize>) -> Result<Vec<RecordBatch>> {
        let wrong = |error: &dyn std::fmt::Display| self.stored.corrupt(error.to_string());
        let descriptor = self.metadata().file_metadata().schema_descr();
        let mask = ProjectionMask::roots(descriptor, columns.iter().copied());
        let rows = groups.iter().map(|group| self.metadata().row_group(*group).num_rows()).sum();
        let rows: i64 = rows;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.bytes.clone(),
            self.metadata.clone(),
        );
        let reader = reader
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(usize::try_from(rows).unwrap_or(0).max(1))
            .build()
            .map_err(|error| wrong(&error))?;
        reader.collect::<std::result::Result<_, _>>().map_err(|error| wrong(&error))
    }
}
