//! The texts of intervals, as Postgres reads them.
//!
//! # Semantics
//! `1 day 02:03:04`, `1 year 2 mons`, `1-2` (years and months), `3 04:05` (days and time), `90`
//! (seconds),
//! `1h30m`, `@ 1 minute`, `3 days ago`, and ISO 8601 with designators, `P1DT2H`. A fraction of a
//! year counts in months, one of a month in days of which it has 30, one of a day in time. What is
//! less than a microsecond is rounded, half to even.
//!
//! Declared with fields, as in `INTERVAL '7 5' DAY TO HOUR`, a number without a unit counts the
//! last one, and what is smaller than that is cut off.

/// Months, days and microseconds: a month has no fixed length, and neither has a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Months; a year has twelve.
    pub months: i32,
    /// Days; a week has seven.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// Why a text is no interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It does not fit.
    Overflow,
    /// It is none.
    Syntax,
}

type Result<T> = std::result::Result<T, Malformed>;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Numbers are kept as multiples of this: nothing behind the twelfth place reaches a microsecond.
const ONE: i128 = 1_000_000_000_000;

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// So many months.
    Months(i64),
    /// So many days.
    Days(i64),
    /// So many microseconds.
    Micros(i64),
}

impl Unit {
    /// Finds a unit by its name.
    pub fn named(name: &str) -> Option<Unit> {
        Some(match name.to_ascii_lowercase().as_str() {
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" => Unit::Micros(1),
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => Unit::Micros(1_000),
            "second" | "seconds" | "s" | "sec" | "secs" => Unit::Micros(SECOND),
            "minute" | "minutes" | "m" | "min" | "mins" => Unit::Micros(MINUTE),
            "hour" | "hours" | "h" | "hr" | "hrs" => Unit::Micros(HOUR),
            "day" | "days" | "d" => Unit::Days(1),
            "week" | "weeks" | "w" => Unit::Days(7),
            "month" | "months" | "mon" | "mons" => Unit::Months(1),
            "quarter" | "quarters" => Unit::Months(3),
            "year" | "years" | "y" | "yr" | "yrs" => Unit::Months(12),
            "decade" | "decades" => Unit::Months(120),
            "century" | "centuries" => Unit::Months(1_200),
            "millennium" | "millennia" => Unit::Months(12_000),
            _ => return None,
        })
    }
}

/// A field that an interval may be declared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Years.
    Year,
    /// Months.
    Month,
    /// Days.
    Day,
    /// Hours.
    Hour,
    /// Minutes.
    Minute,
    /// Seconds and their fractions.
    Second,
}

impl Field {
    /// Finds a field by its name.
    pub fn named(name: &str) -> Option<Field> {
        Some(match name.to_ascii_lowercase().as_str() {
            "year" | "years" => Field::Year,
            "month" | "months" => Field::Month,
            "day" | "days" => Field::Day,
            "hour" | "hours" => Field::Hour,
            "minute" | "minutes" => Field::Minute,
            "second" | "seconds" => Field::Second,
            _ => return None,
        })
    }

    fn unit(self) -> Unit {
        match self {
            Field::Year => Unit::Months(12),
            Field::Month => Unit::Months(1),
            Field::Day => Unit::Days(1),
            Field::Hour => Unit::Micros(HOUR),
            Field::Minute => Unit::Micros(MINUTE),
            Field::Second => Unit::Micros(SECOND),
        }
    }
}

impl Interval {
    /// Reads an interval.
    pub fn parse(text: &str) -> Result<Interval> {
        Self::read(text, Field::Second, [HOUR, MINUTE, SECOND])
    }

