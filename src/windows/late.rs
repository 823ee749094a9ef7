//! Rows that come when the watermark has passed their instant.
//!
//! # Semantics
//! A stream with ALLOWED LATENESS has such rows. Windows of rows take them in as of the last
//! instant that has closed: what has been said of earlier instants stands, and that one and every
//! instant to come is as if they had come in time.

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
