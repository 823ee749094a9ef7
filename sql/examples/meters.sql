-- Water meters: what the other examples leave out. Windows of rows and of the day, late readings, buckets that grow,
-- results at a pace, sinks, the first rows of each group, and rows that are their own clock.
--
-- Start a server, and then:
--
--     psql -h 127.0.0.1 -p 4566 -f sql/examples/meters.sql

-- Readings that come up to a minute late are taken all the same, and correct results; what lies more than an hour ahead
-- of the clock is refused. The slowest district holds the watermark back.
CREATE STREAM readings (
    district TEXT,
    meter INT,
    litres INT,
    at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '10 seconds' IDLE TIMEOUT INTERVAL '5 minutes' MAX AHEAD INTERVAL '1 hour',
    PARTITION KEY (district),
    ALLOWED LATENESS INTERVAL '1 minute', LATE UPDATE
) WITH (retention = '1 day');

-- Windows in brackets: the last three rows; what came since midnight; a minute with both its ends; what is counted every
-- five minutes, one minute past; all that ever came.
CREATE VIEW last_three AS SELECT meter, litres FROM readings [ROWS 3];
CREATE VIEW today AS SELECT district, sum(litres) AS litres FROM readings [CURRENT 1 DAY] GROUP BY district;
CREATE VIEW minute AS SELECT meter, litres FROM readings [RANGE 1 MINUTE INCLUSIVE];
CREATE VIEW shown AS SELECT count(*) AS readings FROM readings [RANGE 10 MINUTES SLIDE 5 MINUTES OFFSET 1 MINUTE];
CREATE VIEW named AS
SELECT d.name, w.litres FROM readings [UNBOUNDED] w JOIN (VALUES ('n', 'North'), ('s', 'South')) AS d (code, name) ON d.code = w.district;

-- Buckets that grow by five minutes up to a quarter of an hour.
CREATE VIEW quarters AS
SELECT window_start::time AS begins, window_end::time AS ends, sum(litres) AS litres
FROM CUMULATE(readings, at, INTERVAL '5 minutes', INTERVAL '15 minutes')
GROUP BY window_start, window_end;

-- What changes shows every ten minutes, or a minute after a district's first change.
CREATE VIEW calm AS SELECT district, count(*) AS readings FROM readings GROUP BY district EMIT EVERY INTERVAL '10 minutes';
CREATE VIEW patient AS SELECT district, count(*) AS readings FROM readings GROUP BY district EMIT AFTER DELAY INTERVAL '1 minute';

-- The two largest readings of each district, and the largest of each meter.
CREATE TABLE districts (code TEXT PRIMARY KEY, name TEXT);
INSERT INTO districts VALUES ('n', 'North'), ('s', 'South'), ('w', 'West');
CREATE VIEW largest AS
SELECT d.name, r.meter, r.litres
FROM districts d LEFT JOIN LATERAL (SELECT meter, litres FROM readings WHERE district = d.code ORDER BY litres DESC LIMIT 2) r ON true;
CREATE VIEW peaks AS SELECT DISTINCT ON (meter) meter, litres, at::time AS at FROM readings ORDER BY meter, litres DESC;
CREATE VIEW silent AS SELECT code FROM districts EXCEPT SELECT district FROM readings;
CREATE VIEW totals AS
SELECT district, meter, sum(litres) AS litres FROM readings GROUP BY GROUPING SETS ((district), (meter), ());

-- Totals by district, written into a table whenever they change.
CREATE TABLE bills (district TEXT PRIMARY KEY, litres BIGINT);
CREATE SINK billing INTO bills AS SELECT district, sum(litres) FROM readings GROUP BY district;

INSERT INTO readings VALUES
    ('n', 1, 20, '2024-05-01 10:00:00'),
    ('s', 2, 35, '2024-05-01 10:00:30'),
    ('n', 1, 10, '2024-05-01 10:04:00'),
    ('n', 3, 50, '2024-05-01 10:07:00'),
    ('s', 2, 15, '2024-05-01 10:07:20'),
    ('n', 1, 5, '2024-05-01 10:12:00'),
    ('s', 4, 50, '2024-05-01 10:12:10');

