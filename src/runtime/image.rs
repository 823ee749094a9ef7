//! What the hub has come to, as records with which a log can begin.
//!
//! # Semantics
//! A log that begins with an image has, in this order: [`Input::Image`](super::journal::Input)
//! with the number of shards, every definition, the files that have pages, the state of each object
//! and of the hub, and the mark of the end. Told to an empty hub, the definitions make objects and
//! queries that are told nothing, and the state is loaded into them. What follows is told as ever.
//!
//! An image is taken when all queries and sinks have done what they were told of: what is on its
//! way is in none. Under the hub's lock only numbers are copied; rows are shared with the stores,
//! which leave them as they are, until the image is written.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::hub::Hub;
use super::intake::Intake;
use super::journal::{Definition, Input, Journal, Moment, encode};
use super::state::State;
use super::{Error, Result};
use crate::sql::catalog::Oid;
use crate::storage::archive::pages::{PageFiles, PageRef, Paged, descriptions};
use crate::storage::archive::{self, Archive, Description};
use crate::storage::{Misfit, PageHash, StateReader, StateWriter};
use crate::time::Timestamp;

/// A part of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The beginning, with the number of shards.
    Begin(usize),
    /// The files that have pages.
    Files(Vec<Description>),
    /// The state of a subject: where its pages are, and its items.
    State(Subject),
    /// The end.
    End,
}

/// What has state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The hub.
    Hub,
    /// A stream.
    Stream(Oid),
    /// A table.
    Table(Oid),
    /// The query of a view, derived stream or sink.
    Job(Oid),
    /// What writes the changes of a sink's query.
    Sink(Oid),
}

/// An image, and the moment at which it was taken.
pub struct Image {
    shards: usize,
    definitions: Vec<(Moment, Definition)>,
    states: Others,
    moment: Moment,
}

/// An image of which the pages are in files.
pub struct Stored {
    shards: usize,
    definitions: Vec<(Moment, Definition)>,
    states: Vec<(Subject, Vec<PageRef>, Vec<u8>)>,
    moment: Moment,
    /// The pages.
    pub paged: Arc<Paged>,
    /// Bytes that were written for them.
    pub written: u64,
    /// All files that it names.
    pub files: Vec<Arc<archive::Stored>>,
}

/// The hub's own state.
#[derive(Serialize, Deserialize)]
struct Saved {
    moment: Moment,
    changed: BTreeMap<Oid, Timestamp>,
    intakes: BTreeMap<Oid, Intake>,
    /// How far sinks have written.
    sinks: BTreeMap<Oid, (u64, u64)>,
}

/// The state of what only the engine knows, by subject.
pub type Others = Vec<(Subject, StateWriter)>;

impl Hub {
    /// Lets no writer but sinks begin a commit, until [`Hub::open_gate`].
    pub fn close_gate(&self) {
        self.lock().gated = true;
        self.tell();
    }

    /// Lets writers go on.
    pub fn open_gate(&self) {
        self.lock().gated = false;
        self.tell();
    }

    /// Waits until all queries and sinks have done what they were told of.
    pub async fn quiet(&self) {
        self.told_until(|| self.lock().is_quiet()).await;
    }

    /// Takes an image, if all is quiet. `others` are taken at the same time, and at the end of it
    /// `then` is done with the journal.
    pub fn image(
        &self,
        others: impl FnOnce() -> Result<Others>,
        then: fn(&Journal),
    ) -> Result<Option<Image>> {
        let state = self.lock();
        if !state.is_quiet() {
            return Ok(None);
        }
        let moment = state.moment(self.clock().now());
        let mut states = state.states()?;
        let mut own = StateWriter::default();
        own.put_value(&state.saved(moment))?;
        self.errors().save(&mut own)?;
        states.extend(others()?);
        states.push((Subject::Hub, own));
        if let Some(journal) = self.journal.get() {
            then(journal);
        }
        let (shards, definitions) = (self.shards(), state.definitions.clone());
        Ok(Some(Image { shards, definitions, states, moment }))
    }

    /// Says that definitions up to [`Hub::connect`] make objects that are told nothing.
    pub fn restore(&self) {
        self.lock().restoring = true;
    }

    /// Connects queries with the views that they read: all definitions have been told.
    pub fn connect(&self) {
        let mut state = self.lock();
        if !std::mem::take(&mut state.restoring) {
            return;
        }
        for job in state.jobs.values() {
            for oid in &job.inputs {
                let upstream = state.views.get(oid).and_then(|id| state.jobs.get(id));
                if let Some(upstream) = upstream {
                    let (reader, oid) = (job.downgrade(), *oid);
                    upstream.publication.with_state(|state| state.attach(reader, oid));
                }
            }
        }
    }

