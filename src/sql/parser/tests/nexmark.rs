//! The Nexmark queries, as the language's description gives them.

use super::*;
use crate::sql::statement::Emit;

/// The queries that the grammar covers. Left out: q6 (CREATE STREAM AS ISTREAM) and q13 (RSTREAM),
/// which stand below, and q10 (CREATE SINK), which is to come.
const QUERIES: &[(&str, Option<Emit>, &str)] = &[
    (
        "q0",
        None,
        "
SELECT auction, bidder, price, ts, extra FROM bid
",
    ),
    (
        "q1",
        None,
        "
SELECT auction, bidder, 0.908 * price AS price, ts, extra FROM bid
",
    ),
    (
        "q2",
        None,
        "
SELECT auction, price FROM bid WHERE auction % 123 = 0
",
    ),
    (
        "q3",
        None,
        "
SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA')
",
    ),
    (
        "q4",
        Some(Emit::Changes),
        "
SELECT q.category, AVG(q.final) FROM (
  SELECT MAX(b.price) AS final, a.category FROM auction a JOIN bid b ON a.id = b.auction AND
  b.ts BETWEEN a.ts AND a.expires
  GROUP BY a.id, a.category) q GROUP BY q.category EMIT CHANGES
",
    ),
    (
        "q5",
        Some(Emit::OnWindowClose),
        "
WITH c AS (SELECT auction, COUNT(*) AS num, window_start, window_end
           FROM HOP(bid, ts, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY auction,
  window_start, window_end)
SELECT auction, num FROM (SELECT *, RANK() OVER (PARTITION BY window_start, window_end ORDER BY
  num DESC) AS r FROM c) t
WHERE r = 1 EMIT ON WINDOW CLOSE
",
    ),
    (
        "q7",
        Some(Emit::OnWindowClose),
        "
SELECT auction, price, bidder, ts, extra FROM (
  SELECT *, RANK() OVER (PARTITION BY window_start, window_end ORDER BY price DESC) AS r FROM
  TUMBLE(bid, ts, INTERVAL '10 seconds')) t
WHERE r = 1 EMIT ON WINDOW CLOSE
",
    ),
    (
        "q8",
        Some(Emit::OnWindowClose),
        "
SELECT p.id, p.name, p.window_start FROM
  (SELECT DISTINCT id, name, window_start, window_end FROM TUMBLE(person, ts, INTERVAL '10
  seconds')) p JOIN
  (SELECT DISTINCT seller, window_start, window_end FROM TUMBLE(auction, ts, INTERVAL '10
  seconds')) a
  ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end EMIT
  ON WINDOW CLOSE
",
    ),
    (
        "q9",
        Some(Emit::Changes),
        "
SELECT * FROM (SELECT a.*, b.auction, b.bidder, b.price, b.ts AS bid_ts, b.extra AS bid_extra,
    ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.ts) AS rn
  FROM auction a JOIN bid b ON a.id = b.auction AND b.ts BETWEEN a.ts AND a.expires) t WHERE rn
  = 1 EMIT CHANGES
",
    ),
    (
        "q11",
        Some(Emit::OnWindowClose),
        "
SELECT bidder, COUNT(*), window_start, window_end FROM SESSION(bid, ts, INTERVAL '10 seconds',
  key => bidder)
GROUP BY bidder, window_start, window_end EMIT ON WINDOW CLOSE
",
    ),
    (
        "q12",
        Some(Emit::OnWindowClose),
        "
SELECT bidder, COUNT(*), window_start, window_end FROM TUMBLE(bid, proc_time(), INTERVAL '10
  seconds')
GROUP BY bidder, window_start, window_end EMIT ON WINDOW CLOSE
",
    ),
    (
        "q14",
        None,
        "
SELECT auction, bidder, 0.908 * price AS price,
  CASE WHEN extract(hour FROM ts) BETWEEN 8 AND 18 THEN 'dayTime' WHEN extract(hour FROM ts) <=
  6 OR extract(hour FROM ts) >= 20 THEN 'nightTime' ELSE 'otherTime' END AS bid_time_type,
  ts, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts
FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000
",
    ),
    (
        "q15",
        Some(Emit::Changes),
        "
SELECT to_char(ts, 'YYYY-MM-DD') AS day, COUNT(*) AS total_bids,
  COUNT(*) FILTER (WHERE price < 10000) AS rank1_bids, COUNT(*) FILTER (WHERE price >= 10000
  AND price < 1000000) AS rank2_bids, COUNT(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
  COUNT(DISTINCT bidder) AS total_bidders, COUNT(DISTINCT bidder) FILTER (WHERE price < 10000)
  AS rank1_bidders,
  COUNT(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders,
  COUNT(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders,
  COUNT(DISTINCT auction) AS total_auctions, COUNT(DISTINCT auction) FILTER (WHERE price <
  10000) AS rank1_auctions,
  COUNT(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions,
  COUNT(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions
FROM bid GROUP BY 1 EMIT CHANGES
",
    ),
    (
        "q16",
        Some(Emit::Changes),
        "
SELECT channel, to_char(ts, 'YYYY-MM-DD') AS day, MAX(to_char(ts, 'HH24:MI')) AS minute,
  COUNT(*) AS total_bids, COUNT(*) FILTER (WHERE price < 10000) AS rank1_bids,
  COUNT(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders
FROM bid GROUP BY channel, to_char(ts, 'YYYY-MM-DD') EMIT CHANGES
",
    ),
    (
        "q17",
        Some(Emit::Changes),
        "
SELECT auction, to_char(ts, 'YYYY-MM-DD') AS day, COUNT(*) AS total_bids,
  COUNT(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
  MIN(price) AS min_price, MAX(price), AVG(price), SUM(price)
FROM bid GROUP BY auction, day EMIT CHANGES
",
    ),
    (
        "q18",
        Some(Emit::Changes),
        "
SELECT auction, bidder, price, channel, url, ts, extra FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY ts DESC) AS rn FROM bid) t
  WHERE rn <= 1 EMIT CHANGES
",
    ),
    (
        "q19",
        Some(Emit::Changes),
        "
SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS rn
  FROM bid) t WHERE rn <= 10 EMIT CHANGES
",
    ),
    (
        "q20",
        None,
        "
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.ts, b.extra, a.item_name,
  a.description, a.initial_bid, a.reserve, a.ts, a.expires, a.seller, a.category, a.extra
FROM bid b JOIN auction a ON b.auction = a.id WHERE a.category = 10
",
    ),
    (
        "q21",
        None,
        "
SELECT auction, bidder, price, channel, CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google'
  THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
  ELSE (regexp_match(url, '(&|^)channel_id=([^&]*)'))[2] END AS channel_id
FROM bid WHERE (regexp_match(url, '(&|^)channel_id=([^&]*)'))[2] IS NOT NULL OR lower(channel)
  IN ('apple', 'google', 'facebook', 'baidu')
",
    ),
    (
        "q22",
        None,
        "
SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/',
  5) AS dir2, split_part(url, '/', 6) AS dir3 FROM bid
",
    ),
];

#[test]
fn nexmark_queries_parse() {
    for (name, emit, sql) in QUERIES {
        let query = match parse(sql) {
            Ok(mut statements) => match statements.remove(0).kind {
                StatementKind::Query(query) => query,
                other => panic!("{name}: {other:?}"),
            },
            Err(error) => panic!("{name}: {error:?}"),
        };
        assert_eq!(query.emit, *emit, "{name}");
    }
    assert_eq!(QUERIES.len(), 20, "22 of the suite and q0, without the three");
}

#[test]
fn nexmark_streams_parse() {
    let sql = "CREATE STREAM bid (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, \
               url TEXT, ts TIMESTAMP, extra TEXT, WATERMARK FOR ts AS ts - INTERVAL '4 seconds');";
    let StatementKind::CreateStream(stream) = kind(sql) else { panic!("no stream") };
    assert_eq!(stream.columns.len(), 7);
    let watermark = stream.watermark.expect("declared");
    assert_eq!(watermark.expr.to_string(), "ts - INTERVAL '4 seconds'");
}

#[test]
fn bracket_forms_of_nexmark_queries_parse() {
    for sql in [
        "SELECT auction, COUNT(*) num FROM bid [RANGE 10 SECONDS SLIDE 2 SECONDS] GROUP BY auction",
        "SELECT seller, AVG(price) FROM closed [PARTITION BY seller ROWS 10] GROUP BY 1 EMIT FINAL",
        "SELECT * FROM bid [PARTITION BY bidder, auction ROWS 1]",
    ] {
        assert_eq!(query(sql).windows.len(), 1);
    }
    let q13 = "SELECT RSTREAM b.auction, s.value FROM bid [NOW] b, side_input s \
               WHERE b.auction = s.key";
    assert!(query(q13).to_stream);
    let q10 =
        kind("CREATE SINK q10 TO FILE '/out/bid' PARTITION BY (dt, hm) FORMAT CSV AS SELECT 1");
    assert!(matches!(q10, StatementKind::CreateSink(sink) if sink.partition.len() == 2));
    let q6 = kind("CREATE STREAM closed AS SELECT ISTREAM * FROM w");
    assert!(matches!(q6, StatementKind::CreateStreamAs(stream) if stream.query.to_stream));
}
