//! Accepts clients, gives each a task of its own, and sends them off at the end.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use crate::engine::Engine;
use crate::wire::cancel::{Registry, Signals};
use crate::wire::error::Error;
use crate::wire::startup;

/// How many clients may be connected at once. Each costs two file descriptors; systems allow 1024
/// of them to a process by default.
const CONNECTIONS_MAX: usize = 400;

/// How long a client may take to say who it is (Postgres: `authentication_timeout`).
const STARTUP: Duration = Duration::from_secs(60);

/// How long clients have to take their last message when the server stops.
const GRACE: Duration = Duration::from_secs(2);

/// Pause after a failed accept: out of descriptors is cured by clients that leave.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves clients until `shutdown`; then tells them so and returns when they are gone.
pub async fn serve(
    engine: Arc<Engine>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let registry = Arc::new(Registry::default());
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            // Finished tasks are taken out, or they would pile up.
            Some(_) = clients.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let seat = Arc::clone(&seats).try_acquire_owned().ok();
        let (engine, registry) = (Arc::clone(&engine), Arc::clone(&registry));
        let shutdown = shutdown.clone();
        let span = tracing::info_span!("connection", client = %address);
        let client = async move {
            attend(stream, &engine, &registry, shutdown, seat.is_some()).await;
            drop(seat);
        };
        clients.spawn(client.instrument(span));
    }
    drop(listener);
    let farewell = async { while clients.join_next().await.is_some() {} };
    if timeout(GRACE, farewell).await.is_err() {
        tracing::warn!(clients = clients.len(), "clients did not leave in time");
        clients.shutdown().await;
    }
    Ok(())
}

/// Attends one client from its first byte to its last.
async fn attend(
    stream: TcpStream,
    engine: &Arc<Engine>,
    registry: &Arc<Registry>,
    shutdown: CancellationToken,
    admitted: bool,
) {
    let (hang_up, _watcher) = match watch_hang_up(&stream) {
        Ok(watched) => watched,
        Err(error) => return tracing::warn!(%error, "client not served"),
    };
    let end = shutdown.child_token();
    let signals = Signals { cancel: CancellationToken::new(), hang_up, shutdown: end };
    let starting = startup::start(stream, engine, registry, signals, admitted);
    let started = tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        started = timeout(STARTUP, starting) => started,
    };
    let result = match started {
        Ok(Ok(Some(mut connection))) => connection.serve().await,
        Ok(Ok(None)) => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(_) => return tracing::info!("client did not start up in time"),
    };
    if let Err(Error::Closed(error)) = result {
        tracing::debug!(%error, "connection lost");
    }
}

/// Returns a token that is cancelled when the client closes its end; the watch ends with the guard.
///
/// While a statement runs nobody reads the socket. So its readiness is watched on a descriptor of
/// its own, where clearing it takes nothing from the reader.
fn watch_hang_up(stream: &TcpStream) -> io::Result<(CancellationToken, DropGuard)> {
    let twin = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
    let twin = TcpStream::from_std(twin)?;
    let (hang_up, end) = (CancellationToken::new(), CancellationToken::new());
    let (token, ended) = (hang_up.clone(), end.clone());
    let watch = async move {
        while let Ok(ready) = twin.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                token.cancel();
                return;
            }
            // "Would block" makes tokio wait for the next event, although there are bytes to read.
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = twin.try_io(Interest::READABLE, nothing);
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = watch => {}
        }
    });
    Ok((hang_up, end.drop_guard()))
}
