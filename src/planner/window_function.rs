//! Plans TUMBLE, HOP, CUMULATE and SESSION in FROM.
//!
//! # Semantics
//! ```text
//! TUMBLE   (data, timecol, size          [, offset])
//! HOP      (data, timecol, slide, size   [, offset])
//! CUMULATE (data, timecol, step, size    [, offset])
//! SESSION  (data, timecol, gap           [, key => col | ([col, ..])])
//! ```
//! Arguments come in this order or by name. `data` is a relation's name or a subquery; `timecol` a
//! column, `DESCRIPTOR(col)`, or `proc_time()`, the time at which a stream's rows arrived. A window
//! column replaces a column of the input that has its name.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, Extension, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::bind::DUPLICATE_MARK;
use super::error::Error;
use super::open_windows::with_late;
use super::plan::Assigner;
use super::relation::{ARRIVAL, LATE, arrivals};
use super::tvf::{source, windowing};
use super::window::{Slot, TVF_COLUMNS, WindowKind, WindowNode, span_type, span_value};
use crate::error::SqlState;

/// A function that assigns windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowFunction {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

/// The span that an argument gives: its value, or the parameter that will give it.
enum Span {
    Known(i64),
    Parameter(Expr),
}

impl WindowFunction {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "tumble" => WindowFunction::Tumble,
            "hop" => WindowFunction::Hop,
            "cumulate" => WindowFunction::Cumulate,
            "session" => WindowFunction::Session,
            _ => return None,
        })
    }

    /// Its name, its parameters in order, and how many of them it needs.
    fn signature(self) -> (&'static str, &'static [&'static str], usize) {
        match self {
            WindowFunction::Tumble => ("TUMBLE", &["data", "timecol", "size", "offset"], 3),
            WindowFunction::Hop => ("HOP", &["data", "timecol", "slide", "size", "offset"], 4),
            WindowFunction::Cumulate => {
                ("CUMULATE", &["data", "timecol", "step", "size", "offset"], 4)
            }
            WindowFunction::Session => ("SESSION", &["data", "timecol", "gap", "key"], 3),
        }
    }

    /// Plans a call.
    pub(super) fn plan(
        self,
        args: &[FunctionArg],
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<LogicalPlan> {
        let usage = || self.usage();
        let args = self.arguments(args)?;
        let arg = |name: &str| {
            let (_, parameters, _) = self.signature();
            parameters.iter().position(|p| *p == name).and_then(|i| args[i].as_ref())
        };
        let input = context.plan(source(arg("data").ok_or_else(usage)?).ok_or_else(usage)?)?;
        let timecol = arg("timecol").ok_or_else(usage)?;
        let now = ["proc_time", "proctime"];
        let by_arrival = now.iter().any(|name| calls(timecol, name).is_some_and(<[_]>::is_empty));
        let (input, time) = if by_arrival {
            (arrivals(input)?, Expr::Column(Column::from_name(ARRIVAL)))
        } else {
            let time = time_column(timecol, input.schema(), context)?;
            (input, time)
        };
        let time = qualified(time, &input)?;
        let units = self.counts_units(&time, input.schema())?;
        let late = if by_arrival { None } else { with_late(&input, &time)? };
        let mut exprs = vec![time];
        for key in arg("key").map(listed).unwrap_or_default() {
            exprs.push(context.sql_to_expr(key.clone(), input.schema())?);
        }
        let mut parameters = Vec::new();
        let mut span = |name: &str, slots: &[Slot]| -> DfResult<i64> {
            let Some(arg) = arg(name) else { return Ok(0) };
            match constant(arg, units, context)? {
                Span::Known(span) => Ok(span),
                Span::Parameter(value) => {
                    parameters.extend(slots.iter().map(|slot| (*slot, value.clone())));
                    Ok(1)
                }
            }
        };
        let kind = match self {
            WindowFunction::Session => {
                WindowKind::Session { gap: span("gap", &[Slot::Size])?, late: late.is_some() }
            }
            WindowFunction::Cumulate => WindowKind::Assign(Assigner::Cumulate {
                step: span("step", &[Slot::Slide])?,
                size: span("size", &[Slot::Size])?,
                offset: span("offset", &[Slot::Offset])?,
            }),
            WindowFunction::Hop => WindowKind::Assign(Assigner::Hop {
                slide: span("slide", &[Slot::Slide])?,
                size: span("size", &[Slot::Size])?,
                offset: span("offset", &[Slot::Offset])?,
            }),
            WindowFunction::Tumble => WindowKind::Assign(Assigner::tumble(
                span("size", &[Slot::Size, Slot::Slide])?,
                span("offset", &[Slot::Offset])?,
            )),
        };
        if let (Some(late), WindowKind::Session { .. }) = (&late, kind) {
            exprs.push(late.met());
        }
        let input = late.as_ref().map_or(input, |late| late.plan.clone());
        let (input, exprs) = make_room(input, exprs)?;
        let node = WindowNode::new(kind, exprs, parameters, input)?;
        let mut plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        if let Some(late) = late.filter(|_| !matches!(kind, WindowKind::Session { .. })) {
            plan = late.in_open_windows(plan)?;
        }
        without_hidden(plan)
    }

    fn usage(self) -> datafusion::error::DataFusionError {
        let (name, parameters, _) = self.signature();
        let spans = parameters[2..].join(", ").replace(", key", ", key => k");
        let last = if self == WindowFunction::Session { "key" } else { "offset" };
        windowing(
            format!("{name} needs a relation, a time column and its spans"),
            format!("Write {name}(stream, ts, {spans}), where {last} may be left out."),
        )
    }

    /// Sorts the arguments by parameter; those left out are `None`.
    fn arguments(self, args: &[FunctionArg]) -> DfResult<Vec<Option<ast::Expr>>> {
        let (_, parameters, needed) = self.signature();
        let mut sorted: Vec<Option<ast::Expr>> = vec![None; parameters.len()];
        for (place, arg) in args.iter().enumerate() {
            let (place, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (Some(place), expr),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    let name = name.value.to_ascii_lowercase();
                    (parameters.iter().position(|parameter| *parameter == name), expr)
                }
                _ => return Err(self.usage()),
            };
            let free = place.and_then(|place| sorted.get_mut(place)).filter(|arg| arg.is_none());
            *free.ok_or_else(|| self.usage())? = Some(expr.clone());
        }
        if sorted[..needed].iter().any(Option::is_none) {
            return Err(self.usage());
        }
        Ok(sorted)
    }

    /// Whether times are numbers, and spans therefore too.
    fn counts_units(self, time: &Expr, schema: &DFSchema) -> DfResult<bool> {
        match time.get_type(schema)? {
            DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(false),
            DataType::Int64 => Ok(true),
            other => Err(Error::Invalid {
                what: format!(
                    "the time column of {} has type {}",
                    self.signature().0,
                    crate::sql::types::pg_type_name(&other)
                ),
                sqlstate: SqlState::DATATYPE_MISMATCH,
                hint: Some("Use a TIMESTAMP, TIMESTAMPTZ or BIGINT column.".into()),
            }
            .into()),
        }
    }
}

