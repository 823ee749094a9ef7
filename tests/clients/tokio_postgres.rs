//! tokio-postgres: the extended protocol with binary values, as Rust programs use it.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use futures::{SinkExt, TryStreamExt, pin_mut};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::support::server::Server;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(server: &Server) -> Client {
    let config = format!("host=127.0.0.1 port={} user=postgres", server.postgres().port());
    let (client, connection) =
        tokio_postgres::connect(&config, NoTls).await.expect("the server accepts connections");
    tokio::spawn(connection);
    client
}

/// Runs a test on a runtime of its own, with an end to its patience.
fn run<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(async {
        let test = test(Server::start());
        tokio::time::timeout(PATIENCE, test).await.expect("the test comes to an end");
    });
}

#[test]
fn values_of_all_types_go_in_and_out() {
    run(|server| async move {
        let client = connect(&server).await;
        let create = "CREATE TABLE t (b BOOLEAN, s SMALLINT, i INTEGER, l BIGINT, r REAL, \
                      d DOUBLE PRECISION, x TEXT, a DATE, p TIMESTAMP, z TIMESTAMPTZ, y BYTEA)";
        client.batch_execute(create).await.expect("created");
        let date = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a date");
        let time: NaiveDateTime = date.and_hms_micro_opt(1, 2, 3, 456_789).expect("a time");
        let zoned: DateTime<Utc> = time.and_utc();
        let insert = "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        let n = client
            .execute(
                insert,
                &[
                    &true,
                    &7_i16,
                    &-70_000_i32,
                    &(1_i64 << 62),
                    &0.5_f32,
                    &0.1_f64,
                    &"h\u{e9}llo",
                    &date,
                    &time,
                    &zoned,
                    &&b"\x00\xff"[..],
                ],
            )
            .await
            .expect("inserted");
        assert_eq!(n, 1);
        let row = client.query_one("SELECT * FROM t", &[]).await.expect("a row");
        assert!(row.get::<_, bool>(0));
        assert_eq!(row.get::<_, i16>(1), 7);
        assert_eq!(row.get::<_, i32>(2), -70_000);
        assert_eq!(row.get::<_, i64>(3), 1 << 62);
        assert!((row.get::<_, f32>(4) - 0.5).abs() < f32::EPSILON);
        assert!((row.get::<_, f64>(5) - 0.1).abs() < f64::EPSILON);
        assert_eq!(row.get::<_, String>(6), "h\u{e9}llo");
        assert_eq!(row.get::<_, NaiveDate>(7), date);
        assert_eq!(row.get::<_, NaiveDateTime>(8), time);
        assert_eq!(row.get::<_, DateTime<Utc>>(9), zoned);
        assert_eq!(row.get::<_, Vec<u8>>(10), b"\x00\xff");
    });
}

#[test]
fn parameters_have_the_types_of_their_place() {
    run(|server| async move {
        let client = connect(&server).await;
        client.batch_execute("CREATE TABLE t (id BIGINT PRIMARY KEY, k TEXT)").await.expect("made");
        let statement =
            client.prepare("SELECT k, id + 1 AS next FROM t WHERE id = $1 AND k <> $2").await;
        let statement = statement.expect("prepared");
        let types: Vec<&str> = statement.params().iter().map(|t| t.name()).collect();
        assert_eq!(types, ["int8", "text"]);
        let columns: Vec<_> =
            statement.columns().iter().map(|c| (c.name(), c.type_().name())).collect();
        assert_eq!(columns, [("k", "text"), ("next", "int8")]);
        for id in 0..10_i64 {
            client.execute("INSERT INTO t VALUES ($1, $2)", &[&id, &"x"]).await.expect("inserted");
        }
        let rows = client.query(&statement, &[&3_i64, &"y"]).await.expect("rows");
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].get::<_, i64>("next"), 4);
        let one = client.execute("DELETE FROM t WHERE id >= $1", &[&8_i64]).await.expect("deleted");
        assert_eq!(one, 2);
    });
}

#[test]
fn a_windowed_query_takes_parameters() {
    run(|server| async move {
        let client = connect(&server).await;
        let create = "CREATE STREAM s (ts TIMESTAMP, k TEXT, v BIGINT, WATERMARK FOR ts AS ts)";
        client.batch_execute(create).await.expect("created");
        let insert =
            "INSERT INTO s VALUES ('2024-05-01 10:00:00', 'a', 1), ('2024-05-01 10:01:00', 'b', 2)";
        client.batch_execute(insert).await.expect("inserted");
        let heartbeat = "ALTER STREAM s HEARTBEAT TIMESTAMP '2024-05-01 10:02:00'";
        client.batch_execute(heartbeat).await.expect("closed");
        let sql = "SELECT count(*) FROM s [RANGE 5 MINUTES] WHERE v >= $1 AND k <> $2";
        let row = client.query_one(sql, &[&1_i64, &"b"]).await.expect("a row");
        assert_eq!(row.get::<_, i64>(0), 1);
    });
}

