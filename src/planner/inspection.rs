//! Functions that look at streams: `watermark('s')` and `hw_late_count('s')`.
//!
//! # Semantics
//! Both read `hw.streams`: the first gives the watermark in the type of the stream's event time,
//! the second how many rows came too late. The name is a constant, with a schema or not. In a
//! continuous query they are refused, as what they read is.

use std::sync::Arc;

use datafusion::common::TableReference;
use sqlparser::ast::{self, Expr, Value};

use super::error::{Error, Result};
use super::relation::Names;
use super::rows::plain_name;
use crate::error::SqlState;
use crate::sql;
use crate::sql::catalog::{Object, ObjectKind};
use crate::sql::names::fold;
use crate::sql::types::pg_type_name;

/// What a call stands for, if it is of such a function.
pub(super) fn spelled_out(
    name: &ast::ObjectName,
    arguments: &[Expr],
    names: &Names<'_>,
) -> Result<Option<Expr>> {
    let function = plain_name(name).unwrap_or_default();
    if !matches!(function.as_str(), "watermark" | "hw_late_count") {
        return Ok(None);
    }
    let [Expr::Value(argument)] = arguments else { return Ok(None) };
    let Value::SingleQuotedString(stream) = &argument.value else { return Ok(None) };
    let Some(object) = named(stream, names) else {
        return Err(Error::UndefinedRelation { name: stream.clone() });
    };
    let ObjectKind::Stream(def) = &object.kind else {
        return Err(Error::Invalid {
            what: format!("\"{}\" is not a stream", object.name),
            sqlstate: SqlState::WRONG_OBJECT_TYPE,
            hint: None,
        });
    };
    let value = match (function.as_str(), def.event_time) {
        ("watermark", Some(column)) => {
            format!("watermark::{}", pg_type_name(&object.columns[column].data_type))
        }
        ("watermark", None) if def.by_rows => "watermark::bigint".to_owned(),
        ("watermark", None) => "watermark::timestamptz".to_owned(),
        _ => "late".to_owned(),
    };
    let quoted = |text: &str| text.replace('\'', "''");
    let (schema, name) = (quoted(&object.schema), quoted(&object.name));
    let text = format!(
        "(SELECT {value} FROM hw.streams WHERE schema_name = '{schema}' AND name = '{name}')"
    );
    Ok(Some(sql::parse_expression(&text)?))
}

/// The object that a text names.
fn named(text: &str, names: &Names<'_>) -> Option<Arc<Object>> {
    let parts: Vec<String> = match sql::parse_expression(text).ok()? {
        Expr::Identifier(name) => vec![fold(&name)],
        Expr::CompoundIdentifier(parts) => parts.iter().map(fold).collect(),
        _ => return None,
    };
    match parts.as_slice() {
        [name] => names.find(&TableReference::bare(name.as_str())),
        [schema, name] => names.find(&TableReference::partial(schema.as_str(), name.as_str())),
        _ => None,
    }
}
