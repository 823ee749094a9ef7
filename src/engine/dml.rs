//! INSERT, with ON CONFLICT; and what all writes share.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field};
use datafusion::catalog::MemTable;
use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast;
use sqlparser::ast::Spanned;

use super::assignment::{check_insert, columns_of_query, same_width};
use super::outcome::{Description, Outcome};
use super::parameters::parameter_types;
use super::returning::{Changed, Returning};
use super::session::Session;
use super::unique::{Clashes, conflict_keys};
use super::{Error, Result, query, update};
use crate::connectors::format::TextLimit;
use crate::delta::Delta;
use crate::error::SqlState;
use crate::functions::json;
use crate::planner::bind::{DUPLICATE_MARK, bind_dml, bind_query};
use crate::planner::relation::Names;
use crate::planner::text_time;
use crate::runtime;
use crate::runtime::hub::Write;
use crate::sql::catalog::{Column, Object, ObjectKind};
use crate::sql::names::fold_parts;
use crate::sql::parse_query_text;
use crate::sql::statement::{Query, WindowSpec};
use crate::time::Timestamp;

/// What the rows of a table that clash with an INSERT are called in the query that updates them.
const TARGET: &str = "$target";

impl Session {
    /// Runs INSERT, UPDATE, DELETE or TRUNCATE.
    pub(super) async fn dml(
        &mut self,
        statement: &ast::Statement,
        windows: &Arc<[WindowSpec]>,
        params: &[ScalarValue],
    ) -> Result<Outcome> {
        match statement {
            ast::Statement::Insert(insert) => self.insert(insert, windows, params).await,
            ast::Statement::Update(statement) => self.update(statement, windows, params).await,
            ast::Statement::Delete(statement) => self.delete(statement, windows, params).await,
            ast::Statement::Truncate(truncate) => self.truncate(truncate).await,
            _ => Err(Error::Internal("not INSERT, UPDATE or DELETE".into())),
        }
    }

    pub(super) fn describe_dml(
        &self,
        statement: &ast::Statement,
        windows: &Arc<[WindowSpec]>,
        declared: &[Option<DataType>],
    ) -> Result<Description> {
        let relations = self.relations();
        let names = Names::new(&relations, &relations.functions, Arc::clone(windows));
        let plan = match statement {
            ast::Statement::Insert(insert) => {
                self.insert_plan(insert, &*self.insert_target(insert)?, windows)?
            }
            ast::Statement::Truncate(_) => {
                return Ok(Description { parameters: vec![], columns: None });
            }
            other => bind_query(&update::as_query(self, other, windows)?, &names)?,
        };
        let columns = match statement {
            ast::Statement::Insert(insert) => match returning(insert) {
                Some(list) => Some(self.returning_schema(&*self.insert_target(insert)?, &list)?),
                None => None,
            },
            other => update::returning_schema(self, other)?,
        };
        Ok(Description { parameters: parameter_types(&plan, declared)?, columns })
    }

    async fn insert(
        &mut self,
        insert: &ast::Insert,
        windows: &Arc<[WindowSpec]>,
        params: &[ScalarValue],
    ) -> Result<Outcome> {
        let object = self.insert_target(insert)?;
        if matches!(object.kind, ObjectKind::View(_) | ObjectKind::Sink(_)) {
            return Err(Error::refused(
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot insert into {} \"{}\"", object.kind_name(), object.name),
            ));
        }
        refuse_derived(&object)?;
        let plan = self.insert_plan(insert, &object, windows)?;
        let rows = query::collect(&self.once(), plan, params).await?;
        let rows = fitted(&object, rows.columns(), rows.num_rows())?;
        check_not_null(&object, &rows)?;
        let _writing = match &object.kind {
            ObjectKind::Table(_) => self.lock_table(object.oid).await?,
            ObjectKind::Stream(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => None,
        };
        let (write, rows) = match (&object.kind, &insert.on) {
            (ObjectKind::Table(_), Some(ast::OnInsert::OnConflict(conflict))) => {
                let alias = insert.table_alias.as_ref().map(|alias| alias.alias.clone());
                let written = self.on_conflict(&object, rows, (conflict, alias), params).await?;
                (Write::Table(object.oid, written.0), written.1)
            }
            (_, Some(_)) => {
                return Err(Error::hinted(
                    SqlState::WRONG_OBJECT_TYPE,
                    format!(
                        "ON CONFLICT needs a table with a primary key, and \"{}\" has none",
                        object.name
                    ),
                    "A stream only appends; create a TABLE with a PRIMARY KEY.",
                ));
            }
            (ObjectKind::Table(_), None) => {
                let delta = Delta::inserts(rows.clone(), Timestamp::MIN);
                (Write::Table(object.oid, delta), rows)
            }
            (ObjectKind::Stream(_) | ObjectKind::View(_) | ObjectKind::Sink(_), None) => {
                (Write::Rows(object.oid, rows.clone()), rows)
            }
        };
        let changed = Changed { tag: "INSERT 0", rows };
        let answer = self.answer(&object, changed, returning(insert), params).await?;
        self.write(write).await?;
        Ok(answer)
    }

