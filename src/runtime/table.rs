//! The content of a base table, with its primary key.
//!
//! # Invariants
//! 1. With a primary key no two rows agree on it: [`Table::check`] says so before a change is
//!    taken.
//! 2. Weights are never negative: UPDATE and DELETE retract rows that they found, under the table's
//!    lock.
//! 3. The index leads from each key to its row.
//!
//! # Cost
//! A change, and a look at the rows of some keys, cost as much as those rows. A snapshot costs all
//! rows, once per change.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::changes::{AsOf, Changes};
use super::history::keeper::Keeper;
use super::ingest::micros;
use super::{Error, Result};
use crate::delta::{Delta, Instants, Weights, span};
use crate::operators::evaluate::row_text;
use crate::planner::asof::DELETED;
use crate::sql::catalog::Oid;
use crate::storage::{Bag, NONE, RowSet, StateReader, StateWriter, Store};
use crate::time::{Timestamp, Watermark};

/// The content of a base table.
pub struct Table {
    name: String,
    bag: Bag,
    index: Option<Index>,
    /// The stream of its versions, and the column that says from when on one is valid.
    versions: Option<(Oid, usize)>,
    /// Its changes of late, if they are kept.
    changes: Option<Changes>,
    snapshot: Option<(RecordBatch, Int64Array)>,
}

/// From primary keys to rows.
struct Index {
    /// The key's columns.
    columns: Vec<usize>,
    keys: RowSet,
    /// For each key's slot, that of its row in the bag.
    rows: Vec<u32>,
}

