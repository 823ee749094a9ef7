//! Pipelines, and sessions as others see and end them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;

use crate::support::server::Server;
use crate::{PATIENCE, connect, connect_as, with_table};

/// What of a raw conversation with the server matters here.
struct Raw(TcpStream);

impl Raw {
    async fn connect(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.postgres()).await.expect("a socket");
        let body = b"\0\x03\0\0user\0tester\0\0";
        let length = u32::try_from(body.len() + 4).expect("a short message").to_be_bytes();
        stream.write_all(&[&length[..], body].concat()).await.expect("it takes bytes");
        let mut raw = Self(stream);
        raw.answers().await;
        raw
    }

    /// Sends Parse, Bind and Execute for each statement, and then one Sync.
    async fn pipeline(&mut self, statements: &[&str]) -> Vec<(u8, String)> {
        let message = |kind: u8, body: &[u8]| {
            let length = u32::try_from(body.len() + 4).expect("a short message").to_be_bytes();
            [&[kind][..], &length, body].concat()
        };
        let mut all = Vec::new();
        for statement in statements {
            all.extend(message(b'P', &[b"\0", statement.as_bytes(), b"\0\0\0"].concat()));
            all.extend(message(b'B', b"\0\0\0\0\0\0\0\0"));
            all.extend(message(b'E', b"\0\0\0\0\0"));
        }
        all.extend(message(b'S', b""));
        self.0.write_all(&all).await.expect("it takes bytes");
        self.answers().await
    }

    /// Completions and errors up to ReadyForQuery.
    async fn answers(&mut self) -> Vec<(u8, String)> {
        let mut answers = Vec::new();
        loop {
            let kind = self.0.read_u8().await.expect("an answer");
            let length = self.0.read_u32().await.expect("its length");
            let mut body = vec![0; usize::try_from(length - 4).expect("it fits")];
            self.0.read_exact(&mut body).await.expect("its body");
            match kind {
                b'Z' => return answers,
                b'C' | b'E' => answers.push((kind, String::from_utf8_lossy(&body).into_owned())),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_pipeline_up_to_sync_is_one_transaction() {
    let server = Server::start();
    let client = with_table(&server).await;
    let mut raw = Raw::connect(&server).await;
    let count = async || -> i64 {
        client.query_one("SELECT count(*) FROM t", &[]).await.expect("a count").get(0)
    };
    let wrong = ["INSERT INTO t VALUES (6, 'f')", "INSERT INTO t VALUES (7, 'g')", "SELECT 1 / 0"];
    let answers = raw.pipeline(&wrong).await;
    assert_eq!(answers.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [b'C', b'C', b'E']);
    assert!(answers[2].1.contains("22012"), "{answers:?}");
    assert_eq!(count().await, 5);
    let answers = raw.pipeline(&wrong[..2]).await;
    assert_eq!(answers.len(), 2);
    assert_eq!(count().await, 7);
    // COMMIT ends the transaction within the pipeline.
    let parts = ["BEGIN", "INSERT INTO t VALUES (8, 'h')", "COMMIT", "SELECT 1 / 0"];
    assert_eq!(raw.pipeline(&parts).await.last().map(|(kind, _)| *kind), Some(b'E'));
    assert_eq!(count().await, 8);
    // What cannot be committed is told before the client reads of success.
    client.batch_execute("CREATE TABLE k (id INT PRIMARY KEY)").await.expect("a table");
    let twice = ["INSERT INTO k VALUES (1)", "INSERT INTO k VALUES (1)"];
    let answers = raw.pipeline(&twice).await;
    assert_eq!(answers.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [b'C', b'E']);
}

#[tokio::test]
async fn sessions_are_seen_and_can_be_ended() {
    let server = Server::start();
    let (client, _) = connect(&server).await;
    let (other, _, connection) = connect_as(&server, "other").await;
    other.batch_execute("SET application_name = 'worker'").await.expect("it can be set");
    let pid: i32 = other.query_one("SELECT pg_backend_pid()", &[]).await.expect("a number").get(0);
    let doing = async || {
        let sql = "SELECT state, query, application_name, query_start >= backend_start, \
                   client_addr IS NOT NULL FROM pg_stat_activity WHERE pid = $1";
        let row = client.query_one(sql, &[&pid]).await.expect("the session is there");
        assert!(row.get::<_, bool>(3) && row.get::<_, bool>(4));
        (row.get::<_, String>(0), row.get::<_, String>(1), row.get::<_, String>(2))
    };
    let told = |state: &str, query: &str| (state.to_owned(), query.to_owned(), "worker".to_owned());
    assert_eq!(doing().await, told("idle", "SELECT pg_backend_pid()"));
    other.batch_execute("BEGIN").await.expect("a block");
    assert_eq!(doing().await, told("idle in transaction", "BEGIN"));
    let _ = other.batch_execute("SELECT 1 / 0").await;
    assert_eq!(doing().await, told("idle in transaction (aborted)", "SELECT 1 / 0"));
    other.batch_execute("ROLLBACK").await.expect("its end");
    let ends = |function: &str| format!("SELECT {function}($1::int)");
    let sleeping = tokio::spawn(async move {
        let canceled = other.batch_execute("SELECT pg_sleep(60)").await;
        (other, canceled)
    });
    while doing().await != told("active", "SELECT pg_sleep(60)") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let row = client.query_one(&ends("pg_cancel_backend"), &[&pid]).await.expect("an answer");
    assert!(row.get::<_, bool>(0));
    let (other, canceled) = sleeping.await.expect("it comes back");
    let code = canceled.expect_err("it was canceled").code().cloned();
    assert_eq!(code, Some(SqlState::QUERY_CANCELED));
    other.batch_execute("SELECT 1").await.expect("the session lives");
    let row = client.query_one(&ends("pg_terminate_backend"), &[&pid]).await.expect("an answer");
    assert!(row.get::<_, bool>(0));
    tokio::time::timeout(PATIENCE, connection).await.expect("it ends").expect("in order");
    let row = client.query_one(&ends("pg_terminate_backend"), &[&9_999]).await.expect("an answer");
    assert!(!row.get::<_, bool>(0));
}

#[tokio::test]
async fn a_long_statement_keeps_nobody_waiting() {
    let server = Server::start();
    let clients = futures::future::join_all((0..5).map(|_| connect(&server))).await;
    let chain = |count: usize| format!("SELECT {}", vec!["1"; count].join("+"));
    let error = clients[0].0.batch_execute(&chain(900)).await.expect_err("it is too complex");
    assert_eq!(error.code(), Some(&SqlState::STATEMENT_TOO_COMPLEX));
    let long = chain(400);
    let mut slow = Vec::new();
    for (client, _) in clients.into_iter().skip(1) {
        let long = long.clone();
        slow.push(tokio::spawn(async move { client.batch_execute(&long).await.map(|()| client) }));
    }
    let (client, _) = connect(&server).await;
    client.batch_execute("SELECT 1").await.expect("it answers");
    assert!(!slow.iter().any(JoinHandle::is_finished), "they are not long");
    for task in slow {
        task.await.expect("it comes back").expect("it is planned");
    }
}
