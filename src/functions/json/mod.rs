//! `json` and `jsonb`: operators, functions, input.
//!
//! # Semantics
//! Both types are texts in memory. `json` keeps the text as it was given; `jsonb` is brought into
//! the one form that `value` prints, when it enters (a cast, INSERT, COPY, a source) and by every
//! function, so that equal values are equal texts. Functions and operators mean what they mean in
//! Postgres, and take either type. jsonb is ordered as text.

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Expr;

use super::error::failure;
use super::scalar::{Given, Kind, Returns, Row, Scalar, boolean, int4, list, text, texts};
use crate::error::SqlState;
use value::{Json, quote};

mod aggregate;
mod build;
mod change;
pub(super) mod operators;
mod value;

pub(super) use aggregate::{AGGREGATES, Aggregate};
pub use build::is_json;

fn json(_: &Given<'_>) -> Returns {
    (DataType::Utf8, Some("json"))
}

fn jsonb(_: &Given<'_>) -> Returns {
    (DataType::Utf8, Some("jsonb"))
}

/// The type of the first argument: json or jsonb.
fn same(given: &Given<'_>) -> Returns {
    let declared = given.fields.first().and_then(|field| field.metadata().get("pg_type"));
    (
        DataType::Utf8,
        Some(if declared.is_some_and(|name| name == "json") { "json" } else { "jsonb" }),
    )
}

/// An array of rows of a name and a value.
fn pairs(_: &Given<'_>) -> Returns {
    let row = DataType::Struct(pair_fields());
    (DataType::List(Field::new_list_field(row, true).into()), None)
}

fn pair_fields() -> Fields {
    ["key", "value"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec().into()
}

fn invalid(text: &str) -> datafusion::error::DataFusionError {
    let short: String = text.chars().take(60).collect();
    let what = format!("invalid input syntax for type json: \"{short}\"");
    failure(SqlState::INVALID_TEXT_REPRESENTATION, what)
}

fn parse(text: &str) -> Result<Json> {
    Json::parse(text).ok_or_else(|| invalid(text))
}

impl Row<'_> {
    fn json(&self, argument: usize) -> Result<Json> {
        parse(self.text(argument))
    }
}

fn some(value: Option<&Json>) -> Result<ScalarValue> {
    Ok(ScalarValue::Utf8(value.map(ToString::to_string)))
}

fn some_text(value: Option<&Json>) -> Result<ScalarValue> {
    Ok(ScalarValue::Utf8(value.and_then(Json::as_text)))
}

fn new(value: &Json) -> Result<ScalarValue> {
    Ok(ScalarValue::Utf8(Some(value.to_string())))
}

fn truth(value: bool) -> Result<ScalarValue> {
    Ok(ScalarValue::Boolean(Some(value)))
}

fn wrong(what: &str) -> datafusion::error::DataFusionError {
    failure(SqlState::INVALID_PARAMETER_VALUE, what)
}

/// Brings the texts of a json or jsonb column into their form.
pub fn fitted(column: &ArrayRef, declared: &str) -> Result<ArrayRef> {
    let (Some(texts), "json" | "jsonb") = (column.as_string_opt::<i32>(), declared) else {
        return Ok(column.clone());
    };
    let fitted = texts.iter().map(|text| match text {
        None => Ok(None),
        Some(text) => {
            let value = parse(text)?;
            Ok(Some(if declared == "jsonb" { value.to_string() } else { text.to_owned() }))
        }
    });
    Ok(std::sync::Arc::new(fitted.collect::<Result<StringArray>>()?))
}

/// A call of one of the functions that say what a value is.
pub fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let found = shape().into_iter().find(|scalar| scalar.name == name);
    let function = found.expect("callers name functions that are there");
    function.udf().call(arguments)
}

/// All functions, those of operators among them.
pub(super) fn functions() -> Vec<Scalar> {
    let mut all = access();
    all.extend(shape());
    all.extend(change::functions());
    all.extend(construction());
    all.extend(rows());
    all
}

