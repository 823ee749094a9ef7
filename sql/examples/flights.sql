-- Flights: real delays make rows late, and the late rows choose the watermark.
--
-- Start a server in the root of the repository, and then, in the same directory:
--
--     psql -h 127.0.0.1 -p 4566 -f sql/examples/flights.sql
--
-- Paths are the server's. To run it a second time, start a server on another data directory.

-- A table, loaded from a file before CREATE TABLE returns. From the client's side the same is
--     \copy airports FROM 'sql/examples/data/airports.csv' WITH (FORMAT csv, HEADER)
CREATE TABLE airports (
    code TEXT PRIMARY KEY,
    name TEXT,
    lat DOUBLE PRECISION,
    lon DOUBLE PRECISION,
    alt INT,
    tz INT,
    dst TEXT,
    tzone TEXT
) WITH (connector = 'file', path = 'sql/examples/data/airports.csv', format = 'csv');

-- A stream of departures in the order in which they happened. Its event time is the scheduled time, so a delayed
-- flight is out of order by its delay. The watermark says how long we wait for the delayed ones: 30 minutes. What
-- comes later still is not lost: it goes to a stream of its own.
--
-- wait = true: CREATE STREAM returns when the file has been read. Leave it out, and add
-- rate = '3600x', pace_by = 'departed' to see the week pass in three minutes instead.
CREATE STREAM departures (
    flight TEXT,
    carrier TEXT,
    tailnum TEXT,
    origin TEXT,
    dest TEXT,
    scheduled TIMESTAMP,
    departed TIMESTAMP,
    dep_delay INT,
    arr_delay INT,
    distance INT,
    air_time INT,
    WATERMARK FOR scheduled AS scheduled - INTERVAL '30 minutes',
    LATE INTO departures_late
) WITH (connector = 'file', path = 'sql/examples/data/departures-week.ndjson', wait = true);

-- (a) Departures and average delay per hour and airport, always current: every row that arrives corrects its hour.
CREATE VIEW hourly AS
SELECT window_start AS hour, origin, count(*) AS flights, round(avg(dep_delay), 1) AS avg_delay
FROM TUMBLE(departures, scheduled, INTERVAL '1 hour')
GROUP BY window_start, window_end, origin
EMIT CHANGES;

-- (b) The same hours, each said once: when the watermark has passed its end, so that it cannot change any more.
CREATE VIEW hourly_final AS
SELECT window_start AS hour, origin, count(*) AS flights, round(avg(dep_delay), 1) AS avg_delay
FROM TUMBLE(departures, scheduled, INTERVAL '1 hour')
GROUP BY window_start, window_end, origin
EMIT ON WINDOW CLOSE;

-- (c) The last hour, sliding on by five minutes, joined with a table. The window is a relation like any other.
CREATE VIEW last_hour AS
SELECT a.name AS airport, count(*) AS flights, round(avg(d.dep_delay), 1) AS avg_delay
FROM departures [RANGE 1 HOUR SLIDE 5 MINUTES] d
JOIN airports a ON d.origin = a.code
GROUP BY a.name;

-- Views are read like tables.
SELECT hour, origin, flights, avg_delay FROM hourly ORDER BY hour, origin LIMIT 6;
--         hour         | origin | flights | avg_delay
-- ---------------------+--------+---------+-----------
--  2013-01-01 05:00:00 | EWR    |       2 |        -1
--  2013-01-01 05:00:00 | JFK    |       3 |       0.3
--  2013-01-01 05:00:00 | LGA    |       1 |         4
--  2013-01-01 06:00:00 | EWR    |      17 |       0.5
--  2013-01-01 06:00:00 | JFK    |      16 |      -1.1
--  2013-01-01 06:00:00 | LGA    |      16 |      -1.8

SELECT airport, flights, avg_delay FROM last_hour ORDER BY flights DESC, airport;
--        airport       | flights | avg_delay
-- ---------------------+---------+-----------
--  John F Kennedy Intl |       7 |       2.4

