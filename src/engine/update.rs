//! UPDATE and DELETE: a query finds the rows, and they are retracted and inserted anew.
//!
//! # Semantics
//! The statement becomes `SELECT old columns, new columns FROM table, .. WHERE ..`, run at the last
//! commit under
//! the lock of the table's writers; so nothing changes between finding and writing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use sqlparser::ast::{self, Expr, Spanned};

use super::assignment::assigned;
use super::dml::{check_not_null, fitted};
use super::outcome::Outcome;
use super::relations::StatementRelations;
use super::returning::{Changed, Returning};
use super::session::Session;
use super::{Error, Result, query};
use crate::delta::Delta;
use crate::error::SqlState;
use crate::planner::bind::{bind_query, settled};
use crate::planner::relation::Names;
use crate::runtime::hub::Write;
use crate::runtime::read::{Keys, Read};
use crate::sql::catalog::{Object, ObjectKind};
use crate::sql::names::fold;
use crate::sql::statement::{Query, WindowSpec};
use crate::sql::{parse_expression, parse_query_text};
use crate::time::Timestamp;

/// Rows of a table and what becomes of them, one for one.
pub(super) struct Pairs {
    /// Rows found.
    pub old: RecordBatch,
    /// What becomes of them.
    pub new: RecordBatch,
}

impl Session {
    pub(super) async fn update(
        &mut self,
        update: &ast::Update,
        windows: &Arc<[WindowSpec]>,
        params: &[ScalarValue],
    ) -> Result<Outcome> {
        let object = self.target(&update.table)?;
        let query = update_query(&object, update, windows)?;
        let _writing = self.lock_table(object.oid).await?;
        let relations = self.relations();
        let pairs = run_pairs(self, &relations, &object, &query, params).await?;
        check_not_null(&object, &pairs.new)?;
        let changed = Changed { tag: "UPDATE", rows: pairs.new.clone() };
        let returning = returning(update.returning.as_ref(), &update.table);
        let answer = self.answer(&object, changed, returning, params).await?;
        let deltas = [
            Delta::inserts(pairs.old, Timestamp::MIN).negate(),
            Delta::inserts(pairs.new, Timestamp::MIN),
        ];
        let delta = Delta::concat(&object.arrow_schema(), &deltas)?.consolidate()?;
        self.write(Write::Table(object.oid, delta)).await?;
        Ok(answer)
    }

    pub(super) async fn delete(
        &mut self,
        delete: &ast::Delete,
        windows: &Arc<[WindowSpec]>,
        params: &[ScalarValue],
    ) -> Result<Outcome> {
        let table = deleted_from(delete)?;
        let object = self.target(table)?;
        let query = delete_query(&object, delete, table, windows)?;
        let _writing = self.lock_table(object.oid).await?;
        let relations = self.relations();
        let plan = {
            let names = Names::new(&relations, &relations.functions, Arc::clone(&query.windows));
            bind_query(&query, &names)?
        };
        let rows = query::collect(&self.once(), plan, params).await?;
        let rows = fitted(&object, rows.columns(), rows.num_rows())?;
        let changed = Changed { tag: "DELETE", rows: rows.clone() };
        let returning = returning(delete.returning.as_ref(), table);
        let answer = self.answer(&object, changed, returning, params).await?;
        let delta = Delta::inserts(rows, Timestamp::MIN).negate().consolidate()?;
        self.write(Write::Table(object.oid, delta)).await?;
        Ok(answer)
    }

    /// Empties tables.
    pub(super) async fn truncate(&mut self, truncate: &ast::Truncate) -> Result<Outcome> {
        for table in &truncate.table_names {
            let object = self.table(&table.name)?;
            self.empty(&object).await?;
        }
        Ok(Outcome::Done("TRUNCATE TABLE".into()))
    }

    /// Deletes all rows of a table.
    pub(super) async fn empty(&mut self, table: &Object) -> Result<()> {
        let _writing = self.lock_table(table.oid).await?;
        let rows = with_keys(self, table, None).await?;
        let delta = Delta::inserts(rows, Timestamp::MIN).negate().consolidate()?;
        self.write(Write::Table(table.oid, delta)).await
    }

    /// The table that a statement changes.
    fn target(&self, table: &ast::TableWithJoins) -> Result<Arc<Object>> {
        let ast::TableFactor::Table { name, .. } = &table.relation else {
            return Err(Error::unsupported(
                "changing a subquery is not supported",
                "Name a table.",
            ));
        };
        self.table(name)
    }

    fn table(&self, name: &ast::ObjectName) -> Result<Arc<Object>> {
        let object = self.find(name)?;
        match &object.kind {
            ObjectKind::Table(_) => Ok(object),
            ObjectKind::Stream(_) => Err(Error::hinted(
                SqlState::WRONG_OBJECT_TYPE,
                format!("stream \"{}\" only appends", object.name),
                "UPDATE, DELETE and TRUNCATE need a table.",
            )),
            ObjectKind::View(_) | ObjectKind::Sink(_) => Err(Error::hinted(
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot change {} \"{}\"", object.kind_name(), object.name),
                "Change the tables it reads.",
            )),
        }
    }
}

