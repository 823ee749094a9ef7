//! Numbers as text by a picture: `to_char(number, picture)` and `to_number(text, picture)`.
//!
//! # Semantics
//! Postgres's pictures in its C locale: `9` and `0` are digits, `.` and `D` the point, `,` and `G`
//! the separator of groups, `S`, `MI`, `PL`, `SG` and `PR` the sign, `L` a currency sign (a blank),
//! `V` a shift by the digits behind it, `TH` and `th` an ordinal's end, `RN` Roman, `EEEE` an
//! exponent, `FM` no padding, `"text"` itself. A number that is too long for its picture is `#`s.
//!
//! ```text
//!  picture    9 9 9 , 0 0 0 . 9 9        digits are laid from the point outwards;
//!  1234.5         1 , 2 3 4 . 5 0        what is before the first one is blank,
//!  -7             - 0 0 7 . 0 0          and the sign stands right before it
//! ```

use std::iter::Peekable;
use std::str::Chars;

use datafusion::common::{Result, ScalarValue};

use super::error::failure;
use super::number::{Decimal, decimal};
use crate::error::SqlState;

/// A part of a picture.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// A digit; `true` for one that is shown though it is a leading zero.
    Digit(bool),
    Point,
    /// A separator of groups.
    Group,
    /// `S`: a sign, floating before the digits or behind the last one.
    Sign,
    /// `MI`: a minus or a blank.
    Minus,
    /// `PL`: a plus or a blank.
    Plus,
    /// `SG`: a plus or a minus.
    Either,
    /// `L`.
    Currency,
    /// `TH` or `th`.
    Ordinal(bool),
    /// Text that stands for itself.
    Text(char),
}

/// What a picture says of the whole number.
#[derive(Clone, Debug, Default, PartialEq)]
struct Picture {
    parts: Vec<Part>,
    /// Digits before the point, behind it, and behind `V`.
    before: usize,
    after: usize,
    shift: usize,
    point: bool,
    shifted: bool,
    /// `FM`.
    fill: bool,
    /// `PR`.
    brackets: bool,
    /// `EEEE`.
    exponent: bool,
    /// `RN`, or `rn` if false.
    roman: Option<bool>,
}

fn malformed(what: &str) -> datafusion::error::DataFusionError {
    failure(SqlState::SYNTAX_ERROR, what)
}

/// Reads a keyword of a picture, in capitals or not.
fn eat(chars: &mut Peekable<Chars<'_>>, word: &str) -> bool {
    let mut ahead = chars.clone();
    let found = word.chars().all(|c| ahead.next().is_some_and(|a| a.eq_ignore_ascii_case(&c)));
    if found {
        *chars = ahead;
    }
    found
}

impl Picture {
    fn parse(text: &str) -> Result<Self> {
        let mut picture = Picture::default();
        let mut chars = text.chars().peekable();
        while let Some(next) = chars.peek().copied() {
            if picture.keyword(&mut chars)? {
                continue;
            }
            chars.next();
            match next {
                '9' | '0' => picture.digit(next == '0')?,
                '.' | 'D' | 'd' => picture.point()?,
                ',' | 'G' | 'g' => picture.parts.push(Part::Group),
                'S' | 's' => picture.sign(Part::Sign)?,
                'L' | 'l' => picture.parts.push(Part::Currency),
                'V' | 'v' if picture.point => {
                    return Err(malformed("cannot use \"V\" and decimal point together"));
                }
                'V' | 'v' => picture.shifted = true,
                '"' => {
                    let quoted = chars.by_ref().take_while(|c| *c != '"');
                    picture.parts.extend(quoted.map(Part::Text));
                }
                other => picture.parts.push(Part::Text(other)),
            }
        }
        Ok(picture)
    }

