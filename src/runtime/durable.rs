//! The hub and its journal: what is told is recorded before it counts, and told again at a start.
//!
//! # Semantics
//! An input is recorded under the hub's lock, in the order in which it takes effect. Whoever is
//! told of an effect waits, by [`Hub::durable`], until the record is on the disk. At a start the
//! inputs are told again by the same calls, each after [`Hub::rewind`]; nothing is recorded until
//! [`Hub::resume`].

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use super::hub::{Hub, Write};
use super::intake::Intake;
use super::journal::{Definition, Input, Journal, Moment, encode};
use super::state::State;
use super::{Error, Result};
use crate::fault;
use crate::sql::catalog::Oid;
use crate::storage::log;
use crate::time::Timestamp;

/// How long somebody waits who looks again whether the disk has room.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);

impl Hub {
    /// Says that what comes up to [`Hub::resume`] is told again.
    pub fn recover(&self) {
        self.lock().recovering = true;
    }

    /// Records what is told from now on, and lets sinks write.
    pub fn resume(&self, journal: Journal) {
        // A hub is resumed once.
        let _ = self.journal.set(Arc::new(journal));
        self.lock().recovering = false;
        self.tell();
    }

    /// The journal, once it is there.
    pub fn journal(&self) -> Option<Arc<Journal>> {
        self.journal.get().cloned()
    }

    /// Waits until all that anybody may have seen so far is on the disk.
    pub async fn durable(&self) {
        let settled = {
            let _state = self.lock();
            self.journal.get().map(|journal| journal.settled())
        };
        if let Some(settled) = settled {
            settled.await;
        }
    }

    /// Commits what nobody can be told to try again. As long as the disk is full, or tables have no
    /// room for more rows, it waits.
    pub async fn commit_patiently(&self, writes: Vec<Write>) -> Result<()> {
        loop {
            match self.commit(writes.clone()) {
                Err(Error::Log(log::Error::Full { .. }) | Error::OutOfMemory { .. }) => {
                    tokio::time::sleep(FULL_DISK_PAUSE).await;
                }
                outcome => return outcome.map(drop),
            }
        }
    }

    /// Fails if there is no room on the disk for more than a small commit.
    pub fn has_room(&self) -> Result<()> {
        self.journal.get().map_or(Ok(()), |journal| journal.has_room())
    }

    /// Takes the hub back to the moment before an input that is told again.
    pub fn rewind(&self, moment: &Moment) {
        let mut state = self.lock();
        state.position = moment.position;
        state.time = moment.time;
    }

    /// Waits until every query has done what it has been told of.
    pub async fn idle(&self) {
        self.told_until(|| self.lock().is_idle()).await;
    }

    /// Whether inputs are told again.
    pub fn is_recovering(&self) -> bool {
        self.lock().recovering
    }

    /// Says which statement is about to change objects; the first change records it.
    pub fn define(&self, definition: Definition) -> Result<()> {
        let mut state = self.lock();
        if let Some(journal) = self.journal.get() {
            journal.hold_room()?;
        }
        state.definition = Some(definition);
        Ok(())
    }

    /// Records a definition that has changed nothing here; `done` tells whether it took effect.
    pub fn defined(&self, done: bool) -> Result<()> {
        let mut state = self.lock();
        if !done {
            state.definition = None;
        }
        self.record_definition(&mut state, self.clock().now())
    }

    /// How far the connector of a stream or table is.
    pub fn intake(&self, oid: Oid) -> Intake {
        self.lock().intakes.get(&oid).cloned().unwrap_or_default()
    }

    /// The columns of a stream or table.
    pub fn schema(&self, oid: Oid) -> Option<SchemaRef> {
        let state = self.lock();
        let stream = state.streams.get(&oid).map(|stream| stream.schema());
        stream.or_else(|| state.tables.get(&oid).map(|table| table.schema())).cloned()
    }

    /// Returns an input as it is recorded, or nothing if nothing is.
    pub(super) fn prepare(&self, input: impl FnOnce() -> Input) -> Result<Option<Vec<u8>>> {
        self.journal.get().map(|_| encode(&input())).transpose()
    }

    pub(super) fn record(&self, moment: &Moment, input: Option<&[u8]>, lazy: bool) -> Result<()> {
        match (self.journal.get(), input) {
            (Some(journal), Some(input)) => journal.append(moment, input, lazy),
            _ => Ok(()),
        }
    }

    /// When the last definition took effect: the same whenever it is told again.
    pub fn defined_at(&self) -> Timestamp {
        let state = self.lock();
        let moment = state.definitions.last().map(|(moment, _)| *moment);
        moment
            .map_or(Timestamp::MIN, |moment| moment.time.map_or(moment.now, |t| t.max(moment.now)))
    }

    /// Records the definition that is running, at the moment of its first effect.
    pub(super) fn record_definition(&self, state: &mut State, now: Timestamp) -> Result<()> {
        if let Some(journal) = self.journal.get() {
            journal.release_room();
        }
        let Some(definition) = state.definition.take() else { return Ok(()) };
        let moment = state.moment(now);
        let input = self.prepare(|| Input::Definition(definition.clone()))?;
        self.record(&moment, input.as_deref(), false)?;
        fault::point("hub.definition.recorded");
        state.definitions.push((moment, definition));
        Ok(())
    }
}
