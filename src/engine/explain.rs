//! EXPLAIN: the streaming plan with its properties, or DataFusion's plan of a one-shot query.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use futures::{StreamExt, stream};

use super::derived::QueryOptions;
use super::outcome::Rows;
use super::session::Session;
use super::{Error, Result, dml, query};
use crate::planner::bind::bind_query;
use crate::planner::doubts::doubts;
use crate::planner::plan::Plan;
use crate::planner::relation::Names;
use crate::planner::verdict::{state_text, warnings};
use crate::sql::statement::{Explain, Query, StatementKind};

/// One text column, `QUERY PLAN`.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

/// Explains a statement.
pub(super) async fn explain(
    session: &mut Session,
    explain: &Explain,
    params: &[ScalarValue],
) -> Result<Rows> {
    if explain.analyze {
        return Err(Error::unsupported(
            "EXPLAIN ANALYZE is not supported yet",
            "Use EXPLAIN, or \\timing in psql.",
        ));
    }
    if explain.json {
        return Err(Error::unsupported(
            "EXPLAIN (FORMAT JSON) is not supported yet",
            "Use EXPLAIN.",
        ));
    }
    let text = match &explain.statement.kind {
        StatementKind::Query(query) if explain.state => {
            continuous_text(session, query, params, true)?
        }
        StatementKind::Query(query) => plan_text(session, query, params)?,
        StatementKind::Subscribe(subscribe) => {
            continuous_text(session, &subscribe.query, params, explain.state)?
        }
        StatementKind::CreateStreamAs(create) => {
            let clock = QueryOptions::new(&create.options)?.clock;
            plan_or_state(&session.stream_plan(create, clock)?.0, explain.state)
        }
        StatementKind::CreateView(create) => {
            continuous_text(session, &create.query, params, explain.state)?
        }
        StatementKind::Dml { statement, windows } => {
            dml::describe_plan(session, statement, windows)?
        }
        _ => {
            return Err(Error::unsupported(
                "EXPLAIN of this statement is not supported",
                "Explain a query, SUBSCRIBE, CREATE VIEW, INSERT, UPDATE or DELETE.",
            ));
        }
    };
    Ok(text_rows(schema(), &text))
}

/// A query over streams is shown as it runs in a view; if it cannot, or reads none, as it runs
/// once.
fn plan_text(session: &Session, query: &Query, params: &[ScalarValue]) -> Result<String> {
    let reads_stream = {
        let relations = session.relations();
        let names = Names::new(&relations, &relations.functions, Arc::clone(&query.windows));
        let bound = query::with_params(bind_query(query, &names)?, params)?;
        if !query::reads_stream(&bound)? {
            let plan = session.relations().functions.optimize(&bound)?;
            return Ok(format!("One-shot query\n{}", indented(&plan.display_indent().to_string())));
        }
        bound
    };
    match continuous_text(session, query, params, false) {
        Ok(text) => Ok(text),
        Err(error) => {
            let plan = session.relations().functions.optimize(&reads_stream)?;
            let text = indented(&plan.display_indent().to_string());
            Ok(format!("One-shot query; not continuous: {error}\n{text}"))
        }
    }
}

fn continuous_text(
    session: &Session,
    query: &Query,
    params: &[ScalarValue],
    state: bool,
) -> Result<String> {
    Ok(plan_or_state(&session.continuous(query, params)?.0, state))
}

fn plan_or_state(plan: &Plan, state: bool) -> String {
    if state {
        return state_text(plan);
    }
    let mut text = plan.to_string();
    for (what, hint) in warnings(plan) {
        text.push_str(&format!("WARNING: state grows without bound: {what}\n  HINT: {hint}\n"));
    }
    for (what, hint) in doubts(plan) {
        text.push_str(&format!("WARNING: {what}\n  HINT: {hint}\n"));
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// One row per line.
pub(super) fn text_rows(schema: SchemaRef, text: &str) -> Rows {
    let lines: StringArray = text.lines().map(Some).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(lines)]);
    let batch = batch.map_err(Error::from);
    Rows { schema, stream: stream::iter([batch]).boxed(), tag: "EXPLAIN" }
}
