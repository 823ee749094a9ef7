//! Calls in a query's text that stand for something else.
//!
//! | written                         | stands for                                      |
//! |---------------------------------|-------------------------------------------------|
//! | `FROM f(..)`, f giving rows     | the lateral function ([`super::rows`])          |
//! | `SELECT f(..)`, f giving rows   | `unnest($f(..))`                                |
//! | `DISTINCT ON (1)`               | `DISTINCT ON (x)`, x being the first selected   |
//! | `(a, b) IN (SELECT ..)`         | EXISTS ([`super::row_in`])                      |
//! | `age(t)`                        | `age(current_date, t)`                          |
//! | `make_timestamptz(..)`          | `make_timestamp(..)::timestamptz`               |
//! | `to_timestamp(text, picture)`   | a timestamp read by it, cast to `timestamptz`   |
//! | `date_trunc(f, t, z)`           | `timezone(z, date_trunc(f, timezone(z, t)))`    |
//! | `'today'::date`, `'now'::..`    | `current_date`, `now()`, cast to the type       |
//! | `VALUES (1), ('2')`             | `VALUES (1), (CAST('2' AS bigint))`             |
//! | `TABLE t`                       | `SELECT * FROM t`                               |
//! | `VALUES (a.x), (1)`             | `SELECT a.x UNION ALL SELECT 1`                 |
//! | `GROUP BY ()`                   | grouping sets ([`super::group_by`])             |
//! | `rank(a) WITHIN GROUP (..)`     | counts of rows ([`super::hypothetical`])        |
//! | `array_agg(x ORDER BY 1)`       | `array_agg(x ORDER BY (1))`: a constant, not a place |
//! | `make_interval(days => 1)`      | the same with all arguments, in their places    |
//! | `ARRAY(SELECT x .. ORDER BY y)` | `(SELECT coalesce(array_agg(x ORDER BY y), {})` |
//! | `date(x)`, `text(x)`, ..        | `CAST(x AS date)`, where no function is called so |
//! | `num_nulls(VARIADIC a)`, ..     | a function of the array                         |
//! | `ARRAY[x, y]`                   | `make_array(x, y)`: DataFusion's has no outer columns |

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, SelectItem, SetExpr, TableFactor, VisitMut, VisitorMut,
};

use super::rows::{gives_rows, plain_name};
use super::{group_by, hypothetical, lateral_joins, row_in, values};
use crate::sql::names::fold;
use crate::sql::{ROWS_FROM, VARIADIC};

/// Rewrites the calls of a tree.
pub(super) fn rewrite(tree: &mut impl VisitMut) {
    let _ = VisitMut::visit(tree, &mut Calls { of_insert: false });
}

struct Calls {
    /// Whether the next query is the source of an INSERT, whose table says the types.
    of_insert: bool,
}

