//! What stands in the parentheses of CREATE TABLE and CREATE STREAM: columns and keys.

use sqlparser::ast;
use sqlparser::ast::{ColumnOption, TableConstraint};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::reader::Reader;
use crate::error::Location;
use crate::sql::key::UniqueKey;
use crate::sql::names::fold;
use crate::sql::types::column_type;
use crate::sql::{Error, Result};

/// Columns and the primary key, as far as they have been read.
#[derive(Default)]
pub struct Columns {
    /// Columns in order.
    pub columns: Vec<ast::ColumnDef>,
    /// Primary key, from a column's option or a constraint.
    pub primary_key: Vec<ast::Ident>,
    /// UNIQUE columns and constraints.
    pub unique: Vec<UniqueKey>,
}

impl Columns {
    /// Reads a column.
    pub fn column(&mut self, mut item: Reader<'_>) -> Result<()> {
        let start = item;
        if matches!(item.peek(0), Token::Word(_)) && item.peek(1) == &Token::EOF {
            // Of CREATE TABLE AS, whose query gives the type.
            let (name, data_type) = (item.ident()?, ast::DataType::Unspecified);
            self.columns.push(ast::ColumnDef { name, data_type, options: vec![] });
            return Ok(());
        }
        let column = item.with_sqlparser(Parser::parse_column_def)?;
        item.expect_end()?;
        let mut type_name = start;
        type_name.skip(1);
        column_type(&column.data_type).map_err(|error| error.at(type_name.location()))?;
        let name = fold(&column.name);
        if self.columns.iter().any(|other| fold(&other.name) == name) {
            return Err(Error::DuplicateColumn { name, location: Some(start.location()) });
        }
        for option in &column.options {
            let name = || vec![column.name.clone()];
            match &option.option {
                ColumnOption::PrimaryKey(_) => self.set_primary_key(name(), start.location())?,
                ColumnOption::Unique(unique) => {
                    check_nulls(unique, &start)?;
                    self.unique.push(UniqueKey { name: option.name.clone(), columns: name() });
                }
                other => check_option(other, &start)?,
            }
        }
        self.columns.push(column);
        Ok(())
    }

    /// Reads a constraint, if the item is one.
    pub fn constraint(&mut self, mut item: Reader<'_>) -> Result<bool> {
        let start = item;
        const STARTS: [&[&str]; 7] = [
            &["CONSTRAINT"],
            &["PRIMARY", "KEY"],
            &["UNIQUE"],
            &["CHECK"],
            &["FOREIGN", "KEY"],
            &["EXCLUDE"],
            &["LIKE"],
        ];
        if !STARTS.iter().any(|words| item.sees(words)) {
            return Ok(false);
        }
        if item.sees(&["EXCLUDE"]) || item.sees(&["LIKE"]) {
            let feature = if item.sees(&["LIKE"]) { "LIKE in CREATE TABLE" } else { "EXCLUDE" };
            return Err(item.unsupported(feature, "Declare the columns one by one."));
        }
        let constraint =
            item.with_sqlparser(|parser| match parser.parse_optional_table_constraint()? {
                Some(constraint) => Ok(constraint),
                None => {
                    let next = parser.peek_token();
                    parser.expected("a constraint", next)
                }
            })?;
        item.expect_end()?;
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                self.set_primary_key(key_columns(&key.columns, &start)?, start.location())?;
            }
            TableConstraint::Unique(unique) => {
                check_nulls(&unique, &start)?;
                let columns = key_columns(&unique.columns, &start)?;
                self.unique.push(UniqueKey { name: unique.name, columns });
            }
            TableConstraint::ForeignKey(_) => return Err(unsupported_reference(&start)),
            TableConstraint::Check(_) => return Err(unsupported_check(&start)),
            _ => return Err(start.unsupported("this table constraint", "Declare a PRIMARY KEY.")),
        }
        Ok(true)
    }

    fn set_primary_key(&mut self, columns: Vec<ast::Ident>, location: Location) -> Result<()> {
        if !self.primary_key.is_empty() {
            return Err(Error::InvalidDefinition {
                message: "multiple primary keys are not allowed".to_owned(),
                location: Some(location),
            });
        }
        self.primary_key = columns;
        Ok(())
    }

    /// Requires that a clause names declared columns, each once.
    pub fn check_names(&self, names: &[ast::Ident], clause: &'static str) -> Result<()> {
        for (index, ident) in names.iter().enumerate() {
            let name = fold(ident);
            let start = ident.span.start;
            let location = Some(Location { line: start.line, column: start.column });
            if !self.columns.iter().any(|column| fold(&column.name) == name) {
                return Err(Error::UndefinedColumn { name, clause, location });
            }
            if names[..index].iter().any(|other| fold(other) == name) {
                return Err(Error::DuplicateColumn { name, location });
            }
        }
        Ok(())
    }
}

fn check_option(option: &ColumnOption, start: &Reader<'_>) -> Result<()> {
    match option {
        ColumnOption::Null | ColumnOption::NotNull | ColumnOption::Default(_) => Ok(()),
        ColumnOption::ForeignKey(_) => Err(unsupported_reference(start)),
        ColumnOption::Check(_) => Err(unsupported_check(start)),
        ColumnOption::Generated { .. } | ColumnOption::Identity(_) => Err(start.unsupported(
            "a generated column",
            "Compute it in a view, or give the value in INSERT.",
        )),
        ColumnOption::Collation(_) => {
            Err(start.unsupported("COLLATE of a column", "Text is compared by code points."))
        }
        other => Err(start.unsupported(format!("the column option {other}"), "")),
    }
}

/// The columns that a key names.
fn key_columns(columns: &[ast::IndexColumn], start: &Reader<'_>) -> Result<Vec<ast::Ident>> {
    let columns = columns.iter().map(|column| match &column.column.expr {
        ast::Expr::Identifier(ident) => Ok(ident.clone()),
        _ => Err(start.unsupported("an expression in a key", "Name columns.")),
    });
    columns.collect()
}

/// Refuses keys in which NULLs are equal.
fn check_nulls(unique: &ast::UniqueConstraint, start: &Reader<'_>) -> Result<()> {
    if unique.nulls_distinct == ast::NullsDistinctOption::NotDistinct {
        return Err(start.unsupported("NULLS NOT DISTINCT", "Declare the columns NOT NULL."));
    }
    Ok(())
}

fn unsupported_reference(start: &Reader<'_>) -> Error {
    start.unsupported("FOREIGN KEY", "Leave it out, or find violations with a view.")
}

fn unsupported_check(start: &Reader<'_>) -> Error {
    start.unsupported("CHECK", "Leave it out, or find violations with a view.")
}
