//! Edges between fragments: split by distribution, one packet per commit and channel.
//!
//! # Invariants
//! 1. Where a row goes is a function of the row alone, so an insertion and its retraction go the
//!    same way.
//! 2. Every target gets a packet of every commit, be it empty: that is the barrier.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::physical_expr::PhysicalExpr;

use super::packet::{Commit, Packet};
use super::publication::Publication;
use super::task::Task;
use crate::delta::{Delta, partition};
use crate::operators::Result;
use crate::time::Watermark;

/// How rows choose their shard.
#[derive(Clone)]
pub enum Split {
    /// All to the first.
    Single,
    /// By the hash of these expressions.
    Hash(Vec<Arc<dyn PhysicalExpr>>),
    /// Each to all.
    Broadcast,
}

/// The sending end of a task.
pub enum Sender {
    /// To the tasks of another fragment, on the given channel of each.
    Tasks {
        /// One per shard of the target.
        targets: Vec<Arc<Task>>,
        /// The channel that this task's packets arrive on.
        channel: usize,
        /// How rows choose.
        split: Split,
    },
    /// To the query's result.
    Result {
        /// The result.
        publication: Arc<Publication>,
        /// Which of its parts this is.
        shard: usize,
    },
}

impl Sender {
    /// Sends all of a commit.
    pub fn send(&self, commit: Commit, deltas: Vec<Delta>, watermark: Watermark) -> Result<()> {
        match self {
            Sender::Result { publication, shard } => {
                publication.deliver(*shard, Packet { commit, watermark, deltas })?;
            }
            Sender::Tasks { targets, channel, split } => {
                let parts = split.apply(deltas, targets.len())?;
                for (target, deltas) in targets.iter().zip(parts) {
                    target.deliver(*channel, Packet { commit, watermark, deltas });
                }
            }
        }
        Ok(())
    }
}

impl Split {
    /// Splits deltas into `shards` parts; empty pieces are left out.
    pub fn apply(&self, deltas: Vec<Delta>, shards: usize) -> Result<Vec<Vec<Delta>>> {
        let mut parts = vec![Vec::new(); shards];
        match self {
            _ if shards == 1 => parts[0] = deltas,
            Split::Single => parts[0] = deltas,
            Split::Broadcast => parts.fill(deltas),
            Split::Hash(keys) => {
                for delta in deltas {
                    for (i, piece) in by_hash(keys, &delta, shards)?.into_iter().enumerate() {
                        if !piece.is_empty() {
                            parts[i].push(piece);
                        }
                    }
                }
            }
        }
        Ok(parts)
    }
}

fn evaluate(keys: &[Arc<dyn PhysicalExpr>], delta: &Delta) -> Result<Vec<ArrayRef>> {
    let columns = keys.iter().map(|k| Ok(k.evaluate(delta.rows())?.into_array(delta.len())?));
    columns.collect()
}

/// Splits by the hash of the keys. A row whose key cannot be computed goes to the first shard,
/// where the
/// operator that wants the key reports it.
fn by_hash(keys: &[Arc<dyn PhysicalExpr>], delta: &Delta, shards: usize) -> Result<Vec<Delta>> {
    if let Ok(columns) = evaluate(keys, delta) {
        return Ok(partition::by_hash(delta, &columns, shards)?);
    }
    let mut parts: Vec<Vec<Delta>> = vec![Vec::new(); shards];
    for i in 0..delta.len() {
        let row = delta.slice(i, 1);
        match evaluate(keys, &row) {
            Err(_) => parts[0].push(row),
            Ok(columns) => {
                for (part, piece) in
                    partition::by_hash(&row, &columns, shards)?.into_iter().enumerate()
                {
                    if !piece.is_empty() {
                        parts[part].push(piece);
                    }
                }
            }
        }
    }
    let schema = delta.schema();
    parts.iter().map(|part| Ok(Delta::concat(&schema, part)?)).collect()
}