impl VisitorMut for Calls {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &mut ast::Statement) -> ControlFlow<()> {
        self.of_insert = matches!(statement, ast::Statement::Insert(_));
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        let of_insert = std::mem::take(&mut self.of_insert);
        tables_as_selects(&mut query.body);
        if let SetExpr::Values(rows) = query.body.as_mut() {
            if !of_insert {
                values::type_values(rows);
            }
            if let Some(selects) = values::as_selects(rows) {
                *query.body = selects;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        group_by::spell_out(&mut select.group_by);
        distinct_on_results(select);
        lateral_joins::flatten(&mut select.from);
        select.selection.iter_mut().for_each(row_in::in_condition);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                let _ = VisitMut::visit(expr, &mut InSelectList { depth: 0 });
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let gives = |name: &ObjectName| {
            plain_name(name).is_some_and(|n| n == ROWS_FROM || gives_rows(&n).is_some())
        };
        let call = match factor {
            TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. }
                if gives(name) =>
            {
                (name.clone(), args.args.clone(), *with_ordinality, alias.clone())
            }
            TableFactor::UNNEST {
                alias, array_exprs, with_offset: false, with_ordinality, ..
            } => {
                let args = array_exprs.iter().cloned().map(argument).collect();
                let name = ObjectName::from(vec![Ident::new("unnest")]);
                (name, args, *with_ordinality, alias.clone())
            }
            TableFactor::Function { lateral, name, .. } if gives(name) => {
                *lateral = true;
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        let (name, args, with_ordinality, alias) = call;
        *factor = TableFactor::Function { lateral: true, name, args, with_ordinality, alias };
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        hypothetical::spell_out(expr);
        if let Expr::Function(function) = expr {
            constants_in_order(function);
        }
        if let Expr::Array(array) = expr {
            let elements = std::mem::take(&mut array.elem).into_iter().map(argument).collect();
            *expr = call("make_array", elements);
        }
        if let Expr::Function(function) = expr
            && plain_name(&function.name).as_deref() == Some("array")
            && let FunctionArguments::Subquery(query) = &mut function.args
            && let Some(value) = array_of(query)
        {
            *expr = value;
        }
        if let Expr::Function(function) = expr
            && plain_name(&function.name).as_deref() == Some("make_interval")
            && let FunctionArguments::List(list) = &mut function.args
        {
            in_places(&mut list.args);
        }
        row_in::as_value(expr);
        if let Some(meant) = time_call(expr)
            .or_else(|| time_word(expr))
            .or_else(|| of_elements(expr))
            .or_else(|| type_call(expr))
        {
            *expr = meant;
        }
        ControlFlow::Continue(())
    }
}

/// Replaces numbers and names of results in DISTINCT ON.
fn distinct_on_results(select: &mut ast::Select) {
    let Some(ast::Distinct::On(exprs)) = &mut select.distinct else { return };
    for expr in exprs {
        let found = match expr {
            Expr::Value(value) => match &value.value {
                ast::Value::Number(place, _) => place
                    .parse::<usize>()
                    .ok()
                    .and_then(|place| select.projection.get(place.checked_sub(1)?)),
                _ => None,
            },
            Expr::Identifier(name) => select.projection.iter().find(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => fold(alias) == fold(name),
                _ => false,
            }),
            _ => None,
        };
        if let Some(SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }) =
            found
        {
            *expr = item.clone();
        }
    }
}

/// Encloses numbers in the ORDER BY of an aggregate, which DataFusion takes for places.
fn constants_in_order(function: &mut Function) {
    let within = function.within_group.iter_mut();
    let clauses = match &mut function.args {
        FunctionArguments::List(list) => list.clauses.as_mut_slice(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => &mut [],
    };
    let listed = clauses.iter_mut().flat_map(|clause| match clause {
        ast::FunctionArgumentClause::OrderBy(keys) => keys.as_mut_slice(),
        _ => &mut [],
    });
    for key in within.chain(listed) {
        if matches!(key.expr, Expr::Value(_)) {
            key.expr = Expr::Nested(Box::new(key.expr.clone()));
        }
    }
}

/// A type called as a function.
fn type_call(expr: &Expr) -> Option<Expr> {
    use ast::DataType as Type;
    let Expr::Function(Function { name, over: None, filter: None, args, .. }) = expr else {
        return None;
    };
    let FunctionArguments::List(list) = args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_slice() else {
        return None;
    };
    let data_type = match plain_name(name)?.as_str() {
        "bool" => Type::Bool,
        "bytea" => Type::Bytea,
        "date" => Type::Date,
        "float4" => Type::Float4,
        "float8" => Type::Float8,
        "int2" => Type::Int2(None),
        "int4" => Type::Int4(None),
        "int8" => Type::Int8(None),
        "json" => Type::JSON,
        "jsonb" => Type::JSONB,
        "text" => Type::Text,
        _ => return None,
    };
    Some(cast_to(value.clone(), data_type))
}

/// A call whose last argument is an array that stands for arguments, as a function of the array.
fn of_elements(expr: &Expr) -> Option<Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else {
        return None;
    };
    let (FunctionArg::Named { name: mark, arg: FunctionArgExpr::Expr(array), .. }, before) =
        list.args.split_last()?
    else {
        return None;
    };
    let array = argument(array.clone());
    if mark.value != VARIADIC {
        return None;
    }
    let empty = || argument(Expr::Value(ast::Value::SingleQuotedString(String::new()).into()));
    Some(match (plain_name(name)?.as_str(), before) {
        ("num_nulls", []) => call("$null_elements", vec![array]),
        ("num_nonnulls", []) => call("$elements", vec![array]),
        ("concat", []) => call("array_to_string", vec![array, empty()]),
        ("concat_ws", [separator]) => call("array_to_string", vec![array, separator.clone()]),
        ("json_build_array", []) => call("to_json", vec![array]),
        ("jsonb_build_array", []) => call("to_jsonb", vec![array]),
        _ => return None,
    })
}

