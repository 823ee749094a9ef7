"""Checks of psycopg 3 against a server: python psycopg_checks.py PORT CHECK."""

import datetime
import decimal
import sys
import threading

import psycopg

PORT = int(sys.argv[1])


def connect(**options):
    return psycopg.connect(
        host="127.0.0.1", port=PORT, user="postgres", dbname="postgres",
        application_name="psycopg", connect_timeout=30, **options
    )


def make(name, sql):
    """Creates an object under a name of this run's own."""
    with connect(autocommit=True) as c:
        c.execute(sql.format(name))


def filled(name, rows=100):
    make(name, "CREATE TABLE {} (id BIGINT PRIMARY KEY, sym TEXT, px DOUBLE PRECISION)")
    with connect() as c:
        with c.cursor() as cur:
            cur.executemany(
                f"INSERT INTO {name} VALUES (%s, %s, %s)",
                [(i, f"s{i % 3}", i / 2) for i in range(rows)],
            )


def check_connect():
    with connect() as c:
        assert c.info.server_version >= 140000, c.info.server_version
        assert c.info.parameter_status("client_encoding") == "UTF8"
        assert c.info.parameter_status("standard_conforming_strings") == "on"
        assert c.info.parameter_status("integer_datetimes") == "on"
        assert c.execute("SELECT 1").fetchone() == (1,)
        version = c.execute("SELECT version()").fetchone()[0]
        assert version.startswith("PostgreSQL "), version


def check_parameters():
    filled("p_parameters")
    with connect() as c:
        cur = c.execute("SELECT id, sym, px FROM p_parameters WHERE id < %s ORDER BY id", (3,))
        assert cur.fetchall() == [(0, "s0", 0.0), (1, "s1", 0.5), (2, "s2", 1.0)]
        cur = c.execute("SELECT %s::text, %s::bigint", (None, None))
        assert cur.fetchone() == (None, None)
        assert c.execute("SELECT %s || 'x'", ("it's",)).fetchone() == ("it'sx",)


TYPES = [
    ("BOOLEAN", True),
    ("SMALLINT", 7),
    ("INTEGER", -70000),
    ("BIGINT", 2**62),
    ("REAL", 0.5),
    ("DOUBLE PRECISION", 0.1),
    ("NUMERIC(10,2)", decimal.Decimal("12.30")),
    ("TEXT", "h\u00e9llo \U0001f600"),
    ("VARCHAR(20)", "abc"),
    ("DATE", datetime.date(2024, 2, 29)),
    ("TIMESTAMP", datetime.datetime(2024, 2, 29, 12, 30, 1, 250000)),
    ("TIMESTAMPTZ", datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)),
    ("INTERVAL", datetime.timedelta(days=2, seconds=90)),
    ("BYTEA", b"\x00\xff"),
]


def check_types(binary=False):
    name = "p_types_binary" if binary else "p_types"
    columns = ", ".join(f"c{i} {t}" for i, (t, _) in enumerate(TYPES))
    make(name, "CREATE TABLE {} (" + columns + ")")
    values = [v for _, v in TYPES]
    with connect() as c:
        marks = ", ".join(["%s"] * len(values))
        c.execute(f"INSERT INTO {name} VALUES ({marks})", values)
        c.execute(f"INSERT INTO {name} VALUES ({marks})", [None] * len(values))
        c.commit()
        cur = c.cursor(binary=binary)
        rows = cur.execute(f"SELECT * FROM {name} ORDER BY c0").fetchall()
        assert list(rows[0]) == values, rows[0]
        assert list(rows[1]) == [None] * len(values), rows[1]


def check_binary():
    check_types(binary=True)


def check_prepared():
    filled("p_prepared")
    with connect() as c:
        for i in range(8):
            cur = c.execute("SELECT count(*) FROM p_prepared WHERE id < %s", (i,), prepare=True)
            assert cur.fetchone() == (i,)


def check_server_cursor():
    filled("p_cursor")
    with connect() as c:
        with c.cursor(name="cur1") as cur:
            cur.execute("SELECT id FROM p_cursor ORDER BY id")
            assert [r[0] for r in cur.fetchmany(5)] == [0, 1, 2, 3, 4]
            assert cur.fetchone() == (5,)
            assert len(cur.fetchall()) == 94


