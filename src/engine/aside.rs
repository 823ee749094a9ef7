//! Work that may take long, so that it does not keep other sessions waiting.
//!
//! # Why
//! Parsing and planning compute without a pause, and a long statement takes them long. The threads
//! that do it serve all connections: before, such a thread hands its other tasks to another one.

use std::pin::pin;
use std::task::Poll;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Computes something that may take long.
pub(super) fn compute<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    // Where there is one thread, there is no other to hand tasks to.
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

/// Waits for something that computes for long between its pauses.
pub(super) async fn run<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    std::future::poll_fn(|context| -> Poll<T> { compute(|| work.as_mut().poll(context)) }).await
}
