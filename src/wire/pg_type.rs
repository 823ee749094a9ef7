//! Postgres types of columns: OID, size and modifier, from the declared type or else from Arrow's.

use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow_pg::datatypes::{PG_CHAR_KEY, PG_OID_ALIAS_KEY, pg_type_for_alias_kind};
use pgwire::api::Type;

/// Field metadata key that holds the declared type's name (see [`crate::sql::types::SqlType`]).
const DECLARED_TYPE_KEY: &str = "pg_type";

/// Bytes that Postgres adds to the modifier of varying-length types.
const HEADER: i32 = 4;

/// The time zone of `timestamp with time zone` values in memory.
const UTC: &str = "+00:00";

/// A column's type as Postgres describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ColumnType {
    /// The type; its OID is what clients see.
    pub(super) pg_type: Type,
    /// Length, precision and scale as `atttypmod` holds them; -1 is none.
    pub(super) modifier: i32,
}

impl ColumnType {
    /// Returns the type of a column. The declared type counts if values in memory can be sent as
    /// it.
    pub(super) fn of(field: &Field) -> ColumnType {
        let metadata = field.metadata();
        if metadata.contains_key(PG_CHAR_KEY) {
            return Type::CHAR.into();
        }
        if let Some(alias) = metadata.get(PG_OID_ALIAS_KEY).and_then(|k| pg_type_for_alias_kind(k))
        {
            return alias.into();
        }
        metadata
            .get(DECLARED_TYPE_KEY)
            .and_then(|name| ColumnType::parse(name))
            .filter(|declared| holds(&declared.pg_type, field.data_type()))
            .unwrap_or_else(|| natural(field.data_type()).into())
    }

    /// Reads a type as `format_type` prints it, such as `numeric(12,2)[]`.
    fn parse(name: &str) -> Option<ColumnType> {
        let (name, is_array) = match name.strip_suffix("[]") {
            Some(element) => (element, true),
            None => (name, false),
        };
        let (base, arguments) = match (name.find('('), name.find(')')) {
            (Some(open), Some(close)) if open < close => {
                let base = format!("{}{}", name[..open].trim_end(), &name[close + 1..]);
                let arguments = name[open + 1..close].split(',').map(|n| n.trim().parse::<i32>());
                (base, arguments.collect::<Result<Vec<_>, _>>().ok()?)
            }
            _ => (name.to_owned(), Vec::new()),
        };
        let pg_type = named(&base)?;
        let modifier = modifier(&pg_type, &arguments);
        let pg_type = if is_array { array_of(&pg_type) } else { pg_type };
        Some(ColumnType { pg_type, modifier })
    }

    /// Returns the size in bytes, -1 for varying ones (`typlen`).
    pub(super) fn size(&self) -> i16 {
        match self.pg_type {
            Type::BOOL | Type::CHAR => 1,
            Type::INT2 => 2,
            Type::INT4 | Type::FLOAT4 | Type::DATE => 4,
            Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
            Type::INTERVAL | Type::UUID => 16,
            Type::NAME => 64,
            Type::UNKNOWN => -2,
            ref other if is_oid(other) => 4,
            _ => -1,
        }
    }
}

impl From<Type> for ColumnType {
    fn from(pg_type: Type) -> Self {
        Self { pg_type, modifier: -1 }
    }
}