/// The RETURNING clause of an UPDATE or DELETE.
fn returning<'a>(
    list: Option<&'a Vec<ast::SelectItem>>,
    table: &'a ast::TableWithJoins,
) -> Option<Returning<'a>> {
    let alias = match &table.relation {
        ast::TableFactor::Table { alias: Some(alias), .. } => Some(&alias.name),
        _ => None,
    };
    list.map(|list| Returning { list, alias })
}

/// The columns that an UPDATE or DELETE returns.
pub(super) fn returning_schema(
    session: &Session,
    statement: &ast::Statement,
) -> Result<Option<SchemaRef>> {
    let (list, table) = match statement {
        ast::Statement::Update(update) => (update.returning.as_ref(), &update.table),
        ast::Statement::Delete(delete) => (delete.returning.as_ref(), deleted_from(delete)?),
        _ => return Ok(None),
    };
    match returning(list, table) {
        None => Ok(None),
        Some(list) => session.returning_schema(&*session.target(table)?, &list).map(Some),
    }
}

/// The table of a DELETE.
fn deleted_from(delete: &ast::Delete) -> Result<&ast::TableWithJoins> {
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) =
        &delete.from;
    match from.as_slice() {
        [table] => Ok(table),
        _ => Err(Error::unsupported("DELETE from several tables is not supported", "Name one.")),
    }
}

/// The query that an UPDATE or DELETE runs, to describe its parameters.
pub(super) fn as_query(
    session: &Session,
    statement: &ast::Statement,
    windows: &Arc<[WindowSpec]>,
) -> Result<Query> {
    match statement {
        ast::Statement::Update(update) => {
            let object = session.target(&update.table)?;
            update_query(&object, update, windows)
        }
        ast::Statement::Delete(delete) => {
            let table = deleted_from(delete)?;
            let object = session.target(table)?;
            delete_query(&object, delete, table, windows)
        }
        _ => Err(Error::Internal("not UPDATE or DELETE".into())),
    }
}

fn update_query(
    object: &Object,
    update: &ast::Update,
    windows: &Arc<[WindowSpec]>,
) -> Result<Query> {
    let ast::TableFactor::Table { name, alias, .. } = &update.table.relation else {
        return Err(Error::Internal("UPDATE of no table".into()));
    };
    let alias = alias_of(object, alias.as_ref());
    let mut query = parse_query_text("SELECT 1 FROM a")?;
    query.windows = Arc::clone(windows);
    let change = Change {
        name,
        alias: &alias,
        assignments: &update.assignments,
        selection: update.selection.clone(),
    };
    fill(&mut query, object, change)?;
    if let Some(from) = &update.from {
        let (ast::UpdateTableFromKind::BeforeSet(more) | ast::UpdateTableFromKind::AfterSet(more)) =
            from;
        select_of(&mut query)?.from.extend(more.iter().cloned());
    }
    Ok(query)
}

fn delete_query(
    object: &Object,
    delete: &ast::Delete,
    table: &ast::TableWithJoins,
    windows: &Arc<[WindowSpec]>,
) -> Result<Query> {
    let ast::TableFactor::Table { alias, .. } = &table.relation else {
        return Err(Error::Internal("DELETE from no table".into()));
    };
    let alias = alias_of(object, alias.as_ref());
    let mut query = parse_query_text("SELECT 1 FROM a")?;
    query.windows = Arc::clone(windows);
    let select = select_of(&mut query)?;
    select.from = vec![table.clone()];
    select.from.extend(delete.using.iter().flatten().cloned());
    select.selection = delete.selection.clone();
    select.projection = old_columns(object, &alias);
    Ok(query)
}

fn alias_of(object: &Object, alias: Option<&ast::TableAlias>) -> ast::Ident {
    alias.map_or_else(|| ast::Ident::with_quote('"', &object.name), |alias| alias.name.clone())
}

fn select_of(query: &mut Query) -> Result<&mut ast::Select> {
    match query.ast.body.as_mut() {
        ast::SetExpr::Select(select) => Ok(select),
        _ => Err(Error::Internal("the template is a SELECT".into())),
    }
}

fn named(expr: Expr, name: String) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias { expr, alias: ast::Ident::with_quote('"', name) }
}

fn old_columns(object: &Object, alias: &ast::Ident) -> Vec<ast::SelectItem> {
    let columns = object.columns.iter().enumerate().map(|(i, column)| {
        let column = ast::Ident::with_quote('"', &column.name);
        named(Expr::CompoundIdentifier(vec![alias.clone(), column]), format!("$old{i}"))
    });
    columns.collect()
}

/// What an UPDATE does to its table.
pub(super) struct Change<'a> {
    /// The table's name in the statement.
    pub name: &'a ast::ObjectName,
    /// What its columns are qualified with.
    pub alias: &'a ast::Ident,
    /// SET.
    pub assignments: &'a [ast::Assignment],
    /// WHERE.
    pub selection: Option<Expr>,
}