    /// Reads a keyword of several letters.
    fn keyword(&mut self, chars: &mut Peekable<Chars<'_>>) -> Result<bool> {
        if eat(chars, "FM") {
            self.fill = true;
        } else if eat(chars, "EEEE") {
            self.exponent = true;
        } else if eat(chars, "MI") {
            self.sign(Part::Minus)?;
        } else if eat(chars, "PL") {
            self.sign(Part::Plus)?;
        } else if eat(chars, "SG") {
            self.sign(Part::Either)?;
        } else if eat(chars, "PR") {
            if self.signed() {
                return Err(malformed("cannot use \"PR\" and a sign together"));
            }
            self.brackets = true;
        } else if matches!(chars.peek(), Some('r' | 'R')) {
            let capitals = chars.peek() == Some(&'R');
            if !eat(chars, "RN") {
                return Ok(false);
            }
            self.roman = Some(capitals);
        } else {
            let capitals = chars.peek() == Some(&'T');
            if !eat(chars, "TH") {
                return Ok(false);
            }
            self.parts.push(Part::Ordinal(capitals));
        }
        Ok(true)
    }

    fn signed(&self) -> bool {
        let sign = |p: &Part| matches!(p, Part::Sign | Part::Minus | Part::Plus | Part::Either);
        self.parts.iter().any(sign)
    }

    fn digit(&mut self, zero: bool) -> Result<()> {
        if self.brackets {
            return Err(malformed("\"9\" must be ahead of \"PR\""));
        }
        let count = match (self.point, self.shifted) {
            (true, _) => &mut self.after,
            (false, true) => &mut self.shift,
            (false, false) => &mut self.before,
        };
        *count += 1;
        self.parts.push(Part::Digit(zero));
        Ok(())
    }

    fn point(&mut self) -> Result<()> {
        if self.point {
            return Err(malformed("multiple decimal points"));
        }
        if self.shifted {
            return Err(malformed("cannot use \"V\" and decimal point together"));
        }
        self.point = true;
        self.parts.push(Part::Point);
        Ok(())
    }

