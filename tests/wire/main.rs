//! The protocol as tokio-postgres speaks it, against the real binary.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Error, NoTls, SimpleQueryMessage};

mod sessions;

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test programs use the rest")]
mod support;

use support::server::Server;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects; what comes beside results goes to the receiver.
async fn connect(server: &Server) -> (Client, UnboundedReceiver<AsyncMessage>) {
    let (client, messages, _) = connect_as(server, "tester").await;
    (client, messages)
}

/// Connects; the socket closes at once when the task is aborted.
async fn connect_as(
    server: &Server,
    user: &str,
) -> (Client, UnboundedReceiver<AsyncMessage>, JoinHandle<()>) {
    let port = server.postgres().port();
    let config = format!("host=127.0.0.1 port={port} user={user} dbname=test");
    let (client, mut connection) =
        tokio_postgres::connect(&config, NoTls).await.expect("the server lets us in");
    let (sender, receiver) = unbounded_channel();
    let task = tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            // A test that does not look at messages drops the receiver.
            let _ = sender.send(message);
        }
    });
    (client, receiver, task)
}

/// Connects and makes a table of five rows.
async fn with_table(server: &Server) -> Client {
    let (client, _) = connect(server).await;
    client
        .batch_execute(
            "CREATE TABLE t (id BIGINT, s TEXT); \
             INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, NULL)",
        )
        .await
        .expect("a table can be made");
    client
}

fn code(error: &Error) -> &SqlState {
    error.code().unwrap_or_else(|| panic!("not an error of the server: {error}"))
}