    /// Loads what an image has of a subject.
    pub fn load(&self, subject: Subject, from: &mut StateReader) -> Result<()> {
        let mut state = self.lock();
        let gone = |oid: Oid| Error::Gone(format!("with oid {oid}"));
        match subject {
            Subject::Hub => {
                let saved: Saved = from.take_value()?;
                (state.position, state.time) = (saved.moment.position, saved.moment.time);
                (state.changed, state.intakes) = (saved.changed, saved.intakes);
                for (oid, (written, delivered)) in saved.sinks {
                    state.sinks.get(&oid).ok_or_else(|| gone(oid))?.resume(written, delivered);
                }
                self.errors().load(from)
            }
            Subject::Stream(oid) => {
                state.streams.get_mut(&oid).ok_or_else(|| gone(oid))?.load(from)
            }
            Subject::Table(oid) => state.tables.get_mut(&oid).ok_or_else(|| gone(oid))?.load(from),
            Subject::Job(oid) => {
                let job = state.views.get(&oid).and_then(|id| state.jobs.get(id));
                job.ok_or_else(|| gone(oid))?.load(from)
            }
            Subject::Sink(oid) => Err(gone(oid)),
        }
    }
}

impl Image {
    /// Writes the pages that are in no file yet. Blocks.
    pub fn store(self, pages: &PageFiles, archive: &Archive) -> Result<Stored> {
        let Image { shards, definitions, states, moment } = self;
        let (mut draft, mut files) = (pages.begin(archive), Vec::new());
        let stored = states.into_iter().map(|(subject, state)| {
            let refs = state.pages.into_iter().map(|page| draft.add(&page));
            files.extend(state.files);
            Ok((subject, refs.collect::<Result<_, archive::Error>>()?, state.items))
        });
        let states = stored.collect::<Result<_>>()?;
        let (paged, written) = draft.finish()?;
        files.extend(paged.files.iter().cloned());
        Ok(Stored { shards, definitions, states, moment, paged: Arc::new(paged), written, files })
    }
}

impl Stored {
    /// Hands on its records, one after the other, as an input and its moment.
    pub fn each(&self, mut take: impl FnMut(&Moment, &[u8]) -> Result<()>) -> Result<()> {
        let now = self.moment;
        take(&now, &encode(&Input::Image(Part::Begin(self.shards), vec![]))?)?;
        for (moment, definition) in &self.definitions {
            take(moment, &encode(&Input::Definition(definition.clone()))?)?;
        }
        let mut part = |part, bytes| take(&now, &encode(&Input::Image(part, bytes))?);
        part(Part::Files(descriptions(&self.paged.files)), vec![])?;
        for (subject, pages, items) in &self.states {
            let mut state = StateWriter::default();
            state.put_inline(pages);
            part(Part::State(*subject), [&state.items[..], items].concat())?;
        }
        part(Part::End, vec![])
    }
}

impl State {
    /// Whether all queries and sinks have done what they were told of.
    fn is_quiet(&self) -> bool {
        self.is_idle() && self.sinks.values().all(|sink| sink.is_level())
    }

    fn saved(&self, moment: Moment) -> Saved {
        let sinks = self.sinks.iter().map(|(oid, sink)| (*oid, sink.levels()));
        let (changed, intakes) = (self.changed.clone(), self.intakes.clone());
        Saved { moment, changed, intakes, sinks: sinks.collect() }
    }

    fn states(&self) -> Result<Others> {
        let mut all = Vec::new();
        for (oid, stream) in &self.streams {
            let mut to = StateWriter::default();
            stream.save(&mut to)?;
            all.push((Subject::Stream(*oid), to));
        }
        for (oid, table) in &self.tables {
            let mut to = StateWriter::default();
            table.save(&mut to)?;
            all.push((Subject::Table(*oid), to));
        }
        for (oid, id) in &self.views {
            let mut to = StateWriter::default();
            self.jobs[id].save(&mut to)?;
            all.push((Subject::Job(*oid), to));
        }
        Ok(all)
    }
}

/// What is read of an image.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Whether an image has begun and not come to its end.
    pub in_image: bool,
    files: Vec<Arc<archive::Stored>>,
    pages: BTreeMap<PageHash, PageRef>,
}

impl Gathered {
    /// Takes the files that have pages.
    pub fn adopt(&mut self, files: Vec<Description>, archive: &Archive) {
        self.files = files.into_iter().map(|file| archive.adopt(file)).collect();
    }

    /// Reads the state of a subject.
    pub fn state(&mut self, bytes: Vec<u8>) -> Result<StateReader> {
        let mut state = StateReader::new(bytes);
        let refs = state.take_numbers::<PageRef>()?;
        self.pages.extend(refs.iter().map(|at| (at.hash, *at)));
        let paged = Paged { files: self.files.clone(), pages: BTreeMap::new() };
        Ok(state.with_pages(Box::new(refs.into_iter().map(move |at| {
            let bytes = paged.read(&at).map_err(|error| Misfit(error.to_string()))?;
            Ok((bytes, Arc::new(OnceLock::from(at.hash))))
        }))))
    }

    /// The pages of the image, at its end.
    pub fn paged(&mut self) -> Paged {
        Paged { files: std::mem::take(&mut self.files), pages: std::mem::take(&mut self.pages) }
    }
}
