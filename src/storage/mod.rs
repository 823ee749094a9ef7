//! State of operators, base relations and retained rows; the [`log`] and the [`archive`] of files.
//!
//! The bytes of a row, in Arrow's row encoding, live in a [`Slab`] under a dense slot number;
//! everything else is an index over slots. [`RowSet`] finds a slot by the row (hash),
//! [`GroupedRows`] also links the rows of one owner, [`OrderedRows`] keeps them sorted. [`Bag`] is
//! a multiset of rows: the content of a relation. Per-slot facts of the user (weights,
//! accumulators) are plain vectors indexed by slot. [`Kept`] is a batch as it came.
//!
//! A [`Store`] is any of these as the memory limit sees it: bytes of rows can move to a [`Scratch`]
//! file, and are read there from then on. What points to them stays in memory. Stores also write
//! themselves into images, as they are, and read themselves back ([`state`]).
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
mod kept;
pub mod log;
mod ordered;
mod rows;
mod scratch;
mod slab;
pub mod state;
mod store;
mod timers;

pub use bag::Bag;
pub use codec::{Encoded, RowCodec};
pub use grouped::{Change, GroupedRows};
pub use kept::Kept;
pub use ordered::OrderedRows;
pub use rows::RowSet;
pub use scratch::{Extent, Scratch};
pub use slab::{NONE, Slab};
pub use state::{KnownHash, Misfit, Page, PageHash, Plain, StateReader, StateWriter};
pub use store::{Deltas, Fixed, Lost, Store, Value, Visit, load_all, save_all};
pub use timers::Timers;
