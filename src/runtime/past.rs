//! What a stream retained before a query began, read by the query's tasks a part at a time.
//!
//! # Semantics
//! Of all rows each shard gets a contiguous slice, so that their order stays. A slice is read when
//! a task comes to it, and not while the hub is locked; so no more than a part is in memory beside
//! what the query keeps of it.

use arrow::error::ArrowError;

use super::Result;
use super::history::{Part, Retained};
use super::job::{Reading, pieces, with_seq};
use crate::delta::Delta;

/// Some rows of a part, as a query reads them.
#[derive(Clone, Debug)]
pub struct Past {
    part: Part,
    reading: Reading,
    /// The first of them.
    from: usize,
    /// How many.
    rows: usize,
    /// The number of the part's first row in the order of arrival.
    first_seq: i64,
    /// Rows that are processed at a time at most.
    batch_rows: usize,
}

impl Past {
    /// Returns for each of `shards` what it is to read, nearly the same number of rows; with fewer
    /// than `min_rows` for each, fewer shards read. The last row has the number before `end_seq`.
    pub fn split(
        parts: &[Part],
        reading: Reading,
        (shards, min_rows, batch_rows): (usize, usize, usize),
        end_seq: i64,
    ) -> Vec<Vec<Past>> {
        let count = |part: &Part| match reading.late {
            None => part.in_time(),
            Some(_) => part.rows(),
        };
        let total: usize = parts.iter().map(count).sum();
        let used = (total / min_rows.max(1)).clamp(1, shards);
        let rows = i64::try_from(total).expect("a stream retains fewer than 2^63 rows");
        let slice = |shard: usize| {
            let (begin, end) = match shard < used {
                true => (total * shard / used, total * (shard + 1) / used),
                false => (0, 0),
            };
            let mut before = 0;
            let mut slices = Vec::new();
            for part in parts {
                let (first, behind) = (before, before + count(part));
                before = behind;
                let (from, to) = (begin.max(first), end.min(behind));
                if from < to {
                    let first_seq = end_seq - rows + i64::try_from(first).expect("below the total");
                    let (part, from, rows) = (part.clone(), from - first, to - from);
                    slices.push(Past { part, reading, from, rows, first_seq, batch_rows });
                }
            }
            slices
        };
        (0..shards).map(slice).collect()
    }

    /// Reads the rows. Blocks, if they are in a file.
    pub fn read(&self) -> Result<Vec<Delta>> {
        let runs = self.part.read()?;
        let deltas = runs.iter().map(|run: &Retained| self.reading.rows_of(run));
        let deltas = deltas.collect::<Result<Vec<_>, ArrowError>>()?;
        let Some(first) = deltas.first() else { return Ok(deltas) };
        let whole = match deltas.as_slice() {
            [one] => one.clone(),
            several => Delta::concat(&first.schema(), several)?,
        };
        let mut rows = whole.slice(self.from, self.rows);
        if self.reading.seq {
            let from = i64::try_from(self.from).expect("fewer than 2^63 rows");
            rows = with_seq(rows, self.first_seq + from)?;
        }
        Ok(pieces(vec![rows], self.batch_rows))
    }
}
