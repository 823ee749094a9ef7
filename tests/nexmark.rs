//! The Nexmark example gives the results that another engine computed over the same events.
//!
//! # Semantics
//! A result is checked by its number of rows and a sum: of every row, columns joined by tabs and
//! times in milliseconds, the first 15 hexadecimal digits of the MD5, summed modulo 2^60. The sums
//! are of queries written anew for a batch engine (DuckDB) over events of the reference generator.

#[path = "support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

use support::server::Server;

/// A view, the columns that are compared, how many rows it has, and their sum.
const EXPECTED: [(&str, &str, usize, &str); 15] = [
    ("q0", "auction, bidder, price, $ts, extra", 92_000, "3667f03a1a8f62e"),
    ("q1", "auction, bidder, price, $ts, extra", 92_000, "2b6bdae9c46a745"),
    ("q2", "auction, price", 374, "d1e99a7848d2562"),
    ("q3", "name, city, state, id", 803, "0fab1ae6242089f"),
    ("q4", "category, trunc(price)::BIGINT", 5, "9806703f947803b"),
    ("q5", "auction, num, $window_end", 9, "8e8a6a9414877a9"),
    ("q7", "auction, price, bidder, $ts, extra", 1, "2e8af5366e79529"),
    ("q8", "id, name, $window_start", 972, "b61e7bbfc9c13f7"),
    // Of equal bids for an auction either may win.
    ("q9", "id, price", 5_585, "b5ca366757b1cdd"),
    ("q11", "bidder, bids, $window_start, $window_end", 1_932, "302e8a93bfc85ea"),
    ("q13", "auction, bidder, price, $ts, value", 92_000, "8d09be7c553ffdc"),
    (
        "q17",
        "auction, day, total_bids, rank1_bids, rank2_bids, rank3_bids, min_price, max_price, \
         trunc(avg_price)::BIGINT, sum_price",
        5_993,
        "ecf13cddaec04d6",
    ),
    ("q18", "auction, bidder, price, channel, url, $ts, extra", 28_303, "378ee9a24d89c36"),
    ("q19", "auction, price, rn", 44_168, "ef214f9bde5d682"),
    (
        "q20",
        "auction, bidder, price, channel, url, $bid_ts, bid_extra, item_name, description, \
         initial_bid, reserve, $auction_ts, $expires, seller, category, auction_extra",
        16_548,
        "cde3a838637b9ad",
    ),
];

/// The line of a row, as an expression.
fn line(columns: &str) -> String {
    let columns = columns.split(", ").map(|column| match column.strip_prefix('$') {
        Some(time) => format!("(extract(epoch FROM {time}) * 1000)::BIGINT"),
        None => column.to_owned(),
    });
    format!("concat_ws(chr(9), {})", columns.collect::<Vec<_>>().join(", "))
}

#[test]
fn results_are_those_of_another_engine() {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).expect("the repository is there");
    let script = std::fs::read_to_string("sql/examples/nexmark.sql").expect("it is an example");
    let server = Server::start();
    let mut client = server.connect();
    for statement in script.split(";\n") {
        client.run(statement);
    }
    for (view, columns, rows, sum) in EXPECTED {
        let answer = client.run(&format!("SELECT md5({}) FROM {view}", line(columns)));
        let hashes = answer.rows.iter().map(|row| {
            let hash = row[0].as_deref().expect("a hash");
            u64::from_str_radix(&hash[..15], 16).expect("hexadecimal digits")
        });
        let actual = hashes.fold(0_u64, |sum, hash| (sum + hash) & ((1 << 60) - 1));
        let actual = format!("{actual:015x}");
        assert_eq!((answer.rows.len(), actual.as_str()), (rows, sum), "{view}: rows and sum");
    }
    for view in ["q6", "q12", "q14", "q15", "q16", "q21", "q22"] {
        let answer = client.run(&format!("SELECT count(*) > 0 FROM {view}"));
        assert_eq!(answer.value().as_deref(), Some("t"), "{view} has rows");
    }
}
