//! Functions that give rows, in FROM: unnest, generate_series, jsonb_each and the like.
//!
//! # Semantics
//! Each is a function that gives an array, and that array unnested. Its arguments may name columns
//! of what stands before it in FROM: such a call is lateral whether LATERAL is written or not.
//! Several arguments of unnest stand side by side, shorter ones filled up with NULL, and so do the
//! functions of ROWS FROM. A function that gives a value gives one row. WITH ORDINALITY adds a
//! column that counts the rows from 1.
//!
//! A column is called as the function, or as the table alias; where the function names its columns
//! (`key`, `value`), these names stay. A list behind the alias renames columns.

use datafusion::common::{Column, DFSchema, NullHandling, UnnestOptions};
use datafusion::error::Result as DfResult;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    self as logical, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder,
};
use sqlparser::ast::{
    FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, TableAlias, TableFactor,
    TableFunctionArgs,
};

use super::bind::DUPLICATE_MARK;
use super::column_name::column_name;
use super::derive;
use super::error::Error;
use super::lower::{Lowering, later, relaxed};
use super::plan::{Node, Op, Unnest};
use crate::error::SqlState;
use crate::sql::ROWS_FROM;
use crate::sql::names::fold;

/// What a function that gives rows calls its columns.
enum Columns {
    /// One column, called as the function or the alias.
    AsFunction,
    /// One column of this name.
    Named(&'static str),
    /// A column for each field of the row.
    Fields(&'static [&'static str]),
}

/// The functions, but for unnest.
const FUNCTIONS: [(&str, Columns); 17] = [
    ("generate_series", Columns::AsFunction),
    ("generate_subscripts", Columns::AsFunction),
    ("json_array_elements", Columns::Named("value")),
    ("json_array_elements_text", Columns::Named("value")),
    ("json_each", Columns::Fields(&["key", "value"])),
    ("json_each_text", Columns::Fields(&["key", "value"])),
    ("json_object_keys", Columns::AsFunction),
    ("jsonb_array_elements", Columns::Named("value")),
    ("jsonb_array_elements_text", Columns::Named("value")),
    ("jsonb_each", Columns::Fields(&["key", "value"])),
    ("jsonb_each_text", Columns::Fields(&["key", "value"])),
    ("jsonb_object_keys", Columns::AsFunction),
    ("range", Columns::AsFunction),
    ("regexp_matches", Columns::AsFunction),
    ("regexp_split_to_table", Columns::AsFunction),
    ("string_to_table", Columns::AsFunction),
    ("unnest", Columns::AsFunction),
];

/// Whether a function gives rows, and in one column.
pub(super) fn gives_rows(function: &str) -> Option<bool> {
    let (_, columns) = FUNCTIONS.iter().find(|(name, _)| *name == function)?;
    Some(!matches!(columns, Columns::Fields(_)))
}

/// Returns the name of a function in small letters, if it has no schema or that of the system.
pub(super) fn plain_name(name: &ObjectName) -> Option<String> {
    let parts: Vec<_> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    match parts.as_slice() {
        [name] => Some(name.value.to_ascii_lowercase()),
        [schema, name] if schema.value.eq_ignore_ascii_case("pg_catalog") => {
            Some(name.value.to_ascii_lowercase())
        }
        _ => None,
    }
}

/// Plans calls of functions that give rows.
#[derive(Debug)]
pub(super) struct RowFunctions;

impl RelationPlanner for RowFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let (TableFactor::Function { name, args, with_ordinality, alias, .. }
        | TableFactor::Table {
            name,
            args: Some(TableFunctionArgs { args, settings: None }),
            with_ordinality,
            alias,
            ..
        }) = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let lists = match plain_name(name) {
            Some(name) if name == ROWS_FROM => Some(side_by_side(args, context)?),
            Some(name) => match lists(&name, args, context)? {
                Some(lists) => Some(lists),
                None => value(&name, args, context)?.map(|list| vec![list]),
            },
            None => None,
        };
        let Some(lists) = lists else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let alone = matches!(lists.as_slice(), [List { columns: Columns::AsFunction, .. }]);
        let called = lists.first().map_or(ROWS_FROM.to_owned(), |list| list.function.clone());
        let (plan, names) = rows(lists, *with_ordinality, context)?;
        let (plan, alias) = renamed(plan, names, &called, alias.clone(), alone)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(alias)))))
    }
}