/// Returns the first column of each row, `|` between results.
fn texts(messages: &[SimpleQueryMessage]) -> String {
    let texts = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        SimpleQueryMessage::CommandComplete(_) => Some("|".to_owned()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_of_a_string_has_its_own_result() {
    let server = Server::start();
    let client = with_table(&server).await;
    let messages =
        client.simple_query("SELECT id FROM t ORDER BY id; ; SELECT 'x' AS x").await.unwrap();
    assert_eq!(texts(&messages), "1 2 3 4 5 | x |");
    assert!(
        client
            .simple_query("-- nothing")
            .await
            .unwrap()
            .iter()
            .all(|m| { matches!(m, SimpleQueryMessage::CommandComplete(0)) })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn results_before_an_error_arrive_and_those_after_it_do_not() {
    let server = Server::start();
    let (client, _) = connect(&server).await;
    let stream =
        client.simple_query_raw("SELECT 1; SELECT 2; SELECT nope; SELECT 3").await.unwrap();
    let (mut rows, mut error) = (Vec::new(), None);
    pin_mut!(stream);
    while let Some(message) = stream.next().await {
        match message {
            Ok(SimpleQueryMessage::Row(row)) => rows.push(row.get(0).unwrap().to_owned()),
            Ok(_) => {}
            Err(e) => error = Some(e),
        }
    }
    assert_eq!(rows, ["1", "2"]);
    assert_eq!(*code(&error.unwrap()), SqlState::UNDEFINED_COLUMN);
    assert_eq!(texts(&client.simple_query("SELECT 4").await.unwrap()), "4 |");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_go_in_and_come_out_in_binary() {
    let server = Server::start();
    let (client, _) = connect(&server).await;
    let statement = "SELECT $1::bool, $2::smallint, $3::int, $4::bigint, $5::real, \
                     $6::double precision, $7::text, $8::bytea, $9::date, $10::time, \
                     $11::timestamp, $12::timestamptz";
    let day = NaiveDate::from_ymd_opt(1969, 7, 20).unwrap();
    let time = NaiveTime::from_hms_micro_opt(20, 17, 40, 123_456).unwrap();
    let local: NaiveDateTime = day.and_time(time);
    let instant: DateTime<Utc> = local.and_utc();
    let params: [&(dyn ToSql + Sync); 12] = [
        &true,
        &-3_i16,
        &i32::MAX,
        &i64::MIN,
        &1.5_f32,
        &-0.1_f64,
        &"grüße",
        &&b"\x00\xff"[..],
        &day,
        &time,
        &local,
        &instant,
    ];
    let row = client.query_one(statement, &params).await.unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(row.get::<_, i16>(1), -3);
    assert_eq!(row.get::<_, i32>(2), i32::MAX);
    assert_eq!(row.get::<_, i64>(3), i64::MIN);
    assert_eq!(row.get::<_, f32>(4), 1.5);
    assert_eq!(row.get::<_, f64>(5), -0.1);
    assert_eq!(row.get::<_, &str>(6), "grüße");
    assert_eq!(row.get::<_, &[u8]>(7), b"\x00\xff");
    assert_eq!(row.get::<_, NaiveDate>(8), day);
    assert_eq!(row.get::<_, NaiveTime>(9), time);
    assert_eq!(row.get::<_, NaiveDateTime>(10), local);
    assert_eq!(row.get::<_, DateTime<Utc>>(11), instant);
    let nulls = client.query_one("SELECT $1::bigint", &[&None::<i64>]).await.unwrap();
    assert_eq!(nulls.get::<_, Option<i64>>(0), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_types_reach_the_client() {
    let server = Server::start();
    let (client, _) = connect(&server).await;
    client
        .batch_execute("CREATE TABLE d (v VARCHAR(20), n NUMERIC(12,2), j JSON, u UUID, a INT[])")
        .await
        .unwrap();
    let statement = client.prepare("SELECT v, n, j, u, a FROM d").await.unwrap();
    let types: Vec<Type> = statement.columns().iter().map(|c| c.type_().clone()).collect();
    let expected = [Type::VARCHAR, Type::NUMERIC, Type::JSON, Type::UUID, Type::INT4_ARRAY];
    assert_eq!(types, expected);
    client.batch_execute("INSERT INTO d (n, a) VALUES (12.5, ARRAY[1, NULL, 3])").await.unwrap();
    assert_eq!(texts(&client.simple_query("SELECT n FROM d").await.unwrap()), "12.50 |");
    let row = client.query_one("SELECT a FROM d", &[]).await.unwrap();
    assert_eq!(row.get::<_, Vec<Option<i32>>>(0), [Some(1), None, Some(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_are_parameters_of_any_and_all() {
    let server = Server::start();
    let client = with_table(&server).await;
    let ids = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|r| r.get(0)).collect::<Vec<i64>>();
    let any = client.prepare("SELECT id FROM t WHERE id = ANY ($1) ORDER BY id").await.unwrap();
    assert_eq!(any.params(), [Type::INT8_ARRAY]);
    assert_eq!(ids(client.query(&any, &[&vec![1_i64, 4, 9]]).await.unwrap()), [1, 4]);
    assert_eq!(ids(client.query(&any, &[&Vec::<i64>::new()]).await.unwrap()), [0_i64; 0]);
    let sql = "SELECT id FROM t WHERE s <> ALL ($1) ORDER BY id";
    assert_eq!(ids(client.query(sql, &[&vec!["a", "c", "d"]]).await.unwrap()), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rows_are_returned_with_their_types() {
    let server = Server::start();
    let client = with_table(&server).await;
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2) RETURNING id, s").await.unwrap();
    let types: Vec<_> = insert.columns().iter().map(|c| c.type_().clone()).collect();
    assert_eq!(types, [Type::INT8, Type::TEXT]);
    let row = client.query_one(&insert, &[&9_i64, &"i"]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (9, "i"));
    let sql = "UPDATE t SET s = $1 WHERE id = $2 RETURNING s || '!'";
    let row = client.query_one(sql, &[&"x", &9_i64]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "x!");
    let rows = client.query("DELETE FROM t WHERE id > $1 RETURNING *", &[&3_i64]).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(client.execute("TRUNCATE t", &[]).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_of_statements_is_one_transaction() {
    let server = Server::start();
    let client = with_table(&server).await;
    let error = client.batch_execute("DELETE FROM t; INSERT INTO t VALUES (9, 'i'); SELECT 1 / 0");
    assert_eq!(code(&error.await.unwrap_err()), &SqlState::DIVISION_BY_ZERO);
    let count: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 5);
    client.batch_execute("DELETE FROM t; INSERT INTO t VALUES (9, 'i'); SELECT 1").await.unwrap();
    let id: i64 = client.query_one("SELECT id FROM t", &[]).await.unwrap().get(0);
    assert_eq!(id, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_gives_its_rows_in_pieces() {
    let server = Server::start();
    let mut client = with_table(&server).await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    let mut pieces = Vec::new();
    for _ in 0..4 {
        let rows = transaction.query_portal(&portal, 2).await.unwrap();
        pieces.push(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>());
    }
    assert_eq!(pieces, [vec![1, 2], vec![3, 4], vec![5], vec![]]);
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_result_ends_by_cancel_and_the_connection_goes_on() {
    let server = Server::start();
    let client = with_table(&server).await;
    let rows = client.query_raw("SUBSCRIBE t", Vec::<String>::new()).await.unwrap();
    pin_mut!(rows);
    tokio::time::timeout(PATIENCE, rows.try_next()).await.unwrap().unwrap().unwrap();
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    let end = async {
        loop {
            if let Err(error) = rows.try_next().await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, end).await.unwrap();
    assert_eq!(*code(&error), SqlState::QUERY_CANCELED);
    assert_eq!(client.query_one("SELECT 1::bigint", &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_ends_its_live_result() {
    let server = Server::start();
    let client = with_table(&server).await;
    // A session whose result has not ended would still be there.
    let live = "SELECT count(*)::bigint FROM pg_stat_activity WHERE usename = 'subscriber'";
    let reaches = async |wanted: i64| {
        while client.query_one(live, &[]).await.unwrap().get::<_, i64>(0) != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (subscriber, _, socket) = connect_as(&server, "subscriber").await;
    let _rows = subscriber.query_raw("SUBSCRIBE t", Vec::<String>::new()).await.unwrap();
    tokio::time::timeout(PATIENCE, reaches(1)).await.expect("the subscription shows");
    socket.abort();
    tokio::time::timeout(PATIENCE, reaches(0)).await.expect("the subscription ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_come_before_the_end_of_the_statement() {
    let server = Server::start();
    let (client, mut messages) = connect(&server).await;
    client.batch_execute("CREATE TABLE t (id BIGINT)").await.unwrap();
    client.batch_execute("CREATE TABLE IF NOT EXISTS t (id BIGINT)").await.unwrap();
    let mut seen = Vec::new();
    while let Ok(message) = messages.try_recv() {
        if let AsyncMessage::Notice(notice) = message {
            seen.push((notice.severity().to_owned(), notice.message().to_owned()));
        }
    }
    let expected = ("NOTICE".to_owned(), "relation \"t\" already exists, skipping".to_owned());
    assert!(seen.contains(&expected), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_carry_code_and_position_in_characters() {
    let server = Server::start();
    let client = with_table(&server).await;
    let error = client.simple_query("SELECT 'ß', nope FROM t").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(*error.code(), SqlState::UNDEFINED_COLUMN);
    assert_eq!(error.position(), Some(&ErrorPosition::Original(13)));
    let error = client.simple_query("SELECT 1;\nSELEC 2").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(*error.code(), SqlState::SYNTAX_ERROR);
    assert_eq!(error.position(), Some(&ErrorPosition::Original(11)));
    assert_eq!(error.severity(), "ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_refuses_statements_until_its_end() {
    let server = Server::start();
    let (client, _) = connect(&server).await;
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute("SELECT nope").await.unwrap_err();
    let error = client.batch_execute("SELECT 1").await.unwrap_err();
    assert_eq!(*code(&error), SqlState::IN_FAILED_SQL_TRANSACTION);
    client.batch_execute("ROLLBACK").await.unwrap();
    client.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_extended_protocol_leaves_the_connection_usable() {
    let server = Server::start();
    let client = with_table(&server).await;
    let error = client.query("SELECT nope FROM t", &[]).await.unwrap_err();
    assert_eq!(*code(&error), SqlState::UNDEFINED_COLUMN);
    let error = client.prepare("SELECT 1; SELECT 2").await.unwrap_err();
    assert_eq!(*code(&error), SqlState::SYNTAX_ERROR);
    assert_eq!(client.query("SELECT id FROM t", &[]).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_canceled() {
    let server = Server::start();
    let (client, _) = connect(&server).await;
    client.batch_execute("SET statement_timeout = 100").await.unwrap();
    let error = client.batch_execute("SELECT pg_sleep(60)").await.unwrap_err();
    assert_eq!(*code(&error), SqlState::QUERY_CANCELED);
    assert!(error.as_db_error().unwrap().message().contains("statement timeout"));
    client.batch_execute("SET statement_timeout = 0; SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_rows_come_out_as_they_went_in() {
    let server = Server::start();
    let (client, _) = connect(&server).await;
    client.batch_execute("CREATE TABLE c (id BIGINT, s TEXT)").await.unwrap();
    let sink = client.copy_in("COPY c FROM STDIN").await.unwrap();
    pin_mut!(sink);
    // Records may be split anywhere.
    for piece in ["1\ttab\\tin", "side\n2\t\\N\n", "3\t\n"] {
        sink.send(Bytes::from(piece)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 3);
    let copied = async |options: &str| {
        let statement = format!("COPY (SELECT id, s FROM c ORDER BY id) TO STDOUT {options}");
        let pieces: Vec<Bytes> =
            client.copy_out(&statement).await.unwrap().try_collect().await.unwrap();
        pieces.concat()
    };
    assert_eq!(copied("").await, b"1\ttab\\tinside\n2\t\\N\n3\t\n");
    assert_eq!(copied("WITH (FORMAT csv, HEADER)").await, b"id,s\n1,tab\tinside\n2,\n3,\"\"\n");
    let binary = copied("WITH (FORMAT binary)").await;
    assert!(binary.starts_with(b"PGCOPY\n\xff\r\n\0") && binary.ends_with(&[0xff, 0xff]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_the_client_gives_up_leaves_nothing() {
    let server = Server::start();
    let (client, _) = connect(&server).await;
    client.batch_execute("CREATE TABLE c (id BIGINT)").await.unwrap();
    {
        let sink = client.copy_in::<_, Bytes>("COPY c FROM STDIN").await.unwrap();
        pin_mut!(sink);
        sink.send(Bytes::from("1\n2\n")).await.unwrap();
        // Dropped unfinished: the client sends CopyFail.
    }
    assert_eq!(texts(&client.simple_query("SELECT count(*) FROM c").await.unwrap()), "0 |");
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_are_shown_in_the_sessions_time_zone() {
    let server = Server::start();
    let (client, mut messages) = connect(&server).await;
    client.batch_execute("SET timezone = 'Asia/Kolkata'").await.unwrap();
    let shown = client.simple_query("SELECT '2024-01-01 00:00:00+00'::timestamptz").await.unwrap();
    assert_eq!(texts(&shown), "2024-01-01 05:30:00+05:30 |");
    drop(client);
    // ParameterStatus is not an error to the client, and nothing else comes.
    while let Some(message) = messages.recv().await {
        assert!(!matches!(message, AsyncMessage::Notification(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_when_the_server_stops() {
    let server = Server::start();
    let (client, _) = connect(&server).await;
    let waiting = tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(60)").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopped = tokio::task::spawn_blocking(move || server.end_by("TERM"));
    let end = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(*code(&end.unwrap_err()), SqlState::ADMIN_SHUTDOWN);
    stopped.await.unwrap();
}