impl Table {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        self.bag.schema()
    }

    /// An empty table.
    pub fn new(name: &str, schema: SchemaRef, primary_key: Vec<usize>) -> Result<Self> {
        let index = match primary_key.is_empty() {
            true => None,
            false => {
                let types =
                    primary_key.iter().map(|i| span::key_type(schema.field(*i).data_type()));
                let keys = RowSet::new(types)?;
                Some(Index { columns: primary_key, keys, rows: Vec::new() })
            }
        };
        let (name, bag) = (name.to_owned(), Bag::new(schema)?);
        Ok(Self { name, bag, index, versions: None, changes: None, snapshot: None })
    }

    /// Keeps the changes of a span, in microseconds, for readers of the past.
    pub fn keep_changes(&mut self, span: i64) {
        self.changes = Some(Changes::new(Arc::clone(self.schema()), span));
    }

    /// Says that the table is there from a time on, and whose files its changes are.
    pub(super) fn begin(&mut self, at: Timestamp, keeper: &Arc<Keeper>, oid: Oid) {
        if let Some(changes) = &mut self.changes {
            changes.begin(at);
            changes.keep_in_files(keeper, oid);
        }
    }

    /// Returns each distinct row, with its weight, as of a time.
    pub(super) fn as_of(&mut self, as_of: AsOf) -> Result<Delta> {
        let changes = self.changes.as_ref().ok_or_else(|| Error::NoPast(self.name.clone()))?;
        changes.check(&self.name, as_of)?;
        let later = changes.after(as_of.at)?;
        let (rows, weights) = self.snapshot()?;
        let now = Delta::new(rows, Instants::All(Timestamp::MIN), Weights::Each(weights));
        let gone = later.into_iter().map(|delta| delta.negate().at(Timestamp::MIN));
        let all: Vec<Delta> = std::iter::once(now).chain(gone).collect();
        Ok(Delta::concat(self.schema(), &all)?.consolidate()?)
    }

    /// Lets every change go to a stream of versions as well.
    pub fn keep_versions(&mut self, stream: Oid, time: usize) {
        self.versions = Some((stream, time));
    }

    /// The stream of its versions.
    pub fn versions(&self) -> Option<Oid> {
        self.versions.map(|(stream, _)| stream)
    }

    /// Returns the versions that a change makes: the rows added, each valid from its own time on,
    /// and the rows of keys that are gone, deleted from the watermark on or from their own time if
    /// that is later.
    pub fn versions_of(&self, delta: &Delta, watermark: Watermark) -> Result<RecordBatch> {
        let delta = delta.consolidate()?;
        let of = |sign: i64| -> BooleanArray {
            (0..delta.len()).map(|i| Some(delta.weight(i).signum() == sign)).collect()
        };
        let (added, gone) = (delta.filter(&of(1))?, delta.filter(&of(-1))?);
        let Some(index) = &self.index else { unreachable!("versions are of keys") };
        let columns = index.key(added.rows());
        let mut keys = RowSet::new(columns.iter().map(|c| c.data_type().clone()))?;
        keys.intern(&columns, added.len())?;
        let replaced = keys.find(&index.key(gone.rows()), gone.len())?;
        let gone = gone.filter(&replaced.iter().map(|slot| Some(*slot == NONE)).collect())?;
        let mut last = gone.rows().columns().to_vec();
        if let Some((_, time)) = self.versions {
            let times = micros(&last[time])?;
            let later = times.iter().map(|t| t.map(|t| t.max(watermark.0.0)));
            last[time] = cast(&later.collect::<Int64Array>(), last[time].data_type())?;
        }
        let deleted = |rows: usize, deleted: bool| -> ArrayRef {
            Arc::new(BooleanArray::from(vec![deleted; rows]))
        };
        let mut versions = Vec::with_capacity(last.len() + 1);
        for (new, old) in added.rows().columns().iter().zip(&last) {
            versions.push(concat(&[new.as_ref(), old.as_ref()])?);
        }
        let flags = [deleted(added.len(), false), deleted(gone.len(), true)];
        versions.push(concat(&[flags[0].as_ref(), flags[1].as_ref()])?);
        let flag = Field::new(DELETED, DataType::Boolean, true);
        let schema = delta.schema();
        let fields = schema.fields().iter().map(|field| field.as_ref().clone()).chain([flag]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(RecordBatch::try_new(schema, versions)?)
    }

    /// Returns an error if the change would leave two rows of one key, or take a row back that is
    /// not there any more.
    pub fn check(&self, delta: &Delta) -> Result<()> {
        let Some(index) = &self.index else { return Ok(()) };
        self.check_retracted(delta)?;
        let columns = index.key(delta.rows());
        let present = index.keys.find(&columns, delta.len())?;
        let mut seen = RowSet::new(columns.iter().map(|c| c.data_type().clone()))?;
        let slots = seen.intern(&columns, delta.len())?;
        // Rows of each key after the change: those present, less those retracted, and those added.
        let mut copies = vec![0_i64; seen.bound()];
        for (slot, present) in slots.iter().zip(&present) {
            copies[*slot as usize] = i64::from(*present != NONE);
        }
        let retracted = slots.iter().enumerate().filter(|(i, _)| delta.weight(*i) < 0);
        for (i, slot) in retracted {
            copies[*slot as usize] += delta.weight(i);
        }
        let added = slots.iter().enumerate().filter(|(i, _)| delta.weight(*i) > 0);
        for (i, slot) in added {
            let copies = &mut copies[*slot as usize];
            *copies += delta.weight(i);
            if *copies > 1 {
                return Err(self.duplicate(index, delta.rows(), i));
            }
        }
        Ok(())
    }

    /// A sink may have replaced a row since a statement found it.
    fn check_retracted(&self, delta: &Delta) -> Result<()> {
        let gone = |delta: &Delta| -> Result<bool> {
            let found = self.bag.find(delta.rows())?;
            Ok(found.iter().enumerate().any(|(i, row)| delta.weight(i) < 0 && *row == NONE))
        };
        // A row that the change itself brings and takes is not in the table.
        if gone(delta)? && gone(&delta.clone().at(Timestamp::MIN).consolidate()?)? {
            return Err(Error::Changed { table: self.name.clone() });
        }
        Ok(())
    }

    fn duplicate(&self, index: &Index, rows: &RecordBatch, row: usize) -> Error {
        let schema = self.bag.schema();
        let names = index.columns.iter().map(|i| schema.field(*i).name().as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let key: Vec<_> = index.columns.iter().map(|i| Arc::clone(rows.column(*i))).collect();
        let detail = format!("Key ({names})={} already exists.", row_text(&key, row));
        Error::DuplicateKey { table: self.name.clone(), detail }
    }

    /// Takes a change that [`Table::check`] has passed.
    pub fn apply(&mut self, delta: &Delta) -> Result<()> {
        self.snapshot = None;
        self.bag.apply(delta)?;
        if let Some((changes, at)) = self.changes.as_mut().zip(delta.span()) {
            changes.push(delta, at.1, at.1)?;
        }
        match &mut self.index {
            None => Ok(()),
            Some(index) => Ok(index.apply(delta, &self.bag)?),
        }
    }

    /// Returns the change that gives each key of `wanted` the row that is inserted there, or none:
    /// whatever row of that key the table has goes. Needs a primary key, and at most one insertion
    /// per key.
    pub fn replacing(&self, wanted: &Delta) -> Result<Delta> {
        let index = self.index.as_ref().expect("a table that is written by key has one");
        let present = self.lookup(&index.key(wanted.rows()), wanted.len())?;
        let gone = Delta::inserts(present, Timestamp::MIN).negate();
        let inserted: BooleanArray =
            (0..wanted.len()).map(|i| Some(wanted.weight(i) > 0)).collect();
        let inserted = wanted.filter(&inserted)?.at(Timestamp::MIN);
        Ok(Delta::concat(self.bag.schema(), &[inserted, gone])?.consolidate()?)
    }

    /// Returns the rows that have one of these primary keys.
    pub fn lookup(&self, keys: &[ArrayRef], len: usize) -> Result<RecordBatch, ArrowError> {
        let Some(index) = &self.index else { return self.bag.rows(&[]) };
        let mut slots = index.keys.find(&span::keys(keys.iter().cloned()), len)?;
        slots.retain(|slot| *slot != NONE);
        slots.sort_unstable();
        slots.dedup();
        let rows: Vec<u32> = slots.iter().map(|slot| index.rows[*slot as usize]).collect();
        self.bag.rows(&rows)
    }

    /// Returns each distinct row with its weight.
    pub fn snapshot(&mut self) -> Result<(RecordBatch, Int64Array), ArrowError> {
        match &self.snapshot {
            Some(snapshot) => Ok(snapshot.clone()),
            None => Ok(self.snapshot.insert(self.bag.snapshot()?).clone()),
        }
    }

    /// Writes the rows.
    pub(super) fn save(&self, to: &mut StateWriter) -> Result<()> {
        self.bag.save(to)?;
        self.changes.as_ref().map_or(Ok(()), |changes| changes.save(to))
    }

    /// Takes what [`Table::save`] wrote, into an empty table.
    pub(super) fn load(&mut self, from: &mut StateReader) -> Result<()> {
        self.snapshot = None;
        self.bag.load(from)?;
        if let Some(changes) = &mut self.changes {
            changes.load(from)?;
        }
        let Some(index) = &mut self.index else { return Ok(()) };
        let (rows, weights) = self.bag.snapshot()?;
        let all = Delta::new(rows, Instants::All(Timestamp::MIN), Weights::Each(weights));
        Ok(index.apply(&all, &self.bag)?)
    }

    /// Number of distinct rows.
    pub fn row_count(&self) -> usize {
        self.bag.len()
    }
}

impl Index {
    fn key(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        span::keys(self.columns.iter().map(|i| Arc::clone(rows.column(*i))))
    }

    /// Takes a change that the bag has taken.
    fn apply(&mut self, delta: &Delta, bag: &Bag) -> Result<(), ArrowError> {
        let delta = delta.clone().consolidate()?;
        let slots = self.keys.find(&self.key(delta.rows()), delta.len())?;
        for (i, slot) in slots.iter().enumerate() {
            if delta.weight(i) < 0 && *slot != NONE && self.keys.contains(*slot) {
                self.keys.remove(*slot);
            }
        }
        let added: BooleanArray = (0..delta.len()).map(|i| Some(delta.weight(i) > 0)).collect();
        let added = delta.filter(&added)?;
        let slots = self.keys.intern(&self.key(added.rows()), added.len())?;
        self.rows.resize(self.keys.bound(), NONE);
        for (slot, row) in slots.iter().zip(bag.find(added.rows())?) {
            self.rows[*slot as usize] = row;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn rows(rows: &[(i64, &str)]) -> RecordBatch {
        let ids = Int64Array::from_iter_values(rows.iter().map(|r| r.0));
        let names = StringArray::from_iter_values(rows.iter().map(|r| r.1));
        let fields = [("id", DataType::Int64), ("name", DataType::Utf8)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(names)]).unwrap()
    }

    fn delta(removed: &[(i64, &str)], added: &[(i64, &str)]) -> Delta {
        let [removed, added] = [removed, added].map(|r| Delta::inserts(rows(r), Timestamp::MIN));
        Delta::concat(&added.schema(), &[removed.negate(), added]).unwrap()
    }

    fn names(table: &Table, keys: &[i64]) -> Vec<String> {
        let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        let found = table.lookup(&[Arc::clone(&keys)], keys.len()).unwrap();
        let ids = found.column(0).as_primitive::<Int64Type>().values().iter();
        let names = found.column(1).as_string::<i32>().iter().flatten();
        let mut found: Vec<_> = ids.zip(names).map(|(id, name)| format!("{id}{name}")).collect();
        found.sort();
        found
    }

    #[test]
    fn keys_lead_to_their_rows_through_changes() {
        let mut table = Table::new("t", rows(&[]).schema(), vec![0]).unwrap();
        let mut change = |removed: &[_], added: &[_], expected: &[&str]| {
            let delta = delta(removed, added);
            table.check(&delta).unwrap();
            table.apply(&delta).unwrap();
            assert_eq!(names(&table, &[1, 2, 3, 3, 9]), expected);
        };
        change(&[], &[(1, "a"), (2, "b")], &["1a", "2b"]);
        change(&[(1, "a")], &[(1, "c"), (3, "b")], &["1c", "2b", "3b"]);
        change(&[(2, "b"), (3, "b")], &[(3, "a")], &["1c", "3a"]);
        // A row that goes and comes in one change, and keys that change places.
        change(&[(1, "c"), (3, "a")], &[(3, "c"), (1, "a")], &["1a", "3c"]);
        change(&[(1, "a")], &[(1, "a")], &["1a", "3c"]);
        change(&[], &[(2, "x")], &["1a", "2x", "3c"]);
        assert!(table.check(&delta(&[], &[(2, "y")])).is_err());
        assert!(names(&table, &[]).is_empty());
    }
}
