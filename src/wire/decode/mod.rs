//! Parameters of Bind to values for the engine.
//!
//! # Semantics
//! A parameter is read as the type the client declared (or was told), then cast to the type the statement
//! takes. Text is read straight as the statement's type, as an untyped literal would be.

use arrow::array::timezone::Tz;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use pgwire::api::Type;

use crate::error::SqlState;
use crate::wire::encode::Format;
use crate::wire::error::{Error, Result};

mod binary;
mod text;

/// Decodes a parameter that comes as `pg_type` and is taken as `target`; no bytes are NULL.
pub(super) fn parameter(
    bytes: Option<&[u8]>,
    format: Format,
    pg_type: &Type,
    target: &DataType,
    zone: Option<Tz>,
) -> Result<ScalarValue> {
    // A parameter whose type nothing tells is text.
    let target = if target.is_null() { &DataType::Utf8 } else { target };
    let Some(bytes) = bytes else {
        return ScalarValue::try_from(target).map_err(|error| unsupported(&error.to_string()));
    };
    match format {
        Format::Text => {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "parameter is not valid UTF-8")
            })?;
            text::parse(text, target, zone)
        }
        Format::Binary => {
            let value = binary::read(bytes, pg_type)?;
            match value.data_type() == *target {
                true => Ok(value),
                // Numerics arrive as text, to be read with the scale that the statement takes.
                false => match &value {
                    ScalarValue::Utf8(Some(text)) => text::parse(text, target, zone),
                    value => value.cast_to(target).map_err(|_| {
                        let text = format!("parameter of type {pg_type} cannot be taken");
                        Error::new(SqlState::CANNOT_COERCE, text)
                    }),
                },
            }
        }
    }
}

fn unsupported(what: &str) -> Error {
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("parameter not supported: {what}"))
}

#[cfg(test)]
mod tests;
