//! Brackets: what they mean and where they stand.

use super::*;
use crate::sql::statement::Length::{Micros, Parameter};
use crate::sql::statement::WindowSpec;

const SECOND: i64 = 1_000_000;

/// Returns the meaning of a bracket behind a stream.
#[track_caller]
fn window(bracket: &str) -> WindowSpec {
    let query = query(&format!("SELECT * FROM s [{bracket}]"));
    assert_eq!(query.ast.to_string(), "SELECT * FROM cql_window(s, 'w0') AS s");
    assert_eq!(query.windows.len(), 1);
    query.windows[0].clone()
}

fn range(size: i64) -> WindowSpec {
    WindowSpec::Range { size: Micros(size), inclusive: false, slide: None }
}

#[test]
fn now_and_unbounded() {
    assert_eq!(window("NOW"), WindowSpec::Now);
    assert_eq!(window("unbounded"), WindowSpec::Unbounded);
    assert_eq!(window("Range Unbounded"), WindowSpec::Unbounded);
}

#[test]
fn range_takes_any_fixed_length() {
    for bracket in ["RANGE 10", "range 10 second", "RANGE 10 SECONDS", "RANGE 10 S", "RANGE 10s"] {
        assert_eq!(window(bracket), range(10 * SECOND), "{bracket}");
    }
    assert_eq!(window("RANGE 5 MICROSECONDS"), range(5));
    assert_eq!(window("RANGE 5 MILLISECONDS"), range(5_000));
    assert_eq!(window("RANGE 1 MINUTE"), range(60 * SECOND));
    assert_eq!(window("RANGE 1 HOUR"), range(3_600 * SECOND));
    assert_eq!(window("RANGE 1 DAY"), range(86_400 * SECOND));
    assert_eq!(window("RANGE 1 WEEK"), range(7 * 86_400 * SECOND));
    assert_eq!(window("RANGE 1.5 SECONDS"), range(1_500_000));
    assert_eq!(window("RANGE INTERVAL '1 hour 30 minutes'"), range(5_400 * SECOND));
    assert_eq!(window("RANGE INTERVAL '10' SECOND"), range(10 * SECOND));
    assert_eq!(window("RANGE INTERVAL 10 SECONDS"), range(10 * SECOND));
    assert_eq!(window("RANGE INTERVAL '00:00:10'"), range(10 * SECOND));
}

#[test]
fn range_may_be_inclusive_and_slide() {
    let slide = |offset| Some((Micros(2 * SECOND), Micros(offset)));
    let expected =
        WindowSpec::Range { size: Micros(10 * SECOND), inclusive: true, slide: slide(SECOND) };
    assert_eq!(window("RANGE 10 SECONDS INCLUSIVE SLIDE 2 SECONDS OFFSET 1 SECOND"), expected);
    let expected =
        WindowSpec::Range { size: Micros(10 * SECOND), inclusive: false, slide: slide(0) };
    assert_eq!(window("RANGE 10 SLIDE 2"), expected);
    assert_eq!(
        window("RANGE 0 INCLUSIVE"),
        WindowSpec::Range { size: Micros(0), inclusive: true, slide: None }
    );
}

#[test]
fn rows_may_slide() {
    assert_eq!(window("ROWS 5"), WindowSpec::Rows { count: 5, slide: None });
    assert_eq!(window("ROWS 1_000 SLIDE 10"), WindowSpec::Rows { count: 1000, slide: Some(10) });
}

#[test]
fn partitions_are_expressions_over_the_stream() {
    let WindowSpec::Partitioned { keys, count, range } =
        window("PARTITION BY lower(k), a[1] + 1 ROWS 3 RANGE 1 MINUTE")
    else {
        panic!("not partitioned");
    };
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    assert_eq!(keys, ["lower(k)", "a[1] + 1"]);
    assert_eq!((count, range), (3, Some(Micros(60 * SECOND))));
}

#[test]
fn current_period() {
    assert_eq!(window("CURRENT 1 DAY"), WindowSpec::Current { size: Micros(86_400 * SECOND) });
}

#[test]
fn parameters_give_lengths() {
    let parameter = |name: &str| Parameter(name.to_owned());
    let slide = Some((parameter("$2"), parameter("$3")));
    let expected = WindowSpec::Range { size: parameter("$1"), inclusive: true, slide };
    assert_eq!(window("RANGE $1 INCLUSIVE SLIDE $2 OFFSET $3"), expected);
    assert_eq!(window("CURRENT $1"), WindowSpec::Current { size: parameter("$1") });
    check_unsupported("SELECT * FROM s [ROWS $1]", "a parameter as a number of rows");
}

