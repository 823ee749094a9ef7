//! Highwater: a SQL-first streaming database that speaks Postgres.
//!
//! Modules stand in reading order; `ARCHITECTURE.md` tells the life of a statement and of a row.

pub mod clock;
pub mod config;
pub mod connectors;
pub mod delta;
pub mod engine;
pub mod error;
pub mod operators;
pub mod planner;
pub mod runtime;
pub mod sql;
pub mod storage;
pub mod time;
pub mod windows;
pub mod wire;
