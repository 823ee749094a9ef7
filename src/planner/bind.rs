//! Parsed queries to DataFusion's logical plans, with Postgres's column names.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use sqlparser::ast::{self, VisitMut, VisitorMut};

use super::column_name::name_columns;
use super::error::{Error, Result};
use super::relation::Names;
use crate::sql::catalog::Object;
use crate::sql::statement::Query;

/// Separates a column's name from what makes it unique where SQL allows duplicates.
pub(super) const DUPLICATE_MARK: char = '\u{1}';

/// Plans a query, not yet analyzed.
pub fn bind_query(query: &Query, names: &Names<'_>) -> Result<LogicalPlan> {
    let mut ast = query.ast.as_ref().clone();
    let _ = VisitMut::visit(&mut ast, &mut NameColumns);
    let planner = planner(names);
    Ok(planner.sql_statement_to_plan(ast::Statement::Query(Box::new(ast)))?)
}

/// Plans INSERT, UPDATE or DELETE, not yet analyzed.
pub fn bind_dml(statement: &ast::Statement, names: &Names<'_>) -> Result<LogicalPlan> {
    Ok(planner(names).sql_statement_to_plan(statement.clone())?)
}

/// Plans an expression over the columns of `schema`.
pub fn bind_expr(expr: &ast::Expr, schema: &DFSchema, names: &Names<'_>) -> Result<Expr> {
    Ok(planner(names).sql_to_expr(expr.clone(), schema, &mut PlannerContext::new())?)
}

fn planner<'a>(names: &'a Names<'_>) -> SqlToRel<'a, Names<'a>> {
    let options = ParserOptions::default()
        .with_enable_ident_normalization(true)
        .with_map_string_types_to_utf8view(false)
        .with_collect_spans(true)
        .with_support_varchar_with_length(true);
    SqlToRel::new_with_options(names, options)
}

/// Gives the columns of every SELECT of a statement the names Postgres gives them.
pub fn name_statement(statement: &mut ast::Statement) {
    let _ = VisitMut::visit(statement, &mut NameColumns);
}

/// Gives the columns of every SELECT the names Postgres gives them.
struct NameColumns;

impl VisitorMut for NameColumns {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        name_columns(&mut query.body);
        ControlFlow::Continue(())
    }
}

/// Returns the names a client sees for the columns of a plan.
pub fn visible_names(plan: &LogicalPlan) -> Vec<String> {
    let visible = |name: &String| name.split(DUPLICATE_MARK).next().unwrap_or(name).to_owned();
    plan.schema().fields().iter().map(|f| visible(f.name())).collect()
}

/// Gives a view's plan the names of the view's columns.
pub fn rename(plan: LogicalPlan, view: &Object) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let renamed = schema
        .iter()
        .zip(&view.columns)
        .map(|(field, column)| Expr::from(field).alias(&column.name))
        .collect::<Vec<_>>();
    Ok(LogicalPlanBuilder::from(plan).project(renamed)?.build()?)
}

/// Simplifies an expression without columns.
pub(super) fn constant_expr(expr: Expr, state: &SessionState) -> DfResult<Expr> {
    let context = SimplifyContext::builder()
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let simplifier = ExprSimplifier::new(context);
    simplifier.coerce(expr, &DFSchema::empty()).and_then(|e| simplifier.simplify(e))
}

/// Computes a constant expression, such as the time of a heartbeat.
pub fn constant(expr: &ast::Expr, names: &Names<'_>, state: &SessionState) -> Result<ScalarValue> {
    let bound = bind_expr(expr, &DFSchema::empty(), names)?;
    match constant_expr(bound, state)? {
        Expr::Literal(value, _) => Ok(value),
        _ => Err(Error::Invalid {
            what: format!("{expr} is not a constant"),
            sqlstate: crate::error::SqlState::INVALID_PARAMETER_VALUE,
            hint: None,
        }),
    }
}