/// Makes a template the query for old and new columns: its first table becomes the object's.
pub(super) fn fill(query: &mut Query, object: &Object, change: Change<'_>) -> Result<()> {
    let Change { name, alias, assignments, selection } = change;
    let mut new: Vec<Expr> = object
        .columns
        .iter()
        .map(|column| {
            let column = ast::Ident::with_quote('"', &column.name);
            Expr::CompoundIdentifier(vec![alias.clone(), column])
        })
        .collect();
    let mut assigned = vec![false; new.len()];
    for (target, value) in one_by_one(assignments)? {
        let column = target.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
        let index = object.columns.iter().position(|c| c.name == column);
        let index = index.ok_or_else(|| {
            let message =
                format!("column \"{column}\" of relation \"{}\" does not exist", object.name);
            Error::refused(SqlState::UNDEFINED_COLUMN, message).at(target.span())
        })?;
        if std::mem::replace(&mut assigned[index], true) {
            let message = format!("multiple assignments to same column \"{column}\"");
            return Err(Error::refused(SqlState::SYNTAX_ERROR, message));
        }
        new[index] = match (value, &object.columns[index].default) {
            (Expr::Identifier(name), default) if is_default(name) => match default {
                Some(text) => parse_expression(text)?,
                None => Expr::Value(ast::Value::Null.into()),
            },
            (value, _) => value.clone(),
        };
    }
    let mut projection = old_columns(object, alias);
    projection.extend(new.into_iter().enumerate().map(|(i, e)| named(e, format!("$new{i}"))));
    let select = select_of(query)?;
    select.projection = projection;
    select.selection = selection;
    if let ast::TableFactor::Table { name: first, alias: first_alias, .. } =
        &mut select.from[0].relation
    {
        *first = name.clone();
        *first_alias = Some(ast::TableAlias {
            explicit: true,
            name: alias.clone(),
            columns: vec![],
            at: None,
        });
    }
    Ok(())
}

/// Whether a name in the place of a value stands for the column's default.
fn is_default(name: &ast::Ident) -> bool {
    name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default")
}

/// What is assigned to which column; `(a, b) = (x, y)` is two assignments.
fn one_by_one(assignments: &[ast::Assignment]) -> Result<Vec<(&ast::ObjectName, &Expr)>> {
    let mut all = Vec::new();
    for ast::Assignment { target, value } in assignments {
        let targets = match target {
            ast::AssignmentTarget::ColumnName(target) => {
                all.push((target, value));
                continue;
            }
            ast::AssignmentTarget::Tuple(targets) => targets,
        };
        let values: Vec<&Expr> = match value {
            Expr::Tuple(values) => values.iter().collect(),
            Expr::Nested(value) if !matches!(**value, Expr::Subquery(_)) => vec![value],
            _ => {
                return Err(Error::unsupported(
                    "assigning what is no list of values to several columns is not supported",
                    "Assign the columns one by one.",
                ));
            }
        };
        if values.len() != targets.len() {
            let message = "number of columns does not match number of values";
            return Err(Error::refused(SqlState::SYNTAX_ERROR, message).at(value.span()));
        }
        all.extend(targets.iter().zip(values));
    }
    Ok(all)
}

/// Runs the query for old and new columns.
pub(super) async fn run_pairs(
    session: &Session,
    relations: &StatementRelations,
    object: &Object,
    query: &Query,
    params: &[ScalarValue],
) -> Result<Pairs> {
    let plan = {
        let names = Names::new(relations, &relations.functions, Arc::clone(&query.windows));
        bind_query(query, &names)?
    };
    let plan = settled(query::with_params(plan, params)?, &relations.functions)?;
    let plan = assigned(plan, object)?;
    let rows = query::collect(&session.once(), plan, &[]).await?;
    let width = object.columns.len();
    let (old, new) = rows.columns().split_at(width);
    Ok(Pairs {
        old: fitted(object, old, rows.num_rows())?,
        new: fitted(object, new, rows.num_rows())?,
    })
}

/// Rows of a table that have one of these keys, or all of them, and all that the transaction block
/// did to it.
pub(super) async fn with_keys(
    session: &Session,
    object: &Object,
    keys: Option<Keys>,
) -> Result<RecordBatch> {
    session.engine.hub().settle(&[object.oid]).await;
    let keys = keys.map(|keys| (object.oid, keys)).into_iter().collect::<BTreeMap<_, _>>();
    let mut reads = session.engine.hub().read(&[object.oid], &keys)?.finish().await?;
    let Some(Read::Table(mut snapshot)) = reads.remove(&object.oid) else {
        return Err(Error::Internal("a table was read as something else".into()));
    };
    for (_, delta) in session.pending().iter().filter(|(oid, _)| *oid == object.oid) {
        snapshot.add(delta)?;
    }
    Ok(snapshot.all_rows()?)
}
