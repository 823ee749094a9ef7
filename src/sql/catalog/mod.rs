//! The catalog: schemas and the objects in them, by name and by oid.
//!
//! # Invariants
//! 1. Names are unique within a schema over all kinds, as in Postgres.
//! 2. An oid is given once and never reused.
//! 3. An object's `depends_on` are oids of existing objects; dropping one of them needs CASCADE.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::sql::types::SqlType;

/// First oid given to a user's object; below are Postgres's own.
pub const FIRST_OID: u32 = 16_384;

/// An object's identity, as in `pg_class.oid`.
pub type Oid = u32;

/// The schema that unqualified names fall into.
pub const PUBLIC: &str = "public";

/// A column of a relation.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name, already folded.
    pub name: String,
    /// Type as the user declared it (keeps varchar(n), json, uuid, ..).
    pub sql_type: SqlType,
    /// Type in memory.
    pub data_type: DataType,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// `DEFAULT` expression, as SQL text.
    pub default: Option<String>,
    /// `COMMENT ON COLUMN`.
    pub comment: Option<String>,
}

/// A stream, table, view or sink.
#[derive(Clone, Debug)]
pub struct Object {
    /// Identity.
    pub oid: Oid,
    /// Schema.
    pub schema: String,
    /// Name within the schema.
    pub name: String,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// What it is.
    pub kind: ObjectKind,
    /// The CREATE statement as the user wrote it.
    pub sql: Arc<str>,
    /// Objects it reads.
    pub depends_on: BTreeSet<Oid>,
    /// `COMMENT ON`.
    pub comment: Option<String>,
}

/// What an object is.
#[derive(Clone, Debug)]
pub enum ObjectKind {
    /// A stream.
    Stream(Arc<StreamDef>),
    /// A table.
    Table(Arc<TableDef>),
    /// A view.
    View(Arc<ViewDef>),
    /// A sink; no relation, although its name is one of theirs.
    Sink(Arc<SinkDef>),
}

/// What makes a stream.
#[derive(Clone, Debug)]
pub struct StreamDef {
    /// Index of the event-time column; `None` on CLOCK SYSTEM and CLOCK ROW.
    pub event_time: Option<usize>,
    /// Whether it is on CLOCK ROW: every row is an instant of its own, numbered from 0.
    pub by_rows: bool,
    /// Text of the watermark expression, for display.
    pub watermark: Option<String>,
    /// Whether it has a PARTITION KEY.
    pub partitioned: bool,
    /// How late a row may be that is taken all the same: microseconds, or units of a BIGINT time.
    pub lateness: i64,
    /// Text of the policy for refused rows, for display.
    pub late: String,
    /// The stream that takes refused rows.
    pub late_into: Option<Oid>,
    /// Whether window functions take late rows into windows that are open.
    pub late_to_windows: bool,
    /// Connector and its options; `None` is fed by INSERT and COPY alone.
    pub options: BTreeMap<String, String>,
    /// The query whose elements it holds, of `CREATE STREAM AS`.
    pub query: Option<Arc<str>>,
}

/// What makes a table.
#[derive(Clone, Debug)]
pub struct TableDef {
    /// Indices of the primary key columns; empty means none.
    pub primary_key: Vec<usize>,
    /// Other keys.
    pub unique: Vec<UniqueDef>,
    /// Connector and its options.
    pub options: BTreeMap<String, String>,
    /// How its rows are kept over time, if it is `VERSIONED BY` a column.
    pub versions: Option<VersionsDef>,
}

/// Columns of which no two rows have the same values, unless one is NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueDef {
    /// Identity.
    pub oid: Oid,
    /// Name of the constraint, and of its index.
    pub name: String,
    /// Indices of the columns.
    pub columns: Vec<usize>,
}

/// How a table keeps the rows it had.
#[derive(Clone, Debug)]
pub struct VersionsDef {
    /// Index of the column that says from when on a row is valid.
    pub time: usize,
    /// Text of the watermark expression, for display.
    pub watermark: String,
    /// The stream of versions, which has no name.
    pub stream: Oid,
}

