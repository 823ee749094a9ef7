//! SQL to a read-only streaming plan.
//!
//! A parsed query becomes DataFusion's logical plan (`bind`, with our windows as nodes of it), and
//! that, for
//! a continuous query, our [`plan::Plan`] with proven properties (`lower`, `derive`, `on_close`,
//! `clock`, `distribute`). A one-shot query stops at the logical plan: DataFusion runs it over
//! snapshots.

pub mod arithmetic;
pub mod arrival;
pub mod asof;
mod bag;
pub mod bind;
mod calls;
mod casts;
pub mod clock;
pub mod coercion;
mod column_list;
mod column_name;
pub mod common_type;
pub mod decorrelate;
mod derive;
mod distribute;
pub mod doubts;
mod empty_subquery;
pub mod error;
pub mod explain;
mod first_rows;
pub mod functions;
mod group_by;
pub mod grouping;
mod hypothetical;
pub mod in_order;
mod inlined;
mod inspection;
pub mod interval_order;
mod join;
mod late;
mod lateral_joins;
pub mod limits;
mod logarithm;
pub mod lookup;
pub mod lower;
mod macros;
mod mark;
pub mod meaning;
mod named_window;
mod never;
pub mod null_safe;
mod on_close;
mod open_windows;
pub mod operators;
pub mod ordered;
mod over;
mod pace;
mod panes;
pub mod past;
pub mod plan;
mod postgres_names;
pub mod properties;
mod recursive;
pub mod relation;
pub mod replay;
mod row_in;
mod rows;
mod scaled_interval;
mod subquery;
pub mod temporal;
pub mod text_output;
pub mod text_time;
pub mod to_stream;
mod tvf;
mod using;
mod values;
pub mod verdict;
mod versions;
mod whole_row;
pub mod window;
mod window_function;
mod wording;
pub mod zone;

pub use error::{Error, Result};
