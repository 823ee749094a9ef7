//! JSON values: text to tree and back.
//!
//! # Semantics
//! As Postgres's `jsonb`: numbers keep their digits (`1.50` stays so, `1e2` is `100`), members of
//! an object are unique, the last one winning, and stand shorter names first, then in byte order.
//! Printed with a blank behind commas and colons. So equal values have equal texts.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// Depth from which text is refused rather than overflowing the stack.
const DEPTH_MAX: usize = 512;

/// Digits that an exponent may add to a number.
const EXPONENT_MAX: i64 = 1000;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// Plain decimal digits, such as `-1.50`.
    Number(String),
    String(String),
    Array(Vec<Json>),
    /// Sorted by name, each once.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text; `None` if it is not JSON.
    pub(crate) fn parse(text: &str) -> Option<Json> {
        let mut reader = Reader { text: text.as_bytes(), at: 0 };
        let value = reader.value(0)?;
        reader.blanks();
        (reader.at == text.len()).then_some(value)
    }

    /// The member of an object.
    pub(crate) fn member(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        let found = members.binary_search_by(|(of, _)| by_name(of, name)).ok()?;
        Some(&members[found].1)
    }

    /// The element of an array; negative numbers count from its end.
    pub(crate) fn element(&self, index: i64) -> Option<&Json> {
        let Json::Array(elements) = self else { return None };
        elements.get(position(index, elements.len())?)
    }

    /// What a path of names and numbers leads to.
    pub(crate) fn at_path<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Json> {
        path.into_iter().try_fold(self, |value, step| match value {
            Json::Object(_) => value.member(step),
            Json::Array(_) => value.element(step.parse().ok()?),
            _ => None,
        })
    }

    /// The text of `->>`: strings as they are, NULL for null.
    pub(crate) fn as_text(&self) -> Option<String> {
        match self {
            Json::Null => None,
            Json::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// The name of its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }

    /// An object of members in any order, the last of a name winning.
    pub(crate) fn object(members: Vec<(String, Json)>) -> Json {
        let mut sorted: Vec<(String, Json)> = Vec::with_capacity(members.len());
        for (name, value) in members {
            match sorted.binary_search_by(|(of, _)| by_name(of, &name)) {
                Ok(at) => sorted[at].1 = value,
                Err(at) => sorted.insert(at, (name, value)),
            }
        }
        Json::Object(sorted)
    }

    /// Whether the value contains another one (`@>`).
    pub(crate) fn contains(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Object(_), Json::Object(members)) => members
                .iter()
                .all(|(name, value)| self.member(name).is_some_and(|own| own.contains(value))),
            (Json::Array(own), Json::Array(others)) => others.iter().all(|other| {
                own.iter().any(|one| match (one, other) {
                    (Json::Array(_), Json::Array(_)) | (Json::Object(_), Json::Object(_)) => {
                        one.contains(other)
                    }
                    _ => one.equals(other),
                })
            }),
            // An array contains a bare scalar.
            (Json::Array(own), scalar) if scalar.is_scalar() => {
                own.iter().any(|one| one.equals(scalar))
            }
            _ => self.equals(other),
        }
    }

    /// Whether values are equal; numbers by value, so that `1.0` is `1`.
    fn equals(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Number(one), Json::Number(two)) => trimmed(one) == trimmed(two),
            (Json::Array(one), Json::Array(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(a, b)| a.equals(b))
            }
            (Json::Object(one), Json::Object(two)) => {
                let same =
                    |((a, x), (b, y)): (&(String, Json), &(String, Json))| a == b && x.equals(y);
                one.len() == two.len() && one.iter().zip(two).all(same)
            }
            _ => self == other,
        }
    }

    fn is_scalar(&self) -> bool {
        !matches!(self, Json::Array(_) | Json::Object(_))
    }

    /// Whether a text is a member's name, an element, or the value itself (`?`).
    pub(crate) fn has_key(&self, key: &str) -> bool {
        match self {
            Json::Object(_) => self.member(key).is_some(),
            Json::Array(elements) => {
                elements.iter().any(|e| matches!(e, Json::String(text) if text == key))
            }
            Json::String(text) => text == key,
            _ => false,
        }
    }

    /// Prints over several lines, as `jsonb_pretty` does.
    pub(crate) fn pretty(&self, indent: usize, out: &mut String) {
        let items: Vec<(Option<&str>, &Json)> = match self {
            Json::Array(elements) => elements.iter().map(|e| (None, e)).collect(),
            Json::Object(members) => members.iter().map(|(n, v)| (Some(n.as_str()), v)).collect(),
            other => return out.push_str(&other.to_string()),
        };
        let (open, close) = if matches!(self, Json::Array(_)) { ('[', ']') } else { ('{', '}') };
        out.push(open);
        for (i, (name, value)) in items.into_iter().enumerate() {
            out.push_str(if i == 0 { "\n" } else { ",\n" });
            out.extend(std::iter::repeat_n(' ', indent + 4));
            if let Some(name) = name {
                quote(name, out);
                out.push_str(": ");
            }
            value.pretty(indent + 4, out);
        }
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
        out.push(close);
    }
}