    /// The plan of an INSERT's rows: as they are to be written, with all columns.
    fn insert_plan(
        &self,
        insert: &ast::Insert,
        object: &Object,
        windows: &Arc<[WindowSpec]>,
    ) -> Result<LogicalPlan> {
        let relations = self.relations();
        let names = Names::new(&relations, &relations.functions, Arc::clone(windows));
        let (mut plain, source) = plain_insert(insert, object)?;
        let ast::SetExpr::Values(values) = source.body.as_ref() else {
            let (ast, windows) = (source, Arc::clone(windows));
            let query = Query { ast, windows, emit: None, to_stream: false };
            let rows = bind_query(&query, &names)?;
            let plan = columns_of_query(rows, &plain.columns, object, &names)?;
            check_insert(&plan, None, object)?;
            return Ok(plan);
        };
        let values = values.clone();
        plain.source = Some(source);
        let LogicalPlan::Dml(dml) = bind_dml(&ast::Statement::Insert(plain), &names)? else {
            return Err(Error::Internal("INSERT was planned as something else".into()));
        };
        check_insert(&dml.input, Some(&values), object)?;
        Ok(dml.input.as_ref().clone())
    }

    fn insert_target(&self, insert: &ast::Insert) -> Result<Arc<Object>> {
        match &insert.table {
            ast::TableObject::TableName(name) => self.find(name),
            _ => {
                Err(Error::unsupported("INSERT into a function is not supported", "Name a table."))
            }
        }
    }

    /// The change of an INSERT with ON CONFLICT, and the rows that it writes.
    async fn on_conflict(
        &mut self,
        object: &Arc<Object>,
        rows: RecordBatch,
        (conflict, alias): (&ast::OnConflict, Option<ast::Ident>),
        params: &[ScalarValue],
    ) -> Result<(Delta, RecordBatch)> {
        let keys = conflict_keys(object, conflict)?;
        let Clashes { fresh, excluded, present, repeated } =
            self.clashes(object, &rows, &keys).await?;
        let mut written = fresh;
        let mut deltas = vec![Delta::inserts(written.clone(), Timestamp::MIN)];
        if let ast::OnConflictAction::DoUpdate(action) = &conflict.action {
            if repeated {
                return Err(Error::hinted(
                    SqlState("21000"),
                    "ON CONFLICT DO UPDATE command cannot affect row a second time",
                    "Ensure that no rows proposed for insertion within the same command have \
                     duplicate constrained values.",
                ));
            }
            let key = &keys[0].1;
            let pairs =
                self.conflict_updates(object, (key, present, excluded), (action, alias), params);
            let pairs = pairs.await?;
            check_not_null(object, &pairs.new)?;
            written = concat_batches(&written.schema(), [&written, &pairs.new])?;
            deltas.push(Delta::inserts(pairs.old, Timestamp::MIN).negate());
            deltas.push(Delta::inserts(pairs.new, Timestamp::MIN));
        }
        let delta = Delta::concat(&object.arrow_schema(), &deltas)?.consolidate()?;
        Ok((delta, written))
    }

