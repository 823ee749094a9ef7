//! State of operators, base relations and retained rows; the [`log`] and the [`archive`] of files.
//!
//! The bytes of a row, in Arrow's row encoding, live in a [`Slab`] under a dense slot number;
//! everything else is an index over slots. [`RowSet`] finds a slot by the row (hash),
//! [`GroupedRows`] also links the rows of one owner, [`OrderedRows`] keeps them sorted. [`Bag`] is
//! a multiset of rows: the content of a relation. Per-slot facts of the user (weights,
//! accumulators) are plain vectors indexed by slot.
//!
//! ```text
//!   columns -- RowCodec::encode --> bytes -- Slab --> slot     RowSet       row   -> slot
//!      ^                                               |       GroupedRows  owner -> slots
//!      +--------- RowCodec::decode <-------------------+       OrderedRows  owner -> slots, sorted
//! ```
//!
//! # Invariants
//! 1. No structure here allocates per row.
//! 2. Iteration order never depends on a hash.

pub mod archive;
mod bag;
mod codec;
mod grouped;
pub mod log;
mod ordered;
mod rows;
mod slab;
mod timers;

pub use bag::Bag;
pub use codec::{Encoded, RowCodec};
pub use grouped::{Change, GroupedRows};
pub use ordered::OrderedRows;
pub use rows::RowSet;
pub use slab::{NONE, Slab};
pub use timers::Timers;
