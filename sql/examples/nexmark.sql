-- Nexmark: the queries of the streaming benchmark, each a view that is kept up to date.
--
-- Start a server, and then:
--
--     psql -h 127.0.0.1 -p 4566 -f sql/examples/nexmark.sql
--
-- The site of auctions is made up, the same at every run: of 50 events one is a person, three are auctions and 46 are
-- bids. 10,000 events are a second of event time; here are the first ten.
CREATE STREAM person (
    id BIGINT, name TEXT, email_address TEXT, credit_card TEXT, city TEXT, state TEXT, ts TIMESTAMP, extra TEXT,
    WATERMARK FOR ts AS ts - INTERVAL '4 seconds'
) WITH (connector = 'nexmark', event = 'person', events = 100000, wait = true);

CREATE STREAM auction (
    id BIGINT, item_name TEXT, description TEXT, initial_bid BIGINT, reserve BIGINT, ts TIMESTAMP, expires TIMESTAMP,
    seller BIGINT, category BIGINT, extra TEXT,
    WATERMARK FOR ts AS ts - INTERVAL '4 seconds'
) WITH (connector = 'nexmark', event = 'auction', events = 100000, wait = true);

CREATE STREAM bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, ts TIMESTAMP, extra TEXT,
    WATERMARK FOR ts AS ts - INTERVAL '4 seconds'
) WITH (connector = 'nexmark', event = 'bid', events = 100000, wait = true);

CREATE TABLE side_input (key BIGINT PRIMARY KEY, value TEXT);
INSERT INTO side_input SELECT k, k::TEXT FROM generate_series(0, 9999) AS g(k);

-- Queries of one stream, row by row.
CREATE VIEW q0 AS
SELECT auction, bidder, price, ts, extra FROM bid;

CREATE VIEW q1 AS
SELECT auction, bidder, 0.908 * price AS price, ts, extra FROM bid;

CREATE VIEW q2 AS
SELECT auction, price FROM bid WHERE auction % 123 = 0;

CREATE VIEW q14 AS
SELECT auction, bidder, 0.908 * price AS price,
    CASE
        WHEN extract(hour FROM ts) BETWEEN 8 AND 18 THEN 'dayTime'
        WHEN extract(hour FROM ts) <= 6 OR extract(hour FROM ts) >= 20 THEN 'nightTime'
        ELSE 'otherTime'
    END AS bid_time_type,
    ts, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts
FROM bid
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;

CREATE VIEW q21 AS
SELECT auction, bidder, price, channel,
    CASE lower(channel)
        WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
        ELSE (regexp_match(url, '(&|^)channel_id=([^&]*)'))[2]
    END AS channel_id
FROM bid
WHERE (regexp_match(url, '(&|^)channel_id=([^&]*)'))[2] IS NOT NULL
    OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu');

CREATE VIEW q22 AS
SELECT auction, bidder, price, channel,
    split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3
FROM bid;

-- Joins of streams without an end, and with a table.
CREATE MATERIALIZED VIEW q3 AS
SELECT p.name, p.city, p.state, a.id
FROM auction a JOIN person p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');

CREATE STREAM q13 AS
SELECT RSTREAM b.auction, b.bidder, b.price, b.ts, s.value
FROM bid [NOW] b JOIN side_input s ON b.auction % 10000 = s.key;

CREATE MATERIALIZED VIEW q20 AS
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.ts AS bid_ts, b.extra AS bid_extra, a.item_name, a.description,
    a.initial_bid, a.reserve, a.ts AS auction_ts, a.expires, a.seller, a.category, a.extra AS auction_extra
FROM bid b JOIN auction a ON b.auction = a.id
WHERE a.category = 10;

-- The price at which auctions were sold: on average per category, of the last ten of each seller, and who got what.
CREATE VIEW q4 AS
SELECT category, avg(final) AS price
FROM (
    SELECT a.id, a.category, max(b.price) AS final
    FROM auction a JOIN bid b ON a.id = b.auction AND b.ts BETWEEN a.ts AND a.expires
    GROUP BY a.id, a.category
) q
GROUP BY category;

CREATE STREAM closed AS
SELECT ISTREAM * FROM (
    SELECT a.id, a.seller, a.expires, b.price, row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.ts) AS rn
    FROM auction a JOIN bid b ON a.id = b.auction AND b.ts BETWEEN a.ts AND a.expires
) w
WHERE rn = 1 AND now() > expires;

