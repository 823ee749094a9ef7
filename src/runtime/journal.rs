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

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use bytes::{Buf, BufMut, TryGetError};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::hub::Write;
use super::intake::Step;
use super::{Error, Result};
use crate::delta::codec;
use crate::sql::catalog::Oid;
use crate::storage::log::{Log, Reader};
use crate::time::{Position, Timestamp};

/// As long as a definition may be: what a client may send at once.
const DEFINITION_BYTES: usize = 1024 * 1024;

/// Where the hub stood when an input came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// The log of a hub's inputs.
#[derive(Debug)]
pub struct Journal {
    log: Log,
    taken: watch::Sender<u64>,
    durable: watch::Receiver<u64>,
}

impl Journal {
    /// Goes on behind the last record of a log.
    pub fn resume(reader: Reader) -> Result<Self> {
        let (sender, durable) = watch::channel(0);
        let log = reader.into_log(move |count| {
            sender.send_replace(count);
        })?;
        let (taken, _) = watch::channel(0);
        Ok(Self { log, taken, durable })
    }

    /// Takes an input. The caller holds the hub's lock.
    pub(super) fn append(&self, moment: &Moment, input: &[u8]) -> Result<()> {
        let mut head = Vec::with_capacity(24);
        head.put_u64_le(moment.position.0);
        head.put_i64_le(moment.time.map_or(i64::MIN, |time| time.0));
        head.put_i64_le(moment.now.0);
        self.taken.send_replace(self.log.append(&[&head, input])?);
        Ok(())
    }

    /// Fails if there is no room for another definition.
    pub(super) fn has_room(&self) -> Result<()> {
        Ok(self.log.reserve(DEFINITION_BYTES)?)
    }

    /// Waits until everything taken so far is on the disk.
    pub(super) fn settled(&self) -> impl Future<Output = ()> + use<> {
        let taken = *self.taken.borrow();
        let mut durable = self.durable.clone();
        async move {
            // The log goes when the server ends, with everything on the disk.
            let _ = durable.wait_for(|count| *count >= taken).await;
        }
    }
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
