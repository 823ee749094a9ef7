//! INSERT, UPDATE and DELETE .. RETURNING.
//!
//! # Semantics
//! The list is a SELECT over the rows that the statement wrote or deleted, computed before anything
//! is committed: if it fails, nothing has happened.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::MemTable;
use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;
use futures::{StreamExt, stream};
use sqlparser::ast;

use super::outcome::{Outcome, Rows};
use super::query::Once;
use super::session::Session;
use super::{Result, query};
use crate::planner::bind::{bind_query, visible_names};
use crate::planner::relation::Names;
use crate::sql::catalog::Object;
use crate::sql::parse_query_text;

/// The name under which the rows are found; nobody else can have it.
const ROWS: &str = "$returning";

/// What a statement did to its table.
pub(super) struct Changed {
    /// Command tag without the number of rows.
    pub tag: &'static str,
    /// The rows as they are now, or were before DELETE.
    pub rows: RecordBatch,
}

/// A RETURNING clause and the name by which it knows the table.
pub(super) struct Returning<'a> {
    /// What is returned.
    pub list: &'a [ast::SelectItem],
    /// The table's alias, if it has one.
    pub alias: Option<&'a ast::Ident>,
}

impl Session {
    /// Binds a RETURNING clause to rows of the table.
    fn returning_plan(
        &self,
        object: &Object,
        rows: RecordBatch,
        returning: &Returning<'_>,
    ) -> Result<LogicalPlan> {
        let name = ast::Ident::with_quote('"', &object.name);
        let mut query = parse_query_text("SELECT 1 FROM a")?;
        if let ast::SetExpr::Select(select) = query.ast.body.as_mut() {
            select.projection = returning.list.to_vec();
            if let ast::TableFactor::Table { name: table, alias, .. } = &mut select.from[0].relation
            {
                *table = ast::Ident::with_quote('"', ROWS).into();
                *alias = Some(ast::TableAlias {
                    explicit: true,
                    name: returning.alias.cloned().unwrap_or(name),
                    columns: vec![],
                    at: None,
                });
            }
        }
        let mut relations = self.relations();
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        relations.local.insert(ROWS.to_owned(), provider_as_source(Arc::new(table)));
        let names = Names::new(&relations, &relations.functions, Arc::clone(&query.windows));
        Ok(bind_query(&query, &names)?)
    }

    /// The columns of a RETURNING clause.
    pub(super) fn returning_schema(
        &self,
        object: &Object,
        returning: &Returning<'_>,
    ) -> Result<SchemaRef> {
        let rows = RecordBatch::new_empty(object.arrow_schema());
        let plan = self.returning_plan(object, rows, returning)?;
        Ok(query::named_schema(&plan, &visible_names(&plan)))
    }

    /// Computes what a statement answers.
    pub(super) async fn answer(
        &self,
        object: &Object,
        changed: Changed,
        returning: Option<Returning<'_>>,
        params: &[ScalarValue],
    ) -> Result<Outcome> {
        let Changed { tag, rows } = changed;
        let Some(returning) = returning else {
            return Ok(Outcome::Done(format!("{tag} {}", rows.num_rows())));
        };
        let plan = self.returning_plan(object, rows, &returning)?;
        let answer = query::run(&Once { pending: vec![], ..self.once() }, plan, params).await?;
        let batches = answer.stream.collect::<Vec<_>>().await;
        let batches = batches.into_iter().collect::<Result<Vec<_>>>()?;
        let stream = stream::iter(batches.into_iter().map(Ok)).boxed();
        Ok(Outcome::Rows(Rows { schema: answer.schema, stream, tag }))
    }
}
