//! Values from text by Postgres's input rules: booleans, numbers, bytea and array literals.
//!
//! # Semantics
//! White space around booleans and numbers is ignored. Decimals are rounded half away from zero to
//! the declared scale. [`Rules::File`] is more lenient than Postgres in one way: an integer may be
//! written with a fraction of zero or an exponent (`5.0`, `1e3`), as programs that know only
//! floating-point numbers write it.
//!
//! # References
//! Postgres: "Data Types", "Arrays: Array Input and Output".

use super::datetime::Digits;
use crate::connectors::Flaw;
use crate::error::SqlState;

/// Whose rules text follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// `COPY`: Postgres's rules; a timestamp without time zone ignores an offset.
    Postgres,
    /// Files: integral numbers in any notation; a timestamp with an offset is converted to UTC,
    /// and it may be a number.
    File(Digits),
}

/// What is wrong with the text of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The text is not a value of the type.
    Syntax,
    /// The text is not a date or time.
    Datetime,
    /// The value does not fit its type.
    OutOfRange,
    /// The text has too many characters.
    TooLong,
    /// A date or time field is out of range.
    DatetimeOverflow,
}

/// Text that is not a value of its column's type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// What is wrong.
    pub problem: Problem,
    /// Postgres's message.
    pub message: String,
}

impl ValueError {
    /// Returns the code Postgres gives such an error.
    pub fn sqlstate(&self) -> SqlState {
        match self.problem {
            Problem::Syntax => SqlState::INVALID_TEXT_REPRESENTATION,
            Problem::Datetime => SqlState::INVALID_DATETIME_FORMAT,
            Problem::OutOfRange => SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            Problem::TooLong => SqlState::STRING_TOO_LONG,
            Problem::DatetimeOverflow => SqlState::DATETIME_FIELD_OVERFLOW,
        }
    }

    /// The text is no value of `type_name`.
    pub fn syntax(type_name: &str, text: &str) -> Self {
        let message = format!("invalid input syntax for type {type_name}: \"{text}\"");
        Self { problem: Problem::Syntax, message }
    }

    /// The number does not fit `type_name`.
    pub fn out_of_range(type_name: &str, text: &str) -> Self {
        let message = format!("value \"{text}\" is out of range for type {type_name}");
        Self { problem: Problem::OutOfRange, message }
    }
}

impl From<ValueError> for Flaw {
    fn from(error: ValueError) -> Self {
        Self { sqlstate: error.sqlstate(), message: error.message }
    }
}

type Result<T> = std::result::Result<T, ValueError>;

/// Returns the boolean: any prefix of `true`, `false`, `yes`, `no` that is unique, `on`, `off`, 0,
/// 1.
pub fn parse_bool(text: &str) -> Result<bool> {
    let word = text.trim().to_ascii_lowercase();
    let is = |full: &str, shortest: usize| word.len() >= shortest && full.starts_with(&*word);
    if word == "1" || is("true", 1) || is("yes", 1) || word == "on" {
        return Ok(true);
    }
    if word == "0" || is("false", 1) || is("no", 1) || is("off", 2) {
        return Ok(false);
    }
    Err(ValueError::syntax("boolean", text))
}

/// Returns the integer if it lies in `min ..= max`.
pub fn parse_int(text: &str, range: (i64, i64), type_name: &str, rules: Rules) -> Result<i64> {
    let trimmed = text.trim();
    let value = match trimmed.parse::<i64>() {
        Ok(value) => i128::from(value),
        Err(_) => {
            parse_unusual_int(trimmed, rules).ok_or_else(|| ValueError::syntax(type_name, text))?
        }
    };
    match i64::try_from(value) {
        Ok(value) if (range.0..=range.1).contains(&value) => Ok(value),
        _ => Err(ValueError::out_of_range(type_name, trimmed)),
    }
}

/// Returns an integer in hexadecimal, octal or binary notation, with underscores, too large for 64
/// bits (saturated), or, in files, written as an integral number with a fraction or exponent.
fn parse_unusual_int(text: &str, rules: Rules) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        _ => (10, digits),
    };
    let plain = digits.strip_prefix('_').filter(|_| radix != 10).unwrap_or(digits);
    let well_formed = !plain.is_empty()
        && !plain.starts_with('_')
        && !plain.ends_with('_')
        && !plain.contains("__")
        && plain.chars().all(|c| c == '_' || c.is_digit(radix));
    if well_formed {
        let value = plain.chars().filter_map(|c| c.to_digit(radix)).fold(0_i128, |sum, digit| {
            sum.saturating_mul(i128::from(radix)).saturating_add(i128::from(digit))
        });
        return Some(if negative { -value } else { value });
    }
    if rules == Rules::Postgres {
        return None;
    }
    let (value, exact) = scaled(text, 0)?;
    exact.then_some(value)
}

