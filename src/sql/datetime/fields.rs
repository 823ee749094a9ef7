//! The fields of a text that says a date or time.

use super::{Malformed, Result};

/// Names of the months; the first three letters are the short ones.
pub const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A field of the text.
pub(super) enum Field<'t> {
    /// Digits, perhaps with a fraction.
    Number(&'t str),
    /// Numbers and names of months with `-`, `/` or `.` between them.
    Date(Vec<&'t str>),
    /// Numbers with `:` between them.
    Time(&'t str),
    /// Letters.
    Word(&'t str),
    /// A sign and digits.
    Offset(&'t str),
}

/// Splits a text into fields.
pub(super) fn fields(text: &str) -> Result<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let bytes = rest.as_bytes();
        let run = |from: usize, is: fn(&u8) -> bool| {
            from + bytes[from..].iter().take_while(|byte| is(byte)).count()
        };
        let next = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
        let end = if first.is_ascii_digit() {
            let digits = run(0, u8::is_ascii_digit);
            match next(digits) {
                b':' => {
                    let end = run(digits, |b| b.is_ascii_digit() || matches!(b, b':' | b'.'));
                    fields.push(Field::Time(&rest[..end]));
                    end
                }
                b'.' if !dotted_date(bytes, digits) => {
                    let end = run(digits + 1, u8::is_ascii_digit);
                    fields.push(Field::Number(&rest[..end]));
                    end
                }
                delimiter @ (b'-' | b'/' | b'.') if next(digits + 1).is_ascii_alphanumeric() => {
                    date(rest, delimiter, &mut fields)
                }
                _ => {
                    fields.push(Field::Number(&rest[..digits]));
                    digits
                }
            }
        } else if first.is_ascii_alphabetic() {
            let letters = run(0, u8::is_ascii_alphabetic);
            let month = month(&rest[..letters]).is_some();
            match next(letters) {
                delimiter @ (b'-' | b'/' | b'.') if month && next(letters + 1) != b' ' => {
                    date(rest, delimiter, &mut fields)
                }
                // A zone such as `America/New_York`, `Etc/GMT+5` or `PST8PDT`.
                b'/' | b'_' | b'0'..=b'9' if !is_single(&rest[..letters]) => {
                    let end = run(letters, |b| !b.is_ascii_whitespace());
                    fields.push(Field::Word(&rest[..end]));
                    end
                }
                _ => {
                    fields.push(Field::Word(&rest[..letters]));
                    letters
                }
            }
        } else if matches!(first, '+' | '-') {
            let end = run(1, |b| b.is_ascii_digit() || *b == b':');
            if end == 1 {
                return Err(Malformed::Syntax);
            }
            fields.push(Field::Offset(&rest[..end]));
            end
        } else if first.is_whitespace() || matches!(first, ',' | ';' | '.') {
            first.len_utf8()
        } else {
            return Err(Malformed::Syntax);
        };
        rest = &rest[end..];
    }
    Ok(fields)
}

/// Whether these letters stand before digits without being part of a name: `T0405`, `J2451187`.
fn is_single(letters: &str) -> bool {
    ["t", "j", "z"].iter().any(|known| known.eq_ignore_ascii_case(letters))
        || month(letters).is_some()
}

/// Whether digits and a point begin a date such as `31.1.2024`.
fn dotted_date(bytes: &[u8], digits: usize) -> bool {
    let behind = bytes[digits + 1..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    bytes.get(digits + 1 + behind) == Some(&b'.')
        || bytes.get(digits + 1).is_some_and(u8::is_ascii_alphabetic)
}

/// Takes the parts of a date; returns where it ends.
fn date<'t>(text: &'t str, delimiter: u8, fields: &mut Vec<Field<'t>>) -> usize {
    let bytes = text.as_bytes();
    let (mut parts, mut start) = (Vec::new(), 0);
    loop {
        let digits = bytes.get(start).is_some_and(u8::is_ascii_digit);
        let is = if digits { u8::is_ascii_digit } else { u8::is_ascii_alphabetic };
        let length = bytes[start..].iter().take_while(|byte| is(byte)).count();
        parts.push(&text[start..start + length]);
        start += length;
        let more = bytes.get(start) == Some(&delimiter)
            && bytes.get(start + 1).is_some_and(u8::is_ascii_alphanumeric);
        if length == 0 || !more || parts.len() == 3 {
            break;
        }
        start += 1;
    }
    fields.push(Field::Date(parts));
    start
}

/// The number of a month by its name.
pub(super) fn month(name: &str) -> Option<u32> {
    let name = name.to_ascii_lowercase();
    let found = MONTHS.iter().position(|full| {
        let short = &full[..3];
        name == short || name == *full || (name == "sept" && short == "sep")
    });
    u32::try_from(found? + 1).ok()
}
