//! What the hub is told, as records of the log: enough to tell it all again.
//!
//! # Semantics
//! State is a function of the inputs of the hub, in their order, and of the moments at which they
//! came: what clients and connectors write, definitions, and the passing of time where it has an
//! effect. A record is one input with its [`Moment`]. Told again at the same moments, a hub comes
//! to the same state, whatever the number of its shards.
//!
//! # Format
//! ```text
//!   position (8 bytes), time of the last commit (8), the clock (8), kind of input (1), input
//! ```
//! Rows are the messages of Arrow's IPC format, without a schema: that of their object is known.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use bytes::{Buf, BufMut, TryGetError};
use futures::executor::block_on;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::hub::Write;
use super::image::{self, Part};
use super::intake::Step;
use super::{Error, Result};
use crate::delta::codec;
use crate::fault;
use crate::sql::catalog::Oid;
use crate::storage::archive::Stored;
use crate::storage::log::{self, Disk, Generations, Log, Reader};
use crate::time::{Position, Timestamp};

/// As long as a definition may be: what a client may send at once.
const DEFINITION_BYTES: usize = 1024 * 1024;

/// More than a record without rows has.
const TICK_BYTES: usize = 64;

/// Where the hub stood when an input came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Position of the last commit.
    pub position: Position,
    /// Time of the last commit.
    pub time: Option<Timestamp>,
    /// The system's clock.
    pub now: Timestamp,
}

/// A definition, as its session ran it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The statement.
    pub text: String,
    /// The user.
    pub user: String,
    /// The session's settings.
    pub settings: BTreeMap<String, String>,
    /// The first oid that it can give.
    pub oid: Oid,
}

/// What the hub is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A commit.
    Writes(Vec<Write>),
    /// The clock has moved.
    Tick,
    /// `ALTER SYSTEM HEARTBEAT`.
    Heartbeat(Timestamp),
    /// Objects have come, changed or gone.
    Definition(Definition),
    /// A part of what an earlier log came to, and its bytes.
    Image(Part, Vec<u8>),
}

/// The log of a hub's inputs; at times two: the one that counts, and one that is to replace it.
#[derive(Debug)]
pub struct Journal {
    logs: Mutex<Logs>,
}

#[derive(Debug)]
struct Logs {
    generations: Generations,
    current: Tracked,
    next: Next,
    /// Bytes kept for the definition that runs.
    held: usize,
    /// What the current log was with its image.
    begun: Growth,
    /// The files that its image names, which have to outlive it.
    files: Vec<Arc<Stored>>,
}

/// How a log has grown behind its image, or in this life of the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Growth {
    /// Bytes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Bytes that were written for the image; 0 if it was taken in another life.
    pub image_bytes: u64,
}

/// The log that is to replace the current one.
#[derive(Debug)]
enum Next {
    /// There is none.
    None,
    /// Its image is being written; these records came meanwhile.
    Waits(Vec<Vec<u8>>),
    /// It takes what the current one takes.
    Follows(Tracked),
}

/// A log, and how much of it is on the disk.
#[derive(Debug)]
struct Tracked {
    log: Log,
    taken: u64,
    /// How many had been taken with the last record that somebody waits for.
    awaited: u64,
    durable: watch::Receiver<u64>,
}

impl Tracked {
    fn new(reader: Reader) -> Result<Self> {
        let (sender, durable) = watch::channel(0);
        let log = reader.into_log(move |count| {
            sender.send_replace(count);
        })?;
        Ok(Self { log, taken: 0, awaited: 0, durable })
    }

    fn append(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.taken = self.log.append(parts)?;
        Ok(())
    }

    /// Takes an image, as fast as it comes to the disk.
    fn append_image(&mut self, image: &image::Stored) -> Result<()> {
        image.each(|moment, input| {
            self.log.drain(IMAGE_BUFFER_BYTES);
            self.append(&[&head(moment), input])?;
            fault::point("journal.next.image");
            Ok(())
        })
    }