    /// Reads an interval that is declared with fields, from the first to the last.
    pub fn parse_fields(text: &str, first: Field, last: Field) -> Result<Interval> {
        let clock = match (first, last) {
            (Field::Minute, Field::Second) => [MINUTE, SECOND, 1],
            _ => [HOUR, MINUTE, SECOND],
        };
        let Interval { mut months, mut days, mut micros } = Self::read(text, last, clock)?;
        match last.unit() {
            Unit::Months(unit) => {
                months -= months % i32::try_from(unit).unwrap_or(1);
                (days, micros) = (0, 0);
            }
            Unit::Days(_) => micros = 0,
            Unit::Micros(SECOND) => {}
            Unit::Micros(unit) => micros -= micros % unit,
        }
        Ok(Interval { months, days, micros })
    }

    /// Reads an interval; a number without a unit counts `last`, and what is between colons
    /// `clock`.
    fn read(text: &str, last: Field, clock: [i64; 3]) -> Result<Interval> {
        let text = text.trim();
        if let Some(iso) = text.strip_prefix('P') {
            return parse_iso(iso);
        }
        let mut parts = parts(text.strip_prefix('@').unwrap_or(text))?;
        let ago =
            parts.pop_if(|part| matches!(part, Part::Word(w) if w.eq_ignore_ascii_case("ago")));
        if parts.is_empty() {
            return Err(Malformed::Syntax);
        }
        let mut interval = Interval::default();
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next() {
            let Part::Number(number) = part else { return Err(Malformed::Syntax) };
            if number.contains(':') {
                interval.add_micros(clock_time(number, clock)?)?;
            } else if let Some(dash) = number.rfind('-').filter(|at| *at > 0) {
                let (years, months) = (&number[..dash], &number[dash + 1..]);
                let sign = if years.starts_with('-') { "-" } else { "" };
                interval.add(years, Unit::Months(12))?;
                interval.add(&format!("{sign}{months}"), Unit::Months(1))?;
            } else {
                let unit = match parts.next_if(|next| matches!(next, Part::Word(_))) {
                    Some(Part::Word(name)) => Unit::named(name).ok_or(Malformed::Syntax)?,
                    _ => match parts.peek() {
                        Some(Part::Number(time)) if time.contains(':') => Unit::Days(1),
                        _ => last.unit(),
                    },
                };
                interval.add(number, unit)?;
            }
        }
        if ago.is_some() { interval.negated() } else { Ok(interval) }
    }

    /// Returns its microseconds if each day has 24 hours; an error if it has months.
    pub fn fixed_micros(self) -> Option<Result<i64>> {
        let micros = i64::from(self.days).checked_mul(DAY).and_then(|d| d.checked_add(self.micros));
        (self.months == 0).then(|| micros.ok_or(Malformed::Overflow))
    }

    /// Adds a number of units.
    pub fn add(&mut self, number: &str, unit: Unit) -> Result<()> {
        let number = fixed_point(number)?;
        let times = |count: i64| number.checked_mul(i128::from(count)).ok_or(Malformed::Overflow);
        match unit {
            Unit::Micros(count) => {
                let micros = times(count)?;
                self.add_micros(whole(rounded(micros))?)
            }
            Unit::Days(count) => self.add_days(times(count)?),
            Unit::Months(count) => {
                let months = times(count)?;
                let fraction = if count % 12 == 0 { 0 } else { months % ONE };
                self.months = whole::<i32>(months / ONE)
                    .and_then(|more| self.months.checked_add(more).ok_or(Malformed::Overflow))?;
                self.add_days(fraction * 30)
            }
        }
    }

    fn add_days(&mut self, days: i128) -> Result<()> {
        self.days = whole::<i32>(days / ONE)
            .and_then(|more| self.days.checked_add(more).ok_or(Malformed::Overflow))?;
        self.add_micros(whole(days % ONE * i128::from(DAY) / ONE)?)
    }

    fn add_micros(&mut self, micros: i64) -> Result<()> {
        self.micros = self.micros.checked_add(micros).ok_or(Malformed::Overflow)?;
        Ok(())
    }

