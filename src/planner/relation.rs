//! Names in FROM: streams, tables, maintained views, inlined views and system relations.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, TableReference};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, RelationPlanner, TypePlanner,
};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource,
    WindowUDF,
};
use sqlparser::ast;

use super::asof::{DELETED, marker};
use super::column_list::ColumnLists;
use super::error::Error;
use super::inlined::Inlined;
use super::mark;
use super::plan::ScanKind;
use super::postgres_names::{SqlTypes, synonym};
use super::properties::Properties;
use super::rows::RowFunctions;
use super::tvf::WindowPlanner;
use super::using::{Natural, UsingPlanner};
use super::zone::{self, Session};
use crate::error::SqlState;
use crate::sql;
use crate::sql::catalog::{Catalog, Column, FunctionDef, Object, ObjectKind, Oid, ViewDef};
use crate::sql::names::TEMPORARY;
use crate::sql::types::SqlType;

/// Where names are looked up.
pub trait Relations: Send + Sync {
    /// The catalog as of the statement.
    fn catalog(&self) -> &Catalog;
    /// Schemas that unqualified names are looked up in, in order.
    fn search_path(&self) -> &[String];
    /// A relation that only this statement has.
    fn local(&self, name: &str) -> Option<Arc<dyn TableSource>>;
    /// A relation of the system schemas.
    fn system(&self, schema: &str, name: &str) -> Option<Arc<dyn TableSource>>;
    /// What is proven of the output of a maintained view or derived stream.
    fn properties(&self, object: &Object) -> Option<Properties>;
}

/// A stream, table or maintained view as DataFusion's planner sees it.
#[derive(Clone, Debug)]
pub struct RelationSource {
    /// The object.
    pub object: Arc<Object>,
    /// What a maintained view or derived stream promises.
    pub properties: Option<Properties>,
    /// Whether a stream's rows are read with the time at which they arrived.
    arrivals: bool,
    /// Whether a stream's late rows are read too.
    pub(super) late: bool,
    /// Whether a stream's rows are read with the order in which they arrived.
    seq: bool,
    pub(super) schema: SchemaRef,
    defaults: BTreeMap<String, Expr>,
    primary_key: Vec<usize>,
}

/// The column that `arrivals` adds.
pub const ARRIVAL: &str = "$arrival";

/// The column that numbers a stream's rows in the order in which they arrived.
pub const SEQ: &str = "$seq";

/// The column with the watermark that a late row of a stream met.
pub const LATE: &str = "$late";

/// Lets a plan that scans a stream, and does nothing else, read arrival times, as a last column.
pub(super) fn arrivals(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let by_arrival = plan.transform_up(|node| {
        let source = match &node {
            LogicalPlan::TableScan(scan) => scan.source.downcast_ref::<RelationSource>(),
            LogicalPlan::SubqueryAlias(_) => return Ok(Transformed::yes(node.recompute_schema()?)),
            _ => None,
        };
        let Some(source) = source.filter(|source| source.kind() == ScanKind::Stream) else {
            return Err(Error::Unsupported {
                what: "proc_time() of anything but a stream is not supported".into(),
                hint: "Put the window function on the stream itself.".into(),
            }
            .into());
        };
        let LogicalPlan::TableScan(scan) = &node else { unreachable!("matched above") };
        let source = Arc::new(source.with_arrivals());
        let builder = LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?;
        Ok(Transformed::yes(builder.build()?))
    });
    Ok(by_arrival?.data)
}

impl RelationSource {
    /// Returns the primary key of a table, or of the table that versions are of.
    pub fn primary_key(&self) -> &[usize] {
        &self.primary_key
    }

    /// Returns the versions of a table that keeps them, as a stream: its columns, and last whether
    /// the row is gone from then on.
    pub fn versions(&self) -> Option<Self> {
        let ObjectKind::Table(table) = &self.object.kind else { return None };
        let versions = table.versions.as_ref()?;
        let mut object = Object::clone(&self.object);
        object.oid = versions.stream;
        object.columns.push(Column {
            name: DELETED.to_owned(),
            sql_type: SqlType { name: "boolean".to_owned() },
            data_type: DataType::Boolean,
            not_null: true,
            default: None,
            comment: None,
        });
        object.kind = ObjectKind::Stream(Arc::new(versions.stream_def()));
        let schema = object.arrow_schema();
        let defaults = BTreeMap::new();
        let primary_key = self.primary_key.clone();
        let (arrivals, late, seq) = (false, false, false);
        let (object, properties) = (Arc::new(object), None);
        Some(Self { object, properties, arrivals, late, seq, schema, defaults, primary_key })
    }

