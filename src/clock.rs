//! The system clock, behind a trait: the only file that may read the OS clock.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use crate::time::Timestamp;

/// Tells the system time.
pub trait Clock: Send + Sync + Debug {
    /// Returns the system time.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
        let now = SystemTime::now();
        let micros = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_micros());
        Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// A clock that can be held at an instant.
#[derive(Debug)]
pub struct HeldClock {
    clock: Arc<dyn Clock>,
    at: AtomicI64,
}

/// Where a clock is that is not held.
const RUNNING: i64 = i64::MIN;

impl HeldClock {
    /// A clock that runs.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, at: AtomicI64::new(RUNNING) }
    }

    /// Holds it at an instant.
    pub fn hold(&self, at: Timestamp) {
        self.at.store(at.0, Ordering::SeqCst);
    }

    /// Lets it run.
    pub fn release(&self) {
        self.at.store(RUNNING, Ordering::SeqCst);
    }
}

impl Clock for HeldClock {
    fn now(&self) -> Timestamp {
        match self.at.load(Ordering::SeqCst) {
            RUNNING => self.clock.now(),
            at => Timestamp(at),
        }
    }
}

/// A clock that moves only when told; for tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Sets the time.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
