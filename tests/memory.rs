//! Queries that hold more than `memory_limit` go on from a file, or are suspended, and nobody else.

#[path = "support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

use support::client::Client;
use support::server::Server;
use support::subscription::Subscription;

/// Rows of each kind; each has a text of 1,000 bytes.
const ROWS: i64 = 20_000;

/// What one query says, as a number.
fn number(client: &mut Client, sql: &str) -> i64 {
    client.run(sql).value().and_then(|value| value.parse().ok()).expect("it is a number")
}

/// A text of 1,000 bytes that is another one for every `id`.
fn pad(id: &str) -> String {
    format!("lpad(({id})::text, 1000, 'x')")
}

fn fill(client: &mut Client) {
    client.run("CREATE TABLE l (id BIGINT PRIMARY KEY, pad TEXT)");
    client.run("CREATE TABLE r (id BIGINT PRIMARY KEY, pad TEXT)");
    client.run("CREATE STREAM s (at BIGINT, pad TEXT, WATERMARK FOR at AS at)");
    client
        .run("CREATE VIEW joined AS SELECT l.id, l.pad AS l, r.pad AS r FROM l JOIN r USING (id)");
    client.run(
        "CREATE MATERIALIZED VIEW lengths AS SELECT id, length(l) + length(r) AS n FROM joined",
    );
    client.run("CREATE MATERIALIZED VIEW groups AS SELECT pad, count(*) AS n FROM l GROUP BY pad");
    client.run("CREATE VIEW recent AS SELECT pad FROM s [RANGE 1 SECOND]");
    client.run(
        "CREATE MATERIALIZED VIEW firsts AS SELECT id % 10 AS k, min(pad) AS least FROM r GROUP BY 1",
    );
    for (from, to) in (0..ROWS).step_by(2_000).map(|from| (from, from + 1_999)) {
        let series = format!("FROM generate_series({from}, {to}) AS g(i)");
        client.run(&format!("INSERT INTO l SELECT i, {} {series}", pad("i")));
        client.run(&format!("INSERT INTO r SELECT i, {} {series}", pad("i")));
        client.run(&format!("INSERT INTO s SELECT i, {} {series}", pad("i")));
    }
}

fn check(client: &mut Client, rows: i64, step: &str) {
    let whole = "SELECT sum(n) FROM lengths";
    assert_eq!(number(client, whole), rows * 2_000, "{step}");
    assert_eq!(
        number(client, "SELECT count(DISTINCT pad) FROM groups WHERE n = 1"),
        rows,
        "{step}"
    );
}

#[test]
fn state_ten_times_the_limit_is_kept_changed_and_recovered() {
    let server = Server::with_memory("16MB");
    let mut client = server.connect();
    fill(&mut client);
    check(&mut client, ROWS, "after filling");
    assert_eq!(number(&mut client, "SELECT count(DISTINCT pad) FROM recent"), ROWS - 1);
    let least = "SELECT count(*) FROM firsts WHERE least = lpad((10000 + k)::text, 1000, 'x')";
    assert_eq!(number(&mut client, least), 10);
    let spilled = number(&mut client, "SELECT sum(spilled) FROM hw.memory");
    assert!(spilled >= 10 * (16 << 20), "{spilled} bytes are spilled");

    client.run("UPDATE l SET pad = upper(pad) WHERE id % 4 = 0");
    client.run("DELETE FROM r WHERE id % 2 = 1");
    client.run("DELETE FROM l WHERE id % 2 = 1");
    check(&mut client, ROWS / 2, "after changes");
    let upper = "SELECT count(*) FROM groups WHERE pad LIKE 'X%'";
    assert_eq!(number(&mut client, upper), ROWS / 4);
    client.run("ALTER STREAM s HEARTBEAT 1010000");
    assert_eq!(number(&mut client, "SELECT count(*) FROM recent"), 10_000);

    client.run("CHECKPOINT");
    client.run("UPDATE r SET pad = upper(pad) WHERE id % 4 = 0");
    let server = server.crash();
    let mut client = server.connect();
    check(&mut client, ROWS / 2, "after a crash");
    assert_eq!(number(&mut client, "SELECT count(*) FROM recent"), 10_000);
    assert_eq!(number(&mut client, "SELECT count(*) FROM joined WHERE l = r"), ROWS / 2);
}

