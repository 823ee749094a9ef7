//! Every kind of object, killed once at rest.

use crate::support::client::Client;
use crate::support::server::{Options, Server};

/// Runs statements; then the server is killed, and the queries have to give the same as before. A
/// query behind `!` fails.
fn survives(statements: &[&str], queries: &[&str]) {
    let server = Server::with(Options { history_rows: 2, ..Options::default() });
    let mut client = server.connect();
    statements.iter().for_each(|sql| {
        client.run(sql);
    });
    let before = answers(&mut client, queries);
    let server = server.crash();
    assert_eq!(answers(&mut server.connect(), queries), before);
    let mut server = server.crash();
    assert_eq!(answers(&mut server.connect(), queries), before, "the second time");
    for checkpoints in 1..4 {
        server.connect().run("CHECKPOINT");
        server = server.crash();
        let after = answers(&mut server.connect(), queries);
        assert_eq!(after, before, "after {checkpoints} checkpoints");
    }
}

fn answers(client: &mut Client, queries: &[&str]) -> Vec<(String, Vec<String>)> {
    let answer = |sql: &&str| {
        let lines = match sql.strip_prefix('!') {
            None => client.run(sql).lines(),
            Some(sql) => vec![client.fail(sql).to_string()],
        };
        ((*sql).to_owned(), lines)
    };
    queries.iter().map(answer).collect()
}

#[test]
fn tables_and_what_reads_them() {
    survives(
        &[
            "CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT DEFAULT 'none', n NUMERIC(10,2))",
            "INSERT INTO t VALUES (1, 'one', 1.5), (2, NULL, 2), (3, 'three', NULL)",
            "INSERT INTO t (id) VALUES (4)",
            "UPDATE t SET v = 'two' WHERE id = 2",
            "DELETE FROM t WHERE id = 3",
            "INSERT INTO t VALUES (1, 'uno', 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
            "CREATE MATERIALIZED VIEW m AS SELECT v, count(*) AS c FROM t GROUP BY v",
            "CREATE VIEW inlined AS SELECT * FROM t WHERE id > 1",
            "CREATE TABLE copy AS SELECT id, v FROM t WHERE id < 3",
            "INSERT INTO copy VALUES (9, 'nine')",
            "CREATE TABLE gone (a INT)",
            "INSERT INTO gone VALUES (1)",
            "DROP TABLE gone",
            "BEGIN",
            "INSERT INTO t VALUES (100, 'never', 0)",
            "ROLLBACK",
            "BEGIN",
            "INSERT INTO t VALUES (101, 'both', 0)",
            "INSERT INTO copy VALUES (101, 'both')",
            "COMMIT",
        ],
        &[
            "SELECT * FROM t ORDER BY id",
            "SELECT * FROM m ORDER BY v",
            "SELECT * FROM inlined ORDER BY id",
            "SELECT * FROM copy ORDER BY id",
            "!SELECT * FROM gone",
            "!INSERT INTO t VALUES (1, 'again', 0)",
        ],
    );
}

#[test]
fn streams_late_rows_and_windows() {
    survives(
        &[
            "CREATE STREAM s (k TEXT, v BIGINT, ts TIMESTAMP, \
             WATERMARK FOR ts AS ts - INTERVAL '1 minute', LATE INTO s_late)",
            "CREATE VIEW per_hour AS SELECT window_start, k, count(*) AS c, sum(v) AS s \
             FROM TUMBLE(s, ts, INTERVAL '1 hour') GROUP BY window_start, k",
            "CREATE VIEW closed AS SELECT window_start, count(*) AS c \
             FROM TUMBLE(s, ts, INTERVAL '1 hour') GROUP BY window_start EMIT ON WINDOW CLOSE",
            "CREATE VIEW lately AS SELECT k, count(*) AS c FROM s [RANGE INTERVAL '1 hour'] \
             GROUP BY k",
            "INSERT INTO s VALUES ('a', 1, '2026-01-01 10:00:00'), \
             ('b', 2, '2026-01-01 10:30:00'), ('a', 3, '2026-01-01 11:10:00')",
            "INSERT INTO s VALUES ('late', 4, '2026-01-01 09:00:00')",
            "INSERT INTO s VALUES ('no time', 5, NULL)",
            "ALTER STREAM s HEARTBEAT '2026-01-01 11:45:00'",
            "INSERT INTO s VALUES ('a', 6, '2026-01-01 11:50:00')",
        ],
        &[
            "SELECT * FROM s ORDER BY ts",
            "SELECT k, v, ts, late_by, reason FROM s_late ORDER BY v",
            "SELECT * FROM per_hour ORDER BY 1, 2",
            "SELECT * FROM closed ORDER BY 1",
            "SELECT * FROM lately ORDER BY 1",
            "SELECT name, rows, late, null_time, watermark FROM hw.streams ORDER BY name",
            "SELECT stream, reason, row FROM hw.late_rows ORDER BY row",
        ],
    );
}

