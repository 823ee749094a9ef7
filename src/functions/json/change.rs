//! JSON values that are changed: `||`, `-`, `#-`, jsonb_set and the like.
//!
//! # Semantics
//! As in Postgres: a path that leads nowhere changes nothing, and negative indexes count from the
//! end.

use datafusion::common::{Result, ScalarValue};

use super::value::{Json, position};
use super::{Kind, Scalar, json, jsonb, new, wrong};

/// Functions that make a changed value of a value.
pub(super) fn functions() -> Vec<Scalar> {
    use Kind::{Bool, Int, Text, Texts};
    let strip =
        |name, returns| Scalar::strict(name, &[Text], returns, |row| new(&stripped(row.json(0)?)));
    vec![
        Scalar::strict("jsonb_concat", &[Text, Text], jsonb, |row| {
            new(&concatenated(row.json(0)?, row.json(1)?)?)
        }),
        Scalar::strict("jsonb_delete", &[Text, Text], jsonb, |row| {
            new(&without(row.json(0)?, &[row.text(1).to_owned()])?)
        }),
        Scalar::strict("jsonb_delete_any", &[Text, Texts], jsonb, |row| {
            let keys: Vec<String> = row.texts(1).into_iter().flatten().collect();
            new(&without(row.json(0)?, &keys)?)
        }),
        Scalar::strict("jsonb_delete_element", &[Text, Int], jsonb, |row| match row.json(0)? {
            Json::Array(mut elements) => {
                if let Some(at) =
                    position(row.int(1), elements.len()).filter(|i| *i < elements.len())
                {
                    elements.remove(at);
                }
                new(&Json::Array(elements))
            }
            Json::Object(_) => Err(wrong("cannot delete from object using integer index")),
            _ => Err(wrong("cannot delete from scalar")),
        }),
        Scalar::strict("jsonb_delete_path", &[Text, Texts], jsonb, |row| {
            let path: Vec<String> = row.texts(1).into_iter().flatten().collect();
            new(&at(row.json(0)?, &path, &Change::Delete))
        }),
        Scalar {
            required: 3,
            ..Scalar::strict("jsonb_set", &[Text, Texts, Text, Bool], jsonb, |row| {
                let path: Vec<String> = row.texts(1).into_iter().flatten().collect();
                let create = !matches!(row.values.get(3), Some(ScalarValue::Boolean(Some(false))));
                new(&at(row.json(0)?, &path, &Change::Set(row.json(2)?, create)))
            })
        },
        Scalar {
            required: 3,
            ..Scalar::strict("jsonb_insert", &[Text, Texts, Text, Bool], jsonb, |row| {
                let path: Vec<String> = row.texts(1).into_iter().flatten().collect();
                let after = matches!(row.values.get(3), Some(ScalarValue::Boolean(Some(true))));
                new(&at(row.json(0)?, &path, &Change::Insert(row.json(2)?, after)))
            })
        },
        strip("json_strip_nulls", json),
        strip("jsonb_strip_nulls", jsonb),
    ]
}

fn concatenated(left: Json, right: Json) -> Result<Json> {
    Ok(match (left, right) {
        (Json::Object(mut members), Json::Object(more)) => {
            members.extend(more);
            Json::object(members)
        }
        (Json::Array(mut elements), Json::Array(more)) => {
            elements.extend(more);
            Json::Array(elements)
        }
        (Json::Array(mut elements), other) => {
            elements.push(other);
            Json::Array(elements)
        }
        (other, Json::Array(mut elements)) => {
            elements.insert(0, other);
            Json::Array(elements)
        }
        (Json::Object(_), _) | (_, Json::Object(_)) => {
            return Err(wrong("invalid concatenation of jsonb objects"));
        }
        (one, other) => Json::Array(vec![one, other]),
    })
}

fn without(value: Json, keys: &[String]) -> Result<Json> {
    match value {
        Json::Object(mut members) => {
            members.retain(|(name, _)| !keys.contains(name));
            Ok(Json::Object(members))
        }
        Json::Array(mut elements) => {
            elements.retain(|e| !matches!(e, Json::String(text) if keys.contains(text)));
            Ok(Json::Array(elements))
        }
        _ => Err(wrong("cannot delete from scalar")),
    }
}

fn stripped(value: Json) -> Json {
    match value {
        Json::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| *value != Json::Null);
            Json::Object(kept.map(|(name, value)| (name, stripped(value))).collect())
        }
        Json::Array(elements) => Json::Array(elements.into_iter().map(stripped).collect()),
        other => other,
    }
}

/// What is done at the end of a path.
enum Change {
    Delete,
    /// The new value, and whether a missing last step is made.
    Set(Json, bool),
    /// The new value, and whether it goes behind the element that is there.
    Insert(Json, bool),
}

/// Changes a value at the end of a path; where the path leads nowhere, nothing.
fn at(value: Json, path: &[String], change: &Change) -> Json {
    let Some((step, rest)) = path.split_first() else { return value };
    match value {
        Json::Object(mut members) => {
            let found = members.iter().position(|(name, _)| name == step);
            match (found, rest, change) {
                (Some(i), [], Change::Delete) => {
                    members.remove(i);
                }
                (Some(i), [], Change::Set(new, _)) => members[i].1 = new.clone(),
                (None, [], Change::Set(new, true) | Change::Insert(new, _)) => {
                    members.push((step.clone(), new.clone()));
                }
                (Some(i), [_, ..], _) => {
                    let old = std::mem::replace(&mut members[i].1, Json::Null);
                    members[i].1 = at(old, rest, change);
                }
                _ => {}
            }
            Json::object(members)
        }
        Json::Array(mut elements) => {
            let Ok(index) = step.parse::<i64>() else { return Json::Array(elements) };
            let found = position(index, elements.len()).filter(|i| *i < elements.len());
            match (found, rest, change) {
                (Some(i), [], Change::Delete) => {
                    elements.remove(i);
                }
                (Some(i), [], Change::Set(new, _)) => elements[i] = new.clone(),
                (Some(i), [], Change::Insert(new, after)) => {
                    elements.insert(i + usize::from(*after), new.clone());
                }
                (None, [], Change::Set(new, true) | Change::Insert(new, _)) => {
                    // Beyond an end it is put at that end.
                    let place = if index < 0 { 0 } else { elements.len() };
                    elements.insert(place, new.clone());
                }
                (Some(i), [_, ..], _) => {
                    let old = std::mem::replace(&mut elements[i], Json::Null);
                    elements[i] = at(old, rest, change);
                }
                _ => {}
            }
            Json::Array(elements)
        }
        other => other,
    }
}
