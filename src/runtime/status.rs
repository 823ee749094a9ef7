//! What the system relations and metrics show of the runtime.

use std::collections::BTreeMap;

use super::Result;
use super::history::Size;
use super::hub::Hub;
use super::ingest::{PartitionProgress, Reason};
use super::job::{Fault, Job};
use super::publication::Progress;
use super::stream::{LateRow, Stream};
use super::table::Table;
use crate::sql::catalog::Oid;
use crate::time::{Timestamp, Watermark};

/// What a stream or table looks like to the system relations.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Which stream.
    pub oid: Oid,
    /// Rows taken since the server started.
    pub admitted: u64,
    /// Those of them that were late.
    pub late_admitted: u64,
    /// What is retained.
    pub retained: Size,
    /// Event time reached.
    pub watermark: Watermark,
    /// When the watermark last moved.
    pub moved_at: Timestamp,
    /// Refused rows by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Partitions, and those of them that are idle.
    pub partitions: (usize, usize),
}

/// What of a running query the system relations show.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// The view.
    pub oid: Option<Oid>,
    /// Name.
    pub name: String,
    /// Event time reached.
    pub watermark: Watermark,
    /// Distinct rows held.
    pub rows: usize,
    /// Elements that came, of a stream.
    pub elements: u64,
    /// Those that are retained.
    pub retained: Size,
    /// Commits on their way.
    pub in_flight: u64,
    /// Bytes that it holds in memory.
    pub memory: usize,
    /// Bytes that it has in the scratch file.
    pub spilled: usize,
    /// Why it stopped.
    pub fault: Option<Fault>,
}

impl JobStatus {
    /// What it looks like as a derived stream.
    pub fn as_stream(&self) -> Option<StreamStatus> {
        Some(StreamStatus {
            oid: self.oid?,
            admitted: self.elements,
            late_admitted: 0,
            retained: self.retained,
            watermark: self.watermark,
            moved_at: Timestamp::MIN,
            refused: BTreeMap::new(),
            partitions: (0, 0),
        })
    }
}

impl Hub {
    /// Streams, for the system relations.
    pub fn stream_status(&self) -> Vec<StreamStatus> {
        self.lock().streams.iter().map(|(oid, stream)| stream.status(*oid)).collect()
    }

    /// How far each partition of a stream is; nothing if it is no stream.
    pub fn partitions(&self, oid: Oid) -> Result<Vec<PartitionProgress>> {
        self.lock().streams.get(&oid).map_or(Ok(vec![]), Stream::progress)
    }

    /// The newest refused rows, by stream.
    pub fn late_rows(&self) -> Vec<(Oid, LateRow)> {
        let state = self.lock();
        let rows = state.streams.iter();
        rows.flat_map(|(oid, s)| s.late_rows().map(|row| (*oid, row.clone()))).collect()
    }

    /// Running queries, for the system relations.
    pub fn job_status(&self) -> Vec<JobStatus> {
        let status = |job: std::sync::Arc<Job>| {
            let Progress { watermark, rows, elements, retained } = job.publication.status();
            JobStatus {
                oid: job.oid,
                name: job.name.clone(),
                watermark,
                rows,
                elements,
                retained,
                in_flight: job.publication.in_flight(),
                memory: job.account().held(),
                spilled: job.account().spilled(),
                fault: job.publication.fault(),
            }
        };
        self.jobs().into_iter().map(status).collect()
    }

    /// Tables with the bytes that they hold in memory, and in the scratch file.
    pub fn tables_held(&self) -> Vec<(Oid, usize, usize)> {
        let state = self.lock();
        let held = |(oid, table): (&Oid, &Table)| {
            let (memory, spilled) = table.held();
            (*oid, memory, spilled)
        };
        state.tables.iter().map(held).collect()
    }

    /// Number of rows of a table.
    pub fn table_rows(&self, oid: Oid) -> Option<usize> {
        self.lock().tables.get(&oid).map(Table::row_count)
    }
}
