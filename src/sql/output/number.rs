//! Numbers as Postgres prints them, and `numeric` in binary.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

/// Digits after which a float8 is printed with an exponent (Postgres: `DBL_DIG`).
const FLOAT8_DIGITS: i32 = 15;

/// Digits after which a float4 is printed with an exponent (Postgres: `FLT_DIG`).
const FLOAT4_DIGITS: i32 = 6;

/// Decimal digits per digit of a binary `numeric`.
const GROUP: usize = 4;

/// Sign word of a negative `numeric`.
const NUMERIC_NEGATIVE: u16 = 0x4000;

/// Writes a float8 with the fewest digits that read back as the same value.
pub fn write_float8(value: f64, out: &mut BytesMut) {
    if value.is_finite() {
        write_shortest(&format!("{value:e}"), FLOAT8_DIGITS, out);
    } else {
        write_not_finite(value, out);
    }
}

/// Writes a float4 with the fewest digits that read back as the same value.
pub fn write_float4(value: f32, out: &mut BytesMut) {
    if value.is_finite() {
        write_shortest(&format!("{value:e}"), FLOAT4_DIGITS, out);
    } else {
        write_not_finite(f64::from(value), out);
    }
}

fn write_not_finite(value: f64, out: &mut BytesMut) {
    out.put_slice(match value {
        v if v.is_nan() => b"NaN",
        v if v > 0.0 => b"Infinity",
        _ => b"-Infinity",
    });
}

/// Lays out shortest digits in scientific form (`-1.25e-7`) as Postgres does: with an exponent only
/// below 1e-4 and from `10^digits` on, the exponent having two digits at least.
fn write_shortest(scientific: &str, digits: i32, out: &mut BytesMut) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.put_slice(sign.as_bytes());
    if exponent < -4 || exponent >= digits {
        out.put_slice(mantissa.as_bytes());
        let sign = if exponent < 0 { '-' } else { '+' };
        // Writing to a buffer in memory cannot fail.
        let _ = write!(out, "e{sign}{:02}", exponent.abs());
        return;
    }
    let (head, tail) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [head, tail].concat();
    let point = usize::try_from(exponent + 1).unwrap_or(0);
    if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', exponent.unsigned_abs() as usize - 1);
        out.put_slice(all.as_bytes());
    } else if all.len() <= point {
        out.put_slice(all.as_bytes());
        out.put_bytes(b'0', point - all.len());
    } else {
        out.put_slice(&all.as_bytes()[..point]);
        out.put_u8(b'.');
        out.put_slice(&all.as_bytes()[point..]);
    }
}

/// Writes the binary form of a `numeric` given in plain decimal text such as `-12.50`.
pub fn write_numeric(text: &str, out: &mut BytesMut) {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (NUMERIC_NEGATIVE, rest),
        None => (0, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let mut groups: Vec<i16> = Vec::new();
    let first = whole.len() % GROUP;
    let mut weight = i16::try_from(whole.len().div_ceil(GROUP)).unwrap_or(i16::MAX) - 1;
    if first > 0 {
        groups.push(group(&whole[..first]));
    }
    groups.extend(whole.as_bytes()[first..].chunks(GROUP).map(ascii_group));
    groups.extend(fraction.as_bytes().chunks(GROUP).map(ascii_group));
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let zeros = groups.iter().take_while(|digit| **digit == 0).count();
    groups.drain(..zeros);
    weight = if groups.is_empty() { 0 } else { weight - i16::try_from(zeros).unwrap_or(0) };
    let sign = if groups.is_empty() { 0 } else { sign };
    out.put_i16(i16::try_from(groups.len()).unwrap_or(i16::MAX));
    out.put_i16(weight);
    out.put_u16(sign);
    out.put_u16(u16::try_from(fraction.len()).unwrap_or(u16::MAX));
    for digit in groups {
        out.put_i16(digit);
    }
}

fn group(digits: &str) -> i16 {
    digits.parse().unwrap_or(0)
}

/// Reads up to four digits after the point, as if zeros followed.
fn ascii_group(digits: &[u8]) -> i16 {
    (0..GROUP).fold(0, |sum, i| {
        let digit = digits.get(i).map_or(0, |byte| i16::from(byte - b'0'));
        sum * 10 + digit
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::text;
    use super::*;

    #[test]
    fn floats_read_as_in_postgres() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (-1234.25, "-1234.25"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.25e-300, "1.25e-300"),
            (123_456_789.0, "123456789"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(|out| write_float8(value, out)), expected);
        }
        assert_eq!(text(|out| write_float4(100_000.0, out)), "100000");
        assert_eq!(text(|out| write_float4(1_234_567.0, out)), "1.234567e+06");
    }

    #[test]
    fn numeric_binary_has_groups_of_four_digits() {
        let words = |text: &str| {
            let mut out = BytesMut::new();
            write_numeric(text, &mut out);
            out.chunks(2).map(|w| u16::from_be_bytes([w[0], w[1]])).collect::<Vec<_>>()
        };
        assert_eq!(words("12345.67"), [3, 1, 0, 2, 1, 2345, 6700]);
        assert_eq!(words("-0.0001"), [1, u16::MAX, 0x4000, 4, 1]);
        assert_eq!(words("0.00"), [0, 0, 0, 2]);
        assert_eq!(words("10000"), [1, 1, 0, 0, 1]);
        assert_eq!(words("0.00001"), [1, 65534, 0, 5, 1000]);
    }
}
