//! Which values a column takes: Postgres's assignment casts.
//!
//! # Semantics
//! A value of one kind goes into a column of the same kind (numbers among themselves, text,
//! booleans, ..), everything goes into text, dates and timestamps into each other. What is text may
//! become anything, since a literal in quotes has no type of its own. All else has to be cast by
//! the user.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast;
use sqlparser::ast::Spanned;

use super::{Error, Result};
use crate::error::SqlState;
use crate::planner::bind::bind_expr;
use crate::planner::relation::Names;
use crate::sql::catalog::{Column, Object};
use crate::sql::names::fold_parts;
use crate::sql::parse_expression;
use crate::sql::types::pg_type_name;

/// Kinds of types between which values are assigned freely.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Boolean,
    Date,
    Timestamp,
    Time,
    Interval,
    Bytes,
    Array,
    Other,
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Boolean => Kind::Boolean,
        DataType::Date32 | DataType::Date64 => Kind::Date,
        DataType::Timestamp(..) => Kind::Timestamp,
        DataType::Time32(_) | DataType::Time64(_) => Kind::Time,
        DataType::Interval(_) | DataType::Duration(_) => Kind::Interval,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Kind::Bytes,
        DataType::List(_) | DataType::LargeList(_) => Kind::Array,
        number if number.is_numeric() => Kind::Number,
        _ => Kind::Other,
    }
}

fn assignable(from: &DataType, to: &DataType) -> bool {
    let (from, to) = (kind(from), kind(to));
    from == to
        || from == Kind::Text
        || to == Kind::Text
        || matches!(
            (from, to),
            (Kind::Date, Kind::Timestamp)
                | (Kind::Timestamp, Kind::Date | Kind::Time)
                | (Kind::Time, Kind::Interval)
                | (Kind::Interval, Kind::Time)
        )
}

fn check(column: &Column, from: &DataType) -> Result<()> {
    if assignable(from, &column.data_type) {
        return Ok(());
    }
    let (name, declared) = (&column.name, &column.sql_type.name);
    Err(Error::hinted(
        SqlState::DATATYPE_MISMATCH,
        format!(
            "column \"{name}\" is of type {declared} but expression is of type {}",
            pg_type_name(from)
        ),
        "You will need to rewrite or cast the expression.",
    ))
}

/// Casts the last columns of a plan to those of the object.
pub(super) fn assigned(plan: LogicalPlan, object: &Object) -> Result<LogicalPlan> {
    let first = plan.schema().fields().len() - object.columns.len();
    let mut exprs = Vec::new();
    for (i, (qualifier, field)) in plan.schema().iter().enumerate() {
        let value = Expr::from((qualifier, field));
        let Some(column) = i.checked_sub(first).map(|i| &object.columns[i]) else {
            exprs.push(value);
            continue;
        };
        check(column, field.data_type())?;
        let cast = Expr::Cast(Cast::new(Box::new(value), column.data_type.clone()));
        exprs.push(cast.alias_qualified(qualifier.cloned(), field.name()));
    }
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}

/// Assigns the columns of a query to those named, or to the first ones; the others get their
/// defaults.
/// DataFusion's own plan of INSERT takes every VALUES in the query for rows of the table.
pub(super) fn columns_of_query(
    query: LogicalPlan,
    columns: &[ast::ObjectName],
    object: &Object,
    names: &Names<'_>,
) -> Result<LogicalPlan> {
    let schema = query.schema();
    let width = schema.fields().len();
    let named: Vec<String> = match columns {
        [] => object.columns.iter().take(width).map(|column| column.name.clone()).collect(),
        _ => columns.iter().filter_map(|column| fold_parts(column).pop()).collect(),
    };
    same_width(width, named.len())?;
    let exprs = object.columns.iter().map(|column| {
        let value = match (named.iter().position(|name| *name == column.name), &column.default) {
            (Some(i), _) => {
                let value = Expr::Column(schema.qualified_field(i).into());
                check(column, schema.field(i).data_type())?;
                value.cast_to(&column.data_type, schema)?
            }
            (None, Some(text)) => {
                let default = bind_expr(&parse_expression(text)?, &DFSchema::empty(), names)?;
                default.cast_to(&column.data_type, &DFSchema::empty())?
            }
            (None, None) => Expr::Literal(ScalarValue::try_from(&column.data_type)?, None),
        };
        Ok(value.alias(&column.name))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlanBuilder::from(query).project(exprs)?.build()?)
}

/// Refuses expressions that are more or fewer than the columns.
pub(super) fn same_width(expressions: usize, columns: usize) -> Result<()> {
    let message = match expressions.cmp(&columns) {
        Ordering::Equal => return Ok(()),
        Ordering::Less => "INSERT has more target columns than expressions",
        Ordering::Greater => "INSERT has more expressions than target columns",
    };
    Err(Error::refused(SqlState::SYNTAX_ERROR, message))
}

/// Checks the rows of an INSERT as DataFusion planned it: a projection that casts columns of a
/// query, or picks those of VALUES that are cast one by one. `values` are these as written.
pub(super) fn check_insert(
    plan: &LogicalPlan,
    values: Option<&ast::Values>,
    object: &Object,
) -> Result<()> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(()) };
    for (column, expr) in object.columns.iter().zip(&projection.expr) {
        let expr = expr.clone().unalias();
        match (&expr, projection.input.as_ref(), values) {
            (Expr::Column(picked), LogicalPlan::Values(planned), Some(written)) => {
                let index = planned.schema.index_of_column(picked)?;
                let rows = planned.values.iter().zip(&written.rows);
                let pairs =
                    rows.filter_map(|(row, text)| Some((row.get(index)?, text.get(index)?)));
                for (value, text) in pairs {
                    check_value(column, value, text)?;
                }
            }
            (Expr::Cast(Cast { expr, .. }), input, _) => {
                if let Ok(from) = expr.get_type(input.schema()) {
                    check(column, &from)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks a value that DataFusion may have cast; a cast of the user's own is fine.
fn check_value(column: &Column, value: &Expr, text: &ast::Expr) -> Result<()> {
    let own = matches!(text, ast::Expr::Cast { .. } | ast::Expr::TypedString(_));
    let Expr::Cast(Cast { expr: inner, .. }) = value else { return Ok(()) };
    match inner.get_type(&DFSchema::empty()) {
        Ok(from) if !own => check(column, &from).map_err(|error| error.at(text.span())),
        _ => Ok(()),
    }
}
