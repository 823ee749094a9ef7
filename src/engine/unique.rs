//! UNIQUE: keys of a table beside its primary key.
//!
//! # Semantics
//! No two rows have the same values in the columns of a key, unless one is NULL. A key is called as
//! it is told, or after the table and its columns; its name is that of its constraint and of its
//! index. ON CONFLICT finds the rows that a row clashes with by one of them, or by all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use sqlparser::ast;

use super::columns::index_of;
use super::session::Session;
use super::{Error, Result, update};
use crate::delta::span;
use crate::error::SqlState;
use crate::runtime::read::Keys;
use crate::runtime::table::TableKeys;
use crate::sql::alter_table::{AlterTable, DropIndex, TableChange};
use crate::sql::catalog::{Catalog, Column, Object, ObjectKind, TableDef, UniqueDef};
use crate::sql::key::UniqueKey;
use crate::sql::names::{fold, fold_parts};
use crate::storage::{NONE, RowSet};

/// The rows of an INSERT with ON CONFLICT.
pub(super) struct Clashes {
    /// Those that clash with no row.
    pub(super) fresh: RecordBatch,
    /// Those that clash with a row of the table.
    pub(super) excluded: RecordBatch,
    /// The rows of the table with which they clash.
    pub(super) present: RecordBatch,
    /// Whether one clashes with another one of them.
    pub(super) repeated: bool,
}

impl Session {
    /// The keys that a new table is to have.
    pub(super) fn unique_keys(
        &self,
        schema: &str,
        table: &str,
        columns: &[Column],
        keys: &[UniqueKey],
    ) -> Result<Vec<UniqueDef>> {
        let mut defs: Vec<UniqueDef> = Vec::with_capacity(keys.len());
        for key in keys {
            let place = key.columns.iter().map(|column| index_of(columns, column));
            let place = place.collect::<Result<Vec<_>>>()?;
            // What is said twice is said once.
            if key.name.is_some() || defs.iter().all(|def| def.columns != place) {
                let taken = |name: &str| defs.iter().any(|def| def.name == name);
                let name = self.key_name(schema, table, key, taken)?;
                let oid = self.engine.change_catalog(Catalog::fresh_oid);
                defs.push(UniqueDef { oid, name, columns: place });
            }
        }
        Ok(defs)
    }

