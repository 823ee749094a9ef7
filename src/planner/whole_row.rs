//! Rows as values: `SELECT t FROM t`, `row_to_json(t)`, `count(t.*)`.
//!
//! # Semantics
//! The name of a table where a column could stand, and no column of that name is there, is its row:
//! a record of its columns. `t.*` as an argument is the same, and in `ROW(t.*, x)` the columns one
//! by one. A row of which all columns are NULL
//! is
//! NULL, as where an outer join found none; Postgres tells these apart.

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    self, BinaryOperator, CaseWhen, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::bind::{DUPLICATE_MARK, planner};
use super::relation::Names;
use super::rows::plain_name;
use crate::sql::names::{fold, fold_parts};

/// Replaces names of tables that stand for their rows.
pub(super) fn expand(tree: &mut impl VisitMut, names: &Names<'_>) {
    let _ = VisitMut::visit(tree, &mut Selects { names, ctes: Vec::new() });
}

struct Selects<'a, 'n> {
    names: &'a Names<'n>,
    /// WITH of the queries around, outermost first.
    ctes: Vec<Option<ast::With>>,
}

/// A relation in FROM, as it is called there.
struct Relation {
    name: String,
    factor: TableFactor,
}

impl VisitorMut for Selects<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        self.ctes.push(query.with.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.ctes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        let factors = select.from.iter().flat_map(|from| {
            std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
        });
        let relations: Vec<Relation> = factors.filter_map(relation).collect();
        let mut found = Uses { relations: &relations, depth: 0, rows: None, qualifiers: vec![] };
        found.visit(select);
        if found.rows.is_none() {
            return ControlFlow::Continue(());
        }
        let columns: Vec<Option<Vec<String>>> =
            relations.iter().map(|relation| self.columns(&relation.factor)).collect();
        let mut replace =
            Uses { relations: &relations, depth: 0, rows: Some(columns), qualifiers: vec![] };
        replace.visit(select);
        ControlFlow::Continue(())
    }
}

impl Selects<'_, '_> {
    /// The columns of a relation; nothing if it cannot be planned by itself.
    fn columns(&self, factor: &TableFactor) -> Option<Vec<String>> {
        let mut query = *crate::sql::parse_query_text("SELECT * FROM t").ok()?.ast;
        let SetExpr::Select(select) = query.body.as_mut() else { return None };
        select.from[0].relation = factor.clone();
        for with in self.ctes.iter().flatten() {
            match &mut query.with {
                Some(all) => all.cte_tables.extend(with.cte_tables.iter().cloned()),
                None => query.with = Some(with.clone()),
            }
        }
        let statement = ast::Statement::Query(Box::new(query));
        let plan = planner(self.names).sql_statement_to_plan(statement).ok()?;
        Some(plan.schema().fields().iter().map(|field| field.name().clone()).collect())
    }
}

fn relation(factor: &TableFactor) -> Option<Relation> {
    let name = match factor {
        TableFactor::Table { alias: Some(alias), args: None, .. }
        | TableFactor::Derived { alias: Some(alias), lateral: false, .. } => fold(&alias.name),
        TableFactor::Table { name, args: None, .. } => fold_parts(name).pop()?,
        _ => return None,
    };
    Some(Relation { name, factor: factor.clone() })
}

/// Finds names of relations where columns could stand, and replaces them once it is known what
/// columns there are.
struct Uses<'r> {
    relations: &'r [Relation],
    /// How many queries deep; other queries have other names.
    depth: usize,
    /// The columns of the relations; at first, only whether there is a use.
    rows: Option<Vec<Option<Vec<String>>>>,
    /// Where the names before `.x[1]` stand: they are those of relations.
    qualifiers: Vec<Span>,
}

impl Uses<'_> {
    fn visit(&mut self, select: &mut ast::Select) {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                let _ = VisitMut::visit(expr, self);
            }
        }
        for expr in select.selection.iter_mut().chain(&mut select.having) {
            let _ = VisitMut::visit(expr, self);
        }
    }

    /// The row of a relation, if that is what a name means.
    fn row(&mut self, name: &Ident) -> Option<Expr> {
        self.columns(name).map(|columns| record(name, &columns))
    }

    /// The columns of a relation, if that is what a name means.
    fn columns(&mut self, name: &Ident) -> Option<Vec<String>> {
        let folded = fold(name);
        let index = self.relations.iter().position(|relation| relation.name == folded)?;
        if self.qualifiers.contains(&name.span) {
            return None;
        }
        let Some(rows) = &self.rows else {
            self.rows = Some(Vec::new());
            return None;
        };
        let column = rows.iter().flatten().flatten().any(|column| *column == folded);
        let known = rows.iter().all(Option::is_some);
        rows.get(index)?.clone().filter(|_| !column && known)
    }
}

impl VisitorMut for Uses<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { root, .. } = expr
            && let Expr::Identifier(name) = root.as_ref()
        {
            self.qualifiers.push(name.span);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        if let Expr::Identifier(name) = expr {
            let name = name.clone();
            if let Some(row) = self.row(&name) {
                *expr = row;
            }
        }
        if let Expr::Function(function) = expr
            && let FunctionArguments::List(list) = &mut function.args
        {
            let spread = plain_name(&function.name).as_deref() == Some("row");
            for arg in std::mem::take(&mut list.args) {
                match wildcard(&arg).and_then(|name| Some((self.columns(&name)?, name))) {
                    Some((columns, name)) if spread => {
                        list.args.extend(columns.iter().map(|c| argument(column(&name, c))));
                    }
                    Some((columns, name)) => list.args.push(argument(record(&name, &columns))),
                    None => list.args.push(arg),
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// The name of the relation, if an argument is `t.*`.
fn wildcard(arg: &FunctionArg) -> Option<Ident> {
    let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = arg else { return None };
    let [part] = name.0.as_slice() else { return None };
    part.as_ident().cloned()
}

fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

fn column(relation: &Ident, name: &String) -> Expr {
    Expr::CompoundIdentifier(vec![relation.clone(), Ident::with_quote('"', name)])
}

/// The record of a relation's columns.
fn record(relation: &Ident, columns: &[String]) -> Expr {
    let column = |name: &String| column(relation, name);
    let args = columns.iter().flat_map(|name| {
        let visible = name.split(DUPLICATE_MARK).next().unwrap_or(name);
        let text = Expr::Value(Value::SingleQuotedString(visible.to_owned()).into());
        [argument(text), argument(column(name))]
    });
    let row = super::calls::call("named_struct", args.collect());
    let absent = columns.iter().map(|name| Expr::IsNull(Box::new(column(name))));
    let absent = absent.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    });
    let Some(condition) = absent else { return row };
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: Expr::Value(Value::Null.into()) }],
        else_result: Some(Box::new(row)),
    }
}
