//! Tests of the events against those of the reference generator.

use std::collections::BTreeMap;

use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use expect_test::expect;

use super::*;
use crate::clock::ManualClock;
use crate::connectors::open;

const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn spec(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> SourceSpec {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    let mut map = BTreeMap::from([("connector".to_owned(), "nexmark".to_owned())]);
    map.extend(options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    SourceSpec {
        options: map,
        schema: Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())),
        event_time: None,
        from: SourcePosition::default(),
        clock: Arc::new(ManualClock::default()),
    }
}

async fn all(spec: &SourceSpec, rows_max: usize, reopen: bool) -> RecordBatch {
    let mut spec = spec.clone();
    let mut source = open(&spec).unwrap().source;
    let mut batches = Vec::new();
    while let Some(batch) = source.next(rows_max).await.unwrap() {
        assert!(batch.rows.num_rows() <= rows_max);
        batches.push(batch.rows);
        spec.from = batch.position;
        if reopen {
            source = open(&spec).unwrap().source;
        }
    }
    concat_batches(&spec.schema, &batches).unwrap()
}

async fn text(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> String {
    pretty_format_batches(&[all(&spec(columns, options), 7, false).await]).unwrap().to_string()
}

#[tokio::test]
async fn events_are_those_of_the_reference() {
    let persons = [
        ("id", DataType::Int64),
        ("name", DataType::Utf8),
        ("email", DataType::Utf8),
        ("creditCard", DataType::Utf8),
        ("city", DataType::Utf8),
        ("state", DataType::Utf8),
        ("ts", TIME),
    ];
    expect![[r#"
        +------+--------------+-------------------+---------------------+---------+-------+-------------------------+
        | id   | name         | email             | creditCard          | city    | state | ts                      |
        +------+--------------+-------------------+---------------------+---------+-------+-------------------------+
        | 1000 | Paul Shultz  | rfe@skae.com      | 3863 6347 0124 3333 | Bend    | ID    | 2015-07-15T00:00:00     |
        | 1001 | Julie Smith  | psjhwlc@sflpv.com | 1121 2561 6068 9784 | Seattle | WA    | 2015-07-15T00:00:00.005 |
        | 1002 | Saul Spencer | guq@ifvtp.com     | 6485 8124 7161 7135 | Seattle | WY    | 2015-07-15T00:00:00.010 |
        +------+--------------+-------------------+---------------------+---------+-------+-------------------------+"#]].assert_eq(&text(&persons, &[("event", "person"), ("events", "101")]).await);
    let auctions = [
        ("id", DataType::Int64),
        ("item_name", DataType::Utf8),
        ("initialBid", DataType::Int64),
        ("reserve", DataType::Int64),
        ("expires", TIME),
        ("seller", DataType::Int32),
        ("category", DataType::Int64),
    ];
    expect![[r#"
        +------+-----------------+------------+----------+-------------------------+--------+----------+
        | id   | item_name       | initialBid | reserve  | expires                 | seller | category |
        +------+-----------------+------------+----------+-------------------------+--------+----------+
        | 1000 | nuyboc          | 22348048   | 32608779 | 2015-07-15T00:00:00.099 | 1000   | 10       |
        | 1001 | znkthf          | 67150718   | 67805027 | 2015-07-15T00:00:00.299 | 1004   | 14       |
        | 1002 | tqbaarlvjjv     | 4753395    | 60682607 | 2015-07-15T00:00:00.178 | 1000   | 14       |
        | 1003 | hkwahnenbkzfura | 25339      | 50070    | 2015-07-15T00:00:00.034 | 1000   | 14       |
        | 1004 | lcqxeilvowwv    | 1227       | 76011    | 2015-07-15T00:00:00.310 | 1000   | 13       |
        +------+-----------------+------------+----------+-------------------------+--------+----------+"#]].assert_eq(&text(&auctions, &[("event", "auction"), ("events", "53")]).await);
    let bids = [
        ("auction", DataType::Int64),
        ("bidder", DataType::Int64),
        ("price", DataType::Int64),
        ("channel", DataType::Utf8),
        ("url", DataType::Utf8),
        ("dateTime", TIME),
    ];
    expect![[r#"
        +---------+--------+----------+----------+-------------------------------------------------------+---------------------+
        | auction | bidder | price    | channel  | url                                                   | dateTime            |
        +---------+--------+----------+----------+-------------------------------------------------------+---------------------+
        | 1005    | 1006   | 15061162 | Facebook | https://www.nexmark.com/fpu/ckt/qpvk/item.htm?query=1 | 2015-07-15T00:00:00 |
        | 1000    | 1002   | 39579495 | Facebook | https://www.nexmark.com/fpu/ckt/qpvk/item.htm?query=1 | 2015-07-15T00:00:00 |
        +---------+--------+----------+----------+-------------------------------------------------------+---------------------+"#]].assert_eq(&text(&bids, &[("event", "bid"), ("events", "6")]).await);
}

#[tokio::test]
async fn batches_and_resumption_change_nothing() {
    for kind in ["person", "auction", "bid"] {
        let columns = [("extra", DataType::Utf8), ("date_time", TIME)];
        let options = [("event", kind), ("events", "5003"), ("seed", "7")];
        let spec = spec(&columns, &options);
        let rows = all(&spec, 100_000, false).await;
        assert_eq!(rows, all(&spec, 1, false).await);
        assert_eq!(rows, all(&spec, 93, true).await);
    }
}

#[test]
fn wrong_declarations_are_refused() {
    let message = |columns: &[(&str, DataType)], options: &[(&str, &str)]| {
        open(&spec(columns, options)).err().unwrap().to_string()
    };
    let id = [("id", DataType::Int64)];
    assert_eq!(message(&id, &[]), "option \"event\" is missing");
    assert_eq!(message(&id, &[("event", "x")]), "option \"event\" cannot be 'x'");
    assert_eq!(message(&id, &[("event", "bid")]), "a bid has no \"id\"");
    let dated = [("id", DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano))];
    assert_eq!(message(&dated, &[("event", "person")]), "column \"id\" cannot be of its type");
    let zero = [("event", "bid"), ("events_per_second", "0")];
    assert_eq!(
        message(&[("price", DataType::Int64)], &zero),
        "option \"events_per_second\" cannot be '0'"
    );
    assert!(!open(&spec(&id, &[("event", "person")])).unwrap().bounded);
}