    /// Waits until so many records are on the disk.
    fn settled(&self, records: u64) -> impl Future<Output = ()> + use<> {
        let mut durable = self.durable.clone();
        async move {
            // A log goes with everything on the disk.
            let _ = durable.wait_for(|count| *count >= records).await;
        }
    }
}

/// Bytes of an image that may wait for the disk.
const IMAGE_BUFFER_BYTES: usize = 64 * 1024 * 1024;

impl Journal {
    /// Goes on behind the last record of the log that counts, whose image names `files`.
    pub fn resume(
        generations: Generations,
        reader: Reader,
        files: Vec<Arc<Stored>>,
    ) -> Result<Self> {
        let fresh = reader.is_empty();
        let (mut current, mut generations) = (Tracked::new(reader)?, generations);
        if fresh {
            // A log that counts has something in it.
            let moment = Moment { position: Position(0), time: None, now: Timestamp::MIN };
            current.append(&[&head(&moment), &encode(&Input::Tick)?])?;
            block_on(current.settled(current.taken));
        }
        generations.settle()?;
        let (next, held, begun) = (Next::None, 0, Growth::default());
        let logs = Logs { generations, current, next, held, begun, files };
        Ok(Self { logs: Mutex::new(logs) })
    }

    fn lock(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an input. Nobody waits for one that is `lazy`. The caller holds the hub's lock.
    pub(super) fn append(&self, moment: &Moment, input: &[u8], lazy: bool) -> Result<()> {
        let (head, mut logs) = (head(moment), self.lock());
        let logs = &mut *logs;
        fault::point("journal.append");
        if logs.held > 0 {
            logs.current.log.reserve(head.len() + input.len() + logs.held)?;
        }
        logs.current.append(&[&head, input])?;
        fault::point("journal.appended");
        if !lazy {
            logs.current.awaited = logs.current.taken;
        }
        match &mut logs.next {
            Next::None => {}
            Next::Waits(records) => records.push([&head, input].concat()),
            Next::Follows(next) => {
                if let Err(error) = next.append(&[&head, input]) {
                    tracing::warn!("the checkpoint is given up: {error}");
                    logs.next = Next::None;
                }
            }
        }
        Ok(())
    }

    /// Fails if there is no room for another definition.
    pub(super) fn has_room(&self) -> Result<()> {
        Ok(self.lock().current.log.reserve(DEFINITION_BYTES)?)
    }

    /// Keeps room for the definition that is about to run, whatever comes before it; fails if there
    /// is none.
    pub(super) fn hold_room(&self) -> Result<()> {
        self.has_room()?;
        self.lock().held = DEFINITION_BYTES;
        Ok(())
    }

    /// Keeps room no longer: the definition is about to be recorded, or is not to be.
    pub(super) fn release_room(&self) {
        self.lock().held = 0;
    }

    /// Fails if there is no room for a record without rows.
    pub(super) fn has_little_room(&self) -> Result<()> {
        let logs = self.lock();
        Ok(logs.current.log.reserve(TICK_BYTES + logs.held)?)
    }

    /// Waits until everything taken so far is on the disk, up to the last input that is not lazy.
    pub(super) fn settled(&self) -> impl Future<Output = ()> + use<> {
        let current = &self.lock().current;
        current.settled(current.awaited)
    }

    /// How the log has grown.
    pub fn growth(&self) -> Growth {
        let logs = self.lock();
        let Growth { bytes, records, image_bytes } = logs.begun;
        let (bytes, records) = (logs.current.log.bytes() - bytes, logs.current.taken - records);
        Growth { bytes, records, image_bytes }
    }

    /// Keeps what comes from now on for the next log.
    pub fn begin_next(&self) {
        self.lock().next = Next::Waits(Vec::new());
    }

    /// Keeps nothing for the next log any more: there is none.
    pub fn give_up(&self) {
        self.lock().next = Next::None;
    }

    /// Writes a log that begins with an image, and lets it count. Blocks.
    pub fn replace(&self, image: &image::Stored) -> Result<()> {
        let done = self.write_next(image);
        let logs = self.lock();
        logs.generations.remove_others();
        done
    }

    /// Writes a log that begins with an image, and goes on with nothing. Blocks.
    pub fn write(dir: &Path, image: &image::Stored) -> Result<()> {
        let (mut generations, reader) = Generations::open(Disk::default(), dir)?;
        let mut log = Tracked::new(reader)?;
        log.append_image(image)?;
        block_on(log.settled(log.taken));
        Ok(generations.settle()?)
    }

    fn write_next(&self, image: &image::Stored) -> Result<()> {
        let mut next = Tracked::new(self.lock().generations.begin()?)?;
        fault::point("journal.next.begun");
        let files = image.files.clone();
        next.append_image(image)?;
        fault::point("journal.next.written");
        let (bytes, records) = (next.log.bytes(), next.taken);
        let begun = Growth { bytes, records, image_bytes: bytes + image.written };
        {
            let mut logs = self.lock();
            if let Next::Waits(records) = std::mem::replace(&mut logs.next, Next::None) {
                records.iter().try_for_each(|record| next.append(&[record]))?;
            }
            logs.next = Next::Follows(next);
        }
        fault::point("journal.next.follows");
        // Most of it comes to the disk while others write.
        let settled = match &self.lock().next {
            Next::Follows(next) => next.settled(next.taken),
            Next::None | Next::Waits(_) => return Ok(()),
        };
        block_on(settled);
        let mut logs = self.lock();
        let Next::Follows(mut next) = std::mem::replace(&mut logs.next, Next::None) else {
            return Ok(());
        };
        block_on(next.settled(next.taken));
        fault::point("journal.next.settled");
        logs.generations.prepare()?;
        if let Err(error) = logs.generations.advance() {
            log::end(&error);
        }
        logs.files = files;
        fault::point("journal.next.counts");
        next.awaited = next.taken;
        (logs.current, logs.begun) = (next, begun);
        fault::point("journal.next.current");
        Ok(())
    }
}

/// The moment as a record begins with it.
fn head(moment: &Moment) -> Vec<u8> {
    let mut head = Vec::with_capacity(24);
    head.put_u64_le(moment.position.0);
    head.put_i64_le(moment.time.map_or(i64::MIN, |time| time.0));
    head.put_i64_le(moment.now.0);
    head
}

/// Returns an input as bytes.
pub(super) fn encode(input: &Input) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match input {
        Input::Writes(writes) => {
            out.put_u8(b'W');
            writes.iter().try_for_each(|write| encode_write(write, &mut out))?;
        }
        Input::Tick => out.put_u8(b'T'),
        Input::Heartbeat(at) => {
            out.put_u8(b'H');
            out.put_i64_le(at.0);
        }
        Input::Definition(definition) => {
            out.put_u8(b'D');
            put_json(definition, &mut out)?;
        }
        Input::Image(part, bytes) => {
            out.put_u8(b'I');
            put_json(part, &mut out)?;
            out.put_slice(bytes);
        }
    }
    Ok(out)
}

