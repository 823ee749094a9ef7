//! ENVELOPE UPSERT: changes folded to one line per key and time.
//!
//! # Semantics
//! What a key has after an instant, if that is not what it had before: `upsert` with its row,
//! `delete` when it has none, `key_violation` when it has several; the last two are NULL but for
//! the key. NULLs in a key are equal. A key that was violated and has one row again is an `upsert`
//! of that row.
//!
//! # State
//! The content: its rows, by key.

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{Schema, SchemaRef};

use super::super::Result;
use crate::delta::{Delta, take_rows};
use crate::storage::{GroupedRows, RowSet};
use crate::time::Timestamp;

/// A relation's content by key.
pub(super) struct Upsert {
    schema: SchemaRef,
    /// Indices of the key's columns.
    key: Vec<usize>,
    keys: RowSet,
    /// By slot of their key.
    rows: GroupedRows,
}

/// Lines of the envelope, without their progress.
pub(super) struct Lines {
    /// The instant of each.
    pub times: TimestampMicrosecondArray,
    /// `upsert`, `delete` or `key_violation`.
    pub states: StringArray,
    /// The query's columns.
    pub columns: Vec<ArrayRef>,
}

/// What a key has.
#[derive(Clone, PartialEq, Eq)]
enum Had {
    Nothing,
    Row(Vec<u8>),
    Several,
}

/// A line: when, which row of the change has its key, and what the key has now.
struct Line(Timestamp, usize, Had);

impl Upsert {
    /// The empty content of rows of this type.
    pub(super) fn new(schema: &Schema, key: Vec<usize>) -> Result<Self> {
        let types = |columns: &[usize]| {
            columns.iter().map(|i| schema.field(*i).data_type().clone()).collect::<Vec<_>>()
        };
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let (keys, rows) = (RowSet::new(types(&key))?, GroupedRows::new(types(&all))?);
        Ok(Self { schema: SchemaRef::new(schema.clone()), key, keys, rows })
    }

    /// Folds changes that stand in order of their instants.
    pub(super) fn fold(&mut self, delta: &Delta) -> Result<Lines> {
        let columns = delta.rows().columns();
        let key: Vec<ArrayRef> = self.key.iter().map(|i| ArrayRef::clone(&columns[*i])).collect();
        let keys = self.keys.intern(&key, delta.len())?;
        let rows = self.rows.codec().encode(columns, delta.len())?;
        let mut lines = Vec::new();
        let mut from = 0;
        while from < delta.len() {
            let at = delta.ts_at(from);
            let end = (from..delta.len()).find(|i| delta.ts_at(*i) != at).unwrap_or(delta.len());
            let mut seen = BTreeSet::new();
            let touched = (from..end).filter(|i| seen.insert(keys[*i]));
            let before: Vec<(usize, Had)> = touched.map(|i| (i, self.had(keys[i]))).collect();
            for (i, key) in keys.iter().enumerate().take(end).skip(from) {
                let change = self.rows.add(*key, rows.get(i), delta.weight(i));
                if change.after == 0 {
                    self.rows.remove(change.slot);
                }
            }
            for (i, before) in before {
                let now = self.had(keys[i]);
                if now != before {
                    lines.push(Line(at, i, now));
                }
            }
            from = end;
        }
        let lines = self.lines(delta, &lines)?;
        let gone: BTreeSet<u32> = keys.into_iter().collect();
        for key in gone.into_iter().filter(|key| self.rows.first(*key).is_none()) {
            self.keys.remove(key);
        }
        Ok(lines)
    }

    fn had(&self, key: u32) -> Had {
        let mut rows = self.rows.of(key);
        match (rows.next(), rows.next()) {
            (None, _) => Had::Nothing,
            (Some(row), None) if self.rows.weight(row) == 1 => {
                Had::Row(self.rows.get(row).to_vec())
            }
            _ => Had::Several,
        }
    }

    fn lines(&self, delta: &Delta, lines: &[Line]) -> Result<Lines> {
        let row = |line: &Line| u32::try_from(line.1).expect("a batch has fewer than 2^32 rows");
        let keys = take_rows(delta.rows(), &lines.iter().map(row).collect::<UInt32Array>())?;
        let rows = lines.iter().filter_map(|line| match &line.2 {
            Had::Row(row) => Some(row.as_slice()),
            Had::Nothing | Had::Several => None,
        });
        let rows = self.rows.codec().decode(rows)?;
        let mut next = 0;
        let places = lines.iter().map(|line| match line.2 {
            Had::Row(_) => {
                next += 1;
                (0, next - 1)
            }
            Had::Nothing | Had::Several => (1, 0),
        });
        let places: Vec<(usize, usize)> = places.collect();
        let column = |i: usize| -> Result<ArrayRef> {
            if self.key.contains(&i) {
                return Ok(ArrayRef::clone(keys.column(i)));
            }
            let none = new_null_array(self.schema.field(i).data_type(), 1);
            Ok(interleave(&[rows[i].as_ref(), none.as_ref()], &places)?)
        };
        Ok(Lines {
            times: lines.iter().map(|line| Some(line.0.0)).collect(),
            states: lines.iter().map(|line| Some(line.2.state())).collect(),
            columns: (0..self.schema.fields().len()).map(column).collect::<Result<_>>()?,
        })
    }
}

impl Had {
    fn state(&self) -> &'static str {
        match self {
            Had::Nothing => "delete",
            Had::Row(_) => "upsert",
            Had::Several => "key_violation",
        }
    }
}