/// Functions that look into a value.
fn access() -> Vec<Scalar> {
    use Kind::{Int, Text, Texts};
    vec![
        Scalar::strict("json_field", &[Text, Text], same, |row| {
            some(row.json(0)?.member(row.text(1)))
        }),
        Scalar::strict("json_field_text", &[Text, Text], text, |row| {
            some_text(row.json(0)?.member(row.text(1)))
        }),
        Scalar::strict("json_element", &[Text, Int], same, |row| {
            some(row.json(0)?.element(row.int(1)))
        }),
        Scalar::strict("json_element_text", &[Text, Int], text, |row| {
            some_text(row.json(0)?.element(row.int(1)))
        }),
        Scalar::strict("json_path", &[Text, Texts], same, |row| at_path(row, row.texts(1), some)),
        Scalar::strict("json_path_text", &[Text, Texts], text, |row| {
            at_path(row, row.texts(1), some_text)
        }),
        Scalar {
            variadic: true,
            required: 1,
            ..Scalar::strict("json_extract_path", &[Text, Text], json, |row| {
                at_path(row, steps(row), some)
            })
        },
        Scalar {
            variadic: true,
            required: 1,
            ..Scalar::strict("jsonb_extract_path", &[Text, Text], jsonb, |row| {
                at_path(row, steps(row), some)
            })
        },
        Scalar {
            variadic: true,
            required: 1,
            ..Scalar::strict("json_extract_path_text", &[Text, Text], text, |row| {
                at_path(row, steps(row), some_text)
            })
        },
        Scalar {
            variadic: true,
            required: 1,
            ..Scalar::strict("jsonb_extract_path_text", &[Text, Text], text, |row| {
                at_path(row, steps(row), some_text)
            })
        },
        Scalar::strict("jsonb_contains", &[Text, Text], boolean, |row| {
            truth(row.json(0)?.contains(&row.json(1)?))
        }),
        Scalar::strict("jsonb_exists", &[Text, Text], boolean, |row| {
            truth(row.json(0)?.has_key(row.text(1)))
        }),
        Scalar::strict("jsonb_exists_any", &[Text, Texts], boolean, |row| {
            let value = row.json(0)?;
            truth(row.texts(1).iter().flatten().any(|key| value.has_key(key)))
        }),
        Scalar::strict("jsonb_exists_all", &[Text, Texts], boolean, |row| {
            let value = row.json(0)?;
            truth(row.texts(1).iter().flatten().all(|key| value.has_key(key)))
        }),
    ]
}

fn at_path(
    row: &Row<'_>,
    path: Vec<Option<String>>,
    f: fn(Option<&Json>) -> Result<ScalarValue>,
) -> Result<ScalarValue> {
    let value = row.json(0)?;
    match path.iter().map(Option::as_deref).collect::<Option<Vec<_>>>() {
        Some(path) => f(value.at_path(path)),
        None => f(None),
    }
}

/// The arguments behind the first one.
fn steps(row: &Row<'_>) -> Vec<Option<String>> {
    (1..row.values.len()).map(|i| Some(row.text(i).to_owned())).collect()
}