fn encode_write(write: &Write, out: &mut Vec<u8>) -> Result<()> {
    let mut head = |kind: u8| {
        out.put_u8(kind);
        out.put_u32_le(write.object());
    };
    match write {
        Write::Rows(_, rows) => {
            head(b'r');
            put_batch(rows, out)?;
        }
        Write::Table(_, delta) => {
            head(b't');
            put_batch(&codec::encode(delta)?, out)?;
        }
        Write::Upsert(_, delta) => {
            head(b'u');
            put_batch(&codec::encode(delta)?, out)?;
        }
        Write::Heartbeat(_, at) => {
            head(b'h');
            out.put_i64_le(at.0);
        }
        Write::Intake(_, step) => {
            head(b'i');
            put_json(step, out)?;
        }
        Write::Delivered(_, until) => {
            head(b'd');
            out.put_u64_le(until.0);
        }
    }
    Ok(())
}

/// Reads a record; `schema` knows the columns of streams and tables.
pub fn decode(
    mut record: &[u8],
    schema: impl Fn(Oid) -> Option<SchemaRef>,
) -> Result<(Moment, Input)> {
    let record = &mut record;
    let position = Position(record.try_get_u64_le().map_err(short)?);
    let time = record.try_get_i64_le().map_err(short)?;
    let time = (time != i64::MIN).then_some(Timestamp(time));
    let now = Timestamp(record.try_get_i64_le().map_err(short)?);
    let input = match record.try_get_u8().map_err(short)? {
        b'W' => {
            let mut writes = Vec::new();
            while record.has_remaining() {
                writes.push(decode_write(record, &schema)?);
            }
            Input::Writes(writes)
        }
        b'T' => Input::Tick,
        b'H' => Input::Heartbeat(Timestamp(record.try_get_i64_le().map_err(short)?)),
        b'D' => Input::Definition(get_json(record)?),
        b'I' => {
            let part = get_json(record)?;
            Input::Image(part, record.to_vec())
        }
        kind => return Err(unknown(kind)),
    };
    Ok((Moment { position, time, now }, input))
}