/// `age` of one time and `date_trunc` in a zone.
fn time_call(expr: &Expr) -> Option<Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else {
        return None;
    };
    let args = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let args = args.collect::<Option<Vec<_>>>()?;
    match (plain_name(name)?.as_str(), args.as_slice()) {
        ("make_timestamptz", [parts @ .., zone]) if parts.len() == 6 => {
            let parts = parts.iter().map(|part| argument((*part).clone())).collect();
            let local = call("make_timestamp", parts);
            Some(call("timezone", vec![argument((*zone).clone()), argument(local)]))
        }
        ("make_timestamptz", [_, _, _, _, _, _]) => {
            let parts = args.iter().map(|part| argument((*part).clone())).collect();
            Some(cast_to(call("make_timestamp", parts), instants()))
        }
        ("to_timestamp", [_, _]) => {
            let parts = args.iter().map(|part| argument((*part).clone())).collect();
            Some(cast_to(call("$read_time", parts), instants()))
        }
        ("age", [time]) => {
            let today = call("current_date", vec![]);
            Some(call("age", vec![argument(today), argument((*time).clone())]))
        }
        ("date_trunc", [field, time, zone]) => {
            let zone = argument((*zone).clone());
            let instant = cast_to((*time).clone(), instants());
            let local = call("timezone", vec![zone.clone(), argument(instant)]);
            let cut = call("date_trunc", vec![argument((*field).clone()), argument(local)]);
            Some(call("timezone", vec![zone, argument(cut)]))
        }
        _ => None,
    }
}

fn instants() -> ast::DataType {
    ast::DataType::Timestamp(Some(6), ast::TimezoneInfo::WithTimeZone)
}

/// Words for times that depend on the time of the statement, cast to a type of times.
fn time_word(expr: &Expr) -> Option<Expr> {
    let (text, data_type) = match expr {
        Expr::Cast { expr, data_type, .. } => match expr.as_ref() {
            Expr::Value(value) => (&value.value, data_type),
            _ => return None,
        },
        Expr::TypedString(typed) => (&typed.value.value, &typed.data_type),
        _ => return None,
    };
    use ast::DataType::{Date, Time, Timestamp};
    let ast::Value::SingleQuotedString(text) = text else { return None };
    if !matches!(data_type, Date | Time(..) | Timestamp(..)) {
        return None;
    }
    let day = |shift: i64| {
        let number = Expr::Value(ast::Value::Number(shift.to_string(), false).into());
        let today = Box::new(call("current_date", vec![]));
        Expr::BinaryOp { left: today, op: ast::BinaryOperator::Plus, right: Box::new(number) }
    };
    let time = match text.trim().to_ascii_lowercase().as_str() {
        "now" => call("now", vec![]),
        "today" => day(0),
        "tomorrow" => day(1),
        "yesterday" => day(-1),
        _ => return None,
    };
    Some(cast_to(time, data_type.clone()))
}

pub(super) fn cast_to(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

/// `TABLE t` as `SELECT * FROM t`, also in the branches of UNION and the like.
fn tables_as_selects(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            tables_as_selects(left);
            tables_as_selects(right);
        }
        SetExpr::Table(table) => {
            let name = table.table_name.iter().map(Ident::new);
            let schema = table.schema_name.iter().map(Ident::new);
            let name = ObjectName::from(schema.chain(name).collect::<Vec<_>>());
            let Ok(parsed) = crate::sql::parse_query_text("SELECT * FROM t") else { return };
            *body = *parsed.ast.body;
            if let SetExpr::Select(select) = body
                && let TableFactor::Table { name: place, .. } = &mut select.from[0].relation
            {
                *place = name;
            }
        }
        _ => {}
    }
}