    /// What a key is called.
    pub(super) fn key_name(
        &self,
        schema: &str,
        table: &str,
        key: &UniqueKey,
        more: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let catalog = self.engine.catalog();
        let taken = |name: &str| more(name) || find_key(&catalog, schema, name).is_some();
        if let Some(name) = &key.name {
            let name = fold(name);
            if !taken(&name) {
                return Ok(name);
            }
            let (kind, sqlstate) = ("relation", SqlState::DUPLICATE_TABLE);
            return Err(Error::Duplicate { kind, name, sqlstate });
        }
        let columns: Vec<String> = key.columns.iter().map(fold).collect();
        let name = format!("{table}_{}_key", columns.join("_"));
        let numbered = (1..).map(|number| format!("{name}{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        Ok(names.find(|name| !taken(name)).unwrap_or(name))
    }

    /// DROP INDEX; returns the command tag.
    pub(super) fn drop_index(&mut self, drop: &DropIndex, text: &str) -> Result<String> {
        const TAG: &str = "DROP INDEX";
        if let Some(alter) = self.dropped_index(drop)? {
            return self.alter_table(&alter, text, TAG);
        }
        let name = fold_parts(&drop.name).join(".");
        self.notice(SqlState::SUCCESS, format!("index \"{name}\" does not exist, skipping"));
        Ok(TAG.to_owned())
    }

    /// DROP INDEX as a change of the key's table; nothing if there is none and that is fine.
    pub(super) fn dropped_index(&self, drop: &DropIndex) -> Result<Option<AlterTable>> {
        let mut parts = fold_parts(&drop.name);
        let last = parts.pop().unwrap_or_default();
        let path = parts.pop().map_or_else(|| self.search_path(), |schema| vec![schema]);
        let catalog = self.engine.catalog();
        let Some(table) = path.iter().find_map(|schema| find_key(&catalog, schema, &last)) else {
            let (kind, sqlstate) = ("index", SqlState::UNDEFINED_OBJECT);
            return match drop.if_exists {
                true => Ok(None),
                false => Err(Error::Undefined { kind, name: last, sqlstate }),
            };
        };
        let quoted = |name: &String| ast::Ident::with_quote('"', name);
        let name = ast::ObjectName::from(vec![quoted(&table.schema), quoted(&table.name)]);
        let change = TableChange::DropConstraint { name: quoted(&last), if_exists: false };
        Ok(Some(AlterTable { name, if_exists: false, changes: vec![change] }))
    }

    /// Compares the rows of an INSERT with those of its table, by these keys.
    pub(super) async fn clashes(
        &self,
        object: &Object,
        rows: &RecordBatch,
        keys: &[(usize, Vec<usize>)],
    ) -> Result<Clashes> {
        let mut judged = Vec::with_capacity(keys.len());
        let mut present = RecordBatch::new_empty(rows.schema());
        for (key, columns) in keys {
            let judge = Judge::new(rows, columns);
            let wanted = Keys { key: *key, columns: judge.key.clone(), len: rows.num_rows() };
            present = update::with_keys(self, object, Some(wanted)).await?;
            judged.push(judge.against(&present, columns)?);
        }
        let (mut fresh, mut excluded, mut repeated) = (Vec::new(), Vec::new(), false);
        for row in 0..rows.num_rows() {
            let number = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
            if judged.iter().any(|judged| judged.seen(row)) {
                repeated = true;
            } else if judged.iter().any(|judged| judged.found(row)) {
                excluded.push(number);
                // Of several keys, a row that is left out takes none.
                judged.iter_mut().filter(|_| keys.len() == 1).for_each(|judged| judged.take(row));
            } else {
                fresh.push(number);
                judged.iter_mut().for_each(|judged| judged.take(row));
            }
        }
        let of = |numbers: Vec<u32>| take_record_batch(rows, &UInt32Array::from(numbers));
        Ok(Clashes { fresh: of(fresh)?, excluded: of(excluded)?, present, repeated })
    }
}

/// The rows of an INSERT by one key.
struct Judge {
    key: Vec<ArrayRef>,
    /// Whether a row has a key without NULL.
    full: Vec<bool>,
}

/// What has been found of them.
struct Judged {
    full: Vec<bool>,
    /// Whether the table has a row of the same key.
    found: Vec<bool>,
    /// Which rows have the same key.
    slots: Vec<u32>,
    /// By slot, whether a row of it has been seen.
    taken: Vec<bool>,
}

impl Judge {
    fn new(rows: &RecordBatch, columns: &[usize]) -> Self {
        let key = key_of(rows, columns);
        let full = |row: usize| columns.iter().all(|i| rows.column(*i).is_valid(row));
        Self { key, full: (0..rows.num_rows()).map(full).collect() }
    }

    fn against(self, present: &RecordBatch, columns: &[usize]) -> Result<Judged> {
        let types: Vec<_> = self.key.iter().map(|c| c.data_type().clone()).collect();
        let mut index = RowSet::new(types.clone())?;
        index.intern(&key_of(present, columns), present.num_rows())?;
        let found = index.find(&self.key, self.full.len())?;
        let mut seen = RowSet::new(types)?;
        let slots = seen.intern(&self.key, self.full.len())?;
        Ok(Judged {
            found: found.iter().map(|slot| *slot != NONE).collect(),
            taken: vec![false; seen.bound()],
            full: self.full,
            slots,
        })
    }
}

impl Judged {
    fn seen(&self, row: usize) -> bool {
        self.full[row] && self.taken[self.slots[row] as usize]
    }

    fn found(&self, row: usize) -> bool {
        self.full[row] && self.found[row]
    }

    fn take(&mut self, row: usize) {
        self.taken[self.slots[row] as usize] |= self.full[row];
    }
}

fn key_of(rows: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    span::keys(columns.iter().map(|i| Arc::clone(rows.column(*i))))
}

/// The table of a schema that has a key of that name.
fn find_key<'a>(catalog: &'a Catalog, schema: &str, name: &str) -> Option<&'a Arc<Object>> {
    let has = |object: &Object| match &object.kind {
        ObjectKind::Table(def) => def.unique.iter().any(|key| key.name == name),
        ObjectKind::Stream(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => false,
    };
    catalog.objects().find(|object| object.schema == schema && has(object))
}

/// The keys of a table as its content keeps them.
pub(super) fn table_keys(primary: &[usize], unique: &[UniqueDef]) -> TableKeys {
    let unique = unique.iter().map(|key| (key.name.clone(), key.columns.clone()));
    TableKeys { primary: primary.to_vec(), unique: unique.collect() }
}

/// The keys by which ON CONFLICT finds rows, with their columns: that of its target, or all.
pub(super) fn conflict_keys(
    object: &Object,
    conflict: &ast::OnConflict,
) -> Result<Vec<(usize, Vec<usize>)>> {
    let ObjectKind::Table(def) = &object.kind else {
        return Err(Error::Internal("ON CONFLICT of something that is no table".into()));
    };
    let mut keys = all_keys(object, def);
    match &conflict.conflict_target {
        None => {}
        Some(ast::ConflictTarget::Columns(columns)) => {
            let mut named: Vec<String> = columns.iter().map(fold).collect();
            named.sort();
            named.dedup();
            keys.retain(|(_, place)| {
                let mut names: Vec<_> = place.iter().map(|i| &object.columns[*i].name).collect();
                names.sort();
                names == named.iter().collect::<Vec<_>>()
            });
            keys.truncate(1);
        }
        Some(ast::ConflictTarget::OnConstraint(name)) => {
            let wanted = fold_parts(name).pop().unwrap_or_default();
            keys.retain(|(key, _)| constraint_name(object, def, *key) == wanted);
        }
    }
    let updates = matches!(conflict.action, ast::OnConflictAction::DoUpdate(_));
    if !keys.is_empty() && (keys.len() == 1 || !updates) {
        return Ok(keys);
    }
    Err(Error::hinted(
        SqlState("42P10"),
        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        "Name the columns of the primary key, or of a UNIQUE key.",
    ))
}

/// The keys of a table by number, the primary key first.
fn all_keys(object: &Object, def: &TableDef) -> Vec<(usize, Vec<usize>)> {
    debug_assert!(def.primary_key.iter().all(|i| *i < object.columns.len()));
    let primary = (!def.primary_key.is_empty()).then(|| def.primary_key.clone());
    let unique = def.unique.iter().map(|key| key.columns.clone());
    primary.into_iter().chain(unique).enumerate().collect()
}

fn constraint_name(object: &Object, def: &TableDef, key: usize) -> String {
    let keyed = usize::from(!def.primary_key.is_empty());
    match key.checked_sub(keyed) {
        None => format!("{}_pkey", object.name),
        Some(index) => def.unique[index].name.clone(),
    }
}
