//! Starting from the log: what the server was told is told again.
//!
//! # Semantics
//! Records are told in their order, each at the moment at which it came: writes to the hub,
//! definitions to a session with the settings of the one that ran them. The views then hold what
//! they held, watermarks stand where they stood, late rows are counted as before, and connectors
//! and sinks go on where the last commit left them.
//!
//! A log may begin with an image of what an earlier one came to (`runtime::image`), which is
//! loaded.
//!
//! # Cost
//! The image is read, and the queries do again what they did since.

use std::path::Path;
use std::sync::Arc;

use super::session::Session;
use super::{Engine, Error, Result, lock, source, temporary};
use crate::clock::HeldClock;
use crate::error::Classify;
use crate::fault;
use crate::runtime;
use crate::runtime::hub::Write;
use crate::runtime::image::{Gathered, Part, Subject};
use crate::runtime::journal::{self, Definition, Input, Journal, Moment};
use crate::sql::catalog::Oid;
use crate::storage::StateReader;
use crate::storage::log::{self, Disk, Generations, Reader};

/// A log that is about to be told again.
pub(super) struct Recovery {
    reader: Reader,
    /// Its first records, until they are told.
    first: Option<Vec<u8>>,
    /// The number of shards for which its image was taken.
    pub shards: Option<usize>,
}

impl Recovery {
    /// Opens the log in a directory.
    pub fn open(dir: &Path) -> Result<(Generations, Self)> {
        let (generations, reader) =
            Generations::open(Disk::default(), dir).map_err(runtime::Error::from)?;
        Ok((generations, Self::new(reader)?))
    }

    /// Opens the log in a directory to look at it; nothing is changed.
    pub fn inspect(dir: &Path) -> Result<Self> {
        Self::new(Generations::inspect(Disk::default(), dir).map_err(runtime::Error::from)?)
    }

    fn new(mut reader: Reader) -> Result<Self> {
        let first = reader.next_block().map_err(runtime::Error::from)?;
        let begin = first.as_ref().and_then(|block| log::records(block).next());
        let shards = match begin.map(|record| journal::decode(record, |_| None)) {
            Some(Ok((_, Input::Image(Part::Begin(shards), _)))) => Some(shards),
            _ => None,
        };
        Ok(Self { reader, first, shards })
    }
}

/// A log that counts begins with something.
pub(super) fn no_records() -> runtime::Error {
    let what = "the log that counts has no records: it was copied while a server wrote it, or cut";
    runtime::Error::Record(what.to_owned())
}

impl Engine {
    /// Brings a new engine to where the log ends, and goes on there.
    pub(super) async fn recover(
        self: &Arc<Self>,
        (generations, mut recovery): (Generations, Recovery),
        clock: &HeldClock,
    ) -> Result<()> {
        let records = self.tell_all(&mut recovery, clock).await?;
        if records == 0 && generations.is_named() {
            return Err(no_records().into());
        }
        clock.release();
        fault::point("recovery.told");
        let files = self.hub.keeper().archive().settle();
        self.hub.resume(Journal::resume(generations, recovery.reader, files)?);
        fault::point("recovery.resumed");
        source::restart(self).await;
        self.drop_temporary().await?;
        fault::point("recovery.done");
        tracing::info!(records, "the log has been told again");
        Ok(())
    }

    /// Brings a new engine to where the log ends; returns the number of records.
    pub(super) async fn tell_all(
        self: &Arc<Self>,
        recovery: &mut Recovery,
        clock: &HeldClock,
    ) -> Result<u64> {
        let (mut records, mut gathered): (u64, _) = (0, Gathered::default());
        self.hub.recover();
        let mut next = recovery.first.take();
        while let Some(block) = next {
            for record in log::records(&block) {
                records += 1;
                fault::point("recovery.record");
                self.tell(record, clock, &mut gathered).await.map_err(|error| {
                    let text = format!("record {records} of the log cannot be told again: {error}");
                    Error::Refused {
                        message: text,
                        sqlstate: error.sqlstate(),
                        detail: error.detail(),
                        hint: error.hint(),
                    }
                })?;
            }
            next = recovery.reader.next_block().map_err(runtime::Error::from)?;
        }
        if gathered.in_image {
            let what = "the image with which the log begins has no end".to_owned();
            return Err(runtime::Error::Record(what).into());
        }
        Ok(records)
    }

