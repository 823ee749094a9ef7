//! Functions of the user: their bodies, put where they are called.
//!
//! # Semantics
//! A call is its body with the arguments, cast to the declared types, in place of the parameters,
//! and that cast to the declared result. STRICT makes it NULL where an argument is. So a function
//! costs nothing by itself, and works in continuous queries as what it stands for. An argument that
//! the body names twice is computed twice. Where the body has a subquery, the arguments are columns
//! around it: so a column of the subquery comes before a parameter of its name, and names of the
//! body do not capture those of arguments.
//!
//! What all calls of a statement stand for is bounded ([`SIZE_MAX`]), since functions that call
//! functions multiply.
//!
//! DataFusion's own functions come first, so a name of theirs cannot be defined without a schema.

use std::cell::Cell;
use std::ops::ControlFlow;

use sqlparser::ast::{
    self, CastKind, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SetExpr, VisitMut,
    VisitorMut,
};

use super::error::{Error, Result};
use super::inspection;
use super::relation::Names;
use crate::error::SqlState;
use crate::sql;
use crate::sql::catalog::FunctionDef;

/// Calls within calls beyond which a function calls itself.
const DEPTH_MAX: usize = 64;

/// Expressions that the calls of a statement may stand for.
const SIZE_MAX: usize = 20_000;

/// Replaces the calls of a tree.
pub(super) fn expand(tree: &mut impl VisitMut, names: &Names<'_>) -> Result<()> {
    Macros { names, depth: 0, size: &Cell::new(0) }.expand(tree)
}

/// Plans what a call with those arguments stands for.
pub(super) fn inlined(
    function: &FunctionDef,
    arguments: Vec<Expr>,
    names: &Names<'_>,
) -> Result<Expr> {
    Macros { names, depth: 0, size: &Cell::new(0) }.inlined(function, arguments)
}

/// Puts bodies in place of calls.
#[derive(Clone, Copy)]
struct Macros<'a> {
    names: &'a Names<'a>,
    /// Calls that the tree at hand stands for.
    depth: usize,
    /// Expressions that calls of the statement stand for so far.
    size: &'a Cell<usize>,
}

impl Macros<'_> {
    fn expand(mut self, tree: &mut impl VisitMut) -> Result<()> {
        match VisitMut::visit(tree, &mut self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
    }
}