#[test]
fn windows_without_content_are_refused() {
    let state = SqlState::INVALID_PARAMETER_VALUE;
    for (bracket, message) in [
        ("RANGE 0", "must be longer than 0"),
        ("RANGE 0.0000001", "must be longer than 0"),
        ("RANGE -5", "malformed length of time"),
        ("RANGE INTERVAL '-5 s'", "must be longer than 0"),
        ("RANGE INTERVAL 'soon'", "malformed length of time"),
        ("RANGE 99999999999999999 DAYS", "out of range"),
        ("CURRENT 0", "must be longer than 0"),
    ] {
        let place = 1 + u64::try_from("SELECT * FROM s [RANGE ".len()).unwrap();
        let place = if bracket.starts_with('C') { place + 2 } else { place };
        check_error(&format!("SELECT * FROM s [{bracket}]"), state, message, (1, place));
    }
    check_error("SELECT * FROM s [ROWS 0]", state, "at least 1 row", (1, 23));
    check_error("SELECT * FROM s [ROWS -1]", state, "at least 1 row", (1, 23));
    check_error("SELECT * FROM s [ROWS 1.5]", state, "whole number", (1, 23));
    check_error("SELECT * FROM s [ROWS 99999999999999999999]", state, "out of range", (1, 23));
    check_error("SELECT * FROM s [ROWS 9223372036854775808]", state, "out of range", (1, 23));
    check_error("SELECT * FROM s [RANGE 5 SLIDE 0]", state, "slide", (1, 32));
}

#[test]
fn months_have_no_fixed_length() {
    for span in ["1 MONTH", "2 years", "INTERVAL '1 mon 2 days'", "INTERVAL '1' YEAR"] {
        check_unsupported(
            &format!("SELECT * FROM s [RANGE {span}]"),
            "a length of months or years",
        );
    }
}

#[test]
fn nonsense_in_brackets_is_a_syntax_error_at_its_token() {
    let state = SqlState::SYNTAX_ERROR;
    check_error("SELECT * FROM s []", state, "at or near \"]\"", (1, 18));
    check_error("SELECT * FROM s [1]", state, "at or near \"1\"", (1, 18));
    check_error("SELECT * FROM s [ROWS]", state, "at or near \"]\"", (1, 22));
    check_error("SELECT * FROM s [RANGE 5 FORTNIGHTS]", state, "near \"FORTNIGHTS\"", (1, 26));
    check_error("SELECT * FROM s [NOW NOW]", state, "near \"NOW\"", (1, 22));
    check_error("SELECT * FROM s [PARTITION BY ROWS 1]", state, "near \"1\"", (1, 36));
    check_error("SELECT * FROM s [PARTITION BY k]", state, "near \"]\"", (1, 32));
    check_error("SELECT * FROM cql_window(s, 'w0')", state, "near \"cql_window\"", (1, 15));
    check_error("SELECT * FROM s [NOW", state, "at end of input", (1, 21));
    check_error("SELECT * FROM s AS x [NOW]", state, "at or near \"[\"", (1, 22));
    check_error("SELECT * FROM s x [NOW]", state, "at or near \"[\"", (1, 19));
    check_error("SELECT * FROM (a JOIN b ON true) [NOW] x", state, "at or near \"[\"", (1, 34));
}

#[test]
fn relation_keeps_its_name_unless_given_another() {
    for (sql, expected) in [
        ("FROM s [NOW]", "FROM cql_window(s, 'w0') AS s"),
        ("FROM s [NOW] x", "FROM cql_window(s, 'w0') x"),
        ("FROM s [NOW] AS x", "FROM cql_window(s, 'w0') AS x"),
        ("FROM s[NOW]x", "FROM cql_window(s, 'w0') x"),
        ("FROM s [NOW] \"X\"", "FROM cql_window(s, 'w0') \"X\""),
        ("FROM s [NOW] AS x (a, b)", "FROM cql_window(s, 'w0') AS x (a, b)"),
        ("FROM db.sch.\"S t\" [NOW]", "FROM cql_window(db.sch.\"S t\", 'w0') AS \"S t\""),
        ("FROM s [NOW] WHERE a", "FROM cql_window(s, 'w0') AS s WHERE a"),
        ("FROM (SELECT * FROM s) [NOW] x", "FROM cql_window((SELECT * FROM s), 'w0') x"),
        ("FROM (VALUES (1)) [NOW] AS x", "FROM cql_window((VALUES(1)), 'w0') AS x"),
    ] {
        assert_eq!(rewritten(&format!("SELECT * {sql}")), format!("SELECT * {expected}"));
    }
}

