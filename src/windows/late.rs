//! Rows that come when the watermark has passed their instant.
//!
//! # Semantics
//! A stream with ALLOWED LATENESS has such rows. Windows of rows take them in as of the last
//! instant that has closed: what has been said of earlier instants stands, and that one and every
//! instant to come is as if they had come in time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::delta::Delta;
use crate::operators::{Result, StateReader, StateWriter};
use crate::time::{Timestamp, Watermark};

/// Splits rows into those that come late and those that do not; nothing if none is late.
pub(super) fn late(rows: &Delta, watermark: Watermark) -> Result<Option<(Delta, Delta)>> {
    let late = |row: usize| rows.ts_at(row) < watermark.0;
    if !(0..rows.len()).any(late) {
        return Ok(None);
    }
    let late: BooleanArray = (0..rows.len()).map(|row| Some(late(row))).collect();
    Ok(Some((rows.filter(&late)?, rows.filter(&arrow::compute::not(&late)?)?)))
}

/// Writes a watermark.
pub(super) fn save_watermark(watermark: Watermark, to: &mut StateWriter) -> Result<()> {
    let watermark: ArrayRef = Arc::new(Int64Array::from(vec![watermark.0.0]));
    to.put("watermark", RecordBatch::try_from_iter([("watermark", watermark)])?);
    Ok(())
}

/// Reads what was written.
pub(super) fn load_watermark(from: &mut StateReader) -> Result<Watermark> {
    let saved = from.take("watermark");
    let saved = saved.as_ref().map(|saved| saved.column(0).as_primitive::<Int64Type>().value(0));
    Ok(saved.map_or(Watermark::MIN, |at| Watermark(Timestamp(at))))
}
