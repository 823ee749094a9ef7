-- Linear Road: variable tolls on an expressway, as in the benchmark of the same name (Arasu et al., VLDB 2004).
--
-- Start a server, and then:
--
--     psql -h 127.0.0.1 -p 4566 -f sql/examples/linear_road.sql
--
-- Every car reports its position every 30 seconds. Who enters a segment hears the toll there, which depends on how many
-- cars were in it and how fast they were, and is warned of accidents ahead. The toll is charged when the car leaves.
CREATE STREAM report (
    ts TIMESTAMP, vid INT, speed INT, xway INT, lane INT, dir INT, seg INT, pos INT,
    WATERMARK FOR ts AS ts
);

-- A car asks for its balance, or for what it spent on a day before.
CREATE STREAM request (ts TIMESTAMP, qid INT, vid INT, day INT, WATERMARK FOR ts AS ts);
CREATE TABLE history (vid INT, day INT, xway INT, spent INT, PRIMARY KEY (vid, day, xway));

-- A car is stopped when four reports in a row name one place; an accident is two cars stopped there.
CREATE VIEW stopped AS
SELECT vid, min(xway) AS xway, min(lane) AS lane, min(dir) AS dir, min(seg) AS seg, min(pos) AS pos
FROM report [PARTITION BY vid ROWS 4]
GROUP BY vid
HAVING count(*) = 4 AND count(DISTINCT pos) = 1 AND count(DISTINCT lane) = 1;

CREATE VIEW accident WITH (clock = 'event') AS
SELECT xway, dir, seg, lane, pos, count(*) AS cars
FROM stopped
GROUP BY xway, dir, seg, lane, pos
HAVING count(*) > 1;

-- What counts in a minute is how the one before ended: the accidents at its end,
CREATE STREAM accident_minute AS
SELECT RSTREAM DISTINCT xway, dir, seg FROM accident EVERY 1 MINUTE;

-- how many cars there were in it,
CREATE STREAM volume AS
SELECT xway, dir, seg, window_time, count(DISTINCT vid) AS cars
FROM TUMBLE(report, ts, INTERVAL '1 minute')
GROUP BY xway, dir, seg, window_start, window_end, window_time
EMIT ON WINDOW CLOSE;

-- and the latest average velocity (LAV): of the cars' averages in each of the last five minutes.
CREATE STREAM minute_speed AS
SELECT xway, dir, seg, window_time, avg(speed) AS speed
FROM (
    SELECT vid, xway, dir, seg, window_start, window_end, window_time, avg(speed) AS speed
    FROM TUMBLE(report, ts, INTERVAL '1 minute')
    GROUP BY vid, xway, dir, seg, window_start, window_end, window_time
) car
GROUP BY xway, dir, seg, window_start, window_end, window_time
EMIT ON WINDOW CLOSE;

CREATE VIEW lav AS
SELECT xway, dir, seg, floor(avg(speed)) AS speed
FROM minute_speed [RANGE 5 MINUTES]
GROUP BY xway, dir, seg;

-- Reports from a segment in which the car was not before, except those from the exit lane.
CREATE STREAM entry AS
SELECT ISTREAM ts, vid, xway, dir, seg FROM (
    SELECT ts, vid, xway, dir, seg, lane, lag(seg) OVER (PARTITION BY vid ORDER BY ts) AS before FROM report
) moved
WHERE lane <> 4 AND before IS DISTINCT FROM seg;

-- Accidents from here to four segments ahead.
CREATE STREAM accident_notice AS
SELECT RSTREAM e.ts, e.vid, a.seg
FROM entry [NOW] e JOIN accident_minute [RANGE 1 MINUTE] a
    ON a.xway = e.xway AND a.dir = e.dir
    AND CASE e.dir WHEN 0 THEN a.seg - e.seg ELSE e.seg - a.seg END BETWEEN 0 AND 4;

CREATE STREAM toll AS
SELECT RSTREAM e.ts, e.vid, e.seg, l.speed,
    CASE WHEN l.speed < 40 AND v.cars > 50 AND n.vid IS NULL THEN 2 * (v.cars - 50) * (v.cars - 50) ELSE 0 END AS toll
FROM entry [NOW] e
    LEFT JOIN lav l ON l.xway = e.xway AND l.dir = e.dir AND l.seg = e.seg
    LEFT JOIN volume [RANGE 1 MINUTE] v ON v.xway = e.xway AND v.dir = e.dir AND v.seg = e.seg
    LEFT JOIN accident_notice [NOW] n ON n.vid = e.vid;

-- Charged is the toll of the segment that the car leaves.
CREATE STREAM charged AS
SELECT ISTREAM ts, vid, toll FROM (
    SELECT ts, vid, lag(toll) OVER (PARTITION BY vid ORDER BY event_time) AS toll FROM toll
) left_behind
WHERE toll > 0;

CREATE VIEW account WITH (clock = 'event') AS SELECT vid, sum(toll) AS balance FROM charged GROUP BY vid;