    /// Rows of DO UPDATE: the table's row and what becomes of it. The table that is updated is
    /// `present`, its rows that matter; subqueries see all of it under its name.
    async fn conflict_updates(
        &mut self,
        object: &Arc<Object>,
        (key, present, excluded): (&[usize], RecordBatch, RecordBatch),
        (action, alias): (&ast::DoUpdate, Option<ast::Ident>),
        params: &[ScalarValue],
    ) -> Result<update::Pairs> {
        let mut relations = self.relations();
        for (name, rows) in [(TARGET, present), ("excluded", excluded)] {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
            relations.local.insert(name.into(), provider_as_source(Arc::new(table)));
        }
        let name = ast::ObjectName::from(vec![ast::Ident::with_quote('"', TARGET)]);
        let alias = alias.unwrap_or_else(|| ast::Ident::with_quote('"', &object.name));
        let qualified = |table: &ast::Ident, column: usize| {
            let column = ast::Ident::with_quote('"', &object.columns[column].name);
            ast::Expr::CompoundIdentifier(vec![table.clone(), column])
        };
        let excluded = ast::Ident::new("excluded");
        let equal = key.iter().map(|i| ast::Expr::BinaryOp {
            left: Box::new(qualified(&alias, *i)),
            op: ast::BinaryOperator::Eq,
            right: Box::new(qualified(&excluded, *i)),
        });
        let condition =
            equal.chain(action.selection.iter().map(|s| ast::Expr::Nested(Box::new(s.clone()))));
        let selection = condition.reduce(|left, right| ast::Expr::BinaryOp {
            left: Box::new(left),
            op: ast::BinaryOperator::And,
            right: Box::new(right),
        });
        let mut query = parse_query_text("SELECT 1 FROM a, excluded")?;
        let change = update::Change {
            name: &name,
            alias: &alias,
            assignments: &action.assignments,
            selection,
        };
        update::fill(&mut query, object, change)?;
        update::run_pairs(self, &relations, object, &query, params).await
    }
}

/// The RETURNING clause of an INSERT.
fn returning(insert: &ast::Insert) -> Option<Returning<'_>> {
    let alias = insert.table_alias.as_ref().map(|alias| &alias.alias);
    insert.returning.as_ref().map(|list| Returning { list, alias })
}

/// An INSERT without RETURNING and ON CONFLICT, and its rows. Columns are named where VALUES are
/// narrower than the table, which Postgres takes as the first ones.
fn plain_insert(insert: &ast::Insert, object: &Object) -> Result<(ast::Insert, Box<ast::Query>)> {
    check_columns(&insert.columns, object)?;
    let mut plain = ast::Insert { on: None, returning: None, table_alias: None, ..insert.clone() };
    let mut source = match plain.source.take() {
        Some(source) => source,
        None => default_values(object)?,
    };
    if let ast::SetExpr::Values(values) = source.body.as_mut() {
        let width = values.rows.first().map_or(0, |row| row.len());
        if plain.columns.is_empty() {
            let first = object.columns.iter().take(width);
            let ident = |name: &String| ast::Ident::with_quote('"', name);
            plain.columns = first.map(|c| ast::ObjectName::from(vec![ident(&c.name)])).collect();
        }
        same_width(width, plain.columns.len())?;
        fill_defaults(values, &plain.columns, object)?;
    }
    Ok((plain, source))
}

/// The rows of DEFAULT VALUES.
fn default_values(object: &Object) -> Result<Box<ast::Query>> {
    let all = |c: &Column| c.default.clone().unwrap_or("NULL".into());
    let values: Vec<String> = object.columns.iter().map(all).collect();
    // VALUES has a column at least.
    let text = match values.as_slice() {
        [] => "SELECT FROM (VALUES (1)) AS one".to_owned(),
        values => format!("VALUES ({})", values.join(", ")),
    };
    Ok(parse_query_text(&text)?.ast)
}