    fn negated(self) -> Result<Interval> {
        let Interval { months, days, micros } = self;
        let negated = || {
            let (months, days) = (months.checked_neg()?, days.checked_neg()?);
            Some(Interval { months, days, micros: micros.checked_neg()? })
        };
        negated().ok_or(Malformed::Overflow)
    }
}

/// A piece of an interval's text.
enum Part<'a> {
    Number(&'a str),
    Word(&'a str),
}

fn parts(text: &str) -> Result<Vec<Part<'_>>> {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | ':' | '+' | '-' | '_');
    let mut parts = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = |inside: &dyn Fn(char) -> bool| rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let part;
        if numeric(first) {
            // A sign may stand apart from its number.
            let digits = rest.trim_start_matches(['+', '-']).trim_start();
            let signs = rest.len() - digits.len();
            let length = digits.find(|c| !numeric(c)).unwrap_or(digits.len());
            (part, rest) = rest.split_at(signs + length);
            parts.push(Part::Number(part));
        } else if first.is_alphabetic() {
            (part, rest) = rest.split_at(end(&char::is_alphabetic));
            parts.push(Part::Word(part));
        } else {
            return Err(Malformed::Syntax);
        }
        rest = rest.trim_start();
    }
    Ok(parts)
}

/// Reads what follows the P of ISO 8601.
fn parse_iso(text: &str) -> Result<Interval> {
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    if date.is_empty() && time.is_empty() {
        return Err(Malformed::Syntax);
    }
    let mut interval = Interval::default();
    for (half, is_time) in [(date, false), (time, true)] {
        let mut rest = half;
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_alphabetic()).ok_or(Malformed::Syntax)?;
            let unit = match (&rest[end..=end], is_time) {
                ("Y", false) => Unit::Months(12),
                ("M", false) => Unit::Months(1),
                ("W", false) => Unit::Days(7),
                ("D", false) => Unit::Days(1),
                ("H", true) => Unit::Micros(HOUR),
                ("M", true) => Unit::Micros(MINUTE),
                ("S", true) => Unit::Micros(SECOND),
                _ => return Err(Malformed::Syntax),
            };
            interval.add(&rest[..end], unit)?;
            rest = &rest[end + 1..];
        }
    }
    Ok(interval)
}

/// A multiple of [`ONE`], rounded half to even.
fn rounded(number: i128) -> i128 {
    let (whole, rest) = (number.div_euclid(ONE), number.rem_euclid(ONE));
    whole + i128::from(rest > ONE / 2 || (rest == ONE / 2 && whole % 2 != 0))
}

fn whole<T: TryFrom<i128>>(number: i128) -> Result<T> {
    T::try_from(number).map_err(|_| Malformed::Overflow)
}

/// Reads a decimal number as a multiple of [`ONE`].
fn fixed_point(number: &str) -> Result<i128> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let digits = digits.trim_start().replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(Malformed::Syntax);
    }
    let mut value = 0_i128;
    for digit in whole.bytes() {
        value = value * 10 + i128::from(digit - b'0');
        if value > i128::from(i64::MAX) {
            return Err(Malformed::Overflow);
        }
    }
    value *= ONE;
    let mut place = ONE;
    for digit in fraction.bytes().take(12) {
        place /= 10;
        value += i128::from(digit - b'0') * place;
    }
    Ok(if negative { -value } else { value })
}

