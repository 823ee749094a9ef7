//! Tests of COPY decoding.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use expect_test::{Expect, expect};

use super::*;
use crate::error::Classify;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]))
}

fn decode(format: CopyFormat, pushes: &[&[u8]]) -> Result<RecordBatch> {
    let mut decoder = CopyDecoder::new(schema(), "s".to_owned(), format)?;
    for push in pushes {
        decoder.push(push)?;
    }
    decoder.finish()
}

fn check(format: CopyFormat, data: &str, expected: &Expect) {
    let whole = decode(format.clone(), &[data.as_bytes()]).unwrap();
    expected.assert_eq(&pretty_format_batches(std::slice::from_ref(&whole)).unwrap().to_string());
    let bytes: Vec<&[u8]> = data.as_bytes().chunks(1).collect();
    assert_eq!(decode(format, &bytes).unwrap(), whole, "pushed byte by byte");
}

fn names(format: CopyFormat, data: &[u8]) -> Vec<Option<String>> {
    let batch = decode(format, &[data]).unwrap();
    batch.column(1).as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect()
}

fn error(format: CopyFormat, data: &[u8]) -> String {
    let error = decode(format, &[data]).unwrap_err();
    format!("{} {error} | {}", error.sqlstate(), error.context().unwrap())
}

