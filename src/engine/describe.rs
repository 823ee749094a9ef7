//! Describe: the types of a statement's parameters and result.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::parameters::{parameter, parameter_types};
use super::session::Session;
use super::{Description, Result, aside, explain, pg_catalog, query, subscribe};
use crate::planner::bind::visible_names;
use crate::sql::names::fold;
use crate::sql::statement::{Query, Statement, StatementKind};

impl Session {
    /// Tells the types of a statement's parameters and result. `declared` are the types the client
    /// gave.
    pub async fn describe(
        &mut self,
        statement: &Statement,
        declared: &[Option<DataType>],
    ) -> Result<Description> {
        aside::run(Box::pin(self.description(statement, declared))).await
    }

    async fn description(
        &mut self,
        statement: &Statement,
        declared: &[Option<DataType>],
    ) -> Result<Description> {
        let columns = |schema| Description { parameters: vec![], columns: Some(schema) };
        match &statement.kind {
            StatementKind::Query(query) if query.endless() => {
                self.describe_subscribe(query, &subscribe::Options::default(), declared)
            }
            StatementKind::Query(query) => {
                self.describe_query(&statement.text, query, declared).await
            }
            StatementKind::Subscribe(s) => {
                self.describe_subscribe(&s.query, &self.subscribe_options(s)?, declared)
            }
            StatementKind::Dml { statement, windows } => {
                self.describe_dml(statement, windows, declared)
            }
            StatementKind::Fetch { name, silent: false, .. } => {
                let cursor = self.cursor(&fold(name))?;
                Ok(columns(Arc::clone(&cursor.schema)))
            }
            StatementKind::Execute { name, .. } => {
                let prepared = self.prepared(&fold(name))?;
                let inner = Box::pin(self.describe(&prepared.statement, &[])).await?;
                Ok(Description { parameters: vec![], ..inner })
            }
            StatementKind::Explain(_) | StatementKind::ExplainStall(_) => {
                Ok(columns(explain::schema()))
            }
            StatementKind::ShowWatermarks | StatementKind::Show(_) => {
                Ok(columns(self.show(&statement.kind)?.schema))
            }
            _ => Ok(Description { parameters: vec![], columns: None }),
        }
    }

    async fn describe_query(
        &mut self,
        text: &str,
        query: &Query,
        declared: &[Option<DataType>],
    ) -> Result<Description> {
        let ordinary = self.ordinary_plan(query);
        let (plan, about_server) = self.either_plan(text, ordinary).await?;
        let columns = query::named_schema(&plan, &visible_names(&plan));
        let parameters = match about_server {
            true => {
                let types = pg_catalog::parameter_types(&plan, text, declared)?;
                types.into_iter().map(parameter).collect()
            }
            false => parameter_types(&plan, declared)?,
        };
        Ok(Description { parameters, columns: Some(columns) })
    }
}