-- It is 10:11:50 by the watermark; a reading of 10:11:20 is late by half a minute.
INSERT INTO readings VALUES ('n', 3, 7, '2024-05-01 10:11:20');
ALTER STREAM readings HEARTBEAT '2024-05-01 10:12:30';

SELECT * FROM last_three ORDER BY meter;
--  meter | litres
-- -------+--------
--      1 |      5
--      3 |      7
--      4 |     50

SELECT * FROM today ORDER BY district;
--  district | litres
-- ----------+--------
--  n        |     92
--  s        |    100

SELECT * FROM minute ORDER BY meter, litres;
--  meter | litres
-- -------+--------
--      1 |      5
--      4 |     50

SELECT * FROM shown;
--  readings
-- ----------
--         3

SELECT name, sum(litres) AS litres FROM named GROUP BY name ORDER BY name;
--  name  | litres
-- -------+--------
--  North |     92
--  South |    100

SELECT * FROM quarters ORDER BY 1, 2;
--   begins  |   ends   | litres
-- ----------+----------+--------
--  10:00:00 | 10:05:00 |     65
--  10:00:00 | 10:10:00 |    130
--  10:00:00 | 10:15:00 |    192

SELECT * FROM largest ORDER BY name, litres DESC;
--  name  | meter | litres
-- -------+-------+--------
--  North |     3 |     50
--  North |     1 |     20
--  South |     4 |     50
--  South |     2 |     35
--  West  |       |

SELECT * FROM peaks ORDER BY meter;
--  meter | litres |    at
-- -------+--------+----------
--      1 |     20 | 10:00:00
--      2 |     35 | 10:00:30
--      3 |     50 | 10:07:00
--      4 |     50 | 10:12:10

SELECT * FROM silent;
--  code
-- ------
--  w

SELECT * FROM totals ORDER BY district, meter;
--  district | meter | litres
-- ----------+-------+--------
--  n        |       |     92
--  s        |       |    100
--           |     1 |     35
--           |     2 |     50
--           |     3 |     57
--           |     4 |     50
--           |       |    192

SELECT * FROM bills ORDER BY district;
--  district | litres
-- ----------+--------
--  n        |     92
--  s        |    100

SELECT meter, litres FROM readings ORDER BY litres DESC FETCH FIRST 1 ROW WITH TIES;
--  meter | litres
-- -------+--------
--      3 |     50
--      4 |     50

-- Pipes, from the well downwards.
CREATE TABLE pipes (above TEXT, below TEXT);
INSERT INTO pipes VALUES ('well', 'tower'), ('tower', 'north'), ('tower', 'south'), ('south', 'mill');
WITH RECURSIVE flows (place, steps) AS (
    SELECT 'well', 0
    UNION ALL
    SELECT p.below, f.steps + 1 FROM flows f JOIN pipes p ON p.above = f.place)
SELECT * FROM flows ORDER BY steps, place;
--  place | steps
-- -------+-------
--  well  |     0
--  tower |     1
--  north |     2
--  south |     2
--  mill  |     3

-- Where no time is told, rows can be their own clock: each is an instant, and what it changes is told before the next.
CREATE STREAM valves (valve TEXT, open BOOLEAN, CLOCK ROW);
CREATE STREAM states AS SELECT ISTREAM count(*) FILTER (WHERE open) AS open FROM valves [PARTITION BY valve ROWS 1];
INSERT INTO valves VALUES ('a', true), ('b', true), ('a', false);
SELECT * FROM states ORDER BY event_time;
--  open | event_time
-- ------+------------
--     0 |         -1
--     1 |          0
--     2 |          1
--     1 |          2

-- A stream that says so when a row comes too late.
CREATE STREAM strict (at TIMESTAMP, WATERMARK FOR at AS at, LATE ERROR);
