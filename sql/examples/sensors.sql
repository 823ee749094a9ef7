-- Sensors: made-up readings, windows in brackets, and a top list that is always current.
--
-- Start a server, and then:
--
--     psql -h 127.0.0.1 -p 4566 -f sql/examples/sensors.sql

-- The rooms of a building; an ordinary table.
CREATE TABLE rooms (sensor TEXT PRIMARY KEY, room TEXT NOT NULL, too_warm DOUBLE PRECISION NOT NULL);

INSERT INTO rooms VALUES
    ('s1', 'kitchen', 27),
    ('s2', 'study', 26),
    ('s3', 'server room', 24),
    ('s4', 'cellar', 22);

-- Readings that the datagen connector makes up, the same ones every time: one per second of event time, out of order by
-- up to three seconds. Without "rows" they never end; rate = '100/s' would make them come at that pace.
CREATE STREAM readings (
    id BIGINT,
    sensor TEXT,
    temperature DOUBLE PRECISION,
    at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '5 seconds'
) WITH (
    connector = 'datagen',
    rows = 10000,
    seed = 7,
    disorder = '3 seconds',
    "fields.sensor.choices" = 's1,s2,s3,s4',
    "fields.temperature.min" = 15,
    "fields.temperature.max" = 30,
    wait = true
);

-- The rows of the last minute: a relation that changes as time passes.
CREATE VIEW last_minute AS
SELECT sensor, count(*) AS readings, round(avg(temperature), 2) AS average, round(max(temperature), 2) AS highest
FROM readings [RANGE 1 MINUTE]
GROUP BY sensor;

-- The last ten readings of each sensor, however long ago, joined with a table.
CREATE VIEW alarms AS
SELECT r.room, round(avg(l.temperature), 2) AS average, r.too_warm
FROM readings [PARTITION BY sensor ROWS 10] l
JOIN rooms r ON l.sensor = r.sensor
GROUP BY r.room, r.too_warm
HAVING avg(l.temperature) > r.too_warm;

-- The five hottest minutes of all time, kept up to date: LIMIT in a view keeps no more than it has to.
CREATE VIEW hottest AS
SELECT window_start AS minute, sensor, round(avg(temperature), 2) AS average
FROM TUMBLE(readings, at, INTERVAL '1 minute')
GROUP BY window_start, window_end, sensor
HAVING count(*) >= 5
ORDER BY average DESC, minute, sensor
LIMIT 5;

SELECT * FROM last_minute ORDER BY sensor;
--  sensor | readings | average | highest
-- --------+----------+---------+---------
--  s1     |       14 |   22.44 |   29.96
--  s2     |       14 |   23.52 |   29.74
--  s3     |       16 |   20.65 |   27.01
--  s4     |       15 |   22.71 |   29.18

SELECT * FROM alarms ORDER BY room;
--   room  | average | too_warm
-- --------+---------+----------
--  cellar |   23.95 |       22

SELECT * FROM hottest ORDER BY average DESC, minute, sensor;
--        minute        | sensor | average
-- ---------------------+--------+---------
--  2024-01-01 01:15:00 | s2     |   26.37
--  2024-01-01 01:51:00 | s4     |   26.11
--  2024-01-01 00:15:00 | s3     |    25.9
--  2024-01-01 00:04:00 | s2     |   25.77
--  2024-01-01 00:23:00 | s4     |   25.63

-- A reading by hand. hottest counts every row at once; a window in brackets moves on when its instant is closed.
-- A table may change under a view, too: the kitchen is to be cool now, from the next instant of event time on.
UPDATE rooms SET too_warm = 18 WHERE room = 'kitchen';
INSERT INTO readings VALUES (10001, 's3', 90, TIMESTAMP '2024-01-01 02:46:45');
SELECT * FROM hottest ORDER BY average DESC, minute, sensor;
--        minute        | sensor | average
-- ---------------------+--------+---------
--  2024-01-01 01:15:00 | s2     |   26.37
--  2024-01-01 01:51:00 | s4     |   26.11
--  2024-01-01 02:46:00 | s3     |   25.93
--  2024-01-01 00:15:00 | s3     |    25.9
--  2024-01-01 00:04:00 | s2     |   25.77

SELECT * FROM alarms ORDER BY room;
--   room   | average | too_warm
-- ---------+---------+----------
--  cellar  |   23.95 |       22
--  kitchen |   23.63 |       18

-- Why a view is cheap, or is not: what it keeps, and until when.
EXPLAIN SELECT sensor, avg(temperature) FROM readings [RANGE 1 MINUTE] GROUP BY sensor;
SELECT name, maintained, state, clock, rows, watermark FROM hw.views ORDER BY name;
