//! The door of a stream: event time, watermarks, idleness, and rows that are refused.
//!
//! # Semantics
//! Rows are judged one by one, in arrival order, against the watermark that the rows before them
//! made
//! (LANGUAGE 4.2): `ts >= W` is on time, `ts < W` is late; a late row is taken while `ts >= W - A`,
//! where A is the allowed lateness, and refused below. A row without event time, or too far
//! ahead of the
//! system clock, is refused too and moves nothing. So the verdict never depends on batching. The
//! watermark
//! of a stream is the least of its active partitions' and never goes back; a partition is a value
//! of the
//! PARTITION KEY, or else the whole stream.
//!
//! # State
//! One watermark per partition.
//!
//! # References
//! Akidau et al., Watermarks in stream processing systems (VLDB 2021); LANGUAGE part 4.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::physical_expr::PhysicalExpr;
use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::delta::{Delta, Instants, Weights};
use crate::operators::evaluate::row_text;
use crate::time::{Timestamp, Watermark};

/// Why a row was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// Its event time is below the watermark.
    Late,
    /// It has no event time.
    NullTime,
    /// Its event time is beyond the system clock by more than MAX AHEAD.
    TooFarAhead,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 3] = [Reason::Late, Reason::NullTime, Reason::TooFarAhead];

    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Late => "late",
            Reason::NullTime => "null event time",
            Reason::TooFarAhead => "too far ahead",
        }
    }
}

/// How a stream with event time takes rows.
#[derive(Clone)]
pub struct EventTime {
    /// Index of the event-time column: timestamps in microseconds, or BIGINT.
    pub column: usize,
    /// What is promised after a row.
    pub watermark: Arc<dyn PhysicalExpr>,
    /// When a silent partition stops holding the watermark back, in microseconds.
    pub idle_timeout: Option<i64>,
    /// Where the watermark of an idle stream goes: an expression without columns is rewritten to
    /// its distance
    /// from `now()`, in microseconds.
    pub on_idle_lag: Option<i64>,
    /// How late a row may be that is taken all the same.
    pub lateness: i64,
    /// Farthest event time beyond the system clock, in microseconds.
    pub max_ahead: Option<i64>,
    /// Partition key columns.
    pub partition_key: Vec<usize>,
}

/// One refused row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Row number in the batch.
    pub row: u32,
    /// Why.
    pub reason: Reason,
    /// Its event time.
    pub ts: Option<i64>,
    /// The watermark it met.
    pub watermark: Watermark,
}

/// The verdict on a batch.
pub struct Admission {
    /// Rows on time, and late ones within the allowed lateness.
    pub admitted: Delta,
    /// How many of them are late.
    pub late: usize,
    /// The others.
    pub refused: Vec<Refusal>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Partition {
    watermark: Watermark,
    last_row: Timestamp,
    idle: bool,
}

/// The state of a door.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedIngest {
    partitions: Vec<(Option<Vec<u8>>, Partition)>,
    watermark: Watermark,
}

/// How far a partition of a stream is.
#[derive(Clone, Debug)]
pub struct PartitionProgress {
    /// Its key as a row; empty for a stream without PARTITION KEY.
    pub key: String,
    /// What it promises.
    pub watermark: Watermark,
    /// When its last row arrived.
    pub last_row: Timestamp,
    /// Whether it holds the stream's watermark back no longer.
    pub idle: bool,
}

/// The door of a stream.
#[derive(Clone)]
pub struct Ingest {
    time: Option<EventTime>,
    /// Whether a row's time is its number.
    by_rows: bool,
    partitions: BTreeMap<Option<OwnedRow>, Partition>,
    keys: Option<Arc<RowConverter>>,
    watermark: Watermark,
}

impl Ingest {
    /// The door of a stream that has had no row. Without event time rows carry their commit time.
    pub fn new(time: Option<EventTime>) -> Self {
        let (partitions, watermark) = (BTreeMap::new(), Watermark::MIN);
        Self { time, by_rows: false, partitions, keys: None, watermark }
    }

    /// The door of a stream on CLOCK ROW: rows carry their numbers, from 0, and each closes its
    /// instant.
    pub fn by_rows() -> Self {
        Self { by_rows: true, watermark: Watermark(Timestamp(0)), ..Self::new(None) }
    }

    /// The stream's watermark.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// How it takes event time; `None` on CLOCK SYSTEM and CLOCK ROW.
    pub fn event_time(&self) -> Option<&EventTime> {
        self.time.as_ref()
    }

    /// Number of partitions seen, and of those that are idle.
    pub fn partitions(&self) -> (usize, usize) {
        (self.partitions.len(), self.partitions.values().filter(|p| p.idle).count())
    }