/// The place of an index that may count from the end.
pub(crate) fn position(index: i64, len: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

fn by_name(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// A number without zeros at the end of its fraction.
fn trimmed(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

/// Writes a text in quotes.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| {
            let mut out = String::with_capacity(text.len() + 2);
            quote(text, &mut out);
            out
        };
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(digits) => f.write_str(digits),
            Json::String(text) => f.write_str(&quoted(text)),
            Json::Array(elements) => {
                f.write_char('[')?;
                for (i, element) in elements.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    element.fmt(f)?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (i, (name, value)) in members.iter().enumerate() {
                    write!(f, "{}{}: ", if i == 0 { "" } else { ", " }, quoted(name))?;
                    value.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Reads JSON text from its beginning.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.text.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.text[self.at..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.blanks();
        match self.text.get(self.at)? {
            b'{' => self.members(depth),
            b'[' => self.elements(depth),
            b'"' => self.string().map(Json::String),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number().map(Json::Number),
        }
    }

    fn elements(&mut self, depth: usize) -> Option<Json> {
        self.take(b'[')?;
        let mut elements = Vec::new();
        self.blanks();
        if self.take(b']').is_some() {
            return Some(Json::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.blanks();
            if self.take(b']').is_some() {
                return Some(Json::Array(elements));
            }
            self.take(b',')?;
        }
    }

    fn members(&mut self, depth: usize) -> Option<Json> {
        self.take(b'{')?;
        let mut members = Vec::new();
        self.blanks();
        if self.take(b'}').is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.blanks();
            let name = self.string()?;
            self.blanks();
            self.take(b':')?;
            members.push((name, self.value(depth + 1)?));
            self.blanks();
            if self.take(b'}').is_some() {
                return Some(Json::object(members));
            }
            self.take(b',')?;
        }
    }

    fn string(&mut self) -> Option<String> {
        self.take(b'"')?;
        let mut out = Vec::new();
        loop {
            let byte = *self.text.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(out).ok(),
                b'\\' => self.escape(&mut out)?,
                0..=0x1f => return None,
                other => out.push(other),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let c = self.unicode()?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        out.push(plain);
        Some(())
    }

    /// A character by its number, or by a pair of surrogates. Zero is no text in Postgres.
    fn unicode(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).filter(|c| *c != '\0');
        }
        self.take(b'\\')?;
        self.take(b'u')?;
        let second = self.four_digits()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = std::str::from_utf8(self.text.get(self.at..self.at + 4)?).ok()?;
        self.at += 4;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
        u32::from_str_radix(digits, 16).ok()
    }

    fn digits(&mut self) -> &str {
        let from = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        std::str::from_utf8(&self.text[from..self.at]).unwrap_or_default()
    }

    fn number(&mut self) -> Option<String> {
        let negative = self.take(b'-').is_some();
        let whole = self.digits().to_owned();
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        let mut fraction = String::new();
        if self.take(b'.').is_some() {
            fraction = self.digits().to_owned();
            if fraction.is_empty() {
                return None;
            }
        }
        let mut exponent = 0;
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            let minus = self.take(b'-').is_some();
            if !minus {
                self.take(b'+');
            }
            exponent = self.digits().parse::<i64>().ok().filter(|e| *e <= EXPONENT_MAX)?;
            exponent = if minus { -exponent } else { exponent };
        }
        Some(plain_number(negative, &whole, &fraction, exponent))
    }
}

/// A number without its exponent.
fn plain_number(negative: bool, whole: &str, fraction: &str, exponent: i64) -> String {
    let digits = [whole, fraction].concat();
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX) + exponent;
    let (whole, fraction) = match usize::try_from(point) {
        Ok(point) if point >= digits.len() => {
            (digits.clone() + &"0".repeat(point - digits.len()), String::new())
        }
        Ok(point) => (digits[..point].to_owned(), digits[point..].to_owned()),
        Err(_) => {
            let zeros = usize::try_from(point.unsigned_abs()).unwrap_or(0);
            (String::new(), "0".repeat(zeros) + &digits)
        }
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let zero = whole == "0" && fraction.bytes().all(|b| b == b'0');
    let sign = if negative && !zero { "-" } else { "" };
    match fraction.is_empty() {
        true => format!("{sign}{whole}"),
        false => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(text: &str) -> Option<String> {
        Json::parse(text).map(|value| value.to_string())
    }

    #[test]
    fn texts_of_equal_values_are_equal() {
        let check = |text: &str, expected: &str| {
            assert_eq!(printed(text).as_deref(), Some(expected), "{text}");
        };
        check(r#" {"bb":1, "a" : [1,2 , {}], "a":true} "#, r#"{"a": true, "bb": 1}"#);
        check("1.50", "1.50");
        check("-1.5e3", "-1500");
        check("12e-4", "0.0012");
        check("-0.0", "0.0");
        check("0e5", "0");
        check(r#""\u00e9\ud83d\ude00\n\/""#, "\"é😀\\n/\"");
        check("[]", "[]");
        check("{}", "{}");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(600) + &"]".repeat(600);
        let wrong = [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{a: 1}",
            "01",
            "1.",
            ".5",
            "nul",
            "\"",
            "\"\\x\"",
            "1 2",
            "\"\\ud800\"",
            "\"\\u0000\"",
            "1e9999",
            "+1",
            "'a'",
            "\"\n\"",
            &deep,
        ];
        for text in wrong {
            assert_eq!(Json::parse(text), None, "{text}");
        }
    }

    #[test]
    fn containment_is_that_of_postgres() {
        let holds = |one: &str, other: &str| {
            Json::parse(one).unwrap().contains(&Json::parse(other).unwrap())
        };
        assert!(holds(r#"{"a": 1, "b": {"c": [1, 2]}}"#, r#"{"b": {"c": [2]}}"#));
        assert!(holds("[1, 2, [3]]", "[[3], 1, 1]"));
        assert!(holds("[1, 2]", "2"));
        assert!(holds("1.0", "1"));
        assert!(!holds("2", "[2]"));
        assert!(!holds("[1]", "[[1]]"));
        assert!(!holds(r#"{"a": 1}"#, r#"{"a": 2}"#));
        assert!(!holds("[[1, 2]]", "2"));
    }

    proptest! {
        #[test]
        fn printed_values_read_back(text in "[\\[\\]{}\",:0-9eE.a-c \\\\-]{0,24}") {
            if let Some(value) = Json::parse(&text) {
                let again = Json::parse(&value.to_string());
                prop_assert_eq!(again, Some(value));
            }
        }
    }
}
