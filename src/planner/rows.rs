//! Functions that give rows, in FROM: unnest, generate_series, jsonb_each and the like.
//!
//! # Semantics
//! Each is a function that gives an array, and that array unnested. Its arguments may name columns
//! of what stands before it in FROM: such a call is lateral whether LATERAL is written or not.
//! Several arguments of unnest stand side by side, shorter ones filled up with NULL. WITH
//! ORDINALITY adds a column that counts the rows of a call from 1.
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
use sqlparser::ast::{FunctionArg, FunctionArgExpr, ObjectName, TableAlias, TableFactor};

use super::bind::DUPLICATE_MARK;
use super::derive;
use super::error::Error;
use super::lower::{Lowering, later, relaxed};
use super::plan::{Node, Op, Unnest};
use crate::error::SqlState;
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
const FUNCTIONS: [(&str, Columns); 16] = [
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
        let TableFactor::Function { name, args, with_ordinality, alias, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let found = plain_name(name)
            .and_then(|name| FUNCTIONS.iter().find(|(function, _)| *function == name));
        let Some((function, columns)) = found else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let mut arguments = Vec::new();
        for arg in args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
                return Err(undefined(function));
            };
            arguments.push(context.sql_to_expr(expr.clone(), &DFSchema::empty())?);
        }
        let call = Call { function, columns, with_ordinality: *with_ordinality };
        let (plan, names) = call.plan(arguments, context)?;
        let (plan, alias) = renamed(plan, names, function, alias.clone(), columns)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(alias)))))
    }
}

fn undefined(function: &str) -> datafusion::error::DataFusionError {
    Error::Invalid {
        what: format!("function {function} does not exist for arguments of these types"),
        sqlstate: SqlState::UNDEFINED_FUNCTION,
        hint: None,
    }
    .into()
}

struct Call<'a> {
    function: &'a str,
    columns: &'a Columns,
    with_ordinality: bool,
}

impl Call<'_> {
    /// Plans the call over one row; returns the plan and what its columns are called.
    fn plan(
        &self,
        arguments: Vec<Expr>,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<(LogicalPlan, Vec<String>)> {
        let internal = |name: &str, arguments: Vec<Expr>| {
            let function = context.context_provider().get_function_meta(name);
            function
                .map(|function| function.call(arguments))
                .ok_or_else(|| undefined(self.function))
        };
        let mut lists = match self.function {
            "unnest" if arguments.is_empty() => return Err(undefined("unnest")),
            "unnest" => arguments,
            other => vec![internal(&format!("${other}"), arguments)?],
        };
        let count = lists.len();
        if self.with_ordinality {
            let numbers = internal("$ordinality", lists.clone())?;
            lists.push(numbers);
        }
        let name = |i: usize| format!("$list{i}");
        let named = lists.into_iter().enumerate().map(|(i, list)| list.alias(name(i)));
        let named = named.collect::<Vec<_>>();
        let columns: Vec<Column> = (0..named.len()).map(|i| Column::from_name(name(i))).collect();
        let options = UnnestOptions { null_handling: NullHandling::Drop, recursions: vec![] };
        let one = LogicalPlanBuilder::empty(true).project(named)?.build()?;
        for column in &columns {
            let list = Expr::Column(column.clone()).get_type(one.schema())?;
            if !matches!(
                list,
                arrow::datatypes::DataType::List(_)
                    | arrow::datatypes::DataType::LargeList(_)
                    | arrow::datatypes::DataType::FixedSizeList(..)
            ) {
                return Err(undefined(self.function));
            }
        }
        let rows = LogicalPlanBuilder::from(one).unnest_columns_with_options(columns, options)?;
        let (mut exprs, mut names): (Vec<Expr>, Vec<String>) = (Vec::new(), Vec::new());
        let element = |i: usize| Expr::Column(Column::from_name(name(i)));
        match self.columns {
            Columns::Fields(fields) => {
                exprs.extend(fields.iter().map(|field| get_field(element(0), *field)));
                names.extend(fields.iter().map(|field| (*field).to_owned()));
            }
            Columns::Named(column) => {
                exprs.push(element(0));
                names.push((*column).to_owned());
            }
            Columns::AsFunction => {
                exprs.extend((0..count).map(element));
                names.extend((0..count).map(|_| self.function.to_owned()));
            }
        }
        if self.with_ordinality {
            exprs.push(element(count));
            names.push("ordinality".to_owned());
        }
        // Names are made unique here, and given their final form by the caller.
        let numbered = exprs.into_iter().enumerate().map(|(i, e)| e.alias(format!("$column{i}")));
        let plan = rows.project(numbered.collect::<Vec<_>>())?.build()?;
        Ok((plan, names))
    }
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

/// Gives the columns of a call the names that its alias asks for.
fn renamed(
    plan: LogicalPlan,
    mut names: Vec<String>,
    function: &str,
    alias: Option<TableAlias>,
    columns: &Columns,
) -> DfResult<(LogicalPlan, TableAlias)> {
    let alias = match alias {
        Some(mut alias) => {
            let name = fold(&alias.name);
            if matches!(columns, Columns::AsFunction) && names[0] == function {
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
