//! The two system schemas, as DataFusion asks for them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use datafusion_pg_catalog::pg_catalog::generate_series_arg_coercion::CoerceIntArgsToBigInt;
use datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;

use crate::planner::bind::name_statement;

use super::relation::{RELATIONS, Row};
use super::rewrite::{parameters, rewrite, without_rows};
use super::view::CatalogView;
use super::{dump, functions, information_schema, keys, objects, procedures, server};

/// Makes the system catalog known to a context: both schemas of its default catalog, and the
/// functions.
pub fn install(ctx: &SessionContext, view: Arc<dyn CatalogView>) -> Result<()> {
    dump::load()?;
    let state = ctx.state_ref();
    let planner = Arc::new(PgOidTypePlanner);
    let existing = state.read().clone();
    *state.write() =
        SessionStateBuilder::new_from_existing(existing).with_type_planner(planner).build();
    let name = ctx.copied_config().options().catalog.default_catalog.clone();
    let catalog = ctx
        .catalog(&name)
        .ok_or_else(|| DataFusionError::Plan(format!("no catalog \"{name}\"")))?;
    for schema in ["pg_catalog", "information_schema"] {
        let provider = SystemSchema { schema, view: Arc::clone(&view) };
        catalog.register_schema(schema, Arc::new(provider))?;
    }
    functions::register(ctx, &view);
    CoerceIntArgsToBigInt::widen(ctx);
    Ok(())
}

/// Returns the types of the parameters of a catalog statement whose plan is `plan`: as the client
/// declared them, as the statement casts them, or as they are used. Rewriting may have lost some.
pub fn parameter_types(
    plan: &LogicalPlan,
    sql: &str,
    declared: &[Option<DataType>],
) -> Result<Vec<Field>> {
    let used = plan.get_parameter_types()?;
    let named = parameters(sql);
    let count = named.keys().last().copied().unwrap_or(0).max(declared.len());
    let types = (1..=count).map(|number| {
        let declared = declared.get(number - 1).cloned().flatten();
        let cast = || named.get(&number).cloned().flatten();
        let used = || used.get(&format!("${number}")).cloned().flatten();
        let plain = |data_type| (data_type, None);
        let known = declared.map(plain).or_else(cast).or_else(|| used().map(plain));
        let (data_type, name) = known.unwrap_or((DataType::Utf8, None));
        let metadata = name.map(|name| ("pg_type".to_owned(), name));
        Field::new("?", data_type, true).with_metadata(metadata.into_iter().collect())
    });
    Ok(types.collect())
}

/// Plans a statement for which [`super::is_catalog_statement`] holds; parameters stay open.
pub async fn plan(ctx: &SessionContext, sql: &str) -> Result<LogicalPlan> {
    let mut statement = rewrite(sql)?;
    name_statement(&mut statement);
    qualify(&mut statement);
    let Some(reduced) = without_rows(&statement) else {
        return plan_statement(ctx, statement).await;
    };
    match plan_statement(ctx, statement).await {
        // Some limits of DataFusion show in the optimizer only.
        Ok(plan) if ctx.state().optimize(&plan).is_ok() => Ok(plan),
        _ => plan_statement(ctx, reduced).await,
    }
}

