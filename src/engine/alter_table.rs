//! ALTER TABLE.
//!
//! # Semantics
//! Waits for the transactions that write to the table, and takes effect at once. What reads a table
//! keeps its columns and its name as they are: those change only where nothing reads it; and
//! nothing changes where a sink writes. A column that is added has its default in the rows that are
//! there.
//!
//! # Cost
//! The table is built again, while writers wait.

use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue};
use sqlparser::ast;

use super::columns::{arrow_schema, columns, index_of};
use super::dml::check_not_null;
use super::locks::TableLock;
use super::session::Session;
use super::unique::table_keys;
use super::{Error, Result};
use crate::error::SqlState;
use crate::planner::bind::{bind_expr, constant};
use crate::planner::relation::Names;
use crate::runtime::table::NewColumn;
use crate::sql::alter_table::{AlterTable, TableChange};
use crate::sql::catalog::{Catalog, Column, Object, ObjectKind, TableDef, UniqueDef};
use crate::sql::key::UniqueKey;
use crate::sql::names::{fold, fold_parts};
use crate::sql::statement::StatementKind;

/// A table as it is going to be.
struct Altered {
    name: String,
    columns: Vec<Column>,
    /// Where its columns come from.
    from: Vec<NewColumn>,
    primary_key: Vec<usize>,
    unique: Vec<UniqueDef>,
}

