//! Checkpoints: a log that begins with what the last one came to takes its place.
//!
//! # Semantics
//! Definitions wait, and writers wait until queries and sinks have caught up and the numbers of the
//! state have been copied. From then on all goes on, while these and the rows, which are shared,
//! are written to the new log; when that has caught up with the old one, it counts.
//!
//! # Cost
//! Writers pause while numbers are copied in memory, some 30 bytes a row. What is written is what
//! has changed since the last image (`storage::archive::pages`). A start reads the state and tells
//! what came since again.

use std::sync::Arc;
use std::time::Duration;

use super::sink::Place;
use super::{Engine, Error, Result};
use crate::fault;
use crate::runtime::image::Image;
use crate::runtime::journal::{Growth, Journal};

/// The command tag of CHECKPOINT.
const TAG: &str = "CHECKPOINT";

/// How often the size of the log is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// By how many bytes the log grows at least before it is replaced: enough that small states do not
/// come to the disk again and again.
const GROWTH_BYTES: u64 = 64 * 1024 * 1024;

/// How many records a start is to tell again at most, and how often they are looked at, where the
/// image is small: each costs a commit, however short it is.
const RECORDS_MAX: u64 = 1_000;
const RECORDS_INTERVAL: Duration = Duration::from_secs(60);

/// An image that is written in a moment.
const SMALL_IMAGE_BYTES: u64 = 64 * 1024 * 1024;

/// How long a server that ends waits for its queries to let it take a checkpoint.
const LAST_WAIT: Duration = Duration::from_secs(5);

impl Engine {
    /// Takes a checkpoint; returns its command tag.
    pub(super) async fn checkpoint(&self) -> Result<String> {
        let _definitions = self.ddl.lock().await;
        let Some(journal) = self.hub.journal() else { return Ok(TAG.to_owned()) };
        let keeper = Arc::clone(self.hub.keeper());
        let written = Arc::clone(&keeper);
        // What is in files need not be copied.
        let drained = tokio::task::spawn_blocking(move || written.drain()).await;
        drained.map_err(|error| Error::Internal(error.to_string()))?;
        let image = self.image(Journal::begin_next, Place::Here).await?;
        fault::point("checkpoint.imaged");
        let pages = Arc::clone(&self.pages);
        let replace = move || {
            let replaced = image.store(&pages, keeper.archive()).and_then(|image| {
                fault::point("checkpoint.stored");
                journal.replace(&image)?;
                pages.settle(image.paged);
                Ok(())
            });
            if replaced.is_err() {
                journal.give_up();
            }
            keeper.archive().sweep();
            replaced
        };
        let replaced = tokio::task::spawn_blocking(replace).await;
        replaced.map_err(|error| Error::Internal(error.to_string()))??;
        Ok(TAG.to_owned())
    }

    /// Takes an image when queries and sinks have caught up; `then` is done at the same moment.
    pub(super) async fn image(&self, then: fn(&Journal), place: Place) -> Result<Image> {
        // Sinks would wait for room, and everybody for them.
        self.hub.has_room()?;
        loop {
            let gate = Gate::close(self);
            fault::point("checkpoint.gated");
            self.hub.quiet().await;
            let image = self.hub.image(|| Ok(self.sink_states(place)?), then)?;
            drop(gate);
            if let Some(image) = image {
                return Ok(image);
            }
        }
    }

    /// Takes checkpoints as the log grows.
    pub(super) async fn checkpoints(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        let mut last = tokio::time::Instant::now();
        loop {
            ticks.tick().await;
            let Some(growth) = self.hub.journal().map(|journal| journal.growth()) else { continue };
            let Growth { bytes, records, image_bytes } = growth;
            let grown = bytes >= GROWTH_BYTES.max(image_bytes);
            let many = records >= RECORDS_MAX && last.elapsed() >= RECORDS_INTERVAL;
            let cheap = image_bytes <= SMALL_IMAGE_BYTES;
            if !(grown || many && cheap) {
                continue;
            }
            match self.checkpoint().await {
                Ok(_) => tracing::debug!("checkpoint taken"),
                Err(error) => tracing::error!("no checkpoint is taken: {error}"),
            }
            last = tokio::time::Instant::now();
        }
    }

    /// Takes a checkpoint before the server ends, so that it starts again at once.
    pub(super) async fn last_checkpoint(&self) {
        let growth = self.hub.journal().map(|journal| journal.growth());
        if growth.is_none_or(|growth| growth.records < RECORDS_MAX) {
            return;
        }
        match tokio::time::timeout(LAST_WAIT, self.checkpoint()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!("no checkpoint is taken: {error}"),
            Err(_) => tracing::warn!("no checkpoint is taken: queries are busy"),
        }
    }
}

/// Keeps writers from beginning commits for as long as it lives.
struct Gate<'a>(&'a Engine);

impl<'a> Gate<'a> {
    fn close(engine: &'a Engine) -> Self {
        engine.hub.close_gate();
        Self(engine)
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        self.0.hub.open_gate();
    }
}
