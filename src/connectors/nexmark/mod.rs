//! The nexmark connector: the auction site of the Nexmark benchmark, the same for the same seed.
//!
//! # Semantics
//! Of 50 events the first is a person, three are auctions and 46 are bids; a stream holds those of
//! one kind, `event = 'person' | 'auction' | 'bid'`. Every field of event number `n` is a function
//! of the seed and `n` alone (see [`events`]), so streams fit together, and neither the size of
//! batches nor a resumption changes them. Columns are found by their names, in the benchmark's
//! spelling or with underscores; event time may be called `ts`. Only declared columns are made.
//!
//! Options: `event`; `events`, the number of events of all kinds (absent: endless);
//! `events_per_second` of event time (10,000); `seed` (42); `rate`, in events of all kinds per
//! second, or a multiple of event time.
//!
//! # Example
//! ```sql
//! CREATE STREAM bid (auction BIGINT, price BIGINT, ts TIMESTAMP,
//!     WATERMARK FOR ts AS ts - INTERVAL '4 seconds')
//! WITH (connector = 'nexmark', event = 'bid', events = 100000)
//! ```
//!
//! # Source
//! Tucker, Tufte, Papadimos, Maier: NEXMark, a benchmark for queries over data streams (2002), with
//! the proportions of its later implementations.

mod columns;
mod events;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use self::columns::Column;
use self::events::{Events, Kind};
use super::format::{RECORDS_MAX, TextLimit, count};
use super::options::Options;
use super::pace::{Due, Pacer, Rate, pause};
use super::{Error, Result, Source, SourceBatch, SourcePosition, SourceSpec};

/// The options of this connector.
const KNOWN: [&str; 5] = ["event", "events", "events_per_second", "rate", "seed"];

/// Makes the events of one kind.
pub struct NexmarkSource {
    schema: SchemaRef,
    columns: Vec<Column>,
    kind: Kind,
    events: Events,
    pacer: Pacer,
    /// Number of the next event, of any kind.
    next: u64,
    /// How many events there are in all; `None` is endless.
    end: Option<u64>,
}

impl NexmarkSource {
    /// Finds the declared columns among those of the event.
    pub fn open(spec: &SourceSpec) -> Result<Self> {
        let options = Options::new(&spec.options, &KNOWN, None)?;
        options.required("event")?;
        let kind = options.parsed("event", Kind::parse, "It is person, auction or bid.")?;
        let kind = kind.expect("is required");
        let positive = |text: &str| text.trim().replace('_', "").parse().ok().filter(|n| *n > 0);
        let hint = "It is a whole number above 0.";
        let per_second = options.parsed("events_per_second", positive, hint)?.unwrap_or(10_000);
        let rate = options.parsed("rate", Rate::parse, "It is '5000/s' or '2x'.")?;
        let rate = match rate.unwrap_or(Rate::Unlimited) {
            // Event time is even, so a multiple of it is a number of events.
            Rate::Speedup(times) => Rate::PerSecond(times * f64::from(per_second)),
            rate => rate,
        };
        let column = |field: &Arc<arrow::datatypes::Field>| {
            let column = Column::find(kind, field.name()).ok_or_else(|| Error::Option {
                message: format!("a {} has no \"{}\"", kind.name(), field.name()),
                hint: Some(format!("Its columns are {}.", Column::names(kind).join(", "))),
            })?;
            match can_cast_types(&column.data_type(), field.data_type()) {
                true => Ok(column),
                false => Err(Error::Option {
                    message: format!("column \"{}\" cannot be of its type", field.name()),
                    hint: Some(format!("It is {}.", column.type_name())),
                }),
            }
        };
        let columns = spec.schema.fields().iter().map(column).collect::<Result<_>>()?;
        let position = spec.from.0.as_str();
        let next = if position.is_empty() { Ok(0) } else { position.parse() };
        let next = next.map_err(|_| Error::Format {
            what: "position of a nexmark source".to_owned(),
            reason: format!("\"{position}\" is not a number"),
        })?;
        Ok(Self {
            schema: Arc::clone(&spec.schema),
            columns,
            kind,
            events: Events::new(options.number("seed")?.unwrap_or(42), per_second),
            pacer: Pacer::new(rate, Arc::clone(&spec.clock)),
            next,
            end: options.number("events")?,
        })
    }

    /// Returns whether the source ends by itself.
    pub fn bounded(&self) -> bool {
        self.end.is_some()
    }

    /// Makes the rows of the next events.
    fn make(&mut self, events: u64) -> Result<SourceBatch> {
        let numbers = self.kind.among(self.next..self.next + events);
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let mut columns = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            let limit = TextLimit::of(field);
            let fits = |column: &ArrayRef| limit.as_ref().is_none_or(|l| l.first(column).is_none());
            let values = column.make(&self.events, &numbers);
            let values = cast_with_options(&values, field.data_type(), &strict).ok().filter(fits);
            columns.push(values.ok_or_else(|| {
                let reason = format!("the values of column \"{}\" leave its type", field.name());
                Error::Format { what: "nexmark".to_owned(), reason }
            })?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .expect("columns are cast to their types");
        self.next += events;
        let position = SourcePosition(self.next.to_string());
        Ok(SourceBatch { rows, bad: Vec::new(), position })
    }
}

#[async_trait]
impl Source for NexmarkSource {
    async fn next(&mut self, rows_max: usize) -> Result<Option<SourceBatch>> {
        loop {
            let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.next));
            if left == 0 {
                return Ok(None);
            }
            let rows_max = rows_max.clamp(1, RECORDS_MAX);
            let events = self.kind.events_with(rows_max);
            let events = events.min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.pacer.due(None, events) {
                Due::Rows(events) => {
                    let batch = self.make(count(events))?;
                    if batch.rows.num_rows() > 0 {
                        return Ok(Some(batch));
                    }
                }
                Due::Wait(micros) => pause(micros).await,
            }
        }
    }
}
