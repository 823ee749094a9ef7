//! What queries that run once may take together: memory, and room in temporary files.
//!
//! # Semantics
//! They hold at most half as much as the state of continuous queries may (`memory_limit`), or 256
//! MB if that is more. What sorts, groups and exchanges rows goes on in temporary files; what
//! cannot is refused with 53200. Objects that are read are not counted: they are there anyway.
//!
//! # Why
//! A share of its own, not what continuous queries leave: a SELECT must not be refused because
//! views are large, nor a view suspended because of a SELECT.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, TryStreamExt};

/// What part of the memory limit they may hold.
const SHARE: usize = 2;

/// What they may hold if that is less: statements that are not large need no settings.
const LEAST: usize = 256 << 20;

/// How many times as much may be in temporary files.
const ON_DISK: u64 = 8;

/// How many parts of what they hold are kept for the merging of sorted files, at most: each sort
/// has one from its beginning.
const MERGES: usize = 256;

/// Bounds what queries with this configuration take by the memory limit, in bytes.
pub(super) fn bounded(config: SessionConfig, limit: usize) -> Result<(SessionConfig, RuntimeEnv)> {
    let bytes = (limit / SHARE).max(LEAST);
    let merge = config.options().execution.sort_spill_reservation_bytes.min(bytes / MERGES);
    let pool = Arc::new(FairSpillPool::new(bytes));
    let on_disk = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(ON_DISK);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_max_temp_directory_size(on_disk)
        .build()?;
    Ok((config.with_sort_spill_reservation_bytes(merge), runtime))
}

/// Rows that a query holds, and their share of what all may hold.
pub(super) struct Held {
    /// The rows.
    pub(super) rows: RecordBatch,
    share: MemoryReservation,
}

impl Held {
    /// Gathers rows, as long as there is room.
    pub(super) async fn gather(
        state: &SessionState,
        mut rows: SendableRecordBatchStream,
    ) -> Result<Self> {
        let share = reservation(state);
        let (mut counter, mut batches) = (RecordBatchMemoryCounter::new(), Vec::new());
        while let Some(batch) = rows.try_next().await? {
            share.try_grow(counter.count_batch(&batch))?;
            batches.push(batch);
        }
        if batches.len() > 1 {
            share.try_grow(share.size())?;
        }
        let rows = concat_batches(&rows.schema(), &batches)?;
        drop(batches);
        Self::settled(rows, share)
    }

    /// Holds rows that were made of others.
    pub(super) fn made(state: &SessionState, rows: RecordBatch) -> Result<Self> {
        Self::settled(rows, reservation(state))
    }

    fn settled(rows: RecordBatch, share: MemoryReservation) -> Result<Self> {
        share.try_resize(RecordBatchMemoryCounter::new().count_batch(&rows))?;
        Ok(Self { rows, share })
    }

    /// The share alone, for as long as the rows live elsewhere.
    pub(super) fn into_share(self) -> MemoryReservation {
        self.share
    }
}

fn reservation(state: &SessionState) -> MemoryReservation {
    MemoryConsumer::new("rows").register(&state.runtime_env().memory_pool)
}

/// A stream that keeps shares until it ends.
pub(super) fn holding(
    stream: SendableRecordBatchStream,
    shares: Vec<MemoryReservation>,
) -> SendableRecordBatchStream {
    let schema = stream.schema();
    let stream = stream.inspect(move |_| {
        let _held = &shares;
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream))
}
