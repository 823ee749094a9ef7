//! SQL types and their Arrow counterparts.
//!
//! # Semantics
//! | declared | in memory |
//! |---|---|
//! | `text`, `varchar[(n)]`, `char(n)` | Utf8 |
//! | `string` (another name of `text`) | Utf8 |
//! | `smallint` (or `tinyint`), `integer`, `bigint` | Int16, Int32, Int64 |
//! | `real`, `double precision` (or `double`), `float[(p)]` | Float32, Float64 |
//! | `numeric(p, s)`, `numeric` | Decimal128(p, s), Decimal128(38, 10) |
//! | `boolean` | Boolean |
//! | `timestamp[(p)]`, `timestamptz[(p)]` | Timestamp(µs), Timestamp(µs, UTC) |
//! | `date`, `time`, `interval` | Date32, Time64(µs), Interval(MonthDayNano) |
//! | `bytea` | Binary |
//! | `uuid`, `json`, `jsonb` | Utf8 |
//! | `t[]` | List(t) |
//!
//! As elsewhere in this field, `double` is `double precision`, and `string` is `varchar`.
//!
//! A bare `numeric` has no bounds in Postgres; ours keeps 10 of its 38 digits behind the point.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use sqlparser::ast;
use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, ExactNumberInfo, TimezoneInfo};

use crate::error::Location;
use crate::sql::names::fold_parts;
use crate::sql::{Error, Result};

/// Digits of a bare `numeric`: all that 128 bits hold.
const NUMERIC_PRECISION: u8 = 38;
/// Digits behind the point of a bare `numeric`.
const NUMERIC_SCALE: i8 = 10;
/// The time zone of `timestamptz` in memory.
const UTC: &str = "UTC";

/// A column's type as declared: what Arrow alone cannot say (varchar(n), json, uuid).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlType {
    /// Name as Postgres's `format_type` prints it, e.g. `character varying(20)`, `timestamp with
    /// time zone`.
    pub name: String,
}

impl SqlType {
    /// Field metadata that carries the declared type through plans to the wire.
    pub fn metadata(&self) -> [(String, String); 1] {
        [("pg_type".to_owned(), self.name.clone())]
    }
}

/// Returns what a declared type is called in Postgres and how it is kept in memory.
pub fn column_type(declared: &ast::DataType) -> Result<(SqlType, DataType)> {
    let (name, data_type) = named_type(declared)?;
    Ok((SqlType { name }, data_type))
}

fn named_type(declared: &ast::DataType) -> Result<(String, DataType)> {
    use ast::DataType as Ast;
    let plain = |name: &str, data_type| Ok((name.to_owned(), data_type));
    match declared {
        Ast::Text => plain("text", DataType::Utf8),
        Ast::String(None) => plain("character varying", DataType::Utf8),
        Ast::Varchar(length) | Ast::CharacterVarying(length) | Ast::CharVarying(length) => {
            Ok((with_length("character varying", *length, None)?, DataType::Utf8))
        }
        Ast::Char(length) | Ast::Character(length) => {
            Ok((with_length("character", *length, Some(1))?, DataType::Utf8))
        }
        Ast::SmallInt(None) | Ast::Int2(None) => plain("smallint", DataType::Int16),
        Ast::Int(None) | Ast::Integer(None) | Ast::Int4(None) => plain("integer", DataType::Int32),
        Ast::BigInt(None) | Ast::Int8(None) => plain("bigint", DataType::Int64),
        Ast::Real | Ast::Float4 | Ast::Float(ExactNumberInfo::Precision(1..=24)) => {
            plain("real", DataType::Float32)
        }
        Ast::TinyInt(None) => plain("smallint", DataType::Int16),
        Ast::DoublePrecision
        | Ast::Double(ExactNumberInfo::None)
        | Ast::Float8
        | Ast::Float(ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53)) => {
            plain("double precision", DataType::Float64)
        }
        Ast::Numeric(info) | Ast::Decimal(info) | Ast::Dec(info) => numeric(*info),
        Ast::Boolean | Ast::Bool => plain("boolean", DataType::Boolean),
        Ast::Timestamp(precision, zone) => timestamp(*precision, *zone),
        Ast::Date => plain("date", DataType::Date32),
        Ast::Time(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            Err(unsupported("time with time zone", "Use timestamptz, or time without time zone."))
        }
        Ast::Time(precision, _) => Ok((
            format!("time{} without time zone", precision_suffix(*precision)?),
            DataType::Time64(TimeUnit::Microsecond),
        )),
        Ast::Interval { fields: None, precision: None } => {
            plain("interval", DataType::Interval(IntervalUnit::MonthDayNano))
        }
        Ast::Interval { .. } => Err(unsupported("interval with fields", "Declare it as interval.")),
        Ast::Bytea => plain("bytea", DataType::Binary),
        Ast::Uuid => plain("uuid", DataType::Utf8),
        Ast::JSON => plain("json", DataType::Utf8),
        Ast::JSONB => plain("jsonb", DataType::Utf8),
        Ast::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element),
        ) => array(element),
        Ast::Custom(name, modifiers) => custom(name, modifiers),
        other => Err(known_elsewhere(&other.to_string().to_ascii_lowercase())),
    }
}