/// What makes a view.
#[derive(Clone, Debug)]
pub struct ViewDef {
    /// `CREATE MATERIALIZED VIEW`.
    pub materialized: bool,
    /// Whether its content is kept up to date; else it is inlined where it is read.
    pub maintained: bool,
    /// The query's text.
    pub query: Arc<str>,
    /// Schemas in which its unqualified names were found.
    pub search_path: Vec<String>,
    /// The time zone in which its query looks at instants, if it is maintained.
    pub time_zone: String,
    /// `WITH (k = v, ..)`.
    pub options: BTreeMap<String, String>,
}

/// What makes a sink.
#[derive(Clone, Debug)]
pub struct SinkDef {
    /// The stream or table that it writes into; none if a connector writes.
    pub into: Option<Oid>,
    /// Where it writes, as text.
    pub place: String,
    /// The query's text.
    pub query: Arc<str>,
}

impl VersionsDef {
    /// What makes the stream of versions.
    pub fn stream_def(&self) -> StreamDef {
        StreamDef {
            event_time: Some(self.time),
            by_rows: false,
            watermark: Some(self.watermark.clone()),
            partitioned: false,
            lateness: 0,
            late: "ERROR".to_owned(),
            late_into: None,
            late_to_windows: false,
            options: BTreeMap::new(),
            query: None,
        }
    }
}

impl Object {
    /// Returns the object's row type in memory.
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| {
            Field::new(&column.name, column.data_type.clone(), true)
                .with_metadata(column.sql_type.metadata().into())
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Returns the word for its kind: `stream`, `table`, `view`, `materialized view`,
    /// `sink`.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            ObjectKind::Stream(_) => "stream",
            ObjectKind::Table(_) => "table",
            ObjectKind::View(view) if view.materialized => "materialized view",
            ObjectKind::View(_) => "view",
            ObjectKind::Sink(_) => "sink",
        }
    }
}

/// A function of the user.
#[derive(Clone, Debug)]
pub struct FunctionDef {
    /// Identity.
    pub oid: Oid,
    /// Schema.
    pub schema: String,
    /// Name; functions of one name differ in the number of their parameters.
    pub name: String,
    /// Parameters in order.
    pub parameters: Vec<FunctionParameter>,
    /// The type of the result.
    pub returns: SqlType,
    /// Its text.
    pub returns_text: String,
    /// Whether NULL among the arguments gives NULL.
    pub strict: bool,
    /// `i`, `s` or `v`.
    pub volatility: char,
    /// An expression, or a query that selects one.
    pub body: Arc<str>,
    /// The CREATE statement as the user wrote it.
    pub sql: Arc<str>,
    /// Functions it calls and objects it reads.
    pub depends_on: BTreeSet<Oid>,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionParameter {
    /// Its name; else it is `$n`.
    pub name: Option<String>,
    /// Its type.
    pub sql_type: SqlType,
    /// The text of its type.
    pub type_text: String,
}

impl FunctionDef {
    /// Returns its name with the types of its parameters.
    pub fn signature(&self) -> String {
        let types: Vec<&str> = self.parameters.iter().map(|p| p.sql_type.name.as_str()).collect();
        format!("{}({})", self.name, types.join(","))
    }
}

/// All schemas and objects.
#[derive(Clone, Debug)]
pub struct Catalog {
    schemas: BTreeMap<String, Oid>,
    objects: BTreeMap<Oid, Arc<Object>>,
    names: BTreeMap<(String, String), Oid>,
    functions: BTreeMap<Oid, Arc<FunctionDef>>,
    next_oid: Oid,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            schemas: BTreeMap::from([(PUBLIC.to_owned(), 2200)]),
            objects: BTreeMap::new(),
            names: BTreeMap::new(),
            functions: BTreeMap::new(),
            next_oid: FIRST_OID,
        }
    }
}

impl Catalog {
    /// Gives out a fresh oid.
    pub fn fresh_oid(&mut self) -> Oid {
        let oid = self.next_oid;
        self.next_oid += 1;
        oid
    }

    /// The oid that comes next.
    pub fn next_oid(&self) -> Oid {
        self.next_oid
    }

    /// Says which oid comes next.
    pub fn set_next_oid(&mut self, oid: Oid) {
        self.next_oid = oid;
    }

    /// Schemas with their oids, by name.
    pub fn schemas(&self) -> impl Iterator<Item = (&str, Oid)> {
        self.schemas.iter().map(|(name, oid)| (name.as_str(), *oid))
    }