CREATE STREAM balance_answer AS
SELECT RSTREAM r.ts, r.qid, r.vid, coalesce(a.balance, 0) AS balance
FROM request [NOW] r LEFT JOIN account a ON a.vid = r.vid
WHERE r.day IS NULL;

CREATE STREAM expenditure_answer AS
SELECT RSTREAM r.ts, r.qid, r.vid, h.day, sum(h.spent) AS spent
FROM request [NOW] r JOIN history h ON h.vid = r.vid AND h.day = r.day
GROUP BY r.ts, r.qid, r.vid, h.day;

-- Eight minutes of expressway 0. Of every pair of groups the first comes into the segment of the second after five
-- minutes: 60 slow cars into 11, where 60 slow cars are; as many into 21, with an accident two segments ahead; into 31,
-- where traffic flows; and ten into 41, which is empty.
INSERT INTO history VALUES (1, 1, 0, 120), (1, 1, 1, 30), (1, 2, 0, 7);

INSERT INTO report
SELECT TIMESTAMP '2024-01-01 08:00:00' + i * INTERVAL '30 seconds' AS ts, g * 100 + c,
    CASE WHEN g IN (30, 31) THEN 60 ELSE 20 + c % 15 END, 0, 1, 0,
    CASE WHEN g % 10 = 1 OR i < 10 THEN g WHEN i < 14 THEN g + 1 ELSE g + 2 END,
    g * 10000 + c * 100 + i
FROM generate_series(0, 15) AS steps(i), generate_series(1, 60) AS cars(c),
    (VALUES (10), (11), (20), (21), (30), (31), (40)) AS groups(g)
WHERE g <> 40 OR c <= 10
UNION ALL
-- Two cars stand at one place from 8:01 to 8:06.
SELECT TIMESTAMP '2024-01-01 08:00:00' + i * INTERVAL '30 seconds', 9000 + c, 0, 0, 1, 0, 23,
    CASE WHEN i < 13 THEN 230000 ELSE 230000 + c END
FROM generate_series(2, 13) AS steps(i), generate_series(1, 2) AS cars(c)
ORDER BY ts;

INSERT INTO request VALUES
    ('2024-01-01 08:06:00', 1, 1001, NULL), ('2024-01-01 08:08:00', 2, 1001, NULL),
    ('2024-01-01 08:08:00', 3, 2001, NULL), ('2024-01-01 08:08:00', 4, 1, 1);

ALTER STREAM report HEARTBEAT '2024-01-01 08:10:00';
ALTER STREAM request HEARTBEAT '2024-01-01 08:10:00';

SELECT seg, cars FROM volume WHERE window_time = '2024-01-01 08:04:59.999999' ORDER BY seg;
--  seg | cars
-- -----+------
--   10 |   60
--   11 |   60
--   20 |   60
--   21 |   60
--   23 |    2
--   30 |   60
--   31 |   60
--   40 |   10

SELECT ts, seg, speed, toll, count(*) AS cars FROM toll WHERE ts = '2024-01-01 08:05:00' GROUP BY ts, seg, speed, toll ORDER BY seg;
--          ts          | seg | speed | toll | cars
-- ---------------------+-----+-------+------+------
--  2024-01-01 08:05:00 |  11 |    27 |  200 |   60
--  2024-01-01 08:05:00 |  21 |    27 |    0 |   60
--  2024-01-01 08:05:00 |  31 |    60 |    0 |   60
--  2024-01-01 08:05:00 |  41 |       |    0 |   10

SELECT count(*) FROM toll; -- 752

-- The accident stood at four ends of minutes; it was announced to those who came into segment 21.
SELECT event_time, seg FROM accident_minute ORDER BY event_time;
--      event_time      | seg
-- ---------------------+-----
--  2024-01-01 08:03:00 |  23
--  2024-01-01 08:04:00 |  23
--  2024-01-01 08:05:00 |  23
--  2024-01-01 08:06:00 |  23

SELECT ts, seg, count(*) AS cars, min(vid) AS first, max(vid) AS last FROM accident_notice GROUP BY ts, seg;
--          ts          | seg | cars | first | last
-- ---------------------+-----+------+-------+------
--  2024-01-01 08:05:00 |  23 |   60 |  2001 | 2060

-- Charged when the car left segment 11, at 8:07.
SELECT ts, count(*) AS cars, sum(toll) AS tolls FROM charged GROUP BY ts;
--          ts          | cars | tolls
-- ---------------------+------+-------
--  2024-01-01 08:07:00 |   60 | 12000

SELECT qid, vid, balance FROM balance_answer ORDER BY qid;
--  qid | vid  | balance
-- -----+------+---------
--    1 | 1001 |       0
--    2 | 1001 |     200
--    3 | 2001 |       0

SELECT qid, vid, day, spent FROM expenditure_answer;
--  qid | vid | day | spent
-- -----+-----+-----+-------
--    4 |   1 |   1 |   150
