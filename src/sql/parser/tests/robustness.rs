//! Whatever the text is, parsing ends with statements or with an error that points into it.

use proptest::prelude::*;

use super::*;
use crate::sql::parser::script::Script;

#[test]
fn long_chains_of_operators_parse() {
    let chain = vec!["a = 1"; 1_900].join(" OR ");
    query(&format!("SELECT * FROM s WHERE {chain}"));
    let rows = vec!["(1 + 1, -2)"; 20_000].join(", ");
    kind(&format!("INSERT INTO t VALUES {rows}"));
    let whens = vec!["WHEN a = 1 AND b THEN c + 1"; 4_000].join(" ");
    query(&format!("SELECT CASE {whens} END"));
}

#[test]
fn endless_chains_and_nesting_are_refused() {
    let parentheses = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    for sql in [
        format!("SELECT {}", vec!["a"; 200_000].join(" OR ")),
        format!("SELECT a {}", "IS NULL ".repeat(200_000)),
        format!("SELECT a{}", "::int".repeat(200_000)),
        vec!["SELECT 1"; 200_000].join(" UNION ALL "),
        format!("SELECT {}1", "- ".repeat(200_000)),
        format!("{}SELECT 1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("SELECT a::int{}", "[]".repeat(100_000)),
        parentheses,
    ] {
        let error = error(&sql);
        assert_eq!(error.sqlstate(), SqlState::STATEMENT_TOO_COMPLEX, "{}", &sql[..40]);
    }
    error(&format!("SELECT {}1", "NOT ".repeat(100_000)));
    let explains = format!("{}SELECT 1", "EXPLAIN ".repeat(100_000));
    assert_eq!(error(&explains).sqlstate(), SqlState::SYNTAX_ERROR);
}

#[test]
fn every_token_is_found_in_the_text() {
    let text = "SELECT 'ä''b', E'\\'x', $t$ $$ $t$, U&'\\0041', \"Q\"\"x\", 1.5e3, a::int,\r\n\t\
                /* ü /* n */ */ \
                x'ff', b'01', a <> b, a->>'k', $1, ünï.*, a || b -- end ü\n\
                , !!5, c[1:2] 'l1'\n 'l2' ;";
    let script = Script::new(text).unwrap();
    for index in 0..script.len() {
        let token = &script.tokens(index..index + 1)[0].token;
        let written = script.text_of(index..index + 1);
        let again = Script::new(written).unwrap();
        assert_eq!(again.len(), 1, "{written}");
        assert_eq!(&again.tokens(0..1)[0].token, token, "{written}");
    }
}

/// Words and signs that mean something to the parser.
const PIECES: &[&str] = &[
    "SELECT",
    "FROM",
    "s",
    "t",
    "JOIN",
    "ON",
    "[",
    "]",
    "(",
    ")",
    ",",
    ";",
    "NOW",
    "ROWS",
    "RANGE",
    "5",
    "EMIT",
    "CHANGES",
    "ISTREAM",
    "*",
    "AS",
    "x",
    ".",
    "WITH",
    "CREATE",
    "STREAM",
    "TABLE",
    "VIEW",
    "int",
    "WATERMARK FOR",
    "TUMBLE",
    "SUBSCRIBE",
    "COPY",
    "STDIN",
    "TO",
    "EXPLAIN",
    "PARTITION BY",
    "INTERVAL",
    "'1 s'",
    "=",
    "SET",
    "FETCH",
    "DECLARE c CURSOR FOR",
    "UNION",
    "WHERE",
    "VALUES",
    "INSERT INTO",
    "UPDATE",
    "\n",
    "::timestamp",
    "-",
    "$1",
    "PRIMARY KEY",
    "LATE",
    "INTO",
    "DROP",
];

/// Draws a text of at most so many pieces.
fn text(pieces_max: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..pieces_max)
        .prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_makes_the_parser_panic(sql in text(25)) {
        let lines = u64::try_from(sql.split('\n').count()).unwrap();
        match parse(&sql) {
            Ok(statements) => {
                for statement in statements {
                    let text: String = sql.chars().skip(statement.offset).collect();
                    prop_assert!(text.starts_with(&*statement.text));
                }
            }
            Err(error) => {
                if let Some(location) = error.location() {
                    prop_assert!((1..=lines).contains(&location.line), "{sql}: {error:?}");
                    prop_assert!(location.column >= 1);
                }
            }
        }
    }

    #[test]
    fn statement_parses_again_from_its_text(rest in text(12)) {
        let sql = format!("SELECT {rest}");
        if let Ok(statements) = parse(&sql) {
            for statement in statements {
                let again = parse(&statement.text).expect("it was parsed before");
                prop_assert_eq!(again.len(), 1);
            }
        }
    }
}

