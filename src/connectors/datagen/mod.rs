//! The datagen connector: made-up rows, the same for the same seed.
//!
//! # Semantics
//! Row `n` of a column is a function of the seed, the column's place and `n` alone. So neither the
//! size of batches nor a resumption changes the rows. Options: `rows` (absent: endless), `rate`
//! (rows per second), `seed`, `start`, `step` and `disorder` (of event time), and per column
//! `fields.<column>.<attribute>`, see [`columns`].
//!
//! # Example
//! ```sql
//! CREATE STREAM s (id int, temp real, ts timestamp) WITH (connector = 'datagen', rows = 1000,
//!     "fields.temp.min" = 15, "fields.temp.max" = 25, disorder = '3 s')
//! ```

mod columns;
mod generator;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::format::{RECORDS_MAX, TextLimit};
use super::options::Options;
use super::pace::{Due, Pacer, Rate, pause};
use super::{Error, Result, Source, SourceBatch, SourcePosition, SourceSpec};
use generator::Generator;

/// The options of this connector, without those of columns.
const KNOWN: [&str; 6] = ["rows", "rate", "seed", "start", "step", "disorder"];

/// Makes rows up.
pub struct DatagenSource {
    schema: SchemaRef,
    generators: Vec<Generator>,
    pacer: Pacer,
    /// Rows made, since the beginning of the stream.
    made: u64,
    /// How many there are in all; `None` is endless.
    rows: Option<u64>,
}

impl DatagenSource {
    /// Makes the generators of the columns.
    pub fn open(spec: &SourceSpec) -> Result<Self> {
        let options = Options::new(&spec.options, &KNOWN, Some("fields."))?;
        let rate = |text: &str| Rate::parse(text).filter(|r| matches!(r, Rate::PerSecond(_)));
        let rate = options.parsed("rate", rate, "It is '5000/s' or 5000 rows per second.")?;
        let position = spec.from.0.as_str();
        let made = if position.is_empty() { Ok(0) } else { position.parse() };
        let made = made.map_err(|_| Error::Format {
            what: "position of a datagen source".to_owned(),
            reason: format!("\"{position}\" is not a number"),
        })?;
        Ok(Self {
            generators: columns::columns(&spec.schema, &options)?,
            schema: spec.schema.clone(),
            pacer: Pacer::new(rate.unwrap_or(Rate::Unlimited), spec.clock.clone()),
            made,
            rows: options.number("rows")?,
        })
    }

    /// Returns whether the source ends by itself.
    pub fn bounded(&self) -> bool {
        self.rows.is_some()
    }

    fn make(&mut self, rows: usize) -> Result<SourceBatch> {
        let range = self.made..self.made + super::format::count(rows);
        let mut columns = Vec::with_capacity(self.generators.len());
        for (generator, field) in self.generators.iter().zip(self.schema.fields()) {
            let limit = TextLimit::of(field);
            let fits = |column: &ArrayRef| limit.as_ref().is_none_or(|l| l.first(column).is_none());
            let column = generator.make(range.clone()).filter(fits).ok_or_else(|| {
                let reason = format!("the values of column \"{}\" leave its type", field.name());
                Error::Format { what: "datagen".to_owned(), reason }
            })?;
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .expect("generators make arrays of their columns' types");
        self.made = range.end;
        let position = SourcePosition(self.made.to_string());
        Ok(SourceBatch { rows, bad: Vec::new(), position })
    }
}

#[async_trait]
impl Source for DatagenSource {
    async fn next(&mut self, rows_max: usize) -> Result<Option<SourceBatch>> {
        loop {
            let left = self.rows.map_or(u64::MAX, |rows| rows.saturating_sub(self.made));
            if left == 0 {
                return Ok(None);
            }
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            match self.pacer.due(None, rows_max.clamp(1, RECORDS_MAX).min(left)) {
                Due::Rows(rows) => return self.make(rows).map(Some),
                Due::Wait(micros) => pause(micros).await,
            }
        }
    }
}