fn with_length(
    name: &str,
    length: Option<CharacterLength>,
    default: Option<u64>,
) -> Result<String> {
    let length = match length {
        Some(CharacterLength::IntegerLength { length, unit: None }) => Some(length),
        Some(other) => return Err(invalid(format!("length {other} of type {name}"))),
        None => default,
    };
    match length {
        Some(0) => Err(invalid(format!("length for type {name} must be at least 1"))),
        Some(length) => Ok(format!("{name}({length})")),
        None => Ok(name.to_owned()),
    }
}

fn numeric(info: ExactNumberInfo) -> Result<(String, DataType)> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => {
            let data_type = DataType::Decimal128(NUMERIC_PRECISION, NUMERIC_SCALE);
            return Ok(("numeric".to_owned(), data_type));
        }
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let max = NUMERIC_PRECISION;
    let Some(digits) = u8::try_from(precision).ok().filter(|digits| (1..=max).contains(digits))
    else {
        return Err(invalid(format!("NUMERIC precision {precision} must be between 1 and {max}")));
    };
    let Some(behind) = i8::try_from(scale).ok().filter(|s| (0..=digits.cast_signed()).contains(s))
    else {
        return Err(invalid(format!("NUMERIC scale {scale} must be between 0 and {precision}")));
    };
    Ok((format!("numeric({digits},{behind})"), DataType::Decimal128(digits, behind)))
}

fn timestamp(precision: Option<u64>, zone: TimezoneInfo) -> Result<(String, DataType)> {
    let precision = precision_suffix(precision)?;
    Ok(match zone {
        TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => (
            format!("timestamp{precision} with time zone"),
            DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        ),
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => (
            format!("timestamp{precision} without time zone"),
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
    })
}

fn precision_suffix(precision: Option<u64>) -> Result<String> {
    match precision {
        None => Ok(String::new()),
        Some(digits @ 0..=6) => Ok(format!("({digits})")),
        Some(digits) => Err(invalid(format!("precision {digits} must be between 0 and 6"))),
    }
}

fn array(element: &ast::DataType) -> Result<(String, DataType)> {
    // Postgres does not tell dimensions apart either, but we would have to.
    if matches!(element, ast::DataType::Array(_)) {
        return Err(unsupported("an array of arrays", "Keep it as jsonb."));
    }
    let (name, data_type) = named_type(element)?;
    Ok((format!("{name}[]"), DataType::List(Arc::new(Field::new_list_field(data_type, true)))))
}

/// Types that sqlparser has no keyword for.
fn custom(name: &ast::ObjectName, modifiers: &[String]) -> Result<(String, DataType)> {
    let mut parts = fold_parts(name);
    if parts.len() == 2 && parts[0] == "pg_catalog" {
        parts.remove(0);
    }
    let full = parts.join(".");
    match full.as_str() {
        "bpchar" if modifiers.is_empty() => Ok(("bpchar".to_owned(), DataType::Utf8)),
        "bool" => Ok(("boolean".to_owned(), DataType::Boolean)),
        "text" => Ok(("text".to_owned(), DataType::Utf8)),
        "name" => Ok(("name".to_owned(), DataType::Utf8)),
        "oid" => Ok(("oid".to_owned(), DataType::Int64)),
        "varchar" => Ok(("character varying".to_owned(), DataType::Utf8)),
        "int2" => Ok(("smallint".to_owned(), DataType::Int16)),
        "int4" => Ok(("integer".to_owned(), DataType::Int32)),
        "int8" => Ok(("bigint".to_owned(), DataType::Int64)),
        "float4" => Ok(("real".to_owned(), DataType::Float32)),
        "float8" => Ok(("double precision".to_owned(), DataType::Float64)),
        "timestamp" => timestamp(None, TimezoneInfo::None),
        "timestamptz" => timestamp(None, TimezoneInfo::Tz),
        _ => {
            let error = known_elsewhere(&full);
            let start =
                name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start);
            Err(match start.filter(|start| start.line > 0) {
                Some(start) => error.at(Location { line: start.line, column: start.column }),
                None => error,
            })
        }
    }
}

/// The error for a type that is not ours: Postgres's own are named as missing, others do not exist.
fn known_elsewhere(name: &str) -> Error {
    const POSTGRES: [&str; 31] = [
        "bit",
        "box",
        "cidr",
        "circle",
        "hstore",
        "inet",
        "int4range",
        "int8range",
        "line",
        "lseg",
        "macaddr",
        "money",
        "numrange",
        "path",
        "pg_lsn",
        "point",
        "polygon",
        "regclass",
        "regproc",
        "regtype",
        "timetz",
        "tsquery",
        "tsrange",
        "tstzrange",
        "tsvector",
        "txid_snapshot",
        "varbit",
        "xid",
        "xml",
        "daterange",
        "bit varying",
    ];
    let base = name.split('(').next().unwrap_or(name).trim();
    match base {
        "serial" | "serial2" | "serial4" | "serial8" | "bigserial" | "smallserial" => unsupported(
            &format!("type {base}"),
            "Declare it as bigint and give the value in INSERT.",
        ),
        base if POSTGRES.contains(&base) => {
            unsupported(&format!("type {base}"), "Keep the value as text.")
        }
        _ => Error::UndefinedType { name: name.to_owned(), location: None },
    }
}

