//! Stream-to-relation: windows.

mod assign;
mod expiring;
mod future;
mod partitioned;
mod queue;
mod rows;
pub mod snapshot;
mod validity;

pub use assign::{AssignWindows, Assigner};
pub use expiring::Expiring;
pub use partitioned::{PartitionedRows, PartitionedRowsOptions};
pub use rows::Rows;
pub use validity::{TimeWindow, Validity};