/// The parameters of `make_interval`.
const SPANS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// Puts named arguments of `make_interval` in their places, and 0 where there is none; leaves names
/// that it has not.
fn in_places(args: &mut Vec<FunctionArg>) {
    let place = |arg: &FunctionArg| match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
            let place = SPANS.iter().position(|span| name.value.eq_ignore_ascii_case(span))?;
            Some((place, expr.clone()))
        }
        _ => None,
    };
    let unnamed = args.iter().take_while(|arg| matches!(arg, FunctionArg::Unnamed(_))).count();
    let named: Option<Vec<_>> = args[unnamed..].iter().map(place).collect();
    let Some(named) = named.filter(|named| named.iter().all(|(place, _)| *place >= unnamed)) else {
        return;
    };
    let zero = || Expr::Value(ast::Value::Number("0".into(), false).into());
    let last = named.iter().map(|(place, _)| place + 1).max().unwrap_or(unnamed);
    args.truncate(unnamed);
    args.extend((unnamed..last).map(|_| argument(zero())));
    for (place, expr) in named {
        args[place] = argument(expr);
    }
}

/// Wraps functions that give rows, not those of subqueries.
struct InSelectList {
    depth: usize,
}

impl VisitorMut for InSelectList {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        // In a select list `range` is an array.
        let name = plain_name(&function.name).filter(|name| name != "unnest" && name != "range");
        if let Some(name) = name.filter(|name| gives_rows(name).is_some()) {
            let span = function.name.0[0].as_ident().map(|ident| ident.span);
            let mut internal = Ident::with_quote('"', format!("${name}"));
            internal.span = span.unwrap_or(internal.span);
            function.name = ObjectName::from(vec![internal]);
            *expr = call("unnest", vec![argument(expr.clone())]);
        }
        ControlFlow::Continue(())
    }
}

fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

fn list(args: Vec<FunctionArg>, clauses: Vec<ast::FunctionArgumentClause>) -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses })
}

pub(super) fn call(name: &str, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(function(name, list(args, vec![])))
}

fn function(name: &str, args: FunctionArguments) -> Function {
    Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args,
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    }
}

/// The array of a subquery's rows, in their order; `None` if it is no SELECT of one expression.
fn array_of(query: &mut ast::Query) -> Option<Expr> {
    let order = match query.order_by.as_ref().map(|by| &by.kind) {
        None => vec![],
        Some(ast::OrderByKind::Expressions(by)) => by.clone(),
        Some(ast::OrderByKind::All(_)) => return None,
    };
    // The subquery gives the element and what it is ordered by; the array is made around it.
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let [SelectItem::UnnamedExpr(element) | SelectItem::ExprWithAlias { expr: element, .. }] =
        select.projection.as_mut_slice()
    else {
        return None;
    };
    let element = element.clone();
    let name = |i: usize| Ident::with_quote('"', format!("$item{i}"));
    let mut items = vec![SelectItem::ExprWithAlias { expr: element.clone(), alias: name(0) }];
    let distinct = select.distinct.is_some();
    let mut ordered = Vec::new();
    for (i, by) in order.into_iter().enumerate() {
        let first = matches!(&by.expr, Expr::Value(v)
            if matches!(&v.value, ast::Value::Number(n, _) if n == "1"));
        let place = if first || by.expr == element { 0 } else { i + 1 };
        if place > 0 {
            if distinct {
                return None;
            }
            items.push(SelectItem::ExprWithAlias { expr: by.expr.clone(), alias: name(place) });
        }
        ordered.push(ast::OrderByExpr { expr: Expr::Identifier(name(place)), ..by });
    }
    select.projection = items;
    let clauses = match ordered.is_empty() {
        true => vec![],
        false => vec![ast::FunctionArgumentClause::OrderBy(ordered)],
    };
    let all = function("array_agg", list(vec![argument(Expr::Identifier(name(0)))], clauses));
    let empty = call("make_array", vec![]);
    let value = call("coalesce", vec![argument(Expr::Function(all)), argument(empty)]);
    let derived = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: Some(ast::TableAlias {
            explicit: true,
            name: Ident::with_quote('"', "$array"),
            columns: vec![],
            at: None,
        }),
        sample: None,
    };
    let parsed = crate::sql::parse_query_text("SELECT 1").ok()?;
    let mut outer = *parsed.ast;
    let SetExpr::Select(select) = outer.body.as_mut() else { return None };
    select.projection =
        vec![SelectItem::ExprWithAlias { expr: value, alias: Ident::with_quote('"', "array") }];
    select.from = vec![ast::TableWithJoins { relation: derived, joins: vec![] }];
    Some(Expr::Subquery(Box::new(outer)))
}
