"""What asyncpg does with the server: one check per run, `asyncpg_checks.py PORT CHECK`."""

import asyncio
import datetime
import sys
import uuid
from decimal import Decimal

import asyncpg


async def types(c):
    row = await c.fetchrow(
        "SELECT 1::int AS i, 2::bigint AS b, 1.5::float8 AS f, 1.25::numeric AS n, 'x'::text AS t, true AS y, "
        "DATE '2024-05-01' AS d, TIMESTAMP '2024-05-01 10:00:00' AS ts, INTERVAL '1 day 2 hours' AS v"
    )
    assert tuple(row) == (
        1, 2, 1.5, Decimal("1.25"), "x", True, datetime.date(2024, 5, 1),
        datetime.datetime(2024, 5, 1, 10), datetime.timedelta(days=1, hours=2),
    ), row


async def uuids(c):
    one = uuid.uuid4()
    await c.execute("CREATE TABLE ids (id uuid PRIMARY KEY, n int)")
    await c.execute("INSERT INTO ids VALUES ($1, $2)", one, 1)
    row = await c.fetchrow("SELECT id, n FROM ids WHERE id = $1", one)
    assert row["id"] == one and row["n"] == 1, row


async def arrays(c):
    assert await c.fetchval("SELECT $1::int[]", [1, 2, None]) == [1, 2, None]
    assert await c.fetchval("SELECT $1::text[]", ["a", "b"]) == ["a", "b"]
    await c.execute("CREATE TABLE things (id int PRIMARY KEY, n int)")
    await c.executemany("INSERT INTO things VALUES ($1, $2)", [(i, i * i) for i in range(5)])
    rows = await c.fetch("SELECT n FROM things WHERE id = ANY ($1::int[]) ORDER BY n", [1, 3])
    assert [r["n"] for r in rows] == [1, 9], rows


async def transactions(c):
    await c.execute("CREATE TABLE tx (id int)")
    try:
        async with c.transaction():
            await c.execute("INSERT INTO tx VALUES (1)")
            raise ValueError
    except ValueError:
        pass
    assert await c.fetchval("SELECT count(*) FROM tx") == 0
    async with c.transaction(readonly=True):
        try:
            await c.execute("INSERT INTO tx VALUES (1)")
            raise AssertionError("a read-only transaction wrote")
        except asyncpg.ReadOnlySQLTransactionError:
            pass


async def cursors(c):
    async with c.transaction():
        got = [r["n"] async for r in c.cursor("SELECT n FROM (VALUES (1), (2), (3)) AS v (n) ORDER BY n", prefetch=2)]
    assert got == [1, 2, 3], got


async def main(port, check):
    c = await asyncpg.connect(host="127.0.0.1", port=port, user="tester", database="test", timeout=20)
    await globals()[check](c)
    await c.close()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