    async fn tell(
        self: &Arc<Self>,
        record: &[u8],
        clock: &HeldClock,
        gathered: &mut Gathered,
    ) -> Result<()> {
        let (moment, input) = journal::decode(record, |oid| self.hub.schema(oid))?;
        match input {
            Input::Writes(writes) => {
                let objects: Vec<Oid> = writes.iter().map(Write::object).collect();
                self.hub.room(&objects).await;
                self.at(&moment, clock);
                self.hub.commit(writes)?;
            }
            Input::Tick => {
                self.at(&moment, clock);
                self.hub.on_clock();
            }
            Input::Heartbeat(at) => {
                self.at(&moment, clock);
                self.hub.heartbeat(at)?;
            }
            Input::Definition(definition) => {
                // What it finds of the queries, such as that one is suspended, is as it was.
                self.hub.idle().await;
                self.at(&moment, clock);
                self.define_again(definition).await?;
            }
            Input::Image(part, bytes) => self.restore(part, bytes, gathered)?,
        }
        Ok(())
    }

    /// Takes a part of the image with which a log begins.
    fn restore(&self, part: Part, bytes: Vec<u8>, gathered: &mut Gathered) -> Result<()> {
        match part {
            Part::Begin(_) => {
                gathered.in_image = true;
                self.hub.restore();
            }
            Part::Files(files) => {
                self.hub.connect();
                gathered.adopt(files, self.hub.keeper().archive());
            }
            Part::State(subject) => self.load(subject, &mut gathered.state(bytes)?)?,
            Part::End => {
                gathered.in_image = false;
                self.pages.settle(Arc::new(gathered.paged()));
                self.hub.connect();
                fault::point("recovery.restored");
            }
        }
        Ok(())
    }

    /// Loads the state of a subject.
    fn load(&self, subject: Subject, from: &mut StateReader) -> Result<()> {
        match subject {
            Subject::Sink(oid) => {
                let sink = lock(&self.sinks).get(&oid).map(Arc::clone);
                let Some(sink) = sink else { return Ok(()) };
                sink.load(from).map_err(runtime::Error::from)?;
            }
            subject => self.hub.load(subject, from)?,
        }
        Ok(from.finish().map_err(runtime::Error::from)?)
    }

    fn at(&self, moment: &Moment, clock: &HeldClock) {
        clock.hold(moment.now);
        self.hub.rewind(moment);
    }

    async fn define_again(self: &Arc<Self>, definition: Definition) -> Result<()> {
        let Definition { text, user, settings, oid } = definition;
        let mut session = self.own_session(user);
        for (name, value) in &settings {
            session.variables.set_startup(name, value)?;
        }
        session.set_temporary_schema(settings.get(temporary::SETTING).cloned());
        self.change_catalog(|catalog| catalog.set_next_oid(oid));
        for statement in session.parse(&text)? {
            session.execute(&statement, &[]).await?;
        }
        // It goes on when the next definition is told.
        session.set_temporary_schema(None);
        Ok(())
    }
}

impl Session {
    /// A definition as it is recorded.
    pub(super) fn definition(&self, text: &str) -> Definition {
        let mut settings = self.variables.settings();
        settings.insert(temporary::SETTING.to_owned(), self.temporary_name());
        Definition {
            text: text.to_owned(),
            user: self.client.user.clone(),
            settings,
            oid: self.engine.catalog().next_oid(),
        }
    }
}