/// Head, what opens a level, the core, what closes a level. A core with a mistake makes sqlparser
/// try whatever else it knows.
const NESTED: &[(&str, &str, &str, &str)] = &[
    ("SELECT ", "f(", "1", ")"),
    ("SELECT ", "position(a IN ", "b", ")"),
    ("SELECT ", "position(", "b", " IN c)"),
    ("SELECT ", "substring(", "b", " FROM 1 FOR 2)"),
    ("SELECT ", "substring(", "b", ", 1, 2)"),
    ("SELECT ", "overlay(", "b", " PLACING c FROM 1 FOR 2)"),
    ("SELECT ", "ceil(", "b", ")"),
    ("SELECT ", "CAST(", "b", " AS int)"),
    ("SELECT ", "extract(hour FROM ", "b", ")"),
    ("SELECT ", "trim(both 'x' FROM ", "b", ")"),
    ("SELECT ", "ARRAY[", "b", "]"),
    ("SELECT ", "date(", "b b", ")"),
    ("SELECT ", "grouping(", "b b", ")"),
    ("SELECT ", "struct(", "b b", ")"),
    ("SELECT * FROM ", "(a JOIN ", "b b b", " ON true)"),
    ("SELECT * FROM ", "(", "a b b b", " JOIN c ON true)"),
    ("SELECT * FROM ", "((", "SELECT 1 1 1", ") x JOIN y ON true)"),
    ("SELECT * FROM ", "(WITH a AS (SELECT 1) ", "SELECT 1 1 1", ")"),
    ("SELECT ", "f(a, ", "1", ")"),
    ("SELECT ", "f(", "1 1", ")"),
    ("SELECT ", "f(a => ", "1", ")"),
    ("SELECT ", "f(a => ", "1 1", ")"),
    ("SELECT ", "(", "1 1", ")"),
    ("SELECT * FROM ", "(", "a", ")"),
    ("SELECT * FROM ", "(", "a b c", ")"),
    ("SELECT * FROM ", "(a JOIN ", "b ON true", " ON true)"),
    ("SELECT * FROM ", "(SELECT * FROM ", "b", ") x"),
    ("SELECT * FROM ", "(SELECT * FROM ", "b c d", ") x"),
    ("SELECT 1 WHERE a IN ", "(", "1", ")"),
    ("SELECT 1 WHERE ", "a IN (SELECT 1 WHERE ", "b c", ")"),
    ("SELECT 1 WHERE ", "EXISTS (SELECT 1 WHERE ", "b c", ")"),
    ("SELECT ", "CASE WHEN ", "a", " THEN 1 END"),
    ("SELECT ", "CASE WHEN ", "a a", " THEN 1 END"),
    ("SELECT ", "CAST(", "a a", " AS int)"),
    ("SELECT ", "ARRAY[", "1", "]"),
    ("SELECT ", "ARRAY[", "1 1", "]"),
    ("SELECT ", "ARRAY(SELECT ", "1 1 1", ")"),
    ("SELECT ", "(a, ", "1", ")"),
    ("SELECT ", "INTERVAL ", "'1'", ""),
    ("SELECT ", "INTERVAL (", "'1'", ")"),
    ("SELECT ", "NOT ", "a a a", ""),
    ("SELECT ", "- ", "a a a", ""),
    ("", "WITH x AS (", "SELECT 1", ") SELECT 1"),
    ("SELECT 1 WHERE ", "a = ANY (", "b b", ")"),
    ("SELECT ", "extract(hour FROM ", "b b", ")"),
    ("SELECT ", "substring(", "b b", " FROM 1)"),
    ("SELECT ", "trim(", "b b", ")"),
    ("SELECT ", "position(", "b b", " IN c)"),
    ("SELECT ", "overlay(", "b b", " PLACING c FROM 1)"),
    ("SELECT ", "ceil(", "b b", ")"),
    ("SELECT ", "sum(x) OVER (ORDER BY ", "b b", ")"),
    ("SELECT ", "sum(x) FILTER (WHERE ", "b b", ")"),
    ("SELECT * FROM ", "LATERAL (SELECT * FROM ", "a b c", ") x"),
    ("SELECT * FROM ", "f(", "1 1", ")"),
    ("SELECT ", "convert(", "1 1", ", int)"),
    ("SELECT ", "struct(", "1 1", ")"),
    ("SELECT ", "map {a: ", "1 1", "}"),
    ("SELECT ", "{", "1 1", "}"),
    ("INSERT INTO t ", "(", "SELECT 1 1 1", ")"),
    ("UPDATE t SET a = ", "(", "SELECT 1 1 1", ")"),
    ("UPDATE t SET (a, b) = ", "(", "1, 1 1 1", ")"),
];

#[test]
fn nested_text_is_parsed_or_refused_in_no_time() {
    for (head, open, core, close) in NESTED {
        for depth in [7, 12, 30, 48] {
            // Passes by ending: what doubles with every level would not end.
            drop(parse(&format!("{head}{}{core}{}", open.repeat(depth), close.repeat(depth))));
        }
    }
}

#[test]
fn calls_may_nest() {
    query(&format!("SELECT {}1{}", "f(".repeat(20), ")".repeat(20)));
    query(&format!("SELECT {}a{}", "CAST(".repeat(10), " AS int)".repeat(10)));
    query(&format!("SELECT * FROM {}a{}", "(SELECT * FROM ".repeat(20), ") x".repeat(20)));
}