    /// The stream with arrival times.
    fn with_arrivals(&self) -> Self {
        let arrival = Field::new(ARRIVAL, system_time_type(), false);
        let fields = self.schema.fields().iter().cloned().chain([Arc::new(arrival)]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { arrivals: true, schema, ..self.clone() }
    }

    /// The row type of a scan.
    pub fn row_type(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the object's kind as a scan sees it.
    pub fn kind(&self) -> ScanKind {
        match self.object.kind {
            ObjectKind::Stream(_) if self.arrivals => ScanKind::Arrivals,
            ObjectKind::Stream(_) => ScanKind::Stream,
            ObjectKind::Table(_) => ScanKind::Table,
            ObjectKind::View(_) | ObjectKind::Sink(_) => ScanKind::View,
        }
    }

    /// Returns whether it is a stream: declared, derived, or a view that ends in one.
    pub fn is_stream(&self) -> bool {
        match &self.properties {
            Some(properties) => properties.stream,
            None => self.kind() == ScanKind::Stream,
        }
    }

    /// Returns the type of the times that a stream's rows carry.
    pub fn time_type(&self) -> DataType {
        if self.arrivals {
            return system_time_type();
        }
        if matches!(&self.object.kind, ObjectKind::Stream(stream) if stream.by_rows) {
            return DataType::Int64;
        }
        let column = self.event_time().map(|i| self.schema.field(i).data_type().clone());
        column.unwrap_or_else(system_time_type)
    }

    /// Returns a stream with a last column that numbers its rows in the order in which they
    /// arrived; nothing for other relations.
    pub(super) fn with_seq(&self) -> Option<Self> {
        if !self.arrivals && !self.is_stream() {
            return None;
        }
        let seq = Arc::new(Field::new(SEQ, DataType::Int64, true));
        let fields: Vec<_> = self.schema.fields().iter().cloned().chain([seq]).collect();
        Some(Self { seq: true, schema: Arc::new(Schema::new(fields)), ..self.clone() })
    }

    /// Whether the last column numbers the rows.
    pub fn has_seq(&self) -> bool {
        self.seq
    }

    /// Returns the index of the column with the times that a stream's rows carry.
    pub fn event_time(&self) -> Option<usize> {
        match &self.object.kind {
            ObjectKind::Stream(_) if self.arrivals => Some(self.object.columns.len()),
            ObjectKind::Stream(stream) => stream.event_time,
            ObjectKind::Table(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => None,
        }
    }
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.get(column)
    }
}

/// The type of commit times: timestamptz.
pub fn system_time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Everything DataFusion's planner may ask: names, functions, types, window relations.
pub struct Names<'a> {
    relations: &'a dyn Relations,
    functions: &'a SessionState,
    window_planners: Vec<Arc<dyn RelationPlanner>>,
    /// What joins merge.
    natural: Natural,
    /// Schemas of a view's names, where they differ from the statement's.
    search_path: Option<Vec<String>>,
    /// The zone in which a view was defined: its constants are read in it.
    zone: Option<Session>,
    depth: usize,
    used: RefCell<BTreeSet<Oid>>,
}

/// Views deep beyond this are refused rather than overflowing the stack.
const VIEW_DEPTH_MAX: usize = 16;

impl<'a> Names<'a> {
    /// Names as `relations` has them; `windows` are the brackets of the statement being planned.
    pub fn new(
        relations: &'a dyn Relations,
        functions: &'a SessionState,
        windows: Arc<[sql::statement::WindowSpec]>,
    ) -> Self {
        let natural = Natural::default();
        let using = UsingPlanner { natural: Arc::clone(&natural) };
        let window_planners: Vec<Arc<dyn RelationPlanner>> = vec![
            Arc::new(RowFunctions),
            Arc::new(ColumnLists),
            Arc::new(WindowPlanner::new(windows)),
            Arc::new(using),
        ];
        let used = RefCell::default();
        let (search_path, zone, depth) = (None, None, 0);
        Self { relations, functions, window_planners, natural, search_path, zone, depth, used }
    }

    /// The functions and settings.
    pub fn functions(&self) -> &SessionState {
        self.functions
    }

    /// What joins merge, by their text.
    pub(super) fn natural(&self) -> &Natural {
        &self.natural
    }

    /// The same names, for the query of a view: whoever reads it goes one view deeper.
    #[must_use]
    pub fn of_view(mut self) -> Self {
        self.depth += 1;
        self
    }

    /// Objects that were named so far, not those that inlined views name.
    pub fn used(&self) -> BTreeSet<Oid> {
        self.used.borrow().clone()
    }

    /// Returns the user's function that a call means, and notes it as used. Functions of the
    /// language come first.
    pub(super) fn function(
        &self,
        name: &ast::ObjectName,
        count: usize,
    ) -> Option<Arc<FunctionDef>> {
        let mut parts = sql::names::fold_parts(name);
        let last = parts.pop()?;
        let catalog = self.relations.catalog();
        let found = match parts.pop() {
            Some(schema) => catalog.function(&schema, &last, count),
            None if self.is_built_in(&last) => None,
            None => {
                let path = self.search_path.as_deref().unwrap_or(self.relations.search_path());
                path.iter().find_map(|schema| catalog.function(schema, &last, count))
            }
        };
        let found = found.cloned();
        self.used.borrow_mut().extend(found.as_ref().map(|f| f.oid));
        found
    }

    /// Whether the language has a function of that name.
    pub fn is_built_in(&self, name: &str) -> bool {
        self.functions.scalar_functions().contains_key(name)
            || self.functions.aggregate_functions().contains_key(name)
            || self.functions.window_functions().contains_key(name)
            || super::rows::gives_rows(name).is_some()
    }