#[test]
fn a_subscription_streams_its_rows() {
    run(|server| async move {
        let client = connect(&server).await;
        let other = connect(&server).await;
        other.batch_execute("CREATE TABLE t (id BIGINT PRIMARY KEY, k TEXT)").await.expect("made");
        other.batch_execute("INSERT INTO t VALUES (1, 'a')").await.expect("inserted");
        let parameters: [&str; 0] = [];
        let rows = client.query_raw("SUBSCRIBE t", parameters).await.expect("it starts");
        pin_mut!(rows);
        let row = rows.try_next().await.expect("no error").expect("the snapshot");
        let _: DateTime<Utc> = row.get("hw_time");
        assert_eq!((row.get::<_, i64>("hw_diff"), row.get::<_, i64>("id")), (1, 1));
        other.batch_execute("DELETE FROM t").await.expect("deleted");
        let row = rows.try_next().await.expect("no error").expect("the change");
        assert_eq!((row.get::<_, i64>("hw_diff"), row.get::<_, i64>("id")), (-1, 1));
        client.cancel_token().cancel_query(NoTls).await.expect("a request can be sent");
        let error = rows.try_next().await.expect_err("it was canceled");
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    });
}

#[test]
fn copy_goes_both_ways() {
    run(|server| async move {
        let client = connect(&server).await;
        client.batch_execute("CREATE TABLE t (id BIGINT, k TEXT)").await.expect("created");
        let sink = client.copy_in("COPY t FROM STDIN WITH (FORMAT csv)").await.expect("it starts");
        pin_mut!(sink);
        for piece in ["1,a\n2", ",\"b, c\"\n3,\n"] {
            sink.send(bytes::Bytes::from(piece)).await.expect("sent");
        }
        assert_eq!(sink.finish().await.expect("taken"), 3);
        let out = client.copy_out("COPY (SELECT * FROM t ORDER BY id) TO STDOUT").await;
        let pieces: Vec<bytes::Bytes> =
            out.expect("it starts").try_collect().await.expect("it ends");
        assert_eq!(pieces.concat(), b"1\ta\n2\tb, c\n3\t\\N\n");
    });
}

#[test]
fn a_transaction_that_fails_is_undone() {
    run(|server| async move {
        let mut client = connect(&server).await;
        client.batch_execute("CREATE TABLE t (id BIGINT PRIMARY KEY)").await.expect("created");
        let transaction = client.transaction().await.expect("begun");
        transaction.execute("INSERT INTO t VALUES (1)", &[]).await.expect("inserted");
        let error = transaction.execute("SELECT nothing", &[]).await.expect_err("no such column");
        assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN));
        let error = transaction.execute("SELECT 1", &[]).await.expect_err("the block failed");
        assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        transaction.rollback().await.expect("rolled back");
        let row = client.query_one("SELECT count(*) FROM t", &[]).await.expect("a row");
        assert_eq!(row.get::<_, i64>(0), 0);
    });
}

#[test]
fn several_statements_run_together() {
    run(|server| async move {
        let client = connect(&server).await;
        let messages = client.simple_query("SELECT 1 AS a; CREATE TABLE t (a BIGINT); SELECT 2");
        let messages = messages.await.expect("all succeed");
        let row = |m: &SimpleQueryMessage| match m {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        assert_eq!(messages.iter().filter_map(row).collect::<Vec<_>>(), ["1", "2"]);
    });
}

#[test]
fn many_statements_are_under_way_at_once() {
    run(|server| async move {
        let client = connect(&server).await;
        client.batch_execute("CREATE TABLE t (id BIGINT PRIMARY KEY)").await.expect("created");
        let insert = client.prepare("INSERT INTO t VALUES ($1)").await.expect("prepared");
        let inserts = (0..200_i64).map(|id| {
            let (client, insert) = (&client, &insert);
            async move { client.execute(insert, &[&id]).await }
        });
        let counts = futures::future::join_all(inserts).await;
        assert!(counts.into_iter().all(|n| n.expect("inserted") == 1));
        let row = client.query_one("SELECT count(*) FROM t", &[]).await.expect("a row");
        assert_eq!(row.get::<_, i64>(0), 200);
    });
}

#[test]
fn lengths_of_windows_may_be_parameters() {
    run(|server| async move {
        let client = connect(&server).await;
        let setup = "CREATE STREAM s (ts TIMESTAMP, v INTEGER, WATERMARK FOR ts AS ts); \
                     INSERT INTO s VALUES ('2024-05-01 10:00', 1), ('2024-05-01 10:40', 2); \
                     ALTER STREAM s HEARTBEAT TIMESTAMP '2024-05-01 10:59'";
        client.batch_execute(setup).await.expect("created");
        let recent = "SELECT count(*) FROM s [RANGE $1] WHERE v < $2";
        let recent = client.prepare(recent).await.expect("prepared");
        assert_eq!(recent.params(), [Type::INTERVAL, Type::INT4]);
        let recent = "SELECT count(*) FROM s [RANGE $1] WHERE v < $2";
        let types = [Type::TEXT, Type::INT4];
        let recent = client.prepare_typed(recent, &types).await.expect("prepared");
        for (length, count) in [("30 minutes", 1_i64), ("1 hour", 2), ("10 seconds", 0)] {
            let row = client.query_one(&recent, &[&length, &9_i32]).await.expect("a row");
            assert_eq!(row.get::<_, i64>(0), count, "{length}");
        }
        let error = client.query_one(&recent, &[&"1 month", &9_i32]).await.expect_err("no length");
        assert_eq!(error.code(), Some(&SqlState::WINDOWING_ERROR));
    });
}
