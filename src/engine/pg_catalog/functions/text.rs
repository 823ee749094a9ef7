//! Functions on text that Postgres has and DataFusion has not.

use std::fmt::Write;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};

use super::{Function, int_arg, text_arg};
use crate::engine::pg_catalog::keys::quote_ident;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::text("quote_ident", |args| Some(quote_ident(&text_arg(args, 0)?))),
        Function::text("quote_literal", |args| Some(quote_literal(&text_arg(args, 0)?))),
        Function::text("quote_nullable", |args| {
            Some(text_arg(args, 0).map_or_else(|| "NULL".to_owned(), |text| quote_literal(&text)))
        })
        .called_on_null(),
        Function::text("pg_size_pretty", |args| Some(size_pretty(int_arg(args, 0)?))),
        Function::new("format", DataType::Utf8, |args| match format(args) {
            Some(text) => Ok(ScalarValue::Utf8(Some(text))),
            None => Err(DataFusionError::Plan("unrecognized format() type specifier".to_owned())),
        })
        .called_on_null(),
        Function::text("json_build_object", |args| Some(json_object(args))).called_on_null(),
    ]
}

fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// Prints a number of bytes in the unit in which it has up to five digits, as Postgres does.
fn size_pretty(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    /// Up to here the smaller unit is used.
    const LIMIT: i64 = 10 * 1024;
    let (mut size, mut unit) = (bytes, 0);
    while size.abs() >= LIMIT && unit + 1 < UNITS.len() {
        size = (size + 512 * size.signum()) / 1024;
        unit += 1;
    }
    format!("{size} {}", UNITS[unit])
}

/// Fills `%s`, `%I` and `%L`; `None` if the format is malformed.
fn format(args: &[ScalarValue]) -> Option<String> {
    let template = text_arg(args, 0)?;
    let mut out = String::new();
    let mut next = 1;
    let mut chars = template.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let spec = chars.next()?;
        if spec == '%' {
            out.push('%');
            continue;
        }
        let value = text_arg(args, next);
        next += 1;
        match spec {
            's' => out.push_str(&value.unwrap_or_default()),
            'I' => out.push_str(&quote_ident(&value?)),
            'L' => match value {
                Some(value) => out.push_str(&quote_literal(&value)),
                None => out.push_str("NULL"),
            },
            _ => return None,
        }
    }
    Some(out)
}

fn json_object(args: &[ScalarValue]) -> String {
    let mut out = String::from("{");
    for (i, pair) in args.chunks(2).enumerate() {
        let separator = if i > 0 { ", " } else { "" };
        let key = serde_json::Value::from(text_arg(pair, 0).unwrap_or_default());
        // Writing to a string cannot fail.
        let _ = write!(out, "{separator}{key} : {}", json(pair.get(1)));
    }
    out.push('}');
    out
}

fn json(value: Option<&ScalarValue>) -> String {
    match value {
        Some(value) if value.is_null() => "null".to_owned(),
        None => "null".to_owned(),
        Some(value) if value.data_type().is_numeric() || value.data_type() == DataType::Boolean => {
            value.to_string()
        }
        Some(value) => {
            let text = text_arg(std::slice::from_ref(value), 0).unwrap_or_default();
            serde_json::Value::from(text).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_postgres() {
        assert_eq!(size_pretty(0), "0 bytes");
        assert_eq!(size_pretty(10_239), "10239 bytes");
        assert_eq!(size_pretty(10_240), "10 kB");
        assert_eq!(size_pretty(50_000_000), "48 MB");
    }

    #[test]
    fn format_quotes_names_and_literals() {
        let args = ["%s.%I = %L%%", "a", "b C", "it's"].map(ScalarValue::from);
        assert_eq!(format(&args).as_deref(), Some("a.\"b C\" = 'it''s'%"));
    }
}
