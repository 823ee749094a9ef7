//! Columns of events, by their names.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, TimeUnit};

use super::events::{Events, Kind};

const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// Makes the values of a column.
#[derive(Clone, Copy)]
enum Values {
    Number(fn(&Events, u64) -> u64),
    Time(fn(&Events, u64) -> u64),
    Word(fn(&Events, u64) -> &str),
    Text(fn(&Events, u64) -> String),
}

/// A column of an event.
#[derive(Clone, Copy)]
pub struct Column {
    name: &'static str,
    values: Values,
}

const fn column(name: &'static str, values: Values) -> Column {
    Column { name, values }
}

const PERSON: [Column; 8] = [
    column("id", Values::Number(|_, n| Events::person(n))),
    column(
        "name",
        Values::Text(|e, n| {
            let first = FIRST_NAMES[e.choice(n, 1, FIRST_NAMES.len())];
            format!("{first} {}", LAST_NAMES[e.choice(n, 2, LAST_NAMES.len())])
        }),
    ),
    column(
        "email_address",
        Values::Text(|e, n| format!("{}@{}.com", e.word(n, 3, [3, 5]), e.word(n, 5, [3, 3]))),
    ),
    column(
        "credit_card",
        Values::Text(|e, n| {
            let [a, b, c, d] = [7, 8, 9, 10].map(|k| e.below(n, k, 10_000));
            format!("{a:04} {b:04} {c:04} {d:04}")
        }),
    ),
    column("city", Values::Word(|e, n| CITIES[e.choice(n, 11, CITIES.len())])),
    column("state", Values::Word(|e, n| STATES[e.choice(n, 12, STATES.len())])),
    column("date_time", Values::Time(Events::time)),
    column("extra", Values::Word(|e, n| e.word(n, 13, [108, 54]))),
];

const AUCTION: [Column; 10] = [
    column("id", Values::Number(|_, n| Events::auction(n))),
    column("item_name", Values::Word(|e, n| e.word(n, 5, [3, 17]))),
    column("description", Values::Word(|e, n| e.word(n, 7, [3, 97]))),
    column("initial_bid", Values::Number(|e, n| e.price(n, 4))),
    column("reserve", Values::Number(|e, n| e.price(n, 4) + e.price(n, 9))),
    column("date_time", Values::Time(Events::time)),
    column("expires", Values::Time(Events::expires)),
    column("seller", Values::Number(Events::seller)),
    column("category", Values::Number(|e, n| 10 + e.below(n, 3, 5))),
    column("extra", Values::Word(|e, n| e.word(n, 11, [312, 156]))),
];

const BID: [Column; 7] = [
    column("auction", Values::Number(Events::bid_for)),
    column("bidder", Values::Number(Events::bidder)),
    column("price", Values::Number(|e, n| e.price(n, 5))),
    column("channel", Values::Word(|e, n| &e.channel(n).0)),
    column("url", Values::Word(|e, n| &e.channel(n).1)),
    column("date_time", Values::Time(Events::time)),
    column("extra", Values::Word(|e, n| e.word(n, 9, [54, 28]))),
];

fn of(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Person => &PERSON,
        Kind::Auction => &AUCTION,
        Kind::Bid => &BID,
    }
}

impl Column {
    /// Finds a column of an event; `itemName` is `item_name`, and `ts` is `date_time`.
    pub fn find(kind: Kind, name: &str) -> Option<Self> {
        let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let name = match plain(name).as_str() {
            "ts" => plain("date_time"),
            "email" => plain("email_address"),
            name => name.to_owned(),
        };
        of(kind).iter().find(|column| plain(column.name) == name).copied()
    }

    /// Returns the names of an event's columns.
    pub fn names(kind: Kind) -> Vec<&'static str> {
        of(kind).iter().map(|column| column.name).collect()
    }

    /// Returns the type in which values are made.
    pub fn data_type(&self) -> DataType {
        match self.values {
            Values::Number(_) => DataType::Int64,
            Values::Time(_) => DataType::Timestamp(TimeUnit::Millisecond, None),
            Values::Word(_) | Values::Text(_) => DataType::Utf8,
        }
    }

    /// Returns the type to declare.
    pub fn type_name(&self) -> &'static str {
        match self.values {
            Values::Number(_) => "a BIGINT",
            Values::Time(_) => "a TIMESTAMP",
            Values::Word(_) | Values::Text(_) => "a TEXT",
        }
    }

    /// Makes the values of some events.
    pub fn make(&self, events: &Events, numbers: &[u64]) -> ArrayRef {
        let signed = |value: u64| i64::try_from(value).expect("ids and times are far below 2^63");
        let numbers = numbers.iter().copied();
        match self.values {
            Values::Number(value) => {
                Arc::new(numbers.map(|n| Some(signed(value(events, n)))).collect::<Int64Array>())
            }
            Values::Time(value) => Arc::new(TimestampMillisecondArray::from_iter_values(
                numbers.map(|n| signed(value(events, n))),
            )),
            Values::Word(value) => {
                Arc::new(StringArray::from_iter_values(numbers.map(|n| value(events, n))))
            }
            Values::Text(value) => {
                Arc::new(StringArray::from_iter_values(numbers.map(|n| value(events, n))))
            }
        }
    }
}
