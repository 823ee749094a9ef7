//! Highwater: a SQL-first streaming database that speaks Postgres.
//!
//! Modules stand in reading order; `ARCHITECTURE.md` tells the life of a statement and of a row.

pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connectors;
pub mod data_dir;
pub mod delta;
pub mod demo;
pub mod engine;
pub mod error;
pub mod fault;
pub mod functions;
pub mod http;
pub mod operators;
pub mod planner;
pub mod program;
pub mod runtime;
pub mod server;
pub mod size;
pub mod sql;
pub mod storage;
pub mod telemetry;
pub mod time;
pub mod windows;
pub mod wire;
