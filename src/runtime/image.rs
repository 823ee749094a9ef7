//! What the hub has come to, as records with which a log can begin.
//!
//! # Semantics
//! A log that begins with an image has, in this order: [`Input::Image`](super::journal::Input) with
//! the number of shards, every definition, sections of each object and of the hub, and the mark of
//! the end. Told to an empty hub, the definitions make objects and queries that are told nothing,
//! and the sections are loaded into them. What follows is told as ever.
//!
//! An image is taken when all queries and sinks have done what they were told of: what is on its
//! way is in none.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};

use super::hub::Hub;
use super::intake::Intake;
use super::journal::{Input, Journal, Moment, encode};
use super::state::State;
use super::{Error, Result};
use crate::operators::{StateReader, StateWriter};
use crate::sql::catalog::Oid;
use crate::storage::archive::Stored;
use crate::time::Timestamp;

/// Rows of a section that are one record.
const RECORD_ROWS: usize = 65_536;

/// A part of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The beginning, with the number of shards.
    Begin(usize),
    /// Rows of a section of a subject: the number of the section, and its name.
    Section(Subject, u64, String),
    /// All of a subject has been told.
    Whole(Subject),
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
    /// Its records, without their moments.
    pub inputs: Vec<(Option<Moment>, Vec<u8>)>,
    /// The moment.
    pub moment: Moment,
    /// The files that it names.
    pub files: Vec<Arc<Stored>>,
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

/// Sections of what only the engine knows, by subject.
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
        let mut inputs = vec![(None, encode(&Input::Image(Part::Begin(self.shards()), None))?)];
        for (moment, definition) in &state.definitions {
            inputs.push((Some(*moment), encode(&Input::Definition(definition.clone()))?));
        }
        let mut subjects = state.subjects()?;
        let mut own = StateWriter::default();
        put_json(&mut own, "hub", &state.saved(moment))?;
        self.errors().save(&mut own)?;
        subjects.extend(others()?);
        subjects.push((Subject::Hub, own));
        let mut files = Vec::new();
        for (subject, written) in subjects {
            files.extend(written.files);
            for (number, (name, batch)) in (0..).zip(written.sections) {
                for from in (0..batch.num_rows().max(1)).step_by(RECORD_ROWS) {
                    let rows = batch.slice(from, RECORD_ROWS.min(batch.num_rows() - from));
                    let part = Part::Section(subject, number, name.clone());
                    inputs.push((None, encode(&Input::Image(part, Some(rows)))?));
                }
            }
            inputs.push((None, encode(&Input::Image(Part::Whole(subject), None))?));
        }
        inputs.push((None, encode(&Input::Image(Part::End, None))?));
        if let Some(journal) = self.journal.get() {
            then(journal);
        }
        Ok(Some(Image { inputs, moment, files }))
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
                let saved: Saved = take_json(from, "hub")?;
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

    fn subjects(&self) -> Result<Others> {
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

/// Gathers the sections of an image as they are read.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Whether an image has begun and not come to its end.
    pub in_image: bool,
    sections: Vec<(u64, String, Vec<RecordBatch>)>,
}

impl Gathered {
    /// Adds rows of a section.
    pub fn add(&mut self, number: u64, name: String, rows: RecordBatch) {
        match self.sections.last_mut() {
            Some((last, _, batches)) if *last == number => batches.push(rows),
            _ => self.sections.push((number, name, vec![rows])),
        }
    }

    /// Returns all sections.
    pub fn take(&mut self) -> Result<StateReader> {
        let sections = std::mem::take(&mut self.sections)
            .into_iter()
            .map(|(_, name, batches)| Ok((name, concat_batches(&batches[0].schema(), &batches)?)));
        Ok(StateReader { sections: sections.collect::<Result<_>>()? })
    }
}

/// Adds a section that is a value.
pub fn put_json(to: &mut StateWriter, name: &str, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|error| Error::Record(error.to_string()))?;
    let schema = Schema::new(vec![Field::new("value", DataType::Utf8, false)]);
    let column = StringArray::from(vec![text]);
    to.put(name, RecordBatch::try_new(schema.into(), vec![Arc::new(column)])?);
    Ok(())
}

/// Takes the next section of that name, which has to be there.
pub fn take(from: &mut StateReader, name: &str) -> Result<RecordBatch> {
    from.take(name).ok_or_else(|| Error::Record(format!("section \"{name}\" is missing")))
}

/// Takes the next section of that name, a value.
pub fn take_json<T: for<'a> Deserialize<'a>>(from: &mut StateReader, name: &str) -> Result<T> {
    let value = next_json(from, name)?;
    value.ok_or_else(|| Error::Record(format!("section \"{name}\" is missing")))
}

/// Takes the next section of that name, a value, if there is one.
pub fn next_json<T: for<'a> Deserialize<'a>>(
    from: &mut StateReader,
    name: &str,
) -> Result<Option<T>> {
    let Some(batch) = from.take(name) else { return Ok(None) };
    let text = batch.columns().first().and_then(|column| column.as_string_opt::<i32>());
    let text = text.filter(|text| text.len() == 1).map(|text| text.value(0));
    let text = text.ok_or_else(|| Error::Record(format!("section \"{name}\" is no value")))?;
    let value = serde_json::from_str(text);
    value.map(Some).map_err(|error| Error::Record(format!("{name}: {error}")))
}

/// Returns a batch with its schema as bytes.
pub(super) fn batch_bytes(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// Reads what [`batch_bytes`] returned.
pub(super) fn read_batch(bytes: &[u8]) -> Result<RecordBatch> {
    let batch = StreamReader::try_new(Cursor::new(bytes), None)?.next();
    Ok(batch.ok_or_else(|| Error::Record("a section is empty".into()))??)
}