fn unsupported(feature: &str, hint: &str) -> Error {
    Error::Unsupported { feature: feature.to_owned(), hint: Some(hint.to_owned()), location: None }
}

fn invalid(message: String) -> Error {
    Error::InvalidOption { message, hint: None, location: None }
}

/// Returns what Postgres calls a type of which only the form in memory is known.
pub fn pg_type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(NUMERIC_PRECISION, NUMERIC_SCALE)
        | DataType::Decimal256(..) => "numeric",
        DataType::Decimal128(precision, scale) => return format!("numeric({precision},{scale})"),
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytea",
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => {
            return format!("{}[]", pg_type_name(element.data_type()));
        }
        DataType::Dictionary(_, value) => return pg_type_name(value),
        DataType::RunEndEncoded(_, value) => return pg_type_name(value.data_type()),
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => "record",
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use sqlparser::parser::Parser;

    use super::*;
    use crate::error::{Classify, SqlState};
    use crate::sql::StreamSql;

    fn declared(text: &str) -> Result<(SqlType, DataType)> {
        let mut parser = Parser::new(&StreamSql).try_with_sql(text).unwrap();
        column_type(&parser.parse_data_type().unwrap())
    }

    #[track_caller]
    fn check(text: &str, name: &str, data_type: DataType) {
        assert_eq!(declared(text), Ok((SqlType { name: name.to_owned() }, data_type)), "{text}");
    }

    #[test]
    fn numbers_are_known_by_all_their_names() {
        for text in ["int", "integer", "INT4", "pg_catalog.int4"] {
            check(text, "integer", DataType::Int32);
        }
        check("int8", "bigint", DataType::Int64);
        check("smallint", "smallint", DataType::Int16);
        check("float", "double precision", DataType::Float64);
        check("float(24)", "real", DataType::Float32);
        check("numeric", "numeric", DataType::Decimal128(38, 10));
        check("decimal(10)", "numeric(10,0)", DataType::Decimal128(10, 0));
        check("numeric(10, 2)", "numeric(10,2)", DataType::Decimal128(10, 2));
    }

    #[test]
    fn text_keeps_its_declared_length() {
        check("varchar(20)", "character varying(20)", DataType::Utf8);
        check("character varying", "character varying", DataType::Utf8);
        check("char", "character(1)", DataType::Utf8);
        check("jsonb", "jsonb", DataType::Utf8);
        check("uuid", "uuid", DataType::Utf8);
    }

    #[test]
    fn times_have_microseconds() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        check("timestamp", "timestamp without time zone", micros.clone());
        check("timestamp(3)", "timestamp(3) without time zone", micros);
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        check("timestamptz", "timestamp with time zone", utc.clone());
        check("timestamp with time zone", "timestamp with time zone", utc);
        check("time", "time without time zone", DataType::Time64(TimeUnit::Microsecond));
        check("interval", "interval", DataType::Interval(IntervalUnit::MonthDayNano));
    }

    #[test]
    fn array_is_a_list_of_its_element() {
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
        check("int[]", "integer[]", list.clone());
        check("int[3]", "integer[]", list);
    }

    #[test]
    fn unknown_type_is_told_from_a_missing_one() {
        let state = |text| declared(text).map(|_| ()).map_err(|error| error.sqlstate());
        assert_eq!(state("foo"), Err(SqlState::UNDEFINED_OBJECT));
        assert_eq!(state("mediumtext"), Err(SqlState::UNDEFINED_OBJECT));
        for text in ["inet", "bigserial", "timetz", "int[][]", "money", "tsvector"] {
            assert_eq!(state(text), Err(SqlState::FEATURE_NOT_SUPPORTED), "{text}");
        }
        for text in ["numeric(50)", "numeric(5, 6)", "varchar(0)", "timestamp(7)"] {
            assert_eq!(state(text), Err(SqlState::INVALID_PARAMETER_VALUE), "{text}");
        }
        assert_eq!(declared("foo").unwrap_err().to_string(), "type \"foo\" does not exist");
    }

    #[test]
    fn every_declared_type_is_called_the_same_from_memory() {
        for text in ["text", "int2", "int4", "int8", "real", "float8", "numeric", "numeric(9,2)"] {
            let (declared, data_type) = declared(text).unwrap();
            assert_eq!(pg_type_name(&data_type), declared.name);
        }
        for text in ["bool", "timestamp", "timestamptz", "date", "time", "bytea", "int[]"] {
            let (declared, data_type) = declared(text).unwrap();
            assert_eq!(pg_type_name(&data_type), declared.name);
        }
    }
}
