//! Transactions that write to the same rows, and statements that reach deep.

use crate::support::client::Client;
use crate::support::server::{Options, Server};

fn server() -> (Server, Client, Client) {
    let server = Server::with(Options { batch_rows: 8192, ..Options::default() });
    let mut a = server.connect();
    a.run("CREATE TABLE t (id INT PRIMARY KEY, n INT)");
    a.run("CREATE TABLE u (id INT PRIMARY KEY, n INT)");
    a.run("INSERT INTO t VALUES (1, 0), (2, 0)");
    a.run("INSERT INTO u VALUES (1, 0)");
    a.run("CREATE MATERIALIZED VIEW total AS SELECT count(*) AS rows, sum(n) AS n FROM t");
    let b = server.connect();
    (server, a, b)
}

/// Runs two transactions, the second one's statement while the first one is open.
fn both(first: &str, second: &str) -> (Vec<String>, Vec<String>) {
    let (_server, mut a, mut b) = server();
    a.run("BEGIN");
    b.run("BEGIN");
    a.run(first);
    b.send(second).unwrap_or_else(|e| panic!("{e}"));
    a.run("COMMIT");
    b.finish().unwrap_or_else(|e| panic!("{e}"));
    b.run("COMMIT");
    let rows = a.run("SELECT id, n FROM t ORDER BY id, n").lines();
    (rows, a.run("SELECT * FROM total").lines())
}

#[test]
fn the_second_writer_sees_what_the_first_one_left() {
    let add = |n: i32| format!("UPDATE t SET n = n + {n} WHERE id = 1");
    let put = |n: i32| {
        format!("INSERT INTO t VALUES (1, {n}) ON CONFLICT (id) DO UPDATE SET n = t.n + {n}")
    };
    let delete = "DELETE FROM t WHERE id = 1".to_owned();
    let insert = "INSERT INTO t VALUES (3, 7) ON CONFLICT DO NOTHING".to_owned();
    for (first, second, rows, total) in [
        (add(1), add(10), &["1|11", "2|0"][..], "2|11"),
        (put(1), put(10), &["1|11", "2|0"], "2|11"),
        (add(1), delete.clone(), &["2|0"], "1|0"),
        (delete.clone(), add(1), &["2|0"], "1|0"),
        (delete.clone(), delete, &["2|0"], "1|0"),
        (insert.clone(), insert, &["1|0", "2|0", "3|7"], "3|7"),
    ] {
        let (found, view) = both(&first, &second);
        assert_eq!(found, rows, "{first}; {second}");
        assert_eq!(view, [total], "{first}; {second}");
    }
}

#[test]
fn who_would_wait_for_itself_is_told() {
    let (_server, mut a, mut b) = server();
    a.run("BEGIN");
    b.run("BEGIN");
    a.run("UPDATE t SET n = 1");
    b.run("UPDATE u SET n = 2");
    // This one waits for b, or b's next one for this one: whoever comes second is told.
    a.send("UPDATE u SET n = n + 1").unwrap_or_else(|e| panic!("{e}"));
    let second = b.query("UPDATE t SET n = n + 2");
    let told = match second {
        Err(failure) => {
            assert_eq!(failure.code(), "40P01");
            b.run("ROLLBACK");
            a.finish().unwrap_or_else(|e| panic!("{e}"));
            a.run("COMMIT");
            "1|1"
        }
        Ok(_) => {
            let failure = a.finish().expect_err("one of them is told");
            assert_eq!(failure.code(), "40P01");
            b.run("COMMIT");
            "1|2"
        }
    };
    assert_eq!(b.run("SELECT * FROM u").lines(), [told]);
}

#[test]
fn views_over_views_are_read_or_refused_however_deep() {
    let (_server, mut a, _) = server();
    a.run("CREATE VIEW v0 AS SELECT id, n FROM t");
    let mut deepest = 0;
    for i in 1..40 {
        let sql = format!("CREATE VIEW v{i} AS SELECT id, n FROM v{} WHERE n >= 0", i - 1);
        match a.query(&sql) {
            Ok(_) => deepest = i,
            Err(failure) => {
                assert_eq!(failure.code(), "0A000");
                break;
            }
        }
    }
    assert!(deepest >= 12, "{deepest} views deep");
    let sql = format!("SELECT count(*) FROM v{deepest}");
    assert_eq!(a.run(&sql).value().as_deref(), Some("2"));
    a.run(&format!("CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM v{deepest}"));
    assert_eq!(a.run("SELECT * FROM m").value().as_deref(), Some("2"));
}
