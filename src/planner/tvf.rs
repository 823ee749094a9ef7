//! Plans `cql_window(..)`, `cql_stream(..)`, TUMBLE and HOP in FROM to nodes of ours.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, ExprSchemable, Extension, LogicalPlan};
use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, TableFactor,
};

use super::error::Error;
use super::plan::Hopping;
use super::to_stream::{self, ToStreamNode};
use super::window::{WindowKind, WindowNode};
use crate::error::SqlState;
use crate::sql::statement::{ToStream, WindowSpec};

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
        let plan = match function.as_deref() {
            Some("cql_window") => self.bracket(&args, context)?,
            Some("cql_stream") => to_stream(&args, context)?,
            Some("tumble") => tvf("TUMBLE", &["size", "offset"], &args, context)?,
            Some("hop") => tvf("HOP", &["slide", "size", "offset"], &args, context)?,
            Some(other @ ("cumulate" | "session")) => {
                let name = other.to_ascii_uppercase();
                return Err(unsupported(
                    format!("{name} windows are not supported yet"),
                    "Use TUMBLE or HOP.",
                ));
            }
            _ => {
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

fn unsupported(what: impl Into<String>, hint: &str) -> DataFusionError {
    Error::Unsupported { what: what.into(), hint: hint.to_owned() }.into()
}

fn windowing(what: impl Into<String>, hint: impl Into<String>) -> DataFusionError {
    Error::Windowing { what: what.into(), hint: hint.into() }.into()
}

/// The relation an argument names: a table, a CTE or a subquery.
fn source(arg: &ast::Expr) -> Option<TableFactor> {
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
            [ToStream::Istream, ToStream::Dstream, ToStream::Rstream]
                .into_iter()
                .find(|operator| operator.as_str() == text)
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
    let later = |what: &str| {
        unsupported(format!("{what} is not supported yet"), "Use RANGE, RANGE .. SLIDE or ROWS.")
    };
    let mut exprs: Vec<Expr> = Vec::new();
    let kind = match spec {
        WindowSpec::Unbounded => return Ok(input),
        WindowSpec::Now => WindowKind::Range { size: 1, slide: None },
        WindowSpec::Range { size, inclusive, slide } => {
            // A closed interval [t - T, t] holds one tick more than the half-open one.
            let size = if *inclusive { size.saturating_add(1) } else { *size };
            WindowKind::Range { size, slide: *slide }
        }
        WindowSpec::Rows { count, slide: None } => WindowKind::Rows(*count),
        WindowSpec::Rows { slide: Some(_), .. } => return Err(later("ROWS n SLIDE m")),
        WindowSpec::Partitioned { keys, count, range } => {
            for key in keys {
                exprs.push(context.sql_to_expr(key.clone(), input.schema())?);
            }
            WindowKind::Partitioned { count: *count, range: *range }
        }
        WindowSpec::Current { .. } => return Err(later("a CURRENT window")),
    };
    let node = WindowNode::new(kind, exprs, input)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// Plans `F(src, tcol, a, b, ..)`; the spans may be given by name.
fn tvf(
    function: &str,
    spans: &[&str],
    args: &[FunctionArg],
    context: &mut dyn RelationPlannerContext,
) -> DfResult<LogicalPlan> {
    let usage = || {
        let list = spans.join(", ");
        windowing(
            format!("{function} needs a relation, a time column and its spans"),
            format!("Write {function}(stream, ts, {list}), where offset may be left out."),
        )
    };
    let mut expressions: Vec<(Option<String>, ast::Expr)> = Vec::new();
    for arg in args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                expressions.push((None, expr.clone()));
            }
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                expressions.push((Some(name.value.to_ascii_lowercase()), expr.clone()));
            }
            _ => return Err(usage()),
        }
    }
    if expressions.len() < 3
        || expressions[..2]
            .iter()
            .any(|(name, _)| !matches!(name.as_deref(), None | Some("data" | "timecol")))
    {
        return Err(usage());
    }
    let factor = source(&expressions[0].1).ok_or_else(usage)?;
    let input = context.plan(factor)?;
    let time = time_column(&expressions[1].1, input.schema(), context)?;
    let bigint = match time.get_type(input.schema())? {
        DataType::Timestamp(TimeUnit::Microsecond, _) => false,
        DataType::Int64 => true,
        other => {
            return Err(Error::Invalid {
                what: format!(
                    "the time column of {function} has type {}",
                    crate::sql::types::pg_type_name(&other)
                ),
                sqlstate: SqlState::DATATYPE_MISMATCH,
                hint: Some("Use a TIMESTAMP, TIMESTAMPTZ or BIGINT column.".into()),
            }
            .into());
        }
    };
    let mut values: Vec<Option<i64>> = vec![None; spans.len()];
    for (i, (name, expr)) in expressions[2..].iter().enumerate() {
        let slot = match name {
            Some(name) => spans.iter().position(|s| s == name),
            None => Some(i),
        };
        let slot = slot.filter(|slot| *slot < spans.len()).ok_or_else(usage)?;
        values[slot] = Some(span(expr, bigint, context)?);
    }
    let offset = values[spans.len() - 1].unwrap_or(0);
    let size = values[spans.len() - 2].ok_or_else(usage)?;
    let slide = if spans.len() == 3 { values[0].ok_or_else(usage)? } else { size };
    if size <= 0 || slide <= 0 {
        return Err(Error::Invalid {
            what: format!("the spans of {function} must be positive"),
            sqlstate: SqlState::INVALID_PARAMETER_VALUE,
            hint: Some("Give a size and slide above zero.".into()),
        }
        .into());
    }
    let windows = Hopping { slide, size, offset: offset.rem_euclid(slide) };
    let node = WindowNode::new(WindowKind::Assign(windows), vec![time], input)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// `col` or `DESCRIPTOR(col)`.
fn time_column(
    arg: &ast::Expr,
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<Expr> {
    if let ast::Expr::Function(function) = arg {
        let name = function.name.to_string().to_ascii_lowercase();
        if name == "proc_time" {
            return Err(unsupported(
                "windows on processing time are not supported yet",
                "Use the stream's event time.",
            ));
        }
        if name == "descriptor"
            && let FunctionArguments::List(list) = &function.args
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] = list.args.as_slice()
        {
            return context.sql_to_expr(column.clone(), schema);
        }
    }
    context.sql_to_expr(arg.clone(), schema)
}

/// A constant interval in microseconds, or an integer for BIGINT times.
fn span(expr: &ast::Expr, bigint: bool, context: &mut dyn RelationPlannerContext) -> DfResult<i64> {
    use datafusion::common::ScalarValue;
    let wrong = || {
        windowing(
            format!("the span {expr} is not a constant interval"),
            if bigint {
                "Write an integer, as the time column is one."
            } else {
                "Write for example INTERVAL '5 minutes'."
            },
        )
    };
    let value = match context.sql_to_expr(expr.clone(), &DFSchema::empty())? {
        Expr::Literal(value, _) => value,
        Expr::Negative(inner) => match *inner {
            Expr::Literal(value, _) => value.arithmetic_negate()?,
            _ => return Err(wrong()),
        },
        _ => return Err(wrong()),
    };
    match value {
        ScalarValue::Int64(Some(units)) if bigint => Ok(units),
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months != 0 => {
            Err(windowing(
                "a span in months or years has no fixed length",
                "Give the span in days or smaller units.",
            ))
        }
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            Ok(i64::from(interval.days) * 86_400_000_000 + interval.nanoseconds / 1_000)
        }
        _ => Err(wrong()),
    }
}
