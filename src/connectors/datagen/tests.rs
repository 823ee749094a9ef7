//! Tests of made-up rows.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, IntervalUnit, Schema, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::util::pretty::pretty_format_batches;
use expect_test::expect;

use super::*;
use crate::clock::ManualClock;
use crate::connectors::open;

fn spec(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> SourceSpec {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    let mut map = BTreeMap::from([("connector".to_owned(), "datagen".to_owned())]);
    map.extend(options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    SourceSpec {
        options: map,
        schema: Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())),
        event_time: Some("ts".to_owned()),
        from: SourcePosition::default(),
        clock: Arc::new(ManualClock::default()),
    }
}

fn columns() -> Vec<(&'static str, DataType)> {
    vec![
        ("id", DataType::Int32),
        ("small", DataType::Int16),
        ("x", DataType::Float64),
        ("n", DataType::Decimal128(6, 2)),
        ("name", DataType::Utf8),
        ("ok", DataType::Boolean),
        ("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("day", DataType::Date32),
        ("at", DataType::Time64(TimeUnit::Microsecond)),
        ("raw", DataType::Binary),
        ("list", DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)))),
        ("span", DataType::Interval(IntervalUnit::MonthDayNano)),
    ]
}

async fn all(spec: &SourceSpec, rows_max: usize, reopen: bool) -> RecordBatch {
    let mut spec = spec.clone();
    let mut source = open(&spec).unwrap().source;
    let mut batches = Vec::new();
    while let Some(batch) = source.next(rows_max).await.unwrap() {
        batches.push(batch.rows);
        spec.from = batch.position;
        if reopen {
            source = open(&spec).unwrap().source;
        }
    }
    concat_batches(&spec.schema, &batches).unwrap()
}

#[tokio::test]
async fn rows_depend_on_the_seed_alone() {
    let options = [("rows", "1000"), ("fields.name.null_fraction", "0.2"), ("disorder", "5 s")];
    let seven = spec(&columns(), &options);
    let rows = all(&seven, 1000, false).await;
    assert_eq!(rows, all(&seven, 7, false).await);
    assert_eq!(rows, all(&seven, 300, true).await);
    let eight = spec(&columns(), &[&options[..], &[("seed", "8")]].concat());
    assert_ne!(rows, all(&eight, 1000, false).await);
    let nulls = rows.column(4).null_count();
    assert!((150..250).contains(&nulls), "{nulls} of 1000 are NULL");
}

#[tokio::test]
async fn defaults_are_sensible() {
    let rows = all(&spec(&columns()[..9], &[("rows", "3")]), 10, false).await;
    expect![[r#"
        +----+-------+-------------------+-------+-------+-------+----------------------+------------+-----------------+
        | id | small | x                 | n     | name  | ok    | ts                   | day        | at              |
        +----+-------+-------------------+-------+-------+-------+----------------------+------------+-----------------+
        | 1  | 67    | 47.69540335124795 | 0.03  | delta | true  | 2024-01-01T00:00:00Z | 2024-01-01 | 19:14:07.207563 |
        | 2  | 86    | 69.22009386122267 | 74.02 | beta  | false | 2024-01-01T00:00:01Z | 2024-01-01 | 09:33:21.532189 |
        | 3  | 27    | 29.12183096608483 | 75.90 | delta | false | 2024-01-01T00:00:02Z | 2024-01-01 | 02:26:22.788484 |
        +----+-------+-------------------+-------+-------+-------+----------------------+------------+-----------------+"#]]
    .assert_eq(pretty_format_batches(&[rows]).unwrap().to_string().as_str());
}

#[tokio::test]
async fn kinds_and_their_attributes() {
    let options = [
        ("rows", "500"),
        ("start", "2013-01-01"),
        ("step", "100 ms"),
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "10"),
        ("fields.id.step", "-2"),
        ("fields.x.min", "-1"),
        ("fields.x.max", "1"),
        ("fields.name.choices", "a, b"),
        ("fields.ts.disorder", "1 s"),
    ];
    let rows = all(&spec(&columns(), &options), 100, false).await;
    let ids = rows.column(0).as_primitive::<Int32Type>();
    assert_eq!((ids.value(0), ids.value(499)), (10, -988));
    let xs = rows.column(2).as_primitive::<Float64Type>();
    assert!(xs.values().iter().all(|x| (-1.0..=1.0).contains(x)));
    assert!(xs.values().iter().any(|x| *x < -0.8) && xs.values().iter().any(|x| *x > 0.8));
    let names = rows.column(4).as_string::<i32>();
    assert!(names.iter().all(|n| n == Some("a") || n == Some("b")));
    let times = rows.column(6).as_primitive::<TimestampMicrosecondType>().values().to_vec();
    let late = |(row, time): (i64, &i64)| 1_356_998_400_000_000 + row * 100_000 - time;
    assert!((0..).zip(&times).map(late).all(|late| (0..=1_000_000).contains(&late)));
    assert!(times.windows(2).any(|pair| pair[1] < pair[0]), "some are out of order");
}

#[tokio::test]
async fn endless_sources_fill_batches_and_small_types_end() {
    let endless = spec(&columns()[..1], &[]);
    assert!(!open(&endless).unwrap().bounded);
    assert!(open(&spec(&columns(), &[("rows", "1")])).unwrap().bounded);
    let batch = open(&endless).unwrap().source.next(usize::MAX).await.unwrap().unwrap();
    assert_eq!(batch.rows.num_rows(), RECORDS_MAX);
    let small = spec(
        &columns()[1..2],
        &[("fields.small.kind", "sequence"), ("fields.small.start", "32760")],
    );
    let error = open(&small).unwrap().source.next(100).await.unwrap_err();
    assert_eq!(error.to_string(), "datagen: the values of column \"small\" leave its type");
    let mut short = spec(&[("name", DataType::Utf8)], &[("fields.name.kind", "sequence")]);
    let metadata = [("pg_type".to_owned(), "character varying(1)".to_owned())];
    let name = Field::new("name", DataType::Utf8, true).with_metadata(metadata.into());
    short.schema = Arc::new(Schema::new(vec![name]));
    let mut source = open(&short).unwrap().source;
    assert_eq!(source.next(9).await.unwrap().unwrap().rows.num_rows(), 9);
    assert!(source.next(1).await.is_err(), "\"10\" is too long");
}

#[test]
fn wrong_options_are_refused() {
    let message = |key: &str, value: &str| {
        open(&spec(&columns(), &[(key, value)])).err().unwrap().to_string()
    };
    assert_eq!(message("row", "1"), "unknown option \"row\"");
    assert_eq!(message("rows", "-1"), "option \"rows\" cannot be '-1'");
    assert_eq!(message("rate", "2x"), "option \"rate\" cannot be '2x'");
    assert_eq!(
        message("fields.none.min", "1"),
        "option \"fields.none.min\": there is no column \"none\""
    );
    assert_eq!(message("fields.id.mim", "1"), "unknown option \"fields.id.mim\"");
    assert_eq!(message("fields.id.kind", "x"), "option \"fields.id.kind\" cannot be 'x'");
    assert_eq!(message("fields.id.min", "101"), "option \"fields.id.min\" is above the maximum");
    assert_eq!(
        message("fields.name.null_fraction", "2"),
        "option \"fields.name.null_fraction\" cannot be '2'"
    );
    assert_eq!(
        message("fields.id.kind", "timestamp"),
        "option \"fields.id.kind\" cannot be 'timestamp'"
    );
}
