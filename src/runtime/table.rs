//! The content of a base table, with its primary key.
//!
//! # Invariants
//! 1. No two rows agree on a key, unless a column of it is NULL: [`Table::check`] says so before a
//!    change is taken.
//! 2. Weights are never negative: UPDATE and DELETE retract rows that they found, under the table's
//!    lock.
//! 3. An index leads from each key to its row.
//!
//! # Cost
//! A change, and a look at the rows of some keys, cost as much as those rows. A snapshot costs all
//! rows, once per change.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;

use super::changes::{AsOf, Changes};
use super::content::Cached;
use super::history::keeper::Keeper;
use super::ingest::micros;
use super::memory::{Account, Holding, Memory, ROW_BYTES};
use super::{Error, Result};
use crate::delta::{Delta, Instants, Weights, span};
use crate::operators::evaluate::row_text;
use crate::planner::asof::DELETED;
use crate::sql::catalog::Oid;
use crate::storage::{Bag, NONE, RowSet, StateReader, StateWriter, Store, Visit};
use crate::time::{Timestamp, Watermark};

/// The content of a base table.
pub struct Table {
    name: String,
    bag: Bag,
    /// Whether the first index is that of a primary key.
    keyed: bool,
    indexes: Vec<Index>,
    /// The stream of its versions, and the column that says from when on one is valid.
    versions: Option<(Oid, usize)>,
    /// Its changes of late, if they are kept.
    changes: Option<Changes>,
    snapshot: Cached,
    /// What it holds, once it is one of the hub's.
    holding: Option<Holding>,
    /// Bytes, more or less, of changes since it was looked at that.
    news: usize,
}

/// What is in a column of a table that was altered.
pub enum NewColumn {
    /// What was in that column.
    Old(usize),
    /// The same in every row.
    Value(ScalarValue),
}

/// What no two rows of a table agree on.
#[derive(Clone, Debug, Default)]
pub struct TableKeys {
    /// The columns of the primary key; none if it has none.
    pub primary: Vec<usize>,
    /// Other keys, by the names of their constraints.
    pub unique: Vec<(String, Vec<usize>)>,
}

/// From keys to rows.
struct Index {
    /// The constraint's name.
    name: String,
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
    pub fn new(name: &str, schema: SchemaRef, keys: TableKeys) -> Result<Self> {
        let keyed = !keys.primary.is_empty();
        let primary = keyed.then(|| (format!("{name}_pkey"), keys.primary));
        let indexes = primary.into_iter().chain(keys.unique).map(|(name, columns)| {
            let types = columns.iter().map(|i| span::key_type(schema.field(*i).data_type()));
            let keys = RowSet::new(types)?;
            Ok(Index { name, columns, keys, rows: Vec::new() })
        });
        let indexes = indexes.collect::<Result<_>>()?;
        let (name, bag) = (name.to_owned(), Bag::new(schema)?);
        let (snapshot, holding, news) = (Cached::default(), None, 0);
        let (versions, changes) = (None, None);
        Ok(Self { name, bag, keyed, indexes, versions, changes, snapshot, holding, news })
    }

    /// The index of the primary key.
    fn primary(&self) -> Option<&Index> {
        self.indexes.first().filter(|_| self.keyed)
    }

    /// Keeps the changes of a span, in microseconds, for readers of the past.
    pub fn keep_changes(&mut self, span: i64) {
        self.changes = Some(Changes::new(Arc::clone(self.schema()), span));
    }

    /// Says that the table is there from a time on, whose files its changes are, and what of the
    /// memory it shares.
    pub(super) fn begin(
        &mut self,
        at: Timestamp,
        (keeper, oid): (&Arc<Keeper>, Oid),
        memory: &Arc<Memory>,
    ) {
        if let Some(changes) = &mut self.changes {
            changes.begin(at);
            changes.keep_in_files(keeper, oid);
        }
        self.holding = Some(Holding::new(&Account::new(memory)));
    }

    /// Bytes that it holds in memory and in the scratch file.
    pub(super) fn held(&self) -> (usize, usize) {
        let account = self.holding.as_ref().map(Holding::account);
        account.map_or((0, 0), |account| (account.held(), account.spilled()))
    }

