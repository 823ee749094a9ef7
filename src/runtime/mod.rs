//! Makes plans move: commits, tasks, results.
//!
//! A commit enters through the [`hub::Hub`], the one place that orders everything; [`ingest`]
//! judges the rows of
//! streams; the commit's changes go to the entries of every [`job::Job`] that they concern, through
//! its
//! [`task::Task`]s on worker threads, and come out at its [`publication::Publication`].

pub mod build;
pub mod changes;
pub mod content;
pub mod durable;
pub mod errors;
pub mod exchange;
pub mod history;
pub mod hub;
pub mod image;
pub mod ingest;
pub mod intake;
pub mod job;
pub mod journal;
pub mod memory;
pub mod once;
pub mod packet;
mod passing;
mod past;
pub mod pool;
pub mod publication;
pub mod read;
pub mod sink;
pub mod stage;
pub mod status;
pub mod stream;
pub mod subscription;
pub mod table;
pub mod task;

mod error;
pub mod operator;
mod runs;
mod snapshot;
mod spec;
mod state;

pub use error::{Error, Result};