    /// Returns whether the schema exists.
    pub fn has_schema(&self, schema: &str) -> bool {
        self.schemas.contains_key(schema)
    }

    /// Adds a schema; returns whether it is new.
    pub fn create_schema(&mut self, schema: &str) -> bool {
        if self.has_schema(schema) {
            return false;
        }
        let oid = self.fresh_oid();
        self.schemas.insert(schema.to_owned(), oid);
        true
    }

    /// Removes an empty schema.
    pub fn drop_schema(&mut self, schema: &str) {
        self.schemas.remove(schema);
    }

    /// Objects by oid.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// Returns the object of that oid.
    pub fn get(&self, oid: Oid) -> Option<&Arc<Object>> {
        self.objects.get(&oid)
    }

    /// Returns the stream of that oid with what makes it: a stream, or the versions of a table.
    pub fn stream(&self, oid: Oid) -> Option<(&Arc<Object>, Arc<StreamDef>)> {
        match self.get(oid) {
            Some(object) => match &object.kind {
                ObjectKind::Stream(def) => Some((object, Arc::clone(def))),
                ObjectKind::Table(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => None,
            },
            None => self.objects().find_map(|object| {
                let ObjectKind::Table(table) = &object.kind else { return None };
                let versions = table.versions.as_ref().filter(|versions| versions.stream == oid)?;
                Some((object, Arc::new(versions.stream_def())))
            }),
        }
    }

    /// Returns the object of that schema and name.
    pub fn find(&self, schema: &str, name: &str) -> Option<&Arc<Object>> {
        let oid = self.names.get(&(schema.to_owned(), name.to_owned()))?;
        self.objects.get(oid)
    }

    /// Functions by oid.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<FunctionDef>> {
        self.functions.values()
    }

    /// Returns the function of that schema, name and number of parameters.
    pub fn function(&self, schema: &str, name: &str, count: usize) -> Option<&Arc<FunctionDef>> {
        let is = |f: &&Arc<FunctionDef>| {
            f.schema == schema && f.name == name && f.parameters.len() == count
        };
        self.functions.values().find(is)
    }

    /// Adds or replaces a function.
    pub fn insert_function(&mut self, function: FunctionDef) {
        self.functions.insert(function.oid, Arc::new(function));
    }

    /// Removes a function.
    pub fn remove_function(&mut self, oid: Oid) {
        self.functions.remove(&oid);
    }

    /// Returns the functions that call or read `oid`, directly or through others.
    pub fn callers(&self, oid: Oid) -> Vec<Arc<FunctionDef>> {
        let (mut found, mut open): (Vec<Arc<FunctionDef>>, Vec<Oid>) = (Vec::new(), vec![oid]);
        while let Some(oid) = open.pop() {
            for function in self.functions.values().filter(|f| f.depends_on.contains(&oid)) {
                if found.iter().all(|known| known.oid != function.oid) {
                    open.push(function.oid);
                    found.push(Arc::clone(function));
                }
            }
        }
        found
    }

    /// Adds or replaces an object.
    pub fn insert(&mut self, object: Object) -> Arc<Object> {
        let object = Arc::new(object);
        self.names.insert((object.schema.clone(), object.name.clone()), object.oid);
        self.objects.insert(object.oid, Arc::clone(&object));
        object
    }

    /// Removes an object.
    pub fn remove(&mut self, oid: Oid) -> Option<Arc<Object>> {
        let object = self.objects.remove(&oid)?;
        self.names.remove(&(object.schema.clone(), object.name.clone()));
        Some(object)
    }

    /// Returns the objects that read `oid`, directly or through others, those that nobody reads
    /// first: an order in which they can be dropped.
    pub fn dependents(&self, oid: Oid) -> Vec<Arc<Object>> {
        let mut found = Vec::new();
        self.add_dependents(oid, &mut found);
        found
    }

    fn add_dependents(&self, oid: Oid, found: &mut Vec<Arc<Object>>) {
        // The youngest first, as far as there is a choice.
        for object in self.objects.values().rev() {
            if object.depends_on.contains(&oid) && !found.iter().any(|o| o.oid == object.oid) {
                self.add_dependents(object.oid, found);
                if !found.iter().any(|o| o.oid == object.oid) {
                    found.push(Arc::clone(object));
                }
            }
        }
    }
}
