//! `encode` and `decode`, `convert_from` and `convert_to`: bytes as text.
//!
//! # Semantics
//! Postgres's: `hex`, `base64` in lines of 76 characters, padded with `=`, and `escape`, which
//! writes the zero byte and those that are no ASCII as three octal digits. Reading skips blanks.
//! The only encoding of characters is UTF-8.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;

use super::error::failure;
use super::scalar::{Kind, Row, Scalar, text};
use crate::error::SqlState;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters of a line of base64.
const LINE: usize = 76;

/// The functions.
pub(super) fn functions() -> Vec<Scalar> {
    vec![
        Scalar::strict("encode", &[Kind::Bytes, Kind::Text], text, |row| {
            let ScalarValue::Binary(Some(bytes)) = &row.values[0] else {
                return Ok(ScalarValue::Utf8(None));
            };
            Ok(ScalarValue::Utf8(Some(match row.text(1).to_ascii_lowercase().as_str() {
                "hex" => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                "base64" => to_base64(bytes),
                "escape" => bytes.iter().map(|byte| escaped(*byte)).collect(),
                _ => return Err(unknown(row)),
            })))
        }),
        Scalar::strict(
            "decode",
            &[Kind::Text, Kind::Text],
            |_| (DataType::Binary, None),
            |row| {
                let text = row.text(0);
                Ok(ScalarValue::Binary(Some(match row.text(1).to_ascii_lowercase().as_str() {
                    "hex" => from_hex(text)?,
                    "base64" => from_base64(text)?,
                    "escape" => from_escapes(text)?,
                    _ => return Err(unknown(row)),
                })))
            },
        ),
        Scalar::strict("convert_from", &[Kind::Bytes, Kind::Text], text, |row| {
            check_encoding(row, "source")?;
            let ScalarValue::Binary(Some(bytes)) = &row.values[0] else {
                return Ok(ScalarValue::Utf8(None));
            };
            let text = std::str::from_utf8(bytes).map_err(|_| {
                let what = "invalid byte sequence for encoding \"UTF8\"";
                failure(SqlState("22021"), what)
            })?;
            Ok(ScalarValue::from(text))
        }),
        Scalar::strict(
            "convert_to",
            &[Kind::Text, Kind::Text],
            |_| (DataType::Binary, None),
            |row| {
                check_encoding(row, "destination")?;
                Ok(ScalarValue::Binary(Some(row.text(0).as_bytes().to_vec())))
            },
        ),
    ]
}

/// Refuses an encoding of characters other than UTF-8.
fn check_encoding(row: &Row<'_>, what: &str) -> Result<()> {
    let name = row.text(1);
    if name.eq_ignore_ascii_case("utf8") || name.eq_ignore_ascii_case("utf-8") {
        return Ok(());
    }
    Err(wrong(format!("invalid {what} encoding name \"{name}\"")))
}

fn unknown(row: &Row<'_>) -> DataFusionError {
    wrong(format!("unrecognized encoding: \"{}\"", row.text(1)))
}

fn wrong(what: impl Into<String>) -> DataFusionError {
    failure(SqlState::INVALID_PARAMETER_VALUE, what)
}

fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (i, group) in bytes.chunks(3).enumerate() {
        if i > 0 && (i * 4).is_multiple_of(LINE) {
            out.push('\n');
        }
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

fn from_base64(text: &str) -> Result<Vec<u8>> {
    let (mut out, mut bits, mut count, mut end) = (Vec::new(), 0_u32, 0, 0);
    for c in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let digit = DIGITS.iter().position(|digit| *digit == c);
        match (digit, c) {
            (Some(digit), _) if end == 0 => {
                bits = bits << 6 | u32::try_from(digit).unwrap_or(0);
                count += 1;
                if count % 4 == 0 {
                    out.extend([(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
                    bits = 0;
                }
            }
            (None, b'=') => end += 1,
            (Some(_), _) => return Err(wrong("unexpected \"=\" while decoding base64 sequence")),
            (None, c) => {
                let c = char::from(c);
                let what = format!("invalid symbol \"{c}\" found while decoding base64 sequence");
                return Err(wrong(what));
            }
        }
    }
    match (count % 4, end) {
        (0, 0) => {}
        (2, 2) => out.push((bits >> 4) as u8),
        (3, 1) => out.extend([(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => return Err(wrong("invalid base64 end sequence")),
    }
    Ok(out)
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits = text.chars().filter(|c| !c.is_ascii_whitespace());
    let digits = digits.map(|c| {
        c.to_digit(16).ok_or_else(|| wrong(format!("invalid hexadecimal digit: \"{c}\"")))
    });
    let digits = digits.collect::<Result<Vec<_>>>()?;
    if digits.len() % 2 != 0 {
        return Err(wrong("invalid hexadecimal data: odd number of digits"));
    }
    Ok(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

fn escaped(byte: u8) -> String {
    match byte {
        b'\\' => "\\\\".to_owned(),
        0 | 128.. => format!("\\{byte:03o}"),
        byte => char::from(byte).to_string(),
    }
}

/// Reads bytes of which those behind `\` are three octal digits, or `\` again.
pub fn from_escapes(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        match rest {
            [b'\\', behind @ ..] => {
                out.push(b'\\');
                rest = behind;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..] => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = behind;
            }
            _ => {
                let (code, what) =
                    (SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea");
                return Err(failure(code, what));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_can_be_decoded() {
        for bytes in [&b""[..], b"a", b"ab", b"abc", b"\0\xff\\x", &[7; 100]] {
            assert_eq!(from_base64(&to_base64(bytes)).unwrap(), bytes);
            let escapes: String = bytes.iter().map(|byte| escaped(*byte)).collect();
            assert_eq!(from_escapes(&escapes).unwrap(), bytes);
        }
        assert_eq!(to_base64(b"se"), "c2U=");
        assert_eq!(to_base64(&[0; 58]).lines().map(str::len).collect::<Vec<_>>(), [76, 4]);
    }
}
