//! Tests of JSON lines.

use arrow::datatypes::{Int32Type, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use expect_test::expect;

use super::*;

fn schema(columns: Vec<(&str, DataType)>) -> SchemaRef {
    let field = |(name, data_type)| Field::new(name, data_type, true);
    Arc::new(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
}

fn decode(schema: SchemaRef, bytes: &[u8], last: bool) -> Decoded {
    let mut decoder = JsonDecoder::new(schema, Digits::Unknown).unwrap();
    let start = Block { bytes, from: Mark::default(), last, max_line: 1 << 26, file: "f.ndjson" };
    let from = decoder.header(start).unwrap().unwrap();
    let rest = &bytes[usize::try_from(from.offset).unwrap()..];
    decoder.decode(Block { bytes: rest, from, ..start }).unwrap()
}

fn ids(decoded: &Decoded) -> Vec<Option<i32>> {
    decoded.rows.column(0).as_primitive::<Int32Type>().iter().collect()
}

fn id_schema() -> SchemaRef {
    schema(vec![("id", DataType::Int32)])
}

#[test]
fn bad_records_in_the_middle_are_kept_out_and_the_others_keep_their_order() {
    let text = "{\"id\":1}\n{\"id\":\n\n{\"id\":\"x\"}\n{\"id\":4}{\"id\":5}\n[6]\n7\n\
                {\"id\":1.5}\n{\"id\":3000000000}\n{\"id\":9.0}\n";
    let decoded = decode(id_schema(), text.as_bytes(), true);
    assert_eq!(ids(&decoded), [Some(1), Some(9)]);
    let bad: Vec<String> = decoded
        .bad
        .iter()
        .map(|(at, b)| format!("{at} {} {} <{}>", b.place, b.flaw, b.raw))
        .collect();
    expect![[r#"
        1 f.ndjson:2 the record ends too early <{"id":>
        1 f.ndjson:4 column "id": invalid input syntax for type integer: "x" <{"id":"x"}>
        1 f.ndjson:5 a line is not one JSON object <{"id":4}{"id":5}>
        1 f.ndjson:6 expected { got [6] <[6]>
        1 f.ndjson:7 expected { got 7 <7>
        1 f.ndjson:8 column "id": invalid input syntax for type integer: "1.5" <{"id":1.5}>
        1 f.ndjson:9 column "id": value "3000000000" is out of range for type integer <{"id":3000000000}>"#]]
    .assert_eq(&bad.join("\n"));
    assert_eq!(decoded.ends[1], decoded.end);
    assert_eq!(decoded.end.line, 10);
}

#[test]
fn many_bad_lines_in_a_full_block() {
    let line = |i: usize| {
        if i.is_multiple_of(7) { "{oops\n".to_owned() } else { format!("{{\"id\":{i}}}\n") }
    };
    let text: String = (0..5000).map(line).collect();
    let decoded = decode(id_schema(), text.as_bytes(), true);
    let good: Vec<_> = (0..5000).filter(|i| i % 7 != 0).map(Some).collect();
    assert_eq!(ids(&decoded), good);
    assert_eq!(decoded.bad.len(), 715);
    assert_eq!(decoded.bad[1].0, 6);
    assert_eq!(decoded.bad[1].1.place, "f.ndjson:8");
}

#[test]
fn a_truncated_last_line_waits_or_is_bad() {
    let text = b"{\"id\":1}\r\n{\"id\":2";
    let waiting = decode(id_schema(), text, false);
    assert_eq!((ids(&waiting), waiting.bad.len(), waiting.end.offset), (vec![Some(1)], 0, 10));
    let last = decode(id_schema(), text, true);
    assert_eq!((ids(&last), last.bad[0].1.place.as_str()), (vec![Some(1)], "f.ndjson:2"));
    let whole = decode(id_schema(), b"{\"id\":1}", true);
    assert_eq!(ids(&whole), [Some(1)]);
}

#[test]
fn marks_nulls_empty_files_and_unknown_members() {
    let text = "\u{feff}{\"x\":{\"id\":[7]},\"id\":1}\r\n\r\n{\"id\":null}\n{}\n";
    assert_eq!(ids(&decode(id_schema(), text.as_bytes(), true)), [Some(1), None, None]);
    assert!(decode(id_schema(), b"", true).is_empty());
    assert!(decode(id_schema(), b"\n \r\n", true).is_empty());
}

#[test]
fn large_and_unusual_text() {
    let long = "é".repeat(1 << 19);
    let text =
        format!("{{\"t\":\"{long}\"}}\n{{\"t\":\"\\u00e9\\ud83d\\ude00\\\"\"}}\n{{\"t\":12.50}}\n");
    let decoded = decode(schema(vec![("t", DataType::Utf8)]), text.as_bytes(), true);
    let texts = decoded.rows.column(0).as_string::<i32>();
    assert_eq!(texts.value(0), long);
    assert_eq!(texts.value(1), "é😀\"");
    assert_eq!(texts.value(2), "12.50");
    let bad =
        decode(schema(vec![("t", DataType::Utf8)]), b"{\"t\":\"\xff\"}\n{\"t\":\"ok\"}\n", true);
    assert_eq!((bad.rows.num_rows(), bad.bad.len()), (1, 1));
    let long_bad = decode(id_schema(), format!("{{\"id\":\"{long}\"}}").as_bytes(), true);
    assert_eq!(long_bad.bad[0].1.raw.chars().count(), 300);
}

#[test]
fn timestamps_in_iso_forms() {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
    for data_type in [zoned, plain] {
        let text = "{\"ts\":\"2013-01-01T05:15:00\"}\n{\"ts\":\"2013-01-01 05:15:00\"}\n\
                    {\"ts\":\"2013-01-01T05:15:00Z\"}\n{\"ts\":\"2013-01-01T07:15:00.000+02:00\"}\n";
        let decoded = decode(schema(vec![("ts", data_type)]), text.as_bytes(), true);
        let times = decoded.rows.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.values().to_vec(), [1_357_017_300_000_000_i64; 4]);
    }
}

#[test]
fn a_number_is_a_time_if_its_unit_is_known() {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let list = DataType::List(Arc::new(Field::new_list_field(time.clone(), true)));
    let schema = schema(vec![("ts", time), ("l", list)]);
    let text = b"{\"ts\":1357017300}\n{\"ts\":\"1357017300\"}\n{\"l\":[1357017300,null]}\n\
                 {\"ts\":20130101}\n{\"ts\":\"2013-01-01 05:15\"}\n";
    let block = Block { bytes: text, from: Mark::default(), last: true, max_line: 99, file: "f" };
    let known = Digits::Count(TimeUnit::Second);
    let decoded = JsonDecoder::new(Arc::clone(&schema), known).unwrap().decode(block).unwrap();
    let times = decoded.rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let at = Some(1_357_017_300_000_000_i64);
    assert_eq!(times.iter().collect::<Vec<_>>(), [at, at, None, Some(20_130_101_000_000), at]);
    let element = decoded.rows.column(1).as_list::<i32>().value(2);
    assert_eq!(
        element.as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>(),
        [at, None]
    );
    let decoded = JsonDecoder::new(schema, Digits::Unknown).unwrap().decode(block).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.bad.len()), (1, 4));
    assert_eq!(
        decoded.bad[0].1.flaw.message,
        "column \"ts\": invalid input syntax for type timestamp: \"1357017300\" is a number; say \
         what it counts with time_unit = 's', 'ms', 'us' or 'ns'"
    );
}

#[test]
fn texts_and_lines_have_their_limits() {
    let metadata = [("pg_type".to_owned(), "character varying(3)".to_owned())];
    let field = Field::new("t", DataType::Utf8, true).with_metadata(metadata.into());
    let mut decoder = JsonDecoder::new(Arc::new(Schema::new(vec![field])), Digits::Date).unwrap();
    let text = "{\"t\":\"éàü\"}\n{\"t\":\"four\"}\n{\"t\":\"1\", \"skipped\": 1234567890}\n";
    let block = Block {
        bytes: text.as_bytes(),
        from: Mark::default(),
        last: true,
        max_line: 20,
        file: "f",
    };
    let decoded = decoder.decode(block).unwrap();
    assert_eq!(decoded.rows.num_rows(), 1);
    let flaws: Vec<_> =
        decoded.bad.iter().map(|(_, b)| (b.flaw.sqlstate.0, b.flaw.message.as_str())).collect();
    assert_eq!(
        flaws,
        [
            ("22001", "column \"t\": value too long for type character varying(3)"),
            ("54000", "the line has 32 bytes, more than max_line = 20")
        ]
    );
}

#[test]
fn every_type_has_a_json_form() {
    let columns = vec![
        ("b", DataType::Boolean),
        ("i", DataType::Int16),
        ("f", DataType::Float32),
        ("n", DataType::Decimal128(10, 2)),
        ("d", DataType::Date32),
        ("t", DataType::Time64(TimeUnit::Microsecond)),
        ("y", DataType::Binary),
        ("l", DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)))),
    ];
    let text = r#"{"b":true,"i":-7,"f":0.5,"n":1.005,"d":"2013-01-01","t":"05:15","y":"\\xff","l":[1,null]}"#;
    let decoded = decode(schema(columns), text.as_bytes(), true);
    let row: Vec<String> =
        decoded.rows.columns().iter().map(|c| array_value_to_string(c, 0).unwrap()).collect();
    expect!["true, -7, 0.5, 1.01, 2013-01-01, 05:15:00, ff, [1, ]"].assert_eq(&row.join(", "));
}

#[test]
fn json_columns_take_any_value_as_text() {
    let metadata = [("pg_type".to_owned(), "jsonb".to_owned())];
    let field = Field::new("p", DataType::Utf8, true).with_metadata(metadata.into());
    let text =
        "{\"p\":{\"a\":[1,\"}\"]}}\n{\"p\":\"s\"}\n{\"p\":null}\n{\"p\":{]}\n{\"p\":1.0}\n{}\n";
    let decoded = decode(Arc::new(Schema::new(vec![field])), text.as_bytes(), true);
    let texts: Vec<_> = decoded.rows.column(0).as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some(r#"{"a":[1,"}"]}"#), Some("\"s\""), None, Some("1.0"), None]);
    assert_eq!(decoded.bad[0].1.place, "f.ndjson:4");
}

#[test]
fn not_null_and_float_ranges_are_checked() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Float64, true),
        Field::new("b", DataType::Int32, false),
    ]));
    let decoded =
        decode(Arc::clone(&schema), b"{\"a\":1e400,\"b\":1}\n{\"a\":1}\n{\"a\":2,\"b\":2}", true);
    assert_eq!(decoded.rows.schema(), schema);
    assert_eq!(decoded.rows.num_rows(), 1);
    let flaws: Vec<String> = decoded.bad.iter().map(|(_, b)| b.flaw.to_string()).collect();
    assert_eq!(
        flaws,
        [
            "column \"a\": a number is out of range for type double precision",
            "null value in column \"b\" that is NOT NULL"
        ]
    );
}

#[test]
fn a_block_has_at_most_so_many_records() {
    let text = "{\"id\":1}\n".repeat(RECORDS_MAX + 10);
    let decoded = decode(id_schema(), text.as_bytes(), true);
    assert_eq!(decoded.rows.num_rows(), RECORDS_MAX);
    assert_eq!(decoded.end.line, count(RECORDS_MAX));
}

#[test]
fn rows_can_be_taken_in_parts() {
    let text = "x\n{\"id\":1}\nx\n{\"id\":2}\nx\n";
    let mut decoded = decode(id_schema(), text.as_bytes(), true);
    let first = decoded.take(1);
    assert_eq!((first.rows.num_rows(), first.bad.len(), first.end.line), (1, 1, 2));
    assert_eq!(ids(&first), [Some(1)]);
    let rest = decoded.take(5);
    assert_eq!((ids(&rest), rest.bad.len(), rest.end.line), (vec![Some(2)], 2, 5));
    assert!(decoded.is_empty());
}
