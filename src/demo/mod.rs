//! `highwater demo`: a server that replays a week of real flights, and a client that watches it.
//!
//! # Semantics
//! The demo starts an ordinary server and talks to it as any client does, through the Postgres protocol. It
//! creates the example of `sql/examples/flights.sql`, reads the departures in the order in which they happened
//! through the file connector, and follows a live view with SUBSCRIBE. When the file has been read, a heartbeat
//! closes the last windows, and the final results are printed with the queries that make them.
//!
//! # Why
//! The data is part of the binary, so that the demo works in any directory.

mod client;
mod data;
mod live;
mod screen;
mod story;

pub use client::Error;
pub use story::{defaults, run};