impl Session {
    /// Waits for those that write to the table.
    pub(super) async fn lock_altered(
        &mut self,
        statement: &StatementKind,
    ) -> Result<Option<TableLock>> {
        let dropped;
        let alter = match statement {
            StatementKind::AlterTable(alter) | StatementKind::CreateIndex(alter) => alter,
            StatementKind::DropIndex(drop) => {
                dropped = self.dropped_index(drop)?;
                match &dropped {
                    Some(alter) => alter,
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        match self.find(&alter.name) {
            Ok(table) => self.lock_table(table.oid).await,
            Err(_) => Ok(None),
        }
    }

    /// Changes a table; returns the command tag.
    pub(super) fn alter_table(
        &mut self,
        alter: &AlterTable,
        text: &str,
        tag: &str,
    ) -> Result<String> {
        let table = match self.find(&alter.name) {
            Err(_) if alter.if_exists => {
                let name = fold_parts(&alter.name).join(".");
                let text = format!("relation \"{name}\" does not exist, skipping");
                self.notice(SqlState::SUCCESS, text);
                return Ok(tag.to_owned());
            }
            found => found?,
        };
        let def = self.alterable(&table, alter)?;
        let mut altered = Altered {
            name: table.name.clone(),
            columns: table.columns.clone(),
            from: (0..table.columns.len()).map(NewColumn::Old).collect(),
            primary_key: def.primary_key.clone(),
            unique: def.unique.clone(),
        };
        for change in &alter.changes {
            self.alter(&table, &mut altered, change)?;
        }
        let Altered { name, columns, from, primary_key, unique } = altered;
        let keys = table_keys(&primary_key, &unique);
        let def = TableDef { primary_key, unique, ..def.as_ref().clone() };
        let object = Object {
            name: name.clone(),
            columns,
            kind: ObjectKind::Table(Arc::new(def)),
            sql: Arc::from(format!("{};\n{text}", table.sql)),
            ..table.as_ref().clone()
        };
        let schema = arrow_schema(&object.columns);
        self.engine.hub().alter_table(table.oid, |old| {
            let mut new = old.altered(&name, schema, keys, &from)?;
            check_not_null(&object, &new.snapshot()?.0)?;
            Ok(new)
        })?;
        self.engine.change_catalog(|catalog| {
            catalog.remove(table.oid);
            catalog.insert(object)
        });
        Ok(tag.to_owned())
    }

    /// What makes the table, if it can be changed so.
    fn alterable(&self, table: &Object, alter: &AlterTable) -> Result<Arc<TableDef>> {
        let ObjectKind::Table(def) = &table.kind else {
            return Err(Error::hinted(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not a table", table.name),
                format!("A {} is dropped and created again.", table.kind_name()),
            ));
        };
        if def.versions.is_some() || !def.options.is_empty() {
            return Err(Error::unsupported(
                "ALTER TABLE of a table with options or VERSIONED BY is not supported",
                "Create another table and copy the rows.",
            ));
        }
        if self.pending().iter().any(|(oid, _)| *oid == table.oid) {
            return Err(Error::hinted(
                SqlState("55006"),
                format!("cannot ALTER TABLE \"{}\": the transaction has written to it", table.name),
                "Commit first.",
            ));
        }
        let readers = self.engine.catalog().dependents(table.oid);
        // What is proven of a view may follow from the primary key.
        let drops_key = |change: &TableChange| {
            matches!(change, TableChange::DropConstraint { name, .. }
                if fold(name) == primary_name(&table.name))
        };
        // A sink knows the table as it was.
        let writes = |reader: &Object| match &reader.kind {
            ObjectKind::Sink(sink) => sink.into == Some(table.oid),
            ObjectKind::Stream(_) | ObjectKind::Table(_) | ObjectKind::View(_) => false,
        };
        let shows = alter.changes.iter().any(|change| change.shows() || drops_key(change));
        let Some(reader) = readers.iter().rfind(|reader| shows || writes(reader.as_ref())) else {
            return Ok(Arc::clone(def));
        };
        let (kind, name) = (reader.kind_name(), &reader.name);
        Err(Error::Refused {
            message: format!("cannot alter table \"{}\"", table.name),
            sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            detail: Some(format!("{kind} \"{name}\" depends on it.")),
            hint: Some("Drop what reads it, alter, and create that again.".into()),
        })
    }

    fn alter(&mut self, table: &Object, new: &mut Altered, change: &TableChange) -> Result<()> {
        match change {
            TableChange::Rename(name) => {
                self.new_name(&ast::ObjectName::from(vec![name.clone()]))?;
                new.name = fold(name);
                self.taken(&table.schema, &new.name, false)?;
            }
            TableChange::RenameColumn(old, name) => {
                let index = index_of(&new.columns, old)?;
                self.is_new_column(new, name)?;
                new.columns[index].name = fold(name);
            }
            TableChange::AddColumn { column, if_not_exists } => {
                if *if_not_exists && index_of(&new.columns, &column.name).is_ok() {
                    let text = format!("column \"{}\" already exists, skipping", column.name);
                    self.notice(SqlState::DUPLICATE_COLUMN, text);
                    return Ok(());
                }
                self.is_new_column(new, &column.name)?;
                new.from.push(NewColumn::Value(self.value_of_new(column)?));
                new.columns.extend(columns(std::slice::from_ref(column.as_ref()))?);
            }
            TableChange::DropColumn { column, if_exists } => {
                if *if_exists && index_of(&new.columns, column).is_err() {
                    let text = format!("column \"{column}\" does not exist, skipping");
                    self.notice(SqlState::SUCCESS, text);
                    return Ok(());
                }
                new.drop(column)?;
            }
            TableChange::AddPrimaryKey(key) => new.key(&table.name, key)?,
            TableChange::AddUnique { key, if_not_exists } => {
                self.add_unique(table, new, key, *if_not_exists)?;
            }
            TableChange::DropConstraint { name, if_exists } => {
                if !new.drop_key(&fold(name)) && !if_exists {
                    let (kind, sqlstate) = ("constraint", SqlState::UNDEFINED_OBJECT);
                    return Err(Error::Undefined { kind, name: fold(name), sqlstate });
                }
            }
            TableChange::Default(column, default) => {
                let index = index_of(&new.columns, column)?;
                new.columns[index].default = default.as_ref().map(ToString::to_string);
            }
            TableChange::NotNull(column, set) => {
                let index = index_of(&new.columns, column)?;
                if !set && new.primary_key.contains(&index) {
                    let text = format!("column \"{}\" is in a primary key", fold(column));
                    return Err(Error::refused(SqlState::INVALID_TABLE_DEFINITION, text));
                }
                new.columns[index].not_null = *set;
            }
        }
        Ok(())
    }

    fn add_unique(
        &mut self,
        table: &Object,
        new: &mut Altered,
        key: &UniqueKey,
        if_not_exists: bool,
    ) -> Result<()> {
        let columns = key.columns.iter().map(|column| index_of(&new.columns, column));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let named = key.name.as_ref().map(fold);
        if if_not_exists && new.unique.iter().any(|key| Some(&key.name) == named.as_ref()) {
            let text =
                format!("relation \"{}\" already exists, skipping", named.unwrap_or_default());
            self.notice(SqlState::DUPLICATE_TABLE, text);
            return Ok(());
        }
        let taken = |name: &str| new.unique.iter().any(|key| key.name == name);
        let name = self.key_name(&table.schema, &new.name, key, taken)?;
        let oid = self.engine.change_catalog(Catalog::fresh_oid);
        new.unique.push(UniqueDef { oid, name, columns });
        Ok(())
    }

    /// Refuses the name of a column that is there.
    fn is_new_column(&self, new: &Altered, name: &ast::Ident) -> Result<()> {
        if index_of(&new.columns, name).is_err() {
            return Ok(());
        }
        let what = format!("column \"{}\" of relation \"{}\" already exists", fold(name), new.name);
        Err(Error::refused(SqlState::DUPLICATE_COLUMN, what))
    }

    /// What a new column holds in the rows that are there.
    fn value_of_new(&self, column: &ast::ColumnDef) -> Result<ScalarValue> {
        let default = column.options.iter().find_map(|option| match &option.option {
            ast::ColumnOption::Default(expr) => Some(expr.clone()),
            _ => None,
        });
        let default = default.unwrap_or_else(|| ast::Expr::value(ast::Value::Null));
        let relations = self.relations();
        let state = relations.functions_now();
        let names = Names::new(&relations, &state, Arc::from([]));
        if bind_expr(&default, &DFSchema::empty(), &names)?.is_volatile() {
            return Err(Error::unsupported(
                "ADD COLUMN with a default that differs from row to row is not supported",
                "Add the column, UPDATE it, and ALTER COLUMN .. SET DEFAULT.",
            ));
        }
        let cast = ast::Expr::Cast {
            kind: ast::CastKind::DoubleColon,
            expr: Box::new(default),
            data_type: column.data_type.clone(),
            array: false,
            format: None,
        };
        Ok(constant(&cast, &names, &state)?)
    }
}

impl Altered {
    /// Takes a column away, and the key of which it is a part.
    fn drop(&mut self, column: &ast::Ident) -> Result<()> {
        let index = index_of(&self.columns, column)?;
        if self.columns.len() == 1 {
            return Err(Error::hinted(
                SqlState::INVALID_TABLE_DEFINITION,
                "a table has at least one column",
                "Drop the table.",
            ));
        }
        self.columns.remove(index);
        self.from.remove(index);
        if self.primary_key.contains(&index) {
            self.primary_key.clear();
        }
        self.unique.retain(|key| !key.columns.contains(&index));
        let unique = self.unique.iter_mut().flat_map(|key| &mut key.columns);
        self.primary_key.iter_mut().chain(unique).filter(|i| **i > index).for_each(|i| *i -= 1);
        Ok(())
    }

    /// Takes a key away; returns whether there was one of that name.
    fn drop_key(&mut self, name: &str) -> bool {
        if name == primary_name(&self.name) && !self.primary_key.is_empty() {
            self.primary_key.clear();
            return true;
        }
        let before = self.unique.len();
        self.unique.retain(|key| key.name != name);
        self.unique.len() < before
    }

    fn key(&mut self, table: &str, key: &[ast::Ident]) -> Result<()> {
        if !self.primary_key.is_empty() {
            let text = format!("multiple primary keys for table \"{table}\" are not allowed");
            return Err(Error::refused(SqlState::INVALID_TABLE_DEFINITION, text));
        }
        for column in key {
            let index = index_of(&self.columns, column)?;
            self.columns[index].not_null = true;
            self.primary_key.push(index);
        }
        Ok(())
    }
}

/// What the primary key of a table is called.
fn primary_name(table: &str) -> String {
    format!("{table}_pkey")
}
