#!/usr/bin/env python3
"""Time from INSERT to the row at a SUBSCRIBE.

Usage: insert_to_subscribe.py [--port 4566] [--rate 1000] [--seconds 20] [--connections 16] [--synchronous-commit on]

Connections insert single rows in turn, at a steady rate together, another one reads COPY (SUBSCRIBE v). A row's time runs from the
moment at which its INSERT was due to the moment at which the subscriber has it: a server that stalls is not forgiven the inserts it
delayed. With synchronous_commit on, a connection has one INSERT per sync of the disk, so it takes some to reach the rate.
Needs psycopg 3. Prints p50, p99 and the maximum in milliseconds.
"""
import argparse
import threading
import time

import psycopg


def subscriber(dsn, received, expected):
    connection = psycopg.connect(dsn, autocommit=True)
    try:
        copy = "COPY (SUBSCRIBE latency_view WITH (SNAPSHOT = false)) TO STDOUT"
        with connection.cursor().copy(copy) as rows:
            received["started"].set()
            for row in rows.rows():
                now = time.perf_counter()
                received[int(row[2])] = now
                if len(received) > expected:
                    return
    finally:
        connection.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=4566)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--synchronous-commit", choices=["on", "off"], default="on")
    options = parser.parse_args()
    dsn = f"host=127.0.0.1 port={options.port} user=bench dbname=highwater"
    count = options.rate * options.seconds
    received = {"started": threading.Event()}
    due = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP STREAM IF EXISTS latency_in CASCADE")
        connection.execute("CREATE STREAM latency_in (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 minute')")
        connection.execute("CREATE VIEW latency_view AS SELECT id, count(*) FROM latency_in GROUP BY id")
        reader = threading.Thread(target=subscriber, args=(dsn, received, count), daemon=True)
        reader.start()
        received["started"].wait()
        time.sleep(0.5)
        start = time.perf_counter()

        def insert(first):
            with psycopg.connect(dsn, autocommit=True) as own:
                own.execute(f"SET synchronous_commit = {options.synchronous_commit}")
                for i in range(first, count, options.connections):
                    due[i] = start + i / options.rate
                    wait = due[i] - time.perf_counter()
                    if wait > 0:
                        time.sleep(wait)
                    own.execute("INSERT INTO latency_in VALUES (%s, now()::timestamp)", (i,), prepare=True)

        writers = [threading.Thread(target=insert, args=(n,)) for n in range(options.connections)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        reader.join(10)
        took = sorted((received[i] - due[i]) * 1000 for i in due if i in received)
        connection.execute("DROP STREAM latency_in CASCADE")
    at = lambda q: took[min(len(took) - 1, int(len(took) * q))]
    print(f"{len(took)} of {count} rows at {options.rate}/s: p50 {at(0.5):.2f} ms, p99 {at(0.99):.2f} ms, max {took[-1]:.2f} ms")


if __name__ == "__main__":
    main()
