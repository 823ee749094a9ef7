//! What moves between tasks: one packet per commit and channel.
//!
//! # Invariants
//! 1. A channel carries the commits its job takes part in, in order, each exactly once. So a task
//!    that has a
//!    packet of every channel has all there is of that commit: packets are the barriers.
//! 2. The deltas of a packet on one channel stand in the order in which they were made.

use serde::{Deserialize, Serialize};

use crate::delta::Delta;
use crate::time::{Position, Timestamp, Watermark};

/// A commit of the server: a place in the log and the time that was recorded with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Place in the log.
    pub position: Position,
    /// Commit time; strictly increasing over commits.
    pub time: Timestamp,
}

/// All of one commit on one channel.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Which commit.
    pub commit: Commit,
    /// Progress of event time on this channel after the commit.
    pub watermark: Watermark,
    /// Changes.
    pub deltas: Vec<Delta>,
}

impl Packet {
    /// A packet without changes.
    pub fn empty(commit: Commit, watermark: Watermark) -> Self {
        Self { commit, watermark, deltas: Vec::new() }
    }
}
