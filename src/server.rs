//! A running server: data directory, listeners, engine, wire and http put together.
//!
//! # Semantics
//! [`Server::start`] returns when clients can connect. [`Server::run_until`] returns when a signal
//! came, or a part of the server ended on its own, and everything has been shut down in order: no
//! new connections and statements first, then the engine.
//!
//! # Invariants
//! 1. One server per data directory at a time: it holds a lock on a file in it for as long as it
//!    lives.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::{Clock, SystemClock};
use crate::config::{Address, Config};
use crate::data_dir::{self, DataDir};
use crate::engine::{Engine, EngineOptions};
use crate::fault;
use crate::http::{self, Health};
use crate::telemetry;

/// How long connections may take to end at a shutdown before they are abandoned.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

const STARTING: &str = "the engine is starting";
const STOPPING: &str = "the server is shutting down";

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] data_dir::Error),
    /// An address is taken or not ours.
    #[error("could not listen on {address} (option \"{option}\")")]
    Listen {
        /// `listen` or `http`.
        option: &'static str,
        /// The address.
        address: Address,
        /// The cause.
        source: io::Error,
    },
    /// The engine does not start.
    #[error("could not start the engine")]
    Engine(#[source] crate::engine::Error),
}

/// A running server.
pub struct Server {
    engine: Arc<Engine>,
    health: Arc<Health>,
    wire: JoinHandle<io::Result<()>>,
    http: JoinHandle<io::Result<()>>,
    shutdown: CancellationToken,
    postgres_address: SocketAddr,
    http_address: SocketAddr,
    /// Held for its lock.
    _data_dir: DataDir,
}

impl Server {
    /// Starts a server; returns when clients can connect.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        fault::point("server.start");
        let mut data_dir = DataDir::open(&config.data_dir)?;
        let (postgres, postgres_address) = bind("listen", &config.listen).await?;
        let (http, http_address) = bind("http", &config.http).await?;
        let shutdown = CancellationToken::new();
        let health = Arc::new(Health::new(telemetry::metrics().clone(), STARTING));
        let http = tokio::spawn(http::serve(http, Arc::clone(&health), shutdown.clone()));

        let options = EngineOptions::of(config);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (log, history) = (data_dir.log(), data_dir.history());
        let engine = Engine::start(options, clock, &log, &history);
        let engine = engine.await.map_err(StartError::Engine)?;
        data_dir.settle()?;
        let wire =
            tokio::spawn(crate::wire::serve(Arc::clone(&engine), postgres, shutdown.clone()));
        let measured = Arc::clone(&engine);
        health.set_samples(Box::new(move || measured.gauges()));
        health.unblock(STARTING);
        info!(
            data_dir = %config.data_dir.display(), %postgres_address, %http_address,
            shards = config.shards, memory_limit = %String::from(config.memory_limit),
            "server started"
        );
        Ok(Self {
            engine,
            health,
            wire,
            http,
            shutdown,
            postgres_address,
            http_address,
            _data_dir: data_dir,
        })
    }

    /// Where Postgres clients connect.
    pub fn postgres_address(&self) -> SocketAddr {
        self.postgres_address
    }

    /// Where health and metrics are served.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// The line that says the server is ready.
    pub fn ready_line(&self) -> String {
        let (postgres, http) = (self.postgres_address, self.http_address);
        format!("highwater ready: postgres on {postgres}, http on {http}")
    }

    /// Serves until `signal`, then shuts down. An error is that of a part that ended before.
    pub async fn run_until(mut self, signal: impl Future<Output = ()>) -> io::Result<()> {
        let ended = tokio::select! {
            () = signal => None,
            ended = &mut self.wire => Some(early("wire", ended)),
            ended = &mut self.http => Some(early("http", ended)),
        };
        self.health.block(STOPPING);
        info!("shutting down");
        self.shutdown.cancel();
        let parts = async {
            for (part, task) in [("wire", &mut self.wire), ("http", &mut self.http)] {
                if !task.is_finished()
                    && let Err(error) = outcome(part, task.await)
                {
                    warn!(part, %error, "ended with an error");
                }
            }
        };
        if tokio::time::timeout(SHUTDOWN_MAX, parts).await.is_err() {
            warn!(seconds = SHUTDOWN_MAX.as_secs(), "connections did not end in time");
        }
        self.engine.shutdown().await;
        info!("stopped");
        ended.unwrap_or(Ok(()))
    }
}

/// Returns a future that ends at the first SIGINT or SIGTERM. A second one then ends the process at
/// once.
pub fn signals() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let mut next = async move || {
            tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 }
        };
        next().await;
        tokio::spawn(async move { std::process::exit(next().await) });
    })
}

/// What a part says that ended without being told to.
fn early(part: &str, ended: Result<io::Result<()>, JoinError>) -> io::Result<()> {
    outcome(part, ended).and(Err(io::Error::other(format!("{part} ended on its own"))))
}

/// What a part that ended says.
fn outcome(part: &str, ended: Result<io::Result<()>, JoinError>) -> io::Result<()> {
    match ended {
        Ok(result) => {
            result.map_err(|error| io::Error::new(error.kind(), format!("{part}: {error}")))
        }
        Err(panic) => Err(io::Error::other(format!("{part}: {panic}"))),
    }
}

async fn bind(
    option: &'static str,
    address: &Address,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { option, address: address.clone(), source };
    let listener =
        TcpListener::bind((address.host.as_str(), address.port)).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(data_dir: &Path) -> Config {
        Config {
            data_dir: data_dir.to_owned(),
            listen: Address::local(0),
            http: Address::local(0),
            ..Config::default()
        }
    }

    async fn failure(config: &Config) -> String {
        match Server::start(config).await {
            Ok(_) => panic!("started"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn starts_on_a_missing_directory_and_stops() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir.path().join("a/b"));
        let server = Server::start(&config).await.unwrap();
        assert!(server.ready_line().starts_with("highwater ready: postgres on 127.0.0.1:"));
        assert_ne!(server.postgres_address().port(), 0);
        assert!(failure(&config).await.contains("is in use by another highwater server"));
        server.run_until(async {}).await.unwrap();
        Server::start(&config).await.unwrap().run_until(async {}).await.unwrap();
    }

    #[tokio::test]
    async fn another_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("highwater.format"), "3\n").unwrap();
        let message = failure(&config(dir.path())).await;
        let said = "has format \"3\", and this version reads format \"2\"";
        assert!(message.ends_with(said), "{message}");
    }

    #[tokio::test]
    async fn a_file_is_no_data_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(failure(&config(file.path())).await.ends_with("is not a directory"));
        let below = failure(&config(&file.path().join("x"))).await;
        assert!(below.starts_with("could not create data directory"), "{below}");
    }

    #[tokio::test]
    async fn a_taken_address_is_named_with_its_option() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let config = Config { http: Address::local(port), ..config(dir.path()) };
        let message = failure(&config).await;
        let expected = format!("could not listen on 127.0.0.1:{port} (option \"http\")");
        assert_eq!(message, expected);
    }
}