/// Functions that say what a value is.
fn shape() -> Vec<Scalar> {
    use Kind::Text;
    let type_name = |name| {
        Scalar::strict(name, &[Text], text, |row| Ok(ScalarValue::from(row.json(0)?.type_name())))
    };
    let array_length = |name| {
        Scalar::strict(name, &[Text], int4, |row| match row.json(0)? {
            Json::Array(elements) => Ok(ScalarValue::Int32(i32::try_from(elements.len()).ok())),
            Json::Object(_) => Err(wrong("cannot get array length of a non-array")),
            _ => Err(wrong("cannot get array length of a scalar")),
        })
    };
    vec![
        type_name("json_typeof"),
        type_name("jsonb_typeof"),
        array_length("json_array_length"),
        array_length("jsonb_array_length"),
        Scalar::strict("jsonb_pretty", &[Text], text, |row| {
            let mut out = String::new();
            row.json(0)?.pretty(0, &mut out);
            Ok(ScalarValue::from(out))
        }),
        Scalar::strict("json_in", &[Text], json, |row| {
            parse(row.text(0))?;
            Ok(row.values[0].clone())
        }),
        Scalar::strict("jsonb_in", &[Text], jsonb, |row| new(&row.json(0)?)),
        Scalar::strict("json_out", &[Text], text, |row| Ok(row.values[0].clone())),
        Scalar::strict("json_number", &[Text, Text], text, |row| match row.json(0)? {
            Json::Number(number) => Ok(ScalarValue::from(number.to_string())),
            other => no_scalar(&other, row),
        }),
        Scalar::strict("json_truth", &[Text, Text], text, |row| match row.json(0)? {
            Json::Bool(truth) => Ok(ScalarValue::from(truth.to_string())),
            other => no_scalar(&other, row),
        }),
    ]
}

/// What a value is as one of another type, which the second argument says: null is NULL.
fn no_scalar(value: &Json, row: &Row<'_>) -> Result<ScalarValue> {
    if let Json::Null = value {
        return Ok(ScalarValue::Utf8(None));
    }
    let (kind, to) = (value.type_name(), row.text(1));
    Err(wrong(&format!("cannot cast jsonb {kind} to type {to}")))
}

/// Functions that make JSON of SQL values.
fn construction() -> Vec<Scalar> {
    use Kind::{Any, Array};
    let open = |name, required, returns, body| Scalar {
        required,
        variadic: true,
        strict: false,
        ..Scalar::strict(name, &[Any], returns, body)
    };
    let to_json = |name, strict| Scalar {
        strict,
        ..Scalar::strict(name, &[Any], json, |row| {
            let mut out = String::new();
            build::write(&row.values[0], &row.fields[0], &mut out)?;
            Ok(ScalarValue::from(out))
        })
    };
    vec![
        to_json("to_json", true),
        to_json("row_to_json", true),
        to_json("array_to_json", true),
        to_json("json_item", false),
        Scalar::strict("to_jsonb", &[Any], jsonb, |row| {
            new(&build::tree(&row.values[0], &row.fields[0])?)
        }),
        open("json_build_array", 0, json, |row| Ok(ScalarValue::from(array_text(&items(row)?)))),
        open("jsonb_build_array", 0, jsonb, |row| new(&parse(&array_text(&items(row)?))?)),
        open("json_build_object", 0, json, |row| {
            Ok(ScalarValue::from(format!("{{{}}}", members(row)?.join(", "))))
        }),
        open("jsonb_build_object", 0, jsonb, |row| {
            new(&parse(&format!("{{{}}}", members(row)?.join(", ")))?)
        }),
        Scalar::strict("json_array_of", &[Array], json, |row| {
            Ok(ScalarValue::from(array_text(&present(row.texts(0)))))
        }),
        Scalar::strict("jsonb_array_of", &[Array], jsonb, |row| {
            new(&parse(&array_text(&present(row.texts(0))))?)
        }),
        Scalar::strict("json_object_of", &[Array], json, |row| {
            Ok(ScalarValue::from(format!("{{ {} }}", present(row.texts(0)).join(", "))))
        }),
        Scalar::strict("jsonb_object_of", &[Array], jsonb, |row| {
            new(&parse(&format!("{{{}}}", present(row.texts(0)).join(",")))?)
        }),
        Scalar {
            strict: false,
            ..Scalar::strict("json_member", &[Any, Any], text, |row| {
                Ok(ScalarValue::from(member(row, 0)?))
            })
        },
    ]
}

fn present(texts: Vec<Option<String>>) -> Vec<String> {
    texts.into_iter().flatten().collect()
}

