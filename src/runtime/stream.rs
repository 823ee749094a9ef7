//! A stream: its door, what it retains, and what it refused.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, IntervalMonthDayNanoArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{
    DataType, Field, IntervalMonthDayNano, IntervalUnit, Schema, SchemaRef, TimeUnit,
};

use serde::{Deserialize, Serialize};

use super::history::keeper::Keeper;
use super::history::{History, Part, Retained, Retention};
use super::ingest::{Admission, Ingest, PartitionProgress, Reason, Refusal, SavedIngest};
use super::status::StreamStatus;
use super::{Error, Result};
use crate::delta::{Delta, Instants, Weights, append_column};
use crate::operators::evaluate::row_text;
use crate::planner::relation::LATE;
use crate::sql::catalog::Oid;
use crate::storage::{StateReader, StateWriter};
use crate::time::{Timestamp, Watermark};

/// How many refused rows are kept per stream for `hw.late_rows`.
const LATE_ROWS_KEPT: usize = 1_000;

/// What becomes of refused rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// Counted.
    Drop,
    /// Sent to this stream.
    Into(Oid),
    /// The commit fails.
    Error,
    /// Window functions take them into windows that are open.
    ToOpenWindows,
}

/// A refused row as `hw.late_rows` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LateRow {
    /// When it arrived.
    pub at: Timestamp,
    /// Why it was refused.
    pub reason: Reason,
    /// Its event time.
    pub ts: Option<i64>,
    /// The watermark it met.
    pub watermark: Watermark,
    /// The row as text.
    pub row: String,
}

/// What a stream is made of beside the rows it retains.
#[derive(Serialize, Deserialize)]
struct Saved {
    ingest: SavedIngest,
    admitted: u64,
    late_admitted: u64,
    refused: Vec<(Reason, u64)>,
    newest: VecDeque<LateRow>,
    moved_at: Timestamp,
}

/// A stream.
pub struct Stream {
    name: String,
    schema: SchemaRef,
    ingest: Ingest,
    history: History,
    late: Late,
    admitted: u64,
    late_admitted: u64,
    refused: BTreeMap<Reason, u64>,
    newest: VecDeque<LateRow>,
    moved_at: Timestamp,
}

/// Names of the columns that a side stream has beside those of its stream.
pub const SIDE_COLUMNS: [&str; 4] = ["late_watermark", "late_by", "arrived_at", "reason"];

/// Types of [`SIDE_COLUMNS`], where the event time has type `time`.
pub fn side_types(time: &DataType) -> [DataType; 4] {
    let by = match time {
        DataType::Int64 => DataType::Int64,
        _ => DataType::Interval(IntervalUnit::MonthDayNano),
    };
    let arrived = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    [time.clone(), by, arrived, DataType::Utf8]
}

impl Stream {
    /// An empty stream with that door.
    pub fn new(
        name: &str,
        schema: SchemaRef,
        ingest: Ingest,
        retention: Retention,
        late: Late,
    ) -> Self {
        Self {
            name: name.to_owned(),
            ingest,
            history: History::new(Arc::clone(&schema), retention),
            schema,
            late,
            admitted: 0,
            late_admitted: 0,
            refused: BTreeMap::new(),
            newest: VecDeque::new(),
            moved_at: Timestamp::MIN,
        }
    }