CREATE VIEW q6 AS
SELECT seller, avg(price) AS price FROM closed [PARTITION BY seller ROWS 10] GROUP BY seller;

CREATE VIEW q9 AS
SELECT * FROM (
    SELECT a.id, a.item_name, a.description, a.initial_bid, a.reserve, a.ts, a.expires, a.seller, a.category,
        b.auction, b.bidder, b.price, b.ts AS bid_ts, b.extra AS bid_extra,
        row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.ts) AS rn
    FROM auction a JOIN bid b ON a.id = b.auction AND b.ts BETWEEN a.ts AND a.expires
) t
WHERE rn = 1;

-- Windows, each said once when the watermark has closed it.
CREATE VIEW q5 AS
WITH counts AS (
    SELECT auction, count(*) AS num, window_start, window_end
    FROM HOP(bid, ts, INTERVAL '2 seconds', INTERVAL '10 seconds')
    GROUP BY auction, window_start, window_end
)
SELECT auction, num, window_end FROM (
    SELECT *, rank() OVER (PARTITION BY window_start, window_end ORDER BY num DESC) AS r FROM counts
) t
WHERE r = 1
EMIT ON WINDOW CLOSE;

CREATE VIEW q7 AS
SELECT auction, price, bidder, ts, extra FROM (
    SELECT *, rank() OVER (PARTITION BY window_start, window_end ORDER BY price DESC) AS r
    FROM TUMBLE(bid, ts, INTERVAL '10 seconds')
) t
WHERE r = 1
EMIT ON WINDOW CLOSE;

CREATE VIEW q8 AS
SELECT p.id, p.name, p.window_start FROM
    (SELECT DISTINCT id, name, window_start, window_end FROM TUMBLE(person, ts, INTERVAL '10 seconds')) p
    JOIN (SELECT DISTINCT seller, window_start, window_end FROM TUMBLE(auction, ts, INTERVAL '10 seconds')) a
    ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end
EMIT ON WINDOW CLOSE;

CREATE VIEW q11 AS
SELECT bidder, count(*) AS bids, window_start, window_end
FROM SESSION(bid, ts, INTERVAL '10 seconds', key => bidder)
GROUP BY bidder, window_start, window_end
EMIT ON WINDOW CLOSE;

CREATE VIEW q12 AS
SELECT bidder, count(*) AS bids, window_start, window_end
FROM TUMBLE(bid, proc_time(), INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end;

-- Counts that go on for ever.
CREATE VIEW q15 AS
SELECT to_char(ts, 'YYYY-MM-DD') AS day, count(*) AS total_bids,
    count(*) FILTER (WHERE price < 10000) AS rank1_bids,
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
    count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
    count(DISTINCT bidder) AS total_bidders,
    count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders,
    count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders,
    count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders,
    count(DISTINCT auction) AS total_auctions,
    count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions,
    count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions,
    count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions
FROM bid
GROUP BY 1;

CREATE VIEW q16 AS
SELECT channel, to_char(ts, 'YYYY-MM-DD') AS day, max(to_char(ts, 'HH24:MI')) AS minute, count(*) AS total_bids,
    count(*) FILTER (WHERE price < 10000) AS rank1_bids,
    count(DISTINCT bidder) AS total_bidders,
    count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders,
    count(DISTINCT auction) AS total_auctions,
    count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions
FROM bid
GROUP BY 1, 2;

CREATE VIEW q17 AS
SELECT auction, to_char(ts, 'YYYY-MM-DD') AS day, count(*) AS total_bids,
    count(*) FILTER (WHERE price < 10000) AS rank1_bids,
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
    count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
    min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
FROM bid
GROUP BY 1, 2;

-- The latest bid of everyone on everything, and the ten highest of every auction.
CREATE VIEW q18 AS
SELECT auction, bidder, price, channel, url, ts, extra FROM (
    SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY ts DESC) AS rn FROM bid
) t
WHERE rn <= 1;

CREATE VIEW q19 AS
SELECT auction, bidder, price, channel, url, ts, extra, rn FROM (
    SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC) AS rn FROM bid
) t
WHERE rn <= 10;

-- Nothing comes any more: the last windows close.
ALTER STREAM person HEARTBEAT '2015-07-15 01:00:00';
ALTER STREAM auction HEARTBEAT '2015-07-15 01:00:00';
ALTER STREAM bid HEARTBEAT '2015-07-15 01:00:00';
