//! SQL to a read-only streaming plan.
//!
//! A parsed query becomes DataFusion's logical plan (`bind`, with our windows as nodes of it), and
//! that, for
//! a continuous query, our [`plan::Plan`] with proven properties (`lower`, `derive`, `on_close`,
//! `clock`, `distribute`). A one-shot query stops at the logical plan: DataFusion runs it over
//! snapshots.

pub mod arithmetic;
pub mod asof;
pub mod bind;
mod casts;
pub mod clock;
pub mod coercion;
mod column_name;
mod derive;
mod distribute;
pub mod doubts;
pub mod error;
pub mod explain;
pub mod functions;
mod join;
mod late;
pub mod lower;
pub mod meaning;
pub mod null_safe;
mod on_close;
pub mod operators;
mod pace;
mod panes;
pub mod plan;
pub mod properties;
pub mod relation;
pub mod replay;
mod scaled_interval;
mod subquery;
mod text_time;
pub mod to_stream;
mod tvf;
mod using;
mod versions;
pub mod window;
mod window_function;
mod wording;

pub use error::{Error, Result};