impl VisitorMut for Macros<'_> {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let plain = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty();
        let Some(arguments) = arguments(call).filter(|_| plain) else {
            return ControlFlow::Continue(());
        };
        let Some(function) = self.names.function(&call.name, arguments.len()) else {
            return match inspection::spelled_out(&call.name, &arguments, self.names) {
                Ok(Some(spelled)) => {
                    *expr = spelled;
                    ControlFlow::Continue(())
                }
                Ok(None) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Box::new(error)),
            };
        };
        let inside = Macros { depth: self.depth + 1, ..*self };
        match inside.inlined(&function, arguments) {
            Ok(inlined) => {
                *expr = inlined;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// The arguments of a call, if they are nothing but expressions.
fn arguments(call: &ast::Function) -> Option<Vec<Expr>> {
    let list = match &call.args {
        FunctionArguments::List(list) => list,
        FunctionArguments::None | FunctionArguments::Subquery(_) => return None,
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    let argument = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(argument).collect()
}

impl Macros<'_> {
    /// What a call stands for.
    fn inlined(self, function: &FunctionDef, arguments: Vec<Expr>) -> Result<Expr> {
        let too_much = |what: &str, hint: Option<&str>| Error::Invalid {
            what: format!("function \"{}\" {what}", function.name),
            sqlstate: SqlState::PROGRAM_LIMIT_EXCEEDED,
            hint: hint.map(str::to_owned),
        };
        if self.depth > DEPTH_MAX {
            return Err(too_much("calls itself without end", None));
        }
        let mut body = body(function)?;
        let mut strict = None;
        let mut given = Vec::new();
        for (argument, parameter) in arguments.into_iter().zip(&function.parameters) {
            if function.strict {
                let null = Expr::IsNull(Box::new(Expr::Nested(Box::new(argument.clone()))));
                strict = Some(match strict {
                    None => null,
                    Some(before) => Expr::BinaryOp {
                        left: Box::new(before),
                        op: ast::BinaryOperator::Or,
                        right: Box::new(null),
                    },
                });
            }
            given.push((parameter.name.clone(), cast(argument, &parameter.type_text)?));
        }
        let beside = asks(&mut body) && !given.is_empty();
        let columns = (0..).zip(&function.parameters).map(|(number, parameter)| {
            let column = parameter.name.clone().unwrap_or_else(|| format!("${number}"));
            ast::Ident::with_quote('"', column)
        });
        let columns: Vec<ast::Ident> = columns.collect();
        let named = |(column, (name, _)): (&ast::Ident, &(Option<String>, Expr))| {
            let arguments = ast::Ident::with_quote('"', ARGUMENTS);
            (name.clone(), Expr::CompoundIdentifier(vec![arguments, column.clone()]))
        };
        let mut there: Vec<(Option<String>, Expr)> = match beside {
            true => columns.iter().zip(&given).map(named).collect(),
            false => given.clone(),
        };
        let sizes = there.iter_mut().map(|(_, argument)| size(argument)).collect();
        let mut parameters = Parameters { function, given: &there, sizes, beside, size: self.size };
        if VisitMut::visit(&mut body, &mut parameters).is_break() {
            let hint = "A function stands for its body, and an argument is computed wherever the \
                        body names it: compute it in a subquery first.";
            return Err(too_much("makes the statement too large", Some(hint)));
        }
        self.expand(&mut body)?;
        let value = match beside {
            false => body,
            true => beside_arguments(body, columns, given)?,
        };
        let value = cast(value, &function.returns_text)?;
        Ok(match strict {
            None => value,
            Some(condition) => Expr::Case {
                case_token: ast::helpers::attached_token::AttachedToken::empty(),
                end_token: ast::helpers::attached_token::AttachedToken::empty(),
                operand: None,
                conditions: vec![ast::CaseWhen {
                    condition,
                    result: Expr::Value(ast::Value::Null.into()),
                }],
                else_result: Some(Box::new(value)),
            },
        })
    }
}

/// The number of expressions in one.
fn size(expr: &mut Expr) -> usize {
    struct Count(usize);
    impl VisitorMut for Count {
        type Break = ();
        fn pre_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }
    let mut count = Count(0);
    let _ = VisitMut::visit(expr, &mut count);
    count.0
}

/// Whether an expression has a subquery, in which names mean something else than where the call
/// stands.
fn asks(expr: &mut Expr) -> bool {
    struct Find(bool);
    impl VisitorMut for Find {
        type Break = ();
        fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
            self.0 = true;
            ControlFlow::Break(())
        }
    }
    let mut find = Find(false);
    let _ = VisitMut::visit(expr, &mut find);
    find.0
}

/// The relation of a call's arguments, and its columns.
const ARGUMENTS: &str = "$arguments";

/// `(SELECT body FROM (SELECT argument AS parameter, ..) AS "$arguments")`: the arguments are
/// computed where the call stands.
fn beside_arguments(
    body: Expr,
    columns: Vec<ast::Ident>,
    arguments: Vec<(Option<String>, Expr)>,
) -> Result<Expr> {
    let frame = format!("SELECT NULL AS value FROM (SELECT NULL AS a) AS \"{ARGUMENTS}\"");
    let mut query = sql::parse_query_text(&frame)?.ast;
    if let SetExpr::Select(outer) = query.body.as_mut() {
        if let [ast::SelectItem::ExprWithAlias { expr, .. }] = outer.projection.as_mut_slice() {
            *expr = body;
        }
        if let ast::TableFactor::Derived { subquery, .. } = &mut outer.from[0].relation
            && let SetExpr::Select(inner) = subquery.body.as_mut()
        {
            let item = |((_, expr), alias)| ast::SelectItem::ExprWithAlias { expr, alias };
            inner.projection = arguments.into_iter().zip(columns).map(item).collect();
        }
    }
    Ok(Expr::Subquery(query))
}

/// The body as an expression: of a SELECT without FROM what it selects, of others the subquery.
fn body(function: &FunctionDef) -> Result<Expr> {
    let first = function.body.split_whitespace().next().unwrap_or_default();
    if !["select", "with", "values"].contains(&first.to_lowercase().as_str()) {
        return Ok(sql::parse_expression(&function.body)?);
    }
    let query = sql::parse_query_text(&function.body)?;
    if !query.windows.is_empty() || query.emit.is_some() {
        return Err(Error::Unsupported {
            what: "a window in a function is not supported".into(),
            hint: "Put the query into a view, and read that.".into(),
        });
    }
    let mut ast = query.ast;
    if let SetExpr::Select(select) = ast.body.as_mut()
        && select.from.is_empty()
        && select.selection.is_none()
        && let [ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. }] =
            select.projection.as_slice()
    {
        return Ok(expr.clone());
    }
    Ok(Expr::Subquery(ast))
}

/// A cast to a type given as text.
fn cast(expr: Expr, to: &str) -> Result<Expr> {
    let mut cast = sql::parse_expression(&format!("CAST(NULL AS {to})"))?;
    let mut inner = &mut cast;
    // A type may be reached by two casts.
    while let Expr::Cast { expr, .. } = inner {
        inner = expr;
    }
    *inner = Expr::Nested(Box::new(expr));
    debug_assert!(matches!(cast, Expr::Cast { kind: CastKind::Cast, .. }));
    Ok(cast)
}

/// Puts arguments in place of parameters.
struct Parameters<'a> {
    function: &'a FunctionDef,
    given: &'a [(Option<String>, Expr)],
    /// By argument: the expressions in it.
    sizes: Vec<usize>,
    /// Whether arguments are columns around the body: then a name alone is theirs if no relation of
    /// the body has it.
    beside: bool,
    /// Expressions that calls of the statement stand for so far.
    size: &'a Cell<usize>,
}

impl VisitorMut for Parameters<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let named = |name: &ast::Ident| {
            let name = sql::names::fold(name);
            self.given.iter().position(|(of, _)| of.as_ref() == Some(&name))
        };
        let found = match expr {
            Expr::Identifier(ident) if !self.beside => named(ident),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [function, name] if sql::names::fold(function) == self.function.name => named(name),
                _ => None,
            },
            Expr::Value(value) => match &value.value {
                ast::Value::Placeholder(place) => {
                    let number = place.trim_start_matches('$').parse::<usize>().ok();
                    number.and_then(|n| n.checked_sub(1)).filter(|n| *n < self.given.len())
                }
                _ => None,
            },
            _ => None,
        };
        let added = found.map_or(1, |found| self.sizes[found]);
        self.size.set(self.size.get().saturating_add(added));
        if self.size.get() > SIZE_MAX {
            return ControlFlow::Break(());
        }
        if let Some(found) = found {
            *expr = self.given[found].1.clone();
        }
        ControlFlow::Continue(())
    }
}