    /// The watermark.
    pub fn watermark(&self) -> Watermark {
        self.ingest.watermark()
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether rows carry an event time of their own.
    pub fn has_event_time(&self) -> bool {
        self.ingest.event_time().is_some()
    }

    /// What is retained, with its times.
    pub fn retained(&self) -> Vec<Part> {
        self.history.parts()
    }

    /// Lets what is retained go to files.
    pub(super) fn keep_in_files(&mut self, keeper: &Arc<Keeper>, oid: Oid) {
        self.history.keep_in_files(keeper, oid);
    }

    /// No change.
    pub fn empty_delta(&self) -> Delta {
        Delta::empty(Arc::clone(&self.schema))
    }

    /// A copy of the door to try a commit's writes on, if one of them may be refused.
    pub fn door(&self) -> Option<Ingest> {
        (self.late == Late::Error).then(|| self.ingest.clone())
    }

    /// Refuses rows that `LATE ERROR` forbids, before anything changes. `door` has seen the
    /// commit's
    /// earlier writes.
    pub fn check(&self, rows: &RecordBatch, now: Timestamp, door: &mut Ingest) -> Result<()> {
        let admission = door.admit(rows.clone(), now)?;
        let Some(refusal) = admission.refused.first() else { return Ok(()) };
        let ts = refusal.ts.map_or("none".to_owned(), |ts| self.show(ts));
        let detail =
            format!("Its event time is {ts}, the watermark {}.", self.show(refusal.watermark.0.0));
        let reason = refusal.reason.as_str();
        Err(Error::Refused { stream: self.name.clone(), reason, detail })
    }

    fn show(&self, ts: i64) -> String {
        match self.time_type() {
            Some(DataType::Int64) => ts.to_string(),
            _ => Timestamp(ts).to_string(),
        }
    }

    fn time_type(&self) -> Option<&DataType> {
        self.ingest.event_time().map(|time| self.schema.field(time.column).data_type())
    }

    /// Takes rows that arrive at `now`: judges, retains and counts them. Returns also what it
    /// retains of them.
    pub fn admit(&mut self, rows: &RecordBatch, now: Timestamp) -> Result<(Admission, Retained)> {
        let before = self.ingest.watermark();
        let admission = self.ingest.admit(rows.clone(), now)?;
        if self.ingest.watermark() > before {
            self.moved_at = now;
        }
        let late = self.late_rows_of(rows, &admission.refused)?;
        let arrived = Retained::new(admission.admitted.clone(), now).with_late(late, now);
        self.history.push(arrived.clone())?;
        self.admitted += admission.admitted.len() as u64;
        self.late_admitted += admission.late as u64;
        for refusal in &admission.refused {
            *self.refused.entry(refusal.reason).or_default() += 1;
        }
        let skip = admission.refused.len().saturating_sub(LATE_ROWS_KEPT);
        for refusal in &admission.refused[skip..] {
            self.newest.push_back(LateRow {
                at: now,
                reason: refusal.reason,
                ts: refusal.ts,
                watermark: refusal.watermark,
                row: row_text(rows.columns(), refusal.row as usize),
            });
            if self.newest.len() > LATE_ROWS_KEPT {
                self.newest.pop_front();
            }
        }
        Ok((admission, arrived))
    }

    /// Late rows for windows that are open, with the watermark that each of them met as a last
    /// column.
    fn late_rows_of(&self, rows: &RecordBatch, refused: &[Refusal]) -> Result<Option<Delta>> {
        let (Late::ToOpenWindows, Some(time)) = (self.late, self.time_type()) else {
            return Ok(None);
        };
        let late: Vec<&Refusal> = refused.iter().filter(|r| r.reason == Reason::Late).collect();
        if late.is_empty() {
            return Ok(None);
        }
        let indices = UInt32Array::from_iter_values(late.iter().map(|r| r.row));
        let watermarks = Int64Array::from_iter_values(late.iter().map(|r| r.watermark.0.0));
        let watermarks = arrow::compute::cast(&watermarks, time)?;
        let rows = append_column(&take_record_batch(rows, &indices)?, LATE, watermarks)?;
        let times = late.iter().map(|r| r.ts.unwrap_or(i64::MIN));
        let times = Instants::Each(TimestampMicrosecondArray::from_iter_values(times));
        Ok(Some(Delta::new(rows, times, Weights::Ones)))
    }

    /// Makes the rows of the side stream out of refused rows, if there are any and one is wanted.
    pub fn side_rows(
        &self,
        rows: &RecordBatch,
        refused: &[Refusal],
        now: Timestamp,
    ) -> Result<Option<(Oid, RecordBatch)>> {
        let (Late::Into(side), Some(time)) = (self.late, self.time_type()) else {
            return Ok(None);
        };
        if refused.is_empty() {
            return Ok(None);
        }
        let indices = UInt32Array::from_iter_values(refused.iter().map(|r| r.row));
        let mut columns = take_record_batch(rows, &indices)?.columns().to_vec();
        let known = |w: Watermark| (w != Watermark::MIN).then_some(w.0.0);
        let watermarks: Int64Array = refused.iter().map(|r| known(r.watermark)).collect();
        columns.push(arrow::compute::cast(&watermarks, time)?);
        let by = |r: &Refusal| match r.reason {
            Reason::Late => Some(known(r.watermark)? - r.ts?),
            Reason::NullTime | Reason::TooFarAhead => None,
        };
        columns.push(match time {
            DataType::Int64 => Arc::new(refused.iter().map(by).collect::<Int64Array>()) as ArrayRef,
            _ => {
                let span =
                    |micros: i64| IntervalMonthDayNano::new(0, 0, micros.saturating_mul(1_000));
                let spans = refused.iter().map(|r| by(r).map(span));
                Arc::new(spans.collect::<IntervalMonthDayNanoArray>())
            }
        });
        let arrived = TimestampMicrosecondArray::from_value(now.0, refused.len());
        columns.push(Arc::new(arrived.with_timezone("UTC")));
        let reasons: StringArray = refused.iter().map(|r| Some(r.reason.as_str())).collect();
        columns.push(Arc::new(reasons));
        let fields = self.schema.fields().iter().cloned();
        let extra = SIDE_COLUMNS.into_iter().zip(side_types(time));
        let extra = extra.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
        let schema = Arc::new(Schema::new(fields.chain(extra).collect::<Vec<_>>()));
        Ok(Some((side, RecordBatch::try_new(schema, columns)?)))
    }

    /// Takes a promise.
    pub fn heartbeat(&mut self, at: Timestamp, now: Timestamp) {
        let before = self.ingest.watermark();
        self.ingest.heartbeat(at);
        if self.ingest.watermark() > before {
            self.moved_at = now;
        }
    }

    /// Looks at the clock; returns whether the watermark or a partition's idleness changed.
    pub fn on_clock(&mut self, now: Timestamp) -> bool {
        let before = self.ingest.watermark();
        let changed = self.ingest.on_clock(now);
        if self.ingest.watermark() > before {
            self.moved_at = now;
        }
        changed
    }

    /// The newest refused rows, oldest first.
    pub fn late_rows(&self) -> impl Iterator<Item = &LateRow> {
        self.newest.iter()
    }

    /// How far each partition is.
    pub fn progress(&self) -> Result<Vec<PartitionProgress>> {
        self.ingest.progress()
    }

    /// Writes all of it.
    pub(super) fn save(&self, to: &mut StateWriter) -> Result<()> {
        let saved = Saved {
            ingest: self.ingest.save(),
            admitted: self.admitted,
            late_admitted: self.late_admitted,
            refused: self.refused.iter().map(|(reason, count)| (*reason, *count)).collect(),
            newest: self.newest.clone(),
            moved_at: self.moved_at,
        };
        to.put_value(&saved)?;
        self.history.save(to)
    }

    /// Takes what [`Stream::save`] wrote.
    pub(super) fn load(&mut self, from: &mut StateReader) -> Result<()> {
        let saved: Saved = from.take_value()?;
        self.ingest.load(saved.ingest, &self.schema)?;
        self.admitted = saved.admitted;
        self.late_admitted = saved.late_admitted;
        self.refused = saved.refused.into_iter().collect();
        self.newest = saved.newest;
        self.moved_at = saved.moved_at;
        self.history.load(from)
    }

    /// For the system relations.
    pub fn status(&self, oid: Oid) -> StreamStatus {
        StreamStatus {
            oid,
            admitted: self.admitted,
            late_admitted: self.late_admitted,
            retained: self.history.size(),
            watermark: self.ingest.watermark(),
            moved_at: self.moved_at,
            refused: self.refused.clone(),
            partitions: self.ingest.partitions(),
        }
    }
}