/// Puts the catalog's schema before its relations, as Postgres's search path does.
fn qualify(statement: &mut ast::Statement) {
    let _ = ast::visit_relations_mut(statement, |name| {
        let bare = match name.0.as_slice() {
            [part] => part.as_ident().map(|ident| ident.value.to_ascii_lowercase()),
            _ => None,
        };
        if bare.is_some_and(|bare| RELATIONS.contains_key(&("pg_catalog", bare.as_str()))) {
            name.0.insert(0, ast::ObjectNamePart::Identifier(ast::Ident::new("pg_catalog")));
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
}

async fn plan_statement(ctx: &SessionContext, statement: ast::Statement) -> Result<LogicalPlan> {
    let statement = Statement::Statement(Box::new(statement));
    ctx.state().statement_to_plan(statement).await
}

/// Returns whether a system relation never has rows here.
pub(super) fn always_empty(name: &str) -> bool {
    RELATIONS.contains_key(&("pg_catalog", name))
        && dump::rows(name).is_none()
        && !FILLED.contains(&name)
}

/// The relations of `pg_catalog` that [`rows`] fills.
const FILLED: [&str; 25] = [
    "pg_attrdef",
    "pg_attribute",
    "pg_authid",
    "pg_class",
    "pg_constraint",
    "pg_database",
    "pg_depend",
    "pg_description",
    "pg_index",
    "pg_indexes",
    "pg_matviews",
    "pg_namespace",
    "pg_proc",
    "pg_rewrite",
    "pg_roles",
    "pg_settings",
    "pg_shadow",
    "pg_stat_activity",
    "pg_stat_all_tables",
    "pg_stat_user_tables",
    "pg_tables",
    "pg_tablespace",
    "pg_type",
    "pg_user",
    "pg_views",
];

/// A system schema. Its relations are computed whenever a statement names them.
#[derive(Debug)]
struct SystemSchema {
    schema: &'static str,
    view: Arc<dyn CatalogView>,
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        let names = RELATIONS.keys().filter(|(schema, _)| *schema == self.schema);
        names.map(|(_, name)| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(relation) = RELATIONS.get(&(self.schema, name)) else {
            return Ok(None);
        };
        let mut batches = Vec::new();
        if self.schema == "pg_catalog" {
            batches.extend(dump::rows(name).cloned());
            batches.extend(objects::system_rows(name).cloned());
        }
        batches.push(relation.batch(rows(self.schema, name, self.view.as_ref()))?);
        let table = MemTable::try_new(Arc::clone(&relation.arrow), vec![batches])?;
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        RELATIONS.contains_key(&(self.schema, name))
    }
}

/// Returns what this server has to tell in a relation; nothing in most.
fn rows(schema: &str, name: &str, view: &dyn CatalogView) -> Vec<Row> {
    match (schema, name) {
        ("pg_catalog", "pg_attrdef") => objects::pg_attrdef(view),
        ("pg_catalog", "pg_attribute") => objects::pg_attribute(view),
        ("pg_catalog", "pg_class") => objects::pg_class(view),
        ("pg_catalog", "pg_constraint") => keys::pg_constraint(view),
        ("pg_catalog", "pg_database") => server::pg_database(view),
        ("pg_catalog", "pg_depend") => keys::pg_depend(view),
        ("pg_catalog", "pg_description") => objects::pg_description(view),
        ("pg_catalog", "pg_index") => keys::pg_index(view),
        ("pg_catalog", "pg_indexes") => keys::pg_indexes(view),
        ("pg_catalog", "pg_matviews") => keys::pg_matviews(view),
        ("pg_catalog", "pg_namespace") => objects::pg_namespace(view),
        ("pg_catalog", "pg_proc") => procedures::pg_proc(view),
        ("pg_catalog", "pg_rewrite") => keys::pg_rewrite(view),
        ("pg_catalog", "pg_roles" | "pg_authid") => server::pg_roles(view),
        ("pg_catalog", "pg_settings") => server::pg_settings(view),
        ("pg_catalog", "pg_stat_activity") => server::pg_stat_activity(view),
        ("pg_catalog", "pg_stat_user_tables" | "pg_stat_all_tables") => {
            keys::pg_stat_user_tables(view)
        }
        ("pg_catalog", "pg_tables") => keys::pg_tables(view),
        ("pg_catalog", "pg_user" | "pg_shadow") => server::pg_user(view),
        ("pg_catalog", "pg_views") => keys::pg_views(view),
        ("information_schema", "columns") => information_schema::columns(view),
        ("information_schema", "information_schema_catalog_name") => {
            information_schema::catalog_name(view)
        }
        ("information_schema", "key_column_usage" | "constraint_column_usage") => {
            information_schema::key_column_usage(view)
        }
        ("information_schema", "schemata") => information_schema::schemata(view),
        ("information_schema", "table_constraints") => information_schema::table_constraints(view),
        ("information_schema", "tables") => information_schema::tables(view),
        ("information_schema", "views") => information_schema::views(view),
        _ => Vec::new(),
    }
}
