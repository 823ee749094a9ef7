//! What Postgres calls functions and types, for DataFusion's planner.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast;

use super::error::Error;
use crate::sql;

/// What DataFusion calls a function of Postgres.
pub(super) fn synonym(name: &str) -> &str {
    match name {
        "every" => "bool_and",
        "variance" => "var_samp",
        "ceiling" => "ceil",
        "sign" => "signum",
        "gen_random_uuid" => "uuid",
        "statement_timestamp" | "transaction_timestamp" => "now",
        other => other,
    }
}

/// Types in expressions are the types of columns.
#[derive(Debug)]
pub(super) struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> DfResult<Option<FieldRef>> {
        let (declared, data_type) =
            sql::types::column_type(sql_type).map_err(|e| DataFusionError::from(Error::Sql(e)))?;
        let field = Field::new("", data_type, true);
        // Casts to these check and change the text, see `text_time`.
        let json = matches!(declared.name.as_str(), "json" | "jsonb");
        Ok(Some(Arc::new(match json {
            true => field.with_metadata(declared.metadata().into()),
            false => field,
        })))
    }
}