    /// How far each partition is, the one that is least far first.
    pub fn progress(&self) -> Result<Vec<PartitionProgress>> {
        let mut all = Vec::with_capacity(self.partitions.len());
        for (key, partition) in &self.partitions {
            let key = match (key, &self.keys) {
                (Some(key), Some(keys)) => row_text(&keys.convert_rows([key.row()])?, 0),
                _ => String::new(),
            };
            let Partition { watermark, last_row, idle } = *partition;
            all.push(PartitionProgress { key, watermark, last_row, idle });
        }
        all.sort_by_key(|partition| (partition.idle, partition.watermark));
        Ok(all)
    }

    /// How far the partitions are, by their keys' bytes.
    pub(super) fn save(&self) -> SavedIngest {
        let key = |key: &Option<OwnedRow>| key.as_ref().map(|key| key.as_ref().to_vec());
        let partitions = self.partitions.iter().map(|(k, partition)| (key(k), *partition));
        SavedIngest { partitions: partitions.collect(), watermark: self.watermark }
    }

    /// Takes what [`Ingest::save`] returned; `schema` is that of its rows.
    pub(super) fn load(&mut self, saved: SavedIngest, schema: &SchemaRef) -> Result<()> {
        self.watermark = saved.watermark;
        let columns = self.time.iter().flat_map(|time| &time.partition_key);
        let fields = columns.map(|i| SortField::new(schema.field(*i).data_type().clone()));
        let fields: Vec<SortField> = fields.collect();
        if !fields.is_empty() {
            self.keys = Some(Arc::new(RowConverter::new(fields)?));
        }
        for (key, partition) in saved.partitions {
            let row = |key: Vec<u8>| Some(self.keys.as_ref()?.parser().parse(&key).owned());
            self.partitions.insert(key.and_then(row), partition);
        }
        Ok(())
    }

    /// Judges rows that arrive at system time `now`.
    pub fn admit(&mut self, rows: RecordBatch, now: Timestamp) -> Result<Admission> {
        if self.by_rows {
            let first = self.watermark.0.0;
            let numbers = (first..).take(rows.num_rows());
            let numbers = TimestampMicrosecondArray::from_iter_values(numbers);
            let count = i64::try_from(rows.num_rows()).expect("a batch has fewer than 2^63 rows");
            self.watermark = Watermark(self.watermark.0.plus(count));
            let admitted = Delta::new(rows, Instants::Each(numbers), Weights::Ones);
            return Ok(Admission { admitted, late: 0, refused: vec![] });
        }
        let Some(time) = self.time.clone() else {
            self.watermark = Watermark(now.plus(1));
            let admitted = Delta::inserts(rows, now);
            return Ok(Admission { admitted, late: 0, refused: vec![] });
        };
        let ts = micros(rows.column(time.column))?;
        let (promised, beyond) = promises(&time, &rows)?;
        let keys = self.partition_keys(&time, &rows)?;
        let ahead_of = time.max_ahead.map(|ahead| now.plus(ahead).0);
        let (mut kept, mut refused) = (Vec::with_capacity(rows.num_rows()), Vec::new());
        let mut late = 0;
        for i in 0..rows.num_rows() {
            let row = u32::try_from(i).expect("a batch has fewer than 2^32 rows");
            let at = ts.is_valid(i).then(|| ts.value(i));
            let reason = match at {
                None => Some(Reason::NullTime),
                Some(at) if ahead_of.is_some_and(|max| at > max) => Some(Reason::TooFarAhead),
                Some(_) if beyond.contains(&i) => Some(Reason::TooFarAhead),
                Some(at) if Timestamp(at) < self.watermark.0.plus(-time.lateness) => {
                    Some(Reason::Late)
                }
                Some(at) => {
                    late += usize::from(Timestamp(at) < self.watermark.0);
                    None
                }
            };
            let promise = promised.is_valid(i).then(|| Watermark(Timestamp(promised.value(i))));
            let key = keys.as_ref().map(|keys| keys[i].clone());
            match reason {
                None => {
                    kept.push(row);
                    self.advance(key, promise.unwrap_or(Watermark::MIN), now);
                }
                Some(reason) => {
                    refused.push(Refusal { row, reason, ts: at, watermark: self.watermark });
                    if reason == Reason::Late {
                        // A late row is a sign of life of its partition all the same.
                        self.advance(key, Watermark::MIN, now);
                    }
                }
            }
        }
        let admitted = if refused.is_empty() {
            timed(rows, ts)
        } else {
            let kept = UInt32Array::from(kept);
            let ts = arrow::compute::take(&ts, &kept, None)?;
            timed(take_record_batch(&rows, &kept)?, ts.as_primitive::<Int64Type>().clone())
        };
        Ok(Admission { admitted, late, refused })
    }