fn decode_write(record: &mut &[u8], schema: &impl Fn(Oid) -> Option<SchemaRef>) -> Result<Write> {
    let kind = record.try_get_u8().map_err(short)?;
    let oid = record.try_get_u32_le().map_err(short)?;
    let known = || schema(oid).ok_or_else(|| Error::Gone(format!("with oid {oid}")));
    Ok(match kind {
        b'r' => Write::Rows(oid, get_batch(record, known()?)?),
        b't' | b'u' => {
            let delta = codec::decode(&get_batch(record, codec::encoded_schema(&known()?))?)?;
            if kind == b't' { Write::Table(oid, delta) } else { Write::Upsert(oid, delta) }
        }
        b'h' => Write::Heartbeat(oid, Timestamp(record.try_get_i64_le().map_err(short)?)),
        b'i' => Write::Intake(oid, get_json::<Step>(record)?),
        b'd' => Write::Delivered(oid, Position(record.try_get_u64_le().map_err(short)?)),
        kind => return Err(unknown(kind)),
    })
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("a message has less than 4 GiB"));
    out.put_slice(bytes);
}

fn get_bytes<'a>(record: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = record.try_get_u32_le().map_err(short)? as usize;
    let bytes;
    (bytes, *record) =
        record.split_at_checked(length).ok_or_else(|| Error::Record("it ends too early".into()))?;
    Ok(bytes)
}

fn put_json(value: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|error| Error::Record(error.to_string()))?;
    put_bytes(&text, out);
    Ok(())
}

fn get_json<T: for<'a> Deserialize<'a>>(record: &mut &[u8]) -> Result<T> {
    serde_json::from_slice(get_bytes(record)?).map_err(|error| Error::Record(error.to_string()))
}

fn put_batch(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let mut dictionaries = DictionaryTracker::new(false);
    let (options, mut context) = (IpcWriteOptions::default(), IpcWriteContext::default());
    let generator = IpcDataGenerator::default();
    let (_, encoded) = generator.encode(batch, &mut dictionaries, &options, &mut context)?;
    put_bytes(&encoded.ipc_message, out);
    put_bytes(&encoded.arrow_data, out);
    Ok(())
}

fn get_batch(record: &mut &[u8], schema: SchemaRef) -> Result<RecordBatch> {
    let wrong = |what: &str| ArrowError::IpcError(what.to_owned());
    let message = get_bytes(record)?;
    let message = ipc::root_as_message(message).map_err(|error| wrong(&error.to_string()))?;
    let batch = message.header_as_record_batch().ok_or_else(|| wrong("not a record batch"))?;
    let body = Buffer::from(get_bytes(record)?);
    let version = message.version();
    let no_dictionaries = Default::default();
    Ok(ipc::reader::read_record_batch(&body, batch, schema, &no_dictionaries, None, &version)?)
}

fn short(error: TryGetError) -> Error {
    Error::Record(error.to_string())
}

fn unknown(kind: u8) -> Error {
    Error::Record(format!("it is of a kind unknown to this version: {kind}"))
}