#[test]
fn windows_are_numbered_from_left_to_right() {
    let query = query(
        "SELECT * FROM a [NOW], b [ROWS 1] x JOIN (SELECT * FROM c [ROWS 2], d) [ROWS 3] y ON true",
    );
    assert_eq!(
        query.ast.to_string(),
        "SELECT * FROM cql_window(a, 'w0') AS a, cql_window(b, 'w1') x JOIN \
         cql_window((SELECT * FROM cql_window(c, 'w2') AS c, d), 'w3') y ON true"
    );
    let rows = |count| WindowSpec::Rows { count, slide: None };
    assert_eq!(*query.windows, [WindowSpec::Now, rows(1), rows(2), rows(3)]);
}

#[test]
fn windows_are_found_wherever_a_relation_stands() {
    for (sql, count) in [
        ("SELECT * FROM t [ROWS 5] AS x JOIN u [NOW] ON a.x[1] = u.y", 2),
        ("SELECT * FROM a JOIN b [NOW] ON a.k = b.k, c [NOW]", 2),
        ("SELECT * FROM a JOIN b ON a.k = ANY(ARRAY[1, 2]), c [NOW]", 1),
        ("SELECT * FROM a LEFT JOIN b [NOW] USING (k) CROSS JOIN c [NOW]", 2),
        ("SELECT * FROM (a [NOW] JOIN b [NOW] ON true) JOIN c [NOW] ON true", 3),
        ("SELECT * FROM ((SELECT 1) UNION (SELECT * FROM s [NOW])) [NOW] x", 2),
        ("SELECT (SELECT max(x) FROM s [NOW]) FROM t [NOW]", 2),
        ("SELECT * FROM t WHERE a IN (SELECT a FROM s [NOW]) OR EXISTS (SELECT FROM s [NOW])", 2),
        ("WITH c AS (SELECT * FROM s [NOW]) SELECT * FROM c [NOW]", 2),
        ("SELECT * FROM a [NOW] UNION ALL SELECT * FROM b [NOW] EXCEPT SELECT 1", 2),
        ("SELECT * FROM a WHERE b IS NOT DISTINCT FROM c[1]", 0),
        ("SELECT extract(hour FROM a[1]), substring(b[1] FROM c[1] FOR 2) FROM t [NOW]", 1),
        ("SELECT a[1], ARRAY[1, 2], (b)[2], '{1}'::int[] FROM t", 0),
        ("SELECT * FROM t, LATERAL unnest(t.a[1:2]) u", 0),
        ("SELECT * FROM generate_series(1, 2) g, s [NOW]", 1),
        ("SELECT * FROM s [NOW] GROUP BY a[1], b HAVING c[1] > 0 ORDER BY d[1], e[2] LIMIT 1", 1),
        ("SELECT * FROM s [NOW] WINDOW w AS (PARTITION BY a[1])", 1),
        ("SELECT a.\"from\"[1], t.order[1] FROM t", 0),
        ("SELECT DISTINCT ON (a[1]) a FROM s [NOW]", 1),
        ("SELECT * FROM /* [NOW] */ s -- [NOW]\n [NOW]", 1),
        ("SELECT '[NOW]', $$ FROM s [NOW] $$, E'\\'[NOW]' FROM s", 0),
    ] {
        assert_eq!(query(sql).windows.len(), count, "{sql}");
    }
}

#[test]
fn windows_stand_in_statements_that_change_data() {
    for sql in [
        "INSERT INTO t (a, b) SELECT a, b FROM s [NOW]",
        "UPDATE t SET a = 2 FROM s [NOW] WHERE t.k = s.k",
        "DELETE FROM t WHERE k IN (SELECT k FROM s [NOW])",
    ] {
        let StatementKind::Dml { windows, .. } = kind(sql) else { panic!("{sql}") };
        assert_eq!(*windows, [WindowSpec::Now], "{sql}");
    }
}

#[test]
fn window_table_functions_take_table() {
    assert_eq!(
        rewritten("SELECT * FROM TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10 s') AS w"),
        "SELECT * FROM TUMBLE(bid, DESCRIPTOR(ts), INTERVAL '10 s') AS w"
    );
    assert_eq!(
        rewritten(
            "SELECT * FROM TABLE(HOP(DATA => TABLE s.bid, size => 1)) h JOIN b [NOW] ON true"
        ),
        "SELECT * FROM HOP(DATA => s.bid, size => 1) h JOIN cql_window(b, 'w0') AS b ON true"
    );
    assert_eq!(
        rewritten("SELECT * FROM SESSION((SELECT * FROM s [NOW]), ts, 5, key => (a, b))"),
        "SELECT * FROM SESSION((SELECT * FROM cql_window(s, 'w0') AS s), ts, 5, key => (a, b))"
    );
}