    /// Spills so many bytes, if there are so many, and returns how many were.
    pub(super) fn spill(&mut self, bytes: usize) -> usize {
        let Self { bag, indexes, snapshot, holding, .. } = self;
        let stores = |visit: &mut Visit<'_>| show(bag, indexes, snapshot, visit);
        holding.as_mut().map_or(0, |holding| holding.spill(bytes, stores))
    }

    /// Looks at what it holds after changes of so many rows, if it is time.
    fn settle(&mut self, changed: usize) {
        self.news += changed * ROW_BYTES;
        let Self { bag, indexes, snapshot, holding, news, .. } = self;
        if let Some(holding) = holding.as_mut().filter(|holding| holding.is_stale(*news)) {
            *news = 0;
            holding.settle(|visit: &mut Visit<'_>| show(bag, indexes, snapshot, visit));
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
        let Some(index) = self.primary() else { unreachable!("versions are of keys") };
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

    /// The table with other columns, each of which was a column of it or has one value; its rows
    /// must agree with the key.
    pub fn altered(
        &mut self,
        name: &str,
        schema: SchemaRef,
        keys: TableKeys,
        columns: &[NewColumn],
    ) -> Result<Self> {
        let (rows, weights) = self.snapshot()?;
        let columns = columns.iter().map(|column| match column {
            NewColumn::Old(index) => Ok(Arc::clone(rows.column(*index))),
            NewColumn::Value(value) => value.to_array_of_size(rows.num_rows()),
        });
        let columns =
            columns.collect::<Result<Vec<_>, _>>().map_err(crate::operators::Error::from)?;
        let rows = crate::delta::batch(Arc::clone(&schema), columns, rows.num_rows())?;
        let all = Delta::new(rows, Instants::All(Timestamp::MIN), Weights::Each(weights));
        let all = all.consolidate()?;
        let mut table = Self::new(name, schema, keys)?;
        table.check(&all)?;
        table.apply(&all)?;
        Ok(table)
    }

    /// Returns an error if the change would leave two rows of one key, or take a row back that is
    /// not there any more, or was made for other columns.
    pub fn check(&self, delta: &Delta) -> Result<()> {
        let types = |schema: &SchemaRef| -> Vec<DataType> {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        if types(&delta.schema()) != types(self.schema()) {
            return Err(Error::Changed { table: self.name.clone() });
        }
        if self.indexes.is_empty() {
            return Ok(());
        }
        self.check_retracted(delta)?;
        for index in &self.indexes {
            let delta = index.keyed(delta)?;
            if let Some(row) = index.duplicate(&delta)? {
                return Err(self.duplicate(index, delta.rows(), row));
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
        Error::DuplicateKey { constraint: index.name.clone(), detail }
    }

    /// Takes a change that [`Table::check`] has passed.
    pub fn apply(&mut self, delta: &Delta) -> Result<()> {
        self.snapshot.0 = None;
        self.bag.apply(delta)?;
        if let Some((changes, at)) = self.changes.as_mut().zip(delta.span()) {
            changes.push(delta, at.1, at.1)?;
        }
        self.index(delta)?;
        self.settle(delta.len());
        Ok(())
    }

    /// Takes a change that the bag has taken.
    fn index(&mut self, delta: &Delta) -> Result<()> {
        for index in &mut self.indexes {
            let delta = index.keyed(delta)?;
            index.apply(&delta, &self.bag)?;
        }
        Ok(())
    }

    /// Returns the change that gives each key of `wanted` the row that is inserted there, or none:
    /// whatever row of that key the table has goes. Needs a primary key, and at most one insertion
    /// per key.
    pub fn replacing(&self, wanted: &Delta) -> Result<Delta> {
        let index = self.primary().expect("a table that is written by key has one");
        let present = self.lookup(0, &index.key(wanted.rows()), wanted.len())?;
        let gone = Delta::inserts(present, Timestamp::MIN).negate();
        let inserted: BooleanArray =
            (0..wanted.len()).map(|i| Some(wanted.weight(i) > 0)).collect();
        let inserted = wanted.filter(&inserted)?.at(Timestamp::MIN);
        Ok(Delta::concat(self.bag.schema(), &[inserted, gone])?.consolidate()?)
    }

    /// Returns the rows that have one of these keys, which are of the table's `key`th: the primary
    /// key is the first, if there is one.
    pub fn lookup(
        &self,
        key: usize,
        keys: &[ArrayRef],
        len: usize,
    ) -> Result<RecordBatch, ArrowError> {
        let Some(index) = self.indexes.get(key) else { return self.bag.rows(&[]) };
        let mut slots = index.keys.find(&span::keys(keys.iter().cloned()), len)?;
        slots.retain(|slot| *slot != NONE);
        slots.sort_unstable();
        slots.dedup();
        let rows: Vec<u32> = slots.iter().map(|slot| index.rows[*slot as usize]).collect();
        self.bag.rows(&rows)
    }

    /// Returns each distinct row with its weight.
    pub fn snapshot(&mut self) -> Result<(RecordBatch, Int64Array), ArrowError> {
        match &self.snapshot.0 {
            Some(snapshot) => Ok(snapshot.clone()),
            None => Ok(self.snapshot.0.insert(self.bag.snapshot()?).clone()),
        }
    }

    /// Writes the rows.
    pub(super) fn save(&self, to: &mut StateWriter) -> Result<()> {
        self.bag.save(to)?;
        self.changes.as_ref().map_or(Ok(()), |changes| changes.save(to))
    }

    /// Takes what [`Table::save`] wrote, into an empty table.
    pub(super) fn load(&mut self, from: &mut StateReader) -> Result<()> {
        self.snapshot.0 = None;
        self.bag.load(from)?;
        if let Some(changes) = &mut self.changes {
            changes.load(from)?;
        }
        if !self.indexes.is_empty() {
            let (rows, weights) = self.bag.snapshot()?;
            let all = Delta::new(rows, Instants::All(Timestamp::MIN), Weights::Each(weights));
            self.index(&all)?;
        }
        self.settle(self.bag.len());
        Ok(())
    }

    /// Number of distinct rows.
    pub fn row_count(&self) -> usize {
        self.bag.len()
    }
}

/// Shows what a table keeps.
fn show(bag: &mut Bag, indexes: &mut [Index], cached: &mut Cached, visit: &mut Visit<'_>) {
    visit(cached);
    visit(bag);
    for Index { keys, rows, .. } in indexes {
        visit(keys);
        visit(rows);
    }
}

impl Index {
    fn key(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        span::keys(self.columns.iter().map(|i| Arc::clone(rows.column(*i))))
    }

    /// The rows of a change in which no column of the key is NULL.
    fn keyed(&self, delta: &Delta) -> Result<Delta, ArrowError> {
        let key: Vec<_> = self.columns.iter().map(|i| delta.rows().column(*i)).collect();
        if key.iter().all(|column| column.null_count() == 0) {
            return Ok(delta.clone());
        }
        let full = |row: usize| Some(key.iter().all(|column| column.is_valid(row)));
        delta.filter(&(0..delta.len()).map(full).collect())
    }

    /// The first row of a change that would be the second one of its key.
    fn duplicate(&self, delta: &Delta) -> Result<Option<usize>> {
        let columns = self.key(delta.rows());
        let present = self.keys.find(&columns, delta.len())?;
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
        let mut added = slots.iter().enumerate().filter(|(i, _)| delta.weight(*i) > 0);
        let second = added.find(|(i, slot)| {
            let copies = &mut copies[**slot as usize];
            *copies += delta.weight(*i);
            *copies > 1
        });
        Ok(second.map(|(i, _)| i))
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
        let found = table.lookup(0, &[Arc::clone(&keys)], keys.len()).unwrap();
        let ids = found.column(0).as_primitive::<Int64Type>().values().iter();
        let names = found.column(1).as_string::<i32>().iter().flatten();
        let mut found: Vec<_> = ids.zip(names).map(|(id, name)| format!("{id}{name}")).collect();
        found.sort();
        found
    }

    #[test]
    fn keys_lead_to_their_rows_through_changes() {
        let mut table =
            Table::new("t", rows(&[]).schema(), TableKeys { primary: vec![0], unique: vec![] })
                .unwrap();
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
