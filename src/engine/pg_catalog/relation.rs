//! Relations of the system schemas: their columns, and batches of rows.
//!
//! `relations.txt` holds one line for each relation of PostgreSQL 15: schema, name, oid, kind, and its
//! columns as `name:type`, `!` marking those that are never NULL.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion_pg_catalog::pg_catalog::oid_field::OID_ALIAS_KEY;

use crate::time::Timestamp;

/// Field metadata key of Postgres's one-byte type `"char"`, which the wire reports as such.
const CHAR_KEY: &str = "pg.char";

/// All system relations by schema and name.
pub(super) static RELATIONS: LazyLock<BTreeMap<(&str, &str), Relation>> = LazyLock::new(|| {
    let relations = include_str!("relations.txt").lines().map(Relation::parse);
    relations.map(|relation| ((relation.schema, relation.name), relation)).collect()
});

/// A relation of a system schema.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) schema: &'static str,
    pub(super) name: &'static str,
    pub(super) oid: u32,
    /// `r` or `v`.
    pub(super) kind: &'static str,
    /// Names, types as `format_type` prints them, and whether NULL is impossible.
    pub(super) columns: Vec<(&'static str, String, bool)>,
    /// The columns in memory.
    pub(super) arrow: SchemaRef,
}

impl Relation {
    fn parse(line: &'static str) -> Relation {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (schema, name, oid, kind) = (word(), word(), word(), word());
        let columns = words.filter_map(|column| column.split_once(':')).map(|(name, spelled)| {
            let pg_type = spelled.trim_end_matches('!');
            // Blanks within types are written `_`; names of Postgres's own have real ones.
            let own = pg_type.starts_with("pg_");
            let pg_type = if own { pg_type.to_owned() } else { pg_type.replace('_', " ") };
            (name, pg_type, spelled.ends_with('!'))
        });
        let columns: Vec<_> = columns.collect();
        let fields: Vec<Field> =
            columns.iter().map(|(name, pg_type, _)| field(name, pg_type)).collect();
        let arrow = Arc::new(Schema::new(fields));
        Relation { schema, name, oid: oid.parse().unwrap_or_default(), kind, columns, arrow }
    }

    /// Puts rows into a batch. Columns that a row leaves out are NULL, or zero where that is impossible.
    pub(super) fn batch(&self, rows: Vec<Row>) -> Result<RecordBatch> {
        if rows.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.arrow)));
        }
        let columns = self.columns.iter().zip(self.arrow.fields());
        let columns = columns.map(|((name, _, not_null), field)| {
            let cells = rows.iter().map(|row| {
                let value = row.iter().find(|(column, _)| column == name);
                let value = value.map_or(&Value::Null, |(_, value)| value);
                value.scalar(field.data_type(), *not_null)
            });
            ScalarValue::iter_to_array(cells.collect::<Result<Vec<_>>>()?)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.arrow), columns)?)
    }
}

/// Returns the field of a column; object ids are signed integers that carry their alias.
fn field(name: &str, pg_type: &str) -> Field {
    let data_type = in_memory(pg_type);
    let field = Field::new(name, data_type, true);
    let metadata = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    match pg_type {
        "oid" | "xid" => field.with_metadata(metadata(OID_ALIAS_KEY, "oid")),
        "regtype" => field.with_metadata(metadata(OID_ALIAS_KEY, "regtype")),
        "\"char\"" => field.with_metadata(metadata(CHAR_KEY, "true")),
        _ => field,
    }
}

fn in_memory(pg_type: &str) -> DataType {
    match pg_type {
        "oid" | "xid" | "regtype" | "integer" => DataType::Int32,
        "smallint" => DataType::Int16,
        "bigint" => DataType::Int64,
        "boolean" => DataType::Boolean,
        "real" => DataType::Float32,
        "double precision" => DataType::Float64,
        "timestamp with time zone" => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        }
        "int2vector" => DataType::new_list(DataType::Int16, true),
        "oidvector" => DataType::new_list(DataType::Int32, true),
        // Functions are kept by name: that is how clients want to see them.
        _ => match pg_type.strip_suffix("[]") {
            Some(element) => DataType::new_list(in_memory(element), true),
            None => DataType::Utf8,
        },
    }
}

/// A row: columns by name, in any order.
pub(super) type Row = Vec<(&'static str, Value)>;

/// Makes a [`Row`].
macro_rules! row {
    ($($column:ident: $value:expr),* $(,)?) => {
        vec![$((stringify!($column), $crate::engine::pg_catalog::relation::Value::from($value))),*]
    };
}
pub(super) use row;

/// A value of a system relation.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Instant(Timestamp),
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

impl Value {
    fn scalar(&self, data_type: &DataType, not_null: bool) -> Result<ScalarValue> {
        let scalar = match self {
            Value::Null if not_null => return ScalarValue::new_default(data_type),
            Value::Null => return ScalarValue::try_from(data_type),
            Value::Bool(value) => ScalarValue::Boolean(Some(*value)),
            Value::Int(value) => ScalarValue::Int64(Some(*value)),
            Value::Text(value) => ScalarValue::Utf8(Some(value.clone())),
            Value::Instant(at) => ScalarValue::TimestampMicrosecond(Some(at.0), None),
            Value::Ints(values) => {
                let items: Vec<_> = values.iter().map(|v| ScalarValue::Int64(Some(*v))).collect();
                ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Int64))
            }
            Value::Texts(values) => {
                let items = values.iter().map(|v| ScalarValue::Utf8(Some(v.clone())));
                let items: Vec<_> = items.collect();
                ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
            }
        };
        scalar.cast_to(data_type)
    }
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $into:expr),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Value {
                $into
            }
        })*
    };
}

value_from! {
    bool => |value| Value::Bool(value),
    i16 => |value| Value::Int(value.into()),
    i32 => |value| Value::Int(value.into()),
    u32 => |value| Value::Int(value.into()),
    i64 => |value| Value::Int(value),
    usize => |value| Value::Int(i64::try_from(value).unwrap_or(i64::MAX)),
    &str => |value| Value::Text(value.to_owned()),
    String => |value| Value::Text(value),
    Timestamp => |value| Value::Instant(value),
    Vec<i64> => |value| Value::Ints(value),
    Vec<String> => |value| Value::Texts(value),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}
