//! Parsed queries to DataFusion's logical plans, with Postgres's column names.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use sqlparser::ast::{self, Visit, VisitMut, Visitor, VisitorMut};

use super::calls;
use super::column_name::name_columns;
use super::error::{Error, Result};
use super::first_rows::WITH_TIES;
use super::relation::Names;
use super::{asof, bag, empty_subquery, recursive, subquery, using};
use super::{macros, named_window, text_time, whole_row};
use crate::error::{Classify, Location, SqlState};
use crate::sql::catalog::{FunctionDef, Object};
use crate::sql::names::fold;
use crate::sql::statement::Query;

/// Separates a column's name from what makes it unique where SQL allows duplicates.
pub const DUPLICATE_MARK: char = '\u{1}';

/// Plans a query; its types are settled unless it has parameters.
pub fn bind_query(query: &Query, names: &Names<'_>) -> Result<LogicalPlan> {
    let mut ast = query.ast.as_ref().clone();
    let _ = VisitMut::visit(&mut ast, &mut NameColumns { marks: true });
    macros::expand(&mut ast, names)?;
    whole_row::expand(&mut ast, names);
    calls::rewrite(&mut ast);
    let mut statement = ast.clone();
    if using::enclose(&mut statement, names.natural()) {
        // What NATURAL joins merge is known once they are planned.
        let first = ast::Statement::Query(Box::new(statement));
        let _ = planner(names).sql_statement_to_plan(first);
        statement = ast;
        using::enclose(&mut statement, names.natural());
    }
    let statement = ast::Statement::Query(Box::new(statement));
    let plan = planner(names).sql_statement_to_plan(statement);
    let plan = plan.map_err(|error| placed(error.into(), query.ast.as_ref()))?;
    let plan = recursive::checked(using::unmark(plan)?)?;
    let plan = bag::rewrite(asof::place(plan)?)?;
    let plan = empty_subquery::nullable(subquery::spell_out(plan)?)?;
    let plan = match names.definer() {
        Some(definer) => text_time::read_instants(plan, definer)?,
        None => plan,
    };
    if plan.get_parameter_names()?.is_empty() { settled(plan, names.functions()) } else { Ok(plan) }
}

/// Settles the types of a plan without parameters.
pub fn settled(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    Ok(state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?)
}

/// Places an error about an unknown name, which DataFusion does not in every clause: where the name
/// stands first.
fn placed(error: Error, tree: &impl Visit) -> Error {
    struct Find<'a>(&'a str);
    impl Find<'_> {
        fn look(&self, parts: &[ast::Ident]) -> ControlFlow<Location> {
            let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
                return ControlFlow::Continue(());
            };
            let start = first.span.start;
            match fold(last) == self.0 && start.line > 0 {
                true => ControlFlow::Break(Location { line: start.line, column: start.column }),
                false => ControlFlow::Continue(()),
            }
        }
    }
    impl Visitor for Find<'_> {
        type Break = Location;
        fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Location> {
            match expr {
                ast::Expr::Identifier(ident) => self.look(std::slice::from_ref(ident)),
                ast::Expr::CompoundIdentifier(parts) => self.look(parts),
                _ => ControlFlow::Continue(()),
            }
        }
        fn pre_visit_relation(&mut self, name: &ast::ObjectName) -> ControlFlow<Location> {
            let parts: Vec<_> = name.0.iter().filter_map(|p| p.as_ident().cloned()).collect();
            self.look(&parts)
        }
    }
    if error.location().is_some() {
        return error;
    }
    let name = error.unknown_name().map(|name| name.rsplit('.').next().unwrap_or(name).to_owned());
    let found = name.map(|name| Visit::visit(tree, &mut Find(&name)));
    match found {
        Some(ControlFlow::Break(location)) => Error::At { error: Box::new(error), location },
        _ => error,
    }
}

/// Plans INSERT, UPDATE or DELETE, not yet analyzed.
pub fn bind_dml(statement: &ast::Statement, names: &Names<'_>) -> Result<LogicalPlan> {
    let mut statement = statement.clone();
    let _ = VisitMut::visit(&mut statement, &mut NameColumns { marks: true });
    macros::expand(&mut statement, names)?;
    calls::rewrite(&mut statement);
    let plan = recursive::checked(planner(names).sql_statement_to_plan(statement)?)?;
    let plan = bag::rewrite(plan)?;
    Ok(empty_subquery::nullable(subquery::spell_out(plan)?)?)
}

/// Plans a call of a function with NULLs, so that a bad body is refused when it is defined.
pub fn check_function(function: &FunctionDef, names: &Names<'_>) -> Result<()> {
    if names.is_built_in(&function.name) {
        return Err(Error::Invalid {
            what: format!("function \"{}\" already exists", function.name),
            sqlstate: SqlState::DUPLICATE_FUNCTION,
            hint: Some("The language has a function of that name; choose another one.".into()),
        });
    }
    let nulls = function.parameters.iter().map(|_| ast::Expr::Value(ast::Value::Null.into()));
    let call = macros::inlined(function, nulls.collect(), names)?;
    let bound = bind_expr(&call, &DFSchema::empty(), names)?;
    let plan = LogicalPlanBuilder::empty(true).project([bound.alias("value")])?.build()?;
    settled(plan, names.functions())?;
    Ok(())
}

