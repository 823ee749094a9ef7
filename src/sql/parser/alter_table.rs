//! ALTER TABLE.

use sqlparser::ast;

use super::columns::Columns;
use super::reader::Reader;
use crate::sql::Result;
use crate::sql::alter_table::{AlterTable, DropIndex, TableChange};
use crate::sql::key::UniqueKey;
use crate::sql::statement::StatementKind;

/// Reads what follows ALTER TABLE.
pub fn alter_table(mut reader: Reader<'_>) -> Result<StatementKind> {
    let if_exists = reader.eat(&["IF", "EXISTS"]);
    reader.eat(&["ONLY"]);
    let name = reader.object_name()?;
    if reader.at_end() {
        return Err(reader.unexpected());
    }
    let changes = reader.items()?.into_iter().map(change).collect::<Result<_>>()?;
    Ok(StatementKind::AlterTable(AlterTable { name, if_exists, changes }))
}

/// Reads what follows CREATE UNIQUE INDEX.
pub fn unique_index(mut reader: Reader<'_>) -> Result<StatementKind> {
    reader.eat(&["CONCURRENTLY"]);
    let if_not_exists = reader.eat(&["IF", "NOT", "EXISTS"]);
    let name = if reader.sees(&["ON"]) { None } else { Some(reader.ident()?) };
    reader.expect(&["ON"])?;
    reader.eat(&["ONLY"]);
    let table = reader.object_name()?;
    if reader.eat(&["USING"]) {
        reader.ident()?;
    }
    let start = reader;
    let plain = |item: &mut Reader<'_>| item.ident().is_ok() && item.at_end();
    if !reader.parenthesized()?.items()?.iter_mut().all(plain) {
        let hint = "Name columns, without order, COLLATE or operator classes.";
        return Err(start.unsupported("an expression in a UNIQUE INDEX", hint));
    }
    let columns = { start }.idents()?;
    if !reader.at_end() {
        return Err(reader.unsupported("a partial UNIQUE INDEX", "Leave the clause out."));
    }
    let change = TableChange::AddUnique { key: UniqueKey { name, columns }, if_not_exists };
    let alter = AlterTable { name: table, if_exists: false, changes: vec![change] };
    Ok(StatementKind::CreateIndex(alter))
}

/// Reads what follows DROP INDEX.
pub fn drop_index(mut reader: Reader<'_>) -> Result<StatementKind> {
    reader.eat(&["CONCURRENTLY"]);
    let if_exists = reader.eat(&["IF", "EXISTS"]);
    let name = reader.object_name()?;
    reader.eat_any(&["CASCADE", "RESTRICT"]);
    reader.expect_end()?;
    Ok(StatementKind::DropIndex(DropIndex { name, if_exists }))
}

fn change(mut reader: Reader<'_>) -> Result<TableChange> {
    let start = reader;
    let change = match reader.eat_any(&["RENAME", "ADD", "DROP", "ALTER"]) {
        Some("RENAME") => rename(&mut reader)?,
        Some("ADD") => return add(reader),
        Some("DROP") => drop(&mut reader)?,
        Some("ALTER") => alter_column(&mut reader)?,
        _ => return Err(other(&start)),
    };
    reader.expect_end()?;
    Ok(change)
}

fn rename(reader: &mut Reader<'_>) -> Result<TableChange> {
    if reader.eat(&["TO"]) {
        return Ok(TableChange::Rename(reader.ident()?));
    }
    if reader.sees(&["CONSTRAINT"]) {
        return Err(other(reader));
    }
    reader.eat(&["COLUMN"]);
    let old = reader.ident()?;
    reader.expect(&["TO"])?;
    Ok(TableChange::RenameColumn(old, reader.ident()?))
}

fn add(mut reader: Reader<'_>) -> Result<TableChange> {
    let named = reader.eat(&["COLUMN"]);
    let if_not_exists = reader.eat(&["IF", "NOT", "EXISTS"]);
    let mut declared = Columns::default();
    if !named && !if_not_exists && declared.constraint(reader)? {
        return Ok(match declared.unique.pop() {
            Some(key) => TableChange::AddUnique { key, if_not_exists: false },
            None => TableChange::AddPrimaryKey(declared.primary_key),
        });
    }
    declared.column(reader)?;
    if !(declared.primary_key.is_empty() && declared.unique.is_empty()) {
        return Err(reader.unsupported(
            "ADD COLUMN with a PRIMARY KEY or UNIQUE",
            "Add the column, give it values, and ADD PRIMARY KEY or UNIQUE.",
        ));
    }
    match declared.columns.pop() {
        Some(column) if column.data_type == ast::DataType::Unspecified => {
            reader.skip(1);
            Err(reader.expected("a type"))
        }
        Some(column) => Ok(TableChange::AddColumn { column: Box::new(column), if_not_exists }),
        None => Err(reader.expected("a column")),
    }
}

fn drop(reader: &mut Reader<'_>) -> Result<TableChange> {
    if reader.eat(&["CONSTRAINT"]) {
        let if_exists = reader.eat(&["IF", "EXISTS"]);
        let name = reader.ident()?;
        reader.eat_any(&["CASCADE", "RESTRICT"]);
        return Ok(TableChange::DropConstraint { name, if_exists });
    }
    reader.eat(&["COLUMN"]);
    let if_exists = reader.eat(&["IF", "EXISTS"]);
    let column = reader.ident()?;
    reader.eat_any(&["CASCADE", "RESTRICT"]);
    Ok(TableChange::DropColumn { column, if_exists })
}

fn alter_column(reader: &mut Reader<'_>) -> Result<TableChange> {
    reader.eat(&["COLUMN"]);
    let column = reader.ident()?;
    if reader.eat(&["SET", "DEFAULT"]) {
        return Ok(TableChange::Default(column, Some(Box::new(reader.expr()?))));
    }
    if reader.eat(&["DROP", "DEFAULT"]) {
        return Ok(TableChange::Default(column, None));
    }
    let set = reader.eat(&["SET", "NOT", "NULL"]);
    if set || reader.eat(&["DROP", "NOT", "NULL"]) {
        return Ok(TableChange::NotNull(column, set));
    }
    Err(other(reader))
}

fn other(reader: &Reader<'_>) -> crate::sql::Error {
    reader.unsupported("this change of a table", "Create another table and copy the rows.")
}