/// Refuses a column list with unknown names, or one twice.
pub(super) fn check_columns(columns: &[ast::ObjectName], object: &Object) -> Result<()> {
    let mut seen: Vec<String> = Vec::new();
    for column in columns {
        let name = fold_parts(column).pop().unwrap_or_default();
        let (code, message) = if !object.columns.iter().any(|c| c.name == name) {
            let relation = &object.name;
            let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
            (SqlState::UNDEFINED_COLUMN, message)
        } else if seen.contains(&name) {
            (SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
        } else {
            seen.push(name);
            continue;
        };
        return Err(Error::refused(code, message).at(column.span()));
    }
    Ok(())
}

/// Puts the columns' defaults where VALUES says DEFAULT.
fn fill_defaults(
    values: &mut ast::Values,
    columns: &[ast::ObjectName],
    object: &Object,
) -> Result<()> {
    let named = |i: usize| {
        let name = fold_parts(columns.get(i)?).pop()?;
        object.columns.iter().find(|column| column.name == name)
    };
    for row in &mut values.rows {
        for (i, value) in row.iter_mut().enumerate() {
            let is_default = matches!(value, ast::Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"));
            if is_default {
                let default = named(i).and_then(|column| column.default.as_deref());
                *value = crate::sql::parse_expression(default.unwrap_or("NULL"))?;
            }
        }
    }
    Ok(())
}

/// Casts columns to those of the object; a value that does not fit is an error.
pub(super) fn fitted(object: &Object, columns: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
    let schema = object.arrow_schema();
    let columns = columns.iter().zip(schema.fields()).map(|(column, field)| {
        let column = match column.data_type() == field.data_type() {
            true => Arc::clone(column),
            false => cast(column, field.data_type())?,
        };
        let column = json_fitted(&column, field)?;
        let Some(limit) = TextLimit::of(field) else { return Ok(column) };
        let column = limit.cut_all(&column);
        match limit.first(&column) {
            None => Ok(column),
            Some(error) => Err(Error::refused(error.sqlstate(), error.to_string())),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(crate::delta::batch(schema, columns, rows)?)
}

/// Casts values to a column's type, texts as Postgres reads them.
pub(super) fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if let Some(texts) = column.as_string_opt::<i32>()
        && let Some(values) = text_time::values(texts, to)?
    {
        return Ok(values);
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(column, to, &options)?)
}

/// Brings values of a json or jsonb column into their form.
pub(super) fn json_fitted(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let declared = field.metadata().get("pg_type").map_or("", String::as_str);
    Ok(json::fitted(column, declared)?)
}

/// Refuses to write into a stream that its query writes.
pub(super) fn refuse_derived(object: &Object) -> Result<()> {
    match &object.kind {
        ObjectKind::Stream(def) if def.query.is_some() => Err(Error::hinted(
            SqlState::WRONG_OBJECT_TYPE,
            format!("cannot write into stream \"{}\"", object.name),
            "Its elements are those of its query; write into what the query reads.",
        )),
        _ => Ok(()),
    }
}

/// Refuses NULL in NOT NULL columns.
pub(super) fn check_not_null(object: &Object, rows: &RecordBatch) -> runtime::Result<()> {
    for (column, values) in object.columns.iter().zip(rows.columns()) {
        if column.not_null && values.null_count() > 0 {
            return Err(runtime::Error::NotNull {
                relation: object.name.clone(),
                column: column.name.clone(),
            });
        }
    }
    Ok(())
}

/// The plan of an INSERT's rows, or of the query that finds the rows of an UPDATE or DELETE.
pub(super) fn describe_plan(
    session: &Session,
    statement: &ast::Statement,
    windows: &Arc<[WindowSpec]>,
) -> Result<String> {
    let relations = session.relations();
    let names = Names::new(&relations, &relations.functions, Arc::clone(windows));
    let plan = match statement {
        ast::Statement::Insert(insert) => {
            let object = session.insert_target(insert)?;
            let rows = session.insert_plan(insert, &object, windows)?.display_indent().to_string();
            let lines = rows.lines().map(|line| format!("\n  {line}"));
            let text = format!("Insert: {}{}", object.name, lines.collect::<String>());
            return Ok(text.replace(DUPLICATE_MARK, ""));
        }
        other => bind_query(&update::as_query(session, other, windows)?, &names)?,
    };
    Ok(plan.display_indent().to_string())
}