/// Array types by element type.
const ARRAYS: [(Type, Type); 23] = [
    (Type::BOOL, Type::BOOL_ARRAY),
    (Type::CHAR, Type::CHAR_ARRAY),
    (Type::NAME, Type::NAME_ARRAY),
    (Type::INT2, Type::INT2_ARRAY),
    (Type::INT4, Type::INT4_ARRAY),
    (Type::INT8, Type::INT8_ARRAY),
    (Type::OID, Type::OID_ARRAY),
    (Type::FLOAT4, Type::FLOAT4_ARRAY),
    (Type::FLOAT8, Type::FLOAT8_ARRAY),
    (Type::NUMERIC, Type::NUMERIC_ARRAY),
    (Type::BYTEA, Type::BYTEA_ARRAY),
    (Type::TEXT, Type::TEXT_ARRAY),
    (Type::VARCHAR, Type::VARCHAR_ARRAY),
    (Type::BPCHAR, Type::BPCHAR_ARRAY),
    (Type::DATE, Type::DATE_ARRAY),
    (Type::TIME, Type::TIME_ARRAY),
    (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
    (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
    (Type::INTERVAL, Type::INTERVAL_ARRAY),
    (Type::UUID, Type::UUID_ARRAY),
    (Type::JSON, Type::JSON_ARRAY),
    (Type::JSONB, Type::JSONB_ARRAY),
    (Type::RECORD, Type::RECORD_ARRAY),
];

/// Returns the array type over `element`; text's for element types that have none.
pub(super) fn array_of(element: &Type) -> Type {
    let pair = ARRAYS.iter().find(|(scalar, _)| scalar == element);
    pair.map_or(Type::TEXT_ARRAY, |(_, array)| array.clone())
}

/// Returns the element type of an array type.
pub(super) fn element_of(array: &Type) -> Option<Type> {
    ARRAYS.iter().find(|pair| pair.1 == *array).map(|(element, _)| element.clone())
}

/// Returns whether the type's value is an object id: four unsigned bytes.
pub(super) fn is_oid(pg_type: &Type) -> bool {
    matches!(
        *pg_type,
        Type::OID
            | Type::XID
            | Type::CID
            | Type::REGPROC
            | Type::REGPROCEDURE
            | Type::REGOPER
            | Type::REGOPERATOR
            | Type::REGCLASS
            | Type::REGTYPE
            | Type::REGNAMESPACE
            | Type::REGROLE
            | Type::REGCONFIG
            | Type::REGDICTIONARY
            | Type::REGCOLLATION
    )
}

/// Returns how values of a parameter type are kept in memory; `None` leaves it to the statement.
pub(super) fn in_memory(pg_type: &Type) -> Option<DataType> {
    Some(match *pg_type {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => DataType::Utf8,
        Type::UUID | Type::JSON | Type::JSONB => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        Type::INTERVAL => DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
        _ => {
            let element = in_memory(&element_of(pg_type)?)?;
            DataType::new_list(element, true)
        }
    })
}

/// Returns the type that values of `data_type` have when nothing was declared.
pub(super) fn natural(data_type: &DataType) -> Type {
    match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => Type::INT2,
        DataType::UInt16 | DataType::Int32 => Type::INT4,
        DataType::UInt32 | DataType::UInt64 | DataType::Int64 => Type::INT8,
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Type::NUMERIC,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Interval(_) | DataType::Duration(_) => Type::INTERVAL,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Type::BYTEA,
        DataType::Struct(_) => Type::RECORD,
        DataType::Dictionary(_, value) => natural(value),
        list => element_field(list).map_or(Type::TEXT, |element| {
            // Postgres has one array type for all dimensions.
            match natural(element.data_type()) {
                nested if element_of(&nested).is_some() => nested,
                element => array_of(&element),
            }
        }),
    }
}

/// Returns the element of a list type.
pub(super) fn element_field(list: &DataType) -> Option<&Field> {
    match list {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => Some(element),
        _ => None,
    }
}

/// Returns whether values of `data_type` can be sent as `declared`.
fn holds(declared: &Type, data_type: &DataType) -> bool {
    if let Some(element) = element_of(declared) {
        return element_field(data_type).is_some_and(|field| {
            match element_field(field.data_type()) {
                Some(_) => holds(declared, field.data_type()),
                None => holds(&element, field.data_type()),
            }
        });
    }
    let natural = natural(data_type);
    match natural {
        Type::INT2 | Type::INT4 | Type::INT8 => {
            matches!(*declared, Type::INT2 | Type::INT4 | Type::INT8) || is_oid(declared)
        }
        Type::FLOAT4 | Type::FLOAT8 => matches!(*declared, Type::FLOAT4 | Type::FLOAT8),
        Type::TEXT => {
            element_field(data_type).is_none()
                && matches!(
                    *declared,
                    Type::TEXT
                        | Type::VARCHAR
                        | Type::BPCHAR
                        | Type::NAME
                        | Type::CHAR
                        | Type::JSON
                        | Type::JSONB
                        | Type::UUID
                        | Type::UNKNOWN
                )
        }
        natural => natural == *declared,
    }
}

/// Returns the type in which a client is to send a parameter: as the column was declared where a
/// driver has values of its own for that, else by the values in memory.
pub(super) fn parameter(field: &Field) -> Type {
    match ColumnType::of(field).pg_type {
        declared @ (Type::UUID | Type::UUID_ARRAY | Type::JSON | Type::JSONB) => declared,
        declared @ (Type::OID | Type::OID_ARRAY) => declared,
        _ => natural(field.data_type()),
    }
}

/// Returns the scalar type of that name, in SQL's spelling or the catalog's.
fn named(name: &str) -> Option<Type> {
    Some(match name {
        "boolean" | "bool" => Type::BOOL,
        "\"char\"" => Type::CHAR,
        "name" => Type::NAME,
        "smallint" | "int2" => Type::INT2,
        "integer" | "int" | "int4" => Type::INT4,
        "bigint" | "int8" => Type::INT8,
        "real" | "float4" => Type::FLOAT4,
        "double precision" | "float8" => Type::FLOAT8,
        "numeric" | "decimal" => Type::NUMERIC,
        "text" => Type::TEXT,
        "character varying" | "varchar" => Type::VARCHAR,
        "character" | "char" | "bpchar" => Type::BPCHAR,
        "bytea" => Type::BYTEA,
        "date" => Type::DATE,
        "time without time zone" | "time" => Type::TIME,
        "timestamp without time zone" | "timestamp" => Type::TIMESTAMP,
        "timestamp with time zone" | "timestamptz" => Type::TIMESTAMPTZ,
        "interval" => Type::INTERVAL,
        "uuid" => Type::UUID,
        "json" => Type::JSON,
        "jsonb" => Type::JSONB,
        alias => return pg_type_for_alias_kind(alias),
    })
}

/// Returns `atttypmod` for the arguments in parentheses behind a type's name.
fn modifier(pg_type: &Type, arguments: &[i32]) -> i32 {
    match (pg_type, arguments) {
        (&(Type::VARCHAR | Type::BPCHAR), &[length]) => length + HEADER,
        (&Type::NUMERIC, &[precision]) => (precision << 16) + HEADER,
        (&Type::NUMERIC, &[precision, scale]) => ((precision << 16) | (scale & 0x7ff)) + HEADER,
        (&(Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ), &[precision]) => precision,
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, data_type: DataType) -> ColumnType {
        let metadata = [(DECLARED_TYPE_KEY.to_owned(), name.to_owned())];
        ColumnType::of(&Field::new("c", data_type, true).with_metadata(metadata.into()))
    }

    #[test]
    fn declared_type_gives_oid_and_modifier() {
        let varchar = declared("character varying(20)", DataType::Utf8View);
        assert_eq!((varchar.pg_type, varchar.modifier), (Type::VARCHAR, 24));
        let numeric = declared("numeric(12,2)", DataType::Decimal128(12, 2));
        assert_eq!((numeric.pg_type, numeric.modifier), (Type::NUMERIC, (12 << 16) + 2 + 4));
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
        let zoned = declared("timestamp(3) with time zone", zoned);
        assert_eq!((zoned.pg_type, zoned.modifier), (Type::TIMESTAMPTZ, 3));
        let array = declared("uuid[]", DataType::new_list(DataType::Utf8, true));
        assert_eq!(array.pg_type, Type::UUID_ARRAY);
    }

    #[test]
    fn declared_type_that_does_not_fit_the_values_is_ignored() {
        assert_eq!(declared("integer", DataType::Utf8).pg_type, Type::TEXT);
        assert_eq!(declared("no such type", DataType::Int64).pg_type, Type::INT8);
    }

    #[test]
    fn lists_of_lists_have_the_type_of_their_innermost_elements() {
        let nested = DataType::new_list(DataType::new_list(DataType::Int32, true), true);
        assert_eq!(natural(&nested), Type::INT4_ARRAY);
    }
}