/// Returns the floating-point number; text of a finite number that overflows is out of range.
pub fn parse_f64(text: &str) -> Result<f64> {
    let value = text.trim().parse::<f64>();
    checked_float(value.ok(), f64::is_infinite, |v| *v == 0.0, ("double precision", text))
}

/// Returns the single-precision number; text of a finite number that overflows is out of range.
pub fn parse_f32(text: &str) -> Result<f32> {
    let value = text.trim().parse::<f32>();
    checked_float(value.ok(), f32::is_infinite, |v| *v == 0.0, ("real", text))
}

fn checked_float<F: Copy>(
    value: Option<F>,
    is_infinite: impl Fn(F) -> bool,
    is_zero: impl Fn(&F) -> bool,
    (type_name, text): (&str, &str),
) -> Result<F> {
    let value = value.ok_or_else(|| ValueError::syntax(type_name, text))?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let overflows = is_infinite(value) && !text.to_ascii_lowercase().contains("inf");
    let underflows = is_zero(&value) && mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if overflows || underflows {
        let message = format!("\"{}\" is out of range for type {type_name}", text.trim());
        return Err(ValueError { problem: Problem::OutOfRange, message });
    }
    Ok(value)
}

/// Returns the number as an integer of units of `10^-scale`, rounded half away from zero.
pub fn parse_decimal(text: &str, precision: u8, scale: i8) -> Result<i128> {
    let trimmed = text.trim();
    let (value, _) = scaled(trimmed, scale).ok_or_else(|| ValueError::syntax("numeric", text))?;
    // Invariant: a declared precision is at most 38, and 10^38 fits 128 bits.
    if value.unsigned_abs() >= 10_u128.pow(u32::from(precision)) {
        let message = format!(
            "numeric field overflow: \"{trimmed}\" does not fit numeric({precision},{scale})"
        );
        return Err(ValueError { problem: Problem::OutOfRange, message });
    }
    Ok(value)
}

/// Returns a decimal number times `10^scale`, rounded half away from zero and saturated, and
/// whether
/// it needed no rounding; `None` if the text is no number.
pub fn scaled(text: &str, scale: i8) -> Option<(i128, bool)> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Digits at places below 10^-scale are dropped; the first of them rounds.
    let count = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(scale);
    let mut value = 0_i128;
    let mut exact = true;
    let mut seen = 0_i64;
    for (place, digit) in (0_i64..).zip(digits()) {
        let digit = i128::from(digit - b'0');
        if place < count {
            value = value.saturating_mul(10).saturating_add(digit);
            seen = place + 1;
        } else {
            exact &= digit == 0;
            value = value.saturating_add(i128::from(place == count && digit >= 5));
        }
    }
    if value != 0 {
        // 40 zeros saturate any value; more would only take time.
        for _ in 0..(count - seen).clamp(0, 40) {
            value = value.saturating_mul(10);
        }
    }
    Some((if negative { -value } else { value }, exact))
}

