//! Columns of relations: as declared, or as a query yields them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use sqlparser::ast;

use super::ddl::refuse_reserved_word;
use super::{Error, Result};
use crate::error::SqlState;
use crate::sql::catalog::Column;
use crate::sql::names::{fold, is_reserved};
use crate::sql::types::{SqlType, column_type, pg_type_name};

/// Most columns of a relation, as in Postgres.
const COLUMNS_MAX: usize = 1_600;

/// A column without constraints.
pub(super) fn plain_column(name: &str, sql_type: SqlType, data_type: DataType) -> Column {
    Column {
        name: name.to_owned(),
        sql_type,
        data_type,
        not_null: false,
        default: None,
        comment: None,
    }
}

/// Declared columns.
pub(super) fn columns(defs: &[ast::ColumnDef]) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::with_capacity(defs.len());
    for def in defs {
        refuse_reserved_word(&def.name)?;
        let name = fold(&def.name);
        if is_reserved(&name) {
            return Err(Error::hinted(
                SqlState::RESERVED_NAME,
                format!("column name \"{name}\" is reserved"),
                "Names that begin with hw_, pg_, cql_ or $ belong to the system.",
            ));
        }
        let (sql_type, data_type) = column_type(&def.data_type)?;
        let mut column = plain_column(&name, sql_type, data_type);
        for option in &def.options {
            match &option.option {
                ast::ColumnOption::NotNull | ast::ColumnOption::PrimaryKey(_) => {
                    column.not_null = true;
                }
                ast::ColumnOption::Default(expr) => column.default = Some(expr.to_string()),
                _ => {}
            }
        }
        columns.push(column);
    }
    if columns.len() > COLUMNS_MAX {
        return Err(Error::refused(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("relations can have at most {COLUMNS_MAX} columns"),
        ));
    }
    Ok(columns)
}

/// Columns of a query's result.
pub(super) fn columns_of(schema: &Schema, names: &[String]) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::with_capacity(names.len());
    for (field, name) in schema.fields().iter().zip(names) {
        if columns.iter().any(|c| c.name == *name) {
            return Err(Error::hinted(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
                "Name the columns apart with AS.",
            ));
        }
        // A column of unknown type holds text, as in Postgres.
        let data_type = match field.data_type() {
            DataType::Null => DataType::Utf8,
            other => other.clone(),
        };
        let declared = field.metadata().get("pg_type").cloned();
        let sql_type = SqlType { name: declared.unwrap_or_else(|| pg_type_name(&data_type)) };
        columns.push(plain_column(name, sql_type, data_type));
    }
    Ok(columns)
}

/// The row type of columns.
pub(super) fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|column| {
        Field::new(&column.name, column.data_type.clone(), true)
            .with_metadata(column.sql_type.metadata().into())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Finds a column by name.
pub(super) fn index_of(columns: &[Column], name: &ast::Ident) -> Result<usize> {
    let name = fold(name);
    columns.iter().position(|c| c.name == name).ok_or(Error::Undefined {
        kind: "column",
        name,
        sqlstate: SqlState::UNDEFINED_COLUMN,
    })
}
