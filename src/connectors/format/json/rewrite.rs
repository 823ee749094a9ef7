//! Members that take any JSON value as text: the value is put in quotes before decoding.
//!
//! # Example
//! With `payload` a jsonb column, `{"id": 1, "payload": {"a": [1]}}` becomes
//! `{"id": 1, "payload": "{\"a\": [1]}"}`. `null` stays NULL.

use std::borrow::Cow;

use serde::de::IgnoredAny;

type Result<T> = std::result::Result<T, String>;

/// Copies an object to `out`, with the values of the named members turned into strings.
pub fn quote_json_members(object: &[u8], names: &[String], out: &mut Vec<u8>) -> Result<()> {
    let mut copied = 0;
    let mut at = skip_space(object, 0);
    if object.get(at) != Some(&b'{') {
        return Err("a line is not one JSON object".to_owned());
    }
    at = skip_space(object, at + 1);
    while object.get(at) == Some(&b'"') {
        let name_end = skip_string(object, at)?;
        let name = member_name(&object[at..name_end])?;
        at = skip_space(object, name_end);
        if object.get(at) != Some(&b':') {
            return Err("a member has no value".to_owned());
        }
        let start = skip_space(object, at + 1);
        let end = skip_value(object, start)?;
        let value = object[start..end].trim_ascii_end();
        if value != b"null" && names.iter().any(|n| *n == name) {
            let text = std::str::from_utf8(value).map_err(|e| e.to_string())?;
            serde_json::from_str::<IgnoredAny>(text).map_err(|e| format!("member {name}: {e}"))?;
            out.extend_from_slice(&object[copied..start]);
            serde_json::to_writer(&mut *out, text).map_err(|e| e.to_string())?;
            copied = end;
        }
        at = skip_space(object, end);
        if object.get(at) == Some(&b',') {
            at = skip_space(object, at + 1);
        }
    }
    out.extend_from_slice(&object[copied..]);
    Ok(())
}

fn member_name(quoted: &[u8]) -> Result<Cow<'_, str>> {
    let inner = &quoted[1..quoted.len() - 1];
    if inner.contains(&b'\\') {
        return serde_json::from_slice(quoted).map(Cow::Owned).map_err(|e| e.to_string());
    }
    std::str::from_utf8(inner).map(Cow::Borrowed).map_err(|e| e.to_string())
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    from + bytes[from..].iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// Returns the place behind the string that starts at `from`.
fn skip_string(bytes: &[u8], from: usize) -> Result<usize> {
    let mut at = from + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    Err("a string does not end".to_owned())
}

/// Returns the place behind the value that starts at `from`: the next comma or brace of its object.
fn skip_value(bytes: &[u8], from: usize) -> Result<usize> {
    let mut depth = 0_usize;
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = skip_string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => return Ok(at),
            _ => {}
        }
        at += 1;
    }
    Err("the record ends too early".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(object: &str) -> Result<String> {
        let mut out = Vec::new();
        quote_json_members(object.as_bytes(), &["p".to_owned()], &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn values_of_named_members_become_strings() {
        assert_eq!(
            rewrite(r#"{"a": "p", "p" : {"x": [1, "}"]} , "b":2}"#).unwrap(),
            r#"{"a": "p", "p" : "{\"x\": [1, \"}\"]}", "b":2}"#
        );
        assert_eq!(rewrite(r#"{"p":"s"}"#).unwrap(), r#"{"p":"\"s\""}"#);
        assert_eq!(rewrite(r#"{"p":null}"#).unwrap(), r#"{"p":null}"#);
        assert_eq!(rewrite("{}").unwrap(), "{}");
    }

    #[test]
    fn broken_values_are_errors() {
        for bad in [r#"{"p":{"x"}}"#, r#"{"p":}"#, r#"{"p":1"#, r#"{"p""#, "[1]", r#"{"p":tru}"#] {
            assert!(rewrite(bad).is_err(), "{bad}");
        }
    }
}