    /// How whoever defined the view that is being planned looked at times.
    pub(super) fn definer(&self) -> Option<&Session> {
        self.zone.as_ref()
    }

    /// Names for the text of a view inside.
    fn inside(&self, windows: Arc<[sql::statement::WindowSpec]>, view: &ViewDef) -> Names<'a> {
        Names {
            depth: self.depth + 1,
            search_path: Some(view.search_path.clone()),
            zone: Some(zone::of(self.functions.config_options()).within(&view.time_zone)),
            ..Names::new(self.relations, self.functions, windows)
        }
    }

    /// Returns the object of a name.
    pub(super) fn find(&self, name: &TableReference) -> Option<Arc<Object>> {
        let catalog = self.relations.catalog();
        let path = self.search_path.as_deref().unwrap_or(self.relations.search_path());
        match name.schema() {
            Some(TEMPORARY) => {
                let own = path.iter().find(|schema| schema.starts_with(TEMPORARY))?;
                catalog.find(own, name.table()).cloned()
            }
            Some(schema) => catalog.find(schema, name.table()).cloned(),
            None => path.iter().find_map(|schema| catalog.find(schema, name.table())).cloned(),
        }
    }

    fn source_of(&self, object: Arc<Object>) -> Result<Arc<dyn TableSource>, Error> {
        if let ObjectKind::Sink(_) = &object.kind {
            return Err(Error::Invalid {
                what: format!("\"{}\" is a sink", object.name),
                sqlstate: SqlState::WRONG_OBJECT_TYPE,
                hint: Some("Read what it writes into.".into()),
            });
        }
        if let ObjectKind::View(view) = &object.kind
            && !view.maintained
        {
            if self.depth >= VIEW_DEPTH_MAX {
                return Err(Error::Unsupported {
                    what: format!("view \"{}\" nests too deeply", object.name),
                    hint: "Use CREATE MATERIALIZED VIEW for one of the views below.".into(),
                });
            }
            let query = sql::parse_query_text(&view.query)?;
            let inside = self.inside(Arc::clone(&query.windows), view);
            let plan = super::bind::bind_query(&query, &inside)?;
            let plan = super::bind::rename(plan, &object)?;
            return Ok(Arc::new(Inlined::new(plan, object.arrow_schema())));
        }
        let properties = self.relations.properties(&object);
        let schema = object.arrow_schema();
        let mut defaults = BTreeMap::new();
        for column in &object.columns {
            if let Some(text) = &column.default {
                let expr = sql::parse_expression(text)?;
                let bound = super::bind::bind_expr(&expr, &DFSchema::empty(), self)?;
                defaults.insert(column.name.clone(), bound);
            }
        }
        let primary_key = match &object.kind {
            ObjectKind::Table(table) => table.primary_key.clone(),
            ObjectKind::Stream(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => Vec::new(),
        };
        let (arrivals, late, seq) = (false, false, false);
        Ok(Arc::new(RelationSource {
            object,
            properties,
            arrivals,
            late,
            seq,
            schema,
            defaults,
            primary_key,
        }))
    }
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        let local = name.schema().is_none().then(|| self.relations.local(name.table())).flatten();
        if let Some(local) = local {
            return Ok(local);
        }
        if let Some(object) = self.find(&name) {
            self.used.borrow_mut().insert(object.oid);
            return self.source_of(object).map_err(DataFusionError::from);
        }
        let schemas: Vec<&str> = match name.schema() {
            Some(schema) => vec![schema],
            None => vec!["pg_catalog"],
        };
        let system = schemas.iter().find_map(|s| self.relations.system(s, name.table()));
        system.ok_or_else(|| {
            let schema = name.schema().map(|s| format!("{s}.")).unwrap_or_default();
            Error::UndefinedRelation { name: format!("{schema}{}", name.table()) }.into()
        })
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.functions.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.window_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(SqlTypes))
    }

    fn get_table_function_source(
        &self,
        name: &str,
        args: Vec<Expr>,
    ) -> DfResult<Arc<dyn TableSource>> {
        use datafusion::catalog::TableFunctionArgs;
        use datafusion::datasource::provider_as_source;
        let function = self
            .functions
            .table_functions()
            .get(name)
            .ok_or_else(|| DataFusionError::Plan(format!("Invalid function '{name}'.\n")))?;
        let args = args.into_iter().map(|arg| super::bind::constant_expr(arg, self.functions));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        let args = TableFunctionArgs::new(&args, self.functions);
        Ok(provider_as_source(function.create_table_provider_with_args(args)?))
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: SchemaRef,
    ) -> DfResult<Arc<dyn TableSource>> {
        use datafusion::datasource::cte_worktable::CteWorkTable;
        Ok(datafusion::datasource::provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let name = synonym(name);
        mark::function(name)
            .or_else(|| marker(name))
            .or_else(|| self.functions.scalar_functions().get(name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let name = synonym(name);
        self.functions.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.functions.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.functions.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window_functions().keys().cloned().collect()
    }
}
