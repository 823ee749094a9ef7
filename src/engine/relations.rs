//! Names as one statement sees them: the catalog as it was, system relations, local ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::TableSource;

use super::{Engine, system};
use crate::planner::properties::Properties;
use crate::planner::relation::Relations;
use crate::sql::catalog::{Catalog, Object, Oid, ViewDef};
use crate::sql::output::style::Style;

/// Names as one statement sees them.
pub struct StatementRelations {
    /// The catalog at the start of the statement.
    pub catalog: Arc<Catalog>,
    search_path: Vec<String>,
    engine: Arc<Engine>,
    /// The functions of the language, in the statement's time zone.
    pub functions: Arc<SessionState>,
    /// Relations that only this statement has, such as `excluded`.
    pub local: BTreeMap<String, Arc<dyn TableSource>>,
    /// Properties of views that this statement is about to define.
    pub properties: BTreeMap<Oid, Properties>,
}

impl StatementRelations {
    /// Names through a search path, in a time zone and with a style of times.
    pub fn new(engine: &Arc<Engine>, search_path: Vec<String>, zone: &str, style: Style) -> Self {
        Self {
            catalog: engine.catalog(),
            search_path,
            engine: Arc::clone(engine),
            functions: engine.functions(zone, style),
            local: BTreeMap::new(),
            properties: BTreeMap::new(),
        }
    }

    /// The same objects, through the search path of a view and in its time zone.
    pub fn of_view(&self, view: &ViewDef) -> Self {
        Self {
            catalog: Arc::clone(&self.catalog),
            search_path: view.search_path.clone(),
            engine: Arc::clone(&self.engine),
            functions: self.engine.functions(&view.time_zone, Style::default()),
            local: self.local.clone(),
            properties: self.properties.clone(),
        }
    }
}

impl StatementRelations {
    /// The functions, with `now()` at the current time.
    pub fn functions_now(&self) -> SessionState {
        self.engine.at_present(&self.functions)
    }
}

impl Relations for StatementRelations {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn search_path(&self) -> &[String] {
        &self.search_path
    }

    fn local(&self, name: &str) -> Option<Arc<dyn TableSource>> {
        self.local.get(name).cloned()
    }

    fn system(&self, schema: &str, name: &str) -> Option<Arc<dyn TableSource>> {
        (schema == system::SCHEMA).then(|| system::relation(&self.engine, &self.catalog, name))?
    }

    fn properties(&self, view: &Object) -> Option<Properties> {
        let new = self.properties.get(&view.oid).cloned();
        new.or_else(|| self.engine.properties_of(view.oid))
    }
}