/// Reads `hh:mm[:ss[.ffffff]]`, in microseconds; `units` are those of two numbers and a third.
fn clock_time(text: &str, units: [i64; 3]) -> Result<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // Hours alone may end in a colon.
    let mut parts: Vec<&str> = text.trim_start().split(':').collect();
    if parts.len() == 2 && parts[1].is_empty() {
        parts[1] = "0";
    }
    if !(2..=3).contains(&parts.len()) || parts.iter().any(|part| part.starts_with(['+', '-'])) {
        return Err(Malformed::Syntax);
    }
    let mut time = Interval::default();
    // With three numbers the first is hours, whatever the fields.
    let units = if parts.len() == 3 { [HOUR, MINUTE, SECOND] } else { units };
    for (part, unit) in parts.into_iter().zip(units) {
        time.add(part, Unit::Micros(unit))?;
    }
    Ok(if negative { -time.micros } else { time.micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, months: i32, days: i32, micros: i64) {
        assert_eq!(Interval::parse(text), Ok(Interval { months, days, micros }), "{text}");
    }

    #[test]
    fn units_add_up() {
        check("5", 0, 0, 5 * SECOND);
        check("1 day 02:03:04", 0, 1, 2 * HOUR + 3 * MINUTE + 4 * SECOND);
        check("1 year 2 mons", 14, 0, 0);
        check("1-2", 14, 0, 0);
        check("-1-2", -14, 0, 0);
        check("3 04:05", 0, 3, 4 * HOUR + 5 * MINUTE);
        check("1h30m", 0, 0, 90 * MINUTE);
        check("500ms", 0, 0, SECOND / 2);
        check("2 weeks -1 day", 0, 13, 0);
        check("-00:30", 0, 0, -30 * MINUTE);
        check("00:00:01.000001", 0, 0, SECOND + 1);
        check("- 1 year -  2 days 4:", -12, -2, 4 * HOUR);
    }

    #[test]
    fn fractions_count_in_the_next_unit() {
        check("1.5 years", 18, 0, 0);
        check("1.5 months", 1, 15, 0);
        check("1.5 weeks", 0, 10, 12 * HOUR);
        check(".5 day", 0, 0, 12 * HOUR);
        check("0.0000001", 0, 0, 0);
        check("0.0000025", 0, 0, 2);
        check("-00:00:00.0000035", 0, 0, -4);
    }

    #[test]
    fn postgres_and_iso_forms_are_read() {
        check("@ 1 minute", 0, 0, MINUTE);
        check("3 days 02:00 ago", 0, -3, -2 * HOUR);
        check("P1D", 0, 1, 0);
        check("P1Y2M3DT4H5M6.5S", 14, 3, 4 * HOUR + 5 * MINUTE + 6_500_000);
        check("PT-1H", 0, 0, -HOUR);
    }

    #[test]
    fn fields_say_what_a_number_counts_and_what_is_cut_off() {
        use Field::{Day, Hour, Minute, Month, Second, Year};
        let check = |text, first, last, months, days, micros| {
            let read = Interval::parse_fields(text, first, last);
            assert_eq!(read, Ok(Interval { months, days, micros }), "{text}");
        };
        check("1", Year, Year, 12, 0, 0);
        check("1-3", Year, Month, 15, 0, 0);
        check("1-3", Year, Year, 12, 0, 0);
        check("7 5:4:3.2", Day, Second, 0, 7, 5 * HOUR + 4 * MINUTE + 3_200_000);
        check("4d 2h", Day, Hour, 0, 4, 2 * HOUR);
        check("1 day 02:03:04", Day, Day, 0, 1, 0);
        check("1 day 02:03:04", Hour, Minute, 0, 1, 2 * HOUR + 3 * MINUTE);
        check("5:4", Minute, Second, 0, 0, 5 * MINUTE + 4 * SECOND);
        check("5:4", Hour, Minute, 0, 0, 5 * HOUR + 4 * MINUTE);
        check("72.345678", Second, Second, 0, 0, 72_345_678);
    }

    #[test]
    fn nonsense_is_told_from_what_is_too_long() {
        for text in
            ["", "x", "1 fortnight", "1:2:3:4", "1.2.3", "--1", "P", "P1H", "day", "1 ago x"]
        {
            assert_eq!(Interval::parse(text), Err(Malformed::Syntax), "{text}");
        }
        for text in ["99999999999999999999 s", "300000000 years", "9000000000 days"] {
            assert_eq!(Interval::parse(text), Err(Malformed::Overflow), "{text}");
        }
    }
}