#[test]
fn a_query_that_cannot_spill_enough_is_suspended_and_others_go_on() {
    let server = Server::with_memory("1MB");
    let mut client = server.connect();
    client.run("CREATE STREAM s (k BIGINT)");
    client.run("CREATE VIEW small AS SELECT count(*) AS n FROM s");
    client.run("CREATE VIEW large AS SELECT k, count(*) AS n FROM s GROUP BY k");
    let watch = "SUBSCRIBE large WITH (snapshot = false)";
    let mut watched = Subscription::start(server.connect(), watch).expect("it begins");
    client.run("INSERT INTO s SELECT i FROM generate_series(1, 200000) AS g(i)");
    let failure = loop {
        if let Err(failure) = watched.next() {
            break failure;
        }
    };
    assert_eq!(failure.code(), "53200", "{failure}");
    let said = client.fail("SELECT count(*) FROM large");
    assert_eq!(said.code, "53200", "{said:?}");
    assert!(said.message.contains("memory_limit is 1 MB"), "{said:?}");
    assert_eq!(number(&mut client, "SELECT n FROM small"), 200_000);
    client.run("INSERT INTO s VALUES (1)");
    assert_eq!(number(&mut client, "SELECT n FROM small"), 200_001);
}

#[test]
fn tables_spill_and_take_no_more_rows_when_they_cannot() {
    let server = Server::with_memory("4MB");
    let mut client = server.connect();
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, pad TEXT)");
    let rows = |from: i64, text: &str| {
        format!(
            "INSERT INTO t SELECT i, {text} FROM generate_series({from}, {from} + 1999) AS g(i)"
        )
    };
    (0..5).for_each(|i| {
        client.run(&rows(i * 2_000, &pad("i")));
    });
    assert_eq!(number(&mut client, "SELECT sum(length(pad)) FROM t"), 10_000_000);
    let spilled = number(&mut client, "SELECT spilled FROM hw.memory WHERE name = 't'");
    assert!(spilled > 4 << 20, "{spilled} bytes are spilled");
    client.run("UPDATE t SET pad = upper(pad) WHERE id % 5 = 0");
    // What points to rows is what is left.
    let mut next = 10_000;
    let failure = loop {
        match client.query(&rows(next, "'short'")) {
            Ok(_) => next += 2_000,
            Err(failure) => break failure,
        }
        assert!(next < 1_000_000, "it has no limit");
    };
    let said = failure.said();
    assert_eq!(said.code, "53200", "{said}");
    assert!(said.message.ends_with("and memory_limit is 4 MB"), "{said}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), next);
    // Changes that add no rows go on, and so does everything else.
    client.run("UPDATE t SET pad = 'changed' WHERE id = 1");
    client.run("DELETE FROM t WHERE id BETWEEN 2 AND 4");
    client.run("INSERT INTO t VALUES (-1, 'one'), (-2, 'another')");
    client.run("CREATE STREAM s (id BIGINT)");
    client.run("INSERT INTO s VALUES (1)");
    let server = server.crash();
    let mut client = server.connect();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), next - 1);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE pad LIKE 'X%'"), 2_000);
    assert_eq!(number(&mut client, "SELECT count(*) FROM s"), 1);
}

#[test]
fn query_that_would_hold_too_much_is_refused_and_others_go_on() {
    let server = Server::with_memory("12MB");
    let mut client = server.connect();
    let text = "SELECT length(string_agg(repeat(i::text, 2000), '')) FROM generate_series(10000, 60000) AS g(i)";
    assert_eq!(client.fail(text).code, "53200");
    let sorted = "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY pad DESC) AS n \
                  FROM (SELECT lpad(i::text, 1000, 'x') AS pad FROM generate_series(1, 20000) AS g(i)) AS p) AS t";
    assert_eq!(number(&mut client, sorted), 20_000);
}
