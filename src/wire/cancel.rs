//! What ends a statement early: a cancel request, a timeout, a hang-up, a shutdown.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::{self, Interrupt as _};

/// The connections that cancel requests can name, by process id.
#[derive(Debug, Default)]
pub(super) struct Registry {
    connections: Mutex<BTreeMap<i32, (i32, Arc<Running>)>>,
    last_pid: AtomicI32,
}

impl Registry {
    /// Gives a connection its process id and secret; `end` ends it.
    pub(super) fn register(self: &Arc<Self>, end: CancellationToken) -> Registration {
        let pid = self.last_pid.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
        // `RandomState` is seeded by the operating system.
        let bytes = RandomState::new().hash_one(pid).to_be_bytes();
        let secret = i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let running = Arc::new(Running { statement: Mutex::default(), end });
        self.lock().insert(pid, (secret, Arc::clone(&running)));
        Registration { registry: Arc::clone(self), pid, secret, running }
    }

    /// Cancels what connection `pid` is running, if the secret is right.
    pub(super) fn cancel(&self, pid: i32, secret: i32) {
        if let Some((expected, running)) = self.lock().get(&pid)
            && *expected == secret
        {
            running.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, (i32, Arc<Running>)>> {
        // Every critical section leaves the map whole.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry in the registry, for as long as this lives.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    /// The process id the client sees.
    pub(super) pid: i32,
    /// The secret a cancel request has to repeat.
    pub(super) secret: i32,
    /// What cancel requests act on.
    pub(super) running: Arc<Running>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.pid);
    }
}

/// What a connection is running; nothing between statements, so that a late cancel request has no
/// effect.
#[derive(Debug)]
pub(super) struct Running {
    statement: Mutex<Option<CancellationToken>>,
    /// Ends the connection.
    end: CancellationToken,
}

impl engine::Interrupt for Running {
    fn cancel(&self) {
        if let Some(token) = &*self.statement() {
            token.cancel();
        }
    }

    fn terminate(&self) {
        self.end.cancel();
    }
}

impl Running {
    fn statement(&self) -> MutexGuard<'_, Option<CancellationToken>> {
        self.statement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins something that can be canceled, until the next `begin` or `end`.
    pub(super) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.statement() = Some(token.clone());
        token
    }

    /// From now on there is nothing to cancel.
    pub(super) fn end(&self) {
        *self.statement() = None;
    }
}

/// Why a statement has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// The user asked for it.
    Canceled,
    /// It took longer than `statement_timeout`.
    Timeout,
    /// The client is gone.
    HangUp,
    /// The server is going.
    Shutdown,
}

/// Everything that can interrupt a connection. Tokens are level-triggered: no signal is lost.
#[derive(Clone, Debug)]
pub(super) struct Signals {
    /// Cancels what is running now.
    pub(super) cancel: CancellationToken,
    /// The client closed its end.
    pub(super) hang_up: CancellationToken,
    /// The server stops.
    pub(super) shutdown: CancellationToken,
}

impl Signals {
    /// Waits for an interrupt, at the latest until `deadline`.
    pub(super) async fn interrupted(&self, deadline: Option<Instant>) -> Interrupt {
        tokio::select! {
            biased;
            () = self.hang_up.cancelled() => Interrupt::HangUp,
            interrupt = self.told_to_stop(deadline) => interrupt,
        }
    }

    /// Waits for an interrupt other than a hang-up: what the client asked for is still to be done.
    pub(super) async fn told_to_stop(&self, deadline: Option<Instant>) -> Interrupt {
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Interrupt::Shutdown,
            () = self.cancel.cancelled() => Interrupt::Canceled,
            () = timeout => Interrupt::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_request_reaches_only_what_runs_and_needs_the_secret() {
        let registry = Arc::new(Registry::default());
        let connection = registry.register(CancellationToken::new());
        registry.cancel(connection.pid, connection.secret);
        let token = connection.running.begin();
        registry.cancel(connection.pid, connection.secret.wrapping_add(1));
        assert!(!token.is_cancelled());
        registry.cancel(connection.pid, connection.secret);
        assert!(token.is_cancelled());
    }
}
