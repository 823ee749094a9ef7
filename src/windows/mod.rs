//! Stream-to-relation: windows.

mod assign;
mod expiring;
mod future;
mod validity;

pub use assign::{AssignWindows, Assigner};
pub use expiring::Expiring;
pub use validity::{TimeWindow, Validity};
