//! Tests of CSV files.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use expect_test::expect;

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("name", DataType::Utf8, true),
    ]))
}

fn try_decode(options: CsvOptions, bytes: &[u8], last: bool) -> Result<Decoded> {
    let mut decoder = CsvDecoder::new(schema(), options)?;
    let start = Block { bytes, from: Mark::default(), last, max_line: 1 << 26, file: "f.csv" };
    let from = decoder.header(start)?.expect("the header is whole");
    let rest = &bytes[usize::try_from(from.offset).unwrap()..];
    decoder.decode(Block { bytes: rest, from, ..start })
}

fn rows(decoded: &Decoded) -> Vec<(Option<i32>, Option<String>)> {
    let ids = decoded.rows.column(0).as_primitive::<Int32Type>().iter();
    let names = decoded.rows.column(1).as_string::<i32>().iter().map(|t| t.map(str::to_owned));
    ids.zip(names).collect()
}

fn row(id: i32, name: &str) -> (Option<i32>, Option<String>) {
    (Some(id), Some(name.to_owned()))
}

#[test]
fn columns_are_matched_by_name() {
    let text = "\u{feff}Name,other,ID\r\n\"a,\"\"b\"\"\r\nc\",x,1\r\n,,\r\n\"\",,2";
    let decoded = try_decode(CsvOptions::default(), text.as_bytes(), true).unwrap();
    assert_eq!(rows(&decoded), [row(1, "a,\"b\"\r\nc"), (None, None), row(2, "")]);
    assert_eq!(decoded.ends.iter().map(|m| m.line).collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn options_and_no_header() {
    let options = CsvOptions {
        header: false,
        delimiter: b';',
        null: "NA".to_owned(),
        ..CsvOptions::default()
    };
    let decoded = try_decode(options, b"1;a\nNA;NA\n\n2;\"NA\"\n", true).unwrap();
    assert_eq!(rows(&decoded), [row(1, "a"), (None, None), row(2, "NA")]);
}

#[test]
fn bad_rows_are_kept_out_with_their_lines() {
    let text =
        b"id,name\n1,a\nx,b\n2\n3,c,d\n9999999999,e\n4,\xff\n\"5\",\"a\nb\"\n6,\"open\n7,g\n";
    let decoded = try_decode(CsvOptions::default(), text, true).unwrap();
    assert_eq!(rows(&decoded), [row(1, "a"), row(5, "a\nb"), row(7, "g")]);
    let bad: Vec<String> = decoded
        .bad
        .iter()
        .map(|(at, b)| format!("{at} {} {} <{}>", b.place, b.flaw, b.raw))
        .collect();
    expect![[r#"
        1 f.csv:3 column "id": invalid input syntax for type integer: "x" <x,b>
        1 f.csv:4 the record has 1 fields, not 2 <2>
        1 f.csv:5 the record has 3 fields, not 2 <3,c,d>
        1 f.csv:6 column "id": value "9999999999" is out of range for type integer <9999999999,e>
        1 f.csv:7 invalid utf-8 sequence of 1 bytes from index 1 <4,�>
        2 f.csv:10 a quote is not closed <6,"open>"#]]
    .assert_eq(&bad.join("\n"));
}

#[test]
fn a_record_may_be_no_longer_than_said() {
    let mut decoder = CsvDecoder::new(schema(), CsvOptions::default()).unwrap();
    let block = |bytes, last| Block { bytes, from: Mark::default(), last, max_line: 10, file: "f" };
    let decoded = decoder.decode(block(b"1,abcdefgh\n2,\"b\n3,c\n", false)).unwrap();
    // The open quote may still be closed within ten bytes.
    assert_eq!((decoded.rows.num_rows(), decoded.end.line), (0, 1));
    assert_eq!(decoded.bad[0].1.flaw, Flaw::too_long(11, 10));
    let decoded = decoder.decode(block(b"2,\"b\n3,c\n4,d\n", false)).unwrap();
    assert_eq!(rows(&decoded), [row(3, "c"), row(4, "d")]);
    assert_eq!(decoded.bad[0].1.flaw, Flaw::malformed("a quote is not closed"));
}

#[test]
fn partial_records_wait() {
    let decoded = try_decode(CsvOptions::default(), b"id,name\n1,a\n2,\"b\nc", false).unwrap();
    assert_eq!(rows(&decoded), [row(1, "a")]);
    assert_eq!(decoded.end, Mark { offset: 12, line: 2 });
}

#[test]
fn large_values_and_empty_files() {
    let long = "x".repeat(1 << 20);
    let text = format!("id,name\n1,{long}\n");
    let decoded = try_decode(CsvOptions::default(), text.as_bytes(), true).unwrap();
    assert_eq!(rows(&decoded), [row(1, &long)]);
    assert!(try_decode(CsvOptions::default(), b"", true).unwrap().is_empty());
    assert!(try_decode(CsvOptions::default(), b"id,name", true).unwrap().is_empty());
}

#[test]
fn a_header_without_a_declared_column_is_an_error() {
    let error = try_decode(CsvOptions::default(), b"id,b\n", true).unwrap_err();
    assert_eq!(error.to_string(), "f.csv: the header has no column \"name\"; it has id, b");
}