/// An array whose elements are rows.
struct List {
    array: Expr,
    /// The function that gives it.
    function: String,
    columns: &'static Columns,
}

/// The arrays that a call of a function that gives rows stands for; `None` for other functions.
fn lists(
    name: &str,
    args: &[FunctionArg],
    context: &mut dyn RelationPlannerContext,
) -> DfResult<Option<Vec<List>>> {
    let Some((function, columns)) = FUNCTIONS.iter().find(|(function, _)| *function == name) else {
        return Ok(None);
    };
    let mut arguments = Vec::new();
    for arg in args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
            return Err(undefined(function));
        };
        arguments.push(context.sql_to_expr(expr.clone(), &DFSchema::empty())?);
    }
    let list = |array| List { array, function: (*function).to_owned(), columns };
    Ok(Some(match *function {
        "unnest" if arguments.is_empty() => return Err(undefined("unnest")),
        "unnest" => arguments.into_iter().map(list).collect(),
        other => vec![list(internal(&format!("${other}"), other, arguments, context)?)],
    }))
}

/// The array of the one value that a call of any other function gives; `None` if there is none of
/// that name.
fn value(
    name: &str,
    args: &[FunctionArg],
    context: &mut dyn RelationPlannerContext,
) -> DfResult<Option<List>> {
    if context.context_provider().get_function_meta(name).is_none() {
        return Ok(None);
    }
    let call = super::calls::call(name, args.to_vec());
    let value = context.sql_to_expr(call, &DFSchema::empty())?;
    let array = internal("make_array", name, vec![value], context)?;
    Ok(Some(List { array, function: name.to_owned(), columns: &Columns::AsFunction }))
}

/// The arrays of the functions in ROWS FROM.
fn side_by_side(
    calls: &[FunctionArg],
    context: &mut dyn RelationPlannerContext,
) -> DfResult<Vec<List>> {
    let mut all = Vec::new();
    for call in calls {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(call)) = call else {
            return Err(undefined(ROWS_FROM));
        };
        let name = match call {
            sqlparser::ast::Expr::Function(function) => plain_name(&function.name),
            _ => None,
        };
        let of_rows = match (call, &name) {
            (sqlparser::ast::Expr::Function(function), Some(name)) => match &function.args {
                FunctionArguments::List(list) => lists(name, &list.args, context)?,
                _ => None,
            },
            _ => None,
        };
        match of_rows {
            Some(lists) => all.extend(lists),
            None => {
                let value = context.sql_to_expr(call.clone(), &DFSchema::empty())?;
                let function = name.unwrap_or_else(|| column_name(call));
                let array = internal("make_array", &function, vec![value], context)?;
                all.push(List { array, function, columns: &Columns::AsFunction });
            }
        }
    }
    Ok(all)
}

/// A call of a function of arrays that stands for another.
fn internal(
    name: &str,
    stands_for: &str,
    arguments: Vec<Expr>,
    context: &dyn RelationPlannerContext,
) -> DfResult<Expr> {
    let function = context.context_provider().get_function_meta(name);
    function.map(|function| function.call(arguments)).ok_or_else(|| undefined(stands_for))
}

fn undefined(function: &str) -> datafusion::error::DataFusionError {
    Error::Invalid {
        what: format!("function {function} does not exist for arguments of these types"),
        sqlstate: SqlState::UNDEFINED_FUNCTION,
        hint: None,
    }
    .into()
}

