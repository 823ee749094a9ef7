//! How far connectors have brought the streams and tables that they fill.

use serde::{Deserialize, Serialize};

use super::errors::Failure;

/// How far a connector is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intake {
    /// Where it goes on, in its own words; empty is the beginning.
    pub position: String,
    /// Rows brought.
    pub rows: u64,
    /// Records that were no rows, or rows that could not be taken.
    pub bad_rows: u64,
    /// Whether it was read to its end.
    pub finished: bool,
}

/// What a commit of a connector brings beside rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Step {
    /// Where the connector goes on behind it.
    pub position: String,
    /// Rows in it.
    pub rows: u64,
    /// Records and rows that could not be taken.
    pub bad: Vec<Failure>,
    /// Whether it is the last one.
    pub finished: bool,
}

impl Intake {
    /// Takes a step.
    pub fn advance(&mut self, step: &Step) {
        self.position.clone_from(&step.position);
        self.rows += step.rows;
        self.bad_rows += step.bad.len() as u64;
        self.finished = step.finished;
    }
}