/// Returns the bytes of a bytea: `\x` and hexadecimal digits, or the escape format.
pub fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    let error = || ValueError::syntax("bytea", text);
    let nibble = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    if let Some(digits) = text.strip_prefix("\\x") {
        let mut nibbles = Vec::with_capacity(digits.len());
        for byte in digits.bytes().filter(|b| !b.is_ascii_whitespace()) {
            nibbles.push(nibble(byte).ok_or_else(error)?);
        }
        if nibbles.len() % 2 == 1 {
            return Err(error());
        }
        return Ok(nibbles.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(bytes),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [b'\\', ..] => return Err(error()),
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}

/// Returns the elements of an array literal of one dimension, `{a,"b c",NULL}`.
pub fn parse_array(text: &str) -> Result<Vec<Option<String>>> {
    let error = || ValueError {
        problem: Problem::Syntax,
        message: format!("malformed array literal: \"{text}\""),
    };
    let inner =
        text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(error)?;
    let mut elements = Vec::new();
    let mut chars = inner.trim_start().chars().peekable();
    if chars.peek().is_none() {
        return Ok(elements);
    }
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.next_if_eq(&'"').is_some() {
            elements.push(Some(quoted_element(&mut chars).ok_or_else(error)?));
        } else {
            elements.push(bare_element(&mut chars).ok_or_else(error)?);
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        match chars.next() {
            None => return Ok(elements),
            Some(',') => {}
            Some(_) => return Err(error()),
        }
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn quoted_element(chars: &mut Chars<'_>) -> Option<String> {
    let mut element = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(element),
            '\\' => element.push(chars.next()?),
            c => element.push(c),
        }
    }
}

/// Returns an element without quotes (`None` inside for NULL); the outer `None` is an error.
fn bare_element(chars: &mut Chars<'_>) -> Option<Option<String>> {
    let mut element = String::new();
    let mut escaped = false;
    while let Some(c) = chars.next_if(|c| *c != ',') {
        match c {
            '{' | '}' | '"' => return None,
            '\\' => {
                escaped = true;
                element.push(chars.next()?);
            }
            c => element.push(c),
        }
    }
    let trimmed = element.trim_end();
    if trimmed.is_empty() {
        return None;
    }
    Some((escaped || !trimmed.eq_ignore_ascii_case("null")).then(|| trimmed.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);

    const FILE: Rules = Rules::File(Digits::Date);

    fn int(text: &str, rules: Rules) -> Result<i64> {
        parse_int(text, INT, "integer", rules)
    }

    #[test]
    fn booleans_are_unique_prefixes() {
        for yes in ["t", "TRUE", "y", "yes", "on", "1", " tr "] {
            assert_eq!(parse_bool(yes), Ok(true), "{yes}");
        }
        for no in ["f", "false", "n", "no", "of", "off", "0"] {
            assert_eq!(parse_bool(no), Ok(false), "{no}");
        }
        for bad in ["o", "", "2", "truee"] {
            assert_eq!(parse_bool(bad), Err(ValueError::syntax("boolean", bad)));
        }
    }

    #[test]
    fn integers_by_postgres_and_by_files() {
        assert_eq!(int(" -12 ", Rules::Postgres), Ok(-12));
        assert_eq!(int("0x1F", Rules::Postgres), Ok(31));
        assert_eq!(int("1_000", Rules::Postgres), Ok(1000));
        assert_eq!(int("5.0", FILE), Ok(5));
        assert_eq!(int("1e3", FILE), Ok(1000));
        assert_eq!(int("5.0", Rules::Postgres), Err(ValueError::syntax("integer", "5.0")));
        assert_eq!(int("1.5", FILE), Err(ValueError::syntax("integer", "1.5")));
        for large in ["2147483648", "99999999999999999999999999999999999999999999"] {
            assert_eq!(int(large, FILE), Err(ValueError::out_of_range("integer", large)));
        }
        for bad in ["", "-", "0x", "1__0", "é"] {
            assert_eq!(int(bad, FILE), Err(ValueError::syntax("integer", bad)));
        }
    }

    #[test]
    fn floats_that_do_not_fit_are_out_of_range() {
        assert_eq!(parse_f64(" 1.5 "), Ok(1.5));
        assert_eq!(parse_f64("-Infinity"), Ok(f64::NEG_INFINITY));
        assert!(parse_f64("nan").unwrap().is_nan());
        assert_eq!(parse_f64("0e5"), Ok(0.0));
        assert_eq!(parse_f64("1e400").unwrap_err().problem, Problem::OutOfRange);
        assert_eq!(parse_f64("1e-400").unwrap_err().problem, Problem::OutOfRange);
        assert_eq!(parse_f32("1e39").unwrap_err().problem, Problem::OutOfRange);
        assert_eq!(parse_f64("x").unwrap_err().problem, Problem::Syntax);
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        assert_eq!(parse_decimal("1.005", 10, 2), Ok(101));
        assert_eq!(parse_decimal("-1.005", 10, 2), Ok(-101));
        assert_eq!(parse_decimal("1.004", 10, 2), Ok(100));
        assert_eq!(parse_decimal(".5", 10, 0), Ok(1));
        assert_eq!(parse_decimal("1.25e2", 10, 2), Ok(12500));
        assert_eq!(parse_decimal("1e-9", 10, 2), Ok(0));
        assert_eq!(parse_decimal("0e9999999", 10, 2), Ok(0));
        assert_eq!(parse_decimal("99.999", 4, 2).unwrap_err().problem, Problem::OutOfRange);
        assert_eq!(parse_decimal("1e99", 38, 0).unwrap_err().problem, Problem::OutOfRange);
        assert_eq!(parse_decimal("1.2.3", 4, 2).unwrap_err().problem, Problem::Syntax);
    }

    #[test]
    fn bytea_in_hex_and_escape_format() {
        assert_eq!(parse_bytea("\\xDEad be"), Ok(vec![0xde, 0xad, 0xbe]));
        assert_eq!(parse_bytea("a\\\\b\\001"), Ok(vec![b'a', b'\\', b'b', 1]));
        for bad in ["\\xabc", "\\x0g", "\\9"] {
            assert!(parse_bytea(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn arrays_with_quotes_nulls_and_escapes() {
        let some = |t: &str| Some(t.to_owned());
        assert_eq!(parse_array("{}"), Ok(vec![]));
        assert_eq!(
            parse_array(r#"{a b , "c,\"d", NULL,"NULL",\\}"#),
            Ok(vec![some("a b"), some("c,\"d"), None, some("NULL"), some("\\")])
        );
        for bad in ["", "{", "a", "{a,}", "{\"a}", "{{a}}", "{a\"b}"] {
            assert!(parse_array(bad).is_err(), "{bad}");
        }
    }
}
