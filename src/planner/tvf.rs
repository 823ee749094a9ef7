//! Plans `cql_window(..)`, `cql_stream(..)` and window functions in FROM to nodes of ours.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, TableFactor,
};

use super::error::Error;
use super::lookup::LookupNode;
use super::past::PastNode;
use super::relation::RelationSource;
use super::to_stream::{self, ToStreamNode};
use super::window::{Slot, WindowKind, WindowNode, span_type};
use super::window_function::WindowFunction;
use crate::error::SqlState;
use crate::sql::derived::ToStream;
use crate::sql::statement::{Length, WindowSpec};
use crate::sql::{LOOKUP_FUNCTION, PAST_FUNCTION, VERSIONS_FUNCTION};

/// Plans the windows of one statement.
#[derive(Debug)]
pub struct WindowPlanner {
    windows: Arc<[WindowSpec]>,
}

impl WindowPlanner {
    /// `windows` are the brackets that `cql_window(.., 'wN')` refers to.
    pub fn new(windows: Arc<[WindowSpec]>) -> Self {
        Self { windows }
    }
}

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let (name, args, alias) = match relation {
            TableFactor::Table { name, args: Some(args), alias, .. } => (name, args.args, alias),
            TableFactor::Function { name, args, alias, .. } => (name, args, alias),
            TableFactor::TableFunction { expr: ast::Expr::Function(call), alias } => {
                let FunctionArguments::List(list) = call.args else {
                    return Err(DataFusionError::Plan(format!(
                        "Invalid function '{}'.",
                        call.name
                    )));
                };
                (call.name, list.args, alias)
            }
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        let function = match name.0.as_slice() {
            [part] => part.as_ident().map(|i| i.value.to_ascii_lowercase()),
            _ => None,
        };
        let window_function = function.as_deref().and_then(WindowFunction::named);
        let plan = match (window_function, function.as_deref()) {
            (Some(function), _) => function.plan(&args, context)?,
            (None, Some("cql_window")) => self.bracket(&args, context)?,
            (None, Some(VERSIONS_FUNCTION)) => versions(&args, context)?,
            (None, Some(LOOKUP_FUNCTION)) => lookup(&args, context)?,
            (None, Some(PAST_FUNCTION)) => past(&args, context)?,
            (None, Some("cql_stream")) => to_stream(&args, context)?,
            (None, _) => {
                let args = Some(ast::TableFunctionArgs { args, settings: None });
                return Ok(RelationPlanning::Original(Box::new(table(name, args, alias))));
            }
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

fn table(
    name: ObjectName,
    args: Option<ast::TableFunctionArgs>,
    alias: Option<ast::TableAlias>,
) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

pub(super) fn windowing(what: impl Into<String>, hint: impl Into<String>) -> DataFusionError {
    Error::Windowing { what: what.into(), hint: hint.into() }.into()
}

/// The relation an argument names: a table, a CTE or a subquery.
pub(super) fn source(arg: &ast::Expr) -> Option<TableFactor> {
    match arg {
        ast::Expr::Identifier(ident) => Some(named(vec![ident.clone()])),
        ast::Expr::CompoundIdentifier(idents) => Some(named(idents.clone())),
        ast::Expr::Subquery(query) => Some(TableFactor::Derived {
            lateral: false,
            subquery: query.clone(),
            alias: None,
            sample: None,
        }),
        ast::Expr::Nested(inner) => source(inner),
        _ => None,
    }
}

fn named(idents: Vec<Ident>) -> TableFactor {
    table(ObjectName::from(idents), None, None)
}

fn positional(args: &[FunctionArg]) -> Vec<&ast::Expr> {
    args.iter()
        .filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect()
}

impl WindowPlanner {
    fn bracket(
        &self,
        args: &[FunctionArg],
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<LogicalPlan> {
        let args = positional(args);
        let number = match args.get(1) {
            Some(ast::Expr::Value(value)) => match &value.value {
                ast::Value::SingleQuotedString(text) => text[1..].parse::<usize>().ok(),
                _ => None,
            },
            _ => None,
        };
        let spec = number
            .and_then(|n| self.windows.get(n))
            .ok_or_else(|| DataFusionError::Plan("Invalid function 'cql_window'.\n".to_owned()))?;
        let factor = source(args[0]).expect("the parser puts windows after names and subqueries");
        let input = context.plan(factor)?;
        to_stream::windowed(&input)?;
        bracket_node(spec, input, context)
    }
}

/// A relation as it is when a row of the other side of the join comes.
fn lookup(args: &[FunctionArg], context: &mut dyn RelationPlannerContext) -> DfResult<LogicalPlan> {
    let factor = positional(args).first().and_then(|arg| source(arg));
    let input = context.plan(factor.expect("the parser gives a name"))?;
    Ok(LookupNode { input }.plan())
}

/// A relation as of a time.
fn past(args: &[FunctionArg], context: &mut dyn RelationPlannerContext) -> DfResult<LogicalPlan> {
    let args = positional(args);
    let factor = args.first().and_then(|arg| source(arg)).expect("the parser gives a name");
    let at = args.get(1).map(|at| (*at).clone()).expect("the parser gives a time");
    let at = context.sql_to_expr(at, &DFSchema::empty())?;
    Ok(PastNode { input: context.plan(factor)?, at }.plan())
}

/// The versions of a table, without the column that says which are deletions.
fn versions(
    args: &[FunctionArg],
    context: &mut dyn RelationPlannerContext,
) -> DfResult<LogicalPlan> {
    let factor = positional(args).first().and_then(|arg| source(arg));
    let LogicalPlan::TableScan(scan) = context.plan(factor.expect("the parser gives a name"))?
    else {
        return Err(no_versions("a view"));
    };
    let versions = scan.source.downcast_ref::<RelationSource>().and_then(RelationSource::versions);
    let versions =
        versions.ok_or_else(|| no_versions(&format!("\"{}\"", scan.table_name.table())))?;
    let shown = versions.object.columns.len() - 1;
    let all = LogicalPlanBuilder::scan(scan.table_name, Arc::new(versions), None)?.build()?;
    let shown: Vec<Expr> = all.schema().iter().take(shown).map(Expr::from).collect();
    LogicalPlanBuilder::from(all).project(shown)?.build()
}

fn no_versions(what: &str) -> DataFusionError {
    Error::Invalid {
        what: format!("{what} keeps no versions"),
        sqlstate: SqlState::WRONG_OBJECT_TYPE,
        hint: Some("Declare the table with VERSIONED BY ts WATERMARK AS ts.".into()),
    }
    .into()
}

/// Plans `cql_stream((query), 'ISTREAM'[, every])`.
fn to_stream(
    args: &[FunctionArg],
    context: &mut dyn RelationPlannerContext,
) -> DfResult<LogicalPlan> {
    let args = positional(args);
    let value = |i: usize| match args.get(i) {
        Some(ast::Expr::Value(value)) => Some(&value.value),
        _ => None,
    };
    let operator = match value(1) {
        Some(ast::Value::SingleQuotedString(text)) => {
            ToStream::ALL.into_iter().find(|operator| operator.as_str() == text)
        }
        _ => None,
    };
    let every = match value(2) {
        Some(ast::Value::Number(micros, _)) => micros.parse().ok(),
        _ => None,
    };
    let factor = args.first().and_then(|arg| source(arg)).zip(operator);
    let (factor, operator) = factor.expect("the parser writes a query and an operator");
    let input = context.plan(factor)?;
    Ok(ToStreamNode::new(operator, every, input)?.plan())
}

fn bracket_node(
    spec: &WindowSpec,
    input: LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<LogicalPlan> {
    let mut exprs: Vec<Expr> = Vec::new();
    let mut parameters = Vec::new();
    let mut micros = |slot: Slot, length: &Length| match length {
        Length::Micros(micros) => *micros,
        Length::Parameter(name) => {
            let field = Arc::new(Field::new(name, span_type(false), true));
            let value = Placeholder::new_with_field(name.clone(), Some(field));
            parameters.push((slot, Expr::Placeholder(value)));
            1
        }
    };
    let kind = match spec {
        WindowSpec::Unbounded => return Ok(input),
        WindowSpec::Now => WindowKind::Range { size: 1, inclusive: false, slide: None },
        WindowSpec::Range { size, inclusive, slide } => WindowKind::Range {
            size: micros(Slot::Size, size),
            inclusive: *inclusive,
            slide: slide
                .as_ref()
                .map(|(slide, offset)| (micros(Slot::Slide, slide), micros(Slot::Offset, offset))),
        },
        WindowSpec::Rows { count, slide } => {
            WindowKind::Rows { count: *count, slide: slide.unwrap_or(1) }
        }
        WindowSpec::Partitioned { keys, count, range } => {
            for key in keys {
                exprs.push(context.sql_to_expr(key.clone(), input.schema())?);
            }
            let range = range.as_ref().map(|range| micros(Slot::Size, range));
            WindowKind::Partitioned { count: *count, range }
        }
        WindowSpec::Current { size } => WindowKind::Current(micros(Slot::Size, size)),
    };
    let node = WindowNode::new(kind, exprs, parameters, input)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}
