//! What the test programs share: a server process of their own and a plain client for it.
//!
//! # Why
//! The client is our own and blocking: a test must see what a driver hides (column types of
//! simple queries, notices, every field of an error, rows of a SUBSCRIBE one by one, a socket
//! nobody reads) and needs no runtime for it. Real drivers have their tests in `tests/clients`.

pub mod client;
pub mod files;
pub mod postgres;
pub mod random;
pub mod server;
pub mod subscription;