    fn partition_keys(
        &mut self,
        time: &EventTime,
        rows: &RecordBatch,
    ) -> Result<Option<Vec<OwnedRow>>> {
        if time.partition_key.is_empty() {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> =
            time.partition_key.iter().map(|i| Arc::clone(rows.column(*i))).collect();
        if self.keys.is_none() {
            let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
            self.keys = Some(Arc::new(RowConverter::new(fields)?));
        }
        let converter = self.keys.as_ref().expect("made above");
        let converted = converter.convert_columns(&columns)?;
        Ok(Some(converted.iter().map(|row| row.owned()).collect()))
    }

    /// Records a row of a partition and what it promises.
    fn advance(&mut self, key: Option<OwnedRow>, promise: Watermark, now: Timestamp) {
        let new = Partition { watermark: Watermark::MIN, last_row: now, idle: false };
        let partition = self.partitions.entry(key).or_insert(new);
        let held_back = partition.watermark <= self.watermark || partition.idle;
        partition.last_row = now;
        partition.idle = false;
        if promise > partition.watermark {
            partition.watermark = promise;
            // Only a partition at the minimum can move it.
            if held_back || self.partitions.len() == 1 {
                self.meet();
            }
        }
    }

    fn meet(&mut self) {
        let active = self.partitions.values().filter(|p| !p.idle).map(|p| p.watermark).min();
        self.watermark = self.watermark.max(active.unwrap_or(Watermark::MIN));
    }

    /// Promises that every later row has `ts >= at`.
    pub fn heartbeat(&mut self, at: Timestamp) {
        for partition in self.partitions.values_mut() {
            partition.watermark = partition.watermark.max(Watermark(at));
        }
        self.watermark = self.watermark.max(Watermark(at));
    }

    /// Looks at the system clock: marks silent partitions idle and lets an idle stream follow the
    /// clock.
    /// Returns whether anything changed.
    pub fn on_clock(&mut self, now: Timestamp) -> bool {
        if self.by_rows {
            return false;
        }
        let Some(time) = &self.time else {
            let moved = self.watermark < Watermark(now);
            self.watermark = self.watermark.max(Watermark(now));
            return moved;
        };
        let Some(timeout) = time.idle_timeout else { return false };
        let lag = time.on_idle_lag;
        let before = self.watermark;
        let mut changed = false;
        for partition in self.partitions.values_mut() {
            if !partition.idle && partition.last_row.plus(timeout) <= now {
                partition.idle = true;
                changed = true;
            }
        }
        if changed {
            self.meet();
        }
        let all_idle = self.partitions.values().all(|p| p.idle) && !self.partitions.is_empty();
        if let Some(lag) = lag.filter(|_| all_idle) {
            self.watermark = self.watermark.max(Watermark(now.plus(-lag)));
        }
        changed || self.watermark > before
    }
}

/// What each row promises, and the rows of which the promise cannot be computed: their time is
/// beyond all times, as infinity is.
fn promises(time: &EventTime, rows: &RecordBatch) -> Result<(Int64Array, BTreeSet<usize>)> {
    let compute = |rows: &RecordBatch| {
        time.watermark.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()))
    };
    if let Ok(all) = compute(rows) {
        return Ok((micros(&all)?, BTreeSet::new()));
    }
    let mut beyond = BTreeSet::new();
    let mut promised = Vec::with_capacity(rows.num_rows());
    for i in 0..rows.num_rows() {
        match compute(&rows.slice(i, 1)) {
            Ok(one) => promised.extend(&micros(&one)?),
            Err(_) => {
                beyond.insert(i);
                promised.push(None);
            }
        }
    }
    Ok((promised.into(), beyond))
}

/// Rows with the times of their column; one time for all where it is one.
fn timed(rows: RecordBatch, ts: Int64Array) -> Delta {
    let (_, values, _) = ts.into_parts();
    let each = TimestampMicrosecondArray::new(values, None);
    Delta::new(rows, Instants::Each(each), Weights::Ones)
}

/// Returns an event-time or watermark column as plain integers.
pub fn micros(column: &ArrayRef) -> Result<Int64Array> {
    let plain = match column.data_type() {
        DataType::Int64 => return Ok(column.as_primitive::<Int64Type>().clone()),
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
            let ts = column.as_primitive::<TimestampMicrosecondType>();
            return Ok(ts.reinterpret_cast::<Int64Type>());
        }
        DataType::Timestamp(..) => {
            let unit = arrow::datatypes::TimeUnit::Microsecond;
            cast(column, &DataType::Timestamp(unit, None))?
        }
        DataType::Null => arrow::array::new_null_array(&DataType::Int64, column.len()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => cast(column, &DataType::Int64)?,
        other => return Err(Error::NotATime(other.clone())),
    };
    micros(&plain)
}
