//! CREATE TABLE AS: the columns and rows of a query.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use sqlparser::ast;

use super::columns::{columns, columns_of};
use super::dml::cast;
use super::session::Session;
use super::{Error, Result, query};
use crate::error::SqlState;
use crate::planner::bind::{bind_query, visible_names};
use crate::planner::relation::Names;
use crate::sql::catalog::Column;
use crate::sql::names::fold;
use crate::sql::statement::Query;

impl Session {
    /// Runs a query; returns its columns and rows. The first columns are called as declared, and
    /// have the declared types where there are some; the rows are those of the query.
    pub(super) async fn rows_of_query(
        &self,
        query: &Query,
        declared: &[ast::ColumnDef],
    ) -> Result<(Vec<Column>, RecordBatch)> {
        let plan = {
            let relations = self.relations();
            let windows = Arc::clone(&query.windows);
            let names = Names::new(&relations, &relations.functions, windows);
            bind_query(query, &names)?
        };
        let mut names = visible_names(&plan);
        if declared.len() > names.len() {
            let what = "too many column names were specified";
            return Err(Error::refused(SqlState::SYNTAX_ERROR, what));
        }
        for (name, column) in names.iter_mut().zip(declared) {
            *name = fold(&column.name);
        }
        let rows = query::collect(&self.once(), plan, &[]).await?;
        let mut all = columns_of(&rows.schema(), &names)?;
        for (column, declared) in all.iter_mut().zip(declared) {
            if declared.data_type != ast::DataType::Unspecified {
                *column = columns(std::slice::from_ref(declared))?.swap_remove(0);
            }
        }
        Ok((all, rows))
    }
}

/// Casts rows to the types of a table.
pub(super) fn fitted(rows: &RecordBatch, schema: SchemaRef) -> Result<RecordBatch> {
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(values, field)| cast(values, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(crate::delta::batch(schema, columns, rows.num_rows())?)
}
