use bytes::BytesMut;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, IntervalMonthDayNano, IntervalUnit, Schema, TimeUnit};

use super::*;
use crate::wire::encode::{Layout, Style};
use crate::wire::pg_type::natural;

/// Encodes a value as the server does.
fn encoded(value: &ScalarValue, format: Format) -> Vec<u8> {
    let field = Field::new("c", value.data_type(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let array = value.to_array().unwrap();
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![array]).unwrap();
    let layout = Layout::new(&schema, &[format as i16]);
    let mut out = BytesMut::new();
    layout.batch(&batch, Style::default()).unwrap().write_fields(0, &mut out);
    // Behind the number of fields and the field's length.
    out[6..].to_vec()
}

fn decoded(bytes: &[u8], format: Format, target: &DataType) -> ScalarValue {
    match parameter(Some(bytes), format, &natural(target), target, None) {
        Ok(value) => value,
        Err(_) => panic!("{target} not decoded from {bytes:?}"),
    }
}

#[test]
fn every_type_survives_the_way_out_and_in() {
    let interval = IntervalMonthDayNano::new(14, -3, 4_005_000_000);
    let items = [ScalarValue::Int32(Some(7)), ScalarValue::Int32(None)];
    let words = [Some("a,b"), Some("null"), None, Some("say \"hi\" \\"), Some("")];
    let words: Vec<_> = words.map(|word| ScalarValue::Utf8(word.map(str::to_owned))).into();
    let values = [
        ScalarValue::Boolean(Some(true)),
        ScalarValue::Int16(Some(-5)),
        ScalarValue::Int32(Some(i32::MIN)),
        ScalarValue::Int64(Some(i64::MAX)),
        ScalarValue::Float32(Some(1.5e-7)),
        ScalarValue::Float64(Some(-0.1)),
        ScalarValue::Float64(Some(f64::INFINITY)),
        ScalarValue::Decimal128(Some(-1_234_500_007), 20, 4),
        ScalarValue::Decimal128(Some(7), 20, 6),
        ScalarValue::Decimal128(Some(0), 20, 2),
        ScalarValue::Utf8(Some("grüße".to_owned())),
        ScalarValue::Binary(Some(vec![0, 255, 92])),
        ScalarValue::Date32(Some(19_000)),
        ScalarValue::Date32(Some(i32::MAX)),
        ScalarValue::Time64Microsecond(Some(3_661_000_001)),
        ScalarValue::TimestampMicrosecond(Some(1_700_000_000_123_456), None),
        ScalarValue::TimestampMicrosecond(Some(i64::MIN), None),
        ScalarValue::TimestampMicrosecond(Some(-1), Some("+00:00".into())),
        ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Int32)),
        ScalarValue::List(ScalarValue::new_list_nullable(&words, &DataType::Utf8)),
        ScalarValue::List(ScalarValue::new_list_nullable(&[], &DataType::Int32)),
        ScalarValue::IntervalMonthDayNano(Some(interval)),
    ];
    for value in values {
        for format in [Format::Binary, Format::Text] {
            let bytes = encoded(&value, format);
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(decoded(&bytes, format, &value.data_type()), value, "{format:?} {shown}");
        }
    }
}

#[test]
fn text_is_read_as_postgres_reads_it() {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let read = |text: &str, target: &DataType, zone: Option<&str>| {
        let zone = zone.map(|zone| zone.parse().unwrap());
        parameter(Some(text.as_bytes()), Format::Text, &natural(target), target, zone).ok()
    };
    assert_eq!(read("yes", &DataType::Boolean, None), Some(ScalarValue::Boolean(Some(true))));
    assert_eq!(read(" 42 ", &DataType::Int32, None), Some(ScalarValue::Int32(Some(42))));
    assert_eq!(read("4x", &DataType::Int32, None), None);
    assert_eq!(read("NaN", &DataType::Float64, None).map(|v| v.to_string()).unwrap(), "NaN");
    let noon = read("1970-01-01 12:00:00", &micros, Some("America/New_York"));
    let expected =
        ScalarValue::TimestampMicrosecond(Some(17 * 3_600_000_000), Some("+00:00".into()));
    assert_eq!(noon, Some(expected));
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let expected = IntervalMonthDayNano::new(0, 1, 7_200_000_000_000);
    let expected = ScalarValue::IntervalMonthDayNano(Some(expected));
    assert_eq!(read("1 day 02:00:00", &interval, None), Some(expected));
}

#[test]
fn binary_of_another_type_is_cast() {
    let value =
        parameter(Some(&7_i32.to_be_bytes()), Format::Binary, &Type::INT4, &DataType::Int64, None);
    assert_eq!(value.ok(), Some(ScalarValue::Int64(Some(7))));
    let short = parameter(Some(&[1]), Format::Binary, &Type::INT4, &DataType::Int32, None);
    assert!(short.is_err());
}