def check_subscribe_cursor():
    filled("p_feed", 2)
    with connect() as c:
        c.execute("DECLARE c CURSOR FOR SUBSCRIBE p_feed")
        first = c.execute("FETCH 2 FROM c").fetchall()
        assert sorted((r[1], r[2]) for r in first) == [(1, 0), (1, 1)], first
        assert c.execute("FETCH 5 FROM c WITH (timeout = '0s')").fetchall() == []
        with connect(autocommit=True) as other:
            other.execute("INSERT INTO p_feed VALUES (9, 'x', 1)")
        assert [r[1:4] for r in c.execute("FETCH 5 FROM c").fetchall()] == [(1, 9, "x")]
        c.rollback()


def check_subscribe_stream():
    filled("p_stream", 3)
    with connect(autocommit=True) as c:
        seen = []
        try:
            for row in c.cursor().stream("SUBSCRIBE p_stream"):
                seen.append(row[1:3])
                if len(seen) == 3:
                    with connect(autocommit=True) as other:
                        other.execute("DELETE FROM p_stream WHERE id = 1")
                if len(seen) == 4:
                    c.cancel()
        except psycopg.errors.QueryCanceled:
            pass
        assert sorted(seen[:3]) == [(1, 0), (1, 1), (1, 2)], seen
        assert seen[3:] == [(-1, 1)], seen
        assert c.execute("SELECT 1").fetchone() == (1,)


def check_copy_out():
    filled("p_copy", 3)
    with connect() as c:
        with c.cursor().copy("COPY (SELECT id, sym FROM p_copy ORDER BY id) TO STDOUT") as copy:
            assert list(copy.rows()) == [("0", "s0"), ("1", "s1"), ("2", "s2")]
        csv = "COPY p_copy (id, sym) TO STDOUT WITH (FORMAT csv, HEADER)"
        with c.cursor().copy(csv) as copy:
            assert b"".join(bytes(b) for b in copy).startswith(b"id,sym\n")


def check_copy_in():
    make("p_copied", "CREATE STREAM {} (ts TIMESTAMP, a BIGINT, b TEXT, WATERMARK FOR ts AS ts)")
    with connect() as c:
        with c.cursor().copy("COPY p_copied (ts, a, b) FROM STDIN") as copy:
            copy.write_row((datetime.datetime(2024, 5, 1), 1, "x\ty\\z\n"))
            copy.write_row((datetime.datetime(2024, 5, 1), 2, None))
        c.commit()
        rows = c.execute("SELECT a, b FROM p_copied ORDER BY a").fetchall()
        assert rows == [(1, "x\ty\\z\n"), (2, None)], rows


def check_transaction():
    filled("p_transaction", 1)
    with connect() as c:
        try:
            c.execute("SELECT * FROM nowhere")
        except psycopg.errors.UndefinedTable as e:
            assert e.sqlstate == "42P01"
        try:
            c.execute("SELECT 1")
        except psycopg.errors.InFailedSqlTransaction:
            pass
        c.rollback()
        with c.transaction():
            c.execute("INSERT INTO p_transaction VALUES (5, 'a', 1)")
        try:
            with c.transaction():
                c.execute("INSERT INTO p_transaction VALUES (6, 'a', 1)")
                raise ValueError
        except ValueError:
            pass
        assert c.execute("SELECT count(*) FROM p_transaction").fetchone() == (2,)


def check_pipeline():
    with connect() as c:
        with c.pipeline():
            a = c.execute("SELECT 1")
            b = c.execute("SELECT 2")
        assert (a.fetchone(), b.fetchone()) == ((1,), (2,))


def check_cancel():
    filled("p_cancel", 1)
    with connect(autocommit=True) as c:
        canceler = threading.Thread(target=c.cancel)
        try:
            for _ in c.cursor().stream("SUBSCRIBE p_cancel"):
                # It runs: now a cancel request has something to cancel.
                canceler.start()
            raise AssertionError("it ended by itself")
        except psycopg.errors.QueryCanceled as e:
            assert e.sqlstate == "57014"
        canceler.join()
        assert c.execute("SELECT 1").fetchone() == (1,)


def check_errors():
    with connect(autocommit=True) as c:
        try:
            c.execute("SELEC 1")
        except psycopg.errors.SyntaxError as e:
            assert e.diag.statement_position, e
        try:
            c.execute("SELECT 1 / 0")
        except psycopg.errors.DivisionByZero:
            pass
        notices = []
        c.add_notice_handler(lambda n: notices.append((n.severity, n.message_primary)))
        c.execute("DROP TABLE IF EXISTS nowhere")
        assert notices == [("NOTICE", 'table "nowhere" does not exist, skipping')], notices


if __name__ == "__main__":
    name = sys.argv[2]
    globals()["check_" + name]()
    print(f"{name}: ok")
