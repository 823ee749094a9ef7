//! Stream-to-relation: windows.

mod assign;
mod expiring;
mod future;
pub mod snapshot;
mod validity;

pub use assign::{AssignWindows, Assigner};
pub use expiring::Expiring;
pub use validity::{TimeWindow, Validity};