#[test]
fn text_rows() {
    check(
        CopyFormat::text(),
        "1\tanna\t2013-01-01 05:15:00\r\n2\t\\N\t\\N\n 3 \té\\tx\t2013-01-01",
        &expect![[r"
            +----+------+---------------------+
            | id | name | ts                  |
            +----+------+---------------------+
            | 1  | anna | 2013-01-01T05:15:00 |
            | 2  |      |                     |
            | 3  | é	x  | 2013-01-01T00:00:00 |
            +----+------+---------------------+"]],
    );
}

#[test]
fn csv_rows() {
    check(
        CopyFormat { header: true, ..CopyFormat::csv() },
        "id,name,ts\n1,\"a,\"\"b\"\"\nc\",2013-01-01T05:15\n2,,\n3,\"\",\n",
        &expect![[r#"
            +----+-------+---------------------+
            | id | name  | ts                  |
            +----+-------+---------------------+
            | 1  | a,"b" | 2013-01-01T05:15:00 |
            |    | c     |                     |
            | 2  |       |                     |
            | 3  |       |                     |
            +----+-------+---------------------+"#]],
    );
    let csv = names(CopyFormat::csv(), b"2,,\n3,\"\",\n");
    assert_eq!(csv, [None, Some(String::new())]);
}

#[test]
fn text_escapes() {
    let name = |text: &str| {
        let data = format!("1\t{text}\t\\N\n");
        names(CopyFormat::text(), data.as_bytes()).remove(0).unwrap()
    };
    assert_eq!(name(r"\b\f\n\r\t\v"), "\u{8}\u{c}\n\r\t\u{b}");
    assert_eq!(name(r"\101\x42\x4g\xz\q\\"), "AB\u{4}gxzq\\");
    assert_eq!(name("a\\\nb"), "a\nb");
    assert_eq!(name("a\\\tb"), "a\tb");
    assert_eq!(name(r"\\N"), r"\N");
    assert_eq!(name(r"x\N"), "xN");
    assert_eq!(name(r"\303\251"), "é");
}

#[test]
fn the_end_marker_ends_the_data() {
    assert_eq!(names(CopyFormat::text(), b"1\ta\t\\N\n\\.\ngarbage").len(), 1);
    assert_eq!(names(CopyFormat::csv(), b"1,a,\n\\.\n").len(), 1);
    assert_eq!(names(CopyFormat::text(), b"\\.\n").len(), 0);
    assert_eq!(names(CopyFormat::text(), b"").len(), 0);
}

#[test]
fn options_change_the_special_characters() {
    let text = CopyFormat { delimiter: b'|', null: "nil".to_owned(), ..CopyFormat::text() };
    assert_eq!(names(text, b"1|nil|nil\n2|a\tb|nil"), [None, Some("a\tb".to_owned())]);
    let csv = CopyFormat { quote: b'\'', escape: b'\\', ..CopyFormat::csv() };
    assert_eq!(names(csv, b"1,'a\\'\\\\b',\n"), [Some("a'\\b".to_owned())]);
}

#[test]
fn errors_have_codes_and_contexts() {
    expect![[
        r#"22P02 invalid input syntax for type integer: "x" | COPY s, line 2, column id: "x""#
    ]]
    .assert_eq(&error(CopyFormat::text(), b"1\ta\t\\N\nx\ta\t\\N\n"));
    expect![[r#"22003 value "3000000000" is out of range for type integer | COPY s, line 1, column id: "3000000000""#]]
        .assert_eq(&error(CopyFormat::text(), b"3000000000\ta\t\\N\n"));
    expect![[
        r#"22007 invalid input syntax for type timestamp: "abc" | COPY s, line 1, column ts: "abc""#
    ]]
    .assert_eq(&error(CopyFormat::text(), b"1\ta\tabc\n"));
    expect![[r#"22P04 missing data for column "ts" | COPY s, line 1: "1	a""#]]
        .assert_eq(&error(CopyFormat::text(), b"1\ta\n"));
    expect![[r#"22P04 extra data after last expected column | COPY s, line 1: "1,a,,x""#]]
        .assert_eq(&error(CopyFormat::csv(), b"1,a,,x\n"));
    expect![[r#"22P04 unterminated CSV quoted field | COPY s, line 2: "2,"a""#]]
        .assert_eq(&error(CopyFormat::csv(), b"1,a,\n2,\"a"));
    expect![[r#"23502 null value in column "id" of relation "s" violates not-null constraint | COPY s, line 1: "\N	a	\N""#]]
        .assert_eq(&error(CopyFormat::text(), b"\\N\ta\t\\N\n"));
    expect![[r#"22P04 invalid byte sequence for encoding "UTF8" | COPY s, line 1: "1	�	\N""#]]
        .assert_eq(&error(CopyFormat::text(), b"1\t\xff\t\\N\n"));
}

#[test]
fn every_type_has_a_text_form() {
    let item = |data_type| Arc::new(Field::new_list_field(data_type, true));
    let types = vec![
        DataType::Boolean,
        DataType::Int16,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(10, 2),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Date32,
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Binary,
        DataType::List(item(DataType::Int32)),
        DataType::List(item(DataType::Utf8)),
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
    ];
    let fields = types.into_iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut decoder = CopyDecoder::new(
        schema,
        "s".to_owned(),
        CopyFormat { delimiter: b'|', ..CopyFormat::text() },
    )
    .unwrap();
    decoder
        .push(
            b"yes|-1|9223372036854775807|1.5|NaN|12.345|2013-01-01 00:00+02|2013-01-01|05:15|\\\\xdead\
              |{1,NULL}|{a,\"b c\"}|1 day 02:00:00\n\
              \\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N\n",
        )
        .unwrap();
    let batch = decoder.finish().unwrap();
    let row: Vec<String> = batch
        .columns()
        .iter()
        .map(|c| arrow::util::display::array_value_to_string(c, 0).unwrap())
        .collect();
    expect!["true, -1, 9223372036854775807, 1.5, NaN, 12.35, 2012-12-31T22:00:00Z, 2013-01-01, 05:15:00, dead, [1, ], [a, b c], 1 days 2 hours"]
        .assert_eq(&row.join(", "));
    assert!(batch.columns().iter().all(|c| c.is_null(1)));
}

#[test]
fn a_value_of_a_megabyte_over_many_pushes() {
    let long = "x".repeat(1 << 20);
    let data = format!("1\t{long}\t\\N\n");
    let pushes: Vec<&[u8]> = data.as_bytes().chunks(64 << 10).collect();
    let batch = decode(CopyFormat::text(), &pushes).unwrap();
    assert_eq!(batch.column(1).as_string::<i32>().value(0), long);
}