/// The arguments of a call of that function.
fn calls<'a>(expr: &'a ast::Expr, name: &str) -> Option<&'a [FunctionArg]> {
    match expr {
        ast::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case(name) => {
            match &function.args {
                FunctionArguments::List(list) => Some(&list.args),
                FunctionArguments::None => Some(&[]),
                FunctionArguments::Subquery(_) => None,
            }
        }
        _ => None,
    }
}

/// `col` or `DESCRIPTOR(col)`.
fn time_column(
    arg: &ast::Expr,
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<Expr> {
    match calls(arg, "descriptor") {
        Some([FunctionArg::Unnamed(FunctionArgExpr::Expr(column))]) => {
            context.sql_to_expr(column.clone(), schema)
        }
        _ => context.sql_to_expr(arg.clone(), schema),
    }
}

/// A column with the name of its relation.
fn qualified(expr: Expr, input: &LogicalPlan) -> DfResult<Expr> {
    match expr {
        Expr::Column(column) => {
            let (qualifier, field) = input.schema().qualified_field_from_column(&column)?;
            Ok(Expr::Column(Column::new(qualifier.cloned(), field.name())))
        }
        other => Ok(other),
    }
}

/// `k` or `(k, l)`; `()` is read as `(NULL)`.
fn listed(arg: &ast::Expr) -> Vec<&ast::Expr> {
    match arg {
        ast::Expr::Value(value) if value.value == ast::Value::Null => Vec::new(),
        ast::Expr::Tuple(list) => list.iter().collect(),
        ast::Expr::Nested(inner) => listed(inner),
        other => vec![other],
    }
}

/// A constant span, or a parameter that will be one.
fn constant(
    expr: &ast::Expr,
    units: bool,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<Span> {
    let wrong = || {
        let hint = match units {
            true => "Write an integer, as the time column is one.",
            false => "Write for example INTERVAL '5 minutes'.",
        };
        windowing(format!("the span {expr} is not a constant interval"), hint)
    };
    let value = match context.sql_to_expr(expr.clone(), &DFSchema::empty())? {
        Expr::Placeholder(parameter) => {
            let field = Arc::new(Field::new(&parameter.id, span_type(units), true));
            let value = Placeholder::new_with_field(parameter.id, Some(field));
            return Ok(Span::Parameter(Expr::Placeholder(value)));
        }
        Expr::Literal(value, _) => value,
        Expr::Negative(inner) => match *inner {
            Expr::Literal(value, _) => value.arithmetic_negate()?,
            _ => return Err(wrong()),
        },
        _ => return Err(wrong()),
    };
    span_value(&value, units).map(Span::Known)
}

/// Whether a column of the input makes room for a window column, or is only there for the window.
fn hidden(name: &str) -> bool {
    name == ARRIVAL
        || name == LATE
        || (name.ends_with(DUPLICATE_MARK)
            && TVF_COLUMNS.contains(&name.trim_end_matches(DUPLICATE_MARK)))
}

/// Renames the columns that are called like window columns, in the input and in what is computed
/// of it.
fn make_room(input: LogicalPlan, exprs: Vec<Expr>) -> DfResult<(LogicalPlan, Vec<Expr>)> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let schema = Arc::clone(input.schema());
    if !schema.fields().iter().any(|field| TVF_COLUMNS.contains(&field.name().as_str())) {
        return Ok((input, exprs));
    }
    let renamed = |name: &str| match TVF_COLUMNS.contains(&name) {
        true => format!("{name}{DUPLICATE_MARK}"),
        false => name.to_owned(),
    };
    let columns = schema.iter().map(|(qualifier, field)| {
        Expr::from((qualifier, field)).alias_qualified(qualifier.cloned(), renamed(field.name()))
    });
    let columns = columns.collect::<Vec<_>>();
    let input = LogicalPlanBuilder::from(input).project(columns)?.build()?;
    let moved = |expr: Expr| {
        let moved = expr.transform(|expr| match expr {
            Expr::Column(mut column) => {
                column.name = renamed(&column.name);
                Ok(Transformed::yes(Expr::Column(column)))
            }
            other => Ok(Transformed::no(other)),
        });
        moved.map(|moved| moved.data)
    };
    let exprs = exprs.into_iter().map(moved).collect::<DfResult<_>>()?;
    Ok((input, exprs))
}

/// Leaves out the columns that only the window needed.
fn without_hidden(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    if !schema.fields().iter().any(|field| hidden(field.name())) {
        return Ok(plan);
    }
    let shown = schema.iter().filter(|(_, field)| !hidden(field.name()));
    let shown = shown.map(Expr::from).collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(shown)?.build()
}