-- How far event time is, and what was refused, by reason.
SHOW WATERMARKS;
SELECT name, rows, late, null_time, ahead, watermark FROM hw.streams WHERE name = 'departures';
--     name    | rows | late | null_time | ahead |      watermark
-- ------------+------+------+-----------+-------+---------------------
--  departures | 5361 |  702 |         0 |     0 | 2013-01-07 23:29:00

-- The last hour of the week is still open: a row that is scheduled at 23:29 or later could still come.
SELECT count(*) AS all_hours FROM hourly;          -- 372
SELECT count(*) AS closed_hours FROM hourly_final; -- 371

-- We know that nothing follows. Saying so closes every window.
ALTER STREAM departures HEARTBEAT TIMESTAMP 'infinity';
SELECT count(*) AS closed_hours FROM hourly_final; -- 372

-- The worst hours of the week.
SELECT hour, origin, flights, avg_delay
FROM hourly_final
WHERE flights >= 5
ORDER BY avg_delay DESC, hour, origin
LIMIT 5;
--         hour         | origin | flights | avg_delay
-- ---------------------+--------+---------+-----------
--  2013-01-05 22:00:00 | JFK    |       8 |      17.9
--  2013-01-01 21:00:00 | JFK    |      11 |      13.3
--  2013-01-04 22:00:00 | JFK    |       6 |      13.2
--  2013-01-02 14:00:00 | EWR    |      13 |      12.3
--  2013-01-03 22:00:00 | JFK    |       7 |      11.7

-- Late rows are data. The side stream has the columns of the stream, and late_watermark, late_by, arrived_at, reason.
SELECT origin, reason, count(*) AS late, max(dep_delay) AS longest_delay
FROM departures_late
GROUP BY origin, reason
ORDER BY origin, reason;
--  origin | reason | late | longest_delay
-- --------+--------+------+---------------
--  EWR    | late   |  355 |           379
--  JFK    | late   |  223 |           853
--  LGA    | late   |  124 |           379

SELECT flight, scheduled, departed, late_watermark, late_by
FROM departures_late
ORDER BY dep_delay DESC, flight
LIMIT 3;
--  flight |      scheduled      |      departed       |   late_watermark    | late_by
-- --------+---------------------+---------------------+---------------------+----------
--  MQ3944 | 2013-01-01 18:35:00 | 2013-01-02 08:48:00 | 2013-01-02 08:20:00 | 13:45:00
--  EV4321 | 2013-01-01 17:24:00 | 2013-01-01 23:43:00 | 2013-01-01 22:25:00 | 05:01:00
--  UA488  | 2013-01-02 15:12:00 | 2013-01-02 21:31:00 | 2013-01-02 21:00:00 | 05:48:00

-- Which watermark delay would have kept 99 % on time? One observes all departures, those in time and the late ones;
-- dep_delay is departed - scheduled in minutes.
SELECT
    count(*) AS departures,
    percentile_cont(0.50) WITHIN GROUP (ORDER BY dep_delay) AS p50,
    percentile_cont(0.90) WITHIN GROUP (ORDER BY dep_delay) AS p90,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY dep_delay) AS p99
FROM (
    SELECT dep_delay FROM departures
    UNION ALL
    SELECT dep_delay FROM departures_late
) AS every_departure;
--  departures | p50 | p90 | p99
-- ------------+-----+-----+-----
--        6063 |  -1 |  34 | 140

-- Half of them leave early, 99 % within 140 minutes. So: WATERMARK FOR scheduled AS scheduled - INTERVAL '140 minutes'

-- What it costs not to wait: 30 minutes of patience make the averages too good, since the late are left out.
SELECT 'in time' AS which, count(*) AS flights, round(avg(dep_delay), 1) AS avg_delay FROM departures
UNION ALL
SELECT 'all', count(*), round(avg(dep_delay), 1)
FROM (
    SELECT dep_delay FROM departures
    UNION ALL
    SELECT dep_delay FROM departures_late
) AS every_departure
ORDER BY which;
--   which  | flights | avg_delay
-- ---------+---------+-----------
--  all     |    6063 |       9.2
--  in time |    5361 |       0.7