    fn sign(&mut self, part: Part) -> Result<()> {
        if self.brackets || (part == Part::Sign && self.signed()) {
            return Err(malformed("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
        }
        if self.parts.contains(&Part::Sign) {
            return Err(malformed("cannot use \"S\" twice"));
        }
        self.parts.push(part);
        Ok(())
    }
}

/// `to_char` of a number.
pub(super) fn to_char(value: &ScalarValue, picture: &str) -> Result<String> {
    let picture = Picture::parse(picture)?;
    let number = match value {
        ScalarValue::Float64(Some(value)) if !value.is_finite() => {
            return Ok("#".repeat(picture.before + picture.after + 1));
        }
        ScalarValue::Float64(Some(value)) => of_float(*value, &picture)?,
        other => decimal(other)?,
    };
    if let Some(capitals) = picture.roman {
        return Ok(roman(number, capitals, picture.fill));
    }
    if picture.exponent {
        return Ok(exponential(number, picture.after));
    }
    Ok(Layout::new(number, &picture)?.print())
}

/// A double as a decimal with the digits that the picture shows.
fn of_float(value: f64, picture: &Picture) -> Result<Decimal> {
    let digits = if picture.exponent { 17 } else { picture.after + picture.shift };
    let digits = digits.min(30);
    let text = match picture.exponent {
        true => format!("{value}"),
        false => format!("{value:.digits$}"),
    };
    let wide = || failure(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow");
    Decimal::parse(&text).ok_or_else(wide)
}

/// The digits of a number, laid into the places of a picture.
struct Layout<'a> {
    picture: &'a Picture,
    negative: bool,
    /// A character per digit of the picture; `None` where nothing stands.
    digits: Vec<Option<char>>,
    /// The first place with a digit; the number of those before the point if there is none.
    first: usize,
    overflow: bool,
    /// The last two digits of the integer, for an ordinal's end.
    last_two: u32,
}

impl<'a> Layout<'a> {
    fn new(number: Decimal, picture: &'a Picture) -> Result<Self> {
        let wide = || failure(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow");
        let scale = i8::try_from(picture.after).map_err(|_| wide())?;
        let shift = u32::try_from(picture.shift).map_err(|_| wide())?;
        let shifted = 10_i128.checked_pow(shift).and_then(|by| number.unscaled.checked_mul(by));
        let shifted = Decimal { unscaled: shifted.ok_or_else(wide)?, scale: number.scale };
        let rounded = shifted.rounded(scale).ok_or_else(wide)?;
        let (after, before) = (picture.after, picture.before + picture.shift);
        let text = format!("{:0>1$}", rounded.unscaled.unsigned_abs(), after + 1);
        let (whole, behind) = text.split_at(text.len() - after);
        let overflow = whole.len() > before && whole != "0";
        let zero_from = picture.parts.iter().filter(|p| matches!(p, Part::Digit(_)));
        let zeros: Vec<bool> = zero_from.map(|p| *p == Part::Digit(true)).collect();
        let first_zero = zeros[..before].iter().position(|zero| *zero);
        // A zero before the point is not shown where digits follow.
        let shown = if whole == "0" && (after > 0 || before == 0) { "" } else { whole };
        let blank = before.saturating_sub(shown.len());
        let mut digits: Vec<Option<char>> = vec![None; blank];
        digits.extend(shown.chars().map(Some).take(before));
        for place in digits.iter_mut().skip(first_zero.unwrap_or(before)) {
            place.get_or_insert('0');
        }
        let kept = match picture.fill {
            false => after,
            // Zeros at the end go, but for those that the picture asks for.
            true => {
                let asked = zeros[before..].iter().rposition(|zero| *zero).map_or(0, |at| at + 1);
                behind.trim_end_matches('0').len().max(asked)
            }
        };
        digits.extend(behind.chars().enumerate().map(|(i, c)| (i < kept).then_some(c)));
        if overflow {
            digits.fill(Some('#'));
        }
        let mut first = digits.iter().take(before).position(Option::is_some).unwrap_or(before);
        if picture.fill && kept == 0 && first == before && before > 0 {
            // Nothing would be left of a zero.
            first = before - 1;
            digits[first] = Some('0');
        }
        let last_two = whole.bytes().rev().take(2).zip([1, 10]);
        let last_two = last_two.map(|(digit, by)| u32::from(digit - b'0') * by).sum();
        let negative = rounded.unscaled < 0;
        Ok(Self { picture, negative, digits, first, overflow, last_two })
    }

    /// The sign that floats before the first digit.
    fn floating(&self) -> &'static str {
        let parts = &self.picture.parts;
        let has = |part: Part| parts.contains(&part);
        let blank = if self.picture.fill { "" } else { " " };
        match self.negative {
            _ if has(Part::Minus) || has(Part::Either) || self.sign_behind() => "",
            true if self.picture.brackets => "<",
            true => "-",
            false if has(Part::Sign) => "+",
            false if has(Part::Plus) => "",
            false => blank,
        }
    }

    /// Whether the sign of `S` stands behind the last digit.
    fn sign_behind(&self) -> bool {
        let parts = &self.picture.parts;
        let at = |part: &dyn Fn(&Part) -> bool| parts.iter().rposition(part);
        let last = at(&|p| matches!(p, Part::Digit(_) | Part::Point));
        at(&|p| *p == Part::Sign).is_some_and(|sign| last.is_none_or(|last| sign > last))
    }

    fn print(&self) -> String {
        let blank = if self.picture.fill { "" } else { " " };
        let (mut out, mut place, mut signed) = (String::new(), 0, false);
        // Whether the place before has a digit, for separators.
        let mut inside = false;
        for part in &self.picture.parts {
            let starts = match part {
                Part::Digit(_) => place >= self.first,
                Part::Point => true,
                _ => false,
            };
            if starts && !signed {
                out.push_str(self.floating());
                signed = true;
            }
            match part {
                Part::Digit(_) => {
                    let digit = self.digits[place];
                    inside = digit.is_some();
                    match digit {
                        Some(digit) => out.push(digit),
                        None => out.push_str(blank),
                    }
                    place += 1;
                }
                Part::Point => out.push('.'),
                Part::Group if inside => out.push(','),
                Part::Group => out.push_str(blank),
                Part::Currency => out.push(' '),
                Part::Sign if self.sign_behind() => out.push(self.sign()),
                Part::Sign => {}
                Part::Either => out.push(self.sign()),
                Part::Minus if self.negative => out.push('-'),
                Part::Plus if !self.negative => out.push('+'),
                Part::Minus | Part::Plus => out.push_str(blank),
                Part::Ordinal(_) if self.negative || self.overflow || self.picture.point => {}
                Part::Ordinal(capitals) => {
                    let end = ordinal_end(self.last_two);
                    out.push_str(&if *capitals { end.to_uppercase() } else { end.to_owned() });
                }
                Part::Text(text) => out.push(*text),
            }
        }
        if self.picture.brackets {
            out.push_str(if self.negative { ">" } else { blank });
        }
        out
    }

    fn sign(&self) -> char {
        if self.negative { '-' } else { '+' }
    }
}

/// The end of an ordinal number, from its last two digits.
pub(super) fn ordinal_end(last_two: u32) -> &'static str {
    match (last_two / 10, last_two % 10) {
        (1, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

/// `d.dde+xx`.
fn exponential(number: Decimal, after: usize) -> String {
    let digits = number.unscaled.unsigned_abs().to_string();
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let mut exponent = if number.unscaled == 0 { 0 } else { length - 1 - i32::from(number.scale) };
    // One digit more than is shown decides how to round; zeros where there are none.
    let mut shown = format!("{digits:0<width$}", width = after + 2);
    let up = shown.as_bytes()[after + 1] >= b'5';
    shown.truncate(after + 1);
    if up {
        let next = shown.parse::<u128>().unwrap_or_default() + 1;
        shown = next.to_string();
        if shown.len() > after + 1 {
            shown.pop();
            exponent += 1;
        }
    }
    let sign = if number.unscaled < 0 { '-' } else { ' ' };
    let point = if after > 0 { "." } else { "" };
    let (whole, behind) = shown.split_at(1);
    let of_exponent = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{whole}{point}{behind}e{of_exponent}{:02}", exponent.abs())
}

/// A number from 1 to 3999 in Roman digits.
fn roman(number: Decimal, capitals: bool, fill: bool) -> String {
    const WIDTH: usize = 15;
    const DIGITS: [(i128, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut rest = number.rounded(0).map_or(0, |rounded| rounded.unscaled);
    if !(1..=3999).contains(&rest) {
        return "#".repeat(WIDTH);
    }
    let mut text = String::new();
    for (value, digit) in DIGITS {
        while rest >= value {
            rest -= value;
            text.push_str(digit);
        }
    }
    let text = if capitals { text } else { text.to_lowercase() };
    if fill { text } else { format!("{text:>WIDTH$}") }
}

/// Digits behind the point that `to_number` gives for a picture.
pub(super) fn digits_behind(picture: &str) -> Option<i8> {
    let picture = Picture::parse(picture).ok()?;
    i8::try_from(picture.after + picture.shift).ok().filter(|digits| *digits <= 38)
}

/// `to_number`, as a decimal with `scale` digits behind the point.
pub(super) fn to_number(text: &str, picture: &str, scale: i8) -> Result<i128> {
    let picture = Picture::parse(picture)?;
    let wrong = || {
        let what = format!("invalid input syntax for type numeric: \"{text}\"");
        failure(SqlState::INVALID_TEXT_REPRESENTATION, what)
    };
    if picture.exponent || picture.roman.is_some() {
        let what = "\"EEEE\" and \"RN\" are not supported for input";
        return Err(failure(SqlState::FEATURE_NOT_SUPPORTED, what));
    }
    let negative = text.contains('-') || (picture.brackets && text.contains('<'));
    let mut chars = text.chars().filter(|c| !matches!(c, '-' | '+' | '<' | '>' | ' ')).peekable();
    let (mut digits, mut behind) = (String::new(), None::<usize>);
    for part in &picture.parts {
        match part {
            Part::Digit(_) => {
                // The point may come before its place.
                if let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                    behind = behind.map(|count| count + 1);
                }
            }
            Part::Point => {
                // Digits that have no place before the point are not read.
                behind = chars.next_if_eq(&'.').map(|_| 0);
                if behind.is_none() {
                    break;
                }
            }
            Part::Group => {
                let _ = chars.next_if_eq(&',');
            }
            Part::Text(_) | Part::Currency => {
                let _ = chars.next_if(|c| !c.is_ascii_digit() && *c != '.');
            }
            Part::Ordinal(_) => {
                let _ = chars.next_if(char::is_ascii_alphabetic);
                let _ = chars.next_if(char::is_ascii_alphabetic);
            }
            Part::Sign | Part::Minus | Part::Plus | Part::Either => {}
        }
    }
    let unscaled: i128 = digits.parse().map_err(|_| wrong())?;
    let behind = behind.unwrap_or(0) + picture.shift;
    let number = Decimal { unscaled, scale: i8::try_from(behind).map_err(|_| wrong())? };
    let number = number.rounded(scale).ok_or_else(wrong)?;
    Ok(if negative { -number.unscaled } else { number.unscaled })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of PostgreSQL's manual, and some of its corners.
    #[test]
    fn numbers_are_printed_as_in_postgres() {
        let examples = [
            ("-0.1", "99.99", "  -.10"),
            ("-0.1", "FM9.99", "-.1"),
            ("-0.1", "FM90.99", "-0.1"),
            ("0.1", "0.9", " 0.1"),
            ("12", "9990999.9", "    0012.0"),
            ("12", "FM9990999.9", "0012."),
            ("485", "999", " 485"),
            ("-485", "999", "-485"),
            ("485", "9 9 9", " 4 8 5"),
            ("1485", "9,999", " 1,485"),
            ("1485", "9G999", " 1,485"),
            ("148.5", "999.999", " 148.500"),
            ("148.5", "FM999.999", "148.5"),
            ("148.5", "FM999.990", "148.500"),
            ("148.5", "999D999", " 148.500"),
            ("3148.5", "9G999D999", " 3,148.500"),
            ("-485", "999S", "485-"),
            ("-485", "999MI", "485-"),
            ("485", "999MI", "485 "),
            ("485", "FM999MI", "485"),
            ("485", "PL999", "+485"),
            ("485", "SG999", "+485"),
            ("-485", "SG999", "-485"),
            ("-485", "9SG99", "4-85"),
            ("-485", "999PR", "<485>"),
            ("485", "RN", "        CDLXXXV"),
            ("485", "FMRN", "CDLXXXV"),
            ("5.2", "FMRN", "V"),
            ("482", "999th", " 482nd"),
            ("485", "\"Good number:\"999", "Good number: 485"),
            ("485.8", "\"Pre:\"999\" Post:\" .999", "Pre: 485 Post: .800"),
            ("12", "99V999", " 12000"),
            ("12.4", "99V999", " 12400"),
            ("12.45", "99V9", " 125"),
            ("0.0004859", "9.99EEEE", " 4.86e-04"),
            ("1234", "999", " ###"),
            ("0", "999", "   0"),
            ("0", "FM9.9", "0."),
            ("7", "S99", " +7"),
            ("1", "9,999", "     1"),
            ("11", "99th", " 11th"),
            ("999.9", "9.9EEEE", " 1.0e+03"),
        ];
        for (number, picture, expected) in examples {
            let number = Decimal::parse(number).expect("a number");
            let value = ScalarValue::Decimal128(Some(number.unscaled), 38, number.scale);
            let printed = to_char(&value, picture).expect("it can be printed");
            assert_eq!(printed, expected, "{number:?} as {picture}");
        }
    }

    #[test]
    fn doubles_are_rounded_to_the_picture() {
        let value = ScalarValue::Float64(Some(125.8));
        assert_eq!(to_char(&value, "999D9").expect("printed"), " 125.8");
        assert_eq!(to_char(&value, "999").expect("printed"), " 126");
    }

    #[test]
    fn numbers_are_read_as_in_postgres() {
        let read = |text, picture| {
            let scale = digits_behind(picture).expect("a picture");
            (to_number(text, picture, scale).expect("a number"), scale)
        };
        assert_eq!(read("12,454.8-", "99G999D9S"), (-124_548, 1));
        assert_eq!(read("-34,338,492", "99G999G999"), (-34_338_492, 0));
        assert_eq!(read("<564646.654564>", "999999.999999PR"), (-564_646_654_564, 6));
        assert_eq!(read("0.00001-", "9.999999S"), (-10, 6));
        assert_eq!(read("123456", "999G999"), (123_456, 0));
        assert_eq!(read("$1234.56", "L9999.99"), (123_456, 2));
        assert!(to_number("abc", "999", 0).is_err());
    }

    #[test]
    fn pictures_that_make_no_sense_are_refused() {
        for wrong in ["9.9.9", "S9S", "9PRS", "99V.9", "9PR9"] {
            assert!(Picture::parse(wrong).is_err(), "{wrong}");
        }
    }
}