fn array_text(items: &[String]) -> String {
    format!("[{}]", items.join(", "))
}

/// Each argument as JSON.
fn items(row: &Row<'_>) -> Result<Vec<String>> {
    let item = |(value, field): (&ScalarValue, &FieldRef)| {
        let mut out = String::new();
        build::write(value, field, &mut out)?;
        Ok(out)
    };
    row.values.iter().zip(row.fields).map(item).collect()
}

/// Arguments by two, as `"name" : value`.
fn members(row: &Row<'_>) -> Result<Vec<String>> {
    if !row.values.len().is_multiple_of(2) {
        return Err(wrong("argument list must have even number of elements"));
    }
    (0..row.values.len()).step_by(2).map(|i| member(row, i)).collect()
}

/// Two arguments as `"name" : value`.
fn member(row: &Row<'_>, first: usize) -> Result<String> {
    let name = &row.values[first];
    if name.is_null() {
        return Err(wrong("null value not allowed for object key"));
    }
    let mut out = String::new();
    quote(&build::plain_text(name)?, &mut out);
    out.push_str(" : ");
    build::write(&row.values[first + 1], &row.fields[first + 1], &mut out)?;
    Ok(out)
}

/// Functions that give rows, as arrays that are unnested.
fn rows() -> Vec<Scalar> {
    use Kind::Text;
    let elements = |name, body| Scalar::strict(name, &[Text], texts, body);
    let each = |name, body| Scalar::strict(name, &[Text], pairs, body);
    let as_json: super::scalar::Body =
        |row| Ok(list(array_elements(row)?.iter().map(|e| Some(e.to_string()))));
    let as_text: super::scalar::Body =
        |row| Ok(list(array_elements(row)?.iter().map(Json::as_text)));
    let keys: super::scalar::Body = |row| match row.json(0)? {
        Json::Object(members) => Ok(list(members.into_iter().map(|(name, _)| Some(name)))),
        Json::Array(_) => Err(wrong("cannot call json_object_keys on an array")),
        _ => Err(wrong("cannot call json_object_keys on a scalar")),
    };
    let members: super::scalar::Body = |row| pair_list(row, |value| Some(value.to_string()));
    let member_texts: super::scalar::Body = |row| pair_list(row, Json::as_text);
    vec![
        elements("$json_array_elements", as_json),
        elements("$jsonb_array_elements", as_json),
        elements("$json_array_elements_text", as_text),
        elements("$jsonb_array_elements_text", as_text),
        elements("$json_object_keys", keys),
        elements("$jsonb_object_keys", keys),
        each("$json_each", members),
        each("$jsonb_each", members),
        each("$json_each_text", member_texts),
        each("$jsonb_each_text", member_texts),
    ]
}

fn array_elements(row: &Row<'_>) -> Result<Vec<Json>> {
    match row.json(0)? {
        Json::Array(elements) => Ok(elements),
        Json::Object(_) => Err(wrong("cannot extract elements from an object")),
        _ => Err(wrong("cannot extract elements from a scalar")),
    }
}

fn pair_list(row: &Row<'_>, text: fn(&Json) -> Option<String>) -> Result<ScalarValue> {
    use arrow::array::{ListArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    let Json::Object(members) = row.json(0)? else {
        return Err(wrong("cannot deconstruct a value that is not an object"));
    };
    let names: StringArray = members.iter().map(|(name, _)| Some(name)).collect();
    let values: StringArray = members.iter().map(|(_, value)| text(value)).collect();
    let columns: Vec<ArrayRef> = vec![std::sync::Arc::new(names), std::sync::Arc::new(values)];
    let rows = StructArray::try_new(pair_fields(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths([members.len()]);
    let item = Field::new_list_field(DataType::Struct(pair_fields()), true).into();
    let list = ListArray::try_new(item, offsets, std::sync::Arc::new(rows), None)?;
    Ok(ScalarValue::List(std::sync::Arc::new(list)))
}