#[test]
fn derived_streams_sinks_functions_and_comments() {
    survives(
        &[
            "CREATE SCHEMA other",
            "SET search_path = other, public",
            "SET TimeZone = 'Europe/Berlin'",
            "CREATE STREAM s (k TEXT, v BIGINT, at TIMESTAMPTZ, WATERMARK FOR at AS at)",
            "CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT LANGUAGE sql AS 'SELECT x * 2'",
            "CREATE VIEW days AS SELECT date_trunc('day', at) AS day, sum(twice(v)) AS v FROM s \
             GROUP BY 1",
            "CREATE TABLE totals (k TEXT PRIMARY KEY, v BIGINT)",
            "CREATE SINK total INTO totals AS SELECT k, sum(v) AS v FROM s GROUP BY k",
            "CREATE STREAM big AS SELECT ISTREAM k, v FROM s WHERE v > 5",
            "COMMENT ON TABLE totals IS 'per key'",
            "INSERT INTO s VALUES ('a', 1, '2026-01-01 23:30:00'), ('b', 7, '2026-01-02 10:00:00')",
            "INSERT INTO s VALUES ('a', 9, '2026-01-02 23:30:00')",
        ],
        &[
            "SET search_path = other, public",
            "SET TimeZone = 'Europe/Berlin'",
            "SELECT * FROM days ORDER BY 1",
            "SELECT * FROM totals ORDER BY 1",
            "SELECT k, v FROM big ORDER BY v",
            "SELECT obj_description('totals'::regclass)",
            "SELECT twice(21)",
        ],
    );
}

#[test]
fn replaced_suspended_and_failing_views() {
    survives(
        &[
            "CREATE TABLE t (a BIGINT, b BIGINT)",
            "CREATE MATERIALIZED VIEW v AS SELECT a, b FROM t",
            "INSERT INTO t VALUES (1, 1), (2, 0)",
            "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT a, b FROM t WHERE a > 1",
            "CREATE MATERIALIZED VIEW q AS SELECT a / b AS q FROM t",
            "CREATE MATERIALIZED VIEW f WITH (on_error = 'fail') AS SELECT a, 10 / b AS q FROM t",
            "CREATE MATERIALIZED VIEW w AS SELECT a FROM t",
            "ALTER VIEW w SUSPEND",
            "CREATE MATERIALIZED VIEW x AS SELECT b FROM t",
            "ALTER VIEW x SUSPEND",
            "ALTER VIEW x RESUME",
            "ALTER VIEW x RENAME TO y",
            "INSERT INTO t VALUES (5, 5)",
        ],
        &[
            "SELECT * FROM v ORDER BY 1",
            "SELECT * FROM q ORDER BY 1",
            "!SELECT * FROM f",
            "!SELECT * FROM w",
            "SELECT * FROM y ORDER BY 1",
            "SELECT object, sqlstate, row FROM hw.errors ORDER BY 1",
        ],
    );
}

#[test]
fn lookups_and_late_rows_that_count() {
    survives(
        &[
            "CREATE TABLE zones (id BIGINT PRIMARY KEY, name TEXT)",
            "INSERT INTO zones VALUES (1, 'north'), (2, 'south')",
            "CREATE STREAM trips (zone BIGINT, at TIMESTAMP, \
             WATERMARK FOR at AS at, ALLOWED LATENESS INTERVAL '1 hour', LATE INTO trips_late)",
            "CREATE VIEW named AS SELECT t.at, z.name FROM trips t \
             JOIN zones FOR SYSTEM_TIME AS OF PROC_TIME() AS z ON z.id = t.zone",
            "CREATE VIEW per_hour AS SELECT window_start, count(*) AS c \
             FROM TUMBLE(trips, at, INTERVAL '1 hour') GROUP BY window_start EMIT ON WINDOW CLOSE",
            "INSERT INTO trips VALUES (1, '2026-01-01 10:10:00'), (2, '2026-01-01 10:40:00')",
            "UPDATE zones SET name = 'far south' WHERE id = 2",
            "INSERT INTO trips VALUES (2, '2026-01-01 11:10:00'), (1, '2026-01-01 10:20:00')",
            "INSERT INTO trips VALUES (1, '2026-01-01 09:00:00'), (3, '2026-01-01 11:20:00')",
        ],
        &[
            "SELECT * FROM named ORDER BY 1",
            "SELECT * FROM per_hour ORDER BY 1",
            "SELECT zone, at, late_by FROM trips_late ORDER BY 1, 2",
            "SELECT * FROM trips ORDER BY 2",
        ],
    );
}

#[test]
fn streams_by_rows_and_retention_by_time() {
    survives(
        &[
            "CREATE STREAM r (v BIGINT, CLOCK ROW)",
            "CREATE VIEW three AS SELECT count(*) AS c, sum(v) AS s FROM r [ROWS 3]",
            "INSERT INTO r VALUES (1), (2)",
            "INSERT INTO r VALUES (3), (4)",
            "CREATE STREAM short (v BIGINT, at TIMESTAMP, WATERMARK FOR at AS at) \
             WITH (retention = '1 hour')",
            "CREATE VIEW all_of_it AS SELECT count(*) AS c FROM short",
            "INSERT INTO short SELECT i, TIMESTAMP '2026-01-01 00:00:00' + i * INTERVAL '1 minute' \
             FROM generate_series(1, 5000) AS g(i)",
        ],
        &[
            "SELECT v FROM r ORDER BY v",
            "SELECT * FROM three",
            "SELECT max(v), max(at) FROM short",
            "SELECT count(*) FROM short WHERE at > TIMESTAMP '2026-01-04 10:30:00'",
            "SELECT * FROM all_of_it",
        ],
    );
}

