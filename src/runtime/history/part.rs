//! A part of a stream's history: some rows in memory, or many on their way to a file or in one.
//!
//! # Semantics
//! A part is read at any time and gives the same rows, wherever they are by then. Late rows stand
//! behind the others of their part.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

use super::file;
use super::retained::{Retained, wider};
use crate::delta::Delta;
use crate::runtime::Result;
use crate::runtime::runs::Run;
use crate::storage::archive::{Archive, Description, Stored};
use crate::time::Timestamp;

/// A part of a stream's history.
#[derive(Clone, Debug)]
pub enum Part {
    /// In memory.
    Run(Arc<Retained>),
    /// In memory as long as it is in no file.
    Sealed(Arc<Sealed>),
}

/// Many rows that nothing is added to.
#[derive(Debug)]
pub struct Sealed {
    schema: SchemaRef,
    extent: Extent,
    place: Mutex<Place>,
}

/// How many rows there are, and of which times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extent {
    /// Rows that came in time.
    pub rows: usize,
    /// Late rows behind them.
    pub late: usize,
    /// The least time of a row.
    pub earliest: Timestamp,
    /// The greatest time of a row.
    pub latest: Timestamp,
}

#[derive(Clone, Debug)]
enum Place {
    Memory(Arc<[Retained]>),
    File(Arc<Stored>),
}

/// Where the rows of a sealed part are, as an image has it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Saved {
    /// In a file.
    File(Description, Extent),
    /// In so many runs that follow.
    Runs(usize),
}

/// Which rows of a file a reader wants: some groups of those that came in time, by their number.
/// The first and the last group of these are told with what is known of them.
pub type Groups<'a> = &'a dyn Fn(&ParquetMetaData, &SchemaRef) -> Option<Vec<bool>>;

impl Part {
    /// Number of rows, late ones too.
    pub fn rows(&self) -> usize {
        match self {
            Part::Run(run) => run.rows(),
            Part::Sealed(sealed) => sealed.rows(),
        }
    }

    /// Number of rows that came in time.
    pub fn in_time(&self) -> usize {
        match self {
            Part::Run(run) => run.delta.len(),
            Part::Sealed(sealed) => sealed.extent.rows,
        }
    }

    /// The least and the greatest time of a row that is in a file.
    pub fn span_in_file(&self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Part::Sealed(sealed) if sealed.file().is_some() => {
                Some((sealed.extent.earliest, sealed.extent.latest))
            }
            Part::Run(_) | Part::Sealed(_) => None,
        }
    }

    /// The rows. Blocks, if they are in a file.
    pub fn read(&self) -> Result<Cow<'_, [Retained]>> {
        match self {
            Part::Run(run) => Ok(Cow::Borrowed(std::slice::from_ref(run.as_ref()))),
            Part::Sealed(sealed) => Ok(Cow::Owned(sealed.read()?)),
        }
    }

    /// Some columns of the rows that came in time, with their times; of a file only of the groups
    /// of rows that are wanted. Blocks, if they are in a file.
    pub fn scan(&self, columns: &[usize], wanted: Groups<'_>) -> Result<Vec<Delta>> {
        let projected = |run: &Retained| {
            let rows = run.delta.rows().project(columns)?;
            Ok(run.delta.clone().with_rows(rows))
        };
        match self {
            Part::Run(run) => Ok(vec![projected(run)?]),
            Part::Sealed(sealed) => match sealed.place() {
                Place::Memory(runs) => runs.iter().map(projected).collect(),
                Place::File(stored) => {
                    file::scan(&stored, &sealed.schema, &sealed.extent, columns, wanted)
                }
            },
        }
    }
}

impl Sealed {
    /// Seals runs, one behind the other.
    pub(super) fn new(schema: SchemaRef, runs: Vec<Retained>) -> Result<Self, ArrowError> {
        let late = |run: &Retained| run.late.as_ref().map_or(0, |late| late.rows());
        let (rows, late) =
            (runs.iter().map(|run| run.delta.len()).sum(), runs.iter().map(late).sum());
        let span = runs.iter().filter_map(Retained::span).reduce(wider);
        let (earliest, latest) = span.unwrap_or((Timestamp::MAX, Timestamp::MIN));
        // Late rows come behind all others, in memory as in a file.
        let runs = match late {
            0 => runs,
            _ => runs
                .into_iter()
                .map(Ok)
                .reduce(|a, b| a?.followed_by(&b?))
                .into_iter()
                .collect::<Result<_, ArrowError>>()?,
        };
        let place = Mutex::new(Place::Memory(runs.into()));
        Ok(Self { schema, extent: Extent { rows, late, earliest, latest }, place })
    }

    /// A part that an image says is in a file.
    pub(super) fn in_file(schema: SchemaRef, extent: Extent, stored: Arc<Stored>) -> Self {
        Self { schema, extent, place: Mutex::new(Place::File(stored)) }
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> Place {
        self.lock().clone()
    }

    /// Number of rows, late ones too.
    pub(super) fn rows(&self) -> usize {
        self.extent.rows + self.extent.late
    }

    /// The greatest time of a row.
    pub(super) fn latest(&self) -> Timestamp {
        self.extent.latest
    }

    /// About how many bytes it takes in memory.
    pub(super) fn memory(&self) -> usize {
        match self.place() {
            Place::Memory(runs) => runs.iter().map(Retained::bytes).sum(),
            Place::File(_) => 0,
        }
    }

    /// The file that has the rows, if one does.
    pub(super) fn file(&self) -> Option<Arc<Stored>> {
        match self.place() {
            Place::Memory(_) => None,
            Place::File(stored) => Some(stored),
        }
    }

    fn read(&self) -> Result<Vec<Retained>> {
        match self.place() {
            Place::Memory(runs) => Ok(runs.to_vec()),
            Place::File(stored) => Ok(vec![file::read(&stored, &self.schema, &self.extent)?]),
        }
    }

    /// Where the rows are; those in memory as well.
    pub(super) fn saved(&self) -> (Saved, Arc<[Retained]>) {
        match self.place() {
            Place::Memory(runs) => (Saved::Runs(runs.len()), runs),
            Place::File(stored) => {
                (Saved::File(stored.description().clone(), self.extent), Arc::new([]))
            }
        }
    }

    /// Writes the rows to a file, and lets them go from memory. Blocks.
    pub(super) fn store(&self, archive: &Archive, owner: &str) -> Result<()> {
        let Place::Memory(runs) = self.place() else { return Ok(()) };
        let (schema, parts): (_, [Vec<RecordBatch>; 2]) = file::encode(&self.schema, &runs)?;
        let stored = archive.write(owner, &schema, &parts)?;
        *self.lock() = Place::File(stored);
        Ok(())
    }
}
