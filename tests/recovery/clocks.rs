//! System clocks that jump, while the server runs and while it does not: time never goes back.

use std::path::Path;
use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use highwater::clock::{Clock, ManualClock};
use highwater::engine::{Client, Engine, EngineOptions, Interrupt, Outcome, Session};
use highwater::time::Timestamp;

/// Nobody ends these sessions.
#[derive(Debug)]
struct Never;

impl Interrupt for Never {
    fn cancel(&self) {}

    fn terminate(&self) {}
}

const HOUR: i64 = 3_600_000_000;

/// An engine on a clock of the test's own.
struct Life {
    clock: Arc<ManualClock>,
    engine: Arc<Engine>,
    session: Session,
}

impl Life {
    /// Starts on a directory, when the clock shows so many hours.
    async fn start(dir: &Path, hours: i64) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.set(Timestamp(hours * HOUR));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let options = EngineOptions {
            shards: 2,
            threads: 2,
            batch_rows: 1024,
            history_rows: 1024,
            memory_limit: 1 << 30,
        };
        let engine = Engine::start(options, shared, &dir.join("log"), &dir.join("history"))
            .await
            .expect("the engine starts");
        let session = engine.session(Client {
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            application_name: String::new(),
            address: None,
            pid: 1,
            interrupt: Arc::new(Never),
        });
        Self { clock, engine, session }
    }

    fn set(&self, hours: i64) {
        self.clock.set(Timestamp(hours * HOUR));
    }

    /// Runs a statement; returns the first value of its result.
    async fn run(&mut self, sql: &str) -> Option<String> {
        let statements = self.session.parse(sql).expect("it is SQL");
        let outcome = self.session.execute(&statements[0], &[]).await;
        let rows = match outcome.unwrap_or_else(|error| panic!("{error}\nin: {sql}")) {
            Outcome::Rows(rows) => rows,
            _ => return None,
        };
        let batches: Vec<_> = rows.stream.try_collect().await.expect("there are rows");
        let batch = batches.iter().find(|batch| batch.num_rows() > 0)?;
        let options = FormatOptions::default();
        let values = ArrayFormatter::try_new(batch.column(0), &options).expect("it is shown");
        Some(values.value(0).to_string())
    }

    /// The time of the last commit, and how many rows came in the last hour.
    async fn seen(&mut self) -> (String, String) {
        let time = self.run("SELECT watermark('s')").await.expect("a watermark");
        (time, self.run("SELECT c FROM lately").await.expect("a count"))
    }

    async fn insert(&mut self) -> (String, String) {
        self.run("INSERT INTO s VALUES (1)").await;
        self.seen().await
    }

    async fn end(self) {
        drop(self.session);
        self.engine.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_never_goes_back() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let mut life = Life::start(dir.path(), 1000).await;
    life.run("CREATE STREAM s (v BIGINT)").await;
    life.run("CREATE VIEW lately AS SELECT count(*) AS c FROM s [RANGE INTERVAL '1 hour']").await;
    let (first, one) = life.insert().await;
    assert_eq!(one, "1");
    // Back by days.
    life.set(900);
    let (second, two) = life.insert().await;
    assert!(second > first, "{second} after {first}");
    assert_eq!(two, "2");
    life.end().await;

    // Still back after a start: the same, and time goes on from there.
    let mut life = Life::start(dir.path(), 800).await;
    assert_eq!(life.seen().await.1, "2");
    let (third, three) = life.insert().await;
    assert!(third > second, "{third} after {second}");
    assert_eq!(three, "3");
    life.run("CHECKPOINT").await;
    life.end().await;

    // Ahead by days: what came then is long ago.
    let mut life = Life::start(dir.path(), 2000).await;
    let (fourth, four) = life.insert().await;
    assert!(fourth > third, "{fourth} after {third}");
    assert_eq!(four, "1");
    life.end().await;

    // And back: it is not undone.
    let mut life = Life::start(dir.path(), 1000).await;
    let (fifth, five) = life.insert().await;
    assert!(fifth > fourth, "{fifth} after {fourth}");
    assert_eq!(five, "2");
    life.end().await;
}