/// Plans an expression over the columns of `schema`.
pub fn bind_expr(expr: &ast::Expr, schema: &DFSchema, names: &Names<'_>) -> Result<Expr> {
    let mut expr = expr.clone();
    macros::expand(&mut expr, names)?;
    calls::rewrite(&mut expr);
    Ok(planner(names).sql_to_expr(expr, schema, &mut PlannerContext::new())?)
}

pub(super) fn planner<'a>(names: &'a Names<'_>) -> SqlToRel<'a, Names<'a>> {
    let options = ParserOptions::default()
        .with_enable_ident_normalization(true)
        .with_parse_float_as_decimal(true)
        .with_map_string_types_to_utf8view(false)
        .with_collect_spans(true)
        .with_support_varchar_with_length(true);
    SqlToRel::new_with_options(names, options)
}

/// Gives the columns of every SELECT of a statement the names Postgres gives them.
pub fn name_statement(statement: &mut ast::Statement) {
    let _ = VisitMut::visit(statement, &mut NameColumns { marks: false });
}

/// Gives the columns of every SELECT the names Postgres gives them.
struct NameColumns {
    /// Whether recursive terms are marked, for [`recursive::checked`].
    marks: bool,
}

impl VisitorMut for NameColumns {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        fetch_as_limit(query);
        if self.marks {
            recursive::mark(query, call);
        }
        name_columns(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        named_window::extend(select);
        ControlFlow::Continue(())
    }
}

/// `FETCH FIRST n ROWS ONLY` is LIMIT n; WITH TIES is a mark on n.
fn fetch_as_limit(query: &mut ast::Query) {
    let Some(fetch) = query.fetch.take_if(|fetch| !fetch.percent) else { return };
    let one = || ast::Expr::Value(ast::Value::Number("1".into(), false).into());
    let mut rows = Some(fetch.quantity.unwrap_or_else(one));
    if fetch.with_ties {
        rows = rows.map(|rows| call(WITH_TIES, rows));
    }
    match &mut query.limit_clause {
        Some(ast::LimitClause::LimitOffset { limit, .. }) => *limit = rows,
        _ => {
            let (offset, limit_by) = (None, vec![]);
            query.limit_clause =
                Some(ast::LimitClause::LimitOffset { limit: rows, offset, limit_by });
        }
    }
}

/// A call of a function with one argument.
fn call(name: &str, argument: ast::Expr) -> ast::Expr {
    let argument = ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument));
    ast::Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![ast::Ident::with_quote('"', name)]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument],
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// Returns the names a client sees for the columns of a plan.
pub fn visible_names(plan: &LogicalPlan) -> Vec<String> {
    let visible = |name: &String| name.split(DUPLICATE_MARK).next().unwrap_or(name).to_owned();
    plan.schema().fields().iter().map(|f| visible(f.name())).collect()
}

/// Gives a view's plan the names of the view's columns.
pub fn rename(plan: LogicalPlan, view: &Object) -> Result<LogicalPlan> {
    let names: Vec<_> = view.columns.iter().map(|column| column.name.clone()).collect();
    with_names(plan, &names)
}

/// Gives the columns of a plan names.
pub fn with_names(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let renamed = schema
        .iter()
        .zip(names)
        .map(|(field, name)| Expr::from(field).alias(name))
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
    let typed = super::coercion::rewrite(expr, &DFSchema::empty(), state.config_options())?;
    let coerced = simplifier.coerce(typed.data, &DFSchema::empty())?;
    let meant = super::meaning::rewrite(coerced, &DFSchema::empty(), state.config_options())?;
    simplifier.simplify(meant.data)
}

/// Computes a constant expression, such as the time of a heartbeat.
pub fn constant(expr: &ast::Expr, names: &Names<'_>, state: &SessionState) -> Result<ScalarValue> {
    let bound = bind_expr(expr, &DFSchema::empty(), names)?;
    Ok(constant_value(bound, state)?)
}

/// Computes an expression without columns.
pub fn constant_value(bound: Expr, state: &SessionState) -> DfResult<ScalarValue> {
    let simple = constant_expr(bound, state)?;
    if let Expr::Literal(value, _) = simple {
        return Ok(value);
    }
    // What the simplifier leaves alone may be an error: computing it tells which.
    let computed = state.create_physical_expr(simple, &DFSchema::empty())?;
    match computed.evaluate(&super::lower::one_row()?)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => Ok(ScalarValue::try_from_array(&values, 0)?),
    }
}
