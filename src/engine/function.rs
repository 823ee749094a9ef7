//! CREATE FUNCTION and DROP FUNCTION.

use std::sync::Arc;

use sqlparser::ast;

use super::session::Session;
use super::{Error, Result};
use crate::error::SqlState;
use crate::planner::bind::check_function;
use crate::planner::relation::Names;
use crate::sql::catalog::{Catalog, FunctionDef, FunctionParameter};
use crate::sql::function::{CreateFunction, DropFunction};
use crate::sql::names::{fold, fold_parts};
use crate::sql::types::column_type;

impl Session {
    pub(super) fn create_function(
        &mut self,
        create: &CreateFunction,
        text: Arc<str>,
    ) -> Result<String> {
        let (schema, name) = self.new_name(&create.name)?;
        let parameters = create.parameters.iter().map(|parameter| {
            let (sql_type, _) = column_type(&parameter.data_type)?;
            let name = parameter.name.as_ref().map(fold);
            Ok(FunctionParameter { name, sql_type, type_text: parameter.text.clone() })
        });
        let parameters = parameters.collect::<Result<Vec<_>>>()?;
        let catalog = self.engine.catalog();
        let old = catalog.function(&schema, &name, parameters.len()).cloned();
        let types = |of: &[FunctionParameter]| {
            of.iter().map(|p| p.sql_type.name.clone()).collect::<Vec<_>>()
        };
        let same = old.as_ref().is_some_and(|old| types(&old.parameters) == types(&parameters));
        if old.is_some() && !(same && create.or_replace) {
            let hint = match same {
                true => "Use CREATE OR REPLACE FUNCTION.",
                false => "Functions of one name differ in the number of their arguments.",
            };
            let what = format!("function \"{name}\" already exists with so many arguments");
            return Err(Error::hinted(SqlState::DUPLICATE_FUNCTION, what, hint));
        }
        let (returns, _) = column_type(&create.returns)?;
        if let Some(old) = old.as_ref().filter(|old| old.returns != returns) {
            return Err(Error::hinted(
                SqlState::INVALID_FUNCTION_DEFINITION,
                "cannot change return type of existing function",
                format!("Use DROP FUNCTION {} first.", old.name),
            ));
        }
        let oid = match &old {
            Some(old) => old.oid,
            None => self.engine.change_catalog(Catalog::fresh_oid),
        };
        let mut function = FunctionDef {
            oid,
            schema,
            name,
            parameters,
            returns,
            returns_text: create.returns_text.clone(),
            strict: create.strict,
            volatility: create.volatility,
            body: Arc::clone(&create.body),
            sql: text,
            depends_on: Default::default(),
        };
        let relations = self.relations();
        let names = Names::new(&relations, &relations.functions, Arc::default());
        check_function(&function, &names)?;
        function.depends_on = names.used();
        if function.depends_on.contains(&oid) {
            let what = format!("function \"{}\" calls itself", function.name);
            return Err(Error::refused(SqlState::INVALID_FUNCTION_DEFINITION, what));
        }
        self.engine.change_catalog(|catalog| catalog.insert_function(function));
        Ok("CREATE FUNCTION".to_owned())
    }

    pub(super) fn drop_function(&mut self, drop: &DropFunction) -> Result<String> {
        for (name, count) in &drop.functions {
            match self.find_function(name, *count)? {
                Some(function) => self.remove_function(&function, drop.cascade)?,
                None if drop.if_exists => {
                    let name = fold_parts(name).join(".");
                    let text = format!("function {name} does not exist, skipping");
                    self.notice(SqlState::SUCCESS, text);
                }
                None => {
                    let name = fold_parts(name).join(".");
                    let what = format!("function {name} does not exist");
                    return Err(Error::refused(SqlState::UNDEFINED_FUNCTION, what));
                }
            }
        }
        Ok("DROP FUNCTION".to_owned())
    }

    fn find_function(
        &self,
        name: &ast::ObjectName,
        count: Option<usize>,
    ) -> Result<Option<Arc<FunctionDef>>> {
        let mut parts = fold_parts(name);
        let last = parts.pop().unwrap_or_default();
        let path = match parts.pop() {
            Some(schema) => vec![schema],
            None => self.search_path(),
        };
        let catalog = self.engine.catalog();
        for schema in &path {
            let found: Vec<_> = catalog
                .functions()
                .filter(|f| f.schema == *schema && f.name == last)
                .filter(|f| count.is_none_or(|count| f.parameters.len() == count))
                .cloned()
                .collect();
            match found.len() {
                0 => {}
                1 => return Ok(found.into_iter().next()),
                _ => {
                    return Err(Error::hinted(
                        SqlState::AMBIGUOUS_FUNCTION,
                        format!("function name \"{last}\" is not unique"),
                        "Specify the argument list to select the function unambiguously.",
                    ));
                }
            }
        }
        Ok(None)
    }

    fn remove_function(&mut self, function: &Arc<FunctionDef>, cascade: bool) -> Result<()> {
        let catalog = self.engine.catalog();
        let callers: Vec<Arc<FunctionDef>> = catalog.callers(function.oid);
        let mut objects = catalog.dependents(function.oid);
        for caller in &callers {
            for object in catalog.dependents(caller.oid) {
                if objects.iter().all(|known| known.oid != object.oid) {
                    objects.push(object);
                }
            }
        }
        // Those that nobody reads first.
        objects.sort_by_key(|object| std::cmp::Reverse(object.oid));
        let signature = function.signature();
        if !(cascade || callers.is_empty() && objects.is_empty()) {
            let functions = callers.iter().map(|f| format!("function {}", f.signature()));
            let relations = objects.iter().rev().map(|o| format!("{} {}", o.kind_name(), o.name));
            let list = functions.chain(relations);
            let list = list.map(|what| format!("{what} depends on function {signature}"));
            return Err(Error::Refused {
                message: format!(
                    "cannot drop function {signature} because other objects depend on it"
                ),
                sqlstate: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                detail: Some(list.collect::<Vec<_>>().join("\n")),
                hint: Some("Use DROP ... CASCADE to drop the dependent objects too.".into()),
            });
        }
        for object in objects {
            let text = format!("drop cascades to {} {}", object.kind_name(), object.name);
            self.notice(SqlState::SUCCESS, text);
            self.engine.change_catalog(|catalog| catalog.remove(object.oid));
            self.engine.forget(object.oid);
        }
        for caller in callers {
            self.notice(
                SqlState::SUCCESS,
                format!("drop cascades to function {}", caller.signature()),
            );
            self.engine.change_catalog(|catalog| catalog.remove_function(caller.oid));
        }
        self.engine.change_catalog(|catalog| catalog.remove_function(function.oid));
        Ok(())
    }
}
