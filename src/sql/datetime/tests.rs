//! Texts and what they say.

use super::*;

#[track_caller]
fn day(text: &str, expected: &str) {
    day_in(text, DateOrder::MonthDayYear, expected);
}

#[track_caller]
fn day_in(text: &str, order: DateOrder, expected: &str) {
    let read = match parse(text, order) {
        Ok(DateTime::Parts(parts)) => parts.date.map_or("none".into(), |d| d.to_string()),
        other => format!("{other:?}"),
    };
    assert_eq!(read, expected, "{text}");
}

#[test]
fn dates_have_many_forms() {
    for text in [
        "1999-01-08",
        "January 8, 1999",
        "1/8/1999",
        "1999-Jan-08",
        "Jan-08-1999",
        "08-Jan-1999",
        "19990108",
        "990108",
        "1999-008",
        "J2451187",
        "Fri 8 Jan 1999",
    ] {
        day(text, "1999-01-08");
    }
    day_in("8/1/1999", DateOrder::DayMonthYear, "1999-01-08");
    day_in("99/1/8", DateOrder::YearMonthDay, "1999-01-08");
    day("January 8, 99 BC", "-0098-01-08");
}

#[test]
fn what_is_no_day_is_out_of_range() {
    day("18/1/1999", "Err(OutOfRange)");
    day("1999-02-30", "Err(OutOfRange)");
    day("1999-13-01", "Err(OutOfRange)");
    day("yesterday's", "Err(Syntax)");
    day("1999-01", "Err(Syntax)");
    day("", "Err(Syntax)");
}

#[test]
fn times_may_have_zones() {
    let read = |text: &str| match parse(text, DateOrder::MonthDayYear) {
        Ok(DateTime::Parts(Parts { time: Some(time), zone, .. })) => Some((time, zone)),
        _ => None,
    };
    const HOUR: i64 = 3_600 * SECOND;
    assert_eq!(read("04:05"), Some((4 * HOUR + 5 * 60 * SECOND, None)));
    assert_eq!(read("04:00 PM"), Some((16 * HOUR, None)));
    assert_eq!(read("12:00 am"), Some((0, None)));
    assert_eq!(read("2024-01-01 04:00:00.5"), Some((4 * HOUR + SECOND / 2, None)));
    assert_eq!(read("20240101T040000"), Some((4 * HOUR, None)));
    assert_eq!(read("2024-01-01T04:00:00Z"), Some((4 * HOUR, Some(Zone::Offset(0)))));
    assert_eq!(read("2024-01-01 04:00-08"), Some((4 * HOUR, Some(Zone::Offset(-28_800)))));
    assert_eq!(read("2024-01-01 04:00+0530"), Some((4 * HOUR, Some(Zone::Offset(19_800)))));
    let vienna = Some(Zone::Named("Europe/Vienna".into()));
    assert_eq!(read("2024-01-01 04:00 Europe/Vienna"), Some((4 * HOUR, vienna)));
    assert_eq!(read("Mon Jan 01 04:00:00 2024 PST").unwrap().1, Some(Zone::Offset(-28_800)));
    assert_eq!(read("25:00"), None);
}