/// What was of a session goes with it, and leaves nothing behind.
#[test]
fn temporary_objects_go() {
    survives(
        &[
            "CREATE TABLE t (a BIGINT)",
            "CREATE TEMPORARY TABLE t (b BIGINT)",
            "INSERT INTO t VALUES (1)",
            "INSERT INTO public.t VALUES (2)",
            "CREATE TEMPORARY VIEW w AS SELECT b FROM t",
        ],
        &["SELECT * FROM public.t", "SELECT name FROM hw.streams ORDER BY 1"],
    );
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TEMPORARY TABLE gone (a BIGINT)");
    client.run("INSERT INTO gone VALUES (1)");
    client.run("CREATE TABLE kept (a BIGINT)");
    server.connect().run("CHECKPOINT");
    client.run("INSERT INTO gone VALUES (2)");
    client.run("INSERT INTO kept VALUES (3)");
    let server = server.crash();
    let mut client = server.connect();
    assert_eq!(client.fail("SELECT * FROM gone").code, "42P01");
    assert_eq!(client.run("SELECT * FROM kept").lines(), ["3"]);
    client.run("CREATE TEMPORARY TABLE gone (a BIGINT)");
    assert!(client.run("SELECT * FROM gone").rows.is_empty());
}

#[test]
fn versioned_tables_and_their_readers() {
    survives(
        &[
            "CREATE TABLE prices (item TEXT PRIMARY KEY, price INTEGER, since BIGINT, \
             VERSIONED BY since WATERMARK AS since)",
            "CREATE STREAM orders (item TEXT, at BIGINT, WATERMARK FOR at AS at)",
            "CREATE VIEW priced AS SELECT o.item, o.at, p.price FROM orders o \
             JOIN prices FOR SYSTEM_TIME AS OF o.at AS p ON p.item = o.item",
            "INSERT INTO prices VALUES ('tea', 10, 0)",
            "INSERT INTO orders VALUES ('tea', 5), ('tea', 15)",
            "UPDATE prices SET price = 12, since = 10",
            "ALTER TABLE prices HEARTBEAT 20",
            "ALTER STREAM orders HEARTBEAT 20",
        ],
        &["SELECT * FROM prices", "SELECT * FROM priced ORDER BY at"],
    );
}

#[test]
fn unique_keys() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE users (id INTEGER PRIMARY KEY, mail TEXT UNIQUE)");
    client.run("INSERT INTO users VALUES (1, 'a'), (2, NULL)");
    client.run("CREATE TABLE parts (a INTEGER, b INTEGER)");
    client.run("INSERT INTO parts VALUES (1, 1), (1, 2)");
    client.run("CREATE UNIQUE INDEX both ON parts (a, b)");
    client.run("CREATE UNIQUE INDEX gone ON users (id)");
    client.run("DROP INDEX gone");
    for life in ["2", "3"] {
        server = server.crash();
        let mut client = server.connect();
        let row = format!("INSERT INTO parts VALUES ({life}, 2)");
        client.run(&row);
        for clash in ["INSERT INTO users VALUES (3, 'a')", "INSERT INTO parts VALUES (1, 2)", &row]
        {
            assert_eq!(client.fail(clash).code, "23505", "{clash}");
        }
        client.run("CHECKPOINT");
    }
}

#[test]
fn altered_tables_and_what_transactions_made() {
    survives(
        &[
            "CREATE TABLE shelf (id INTEGER, name TEXT)",
            "INSERT INTO shelf VALUES (1, 'a'), (2, 'b')",
            "ALTER TABLE shelf ADD COLUMN amount BIGINT DEFAULT 7, ADD PRIMARY KEY (id)",
            "INSERT INTO shelf VALUES (3, 'c')",
            "ALTER TABLE shelf DROP COLUMN name, ALTER amount SET NOT NULL",
            "ALTER TABLE shelf RENAME TO rack; CREATE TABLE shelf (other TEXT)",
            "UPDATE rack SET amount = 9 WHERE id = 1",
            "INSERT INTO shelf VALUES ('x')",
            "CREATE MATERIALIZED VIEW total AS SELECT sum(amount) AS n FROM rack",
            "ALTER TABLE rack ALTER amount SET DEFAULT 1",
            "BEGIN; CREATE TABLE gone (a INTEGER); INSERT INTO gone VALUES (1); ROLLBACK",
            "INSERT INTO rack (id) VALUES (4)",
        ],
        &["SELECT * FROM rack ORDER BY id", "SELECT * FROM shelf", "SELECT n FROM total"],
    );
}