/// Plans the elements of arrays side by side; returns the plan and what its columns are called.
fn rows(
    lists: Vec<List>,
    with_ordinality: bool,
    context: &dyn RelationPlannerContext,
) -> DfResult<(LogicalPlan, Vec<String>)> {
    let mut arrays: Vec<Expr> = lists.iter().map(|list| list.array.clone()).collect();
    if with_ordinality {
        arrays.push(internal("$ordinality", "WITH ORDINALITY", arrays.clone(), context)?);
    }
    let name = |i: usize| format!("$list{i}");
    let named = arrays.into_iter().enumerate().map(|(i, array)| array.alias(name(i)));
    let named = named.collect::<Vec<_>>();
    let columns: Vec<Column> = (0..named.len()).map(|i| Column::from_name(name(i))).collect();
    let options = UnnestOptions { null_handling: NullHandling::Drop, recursions: vec![] };
    let one = LogicalPlanBuilder::empty(true).project(named)?.build()?;
    for (column, list) in columns.iter().zip(&lists) {
        let array = Expr::Column(column.clone()).get_type(one.schema())?;
        if !matches!(
            array,
            arrow::datatypes::DataType::List(_)
                | arrow::datatypes::DataType::LargeList(_)
                | arrow::datatypes::DataType::FixedSizeList(..)
        ) {
            return Err(undefined(&list.function));
        }
    }
    let rows = LogicalPlanBuilder::from(one).unnest_columns_with_options(columns, options)?;
    let (mut exprs, mut names): (Vec<Expr>, Vec<String>) = (Vec::new(), Vec::new());
    let element = |i: usize| Expr::Column(Column::from_name(name(i)));
    for (i, list) in lists.iter().enumerate() {
        match list.columns {
            Columns::Fields(fields) => {
                exprs.extend(fields.iter().map(|field| get_field(element(i), *field)));
                names.extend(fields.iter().map(|field| (*field).to_owned()));
            }
            Columns::Named(column) => {
                exprs.push(element(i));
                names.push((*column).to_owned());
            }
            Columns::AsFunction => {
                exprs.push(element(i));
                names.push(list.function.clone());
            }
        }
    }
    if with_ordinality {
        exprs.push(element(lists.len()));
        names.push("ordinality".to_owned());
    }
    // Names are made unique here, and given their final form by the caller.
    let numbered = exprs.into_iter().enumerate().map(|(i, e)| e.alias(format!("$column{i}")));
    let plan = rows.project(numbered.collect::<Vec<_>>())?.build()?;
    Ok((plan, names))
}

impl Lowering {
    /// Lowers an unnest.
    pub(super) fn unnest(&self, unnest: &logical::Unnest) -> Result<Node, Error> {
        let input = self.node(&unnest.input)?;
        let deep = unnest.list_type_columns.iter().any(|(_, list)| list.depth > 1);
        if deep || !unnest.struct_type_columns.is_empty() {
            return Err(later("unnest of nested arrays", "Unnest one dimension."));
        }
        let is_list = |column: usize| unnest.list_type_columns.iter().any(|(c, _)| *c == column);
        let columns = unnest.dependency_indices.iter().map(|c| (*c, is_list(*c))).collect();
        let keep_empty = unnest.options.null_handling != NullHandling::Drop;
        let op = Op::Unnest(Unnest { columns, keep_empty });
        Ok(derive::node(op, vec![input], relaxed(&unnest.schema)))
    }
}

/// Gives the columns of a call the names that its alias asks for; one that is `alone` is called as
/// the alias.
fn renamed(
    plan: LogicalPlan,
    mut names: Vec<String>,
    function: &str,
    alias: Option<TableAlias>,
    alone: bool,
) -> DfResult<(LogicalPlan, TableAlias)> {
    let alias = match alias {
        Some(mut alias) => {
            let name = fold(&alias.name);
            if alone {
                names[0] = name;
            }
            if alias.columns.len() > names.len() {
                return Err(Error::Invalid {
                    what: format!(
                        "table \"{}\" has {} columns available but {} columns specified",
                        alias.name.value,
                        names.len(),
                        alias.columns.len()
                    ),
                    sqlstate: SqlState::SYNTAX_ERROR,
                    hint: None,
                }
                .into());
            }
            for (name, column) in names.iter_mut().zip(std::mem::take(&mut alias.columns)) {
                *name = fold(&column.name);
            }
            alias
        }
        None => TableAlias { explicit: true, name: function.into(), columns: vec![], at: None },
    };
    // Equal names get a mark, as in a select list.
    let mut exprs = Vec::new();
    for (i, (column, name)) in plan.schema().columns().into_iter().zip(&names).enumerate() {
        let before = names[..i].iter().filter(|other| *other == name).count();
        let unique = match before {
            0 => name.clone(),
            n => format!("{name}{}{}", DUPLICATE_MARK, n + 1),
        };
        exprs.push(Expr::Column(column).alias(unique));
    }
    Ok((LogicalPlanBuilder::from(plan).project(exprs)?.build()?, alias))
}
