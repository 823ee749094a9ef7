//! Rows that come when the watermark has passed their instant.
//!
//! # Semantics
//! A stream with ALLOWED LATENESS has such rows. A window takes them in as of the first instant
//! that is open, its watermark: what has been said of earlier instants stands, and every instant
//! to come is as if they had come in time. No other operator meets them.

use arrow::array::BooleanArray;

use crate::delta::Delta;
use crate::operators::Result;
use crate::time::Watermark;

/// Splits rows into those that come late and those that do not; nothing if none is late.
pub(super) fn late(rows: &Delta, watermark: Watermark) -> Result<Option<(Delta, Delta)>> {
    let late = |row: usize| rows.ts_at(row) < watermark.0;
    if !(0..rows.len()).any(late) {
        return Ok(None);
    }
    let late: BooleanArray = (0..rows.len()).map(|row| Some(late(row))).collect();
    Ok(Some((rows.filter(&late)?, rows.filter(&arrow::compute::not(&late)?)?)))
}
